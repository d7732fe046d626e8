//! Fits of the networks to what was evaluated, with what the improvements add before, beside and after.

use std::sync::OnceLock;

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::space::sample;
use automl_core::{Cancel, Result};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::codec::{Codec, Sequence, failed};
use super::model::Model;
use super::train::{self, Example, Trained, Training};
use super::{Seen, Settings, moves};

/// Fitted networks, one set for each member of the ensemble.
pub(super) struct Fitted {
    pub models: Vec<Model>,
    pub trained: Vec<Trained>,
}

/// Encoder and decoder that learnt to spell random candidates, where the settings ask for it.
#[derive(Default)]
pub(super) struct Speller(OnceLock<Option<Model>>);

impl Speller {
    /// The networks; made at the first call. Cancelled, there are none, and the next call makes them.
    pub fn get(&self, codec: &Codec, settings: &Settings, seed: u64, cancel: &Cancel) -> Result<Option<&Model>> {
        if let Some(made) = self.0.get() {
            return Ok(made.as_ref());
        }
        let made = if settings.pretrain == 0 { None } else { Some(pretrained(codec, settings, seed, cancel)?) };
        if cancel.is_cancelled() {
            return Ok(None);
        }
        Ok(self.0.get_or_init(|| made).as_ref())
    }
}

fn pretrained(codec: &Codec, settings: &Settings, seed: u64, cancel: &Cancel) -> Result<Model> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let examples = unlabelled(codec, settings.pretrain, &mut rng, cancel)?;
    let mut model = Model::new(settings.sizes(codec), &mut rng).map_err(failed)?;
    let training = Training { lambda: 0.0, epochs: settings.pretrain_epochs, ..settings.training() };
    train::fit(&mut model, &examples, &training, &mut rng, cancel).map_err(failed)?;
    Ok(model)
}

/// Random candidates, as examples without a score; fewer where it is cancelled.
fn unlabelled(codec: &Codec, count: usize, rng: &mut ChaCha8Rng, cancel: &Cancel) -> Result<Vec<Example>> {
    let mut examples = Vec::with_capacity(count);
    for _ in 0..count {
        if cancel.is_cancelled() {
            break;
        }
        let trace = codec.space.trace(&sample(codec.space.as_ref(), rng)?)?;
        if !trace.is_empty() {
            examples.push(Example { spellings: vec![codec.sequence(&trace)?], score: None });
        }
    }
    Ok(examples)
}

/// What a fit goes on from.
pub(super) enum Start<'a> {
    /// New networks, or those that can spell with a new predictor.
    New(Option<&'a Model>),
    /// Those that were fitted to less.
    Fitted(&'a Fitted),
}

/// Fits every member of the ensemble; `scores` belong to `seen`. Cancelled, it ends soon, with networks that are not to be used.
pub(super) fn fit(
    codec: &Codec,
    settings: &Settings,
    start: &Start<'_>,
    seen: &[&Seen],
    scores: &[f32],
    rng: &mut ChaCha8Rng,
    cancel: &Cancel,
) -> Result<Fitted> {
    let examples: Vec<Example> =
        seen.iter().zip(scores).map(|(seen, score)| Example { spellings: seen.spellings.clone(), score: Some(*score) }).collect();
    let seeds: Vec<u64> = (0..settings.ensemble).map(|_| rng.random()).collect();
    let training = match start {
        Start::New(_) => settings.training(),
        Start::Fitted(_) => Training { epochs: settings.warm, ..settings.training() },
    };
    let member = |(index, seed): (usize, u64)| -> Result<(Model, Trained)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let made = match start {
            Start::New(None) => Model::new(settings.sizes(codec), &mut rng),
            Start::New(Some(speller)) => speller.renewed(&mut rng),
            Start::Fitted(before) => match before.models.get(index) {
                Some(before) => before.copied(),
                None => Model::new(settings.sizes(codec), &mut rng),
            },
        };
        let mut model = made.map_err(failed)?;
        let mut trained = train::fit(&mut model, &examples, &training, &mut rng, cancel).map_err(failed)?;
        if settings.pseudo > 0 {
            let mut more = unlabelled(codec, settings.pseudo, &mut rng, cancel)?;
            let sequences: Vec<&Sequence> = more.iter().filter_map(|example| example.spellings.first()).collect();
            let judged = moves::predict(&model, &sequences)?;
            more.iter_mut().zip(judged).for_each(|(example, score)| example.score = Some(score as f32));
            // What was evaluated weighs as much as what was not.
            let times = (more.len() / examples.len().max(1)).max(1);
            (0..times).for_each(|_| more.extend(examples.iter().cloned()));
            trained = train::fit(&mut model, &more, &training, &mut rng, cancel).map_err(failed)?;
        }
        Ok((model, trained))
    };
    let members = seeds.into_par_iter().enumerate().map(member).collect::<Result<Vec<_>>>()?;
    let (models, trained) = members.into_iter().unzip();
    Ok(Fitted { models, trained })
}

impl Fitted {
    /// What each member says of sequences.
    pub fn opinions(&self, sequences: &[&Sequence]) -> Result<Vec<Vec<f64>>> {
        self.models.par_iter().map(|model| moves::predict(model, sequences)).collect()
    }

    /// What the ensemble says of sequences: the mean, less `caution` standard deviations.
    pub fn judge(&self, sequences: &[&Sequence], caution: f64) -> Result<Vec<f64>> {
        let all = self.opinions(sequences)?;
        let count = all.len().max(1) as f64;
        let one = |index: usize| {
            let said: Vec<f64> = all.iter().filter_map(|said| said.get(index).copied()).collect();
            let mean = said.iter().sum::<f64>() / count;
            let variance = said.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            mean - caution * variance.sqrt()
        };
        Ok((0..sequences.len()).map(one).collect())
    }
}
