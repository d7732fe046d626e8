//! Operations on matrices: those of dfdx, but for optimizers, which touch every parameter once.
//!
//! A step changes a parameter where it lies, so whoever still holds a clone of it sees the step, too.

use cudarc::driver::{DevicePtr, DeviceRepr};
use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Cuda, CudaError, Gradients};

use super::{Grid, address, at, card};
use crate::tensor::{AdamStep, Matrix, NnDevice, SgdStep, TensorError};

/// Parts of a sum of squares.
const PARTS: usize = 64;

/// [`SgdStep`] as the kernel knows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Sgd {
    rate: f32,
    scale: f32,
    momentum: f32,
    decay: f32,
    nesterov: i32,
}

/// [`AdamStep`] as the kernel knows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Adam {
    rate: f32,
    scale: f32,
    betas: [f32; 2],
    corrections: [f32; 2],
    epsilon: f32,
    decay: f32,
    coupled: i32,
}

// SAFETY: both are laid out as in `kernels.cu`.
unsafe impl DeviceRepr for Sgd {}
// SAFETY: as above.
unsafe impl DeviceRepr for Adam {}

/// The address of a parameter's gradient, and how many numbers it has.
fn gradient(gradients: &mut Gradients<f32, Cuda>, parameter: &Matrix<Cuda>) -> Result<(u64, usize), CudaError> {
    Ok((*gradients.get_or_alloc_mut(parameter)?.device_ptr(), parameter.shape().0 * parameter.shape().1))
}

impl NnDevice for Cuda {
    fn squared_norm(gradients: &mut Gradients<f32, Self>, parameters: &[&Matrix<Self>]) -> Result<f64, TensorError> {
        let mut sum = || -> Result<f64, CudaError> {
            let card = card()?;
            let parts = card.room::<f64>(PARTS * parameters.len().max(1))?;
            for (index, parameter) in parameters.iter().enumerate() {
                let (gradient, count) = gradient(gradients, parameter)?;
                let to = at(&parts) + (index * PARTS * size_of::<f64>()) as u64;
                card.run("squares", Grid::blocks(PARTS, 1, super::BLOCK), (count as i32, gradient, to))?;
            }
            Ok(if parameters.is_empty() { 0.0 } else { card.download(&parts)?.iter().sum() })
        };
        sum().map_err(TensorError::of)
    }

    fn read(matrices: &[&Matrix<Self>]) -> Result<Vec<f32>, TensorError> {
        let count: usize = matrices.iter().map(|matrix| matrix.shape().num_elements()).sum();
        let read = || -> Result<Vec<f32>, CudaError> {
            let (card, mut place) = (card()?, 0);
            // Brought together on the card, so that it is waited for once.
            let room = card.room::<f32>(count)?;
            for matrix in matrices {
                let count = matrix.shape().num_elements();
                card.copy(address(matrix)?, at(&room) + (place * size_of::<f32>()) as u64, count)?;
                place += count;
            }
            card.download(&room)
        };
        if count == 0 { Ok(Vec::new()) } else { read().map_err(TensorError::of) }
    }

    fn adamw(
        step: &AdamStep,
        gradients: &mut Gradients<f32, Self>,
        parameter: &mut Matrix<Self>,
        moments: &mut [Matrix<Self>; 2],
    ) -> Result<(), TensorError> {
        let AdamStep { rate, scale, betas, corrections, epsilon, decay, coupled } = *step;
        let step = Adam { rate, scale, betas, corrections, epsilon, decay, coupled: i32::from(coupled) };
        let [first, second] = moments;
        let mut run = || -> Result<(), CudaError> {
            let (gradient, count) = gradient(gradients, parameter)?;
            let operands = (count as i32, step, gradient, address(parameter)?, address(first)?, address(second)?);
            card()?.run("adamw", Grid::each(count), operands)
        };
        run().map_err(TensorError::of)
    }

    fn sgd(
        step: &SgdStep,
        gradients: &mut Gradients<f32, Self>,
        parameter: &mut Matrix<Self>,
        moment: &mut Matrix<Self>,
    ) -> Result<(), TensorError> {
        let SgdStep { rate, scale, momentum, nesterov, decay } = *step;
        let step = Sgd { rate, scale, momentum, decay, nesterov: i32::from(nesterov) };
        let mut run = || -> Result<(), CudaError> {
            let (gradient, count) = gradient(gradients, parameter)?;
            card()?.run("sgd", Grid::each(count), (count as i32, step, gradient, address(parameter)?, address(moment)?))
        };
        run().map_err(TensorError::of)
    }
}
