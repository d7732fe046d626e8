//! Stochastic gradient descent with momentum (Sutskever et al., "On the importance of initialization and momentum in deep
//! learning", 2013).

use dfdx::tensor::Gradients;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optim::clipping;
use super::{AdamW, Matrix, NnDevice, Params, TensorError, Update};

/// Settings of [`Sgd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdSettings {
    /// Share of the last change that goes on. Default 0.9.
    pub momentum: f64,
    /// Whether the gradient is taken as if the momentum had already been followed (Nesterov 1983). Default false.
    pub nesterov: bool,
    /// The gradient of `weight_decay / 2 · |w|²` is added to that of weights that decay. Default 0.0003.
    pub weight_decay: f64,
    /// Gradients of a larger norm, over all parameters, are scaled down to it (Pascanu et al. 2013). Default 5.
    pub max_norm: f64,
}

impl Default for SgdSettings {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 3e-4, max_norm: 5.0 }
    }
}

/// The numbers of one step of [`Sgd`], the same for all parameters.
#[derive(Clone, Debug)]
pub struct SgdStep {
    /// Factor of the gradients, from clipping.
    pub scale: f32,
    /// Share of the last change that goes on.
    pub momentum: f32,
    /// Whether the momentum is followed first.
    pub nesterov: bool,
}

/// The optimizer, with one moment for each parameter of one store. The moment is a sum of gradients, not of changes, as in
/// PyTorch: a learning rate that falls acts on all of it.
pub struct Sgd<D: NnDevice> {
    settings: SgdSettings,
    moments: Vec<Matrix<D>>,
    steps: u64,
}

impl<D: NnDevice> Sgd<D> {
    /// An optimizer for the parameters of a store.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn new(params: &Params<D>, settings: SgdSettings) -> Result<Self, TensorError> {
        let zeros = |value: &Matrix<D>| value.device().try_zeros_like(value).map_err(TensorError::of);
        let moments = params.all().map(|(value, _)| zeros(value)).collect::<Result<_, _>>()?;
        Ok(Self { settings, moments, steps: 0 })
    }

    /// One step against the gradients with a learning rate. Gradients that are not finite change nothing.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn step(&mut self, params: &mut Params<D>, gradients: &mut Gradients<f32, D>, rate: f64) -> Result<(), TensorError> {
        let SgdSettings { momentum, nesterov, weight_decay, max_norm } = self.settings;
        let Some(scale) = clipping(params, gradients, max_norm)? else { return Ok(()) };
        self.steps = self.steps.saturating_add(1);
        let updates = params.each().zip(&mut self.moments).map(|((parameter, treatment), moment)| Update {
            rate: rate as f32 * treatment.factor,
            decay: if treatment.decays { weight_decay as f32 } else { 0.0 },
            parameter,
            moments: [moment],
        });
        D::sgd(&SgdStep { scale, momentum: momentum as f32, nesterov }, gradients, updates.collect())
    }
}

/// One of the optimizers, for those who choose by a config.
pub enum Optimizer<D: NnDevice> {
    /// See [`Sgd`].
    Sgd(Sgd<D>),
    /// See [`AdamW`].
    AdamW(AdamW<D>),
}

impl<D: NnDevice> Optimizer<D> {
    /// One step against the gradients with a learning rate. Gradients that are not finite change nothing.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn step(&mut self, params: &mut Params<D>, gradients: &mut Gradients<f32, D>, rate: f64) -> Result<(), TensorError> {
        match self {
            Self::Sgd(sgd) => sgd.step(params, gradients, rate),
            Self::AdamW(adam) => adam.step(params, gradients, rate),
        }
    }

    /// What a checkpoint calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::AdamW(_) => "adamw",
        }
    }

    /// The steps so far.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Sgd(sgd) => sgd.steps,
            Self::AdamW(adam) => adam.steps,
        }
    }

    pub(super) fn set_steps(&mut self, steps: u64) {
        match self {
            Self::Sgd(sgd) => sgd.steps = steps,
            Self::AdamW(adam) => adam.steps = steps,
        }
    }

    /// The moments of each parameter.
    pub(super) fn moments(&self) -> Vec<Vec<&Matrix<D>>> {
        match self {
            Self::Sgd(sgd) => sgd.moments.iter().map(|moment| vec![moment]).collect(),
            Self::AdamW(adam) => adam.moments.iter().map(|moments| moments.iter().collect()).collect(),
        }
    }

    /// The same, to be set.
    pub(super) fn moments_mut(&mut self) -> Vec<Vec<&mut Matrix<D>>> {
        match self {
            Self::Sgd(sgd) => sgd.moments.iter_mut().map(|moment| vec![moment]).collect(),
            Self::AdamW(adam) => adam.moments.iter_mut().map(|moments| moments.iter_mut().collect()).collect(),
        }
    }
}
