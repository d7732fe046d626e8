//! A part of a graph that can stand alone.

use automl_core::rand::Rng;
use automl_core::rand::seq::SliceRandom;
use automl_core::schemars::JsonSchema;
use automl_core::{Genotype, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use crate::draft::Draft;

/// Makes an inner vertex the output, with all that it descends from.
///
/// The one mutation that only ever makes graphs smaller. The vendor's manual of DarwinML shows candidates of this origin; how
/// they are made is a reconstruction.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Subgraph {}

plugin! {
    "subgraph",
    impl Mutation for Subgraph {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let Some(graph) = space.graph() else { return Ok(None) };
            let inner = graph.spec().sources.len()..parent.nodes.len().saturating_sub(1);
            let mut outputs: Vec<usize> = inner.filter(|&vertex| graph.ends_with(&parent.nodes[vertex].op)).collect();
            outputs.shuffle(rng);
            Ok(outputs.into_iter().find_map(|output| {
                let mut draft = Draft::of(graph, parent);
                draft.output = output;
                draft.finish()
            }))
        }
    }
}
