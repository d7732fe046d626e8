//! Convolutions whose kernels see one channel, and the means of windows, which are such with equal weights.

use rayon::prelude::*;

use super::planes::Planes;
use crate::tensor::gemm::folded;
use crate::tensor::image::Geometry;
use crate::tensor::simd::{fma, kernel};

/// Parts of a batch with a gradient of the weights of their own; they are added in order.
const PARTS: usize = 16;
/// Outputs that are computed side by side, as rows of [`LANES`]; as many sums fill half of the registers.
const BLOCK: usize = 8;
pub(super) const LANES: usize = 8;
/// Numbers of a block: what is laid out is a multiple of it, so that no block is cut off.
pub(super) const STEP: usize = BLOCK * LANES;

/// The outputs of a batch.
pub(super) fn forward(x: &[f32], weight: &[f32], g: &Geometry, relu: bool) -> Vec<f32> {
    let planes = Planes::new(g, 1);
    let (multiple, taps) = (g.outputs / g.groups, g.taps());
    let mut out = vec![0.0; g.batch * g.outputs * g.out_plane()];
    let (in_size, out_size) = (g.channels * g.plane(), g.outputs * g.out_plane());
    out.par_chunks_exact_mut(out_size).zip(x.par_chunks_exact(in_size)).for_each(|(out, x)| {
        let (mut laid, mut made) = (Laid::new(&planes), vec![0.0; room(&planes)]);
        for (channel, x) in x.chunks_exact(g.plane()).enumerate() {
            laid.lay(&planes, x);
            if relu {
                laid.rectify();
            }
            for output in channel * multiple..(channel + 1) * multiple {
                weighted_sums(&laid.numbers, &laid.starts, &weight[output * taps..(output + 1) * taps], &mut made);
                let own = &mut out[output * g.out_plane()..(output + 1) * g.out_plane()];
                planes.lift_outputs(&made, std::iter::once(own));
            }
        }
    });
    out
}

/// Adds the gradients of the weights and, where it is asked for, of the inputs.
pub(super) fn backward(
    [x, delta, weight]: [&[f32]; 3],
    g: &Geometry,
    relu: bool,
    to_weight: &mut [f32],
    to_x: Option<&mut [f32]>,
) {
    let planes = Planes::new(g, 1);
    let (multiple, taps) = (g.outputs / g.groups, g.taps());
    let (in_size, out_size) = (g.channels * g.plane(), g.outputs * g.out_plane());
    let part = g.batch.div_ceil(PARTS);
    let one = |x: &[f32], delta: &[f32], mut to_x: Option<&mut [f32]>| {
        let mut to_weight = vec![0.0; weight.len()];
        let mut laid = Laid::new(&planes);
        let mut back = Back::new(&planes);
        for (index, (x, delta)) in x.chunks_exact(in_size).zip(delta.chunks_exact(out_size)).enumerate() {
            for (channel, x) in x.chunks_exact(g.plane()).enumerate() {
                laid.lay(&planes, x);
                if relu {
                    laid.rectify();
                }
                for output in channel * multiple..(channel + 1) * multiple {
                    back.lay(&planes, &delta[output * g.out_plane()..(output + 1) * g.out_plane()]);
                    let own = output * taps..(output + 1) * taps;
                    correlations(
                        &laid.numbers,
                        &laid.starts,
                        &back.numbers[planes.lead..],
                        planes.run(),
                        &mut to_weight[own.clone()],
                    );
                    if let Some(to_x) = &mut to_x {
                        let at = index * in_size + channel * g.plane();
                        back.lift(&planes, &weight[own], &mut to_x[at..at + g.plane()], relu.then_some(x));
                    }
                }
            }
        }
        to_weight
    };
    let data = x.par_chunks(part * in_size).zip(delta.par_chunks(part * out_size));
    let gradients: Vec<Vec<f32>> = match to_x {
        Some(to_x) => data.zip(to_x.par_chunks_mut(part * in_size)).map(|((x, delta), to)| one(x, delta, Some(to))).collect(),
        None => data.map(|(x, delta)| one(x, delta, None)).collect(),
    };
    gradients.iter().for_each(|part| crate::tensor::cpu::add(to_weight, part));
}

/// Numbers that [`weighted_sums`] writes for a plane.
pub(super) fn room(planes: &Planes) -> usize {
    planes.run().next_multiple_of(STEP)
}

/// A channel of one image between zeros, phase by phase, and where each place of the kernel reads.
pub(super) struct Laid {
    pub numbers: Vec<f32>,
    pub starts: Vec<usize>,
    stride: usize,
}

impl Laid {
    pub(super) fn new(planes: &Planes) -> Self {
        Self::filled(planes, 0.0)
    }

    /// The same between other numbers.
    pub(super) fn filled(planes: &Planes, padding: f32) -> Self {
        let stride = planes.stride + STEP;
        let starts = planes.taps.iter().map(|(phase, offset)| phase * stride + offset).collect();
        Self { numbers: vec![padding; planes.phases.len() * stride], starts, stride }
    }

    pub(super) fn lay(&mut self, planes: &Planes, x: &[f32]) {
        for (phase, plane) in self.numbers.chunks_exact_mut(self.stride).enumerate() {
            planes.lay(plane, phase, std::iter::once(x));
        }
    }

    /// `max(x, 0)` of what is laid out.
    fn rectify(&mut self) {
        self.numbers.iter_mut().for_each(|x| *x = x.max(0.0));
    }
}

/// The gradient of a channel's outputs between zeros, and for each phase the places of the kernel that read it and where their
/// outputs start.
pub(super) struct Back {
    pub numbers: Vec<f32>,
    phases: Vec<(Vec<usize>, Vec<usize>)>,
    weights: Vec<f32>,
    made: Vec<f32>,
}

impl Back {
    pub(super) fn new(planes: &Planes) -> Self {
        let phase = |phase: usize| {
            let own: Vec<usize> = (0..planes.taps.len()).filter(|&tap| planes.taps[tap].0 == phase).collect();
            let starts = own.iter().map(|&tap| planes.lead - planes.taps[tap].1).collect();
            (own, starts)
        };
        let phases = (0..planes.phases.len()).map(phase).collect();
        Self { numbers: vec![0.0; planes.stride + STEP], phases, weights: Vec::new(), made: vec![0.0; room(planes)] }
    }

    pub(super) fn lay(&mut self, planes: &Planes, delta: &[f32]) {
        planes.lay_outputs(&mut self.numbers, std::iter::once(delta));
    }

    /// Adds the gradient of the channel, with a mask only where that is positive.
    pub(super) fn lift(&mut self, planes: &Planes, weight: &[f32], to_x: &mut [f32], mask: Option<&[f32]>) {
        let mut weights = std::mem::take(&mut self.weights);
        self.lift_with(planes, to_x, mask, |numbers, taps, starts, made| {
            weights.clear();
            weights.extend(taps.iter().map(|&tap| weight[tap]));
            weighted_sums(numbers, starts, &weights, made);
        });
        self.weights = weights;
    }

    /// Adds the gradient of the channel, which `sums` computes from that of the outputs, for some places of the kernel and
    /// where each starts.
    pub(super) fn lift_with(
        &mut self,
        planes: &Planes,
        to_x: &mut [f32],
        mask: Option<&[f32]>,
        mut sums: impl FnMut(&[f32], &[usize], &[usize], &mut [f32]),
    ) {
        for (phase, (taps, starts)) in self.phases.iter().enumerate() {
            sums(&self.numbers, taps, starts, &mut self.made);
            planes.lift(&self.made, phase, std::iter::once((&mut *to_x, mask)));
        }
    }
}

kernel! {
    /// `out[p] = Σ weight · numbers[start + p]`, for whole blocks of [`STEP`] outputs.
    pub(super) fn weighted_sums<'a>(numbers: &'a [f32], starts: &'a [usize], weights: &'a [f32], out: &'a mut [f32]) {
        for (block, out) in out.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
            let numbers = numbers.get(block * STEP..).unwrap_or(&[]);
            let mut sums = [[0.0_f32; LANES]; BLOCK];
            for (&start, &weight) in starts.iter().zip(weights) {
                let Some(run) = numbers.get(start..).and_then(|run| run.first_chunk::<STEP>()) else { continue };
                for (sums, run) in sums.iter_mut().zip(run.as_chunks::<LANES>().0) {
                    sums.iter_mut().zip(run).for_each(|(sum, x)| *sum = fma::<FMA>(weight, *x, *sum));
                }
            }
            out.copy_from_slice(sums.as_flattened());
        }
    }
}

/// Places of the kernel whose sums are kept side by side.
const TAPS: usize = 9;

kernel! {
    /// `to[tap] += Σ delta[p] · numbers[start + p]`, over `run` outputs rounded up to whole lanes, where the gradient is 0.
    pub(super) fn correlations<'a>(numbers: &'a [f32], starts: &'a [usize], delta: &'a [f32], run: usize, to: &'a mut [f32]) {
        let count = run.div_ceil(LANES);
        let delta = &delta.as_chunks::<LANES>().0[..count];
        for (starts, to) in starts.chunks(TAPS).zip(to.chunks_mut(TAPS)) {
            // What is missing in the last block repeats its first place.
            let start = |index: usize| starts.get(index).or(starts.first()).copied().unwrap_or(0);
            let runs: [&[[f32; LANES]]; TAPS] =
                std::array::from_fn(|index| &numbers[start(index)..start(index) + count * LANES].as_chunks::<LANES>().0[..count]);
            let mut sums = [[0.0_f32; LANES]; TAPS];
            for (at, delta) in delta.iter().enumerate() {
                for (sums, run) in sums.iter_mut().zip(&runs) {
                    sums.iter_mut().zip(&run[at]).zip(delta).for_each(|((sum, x), delta)| *sum = fma::<FMA>(*delta, *x, *sum));
                }
            }
            to.iter_mut().zip(&sums).for_each(|(to, sums)| *to += folded(sums));
        }
    }
}
