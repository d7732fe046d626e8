//! A trained model: one or more fitted pipelines, and all that a later table needs to be read as the training table was.

mod file;

use std::path::Path;

use automl_core::Cancel;
use serde::{Deserialize, Serialize};

use crate::dataset::Binding;
use crate::ensemble;
use crate::metrics::{Metric, Task};
use crate::operator::Target;
use crate::pipeline::{Pipeline, PipelineError};
use crate::table::{self, ColumnSchema, DataError, ReadOptions, Table};
use crate::training::Training;

/// What went wrong with a model or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is no model, or a damaged one.
    #[error("{file}: not a usable model file: {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The data to predict cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A pipeline failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// What is known of a model beside its pipelines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What is predicted.
    pub task: Task,
    /// Name and type of the target column.
    pub target: ColumnSchema,
    /// Class labels by code; empty for a regression.
    pub labels: Vec<String>,
    /// How tables become frames.
    pub binding: Binding,
    /// The metric that the search improved.
    pub metric: Metric,
    /// Its value on the rows held out during the search; absent for a model made before any trial was complete.
    pub score: Option<f64>,
    /// Rows of the training table.
    pub rows: usize,
    /// Hash of the training table.
    pub data: u64,
    /// Seed of the study.
    pub seed: u64,
}

impl About {
    /// What a training table says.
    pub fn new(training: &Training, metric: Metric, score: Option<f64>, seed: u64) -> Self {
        Self {
            task: training.task(),
            target: training.target_column.clone(),
            labels: training.labels.clone(),
            binding: training.binding.clone(),
            metric,
            score,
            rows: training.rows(),
            data: training.fingerprint,
            seed,
        }
    }

    fn width(&self) -> usize {
        self.labels.len().max(1)
    }
}

/// A trained model.
#[derive(Clone)]
pub struct Model {
    /// What is known of it.
    pub about: About,
    members: Members,
}

#[derive(Clone)]
enum Members {
    /// The mean of these pipelines by their weights, which sum to 1; and one factor a class, or none.
    Pipelines(Vec<(f32, Pipeline)>, Vec<f32>),
    /// The same prediction for every row: class shares, or the mean.
    Constant(Vec<f32>),
}

/// Rows that are predicted at once.
const BLOCK: usize = 1 << 16;

/// Predictions for the rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Row by row, `width` numbers each: class probabilities, or one value.
    pub values: Vec<f32>,
    /// Numbers a row.
    pub width: usize,
}

impl Predictions {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The index of the most probable class of each row; the first of equals.
    pub fn classes(&self) -> impl Iterator<Item = usize> + '_ {
        self.values.chunks(self.width.max(1)).map(|row| {
            let best = row.iter().enumerate().reduce(|best, other| if other.1 > best.1 { other } else { best });
            best.map_or(0, |(class, _)| class)
        })
    }
}

impl Model {
    /// A model that averages fitted pipelines: one, or those of the folds.
    pub fn new(about: About, pipelines: Vec<Pipeline>) -> Self {
        Self::ensemble(about, pipelines.into_iter().map(|pipeline| (1.0, pipeline)).collect(), Vec::new())
    }

    /// A model that averages fitted pipelines by weights (positive, of any sum) and then multiplies the probability of each
    /// class by its factor, where there are factors.
    pub fn ensemble(about: About, members: Vec<(f32, Pipeline)>, factors: Vec<f32>) -> Self {
        let total: f32 = members.iter().map(|(weight, _)| weight).sum();
        // Weights that were read back must stay as they are to the bit.
        let total = if (total - 1.0).abs() < 1e-3 { 1.0 } else { total };
        let members = members.into_iter().map(|(weight, pipeline)| (weight / total, pipeline)).collect();
        Self { about, members: Members::Pipelines(members, factors) }
    }

    /// A model that ignores the features: class shares, or the mean. Better than no model while the first trial runs.
    pub fn constant(about: About, y: &Target) -> Self {
        let rows = y.len().max(1) as f64;
        let prediction = match y {
            Target::Classes { codes, classes } => {
                let mut shares = vec![0.0_f64; *classes];
                for &code in codes {
                    if let Some(share) = shares.get_mut(code as usize) {
                        *share += 1.0 / rows;
                    }
                }
                shares.into_iter().map(|share| share as f32).collect()
            }
            Target::Values(values) => vec![(values.iter().sum::<f64>() / rows) as f32],
        };
        Self { about, members: Members::Constant(prediction) }
    }

    /// The pipelines; none in a constant model.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        let members = match &self.members {
            Members::Pipelines(members, _) => members.as_slice(),
            Members::Constant(_) => &[],
        };
        members.iter().map(|(_, pipeline)| pipeline)
    }

    /// Reads a file of rows to predict, with the target where it is there.
    ///
    /// # Errors
    /// [`DataError`] where a column that the model needs is missing.
    pub fn read(&self, path: &Path, labelled: bool) -> Result<Table, DataError> {
        let mut schema = self.about.binding.schema.clone();
        if labelled {
            schema.columns.push(self.about.target.clone());
        }
        table::read_with_schema(path, &schema, &ReadOptions::default())
    }

    /// Predicts the rows of a table read by [`Model::read`].
    ///
    /// # Errors
    /// [`ModelError`] for a table with other columns.
    pub fn predict(&self, table: &Table, cancel: &Cancel) -> Result<Predictions, ModelError> {
        let width = self.about.width();
        let (members, factors) = match &self.members {
            Members::Constant(row) => return Ok(Predictions { values: row.repeat(table.rows), width }),
            Members::Pipelines(members, factors) => (members, factors),
        };
        let frame = self.about.binding.frame(table)?;
        let mut sums = vec![0.0_f32; table.rows * width];
        // Block by block: a pipeline that widens its table must not widen all of a large one at once.
        let rows: Vec<u32> = (0..table.rows as u32).collect();
        for (rows, sums) in rows.chunks(BLOCK).zip(sums.chunks_mut((BLOCK * width).max(1))) {
            let part = if rows.len() == table.rows { frame.clone() } else { frame.take(rows) };
            for (weight, pipeline) in members {
                for (sum, value) in sums.iter_mut().zip(pipeline.predict(&part, cancel)?) {
                    *sum += weight * value;
                }
            }
        }
        ensemble::adjust(&mut sums, factors, width);
        Ok(Predictions { values: sums, width })
    }

    /// Writes the model: to a temporary file beside `path`, synced, then renamed, so that a crash leaves the old file or the
    /// new one.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        file::write(self, path)
    }

    /// The bytes of the file that [`Model::write`] makes; none where it could not be made.
    pub fn file_bytes(&self) -> Option<u64> {
        file::bytes(self).ok()
    }

    /// Reads a model file, checking everything in it.
    ///
    /// # Errors
    /// [`ModelError`] for a file that is not a whole, unharmed model, or that needs an operator which is not linked.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        file::read(path)
    }
}
