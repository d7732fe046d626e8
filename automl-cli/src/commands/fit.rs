//! `automl fit`: from a table to a model.

use std::path::Path;
use std::time::Instant;

use crate::args::{Budget, Fit};
use crate::commands::report;
use crate::config::{self, Source};
use crate::error::{CliError, task};
use crate::run_config::RunConfig;
use crate::session::{self, Run};

pub fn run(fit: Fit, start: Instant, quiet: bool) -> Result<u8, CliError> {
    let mut overrides = vec![
        setting("evaluator.type", "tabular"),
        setting("evaluator.train", &absolute(&fit.train)?),
        setting("evaluator.target", &fit.target),
        setting("out", &absolute(&fit.out)?),
    ];
    if fit.config.is_none() || fit.strategy.is_some() {
        overrides.push(setting("strategy.type", fit.strategy.as_deref().unwrap_or("darwin")));
    }
    if let Some(task) = task(&fit.task) {
        overrides
            .push(setting("evaluator.task", if task == automl_ops::Task::Regression { "regression" } else { "classification" }));
    }
    overrides.extend(fit.weights.map(|weights| setting("evaluator.weights", &weights)));
    overrides.extend(fit.ensemble.map(|members| format!("ensemble={members}")));
    overrides.extend(fit.metric.map(|metric| setting("evaluator.metric", metric.name())));
    let names: Vec<&str> = fit.objectives.iter().map(|goal| goal.name()).collect();
    overrides.extend((!names.is_empty()).then(|| list("evaluator.objectives", &names)));
    overrides.extend((!fit.drop.is_empty()).then(|| list("evaluator.drop", &fit.drop)));
    overrides.extend(fit.max_predict_time.map(|time| setting("evaluator.max_predict_time", &String::from(time))));
    overrides.extend(fit.max_model_size.map(|size| setting("evaluator.max_model_size", &String::from(size))));
    overrides.extend(budget(&fit.budget));
    let source = fit.config.map_or_else(|| Source::text("fit.toml", ""), Source::path);
    let config: RunConfig = config::load(source, &overrides, &config::Options::default())?;
    let name = fit.train.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = fit.train.parent().and_then(Path::file_name).map(|folder| format!("{}-", folder.to_string_lossy()));
    let name = if name == "train" { folder.unwrap_or_default() + &name } else { name };
    let run_dir = fit.budget.run_dir;
    let finished = session::run(Run { config, run_dir, name, resumed: None, start, quiet })?;
    report::finished(&finished, fit.format)
}

/// The overrides that the flags of a budget stand for; `--set` comes last and wins.
pub fn budget(budget: &Budget) -> Vec<String> {
    let mut overrides = Vec::new();
    overrides.extend(budget.time_limit.map(|time| setting("study.time_limit", &crate::duration::format(time))));
    overrides.extend(budget.trials.map(|trials| format!("study.trials={trials}")));
    overrides.extend(budget.workers.map(|workers| format!("study.workers={workers}")));
    overrides.extend(budget.memory_limit.map(|bytes| format!("study.memory_limit={bytes}")));
    overrides.extend(budget.seed.map(|seed| format!("seed={seed}")));
    overrides.extend(budget.set.iter().cloned());
    overrides
}

/// An override whose value is a text, whatever it looks like.
pub fn setting(key: &str, text: &str) -> String {
    format!("{key}={}", serde_json::Value::from(text))
}

/// An override whose value is a list of texts.
fn list<T: AsRef<str>>(key: &str, texts: &[T]) -> String {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    format!("{key}={}", serde_json::Value::from(texts))
}

/// A path that still leads to the file when the run is resumed from elsewhere.
fn absolute(path: &Path) -> Result<String, CliError> {
    let absolute = std::path::absolute(path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| CliError::usage(format!("{}: a path in a config must be valid UTF-8", path.display())))
}
