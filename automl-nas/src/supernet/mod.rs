//! Weight sharing: the evaluator `supernet` (Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018; as
//! NAO uses it, Luo et al. 2018, section 4.2).
//!
//! One store of weights holds all candidates of a space: a candidate is a path through it, namely the network whose parameters have
//! its names. Before the first evaluation the store is trained for so many steps, each on one batch along one path; `sampling` says
//! which. Then a candidate's score is the accuracy of its path on the validation rows, and costs a forward pass. Norms use the
//! statistics of the batch, since running ones mix those of all paths.

mod sampling;
mod training;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use automl_core::schemars::{self, JsonSchema};
use automl_core::{Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Price, SearchSpace, Stop, plugin};
use serde::{Deserialize, Serialize};

pub use self::sampling::{PathSampling, Pool, PoolWeights, Uniform};
use crate::NasBench201;
use crate::images::{ImageData, Images, Normalizer, Rows, Split};
use crate::network::{Design, Numbers, Plan, plan};
use crate::train::{Pools, Recipe, price};

/// Scores candidates by one network that holds them all, trained once.
///
/// The first evaluation trains it, so `trial_time` must leave room for that. The fidelity is the share of the validation rows.
/// Scores rank candidates; they are not the accuracies that the networks would reach alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Supernet {
    /// Images to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageData>,
    /// The network around the cells.
    pub network: Design,
    /// The space whose candidates are paths; default `nas_bench_201`.
    #[schemars(schema_with = "plugin_schema")]
    pub space: Arc<dyn SearchSpace>,
    /// Which path each step takes; default `uniform`.
    #[schemars(schema_with = "plugin_schema")]
    pub sampling: Arc<dyn PathSampling>,
    /// Steps of the training; default 5000.
    pub steps: usize,
    /// Batch size, learning rate, variations and so on of the training; its `epochs` do not count, `steps` do, and its schedule runs
    /// over them.
    pub recipe: Recipe,
    /// Rows that are judged together, with their own statistics; default 250.
    pub judged: usize,
}

fn plugin_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "description": "named by its `type`" })
}

impl Default for Supernet {
    fn default() -> Self {
        Self {
            images: None,
            network: Design::default(),
            space: Arc::new(NasBench201::default()),
            sampling: Arc::new(Uniform {}),
            steps: 5000,
            recipe: Recipe::default(),
            judged: 250,
        }
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

plugin! {
    "supernet",
    impl EvaluatorConfig for Supernet {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Problem> {
            Ok(Arc::new(SupernetEvaluator::new(self, workers)?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Problem> {
            Ok(Some(self.space.clone()))
        }
    }
}

/// A store that is trained once: whoever comes meanwhile waits.
type Slot = Arc<Mutex<Option<Arc<Numbers>>>>;

/// The running half of [`Supernet`].
pub struct SupernetEvaluator {
    config: Supernet,
    training: Images,
    validation: Images,
    normalizer: Normalizer,
    /// The trained store of each seed.
    trained: Mutex<BTreeMap<u64, Slot>>,
    pools: Pools,
}

impl SupernetEvaluator {
    /// Reads the data; `workers` will evaluate at once.
    ///
    /// # Errors
    /// Bad settings or data.
    pub fn new(config: &Supernet, workers: usize) -> Result<Self, Problem> {
        config.recipe.check("evaluator.recipe")?;
        for (name, value, least, most) in [("steps", config.steps, 1, 100_000_000), ("judged", config.judged, 2, 1 << 20)] {
            if !(least..=most).contains(&value) {
                return Err(
                    Error::config(format!("evaluator.{name}"), format!("is {value}; it must be {least} to {most}")).into()
                );
            }
        }
        let data = config.images.as_ref().ok_or_else(|| {
            Error::config("evaluator", "names no data; add `images = { folder = \"…\" }`, or `--set evaluator.images.folder=…`")
        })?;
        let Split { training, validation } = data.read()?;
        let validation =
            validation.ok_or_else(|| Error::config("evaluator.images.validation", "is 0; a search needs rows to validate on"))?;
        Ok(Self {
            normalizer: Normalizer::of(&training),
            training,
            validation,
            trained: Mutex::default(),
            pools: Pools::new(workers)?,
            config: config.clone(),
        })
    }

    fn plan(&self, genotype: &Genotype) -> automl_core::Result<Plan> {
        plan(genotype, &self.config.network, self.training.shape, self.training.classes.len(), false)
    }

    /// The trained store: trains it where that was not done yet.
    fn trained(&self, seed: u64, cancel: &automl_core::Cancel) -> Result<Arc<Numbers>, Stop> {
        let slot = self.trained.lock().unwrap_or_else(PoisonError::into_inner).entry(seed).or_default().clone();
        // A training that was cancelled leaves nothing, and the next one begins anew.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = slot.as_ref() {
            return Ok(numbers.clone());
        }
        let rows = Rows::new(&self.training, &self.normalizer);
        let numbers = Arc::new(self.pools.on(|| training::train(&self.config, &rows, seed, cancel))?);
        *slot = Some(numbers.clone());
        Ok(numbers)
    }
}

impl Evaluator for SupernetEvaluator {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "accuracy".into(), direction: Direction::Maximize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let plan = self.plan(genotype).map_err(|error| Stop::Infeasible(error.to_string()))?;
        let (size, cancel) = (plan.size(), cx.cancel().clone());
        let numbers = self.trained(cx.seed(), &cancel)?;
        let rows = Rows::new(&self.validation, &self.normalizer);
        let count = ((self.validation.len() as f64 * cx.fidelity()).ceil() as usize).clamp(1, self.validation.len().max(1));
        let judged = self.config.judged;
        let (accuracy, trained) = self.pools.on(|| training::score(plan, &numbers, &rows, count, judged, &cancel))?;
        let metrics =
            [("accuracy", accuracy), ("trained", trained), ("parameters", size.parameters as f64), ("flops", size.flops as f64)];
        let metrics = metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Evaluation { losses: vec![0.0 - accuracy], metrics, artifact: None })
    }

    /// That of a path; the training, which comes once, is not in it.
    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let rows = (self.validation.len() as f64 * fidelity).ceil() as usize;
        Some(price(&self.plan(genotype).ok()?, [0, rows], 1, self.config.judged))
    }
}

#[cfg(test)]
mod tests;
