//! `automl train`: trains a network that was found to the end, and tests it.

use std::path::Path;
use std::time::Instant;

use automl_core::{EvaluatorConfig, Journal};
use automl_nas::train::{About, Final, FinalTraining, Training};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::args::{Format, Train};
use crate::commands::candidate;
use crate::config::{self, Source};
use crate::error::CliError;
use crate::finish::{self, Trained};
use crate::output;
use crate::session;
use crate::signals::Signals;

/// What counts of a config; the rest may be there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    seed: u64,
    evaluator: Option<Box<dyn EvaluatorConfig>>,
    #[serde(rename = "final")]
    last: Option<Final>,
    #[serde(rename = "study")]
    _study: IgnoredAny,
    #[serde(rename = "strategy")]
    _strategy: IgnoredAny,
    #[serde(rename = "space")]
    _space: IgnoredAny,
    #[serde(rename = "ensemble")]
    _ensemble: IgnoredAny,
    #[serde(rename = "stacking")]
    _stacking: IgnoredAny,
    #[serde(rename = "out")]
    _out: IgnoredAny,
}

pub fn run(args: &Train, start: Instant, quiet: bool) -> Result<u8, CliError> {
    let signals = Signals::watch()?;
    let genotype = candidate::read(&args.source, args.trial, args.space.as_deref())?;
    let config = read(args)?;
    let evaluator = config.evaluator.as_ref().map(serde_json::to_value).transpose();
    let evaluator = evaluator.map_err(|error| CliError::failed(error.to_string()))?.unwrap_or_default();
    let training: Training = config.last.unwrap_or_default().over(&evaluator)?;
    let about = About { genotype, training, seed: args.seed.unwrap_or(config.seed) };
    // Before anything is made: a mistake leaves nothing behind.
    FinalTraining::check(&about)?;
    let dir = args.run_dir.clone().or_else(|| session::fresh_dir("train"));
    let dir = dir.ok_or_else(|| CliError::failed("no directory can be made here; name one by --run-dir"))?;
    let training = FinalTraining::start(&dir, about)?;
    let trained = finish::drive(training, dir, args.time_limit.map(|limit| start + limit), &signals, quiet)?;
    report(&trained, start, args.format)?;
    Ok(signals.exit_code(0))
}

/// The config that is named, or that of the run.
fn read(args: &Train) -> Result<Config, CliError> {
    let source = match &args.config {
        Some(path) => Source::path(path),
        None if Path::new(&args.source).is_dir() => {
            let contents = Journal::read(session::journal(Path::new(&args.source))?)?;
            Source::text(format!("{}.json", args.source), contents.header.config.to_string())
        }
        None => {
            return Err(CliError::usage("name a config by --config: one that `automl search` takes, or with `[final]` alone"));
        }
    };
    Ok(config::load(source, &args.set, &config::Options::default())?)
}

/// Goes on with a training after a kill.
pub fn resume(dir: &Path, end: Option<Instant>, start: Instant, format: Format, quiet: bool) -> Result<u8, CliError> {
    let signals = Signals::watch()?;
    let training = FinalTraining::open(dir)?;
    let trained = finish::drive(training, dir.to_owned(), end, &signals, quiet)?;
    report(&trained, start, format)?;
    Ok(signals.exit_code(0))
}

/// Trains the best network of a search that is over.
pub fn finish(run_dir: &Path, about: About, start: Instant, format: Format, quiet: bool) -> Result<u8, CliError> {
    let signals = Signals::watch()?;
    if let Some(trained) = finish::run(Some(run_dir), about, None, &signals, quiet)? {
        report(&trained, start, format)?;
    }
    Ok(signals.exit_code(0))
}

fn report(trained: &Trained, start: Instant, format: Format) -> Result<(), CliError> {
    let seconds = start.elapsed().as_secs_f64();
    if format == Format::Json {
        let value = json!({
            "test": trained.tested,
            "epochs": trained.epochs[0],
            "of_epochs": trained.epochs[1],
            "model": trained.model(),
            "run_dir": trained.dir,
            "seconds": seconds,
        });
        return output::result(|out| writeln!(out, "{value}"));
    }
    output::result(|out| {
        writeln!(out, "{:<12} {}", "test", trained.summary())?;
        writeln!(out, "{:<12} {}", "model", trained.model().display())?;
        writeln!(out, "{:<12} {}  (history.jsonl has what each epoch gave)", "run", trained.dir.display())?;
        writeln!(out, "{:<12} {seconds:.1} s", "time")
    })
}

/// The same as a part of a larger report.
pub fn json(trained: &Trained) -> Value {
    json!({ "test": trained.tested, "epochs": trained.epochs[0], "model": trained.model() })
}
