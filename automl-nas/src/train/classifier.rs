//! Training of a network on images, epoch by epoch.
//!
//! All that is drawn — the order of the rows, their variations, what is dropped — depends on the seed, the epoch and the step
//! alone, so a training that is taken up after an epoch goes on as if it had never stopped, on any number of threads.

use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use automl_core::{Cancel, Stop};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::recipe::Recipe;
use crate::images::{Rows, Shape};
use crate::network::{Dropping, Network, Pass, Plan, Weights};
use crate::tensor::image::{Image, ImageDevice};
use crate::tensor::{Optimizer, TensorError, matrix, soft_targets, values};

/// Rows that are judged together.
const JUDGED: usize = 128;

/// Why a training ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The token was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The loss left the finite numbers.
    #[error("the training diverged: the loss is not finite in epoch {0}; lower the learning rate")]
    Diverged(usize),
    /// What the device could not do.
    #[error("{0}")]
    Tensor(String),
}

impl From<TensorError> for TrainError {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error.to_string())
    }
}

impl From<TrainError> for Stop {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Cancelled => Self::Cancelled,
            TrainError::Diverged(_) => Self::Failed(error.to_string()),
            TrainError::Tensor(problem) => Self::Infeasible(problem),
        }
    }
}

/// How well rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Share of the rows whose class is right.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// A network in training.
pub struct Classifier<D: ImageDevice> {
    pub(super) network: Network,
    pub(super) weights: Weights<D>,
    pub(super) stepper: Optimizer<D>,
    recipe: Recipe,
    seed: u64,
    /// Epochs in all, and those that are done.
    pub(super) epochs: usize,
    pub(super) done: usize,
}

impl<D: ImageDevice> Classifier<D> {
    /// A network at its start, to be trained for so many epochs.
    ///
    /// # Errors
    /// [`TrainError::Tensor`], such as out of memory.
    pub fn new(plan: Plan, device: D, recipe: &Recipe, epochs: usize, seed: u64) -> Result<Self, TrainError> {
        let mut weights = Weights::new(device, seed_of(seed, "train.weights", 0));
        let network = weights.bind(plan)?;
        let stepper = recipe.stepper(weights.params_mut())?;
        Ok(Self { network, weights, stepper, recipe: recipe.clone(), seed, epochs: epochs.max(1), done: 0 })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its weights.
    pub fn weights(&self) -> &Weights<D> {
        &self.weights
    }

    /// The same, to be changed before the first epoch.
    pub fn weights_mut(&mut self) -> &mut Weights<D> {
        &mut self.weights
    }

    /// Epochs that are done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Epochs in all.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Sets the number of epochs in all: what is left of the schedule stretches or shrinks.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.epochs = epochs.max(self.done).max(1);
    }

    /// The learning rate after a share of the epoch that comes next.
    pub fn rate(&self, share: f64) -> f64 {
        self.recipe.rate(self.done as f64 + share, self.epochs as f64)
    }

    /// One pass over the rows; the mean loss on the way.
    ///
    /// # Errors
    /// [`TrainError`]; the network is then in the middle of an epoch.
    pub fn epoch(&mut self, rows: &Rows<'_>, cancel: &Cancel) -> Result<f64, TrainError> {
        let epoch = self.done as u64;
        let mut order: Vec<u32> = (0..).take(rows.images().len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed_of(self.seed, "train.order", epoch)));
        let steps = order.len().div_ceil(self.recipe.batch_size.max(1)).max(1);
        let batch = order.len().div_ceil(steps).max(1);
        let mut total = 0.0;
        for (step, chunk) in order.chunks(batch).enumerate() {
            let share = step as f64 / steps as f64;
            let loss = self.step(rows, chunk, share, (epoch << 32) + step as u64, cancel);
            if cancel.is_cancelled() {
                return Err(TrainError::Cancelled);
            }
            let loss = loss?;
            if !loss.is_finite() {
                return Err(TrainError::Diverged(self.done + 1));
            }
            total += loss * chunk.len() as f64;
        }
        self.done += 1;
        Ok(total / order.len().max(1) as f64)
    }

    /// One step on some rows; their mean loss.
    fn step(&mut self, rows: &Rows<'_>, chunk: &[u32], share: f64, number: u64, cancel: &Cancel) -> Result<f64, TrainError> {
        let (epoch, progress) = (self.done as u64, (self.done as f64 + share) / self.epochs as f64);
        let varied = rows.varied(chunk, &self.recipe.augment, seed_of(self.seed, "train.augment", 0), epoch);
        let images = images(self.weights.params().device(), rows.images().shape, chunk.len(), varied)?;
        let dropping = Dropping {
            paths: (self.recipe.drop_path * progress) as f32,
            units: self.recipe.dropout as f32,
            rng: ChaCha8Rng::seed_from_u64(seed_of(self.seed, "train.drop", number)),
        };
        let mut pass = Pass::training(Some(dropping));
        pass.auxiliary = self.recipe.auxiliary > 0.0;
        pass.cancel = Some(cancel.clone());
        let said = self.network.forward(&self.weights, &mut pass, &images)?;
        let classes = self.network.plan().classes();
        let each = 1.0 / chunk.len() as f32;
        let codes = rows.labels(chunk).into_iter().map(|label| (label, each));
        let targets = soft_targets(codes, classes, self.recipe.label_smoothing as f32);
        let targets = matrix(self.weights.params().device(), chunk.len(), classes, targets)?;
        let own = pass.recorder.cross_entropy(&said.logits, &targets)?;
        let whole = match &said.auxiliary {
            Some(second) => {
                let second = pass.recorder.cross_entropy(second, &targets)?;
                pass.recorder.weighted_sum(&[(1.0, &own), (self.recipe.auxiliary as f32, &second)])?
            }
            None => own.clone(),
        };
        let loss = values(&own).first().copied().map_or(f64::NAN, f64::from);
        if !loss.is_finite() || cancel.is_cancelled() {
            return Ok(loss);
        }
        let mut gradients = pass.recorder.backward(&whole)?;
        let rate = self.rate(share);
        self.stepper.step(self.weights.params_mut(), &mut gradients, rate)?;
        self.weights.track(&pass.seen)?;
        Ok(loss)
    }

    /// How well the network tells rows apart, with running statistics.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn judge(&self, rows: &Rows<'_>, cancel: &Cancel) -> Result<Figures, TrainError> {
        judge(&self.network, &self.weights, rows, cancel)
    }
}

/// How well a network with these weights tells rows apart, with running statistics.
///
/// # Errors
/// [`TrainError`].
pub fn judge<D: ImageDevice>(
    network: &Network,
    weights: &Weights<D>,
    rows: &Rows<'_>,
    cancel: &Cancel,
) -> Result<Figures, TrainError> {
    let all: Vec<u32> = (0..).take(rows.images().len()).collect();
    let classes = network.plan().classes();
    let (mut right, mut loss) = (0_usize, 0.0);
    for chunk in all.chunks(JUDGED) {
        let images = images(weights.params().device(), rows.images().shape, chunk.len(), rows.plain(chunk))?;
        let mut pass = Pass::evaluation();
        pass.cancel = Some(cancel.clone());
        let said = network.forward(weights, &mut pass, &images);
        if cancel.is_cancelled() {
            return Err(TrainError::Cancelled);
        }
        let logits = values(&said?.logits);
        for (logits, label) in logits.chunks_exact(classes.max(1)).zip(rows.labels(chunk)) {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let own = logits.get(label).copied().unwrap_or(f32::NAN);
            // The first of equals counts, and a number that is none is wrong.
            right += usize::from(logits.iter().position(|logit| *logit == top) == Some(label));
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
            loss += sum.ln() + f64::from(top - own);
        }
    }
    let count = all.len().max(1) as f64;
    Ok(Figures { accuracy: right as f64 / count, loss: loss / count })
}

fn images<D: ImageDevice>(device: &D, shape: Shape, count: usize, numbers: Vec<f32>) -> Result<Image<D>, TensorError> {
    Image::new(device, [count, shape.channels, shape.height, shape.width], numbers)
}
