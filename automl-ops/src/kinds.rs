//! The kinds of edges in a pipeline.

use automl_core::Kind;

/// Any columns: numbers, categories, dates, texts, missing values.
pub const RAW: Kind = Kind::Borrowed("raw");
/// Numbers with missing values.
pub const NUMERIC: Kind = Kind::Borrowed("numeric");
/// Numbers without missing values.
pub const DENSE: Kind = Kind::Borrowed("dense");
/// What an estimator says: class probabilities or values.
pub const PREDICTION: Kind = Kind::Borrowed("prediction");
