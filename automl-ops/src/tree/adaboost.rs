//! AdaBoost on shallow histogram trees: SAMME for classes, AdaBoost.R2 for values.
//!
//! A tree of classes votes with the log odds of its being right. Votes are log odds only on paper: probabilities are the softmax
//! of the votes times a factor of at most 1, under which a fifth of the rows is likeliest for trees that learn from the other
//! rows. Zhu, Zou, Rosset and Hastie,
//! *Multi-class AdaBoost*, 2009; Drucker, *Improving regressors using boosting techniques*, 1997.

use std::sync::Arc;

use automl_core::Cancel;
use rand::Rng;

use super::bins::Bins;
use super::forest::{self, ForestParams};
use super::model::Trees;
use super::parts::{integers, invalid, numbers};
use super::{PartData, Parts, Raw, Target, TreeError, checked_rows, stream};

/// How a booster learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaboostParams {
    /// Trees, at most; a tree that errs on no row, or as often as a guess, is the last.
    pub rounds: usize,
    /// Factor of the trees' votes, above 0.
    pub learning_rate: f64,
    /// Splits from the root to a leaf of a tree, at most.
    pub max_depth: usize,
}

/// A fitted booster.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaboost {
    /// A leaf of classes has its vote at the class that it names.
    trees: Trees,
    /// Values: how much each tree counts in the median. Classes: the factor of the votes.
    weights: Vec<f32>,
    classes: bool,
}

/// Boosts on all rows of `bins`, whose raw values are `columns`. Cancelled, it gives the trees that are finished.
///
/// # Errors
/// Inputs that do not belong together, no rows, or cancelled before the first tree was finished.
pub fn fit(
    bins: &[Arc<Bins>],
    columns: &[Raw<'_>],
    target: Target<'_>,
    weights: Option<&[f32]>,
    params: &AdaboostParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<Adaboost, TreeError> {
    let rows = checked_rows(bins, None, &target, weights)?;
    let tree = ForestParams { max_depth: Some(params.max_depth), ..ForestParams::single_tree() };
    let job = Job { bins, columns, tree, params, rows, seed, cancel };
    let start: Vec<f64> = job.rows.iter().map(|&row| weights.map_or(1.0, |weights| f64::from(weights[row as usize]))).collect();
    match target {
        Target::Classes { codes, classes } => {
            let (trees, votes) = job.classes(codes, classes, start.clone())?;
            let factor = match job.held_out(codes, classes, &start) {
                Some(factor) => factor,
                None => sharpness(&votes, classes, codes, (&job.rows, &start), cancel),
            };
            Ok(Adaboost { trees, weights: vec![factor as f32], classes: true })
        }
        Target::Values(values) => job.values(values, start),
    }
}

/// Rows from which a fifth of them is held out to find the factor of the votes.
const FEW_ROWS: usize = 50;

struct Job<'a> {
    bins: &'a [Arc<Bins>],
    columns: &'a [Raw<'a>],
    tree: ForestParams,
    params: &'a AdaboostParams,
    rows: Vec<u32>,
    seed: u64,
    cancel: &'a Cancel,
}

impl Job<'_> {
    /// The factor of the votes by rows that the trees did not see; `None` for few rows and where it was cancelled.
    fn held_out(&self, codes: &[u32], classes: usize, start: &[f64]) -> Option<f64> {
        if self.rows.len() < FEW_ROWS {
            return None;
        }
        let mut rng = stream(self.seed, 0);
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        let (mut held, mut held_weights) = (Vec::new(), Vec::new());
        for (&row, &weight) in self.rows.iter().zip(start) {
            let out = rng.next_u32().is_multiple_of(5);
            (if out { &mut held } else { &mut rows }).push(row);
            (if out { &mut held_weights } else { &mut weights }).push(weight);
        }
        if held.is_empty() || rows.is_empty() {
            return None;
        }
        let job = Job { rows, tree: self.tree.clone(), ..*self };
        let (_, votes) = job.classes(codes, classes, weights).ok()?;
        (!self.cancel.is_cancelled()).then(|| sharpness(&votes, classes, codes, (&held, &held_weights), self.cancel))
    }

    /// The trees, and their votes on all rows of the table.
    fn classes(&self, codes: &[u32], classes: usize, mut weights: Vec<f64>) -> Result<(Trees, Vec<f64>), TreeError> {
        let mut all = Trees::new(self.bins, classes);
        let mut votes = vec![0.0f64; codes.len() * classes];
        let mut spread = vec![0.0f32; codes.len()];
        for round in 0..self.params.rounds.max(1) {
            normalise(&mut weights);
            // Small numbers would vanish as 32-bit floats.
            let scale = self.rows.len() as f64;
            self.rows.iter().zip(&weights).for_each(|(&row, weight)| spread[row as usize] = (weight * scale) as f32);
            let target = Target::Classes { codes, classes };
            let grown = forest::fit(self.bins, None, target, Some(&spread), &self.tree, self.seed, self.cancel);
            let Some(grown) = self.finished(grown, round)? else { break };
            let Some(said) = self.finished(grown.predict(self.columns, self.cancel), round)? else { break };
            let said = |row: u32| largest(&said[row as usize * classes..][..classes]);
            let wrong = |row: u32| said(row) != codes[row as usize] as usize;
            let error: f64 = self.rows.iter().zip(&weights).filter(|(row, _)| wrong(**row)).map(|(_, weight)| weight).sum();
            let guess = 1.0 - 1.0 / classes.max(2) as f64;
            if error >= guess && round > 0 {
                break;
            }
            let others = (classes.max(2) - 1) as f64;
            let held = error.clamp(1e-6, guess - 1e-6);
            let vote = self.params.learning_rate * (((1.0 - held) / held).ln() + others.ln());
            self.rows.iter().zip(&mut weights).filter(|(row, _)| wrong(**row)).for_each(|(_, weight)| *weight *= vote.exp());
            votes.chunks_exact_mut(classes).zip(0..).for_each(|(votes, row)| votes[said(row)] += vote);
            let mut tree = grown.into_trees();
            for leaf in tree.leaves.chunks_exact_mut(classes) {
                let class = largest(leaf);
                leaf.fill(0.0);
                leaf[class] = vote as f32;
            }
            all.append(tree);
            if error <= 0.0 || error >= guess {
                break;
            }
        }
        Ok((all, votes))
    }

    fn values(&self, values: &[f32], mut weights: Vec<f64>) -> Result<Adaboost, TreeError> {
        let mut all = Trees::new(self.bins, 1);
        let mut counts = Vec::new();
        for round in 0..self.params.rounds.max(1) {
            normalise(&mut weights);
            let drawn = self.draw(&weights, round);
            let grown = forest::fit(self.bins, Some(&drawn), Target::Values(values), None, &self.tree, self.seed, self.cancel);
            let Some(grown) = self.finished(grown, round)? else { break };
            let Some(said) = self.finished(grown.predict(self.columns, self.cancel), round)? else { break };
            let loss = |row: u32| (f64::from(said[row as usize]) - f64::from(values[row as usize])).abs();
            let most = self.rows.iter().map(|&row| loss(row)).fold(0.0, f64::max);
            let share = |row: u32| if most > 0.0 { loss(row) / most } else { 0.0 };
            let error: f64 = self.rows.iter().zip(&weights).map(|(&row, weight)| weight * share(row)).sum();
            if error >= 0.5 && round > 0 {
                break;
            }
            let held = error.clamp(1e-6, 0.499_999);
            let beta = held / (1.0 - held);
            for (&row, weight) in self.rows.iter().zip(&mut weights) {
                *weight *= beta.powf((1.0 - share(row)) * self.params.learning_rate);
            }
            all.append(grown.into_trees());
            counts.push((self.params.learning_rate * -beta.ln()) as f32);
            if error <= 0.0 || error >= 0.5 {
                break;
            }
        }
        Ok(Adaboost { trees: all, weights: counts, classes: false })
    }

    /// Rows drawn by their weights, with replacement.
    fn draw(&self, weights: &[f64], round: usize) -> Vec<u32> {
        let mut ends: Vec<f64> = weights
            .iter()
            .scan(0.0, |sum, weight| {
                Some({
                    *sum += weight;
                    *sum
                })
            })
            .collect();
        let total = ends.last().copied().unwrap_or(1.0);
        ends.iter_mut().for_each(|end| *end /= total);
        let mut rng = stream(self.seed, round as u64 + 1);
        let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let last = self.rows.len() - 1;
        let row = |at: f64| self.rows[ends.partition_point(|&end| end <= at).min(last)];
        self.rows.iter().map(|_| row(unit())).collect()
    }

    /// What a round made; nothing where it was cancelled and earlier rounds are there.
    fn finished<T>(&self, made: Result<T, TreeError>, round: usize) -> Result<Option<T>, TreeError> {
        match made {
            Err(TreeError::Cancelled) if round > 0 => Ok(None),
            made => made.map(Some),
        }
    }
}

fn normalise(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
}

/// The first of the largest numbers.
fn largest(numbers: &[f32]) -> usize {
    let better = |best: (usize, f32), (at, &x): (usize, &f32)| if x > best.1 { (at, x) } else { best };
    numbers.iter().enumerate().fold((0, f32::NEG_INFINITY), better).0
}

/// The factor in (0, 1] of the votes under which the classes of some rows are likeliest, by bisection of the derivative: the
/// log likelihood is concave in it.
fn sharpness(votes: &[f64], classes: usize, codes: &[u32], (rows, weights): (&[u32], &[f64]), cancel: &Cancel) -> f64 {
    let slope = |factor: f64| {
        let of_row = |(&row, weight): (&u32, &f64)| {
            let votes = &votes[row as usize * classes..][..classes];
            let top = votes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut mean) = (0.0, 0.0);
            for &vote in votes {
                let chance = (factor * (vote - top)).exp();
                sum += chance;
                mean += chance * vote;
            }
            weight * (votes[codes[row as usize] as usize] - mean / sum)
        };
        rows.iter().zip(weights).map(of_row).sum::<f64>()
    };
    if slope(1.0) >= 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (1e-3, 1.0);
    for _ in 0..12 {
        if cancel.is_cancelled() {
            break;
        }
        let middle = f64::sqrt(low * high);
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    low
}

impl Adaboost {
    /// Numbers a prediction has for each row: one for each class, or one value.
    pub fn width(&self) -> usize {
        self.trees.width
    }

    /// Row-major probabilities of the classes, or one value a row.
    ///
    /// # Errors
    /// Columns that are not those of the fit, or differ in length; cancelled.
    pub fn predict(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<f32>, TreeError> {
        let k = self.trees.width;
        if self.classes {
            let add = |_, leaf: &[f32], rows: &[u32], sums: &mut [f64]| {
                for &row in rows {
                    sums[row as usize * k..].iter_mut().zip(leaf).for_each(|(sum, &x)| *sum += f64::from(x));
                }
            };
            let factor = self.weights.first().map_or(1.0, |&factor| f64::from(factor));
            let end = |sums: &[f64], row: &mut [f32]| {
                let top = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let odds = |sum: f64| (factor * (sum - top)).exp();
                let total: f64 = sums.iter().map(|&sum| odds(sum)).sum();
                row.iter_mut().zip(sums).for_each(|(x, &sum)| *x = (odds(sum) / total) as f32);
            };
            return self.trees.predict(columns, k, &vec![0.0; k], add, end, cancel);
        }
        let trees = self.weights.len();
        let add = |tree: usize, leaf: &[f32], rows: &[u32], sums: &mut [f64]| {
            let value = leaf.first().map_or(0.0, |&x| f64::from(x));
            rows.iter().for_each(|&row| sums[row as usize * trees + tree] = value);
        };
        let total: f64 = self.weights.iter().map(|&weight| f64::from(weight)).sum();
        let end = |said: &[f64], row: &mut [f32]| {
            let mut order: Vec<(f64, f32)> = said.iter().copied().zip(self.weights.iter().copied()).collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let mut below = 0.0;
            let median = order.iter().find(|(_, weight)| {
                below += f64::from(*weight);
                below >= 0.5 * total
            });
            row.iter_mut().for_each(|x| *x = median.map_or(0.0, |(value, _)| *value as f32));
        };
        self.trees.predict(columns, k, &vec![0.0; trees], add, end, cancel)
    }

    /// The saved form.
    pub fn to_parts(&self) -> Parts {
        let mut parts = vec![
            ("adaboost".to_owned(), PartData::U32(vec![VERSION, u32::from(self.classes), self.trees.width as u32])),
            ("weights".to_owned(), PartData::F32(self.weights.clone())),
        ];
        self.trees.write(&mut parts);
        parts
    }

    /// Reads [`Adaboost::to_parts`].
    ///
    /// # Errors
    /// Anything that was not written by it: such a model is never built.
    pub fn from_parts(parts: Parts) -> Result<Self, TreeError> {
        let (classes, width) = match *integers(&parts, "adaboost")? {
            [VERSION, 0, 1] => (false, 1),
            [VERSION, 1, width] => (true, width as usize),
            _ => return Err(invalid("adaboost", format!("expected version {VERSION}, a task and a width"))),
        };
        let weights = numbers(&parts, "weights")?.to_vec();
        let trees = Trees::read(&parts, width)?;
        let expected = if classes { 1 } else { trees.roots.len() };
        if trees.roots.is_empty() || weights.len() != expected || weights.iter().any(|&weight| weight <= 0.0) {
            return Err(invalid("weights", format!("expected {expected} numbers above 0")));
        }
        Ok(Self { trees, weights, classes })
    }
}

/// Version of the saved form.
const VERSION: u32 = 1;
