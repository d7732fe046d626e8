//! Keeps the best model of a run, in memory and on disk, from the first moment to the end.
//!
//! A file that `automl predict` accepts exists at once: first a constant prediction, then the models of the best candidate's
//! folds, at last the best candidates joined, each fitted on all rows where the time allows that. None of them is ever beyond the
//! limits to the time of a prediction and to the size of the file, but for the constant.

mod second_layer;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use automl_core::{Alone, Cancel, Deadline, Evaluation, Evaluator, Genotype, Observer, Trial};
use automl_ops::ensemble::{self, Candidates, Ensemble};
use automl_ops::evaluator::score;
use automl_ops::limits::{Limits, Measures};
use automl_ops::pipeline::{Pipeline, Shared};
use automl_ops::{About, Metric, Model, TabularEvaluator, Training, Validated};

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
    limits: Limits,
    /// What a file takes that holds no pipeline.
    base: Measures,
    seed: u64,
    out: PathBuf,
    /// Candidates that may be joined.
    members: usize,
    /// What the file holds before anything is found.
    first: Final,
    /// When the search ends, and the run.
    ends: Option<Ends>,
    best: Arc<Mutex<Best>>,
}

/// The end of a search, moved so that the time behind it suffices for the final model, and not much more.
#[derive(Clone)]
pub struct Ends {
    /// When the search ends.
    pub search: Deadline,
    /// When the final model is to be there.
    run: Instant,
    /// The most time that is kept for it.
    most: Duration,
    /// The least time.
    least: Duration,
    /// The most time of that for a second layer.
    stacking: Duration,
}

/// The time that is kept for the final model beside what it is expected to take, where a tenth of the limit is not less: what runs has
/// to stop, and files have to be written.
const LEAST: Duration = Duration::from_millis(400);

impl Ends {
    /// A search that so far leaves the most time that may be left: `most` for the final model, and so much for a second layer.
    pub fn new(run: Instant, most: Duration, stacking: Duration) -> Self {
        let (least, most) = (most.min(LEAST), most + stacking);
        Self { search: run.checked_sub(most).unwrap_or(run).into(), run, most, least, stacking }
    }

    /// Leaves so many seconds.
    fn leave(&self, seconds: f64) {
        let needed =
            Duration::try_from_secs_f64(seconds).unwrap_or(self.most).saturating_add(self.least + self.stacking).min(self.most);
        self.search.move_to(self.run.checked_sub(needed).unwrap_or(self.run));
    }
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
    /// Whether the final model may have it fitted on all rows.
    whole: bool,
}

impl Kept {
    /// What a fit on all rows is expected to take: a little longer than on all folds but one, together with its predictions.
    fn refit_seconds(&self) -> f64 {
        1.5 * self.seconds / self.validated.folds.len().max(1) as f64
    }
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
    pub fn start(
        table: &TabularEvaluator,
        seed: u64,
        out: PathBuf,
        members: usize,
        ends: Option<Ends>,
    ) -> Result<Self, CliError> {
        let first = if out.exists() { Final::Unchanged } else { Final::Constant };
        let (training, metric, limits, base) = (table.training().clone(), table.metric(), table.limits(), table.base());
        let keeper = Self { training, metric, limits, base, seed, out, members, first, ends, best: Arc::default() };
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

    /// Whether the model is limited in what it may take.
    pub fn limited(&self) -> bool {
        self.limits.any()
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
        let (rows, folds, measures) = (Vec::new(), Vec::new(), Measures::default());
        let nothing = Arc::new(Validated { pipelines: Vec::new(), predictions: Vec::new(), rows, folds, measures });
        let mut best = Best::default();
        let found = || recorded.values().filter(|trial| trial.duplicate_of.is_none());
        for trial in found() {
            let Some(loss) = trial.full_loss() else { continue };
            let (genotype, validated) = (trial.genotype.clone(), nothing.clone());
            best.add(
                Kept { loss, score: None, genotype, validated, seconds: 0.0, bytes: 0, whole: true },
                self.members,
                usize::MAX,
            );
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

    /// Has the search end as late as the final model of what is kept now allows.
    fn leave_time(&self, best: &Best) {
        let (Some(ends), Some(first)) = (&self.ends, best.kept.first()) else { return };
        let refits: f64 = best.kept.iter().map(Kept::refit_seconds).sum();
        let (rows, folds) = (first.validated.rows.len(), first.validated.pipelines.len());
        let select = ensemble::seconds(rows, self.training.y.width(), best.kept.len(), 1 + folds);
        ends.leave(refits + select);
    }

    /// Writes the models of the best candidate's folds, but seldom enough that writing takes little of the time.
    fn write_folds(&self, best: &mut Best) {
        let (true, Some(first)) = (best.stale, best.kept.first()) else { return };
        if best.written.is_some_and(|(when, took)| when.elapsed() < (took * 20).max(Duration::from_millis(300))) {
            return;
        }
        let begin = Instant::now();
        let model = Model::new(self.about(first.score), self.fold_models(first).to_vec());
        if !self.fits(&model) {
            return;
        }
        match model.write(&self.out) {
            Ok(()) => best.stale = false,
            Err(error) => output::note(&format!("warning: {error}; the best model is kept in memory")),
        }
        best.written = Some((Instant::now(), begin.elapsed()));
    }

    /// The models of a candidate's folds; where anything is limited one of them, since all together take as much several times.
    fn fold_models<'a>(&self, candidate: &'a Kept) -> &'a [Pipeline] {
        let all = candidate.validated.pipelines.as_slice();
        if self.limits.any() { all.get(..1).unwrap_or(all) } else { all }
    }

    /// Whether the file of a model is within its limit, counted exactly.
    fn fits(&self, model: &Model) -> bool {
        let beyond = |limit: f64| model.file_bytes().is_none_or(|bytes| bytes as f64 > limit);
        !self.limits.model_size.is_some_and(|limit| beyond(limit.bytes()))
    }

    /// Writes the final model: the best candidates joined, as far as that pays and as the limits let them; each fitted on all rows
    /// where that can be done before `deadline`, else with the models of its folds.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(&self, deadline: Option<Instant>, cancel: &Cancel, evaluation: &Evaluations<'_>) -> Result<Made, CliError> {
        let token = cancel.child(deadline);
        let mut kept = std::mem::take(&mut self.lock().kept);
        let floor = self.stack(&mut kept, &token, evaluation);
        loop {
            let Some(made) = self.make(&kept, deadline, &token, evaluation.seed) else {
                return Ok(Made::nothing(Final::Unchanged));
            };
            let (made, model, culprit) = made;
            if self.fits(&model) {
                model.write(&self.out).map_err(|error| self.unwritten(&error))?;
                let model_size = std::fs::metadata(&self.out).map_or(0, |file| file.len()) as f64;
                let measures = made.measures.map(|measures| Measures { model_size, ..measures });
                let score = self.worse(made.score, floor);
                return Ok(Made { score, measures, model: Some(model), ..made });
            }
            // On all rows it takes more than it did on a fold: the largest member gives the model of a fold, or goes.
            match kept.get_mut(culprit).filter(|kept| kept.whole) {
                Some(largest) => largest.whole = false,
                None => drop(kept.remove(culprit)),
            }
        }
    }

    /// The final model of some candidates, best first, and the place of the member that takes most; none where there are none.
    fn make(&self, kept: &[Kept], deadline: Option<Instant>, token: &Cancel, seed: u64) -> Option<(Made, Model, usize)> {
        let best = kept.first()?;
        let Joined { ensemble, chosen_by, honest: score } = self.join(kept, token);
        let culprit = ensemble
            .weights
            .iter()
            .zip(kept)
            .enumerate()
            .filter(|(_, (weight, _))| **weight > 0.0)
            .max_by(|(_, (_, a)), (_, (_, b))| a.validated.measures.model_size.total_cmp(&b.validated.measures.model_size))
            .map_or(0, |(place, _)| place);
        let mut chosen: Vec<(f32, &Kept)> =
            ensemble.weights.iter().copied().zip(kept).filter(|(weight, _)| *weight > 0.0).collect();
        chosen.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut pipelines, mut refitted, mut predict_time) = (Vec::new(), 0, 0.0);
        for (weight, candidate) in &chosen {
            match self.refit(candidate, deadline, token, seed) {
                Some(pipeline) => {
                    refitted += 1;
                    predict_time += candidate.validated.measures.predict_time;
                    pipelines.push((*weight, pipeline));
                }
                None => {
                    let folds = self.fold_models(candidate);
                    predict_time += folds.len() as f64 * candidate.validated.measures.predict_time;
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
        let model = Model::ensemble(self.about(score), pipelines, ensemble.factors);
        let measures = Some(Measures { predict_time, model_size: 0.0 });
        Some((Made { what: made, score, chosen_by, measures, model: None }, model, culprit))
    }

    /// Selects members among the candidates; the best alone where there are no others, or no time.
    fn join(&self, kept: &[Kept], cancel: &Cancel) -> Joined {
        let alone = Joined { ensemble: Ensemble { weights: vec![1.0], factors: Vec::new() }, chosen_by: None, honest: None };
        let Some(first) = kept.first() else { return alone };
        let rows = &first.validated.rows;
        // Candidates of another seed or fidelity hold out other rows.
        let fitting: Vec<&[f32]> = kept.iter().map(|kept| kept.validated.predictions.as_slice()).collect();
        if self.members < 2 || kept.iter().any(|kept| kept.validated.rows != *rows) {
            return alone;
        }
        let truth = self.training.y.take(rows);
        let weights = self.training.weights.as_ref().map(|weights| automl_ops::pipeline::take_weights(weights, rows));
        let measures: Vec<Measures> = kept.iter().map(|kept| kept.validated.measures).collect();
        let candidates = Candidates {
            metric: self.metric,
            truth: &truth,
            weights: weights.as_deref(),
            predictions: &fitting,
            measures: &measures,
            limits: self.limits.without(self.base),
        };
        let ensemble = candidates.select(cancel);
        // Of folds that were drawn several times the first draw alone: the others have the same rows again.
        let folds = match first.validated.folds.get(..first.validated.pipelines.len()) {
            Some([all]) => vec![all / 2, all - all / 2],
            folds => folds.unwrap_or_default().to_vec(),
        };
        // Both scores on the same rows, or they would differ by chance alone.
        let (total, width) = (folds.iter().sum::<usize>(), self.training.y.width());
        let looked_at: Vec<&[f32]> = fitting.iter().map(|values| values.get(..total * width).unwrap_or(values)).collect();
        let rows: Vec<u32> = (0..total as u32).collect();
        let weights_of = weights.as_ref().map(|weights| automl_ops::pipeline::take_weights(weights, &rows));
        let blended = ensemble.blend(&looked_at, width);
        let chosen_by = score(self.metric, &truth.take(&rows), &blended, weights_of.as_deref()).ok();
        let honest = candidates.honest_score(&folds, cancel);
        Joined { ensemble, chosen_by, honest }
    }

    /// The candidate on all rows; none where the time is too short for that, or the model too large.
    fn refit(&self, candidate: &Kept, deadline: Option<Instant>, token: &Cancel, seed: u64) -> Option<Pipeline> {
        let expected = candidate.refit_seconds();
        if !candidate.whole || deadline.is_some_and(|deadline| Instant::now() + Duration::from_secs_f64(expected) >= deadline) {
            return None;
        }
        let fitted = Pipeline::fit_on(&candidate.genotype, &self.training.data(), seed, token, &Shared::nothing());
        fitted.ok().filter(|_| !token.is_cancelled())
    }
}

/// How candidates are evaluated that are made after the search.
pub struct Evaluations<'a> {
    /// As in the study: what is fitted again is what the search saw.
    pub seed: u64,
    /// What judges, where a second layer is to be tried.
    pub second_layer: Option<&'a dyn Evaluator>,
}

/// Members, and how good they are together.
struct Joined {
    ensemble: Ensemble,
    /// The score on the rows that the members were chosen on.
    chosen_by: Option<f64>,
    /// The score on rows that chose neither.
    honest: Option<f64>,
}

/// The final model.
pub struct Made {
    /// What it is.
    pub what: Final,
    /// Its score on rows that neither its models nor its weights saw.
    pub score: Option<f64>,
    /// The score of an ensemble on the rows that chose its members.
    pub chosen_by: Option<f64>,
    /// What it takes to use it.
    pub measures: Option<Measures>,
    /// Itself, where it is a new one.
    pub model: Option<Model>,
}

impl Made {
    /// No new model.
    pub fn nothing(what: Final) -> Self {
        Self { what, score: None, chosen_by: None, measures: None, model: None }
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
                let kept = Kept { loss, score, genotype, validated, seconds: trial.seconds, bytes, whole: true };
                best.add(kept, self.members, self.room() as usize);
                self.leave_time(&best);
            }
        }
        self.write_folds(&mut best);
    }
}
