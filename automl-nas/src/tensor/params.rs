//! The parameters of a network, in one store that layers address by number.

use dfdx::shapes::{HasShape, Shape};

use super::{Matrix, NnDevice, TensorError, matrix, values};

/// The number of a parameter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamId(usize);

/// Parameters, each a matrix; vectors have one row.
pub struct Params<D: NnDevice> {
    device: D,
    values: Vec<Matrix<D>>,
    decays: Vec<bool>,
}

impl<D: NnDevice> Params<D> {
    /// An empty store.
    pub fn new(device: D) -> Self {
        Self { device, values: Vec::new(), decays: Vec::new() }
    }

    /// Where the parameters are.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Adds a parameter of row-major values. Weight decay pulls those that `decay` towards 0: weights, not biases and gains.
    ///
    /// # Errors
    /// [`TensorError`] where there are not rows × columns of them.
    pub fn add(&mut self, shape: [usize; 2], initial: Vec<f32>, decay: bool) -> Result<ParamId, TensorError> {
        self.values.push(matrix(&self.device, shape[0], shape[1], initial)?);
        self.decays.push(decay);
        Ok(ParamId(self.values.len() - 1))
    }

    /// A parameter of this store.
    pub fn get(&self, id: ParamId) -> &Matrix<D> {
        &self.values[id.0]
    }

    /// Every parameter, and whether weight decay applies to it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Matrix<D>, bool)> {
        self.values.iter().zip(self.decays.iter().copied())
    }

    /// The same, to be changed.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (&mut Matrix<D>, bool)> {
        self.values.iter_mut().zip(self.decays.iter().copied())
    }

    /// All numbers, one parameter after the other.
    pub fn export(&self) -> Vec<f32> {
        self.values.iter().flat_map(values).collect()
    }

    /// Sets all numbers, as [`Params::export`] gives them.
    ///
    /// # Errors
    /// [`TensorError`] where there are more or fewer.
    pub fn import(&mut self, numbers: &[f32]) -> Result<(), TensorError> {
        let mut rest = numbers;
        for value in &mut self.values {
            let count = value.shape().num_elements();
            let (head, tail) = rest.split_at_checked(count).ok_or_else(|| TensorError::of("too few parameters"))?;
            value.copy_from(head);
            rest = tail;
        }
        if rest.is_empty() { Ok(()) } else { Err(TensorError::of("too many parameters")) }
    }
}
