//! The parameters of a network, in one store that layers address by number, and what it keeps beside them.

use dfdx::shapes::{HasShape, Shape};

use super::{Matrix, NnDevice, TensorError, matrix, values};

/// The number of a parameter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamId(usize);

/// The number of a buffer in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(usize);

/// How an optimizer treats a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    /// Whether weight decay applies.
    pub decays: bool,
    /// Factor of the learning rate.
    pub factor: f32,
}

/// Parameters, each a matrix; vectors have one row. Buffers are numbers that are saved with them and that no optimizer
/// touches, such as running statistics.
pub struct Params<D: NnDevice> {
    device: D,
    values: Vec<Matrix<D>>,
    treatments: Vec<Treatment>,
    names: Vec<String>,
    buffers: Vec<(String, Vec<f32>)>,
}

impl<D: NnDevice> Params<D> {
    /// An empty store.
    pub fn new(device: D) -> Self {
        Self { device, values: Vec::new(), treatments: Vec::new(), names: Vec::new(), buffers: Vec::new() }
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
        let name = format!("parameter.{}", self.values.len());
        self.add_named(name, shape, initial, decay)
    }

    /// The same under a name of its own, by which checkpoints know it.
    ///
    /// # Errors
    /// [`TensorError`] where there are not rows × columns of them, or where the name is taken.
    pub fn add_named(
        &mut self,
        name: impl Into<String>,
        shape: [usize; 2],
        initial: Vec<f32>,
        decay: bool,
    ) -> Result<ParamId, TensorError> {
        let name = self.free(name.into())?;
        self.values.push(matrix(&self.device, shape[0], shape[1], initial)?);
        self.treatments.push(Treatment { decays: decay, factor: 1.0 });
        self.names.push(name);
        Ok(ParamId(self.values.len() - 1))
    }

    /// Adds a buffer.
    ///
    /// # Errors
    /// [`TensorError`] where the name is taken.
    pub fn add_buffer(&mut self, name: impl Into<String>, values: Vec<f32>) -> Result<BufferId, TensorError> {
        let name = self.free(name.into())?;
        self.buffers.push((name, values));
        Ok(BufferId(self.buffers.len() - 1))
    }

    fn free(&self, name: String) -> Result<String, TensorError> {
        if self.names().chain(self.buffers().map(|(name, _)| name)).any(|other| other == name) {
            return Err(TensorError::of(format!("the name `{name}` is taken")));
        }
        Ok(name)
    }

    /// The names of all parameters, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The parameter of a name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.names.iter().position(|other| other == name).map(ParamId)
    }

    /// Sets the factor of the learning rate of a parameter, 1 by default; 0 freezes it, weight decay included.
    pub fn set_rate_factor(&mut self, id: ParamId, factor: f32) {
        if let Some(treatment) = self.treatments.get_mut(id.0) {
            treatment.factor = factor;
        }
    }

    /// The numbers of a buffer.
    pub fn buffer(&self, id: BufferId) -> &[f32] {
        &self.buffers[id.0].1
    }

    /// The same, to be changed.
    pub fn buffer_mut(&mut self, id: BufferId) -> &mut [f32] {
        &mut self.buffers[id.0].1
    }

    /// All buffers with their names, in the order in which they were added.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.buffers.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// A parameter of this store.
    pub fn get(&self, id: ParamId) -> &Matrix<D> {
        &self.values[id.0]
    }

    /// The same, to be changed.
    pub(super) fn buffers_mut(&mut self) -> impl Iterator<Item = (&str, &mut [f32])> {
        self.buffers.iter_mut().map(|(name, values)| (name.as_str(), values.as_mut_slice()))
    }

    /// The buffer of a name.
    pub fn find_buffer(&self, name: &str) -> Option<BufferId> {
        self.buffers.iter().position(|(other, _)| other == name).map(BufferId)
    }

    /// Sets all numbers of a parameter, row-major.
    ///
    /// # Errors
    /// [`TensorError`] where there are more or fewer.
    pub fn set(&mut self, id: ParamId, numbers: &[f32]) -> Result<(), TensorError> {
        let value = &mut self.values[id.0];
        let count = value.shape().num_elements();
        if numbers.len() != count {
            return Err(TensorError::of(format!("{} numbers for a parameter of {count}", numbers.len())));
        }
        value.copy_from(numbers);
        Ok(())
    }

    /// The count of all numbers.
    pub fn count(&self) -> usize {
        self.values.iter().map(|value| value.shape().num_elements()).sum()
    }

    /// Every parameter, and how it is treated.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Matrix<D>, Treatment)> {
        self.values.iter().zip(self.treatments.iter().copied())
    }

    /// The same, to be changed.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (&mut Matrix<D>, Treatment)> {
        self.values.iter_mut().zip(self.treatments.iter().copied())
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
