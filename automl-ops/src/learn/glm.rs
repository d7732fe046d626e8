//! Linear models of one score with any smooth convex loss and an L2 penalty, by L-BFGS on standardised columns.

use automl_core::Cancel;
use ndarray::{Array2, s};

use super::common::{BLOCK, to_f32};
use super::lbfgs::{Limits, minimise};
use super::logistic_loss::{multiply, multiply_transposed};

/// A loss of a score against a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loss {
    /// `max(0, 1 - y f)^2`, for targets of -1 and 1.
    SquaredHinge,
    /// `max(0, |y - f| - epsilon)^2`.
    EpsilonInsensitive(f64),
    /// Half the deviance of a Tweedie distribution of this power, 1 (Poisson) to below 2, for a score that is the logarithm of the mean.
    Tweedie(f64),
}

impl Loss {
    /// Value and derivative by the score.
    pub fn eval(self, score: f64, y: f64) -> (f64, f64) {
        match self {
            Self::SquaredHinge => {
                let short = (1.0 - y * score).max(0.0);
                (short * short, -2.0 * y * short)
            }
            Self::EpsilonInsensitive(epsilon) => {
                let d = score - y;
                let over = (d.abs() - epsilon).max(0.0);
                (over * over, 2.0 * over * d.signum())
            }
            Self::Tweedie(power) if power <= 1.0 => {
                let mean = score.exp();
                (mean - y * score, mean - y)
            }
            Self::Tweedie(power) => {
                let (up, down) = (((2.0 - power) * score).exp(), ((1.0 - power) * score).exp());
                (up / (2.0 - power) - y * down / (1.0 - power), up - y * down)
            }
        }
    }
}

/// What is minimised: `sum share loss + penalty |w|^2 / 2`, over coefficients and an intercept that is not penalised.
pub(super) struct Problem<'a> {
    /// Standardised columns.
    pub z: &'a Array2<f32>,
    /// Target of each row.
    pub y: &'a [f64],
    /// Part of the total weight of each row.
    pub share: &'a [f64],
    /// The loss.
    pub loss: Loss,
    /// Strength of the penalty.
    pub penalty: f64,
}

impl Problem<'_> {
    /// Coefficients, then the intercept, from 0 and `start`. A cancelled token returns the best so far.
    pub fn solve(&self, start: f64, limits: &Limits, cancel: &Cancel) -> Vec<f64> {
        let (rows, columns) = self.z.dim();
        let mut point = vec![0.0; columns];
        point.push(start);
        let mut coef = Array2::<f32>::zeros((1, columns));
        let mut part = Array2::<f32>::zeros((1, columns));
        let mut scores = Array2::<f32>::zeros((BLOCK.min(rows), 1));
        minimise(&mut point, limits, |point, gradient| {
            let (intercept, w) = point.split_last()?;
            coef.iter_mut().zip(w).for_each(|(to, &from)| *to = to_f32(from));
            gradient.fill(0.0);
            let mut total = 0.0;
            for start in (0..rows).step_by(BLOCK) {
                if cancel.is_cancelled() {
                    return None;
                }
                let end = (start + BLOCK).min(rows);
                let z = self.z.slice(s![start..end, ..]);
                let mut scores = scores.slice_mut(s![..end - start, ..]);
                multiply(z, &coef, scores.view_mut());
                for ((score, &y), &share) in scores.iter_mut().zip(&self.y[start..end]).zip(&self.share[start..end]) {
                    let (loss, slope) = self.loss.eval(f64::from(*score) + intercept, y);
                    total += share * loss;
                    *score = to_f32(share * slope);
                    gradient[columns] += share * slope;
                }
                multiply_transposed(scores.view(), z, &mut part);
                gradient.iter_mut().zip(&part).for_each(|(sum, &part)| *sum += f64::from(part));
            }
            for (g, w) in gradient.iter_mut().zip(w) {
                *g += self.penalty * w;
                total += 0.5 * self.penalty * w * w;
            }
            Some(total)
        });
        point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_losses() {
        for loss in [Loss::SquaredHinge, Loss::EpsilonInsensitive(0.3), Loss::Tweedie(1.0), Loss::Tweedie(1.5)] {
            for score in [-2.0, -0.4, 0.1, 1.7] {
                let at = |score| loss.eval(score, 1.0).0;
                let slope = (at(score + 1e-6) - at(score - 1e-6)) / 2e-6;
                assert!((slope - loss.eval(score, 1.0).1).abs() < 1e-5, "{loss:?} {score}");
            }
        }
    }
}
