//! Tabular data, the operators of a pipeline, its execution, metrics, validation and the model file.
//!
//! The way of the data: a file is read as a [`table`]; a [`dataset::Binding`] turns its columns into a [`frame`]; a genotype
//! over the gene pool ([`operators`](operator::operators)) is run as a [`pipeline`]; the [`evaluator`] cross-validates it; the
//! winner becomes a [`model`].

pub mod conformance;
pub mod cost;
pub mod dataset;
pub mod ensemble;
pub mod evaluator;
pub mod frame;
pub mod goal;
pub mod kinds;
pub mod leak;
pub mod learn;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod operator;
mod operators;
pub mod pipeline;
pub mod portfolio;
pub mod space;
pub mod split;
pub mod stacking;
pub mod state;
pub mod table;
mod tabular;
pub mod training;
pub mod tree;
mod validation;
mod weights;

pub use evaluator::{TabularEvaluator, Validated};
pub use metrics::{Metric, Task};
pub use model::{About, Model, ModelError};
pub use space::PipelineSpace;
pub use tabular::Tabular;
pub use training::Training;
pub use validation::Validation;
