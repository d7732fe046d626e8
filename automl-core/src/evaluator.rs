//! Evaluators: how good a candidate is.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::genotype::Genotype;
use crate::space::SearchSpace;

/// Which way an objective is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

/// One figure to be improved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Its name, such as `balanced_accuracy`.
    pub name: String,
    /// Which way it is better.
    pub direction: Direction,
}

impl Objective {
    /// The loss (minimised) of a value of this objective; its own inverse.
    pub fn loss(&self, value: f64) -> f64 {
        match self.direction {
            Direction::Minimize => value,
            // `0.0 -` keeps a zero positive.
            Direction::Maximize => 0.0 - value,
        }
    }
}

/// What an evaluation found.
#[derive(Clone, Default)]
pub struct Evaluation {
    /// One finite value an objective, to be minimised.
    pub losses: Vec<f64>,
    /// Figures for the reader, in their own direction.
    pub metrics: BTreeMap<String, f64>,
    /// Something to hand to the observers, such as the fitted models; never journaled, so replay has none.
    pub artifact: Option<Arc<dyn Any + Send + Sync>>,
}

/// Why an evaluation ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// It could not win.
    #[error("pruned: {0}")]
    Pruned(String),
    /// This candidate cannot be evaluated here.
    #[error("infeasible: {0}")]
    Infeasible(String),
    /// Something went wrong.
    #[error("failed: {0}")]
    Failed(String),
    /// The token of the context was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// An earlier trial, as far as an evaluation needs it that builds on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ancestor {
    /// What was evaluated.
    pub genotype: Genotype,
    /// At which share of the full effort.
    pub fidelity: f64,
    /// Ids of the trials that it descends from itself, all smaller than its own.
    pub parents: Vec<u64>,
}

/// What the study gives to an evaluation. Everything in it is the same for any number of workers, but the token.
pub trait EvalContext {
    /// Seed of the study's evaluations: the same for all trials, so that folds are shared and duplicates are equal.
    fn seed(&self) -> u64;
    /// Share of the full effort to spend, above 0 to 1.
    fn fidelity(&self) -> f64;
    /// Cancelled when the trial must end.
    fn cancel(&self) -> &Cancel;
    /// Reports an intermediate result; the error says to stop. Candidates race each other over these: number the steps from 0
    /// without a gap, let a step mean the same for every candidate, and the mean of the first losses say how good it is.
    ///
    /// # Errors
    /// [`Stop::Pruned`] or [`Stop::Cancelled`], to be passed on.
    fn report(&mut self, step: u64, losses: &[f64]) -> Result<(), Stop>;

    /// Ids of the trials that the candidate descends from, as its strategy says. Default: none, as outside a study.
    fn parents(&self) -> &[u64] {
        &[]
    }

    /// An earlier trial by its id; one that repeats another is that other. An evaluator that builds on the evaluation of a parent
    /// finds here what it needs to do that evaluation again where it does not have it: after a resume, the trials of the journal
    /// were not evaluated. Default: none.
    fn ancestor(&self, trial: u64) -> Option<Ancestor> {
        let _ = trial;
        None
    }
}

/// The context of an evaluation outside a study: it races nobody, and only `cancel` ends it early.
#[derive(Clone, Debug)]
pub struct Alone {
    /// As [`EvalContext::seed`].
    pub seed: u64,
    /// As [`EvalContext::fidelity`].
    pub fidelity: f64,
    /// As [`EvalContext::cancel`].
    pub cancel: Cancel,
}

impl EvalContext for Alone {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn fidelity(&self) -> f64 {
        self.fidelity
    }

    fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn report(&mut self, _: u64, _: &[f64]) -> Result<(), Stop> {
        if self.cancel.is_cancelled() { Err(Stop::Cancelled) } else { Ok(()) }
    }
}

/// What an evaluation is expected to take, from arithmetic on sizes alone: the same wherever and whenever it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Seconds on one core.
    pub seconds: f64,
    /// Bytes in use at the peak, beyond what the evaluator itself holds.
    pub bytes: f64,
}

/// Judges candidates. Results depend on the genotype, the seed and the fidelity alone, and on those of the candidate's ancestors
/// where the evaluator asks for them.
pub trait Evaluator: Send + Sync {
    /// What it measures, in the order of the losses.
    fn objectives(&self) -> Vec<Objective>;

    /// Evaluates one candidate.
    ///
    /// # Errors
    /// A [`Stop`] that says why there is no result.
    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop>;

    /// What [`Evaluator::evaluate`] is expected to take: the study refuses what its budget cannot pay, and runs at once only
    /// what fits into memory together. Default: unknown.
    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let _ = (genotype, fidelity);
        None
    }
}

/// Plain data that builds an evaluator; a config names it by its `type`.
#[typetag::serde(tag = "type")]
pub trait EvaluatorConfig: Debug + Send + Sync {
    /// Loads what the evaluator needs; `workers` will call it at once.
    ///
    /// # Errors
    /// Bad settings or data.
    fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Box<dyn std::error::Error + Send + Sync>>;

    /// The space that fits its candidates, for configs that name none. Default: none.
    ///
    /// # Errors
    /// Bad settings or data.
    fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }
}
