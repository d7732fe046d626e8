//! One evaluated candidate, as the journal keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::genotype::Genotype;
use crate::strategy::{Origin, Proposal};

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Evaluated; has losses.
    Complete,
    /// Given up early because it could not win; has no losses.
    Pruned,
    /// The candidate cannot be evaluated on this data, such as more components than columns.
    Infeasible,
    /// Something went wrong: an error, a panic, the trial's own limit of time or memory.
    Failed,
}

/// One evaluated candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number in the study, from 0.
    pub id: u64,
    /// How it ended.
    pub state: State,
    /// One value an objective, to be minimised; empty unless complete.
    #[serde(default)]
    pub losses: Vec<f64>,
    /// Figures for the reader, in their own direction.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// What was evaluated.
    pub genotype: Genotype,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Share of the full effort spent, above 0 to 1.
    #[serde(default = "full", skip_serializing_if = "is_full")]
    pub fidelity: f64,
    /// First losses that were reported on the way, such as those of the folds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<f64>,
    /// The earlier trial with the same candidate, whose outcome this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<u64>,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Wall-clock seconds that the evaluation took.
    #[serde(default)]
    pub seconds: f64,
}

fn full() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_full(fidelity: &f64) -> bool {
    *fidelity == 1.0
}

impl Trial {
    /// What came of a proposal outside a study: complete with these losses, or failed without any.
    pub fn told(id: u64, proposal: Proposal, losses: Option<Vec<f64>>) -> Self {
        let Proposal { genotype, origin, fidelity } = proposal;
        Self {
            id,
            state: if losses.is_some() { State::Complete } else { State::Failed },
            losses: losses.unwrap_or_default(),
            metrics: BTreeMap::new(),
            genotype,
            origin,
            fidelity,
            steps: Vec::new(),
            duplicate_of: None,
            reason: None,
            seconds: 0.0,
        }
    }

    /// The first loss of a complete trial.
    pub fn loss(&self) -> Option<f64> {
        if self.state == State::Complete { self.losses.first().copied() } else { None }
    }

    /// The losses of a complete trial, one an objective.
    pub fn losses(&self) -> Option<&[f64]> {
        if self.state == State::Complete && !self.losses.is_empty() { Some(&self.losses) } else { None }
    }

    /// The first loss of a complete trial at full fidelity: a result of the study. What less effort finds is only a hint, and its
    /// losses cannot be compared with those of full effort.
    pub fn full_loss(&self) -> Option<f64> {
        self.loss().filter(|_| self.fidelity == 1.0)
    }
}
