//! The operations as fused kernels of the processor, on dfdx's tensors and tapes.
//!
//! dfdx copies a tensor's numbers in and out in one piece, and that costs little beside a matrix product; gradients it lends.
//! Products (`gemm`) are the same for any number of threads.

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cpu, CpuError, Gradients, PutTape, SplitTape, Tape, TensorFromVec};
use ndarray::ArrayView2;

use super::activation::exp;
use super::gemm::add_product;
use super::lend::lend;
use super::{Activation, AdamStep, EPSILON, Linear, Matrix, NnDevice, Scalar, SgdStep, TensorError, Update, values};

impl NnDevice for Cpu {
    fn linear<T: Tape<f32, Self>>(layer: &Linear<'_, Self>, x: Matrix<Self, T>) -> Result<Matrix<Self, T>, TensorError> {
        let ((rows, inputs), outputs) = (*x.shape(), layer.weight.shape().1);
        let mut z = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| z.extend_from_slice(lend(layer.bias)));
        add_product(view(lend(&x), rows, inputs)?, view(lend(layer.weight), inputs, outputs)?, &mut z);
        let (activation, mask) = (layer.activation, layer.mask.as_ref().map(values));
        // What the way back needs is copied only where there is one.
        let before = if T::OWNS_TAPE && activation != Activation::Identity { z.clone() } else { Vec::new() };
        activation.forward(&mut z);
        multiply(&mut z, mask.as_deref());

        let (x, mut tape) = x.split_tape();
        let out = tensor(&x, rows, outputs, z)?;
        let of = out.clone();
        let (weights, biases, input_gradient) = (layer.weight.clone(), layer.bias.clone(), layer.input_gradient);
        tape.add_backward_op(move |gradients| {
            let mut delta = taken(gradients, &of)?;
            multiply(&mut delta, mask.as_deref());
            activation.backward(&mut delta, &before);
            let delta = view(&delta, rows, outputs).map_err(wrong)?;
            let sums = gradients.get_or_alloc_mut(&biases)?;
            delta.rows().into_iter().for_each(|row| add(sums, row.to_slice().unwrap_or(&[])));
            let inputs_of = view(lend(&x), rows, inputs).map_err(wrong)?;
            add_product(inputs_of.t(), delta, gradients.get_or_alloc_mut(&weights)?);
            if input_gradient {
                let weight = view(lend(&weights), inputs, outputs).map_err(wrong)?;
                add_product(delta, weight.t(), gradients.get_or_alloc_mut(&x)?);
            }
            Ok(())
        });
        Ok(out.put_tape(tape))
    }

    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        gain: &Matrix<Self>,
        shift: &Matrix<Self>,
    ) -> Result<Matrix<Self, T>, TensorError> {
        let (rows, columns) = *x.shape();
        let (factors, offsets) = (values(gain), values(shift));
        let mut normal = values(&x);
        let mut out = Vec::with_capacity(normal.len());
        let mut inverses = Vec::with_capacity(rows);
        for row in normal.chunks_exact_mut(columns.max(1)) {
            let mean = sum(row) / columns as f32;
            row.iter_mut().for_each(|x| *x -= mean);
            let inverse = 1.0 / (dot(row, row) / columns as f32 + EPSILON).sqrt();
            row.iter_mut().for_each(|x| *x *= inverse);
            inverses.push(inverse);
            out.extend(row.iter().zip(&factors).zip(&offsets).map(|((x, factor), offset)| x * factor + offset));
        }

        let (x, mut tape) = x.split_tape();
        let out = tensor(&x, rows, columns, out)?;
        let (of, gain, shift) = (out.clone(), gain.clone(), shift.clone());
        tape.add_backward_op(move |gradients| {
            let mut delta = taken(gradients, &of)?;
            let width = columns.max(1);
            let sums = gradients.get_or_alloc_mut(&shift)?;
            delta.chunks_exact(width).for_each(|row| add(sums, row));
            let sums = gradients.get_or_alloc_mut(&gain)?;
            for (row, normal) in delta.chunks_exact_mut(width).zip(normal.chunks_exact(width)) {
                for (((delta, normal), factor), sum) in row.iter_mut().zip(normal).zip(&factors).zip(sums.iter_mut()) {
                    *sum += *delta * normal;
                    *delta *= factor;
                }
            }
            let back = gradients.get_or_alloc_mut(&x)?;
            let blocks = back.chunks_exact_mut(width).zip(delta.chunks_exact(width)).zip(normal.chunks_exact(width));
            for (((back, delta), normal), inverse) in blocks.zip(&inverses) {
                let mean = sum(delta) / columns as f32;
                let along = dot(delta, normal) / columns as f32;
                for ((back, delta), normal) in back.iter_mut().zip(delta).zip(normal) {
                    *back += inverse * (delta - mean - normal * along);
                }
            }
            Ok(())
        });
        Ok(out.put_tape(tape))
    }

    fn residual<T: Tape<f32, Self>>(x: Matrix<Self, T>, skip: &Matrix<Self>) -> Result<Matrix<Self, T>, TensorError> {
        let (rows, columns) = *x.shape();
        let mut sum = values(&x);
        add(&mut sum, &values(skip));
        let (x, mut tape) = x.split_tape();
        let out = tensor(&x, rows, columns, sum)?;
        let (of, skip) = (out.clone(), skip.clone());
        tape.add_backward_op(move |gradients| {
            let delta = taken(gradients, &of)?;
            add(gradients.get_or_alloc_mut(&skip)?, &delta);
            add(gradients.get_or_alloc_mut(&x)?, &delta);
            Ok(())
        });
        Ok(out.put_tape(tape))
    }

    fn cross_entropy<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        targets: &Matrix<Self>,
    ) -> Result<Scalar<Self, T>, TensorError> {
        let classes = logits.shape().1.max(1);
        let (mut delta, targets) = (values(&logits), values(targets));
        let mut loss = 0.0_f64;
        for (row, targets) in delta.chunks_exact_mut(classes).zip(targets.chunks_exact(classes)) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x -= top);
            let (mass, along) = (sum(targets), dot(row, targets));
            row.iter_mut().for_each(|x| *x = exp(*x));
            let total = sum(row);
            loss += f64::from(mass) * f64::from(total).ln() - f64::from(along);
            row.iter_mut().zip(targets).for_each(|(x, target)| *x = *x * (mass / total) - target);
        }

        let (logits, mut tape) = logits.split_tape();
        let out = dfdx::tensor::Cpu::default().try_tensor_from_vec(vec![loss as f32], ()).map_err(TensorError::of)?;
        let of: Scalar<Self> = out.clone();
        tape.add_backward_op(move |gradients| {
            let factor = gradients.get_or_alloc_mut(&of)?.first().copied().unwrap_or(0.0);
            let back = gradients.get_or_alloc_mut(&logits)?;
            back.iter_mut().zip(&delta).for_each(|(back, delta)| *back += factor * delta);
            Ok(())
        });
        Ok(out.put_tape(tape))
    }

    fn squared_norm(gradients: &mut Gradients<f32, Self>, parameters: &[&Matrix<Self>]) -> Result<f64, TensorError> {
        let mut square = 0.0;
        for parameter in parameters {
            let gradient = gradients.get_or_alloc_mut(*parameter).map_err(TensorError::of)?;
            let block = |block: &[f32]| f64::from(dot(block, block));
            square += gradient.chunks(1024).map(block).sum::<f64>();
        }
        Ok(square)
    }

    fn adamw(
        step: &AdamStep,
        gradients: &mut Gradients<f32, Self>,
        updates: Vec<Update<'_, Self, 2>>,
    ) -> Result<(), TensorError> {
        for Update { rate, decay, parameter, moments: [first, second] } in updates {
            let gradient = gradients.get_or_alloc_mut(parameter).map_err(TensorError::of)?;
            let (mut p, mut m, mut v) = (values(parameter), values(first), values(second));
            let (penalty, decay) = if step.coupled { (decay, 0.0) } else { (0.0, decay) };
            let (rate, keep) = (rate * step.corrections[0], 1.0 - rate * decay);
            for (((p, m), v), &g) in p.iter_mut().zip(&mut m).zip(&mut v).zip(gradient.iter()) {
                let g = g * step.scale + penalty * *p;
                *m = *m * step.betas[0] + g * (1.0 - step.betas[0]);
                *v = *v * step.betas[1] + g * g * (1.0 - step.betas[1]);
                *p = *p * keep - rate * *m / ((*v * step.corrections[1]).sqrt() + step.epsilon);
            }
            parameter.copy_from(&p);
            first.copy_from(&m);
            second.copy_from(&v);
        }
        Ok(())
    }

    fn sgd(step: &SgdStep, gradients: &mut Gradients<f32, Self>, updates: Vec<Update<'_, Self, 1>>) -> Result<(), TensorError> {
        for Update { rate, decay, parameter, moments: [moment] } in updates {
            let gradient = gradients.get_or_alloc_mut(parameter).map_err(TensorError::of)?;
            let (mut p, mut m) = (values(parameter), values(moment));
            for ((p, m), &g) in p.iter_mut().zip(&mut m).zip(gradient.iter()) {
                let g = g * step.scale + decay * *p;
                *m = *m * step.momentum + g;
                *p -= rate * if step.nesterov { g + step.momentum * *m } else { *m };
            }
            parameter.copy_from(&p);
            moment.copy_from(&m);
        }
        Ok(())
    }
}

/// A sum in eight lanes, which the compiler keeps in registers.
pub(super) fn sum(values: &[f32]) -> f32 {
    let (blocks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().chain(rest).sum()
}

/// A sum of products, in the same way.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a_blocks, a_rest), (b_blocks, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        lanes.iter_mut().zip(a).zip(b).for_each(|((lane, a), b)| *lane += a * b);
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

pub(super) fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
}

fn multiply(values: &mut [f32], factors: Option<&[f32]>) {
    values.iter_mut().zip(factors.unwrap_or(&[])).for_each(|(value, factor)| *value *= factor);
}

pub(super) fn view(values: &[f32], rows: usize, columns: usize) -> Result<ArrayView2<'_, f32>, TensorError> {
    ArrayView2::from_shape((rows, columns), values).map_err(TensorError::of)
}

pub(super) fn wrong(_: TensorError) -> CpuError {
    CpuError::WrongNumElements
}

pub(super) fn tensor(like: &Matrix<Cpu>, rows: usize, columns: usize, values: Vec<f32>) -> Result<Matrix<Cpu>, TensorError> {
    super::matrix(like.device(), rows, columns, values)
}

/// The gradient of a result, which nobody reads after the operation that made the result.
pub(super) fn taken(gradients: &mut Gradients<f32, Cpu>, of: &Matrix<Cpu>) -> Result<Vec<f32>, CpuError> {
    Ok(std::mem::take(&mut **gradients.get_or_alloc_mut(of)?))
}
