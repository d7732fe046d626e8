//! The running half: tournaments in a population, whose mutations come from the controller.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::space::sample;
use automl_core::{Ask, Genotype, Origin, Proposal, Result, SearchSpace, Strategy, Trace, Trial, serde_json};
use serde::{Deserialize, Serialize};

use super::critic::{Critic, Seen};
use super::file;
use super::learn::{Experience, Learner};
use super::mutate::{Child, Mutator};

/// Children that are drawn until one is new.
const TRIES: usize = 10;
/// Who proposes a survivor again.
const SURVIVOR: &str = "survivor";

/// A running search.
pub(super) struct Running {
    /// The name of the strategy, which marks its children.
    pub name: &'static str,
    pub size: usize,
    pub sample: usize,
    pub aging: bool,
    /// Trials without an improvement after which a new population begins; none: never.
    pub patience: Option<usize>,
    pub mutator: Mutator,
    pub learner: Learner,
    pub critic: Option<Critic>,
    /// Whether the controller has learnt elsewhere, so that its critic knows something before the first trial.
    pub warm: bool,
    /// Share of the full effort that a candidate gets.
    pub fidelity: f64,
    /// Trials after which the survivors get all of it, and the search ends.
    pub finish: Option<u64>,
    pub save: Option<PathBuf>,
    pub told: Told,
}

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// Random candidates that the population still begins with.
    beginners: usize,
    /// The first trial that can be a parent in this population.
    since: u64,
    /// The smallest loss of this population's trials, and how many trials ago it was found.
    record: Option<f64>,
    stale: usize,
    hashes: BTreeSet<u64>,
    /// Survivors that had the full effort.
    finished: BTreeSet<u64>,
    /// Trace and loss of every complete trial, by its id: any of them may be a parent.
    complete: BTreeMap<u64, (Trace, f64)>,
    /// The oldest first.
    members: Vec<Member>,
    /// The best of each population before this one.
    past: Vec<Member>,
}

impl Told {
    pub fn new(beginners: usize) -> Self {
        Self { beginners, ..Self::default() }
    }

    /// Ends the population after a trial; the next begins with so many random candidates.
    fn begin_anew(&mut self, last: u64, beginners: usize) {
        let best = self.members.drain(..).min_by(|a, b| a.loss.total_cmp(&b.loss).then(a.id.cmp(&b.id)));
        self.past.extend(best);
        (self.beginners, self.since, self.record, self.stale) = (beginners, last + 1, None, 0);
    }
}

#[derive(Clone)]
struct Member {
    id: u64,
    loss: f64,
    genotype: Genotype,
}

/// What the origin of a child keeps for the controller.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Steps of the parent's sequence that the router chose, from 1; beyond its end: moves.
    routes: Vec<usize>,
    /// Logarithm of the mutation's probability.
    log_probability: f64,
    /// Entropy of its decisions in nats, for the reader.
    entropy: f64,
    /// The worst of the sample, which makes room.
    dies: u64,
}

impl Running {
    /// The best and the worst of a sample without replacement; of equals the older.
    fn tournament(&self, rng: &mut dyn Rng) -> Option<(&Member, &Member)> {
        let mut order: Vec<usize> = (0..self.told.members.len()).collect();
        let count = self.sample.min(order.len());
        for place in 0..count {
            let other = rng.random_range(place..order.len());
            order.swap(place, other);
        }
        let mut drawn: Vec<&Member> = order.iter().take(count).filter_map(|&index| self.told.members.get(index)).collect();
        drawn.sort_by(|a, b| a.loss.total_cmp(&b.loss).then(a.id.cmp(&b.id)));
        Some((drawn.first()?, drawn.last()?))
    }

    fn is_new(&self, ask: &Ask<'_>, genotype: &Genotype) -> bool {
        let hash = |genotype| self.mutator.space.canonical_hash(genotype);
        let own = hash(genotype);
        !self.told.hashes.contains(&own) && ask.pending.iter().all(|other| hash(&other.genotype) != own)
    }

    /// What the critic expects of a candidate.
    fn prospects(&self, genotype: &Genotype) -> Result<f32> {
        let controller = &self.learner.controller;
        let trace = self.mutator.space.trace(genotype)?;
        Ok(controller.value(&controller.encode(&self.mutator.sequence(&trace)?)))
    }

    fn random(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Proposal> {
        let space: &Arc<dyn SearchSpace> = &self.mutator.space;
        if let (true, Some(critic)) = (self.warm && self.told.since == 0, &self.critic) {
            let mut best: Option<(f32, Genotype)> = None;
            for _ in 0..critic.children {
                let genotype = sample(space.as_ref(), rng)?;
                let value = self.prospects(&genotype)?;
                if self.is_new(ask, &genotype) && best.as_ref().is_none_or(|(other, _)| value > *other) {
                    best = Some((value, genotype));
                }
            }
            if let Some((_, genotype)) = best {
                return Ok(Proposal { fidelity: self.fidelity, ..Proposal::new(genotype, Origin::by("random")) });
            }
        }
        let mut genotype = sample(space.as_ref(), rng)?;
        for _ in 1..TRIES {
            if self.is_new(ask, &genotype) {
                break;
            }
            genotype = sample(space.as_ref(), rng)?;
        }
        Ok(Proposal { fidelity: self.fidelity, ..Proposal::new(genotype, Origin::by("random")) })
    }

    /// The best member that has not had the full effort yet.
    fn survivor(&self, ask: &Ask<'_>) -> Option<Proposal> {
        let hash = |genotype| self.mutator.space.canonical_hash(genotype);
        let pending: BTreeSet<u64> =
            ask.pending.iter().filter(|other| other.fidelity == 1.0).map(|other| hash(&other.genotype)).collect();
        let left = self.told.members.iter().chain(&self.told.past).filter(|member| {
            let own = hash(&member.genotype);
            !pending.contains(&own) && !self.told.finished.contains(&own)
        });
        let best = left.min_by(|a, b| a.loss.total_cmp(&b.loss).then(a.id.cmp(&b.id)))?;
        Some(Proposal::new(best.genotype.clone(), Origin { by: SURVIVOR.to_owned(), parents: vec![best.id], note: None }))
    }

    fn proposal(&self, child: Child, parent: &Member, dies: &Member) -> Proposal {
        let sum =
            |number: fn(&super::controller::Decision) -> f32| child.decisions.iter().map(|one| f64::from(number(one))).sum();
        let note = Note {
            log_probability: sum(super::controller::Decision::log_probability),
            entropy: sum(super::controller::Decision::entropy),
            routes: child.routes,
            dies: dies.id,
        };
        let note = serde_json::to_value(note).ok();
        let origin = Origin { by: self.name.to_owned(), parents: vec![parent.id], note };
        Proposal { fidelity: self.fidelity, ..Proposal::new(child.genotype, origin) }
    }

    /// The mutation that a trial came from, if it is one of ours.
    fn experience(&self, trial: &Trial, trace: &Trace, note: &Note, loss: f64) -> Option<Experience> {
        let (parent, parent_loss) = self.told.complete.get(trial.origin.parents.first()?)?;
        Some(Experience {
            parent: parent.clone(),
            child: trace.clone(),
            routes: note.routes.clone(),
            log_probability: note.log_probability,
            parent_loss: *parent_loss,
            child_loss: loss,
        })
    }

    /// Takes a trial into the population, and ends that where it goes nowhere.
    fn enter(&mut self, trial: &Trial, loss: Option<f64>, note: Option<Note>) {
        let told = &mut self.told;
        told.stale = if told.beginners > 0 { 0 } else { told.stale + 1 };
        told.beginners = told.beginners.saturating_sub(1);
        if let Some(loss) = loss {
            if told.record.is_none_or(|record| loss < record) {
                (told.record, told.stale) = (Some(loss), 0);
            }
            let members = &mut told.members;
            members.push(Member { id: trial.id, loss, genotype: trial.genotype.clone() });
            if members.len() > self.size {
                let worst = || (0..members.len()).max_by(|&a, &b| members[a].loss.total_cmp(&members[b].loss).then(b.cmp(&a)));
                // With outcomes in flight, another child may have taken its place already.
                let chosen = note.and_then(|note| members.iter().position(|member| member.id == note.dies));
                if let Some(index) = if self.aging { Some(0) } else { chosen.or_else(worst) } {
                    members.remove(index);
                }
            }
        }
        if self.patience.is_some_and(|patience| told.stale >= patience) {
            told.begin_anew(trial.id, self.sample.min(self.size));
        }
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if self.finish.is_some_and(|finish| ask.trial >= finish) {
            return Ok(self.survivor(ask).into_iter().collect());
        }
        if self.told.beginners > 0 {
            return Ok(vec![self.random(ask, rng)?]);
        }
        let controller = &self.learner.controller;
        let (children, explore) = self.critic.as_ref().map_or((1, 0.0), |critic| (critic.children, critic.explore));
        let mut encoded = BTreeMap::new();
        let mut drawn_before = BTreeSet::new();
        let mut best: Option<(f32, Child, &Member, &Member)> = None;
        for _ in 0..children {
            let Some((parent, dies)) = self.tournament(rng) else { return Ok(vec![self.random(ask, rng)?]) };
            let (trace, encoding) = match encoded.entry(parent.id) {
                Entry::Vacant(entry) => {
                    let trace = self.mutator.space.trace(&parent.genotype)?;
                    let encoding = controller.encode(&self.mutator.sequence(&trace)?);
                    entry.insert((trace, encoding))
                }
                Entry::Occupied(entry) => entry.into_mut(),
            };
            let mut last = None;
            for attempt in 0..TRIES {
                // A controller that is sure of itself draws the same again and again.
                let evenly = rng.random::<f64>() < explore || self.critic.is_some() && 2 * attempt >= TRIES;
                let drawn = self.mutator.draw(controller, encoding, &parent.genotype, trace, evenly, rng)?;
                let Some(child) = drawn else { continue };
                let hash = self.mutator.space.canonical_hash(&child.genotype);
                let new = !drawn_before.contains(&hash) && self.is_new(ask, &child.genotype);
                last = Some((new.then_some(hash), child));
                if new {
                    break;
                }
            }
            let Some((new, child)) = last else { continue };
            // A child that was tried before is better than none.
            let value = match new {
                Some(hash) => {
                    drawn_before.insert(hash);
                    if children > 1 { self.prospects(&child.genotype)? } else { 0.0 }
                }
                None => f32::NEG_INFINITY,
            };
            if best.as_ref().is_none_or(|(other, ..)| value > *other) {
                best = Some((value, child, parent, dies));
            }
        }
        Ok(vec![match best {
            Some((_, child, parent, dies)) => self.proposal(child, parent, dies),
            None => self.random(ask, rng)?,
        }])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.mutator.space.canonical_hash(&trial.genotype);
        if trial.origin.by == SURVIVOR {
            self.told.finished.insert(hash);
            return Ok(());
        }
        let trace = self.mutator.space.trace(&trial.genotype)?;
        self.told.hashes.insert(hash);
        // Losses of less effort cannot be compared with those of more.
        let loss = trial.loss().filter(|loss| loss.is_finite() && trial.fidelity == self.fidelity);
        self.learner.see(loss.unwrap_or(f64::INFINITY));
        let note = trial.origin.note.as_ref().filter(|_| trial.origin.by == self.name);
        let note: Option<Note> = note.and_then(|note| serde_json::from_value(note.clone()).ok());
        if let Some(note) = &note
            && let Some(experience) = self.experience(trial, &trace, note, loss.unwrap_or(f64::INFINITY))
        {
            self.learner.learn(experience, &self.mutator, trial.id)?;
        }
        if let Some(critic) = &self.critic {
            let sequence = self.mutator.sequence(&trace)?;
            let loss = loss.unwrap_or(f64::INFINITY);
            self.learner.seen.push(Seen { genotype: trial.genotype.clone(), trace: trace.clone(), sequence, loss });
            self.learner.criticise(critic, &self.mutator, trial.id)?;
        }
        if let Some(loss) = loss {
            self.told.complete.insert(trial.id, (trace, loss));
        }
        // With outcomes in flight, there may be a late child of a population that has ended.
        if trial.origin.parents.first().is_none_or(|parent| *parent >= self.told.since) {
            self.enter(trial, loss, note);
        }
        Ok(())
    }
}

impl Drop for Running {
    /// Saves what was learnt. Whether the folder is there was asked before the search; there is nobody left to tell of anything
    /// else.
    fn drop(&mut self) {
        if let Some(path) = self.save.as_ref().filter(|_| self.learner.learnt > 0) {
            let _ = file::save(path, &self.learner.controller, &self.mutator);
        }
    }
}
