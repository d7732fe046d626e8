//! What every search stands on: spaces, genotypes, strategies, evaluators, the study that runs them, and the registry of plugins.
//!
//! The one idea: any strategy × any space × any evaluator. It holds because a [`Genotype`] is plain data whose meaning the
//! [`SearchSpace`] alone knows; because strategies see spaces and outcomes, never evaluators; and because the [`Study`] owns
//! the loop, the seeds and the clock.
//!
//! This crate names no machine-learning library, no async runtime and no database.

pub mod cancel;
pub mod conformance;
pub mod error;
pub mod evaluator;
pub mod genotype;
pub mod graph;
pub mod hash;
pub mod journal;
mod notation;
pub mod operator;
pub mod pareto;
pub mod registry;
pub mod space;
pub mod strategy;
pub mod study;
pub mod trial;
pub mod vocabulary;

pub use cancel::{Cancel, Deadline, Stopwatch};
pub use error::{Error, Result};
pub use evaluator::{Alone, Ancestor, Direction, EvalContext, Evaluation, Evaluator, EvaluatorConfig, Objective, Price, Stop};
pub use genotype::{Genotype, Node, Params, Value};
pub use graph::{GraphSpace, GraphSpec, OperatorSpec};
pub use journal::Journal;
pub use operator::{Kind, Operator, Param, Port};
pub use space::{Answer, Asker, Choose, Domain, Point, Question, SearchSpace, Step, Trace};
pub use strategy::{Ask, Crossover, Mutation, Origin, Prices, Proposal, Strategy, StrategyConfig};
pub use study::{Budget, Observer, Outcome, Study};
pub use trial::{State, Trial};
pub use vocabulary::Vocabulary;

// What the registration macros expand to: a plugin crate names `automl-core` and `serde` alone.
pub use inventory;
pub use rand;
pub use schemars;
pub use serde_json;
pub use typetag;
