//! Trains a network by mini-batches, and keeps what was best on rows that it did not learn from.

use automl_core::Cancel;
use automl_ops::operator::OperatorError;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::network::Network;
use crate::tensor::{AdamW, AdamWSettings, NnDevice, Scalar, Tape, backward, matrix, record, soft_targets, values, warm_cosine};

/// Rows that are looked at together outside of training.
pub(super) const BLOCK: usize = 256;
/// Rows from which a tenth is held out.
const HOLD_OUT: usize = 40;
/// Steps of an epoch, at least, where batches of [`SMALLEST`] rows allow it.
const STEPS: usize = 20;
/// Rows of a batch, at least.
const SMALLEST: usize = 16;
/// Share of the steps over which the learning rate rises: the first epoch, but not more than this.
const WARM_UP: f64 = 0.1;

/// How to train.
pub(super) struct Settings {
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub dropout: f32,
    pub label_smoothing: f32,
}

/// Rows to learn from: inputs row-major, targets, and weights with mean 1.
pub(super) struct Sample<'a> {
    pub x: &'a [f32],
    pub y: Targets<'a>,
    pub weights: &'a [f32],
}

/// What the network should say.
pub(super) enum Targets<'a> {
    /// One output a class.
    Classes(&'a [usize]),
    /// One output.
    Values(&'a [f32]),
}

impl Sample<'_> {
    fn pick<T: Copy + Default>(values: &[T], rows: &[u32]) -> Vec<T> {
        rows.iter().map(|&row| values.get(row as usize).copied().unwrap_or_default()).collect()
    }

    /// The inputs of some rows.
    fn inputs(&self, rows: &[u32], width: usize) -> Vec<f32> {
        let mut inputs = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            inputs.extend_from_slice(self.x.get(row as usize * width..(row as usize + 1) * width).unwrap_or(&[]));
        }
        inputs
    }

    /// The sum of the weighted losses of some rows, whose inputs are `x`, times `share`.
    fn loss<D: NnDevice, T: Tape<f32, D>>(
        &self,
        network: &Network<D>,
        x: crate::tensor::Matrix<D, T>,
        rows: &[u32],
        (share, smoothing): (f32, f32),
        dropout: Option<(f32, &mut ChaCha8Rng)>,
    ) -> Result<Scalar<D, T>, OperatorError> {
        let (device, count, outputs) = (network.params.device(), rows.len(), network.plan.outputs);
        let said = network.forward(x, count, dropout)?;
        let weights: Vec<f32> = Self::pick(self.weights, rows).into_iter().map(|weight| share * weight).collect();
        Ok(match self.y {
            Targets::Classes(codes) => {
                let targets = soft_targets(Self::pick(codes, rows).into_iter().zip(weights), outputs, smoothing);
                D::cross_entropy(said, &matrix(device, count, outputs, targets)?)?
            }
            Targets::Values(values) => {
                let targets = matrix(device, count, 1, Self::pick(values, rows))?;
                D::squared_error(said, &targets, &matrix(device, count, 1, weights)?)?
            }
        })
    }

    /// The same without a tape, for any number of rows; `None` where the token was cancelled.
    fn score<D: NnDevice>(&self, network: &Network<D>, rows: &[u32], cancel: &Cancel) -> Result<Option<f64>, OperatorError> {
        let mut total = 0.0;
        for rows in rows.chunks(BLOCK) {
            if cancel.is_cancelled() {
                return Ok(None);
            }
            let width = network.plan.inputs;
            let x = matrix(network.params.device(), rows.len(), width, self.inputs(rows, width))?;
            let loss: Scalar<D> = self.loss(network, x, rows, (1.0, 0.0), None)?;
            total += values(&loss).iter().map(|&loss| f64::from(loss)).sum::<f64>();
        }
        Ok(Some(total))
    }
}

/// Trains a network. A token that is cancelled after the first epoch ends the training, and the best epoch so far is the
/// result.
///
/// A tenth of the rows is held out; of few rows, none is, and the loss on the training rows decides what is best.
pub(super) fn train<D: NnDevice>(
    network: &mut Network<D>,
    sample: &Sample<'_>,
    settings: &Settings,
    rng: &mut ChaCha8Rng,
    cancel: &Cancel,
) -> Result<(), OperatorError> {
    let mut order: Vec<u32> = (0..sample.weights.len() as u32).collect();
    order.shuffle(rng);
    let held = if order.len() < HOLD_OUT { 0 } else { order.len() / 10 };
    let (held_out, training) = order.split_at_mut(held);
    let weighs = held_out.iter().any(|&row| sample.weights.get(row as usize).is_some_and(|&weight| weight > 0.0));

    let largest = settings.batch_size.min((training.len() / STEPS).max(SMALLEST));
    let steps = training.len().div_ceil(largest.max(1)).max(1);
    let batch = training.len().div_ceil(steps).max(1);
    let optimizer = AdamWSettings { weight_decay: settings.weight_decay, ..AdamWSettings::default() };
    let mut optimizer = AdamW::new(&mut network.params, optimizer)?;
    let patience = (settings.epochs / 4).max(5);
    let mut best = (f64::INFINITY, network.params.export());
    let (mut waited, mut done) = (0, 0);
    'training: while done < settings.epochs && waited < patience {
        training.shuffle(rng);
        for (step, rows) in training.chunks(batch).enumerate() {
            if cancel.is_cancelled() {
                break 'training;
            }
            let width = network.plan.inputs;
            let x = record(matrix(network.params.device(), rows.len(), width, sample.inputs(rows, width))?);
            let share = (1.0 / rows.len() as f32, settings.label_smoothing);
            let loss = sample.loss(network, x, rows, share, Some((settings.dropout, rng)))?;
            let mut gradients = backward(loss)?;
            let progress = (done * steps + step + 1) as f64 / (settings.epochs * steps) as f64;
            let rate = settings.learning_rate * warm_cosine(progress, WARM_UP.min(1.0 / settings.epochs as f64));
            optimizer.step(&mut network.params, &mut gradients, rate)?;
        }
        let judges: &[u32] = if weighs { held_out } else { training };
        let Some(score) = sample.score(network, judges, cancel)? else { break };
        (done, waited) = (done + 1, waited + 1);
        if score < best.0 {
            let weights = network.params.export();
            if weights.iter().all(|weight| weight.is_finite()) {
                (best, waited) = ((score, weights), 0);
            }
        }
    }
    if done == 0 && settings.epochs > 0 {
        return Err(OperatorError::Cancelled);
    }
    Ok(network.params.import(&best.1)?)
}
