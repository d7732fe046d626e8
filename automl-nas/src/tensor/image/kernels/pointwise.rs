//! What is done to each number alone.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::{flow, made, way_back};
use crate::tensor::TensorError;
use crate::tensor::image::{Image, Recorder};
use crate::tensor::lend::lend;

/// Numbers that a thread takes at once.
const BLOCK: usize = 1 << 15;

/// See [`crate::tensor::image::ImageDevice::relu`].
pub(in crate::tensor::image) fn relu(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Image<Cpu>, TensorError> {
    let numbers = mapped(lend(&x.tensor), |x| x.max(0.0));
    let out = made(r, x, x.shape(), numbers, x.slot.is_some())?;
    let after = out.tensor.clone();
    way_back(r, &out, x, move |mut delta, back| {
        let blocks = delta.par_chunks_mut(BLOCK).zip(lend(&after).par_chunks(BLOCK));
        blocks.for_each(|(delta, after)| {
            delta.iter_mut().zip(after).for_each(|(delta, after)| *delta = if *after > 0.0 { *delta } else { 0.0 });
        });
        flow(back, delta);
    });
    Ok(out)
}

/// A function of each number. One thread writes the results where they stay; several need a place to write to first.
pub(super) fn mapped(x: &[f32], function: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    if rayon::current_num_threads() == 1 {
        return x.iter().map(|x| function(*x)).collect();
    }
    let mut out = vec![0.0; x.len()];
    let blocks = out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK));
    blocks.for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(out, x)| *out = function(*x)));
    out
}

/// The same of pairs of numbers.
pub(super) fn zipped(a: &[f32], b: &[f32], function: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    if rayon::current_num_threads() == 1 {
        return a.iter().zip(b).map(|(a, b)| function(*a, *b)).collect();
    }
    let mut out = vec![0.0; a.len()];
    let blocks = out.par_chunks_mut(BLOCK).zip(a.par_chunks(BLOCK).zip(b.par_chunks(BLOCK)));
    blocks.for_each(|(out, (a, b))| out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = function(*a, *b)));
    out
}

/// See [`crate::tensor::image::ImageDevice::scale_rows`].
pub(in crate::tensor::image) fn scale_rows(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    factors: &[f32],
) -> Result<Image<Cpu>, TensorError> {
    let [batch, ..] = x.shape();
    if factors.len() != batch {
        return Err(TensorError::of(format!("{} factors for {batch} images", factors.len())));
    }
    let numbers = lend(&x.tensor);
    let row = numbers.len() / batch;
    let rows = numbers.chunks_exact(row).zip(factors);
    let numbers = rows.flat_map(|(row, factor)| row.iter().map(move |x| x * factor)).collect();
    let out = made(r, x, x.shape(), numbers, x.slot.is_some())?;
    let factors = factors.to_vec();
    way_back(r, &out, x, move |mut delta, back| {
        scale(&mut delta, row, &factors);
        flow(back, delta);
    });
    Ok(out)
}

fn scale(numbers: &mut [f32], row: usize, factors: &[f32]) {
    let rows = numbers.par_chunks_exact_mut(row).zip(factors);
    rows.for_each(|(row, factor)| row.iter_mut().for_each(|x| *x *= factor));
}
