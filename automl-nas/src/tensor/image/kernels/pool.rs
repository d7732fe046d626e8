//! Maxima and means of windows, and of whole images.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::depthwise::{Back, LANES, Laid, STEP, room as made_room, weighted_sums};
use super::planes::Planes;
use super::{made, room, way_back};
use crate::tensor::cpu::{sum, taken};
use crate::tensor::image::{Geometry, Image, PoolSpec, Recorder};
use crate::tensor::lend::lend;
use crate::tensor::simd::kernel;
use crate::tensor::{Matrix, TensorError, matrix};

/// See [`crate::tensor::image::ImageDevice::max_pool`].
pub(in crate::tensor::image) fn max_pool(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    spec: &PoolSpec,
) -> Result<Image<Cpu>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let planes = Planes::new(&g, 1);
    let (in_size, out_size) = (g.channels * g.plane(), g.channels * g.out_plane());
    let numbers = lend(&x.tensor);
    let mut out = vec![0.0; g.batch * out_size];
    // Which place of the window is the maximum, for the way back: laid out like the outputs, behind `lead` others.
    let room_of_places = planes.lead + made_room(&planes) + STEP;
    let mut places = vec![0_u16; if r.records() && x.slot.is_some() { g.batch * g.channels * room_of_places } else { 0 }];
    let image = |out: &mut [f32], x: &[f32], places: Option<&mut [u16]>| {
        let mut laid = Laid::filled(&planes, f32::NEG_INFINITY);
        let (mut made, mut unused) = (vec![0.0; made_room(&planes)], vec![0; room_of_places]);
        let mut places = places.map(|places| places.chunks_exact_mut(room_of_places));
        for (out, x) in out.chunks_exact_mut(g.out_plane()).zip(x.chunks_exact(g.plane())) {
            laid.lay(&planes, x);
            let places = places.as_mut().and_then(Iterator::next).unwrap_or(&mut unused);
            maxima(&laid.numbers, &laid.starts, &mut made, &mut places[planes.lead..]);
            planes.lift_outputs(&made, std::iter::once(out));
        }
    };
    let images = out.par_chunks_exact_mut(out_size).zip(numbers.par_chunks_exact(in_size));
    if places.is_empty() {
        images.for_each(|(out, x)| image(out, x, None));
    } else {
        let with_places = images.zip(places.par_chunks_exact_mut(g.channels * room_of_places));
        with_places.for_each(|((out, x), places)| image(out, x, Some(places)));
    }
    let out = made(r, x, g.out_shape(), out, x.slot.is_some())?;
    let count = numbers.len();
    way_back(r, &out, x, move |delta, back| {
        let images = room(back, count).par_chunks_exact_mut(in_size).zip(delta.par_chunks_exact(out_size));
        images.zip(places.par_chunks_exact(g.channels * room_of_places)).for_each(|((to_x, delta), places)| {
            let mut back = Back::new(&planes);
            let of = delta.chunks_exact(g.out_plane()).zip(places.chunks_exact(room_of_places));
            for (to_x, (delta, places)) in to_x.chunks_exact_mut(g.plane()).zip(of) {
                back.lay(&planes, delta);
                back.lift_with(&planes, to_x, None, |delta, taps, starts, made| chosen_sums(delta, places, taps, starts, made));
            }
        });
    });
    Ok(out)
}

kernel! {
    /// The largest of `numbers[start + p]` for each output, the first of them where there are several, and which it is.
    fn maxima<'a>(numbers: &'a [f32], starts: &'a [usize], out: &'a mut [f32], places: &'a mut [u16]) {
        const WIDTH: usize = 4 * LANES;
        let blocks = out.as_chunks_mut::<WIDTH>().0.iter_mut().zip(places.as_chunks_mut::<WIDTH>().0);
        for (block, (out, places)) in blocks.enumerate() {
            let numbers = numbers.get(block * WIDTH..).unwrap_or(&[]);
            let (mut best, mut which) = ([f32::NEG_INFINITY; WIDTH], [0_u32; WIDTH]);
            for (tap, &start) in starts.iter().enumerate() {
                let Some(run) = numbers.get(start..).and_then(|run| run.first_chunk::<WIDTH>()) else { continue };
                for ((best, which), x) in best.iter_mut().zip(&mut which).zip(run) {
                    // What is no number is passed on.
                    let takes = *x > *best || x.is_nan();
                    *which = if takes { tap as u32 } else { *which };
                    *best = if takes { *x } else { *best };
                }
            }
            *out = best;
            places.iter_mut().zip(which).for_each(|(place, which)| *place = which as u16);
        }
    }
}

kernel! {
    /// For each place the sum of the gradients of those outputs whose maximum it is.
    fn chosen_sums<'a>(delta: &'a [f32], places: &'a [u16], taps: &'a [usize], starts: &'a [usize], out: &'a mut [f32]) {
        const WIDTH: usize = 4 * LANES;
        for (block, out) in out.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let mut sums = [0.0_f32; WIDTH];
            for (&tap, &start) in taps.iter().zip(starts) {
                let at = block * WIDTH + start;
                let run = delta.get(at..).and_then(|run| run.first_chunk::<WIDTH>());
                let Some((run, which)) = run.zip(places.get(at..).and_then(|run| run.first_chunk::<WIDTH>())) else { continue };
                for ((sum, delta), which) in sums.iter_mut().zip(run).zip(which) {
                    *sum += if u32::from(*which) == tap as u32 { *delta } else { 0.0 };
                }
            }
            *out = sums;
        }
    }
}

/// See [`crate::tensor::image::ImageDevice::avg_pool`].
pub(in crate::tensor::image) fn avg_pool(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    spec: &PoolSpec,
) -> Result<Image<Cpu>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let planes = Planes::new(&g, 1);
    let (ones, shares) = (vec![1.0; g.taps()], shares(&g));
    let (in_size, out_size) = (g.channels * g.plane(), g.channels * g.out_plane());
    let numbers = lend(&x.tensor);
    let mut out = vec![0.0; g.batch * out_size];
    out.par_chunks_exact_mut(out_size).zip(numbers.par_chunks_exact(in_size)).for_each(|(out, x)| {
        let (mut laid, mut made) = (Laid::new(&planes), vec![0.0; made_room(&planes)]);
        for (out, x) in out.chunks_exact_mut(g.out_plane()).zip(x.chunks_exact(g.plane())) {
            laid.lay(&planes, x);
            weighted_sums(&laid.numbers, &laid.starts, &ones, &mut made);
            planes.lift_outputs(&made, std::iter::once(&mut *out));
            out.iter_mut().zip(&shares).for_each(|(out, share)| *out *= share);
        }
    });
    let out = made(r, x, g.out_shape(), out, x.slot.is_some())?;
    let count = numbers.len();
    way_back(r, &out, x, move |delta, back| {
        let images = room(back, count).par_chunks_exact_mut(in_size).zip(delta.par_chunks_exact(out_size));
        images.for_each(|(to_x, delta)| {
            let (mut back, mut shared) = (Back::new(&planes), vec![0.0; g.out_plane()]);
            for (to_x, delta) in to_x.chunks_exact_mut(g.plane()).zip(delta.chunks_exact(g.out_plane())) {
                let shares = delta.iter().zip(&shares);
                shared.iter_mut().zip(shares).for_each(|(shared, (delta, share))| *shared = delta * share);
                back.lay(&planes, &shared);
                back.lift(&planes, &ones, to_x, None);
            }
        });
    });
    Ok(out)
}

/// For each output one over the places of its window that are no padding.
fn shares(g: &Geometry) -> Vec<f32> {
    let counts = [0, 1].map(|axis: usize| {
        let inside = |out: usize| (0..g.kernel[axis]).filter(|&tap| g.source(axis, out, tap).is_some()).count();
        (0..g.out[axis]).map(inside).collect::<Vec<usize>>()
    });
    let [rows, columns] = counts;
    rows.iter().flat_map(|row| columns.iter().map(move |column| 1.0 / (row * column).max(1) as f32)).collect()
}

/// See [`crate::tensor::image::ImageDevice::global_average`].
pub(in crate::tensor::image) fn global_average(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    let (plane, share) = (height * width, 1.0 / (height * width) as f32);
    let numbers = lend(&x.tensor);
    let mut means = vec![0.0; batch * channels];
    means.par_chunks_mut(channels).zip(numbers.par_chunks(channels * plane)).for_each(|(means, x)| {
        means.iter_mut().zip(x.chunks_exact(plane)).for_each(|(mean, x)| *mean = sum(x) * share);
    });
    let out = matrix(x.device(), batch, channels, means)?;
    if let Some(slot) = x.slot.clone().filter(|_| r.records()) {
        let (of, count) = (out.clone(), numbers.len());
        r.push(move |gradients| {
            let delta = taken(gradients, &of)?;
            if delta.is_empty() {
                return Ok(());
            }
            slot.with(|back| {
                if back.is_empty() {
                    back.reserve_exact(count);
                    delta.iter().for_each(|delta| back.extend(std::iter::repeat_n(share * delta, plane)));
                } else {
                    let planes = back.chunks_exact_mut(plane).zip(&delta);
                    planes.for_each(|(back, delta)| back.iter_mut().for_each(|back| *back += share * delta));
                }
            });
            Ok(())
        });
    }
    Ok(out)
}
