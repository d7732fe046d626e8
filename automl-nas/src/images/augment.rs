//! Variations of an image that leave its class as it is.

use automl_core::hash::StableHash;
use automl_core::rand::{RngExt, SeedableRng};
use automl_core::schemars::JsonSchema;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Shape;

/// Variations of the training images, drawn anew for each image in each epoch.
///
/// What is drawn depends on the seed, the epoch and the number of the image alone, not on batches or threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Augment {
    /// Pixels of black that are added at each side before a part of the old size is cut out at a random place; default 0. The
    /// usual 4 on images of 32 × 32.
    pub crop: usize,
    /// Whether half of the images are mirrored, left to right; default no.
    pub flip: bool,
    /// Side of a square that is blanked at a random place, and may lie partly outside (DeVries and Taylor, "Improved
    /// Regularization of Convolutional Neural Networks with Cutout", 2017); default 0: none. The usual 16 on 32 × 32.
    pub cutout: usize,
}

/// What is done to one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// By how much the image moves down and to the right.
    shift: [isize; 2],
    mirrored: bool,
    /// The middle of the square that is blanked.
    middle: [usize; 2],
    cutout: usize,
}

impl Augment {
    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn draw(&self, shape: Shape, seed: u64, epoch: u64, row: u64) -> Draw {
        let seed = StableHash::new("augment").number(seed).number(epoch).number(row).finish();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let reach = i64::try_from(self.crop.min(shape.height.max(shape.width))).unwrap_or(0);
        let mut shift = || isize::try_from(rng.random_range(-reach..=reach)).unwrap_or(0);
        let shift = [shift(), shift()];
        let mirrored = self.flip && rng.random();
        let middle = [rng.random_range(0..shape.height.max(1)), rng.random_range(0..shape.width.max(1))];
        Draw { shift, mirrored, middle, cutout: self.cutout }
    }
}

impl Draw {
    /// Writes a varied image; `black` and `blank` are the numbers of a channel for what comes from outside and for what is cut
    /// out, and `convert` gives that of a pixel.
    pub(super) fn apply(&self, shape: Shape, image: &[u8], out: &mut [f32], convert: impl Fn(usize, u8) -> f32) {
        let Shape { height, width, .. } = shape;
        let places = (height * width).max(1);
        let half = self.cutout / 2;
        let within = |at: usize, middle: usize| self.cutout > 0 && at + half >= middle && at + half < middle + self.cutout;
        for (channel, (image, out)) in image.chunks_exact(places).zip(out.chunks_exact_mut(places)).enumerate() {
            let black = convert(channel, 0);
            for (y, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
                let from = y.checked_add_signed(-self.shift[0]).filter(|&y| y < height);
                let line = from.and_then(|y| image.get(y * width..(y + 1) * width));
                for (x, out) in out.iter_mut().enumerate() {
                    let x_of = if self.mirrored { width - 1 - x } else { x };
                    let pixel = x_of.checked_add_signed(-self.shift[1]).and_then(|x| line?.get(x));
                    let blank = within(y, self.middle[0]) && within(x, self.middle[1]);
                    // 0 is the mean of normalised pixels.
                    *out = if blank { 0.0 } else { pixel.map_or(black, |&pixel| convert(channel, pixel)) };
                }
            }
        }
    }
}
