//! Another operator at one vertex.

use automl_core::rand::Rng;
use automl_core::rand::seq::SliceRandom;
use automl_core::schemars::JsonSchema;
use automl_core::{Genotype, GraphSpace, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use super::TRIES;
use crate::draft::{Draft, fitting, new_params, take_weighted};

/// Gives one vertex another operator and keeps all edges.
///
/// The operator is drawn with the product of the transition weights to and from its neighbours; its parameters are new, half of
/// the time the defaults. A reconstruction of DarwinML's `mutation_type`, of which the name alone is documented.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct MutationType {}

plugin! {
    "mutation_type",
    impl Mutation for MutationType {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let Some(graph) = space.graph() else { return Ok(None) };
            let mut vertices: Vec<usize> = (graph.spec().sources.len()..parent.nodes.len()).collect();
            vertices.shuffle(rng);
            let mut tries = TRIES;
            for vertex in vertices {
                let mut operators = operators_at(graph, parent, vertex);
                while tries > 0 && let Some(op) = take_weighted(&mut operators, rng) {
                    tries -= 1;
                    let mut draft = Draft::of(graph, parent);
                    draft.nodes[vertex].params = new_params(graph, &op, rng);
                    draft.nodes[vertex].op = op;
                    if let Some(child) = draft.finish() {
                        return Ok(Some(child));
                    }
                }
            }
            Ok(None)
        }
    }
}

/// Operators that fit at a vertex beside its own, with their weights.
pub(super) fn operators_at(graph: &GraphSpace, parent: &Genotype, vertex: usize) -> Vec<(String, f64)> {
    let name = |&node: &usize| parent.nodes[node].op.as_str();
    let read: Vec<&str> = parent.nodes[vertex].inputs.iter().map(name).collect();
    let readers: Vec<&str> = parent.consumers()[vertex].iter().map(name).collect();
    fitting(graph, &read, &readers, vertex + 1 == parent.nodes.len(), &parent.nodes[vertex].op)
}
