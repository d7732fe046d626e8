//! Recurrent cells whose nodes form a tree, as one operation on sequences.
//!
//! Each node is a highway (Srivastava et al., "Training Very Deep Networks", 2015): `s + c (f(z) - s)` for the node `s` that it reads,
//! where gate and candidate, `σ(c)` and `z`, are linear maps of `s` — or, for the first node, of the input and the last state. So
//! do ENAS, NAO and DARTS. The new state is the mean of all nodes. Like the operations of [`super::sequence`], a batch of
//! sequences is one matrix, time-major, and all steps are one entry on the tape.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, PutTape, SplitTape, Tape};
use ndarray::s;

use super::activation::{Activation, sigmoid};
use super::cpu::{add, taken, tensor, view, wrong};
use super::gemm::add_product;
use super::{Matrix, TensorError, values};

/// A cell with its weights; each gives gates and candidates, side by side.
pub struct Tree<'a> {
    /// The activation of each node.
    pub activations: &'a [Activation],
    /// The earlier node that each later one reads; what the first one is said to read does not count.
    pub reads: &'a [usize],
    /// Of the first node: (inputs + units) × 2 units.
    pub first: &'a Matrix<Cpu>,
    /// Of each later node: units × 2 units.
    pub others: Vec<&'a Matrix<Cpu>>,
}

/// What a node remembers of a step, batch × units each.
struct Node {
    /// `σ(c)`.
    gate: Vec<f32>,
    /// `z`.
    before: Vec<f32>,
    /// `f(z)`.
    candidate: Vec<f32>,
    /// What the node gives.
    state: Vec<f32>,
}

/// The states after all steps, (steps · batch) × units, for inputs of (steps · batch) × inputs that follow the state `start`, batch ×
/// units. No gradient flows to `start`: sequences are cut there.
///
/// # Errors
/// [`TensorError`] where the shapes do not fit, or where a node reads none before it.
pub fn tree<T: Tape<f32, Cpu>>(cell: &Tree<'_>, x: Matrix<Cpu, T>, start: &Matrix<Cpu>) -> Result<Matrix<Cpu, T>, TensorError> {
    let ((rows, inputs), (batch, units), count) = (*x.shape(), *start.shape(), cell.activations.len());
    let fits = cell.reads.len() == count && cell.others.len() + 1 == count && *cell.first.shape() == (inputs + units, 2 * units);
    let trees = cell.reads.iter().enumerate().skip(1).all(|(node, read)| *read < node);
    if !fits || !trees || batch == 0 || rows % batch != 0 || cell.others.iter().any(|w| *w.shape() != (units, 2 * units)) {
        return Err(TensorError::of(format!("{rows} × {inputs} inputs, {batch} × {units} states and {count} nodes do not fit")));
    }
    let steps = rows / batch;
    let (of_x, first) = (values(&x), values(cell.first));
    let others: Vec<Vec<f32>> = cell.others.iter().map(|weights| values(*weights)).collect();
    let first_view = view(&first, inputs + units, 2 * units)?;
    let mut sums = vec![0.0; rows * 2 * units];
    add_product(view(&of_x, rows, inputs)?, first_view.slice(s![..inputs, ..]), &mut sums);
    let block = batch * units;
    // The states before each step, then the last one.
    let mut states = values(start);
    let mut nodes: Vec<Vec<Node>> = Vec::with_capacity(steps);
    for sums in sums.chunks_exact_mut(2 * block) {
        let last = states[states.len() - block..].to_vec();
        add_product(view(&last, batch, units)?, first_view.slice(s![inputs.., ..]), sums);
        let mut made: Vec<Node> = Vec::with_capacity(count);
        for (index, activation) in cell.activations.iter().enumerate() {
            let node = if index == 0 {
                highway(*activation, sums, &last, units)
            } else {
                let read = &made[cell.reads[index]].state;
                let mut sums = vec![0.0; 2 * block];
                add_product(view(read, batch, units)?, view(&others[index - 1], units, 2 * units)?, &mut sums);
                highway(*activation, &sums, read, units)
            };
            made.push(node);
        }
        let mut mean = vec![0.0; block];
        made.iter().for_each(|node| add(&mut mean, &node.state));
        mean.iter_mut().for_each(|mean| *mean /= count as f32);
        states.extend_from_slice(&mean);
        nodes.push(made);
    }

    let (x, mut tape) = x.split_tape();
    let out = tensor(&x, rows, units, states[block..].to_vec())?;
    let of = out.clone();
    let (activations, reads) = (cell.activations.to_vec(), cell.reads.to_vec());
    let (w_first, w_others): (Matrix<Cpu>, Vec<Matrix<Cpu>>) =
        (cell.first.clone(), cell.others.iter().map(|&weights| weights.clone()).collect());
    tape.add_backward_op(move |gradients| {
        let delta = taken(gradients, &of)?;
        let mut to_first = vec![0.0; first.len()];
        let mut to_others: Vec<Vec<f32>> = others.iter().map(|weights| vec![0.0; weights.len()]).collect();
        let mut to_x = vec![0.0; rows * inputs];
        let mut to_state = vec![0.0; block];
        let first = view(&first, inputs + units, 2 * units).map_err(wrong)?;
        for (step, made) in nodes.iter().enumerate().rev() {
            add(&mut to_state, &delta[step * block..(step + 1) * block]);
            to_state.iter_mut().for_each(|slope| *slope /= count as f32);
            let mut to_nodes = vec![to_state.clone(); count];
            let last = &states[step * block..(step + 1) * block];
            for index in (1..count).rev() {
                let (earlier, own) = to_nodes.split_at_mut(index);
                let to_read = &mut earlier[reads[index]];
                let read = &made[reads[index]].state;
                let slopes = unhighway(activations[index], &made[index], &own[0], read, to_read, units);
                let slopes = view(&slopes, batch, 2 * units).map_err(wrong)?;
                let weights = view(&others[index - 1], units, 2 * units).map_err(wrong)?;
                add_product(slopes, weights.t(), to_read);
                add_product(view(read, batch, units).map_err(wrong)?.t(), slopes, &mut to_others[index - 1]);
            }
            to_state = vec![0.0; block];
            let slopes = unhighway(activations[0], &made[0], &to_nodes[0], last, &mut to_state, units);
            let slopes = view(&slopes, batch, 2 * units).map_err(wrong)?;
            add_product(slopes, first.slice(s![inputs.., ..]).t(), &mut to_state);
            let now = step * batch * inputs..(step + 1) * batch * inputs;
            add_product(slopes, first.slice(s![..inputs, ..]).t(), &mut to_x[now.clone()]);
            let (of_input, of_state) = to_first.split_at_mut(inputs * 2 * units);
            add_product(view(&of_x[now], batch, inputs).map_err(wrong)?.t(), slopes, of_input);
            add_product(view(last, batch, units).map_err(wrong)?.t(), slopes, of_state);
        }
        add(gradients.get_or_alloc_mut(&w_first)?, &to_first);
        for (weights, slopes) in w_others.iter().zip(&to_others) {
            add(gradients.get_or_alloc_mut(weights)?, slopes);
        }
        add(gradients.get_or_alloc_mut(&x)?, &to_x);
        Ok(())
    });
    Ok(out.put_tape(tape))
}

/// A node of a step: `sums` are gates and candidates side by side, `read` what it reads.
fn highway(activation: Activation, sums: &[f32], read: &[f32], units: usize) -> Node {
    let (mut gate, mut before) = (Vec::with_capacity(read.len()), Vec::with_capacity(read.len()));
    for row in sums.chunks_exact(2 * units) {
        gate.extend(row[..units].iter().map(|x| sigmoid(*x)));
        before.extend_from_slice(&row[units..]);
    }
    let mut candidate = before.clone();
    activation.forward(&mut candidate);
    let state = gate.iter().zip(&candidate).zip(read).map(|((gate, candidate), read)| read + gate * (candidate - read)).collect();
    Node { gate, before, candidate, state }
}

/// The slopes of a node's sums, and what flows past them to the node that it reads.
fn unhighway(activation: Activation, node: &Node, delta: &[f32], read: &[f32], to_read: &mut [f32], units: usize) -> Vec<f32> {
    let mut through: Vec<f32> = delta.iter().zip(&node.gate).map(|(delta, gate)| delta * gate).collect();
    activation.backward(&mut through, &node.before);
    let mut slopes = Vec::with_capacity(2 * delta.len());
    for row in 0..delta.len() / units.max(1) {
        let own = row * units..(row + 1) * units;
        let parts =
            delta[own.clone()].iter().zip(&node.gate[own.clone()]).zip(&node.candidate[own.clone()]).zip(&read[own.clone()]);
        slopes.extend(parts.map(|(((delta, gate), candidate), read)| delta * (candidate - read) * gate * (1.0 - gate)));
        slopes.extend_from_slice(&through[own]);
    }
    to_read.iter_mut().zip(delta).zip(&node.gate).for_each(|((to, delta), gate)| *to += delta * (1.0 - gate));
    slopes
}

#[cfg(test)]
mod tests {
    use automl_core::rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::{ParamId, Params, backward, matrix, record, sequence};
    use super::*;

    const ACTIVATIONS: [Activation; 4] = [Activation::Tanh, Activation::Relu, Activation::Identity, Activation::Sigmoid];
    const READS: [usize; 4] = [0, 0, 1, 0];

    fn params() -> (Params<Cpu>, Vec<ParamId>) {
        let mut params = Params::new(Cpu::default());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let shapes = [[5, 4], [2, 4], [2, 4], [2, 4], [9, 3]];
        let ids = shapes.map(|shape: [usize; 2]| {
            let numbers = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
            params.add(shape, numbers, true).unwrap()
        });
        (params, ids.to_vec())
    }

    fn states<T: Tape<f32, Cpu>>(params: &Params<Cpu>, ids: &[ParamId], x: Matrix<Cpu, T>) -> Matrix<Cpu, T> {
        let others = ids[1..4].iter().map(|&id| params.get(id)).collect();
        let cell = Tree { activations: &ACTIVATIONS, reads: &READS, first: params.get(ids[0]), others };
        let start = matrix(&Cpu::default(), 3, 2, vec![0.3, -0.2, 0.1, 0.5, -0.4, 0.2]).unwrap();
        tree(&cell, x, &start).unwrap()
    }

    /// A weighted sum of all states of three steps of a batch of three; the last parameter is the input.
    fn loss(params: &Params<Cpu>, ids: &[ParamId]) -> f64 {
        let out = values(&states(params, ids, params.get(ids[4]).clone()));
        out.iter().enumerate().map(|(at, x)| f64::from(*x) * (at as f64 * 0.7).sin()).sum()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (mut params, ids) = params();
        let out = states(&params, &ids, record(params.get(ids[4]).clone()));
        let slopes: Vec<f32> = (0..18).map(|at| (at as f32 * 0.7).sin()).collect();
        let mut gradients = backward(sequence::with_gradient(out, 0.0, slopes).unwrap()).unwrap();
        for &id in &ids {
            let own = sequence::gradient(&mut gradients, params.get(id)).unwrap();
            let start = values(params.get(id));
            for (at, slope) in own.iter().enumerate() {
                let mut side = |step: f32| {
                    let mut moved = start.clone();
                    moved[at] += step;
                    params.set(id, &moved).unwrap();
                    loss(&params, &ids)
                };
                let difference = (side(1e-2) - side(-1e-2)) / 2e-2;
                assert!((difference - f64::from(*slope)).abs() < 5e-3, "{id:?} {at}: {slope} against {difference}");
            }
            params.set(id, &start).unwrap();
        }
    }

    #[test]
    fn steps_follow_each_other() {
        let (params, ids) = params();
        let whole = values(&states(&params, &ids, params.get(ids[4]).clone()));
        let first = matrix(&Cpu::default(), 3, 3, values(params.get(ids[4]))[..9].to_vec()).unwrap();
        assert_eq!(values(&states(&params, &ids, first)), whole[..6]);
        // By hand: one node, one unit, one step.
        let one = |x: f32| matrix(&Cpu::default(), 1, 1, vec![x]).unwrap();
        let weights = matrix(&Cpu::default(), 2, 2, vec![0.5, 2.0, -1.0, 0.3]).unwrap();
        let cell = Tree { activations: &[Activation::Tanh], reads: &[0], first: &weights, others: Vec::new() };
        let (x, h) = (0.7_f32, 0.4_f32);
        let (c, z) = (sigmoid(0.5 * x - h), (2.0 * x + 0.3 * h).tanh());
        assert!((values(&tree(&cell, one(x), &one(h)).unwrap())[0] - (h + c * (z - h))).abs() < 1e-6);
        assert!(tree(&cell, one(x), &matrix(&Cpu::default(), 2, 1, vec![0.0; 2]).unwrap()).is_err());
    }
}
