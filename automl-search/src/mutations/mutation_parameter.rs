//! Other parameters at one vertex.

use automl_core::rand::seq::SliceRandom;
use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Error, Genotype, Param, Params, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use super::TRIES;
use super::step::{RESAMPLE, SIGMA, Step};

/// Changes one or a few parameters of one vertex and nothing else.
///
/// Numbers take a normal step on the unit scale of their domain or are drawn anew; choices take another option. A parameter
/// that comes to apply gets its default or, as often, a random value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct MutationParameter {
    /// Standard deviation of a step, as a share of the domain's scale; default 0.2.
    pub sigma: f64,
    /// Share of numbers that are drawn anew instead of stepped; default 0.1.
    pub resample: f64,
    /// How likely each further parameter of the vertex changes, too; default 0.2.
    pub further: f64,
}

impl Default for MutationParameter {
    fn default() -> Self {
        Self { sigma: SIGMA, resample: RESAMPLE, further: 0.2 }
    }
}

plugin! {
    "mutation_parameter",
    impl Mutation for MutationParameter {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            check("mutation_parameter", self.sigma, &[self.resample, self.further])?;
            let Some(graph) = space.graph() else { return Ok(None) };
            let mut vertices: Vec<usize> =
                (0..parent.nodes.len()).filter(|&vertex| !parent.nodes[vertex].params.is_empty()).collect();
            vertices.shuffle(rng);
            for &vertex in vertices.iter().take(TRIES) {
                let Some(operator) = graph.operator(&parent.nodes[vertex].op) else { continue };
                let mut child = parent.clone();
                child.nodes[vertex].params = self.change(&operator.params, &parent.nodes[vertex].params, rng);
                if child != *parent && space.trace(&child).is_ok() {
                    return Ok(Some(child));
                }
            }
            Ok(None)
        }
    }
}

impl MutationParameter {
    fn change(&self, params: &[Param], old: &Params, rng: &mut dyn Rng) -> Params {
        let step = Step { sigma: self.sigma, resample: self.resample };
        let mut names: Vec<&str> = old.keys().map(String::as_str).collect();
        names.shuffle(rng);
        let further = names.split_off(names.len().min(1));
        names.extend(further.into_iter().filter(|_| rng.random::<f64>() < self.further));
        let mut values = Params::new();
        for param in params {
            if !param.applies(&values) {
                continue;
            }
            let name = param.name.as_ref();
            let value = match old.get(name) {
                Some(value) if names.contains(&name) => param
                    .domain
                    .answer(value)
                    .and_then(|answer| step.other(&param.domain, answer, &[], None, rng))
                    .and_then(|answer| param.domain.value(answer))
                    .unwrap_or_else(|| value.clone()),
                Some(value) => value.clone(),
                None if rng.random::<bool>() => param.default.clone(),
                None => param.domain.value(param.domain.at(rng.random())).unwrap_or_else(|| param.default.clone()),
            };
            values.insert(name.to_owned(), value);
        }
        values
    }
}

/// Refuses steps and shares that make no sense.
pub(super) fn check(place: &str, sigma: f64, shares: &[f64]) -> Result<()> {
    if !sigma.is_finite() || sigma <= 0.0 {
        return Err(Error::config(format!("{place}.sigma"), "must be a number above 0; 0.2 serves well"));
    }
    if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(Error::config(place, "`resample` and `further` are shares, 0 to 1"));
    }
    Ok(())
}
