//! Convolutions whose kernels see several channels: products of matrices whose rows are runs of the laid-out images.

use rayon::prelude::*;

use super::planes::Planes;
use crate::tensor::gemm::{COLUMNS, Packed, Target, product, products_of_rows};
use crate::tensor::image::Geometry;

/// Outputs that samples of small images make together.
const RUN: usize = 512;
/// Parts of a batch with a gradient of the weights of their own; they are added in order.
const PARTS: usize = 16;

/// The outputs of a batch.
pub(super) fn forward(x: &[f32], weight: &[f32], g: &Geometry, relu: bool) -> Vec<f32> {
    let planes = Planes::new(g, RUN);
    let (inputs, outputs, taps) = (g.channels / g.groups, g.outputs / g.groups, g.taps());
    let groups: Vec<(Packed, Vec<usize>)> = (0..g.groups)
        .map(|group| {
            let at = |row: usize, k: usize| weight[(group * outputs + row) * inputs * taps + k];
            let starts = (0..inputs).flat_map(|input| input_starts(&planes, group * inputs + input));
            (Packed::new(outputs, inputs * taps, at), starts.collect())
        })
        .collect();
    let mut out = vec![0.0; g.batch * g.outputs * g.out_plane()];
    let (in_size, out_size) = (g.channels * g.plane(), g.outputs * g.out_plane());
    let parts = out.par_chunks_mut(planes.samples * out_size).zip(x.par_chunks(planes.samples * in_size));
    parts.for_each(|(out, x)| {
        let laid = lay_inputs(&planes, g, x, relu);
        let stride = planes.run().next_multiple_of(COLUMNS);
        let mut made = vec![0.0; if planes.plain() { 0 } else { outputs * stride }];
        for (group, (weights, starts)) in groups.iter().enumerate() {
            if planes.plain() {
                let numbers = &mut out[group * outputs * g.out_plane()..(group + 1) * outputs * g.out_plane()];
                let (stride, columns) = (g.out_plane(), g.out_plane());
                product(weights, &laid, starts, Target { numbers, stride, columns, add: false });
                continue;
            }
            product(weights, &laid, starts, Target { numbers: &mut made, stride, columns: planes.run(), add: false });
            for (output, made) in made.chunks_exact(stride).enumerate() {
                let own = (group * outputs + output) * g.out_plane();
                planes.lift_outputs(made, out.chunks_exact_mut(out_size).map(|out| &mut out[own..own + g.out_plane()]));
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
    let planes = Planes::new(g, RUN);
    let (inputs, outputs, taps) = (g.channels / g.groups, g.outputs / g.groups, g.taps());
    // For each group and phase: the weights that reach the phase, and where their outputs start.
    let back: Vec<Vec<(Packed, Vec<usize>)>> = (0..g.groups)
        .map(|group| {
            let phase = |phase: usize| {
                let own: Vec<usize> = (0..taps).filter(|&tap| planes.taps[tap].0 == phase).collect();
                let at = |input: usize, k: usize| {
                    let (output, tap) = (group * outputs + k / own.len(), own[k % own.len()]);
                    weight[(output * inputs + input) * taps + tap]
                };
                let starts = (0..outputs).flat_map(|output| {
                    let start = (group * outputs + output) * planes.stride + planes.lead;
                    own.iter().map(move |&tap| (start, tap))
                });
                let starts = starts.map(|(start, tap)| start - planes.taps[tap].1).collect();
                (Packed::new(inputs, outputs * own.len(), at), starts)
            };
            (0..planes.phases.len()).map(phase).collect()
        })
        .collect();
    let (in_size, out_size) = (g.channels * g.plane(), g.outputs * g.out_plane());
    // Whole runs of samples, in a number of parts that the batch alone decides.
    let runs = g.batch.div_ceil(planes.samples);
    let part = runs.div_ceil(PARTS) * planes.samples;
    let one = |x: &[f32], delta: &[f32], mut to_x: Option<&mut [f32]>| {
        let mut to_weight = vec![0.0; weight.len()];
        let run = (planes.samples * in_size, planes.samples * out_size);
        for (index, (x, delta)) in x.chunks(run.0).zip(delta.chunks(run.1)).enumerate() {
            let laid = lay_inputs(&planes, g, x, relu);
            let mut deltas = vec![0.0; g.outputs * planes.stride];
            for (output, plane) in deltas.chunks_exact_mut(planes.stride).enumerate() {
                let own = output * g.out_plane()..(output + 1) * g.out_plane();
                planes.lay_outputs(plane, delta.chunks_exact(out_size).map(|delta| &delta[own.clone()]));
            }
            for (group, to_weight) in to_weight.chunks_exact_mut(outputs * inputs * taps).enumerate() {
                let rows: Vec<usize> =
                    (0..outputs).map(|output| (group * outputs + output) * planes.stride + planes.lead).collect();
                let starts: Vec<usize> = (0..inputs).flat_map(|input| input_starts(&planes, group * inputs + input)).collect();
                products_of_rows(&deltas, &rows, &laid, &starts, planes.run().next_multiple_of(8), to_weight);
            }
            let Some(to_x) = &mut to_x else { continue };
            let to_x = &mut to_x[index * run.0..][..x.len()];
            input_gradient(&planes, g, &back, &deltas, relu.then_some(x), to_x);
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

/// Adds the gradient of the inputs of one run, with a mask only where that is positive.
fn input_gradient(
    planes: &Planes,
    g: &Geometry,
    back: &[Vec<(Packed, Vec<usize>)>],
    deltas: &[f32],
    mask: Option<&[f32]>,
    to_x: &mut [f32],
) {
    let (inputs, in_size) = (g.channels / g.groups, g.channels * g.plane());
    if mask.is_none() && planes.plain() && planes.phases.len() == 1 && g.padding == [0, 0] && g.out == g.size {
        for (phases, to_x) in back.iter().zip(to_x.chunks_exact_mut(inputs * g.plane())) {
            if let [(weights, starts)] = phases.as_slice() {
                product(weights, deltas, starts, Target { numbers: to_x, stride: g.plane(), columns: g.plane(), add: true });
            }
        }
        return;
    }
    let stride = planes.run().next_multiple_of(COLUMNS);
    let mut made = vec![0.0; inputs * stride];
    for (group, phases) in back.iter().enumerate() {
        for (phase, (weights, starts)) in phases.iter().enumerate() {
            product(weights, deltas, starts, Target { numbers: &mut made, stride, columns: planes.run(), add: false });
            for (input, made) in made.chunks_exact(stride).enumerate() {
                let own = (group * inputs + input) * g.plane()..(group * inputs + input + 1) * g.plane();
                let samples = to_x.chunks_exact_mut(in_size).enumerate().map(|(index, to_x)| {
                    let mask = mask.and_then(|mask| mask.get(index * in_size..)).map(|mask| &mask[own.clone()]);
                    (&mut to_x[own.clone()], mask)
                });
                planes.lift(made, phase, samples);
            }
        }
    }
}

/// All channels of some samples, laid out phase by phase.
fn lay_inputs(planes: &Planes, g: &Geometry, x: &[f32], relu: bool) -> Vec<f32> {
    let phases = planes.phases.len();
    let mut laid = vec![0.0; g.channels * phases * planes.stride];
    for (index, plane) in laid.chunks_exact_mut(planes.stride).enumerate() {
        let own = index / phases * g.plane()..(index / phases + 1) * g.plane();
        planes.lay(plane, index % phases, x.chunks_exact(g.channels * g.plane()).map(|x| &x[own.clone()]));
    }
    if relu {
        laid.iter_mut().for_each(|x| *x = x.max(0.0));
    }
    laid
}

/// Where the run of each place of the kernel starts in a channel.
fn input_starts(planes: &Planes, channel: usize) -> impl Iterator<Item = usize> {
    let first = channel * planes.phases.len();
    planes.taps.iter().map(move |(phase, offset)| (first + phase) * planes.stride + offset)
}
