//! Joint training of the three networks (Luo et al., section 3.1, equation 1): `λ · MSE - (1 - λ) · log-likelihood`.
//!
//! A batch is cut into parts of fixed size, which threads share; their gradients are added in order, so the result is the same
//! for any number of threads.

use automl_core::Cancel;
use automl_core::rand::{Rng, RngExt, SeedableRng};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::codec::Sequence;
use super::model::{Batch, Model};
use crate::tensor::sequence::{both, fork, with_gradient};
use crate::tensor::{AdamW, AdamWSettings, Cpu, Gradients, OwnedTape, TensorError, backward, values, warm_cosine};

/// Most sequences of a part of a batch.
const PART: usize = 32;
/// Share of the loss that an epoch has to gain on the best so far to count as progress.
const PROGRESS: f64 = 0.01;

/// How to train.
#[derive(Clone, Debug)]
pub(super) struct Training {
    /// Share of the predictor in the loss.
    pub lambda: f64,
    /// Share of the order of pairs in the predictor's loss; the rest is the squared error.
    pub rank: f64,
    pub epochs: usize,
    /// Epochs without progress after which it ends.
    pub patience: usize,
    pub batch: usize,
    pub rate: f64,
    /// Whether the rate falls to 0 over the epochs, like half a cosine.
    pub anneal: bool,
    pub clip: f64,
    pub l2: f64,
    pub dropout: f64,
}

/// A candidate to learn from.
#[derive(Clone, Debug)]
pub(super) struct Example {
    /// Its spellings, the first its own: each epoch reads one of them as input, as what the decoder is taught with, and as
    /// target.
    pub spellings: Vec<Sequence>,
    /// What the predictor is to say; nothing for a candidate that was not evaluated.
    pub score: Option<f32>,
}

/// What training came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trained {
    pub epochs: usize,
    /// Mean over the last epoch.
    pub loss: f64,
}

/// Trains until the loss makes no progress, or for the epochs set; cancelled, it stops after the batch.
pub(super) fn fit(
    model: &mut Model,
    examples: &[Example],
    training: &Training,
    rng: &mut ChaCha8Rng,
    cancel: &Cancel,
) -> Result<Trained, TensorError> {
    let settings = AdamWSettings { weight_decay: 0.0, max_norm: training.clip, ..AdamWSettings::default() };
    let mut optimizer = AdamW::new(&mut model.params, settings)?;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let (mut best, mut since) = (f64::INFINITY, 0);
    let mut trained = Trained { epochs: 0, loss: 0.0 };
    while trained.epochs < training.epochs && since < training.patience && !examples.is_empty() {
        order.shuffle(rng);
        let progress = trained.epochs as f64 / training.epochs as f64;
        let rate = training.rate * if training.anneal { warm_cosine(progress, 0.0) } else { 1.0 };
        let mut total = 0.0;
        for batch in order.chunks(training.batch.max(1)) {
            if cancel.is_cancelled() {
                return Ok(trained);
            }
            let drawn: Vec<(&Sequence, Option<f32>)> = batch.iter().filter_map(|&index| draw(&examples[index], rng)).collect();
            let (loss, mut gradients) = pass(model, &drawn, training, rng)?;
            model.params.add_penalty(&mut gradients, training.l2 as f32)?;
            optimizer.step(&mut model.params, &mut gradients, rate)?;
            total += loss * batch.len() as f64;
        }
        trained = Trained { epochs: trained.epochs + 1, loss: total / examples.len() as f64 };
        since = if trained.loss < best * (1.0 - PROGRESS) { 0 } else { since + 1 };
        best = best.min(trained.loss);
    }
    Ok(trained)
}

fn draw<'a>(example: &'a Example, rng: &mut ChaCha8Rng) -> Option<(&'a Sequence, Option<f32>)> {
    let index = if example.spellings.len() > 1 { rng.random_range(0..example.spellings.len()) } else { 0 };
    example.spellings.get(index).map(|sequence| (sequence, example.score))
}

/// The loss of a batch and its gradients.
fn pass(
    model: &Model,
    drawn: &[(&Sequence, Option<f32>)],
    training: &Training,
    rng: &mut ChaCha8Rng,
) -> Result<(f64, Gradients<f32, Cpu>), TensorError> {
    let scored = drawn.iter().filter(|(_, score)| score.is_some()).count().max(1);
    let tokens: usize = drawn.iter().map(|(sequence, _)| sequence.tokens.len()).sum();
    let shares = [training.lambda as f32 / scored as f32, (1.0 - training.lambda) as f32 / tokens.max(1) as f32];
    // As many parts as needed, all of about one size.
    let size = drawn.len().div_ceil(drawn.len().div_ceil(PART).max(1)).max(1);
    let seeds: Vec<u64> = drawn.chunks(size).map(|_| rng.random()).collect();
    let parts = drawn.par_chunks(size).zip(&seeds);
    let done: Vec<Result<_, TensorError>> = parts.map(|(part, seed)| self::part(model, part, shares, training, *seed)).collect();
    let mut done = done.into_iter();
    let (mut loss, mut gradients) = done.next().unwrap_or_else(|| Ok((0.0, Gradients::leaky())))?;
    for more in done {
        let (part, from) = more?;
        loss += part;
        model.params.add_gradients(&mut gradients, from)?;
    }
    Ok((loss, gradients))
}

fn part(
    model: &Model,
    part: &[(&Sequence, Option<f32>)],
    [of_score, of_token]: [f32; 2],
    training: &Training,
    seed: u64,
) -> Result<(f64, Gradients<f32, Cpu>), TensorError> {
    let sequences: Vec<&Sequence> = part.iter().map(|(sequence, _)| *sequence).collect();
    let batch = Batch::new(&sequences);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let source: &mut dyn Rng = &mut rng;
    let dropout = (training.dropout > 0.0).then_some((training.dropout, source));
    let (states, for_predictor) = fork(model.encode::<OwnedTape<f32, Cpu>>(&batch, dropout)?);
    let mut loss = model.reconstruct(states, &batch, &sequences, &vec![of_token; sequences.len()])?;
    if part.iter().any(|(_, score)| score.is_some()) && training.lambda > 0.0 {
        let predictions = model.predict(for_predictor, &batch.lengths)?;
        let scores: Vec<Option<f32>> = part.iter().map(|(_, score)| *score).collect();
        let (value, gradient) = score_loss(&values(&predictions), &scores, training.rank as f32);
        let gradient = gradient.into_iter().map(|slope| slope * of_score).collect();
        loss = both(loss, with_gradient(predictions, value * of_score, gradient)?)?;
    }
    let value = f64::from(values(&loss).first().copied().unwrap_or(0.0));
    Ok((value, backward(loss)?))
}

/// `(1 - rank) Σ (score - prediction)² + rank · (mean over partners of log(1 + e^-difference))` over what has a score, and its
/// gradient. The second part is the pairwise logistic loss of RankNet (Burges et al. 2005).
fn score_loss(predictions: &[f32], scores: &[Option<f32>], rank: f32) -> (f32, Vec<f32>) {
    let (mut value, mut gradient) = (0.0, vec![0.0; predictions.len()]);
    for ((prediction, score), slope) in predictions.iter().zip(scores).zip(&mut gradient) {
        if let Some(score) = score {
            value += (1.0 - rank) * (prediction - score).powi(2);
            *slope += (1.0 - rank) * 2.0 * (prediction - score);
        }
    }
    if rank > 0.0 {
        let share = rank / scores.iter().flatten().count().max(1) as f32;
        for (i, own) in scores.iter().enumerate() {
            for (j, other) in scores.iter().enumerate() {
                if matches!((own, other), (Some(own), Some(other)) if own > other) {
                    let wrong = 1.0 / (1.0 + (predictions[i] - predictions[j]).exp());
                    value -= share * (1.0 - wrong).max(f32::MIN_POSITIVE).ln();
                    gradient[i] -= share * wrong;
                    gradient[j] += share * wrong;
                }
            }
        }
    }
    (value, gradient)
}
