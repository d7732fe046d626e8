//! Strategies that need no neural network, with the mutations and crossovers that they are made of.
//!
//!
//! The operators of variation ([`mutations`], [`crossovers`]) are plugins of their own, so a strategy of any crate can be
//! told to use those of any other. Those that change graphs apply to spaces of typed graphs
//! ([`SearchSpace::graph`](automl_core::SearchSpace::graph)); `mutation_point` and `uniform` work on the questions of a space,
//! so that every strategy here can search every space.

pub mod crossovers;
mod draft;
pub mod mutations;
#[cfg(test)]
mod testing;

