//! Tensors of run-time shapes on dfdx: the operations that networks are made of, forward and backward.
//!
//! The one module that names dfdx. [`NnDevice`] holds the operations: each is first a composition of dfdx's own (`compose`),
//! which runs on every device; [`Cpu`] overrides what is worth it with fused kernels (`cpu`), a card what touches all parameters
//! (`cuda`), and the tests hold them against each other and against finite differences. An operation is generic over the tape of
//! its input: with [`NoneTape`] nothing is recorded, with [`OwnedTape`] ([`record`]) the way back is. Parameters live in one store
//! ([`Params`]), so that an optimizer walks them without knowing the network. [`image`] holds the operations of convolutional
//! networks, which branch.

mod activation;
pub mod checkpoint;
mod compose;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod gemm;
pub mod image;
mod lend;
mod optim;
mod params;
pub mod recurrent;
mod schedule;
pub mod sequence;
mod sgd;
mod simd;
#[cfg(test)]
mod tests;

use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{PutTape, Tensor};
use dfdx::tensor_ops::{Backward, Device};

pub use activation::Activation;
pub(crate) use activation::{sigmoid, tanh};
pub(crate) use cpu::dot;
#[cfg(feature = "cuda")]
pub use dfdx::tensor::Cuda;
pub use dfdx::tensor::{Cpu, Gradients, NoneTape, OwnedTape, Tape};
pub(crate) use gemm::add_product;
pub use optim::{AdamStep, AdamW, AdamWSettings, Update, warm_cosine};
pub use params::{BufferId, ParamId, Params};
pub use schedule::{Schedule, Shape as ScheduleShape};
pub use sgd::{Optimizer, Sgd, SgdSettings, SgdStep};

/// Rows × columns of 32-bit floats, contiguous and row-major.
pub type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;
/// One number, such as a loss.
pub type Scalar<D, T = NoneTape> = Tensor<(), f32, D, T>;

/// What the device could not do; out of memory, in practice.
#[derive(Debug, thiserror::Error)]
#[error("a tensor operation failed: {0}")]
pub struct TensorError(String);

impl From<TensorError> for automl_ops::operator::OperatorError {
    fn from(error: TensorError) -> Self {
        Self::Infeasible(error.to_string())
    }
}

impl TensorError {
    pub(crate) fn of(error: impl std::fmt::Debug) -> Self {
        Self(format!("{error:?}"))
    }
}

/// A fully connected layer with what follows it.
pub struct Linear<'a, D: NnDevice> {
    /// Inputs × outputs.
    pub weight: &'a Matrix<D>,
    /// 1 × outputs.
    pub bias: &'a Matrix<D>,
    /// Applied to each output.
    pub activation: Activation,
    /// Dropout: factors for each row and output, 0 or the inverse of the share that is kept.
    pub mask: Option<Matrix<D>>,
    /// Whether the gradient flows on to the input; data needs none.
    pub input_gradient: bool,
}

/// A device that runs networks: the operations as compositions of dfdx's, for a device to override.
///
/// Every operand is contiguous, as all results are.
pub trait NnDevice: Device<f32> {
    /// `mask · activation(x W + b)`, rows × outputs for `x` of rows × inputs.
    ///
    /// # Errors
    /// [`TensorError`].
    fn linear<T: Tape<f32, Self>>(layer: &Linear<'_, Self>, x: Matrix<Self, T>) -> Result<Matrix<Self, T>, TensorError> {
        compose::linear(layer, x).map_err(TensorError::of)
    }

    /// Each row of `x` with mean 0 and variance 1, times `gain` plus `shift`, both 1 × columns (Ba et al., "Layer
    /// Normalization", 2016). The variance has [`EPSILON`] added.
    ///
    /// # Errors
    /// [`TensorError`].
    fn layer_norm<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        gain: &Matrix<Self>,
        shift: &Matrix<Self>,
    ) -> Result<Matrix<Self, T>, TensorError> {
        compose::layer_norm(x, gain, shift).map_err(TensorError::of)
    }

    /// `x + skip`: a residual connection (He et al., "Deep Residual Learning for Image Recognition", 2016). The gradient flows to both;
    /// [`shared`] gives a `skip` of what `x` was computed from.
    ///
    /// # Errors
    /// [`TensorError`].
    fn residual<T: Tape<f32, Self>>(x: Matrix<Self, T>, skip: &Matrix<Self>) -> Result<Matrix<Self, T>, TensorError> {
        compose::residual(x, skip).map_err(TensorError::of)
    }

    /// `-Σ target · log softmax(logits)`, both rows × classes; see [`soft_targets`].
    ///
    /// # Errors
    /// [`TensorError`].
    fn cross_entropy<T: Tape<f32, Self>>(
        logits: Matrix<Self, T>,
        targets: &Matrix<Self>,
    ) -> Result<Scalar<Self, T>, TensorError> {
        compose::cross_entropy(logits, targets).map_err(TensorError::of)
    }

    /// `Σ weight · (prediction - target)²`, all of one shape.
    ///
    /// # Errors
    /// [`TensorError`].
    fn squared_error<T: Tape<f32, Self>>(
        predictions: Matrix<Self, T>,
        targets: &Matrix<Self>,
        weights: &Matrix<Self>,
    ) -> Result<Scalar<Self, T>, TensorError> {
        compose::squared_error(predictions, targets, weights).map_err(TensorError::of)
    }

    /// The sum of the squares of the gradients of parameters.
    ///
    /// # Errors
    /// [`TensorError`].
    fn squared_norm(gradients: &mut Gradients<f32, Self>, parameters: &[&Matrix<Self>]) -> Result<f64, TensorError> {
        compose::squared_norm(gradients, parameters).map_err(TensorError::of)
    }

    /// The numbers of matrices, one after the other.
    ///
    /// # Errors
    /// [`TensorError`].
    fn read(matrices: &[&Matrix<Self>]) -> Result<Vec<f32>, TensorError> {
        Ok(matrices.iter().flat_map(|matrix| values(matrix)).collect())
    }

    /// One step of AdamW on parameters, each with its two moments.
    ///
    /// # Errors
    /// [`TensorError`].
    fn adamw(
        step: &AdamStep,
        gradients: &mut Gradients<f32, Self>,
        updates: Vec<Update<'_, Self, 2>>,
    ) -> Result<(), TensorError> {
        compose::adamw(step, gradients, updates).map_err(TensorError::of)
    }

    /// One step of gradient descent on parameters, each with its moment.
    ///
    /// # Errors
    /// [`TensorError`].
    fn sgd(step: &SgdStep, gradients: &mut Gradients<f32, Self>, updates: Vec<Update<'_, Self, 1>>) -> Result<(), TensorError> {
        compose::sgd(step, gradients, updates).map_err(TensorError::of)
    }
}

/// Added to a variance before its root is divided by.
pub const EPSILON: f32 = 1e-5;

/// A matrix of row-major values.
///
/// # Errors
/// [`TensorError`] where there are not rows × columns of them.
pub fn matrix<D: NnDevice>(device: &D, rows: usize, columns: usize, values: Vec<f32>) -> Result<Matrix<D>, TensorError> {
    device.try_tensor_from_vec(values, (rows, columns)).map_err(TensorError::of)
}

/// The row-major values of a contiguous tensor.
pub fn values<S: Shape, D: NnDevice, T>(tensor: &Tensor<S, f32, D, T>) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().num_elements()];
    tensor.copy_into(&mut values);
    values
}

/// The gradient with respect to a matrix, row-major; zeros where the loss does not depend on it.
///
/// # Errors
/// [`TensorError`].
pub fn gradient<D: NnDevice>(gradients: &mut Gradients<f32, D>, of: &Matrix<D>) -> Result<Vec<f32>, TensorError> {
    Ok(values(&compose::gradient(gradients, of).map_err(TensorError::of)?))
}

/// The sum of all numbers.
///
/// # Errors
/// [`TensorError`].
pub fn total<D: NnDevice, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Scalar<D, T>, TensorError> {
    compose::total(x).map_err(TensorError::of)
}

/// The same matrix, for another operation to read beside the one that gets the tape: both gradients add up.
pub fn shared<D: NnDevice, T: Tape<f32, D>>(matrix: &Matrix<D, T>) -> Matrix<D> {
    matrix.retaped::<NoneTape>()
}

/// The matrix with a tape that records what is done to it.
pub fn record<D: NnDevice>(matrix: Matrix<D>) -> Matrix<D, OwnedTape<f32, D>> {
    matrix.put_tape(OwnedTape::default())
}

/// The gradients of a recorded loss with respect to whatever it was computed from.
///
/// # Errors
/// [`TensorError`].
pub fn backward<D: NnDevice>(loss: Scalar<D, OwnedTape<f32, D>>) -> Result<Gradients<f32, D>, TensorError> {
    loss.try_backward().map_err(TensorError::of)
}

/// Targets of a cross-entropy, rows × classes: each row's weight, spread by label smoothing (Szegedy et al. 2016): the share
/// `smoothing` evenly over all classes, the rest on the row's own.
pub fn soft_targets(codes: impl IntoIterator<Item = (usize, f32)>, classes: usize, smoothing: f32) -> Vec<f32> {
    let mut targets = Vec::new();
    for (code, weight) in codes {
        let start = targets.len();
        targets.resize(start + classes, weight * smoothing / classes as f32);
        if let Some(own) = targets.get_mut(start + code) {
            *own += weight * (1.0 - smoothing);
        }
    }
    targets
}
