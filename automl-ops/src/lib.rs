//! Tabular part.
pub mod learn;
