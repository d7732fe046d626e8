//! Strategies: what to try next.
//!
//! A strategy is two halves. [`StrategyConfig`] is the plain data that a user writes; [`Strategy`] is the running half that it
//! builds. `ask` is pure and `tell` is the only transition, so that the journal of a study is the whole state: resume is replay.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::evaluator::{Evaluator, Objective, Price};
use crate::genotype::Genotype;
use crate::space::SearchSpace;
use crate::trial::Trial;

/// Where a proposal comes from; stands in the journal, and nothing else may be needed to replay it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Who made it: `random`, the name of a mutation or crossover, `start`.
    pub by: String,
    /// Ids of the trials that it descends from.
    #[serde(default)]
    pub parents: Vec<u64>,
    /// What else the strategy wants to find again, such as the log-probabilities of a controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<serde_json::Value>,
}

impl Origin {
    /// An origin without parents.
    pub fn by(by: impl Into<String>) -> Self {
        Self { by: by.into(), ..Self::default() }
    }
}

/// A candidate to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// What to evaluate.
    pub genotype: Genotype,
    /// Where it comes from.
    pub origin: Origin,
    /// Share of the full effort (rows, folds, epochs) to spend on it, above 0 to 1.
    pub fidelity: f64,
}

impl Proposal {
    /// A proposal at full fidelity.
    pub fn new(genotype: Genotype, origin: Origin) -> Self {
        Self { genotype, origin, fidelity: 1.0 }
    }
}

/// What candidates are expected to take, for strategies that look at it. Arithmetic on sizes alone: no clock is in it.
#[derive(Clone, Copy, Default)]
pub struct Prices<'a>(Option<&'a dyn Evaluator>);

impl<'a> Prices<'a> {
    /// The prices that an evaluator declares.
    pub fn of(evaluator: &'a dyn Evaluator) -> Self {
        Self(Some(evaluator))
    }

    /// The price of a candidate; none where it is unknown.
    pub fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        self.0?.price(genotype, fidelity)
    }
}

impl Debug for Prices<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Prices(known)" } else { "Prices(unknown)" })
    }
}

/// What a strategy is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Id of the trial that the first proposal becomes.
    pub trial: u64,
    /// Proposals whose outcome has not been told yet, oldest first. They depend on the seed alone, not on the number of workers.
    pub pending: &'a [Proposal],
    /// What candidates are expected to take.
    pub prices: Prices<'a>,
    /// Cancelled when the study ends. What takes long then gives up: whatever is said after that is dropped.
    pub cancel: &'a Cancel,
}

impl<'a> Ask<'a> {
    /// An ask outside a study: prices are unknown, and there is time.
    pub fn alone(trial: u64, pending: &'a [Proposal]) -> Self {
        static NEVER: LazyLock<Cancel> = LazyLock::new(Cancel::new);
        Self { trial, pending, prices: Prices::default(), cancel: &NEVER }
    }
}

/// Plain data that builds a strategy; a config names it by its `type`.
#[typetag::serde(tag = "type")]
pub trait StrategyConfig: Debug + Send + Sync {
    /// The running half.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for settings that contradict each other or the space.
    fn build(&self, space: Arc<dyn SearchSpace>, objectives: &[Objective]) -> Result<Box<dyn Strategy>>;
}

/// The running half of a strategy.
///
/// What the conformance suite ([`crate::conformance::check_strategy`]) asks of it: `ask` has no side effect and depends on
/// what was told, on its arguments and on `rng` alone; failed, infeasible and pruned trials are survived.
pub trait Strategy: Send {
    /// One or more proposals; none ends the study (nothing is left to try).
    ///
    /// # Errors
    /// Any error ends the study.
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>>;

    /// Learns the outcome of a trial; called in the order of trial ids.
    ///
    /// # Errors
    /// Any error ends the study.
    fn tell(&mut self, trial: &Trial) -> Result<()>;
}

/// Changes a genotype; a config names it by its `type`.
#[typetag::serde(tag = "type")]
pub trait Mutation: Debug + Send + Sync {
    /// A legal genotype that differs from `parent`, or `None` where this mutation cannot apply.
    ///
    /// # Errors
    /// Those of the space.
    fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>>;
}

/// Makes one genotype of two; a config names it by its `type`.
#[typetag::serde(tag = "type")]
pub trait Crossover: Debug + Send + Sync {
    /// A legal genotype that differs from both parents, or `None` where this crossover cannot apply.
    ///
    /// # Errors
    /// Those of the space.
    fn cross(&self, a: &Genotype, b: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>>;
}
