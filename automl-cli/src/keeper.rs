//! Keeps the best model of a run, in memory and on disk, from the first moment to the end.
//!
//! A file that `automl predict` accepts exists at once: first a constant prediction, then the models of the best candidate's
//! folds, at last the best candidates joined, each fitted on all rows where the time allows that.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use automl_core::{Alone, Cancel, Evaluation, Evaluator, Genotype, Observer, Trial};
use automl_ops::ensemble::{Candidates, Ensemble};
use automl_ops::pipeline::{Pipeline, Shared};
use automl_ops::{About, Metric, Model, Training, Validated};

use crate::error::CliError;
use crate::output;

/// Bytes for the models of candidates that may be joined, beside half of those of the training table.
const ROOM: usize = 48 << 20;

/// One in so many of the candidates that are kept may end in the same model.
const ALIKE: usize = 4;

/// The best candidates of a run so far, shared between the study's observer and the end of the run.
#[derive(Clone)]
pub struct Keeper {
    training: Arc<Training>,
    metric: Metric,
    seed: u64,
    out: PathBuf,
    /// Candidates that may be joined.
    members: usize,
    /// What the file holds before anything is found.
    first: Final,
    best: Arc<Mutex<Best>>,
}

#[derive(Default)]
struct Best {
    /// The best candidates with their fold models, best first.
    kept: Vec<Kept>,
    bytes: usize,
    /// Whether the file is older than the best candidate.
    stale: bool,
    written: Option<(Instant, Duration)>,
}

/// A candidate whose models are kept.
struct Kept {
    loss: f64,
    score: Option<f64>,
    genotype: Genotype,
    validated: Arc<Validated>,
    seconds: f64,
    bytes: usize,
}

impl Best {
    /// Keeps a candidate if it is among the best `count`, as far as there is room; the best one always. No more than a quarter
    /// end in the same model, since errors that are alike cannot cancel each other.
    fn add(&mut self, new: Kept, count: usize, room: usize) {
        let place = self.kept.partition_point(|kept| kept.loss <= new.loss);
        self.stale |= place == 0;
        self.bytes += new.bytes;
        self.kept.insert(place, new);
        let model = |kept: &Kept| kept.genotype.nodes.last().map(|node| node.op.clone());
        let kin = |kept: &Kept| model(kept) == model(&self.kept[place]);
        if self.kept.iter().filter(|kept| kin(kept)).count() > count.max(1).div_ceil(ALIKE)
            && let Some(last) = self.kept.iter().rposition(kin)
        {
            self.bytes -= self.kept.remove(last).bytes;
        }
        while self.kept.len() > 1 && (self.kept.len() > count.max(1) || self.bytes > room) {
            // Of what does not fit together, the worst goes; one that takes half of the room alone goes before it.
            let large = self.kept.iter().skip(1).rposition(|kept| kept.bytes > room / 2).map(|at| at + 1);
            let gone = self.kept.remove(large.filter(|_| self.bytes > room).unwrap_or(self.kept.len() - 1));
            self.bytes -= gone.bytes;
        }
    }
}

impl Keeper {
    /// Starts with a constant prediction on disk, unless a model is there already. At most `members` candidates are joined.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn start(training: Arc<Training>, metric: Metric, seed: u64, out: PathBuf, members: usize) -> Result<Self, CliError> {
        let first = if out.exists() { Final::Unchanged } else { Final::Constant };
        let keeper = Self { training, metric, seed, out, members, first, best: Arc::default() };
        if first == Final::Constant {
            Model::constant(keeper.about(None), &keeper.training.y)
                .write(&keeper.out)
                .map_err(|error| keeper.unwritten(&error))?;
        }
        Ok(keeper)
    }

    /// Bytes of the models that are kept; more only where the best alone takes more.
    pub fn room(&self) -> u64 {
        (ROOM + self.training.x.bytes() / 2) as u64
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

    /// Evaluates again what an earlier session found and would have kept, the best first: a journal holds outcomes, not models.
    /// What takes longer than `each`, or is left undone when `cancel` ends it, is left to the rest of the search.
    pub fn recall(
        &mut self,
        recorded: &BTreeMap<u64, Trial>,
        evaluator: &dyn Evaluator,
        seed: u64,
        each: Option<Duration>,
        cancel: &Cancel,
    ) {
        let nothing = Arc::new(Validated { pipelines: Vec::new(), predictions: Vec::new(), rows: Vec::new(), folds: Vec::new() });
        let mut best = Best::default();
        let found = || recorded.values().filter(|trial| trial.duplicate_of.is_none());
        for trial in found() {
            let Some(loss) = trial.full_loss() else { continue };
            let (genotype, validated) = (trial.genotype.clone(), nothing.clone());
            best.add(Kept { loss, score: None, genotype, validated, seconds: 0.0, bytes: 0 }, self.members, usize::MAX);
        }
        for kept in &best.kept {
            let same = |trial: &&Trial| trial.full_loss().is_some() && trial.genotype == kept.genotype;
            let Some(trial) = found().find(same) else { continue };
            let cancel = cancel.child(each.map(|each| Instant::now() + each));
            let mut again = Alone { seed, fidelity: 1.0, cancel };
            // As in a study, a panic in one candidate must not end the run.
            let found = catch_unwind(AssertUnwindSafe(|| evaluator.evaluate(&trial.genotype, &mut again)));
            if let (Ok(Ok(evaluation)), false) = (found, again.cancel.is_cancelled()) {
                self.finished(trial, Some(&evaluation));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Best> {
        self.best.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the models of the best candidate's folds, but seldom enough that writing takes little of the time.
    fn write_folds(&self, best: &mut Best) {
        let (true, Some(first)) = (best.stale, best.kept.first()) else { return };
        if best.written.is_some_and(|(when, took)| when.elapsed() < (took * 20).max(Duration::from_millis(300))) {
            return;
        }
        let begin = Instant::now();
        match Model::new(self.about(first.score), first.validated.pipelines.clone()).write(&self.out) {
            Ok(()) => best.stale = false,
            Err(error) => output::note(&format!("warning: {error}; the best model is kept in memory")),
        }
        best.written = Some((Instant::now(), begin.elapsed()));
    }

    /// Writes the final model: the best candidates joined, as far as that pays; each fitted on all rows where that can be done
    /// before `deadline`, else with the models of its folds. Tells its score on rows that neither the models nor the weights saw.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(&self, deadline: Option<Instant>, cancel: &Cancel, seed: u64) -> Result<(Final, Option<f64>), CliError> {
        let token = cancel.child(deadline);
        let kept = std::mem::take(&mut self.lock().kept);
        let Some(best) = kept.first() else { return Ok((Final::Unchanged, None)) };
        let (ensemble, score) = self.join(&kept, &token);
        let mut chosen: Vec<(f32, &Kept)> =
            ensemble.weights.iter().copied().zip(&kept).filter(|(weight, _)| *weight > 0.0).collect();
        chosen.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut pipelines, mut refitted) = (Vec::new(), 0);
        for (weight, candidate) in &chosen {
            match self.refit(candidate, deadline, &token, seed) {
                Some(pipeline) => {
                    refitted += 1;
                    pipelines.push((*weight, pipeline));
                }
                None => {
                    let folds = &candidate.validated.pipelines;
                    pipelines.extend(folds.iter().map(|pipeline| (weight / folds.len() as f32, pipeline.clone())));
                }
            }
        }
        let made = match (chosen.len(), refitted) {
            (1, 1) => Final::AllRows,
            (1, _) => Final::Folds(pipelines.len()),
            (candidates, _) => Final::Ensemble { candidates, pipelines: pipelines.len() },
        };
        let score = if chosen.len() > 1 { score.or(best.score) } else { best.score };
        Model::ensemble(self.about(score), pipelines, ensemble.factors)
            .write(&self.out)
            .map_err(|error| self.unwritten(&error))?;
        Ok((made, score))
    }

    /// Selects members among the candidates; the best alone where there are no others, or no time.
    fn join(&self, kept: &[Kept], cancel: &Cancel) -> (Ensemble, Option<f64>) {
        let alone = Ensemble { weights: vec![1.0], factors: Vec::new() };
        let Some(first) = kept.first() else { return (alone, None) };
        let rows = &first.validated.rows;
        // Candidates of another seed or fidelity hold out other rows.
        let fitting: Vec<&[f32]> = kept.iter().map(|kept| kept.validated.predictions.as_slice()).collect();
        if self.members < 2 || kept.iter().any(|kept| kept.validated.rows != *rows) {
            return (alone, None);
        }
        let truth = self.training.y.take(rows);
        let weights = self.training.weights.as_ref().map(|weights| automl_ops::pipeline::take_weights(weights, rows));
        let candidates = Candidates { metric: self.metric, truth: &truth, weights: weights.as_deref(), predictions: &fitting };
        let ensemble = candidates.select(cancel);
        // Of folds that were drawn several times the first draw alone: the others have the same rows again.
        let folds = match first.validated.folds.get(..first.validated.pipelines.len()) {
            Some([all]) => vec![all / 2, all - all / 2],
            folds => folds.unwrap_or_default().to_vec(),
        };
        let score = candidates.honest_score(&folds, cancel);
        (ensemble, score)
    }

    /// The candidate on all rows; none where the time is too short for that.
    fn refit(&self, candidate: &Kept, deadline: Option<Instant>, token: &Cancel, seed: u64) -> Option<Pipeline> {
        // All rows take a little longer than all folds but one do together with their predictions.
        let expected = 1.5 * candidate.seconds / candidate.validated.folds.len() as f64;
        if deadline.is_some_and(|deadline| Instant::now() + Duration::from_secs_f64(expected) >= deadline) {
            return None;
        }
        let fitted = Pipeline::fit_on(&candidate.genotype, &self.training.data(), seed, token, &Shared::nothing());
        fitted.ok().filter(|_| !token.is_cancelled())
    }
}

/// What the final model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    /// One pipeline, fitted on all rows.
    AllRows,
    /// The mean of this many pipelines, one a fold.
    Folds(usize),
    /// The weighted mean of several candidates.
    Ensemble {
        /// How many.
        candidates: usize,
        /// Fitted pipelines of all of them together.
        pipelines: usize,
    },
    /// The constant that stands in until something is found.
    Constant,
    /// What an earlier session or run left.
    Unchanged,
}

impl Observer for Keeper {
    fn finished(&mut self, trial: &Trial, evaluation: Option<&Evaluation>) {
        let artifact = evaluation.and_then(|evaluation| evaluation.artifact.clone());
        let validated = artifact.and_then(|artifact| artifact.downcast::<Validated>().ok());
        let mut best = self.lock();
        if let (Some(loss), Some(validated)) = (trial.full_loss(), validated) {
            let last = best.kept.last().map_or(f64::INFINITY, |kept| kept.loss);
            if best.kept.len() < self.members.max(1) || loss < last {
                let (genotype, bytes) = (trial.genotype.clone(), validated.bytes());
                let score = trial.metrics.get(self.metric.name()).copied();
                let kept = Kept { loss, score, genotype, validated, seconds: trial.seconds, bytes };
                best.add(kept, self.members, self.room() as usize);
            }
        }
        self.write_folds(&mut best);
    }
}
