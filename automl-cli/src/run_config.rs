//! The config of a run: a space, a strategy, an evaluator, and the settings of the study.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use automl_core::{EvaluatorConfig, SearchSpace, StrategyConfig};
use automl_nas::train::{Final, Training};
use automl_ops::Tabular;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration;

/// Everything that defines a run; what `automl search` reads, and what a run directory keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Budgets and workers.
    #[serde(default)]
    pub study: StudySettings,
    /// What proposes candidates.
    pub strategy: Box<dyn StrategyConfig>,
    /// What judges them.
    pub evaluator: Box<dyn EvaluatorConfig>,
    /// Where they come from; the space that fits the evaluator where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Arc<dyn SearchSpace>>,
    /// Candidates that the final model may join, at most, a quarter of them with the same estimator at the end; 1: the best alone.
    #[serde(default = "ensemble")]
    pub ensemble: usize,
    /// Whether a second layer of estimators on what the members say is tried after the search, in up to a tenth of the time.
    #[serde(default)]
    pub stacking: bool,
    /// How the best network is trained to the end; where absent, it is not.
    #[serde(rename = "final", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Final>,
    /// Where the best model goes, for evaluators that train one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
}

fn ensemble() -> usize {
    20
}

/// When a study ends, and how it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudySettings {
    /// End after this many trials.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub trials: Option<u64>,
    /// End after this time, all included; 60 s where neither this nor a number of trials nor a patience is given.
    #[serde(skip_serializing_if = "Option::is_none", with = "time")]
    pub time_limit: Option<Duration>,
    /// End after this many trials in a row without a better one; a trial at a lower fidelity counts as that share of one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub patience: Option<u64>,
    /// End once the first objective is at least (or at most) this good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Longest time of one trial; an eighth of the time limit where absent.
    #[serde(skip_serializing_if = "Option::is_none", with = "time")]
    pub trial_time: Option<Duration>,
    /// Memory that the process may use, such as `4 GB`. Where absent: about 300 MB and six times the table, at most four fifths of what
    /// there is; four fifths where there is no table.
    #[serde(skip_serializing_if = "Option::is_none", with = "size")]
    pub memory_limit: Option<u64>,
    /// Trials that run at once; the number of cores where absent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub workers: Option<usize>,
    /// How many of the latest outcomes a proposal may not know: at most `lag + 1` trials run at once.
    pub lag: u64,
    /// Whether the space's own starting points are tried first.
    pub starts: bool,
    /// A candidate is given up once its folds so far are worse than those of each of so many best candidates; 0: never.
    pub racing: usize,
}

impl Default for StudySettings {
    fn default() -> Self {
        Self {
            trials: None,
            time_limit: None,
            patience: None,
            target: None,
            trial_time: None,
            memory_limit: None,
            workers: None,
            lag: 7,
            starts: true,
            racing: 12,
        }
    }
}

impl StudySettings {
    /// The number of workers.
    pub fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.unwrap_or(cores).clamp(1, usize::try_from(self.lag).unwrap_or(usize::MAX).saturating_add(1))
    }

    /// The time limit; 60 s where nothing else ends the study.
    pub fn time_limit(&self) -> Option<Duration> {
        let open = self.trials.is_none() && self.patience.is_none();
        self.time_limit.or(open.then_some(Duration::from_secs(60)))
    }

    /// The longest time of one trial.
    pub fn trial_time(&self) -> Option<Duration> {
        self.trial_time.or(self.time_limit().map(|limit| limit / 8))
    }
}

impl RunConfig {
    /// The settings of the final training, where there is one.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn training(&self) -> Result<Option<Training>, automl_core::Error> {
        let evaluator = serde_json::to_value(&self.evaluator).unwrap_or_default();
        self.last.as_ref().map(|last| last.over(&evaluator)).transpose()
    }

    /// The evaluator as the one of tables, if it is.
    pub fn tabular(&self) -> Option<Tabular> {
        let mut value = serde_json::to_value(&self.evaluator).ok()?;
        let fields = value.as_object_mut()?;
        let tag = fields.shift_remove("type")?;
        (tag == "tabular").then(|| serde_json::from_value(value).ok()).flatten()
    }
}

/// A number of trials or workers: none at all would be a run that does nothing.
fn positive<'de, D: Deserializer<'de>, N: Deserialize<'de> + Default + PartialEq>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    let number = Option::<N>::deserialize(deserializer)?;
    if number == Some(N::default()) {
        return Err(D::Error::custom("expected at least 1; leave the setting out where it does not matter"));
    }
    Ok(number)
}

/// Sizes of memory as people write them.
mod size {
    use bytesize::ByteSize;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
    pub fn serialize<S: Serializer>(size: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        size.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let expected = |_| D::Error::custom("expected a size such as `4 GB` or `800MB`");
        let size = ByteSize::deserialize(deserializer).map_err(expected)?.as_u64();
        if size == 0 { Err(D::Error::custom("expected a size above 0, such as `4 GB`")) } else { Ok(Some(size)) }
    }
}

/// Durations as people write them.
mod time {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Seconds(f64),
    }

    #[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
    pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&super::duration::format(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = match Written::deserialize(deserializer).map_err(|_| D::Error::custom("expected a duration such as `90s`"))? {
            Written::Text(text) => text,
            Written::Seconds(seconds) => seconds.to_string(),
        };
        super::duration::parse(&text).map(Some).map_err(D::Error::custom)
    }
}
