//! The losses: derivatives of each row by its score, and their mean on validation rows.

use rayon::prelude::*;

use super::super::Target;
use super::Kind;
use super::histogram::{Sums, Units};

/// A loss over the rows of a fit, by their position.
pub(super) struct Loss {
    kind: Kind,
    /// Values less their mean, or 0 and 1.
    values: Vec<f32>,
    classes: Vec<u32>,
    weights: Option<Vec<f32>>,
    most: f64,
    base: Vec<f32>,
    start: Vec<f32>,
    /// Odds of this round against the likeliest class, class by class; each row's largest score, and what its odds are
    /// multiplied with to be probabilities.
    chances: Vec<f32>,
    top: Vec<f32>,
    share: Vec<f32>,
}

impl Loss {
    /// The loss for a target; scores start from the rows `train`.
    pub(super) fn new(rows: &[u32], target: &Target<'_>, weights: Option<&[f32]>, train: &[u32]) -> Self {
        let weights: Option<Vec<f32>> = weights.map(|weights| rows.iter().map(|&row| weights[row as usize]).collect());
        let most = weights.as_ref().map_or(1.0, |weights| f64::from(weights.iter().copied().fold(0.0, f32::max)));
        let weight = |at: u32| weights.as_ref().map_or(1.0, |weights| f64::from(weights[at as usize]));
        let total: f64 = train.iter().map(|&at| weight(at)).sum();
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        let (kind, base, start) = match *target {
            Target::Values(all) => {
                let mean = train.iter().map(|&at| weight(at) * f64::from(all[rows[at as usize] as usize])).sum::<f64>() / total;
                values.extend(rows.iter().map(|&row| (f64::from(all[row as usize]) - mean) as f32));
                (Kind::Squared, vec![mean as f32], vec![0.0])
            }
            Target::Classes { codes, classes: count } => {
                let mut shares = vec![0.0; count];
                train.iter().for_each(|&at| shares[codes[rows[at as usize] as usize] as usize] += weight(at) / total);
                if count == 2 {
                    values.extend(rows.iter().map(|&row| codes[row as usize] as f32));
                    let share = shares[1].clamp(RARE, 1.0 - RARE);
                    let base = vec![(share / (1.0 - share)).ln() as f32];
                    (Kind::Logistic, base.clone(), base)
                } else {
                    classes.extend(rows.iter().map(|&row| codes[row as usize]));
                    let base: Vec<f32> = shares.iter().map(|share| share.max(RARE).ln() as f32).collect();
                    (Kind::Softmax, base.clone(), base)
                }
            }
        };
        Self { kind, values, classes, weights, most, base, start, chances: Vec::new(), top: Vec::new(), share: Vec::new() }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Scores of a row, and trees of a round.
    pub(super) fn scores(&self) -> usize {
        self.base.len()
    }

    /// What a booster predicts before any tree.
    pub(super) fn base(&self) -> &[f32] {
        &self.base
    }

    /// Where scores start while fitting: values are fitted less their mean.
    pub(super) fn start(&self) -> &[f32] {
        &self.start
    }

    /// Takes the scores of all classes, class by class, at the start of a round.
    pub(super) fn start_round(&mut self, scores: &[f32]) {
        if self.kind != Kind::Softmax {
            return;
        }
        let n = self.classes.len();
        self.chances.resize(scores.len(), 0.0);
        self.top.resize(n, 0.0);
        self.share.resize(n, 0.0);
        // All of this in rows of some size: nothing is summed in another order for another number of threads.
        let chunk = if n < 2 * CHUNK { n.max(1) } else { CHUNK };
        self.top.par_chunks_mut(chunk).enumerate().for_each(|(at, top)| {
            top.fill(f32::NEG_INFINITY);
            for scores in scores.chunks_exact(n) {
                top.iter_mut().zip(&scores[at * chunk..]).for_each(|(top, &score)| *top = top.max(score));
            }
        });
        let top = &self.top[..];
        let odds = |(chances, scores): (&mut [f32], &[f32])| {
            chances.iter_mut().zip(scores).zip(top).for_each(|((chance, &score), &top)| *chance = exp(score - top));
        };
        if n < 2 * CHUNK {
            self.chances.chunks_exact_mut(n).zip(scores.chunks_exact(n)).for_each(odds);
        } else {
            self.chances.par_chunks_exact_mut(n).zip(scores.par_chunks_exact(n)).for_each(odds);
        }
        let chances = &self.chances[..];
        self.share.par_chunks_mut(chunk).enumerate().for_each(|(at, share)| {
            share.fill(0.0);
            for chances in chances.chunks_exact(n) {
                share.iter_mut().zip(&chances[at * chunk..]).for_each(|(sum, &chance)| *sum += chance);
            }
            share.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
        });
    }

    /// Derivatives of each row by the score of `class`, in fixed point, and its units.
    pub(super) fn gradients(&self, class: usize, scores: &[f32], out: &mut Vec<Sums>) -> Units {
        let n = scores.len();
        out.resize(n, [0; 2]);
        let weights = self.weights.as_deref();
        match self.kind {
            Kind::Squared => {
                let largest = scores.iter().zip(&self.values).fold(0.0f32, |most, (s, y)| most.max((s - y).abs()));
                let units = Units::new(n, f64::from(largest) * self.most, self.most);
                each(out, weights, |at| (scores[at] - self.values[at], 1.0), units);
                units
            }
            Kind::Logistic => {
                let units = Units::new(n, self.most, 0.25 * self.most);
                let derive = |at: usize| {
                    let p = sigmoid(scores[at]);
                    (p - self.values[at], p * (1.0 - p))
                };
                each(out, weights, derive, units);
                units
            }
            Kind::Softmax => {
                let k = self.base.len() as f32;
                // The scores have one degree of freedom too many (Friedman, 2001).
                let factor = k / (k - 1.0).max(1.0);
                let units = Units::new(n, self.most, 0.25 * f64::from(factor) * self.most);
                let chances = &self.chances[class * n..(class + 1) * n];
                let derive = |at: usize| {
                    let p = chances[at] * self.share[at];
                    (p - if self.classes[at] as usize == class { 1.0 } else { 0.0 }, factor * p * (1.0 - p))
                };
                each(out, weights, derive, units);
                units
            }
        }
    }

    /// Weighted mean of the loss on some rows.
    pub(super) fn mean(&self, scores: &[f32], rows: &[u32]) -> f64 {
        let n = scores.len() / self.base.len();
        let (mut sum, mut total) = (0.0, 0.0);
        for &at in rows {
            let at = at as usize;
            let score = f64::from(scores[at]);
            let loss = match self.kind {
                Kind::Squared => (score - f64::from(self.values[at])).powi(2),
                Kind::Logistic => {
                    let margin = if self.values[at] > 0.5 { score } else { -score };
                    (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
                }
                Kind::Softmax => {
                    let row = || scores.iter().skip(at).step_by(n).map(|&score| f64::from(score));
                    let top = row().fold(f64::NEG_INFINITY, f64::max);
                    let own = f64::from(scores[self.classes[at] as usize * n + at]);
                    row().map(|score| (score - top).exp()).sum::<f64>().ln() + top - own
                }
            };
            let weight = self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[at]));
            sum += weight * loss;
            total += weight;
        }
        sum / total
    }
}

/// Share of a class that does not occur.
const RARE: f64 = 1e-6;

/// Rows from which other threads help.
const CHUNK: usize = 1 << 14;

fn each(out: &mut [Sums], weights: Option<&[f32]>, derive: impl Fn(usize) -> (f32, f32) + Sync, units: Units) {
    let part = |from: usize, out: &mut [Sums]| match weights {
        None => out.iter_mut().enumerate().for_each(|(at, sums)| {
            let (first, second) = derive(from + at);
            *sums = units.sums(f64::from(first), f64::from(second));
        }),
        Some(weights) => out.iter_mut().zip(&weights[from..]).enumerate().for_each(|(at, (sums, &weight))| {
            let (first, second) = derive(from + at);
            *sums = units.sums(f64::from(first * weight), f64::from(second * weight));
        }),
    };
    if out.len() < 2 * CHUNK {
        part(0, out);
    } else {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(at, out)| part(at * CHUNK, out));
    }
}

/// `e^x` to about one part in ten million, for `x` up to 88; 0 far below 0. Unlike the library's, it is inlined into loops, and
/// it is the same on every machine.
#[inline]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut y = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y * rest + c;
    }
    let y = y * rest * rest + rest + 1.0;
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

/// The logistic function.
#[inline]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Turns scores into probabilities.
pub(super) fn softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = exp(*x - top);
        sum += *x;
    }
    row.iter_mut().for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for i in -8600..8800 {
            let x = i as f32 * 0.01 + 0.003;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= exact * 3e-7, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37);
        assert_eq!(sigmoid(1e30) + sigmoid(-1e30), 1.0);
    }
}
