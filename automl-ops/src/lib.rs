//! Tabular part.
