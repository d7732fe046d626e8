//! Operations on matrices: those of dfdx, but for optimizers, which touch every parameter once.
//!
//! All parameters are changed by one kernel, which reads their addresses from a table. A step changes a parameter where it lies, so
//! whoever still holds a clone of it sees the step, too.

use cudarc::driver::{DevicePtr, DeviceRepr};
use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Cuda, CudaError, Gradients};

use super::{Address, Grid, address, at, card};
use crate::tensor::{AdamStep, Matrix, NnDevice, SgdStep, TensorError, Update};

/// Blocks that share a parameter.
const BLOCKS: usize = 32;

/// A parameter as the kernels know it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    gradient: Address,
    parameter: Address,
    moments: [Address; 2],
    rate: f32,
    decay: f32,
    count: i64,
}

/// [`SgdStep`] as the kernel knows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Sgd {
    scale: f32,
    momentum: f32,
    nesterov: i32,
}

/// [`AdamStep`] as the kernel knows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Adam {
    scale: f32,
    betas: [f32; 2],
    corrections: [f32; 2],
    epsilon: f32,
    coupled: i32,
}

// SAFETY: all three are laid out as in `kernels.cu`.
unsafe impl DeviceRepr for Entry {}
// SAFETY: as above.
unsafe impl DeviceRepr for Sgd {}
// SAFETY: as above.
unsafe impl DeviceRepr for Adam {}

impl Entry {
    /// A parameter and its gradient.
    fn of(gradients: &mut Gradients<f32, Cuda>, parameter: &Matrix<Cuda>) -> Result<Self, CudaError> {
        let gradient = *gradients.get_or_alloc_mut(parameter)?.device_ptr();
        let count = parameter.shape().num_elements() as i64;
        Ok(Self { gradient, parameter: address(parameter)?, moments: [0; 2], rate: 0.0, decay: 0.0, count })
    }
}

/// Runs a kernel on parameters.
fn step<const MOMENTS: usize, S>(
    kernel: &str,
    step: S,
    gradients: &mut Gradients<f32, Cuda>,
    updates: &[Update<'_, Cuda, MOMENTS>],
) -> Result<(), CudaError>
where
    cudarc::driver::CudaFunction: cudarc::driver::LaunchAsync<(Address, S)>,
{
    let mut entries = Vec::with_capacity(updates.len());
    for Update { rate, decay, parameter, moments } in updates {
        let mut entry = Entry { rate: *rate, decay: *decay, ..Entry::of(gradients, parameter)? };
        for (to, moment) in entry.moments.iter_mut().zip(moments) {
            *to = address(moment)?;
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Ok(());
    }
    let card = card()?;
    let table = card.upload(entries)?;
    card.run(kernel, Grid::blocks(BLOCKS, updates.len(), super::BLOCK), (at(&table), step))
}

impl NnDevice for Cuda {
    fn squared_norm(gradients: &mut Gradients<f32, Self>, parameters: &[&Matrix<Self>]) -> Result<f64, TensorError> {
        let mut sum = || -> Result<f64, CudaError> {
            let entries = parameters.iter().map(|parameter| Entry::of(gradients, parameter)).collect::<Result<Vec<_>, _>>()?;
            let card = card()?;
            let (table, parts) = (card.upload(entries)?, card.room::<f64>(BLOCKS * parameters.len())?);
            card.run("squares", Grid::blocks(BLOCKS, parameters.len(), super::BLOCK), (at(&table), at(&parts)))?;
            Ok(card.download(&parts)?.iter().sum())
        };
        if parameters.is_empty() { Ok(0.0) } else { sum().map_err(TensorError::of) }
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
        numbers: &AdamStep,
        gradients: &mut Gradients<f32, Self>,
        updates: Vec<Update<'_, Self, 2>>,
    ) -> Result<(), TensorError> {
        let AdamStep { scale, betas, corrections, epsilon, coupled } = *numbers;
        let numbers = Adam { scale, betas, corrections, epsilon, coupled: i32::from(coupled) };
        step("adamw", numbers, gradients, &updates).map_err(TensorError::of)
    }

    fn sgd(
        numbers: &SgdStep,
        gradients: &mut Gradients<f32, Self>,
        updates: Vec<Update<'_, Self, 1>>,
    ) -> Result<(), TensorError> {
        let SgdStep { scale, momentum, nesterov } = *numbers;
        step("sgd", Sgd { scale, momentum, nesterov: i32::from(nesterov) }, gradients, &updates).map_err(TensorError::of)
    }
}
