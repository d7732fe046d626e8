//! A surrogate of the loss over a part of a space, and the expected improvement that it predicts.

use automl_core::rand::Rng;
use automl_core::{Answer, Domain, Point, SearchSpace, Step, Trace};

use super::Surrogate;
use super::forest::Forest;
use super::gp::Gp;

/// A candidate with its outcome.
pub(crate) struct Observation {
    /// The trial that told it.
    pub id: u64,
    /// Its answers.
    pub trace: Trace,
    /// To be minimised; infinite where there is none, which counts as the worst that was seen.
    pub loss: f64,
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
pub(super) enum Column {
    /// A place on the scale of a domain, 0 to 1.
    Number,
    /// The index of one of so many options.
    Options(usize),
}

/// What a surrogate learns from: rows of one number a column, not a number where the question was not asked.
pub(super) struct Data {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<f64>>,
    pub targets: Vec<f64>,
}

/// A surrogate fitted to observations.
pub(crate) struct Model {
    /// By point, its column.
    column_of: Vec<Option<usize>>,
    columns: usize,
    surrogate: Fitted,
    /// The best target.
    best: f64,
    /// Least variance.
    floor: f64,
}

enum Fitted {
    Forest(Forest),
    Gp(Gp),
}

/// Observations that a Gaussian process learns from, at most: the better half of them the best, the others the latest.
const MOST: usize = 300;

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
        let used = match kind {
            Surrogate::Forest => observations.iter().collect(),
            Surrogate::GaussianProcess => fewer(observations, MOST),
        };
        let losses: Vec<f64> = used.iter().map(|seen| seen.loss).collect();
        let mut targets = targets(&losses)?;
        let best = targets.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = targets.iter().sum::<f64>() / targets.len() as f64;
        let spread = targets.iter().map(|target| (target - mean).powi(2)).sum::<f64>() / targets.len() as f64;
        targets.resize(targets.len() + pending.len(), mean);
        let traces: Vec<&Trace> = used.iter().map(|seen| &seen.trace).chain(pending).collect();
        let points = scope.space.points();
        let mut column_of = vec![None; points.len()];
        for step in traces.iter().copied().flatten().filter(|step| (scope.free)(step.point)) {
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
        let count = columns.len();
        let rows = traces.iter().map(|trace| row(points, &column_of, count, trace)).collect();
        let data = Data { columns, rows, targets };
        let surrogate = match kind {
            Surrogate::Forest => Fitted::Forest(Forest::fit(&data, rng)),
            // Arithmetic that fails for one surrogate does not for the other.
            Surrogate::GaussianProcess => Gp::fit(&data).map_or_else(|| Fitted::Forest(Forest::fit(&data, rng)), Fitted::Gp),
        };
        Some(Self { column_of, columns: count, surrogate, best, floor: 1e-6 * spread.max(1e-12) })
    }

    /// The logarithm of the expected improvement on the best observation: Jones, Schonlau and Welch, "Efficient Global
    /// Optimization of Expensive Black-Box Functions", 1998.
    pub fn log_improvement(&self, points: &[Point], trace: &[Step]) -> f64 {
        let row = row(points, &self.column_of, self.columns, trace);
        let (mean, variance) = match &self.surrogate {
            Fitted::Forest(forest) => forest.predict(&row),
            Fitted::Gp(gp) => gp.predict(&row),
        };
        log_improvement(self.best, mean, variance.max(self.floor).sqrt())
    }
}

fn row(points: &[Point], column_of: &[Option<usize>], columns: usize, trace: &[Step]) -> Vec<f64> {
    let mut row = vec![f64::NAN; columns];
    for step in trace {
        if let (Some(Some(column)), Some(point)) = (column_of.get(step.point), points.get(step.point)) {
            row[*column] = match (step.answer, &point.domain) {
                (Answer::Option(index), Domain::Choice(_)) => index as f64,
                (answer, domain) => domain.unit(answer),
            };
        }
    }
    row
}

/// At most so many of the observations: half of them the best, half of them the latest.
fn fewer(observations: &[Observation], most: usize) -> Vec<&Observation> {
    if observations.len() <= most {
        return observations.iter().collect();
    }
    let (old, new) = observations.split_at(observations.len() - most / 2);
    let mut order: Vec<usize> = (0..old.len()).collect();
    order.sort_by(|&a, &b| old[a].loss.total_cmp(&old[b].loss));
    order.truncate(most - new.len());
    order.sort_unstable();
    order.into_iter().map(|at| &old[at]).chain(new).collect()
}

/// Losses on a logarithmic scale that starts a little below the best: there the differences count that are left to be gained.
/// `None` where no loss is finite.
fn targets(losses: &[f64]) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = losses.iter().copied().filter(|loss| loss.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (best, worst) = (*sorted.first()?, *sorted.last()?);
    let mode = std::env::var("B_T").unwrap_or("log".into());
    let c: f64 = std::env::var("B_C").ok().and_then(|c| c.parse().ok()).unwrap_or(0.1);
    if mode == "rank" {
        let n = losses.len() as f64;
        return Some(
            losses
                .iter()
                .map(|l| {
                    let l = l.min(worst);
                    let r = losses.iter().filter(|o| o.min(worst) < l).count() as f64
                        + 0.5 * losses.iter().filter(|o| o.min(worst) == l).count() as f64;
                    probit(r / n)
                })
                .collect(),
        );
    }
    let middle = sorted[sorted.len() / 2];
    let unit = [middle - best, worst - best].into_iter().find(|unit| *unit > 0.0).unwrap_or(1.0);
    if mode == "raw" {
        return Some(losses.iter().map(|l| ((l.min(worst) - best) / unit).min(c * 30.0)).collect());
    }
    Some(losses.iter().map(|loss| ((loss.min(worst) - best) / unit + c).ln()).collect())
}
fn probit(p: f64) -> f64 {
    // crude: bisection
    let (mut a, mut b) = (-6.0, 6.0);
    for _ in 0..40 {
        let m: f64 = 0.5 * (a + b);
        let c = if m < 0.0 {
            mills(m) * (-0.5 * m * m).exp() / (2.0 * std::f64::consts::PI).sqrt()
        } else {
            1.0 - mills(-m) * (-0.5 * m * m).exp() / (2.0 * std::f64::consts::PI).sqrt()
        };
        if c < p { a = m } else { b = m }
    }
    0.5 * (a + b)
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
