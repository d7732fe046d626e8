//! Where a network is trained.

use std::path::Path;

use automl_core::schemars::JsonSchema;
use automl_core::{Cancel, Error, Result};
use serde::{Deserialize, Serialize};

use super::Pools;
use super::classifier::{Classifier, Figures, TrainError};
use super::recipe::Recipe;
use crate::images::Rows;
use crate::network::Plan;
use crate::tensor::Cpu;
use crate::tensor::checkpoint::{self, CheckpointError};

/// Where networks are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Device {
    /// On the processor: the same numbers on any number of threads.
    #[default]
    Cpu,
    /// On the first NVIDIA card, one network at a time, by a program that was built with the feature `cuda`.
    Cuda,
}

impl Device {
    /// Checks that the device is there; `place` is where it stands in the config.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(self, place: &str) -> Result<()> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => usable().map_err(|problem| Error::config(place, format!("is `cuda`, but {problem}"))),
        }
    }

    /// Checks that language models can be trained there; `place` is where it stands in the config.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_for_text(self, place: &str) -> Result<()> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => Err(Error::config(place, "must be `cpu`: recurrent cells are trained on the processor")),
        }
    }
}

#[cfg(feature = "cuda")]
fn usable() -> std::result::Result<(), String> {
    crate::tensor::cuda::check()
}

#[cfg(not(feature = "cuda"))]
fn usable() -> std::result::Result<(), String> {
    Err("this program was built without the feature `cuda`; see \"On a GPU\" in the README".into())
}

/// A network in training on a device.
pub(super) enum Trainee {
    Cpu(Classifier<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(Classifier<crate::tensor::Cuda>),
}

/// The same on whichever device a network is.
macro_rules! each {
    ($trainee:expr, $classifier:ident => $work:expr) => {
        match $trainee {
            Trainee::Cpu($classifier) => $work,
            #[cfg(feature = "cuda")]
            Trainee::Cuda($classifier) => $work,
        }
    };
}

impl Trainee {
    /// See [`Classifier::new`].
    pub fn new(device: Device, plan: Plan, recipe: &Recipe, epochs: usize, seed: u64) -> std::result::Result<Self, TrainError> {
        match device {
            Device::Cpu => Ok(Self::Cpu(Classifier::new(plan, Cpu::default(), recipe, epochs, seed)?)),
            #[cfg(feature = "cuda")]
            Device::Cuda => Ok(Self::Cuda(Classifier::new(plan, crate::tensor::cuda::cuda()?, recipe, epochs, seed)?)),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda => usable().map_err(TrainError::Tensor).and(Err(TrainError::Cancelled)),
        }
    }

    /// Trains for an epoch and judges the network, where there are rows to judge it by: the mean loss and the figures.
    pub fn epoch(
        &mut self,
        pools: &Pools,
        rows: &Rows<'_>,
        validation: Option<&Rows<'_>>,
        cancel: &Cancel,
    ) -> std::result::Result<(f64, Option<Figures>), TrainError> {
        macro_rules! epoch {
            ($classifier:expr) => {{
                let loss = $classifier.epoch(rows, cancel)?;
                let figures = validation.map(|rows| $classifier.judge(rows, cancel)).transpose()?;
                Ok((loss, figures))
            }};
        }
        match self {
            Self::Cpu(classifier) => pools.on(|| epoch!(classifier)),
            // A card is used from where its device was made, and by one at a time.
            #[cfg(feature = "cuda")]
            Self::Cuda(classifier) => {
                let _turn = crate::tensor::cuda::turn();
                epoch!(classifier)
            }
        }
    }

    /// See [`Classifier::network`].
    pub fn plan(&self) -> &Plan {
        each!(self, classifier => classifier.network().plan())
    }

    /// See [`Classifier::epochs`].
    pub fn epochs(&self) -> usize {
        each!(self, classifier => classifier.epochs())
    }

    /// See [`Classifier::set_epochs`].
    pub fn set_epochs(&mut self, epochs: usize) {
        each!(self, classifier => classifier.set_epochs(epochs));
    }

    /// See [`Classifier::done`].
    pub fn done(&self) -> usize {
        each!(self, classifier => classifier.done())
    }

    /// Says how many epochs are done, after [`Trainee::load`].
    pub fn set_done(&mut self, done: usize) {
        each!(self, classifier => classifier.done = done);
    }

    /// See [`Classifier::rate`].
    pub fn rate(&self, share: f64) -> f64 {
        each!(self, classifier => classifier.rate(share))
    }

    /// Writes the weights, and where the training stands if it is to go on, with some words beside them.
    pub fn save(&self, path: &Path, goes_on: bool, words: &str) -> std::result::Result<(), CheckpointError> {
        each!(self, classifier => {
            checkpoint::save(path, classifier.weights.params(), goes_on.then_some(&classifier.stepper), words)
        })
    }

    /// Reads what [`Trainee::save`] wrote of a training that goes on, and gives the words.
    pub fn load(&mut self, path: &Path) -> std::result::Result<String, CheckpointError> {
        each!(self, classifier => {
            checkpoint::load(path, classifier.weights.params_mut(), Some(&mut classifier.stepper))
        })
    }
}
