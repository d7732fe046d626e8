//! Neural architecture optimization: Luo, Tian, Qin, Chen and Liu, "Neural Architecture Optimization", NeurIPS 2018.
//!
//! An encoder turns candidates, as token sequences, into a continuous space; a predictor there says how good they are; good
//! candidates follow its gradient, and a decoder reads new candidates from where they arrive. The three networks are trained
//! together on all that was evaluated (`model`, `train`), rounds of moves (`moves`) alternate with fits. Tokens, masks and the
//! other spellings of a candidate come from the space (`codec`), so every space is served: numbers are binned, and get their
//! precision back from the seed or within the bin.
//!
//! `ask` fits: a fit is a function of what was told and of nothing else, and is kept until more is told. A study asks once a
//! round. [`Nao`] is the method of the paper, [`NaoPlus`] has what improves on it; both are one implementation with other
//! [`Settings`].

mod codec;
mod fit;
mod model;
mod moves;
mod probe;
mod settings;
#[cfg(test)]
mod tests;
mod train;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use automl_core::hash::StableHash;
use automl_core::rand::{Rng, SeedableRng};
use automl_core::schemars::JsonSchema;
use automl_core::space::sample;
use automl_core::{Ask, Cancel, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trace, Trial, plugin};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};

pub use probe::{Probe, probe};
pub use settings::{Choice, Preset, Settings, Target};

use codec::{Codec, Sequence, failed};
use fit::Fitted;
use moves::Course;

/// Neural architecture optimization: an encoder, a predictor and a decoder are trained on what was evaluated, and the best
/// candidates follow the gradient of the predictor to new ones.
///
/// Random until `initial` trials were told; then rounds of `batch` proposals from the best `seeds`. Failed and infeasible
/// trials count as the worst that was seen. Trials at less than full fidelity are not learnt from. Sees the first objective alone.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(crate = "automl_core::schemars")]
pub struct Nao(pub Settings);

/// [`Nao`] with what improves on the paper: encoder and decoder learn to spell before the first fit, an ensemble of linear
/// predictors is taught ranks, and of many moves those with the best predictions are proposed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(crate = "automl_core::schemars")]
pub struct NaoPlus(pub Settings);

impl Default for NaoPlus {
    fn default() -> Self {
        Self(Settings::plus())
    }
}

impl<'de> Deserialize<'de> for Nao {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = serde_json::Value::deserialize(deserializer)?;
        Settings::default().overlaid(keys).map(Self).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for NaoPlus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = serde_json::Value::deserialize(deserializer)?;
        Settings::plus().overlaid(keys).map(Self).map_err(serde::de::Error::custom)
    }
}

plugin! {
    "nao",
    impl StrategyConfig for Nao {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            Ok(Box::new(Running::new("nao", &self.0, space)?))
        }
    }
}

plugin! {
    "nao_plus",
    impl StrategyConfig for NaoPlus {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            Ok(Box::new(Running::new("nao_plus", &self.0, space)?))
        }
    }
}

/// A candidate with its outcome.
struct Seen {
    id: u64,
    trace: Trace,
    /// Its tokens, then those of its other spellings.
    spellings: Vec<Sequence>,
    /// Infinite where there is none.
    loss: f64,
}

impl Seen {
    /// A candidate with what it spells; nothing where the space had nothing to ask.
    fn new(codec: &Codec, settings: &Settings, id: u64, genotype: &Genotype, loss: f64, seed: u64) -> Result<Option<Self>> {
        let trace = codec.space.trace(genotype)?;
        if trace.is_empty() {
            return Ok(None);
        }
        let mut spellings = vec![codec.sequence(&trace)?];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..settings.spellings {
            if let Some(other) = codec.space.equivalent(genotype, &mut rng)? {
                spellings.push(codec.sequence(&codec.space.trace(&other)?)?);
            }
        }
        Ok(Some(Self { id, trace, spellings, loss: if loss.is_finite() { loss } else { f64::INFINITY } }))
    }
}

struct Running {
    name: &'static str,
    settings: Settings,
    codec: Codec,
    /// Trials told, whatever came of them.
    told: usize,
    hashes: BTreeSet<u64>,
    seen: Vec<Seen>,
    /// Where all random numbers of fits come from: the first candidate that was told.
    seed: u64,
    /// The last fit, with the number of trials that had been told.
    fitted: Mutex<Option<(usize, Arc<Fitted>)>>,
    /// Networks that can spell; they depend on `seed` alone.
    speller: fit::Speller,
}

/// Tries for a random candidate that is new.
const TRIES: usize = 16;

impl Running {
    fn new(name: &'static str, settings: &Settings, space: Arc<dyn SearchSpace>) -> Result<Self> {
        settings.check()?;
        let codec = Codec::new(space, settings.bins)?;
        Ok(Self {
            name,
            settings: settings.clone(),
            codec,
            told: 0,
            hashes: BTreeSet::new(),
            seen: Vec::new(),
            seed: 0,
            fitted: Mutex::new(None),
            speller: fit::Speller::default(),
        })
    }

    /// The networks fitted to all that was told; nothing where there is nothing to learn, or no time.
    fn fitted(&self, cancel: &Cancel) -> Result<Option<Arc<Fitted>>> {
        // What another thread left behind is whole: it is set in one go.
        let mut kept = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fitted)) = kept.as_ref().filter(|(told, _)| *told == self.told) {
            return Ok(Some(fitted.clone()));
        }
        let losses: Vec<f64> = self.seen.iter().map(|seen| seen.loss).collect();
        let Some(scores) = self.settings.target.scores(&losses) else { return Ok(None) };
        let seed = StableHash::new("nao").number(self.seed).number(self.told as u64).finish();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let speller = self.speller.get(&self.codec, &self.settings, self.seed, cancel)?;
        let fitted = Arc::new(fit::fit(&self.codec, &self.settings, speller, &self.seen, &scores, &mut rng, cancel)?);
        if cancel.is_cancelled() {
            return Ok(None);
        }
        *kept = Some((self.told, fitted.clone()));
        Ok(Some(fitted))
    }

    /// The best candidates, best first.
    fn seeds(&self) -> Vec<&Seen> {
        let mut best: Vec<&Seen> = self.seen.iter().filter(|seen| seen.loss.is_finite()).collect();
        best.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        best.truncate(self.settings.seeds);
        best
    }

    fn hash(&self, genotype: &Genotype) -> u64 {
        self.codec.space.canonical_hash(genotype)
    }

    fn random(&self, taken: &BTreeSet<u64>, rng: &mut dyn Rng) -> Result<Proposal> {
        let mut genotype = sample(self.codec.space.as_ref(), rng)?;
        for _ in 1..TRIES {
            if !taken.contains(&self.hash(&genotype)) {
                break;
            }
            genotype = sample(self.codec.space.as_ref(), rng)?;
        }
        Ok(Proposal::new(genotype, Origin::by("random")))
    }

    fn proposal(&self, by: &str, parent: u64, genotype: Genotype, note: Option<serde_json::Value>) -> Proposal {
        Proposal::new(genotype, Origin { by: format!("{}/{by}", self.name), parents: vec![parent], note })
    }

    /// Up to `count` new candidates that seeds move to.
    fn moves(
        &self,
        fitted: &Fitted,
        seeds: &[&Seen],
        count: usize,
        taken: &mut BTreeSet<u64>,
        rng: &mut dyn Rng,
        cancel: &Cancel,
    ) -> Result<Vec<Proposal>> {
        let steps = self.settings.steps();
        let inputs: Vec<&Sequence> = seeds.iter().filter_map(|seed| seed.spellings.first()).collect();
        let course = |model| Course::new(model, &inputs, steps.normalised).map(|course| (model, course)).map_err(failed);
        let courses = fitted.models.iter().map(course).collect::<Result<Vec<_>>>()?;
        let mut found: Vec<(Proposal, Trace)> = Vec::new();
        for enlarged in 0..=steps.enlarged {
            if self.settings.choose == Choice::First && found.len() >= count {
                break;
            }
            let step = steps.first * (1.0 + 0.5 * enlarged as f64);
            for (model, course) in &courses {
                for decoded in course.decode(model, &self.codec, step, steps.beam, cancel)? {
                    let Some(seed) = seeds.get(decoded.seed) else { continue };
                    let genotype = self.codec.precise(&decoded.answers, &seed.trace, rng)?;
                    if taken.insert(self.hash(&genotype)) {
                        let trace = self.codec.space.trace(&genotype)?;
                        let note = serde_json::json!({ "step": step });
                        found.push((self.proposal("move", seed.id, genotype, Some(note)), trace));
                    }
                }
            }
        }
        if self.settings.choose == Choice::Predicted && found.len() > count {
            let sequences = found.iter().map(|(_, trace)| self.codec.sequence(trace)).collect::<Result<Vec<_>>>()?;
            let scores = fitted.judge(&sequences.iter().collect::<Vec<_>>(), self.settings.caution)?;
            let mut judged: Vec<_> = scores.into_iter().zip(found).collect();
            judged.sort_by(|a, b| b.0.total_cmp(&a.0));
            found = judged.into_iter().map(|(_, found)| found).collect();
        }
        found.truncate(count);
        Ok(found.into_iter().map(|(proposal, _)| proposal).collect())
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let mut taken = self.hashes.clone();
        taken.extend(ask.pending.iter().map(|proposal| self.hash(&proposal.genotype)));
        let seeds = self.seeds();
        if self.told < self.settings.initial || seeds.is_empty() {
            return Ok(vec![self.random(&taken, rng)?]);
        }
        let Some(fitted) = self.fitted(ask.cancel)? else { return Ok(vec![self.random(&taken, rng)?]) };
        let share = |of: f64| (of * self.settings.batch as f64).round() as usize;
        let mut refined = Vec::new();
        for seed in seeds.iter().cycle().take(share(self.settings.refine)) {
            if let Some(genotype) = self.codec.nudged(&seed.trace, rng)?
                && taken.insert(self.hash(&genotype))
            {
                refined.push(self.proposal("refine", seed.id, genotype, None));
            }
        }
        let room = self.settings.batch.saturating_sub(share(self.settings.explore) + refined.len());
        let mut proposals = self.moves(&fitted, &seeds, room, &mut taken, rng, ask.cancel)?;
        proposals.extend(refined);
        while proposals.len() < self.settings.batch {
            let random = self.random(&taken, rng)?;
            // A space that is all but used up may have nothing new; then one that was tried before says so to the study.
            if !taken.insert(self.hash(&random.genotype)) && !proposals.is_empty() {
                break;
            }
            proposals.push(random);
        }
        Ok(proposals)
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.hash(&trial.genotype);
        self.hashes.insert(hash);
        if self.told == 0 {
            self.seed = hash;
        }
        self.told += 1;
        if trial.fidelity == 1.0 && trial.duplicate_of.is_none() {
            let loss = trial.loss().unwrap_or(f64::INFINITY);
            if let Some(seen) = Seen::new(&self.codec, &self.settings, trial.id, &trial.genotype, loss, hash)? {
                // Evaluated again, with more effort: the last word counts.
                self.seen.retain(|other| other.trace != seen.trace);
                self.seen.push(seen);
            }
        }
        Ok(())
    }
}
