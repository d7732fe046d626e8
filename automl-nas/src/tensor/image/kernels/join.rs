//! Sums of images, images beside each other, and windows of them.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, TensorFromVec};
use rayon::prelude::*;

use super::pointwise::zipped;
use super::{flow, made, room, way_back};
use crate::tensor::cpu::{add as add_to, dot, taken};
use crate::tensor::image::compose::{alike, joinable, not_empty};
use crate::tensor::image::{Image, Recorder, Slot};
use crate::tensor::lend::lend;
use crate::tensor::{Matrix, Scalar, TensorError, matrix};

/// Numbers that a thread takes at once.
const BLOCK: usize = 1 << 15;

/// See [`crate::tensor::image::ImageDevice::add`].
pub(in crate::tensor::image) fn add(r: &mut Recorder<Cpu>, images: &[&Image<Cpu>]) -> Result<Image<Cpu>, TensorError> {
    let (first, rest) = alike(images)?;
    let numbers = lend(&first.tensor);
    let (mut sum, rest) = match rest.split_first() {
        Some((second, rest)) => (zipped(numbers, lend(&second.tensor), |a, b| a + b), rest),
        None => (numbers.to_vec(), rest),
    };
    for image in rest {
        let blocks = sum.par_chunks_mut(BLOCK).zip(lend(&image.tensor).par_chunks(BLOCK));
        blocks.for_each(|(sum, image)| add_to(sum, image));
    }
    let slots: Vec<Slot> = images.iter().filter_map(|image| image.slot.clone()).collect();
    let out = made(r, first, first.shape(), sum, !slots.is_empty())?;
    if let Some(of) = out.slot.clone() {
        r.push(move |_| {
            let delta = of.take();
            if let Some((last, others)) = slots.split_last() {
                for slot in others {
                    slot.with(|back| if back.is_empty() { back.clone_from(&delta) } else { add_to(back, &delta) });
                }
                last.with(|back| flow(back, delta));
            }
            Ok(())
        });
    }
    Ok(out)
}

/// See [`crate::tensor::image::ImageDevice::concat`].
pub(in crate::tensor::image) fn concat(r: &mut Recorder<Cpu>, images: &[&Image<Cpu>]) -> Result<Image<Cpu>, TensorError> {
    let (first, _) = joinable(images)?;
    let [batch, _, height, width] = first.shape();
    let rows: Vec<usize> = images.iter().map(|image| image.shape()[1] * height * width).collect();
    let row: usize = rows.iter().sum();
    let mut all = Vec::with_capacity(batch * row);
    for index in 0..batch {
        for (image, &own) in images.iter().zip(&rows) {
            all.extend_from_slice(&lend(&image.tensor)[index * own..(index + 1) * own]);
        }
    }
    let slots: Vec<Option<Slot>> = images.iter().map(|image| image.slot.clone()).collect();
    let channels = images.iter().map(|image| image.shape()[1]).sum();
    let out = made(r, first, [batch, channels, height, width], all, slots.iter().any(Option::is_some))?;
    if let Some(of) = out.slot.clone() {
        r.push(move |_| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            let mut from = 0;
            for (slot, &own) in slots.iter().zip(&rows) {
                if let Some(slot) = slot {
                    slot.with(|back| {
                        let parts = delta.chunks_exact(row).map(|delta| &delta[from..from + own]);
                        if back.is_empty() {
                            back.reserve_exact(batch * own);
                            parts.for_each(|part| back.extend_from_slice(part));
                        } else {
                            back.chunks_exact_mut(own).zip(parts).for_each(|(back, part)| add_to(back, part));
                        }
                    });
                }
                from += own;
            }
            Ok(())
        });
    }
    Ok(out)
}

/// See [`crate::tensor::image::ImageDevice::window`].
pub(in crate::tensor::image) fn window(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    from: [isize; 2],
    size: [usize; 2],
) -> Result<Image<Cpu>, TensorError> {
    not_empty(size)?;
    let [batch, channels, height, width] = x.shape();
    let (plane, out_plane) = (height * width, size[0] * size[1]);
    let overlap = Overlap::of([height, width], from, size);
    let numbers = lend(&x.tensor);
    let mut out = vec![0.0; batch * channels * out_plane];
    let images = out.par_chunks_exact_mut(channels * out_plane).zip(numbers.par_chunks_exact(channels * plane));
    images.for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(out_plane).zip(x.chunks_exact(plane)) {
            overlap.rows().for_each(|(to, from)| out[to].copy_from_slice(&x[from]));
        }
    });
    let out = made(r, x, [batch, channels, size[0], size[1]], out, x.slot.is_some())?;
    let count = numbers.len();
    way_back(r, &out, x, move |delta, back| {
        let back = room(back, count).par_chunks_exact_mut(channels * plane);
        back.zip(delta.par_chunks_exact(channels * out_plane)).for_each(|(back, delta)| {
            for (back, delta) in back.chunks_exact_mut(plane).zip(delta.chunks_exact(out_plane)) {
                overlap.rows().for_each(|(from, to)| add_to(&mut back[to], &delta[from]));
            }
        });
    });
    Ok(out)
}

/// Where a window and an image overlap: first place in the window, first place in the image, and how many, along both axes.
struct Overlap {
    axes: [(usize, usize, usize); 2],
    width: usize,
    out_width: usize,
}

impl Overlap {
    fn of(image: [usize; 2], from: [isize; 2], size: [usize; 2]) -> Self {
        let axes = [0, 1].map(|axis: usize| {
            let (start, first) = (from[axis].min(0).unsigned_abs(), from[axis].max(0).unsigned_abs());
            let count = size[axis].saturating_sub(start).min(image[axis].saturating_sub(first));
            if count == 0 { (0, 0, 0) } else { (start, first, count) }
        });
        Self { axes, width: image[1], out_width: size[1] }
    }

    /// The numbers of each row of the window, and those of the image.
    fn rows(&self) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
        let [(start, first, rows), (column, place, count)] = self.axes;
        (0..rows).map(move |row| {
            let (to, from) = ((start + row) * self.out_width + column, (first + row) * self.width + place);
            (to..to + count, from..from + count)
        })
    }
}

/// See [`crate::tensor::image::ImageDevice::flatten`].
pub(in crate::tensor::image) fn flatten(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    let out = matrix(x.device(), batch, channels * height * width, lend(&x.tensor).to_vec())?;
    if let Some(slot) = x.slot.clone().filter(|_| r.records()) {
        let of = out.clone();
        r.push(move |gradients| {
            let delta = taken(gradients, &of)?;
            slot.with(|back| flow(back, delta));
            Ok(())
        });
    }
    Ok(out)
}

/// See [`crate::tensor::image::ImageDevice::unflatten`].
pub(in crate::tensor::image) fn unflatten(
    r: &mut Recorder<Cpu>,
    x: &Matrix<Cpu>,
    shape: [usize; 4],
) -> Result<Image<Cpu>, TensorError> {
    let [batch, channels, height, width] = shape;
    if *x.shape() != (batch, channels * height * width) {
        return Err(TensorError::of(format!("a matrix of {:?} is no batch of images of {shape:?}", x.shape())));
    }
    let out = Image::new(x.device(), shape, lend(x).to_vec())?;
    if !r.records() {
        return Ok(out);
    }
    let (out, x) = (out.tracked(), x.clone());
    if let Some(of) = out.slot.clone() {
        r.push(move |gradients| {
            add_to(gradients.get_or_alloc_mut(&x)?, &of.take());
            Ok(())
        });
    }
    Ok(out)
}

/// See [`crate::tensor::image::ImageDevice::weigh`].
pub(in crate::tensor::image) fn weigh(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    mut factors: Vec<f32>,
) -> Result<Scalar<Cpu>, TensorError> {
    let numbers = lend(&x.tensor);
    if factors.len() != numbers.len() {
        return Err(TensorError::of(format!("{} factors for {} numbers", factors.len(), numbers.len())));
    }
    let sum: f64 = numbers.chunks(BLOCK).zip(factors.chunks(BLOCK)).map(|(x, factors)| f64::from(dot(x, factors))).sum();
    let out = x.device().try_tensor_from_vec(vec![sum as f32], ()).map_err(TensorError::of)?;
    if let Some(slot) = x.slot.clone().filter(|_| r.records()) {
        let of: Scalar<Cpu> = out.clone();
        r.push(move |gradients| {
            let factor = gradients.get_or_alloc_mut(&of)?.first().copied().unwrap_or(0.0);
            if factor != 1.0 {
                factors.iter_mut().for_each(|x| *x *= factor);
            }
            slot.with(|back| flow(back, factors));
            Ok(())
        });
    }
    Ok(out)
}
