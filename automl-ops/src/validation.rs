//! How the rows of a table are split into those that candidates are fitted on and those that they are scored on.

use automl_core::hash::StableHash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::Target;
use crate::pipeline;
use crate::split;

/// How candidates are validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Validation {
    /// Five folds up to 5,000 rows, three up to 15,000, else a holdout of a fifth. Up to 1,000 rows the folds are drawn anew, up
    /// to four times: of thousands of candidates on a small table, the best of one draw is mostly the luckiest.
    #[default]
    Auto,
    /// Cross-validation, stratified by class or by quantile of the target.
    Kfold {
        /// Number of folds, at least 2.
        folds: usize,
        /// How often the folds are drawn, at least 1; default 1. The first draw gives the models, all give the score.
        #[serde(default = "once")]
        repeats: usize,
    },
    /// One split.
    Holdout {
        /// Share of rows held out, above 0 and below 1.
        fraction: f64,
    },
}

fn once() -> usize {
    1
}

/// Rows that all draws of folds of a small table hold out together, about.
const HELD: usize = 2_000;
/// Cells of all draws together, about: each draw holds a copy of the table a fold.
const CELLS: usize = 1_000_000;
/// Draws of folds, at most.
const REPEATS: usize = 4;
/// Draws that may be asked for.
const MOST_REPEATS: usize = 100;

impl Validation {
    /// What it means for a table of this size.
    pub(crate) fn resolve(self, rows: usize, columns: usize) -> Splits {
        let repeats = (HELD / rows.max(1)).min(CELLS / (rows * columns).max(1)).clamp(1, REPEATS);
        match self {
            Self::Auto if rows <= 5_000 => Splits::Folds { count: 5, repeats },
            Self::Auto if rows <= 15_000 => Splits::Folds { count: 3, repeats: 1 },
            Self::Auto => Splits::Holdout { fraction: 0.2 },
            Self::Kfold { folds: count, repeats } => Splits::Folds { count, repeats },
            Self::Holdout { fraction } => Splits::Holdout { fraction },
        }
    }

    /// What is wrong with it.
    pub(crate) fn problem(self) -> Option<String> {
        match self {
            Self::Kfold { repeats, .. } if !(1..=MOST_REPEATS).contains(&repeats) => {
                Some(format!("`repeats` is {repeats}; it must lie between 1 and {MOST_REPEATS}"))
            }
            Self::Kfold { folds, .. } if folds < 2 => Some(format!("`folds` is {folds}; at least 2 are needed")),
            Self::Holdout { fraction } if !(fraction > 0.0 && fraction < 1.0) => {
                Some(format!("`fraction` is {fraction}; it must lie between 0 and 1"))
            }
            _ => None,
        }
    }
}

/// How the rows of a table are split.
#[derive(Clone, Copy)]
pub(crate) enum Splits {
    Folds { count: usize, repeats: usize },
    Holdout { fraction: f64 },
}

impl Splits {
    /// The rows held out, split by split: all splits of a draw after one another, the first draw first.
    pub fn held(self, y: &Target, seed: u64) -> Vec<Vec<u32>> {
        match (self, y) {
            (Self::Holdout { fraction }, Target::Classes { codes, classes }) => {
                vec![split::stratified_holdout(codes, *classes, fraction, seed).1]
            }
            (Self::Holdout { fraction }, Target::Values(values)) => vec![split::quantile_holdout(values, fraction, seed).1],
            (Self::Folds { count, repeats }, _) => {
                let seed_of = |draw: usize| match draw {
                    0 => seed,
                    draw => StableHash::new("draw").number(seed).number(draw as u64).finish(),
                };
                (0..repeats).flat_map(|draw| pipeline::folds(y, count.min(y.len()), seed_of(draw))).collect()
            }
        }
    }
}
