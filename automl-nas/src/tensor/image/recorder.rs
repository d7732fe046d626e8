//! The tape of a whole forward pass.

use dfdx::shapes::Shape;
use dfdx::tensor::{Gradients, OwnedTape, PutTape, SplitTape, Tape, Tensor};
use dfdx::tensor_ops::{Backward, TryAdd, TryMul};

use crate::tensor::{Linear, Matrix, NnDevice, Scalar, TensorError};

/// What is done to tensors, recorded for the way back, or not: one for a whole forward pass, however it branches.
#[derive(Debug)]
pub struct Recorder<D: NnDevice> {
    tape: Option<OwnedTape<f32, D>>,
}

/// A tensor with a tape.
pub(super) type Taped<S, D> = Tensor<S, f32, D, OwnedTape<f32, D>>;

impl<D: NnDevice> Recorder<D> {
    /// Records: for training.
    pub fn on() -> Self {
        Self { tape: Some(OwnedTape::default()) }
    }

    /// Records nothing: for evaluation, where tensors that nobody holds are freed at once.
    pub fn off() -> Self {
        Self { tape: None }
    }

    /// Whether the way back is recorded.
    pub fn records(&self) -> bool {
        self.tape.is_some()
    }

    /// The gradients of a loss with respect to whatever it was computed from.
    ///
    /// # Errors
    /// [`TensorError`] where nothing was recorded.
    pub fn backward(self, loss: &Scalar<D>) -> Result<Gradients<f32, D>, TensorError> {
        let tape = self.tape.ok_or_else(|| TensorError::of("nothing was recorded: use `Recorder::on`"))?;
        loss.clone().put_tape(tape).try_backward().map_err(TensorError::of)
    }

    /// Adds a step of the way back, if there is one.
    pub(super) fn push(&mut self, step: impl FnOnce(&mut Gradients<f32, D>) -> Result<(), D::Err> + 'static) {
        if let Some(tape) = &mut self.tape {
            tape.add_backward_op(step);
        }
    }

    /// An operation that is written for tensors with tapes, such as those of `sequence`.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn apply<A: Shape, B: Shape>(
        &mut self,
        x: &Tensor<A, f32, D>,
        operation: impl FnOnce(Taped<A, D>) -> Result<Taped<B, D>, TensorError>,
    ) -> Result<Tensor<B, f32, D>, TensorError> {
        let records = self.records();
        let (out, tape) = operation(x.clone().put_tape(self.tape.take().unwrap_or_default()))?.split_tape();
        self.tape = records.then_some(tape);
        Ok(out)
    }

    /// See [`NnDevice::linear`].
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn linear(&mut self, layer: &Linear<'_, D>, x: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        if !self.records() {
            return D::linear(layer, x.clone());
        }
        self.apply(x, |x| D::linear(layer, x))
    }

    /// The numbers of a matrix, each times a factor of its own: dropout.
    ///
    /// # Errors
    /// [`TensorError`] where the shapes differ.
    pub fn scaled(&mut self, x: &Matrix<D>, factors: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        self.apply(x, |x| x.try_mul(factors.clone()).map_err(TensorError::of))
    }

    /// See [`NnDevice::cross_entropy`].
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn cross_entropy(&mut self, logits: &Matrix<D>, targets: &Matrix<D>) -> Result<Scalar<D>, TensorError> {
        self.apply(logits, |logits| D::cross_entropy(logits, targets))
    }

    /// `Σ factor · loss`, as for an auxiliary head.
    ///
    /// # Errors
    /// [`TensorError`] where there is none.
    pub fn weighted_sum(&mut self, losses: &[(f32, &Scalar<D>)]) -> Result<Scalar<D>, TensorError> {
        let mut sum: Option<Scalar<D>> = None;
        for (factor, loss) in losses {
            let part = self.apply(loss, |loss| loss.try_mul(*factor).map_err(TensorError::of))?;
            sum = Some(match sum {
                Some(sum) => self.apply(&sum, |sum| sum.try_add(part).map_err(TensorError::of))?,
                None => part,
            });
        }
        sum.ok_or_else(|| TensorError::of("a sum of no losses"))
    }
}
