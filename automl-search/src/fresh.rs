//! Proposals that were not tried before, and what tells candidates apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::rand::Rng;
use automl_core::space::sample;
use automl_core::{Ask, Genotype, Node, Origin, Proposal, Result, SearchSpace, State, Trial};

/// Tries for a random candidate that is new.
const TRIES: usize = 16;

/// Knows what was told.
pub(crate) struct Told {
    /// The space of the study.
    pub space: Arc<dyn SearchSpace>,
    hashes: BTreeSet<u64>,
    /// Number of trials told, whatever came of them.
    pub trials: usize,
}

impl Told {
    pub fn new(space: Arc<dyn SearchSpace>) -> Self {
        Self { space, hashes: BTreeSet::new(), trials: 0 }
    }

    /// Notes a trial and says the hash of its candidate.
    pub fn tell(&mut self, trial: &Trial) -> u64 {
        let hash = self.space.canonical_hash(&trial.genotype);
        self.hashes.insert(hash);
        self.trials += 1;
        hash
    }

    /// What is new to this ask.
    pub fn fresh(&self, ask: &Ask<'_>) -> Fresh<'_> {
        let pending = ask.pending.iter().map(|proposal| self.space.canonical_hash(&proposal.genotype)).collect();
        Fresh { told: self, pending }
    }
}

/// Tells new candidates from those that were told or are pending.
pub(crate) struct Fresh<'a> {
    told: &'a Told,
    pending: BTreeSet<u64>,
}

impl Fresh<'_> {
    /// Whether a candidate is new.
    pub fn is(&self, genotype: &Genotype) -> bool {
        let hash = self.told.space.canonical_hash(genotype);
        !self.told.hashes.contains(&hash) && !self.pending.contains(&hash)
    }

    /// A random candidate: a new one, unless that takes too many tries.
    pub fn random(&self, rng: &mut dyn Rng) -> Result<Proposal> {
        let mut genotype = sample(self.told.space.as_ref(), rng)?;
        for _ in 1..TRIES {
            if self.is(&genotype) {
                break;
            }
            genotype = sample(self.told.space.as_ref(), rng)?;
        }
        Ok(Proposal::new(genotype, Origin::by("random")))
    }
}

/// A number for the operators and edges of a genotype, whatever its parameters.
pub(crate) fn skeleton(genotype: &Genotype) -> u64 {
    let of_node = |hash: StableHash, node: &Node| {
        node.inputs.iter().fold(hash.text(&node.op).number(node.inputs.len() as u64), |hash, input| hash.number(*input as u64))
    };
    genotype.nodes.iter().fold(StableHash::new("skeleton"), of_node).finish()
}

/// The loss that a model learns of a trial, where `best` is the least so far: a pruned one is as good as its steps were in the
/// mean, but no better than what it lost to. Infinite where nothing is known.
pub(crate) fn learnt_loss(trial: &Trial, best: f64) -> f64 {
    if trial.state == State::Pruned && !trial.steps.is_empty() && best.is_finite() {
        return (trial.steps.iter().sum::<f64>() / trial.steps.len() as f64).max(best);
    }
    trial.loss().unwrap_or(f64::INFINITY)
}
