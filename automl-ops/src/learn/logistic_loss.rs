//! Loss and gradient of logistic regression, the hot loop of the solver.
//!
//! Products are single precision within a block, where they cost half; sums over blocks are double.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::common::{BLOCK, to_f32};

/// Mean loss and gradient over standardised columns. Parameters: outputs x columns coefficients, then the intercepts.
///
/// `index` is the class of each row and `share` its part of the total weight; there is one output for two classes.
pub(super) struct Problem<'a> {
    z: &'a Array2<f32>,
    index: &'a [usize],
    share: &'a [f64],
    outputs: usize,
    penalty: f64,
    coef: Array2<f32>,
    scores: Array2<f32>,
    part: Array2<f32>,
}

impl<'a> Problem<'a> {
    pub fn new(z: &'a Array2<f32>, index: &'a [usize], share: &'a [f64], outputs: usize, penalty: f64) -> Self {
        let shape = (outputs, z.ncols());
        let scores = Array2::zeros((BLOCK.min(z.nrows()), outputs));
        Self { z, index, share, outputs, penalty, coef: Array2::zeros(shape), scores, part: Array2::zeros(shape) }
    }

    /// Zero coefficients and the intercepts that give the class frequencies.
    pub fn start(&self, classes: usize) -> Vec<f64> {
        let mut prior = vec![0.0f64; classes];
        self.index.iter().zip(self.share).for_each(|(&class, share)| prior[class] += share);
        let logs: Vec<f64> = prior.iter().map(|p| p.max(1e-300).ln()).collect();
        let mut point = vec![0.0; self.outputs * self.z.ncols()];
        match logs.as_slice() {
            [first, second] => point.push(second - first),
            _ => {
                let middle = logs.iter().sum::<f64>() / classes as f64;
                point.extend(logs.iter().map(|log| log - middle));
            }
        }
        point
    }

    pub fn eval(&mut self, point: &[f64], gradient: &mut [f64], cancel: &Cancel) -> Option<f64> {
        let (rows, columns) = self.z.dim();
        let (weights, intercept) = point.split_at(self.outputs * columns);
        self.coef.iter_mut().zip(weights).for_each(|(to, &from)| *to = to_f32(from));
        gradient.fill(0.0);
        let mut loss = 0.0;
        for start in (0..rows).step_by(BLOCK) {
            if cancel.is_cancelled() {
                return None;
            }
            let end = (start + BLOCK).min(rows);
            let z = self.z.slice(s![start..end, ..]);
            let mut scores = self.scores.slice_mut(s![..end - start, ..]);
            multiply(z, &self.coef, scores.view_mut());
            let offsets = &mut gradient[self.outputs * columns..];
            for (row, mut scores) in scores.outer_iter_mut().enumerate() {
                let (class, share) = (self.index[start + row], self.share[start + row]);
                let Some(scores) = scores.as_slice_mut() else {
                    continue;
                };
                loss += share
                    * match scores {
                        [score] => binary(score, intercept[0], class, share),
                        _ => softmax(scores, intercept, class, share),
                    };
                scores.iter().zip(offsets.iter_mut()).for_each(|(&r, sum)| *sum += f64::from(r));
            }
            multiply_transposed(scores.view(), z, &mut self.part);
            gradient.iter_mut().zip(&self.part).for_each(|(sum, &part)| *sum += f64::from(part));
        }
        for (g, w) in gradient.iter_mut().zip(weights) {
            *g += self.penalty * w;
            loss += 0.5 * self.penalty * w * w;
        }
        Some(loss)
    }
}

/// `scores = z coef'`. The product routine pads one output to eight, so that one is better done by hand.
pub(super) fn multiply(z: ArrayView2<'_, f32>, coef: &Array2<f32>, mut scores: ArrayViewMut2<'_, f32>) {
    const LANES: usize = 8;
    let (Some(rows), Some(coef), 1) = (z.to_slice(), coef.as_slice(), coef.nrows()) else {
        return general_mat_mul(1.0, &z, &coef.t(), 0.0, &mut scores);
    };
    for (score, row) in scores.iter_mut().zip(rows.chunks_exact(coef.len())) {
        let mut lanes = [0.0f32; LANES];
        let (a, b) = (row.chunks_exact(LANES), coef.chunks_exact(LANES));
        let tail = a.remainder().iter().zip(b.remainder());
        let tail: f32 = tail.map(|(a, b)| a * b).sum();
        for (a, b) in a.zip(b) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += a * b;
            }
        }
        *score = lanes.iter().sum::<f32>() + tail;
    }
}

/// `part = scores' z`.
pub(super) fn multiply_transposed(scores: ArrayView2<'_, f32>, z: ArrayView2<'_, f32>, part: &mut Array2<f32>) {
    let single = part.nrows() == 1;
    let (Some(rows), Some(sums), true) = (z.to_slice(), part.as_slice_mut(), single) else {
        return general_mat_mul(1.0, &scores.t(), &z, 0.0, part);
    };
    sums.fill(0.0);
    for (score, row) in scores.iter().zip(rows.chunks_exact(sums.len())) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += score * v);
    }
}

/// Loss of one row; replaces the score by its weighted derivative.
fn binary(score: &mut f32, intercept: f64, class: usize, share: f64) -> f64 {
    let score_wide = f64::from(*score) + intercept;
    // With the sign turned for the first class, the loss is ln(1 + exp(-m)).
    let margin = if class == 1 { score_wide } else { -score_wide };
    let small = (-margin.abs()).exp();
    let wrong = if margin >= 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
    *score = (share * if class == 1 { -wrong } else { wrong }) as f32;
    small.ln_1p() + (-margin).max(0.0)
}

/// Loss of one row; replaces the scores by their weighted derivatives.
fn softmax(scores: &mut [f32], intercept: &[f64], class: usize, share: f64) -> f64 {
    scores.iter_mut().zip(intercept).for_each(|(score, &b)| *score += b as f32);
    let top = scores.iter().copied().fold(f32::MIN, f32::max);
    let own = scores.get(class).map_or(0.0, |&score| f64::from(score - top));
    scores.iter_mut().for_each(|score| *score = exp_negative(*score - top));
    let total: f32 = scores.iter().sum();
    let factor = share as f32 / total;
    scores.iter_mut().for_each(|score| *score *= factor);
    if let Some(score) = scores.get_mut(class) {
        *score -= share as f32;
    }
    f64::from(total).ln() - own
}

/// `exp` of a number that is not positive, to about 2e-7 relative; 0 below -87. Without branches, so that a row vectorises.
pub(super) fn exp_negative(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts (Cody and Waite): the first times an integer is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.5);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let f = (x - n * HIGH) - n * LOW;
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let tail = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f / 720.0)))));
    tail * power
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{CODES, x};
    use super::*;

    const SHARE: [f64; 15] = [1.0 / 15.0; 15];

    fn problem<'a>(z: &'a Array2<f32>, index: &'a [usize], outputs: usize) -> Problem<'a> {
        Problem::new(z, index, &SHARE, outputs, 0.1)
    }

    #[test]
    fn exp_is_close_to_exp() {
        for i in 0..8700 {
            let x = -i as f32 / 100.0;
            let (a, b) = (exp_negative(x), x.exp());
            assert!((a - b).abs() <= 4e-7 * b + 1e-37, "{x} {a} {b}");
        }
        assert_eq!(exp_negative(0.0), 1.0);
        assert!(exp_negative(-1e30) < 1e-37 && exp_negative(f32::NEG_INFINITY) >= 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let z = x();
        for outputs in [1, 3] {
            let index: Vec<usize> =
                CODES.iter().map(|&code| if outputs == 1 { code as usize / 2 } else { code as usize }).collect();
            let mut problem = problem(&z, &index, outputs);
            let mut point: Vec<f64> = (0..outputs * 5).map(|i| 0.1 * (i as f64).sin()).collect();
            let (mut gradient, mut unused) = (vec![0.0; point.len()], vec![0.0; point.len()]);
            problem.eval(&point, &mut gradient, &Cancel::new()).unwrap();
            for i in 0..point.len() {
                let mut at = |delta: f64| {
                    point[i] += delta;
                    let loss = problem.eval(&point, &mut unused, &Cancel::new()).unwrap();
                    point[i] -= delta;
                    loss
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((slope - gradient[i]).abs() < 1e-3, "{outputs} {i} {slope} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn a_cancelled_token_ends_an_evaluation() {
        let z = x();
        let index: Vec<usize> = CODES.iter().map(|&code| code as usize).collect();
        let mut problem = problem(&z, &index, 3);
        let cancel = Cancel::new();
        cancel.cancel();
        let start = problem.start(3);
        assert_eq!(problem.eval(&start, &mut [0.0; 15], &cancel), None);
    }
}
