//! One edge more or less.

use automl_core::rand::Rng;
use automl_core::rand::seq::SliceRandom;
use automl_core::schemars::JsonSchema;
use automl_core::{Genotype, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use super::TRIES;
use crate::draft::Draft;

/// Adds or removes one edge.
///
/// Pairs of nodes are tried in random order until the flip of their edge is legal. A reconstruction of DarwinML's
/// `mutation_edge`, of which the name alone is documented.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct MutationEdge {}

plugin! {
    "mutation_edge",
    impl Mutation for MutationEdge {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let Some(graph) = space.graph() else { return Ok(None) };
            let sources = graph.spec().sources.len();
            let count = parent.nodes.len();
            let mut pairs: Vec<(usize, usize)> =
                (sources..count).flat_map(|to| (0..count).filter(move |from| *from != to).map(move |from| (from, to))).collect();
            pairs.shuffle(rng);
            let mut tries = TRIES;
            for (from, to) in pairs {
                let mut draft = Draft::of(graph, parent);
                if parent.nodes[to].inputs.contains(&from) {
                    draft.disconnect(from, to);
                } else if !draft.connect(from, to) {
                    continue;
                }
                tries -= 1;
                // A child with fewer nodes has lost a vertex with its only reader.
                match draft.finish().filter(|child| child.nodes.len() == count) {
                    None if tries > 0 => {}
                    child => return Ok(child),
                }
            }
            Ok(None)
        }
    }
}
