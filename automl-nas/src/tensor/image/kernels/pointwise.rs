//! What is done to each number alone.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::{flow, made};
use crate::tensor::TensorError;
use crate::tensor::image::{Image, Recorder};
use crate::tensor::lend::lend;

/// Numbers that a thread takes at once.
const BLOCK: usize = 1 << 15;

/// See [`crate::tensor::image::ImageDevice::relu`].
pub(in crate::tensor::image) fn relu(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Image<Cpu>, TensorError> {
    let mut numbers = lend(&x.tensor).to_vec();
    numbers.par_chunks_mut(BLOCK).for_each(|block| block.iter_mut().for_each(|x| *x = x.max(0.0)));
    let out = made(r, x, x.shape(), numbers, x.slot.is_some())?;
    if let (Some(of), Some(slot)) = (out.slot.clone(), x.slot.clone()) {
        let after = out.tensor.clone();
        r.push(move |_| {
            let mut delta = of.take();
            let blocks = delta.par_chunks_mut(BLOCK).zip(lend(&after).par_chunks(BLOCK));
            blocks.for_each(|(delta, after)| {
                delta.iter_mut().zip(after).for_each(|(delta, after)| *delta = if *after > 0.0 { *delta } else { 0.0 });
            });
            slot.with(|back| flow(back, delta));
            Ok(())
        });
    }
    Ok(out)
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
    let mut numbers = lend(&x.tensor).to_vec();
    let row = numbers.len() / batch;
    scale(&mut numbers, row, factors);
    let out = made(r, x, x.shape(), numbers, x.slot.is_some())?;
    if let (Some(of), Some(slot)) = (out.slot.clone(), x.slot.clone()) {
        let factors = factors.to_vec();
        r.push(move |_| {
            let mut delta = of.take();
            scale(&mut delta, row, &factors);
            slot.with(|back| flow(back, delta));
            Ok(())
        });
    }
    Ok(out)
}

fn scale(numbers: &mut [f32], row: usize, factors: &[f32]) {
    let rows = numbers.par_chunks_exact_mut(row).zip(factors);
    rows.for_each(|(row, factor)| row.iter_mut().for_each(|x| *x *= factor));
}
