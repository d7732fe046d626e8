//! `automl resume`: goes on with a run, bit-identically, after a crash or an end.

use std::time::{Duration, Instant};

use automl_core::journal::Contents;
use automl_core::{Journal, study};
use automl_nas::train::{About, FinalTraining};

use crate::args::{MoreTrials, Resume};
use crate::commands::{report, train};
use crate::duration::Extension;
use crate::error::CliError;
use crate::run_config::RunConfig;
use crate::session::{self, Run};

pub fn run(resume: &Resume, start: Instant, quiet: bool) -> Result<u8, CliError> {
    if FinalTraining::is_in(&resume.run_dir) {
        let end = resume.time_limit.as_ref().map(|(Extension::Total(time) | Extension::More(time))| start + *time);
        return train::resume(&resume.run_dir, end, start, resume.format, quiet);
    }
    let path = session::journal(&resume.run_dir)?;
    let (journal, contents) = Journal::open(&path)?;
    let mut config: RunConfig = serde_json::from_value(contents.header.config.clone()).map_err(|error| {
        CliError::usage(format!(
            "{}: its config does not read any more: {error}; resume with the program that wrote it",
            path.display()
        ))
    })?;
    let extended = resume.trials.is_some() || resume.time_limit.is_some();
    if let (Some(training), true, false) = (config.training()?, contents.end.is_some(), extended) {
        // The search is over; what is left is the final training.
        let trials: Vec<_> = contents.counting().cloned().collect();
        let best = study::best(&trials).ok_or_else(|| CliError::no_model("no trial of this run was complete"))?;
        let about = About { genotype: best.genotype.clone(), training, seed: config.seed };
        return train::finish(&resume.run_dir, about, start, resume.format, quiet);
    }
    extend(&mut config, &contents, resume)?;
    let run = Run {
        config,
        run_dir: Some(resume.run_dir.clone()),
        name: String::new(),
        resumed: Some((journal, contents.trials)),
        start,
        quiet,
    };
    let finished = session::run(run)?;
    report::finished(&finished, resume.format)
}

/// The budget of this session: what the flags say, or what the run had left.
fn extend(config: &mut RunConfig, contents: &Contents, resume: &Resume) -> Result<(), CliError> {
    let workers = config.study.workers();
    if let Some(workers) = resume.workers {
        config.study.workers = usize::try_from(workers).ok();
    }
    let done = contents.counting().count() as u64;
    let ended = contents.end.is_some();
    let extended = resume.trials.is_some() || resume.time_limit.is_some();
    if ended && !extended {
        return Err(CliError::usage(format!(
            "this run ended by itself after {done} trials; give it more: `--trials +100` or `--time-limit +10m`"
        )));
    }
    if let Some(MoreTrials::Total(total)) = resume.trials
        && (total < done || ended && total == done)
    {
        return Err(CliError::usage(format!(
            "this run has {done} trials already, and `--trials {total}` counts all of them; for more write `--trials +{total}`"
        )));
    }
    if extended {
        // More was asked for: what ended the run before must not end it at once.
        (config.study.patience, config.study.target) = (None, None);
    }
    let limit = config.study.time_limit();
    config.study.time_limit = match resume.time_limit {
        Some(Extension::Total(time) | Extension::More(time)) => Some(time),
        None if extended => None,
        None => {
            // The clock of a session that crashed is gone; its trials tell how long it ran.
            let spent = contents.counting().map(|trial| trial.seconds).sum::<f64>() / workers as f64;
            let left = limit.map(|limit| limit.saturating_sub(Duration::from_secs_f64(spent)));
            if left.is_some_and(|left| left < Duration::from_secs(1)) {
                return Err(CliError::usage("the time of this run is used up; give it more: `--time-limit +10m`"));
            }
            left
        }
    };
    config.study.trials = match resume.trials {
        Some(MoreTrials::Total(trials)) => Some(trials),
        Some(MoreTrials::More(trials)) => Some(done + trials),
        None if resume.time_limit.is_some() => None,
        None => config.study.trials,
    };
    Ok(())
}
