//! Mutations: one parent, one changed child.
//!
//! Four change the structure of typed graphs (`mutation_type`, `mutation_edge`, `mutation_layer`, `subgraph`: the vocabulary of
//! DarwinML), one the parameters of a vertex (`mutation_parameter`), and one works on the questions of any space
//! (`mutation_point`). None of them knows the rules of the space: it makes a child and the space's own trace says whether that
//! is legal, so after a few tries the answer is "cannot apply".

mod mutation_edge;
mod mutation_layer;
mod mutation_parameter;
mod mutation_point;
mod mutation_type;
pub(crate) mod step;
mod subgraph;
#[cfg(test)]
mod tests;

pub use mutation_edge::MutationEdge;
pub use mutation_layer::MutationLayer;
pub use mutation_parameter::MutationParameter;
pub use mutation_point::MutationPoint;
pub use mutation_type::MutationType;
pub use subgraph::Subgraph;

/// Children that a graph mutation lets the space judge before it gives up.
const TRIES: usize = 32;
