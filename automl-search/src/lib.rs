//! Strategies that need no neural network, with the mutations and crossovers that they are made of.
//!
//! - [`random`]: samples, and avoids what was tried before.
//! - [`darwin`]: evolution of graphs, with Bayesian optimisation of the hyperparameters of the best ones.
//! - [`regularized_evolution`]: aging evolution, the control of the architecture-search literature.
//! - [`bayes`]: Bayesian optimisation with a random forest (SMAC), a Gaussian process or both, by expected improvement.
//! - [`bananas`]: an ensemble that predicts the loss from the paths of a graph, and mutations of the best candidates.
//! - [`local_search`]: climbs from random candidates, by all neighbours.
//! - [`reinforce`]: policy gradients over the questions of a space.
//! - [`tpe`]: Bayesian optimisation by the densities of good and bad answers.
//! - [`graph_evolution`]: tournaments over the best candidates, with structural mutations and heredity by layers.
//! - [`successive_halving`]: any of these, with little effort at first and more for the candidates that do well.
//!
//! The operators of variation ([`mutations`], [`crossovers`]) are plugins of their own, so a strategy of any crate can be
//! told to use those of any other. Those that change graphs apply to spaces of typed graphs
//! ([`SearchSpace::graph`](automl_core::SearchSpace::graph)); `mutation_point` and `uniform` work on the questions of a space,
//! so that every strategy here can search every space.

pub mod bananas;
pub mod bayes;
mod credit;
pub mod crossovers;
pub mod darwin;
mod draft;
mod fresh;
pub mod graph_evolution;
pub mod local_search;
pub mod mix;
pub mod mutations;
mod neighbours;
pub mod random;
pub mod regularized_evolution;
pub mod reinforce;
mod scalar;
mod settings;
pub mod successive_halving;
#[cfg(test)]
mod testing;
pub mod tpe;

pub use bananas::Bananas;
pub use bayes::Bayes;
pub use darwin::Darwin;
pub use graph_evolution::GraphEvolution;
pub use local_search::LocalSearch;
pub use mix::Weighted;
pub use random::Random;
pub use regularized_evolution::RegularizedEvolution;
pub use reinforce::Reinforce;
pub use successive_halving::SuccessiveHalving;
pub use tpe::Tpe;
