//! Images with labels: read from the files that such sets come in, split, normalised and varied.
//!
//! [`ImageData`] is the part of a config that names a folder; what lies in it tells the format: IDX files (MNIST and its kin),
//! CIFAR's binary records, or a folder of PNGs for each class. Every file is hostile until checked: sizes are those of the bytes
//! that are there, and no header makes the program allocate.

mod augment;
mod batch;
mod binary;
mod folder;
mod split;

use std::path::{Path, PathBuf};

use automl_core::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use augment::Augment;
pub use batch::{Normalizer, Rows};
pub use split::stratified;

/// Pixels that a set may have, all images together: 4 GiB of bytes.
const MOST_BYTES: u64 = 4 << 30;
/// The longest side of an image.
const LONGEST: usize = 1024;

/// Why images cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ImageError {
    path: PathBuf,
    problem: String,
}

impl ImageError {
    pub(crate) fn new(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| Self::new(path, error.to_string())
    }
}

/// Channels, height and width of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 1 for grey, 3 for colours.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Shape {
    /// Numbers of an image.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an image has no pixel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Images of one shape with their labels.
#[derive(Clone, Debug)]
pub struct Images {
    /// The shape of each.
    pub shape: Shape,
    /// Image by image, channel by channel, row by row.
    pub pixels: Vec<u8>,
    /// Indices into `classes`, one an image.
    pub labels: Vec<u16>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of an image; none for one that is not there.
    pub fn image(&self, row: usize) -> &[u8] {
        let size = self.shape.len();
        self.pixels.get(row * size..(row + 1) * size).unwrap_or(&[])
    }

    /// Some of the images, in the order given; numbers of images that are not there are left out.
    #[must_use]
    pub fn pick(&self, rows: &[u32]) -> Self {
        let rows = rows.iter().map(|&row| row as usize).filter(|&row| row < self.len());
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for row in rows {
            pixels.extend_from_slice(self.image(row));
            labels.extend(self.labels.get(row));
        }
        Self { shape: self.shape, pixels, labels, classes: self.classes.clone() }
    }

    /// Checks that images and labels fit each other.
    fn checked(self, path: &Path) -> Result<Self, ImageError> {
        let wrong = |problem: String| Err(ImageError::new(path, problem));
        let Shape { height, width, .. } = self.shape;
        if self.is_empty() || self.shape.is_empty() {
            return wrong("holds no image".into());
        }
        if height > LONGEST || width > LONGEST {
            return wrong(format!("its images are {height} × {width}; sides of up to {LONGEST} are read"));
        }
        if self.pixels.len() != self.len() * self.shape.len() {
            return wrong(format!(
                "has {} bytes for {} labels of {} pixels each",
                self.pixels.len(),
                self.len(),
                self.shape.len()
            ));
        }
        if let Some(label) = self.labels.iter().find(|label| usize::from(**label) >= self.classes.len()) {
            return wrong(format!("a label is {label}, and there are {} classes", self.classes.len()));
        }
        if self.classes.len() < 2 {
            return wrong("has one class; a classifier needs two".into());
        }
        Ok(self)
    }
}

/// Images to learn from, found by what lies in a folder.
///
/// - IDX, as MNIST and Fashion-MNIST come: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, with `t10k-…` or `test-…` beside
///   them as the test set; or `images-…` and `labels-…` alone. Plain or `.gz`.
/// - CIFAR-10's binary records (a byte for the label, then 3 × 32 × 32): `data_batch…bin` or `train….bin`, and `test….bin`; plain or
///   `.gz`. Names in `classes.txt` or `batches.meta.txt`.
/// - PNGs: `train/CLASS/*.png` and `test/CLASS/*.png`, or `CLASS/*.png` alone; grey or colour, all of one size.
///
/// Where there is no test set, a part of the images becomes one. It is not looked at before the very end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct ImageData {
    /// The folder; default `images`.
    pub folder: PathBuf,
    /// Use at most so many images to learn from and to validate on, as many of each class as its share says; default 0: all.
    pub rows: usize,
    /// Share of them to validate on, as many of each class as its share says; default 0.1. With 0, there is no validation.
    pub validation: f64,
    /// Share of the images that is the test set, where the folder has none; default 0.2.
    pub test: f64,
    /// Seed of what is drawn here; default 0. The splits do not depend on the seed of a study.
    pub seed: u64,
}

impl Default for ImageData {
    fn default() -> Self {
        Self { folder: "images".into(), rows: 0, validation: 0.1, test: 0.2, seed: 0 }
    }
}

/// Images to learn from, and those to validate on.
#[derive(Clone, Debug)]
pub struct Split {
    /// To learn from.
    pub training: Images,
    /// To validate on; none with a share of 0.
    pub validation: Option<Images>,
}

/// A set as it lies in a folder.
struct Found {
    train: Images,
    test: Option<Images>,
}

impl ImageData {
    /// Reads the images to learn from and to validate on. The test set is not touched.
    ///
    /// # Errors
    /// [`ImageError`] for files that are missing or broken; shares that make no sense.
    pub fn read(&self) -> Result<Split, ImageError> {
        self.check()?;
        let found = self.find(false)?;
        let train = if found.test.is_none() { self.part(found.train).0 } else { found.train };
        let mut rows: Vec<u32> = (0..).take(train.len()).collect();
        if self.rows > 0 && self.rows < train.len() {
            let share = self.rows as f64 / train.len() as f64;
            rows = stratified(&train.labels, &rows, share, self.seed, "images.rows").0;
        }
        let (validation, training) = stratified(&train.labels, &rows, self.validation, self.seed, "images.validation");
        let few = |what: &str| {
            ImageError::new(&self.folder, format!("{} images leave none {what}; give more, or another `validation`", rows.len()))
        };
        if training.is_empty() {
            return Err(few("to learn from"));
        }
        if validation.is_empty() && self.validation > 0.0 {
            return Err(few("to validate on"));
        }
        let validation = (!validation.is_empty()).then(|| train.pick(&validation));
        Ok(Split { training: train.pick(&training), validation })
    }

    /// Reads the test set.
    ///
    /// # Errors
    /// [`ImageError`] for files that are missing or broken.
    pub fn read_test(&self) -> Result<Images, ImageError> {
        self.check()?;
        let found = self.find(true)?;
        Ok(match found.test {
            Some(test) if test.shape != found.train.shape => {
                return Err(ImageError::new(&self.folder, "the images of the test set have another shape"));
            }
            Some(test) => test,
            None => self.part(found.train).1,
        })
    }

    fn check(&self) -> Result<(), ImageError> {
        let legal = |share: f64, least: f64| share >= least && share < 0.95;
        if !legal(self.validation, 0.0) || !legal(self.test, 0.001) {
            let problem = format!(
                "`validation` is {} and `test` {}; both are shares below 0.95, and there must be a test set",
                self.validation, self.test
            );
            return Err(ImageError::new(&self.folder, problem));
        }
        Ok(())
    }

    /// The images to learn from, and those that become the test set.
    fn part(&self, all: Images) -> (Images, Images) {
        let rows: Vec<u32> = (0..).take(all.len()).collect();
        let (test, rest) = stratified(&all.labels, &rows, self.test, self.seed, "images.test");
        (all.pick(&rest), all.pick(&test))
    }

    fn find(&self, test: bool) -> Result<Found, ImageError> {
        let folder = &self.folder;
        let names = names(folder)?;
        if let Some(found) = binary::idx(folder, &names, test)? {
            return Ok(found);
        }
        if let Some(found) = binary::cifar(folder, &names, test)? {
            return Ok(found);
        }
        folder::png(folder, &names, test)?.ok_or_else(|| {
            ImageError::new(
                folder,
                "holds no images that are known: MNIST's files (`train-images-idx3-ubyte`, plain or .gz), CIFAR's (`data_batch_1.bin`, \
                 `train.bin`), or a folder of PNGs for each class; name the folder by `data.folder`",
            )
        })
    }
}

/// What a folder holds, sorted: names that are text.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, ImageError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(ImageError::io(folder))? {
        let entry = entry.map_err(ImageError::io(folder))?;
        names.extend(entry.file_name().to_str().map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
