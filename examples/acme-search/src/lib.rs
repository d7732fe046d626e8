//! Strategies of a third party: one file each, and nothing but `mod` lines here. Needs `automl-core` and `serde` alone.

mod hill_climb;

pub use hill_climb::HillClimb;
