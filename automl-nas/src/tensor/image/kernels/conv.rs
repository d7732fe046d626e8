//! Convolutions.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::made;
use crate::tensor::cpu::dot;
use crate::tensor::image::{ConvSpec, Geometry, Image, Recorder};
use crate::tensor::lend::lend;
use crate::tensor::{Matrix, TensorError};

/// See [`crate::tensor::image::ImageDevice::conv`].
pub(in crate::tensor::image) fn conv(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    weight: &Matrix<Cpu>,
    spec: &ConvSpec,
) -> Result<Image<Cpu>, TensorError> {
    use dfdx::shapes::HasShape;
    let g = Geometry::conv(x.shape(), *weight.shape(), spec)?;
    let out = made(r, x, g.out_shape(), forward(lend(&x.tensor), lend(weight), &g), true)?;
    if let Some(of) = out.slot.clone() {
        let (x, weight) = (x.clone(), weight.clone());
        r.push(move |gradients| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            weight_gradient(lend(&x.tensor), &delta, &g, gradients.get_or_alloc_mut(&weight)?);
            if let Some(slot) = &x.slot {
                slot.with(|back| input_gradient(&delta, lend(&weight), &g, super::room(back, lend(&x.tensor).len())));
            }
            Ok(())
        });
    }
    Ok(out)
}

/// Where two planes meet under one place of the kernel: for each row of the output the row of the input, then the outputs of
/// a row from `start` to `end`, and the input of the first.
struct Meeting {
    rows: Vec<(usize, usize)>,
    start: usize,
    end: usize,
    first: usize,
}

fn meetings(g: &Geometry) -> Vec<Meeting> {
    let taps = (0..g.kernel[0]).flat_map(|y| (0..g.kernel[1]).map(move |x| (y, x)));
    taps.map(|(tap_y, tap_x)| {
        let rows = (0..g.out[0]).filter_map(|y| g.source(0, y, tap_y).map(|source| (y, source))).collect();
        let inside = |x: &usize| g.source(1, *x, tap_x).is_some();
        let start = (0..g.out[1]).find(inside).unwrap_or(0);
        let end = (0..g.out[1]).rfind(inside).map_or(start, |last| last + 1);
        Meeting { rows, start, end, first: g.source(1, start, tap_x).unwrap_or(0) }
    })
    .collect()
}

/// Every pair of channels that meet: output, input, and where their weights start.
fn pairs(g: &Geometry) -> impl Iterator<Item = (usize, usize, usize)> {
    let (inputs, outputs, taps) = (g.channels / g.groups, g.outputs / g.groups, g.taps());
    (0..g.outputs).flat_map(move |output| {
        (0..inputs).map(move |input| (output, output / outputs * inputs + input, (output * inputs + input) * taps))
    })
}

fn forward(x: &[f32], weight: &[f32], g: &Geometry) -> Vec<f32> {
    let meetings = meetings(g);
    let mut out = vec![0.0; g.batch * g.outputs * g.out_plane()];
    let samples = out.par_chunks_exact_mut(g.outputs * g.out_plane()).zip(x.par_chunks_exact(g.channels * g.plane()));
    samples.for_each(|(out, x)| {
        for (output, input, at) in pairs(g) {
            let out = &mut out[output * g.out_plane()..(output + 1) * g.out_plane()];
            let x = &x[input * g.plane()..(input + 1) * g.plane()];
            for (meeting, &weight) in meetings.iter().zip(&weight[at..]) {
                for &(y, source) in &meeting.rows {
                    let out = &mut out[y * g.out[1]..][meeting.start..meeting.end];
                    let x = &x[source * g.size[1] + meeting.first..];
                    if g.stride == 1 {
                        out.iter_mut().zip(x).for_each(|(out, x)| *out += weight * x);
                    } else {
                        out.iter_mut().zip(x.iter().step_by(g.stride)).for_each(|(out, x)| *out += weight * x);
                    }
                }
            }
        }
    });
    out
}

fn input_gradient(delta: &[f32], weight: &[f32], g: &Geometry, back: &mut [f32]) {
    let meetings = meetings(g);
    let samples = back.par_chunks_exact_mut(g.channels * g.plane()).zip(delta.par_chunks_exact(g.outputs * g.out_plane()));
    samples.for_each(|(back, delta)| {
        for (output, input, at) in pairs(g) {
            let delta = &delta[output * g.out_plane()..(output + 1) * g.out_plane()];
            let back = &mut back[input * g.plane()..(input + 1) * g.plane()];
            for (meeting, &weight) in meetings.iter().zip(&weight[at..]) {
                for &(y, source) in &meeting.rows {
                    let delta = &delta[y * g.out[1]..][meeting.start..meeting.end];
                    let back = &mut back[source * g.size[1] + meeting.first..];
                    back.iter_mut().step_by(g.stride).zip(delta).for_each(|(back, delta)| *back += weight * delta);
                }
            }
        }
    });
}

fn weight_gradient(x: &[f32], delta: &[f32], g: &Geometry, back: &mut [f32]) {
    let meetings = meetings(g);
    let samples = x.chunks_exact(g.channels * g.plane()).zip(delta.chunks_exact(g.outputs * g.out_plane()));
    for (x, delta) in samples {
        for (output, input, at) in pairs(g) {
            let delta = &delta[output * g.out_plane()..(output + 1) * g.out_plane()];
            let x = &x[input * g.plane()..(input + 1) * g.plane()];
            for (meeting, back) in meetings.iter().zip(&mut back[at..]) {
                for &(y, source) in &meeting.rows {
                    let delta = &delta[y * g.out[1]..][meeting.start..meeting.end];
                    let x = &x[source * g.size[1] + meeting.first..];
                    *back += if g.stride == 1 {
                        dot(&x[..delta.len()], delta)
                    } else {
                        x.iter().step_by(g.stride).zip(delta).map(|(x, delta)| x * delta).sum()
                    };
                }
            }
        }
    }
}
