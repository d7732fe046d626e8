//! What a search on a table improves: scores, and what it takes to use the model.

use std::str::FromStr;

use automl_core::{Direction, Objective};
use serde::{Deserialize, Serialize};

use crate::metrics::Metric;

/// Something to be improved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Goal {
    /// A score on the rows held out.
    Metric(Metric),
    /// The declared time to predict a row.
    PredictTime,
    /// The size of the model file.
    ModelSize,
}

/// Name of the declared seconds to predict a row, as an objective and as a figure of a trial.
pub const PREDICT_TIME: &str = "predict_time";
/// Name of the bytes of the model file, as an objective and as a figure of a trial.
pub const MODEL_SIZE: &str = "model_size";

impl Goal {
    /// Its name, in configs and among the figures of a trial.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metric(metric) => metric.name(),
            Self::PredictTime => PREDICT_TIME,
            Self::ModelSize => MODEL_SIZE,
        }
    }

    /// As an objective of the study.
    pub fn objective(self) -> Objective {
        let direction = match self {
            Self::Metric(metric) if metric.maximize() => Direction::Maximize,
            _ => Direction::Minimize,
        };
        Objective { name: self.name().to_owned(), direction }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            PREDICT_TIME => Ok(Self::PredictTime),
            MODEL_SIZE => Ok(Self::ModelSize),
            name => match name.parse() {
                Ok(metric) => Ok(Self::Metric(metric)),
                Err(error) => Err(format!("{error}; or `{PREDICT_TIME}` or `{MODEL_SIZE}`")),
            },
        }
    }
}

impl TryFrom<String> for Goal {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Goal> for String {
    fn from(goal: Goal) -> Self {
        goal.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_by_name_and_time_and_size_are_to_be_small() {
        for name in ["balanced_accuracy", "rmse", PREDICT_TIME, MODEL_SIZE] {
            let goal: Goal = name.parse().unwrap();
            assert_eq!(String::from(goal), name);
            assert_eq!(goal.objective().direction == Direction::Maximize, name == "balanced_accuracy");
        }
        let error = "predict_tim".parse::<Goal>().unwrap_err();
        assert!(error.contains("`predict_time`") && error.contains("balanced_accuracy"), "{error}");
    }
}
