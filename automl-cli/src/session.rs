//! Running a config: builds what it names, runs the study, keeps the best model, tells the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use automl_core::study::{Ended, seed_of};
use automl_core::{Budget, Cancel, Deadline, Evaluator, Journal, Objective, SearchSpace, State, Study, Trial};
use automl_nas::train::{About, Training};
use automl_ops::limits::Measures;
use automl_ops::pipeline::CacheStats;
use automl_ops::{Metric, PipelineSpace, TabularEvaluator, leak};

use crate::error::CliError;
use crate::finish::{self, Trained};
use crate::keeper::{Ends, Evaluations, Final, Keeper, Made};
use crate::memory;
use crate::output;
use crate::progress::{Plan, Progress};
use crate::run_config::RunConfig;
use crate::signals::Signals;

/// Name of the journal in a run directory.
pub const JOURNAL: &str = "journal.jsonl";
/// Name of the resolved config in a run directory.
pub const CONFIG: &str = "run.toml";
/// The most time that is kept for the final model, beside a tenth of the limit.
const MOST: Duration = Duration::from_secs(30);
/// Time kept free at the very end for writing the model.
const WRITING: Duration = Duration::from_millis(200);

/// The part of a run's time that looking for columns which hold the answer may take: one in so many.
const SUSPICION: u32 = 20;
/// Gap between the score that chose a model and its honest one, as a share of the scale, from which a user is warned.
const OVERFITTED: f64 = 0.03;

/// What a config builds.
pub struct Built {
    /// What judges.
    pub evaluator: Arc<dyn Evaluator>,
    /// Where candidates come from.
    pub space: Arc<dyn SearchSpace>,
    /// The same as what judges tables, where it is that.
    pub table: Option<Arc<TabularEvaluator>>,
}

/// Builds the evaluator and the space of a config; reads the data, and notes what is odd about it unless `quiet`.
///
/// # Errors
/// Bad data, or settings that contradict each other.
pub fn build(config: &RunConfig, quiet: bool) -> Result<Built, CliError> {
    automl_core::registry::check()?;
    let workers = config.study.workers();
    if let Some(tabular) = config.tabular() {
        let training = Arc::new(tabular.read()?);
        for text in training.notes.iter().filter(|_| !quiet) {
            output::note(&format!("note: {text}"));
        }
        let evaluator = Arc::new(tabular.evaluator(training.clone(), workers)?);
        let metric = evaluator.metric();
        let space: Arc<dyn SearchSpace> = match &config.space {
            Some(space) => space.clone(),
            None => Arc::new(PipelineSpace::fitting(&training, metric)?),
        };
        return Ok(Built { evaluator: evaluator.clone(), space, table: Some(evaluator) });
    }
    let evaluator = config.evaluator.build(workers)?;
    let space = match &config.space {
        Some(space) => space.clone(),
        None => config.evaluator.space()?.ok_or_else(|| {
            CliError::usage(
                "this evaluator fits no particular space; add a [space] to the config (`automl plugins --kind space` lists them)",
            )
        })?,
    };
    Ok(Built { evaluator, space, table: None })
}

/// What a run is given.
pub struct Run {
    /// The config; its space is filled in by the run.
    pub config: RunConfig,
    /// Where the journal goes: a directory to be made; `runs/NAME-1` and so on where absent.
    pub run_dir: Option<PathBuf>,
    /// The name of a run that is given no directory.
    pub name: String,
    /// The journal of an earlier session, with its trials.
    pub resumed: Option<(Journal, BTreeMap<u64, Trial>)>,
    /// When the command began.
    pub start: Instant,
    /// Whether progress is shown.
    pub quiet: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// The trials that count.
    pub trials: Vec<Trial>,
    /// What was to be improved.
    pub objectives: Vec<Objective>,
    /// Why it ended, in words.
    pub ended: String,
    /// What the final model is; none where the evaluator trains none.
    pub made: Option<Final>,
    /// Score of the final model on rows that it did not see; none where it is no new one.
    pub score: Option<f64>,
    /// What the final model takes to be used; none where it is no new one.
    pub measures: Option<Measures>,
    /// Measured seconds that it takes to predict a row of many, on one thread.
    pub measured_predict_time: Option<f64>,
    /// The least that candidates beyond the limits took.
    pub least_beyond: Option<Measures>,
    /// The model file.
    pub model: Option<PathBuf>,
    /// The run directory.
    pub run_dir: Option<PathBuf>,
    /// The best network, trained to the end.
    pub trained: Option<Trained>,
    /// The exit code: 0, or that of a signal.
    pub code: u8,
    /// Work that candidates shared, where the evaluator is the one of tables.
    pub shared: Option<CacheStats>,
    /// The most memory that the process used, in bytes.
    pub peak_memory: Option<u64>,
    /// Seconds in all.
    pub seconds: f64,
}

impl Finished {
    /// The best trial.
    pub fn best(&self) -> Option<&Trial> {
        automl_core::study::best(&self.trials)
    }

    /// Number of trials in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }
}

/// Runs a config to its end.
///
/// # Errors
/// [`CliError`] for bad data and configs. A run that found nothing is not an error here: [`Finished::best`] is none.
pub fn run(run: Run) -> Result<Finished, CliError> {
    let signals = Signals::watch()?;
    let Run { mut config, run_dir, name, resumed, start, quiet } = run;
    if let (Some(run_dir), None) = (&run_dir, &resumed) {
        unused(run_dir)?;
    }
    let limit = config.study.time_limit();
    let training = config.training()?;
    training.as_ref().map(Training::check).transpose()?;
    let built = build(&config, quiet)?;
    if built.table.is_none() {
        memory::keep_freed();
    }
    if let Some(table) = &built.table {
        let until = limit.map(|limit| Instant::now() + limit / SUSPICION);
        for suspect in leak::suspects(table.training(), config.seed, &signals.token().child(until)) {
            output::note(&format!("warning: {}", suspect.warning(table.training())));
        }
    }
    config.space = Some(built.space.clone());
    let objectives = built.evaluator.objectives();
    let strategy = config.strategy.build(built.space.clone(), &objectives)?;
    let end = limit.map(|limit| start + limit);
    let mut deadline = end.map(Deadline::from);
    let mut keeper = match (&built.table, &config.out) {
        (Some(table), Some(out)) => {
            let ends = limit.zip(end).map(|(limit, end)| {
                let most = (limit / 10).clamp(WRITING, MOST);
                Ends::new(end, most, if config.stacking { limit / 10 } else { Duration::ZERO })
            });
            deadline = ends.as_ref().map(|ends| ends.search.clone());
            Some(Keeper::start(table, config.seed, out.clone(), config.ensemble, ends)?)
        }
        _ => None,
    };
    // Made late, so that a run that cannot begin leaves nothing behind.
    let run_dir = run_dir.or_else(|| fresh_dir(&name));
    let (journal, recorded) = match resumed {
        Some((journal, trials)) => (Some(journal), trials),
        None => (open(run_dir.as_deref(), &config)?, BTreeMap::new()),
    };
    if let (Some(last), None, Some((limit, end))) = (&config.last, &keeper, limit.zip(end)) {
        deadline = end.checked_sub(limit.mul_f64(last.time_share)).map(Deadline::from);
    }

    // As the study seeds its evaluations: models that are fitted again are those of the search.
    let evaluation_seed = seed_of(config.seed, "evaluate", 0);
    if let (Some(keeper), false) = (&mut keeper, recorded.is_empty()) {
        // No more than half of the time: a resumed search is to find something, too.
        let half = deadline.as_ref().map(|deadline| Instant::now() + deadline.at().saturating_duration_since(Instant::now()) / 2);
        let cancel = signals.token().child(half);
        keeper.recall(&recorded, built.evaluator.as_ref(), evaluation_seed, config.study.trial_time(), &cancel);
    }

    let held = built.table.as_ref().map_or(0, |table| table.held_bytes());
    let reserved = memory::PROGRAM + keeper.as_ref().map_or(0, Keeper::room) + held;
    let mut study = Study::new(built.space.clone(), strategy, built.evaluator.clone());
    study.seed = config.seed;
    study.lag = config.study.lag;
    study.workers = config.study.workers();
    study.starts = if config.study.starts { built.space.starts() } else { Vec::new() };
    study.journal = journal;
    study.recorded = recorded;
    study.budget = Budget {
        trials: config.study.trials,
        deadline: deadline.clone(),
        patience: config.study.patience,
        target: config.study.target.and_then(|target| Some(objectives.first()?.loss(target))),
        trial_time: config.study.trial_time(),
        memory: config.study.memory_limit.or_else(|| memory_for(&config, &built, reserved)),
        reserved,
        racing: config.study.racing,
    };
    // A front of several objectives is told with its candidates.
    study.lean = objectives.len() == 1;
    study.memory_probe = Some(Box::new(memory::used));
    let plan = Plan { objective: first(&objectives)?, deadline, trials: config.study.trials };
    let progress = Progress::start(plan, quiet);
    study.observers.push(progress.observer());
    study.observers.extend(keeper.as_ref().map(Keeper::observer));
    let outcome = study.run(signals.token())?;
    drop(progress);

    let mut made = keeper.as_ref().map(|keeper| Made::nothing(keeper.first()));
    let mut measured = None;
    if let (Some(keeper), Some(_)) = (&keeper, outcome.best()) {
        // After a signal the user waits: a second is spent on the better model, no more.
        let interrupted = signals.token().is_cancelled();
        let until = if interrupted { Some(Instant::now() + Duration::from_secs(1)) } else { end.map(|end| end - WRITING) };
        let cancel = if interrupted { Cancel::new() } else { signals.token().clone() };
        // A second layer begins with what the candidates have learnt.
        let second_layer = (config.stacking && !interrupted).then_some(built.evaluator.as_ref());
        if second_layer.is_none() {
            built.table.iter().for_each(|table| table.release());
        }
        let found = keeper.finish(until, &cancel, &Evaluations { seed: evaluation_seed, second_layer })?;
        if let (Some(table), Some(model)) = (&built.table, &found.model) {
            measured = table.measured_predict_time(model, &cancel.child(until));
            if let (Some(chosen_by), Some(honest), Final::Ensemble { .. }) = (found.chosen_by, found.score, found.what)
                && let Some(why) = overfitted(table.metric(), table.training().rows(), chosen_by, honest)
            {
                output::note(&format!("warning: {why}"));
            }
        } else if keeper.limited() {
            output::note("warning: no model is within the limits once it is fitted on all rows; the model file is as it was");
        }
        made = Some(found);
    }
    if let Ended::Journal(error) = &outcome.ended {
        output::note(&format!("warning: the journal could not be written any more, so the run ended early: {error}"));
    }
    let mut trained = None;
    if let (Some(training), Some(best), false) = (training, outcome.best(), signals.token().is_cancelled()) {
        let about = About { genotype: best.genotype.clone(), training, seed: config.seed };
        let dir = run_dir.clone().or_else(|| fresh_dir("final"));
        trained = finish::run(dir.as_deref(), about, end, &signals, quiet)?;
    }
    Ok(Finished {
        trained,
        ended: ended(&outcome.ended).to_owned(),
        trials: outcome.trials,
        objectives,
        made: made.as_ref().map(|made| made.what),
        score: made.as_ref().and_then(|made| made.score),
        measures: made.as_ref().and_then(|made| made.measures),
        measured_predict_time: measured,
        least_beyond: built.table.as_ref().and_then(|table| table.least_beyond()),
        model: keeper.and(config.out),
        run_dir,
        code: signals.exit_code(0),
        shared: built.table.map(|table| table.cache_stats()),
        peak_memory: memory::peak(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// What to tell where the rows that chose the members of an ensemble make it look clearly better than it is: by more than chance makes
/// of so many rows, and by more than a user would overlook.
fn overfitted(metric: Metric, rows: usize, chosen_by: f64, honest: f64) -> Option<String> {
    let chance = 1.0 / (rows.max(1) as f64).sqrt();
    // Scores have a scale of their own; errors have that of the target.
    let scale = if metric.maximize() { 1.0 } else { honest.abs() };
    let gap = if metric.maximize() { chosen_by - honest } else { honest - chosen_by };
    (gap > scale * chance.max(OVERFITTED)).then(|| {
        format!(
            "validation looks overfitted: {metric} is {chosen_by:.4} on the rows that chose the model, and {honest:.4} on rows that did \
             not; believe the second, and search less (`--ensemble 1`, fewer trials) or get more rows"
        )
    })
}

/// The memory of a run whose config says nothing about it, of which so much is not for candidates.
fn memory_for(config: &RunConfig, built: &Built, reserved: u64) -> Option<u64> {
    let Some(table) = &built.table else { return memory::default_limit() };
    let file = config.tabular().and_then(|tabular| std::fs::metadata(tabular.train).ok()).map_or(0, |file| file.len());
    Some(memory::limit_for(file.max(table.training().x.bytes() as u64), reserved))
}

fn first(objectives: &[Objective]) -> Result<Objective, CliError> {
    objectives
        .first()
        .cloned()
        .ok_or_else(|| CliError::failed("the evaluator names no objective; this is a defect of its plugin"))
}

fn ended(ended: &Ended) -> &'static str {
    match ended {
        Ended::Trials => "the budget of trials is spent",
        Ended::Time => "the time is over",
        Ended::Patience => "no better trial for as long as the patience lasts",
        Ended::Target => "the target is reached",
        Ended::Exhausted => "nothing new is proposed any more",
        Ended::Cancelled => "interrupted",
        _ => "the journal could not be written",
    }
}

/// The journal of a run.
///
/// # Errors
/// Where there is none.
pub fn journal(run_dir: &Path) -> Result<PathBuf, CliError> {
    let path = run_dir.join(JOURNAL);
    if path.exists() {
        return Ok(path);
    }
    let name = run_dir.display();
    Err(CliError::data(format!(
        "{name}: no run is here (no {JOURNAL}); name the directory that `automl fit` or `automl search` made"
    )))
}

/// Refuses a directory that holds a run.
fn unused(run_dir: &Path) -> Result<(), CliError> {
    if !run_dir.join(JOURNAL).exists() {
        return Ok(());
    }
    let name = run_dir.display();
    Err(CliError::usage(format!(
        "{name} holds a run already: go on with it by `automl resume {name}`, or name another --run-dir"
    )))
}

/// Starts the journal of a run directory, with the resolved config beside it.
fn open(run_dir: Option<&Path>, config: &RunConfig) -> Result<Option<Journal>, CliError> {
    let Some(run_dir) = run_dir else { return Ok(None) };
    let problem = |error: std::io::Error| CliError::failed(format!("{}: {error}; name another --run-dir", run_dir.display()));
    std::fs::create_dir_all(run_dir).map_err(problem)?;
    let path = run_dir.join(JOURNAL);
    std::fs::write(run_dir.join(CONFIG), crate::config::to_toml(config)?).map_err(problem)?;
    let header = serde_json::to_value(config).map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Some(Journal::create(path, header)?))
}

/// The first of `runs/NAME-1`, `runs/NAME-2` … that is not there; none where no directory can be made.
pub fn fresh_dir(name: &str) -> Option<PathBuf> {
    let root = Path::new("runs");
    let clean: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect();
    if let Err(error) = std::fs::create_dir_all(root) {
        output::note(&format!("warning: no run directory can be made here ({error}); the run cannot be resumed"));
        return None;
    }
    for number in 1..100_000 {
        let dir = root.join(format!("{clean}-{number}"));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Some(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                output::note(&format!("warning: {}: {error}; the run cannot be resumed", dir.display()));
                return None;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_gap_in_the_wrong_direction_is_told() {
        let told = |metric, rows, chosen_by, honest| overfitted(metric, rows, chosen_by, honest).is_some();
        assert!(told(Metric::BalancedAccuracy, 2_000, 0.90, 0.86));
        assert!(!told(Metric::BalancedAccuracy, 100, 0.90, 0.86), "a few rows do that by chance");
        assert!(!told(Metric::BalancedAccuracy, 1_000_000, 0.90, 0.88), "nobody minds");
        assert!(!told(Metric::BalancedAccuracy, 2_000, 0.86, 0.90));
        assert!(told(Metric::Rmse, 2_000, 90.0, 100.0) && !told(Metric::Rmse, 2_000, 100.0, 90.0));
    }
}
