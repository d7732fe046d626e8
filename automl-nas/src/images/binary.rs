//! IDX files and CIFAR's binary records.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Found, ImageError, Images, MOST_BYTES, Shape};

/// The set of IDX files in a folder; the test set counts as there, and is read if `test`.
pub(super) fn idx(folder: &Path, names: &[String], test: bool) -> Result<Option<Found>, ImageError> {
    let named = |starts: &[&str], what: &str| -> Option<PathBuf> {
        let fits = |name: &&String| {
            let plain = name.strip_suffix(".gz").unwrap_or(name);
            starts.iter().any(|start| plain.starts_with(&format!("{start}{what}"))) && plain.ends_with("ubyte")
        };
        names.iter().find(fits).map(|name| folder.join(name))
    };
    let pair = |starts: &[&str]| -> Result<Option<(PathBuf, PathBuf)>, ImageError> {
        match (named(starts, "images"), named(starts, "labels")) {
            (Some(images), Some(labels)) => Ok(Some((images, labels))),
            (Some(images), None) => Err(ImageError::new(images, "has no file of labels beside it")),
            (None, _) => Ok(None),
        }
    };
    let Some((images, labels)) = (match pair(&["train-"])? {
        Some(found) => Some(found),
        None => pair(&[""])?,
    }) else {
        return Ok(None);
    };
    let train = idx_pair(&images, &labels)?;
    let test = match pair(&["t10k-", "test-"])? {
        Some((images, labels)) if test => Some(idx_pair(&images, &labels)?),
        // That it is there is all that matters.
        Some(_) => Some(train.pick(&[])),
        None => None,
    };
    Ok(Some(Found { train, test }))
}

fn idx_pair(images: &Path, labels: &Path) -> Result<Images, ImageError> {
    let (sizes, pixels) = idx_file(images)?;
    let (count, shape) = match sizes[..] {
        [count, height, width] => (count, Shape { channels: 1, height, width }),
        [count, channels @ (1 | 3), height, width] => (count, Shape { channels, height, width }),
        _ => return Err(ImageError::new(images, format!("has {} dimensions; images have 3, or 4 with channels", sizes.len()))),
    };
    let (sizes, codes) = idx_file(labels)?;
    if sizes.len() != 1 || codes.len() != count {
        return Err(ImageError::new(labels, format!("has {} labels for {count} images", codes.len())));
    }
    let most = codes.iter().copied().max().unwrap_or(0);
    let classes = (0..=most).map(|class| class.to_string()).collect();
    let labels = codes.into_iter().map(u16::from).collect();
    Images { shape, pixels, labels, classes }.checked(images)
}

/// The sizes and the bytes of an IDX file.
fn idx_file(path: &Path) -> Result<(Vec<usize>, Vec<u8>), ImageError> {
    let wrong = |problem: String| ImageError::new(path, problem);
    let mut file = open(path)?;
    let mut word = || -> Result<[u8; 4], ImageError> {
        let mut word = [0; 4];
        file.read_exact(&mut word).map_err(|error| ImageError::new(path, format!("ends within its header: {error}")))?;
        Ok(word)
    };
    let [zero, other, kind, dimensions] = word()?;
    if (zero, other, kind) != (0, 0, 8) || !(1..=4).contains(&dimensions) {
        return Err(wrong("is no IDX file of bytes: it must begin with 0, 0, 8 and 1 to 4".into()));
    }
    let mut sizes = Vec::new();
    for _ in 0..dimensions {
        sizes.push(u32::from_be_bytes(word()?));
    }
    let total = sizes.iter().try_fold(1_u64, |total, &size| total.checked_mul(u64::from(size)));
    let total = total.filter(|total| *total <= MOST_BYTES).ok_or_else(|| wrong(format!("is too large: {sizes:?} bytes")))?;
    let bytes = read(path, &mut file, total)?;
    if bytes.len() as u64 != total {
        return Err(wrong(format!("ends after {} of {total} bytes", bytes.len())));
    }
    if !read(path, &mut file, 1)?.is_empty() {
        return Err(wrong(format!("goes on after the {total} bytes that its header tells")));
    }
    Ok((sizes.into_iter().map(|size| size as usize).collect(), bytes))
}

const CIFAR: Shape = Shape { channels: 3, height: 32, width: 32 };

/// The set of CIFAR's records in a folder; the test set counts as there, and is read if `test`.
pub(super) fn cifar(folder: &Path, names: &[String], test: bool) -> Result<Option<Found>, ImageError> {
    let named = |starts: &[&str]| -> Vec<PathBuf> {
        let records = names.iter().filter(|name| name.strip_suffix(".gz").unwrap_or(name).ends_with(".bin"));
        records.filter(|name| starts.iter().any(|start| name.starts_with(start))).map(|name| folder.join(name)).collect()
    };
    let files = named(&["data_batch", "train"]);
    if files.is_empty() {
        return Ok(None);
    }
    let file_of_names = ["classes.txt", "batches.meta.txt"].map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    let classes: Vec<String> = match file_of_names {
        Some(path) => {
            let bytes = read(&path, &mut open(&path)?, 1 << 16)?;
            let text = String::from_utf8_lossy(&bytes);
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let train = records(&files, &classes)?;
    let tests = named(&["test"]);
    let test = match tests.is_empty() {
        true => None,
        false if test => Some(records(&tests, &train.classes)?),
        false => Some(train.pick(&[])),
    };
    Ok(Some(Found { train, test }))
}

/// The images of some files; classes without a name are numbered.
fn records(files: &[PathBuf], classes: &[String]) -> Result<Images, ImageError> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    let size = 1 + CIFAR.len();
    for path in files {
        let left = MOST_BYTES.saturating_sub(pixels.len() as u64);
        let bytes = read(path, &mut open(path)?, left + 1)?;
        if bytes.len() as u64 > left {
            return Err(ImageError::new(path, "is too large"));
        }
        if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
            return Err(ImageError::new(path, format!("has {} bytes, which are not records of {size}", bytes.len())));
        }
        for record in bytes.chunks_exact(size) {
            if let Some((label, image)) = record.split_first() {
                labels.push(u16::from(*label));
                pixels.extend_from_slice(image);
            }
        }
    }
    let mut classes = classes.to_vec();
    if classes.is_empty() {
        let most = labels.iter().copied().max().unwrap_or(0);
        classes = (0..=most).map(|class| class.to_string()).collect();
    }
    let path = files.first().map_or(Path::new(""), PathBuf::as_path);
    Images { shape: CIFAR, pixels, labels, classes }.checked(path)
}

fn open(path: &Path) -> Result<Box<dyn Read>, ImageError> {
    let file = std::io::BufReader::new(File::open(path).map_err(ImageError::io(path))?);
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// At most so many bytes: memory grows with what is read, not with what a header tells.
fn read(path: &Path, file: &mut dyn Read, most: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(ImageError::io(path))?;
    Ok(bytes)
}
