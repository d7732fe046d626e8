//! Judging networks before any training: the evaluator `zero_cost`.
//!
//! A measure looks at one batch (or none) through a network at its start and says in a second what a training says in hours, if
//! less reliably (Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021). `measures` has them; whatever takes an
//! evaluator takes this one. To use it as a filter before a training, or as the low fidelities of one, put it in front of `train` by
//! [`filter`](crate::filter).

mod algebra;
mod measures;

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::schemars::JsonSchema;
use automl_core::study::seed_of;
use automl_core::{Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Price, SearchSpace, Stop, plugin};
use serde::{Deserialize, Serialize};

use self::measures::Probe;
pub use self::measures::{Measure, ProbeError};
use crate::NasBench201;
use crate::images::{ImageData, Images, Normalizer, Rows, stratified};
use crate::network::{Design, Plan, plan};
use crate::train::{Pools, price};

/// Scores a candidate's network without training it, on one batch of images.
///
/// Larger is better for each of the measures. Results depend on the candidate and the seed alone. Candidates are those of `train`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct ZeroCost {
    /// Images, of which one batch is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageData>,
    /// The network around the candidate's cells.
    pub network: Design,
    /// The measure that is the objective; default `naswot`.
    pub measure: Measure,
    /// Measures that are reported beside it. Default: none.
    pub report: Vec<Measure>,
    /// Images of the batch; default 64.
    pub batch_size: usize,
    /// Starts whose mean counts, each with weights of its own; default 1.
    pub repeats: usize,
}

impl Default for ZeroCost {
    fn default() -> Self {
        Self {
            images: None,
            network: Design::default(),
            measure: Measure::Naswot,
            report: Vec::new(),
            batch_size: 64,
            repeats: 1,
        }
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

plugin! {
    "zero_cost",
    impl EvaluatorConfig for ZeroCost {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Problem> {
            Ok(Arc::new(ZeroCostEvaluator::new(self, workers)?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Problem> {
            Ok(Some(Arc::new(NasBench201::default())))
        }
    }
}

/// The running half of [`ZeroCost`].
pub struct ZeroCostEvaluator {
    config: ZeroCost,
    /// The objective first, each once.
    measures: Vec<Measure>,
    images: Images,
    /// Normalised, row by row.
    batch: Vec<f32>,
    labels: Vec<usize>,
    pools: Pools,
}

impl ZeroCostEvaluator {
    /// Reads the data; `workers` will evaluate at once.
    ///
    /// # Errors
    /// Bad settings or data.
    pub fn new(config: &ZeroCost, workers: usize) -> Result<Self, Problem> {
        for (name, value, most) in [("batch_size", config.batch_size, 4096), ("repeats", config.repeats, 1000)] {
            let least = if name == "batch_size" { 2 } else { 1 };
            if !(least..=most).contains(&value) {
                return Err(
                    Error::config(format!("evaluator.{name}"), format!("is {value}; it must be {least} to {most}")).into()
                );
            }
        }
        let data = config.images.as_ref().ok_or_else(|| {
            Error::config("evaluator", "names no data; add `images = { folder = \"…\" }`, or `--set evaluator.images.folder=…`")
        })?;
        let images = data.read()?.training;
        let normalizer = Normalizer::of(&images);
        let all: Vec<u32> = (0..).take(images.len()).collect();
        let share = (config.batch_size as f64 / images.len() as f64).min(1.0);
        let rows = stratified(&images.labels, &all, share, data.seed, "zero_cost.batch").0;
        let batch = Rows::new(&images, &normalizer);
        let (batch, labels) = (batch.plain(&rows), batch.labels(&rows));
        let mut measures = vec![config.measure];
        config.report.iter().for_each(|measure| {
            if !measures.contains(measure) {
                measures.push(*measure);
            }
        });
        // The other images are not needed any more; what a plan asks for is shape and classes.
        let images = images.pick(&rows);
        Ok(Self { config: config.clone(), measures, images, batch, labels, pools: Pools::new(workers)? })
    }

    fn plan(&self, genotype: &Genotype) -> automl_core::Result<Plan> {
        plan(genotype, &self.config.network, self.images.shape, self.images.classes.len(), false)
    }
}

impl Evaluator for ZeroCostEvaluator {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: self.config.measure.name().into(), direction: Direction::Maximize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let plan = self.plan(genotype).map_err(|error| Stop::Infeasible(error.to_string()))?;
        let mut metrics = BTreeMap::new();
        for measure in &self.measures {
            let mut total = 0.0;
            let repeats = if measure.is_random() { self.config.repeats } else { 1 };
            for repeat in 0..repeats {
                let probe = Probe {
                    plan: &plan,
                    shape: self.images.shape,
                    images: &self.batch,
                    labels: &self.labels,
                    seed: seed_of(cx.seed(), "zero_cost", repeat as u64),
                    cancel: cx.cancel(),
                };
                total += self.pools.on(|| probe.value(*measure))?;
            }
            metrics.insert(measure.name().to_owned(), total / repeats as f64);
        }
        let size = plan.size();
        for (measure, value) in [(Measure::Parameters, size.parameters), (Measure::Flops, size.flops)] {
            metrics.insert(measure.name().to_owned(), value as f64);
        }
        let value =
            metrics.get(self.config.measure.name()).copied().ok_or_else(|| Stop::Failed("nothing was measured".into()))?;
        Ok(Evaluation { losses: vec![0.0 - value], metrics, artifact: None })
    }

    fn price(&self, genotype: &Genotype, _: f64) -> Option<Price> {
        let passes = self.measures.iter().filter(|measure| measure.is_random()).count() * self.config.repeats;
        let rows = self.labels.len();
        let once = price(&self.plan(genotype).ok()?, [rows, 0], 1, rows);
        Some(Price { seconds: passes as f64 * once.seconds, bytes: once.bytes })
    }
}

impl From<ProbeError> for Stop {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Cancelled => Self::Cancelled,
            error => Self::Infeasible(error.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
