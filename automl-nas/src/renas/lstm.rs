//! A long short-term memory over one sequence, forward and backward: Hochreiter and Schmidhuber, Neural Computation 9, 1997, with
//! forget gates (Gers et al. 2000).
//!
//! On plain slices and not on a tape: a sequence of twenty tokens is so little work that what a tape does for each operation
//! would take most of the time. The input of all steps is one matrix product, and so is each gradient; only the product with the
//! hidden state goes step by step.

use ndarray::ArrayView2;

use crate::tensor::{add_product, dot, sigmoid, tanh};

/// Gates of a unit: input, forget, candidate, output.
pub(super) const GATES: usize = 4;

/// Weights of one direction, or their gradients: row-major, each row the gates one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lstm {
    /// Inputs × 4 hidden.
    pub input: Vec<f32>,
    /// Hidden × 4 hidden.
    pub hidden: Vec<f32>,
    /// 4 hidden.
    pub bias: Vec<f32>,
}

/// What a pass keeps for the way back, a row a step, in the order of the sequence.
#[derive(Debug)]
pub(super) struct Pass {
    reverse: bool,
    units: usize,
    /// Steps × 4 hidden, after their functions.
    gates: Vec<f32>,
    /// Steps × hidden: the cells' hyperbolic tangents.
    squashed: Vec<f32>,
    /// Steps × hidden: the cells.
    cells: Vec<f32>,
    /// Steps × hidden: the states, which are the result.
    pub states: Vec<f32>,
}

impl Pass {
    /// The step whose state a step goes on from.
    fn before(&self, step: usize, steps: usize) -> Option<usize> {
        if self.reverse { Some(step + 1).filter(|&before| before < steps) } else { step.checked_sub(1) }
    }
}

/// The steps in the order in which they are taken.
fn order(steps: usize, reverse: bool) -> impl DoubleEndedIterator<Item = usize> {
    (0..steps).map(move |step| if reverse { steps - 1 - step } else { step })
}

/// `to += a b`, of rows × inner and inner × columns; either may be read transposed.
pub(super) fn add_matrices(a: (&[f32], [usize; 2], bool), b: (&[f32], [usize; 2], bool), to: &mut [f32]) {
    let (Ok(left), Ok(right)) = (ArrayView2::from_shape(a.1, a.0), ArrayView2::from_shape(b.1, b.0)) else { return };
    let left = if a.2 { left.reversed_axes() } else { left };
    let right = if b.2 { right.reversed_axes() } else { right };
    add_product(left, right, to);
}

/// `to += factor · row`.
pub(super) fn add_scaled(to: &mut [f32], factor: f32, row: &[f32]) {
    to.iter_mut().zip(row).for_each(|(to, row)| *to += factor * row);
}

/// `to += row · matrix`, of the row's length × the length of `to`; a block of sums stays in registers.
fn add_row(row: &[f32], matrix: &[f32], to: &mut [f32]) {
    const BLOCK: usize = 16;
    let width = to.len();
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let done = blocks.len() * BLOCK;
    for (index, sums) in blocks.iter_mut().enumerate() {
        let mut own = *sums;
        for (factor, weights) in row.iter().zip(matrix.chunks_exact(width)) {
            if let Some(weights) = weights.get(index * BLOCK..(index + 1) * BLOCK) {
                own.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += factor * weight);
            }
        }
        *sums = own;
    }
    for (factor, weights) in row.iter().zip(matrix.chunks_exact(width)) {
        add_scaled(rest, *factor, weights.get(done..).unwrap_or_default());
    }
}

impl Lstm {
    /// Reads `x`, steps × inputs; from its end if `reverse`.
    pub fn forward(&self, x: &[f32], steps: usize, reverse: bool) -> Pass {
        let width = self.bias.len();
        let units = width / GATES;
        let inputs = x.len() / steps.max(1);
        let mut gates = Vec::with_capacity(steps * width);
        (0..steps).for_each(|_| gates.extend_from_slice(&self.bias));
        add_matrices((x, [steps, inputs], false), (&self.input, [inputs, width], false), &mut gates);
        let zeros = vec![0.0; steps * units];
        let mut pass = Pass { reverse, units, gates, squashed: zeros.clone(), cells: zeros.clone(), states: zeros };
        let (mut state, mut cell) = (vec![0.0; units], vec![0.0; units]);
        for step in order(steps, reverse) {
            let row = &mut pass.gates[step * width..(step + 1) * width];
            add_row(&state, &self.hidden, row);
            let (inner, output) = row.split_at_mut(3 * units);
            let (input, rest) = inner.split_at_mut(units);
            let (forget, candidate) = rest.split_at_mut(units);
            for gate in [&mut *input, &mut *forget, &mut *output] {
                gate.iter_mut().for_each(|z| *z = sigmoid(*z));
            }
            candidate.iter_mut().for_each(|z| *z = tanh(*z));
            for (((cell, input), forget), candidate) in cell.iter_mut().zip(&*input).zip(&*forget).zip(&*candidate) {
                *cell = *forget * *cell + *input * *candidate;
            }
            let own = step * units..(step + 1) * units;
            pass.cells[own.clone()].copy_from_slice(&cell);
            let squashed = &mut pass.squashed[own.clone()];
            squashed.iter_mut().zip(&cell).for_each(|(squashed, cell)| *squashed = tanh(*cell));
            state.iter_mut().zip(&*output).zip(&*squashed).for_each(|((state, output), squashed)| *state = output * squashed);
            pass.states[own].copy_from_slice(&state);
        }
        pass
    }

    /// Adds to `gradients`, and to `dx` (steps × inputs), what flows back from `delta`, the gradient of the states.
    pub fn backward(&self, x: &[f32], pass: &Pass, delta: &[f32], gradients: &mut Self, dx: &mut [f32]) {
        let (units, width) = (pass.units, self.bias.len());
        let steps = delta.len() / units.max(1);
        let inputs = x.len() / steps.max(1);
        let mut dz = vec![0.0; steps * width];
        let mut before = vec![0.0; steps * units];
        let (mut d_state, mut d_cell) = (vec![0.0; units], vec![0.0; units]);
        let none = vec![0.0; units];
        for step in order(steps, pass.reverse).rev() {
            let own = step * units..(step + 1) * units;
            let (gates, squashed) = (&pass.gates[step * width..(step + 1) * width], &pass.squashed[own.clone()]);
            let (inner, output) = gates.split_at(3 * units);
            let (input, rest) = inner.split_at(units);
            let (forget, candidate) = rest.split_at(units);
            let previous = pass.before(step, steps);
            let cells = previous.map_or(&none[..], |at| &pass.cells[at * units..(at + 1) * units]);
            let row = &mut dz[step * width..(step + 1) * width];
            for unit in 0..units {
                let d = d_state[unit] + delta[step * units + unit];
                let (i, f, g, o, s) = (input[unit], forget[unit], candidate[unit], output[unit], squashed[unit]);
                let dc = d_cell[unit] + d * o * (1.0 - s * s);
                row[unit] = dc * g * i * (1.0 - i);
                row[units + unit] = dc * cells[unit] * f * (1.0 - f);
                row[2 * units + unit] = dc * i * (1.0 - g * g);
                row[3 * units + unit] = d * s * o * (1.0 - o);
                d_cell[unit] = dc * f;
            }
            if let Some(at) = previous {
                before[own].copy_from_slice(&pass.states[at * units..(at + 1) * units]);
                d_state.iter_mut().zip(self.hidden.chunks_exact(width)).for_each(|(d, weights)| *d = dot(row, weights));
            }
        }
        add_matrices((x, [steps, inputs], true), (&dz, [steps, width], false), &mut gradients.input);
        add_matrices((&before, [steps, units], true), (&dz, [steps, width], false), &mut gradients.hidden);
        dz.chunks_exact(width).for_each(|row| add_scaled(&mut gradients.bias, 1.0, row));
        add_matrices((&dz, [steps, width], false), (&self.input, [inputs, width], true), dx);
    }
}
