//! Joining the candidates of a search: greedy selection with replacement on out-of-fold predictions (Caruana et al., ICML 2004).
//!
//! The prediction of an ensemble is the weighted mean of its members' predictions. For metrics of decisions (accuracy, balanced
//! accuracy, F1) every class may get a factor as well, which moves the border between the classes; the factors come from a
//! family with one free number, powers of the classes' frequencies, since more would learn the noise of small tables.

use automl_core::Cancel;

use crate::evaluator::score;
use crate::limits::{Limits, Measures};
use crate::metrics::Metric;
use crate::operator::Target;
use crate::pipeline::take_weights;

/// Most members drawn, with replacement.
const DRAWS: usize = 40;
/// Draws without a gain after which the selection ends.
const PATIENCE: usize = 6;
/// Rows that a selection looks at, at most; it takes every second, third … row of more.
const ROWS: usize = 10_000;
/// Seconds that the loss of a blend takes a number of it, about.
const CELL: f64 = 8e-9;
/// Powers of the class frequencies that are tried as factors.
const POWERS: [f64; 6] = [0.0, -0.25, -0.5, -0.75, -1.0, 0.25];

/// Seconds that so many selections are expected to take, of so many candidates on so many rows, `width` numbers each.
pub fn seconds(rows: usize, width: usize, candidates: usize, selections: usize) -> f64 {
    let cells = (rows.min(ROWS) * width) as f64;
    CELL * cells * (DRAWS * candidates * selections) as f64
}

/// The members' weights, and what becomes of their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// One weight a member, 0 for those left out; together 1.
    pub weights: Vec<f32>,
    /// One factor a class by which probabilities are multiplied; empty where they stay as they are.
    pub factors: Vec<f32>,
}

/// What members are selected on: their out-of-fold predictions.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    /// The score to improve.
    pub metric: Metric,
    /// The target of the rows.
    pub truth: &'a Target,
    /// How much each row counts.
    pub weights: Option<&'a [f32]>,
    /// For each candidate its predictions row by row, as wide as the target. The first is the one to start from.
    pub predictions: &'a [&'a [f32]],
    /// What each candidate takes as a part of the model, in the same order; may be empty where nothing is limited.
    pub measures: &'a [Measures],
    /// The most that the members may take together; the first candidate is taken whatever it takes.
    pub limits: Limits,
}

impl Candidates<'_> {
    /// Selects members; the first candidate alone where nothing is gained.
    pub fn select(&self, cancel: &Cancel) -> Ensemble {
        let step = self.truth.len().div_ceil(ROWS).max(1) as u32;
        let rows: Vec<u32> = (0..self.truth.len() as u32).step_by(step as usize).collect();
        self.select_on(&rows, cancel)
    }

    /// The score of a selection, each row's members and factors chosen without looking at it: on each of the parts (of
    /// consecutive rows, by their lengths) the selection on the others is scored. Rows behind the last part are not looked at.
    ///
    /// None where the score is undefined, or where cancelled.
    pub fn honest_score(&self, parts: &[usize], cancel: &Cancel) -> Option<f64> {
        let width = self.truth.width();
        let total = parts.iter().sum::<usize>().min(self.truth.len()) as u32;
        let mut blended = vec![0.0; total as usize * width];
        let mut first = 0;
        for &part in parts {
            let held = first..(first + part as u32).min(total);
            first = held.end;
            let others = || (0..total).filter(|row| !held.contains(row));
            let step = others().count().div_ceil(ROWS).max(1);
            let others: Vec<u32> = others().step_by(step).collect();
            let ensemble = self.select_on(&others, cancel);
            if cancel.is_cancelled() {
                return None;
            }
            let place = held.start as usize * width..held.end as usize * width;
            let parts: Vec<&[f32]> = self.predictions.iter().map(|values| values.get(place.clone()).unwrap_or(&[])).collect();
            if let Some(to) = blended.get_mut(place) {
                to.copy_from_slice(&ensemble.blend(&parts, width));
            }
        }
        let rows: Vec<u32> = (0..total).collect();
        let weights = self.weights.map(|weights| take_weights(weights, &rows));
        score(self.metric, &self.truth.take(&rows), &blended, weights.as_deref()).ok()
    }

    fn measures_of(&self, index: usize) -> Measures {
        self.measures.get(index).copied().unwrap_or_default()
    }

    fn select_on(&self, rows: &[u32], cancel: &Cancel) -> Ensemble {
        let width = self.truth.width();
        let judge = Judge::new(self, rows);
        let members: Vec<Vec<f32>> = self.predictions.iter().map(|values| take_rows(values, rows, width)).collect();
        let alone = || Ensemble { weights: one_hot(0, members.len()), factors: Vec::new() };
        let Some(first) = members.first() else { return alone() };
        let mut counts = vec![0_u32; members.len()];
        let mut taken = Measures::default();
        let (mut sum, mut best) = (vec![0.0_f32; first.len()], (f64::INFINITY, counts.clone()));
        let mut blend = vec![0.0; first.len()];
        for draw in 1..=DRAWS {
            let mut found: Option<(f64, usize)> = None;
            // The first draw is the candidate that is best by its own score, which the caller puts first.
            let open = if draw == 1 { 0..1 } else { 0..members.len() };
            for index in open {
                if cancel.is_cancelled() {
                    break;
                }
                if draw > 1 && counts[index] == 0 && !self.limits.allow(taken + self.measures_of(index)) {
                    continue;
                }
                for ((to, sum), value) in blend.iter_mut().zip(&sum).zip(&members[index]) {
                    *to = (sum + value) / draw as f32;
                }
                let loss = judge.loss(&blend);
                if found.is_none_or(|(least, _)| loss < least) {
                    found = Some((loss, index));
                }
            }
            let Some((loss, index)) = found else { break };
            if counts[index] == 0 {
                taken = taken + self.measures_of(index);
            }
            counts[index] += 1;
            sum.iter_mut().zip(&members[index]).for_each(|(sum, value)| *sum += value);
            if loss < best.0 {
                best = (loss, counts.clone());
            } else if counts.iter().sum::<u32>() >= best.1.iter().sum::<u32>() + PATIENCE as u32 {
                break;
            }
        }
        let total: u32 = best.1.iter().sum();
        if total == 0 {
            return alone();
        }
        let weights: Vec<f32> = best.1.iter().map(|&count| count as f32 / total as f32).collect();
        let ensemble = Ensemble { weights, factors: Vec::new() };
        let parts: Vec<&[f32]> = members.iter().map(Vec::as_slice).collect();
        let factors = judge.factors(&ensemble.blend(&parts, width), cancel);
        Ensemble { factors, ..ensemble }
    }
}

impl Ensemble {
    /// The ensemble's prediction from those of all candidates.
    pub fn blend(&self, predictions: &[&[f32]], width: usize) -> Vec<f32> {
        let mut blended = vec![0.0; predictions.first().map_or(0, |values| values.len())];
        for (weight, values) in self.weights.iter().zip(predictions).filter(|(weight, _)| **weight > 0.0) {
            blended.iter_mut().zip(*values).for_each(|(to, value)| *to += weight * value);
        }
        adjust(&mut blended, &self.factors, width);
        blended
    }
}

/// Multiplies the probabilities of every row by the factors of the classes, and makes them sum to 1 again.
pub fn adjust(values: &mut [f32], factors: &[f32], width: usize) {
    if factors.len() != width || width == 0 {
        return;
    }
    for row in values.chunks_exact_mut(width) {
        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        let sum: f32 = row.iter().sum();
        if sum > 0.0 {
            row.iter_mut().for_each(|value| *value /= sum);
        }
    }
}

fn one_hot(at: usize, len: usize) -> Vec<f32> {
    (0..len).map(|index| if index == at { 1.0 } else { 0.0 }).collect()
}

fn take_rows(values: &[f32], rows: &[u32], width: usize) -> Vec<f32> {
    rows.iter().flat_map(|&row| values.get(row as usize * width..(row as usize + 1) * width).unwrap_or(&[])).copied().collect()
}

/// Scores blends on fixed rows.
struct Judge {
    metric: Metric,
    truth: Target,
    weights: Option<Vec<f32>>,
    /// For metrics of decisions: weights by which every class counts the same, and how much their log loss counts. It tells
    /// blends apart that decide alike, and outweighs what is within the noise of the decisions.
    smooth: Option<(Vec<f32>, f64)>,
    /// Share of each class.
    shares: Vec<f64>,
}

impl Judge {
    fn new(candidates: &Candidates<'_>, rows: &[u32]) -> Self {
        let truth = candidates.truth.take(rows);
        let weights = candidates.weights.map(|weights| take_weights(weights, rows));
        let (mut shares, mut smooth) = (Vec::new(), None);
        if let (Target::Classes { codes, classes }, true) = (&truth, decides(candidates.metric)) {
            shares = vec![0.0; *classes];
            for &code in codes {
                shares[code as usize] += 1.0 / codes.len() as f64;
            }
            let even = matches!(candidates.metric, Metric::BalancedAccuracy | Metric::F1);
            let weight = |row: usize, code: u32| {
                let own = weights.as_ref().map_or(1.0, |weights| weights[row]);
                own / if even { shares[code as usize] as f32 * *classes as f32 } else { 1.0 }
            };
            let balanced = codes.iter().enumerate().map(|(row, &code)| weight(row, code)).collect();
            smooth = Some((balanced, 1.0 / (codes.len() as f64).sqrt()));
        }
        Self { metric: candidates.metric, truth, weights, smooth, shares }
    }

    fn loss(&self, blend: &[f32]) -> f64 {
        let value = score(self.metric, &self.truth, blend, self.weights.as_deref());
        let Ok(value) = value else { return f64::INFINITY };
        let loss = if self.metric.maximize() { -value } else { value };
        let smooth = self
            .smooth
            .as_ref()
            .map_or(0.0, |(weights, share)| share * score(Metric::LogLoss, &self.truth, blend, Some(weights)).unwrap_or(0.0));
        loss + smooth
    }

    /// The factors that help most; none where they do not help.
    fn factors(&self, blend: &[f32], cancel: &Cancel) -> Vec<f32> {
        if self.shares.is_empty() {
            return Vec::new();
        }
        let mut best = (f64::INFINITY, Vec::new());
        for power in POWERS {
            let factors: Vec<f32> = self.shares.iter().map(|share| share.max(1e-6).powf(power) as f32).collect();
            let mut adjusted = blend.to_vec();
            adjust(&mut adjusted, &factors, self.shares.len());
            let loss = self.loss(&adjusted);
            if loss < best.0 && !cancel.is_cancelled() {
                best = (loss, if power == 0.0 { Vec::new() } else { factors });
            }
        }
        best.1
    }
}

/// Whether a metric looks at decisions instead of probabilities.
fn decides(metric: Metric) -> bool {
    matches!(metric, Metric::Accuracy | Metric::BalancedAccuracy | Metric::F1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_cancel_each_other() {
        let truth = Target::Values((0..60).map(f64::from).collect());
        let shifted = |by: f32| (0..60).map(|row| row as f32 + by + (row % 7) as f32 * by * 0.1).collect::<Vec<f32>>();
        let (high, low, poor) = (shifted(1.0), shifted(-1.1), shifted(9.0));
        let predictions: [&[f32]; 3] = [&high, &low, &poor];
        let candidates = Candidates {
            metric: Metric::Rmse,
            truth: &truth,
            weights: None,
            predictions: &predictions,
            measures: &[],
            limits: Limits::default(),
        };
        let ensemble = candidates.select(&Cancel::new());
        assert!(ensemble.weights[0] > 0.4 && ensemble.weights[1] > 0.4 && ensemble.weights[2] == 0.0, "{ensemble:?}");
        assert_eq!(ensemble.weights.iter().sum::<f32>(), 1.0);
        let honest = candidates.honest_score(&[20, 20, 20], &Cancel::new()).unwrap();
        assert!(honest < 0.2, "{honest}");
    }

    #[test]
    fn members_keep_to_the_limits_together() {
        let truth = Target::Values((0..60).map(f64::from).collect());
        let shifted = |by: f32| (0..60).map(|row| row as f32 + by).collect::<Vec<f32>>();
        let (high, low, lower) = (shifted(1.0), shifted(-1.0), shifted(-2.0));
        let predictions: [&[f32]; 3] = [&high, &low, &lower];
        let of = |model_size: f64| Measures { predict_time: 1e-6, model_size };
        let select = |limits: Limits| {
            let measures = [of(4e6), of(4e6), of(1e6)];
            let parts = Candidates {
                metric: Metric::Rmse,
                truth: &truth,
                weights: None,
                predictions: &predictions,
                measures: &measures,
                limits,
            };
            parts.select(&Cancel::new()).weights
        };
        assert_eq!(select(Limits::default()), [0.5, 0.5, 0.0], "the best pair");
        let small = Limits { model_size: "5MB".parse().ok(), ..Limits::default() };
        let weights = select(small);
        assert!(weights[1] == 0.0 && weights[2] > 0.2, "the pair that fits: {weights:?}");
        let quick = Limits { predict_time: "1us".parse().ok(), ..Limits::default() };
        assert_eq!(select(quick), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn factors_move_the_border_where_decisions_count() {
        // One row in ten is of class 1, and the probabilities are honest: an even border never chooses it.
        let codes: Vec<u32> = (0..1_000).map(|row| u32::from(row % 10 == 0)).collect();
        let probability = |row: usize| if row.is_multiple_of(10) { 0.3 } else { 0.05 + 0.01 * (row % 20) as f32 };
        let values: Vec<f32> = (0..1_000).flat_map(|row| [1.0 - probability(row), probability(row)]).collect();
        let truth = Target::Classes { codes, classes: 2 };
        let select = |metric| {
            let predictions: [&[f32]; 1] = [&values];
            Candidates {
                metric,
                truth: &truth,
                weights: None,
                predictions: &predictions,
                measures: &[],
                limits: Limits::default(),
            }
            .select(&Cancel::new())
        };
        let ensemble = select(Metric::BalancedAccuracy);
        let score = score(Metric::BalancedAccuracy, &truth, &ensemble.blend(&[&values], 2), None).unwrap();
        assert!(score > 0.8, "{score} {ensemble:?}");
        assert!(select(Metric::LogLoss).factors.is_empty());
    }

    #[test]
    fn what_is_cancelled_or_undefined_is_the_first_candidate() {
        let truth = Target::Values(vec![1.0, 2.0]);
        let cancel = Cancel::new();
        cancel.cancel();
        let values: [&[f32]; 2] = [&[1.0, 2.0], &[2.0, 1.0]];
        let candidates = Candidates {
            metric: Metric::Rmse,
            truth: &truth,
            weights: None,
            predictions: &values,
            measures: &[],
            limits: Limits::default(),
        };
        assert_eq!(candidates.select(&cancel).weights, [1.0, 0.0]);
        assert_eq!(candidates.honest_score(&[1, 1], &cancel), None);
    }
}
