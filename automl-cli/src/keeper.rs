//! Keeps the best model of a run, in memory and on disk, from the first moment to the end.
//!
//! A file that `automl predict` accepts exists at once: first a constant prediction, then the models of the best candidate's
//! folds, at last one model on all rows where the time allows that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use automl_core::{Cancel, Evaluation, Genotype, Observer, Trial};
use automl_ops::pipeline::{Pipeline, Shared};
use automl_ops::{About, Metric, Model, Training, Validated};

use crate::error::CliError;
use crate::output;

/// The best candidate of a run so far, shared between the study's observer and the end of the run.
#[derive(Clone)]
pub struct Keeper {
    training: Arc<Training>,
    metric: Metric,
    seed: u64,
    out: PathBuf,
    /// What the file holds before anything is found.
    first: Final,
    best: Arc<Mutex<Best>>,
}

#[derive(Default)]
struct Best {
    loss: Option<f64>,
    score: Option<f64>,
    validated: Option<Arc<Validated>>,
    seconds: f64,
    /// Whether the file is older than the best candidate.
    stale: bool,
    written: Option<(Instant, Duration)>,
}

impl Keeper {
    /// Starts with a constant prediction on disk, unless a model is there already.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn start(training: Arc<Training>, metric: Metric, seed: u64, out: PathBuf) -> Result<Self, CliError> {
        let first = if out.exists() { Final::Unchanged } else { Final::Constant };
        let keeper = Self { training, metric, seed, out, first, best: Arc::default() };
        if first == Final::Constant {
            Model::constant(keeper.about(None), &keeper.training.y)
                .write(&keeper.out)
                .map_err(|error| keeper.unwritten(&error))?;
        }
        Ok(keeper)
    }

    /// What the file holds where nothing was found.
    pub fn first(&self) -> Final {
        self.first
    }

    fn unwritten(&self, error: &dyn std::fmt::Display) -> CliError {
        CliError::failed(format!(
            "the model cannot be written: {error}; name another file than {} with --out",
            self.out.display()
        ))
    }

    fn about(&self, score: Option<f64>) -> About {
        About::new(&self.training, self.metric, score, self.seed)
    }

    /// What tells the keeper of finished trials.
    pub fn observer(&self) -> Box<dyn Observer> {
        Box::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Best> {
        self.best.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the models of the best candidate's folds, but seldom enough that writing takes little of the time.
    fn write_folds(&self, best: &mut Best) {
        let (true, Some(validated)) = (best.stale, &best.validated) else { return };
        if best.written.is_some_and(|(when, took)| when.elapsed() < (took * 20).max(Duration::from_millis(300))) {
            return;
        }
        let begin = Instant::now();
        match Model::new(self.about(best.score), validated.pipelines.clone()).write(&self.out) {
            Ok(()) => best.stale = false,
            Err(error) => output::note(&format!("warning: {error}; the best model is kept in memory")),
        }
        best.written = Some((Instant::now(), begin.elapsed()));
    }

    /// Writes the final model: one pipeline on all rows if that can be fitted before `deadline`, else those of the folds.
    ///
    /// # Errors
    /// Where the file cannot be written, or nothing was found.
    pub fn finish(
        &self,
        genotype: &Genotype,
        score: Option<f64>,
        deadline: Option<Instant>,
        cancel: &Cancel,
        seed: u64,
    ) -> Result<Final, CliError> {
        let (validated, seconds) = {
            let best = self.lock();
            (best.validated.clone(), best.seconds)
        };
        // All rows take a little longer than all folds but one do together with their predictions.
        let expected = validated.as_ref().map_or(0.0, |validated| 1.5 * seconds / validated.pipelines.len() as f64);
        let late = deadline.is_some_and(|deadline| Instant::now() + Duration::from_secs_f64(expected) >= deadline);
        let token = cancel.child(deadline);
        let refit = if late {
            None
        } else {
            let fitted = Pipeline::fit_on(genotype, &self.training.data(), seed, &token, &Shared::nothing());
            fitted.ok().filter(|_| !token.is_cancelled())
        };
        let (pipelines, made) = match (refit, validated) {
            (Some(pipeline), _) => (vec![pipeline], Final::AllRows),
            (None, Some(validated)) => (validated.pipelines.clone(), Final::Folds(validated.pipelines.len())),
            (None, None) => return Ok(Final::Unchanged),
        };
        Model::new(self.about(score), pipelines).write(&self.out).map_err(|error| self.unwritten(&error))?;
        Ok(made)
    }
}

/// What the final model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    /// One pipeline, fitted on all rows.
    AllRows,
    /// The mean of this many pipelines, one a fold.
    Folds(usize),
    /// The constant that stands in until something is found.
    Constant,
    /// What an earlier session or run left.
    Unchanged,
}

impl Observer for Keeper {
    fn finished(&mut self, trial: &Trial, evaluation: Option<&Evaluation>) {
        let mut best = self.lock();
        if let Some(loss) = trial.loss().filter(|loss| best.loss.is_none_or(|best| *loss < best)) {
            best.loss = Some(loss);
            best.score = trial.metrics.get(self.metric.name()).copied();
            best.seconds = trial.seconds;
            let artifact = evaluation.and_then(|evaluation| evaluation.artifact.clone());
            best.validated = artifact.and_then(|artifact| artifact.downcast::<Validated>().ok());
            best.stale = best.validated.is_some();
        }
        self.write_folds(&mut best);
    }
}
