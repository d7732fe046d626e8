//! A weighted mix of mutations, as the evolutions are configured with.

use std::sync::Arc;

use automl_core::rand::Rng;
use automl_core::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use automl_core::{Error, Genotype, Mutation, Result, SearchSpace};
use serde::{Deserialize, Serialize};

use crate::credit::Credit;
use crate::draft::take_weighted;
use crate::mutations::{MutationEdge, MutationLayer, MutationParameter, MutationPoint, MutationType, Subgraph};

/// A mutation and how often it is drawn, relative to the others: `{ weight = 1.0, mutation = { type = "mutation_type" } }`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Weighted {
    /// Its weight; default 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// The mutation.
    #[schemars(schema_with = "mutation_schema")]
    pub mutation: Arc<dyn Mutation>,
}

fn one() -> f64 {
    1.0
}

fn mutation_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "description": "A plugin of the kind `mutation`, by its `type`.", "required": ["type"] })
}

/// What a listing says of a crossover by its `type`.
pub(crate) fn crossover_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "description": "A plugin of the kind `crossover`, by its `type`.", "required": ["type"] })
}

/// The `type` of a plugin that was configured or made here.
pub(crate) fn name_of<T: Serialize + ?Sized>(plugin: &T) -> String {
    let config = serde_json::to_value(plugin).unwrap_or_default();
    config.get("type").and_then(|name| name.as_str()).unwrap_or("unnamed").to_owned()
}

/// The mix that a strategy runs with.
pub(crate) struct Mix {
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    weight: f64,
    mutation: Arc<dyn Mutation>,
}

impl Mix {
    /// The configured mix; one that fits the space if none is configured.
    ///
    /// # Errors
    /// [`Error::Config`] for weights that are not numbers of 0 or above with a positive sum.
    pub fn new(configured: &[Weighted], space: &dyn SearchSpace) -> Result<Self> {
        let weights: Vec<f64> = configured.iter().map(|entry| entry.weight).collect();
        if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || weights.iter().all(|weight| *weight == 0.0) {
            if !configured.is_empty() {
                return Err(Error::config("strategy.mutations", "weights are finite numbers, 0 or above, and one is above 0"));
            }
            return Ok(Self::fitting(space));
        }
        Ok(Self::of(configured.iter().map(|entry| (entry.weight, entry.mutation.clone())).collect()))
    }

    /// Structure evenly over its mutations, and parameters a third of the time; any other space re-answers a question.
    fn fitting(space: &dyn SearchSpace) -> Self {
        let Some(graph) = space.graph() else { return Self::of(vec![(1.0, Arc::new(MutationPoint::default()))]) };
        let mut mix: Vec<(f64, Arc<dyn Mutation>)> = vec![
            (1.0, Arc::new(MutationType::default())),
            (1.0, Arc::new(MutationEdge::default())),
            (1.0, Arc::new(MutationLayer::default())),
            (1.0, Arc::new(Subgraph::default())),
        ];
        if graph.spec().operators.iter().any(|operator| !operator.params.is_empty()) {
            mix.push((2.0, Arc::new(MutationParameter::default())));
        }
        Self::of(mix)
    }

    fn of(mix: Vec<(f64, Arc<dyn Mutation>)>) -> Self {
        let entries = mix.into_iter().map(|(weight, mutation)| Entry { name: name_of(mutation.as_ref()), weight, mutation });
        Self { entries: entries.collect() }
    }

    /// Whether a mutation of this name is in the mix.
    pub fn knows(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// A child and the name of the mutation that made it, drawn by weight and credit. Where the mutation drawn cannot apply,
    /// another is drawn.
    ///
    /// # Errors
    /// Those of the mutations.
    pub fn mutate(
        &self,
        parent: &Genotype,
        credit: &Credit,
        space: &dyn SearchSpace,
        rng: &mut dyn Rng,
    ) -> Result<Option<(Genotype, &str)>> {
        let weighted = |entry: &'_ Entry| entry.weight * credit.factor(&entry.name);
        let open = self.entries.iter().filter(|entry| entry.weight > 0.0);
        let mut open: Vec<(&Entry, f64)> = open.map(|entry| (entry, weighted(entry))).collect();
        while let Some(entry) = take_weighted(&mut open, rng) {
            if let Some(child) = entry.mutation.mutate(parent, space, rng)? {
                return Ok(Some((child, &entry.name)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::pool_space;

    #[test]
    fn draws_by_weight_and_passes_over_what_cannot_apply() {
        let text = r#"[{"weight": 3.0, "mutation": {"type": "mutation_parameter"}}, {"mutation": {"type": "mutation_type"}}]"#;
        let configured: Vec<Weighted> = serde_json::from_str(text).unwrap();
        assert_eq!(configured[1].weight, 1.0);
        let space = pool_space();
        let mix = Mix::new(&configured, &space).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0, 0];
        for _ in 0..400 {
            let parent = sample(&space, &mut rng).unwrap();
            let tunable = parent.nodes.iter().any(|node| !node.params.is_empty());
            match mix.mutate(&parent, &Credit::default(), &space, &mut rng).unwrap() {
                Some((_, "mutation_parameter")) => counts[0] += 1,
                Some((_, "mutation_type")) if tunable => counts[1] += 1,
                _ => {}
            }
        }
        assert!(counts[0] > 2 * counts[1] && counts[1] > 20, "{counts:?}");
        let zero = vec![Weighted { weight: 0.0, ..configured[0].clone() }];
        assert!(Mix::new(&zero, &space).is_err());
    }
}
