//! `automl compare`: strategies × seeds, side by side.
//!
//! Each run is a study with one worker and a seed of its own, and threads take runs from one list: so the result is the same for
//! any number of them. Runs of one seed stand together in the list, so that an interrupted comparison has about as many of each
//! strategy; a run that was cut short does not count.

mod matrix;
mod plot;
mod summary;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use automl_core::study::Ended;
use automl_core::{Cancel, Objective, Study, Trial, registry};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::args::{Compare, CompareFormat};
use crate::config::{self, Source};
use crate::error::CliError;
use crate::output;
use crate::run_config::RunConfig;
use crate::session::{self, Built};
use crate::signals::Signals;
use summary::Summary;

/// Queries where neither the flags nor a config say how many.
const TRIALS: u64 = 500;

/// One of the things that are compared.
struct Variant {
    label: String,
    /// The strategy alone, and which of the configs it is from.
    strategy: String,
    file: usize,
    config: RunConfig,
    /// Index into what was built: variants that differ in their strategy alone share data.
    built: usize,
}

/// What one run found: at each query the best so far, not a number before there is one.
struct Curve {
    /// The first objective.
    objective: Vec<f64>,
    /// Figures of that best trial, by name.
    metrics: BTreeMap<String, Vec<f64>>,
}

pub fn run(args: &Compare, quiet: bool) -> Result<u8, CliError> {
    let signals = Signals::watch()?;
    let (variants, built) = variants(args, quiet)?;
    let first = variants.first().ok_or_else(|| CliError::usage("name at least one config"))?;
    let objective = objective(first, &built)?;
    if !args.matrix && built.iter().any(|other| other.evaluator.objectives().first() != Some(&objective)) {
        return Err(CliError::usage(
            "the configs judge by different objectives; compare those that share the first one, or show them as a --matrix",
        ));
    }
    let configured = variants.iter().filter_map(|variant| variant.config.study.trials).max();
    let trials = args.trials.or(configured).unwrap_or_else(|| args.at.iter().copied().max().unwrap_or(TRIALS));
    let mut at: Vec<u64> = args.at.iter().copied().filter(|at| *at <= trials).collect();
    at.sort_unstable();
    at.dedup();
    if at.is_empty() {
        at.push(trials);
    }
    // One seed after the other, all variants for each.
    let tasks: Vec<(u64, &Variant)> =
        (0..args.seeds).flat_map(|seed| variants.iter().map(move |variant| (args.seed.saturating_add(seed), variant))).collect();
    let curves = all(&tasks, &built, trials, args.threads(), signals.token(), quiet)?;
    let done = curves.iter().flatten().count();
    if done < tasks.len() {
        output::note(&format!("interrupted: {done} of {} runs were whole and count", tasks.len()));
    }
    if args.matrix {
        matrix::Matrix::new(&variants, &built, &curves, args, at.last().copied().unwrap_or(trials))?.write(args.format)?;
        return Ok(signals.exit_code(0));
    }
    let mut runs: Vec<(&str, Vec<&Curve>)> = variants.iter().map(|variant| (variant.label.as_str(), Vec::new())).collect();
    for (index, curve) in curves.iter().enumerate() {
        let count = runs.len();
        if let (Some((_, own)), Some(curve)) = (runs.get_mut(index % count.max(1)), curve) {
            own.push(curve);
        }
    }
    let summary = Summary::new(&runs, &objective, &args.metric, &at, args.optimum, args.target)?;
    match args.format {
        CompareFormat::Table => output::result(|out| summary.table(out))?,
        CompareFormat::Markdown => output::result(|out| summary.markdown(out))?,
        CompareFormat::Csv => output::result(|out| summary.csv(out))?,
    }
    if let Some(out) = &args.out {
        write(out, &summary, &runs)?;
    }
    Ok(signals.exit_code(0))
}

/// What a variant is judged by.
fn objective(variant: &Variant, built: &[Built]) -> Result<Objective, CliError> {
    let objective = built.get(variant.built).and_then(|built| built.evaluator.objectives().first().cloned());
    objective.ok_or_else(|| CliError::failed("the evaluator names no objective; this is a defect of its plugin"))
}

/// Everything that is compared: each config with each strategy.
fn variants(args: &Compare, quiet: bool) -> Result<(Vec<Variant>, Vec<Built>), CliError> {
    let mut variants: Vec<Variant> = Vec::new();
    let mut built = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let strategies: Vec<Option<&String>> =
        if args.strategy.is_empty() { vec![None] } else { args.strategy.iter().map(Some).collect() };
    for (index_of_file, file) in args.configs.iter().enumerate() {
        for strategy in &strategies {
            let mut overrides: Vec<String> = strategy.iter().map(|text| strategy_override(text)).collect();
            overrides.extend(args.set.iter().cloned());
            let config: RunConfig = config::load(Source::path(file), &overrides, &config::Options::default())?;
            let json = |value: serde_json::Result<Value>| value.map_err(|error| CliError::failed(error.to_string()));
            let judged = (json(serde_json::to_value(&config.evaluator))?, json(serde_json::to_value(&config.space))?);
            let key = format!("{} {}", judged.0, judged.1);
            let index = match known.get(&key) {
                Some(index) => *index,
                None => {
                    built.push(session::build(&config, quiet)?);
                    known.insert(key, built.len() - 1);
                    built.len() - 1
                }
            };
            let strategy = label(&json(serde_json::to_value(&config.strategy))?);
            let mut label = strategy.clone();
            let taken = |label: &str| variants.iter().any(|variant| variant.label == label);
            if taken(&label) {
                label = format!("{label} [{}]", file.file_stem().unwrap_or_default().to_string_lossy());
            }
            let same = variants.iter().filter(|variant| variant.label == label).count();
            if same > 0 {
                label = format!("{label} #{}", variants.len());
            }
            variants.push(Variant { label, strategy, file: index_of_file, config, built: index });
        }
    }
    Ok((variants, built))
}

/// `name` or `name(key=value, key=value)` as an override of the config's strategy.
fn strategy_override(text: &str) -> String {
    let (name, settings) = text.split_once('(').unwrap_or((text, ""));
    let settings = settings.trim_end().strip_suffix(')').unwrap_or(settings);
    let comma = if settings.trim().is_empty() { "" } else { ", " };
    format!("strategy={{ type = {}{comma}{settings} }}", Value::from(name.trim()))
}

/// A strategy as `--strategy` takes it: its name, and the settings that are not the defaults.
fn label(strategy: &Value) -> String {
    let name = strategy.get("type").and_then(Value::as_str).unwrap_or("unnamed");
    let plugin = registry::plugins().into_iter().find(|plugin| plugin.kind == "strategy" && plugin.name == name);
    let defaults = plugin.map(|plugin| (plugin.example)()).unwrap_or_default();
    let fields = strategy.as_object().into_iter().flatten();
    let changed: Vec<String> = fields
        .filter(|(key, value)| key.as_str() != "type" && defaults.get(key.as_str()) != Some(value))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if changed.is_empty() { name.to_owned() } else { format!("{name}({})", changed.join(", ")) }
}

/// The curves of all runs, in their order; none where one was cut short.
fn all(
    tasks: &[(u64, &Variant)],
    built: &[Built],
    trials: u64,
    threads: usize,
    cancel: &Cancel,
    quiet: bool,
) -> Result<Vec<Option<Curve>>, CliError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Result<Option<Curve>, CliError>>> = Mutex::default();
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(tasks.len() as u64) };
    let stop = cancel.child(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                while !stop.is_cancelled() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((seed, variant)) = tasks.get(index) else { break };
                    let Some(built) = built.get(variant.built) else { break };
                    let curve = one(variant, built, *seed, trials, &stop);
                    if curve.is_err() {
                        stop.cancel();
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, curve);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    (0..tasks.len()).map(|index| done.remove(&index).unwrap_or(Ok(None))).collect()
}

fn one(variant: &Variant, built: &Built, seed: u64, trials: u64, cancel: &Cancel) -> Result<Option<Curve>, CliError> {
    let objectives = built.evaluator.objectives();
    let settings = &variant.config.study;
    let strategy = variant.config.strategy.build(built.space.clone(), &objectives)?;
    let mut study = Study::new(built.space.clone(), strategy, built.evaluator.clone());
    study.seed = seed;
    study.lag = settings.lag;
    study.starts = if settings.starts { built.space.starts() } else { Vec::new() };
    study.budget.trials = Some(trials);
    study.budget.racing = settings.racing;
    study.budget.trial_time = settings.trial_time;
    let outcome = study.run(cancel)?;
    Ok((!matches!(outcome.ended, Ended::Cancelled)).then(|| curve(&outcome.trials, objectives.first(), trials)))
}

/// The best so far at each query; a run that ended early keeps its last.
fn curve(trials: &[Trial], objective: Option<&Objective>, length: u64) -> Curve {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(1 << 24);
    let mut curve = Curve { objective: Vec::with_capacity(length), metrics: BTreeMap::new() };
    let mut best: Option<&Trial> = None;
    for query in 0..length {
        let loss = |trial: &Trial| trial.full_loss().unwrap_or(f64::INFINITY);
        let trial = trials.get(query).filter(|trial| trial.full_loss().is_some());
        let better = trial.filter(|trial| best.is_none_or(|best| loss(trial) < loss(best)));
        best = better.or(best);
        let value = best.and_then(|best| Some(objective?.loss(best.full_loss()?)));
        curve.objective.push(value.unwrap_or(f64::NAN));
        for (name, value) in best.iter().flat_map(|best| &best.metrics) {
            let values = curve.metrics.entry(name.clone()).or_default();
            values.resize(query, f64::NAN);
            values.push(*value);
        }
    }
    for values in curve.metrics.values_mut() {
        values.resize(length, f64::NAN);
    }
    curve
}

/// Writes the figures, the runs behind them and a plot of each metric.
fn write(dir: &Path, summary: &Summary, runs: &[(&str, Vec<&Curve>)]) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|error| CliError::failed(format!("{}: {error}; name another --out", dir.display())))?;
    output::file_or_stdout(Some(&dir.join("compare.csv")), |out| summary.csv(out))?;
    output::file_or_stdout(Some(&dir.join("runs.csv")), |out| summary.runs(runs, out))?;
    for metric in &summary.metrics {
        let clean: String = metric.name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        output::file_or_stdout(Some(&dir.join(format!("{clean}.svg"))), |out| plot::write(out, metric))?;
    }
    output::note(&format!("{}: compare.csv, runs.csv and a plot (SVG) of each metric", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_the_flag_takes() {
        let strategy = serde_json::json!({ "type": "regularized_evolution", "population": 30, "sample": 25, "mutations": [] });
        assert_eq!(label(&strategy), "regularized_evolution(population=30)");
        assert_eq!(strategy_override("random"), "strategy={ type = \"random\" }");
        assert_eq!(strategy_override("bayes(initial=5)"), "strategy={ type = \"bayes\", initial=5 }");
    }
}
