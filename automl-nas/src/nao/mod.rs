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
mod ws;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use automl_core::hash::StableHash;
use automl_core::rand::{Rng, SeedableRng};
use automl_core::schemars::JsonSchema;
use automl_core::space::sample;
use automl_core::{Ask, Cancel, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trace, Trial, plugin};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};

pub use probe::{Probe, probe};
pub use settings::{Choice, Preset, Settings, Target};
pub use ws::NaoWs;

use codec::{Codec, Sequence, failed};
use fit::{Fitted, Start};
use model::Model;
use moves::{Course, Decoded};

/// Neural architecture optimization: an encoder, a predictor and a decoder are trained on what was evaluated, and the best
/// candidates follow the gradient of the predictor to new ones.
///
/// Random until `initial` trials were told; then rounds of `batch` proposals from the best `seeds`. Failed and infeasible
/// trials count as the worst that was seen. Trials at less than full fidelity are not learnt from. Sees the first objective alone.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(crate = "automl_core::schemars")]
pub struct Nao(pub Settings);

/// [`Nao`] with what improves on the paper: encoder and decoder learn to spell before the first fit, an ensemble of small
/// predictors is taught ranks and goes on from round to round, and of many moves and of the neighbours of the best those are proposed
/// of which it hopes most.
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
    /// Number of trials told, this one included.
    since: usize,
    /// Number of trials told when it was evaluated again, with more effort: then the last word counts.
    until: usize,
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
        let loss = if loss.is_finite() { loss } else { f64::INFINITY };
        Ok(Some(Self { id, trace, spellings, loss, since: 0, until: usize::MAX }))
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
    fitted: Kept,
    /// The last fit that later ones go on from.
    base: Kept,
    /// Networks that can spell; they depend on `seed` alone.
    speller: fit::Speller,
}

/// A fit, with the number of trials that had been told.
type Kept = Mutex<Option<(usize, Arc<Fitted>)>>;

/// Tries for a random candidate that is new.
const TRIES: usize = 16;
/// Sequences that are decoded at a time.
const ROWS: usize = 512;

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
            base: Mutex::new(None),
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
        let base = self.base(cancel)?;
        let fitted = match base {
            Some((told, base)) if told == self.told => Some(base),
            base => self.fit(self.told, base.as_ref().map(|(_, base)| base.as_ref()), cancel)?,
        };
        *kept = fitted.as_ref().map(|fitted| (self.told, fitted.clone()));
        Ok(fitted)
    }

    /// With warm starts, the fit that the next one goes on from: of the initial pool, and of each round since. When it is asked
    /// for has no part in it: what a run that was resumed lacks is made up for.
    fn base(&self, cancel: &Cancel) -> Result<Option<(usize, Arc<Fitted>)>> {
        if self.settings.warm == 0 {
            return Ok(None);
        }
        let mut kept = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let after = |told: usize| told + self.settings.round(told);
        let mut next = kept.as_ref().map_or(self.settings.initial, |(told, _)| after(*told));
        while next <= self.told {
            match self.fit(next, kept.as_ref().map(|(_, base)| base.as_ref()), cancel)? {
                Some(fitted) => *kept = Some((next, fitted)),
                None if cancel.is_cancelled() => return Ok(None),
                None => {}
            }
            next = after(next);
        }
        Ok(kept.clone())
    }

    /// The networks fitted to the first trials told, from others on or anew; nothing where there is nothing to learn, or no time.
    fn fit(&self, told: usize, base: Option<&Fitted>, cancel: &Cancel) -> Result<Option<Arc<Fitted>>> {
        let known: Vec<&Seen> = self.seen.iter().filter(|seen| seen.since <= told && seen.until > told).collect();
        let losses: Vec<f64> = known.iter().map(|seen| seen.loss).collect();
        let Some(scores) = self.settings.target.scores(&losses) else { return Ok(None) };
        let seed = StableHash::new("nao").number(self.seed).number(told as u64).finish();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let start = match base {
            Some(base) => Start::Fitted(base),
            None => Start::New(self.speller.get(&self.codec, &self.settings, self.seed, cancel)?),
        };
        let fitted = fit::fit(&self.codec, &self.settings, &start, &known, &scores, &mut rng, cancel)?;
        Ok(if cancel.is_cancelled() { None } else { Some(Arc::new(fitted)) })
    }

    /// Counts a trial that is told.
    fn count(&mut self, genotype: &Genotype) {
        if self.told == 0 {
            self.seed = self.hash(genotype);
        }
        self.told += 1;
    }

    /// Counts a trial, and learns from its outcome from now on.
    fn learn(&mut self, id: u64, genotype: &Genotype, loss: Option<f64>) -> Result<()> {
        self.count(genotype);
        let (told, loss, hash) = (self.told, loss.unwrap_or(f64::INFINITY), self.hash(genotype));
        if let Some(seen) = Seen::new(&self.codec, &self.settings, id, genotype, loss, hash)? {
            // Evaluated again, with more effort: the last word counts.
            self.seen.iter_mut().filter(|other| other.trace == seen.trace).for_each(|other| other.until = other.until.min(told));
            self.seen.push(Seen { since: told, ..seen });
        }
        Ok(())
    }

    /// All that was evaluated, each candidate once.
    fn current(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|seen| seen.until == usize::MAX)
    }

    /// The best candidates, best first.
    fn seeds(&self) -> Vec<&Seen> {
        let mut best: Vec<&Seen> = self.current().filter(|seen| seen.loss.is_finite()).collect();
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
        let first = self.settings.choose == Choice::First;
        let mut from: Vec<Moved> = Vec::new();
        for seed in seeds {
            let sequence = seed.spellings.first().cloned().unwrap_or_default();
            from.push(Moved { by: "move", seed: seed.id, step: 0.0, trace: seed.trace.clone(), sequence, proposal: None });
        }
        let mut found: Vec<Moved> = Vec::new();
        for hop in 0..=self.settings.hops {
            let new = self.hop(fitted, &from, count, taken, rng, cancel)?;
            if first {
                found.extend(new);
                break;
            }
            // The most promising of where it got to are where it goes on from.
            from = self.chosen(fitted, &new, seeds.len())?.into_iter().filter_map(|index| new.get(index).cloned()).collect();
            found.extend(new);
            if from.is_empty() || hop == self.settings.hops {
                break;
            }
        }
        // Late in a search what is left to find is mostly a step away from the best, where no gradient may lead.
        for seed in seeds.iter().take(if first { 0 } else { self.settings.neighbours }) {
            if cancel.is_cancelled() {
                break;
            }
            for genotype in self.codec.neighbours(&seed.trace, rng)? {
                if taken.insert(self.hash(&genotype)) {
                    found.push(self.moved("neighbour", seed.id, 0.0, genotype)?);
                }
            }
        }
        let mut chosen = self.chosen(fitted, &found, count)?;
        if first {
            chosen = (0..found.len().min(count)).collect();
        }
        let proposal = |index: usize| {
            let moved = found.get(index)?;
            let note = serde_json::json!({ "step": moved.step });
            Some(self.proposal(moved.by, moved.seed, moved.proposal.clone()?, Some(note)))
        };
        Ok(chosen.into_iter().filter_map(proposal).collect())
    }

    /// The new candidates that are decoded from others, by the size of the step; with [`Choice::First`] about `count` of them.
    fn hop(
        &self,
        fitted: &Fitted,
        from: &[Moved],
        count: usize,
        taken: &mut BTreeSet<u64>,
        rng: &mut dyn Rng,
        cancel: &Cancel,
    ) -> Result<Vec<Moved>> {
        let steps = self.settings.steps();
        let inputs: Vec<&Sequence> = from.iter().map(|moved| &moved.sequence).collect();
        let course = |model| Course::new(model, &inputs, steps.normalised).map(|course| (model, course)).map_err(failed);
        let courses = fitted.models.iter().map(course).collect::<Result<Vec<_>>>()?;
        let sizes: Vec<f64> = (0..=steps.enlarged).map(|enlarged| steps.first * (1.0 + 0.5 * enlarged as f64)).collect();
        let mut found = Vec::new();
        for sizes in sizes.chunks((ROWS / from.len().max(1)).max(1)) {
            if self.settings.choose == Choice::First && found.len() >= count {
                break;
            }
            let decode = |(model, course): &(&Model, Course)| course.decode(model, &self.codec, sizes, steps.beam, cancel);
            let decoded = courses.par_iter().map(decode).collect::<Result<Vec<_>>>()?;
            let mut decoded: Vec<Decoded> = decoded.into_iter().flatten().collect();
            decoded.sort_by(|a, b| a.step.total_cmp(&b.step));
            for decoded in decoded {
                let Some(seed) = from.get(decoded.seed) else { continue };
                let genotype = self.codec.precise(&decoded.answers, &seed.trace, rng)?;
                if taken.insert(self.hash(&genotype)) {
                    found.push(self.moved("move", seed.seed, decoded.step, genotype)?);
                }
            }
        }
        Ok(found)
    }

    /// A candidate that was come to.
    fn moved(&self, by: &'static str, seed: u64, step: f64, genotype: Genotype) -> Result<Moved> {
        let trace = self.codec.space.trace(&genotype)?;
        let sequence = self.codec.sequence(&trace)?;
        Ok(Moved { by, seed, step, trace, sequence, proposal: Some(genotype) })
    }

    /// The indices of up to `count` candidates, the most promising first.
    fn chosen(&self, fitted: &Fitted, found: &[Moved], count: usize) -> Result<Vec<usize>> {
        if self.settings.choose == Choice::First || found.is_empty() {
            return Ok(Vec::new());
        }
        let sequences: Vec<&Sequence> = found.iter().map(|moved| &moved.sequence).collect();
        let orders = match self.settings.choose {
            Choice::Thompson => fitted.opinions(&sequences)?,
            _ => vec![fitted.judge(&sequences, self.settings.caution)?],
        };
        Ok(in_turn(&orders, count))
    }
}

/// The indices of up to `count` candidates that judges choose in turn, each the best of what is left by its scores.
fn in_turn(judges: &[Vec<f64>], count: usize) -> Vec<usize> {
    let mut orders: Vec<_> = Vec::with_capacity(judges.len());
    for scores in judges {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        orders.push(order.into_iter());
    }
    let (mut taken, mut chosen) = (BTreeSet::new(), Vec::new());
    let most = judges.iter().map(Vec::len).max().unwrap_or(0).min(count);
    while chosen.len() < most {
        for order in &mut orders {
            if let Some(index) = order.find(|index| !taken.contains(index))
                && chosen.len() < most
            {
                taken.insert(index);
                chosen.push(index);
            }
        }
    }
    chosen
}

/// Where a move starts, or where it got to.
#[derive(Clone)]
struct Moved {
    /// What the journal says: `move` or `neighbour`.
    by: &'static str,
    /// The trial that it set out from, however many moves ago.
    seed: u64,
    step: f64,
    trace: Trace,
    sequence: Sequence,
    /// Nothing for what was evaluated.
    proposal: Option<Genotype>,
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
        let size = self.settings.round(self.told);
        let share = |of: f64| (of * size as f64).round() as usize;
        let mut refined = Vec::new();
        for seed in seeds.iter().cycle().take(share(self.settings.refine)) {
            if let Some(genotype) = self.codec.nudged(&seed.trace, rng)?
                && taken.insert(self.hash(&genotype))
            {
                refined.push(self.proposal("refine", seed.id, genotype, None));
            }
        }
        let room = size.saturating_sub(share(self.settings.explore) + refined.len());
        let mut proposals = self.moves(&fitted, &seeds, room, &mut taken, rng, ask.cancel)?;
        proposals.extend(refined);
        while proposals.len() < size {
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
        self.hashes.insert(self.hash(&trial.genotype));
        if trial.fidelity == 1.0 && trial.duplicate_of.is_none() {
            return self.learn(trial.id, &trial.genotype, trial.loss());
        }
        self.count(&trial.genotype);
        Ok(())
    }
}
