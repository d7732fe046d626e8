//! The data that flows along the edges of a pipeline: columns, shared between frames.
//!
//! A [`Frame`] is a list of reference-counted columns, so that the union of several inputs and a selection of columns copy
//! nothing. Numbers are `f32`: what a learner gains from more digits is lost in the noise of any table, and half the bytes is
//! twice the speed. Linear solvers widen to `f64` where they accumulate.

use std::sync::Arc;

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers; `NaN` is a missing value. Never infinite.
    Numeric(Vec<f32>),
    /// Codes below `levels`; [`MISSING`] is a missing or unseen category.
    Category {
        /// One code a row.
        codes: Vec<u32>,
        /// Number of categories known from training.
        levels: u32,
    },
    /// Seconds since 1970-01-01 UTC; `NaN` is missing.
    DateTime(Vec<f64>),
    /// Free text; `None` is missing.
    Text(Vec<Option<Arc<str>>>),
}

/// The code of a missing or unseen category.
pub const MISSING: u32 = u32::MAX;

/// Columns of equal length. Cloning copies pointers only.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    rows: usize,
    columns: Vec<Arc<Column>>,
}
