//! How good predictions are. Names and definitions are scikit-learn's, so that scores compare with those of other tools.
//!
//! [`Metric::score`] returns the plain score (log loss is positive); [`Metric::maximize`] says which direction is better. Sums run
//! in `f64` and in row order, so that a score does not depend on the number of threads. Where scikit-learn returns `NaN`
//! with a warning, this returns an error: a search must not rank a pipeline by a number that means nothing.

mod classes;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use classes::Classified;

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of several classes.
    Classification,
    /// A number.
    Regression,
}

/// A score of predictions against the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The share of rows found right, averaged over the classes that occur in the truth.
    BalancedAccuracy,
    /// The share of rows found right.
    Accuracy,
    /// Mean negative logarithm of the probability given to the true class. Probabilities are clipped to 1e-15 from both ends in
    /// `f64` (in `f32` the upper end would be 1 itself), and then divided by their sum.
    LogLoss,
    /// Area under the receiver operating characteristic. Two classes: by the probability of the second. More: each class against
    /// the rest, averaged over the classes that occur in the truth.
    RocAuc,
    /// F1 of each class that occurs in the truth or the predictions, averaged; with two classes also (`f1_macro`, not `binary`,
    /// which needs to know the positive class).
    F1,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Share of the variance that is explained. A constant truth scores 1 if it is met exactly, else 0.
    R2,
}

/// The true values, one a row.
#[derive(Clone, Copy, Debug)]
pub enum Truth<'a> {
    /// Classes, from 0.
    Classes(&'a [u32]),
    /// Finite numbers.
    Values(&'a [f32]),
}

/// What a model says.
#[derive(Clone, Copy, Debug)]
pub enum Predictions<'a> {
    /// Probabilities, `rows × classes`, row by row. Rows need not sum to one. The predicted class is the most probable, the first
    /// of equals.
    Probabilities {
        /// The numbers.
        values: &'a [f32],
        /// Numbers in a row.
        classes: usize,
    },
    /// One number a row.
    Values(&'a [f32]),
}

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A name that no metric has.
    #[error("there is no metric `{name}`{suggestion}; the metrics are {known}")]
    Unknown {
        /// The name given.
        name: String,
        /// ` (did you mean …?)` or empty.
        suggestion: String,
        /// All names.
        known: String,
    },
    /// Classes for a metric of numbers, or the other way round.
    #[error("`{metric}` scores {expected}; choose a metric of the task, such as `{instead}`")]
    Task {
        /// The metric.
        metric: &'static str,
        /// What it scores.
        expected: &'static str,
        /// A metric that fits.
        instead: &'static str,
    },
    /// Slices that do not belong together.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which slice.
        what: &'static str,
        /// The length that would fit.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// A value that no score can be computed from.
    #[error("row {row}: {what}")]
    Value {
        /// The row, from 0.
        row: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The score has no value for this truth.
    #[error("`{metric}` is undefined: {why}; use more rows, stratified folds or another metric")]
    Undefined {
        /// The metric.
        metric: &'static str,
        /// What is missing.
        why: &'static str,
    },
}

impl Metric {
    /// All metrics, the default of each task first.
    pub const ALL: [Self; 8] =
        [Self::BalancedAccuracy, Self::Accuracy, Self::LogLoss, Self::RocAuc, Self::F1, Self::Rmse, Self::Mae, Self::R2];

    /// The name in configs and reports.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// Whether more is better.
    pub fn maximize(self) -> bool {
        !matches!(self, Self::LogLoss | Self::Rmse | Self::Mae)
    }

    /// The task whose predictions it scores.
    pub fn task(self) -> Task {
        match self {
            Self::BalancedAccuracy | Self::Accuracy | Self::LogLoss | Self::RocAuc | Self::F1 => Task::Classification,
            Self::Rmse | Self::Mae | Self::R2 => Task::Regression,
        }
    }

    /// The score, with rows weighted if `weights` (finite, not negative) are given.
    ///
    /// # Errors
    /// [`MetricError`]: truth and predictions do not fit the metric or each other, a value is not finite, a class has no
    /// probability, or the score is undefined (no rows, no weight, one class for [`RocAuc`](Self::RocAuc), one row for
    /// [`R2`](Self::R2)).
    pub fn score(&self, truth: Truth<'_>, predictions: Predictions<'_>, weights: Option<&[f32]>) -> Result<f64, MetricError> {
        match (self.task(), truth, predictions) {
            (Task::Classification, Truth::Classes(truth), Predictions::Probabilities { values, classes }) => {
                let rows = Classified::new(*self, truth, values, classes, weights)?;
                match self {
                    Self::LogLoss => Ok(rows.log_loss()),
                    Self::RocAuc => rows.roc_auc(),
                    Self::Accuracy => Ok(rows.accuracy()),
                    Self::F1 => Ok(rows.f1()),
                    _ => Ok(rows.balanced_accuracy()),
                }
            }
            (Task::Regression, Truth::Values(truth), Predictions::Values(values)) => regression(*self, truth, values, weights),
            (Task::Classification, ..) => {
                Err(MetricError::Task { metric: self.name(), expected: "probabilities of classes", instead: "rmse" })
            }
            (Task::Regression, ..) => {
                Err(MetricError::Task { metric: self.name(), expected: "numbers", instead: "balanced_accuracy" })
            }
        }
    }

    /// The name, then what else is understood. The `neg_` of scikit-learn names does not change the sign here.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::BalancedAccuracy => &["balanced_accuracy", "bal_acc"],
            Self::Accuracy => &["accuracy", "acc"],
            Self::LogLoss => &["log_loss", "logloss", "neg_log_loss"],
            Self::RocAuc => &["roc_auc", "auc", "roc_auc_ovr"],
            Self::F1 => &["f1", "f1_macro", "macro_f1"],
            Self::Rmse => &["rmse", "root_mean_squared_error", "neg_root_mean_squared_error"],
            Self::Mae => &["mae", "mean_absolute_error", "neg_mean_absolute_error"],
            Self::R2 => &["r2"],
        }
    }
}

impl Task {
    /// The metric where none is asked for.
    pub fn default_metric(self) -> Metric {
        match self {
            Self::Classification => Metric::BalancedAccuracy,
            Self::Regression => Metric::Rmse,
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        Self::ALL.into_iter().find(|metric| metric.names().contains(&name)).ok_or_else(|| MetricError::Unknown {
            name: name.to_owned(),
            suggestion: crate::table::did_you_mean(name, Self::ALL.into_iter().flat_map(Self::names).copied()),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn regression(metric: Metric, truth: &[f32], values: &[f32], weights: Option<&[f32]>) -> Result<f64, MetricError> {
    check_weights(metric, truth.len(), weights)?;
    check_length("the predictions", truth.len(), values.len())?;
    let finite = |numbers: &[f32], what| match numbers.iter().position(|number| !number.is_finite()) {
        Some(row) => Err(MetricError::Value { row, what }),
        None => Ok(()),
    };
    finite(truth, "the true value is missing or infinite")?;
    finite(values, "the prediction is not finite")?;
    let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
    let sum = |term: &dyn Fn(f64, f64) -> f64| {
        let rows = truth.iter().zip(values).enumerate();
        rows.map(|(row, (truth, value))| weight(row) * term(f64::from(*truth), f64::from(*value))).sum::<f64>()
    };
    let total = sum(&|_, _| 1.0);
    let squares = || sum(&|truth, value| (truth - value) * (truth - value));
    match metric {
        Metric::Mae => Ok(sum(&|truth, value| (truth - value).abs()) / total),
        Metric::R2 => {
            if truth.len() < 2 {
                return Err(undefined(metric, "one row has no variance"));
            }
            let center = sum(&|truth, _| truth) / total;
            let (left, all) = (squares(), sum(&|truth, _| (truth - center) * (truth - center)));
            Ok(if left == 0.0 {
                1.0
            } else if all == 0.0 {
                0.0
            } else {
                1.0 - left / all
            })
        }
        _ => Ok((squares() / total).sqrt()),
    }
}

fn check_weights(metric: Metric, rows: usize, weights: Option<&[f32]>) -> Result<(), MetricError> {
    if rows == 0 {
        return Err(undefined(metric, "there are no rows"));
    }
    let Some(weights) = weights else {
        return Ok(());
    };
    check_length("the weights", rows, weights.len())?;
    if let Some(row) = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        return Err(MetricError::Value { row, what: "the weight is negative or not finite" });
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(undefined(metric, "all weights are zero"));
    }
    Ok(())
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), MetricError> {
    if expected == found { Ok(()) } else { Err(MetricError::Shape { what, expected, found }) }
}

fn undefined(metric: Metric, why: &'static str) -> MetricError {
    MetricError::Undefined { metric: metric.name(), why }
}

/// The mean of at least one value.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests;
