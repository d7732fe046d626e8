//! The config of an evaluator of tables, and the space that goes with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use automl_core::{Evaluator, SearchSpace, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evaluator::{Problem, TabularEvaluator};
use crate::goal::Goal;
use crate::limits::{FileSize, Limits, RowTime};
use crate::metrics::{Metric, Task};
use crate::space::PipelineSpace;
use crate::table::{ColumnType, ReadOptions};
use crate::training::Training;
use crate::validation::Validation;

/// Cross-validates pipelines on a table read from a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tabular {
    /// Path of the training table: CSV, TSV (plain or gzip) or Parquet.
    pub train: PathBuf,
    /// The column to predict.
    pub target: String,
    /// What the target is; found out where absent.
    pub task: Option<Task>,
    /// The score to improve; balanced accuracy or RMSE where absent.
    pub metric: Option<Metric>,
    /// What is improved at once: metrics, `predict_time` (declared seconds a row) and `model_size` (bytes). The first is a metric:
    /// it says which candidate is the best, and what the final model is joined by. Where empty: `metric` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub objectives: Vec<Goal>,
    /// The longest time to predict a row, as declared, of a candidate and of the final model: `50us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_predict_time: Option<RowTime>,
    /// The largest size of a model file, of a candidate and of the final model: `5MB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_model_size: Option<FileSize>,
    /// How candidates are validated.
    pub validation: Validation,
    /// The column that says how much each row counts, when fitting and when scoring; it is no feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Columns that are no features.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Types of columns, where the values would suggest another.
    pub types: BTreeMap<String, ColumnType>,
}

impl Default for Tabular {
    fn default() -> Self {
        Self {
            train: "train.csv".into(),
            target: "target".into(),
            task: None,
            metric: None,
            objectives: Vec::new(),
            max_predict_time: None,
            max_model_size: None,
            validation: Validation::Auto,
            weights: None,
            drop: Vec::new(),
            types: BTreeMap::new(),
        }
    }
}

impl Tabular {
    /// Reads the table.
    ///
    /// # Errors
    /// [`crate::table::DataError`].
    pub fn read(&self) -> Result<Training, crate::table::DataError> {
        let options = ReadOptions { types: self.types.clone(), drop: self.drop.clone(), ..ReadOptions::default() };
        Training::read(&self.train, &self.target, self.weights.as_deref(), self.task, &options)
    }

    /// The evaluator of a table that was read; see [`TabularEvaluator::new`].
    ///
    /// # Errors
    /// A metric of another task, objectives that contradict each other, or a validation that makes no sense.
    pub fn evaluator(&self, training: Arc<Training>, workers: usize) -> Result<TabularEvaluator, Problem> {
        let limits = Limits { predict_time: self.max_predict_time, model_size: self.max_model_size };
        let metric = self.first_metric()?;
        TabularEvaluator::new(training, metric, self.validation, workers)?.aiming(&self.objectives, limits)
    }

    /// The metric that decides; none where the task says it.
    fn first_metric(&self) -> Result<Option<Metric>, Problem> {
        let bad = |problem: &str| automl_core::Error::config("evaluator.objectives", problem);
        match self.objectives.first() {
            None => Ok(self.metric),
            Some(Goal::Metric(first)) if self.metric.is_none_or(|metric| metric == *first) => Ok(Some(*first)),
            Some(Goal::Metric(_)) => Err(bad("the first objective is another than `metric`; leave `metric` out").into()),
            Some(_) => Err(bad("the first objective must be a metric, such as `balanced_accuracy` or `rmse`").into()),
        }
    }
}

plugin! {
    "tabular",
    impl EvaluatorConfig for Tabular {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Problem> {
            Ok(Arc::new(self.evaluator(Arc::new(self.read()?), workers)?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Problem> {
            let training = self.read()?;
            let metric = self.first_metric()?.unwrap_or(training.task().default_metric());
            Ok(Some(Arc::new(PipelineSpace::fitting(&training, metric)?)))
        }
    }
}
