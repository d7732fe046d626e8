//! Tabular part.
pub mod learn;
pub mod table;
