//! Tabular part.
pub mod learn;
pub mod metrics;
pub mod split;
pub mod table;
pub mod tree;
