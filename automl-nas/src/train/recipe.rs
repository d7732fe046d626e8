//! How a network is trained, as a part of a config.

use automl_core::schemars::JsonSchema;
use automl_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::images::Augment;
use crate::tensor::{self, AdamW, AdamWSettings, NnDevice, Params, Schedule, Sgd, SgdSettings, TensorError};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Recipe {
    /// Passes over the training rows at full fidelity; default 10. A trial of fidelity 0.3 has three, with a schedule of their own.
    pub epochs: usize,
    /// Rows of a step, at most; default 64. The rows of an epoch are spread evenly over as few steps as that takes.
    pub batch_size: usize,
    /// What turns gradients into steps; default `sgd`.
    pub optimizer: Optimizer,
    /// Learning rate at the start of the schedule; default 0.05. For `adam`, 0.001 is a good start.
    pub learning_rate: f64,
    /// How the learning rate goes on; default half a cosine, down to 0.
    pub schedule: Schedule,
    /// Share of the last change that goes on; default 0.9. Of no use to `adam`.
    pub momentum: f64,
    /// Whether the gradient is taken as if the momentum had been followed; default no. Of no use to `adam`.
    pub nesterov: bool,
    /// Weight decay of weights, not of biases and norms; default 0.0003. `sgd` adds it to the gradient, `adam` shrinks the weights.
    pub weight_decay: f64,
    /// Gradients of a larger norm are scaled down to it; default 5.
    pub max_norm: f64,
    /// Share of a target that is spread over all classes; default 0.
    pub label_smoothing: f64,
    /// Weight of the loss of a second classifier at two thirds of the depth; default 0: there is none. The papers have 0.4.
    pub auxiliary: f64,
    /// Share of the paths that are dropped at the end of the network and of the training; both begin at 0. Default 0.
    pub drop_path: f64,
    /// Share of the numbers that are dropped before the classifier; default 0.
    pub dropout: f64,
    /// Variations of the images.
    pub augment: Augment,
    /// End a training after so many epochs in a row without a better figure on the validation rows; default 0: never.
    pub patience: usize,
}

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Optimizer {
    /// Gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (AdamW).
    Adam,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 64,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.05,
            schedule: Schedule::default(),
            momentum: 0.9,
            nesterov: false,
            weight_decay: 3e-4,
            max_norm: 5.0,
            label_smoothing: 0.0,
            auxiliary: 0.0,
            drop_path: 0.0,
            dropout: 0.0,
            augment: Augment::default(),
            patience: 0,
        }
    }
}

impl Recipe {
    /// Checks the settings; `place` is where they stand in the config.
    ///
    /// # Errors
    /// [`Error::Config`] that names the setting.
    pub fn check(&self, place: &str) -> Result<()> {
        let whole = |name: &str, value: usize, most: usize| match value {
            1.. if value <= most => Ok(()),
            _ => Err(Error::config(format!("{place}.{name}"), format!("is {value}; it must be 1 to {most}"))),
        };
        whole("epochs", self.epochs, 100_000)?;
        whole("batch_size", self.batch_size, 65_536)?;
        let number = |name: &str, value: f64, least: f64, below: f64| {
            let legal = value.is_finite() && value >= least && value < below;
            let problem = format!("is {value}; it must be at least {least} and below {below}");
            if legal { Ok(()) } else { Err(Error::config(format!("{place}.{name}"), problem)) }
        };
        number("learning_rate", self.learning_rate, 1e-12, 1e6)?;
        number("momentum", self.momentum, 0.0, 1.0)?;
        number("weight_decay", self.weight_decay, 0.0, 1e3)?;
        number("max_norm", self.max_norm, 1e-12, f64::MAX)?;
        number("label_smoothing", self.label_smoothing, 0.0, 1.0)?;
        number("auxiliary", self.auxiliary, 0.0, 100.0)?;
        number("drop_path", self.drop_path, 0.0, 0.96)?;
        number("dropout", self.dropout, 0.0, 0.96)?;
        match self.schedule.problem() {
            Some(problem) => Err(Error::config(format!("{place}.schedule"), problem)),
            None => Ok(()),
        }
    }

    /// The epochs of a trial of some fidelity.
    pub fn epochs_at(&self, fidelity: f64) -> usize {
        ((self.epochs as f64 * fidelity).ceil() as usize).clamp(1, self.epochs.max(1))
    }

    /// The learning rate after so many epochs of a training of `epochs`; neither need be whole.
    pub(crate) fn rate(&self, after: f64, epochs: f64) -> f64 {
        self.learning_rate * self.schedule.factor(after, epochs)
    }

    /// The optimizer at its start.
    pub(crate) fn stepper<D: NnDevice>(&self, params: &mut Params<D>) -> Result<tensor::Optimizer<D>, TensorError> {
        let Self { momentum, nesterov, weight_decay, max_norm, .. } = *self;
        Ok(match self.optimizer {
            Optimizer::Sgd => {
                let settings = SgdSettings { momentum, nesterov, weight_decay, max_norm };
                tensor::Optimizer::Sgd(Sgd::new(params, settings)?)
            }
            Optimizer::Adam => {
                let settings = AdamWSettings { weight_decay, max_norm, ..AdamWSettings::default() };
                tensor::Optimizer::AdamW(AdamW::new(params, settings)?)
            }
        })
    }
}
