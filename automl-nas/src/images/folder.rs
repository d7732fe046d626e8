//! A folder of PNGs for each class.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{Found, ImageError, Images, LONGEST, MOST_BYTES, Shape, names};

/// The set of PNGs in a folder; the test set counts as there, and is read if `test`.
pub(super) fn png(folder: &Path, entries: &[String], test: bool) -> Result<Option<Found>, ImageError> {
    let has = |name: &str| entries.iter().any(|entry| entry == name) && folder.join(name).is_dir();
    if !has("train") {
        return Ok(classes(folder, None)?.map(|train| Found { train, test: None }));
    }
    let path = folder.join("train");
    let train = classes(&path, None)?.ok_or_else(|| ImageError::new(&path, "holds no folders of PNGs"))?;
    let path = folder.join("test");
    let test = match has("test") {
        true if test => {
            let found = classes(&path, Some(&train.classes))?;
            Some(found.ok_or_else(|| ImageError::new(&path, "holds no folders of PNGs"))?)
        }
        true => Some(train.pick(&[])),
        false => None,
    };
    Ok(Some(Found { train, test }))
}

/// The images of all folders that have some; none where no folder has. `known` are the classes that there are.
fn classes(folder: &Path, known: Option<&[String]>) -> Result<Option<Images>, ImageError> {
    let mut classes: Vec<String> = known.map(<[String]>::to_vec).unwrap_or_default();
    let (mut shape, mut pixels, mut labels) = (None, Vec::new(), Vec::new());
    for class in names(folder)? {
        let path = folder.join(&class);
        if !path.is_dir() {
            continue;
        }
        let files = names(&path)?.into_iter().filter(|name| name.to_ascii_lowercase().ends_with(".png"));
        let files: Vec<_> = files.map(|name| path.join(name)).collect();
        if files.is_empty() {
            continue;
        }
        let label = match (known, classes.iter().position(|name| *name == class)) {
            (_, Some(label)) => label,
            (Some(_), None) => return Err(ImageError::new(path, "is a class that the training images have not")),
            (None, None) => {
                classes.push(class);
                classes.len() - 1
            }
        };
        let label = u16::try_from(label).map_err(|_| ImageError::new(folder, "has more than 65,536 classes"))?;
        for file in files {
            let (found, image) = read(&file)?;
            let first = *shape.get_or_insert(found);
            if first != found {
                let say = |shape: Shape| format!("{} × {} with {} channels", shape.height, shape.width, shape.channels);
                let problem = format!("is {}, and the images before it are {}; bring all to one size", say(found), say(first));
                return Err(ImageError::new(file, problem));
            }
            if (pixels.len() + image.len()) as u64 > MOST_BYTES {
                return Err(ImageError::new(folder, "holds more images than fit into memory"));
            }
            pixels.extend_from_slice(&image);
            labels.push(label);
        }
    }
    let Some(shape) = shape else { return Ok(None) };
    Images { shape, pixels, labels, classes }.checked(folder).map(Some)
}

/// A PNG, channel by channel: grey or colour, of 8 bits, without what it says of transparency.
fn read(path: &Path) -> Result<(Shape, Vec<u8>), ImageError> {
    let wrong = |error: png::DecodingError| ImageError::new(path, format!("is no PNG that can be read: {error}"));
    let file = BufReader::new(File::open(path).map_err(ImageError::io(path))?);
    let mut decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: 64 << 20 });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(wrong)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width > LONGEST || height > LONGEST {
        return Err(ImageError::new(path, format!("is {height} × {width}; sides of up to {LONGEST} are read")));
    }
    let size = reader.output_buffer_size().ok_or_else(|| ImageError::new(path, "is too large"))?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(wrong)?;
    let (channels, samples) = match frame.color_type {
        png::ColorType::Grayscale => (1, 1),
        png::ColorType::GrayscaleAlpha => (1, 2),
        png::ColorType::Rgb => (3, 3),
        png::ColorType::Rgba => (3, 4),
        png::ColorType::Indexed => return Err(ImageError::new(path, "has a palette that cannot be resolved")),
    };
    let places = width * height;
    let bytes = bytes.get(..places * samples).ok_or_else(|| ImageError::new(path, "ends too early"))?;
    let mut image = Vec::with_capacity(channels * places);
    (0..channels).for_each(|channel| image.extend(bytes.iter().skip(channel).step_by(samples)));
    Ok((Shape { channels, height, width }, image))
}
