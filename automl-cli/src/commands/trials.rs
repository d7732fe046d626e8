//! `automl trials`: what a run tried.

use automl_core::{Journal, Trial, pareto};
use automl_ops::goal::{Goal, MODEL_SIZE, PREDICT_TIME};
use automl_ops::limits;

use crate::args::{TrialFormat, Trials};
use crate::error::CliError;
use crate::output;
use crate::run_config::RunConfig;
use crate::session;

pub fn run(args: &Trials) -> Result<u8, CliError> {
    let contents = Journal::read(session::journal(&args.run_dir)?)?;
    if args.pareto {
        let config = serde_json::from_value(contents.header.config.clone()).ok();
        return front(contents.counting(), goals(config.as_ref()), args.format);
    }
    output::result(|out| {
        if args.format == TrialFormat::Table {
            writeln!(out, "{:>6} {:<10} {:>12} {:>8} {:<20} genotype", "id", "state", "loss", "seconds", "by")?;
        }
        for trial in contents.counting() {
            match args.format {
                TrialFormat::Jsonl => writeln!(out, "{}", serde_json::to_string(trial)?)?,
                TrialFormat::Table => writeln!(out, "{}", row(trial))?,
            }
        }
        Ok(())
    })?;
    Ok(0)
}

/// The objectives of a run on a table, where it has several.
fn goals(config: Option<&RunConfig>) -> Vec<Goal> {
    config.and_then(RunConfig::tabular).map(|tabular| tabular.objectives).unwrap_or_default()
}

/// Prints the trials that no other is better than in everything, the best first loss first.
fn front<'a>(trials: impl Iterator<Item = &'a Trial>, goals: Vec<Goal>, format: TrialFormat) -> Result<u8, CliError> {
    let complete = trials.filter(|trial| trial.full_loss().is_some() && trial.duplicate_of.is_none());
    let front = pareto::front(complete, |trial| {
        let mut losses = trial.losses.clone();
        if losses.len() == 1 {
            losses.extend([PREDICT_TIME, MODEL_SIZE].iter().filter_map(|name| trial.metrics.get(*name)));
        }
        Some(losses)
    });
    let named = goals.len() > 1;
    let shown = |trial: &Trial, name: &str, value: f64| match name {
        PREDICT_TIME => limits::time(value),
        MODEL_SIZE => limits::size(value),
        name => trial.metrics.get(name).map_or_else(|| format!("{value:.6}"), |value| format!("{value:.6}")),
    };
    let count = front.iter().map(|(_, losses)| losses.len()).max().unwrap_or(1);
    let single = front.iter().all(|(trial, _)| trial.losses.len() == 1);
    let names: Vec<String> = match (named, single) {
        (true, _) => goals.iter().map(|goal| goal.name().to_owned()).collect(),
        (false, true) => ["loss", PREDICT_TIME, MODEL_SIZE].iter().take(count).map(|name| (*name).to_owned()).collect(),
        (false, false) => (1..=count).map(|number| format!("loss_{number}")).collect(),
    };
    output::result(|out| {
        if format == TrialFormat::Table {
            write!(out, "{:>6}", "id")?;
            names.iter().try_for_each(|name| write!(out, " {name:>17}"))?;
            writeln!(out, " genotype")?;
        }
        for (trial, losses) in &front {
            if format == TrialFormat::Jsonl {
                writeln!(out, "{}", serde_json::to_string(trial)?)?;
                continue;
            }
            write!(out, "{:>6}", trial.id)?;
            for (name, loss) in names.iter().zip(losses) {
                write!(out, " {:>17}", shown(trial, name, *loss))?;
            }
            writeln!(out, " {}", output::brief(&trial.genotype))?;
        }
        Ok(())
    })?;
    Ok(0)
}

fn row(trial: &Trial) -> String {
    let state = serde_json::to_value(trial.state).ok();
    let state = state.as_ref().and_then(|state| state.as_str()).unwrap_or_default().to_owned();
    let loss = trial.loss().map_or_else(|| "-".to_owned(), |loss| format!("{loss:.6}"));
    let end = match (&trial.reason, trial.duplicate_of) {
        (Some(reason), _) => format!("  ({reason})"),
        (None, Some(original)) => format!("  (as trial {original})"),
        (None, None) => String::new(),
    };
    format!(
        "{:>6} {state:<10} {loss:>12} {:>8.3} {:<20} {}{end}",
        trial.id,
        trial.seconds,
        trial.origin.by,
        output::brief(&trial.genotype)
    )
}
