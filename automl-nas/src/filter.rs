//! A cheap evaluator in front of a dear one: the evaluator `filter`.
//!
//! What the cheap one thinks little of is given up at once. With `share`, trials at low fidelities are judged by the cheap one alone:
//! then it is the first rung of `successive_halving`.

use std::sync::Arc;

use automl_core::schemars::{self, JsonSchema};
use automl_core::{
    Direction, Error, EvalContext, Evaluation, Evaluator, EvaluatorConfig, Genotype, Objective, Price, SearchSpace, Stop, plugin,
};
use serde::{Deserialize, Serialize};

use crate::train::Train;
use crate::zero_cost::ZeroCost;

/// Judges candidates by a cheap evaluator first, and those alone that pass by a dear one.
///
/// `at_least` is in the unit of the first evaluator's objective, such as the `naswot` that a search by `zero_cost` alone finds for the
/// better half of the space: a fixed number, so that what passes does not depend on what was tried before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Filter {
    /// The cheap evaluator; default `zero_cost`.
    #[schemars(schema_with = "evaluator_schema")]
    pub first: Arc<dyn EvaluatorConfig>,
    /// The dear one; default `train`.
    #[schemars(schema_with = "evaluator_schema")]
    pub then: Arc<dyn EvaluatorConfig>,
    /// What a candidate must reach in the first objective of the cheap one: at least, or at most where smaller is better. Others are
    /// pruned. Default: all pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Trials below this fidelity are judged by the cheap one alone; default 0: none are.
    pub share: f64,
}

fn evaluator_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "description": "an evaluator, named by its `type`" })
}

impl Default for Filter {
    fn default() -> Self {
        Self { first: Arc::new(ZeroCost::default()), then: Arc::new(Train::default()), at_least: None, share: 0.0 }
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

plugin! {
    "filter",
    impl EvaluatorConfig for Filter {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Problem> {
            if !(0.0..=1.0).contains(&self.share) {
                return Err(Error::config("evaluator.share", format!("is {}; it must be 0 to 1", self.share)).into());
            }
            let (first, then) = (self.first.build(workers)?, self.then.build(workers)?);
            let objective = first.objectives().into_iter().next();
            let objective = objective.ok_or_else(|| Error::config("evaluator.first", "has no objective"))?;
            let least = self.at_least.map(|value| objective.loss(value));
            if least.is_some_and(f64::is_nan) {
                return Err(Error::config("evaluator.at_least", "is no number").into());
            }
            Ok(Arc::new(Filtered { first, then, objective, least, share: self.share }))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Problem> {
            Ok(match self.then.space()? {
                Some(space) => Some(space),
                None => self.first.space()?,
            })
        }
    }
}

struct Filtered {
    first: Arc<dyn Evaluator>,
    then: Arc<dyn Evaluator>,
    /// That of the first evaluator.
    objective: Objective,
    /// The largest loss that passes.
    least: Option<f64>,
    share: f64,
}

impl Filtered {
    fn cheap_alone(&self, fidelity: f64) -> bool {
        fidelity < self.share
    }

    /// Whether the first evaluator is needed for a trial at all.
    fn asks_first(&self, fidelity: f64) -> bool {
        self.least.is_some() || self.cheap_alone(fidelity)
    }
}

/// The context of the first of two evaluations: what it reports on the way would be compared with what the second does.
struct Silent<'a>(&'a mut dyn EvalContext);

impl EvalContext for Silent<'_> {
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn fidelity(&self) -> f64 {
        1.0
    }

    fn cancel(&self) -> &automl_core::Cancel {
        self.0.cancel()
    }

    fn report(&mut self, _: u64, _: &[f64]) -> Result<(), Stop> {
        if self.0.cancel().is_cancelled() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    fn parents(&self) -> &[u64] {
        self.0.parents()
    }

    fn ancestor(&self, trial: u64) -> Option<automl_core::Ancestor> {
        self.0.ancestor(trial)
    }
}

impl Evaluator for Filtered {
    fn objectives(&self) -> Vec<Objective> {
        self.then.objectives()
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        if !self.asks_first(cx.fidelity()) {
            return self.then.evaluate(genotype, cx);
        }
        let mut first = self.first.evaluate(genotype, &mut Silent(cx))?;
        let loss = first.losses.first().copied().ok_or_else(|| Stop::Failed("the first evaluator gave no loss".into()))?;
        if let Some(least) = self.least.filter(|least| loss > *least) {
            let (name, side) =
                (&self.objective.name, if self.objective.direction == Direction::Maximize { "below" } else { "above" });
            let values = [loss, least].map(|loss| self.objective.loss(loss));
            return Err(Stop::Pruned(format!("its `{name}` is {:.6}, {side} the {:.6} that pass", values[0], values[1])));
        }
        if self.cheap_alone(cx.fidelity()) {
            // As many losses as the dear one gives: those of the cheap one, and its first for the others.
            first.losses.resize(self.then.objectives().len(), loss);
            return Ok(first);
        }
        let mut then = self.then.evaluate(genotype, cx)?;
        for (name, value) in first.metrics {
            then.metrics.entry(name).or_insert(value);
        }
        Ok(then)
    }

    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let first = if self.asks_first(fidelity) { self.first.price(genotype, 1.0) } else { None };
        let then = if self.cheap_alone(fidelity) { None } else { self.then.price(genotype, fidelity) };
        match (first, then) {
            (Some(a), Some(b)) => Some(Price { seconds: a.seconds + b.seconds, bytes: a.bytes.max(b.bytes) }),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use automl_core::{Alone, Cancel};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::NasBench201;
    use crate::train::Recipe;
    use crate::zero_cost::Measure;
    use crate::zero_cost::tests::{images, small};

    #[test]
    fn what_does_not_pass_is_pruned_and_low_fidelities_are_cheap() {
        let folder = tempfile::tempdir().unwrap();
        let images = Some(images(folder.path()));
        let first = ZeroCost { images: images.clone(), network: small(), measure: Measure::Parameters, ..ZeroCost::default() };
        let recipe = Recipe { epochs: 1, batch_size: 12, ..Recipe::default() };
        let then = Train { images, network: small(), recipe, ..Train::default() };
        let space = NasBench201::default();
        let genotype = sample(&space, &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
        let run = |at_least, share, fidelity| {
            let filter = Filter { first: Arc::new(first.clone()), then: Arc::new(then.clone()), at_least, share };
            let evaluator = filter.build(1).unwrap();
            assert_eq!(evaluator.objectives()[0].name, "accuracy");
            evaluator.evaluate(&genotype, &mut Alone { seed: 1, fidelity, cancel: Cancel::new() })
        };
        let passed = run(Some(10.0), 0.0, 1.0).unwrap();
        let size = passed.metrics["parameters"];
        assert!(passed.metrics.contains_key("accuracy"));
        assert_eq!(passed.losses, run(None, 0.0, 1.0).unwrap().losses);
        let pruned = run(Some(size + 1.0), 0.0, 1.0).map(|_| ()).unwrap_err();
        assert!(matches!(&pruned, Stop::Pruned(why) if why.contains("`parameters`")), "{pruned}");
        let cheap = run(None, 0.5, 0.25).unwrap();
        assert_eq!(cheap.losses, [-size]);
        assert!(!cheap.metrics.contains_key("accuracy"));
        assert!(
            Filter { share: 2.0, ..Filter::default() }.build(1).map(|_| ()).unwrap_err().to_string().contains("evaluator.share")
        );
    }
}
