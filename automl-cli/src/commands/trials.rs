//! `automl trials`: what a run tried.

use automl_core::{Journal, Trial};

use crate::args::{TrialFormat, Trials};
use crate::error::CliError;
use crate::output;
use crate::session;

pub fn run(args: &Trials) -> Result<u8, CliError> {
    let contents = Journal::read(session::journal(&args.run_dir)?)?;
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
