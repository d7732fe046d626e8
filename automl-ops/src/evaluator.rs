//! Judging a pipeline: cross-validation or a holdout, scored by a metric.
//!
//! The folds are fixed by the study's seed and shared by all candidates, with their histogram bins. Nothing is fitted on rows it
//! is scored on: a fold's pipeline sees the fold's training rows alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use automl_core::hash::StableHash;
use automl_core::{Cancel, EvalContext, Evaluation, Evaluator, Genotype, Objective, Price, Stop, Stopwatch};
use rayon::prelude::*;

use crate::cost::Shape;
use crate::frame::Frame;
use crate::goal::{Goal, MODEL_SIZE, PREDICT_TIME};
use crate::limits::{Limits, Measures};
use crate::metrics::{Metric, MetricError, Predictions, Truth};
use crate::model::{About, Model};
use crate::operator::Target;
use crate::pipeline::{self, Cache, CacheStats, Part, Pipeline, PipelineError, Shared, take_weights};
use crate::split;
use crate::training::Training;
use crate::validation::{Splits, Validation};

pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The running half of [`Tabular`](crate::Tabular).
pub struct TabularEvaluator {
    training: Arc<Training>,
    metric: Metric,
    /// The metric first.
    goals: Vec<Goal>,
    limits: Limits,
    /// Bytes of a model file that holds no pipeline.
    base: f64,
    /// The least of each measure among the candidates that were beyond the limits.
    least: Mutex<Option<Measures>>,
    splits: Splits,
    folds: Mutex<BTreeMap<(u64, u64), Folds>>,
    cache: Cache,
    shape: Shape,
    /// One a worker, each of so many threads.
    pools: Mutex<Vec<rayon::ThreadPool>>,
    threads: usize,
}

/// Shared by all candidates of one seed and one fidelity.
type Folds = Arc<Vec<Fold>>;

struct Fold {
    /// The training rows.
    part: Part,
    /// Features of the rows held out.
    held: Frame,
    /// Their target, and how much they count.
    truth: Target,
    weights: Option<Vec<f32>>,
    rows: Vec<u32>,
    /// Tells the fold's rows from all others.
    key: u64,
}

/// One fold of a candidate.
struct FittedFold {
    pipeline: Pipeline,
    predictions: Vec<f32>,
    /// Whether the fit was cut short by its share of the time.
    cut: bool,
}

/// The models of a validated candidate, handed to observers.
pub struct Validated {
    /// One fitted pipeline a fold of the first draw.
    pub pipelines: Vec<Pipeline>,
    /// Predictions for the rows held out, row by row, in the order of `rows`.
    pub predictions: Vec<f32>,
    /// The rows held out.
    pub rows: Vec<u32>,
    /// How many of them each fold holds out, in order; folds that were drawn again hold out the same rows again.
    pub folds: Vec<usize>,
    /// The declared time of one of the pipelines, and what the first of them adds to a model file.
    pub measures: Measures,
}

impl Validated {
    /// About the bytes that the fitted pipelines take.
    pub fn bytes(&self) -> usize {
        self.pipelines.iter().map(Pipeline::bytes).sum()
    }
}

impl TabularEvaluator {
    /// An evaluator for a training table that `workers` threads will use at once; the machine's cores are shared among them.
    ///
    /// # Errors
    /// A metric of another task, or a validation that makes no sense.
    pub fn new(training: Arc<Training>, metric: Option<Metric>, validation: Validation, workers: usize) -> Result<Self, Problem> {
        let task = training.task();
        let metric = metric.unwrap_or(task.default_metric());
        if metric.task() != task {
            let fitting: Vec<&str> =
                Metric::ALL.iter().filter(|metric| metric.task() == task).map(|metric| metric.name()).collect();
            let target = &training.target_column.name;
            return Err(
                format!("the metric `{metric}` does not fit the target `{target}`; use one of {}", fitting.join(", ")).into()
            );
        }
        if let Some(problem) = validation.problem() {
            return Err(automl_core::Error::config("evaluator.validation", problem).into());
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (cores / workers.max(1)).max(1);
        let pools: Result<Vec<_>, _> =
            (0..workers.max(1)).map(|_| rayon::ThreadPoolBuilder::new().num_threads(threads).build()).collect();
        let splits = validation.resolve(training.rows(), training.x.columns().len());
        let cache = Cache::new(cache_bytes(&training));
        let shape = pipeline::shape(&training.x, &training.y);
        let empty = Model::constant(About::new(&training, metric, None, 0), &training.y);
        let base = empty.file_bytes().unwrap_or_default() as f64;
        let (folds, pools, least) = (Mutex::default(), Mutex::new(pools?), Mutex::default());
        let (goals, limits) = (vec![Goal::Metric(metric)], Limits::default());
        Ok(Self { training, metric, goals, limits, base, least, splits, folds, cache, shape, pools, threads })
    }

    /// The same with several objectives, of which the first is the metric, and with limits. No objectives: the metric alone.
    ///
    /// # Errors
    /// An objective of another task, or one that is named twice.
    pub fn aiming(self, objectives: &[Goal], limits: Limits) -> Result<Self, Problem> {
        let bad = |problem: String| automl_core::Error::config("evaluator.objectives", problem);
        for (index, goal) in objectives.iter().enumerate() {
            if objectives[..index].contains(goal) {
                return Err(bad(format!("`{}` is named twice", goal.name())).into());
            }
            if matches!(goal, Goal::Metric(metric) if metric.task() != self.training.task()) {
                return Err(
                    bad(format!("`{}` does not fit the target `{}`", goal.name(), self.training.target_column.name)).into()
                );
            }
        }
        let goals = if objectives.is_empty() { self.goals } else { objectives.to_vec() };
        Ok(Self { goals, limits, ..self })
    }

    /// What a candidate and the final model may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What a model file takes that holds no pipeline.
    pub fn base(&self) -> Measures {
        Measures { predict_time: 0.0, model_size: self.base }
    }

    /// Of the candidates that were beyond the limits, the least time and the least size found, each by itself.
    pub fn least_beyond(&self) -> Option<Measures> {
        *self.least.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what is beyond the limits, and notes how near it came.
    fn within(&self, measures: Measures) -> Result<(), Stop> {
        let Some(problem) = self.limits.problem(measures) else { return Ok(()) };
        let mut least = self.least.lock().unwrap_or_else(PoisonError::into_inner);
        let known = least.unwrap_or(Measures { predict_time: f64::INFINITY, model_size: f64::INFINITY });
        // A candidate that was refused before it was fitted has no size.
        let size = if measures.model_size > 0.0 { measures.model_size } else { f64::INFINITY };
        *least = Some(Measures {
            predict_time: known.predict_time.min(measures.predict_time),
            model_size: known.model_size.min(size),
        });
        Err(Stop::Infeasible(problem))
    }

    /// Measured seconds that a model of this table takes to predict one row, in a batch of up to 1,000 on one thread: the least of
    /// a few tries. For the reader; none where it cannot be measured.
    pub fn measured_predict_time(&self, model: &Model, cancel: &Cancel) -> Option<f64> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?;
        let rows: Vec<u32> = (0..self.training.rows().min(1_000) as u32).collect();
        let part = self.training.x.take(&rows);
        let mut best = f64::INFINITY;
        let begin = Stopwatch::start();
        for _ in 0..5 {
            let once = Stopwatch::start();
            pool.install(|| model.pipelines().try_for_each(|pipeline| pipeline.predict(&part, cancel).map(drop))).ok()?;
            best = best.min(once.seconds());
            if begin.seconds() > 0.02 {
                break;
            }
        }
        Some(best / rows.len().max(1) as f64).filter(|seconds| seconds.is_finite())
    }

    /// What the candidates shared so far.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Bytes that the table, its folds and the shared work take at most, as a number of sizes alone.
    pub fn held_bytes(&self) -> u64 {
        let copies = match self.splits {
            Splits::Folds { count, repeats } => repeats * count.min(self.training.rows()),
            Splits::Holdout { .. } => 1,
        };
        (self.training.x.bytes() * (1 + copies) + self.cache.limit()) as u64
    }

    /// Gives back folds and shared work, for what comes after a search; both would be made again if they were asked for.
    pub fn release(&self) {
        self.cache.clear();
        self.folds.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The metric that decides.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The training table.
    pub fn training(&self) -> &Arc<Training> {
        &self.training
    }

    /// Runs work on one of the evaluator's thread pools: no more threads than cores are ever busy.
    pub fn on_pool<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        /// Gives the pool back even where the work panics.
        struct Lent<'a>(&'a Mutex<Vec<rayon::ThreadPool>>, Option<rayon::ThreadPool>);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(self.1.take());
            }
        }
        let free = self.pools.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lent = Lent(&self.pools, free);
        match &lent.1 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    fn folds(&self, seed: u64, fidelity: f64) -> Folds {
        let mut cache = self.folds.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(self.make_folds(StableHash::new("folds").number(seed).finish(), fidelity));
        cache.entry((seed, fidelity.to_bits())).or_insert_with(make).clone()
    }

    fn make_folds(&self, seed: u64, fidelity: f64) -> Vec<Fold> {
        let Training { x, y, .. } = self.training.as_ref();
        let data = self.training.data();
        let rows = x.rows();
        let held = self.splits.held(y, seed);
        let fold = |(index, held): (usize, Vec<u32>)| {
            let mut kept = split::complement(rows, &held);
            if fidelity < 1.0 {
                // The first of as many stratified folds as make up the share.
                let target = y.take(&kept);
                let parts = pipeline::folds(&target, 32.min(kept.len()), seed);
                let count = ((fidelity * parts.len() as f64).ceil() as usize).clamp(1, parts.len());
                let mut part: Vec<u32> = parts.into_iter().take(count).flatten().collect();
                part.sort_unstable();
                kept = part.into_iter().filter_map(|index| kept.get(index as usize).copied()).collect();
            }
            let key = StableHash::new("fold").number(self.training.fingerprint).number(seed).number(fidelity.to_bits());
            let (truth, weights) = (y.take(&held), data.weights.map(|weights| take_weights(weights, &held)));
            Fold {
                part: data.take(&kept),
                held: x.take(&held),
                truth,
                weights,
                rows: held,
                key: key.number(index as u64).finish(),
            }
        };
        held.into_iter().filter(|held| !held.is_empty() && held.len() < rows).enumerate().map(fold).collect()
    }

    /// Some folds of a candidate side by side, in their order; so many others follow.
    fn fit_folds(
        &self,
        genotype: &Genotype,
        folds: &[Fold],
        others: usize,
        seed: u64,
        cancel: &Cancel,
    ) -> Vec<Result<FittedFold, Stop>> {
        let failed = AtomicUsize::new(folds.len());
        // Each wave gets its share of the trial's time: an ensemble that is cut then is still a model with a score.
        let share = cancel.share(1 + others.div_ceil(self.threads));
        let fit = |(index, fold): (usize, &Fold)| {
            // The first fold that fails speaks for the candidate; those before it have to be seen, those behind it do not.
            if failed.load(Ordering::Relaxed) < index {
                return Err(Stop::Cancelled);
            }
            let result = self.fit_fold(genotype, fold, seed, cancel, &share);
            if result.is_err() {
                failed.fetch_min(index, Ordering::Relaxed);
            }
            result
        };
        folds.par_iter().enumerate().map(fit).collect()
    }

    fn fit_fold(&self, genotype: &Genotype, fold: &Fold, seed: u64, cancel: &Cancel, share: &Cancel) -> Result<FittedFold, Stop> {
        let shared = Shared::new(&self.cache, fold.key);
        let pipeline = Pipeline::fit_on(genotype, &fold.part.data(), seed, share, &shared).map_err(stop)?;
        let cut = share.is_cancelled();
        // What a fit that was cut short says must not be shared.
        let shared = if cut { Shared::nothing() } else { shared };
        let predictions = pipeline.predict_on(&fold.held, cancel, &shared).map_err(stop)?;
        let width = self.training.y.width();
        if predictions.len() != fold.rows.len() * width || predictions.iter().any(|value| !value.is_finite()) {
            return Err(Stop::Failed("a prediction is not a finite number".into()));
        }
        Ok(FittedFold { pipeline, predictions, cut })
    }

    /// Whether a draw of folds is so cheap that it is seen through to its end: the mean over all of it decides a race better than
    /// that over its first fold, and what would be saved is about what asking for the next candidate takes.
    fn is_cheap(&self, genotype: &Genotype, fidelity: f64) -> bool {
        let repeats = match self.splits {
            Splits::Folds { repeats, .. } => repeats as f64,
            Splits::Holdout { .. } => 1.0,
        };
        self.price(genotype, fidelity).is_some_and(|price| price.seconds / repeats < CHEAP)
    }

    fn objective(&self) -> Objective {
        Goal::Metric(self.metric).objective()
    }

    fn score(&self, metric: Metric, rows: &[u32], predictions: &[f32]) -> Result<f64, MetricError> {
        let weights = self.training.weights.as_ref().map(|weights| take_weights(weights, rows));
        score(metric, &self.training.y.take(rows), predictions, weights.as_deref())
    }
}

/// Expected seconds of a draw of folds that no race cuts short. Arithmetic, so that it is the same in each run.
const CHEAP: f64 = 0.01;

/// Bytes for shared work: twice the features, with a floor that small tables can use and a ceiling.
fn cache_bytes(training: &Training) -> usize {
    let cells = training.x.rows() * training.x.columns().len();
    (8 * cells).clamp(32 << 20, 1 << 30)
}

/// The score of predictions (row by row, as wide as the target) against a target.
///
/// # Errors
/// [`MetricError`] where the score is undefined.
pub fn score(metric: Metric, truth: &Target, predictions: &[f32], weights: Option<&[f32]>) -> Result<f64, MetricError> {
    match truth {
        Target::Classes { codes, classes } => {
            let predictions = Predictions::Probabilities { values: predictions, classes: *classes };
            metric.score(Truth::Classes(codes), predictions, weights)
        }
        Target::Values(values) => {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            metric.score(Truth::Values(&values), Predictions::Values(predictions), weights)
        }
    }
}

fn stop(error: PipelineError) -> Stop {
    match error {
        PipelineError::Cancelled => Stop::Cancelled,
        error => Stop::Infeasible(error.to_string()),
    }
}

impl Evaluator for TabularEvaluator {
    fn objectives(&self) -> Vec<Objective> {
        self.goals.iter().map(|goal| goal.objective()).collect()
    }

    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let rows = self.training.rows() as f64;
        let (folds, share) = match self.splits {
            Splits::Folds { count, repeats } => ((repeats * count) as f64, 1.0 - 1.0 / count as f64),
            Splits::Holdout { fraction } => (1.0, 1.0 - fraction),
        };
        let shape = Shape { rows: (rows * share * fidelity).max(1.0), ..self.shape };
        let fold = pipeline::price(genotype, shape)?;
        // Of one fold, however many run side by side: what is refused must not depend on the number of workers.
        Some(Price { seconds: folds * fold.seconds, bytes: fold.bytes })
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let (seed, cancel) = (cx.seed(), cx.cancel().clone());
        let predict_time = pipeline::row_seconds(genotype, self.shape).unwrap_or_default();
        // The time is known before anything is fitted.
        self.within(Measures { predict_time, model_size: 0.0 })?;
        let folds = self.folds(seed, cx.fidelity());
        if folds.is_empty() {
            return Err(Stop::Infeasible("the table has too few rows to hold any out".into()));
        }
        let measures = Measures { predict_time, model_size: 0.0 };
        let mut found =
            Validated { pipelines: Vec::new(), predictions: Vec::new(), rows: Vec::new(), folds: Vec::new(), measures };
        let (mut by_fold, mut cut, mut covered) = (Vec::new(), 0, 0);
        let whole_draw = self.is_cheap(genotype, cx.fidelity());
        let mut left = folds.as_slice();
        while !left.is_empty() {
            // As many at once as there are threads, so that a candidate that falls behind is given up early.
            let (wave, rest) = left.split_at(self.threads.min(left.len()));
            for (fold, fitted) in wave.iter().zip(self.on_pool(|| self.fit_folds(genotype, wave, rest.len(), seed, &cancel))) {
                let FittedFold { pipeline, predictions, cut: early } = fitted?;
                cut += u32::from(early);
                if found.folds.is_empty() {
                    found.measures.model_size = pipeline.file_bytes() as f64;
                    self.within(found.measures + self.base())?;
                }
                if let Ok(score) = score(self.metric, &fold.truth, &predictions, fold.weights.as_deref()) {
                    let told = cx.report(found.folds.len() as u64, &[self.objective().loss(score)]);
                    // With the last fold done, nothing is left to stop.
                    let last = found.folds.len() + 1 == folds.len();
                    let in_draw = whole_draw && covered + fold.rows.len() < self.training.rows();
                    if !(last || in_draw && matches!(told, Err(Stop::Pruned(_)))) {
                        told?;
                    }
                    by_fold.push(score);
                }
                // One draw of folds makes a model of the whole; the others only tell how good it is.
                if covered < self.training.rows() {
                    found.pipelines.push(pipeline);
                    covered += fold.rows.len();
                }
                found.predictions.extend(predictions);
                found.rows.extend(&fold.rows);
                found.folds.push(fold.rows.len());
            }
            left = rest;
        }
        let score = match self.metric {
            // Models of different folds need not be calibrated alike, so ranks are compared within a fold.
            Metric::RocAuc if !by_fold.is_empty() => by_fold.iter().sum::<f64>() / by_fold.len() as f64,
            metric => self.score(metric, &found.rows, &found.predictions).map_err(|error| Stop::Failed(error.to_string()))?,
        };
        // The area under a curve takes a sort, and means less over all folds at once.
        let wanted = |metric: Metric| metric != Metric::RocAuc || self.goals.contains(&Goal::Metric(metric));
        let others = Metric::ALL.into_iter().filter(|metric| metric.task() == self.training.task() && wanted(*metric));
        let mut metrics: BTreeMap<String, f64> = others
            .filter_map(|metric| Some((metric.name().to_owned(), self.score(metric, &found.rows, &found.predictions).ok()?)))
            .collect();
        metrics.insert(self.metric.name().to_owned(), score);
        metrics.insert(PREDICT_TIME.to_owned(), predict_time);
        metrics.insert(MODEL_SIZE.to_owned(), self.base + found.measures.model_size);
        if cut > 0 {
            metrics.insert("folds_cut_by_time".to_owned(), f64::from(cut));
        }
        let of_goal = |goal: &Goal| Some(goal.objective().loss(*metrics.get(goal.name())?));
        let losses: Option<Vec<f64>> = self.goals.iter().map(of_goal).collect();
        let losses = losses.ok_or_else(|| Stop::Failed("an objective is undefined on the rows held out".into()))?;
        Ok(Evaluation { losses, metrics, artifact: Some(Arc::new(found)) })
    }
}
