//! A surrogate of the loss over a part of a space, and the expected improvement that it predicts.
//!
//! A strategy keeps [`Observation`]s, fits a [`Model`] to them when it is asked, and takes what [`Model::suggest`] says. The
//! [`Scope`] says which questions are open: all of them, or the hyperparameters of one fixed graph, whose other answers are its
//! `base`. Neither step has a side effect, so `ask` stays pure.

use std::borrow::Cow;

use automl_core::rand::Rng;
use automl_core::{Answer, Domain, Point, SearchSpace, Step, Trace};

use super::Surrogate;
use super::ensemble::Ensemble;

/// A candidate with its outcome.
#[derive(Clone)]
pub(crate) struct Observation {
    /// The trial that told it.
    pub id: u64,
    /// Its answers.
    pub trace: Trace,
    /// To be minimised; infinite where there is none, which counts as the worst that was seen.
    pub loss: f64,
    /// Whether the loss is that of a complete trial.
    pub complete: bool,
}

/// The part of a space that is searched.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The space.
    pub space: &'a dyn SearchSpace,
    /// Whether the answer to a point, by its index, may change.
    pub free: &'a dyn Fn(usize) -> bool,
    /// Answers to the points that are not free; those that it lacks are drawn from the space.
    pub base: &'a [Step],
}

impl<'a> Scope<'a> {
    /// The whole space.
    pub fn whole(space: &'a dyn SearchSpace) -> Self {
        Self { space, free: &|_| true, base: &[] }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Column {
    /// A place on the scale of a domain, 0 to 1.
    Number,
    /// The index of one of so many options.
    Options(usize),
}

/// The places of at most so many numbers, in order: half of them the least, half of them the last.
fn best_and_latest(values: &[f64], most: usize) -> Vec<usize> {
    if values.len() <= most {
        return (0..values.len()).collect();
    }
    let old = values.len() - most / 2;
    let mut order: Vec<usize> = (0..old).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order.truncate(most - most / 2);
    order.sort_unstable();
    order.extend(old..values.len());
    order
}

/// What a surrogate learns from: rows of one number a column, not a number where the question was not asked.
#[derive(Clone)]
pub(crate) struct Data {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<f64>>,
    pub targets: Vec<f64>,
}

impl Data {
    /// At most so many of the rows: half of them the best, half of them the latest.
    pub fn fewer(&self, most: usize) -> Cow<'_, Self> {
        if self.rows.len() <= most {
            return Cow::Borrowed(self);
        }
        let used = best_and_latest(&self.targets, most);
        let rows = used.iter().map(|&row| self.rows[row].clone()).collect();
        let targets = used.iter().map(|&row| self.targets[row]).collect();
        Cow::Owned(Self { columns: self.columns.clone(), rows, targets })
    }
}

/// The questions of a space that are columns, in the order of its points.
pub(crate) struct Questions {
    /// By point, its column.
    column_of: Vec<Option<usize>>,
    /// What each column holds.
    pub columns: Vec<Column>,
}

impl Questions {
    /// The questions that `free` takes and some trace answers.
    pub fn of<'a>(points: &[Point], traces: impl Iterator<Item = &'a Trace>, free: &dyn Fn(usize) -> bool) -> Self {
        let mut column_of = vec![None; points.len()];
        for step in traces.flatten().filter(|step| free(step.point)) {
            if let Some(column) = column_of.get_mut(step.point) {
                *column = Some(0);
            }
        }
        let mut columns = Vec::new();
        for (point, column) in points.iter().zip(&mut column_of) {
            if column.is_some() {
                *column = Some(columns.len());
                columns.push(if point.domain.options() > 0 { Column::Options(point.domain.options()) } else { Column::Number });
            }
        }
        Self { column_of, columns }
    }

    /// The row of a trace; not a number where a question was not asked.
    pub fn row(&self, points: &[Point], trace: &[Step]) -> Vec<f64> {
        let mut row = vec![f64::NAN; self.columns.len()];
        for step in trace {
            if let (Some(Some(column)), Some(point)) = (self.column_of.get(step.point), points.get(step.point)) {
                row[*column] = match (step.answer, &point.domain) {
                    (Answer::Option(index), Domain::Choice(_)) => index as f64,
                    (answer, domain) => domain.unit(answer),
                };
            }
        }
        row
    }
}

/// A surrogate fitted to observations.
pub(crate) struct Model {
    questions: Questions,
    surrogate: Ensemble,
    /// The best target.
    best: f64,
    /// Least variance.
    floor: f64,
}

/// Observations that are learnt from, at most: half of them the best, the others the latest.
const MOST: usize = 1_000;
/// What is added to a loss before its logarithm is taken, as a share of the distance between the best and the median.
const OFFSET: f64 = 0.1;

impl Model {
    /// A model of the free points that were asked; `None` where no observation has a loss.
    ///
    /// Each of `pending` counts as an observation of the mean loss: the constant liar of Ginsbourger, Le Riche and Carraro,
    /// "Kriging Is Well-Suited to Parallelize Optimization", 2010.
    pub fn fit(
        kind: Surrogate,
        scope: Scope<'_>,
        observations: &[Observation],
        pending: &[Trace],
        rng: &mut dyn Rng,
    ) -> Option<Self> {
        let losses: Vec<f64> = observations.iter().map(|seen| seen.loss).collect();
        let used: Vec<&Observation> = best_and_latest(&losses, MOST).into_iter().map(|at| &observations[at]).collect();
        let losses: Vec<f64> = used.iter().map(|seen| seen.loss).collect();
        let mut targets = targets(&losses)?;
        let best = targets.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = targets.iter().sum::<f64>() / targets.len() as f64;
        let spread = targets.iter().map(|target| (target - mean).powi(2)).sum::<f64>() / targets.len() as f64;
        targets.resize(targets.len() + pending.len(), mean);
        let traces: Vec<&Trace> = used.iter().map(|seen| &seen.trace).chain(pending).collect();
        let points = scope.space.points();
        let questions = Questions::of(points, traces.iter().copied(), scope.free);
        let rows = traces.iter().map(|trace| questions.row(points, trace)).collect();
        let data = Data { columns: questions.columns.clone(), rows, targets };
        let surrogate = Ensemble::fit(kind, &data, rng);
        Some(Self { questions, surrogate, best, floor: 1e-6 * spread.max(1e-12) })
    }

    /// The logarithm of the expected improvement on the best observation: Jones, Schonlau and Welch, "Efficient Global
    /// Optimization of Expensive Black-Box Functions", 1998.
    pub fn log_improvement(&self, points: &[Point], trace: &[Step]) -> f64 {
        let row = self.questions.row(points, trace);
        let (mean, variance) = self.surrogate.predict(&row);
        log_improvement(self.best, mean, variance.max(self.floor).sqrt())
    }
}

/// Losses on a logarithmic scale that starts a little below the best: there the differences count that are left to be gained.
/// `None` where no loss is finite.
pub(crate) fn targets(losses: &[f64]) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = losses.iter().copied().filter(|loss| loss.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (best, worst) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted[sorted.len() / 2];
    let unit = [middle - best, worst - best].into_iter().find(|unit| *unit > 0.0).unwrap_or(1.0);
    // What failed is as bad as the worst, and worse than the best in any case.
    let failed = if worst > best { worst } else { best + unit };
    Some(losses.iter().map(|loss| ((if loss.is_finite() { *loss } else { failed } - best) / unit + OFFSET).ln()).collect())
}

/// The logarithm of the expected improvement of a normal variable on `best`, right in the far tail as well.
fn log_improvement(best: f64, mean: f64, deviation: f64) -> f64 {
    let z = (best - mean) / deviation;
    let log_density = -0.5 * (z * z + (2.0 * std::f64::consts::PI).ln());
    let log_gain = if z < -20.0 {
        log_density - 2.0 * (-z).ln()
    } else if z < 0.0 {
        log_density + (1.0 + z * mills(z)).ln()
    } else {
        let density = log_density.exp();
        (density + z * (1.0 - mills(-z) * density)).ln()
    };
    log_gain + deviation.ln()
}

/// The distribution function of the standard normal distribution over its density, for `z` of at most 0; to 1.2e-7 of itself
/// (Press et al., "Numerical Recipes", 6.2, `erfcc`).
fn mills(z: f64) -> f64 {
    let x = -z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let terms = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let exponent = terms.iter().fold(0.0, |sum, term| sum * t + term);
    0.5 * t * exponent.exp() * (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use automl_core::{Genotype, Value};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::{distance, pool_space};

    #[test]
    fn expected_improvement_is_that_of_the_tables() {
        // Standard normal: 0.39894 at z = 0, 1.08332 at z = 1, 0.08332 at z = -1.
        for (mean, expected) in [(0.0, 0.398_942), (-1.0, 1.083_315), (1.0, 0.083_315)] {
            assert!((log_improvement(0.0, mean, 1.0).exp() - expected).abs() < 1e-5, "{mean}");
            assert!((log_improvement(0.0, 3.0 * mean, 3.0).exp() - 3.0 * expected).abs() < 3e-5, "{mean}");
        }
        let tail: Vec<f64> = (0..400).map(|z| log_improvement(0.0, f64::from(z) / 10.0, 1.0)).collect();
        assert!(tail.windows(2).all(|pair| pair[1].is_finite() && pair[1] < pair[0]));
    }

    #[test]
    fn targets_keep_the_order_and_bound_what_failed() {
        let scaled = targets(&[3.0, f64::INFINITY, 1.0, 100.0, 2.0]).unwrap();
        assert_eq!(scaled[1], scaled[3]);
        assert!(scaled[2] < scaled[4] && scaled[4] < scaled[0] && scaled[0] < scaled[3]);
        assert!(targets(&[f64::INFINITY]).is_none());
        assert!(targets(&[2.0, 2.0]).unwrap().iter().all(|target| target.is_finite()));
        let alone = targets(&[1.0, f64::INFINITY]).unwrap();
        assert!(alone[0] < alone[1], "what failed is worse than the only one that did not");
    }

    #[test]
    fn of_many_the_best_and_the_latest_are_used() {
        let losses: Vec<f64> = (0..50).map(|at| if at < 10 { f64::from(at) } else { 1e3 - f64::from(at) }).collect();
        assert_eq!(best_and_latest(&losses, 8), [0, 1, 2, 3, 46, 47, 48, 49]);
        assert_eq!(best_and_latest(&losses, 5), [0, 1, 2, 48, 49]);
        assert_eq!(best_and_latest(&losses, 50).len(), 50);
        let rows = losses.iter().map(|loss| vec![*loss]).collect();
        let data = Data { columns: vec![Column::Number], rows, targets: losses };
        let fewer = data.fewer(8);
        assert!(fewer.rows.iter().zip(&fewer.targets).all(|(row, target)| row[0] == *target) && fewer.targets.len() == 8);
        assert_eq!(data.fewer(60).rows.len(), 50);
    }

    #[test]
    fn tunes_the_parameters_of_a_fixed_graph() {
        let space = pool_space();
        let tunable = |genotype: &Genotype| genotype.nodes.iter().any(|node| node.params.contains_key("alpha"));
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let base = (0..100).map(|_| sample(&space, &mut rng).unwrap()).find(tunable).unwrap();
        let trace = space.trace(&base).unwrap();
        let free = |point: usize| space.points()[point].group == "ridge.alpha";
        let scope = Scope { space: &space, free: &free, base: &trace };
        let alpha = |genotype: &Genotype| {
            let values = genotype.nodes.iter().filter_map(|node| match node.params.get("alpha") {
                Some(Value::Float(alpha)) => Some((alpha / 30.0).log10().abs()),
                _ => None,
            });
            values.fold(0.0, f64::max)
        };
        for kind in [Surrogate::Forest, Surrogate::GaussianProcess, Surrogate::Both] {
            let mut seen = vec![Observation { id: 0, trace: trace.clone(), loss: alpha(&base), complete: true }];
            for id in 1..25 {
                let model = Model::fit(kind, scope, &seen, &[], &mut rng).unwrap();
                let found = model.suggest(scope, &seen, 50, &|_| true, &mut rng).unwrap().unwrap().genotype;
                let shape = |genotype: &Genotype| genotype.nodes.iter().map(|node| node.op.clone()).collect::<Vec<_>>();
                assert_eq!(shape(&found), shape(&base));
                seen.push(Observation { id, trace: space.trace(&found).unwrap(), loss: alpha(&found), complete: true });
            }
            let best = seen.iter().map(|seen| seen.loss).fold(f64::INFINITY, f64::min);
            assert!(best < 0.2, "{kind:?}: {best}");
        }
    }

    #[test]
    fn a_pending_candidate_improves_less() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut seen = Vec::new();
        for id in 0..40 {
            let genotype = sample(space.as_ref(), &mut rng).unwrap();
            seen.push(Observation { id, trace: space.trace(&genotype).unwrap(), loss: distance(&genotype), complete: true });
        }
        let scope = Scope::whole(space.as_ref());
        for kind in [Surrogate::Forest, Surrogate::GaussianProcess, Surrogate::Both] {
            let model = Model::fit(kind, scope, &seen, &[], &mut rng).unwrap();
            let best = model.suggest(scope, &seen, 100, &|_| true, &mut rng).unwrap().unwrap().genotype;
            let trace = space.trace(&best).unwrap();
            let again = Model::fit(kind, scope, &seen, std::slice::from_ref(&trace), &mut rng).unwrap();
            assert!(again.log_improvement(space.points(), &trace) < model.log_improvement(space.points(), &trace));
        }
    }
}
