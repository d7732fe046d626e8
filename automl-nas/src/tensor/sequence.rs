//! Operations on batches of sequences: what encoders, decoders and controllers over tokens are made of.
//!
//! A batch of sequences is one matrix, time-major: row `step · batch + index`. Shorter sequences are padded at their end;
//! nothing here looks ahead, so padding needs no mask but where steps meet ([`mean_steps`], [`attention`]). Each operation is
//! one entry on the tape: a whole LSTM is one gemm over the inputs of all steps and one a step for the hidden state. They are
//! the processor's alone: the networks over tokens have some hundred units, too few for a card to gain from.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, CpuError, Gradients, PutTape, SplitTape, Tape, TensorFromVec};
use dfdx::tensor_ops::{TryAdd, TryMatMul};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::activation::{exp, sigmoid, tanh};
use super::cpu::{add, dot, sum, taken, tensor, view, wrong};
use super::gemm::{Packed, Right, add_product};
use super::lend::lend;
use super::simd::kernel;
use super::{Activation, Linear, Matrix, NnDevice, Params, Scalar, TensorError, values};

/// The weights of a long short-term memory (Hochreiter and Schmidhuber 1997); the gates stand in the order input, forget,
/// candidate, output.
pub struct Lstm<'a> {
    /// Inputs × 4 units.
    pub input: &'a Matrix<Cpu>,
    /// Units × 4 units.
    pub hidden: &'a Matrix<Cpu>,
    /// 1 × 4 units.
    pub bias: &'a Matrix<Cpu>,
}

impl Lstm<'_> {
    fn units(&self) -> usize {
        self.hidden.shape().0
    }
}

/// The hidden states of all steps, (steps · batch) × units, for inputs of (steps · batch) × inputs that follow the state `start`,
/// batch × 2 units: the hidden state beside the cell.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn lstm<T: Tape<f32, Cpu>>(
    weights: &Lstm<'_>,
    x: Matrix<Cpu, T>,
    start: Matrix<Cpu, T>,
) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, inputs), sizes) = (*x.shape(), Sizes { batch: start.shape().0, units: weights.units() });
    sizes.check(rows, &start)?;
    let mut sums = Vec::with_capacity(rows * sizes.width());
    (0..rows).for_each(|_| sums.extend_from_slice(lend(weights.bias)));
    let input = Right::new(view(lend(weights.input), inputs, sizes.width())?);
    let of_x = view(lend(&x), rows, inputs)?;
    let hidden = Right::new(view(lend(weights.hidden), sizes.units, sizes.width())?);
    let [states, cells] = sizes.forward(&mut sums, lend(&start), &hidden, Some((&input, of_x)));
    let out = states[sizes.block()..].to_vec();

    let (x, tape) = x.split_tape();
    let (start, other) = start.split_tape();
    let mut tape = tape.merge(other);
    let out = tensor(&x, rows, sizes.units, out)?;
    let of = out.clone();
    let (w_input, w_hidden, w_bias) = (weights.input.clone(), weights.hidden.clone(), weights.bias.clone());
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let input = Right::new(view(lend(&w_input), inputs, sizes.width()).map_err(wrong)?.reversed_axes());
        let to_x = gradients.get_or_alloc_mut(&x)?;
        let to_start = sizes.backward(&mut sums, &cells, delta, &w_hidden, Some((&input, to_x, inputs)))?;
        add(gradients.get_or_alloc_mut(&start)?, &to_start);
        let to_bias = gradients.get_or_alloc_mut(&w_bias)?;
        sums.chunks_exact(sizes.width()).for_each(|row| add(to_bias, row));
        let sums = view(&sums, rows, sizes.width()).map_err(wrong)?;
        let before = view(&states[..rows * sizes.units], rows, sizes.units).map_err(wrong)?;
        add_product(before.t(), sums, gradients.get_or_alloc_mut(&w_hidden)?);
        add_product(view(lend(&x), rows, inputs).map_err(wrong)?.t(), sums, gradients.get_or_alloc_mut(&w_input)?);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// What inputs of rows × inputs bring to the gates, rows × 4 units. Of a table of words it is a table again, from which
/// [`gather`] takes the rows of a text: one product for each word in place of one for each place.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn to_gates<T: Tape<f32, Cpu>>(weights: &Lstm<'_>, x: Matrix<Cpu, T>) -> Result<Matrix<Cpu, T>, TensorError> {
    let (weight, bias) = (weights.input, weights.bias);
    Cpu::linear(&Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true }, x)
}

/// The hidden states of all steps, (steps · batch) × units, for what the inputs bring to the gates, (steps · batch) × 4 units.
/// `hidden` is units × 4 units, `start` batch × 2 units.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn recur<T: Tape<f32, Cpu>>(
    hidden: &Matrix<Cpu>,
    gates: Matrix<Cpu, T>,
    start: Matrix<Cpu, T>,
) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, width), sizes) = (*gates.shape(), Sizes { batch: start.shape().0, units: hidden.shape().0 });
    sizes.check(rows, &start)?;
    if width != sizes.width() {
        return Err(TensorError::of(format!("{width} gates of {} units", sizes.units)));
    }
    let mut sums = values(&gates);
    let weights = Right::new(view(lend(hidden), sizes.units, width)?);
    let [states, cells] = sizes.forward(&mut sums, lend(&start), &weights, None);
    let out = states[sizes.block()..].to_vec();

    let (gates, tape) = gates.split_tape();
    let (start, other) = start.split_tape();
    let mut tape = tape.merge(other);
    let out = tensor(&gates, rows, sizes.units, out)?;
    let of = out.clone();
    let hidden = hidden.clone();
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let to_start = sizes.backward(&mut sums, &cells, delta, &hidden, None)?;
        add(gradients.get_or_alloc_mut(&start)?, &to_start);
        let before = view(&states[..rows * sizes.units], rows, sizes.units).map_err(wrong)?;
        let to_gates = view(&sums, rows, width).map_err(wrong)?;
        add_product(before.t(), to_gates, gradients.get_or_alloc_mut(&hidden)?);
        add(gradients.get_or_alloc_mut(&gates)?, &sums);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// Sequences and units of an LSTM.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    units: usize,
}

impl Sizes {
    fn check<T>(self, rows: usize, start: &Matrix<Cpu, T>) -> Result<(), TensorError> {
        let numbers = start.shape().1;
        if self.batch == 0 || self.units == 0 || !rows.is_multiple_of(self.batch) || numbers != 2 * self.units {
            return Err(TensorError::of(format!("{rows} rows for {} states of {numbers} numbers", self.batch)));
        }
        Ok(())
    }

    /// Gates of a sequence.
    fn width(self) -> usize {
        4 * self.units
    }

    /// Numbers of the states of one step.
    fn block(self) -> usize {
        self.batch * self.units
    }

    /// Turns the sums that reach the gates, but for what inputs of a right operand and hidden states bring, into the values of
    /// the gates. Gives hidden states and cells; what came before each step stands one step earlier: the start, then the outcome
    /// of every step.
    fn forward(
        self,
        sums: &mut [f32],
        start: &[f32],
        hidden: &Right<'_>,
        input: Option<(&Right<'_>, ArrayView2<'_, f32>)>,
    ) -> [Vec<f32>; 2] {
        let (units, steps) = (self.units, sums.len() / (self.batch * self.width()));
        let [mut states, mut cells] = [0, 1].map(|_| vec![0.0; (steps + 1) * self.block()]);
        for (row, start) in start.chunks_exact(2 * units).enumerate() {
            let (state, cell) = start.split_at(units);
            states[row * units..(row + 1) * units].copy_from_slice(state);
            cells[row * units..(row + 1) * units].copy_from_slice(cell);
        }
        let shares = share(sums, self.width(), self.batch).into_iter().zip(share(&mut states, units, self.batch));
        let shares: Vec<_> = shares.zip(share(&mut cells, units, self.batch)).enumerate().collect();
        shares.into_par_iter().for_each(|(index, ((sums, mut states), mut cells))| {
            for (step, sums) in sums.into_iter().enumerate() {
                let ([.., before], [after, ..]) = states.split_at_mut(step + 1) else { continue };
                let ([.., old], [new, ..]) = cells.split_at_mut(step + 1) else { continue };
                let (first, rows) = (step * self.batch + index * SHARE, before.len() / units);
                if let Some((input, x)) = &input {
                    input.add_to(x.slice(s![first..first + rows, ..]), sums);
                }
                // An encoder starts from nothing.
                let some = step > 0 || before.iter().any(|x| *x != 0.0);
                if let (true, Ok(before)) = (some, view(before, rows, units)) {
                    hidden.add_to(before, sums);
                }
                gate(sums, old, new, after, units);
            }
        });
        [states, cells]
    }

    /// Turns the values of the gates into the gradients of the sums that reached them, for the gradient of the hidden states, and
    /// gives that of the start. Adds that of the inputs, for the input weights the other way round and a width.
    fn backward(
        self,
        gates: &mut [f32],
        cells: &[f32],
        mut delta: Vec<f32>,
        hidden: &Matrix<Cpu>,
        input: Option<(&Right<'_>, &mut Vec<f32>, usize)>,
    ) -> Result<Vec<f32>, CpuError> {
        let (units, block) = (self.units, self.block());
        let steps = gates.len() / (self.batch * self.width());
        delta.resize(steps * block, 0.0);
        let [mut to_cell, mut to_state] = [0, 1].map(|_| vec![0.0; block]);
        let hidden = Right::new(view(lend(hidden), units, self.width()).map_err(wrong)?.reversed_axes());
        let (input, to_x) = match input {
            Some((input, to_x, width)) => (Some(input), share(to_x, width, self.batch)),
            None => (None, share(&mut [], 1, self.batch)),
        };
        let shares = share(gates, self.width(), self.batch).into_iter().zip(share(&mut delta, units, self.batch));
        let ends = share(&mut to_cell, units, self.batch).into_iter().zip(share(&mut to_state, units, self.batch));
        let shares: Vec<_> = shares.zip(ends).zip(to_x).enumerate().collect();
        shares.into_par_iter().for_each(|(index, (((gates, mut delta), (to_cell, to_state)), mut to_x))| {
            let (Some(to_cell), Some(to_state)) = (to_cell.into_iter().next(), to_state.into_iter().next()) else { return };
            let own = |step: usize| step * block + index * SHARE * units..step * block + index * SHARE * units + to_cell.len();
            let owns: Vec<_> = (0..=steps).map(own).collect();
            for (step, gates) in gates.into_iter().enumerate().rev() {
                ungate(gates, &cells[owns[step].clone()], &cells[owns[step + 1].clone()], delta[step], to_cell, units);
                let Ok(gates) = view(gates, gates.len() / self.width(), self.width()) else { continue };
                let gates = Packed::of(gates);
                hidden.add_packed(&gates, if step > 0 { &mut *delta[step - 1] } else { &mut *to_state });
                if let (Some(input), Some(to_x)) = (input, to_x.get_mut(step)) {
                    input.add_packed(&gates, to_x);
                }
            }
        });
        let parts = to_state.chunks_exact(units).zip(to_cell.chunks_exact(units));
        Ok(parts.flat_map(|(state, cell)| [state, cell].concat()).collect())
    }
}

/// Sequences that go through their steps together, on one thread.
const SHARE: usize = 24;

/// The rows of each share of a batch, step by step.
fn share(numbers: &mut [f32], width: usize, batch: usize) -> Vec<Vec<&mut [f32]>> {
    let mut shares: Vec<Vec<&mut [f32]>> = (0..batch.div_ceil(SHARE)).map(|_| Vec::new()).collect();
    for step in numbers.chunks_exact_mut((batch * width).max(1)) {
        shares.iter_mut().zip(step.chunks_mut((SHARE * width).max(1))).for_each(|(share, rows)| share.push(rows));
    }
    shares
}

/// The state after one step, batch × 2 units, for inputs of batch × inputs and the state before, batch × 2 units.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn lstm_step(weights: &Lstm<'_>, x: &Matrix<Cpu>, state: &Matrix<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
    let ((batch, inputs), units) = (*x.shape(), weights.units());
    let (of_x, before) = (values(x), values(state));
    let (input, hidden, bias) = (values(weights.input), values(weights.hidden), values(weights.bias));
    let mut gates = Vec::with_capacity(batch * 4 * units);
    (0..batch).for_each(|_| gates.extend_from_slice(&bias));
    add_product(view(&of_x, batch, inputs)?, view(&input, inputs, 4 * units)?, &mut gates);
    let before = view(&before, batch, 2 * units)?;
    add_product(before.slice(s![.., ..units]), view(&hidden, units, 4 * units)?, &mut gates);
    let old: Vec<f32> = before.slice(s![.., units..]).iter().copied().collect();
    let (mut new, mut after) = (vec![0.0; batch * units], vec![0.0; batch * units]);
    gate(&mut gates, &old, &mut new, &mut after, units);
    let rows = after.chunks_exact(units).zip(new.chunks_exact(units));
    tensor(x, batch, 2 * units, rows.flat_map(|(state, cell)| [state, cell].concat()).collect())
}

kernel! {
    /// Turns the sums that reach the gates of one step into their values, and gives the new cells and states.
    fn gate<'a>(gates: &'a mut [f32], old: &'a [f32], new: &'a mut [f32], after: &'a mut [f32], units: usize) {
        let rows = gates.chunks_exact_mut(4 * units).zip(old.chunks_exact(units));
        let outs = new.chunks_exact_mut(units).zip(after.chunks_exact_mut(units));
        for ((gates, old), (new, after)) in rows.zip(outs) {
            let (input_forget, rest) = gates.split_at_mut(2 * units);
            let (candidate, output) = rest.split_at_mut(units);
            input_forget.iter_mut().for_each(|x| *x = sigmoid(*x));
            candidate.iter_mut().for_each(|x| *x = tanh(*x));
            output.iter_mut().for_each(|x| *x = sigmoid(*x));
            let (input, forget) = input_forget.split_at(units);
            for ((((new, old), input), forget), candidate) in new.iter_mut().zip(old).zip(input).zip(forget).zip(&*candidate) {
                *new = forget * old + input * candidate;
            }
            for ((after, new), output) in after.iter_mut().zip(&*new).zip(&*output) {
                *after = output * tanh(*new);
            }
        }
    }
}

kernel! {
    /// Turns the values of the gates of one step into the gradients of the sums that reached them, and `to_cell` from the
    /// gradient of the new cells into that of the old ones.
    fn ungate<'a>(gates: &'a mut [f32], old: &'a [f32], new: &'a [f32], delta: &'a [f32], to_cell: &'a mut [f32], units: usize) {
        let rows = gates.chunks_exact_mut(4 * units).zip(old.chunks_exact(units)).zip(new.chunks_exact(units));
        for (((gates, old), new), (delta, to_cell)) in rows.zip(delta.chunks_exact(units).zip(to_cell.chunks_exact_mut(units))) {
            let (input, rest) = gates.split_at_mut(units);
            let (forget, rest) = rest.split_at_mut(units);
            let (candidate, output) = rest.split_at_mut(units);
            for (((delta, to_cell), output), new) in delta.iter().zip(to_cell.iter_mut()).zip(output).zip(new) {
                let (o, squashed) = (*output, tanh(*new));
                *to_cell += delta * o * (1.0 - squashed * squashed);
                *output = delta * squashed * o * (1.0 - o);
            }
            let pairs = input.iter_mut().zip(forget).zip(candidate).zip(to_cell.iter_mut()).zip(old);
            for ((((input, forget), candidate), to_cell), old) in pairs {
                let (i, f, g, c) = (*input, *forget, *candidate, *to_cell);
                *input = c * g * i * (1.0 - i);
                *forget = c * old * f * (1.0 - f);
                *candidate = c * i * (1.0 - g * g);
                *to_cell = c * f;
            }
        }
    }
}

/// Rows of a table by their numbers: an embedding, the last steps of sequences, or sequences reversed.
///
/// # Errors
/// [`TensorError`] for a number that is not a row's.
pub fn gather<T: Tape<f32, Cpu>>(table: Matrix<Cpu, T>, rows: &[usize]) -> Result<Matrix<Cpu, T>, TensorError> {
    let (count, columns) = *table.shape();
    if let Some(row) = rows.iter().find(|row| **row >= count) {
        return Err(TensorError::of(format!("row {row} of {count} is asked for")));
    }
    let of_table = values(&table);
    let out = rows.iter().flat_map(|row| &of_table[row * columns..(row + 1) * columns]).copied().collect();
    let (table, mut tape) = table.split_tape();
    let out = tensor(&table, rows.len(), columns, out)?;
    let (of, rows) = (out.clone(), rows.to_vec());
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let back = gradients.get_or_alloc_mut(&table)?;
        for (row, delta) in rows.iter().zip(delta.chunks_exact(columns.max(1))) {
            add(&mut back[row * columns..(row + 1) * columns], delta);
        }
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// Two matrices of as many rows beside each other.
///
/// # Errors
/// [`TensorError`] where their rows differ in number.
pub fn beside<T: Tape<f32, Cpu>>(a: Matrix<Cpu, T>, b: Matrix<Cpu, T>) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, left), (others, right)) = (*a.shape(), *b.shape());
    if rows != others {
        return Err(TensorError::of(format!("{rows} rows beside {others}")));
    }
    let (of_a, of_b) = (values(&a), values(&b));
    let out = (0..rows).flat_map(|row| [&of_a[row * left..(row + 1) * left], &of_b[row * right..(row + 1) * right]]);
    let out: Vec<f32> = out.flatten().copied().collect();
    let (a, tape) = a.split_tape();
    let (b, other) = b.split_tape();
    let mut tape = tape.merge(other);
    let out = tensor(&a, rows, left + right, out)?;
    let of = out.clone();
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        for (to, from, width) in [(&a, 0, left), (&b, left, right)] {
            let back = gradients.get_or_alloc_mut(to)?;
            for (back, delta) in back.chunks_exact_mut(width.max(1)).zip(delta.chunks_exact((left + right).max(1))) {
                add(back, &delta[from..from + width]);
            }
        }
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// Each row at length one.
///
/// # Errors
/// [`TensorError`].
pub fn unit_rows<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>) -> Result<Matrix<Cpu, T>, TensorError> {
    let (rows, columns) = *x.shape();
    let mut out = values(&x);
    let mut inverses = Vec::with_capacity(rows);
    for row in out.chunks_exact_mut(columns.max(1)) {
        let inverse = 1.0 / (dot(row, row) + 1e-12).sqrt();
        row.iter_mut().for_each(|x| *x *= inverse);
        inverses.push(inverse);
    }
    let normal = if T::OWNS_TAPE { out.clone() } else { Vec::new() };
    let (x, mut tape) = x.split_tape();
    let out = tensor(&x, rows, columns, out)?;
    let of = out.clone();
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let back = gradients.get_or_alloc_mut(&x)?;
        let width = columns.max(1);
        let blocks = back.chunks_exact_mut(width).zip(delta.chunks_exact(width)).zip(normal.chunks_exact(width));
        for (((back, delta), normal), inverse) in blocks.zip(&inverses) {
            let along = dot(delta, normal);
            back.iter_mut()
                .zip(delta)
                .zip(normal)
                .for_each(|((back, delta), normal)| *back += inverse * (delta - normal * along));
        }
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// The mean over the steps of each sequence, batch × columns; `lengths` says how many steps count, at least 1 each.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn mean_steps<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, lengths: &[usize]) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, columns), batch) = (*x.shape(), lengths.len());
    fits(rows, lengths)?;
    let of_x = values(&x);
    let mut out = vec![0.0; batch * columns];
    let shares: Vec<f32> = lengths.iter().map(|&length| 1.0 / length as f32).collect();
    for (row, x) in of_x.chunks_exact(columns.max(1)).enumerate() {
        let (step, index) = (row / batch, row % batch);
        if step < lengths[index] {
            let share = shares[index];
            out[index * columns..(index + 1) * columns].iter_mut().zip(x).for_each(|(out, x)| *out += share * x);
        }
    }
    let (x, mut tape) = x.split_tape();
    let out = tensor(&x, batch, columns, out)?;
    let (of, lengths) = (out.clone(), lengths.to_vec());
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let back = gradients.get_or_alloc_mut(&x)?;
        for (row, back) in back.chunks_exact_mut(columns.max(1)).enumerate() {
            let (step, index) = (row / batch, row % batch);
            if step < lengths[index] {
                let (share, delta) = (shares[index], &delta[index * columns..(index + 1) * columns]);
                back.iter_mut().zip(delta).for_each(|(back, delta)| *back += share * delta);
            }
        }
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// For each query the mean of the keys of its sequence, weighted by the softmax of their products (Luong et al., "Effective
/// Approaches to Attention-based Neural Machine Translation", 2015): (query steps · batch) × columns. `lengths` says how many
/// steps of the keys count, at least 1 each.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn attention<T: Tape<f32, Cpu>>(
    queries: Matrix<Cpu, T>,
    keys: Matrix<Cpu, T>,
    lengths: &[usize],
) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, columns), batch) = (*queries.shape(), lengths.len());
    fits(keys.shape().0, lengths)?;
    if rows % batch.max(1) != 0 || keys.shape().1 != columns {
        return Err(TensorError::of(format!("{rows} queries of {columns} numbers for {batch} sequences")));
    }
    let (of_queries, of_keys) = (values(&queries), values(&keys));
    let key = move |step: usize, index: usize| (step * batch + index) * columns..(step * batch + index + 1) * columns;
    let mut out = vec![0.0; rows * columns];
    let mut shares: Vec<f32> = Vec::new();
    for (row, (query, out)) in of_queries.chunks_exact(columns.max(1)).zip(out.chunks_exact_mut(columns.max(1))).enumerate() {
        let (index, start) = (row % batch, shares.len());
        shares.extend((0..lengths[index]).map(|step| dot(query, &of_keys[key(step, index)])));
        let own = &mut shares[start..];
        let top = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        own.iter_mut().for_each(|x| *x = exp(*x - top));
        let total = sum(own);
        for (step, share) in own.iter_mut().enumerate() {
            *share /= total;
            out.iter_mut().zip(&of_keys[key(step, index)]).for_each(|(out, key)| *out += *share * key);
        }
    }
    let (queries, tape) = queries.split_tape();
    let (keys, other) = keys.split_tape();
    let mut tape = tape.merge(other);
    let out = tensor(&queries, rows, columns, out)?;
    let (of, lengths) = (out.clone(), lengths.to_vec());
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let (mut to_queries, mut to_keys) = (vec![0.0; of_queries.len()], vec![0.0; of_keys.len()]);
        let mut rest = &shares[..];
        for (row, delta) in delta.chunks_exact(columns.max(1)).enumerate() {
            let (index, own) = (row % batch, row * columns..(row + 1) * columns);
            let (shares, later) = rest.split_at(lengths[index]);
            rest = later;
            let slopes: Vec<f32> = (0..lengths[index]).map(|step| dot(delta, &of_keys[key(step, index)])).collect();
            let mean = dot(shares, &slopes);
            for (step, (share, slope)) in shares.iter().zip(&slopes).enumerate() {
                let (at, to_score) = (key(step, index), share * (slope - mean));
                let (query, back) = (&of_queries[own.clone()], &mut to_keys[at.clone()]);
                for ((back, query), delta) in back.iter_mut().zip(query).zip(delta) {
                    *back += to_score * query + share * delta;
                }
                let back = to_queries[own.clone()].iter_mut();
                back.zip(&of_keys[at]).for_each(|(back, key)| *back += to_score * key);
            }
        }
        add(gradients.get_or_alloc_mut(&queries)?, &to_queries);
        add(gradients.get_or_alloc_mut(&keys)?, &to_keys);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

fn fits(rows: usize, lengths: &[usize]) -> Result<(), TensorError> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    if rows < longest * lengths.len() || !rows.is_multiple_of(lengths.len().max(1)) || lengths.contains(&0) {
        return Err(TensorError::of(format!("{rows} rows for {} sequences of 1 to {longest} steps", lengths.len())));
    }
    Ok(())
}

/// The numbers of a matrix, each times a factor of its own: dropout, with factors of 0 or the inverse of the share that is kept.
///
/// # Errors
/// [`TensorError`] where there are not as many factors.
pub fn scaled<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, factors: Vec<f32>) -> Result<Matrix<Cpu, T>, TensorError> {
    let (rows, columns) = *x.shape();
    let mut out = values(&x);
    out.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
    let (x, mut tape) = x.split_tape();
    let out = tensor(&x, rows, columns, out)?;
    if factors.len() != rows * columns {
        return Err(TensorError::of(format!("{} factors for {} numbers", factors.len(), rows * columns)));
    }
    let of = out.clone();
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let back = gradients.get_or_alloc_mut(&x)?;
        back.iter_mut().zip(&delta).zip(&factors).for_each(|((back, delta), factor)| *back += delta * factor);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// `-Σ weight · log softmax(logits)[target]`, where the softmax of a row is over its `legal` columns alone. `legal` is rows ×
/// columns; a row of weight 0 may have none.
///
/// # Errors
/// [`TensorError`] where there are not as many masks, targets or weights, or where the target of a row that counts is illegal.
pub fn masked_cross_entropy<T: Tape<f32, Cpu>>(
    logits: Matrix<Cpu, T>,
    legal: &[bool],
    targets: &[usize],
    weights: &[f32],
) -> Result<Scalar<Cpu, T>, TensorError> {
    let (rows, columns) = *logits.shape();
    if legal.len() != rows * columns || targets.len() != rows || weights.len() != rows {
        return Err(TensorError::of("as many masks, targets and weights as logits are needed"));
    }
    let mut delta = values(&logits);
    let mut loss = 0.0_f64;
    let blocks = delta.chunks_exact_mut(columns.max(1)).zip(legal.chunks_exact(columns.max(1)));
    for ((row, legal), (&target, &weight)) in blocks.zip(targets.iter().zip(weights)) {
        if weight == 0.0 {
            row.fill(0.0);
            continue;
        }
        if legal.get(target) != Some(&true) {
            return Err(TensorError::of(format!("the target {target} is not legal")));
        }
        let top = row.iter().zip(legal).filter(|(_, legal)| **legal).map(|(x, _)| *x).fold(f32::NEG_INFINITY, f32::max);
        let own = row[target] - top;
        row.iter_mut().zip(legal).for_each(|(x, legal)| *x = if *legal { exp(*x - top) } else { 0.0 });
        let total = sum(row);
        loss += f64::from(weight) * (f64::from(total).ln() - f64::from(own));
        row.iter_mut().for_each(|x| *x *= weight / total);
        row[target] -= weight;
    }
    with_gradient(logits, loss as f32, delta)
}

/// A loss of the caller's own: its value at `x`, and its gradient there.
///
/// # Errors
/// [`TensorError`].
pub fn with_gradient<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    value: f32,
    gradient: Vec<f32>,
) -> Result<Scalar<Cpu, T>, TensorError> {
    let (x, mut tape) = x.split_tape();
    let out = x.device().try_tensor_from_vec(vec![value], ()).map_err(TensorError::of)?;
    let of: Scalar<Cpu> = out.clone();
    tape.add_backward_op(move |gradients| {
        let factor = gradients.get_or_alloc_mut(&of)?.first().copied().unwrap_or(0.0);
        let back = gradients.get_or_alloc_mut(&x)?;
        back.iter_mut().zip(&gradient).for_each(|(back, slope)| *back += factor * slope);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// The sum of two matrices of one shape.
///
/// # Errors
/// [`TensorError`].
pub fn plus<T: Tape<f32, Cpu>>(a: Matrix<Cpu, T>, b: Matrix<Cpu, T>) -> Result<Matrix<Cpu, T>, TensorError> {
    let (shape, other) = (*a.shape(), *b.shape());
    if shape != other {
        return Err(TensorError::of(format!("{shape:?} numbers plus {other:?}")));
    }
    a.try_add(b).map_err(TensorError::of)
}

/// The product of two matrices.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit.
pub fn product<T: Tape<f32, Cpu>>(a: Matrix<Cpu, T>, b: &Matrix<Cpu>) -> Result<Matrix<Cpu, T>, TensorError> {
    a.try_matmul(b.clone()).map_err(TensorError::of)
}

/// The sum of two losses.
///
/// # Errors
/// [`TensorError`].
pub fn both<T: Tape<f32, Cpu>>(a: Scalar<Cpu, T>, b: Scalar<Cpu, T>) -> Result<Scalar<Cpu, T>, TensorError> {
    a.try_add(b).map_err(TensorError::of)
}

/// A matrix for two readers: the tape goes with the first, and gradients of both meet.
pub fn fork<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>) -> (Matrix<Cpu, T>, Matrix<Cpu, T>) {
    let (x, tape) = x.split_tape();
    (x.clone().put_tape(tape), x.retaped())
}

/// Takes the gradient with respect to a matrix, row-major; zeros where the loss does not depend on it.
///
/// # Errors
/// [`TensorError`].
pub fn gradient(gradients: &mut Gradients<f32, Cpu>, of: &Matrix<Cpu>) -> Result<Vec<f32>, TensorError> {
    taken(gradients, of).map_err(TensorError::of)
}

impl Params<Cpu> {
    /// Adds the gradients of another part of a batch. Added in a fixed order they are the same for any number of threads.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn add_gradients(&self, to: &mut Gradients<f32, Cpu>, mut from: Gradients<f32, Cpu>) -> Result<(), TensorError> {
        for (value, _) in self.all() {
            let more = std::mem::take(&mut **from.get_or_alloc_mut(value).map_err(TensorError::of)?);
            add(to.get_or_alloc_mut(value).map_err(TensorError::of)?, &more);
        }
        Ok(())
    }

    /// Adds the gradient of an L2 penalty, `factor / 2 · |w|²`, on the parameters that decay.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn add_penalty(&self, to: &mut Gradients<f32, Cpu>, factor: f32) -> Result<(), TensorError> {
        for (value, _) in self.all().filter(|(_, treatment)| treatment.decays) {
            let back = to.get_or_alloc_mut(value).map_err(TensorError::of)?;
            back.iter_mut().zip(values(value)).for_each(|(back, value)| *back += factor * value);
        }
        Ok(())
    }
}
