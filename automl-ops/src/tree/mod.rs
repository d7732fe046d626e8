//! Histogram trees: random forests, extra trees, single trees and gradient boosting.
//!
//! All learners here work on columns that were cut into at most 255 bins once ([`bins::Bins`]) and are shared by as many fits
//! as there are folds, candidates and threads; a fit names the rows it wants and never copies a code. What a fit yields is one
//! flat array of nodes (`model`) that reads raw values again, so a fitted model needs no bins.
//!
//! Sums in histograms are fixed-point integers, not floats. Integer sums are exact and do not depend on their order: a child is
//! its parent minus its sibling without cancellation, and a fit is the same to the bit for any number of threads.
//!
//! This module is the kernel: plain structs, no configuration format. Operators wrap it.

use std::sync::Arc;

use bins::Bins;

pub mod adaboost;
pub mod bins;
pub mod boosting;
pub(crate) mod cost;
pub mod forest;
mod model;
mod parts;

pub use parts::{PartData, Parts};

/// What went wrong in a tree kernel.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TreeError {
    /// The work was cancelled before anything usable was finished.
    #[error("trees: cancelled before the first tree was finished; give the fit more time, fewer rows or fewer columns")]
    Cancelled,
    /// Nothing to learn from.
    #[error("trees: no rows with a positive weight are left to learn from; pass at least one")]
    NoRows,
    /// Inputs that do not belong together.
    #[error("trees: {what} has length {found}, expected {expected}; all inputs are aligned with the rows of the bins")]
    Length {
        /// Which input.
        what: &'static str,
        /// What its length has to be.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// A value that no learner can use.
    #[error("trees: {what} at row {row} is {found}; expected {expected}")]
    Value {
        /// Which input.
        what: &'static str,
        /// Where it is.
        row: usize,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A parameter outside its range.
    #[error("trees: parameter `{name}` is {found}; expected {expected}")]
    Param {
        /// Field of the parameter struct.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A column of another kind than the one seen while fitting.
    #[error(
        "trees: column {column} is {found}, but the model was fitted on {expected} there; pass the columns of the fit in their order"
    )]
    Kind {
        /// Position of the column.
        column: usize,
        /// Kind at fit time.
        expected: &'static str,
        /// Kind now.
        found: &'static str,
    },
    /// A saved model that cannot be a model.
    #[error("trees: saved part `{part}` is invalid: {problem}; the file is damaged or was not written by this program")]
    Part {
        /// Name of the part.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// One column of raw values to predict from, in the units of the fit.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// Numbers; `NaN` is missing.
    Numeric(&'a [f32]),
    /// Levels; one that was not seen in the fit (`u32::MAX` by convention) is missing.
    Category(&'a [u32]),
}

impl Raw<'_> {
    fn len(&self) -> usize {
        match self {
            Raw::Numeric(values) => values.len(),
            Raw::Category(codes) => codes.len(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Raw::Numeric(_) => "numeric",
            Raw::Category(_) => "a category",
        }
    }
}

/// What to predict: one entry for each row of the bins, of which a fit reads only the rows it was asked to use.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Class of each row, below `classes`.
    Classes {
        /// One class a row.
        codes: &'a [u32],
        /// Number of classes, at least 1.
        classes: usize,
    },
    /// Finite numbers.
    Values(&'a [f32]),
}

impl Target<'_> {
    fn len(&self) -> usize {
        match self {
            Target::Classes { codes, .. } => codes.len(),
            Target::Values(values) => values.len(),
        }
    }
}

/// Checks that bins, target, weights and rows belong together and gives the rows of the fit: those asked for whose weight is
/// positive, in the order given.
fn checked_rows(
    bins: &[Arc<Bins>],
    rows: Option<&[u32]>,
    target: &Target<'_>,
    weights: Option<&[f32]>,
) -> Result<Vec<u32>, TreeError> {
    let total = target.len();
    for column in bins {
        if column.codes.len() != total {
            return Err(TreeError::Length { what: "a column", expected: total, found: column.codes.len() });
        }
        if !column.categorical && column.bins() > column.cuts.len() + 1 {
            return Err(TreeError::Length { what: "cuts of a column", expected: column.bins() - 1, found: column.cuts.len() });
        }
    }
    if let Some(weights) = weights
        && weights.len() != total
    {
        return Err(TreeError::Length { what: "weights", expected: total, found: weights.len() });
    }
    if let Target::Classes { classes, .. } = target
        && (*classes == 0 || *classes > 1 << 16)
    {
        return Err(TreeError::Param { name: "classes", found: classes.to_string(), expected: "1 to 65536" });
    }
    let usable = |row: u32| -> Result<bool, TreeError> {
        let at = row as usize;
        if at >= total {
            return Err(TreeError::Value { what: "row index", row: at, found: row.to_string(), expected: "a row of the bins" });
        }
        match target {
            Target::Classes { codes, classes } if codes[at] as usize >= *classes => {
                let found = codes[at].to_string();
                return Err(TreeError::Value { what: "class", row: at, found, expected: "a code below the number of classes" });
            }
            Target::Values(values) if !values[at].is_finite() => {
                let found = values[at].to_string();
                return Err(TreeError::Value { what: "target", row: at, found, expected: "a finite number" });
            }
            _ => {}
        }
        match weights.map(|weights| weights[at]) {
            Some(weight) if !(weight.is_finite() && weight >= 0.0) => {
                let found = weight.to_string();
                Err(TreeError::Value { what: "weight", row: at, found, expected: "a finite number of at least 0" })
            }
            Some(weight) => Ok(weight > 0.0),
            None => Ok(true),
        }
    };
    let mut kept = Vec::with_capacity(rows.map_or(total, <[u32]>::len));
    match rows {
        Some(rows) => {
            for &row in rows {
                if usable(row)? {
                    kept.push(row);
                }
            }
        }
        None => {
            for row in 0..total as u32 {
                if usable(row)? {
                    kept.push(row);
                }
            }
        }
    }
    if kept.is_empty() {
        return Err(TreeError::NoRows);
    }
    if kept.len() > MAX_ROWS {
        return Err(TreeError::Length { what: "the row list", expected: MAX_ROWS, found: kept.len() });
    }
    Ok(kept)
}

/// Rows of one fit; the fixed-point sums have room for that many.
const MAX_ROWS: usize = (1 << 26) - 1;

/// A generator for one numbered part of a seeded job.
fn stream(seed: u64, part: u64) -> rand_chacha::ChaCha8Rng {
    use rand::SeedableRng;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(part);
    rng
}

#[cfg(test)]
mod tests;
