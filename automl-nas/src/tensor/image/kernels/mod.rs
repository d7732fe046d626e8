//! The operations as kernels of the processor. Each file holds one family: the operation, which records itself, and below it
//! the loops, which are plain functions on slices.
//!
//! Work is shared among threads by images of the batch or by channels, never by what happens to be free, and every sum has
//! one order: results are the same for any number of threads.

mod conv;
mod dense;
mod depthwise;
mod join;
mod norm;
mod planes;
mod pointwise;
mod pool;

use dfdx::tensor::Cpu;

pub(super) use conv::conv;
pub(super) use join::{add, concat, flatten, unflatten, weigh, window};
pub(super) use norm::batch_norm;
pub(super) use pointwise::{relu, scale_rows};
pub(super) use pool::{avg_pool, global_average, max_pool};

use super::{Image, Recorder};
use crate::tensor::TensorError;

/// The result of an operation; a gradient flows to it if it is recorded and `depends` on what has gradients.
fn made(
    r: &Recorder<Cpu>,
    like: &Image<Cpu>,
    shape: [usize; 4],
    numbers: Vec<f32>,
    depends: bool,
) -> Result<Image<Cpu>, TensorError> {
    let image = Image::new(like.device(), shape, numbers)?;
    Ok(if r.records() && depends { image.tracked() } else { image })
}

/// Records the way back of an operation on one image: what the gradient of the result adds to that of the image.
fn way_back(r: &mut Recorder<Cpu>, out: &Image<Cpu>, x: &Image<Cpu>, add: impl FnOnce(Vec<f32>, &mut Vec<f32>) + 'static) {
    if let (Some(of), Some(slot)) = (out.slot.clone(), x.slot.clone()) {
        r.push(move |_| {
            let delta = of.take();
            if !delta.is_empty() {
                slot.with(|back| add(delta, back));
            }
            Ok(())
        });
    }
}

/// Makes room for a gradient that is added to.
fn room(back: &mut Vec<f32>, count: usize) -> &mut [f32] {
    back.resize(count, 0.0);
    back
}

/// Adds a gradient to what has flowed so far; the first is moved.
fn flow(back: &mut Vec<f32>, more: Vec<f32>) {
    if back.is_empty() {
        *back = more;
    } else {
        crate::tensor::cpu::add(back, &more);
    }
}
