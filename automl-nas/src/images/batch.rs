//! Images as the numbers that a network reads.

use super::{Augment, Images, Shape};

/// Brings the pixels of each channel to mean 0 and variance 1, as on the training images.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    /// Mean of each channel, pixels from 0 to 1.
    pub means: Vec<f32>,
    /// Standard deviation of each channel; never 0.
    pub deviations: Vec<f32>,
}

impl Normalizer {
    /// The means and deviations of these images.
    pub fn of(images: &Images) -> Self {
        let Shape { channels, height, width } = images.shape;
        let places = (height * width).max(1);
        // Whole numbers: exact in any order.
        let mut sums = vec![[0_u64; 2]; channels];
        for image in images.pixels.chunks_exact(images.shape.len().max(1)) {
            for (sums, channel) in sums.iter_mut().zip(image.chunks_exact(places)) {
                for &pixel in channel {
                    sums[0] += u64::from(pixel);
                    sums[1] += u64::from(pixel) * u64::from(pixel);
                }
            }
        }
        let count = (images.len() * places).max(1) as f64;
        let figures = sums.iter().map(|[sum, squares]| {
            let mean = *sum as f64 / count;
            let deviation = (*squares as f64 / count - mean * mean).max(0.0).sqrt();
            // Images without any contrast stay as they are.
            ((mean / 255.0) as f32, if deviation < 1e-3 { 1.0 } else { (deviation / 255.0) as f32 })
        });
        let (means, deviations) = figures.unzip();
        Self { means, deviations }
    }

    /// For each channel the numbers of all 256 pixels.
    fn tables(&self) -> Vec<[f32; 256]> {
        let table = |(mean, deviation): (&f32, &f32)| std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / deviation);
        self.means.iter().zip(&self.deviations).map(table).collect()
    }
}

/// Images that batches are made of.
pub struct Rows<'a> {
    images: &'a Images,
    tables: Vec<[f32; 256]>,
}

impl<'a> Rows<'a> {
    /// Images, normalised.
    pub fn new(images: &'a Images, normalizer: &Normalizer) -> Self {
        Self { images, tables: normalizer.tables() }
    }

    /// The images.
    pub fn images(&self) -> &'a Images {
        self.images
    }

    /// A batch of images as they are: rows × channels × height × width.
    pub fn plain(&self, rows: &[u32]) -> Vec<f32> {
        let mut batch = Vec::with_capacity(rows.len() * self.images.shape.len());
        let places = (self.images.shape.height * self.images.shape.width).max(1);
        for &row in rows {
            let image = self.images.image(row as usize);
            for (channel, table) in image.chunks_exact(places).zip(&self.tables) {
                batch.extend(channel.iter().map(|&pixel| table[usize::from(pixel)]));
            }
        }
        batch
    }

    /// A batch of images, each varied as `seed`, `epoch` and its number say.
    pub fn varied(&self, rows: &[u32], augment: &Augment, seed: u64, epoch: u64) -> Vec<f32> {
        if augment.is_none() {
            return self.plain(rows);
        }
        let size = self.images.shape.len();
        let mut batch = vec![0.0; rows.len() * size];
        let convert = |channel: usize, pixel: u8| self.tables.get(channel).map_or(0.0, |table| table[usize::from(pixel)]);
        for (&row, out) in rows.iter().zip(batch.chunks_exact_mut(size.max(1))) {
            let draw = augment.draw(self.images.shape, seed, epoch, u64::from(row));
            draw.apply(self.images.shape, self.images.image(row as usize), out, convert);
        }
        batch
    }

    /// The labels of some rows.
    pub fn labels(&self, rows: &[u32]) -> Vec<usize> {
        rows.iter().map(|&row| self.images.labels.get(row as usize).copied().map_or(0, usize::from)).collect()
    }
}
