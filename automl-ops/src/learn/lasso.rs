//! Lasso and elastic net: least squares with an L1 penalty and a share of an L2 penalty, by cyclic coordinate descent.
//!
//! Friedman, Hastie and Tibshirani, *Regularization paths for generalized linear models via coordinate descent* (2010). Columns
//! and target are standardised first, so `alpha` does not depend on units: at 1 with `l1_ratio` 1 every coefficient is zero. With
//! at least as many rows as columns the descent runs on the Gram matrix, where a step costs one pass over the columns; else on the
//! residuals. Passes over the coefficients that are not zero alternate with passes over all.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{Sample, centred_blocks, check_from_zero, check_targets, clamp_coef, plain};
use super::linalg::add_gram;
use super::ridge::Ridge;
use super::scale::{Standard, moments};

/// Most columns for which the Gram matrix is built.
const MAX_GRAM: usize = 4096;
/// Most passes over the coefficients.
const PASSES: usize = 1000;
/// The descent ends when no standardised coefficient moved by more, relative to the spread of the target.
const TOLERANCE: f64 = 1e-5;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LassoParams {
    /// Strength of the penalty, from 0: `|y - Xb|^2 / (2 n) + alpha (l1_ratio |b|_1 + (1 - l1_ratio) |b|^2 / 2)`. Default 0.001.
    pub alpha: f64,
    /// Share of the L1 penalty, 0 to 1. Default 1.
    pub l1_ratio: f64,
}

impl Default for LassoParams {
    fn default() -> Self {
        Self { alpha: 1e-3, l1_ratio: 1.0 }
    }
}

/// Fits the target `y` (one value a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    params: &LassoParams,
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    check_from_zero("alpha", params.alpha)?;
    if !(0.0..=1.0).contains(&params.l1_ratio) {
        return Err(LearnError::Param { name: "l1_ratio", value: params.l1_ratio, expected: "a number from 0 to 1" });
    }
    let sample = Sample::new(x, weights)?;
    let (y, y_mean, y_scale) = standard_target(&sample.pick(y), &sample);
    let (rows, columns) = sample.x.dim();
    let penalty = Penalty { l1: params.alpha * params.l1_ratio, l2: params.alpha * (1.0 - params.l1_ratio) };
    let mut coef = vec![0.0; columns];
    if columns <= rows && columns <= MAX_GRAM {
        let (mean, variance) = moments(sample.x.view(), Some(&sample.w), cancel)?;
        let inverse: Vec<f64> = variance.iter().map(|&v| if v > 0.0 { 1.0 / v.sqrt() } else { 0.0 }).collect();
        let beta = on_gram(&sample, &y, &mean, &inverse, &penalty, cancel)?;
        coef.iter_mut().zip(beta.iter().zip(&inverse)).for_each(|(to, (b, inverse))| *to = clamp_coef(b * inverse * y_scale));
        let intercept = clamp_coef(y_mean - coef.iter().zip(&mean).map(|(c, m)| c * m).sum::<f64>());
        return Ok(Ridge { coef, intercept });
    }
    let standard = Standard::new(&sample, cancel)?;
    let beta: Vec<f64> = on_residuals(&standard.z, &sample, y, &penalty, cancel)?.into_iter().map(|b| b * y_scale).collect();
    let intercept = standard.restore(&beta, y_mean, &mut coef);
    Ok(Ridge { coef, intercept })
}

/// The target with weighted mean 0 and variance 1, its mean and its deviation.
pub(super) fn standard_target(y: &[f32], sample: &Sample<'_>) -> (Vec<f64>, f64, f64) {
    let first = y.first().map_or(0.0, |&y| f64::from(y));
    let wide = || y.iter().map(|&y| f64::from(y) - first).zip(&sample.w);
    let mean = wide().map(|(y, w)| w * y).sum::<f64>() / sample.total;
    let variance = wide().map(|(y, w)| w * (y - mean) * (y - mean)).sum::<f64>() / sample.total;
    let scale = if variance > 0.0 && variance.is_finite() { variance.sqrt() } else { 1.0 };
    (wide().map(|(y, _)| (y - mean) / scale).collect(), mean + first, scale)
}

struct Penalty {
    l1: f64,
    l2: f64,
}

impl Penalty {
    /// The coefficient that minimises the loss along one coordinate: `rho` is its correlation with the residuals that ignore it,
    /// `square` its variance.
    fn shrink(&self, rho: f64, square: f64) -> f64 {
        let size = (rho.abs() - self.l1).max(0.0) / (square + self.l2);
        if size > 0.0 { size * rho.signum() } else { 0.0 }
    }
}

/// Passes of `step` (which moves one coefficient and returns by how much) until none moves.
fn descend(columns: usize, cancel: &Cancel, mut step: impl FnMut(usize) -> (f64, bool)) -> Result<(), LearnError> {
    let mut active: Vec<usize> = Vec::new();
    let mut all = true;
    for _ in 0..PASSES {
        let mut moved = 0.0f64;
        let mut kept = Vec::new();
        let visited = if all { (0..columns).collect() } else { std::mem::take(&mut active) };
        for (place, j) in visited.into_iter().enumerate() {
            if place % 64 == 0 && cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            let (by, nonzero) = step(j);
            moved = moved.max(by);
            if nonzero {
                kept.push(j);
            }
        }
        let still = moved <= TOLERANCE;
        if all && still {
            break;
        }
        active = kept;
        all = still;
    }
    Ok(())
}

fn on_gram(
    sample: &Sample<'_>,
    y: &[f64],
    mean: &[f64],
    inverse: &[f64],
    penalty: &Penalty,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    let columns = mean.len();
    let mut gram = Array2::<f64>::zeros((columns, columns));
    let mut moment = vec![0.0; columns];
    centred_blocks(sample.x.view(), mean, Some(&sample.w), cancel, |start, block| {
        add_gram(&mut gram, 1.0 / sample.total, block);
        for (offset, row) in block.outer_iter().enumerate() {
            let factor = y[start + offset] * sample.w[start + offset].sqrt() / sample.total;
            plain(row).iter().zip(&mut moment).for_each(|(v, sum)| *sum += factor * v);
        }
    })?;
    for i in 0..columns {
        moment[i] *= inverse[i];
        for j in 0..=i {
            let value = gram[(i, j)] * inverse[i] * inverse[j];
            gram[(i, j)] = value;
            gram[(j, i)] = value;
        }
    }
    let mut beta = vec![0.0; columns];
    // `moment` becomes the correlation of each column with the residuals.
    descend(columns, cancel, |j| {
        let square = gram[(j, j)];
        if square <= 0.0 {
            return (0.0, false);
        }
        let old = beta[j];
        let new = penalty.shrink(moment[j] + square * old, square);
        let by = new - old;
        if by != 0.0 {
            beta[j] = new;
            moment.iter_mut().zip(gram.row(j)).for_each(|(m, g)| *m -= by * g);
        }
        (by.abs(), new != 0.0)
    })?;
    Ok(beta)
}

fn on_residuals(
    z: &Array2<f32>,
    sample: &Sample<'_>,
    mut residual: Vec<f64>,
    penalty: &Penalty,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    // Columns in a row each.
    let columns = z.t().as_standard_layout().into_owned();
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let mut beta = vec![0.0; columns.nrows()];
    descend(columns.nrows(), cancel, |j| {
        let column = columns.row(j);
        let (mut rho, mut square) = (0.0, 0.0);
        for ((&v, r), share) in column.iter().zip(&residual).zip(&share) {
            let v = f64::from(v);
            rho += share * v * r;
            square += share * v * v;
        }
        if square <= 0.0 {
            return (0.0, false);
        }
        let old = beta[j];
        let new = penalty.shrink(rho + square * old, square);
        let by = new - old;
        if by != 0.0 {
            beta[j] = new;
            residual.iter_mut().zip(column).for_each(|(r, &v)| *r -= by * f64::from(v));
        }
        (by.abs(), new != 0.0)
    })?;
    Ok(beta)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, WEIGHTS};
    use super::*;
    use ndarray::{Axis, s};

    fn close(found: &Ridge, coef: &[f64], intercept: f64, tolerance: f64) {
        for (a, b) in found.coef.iter().zip(coef).chain([(&found.intercept, &intercept)]) {
            assert!((a - b).abs() < tolerance, "{found:?} {coef:?} {intercept}");
        }
    }

    #[test]
    fn matches_scikit_learn() {
        let (x, y, cancel) = (fixture::x(), fixture::y(), Cancel::new());
        let x = x.slice(s![.., 1..]);
        let model = fit(x, &y, None, &LassoParams { alpha: 0.1, l1_ratio: 1.0 }, &cancel).unwrap();
        close(&model, &LASSO, LASSO_0, 1e-4);
        let model = fit(x, &y, None, &LassoParams { alpha: 0.1, l1_ratio: 0.5 }, &cancel).unwrap();
        close(&model, &NET, NET_0, 1e-4);
    }

    const LASSO: [f64; 3] = [0.36523346, 0.36722582, 0.0];
    const LASSO_0: f64 = 3.36805982;
    const NET: [f64; 3] = [0.44876848, 0.37765373, 0.0];
    const NET_0: f64 = 3.07100684;

    #[test]
    fn both_forms_agree_and_a_weight_of_two_is_a_row_twice() {
        let (x, y, cancel) = (fixture::x(), fixture::y(), Cancel::new());
        let x = x.slice(s![.., 1..]);
        let sample = Sample::new(x, Some(&WEIGHTS)).unwrap();
        let standard = Standard::new(&sample, &cancel).unwrap();
        let (target, ..) = standard_target(&y, &sample);
        let penalty = Penalty { l1: 0.02, l2: 0.01 };
        let a = on_gram(&sample, &target, &standard.mean, &standard.inverse, &penalty, &cancel).unwrap();
        let b = on_residuals(&standard.z, &sample, target, &penalty, &cancel).unwrap();
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");

        let rows = fixture::doubled();
        let twice: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
        let a = fit(x, &y, Some(&WEIGHTS), &Default::default(), &cancel).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &twice, None, &Default::default(), &cancel).unwrap();
        close(&a, &b.coef, b.intercept, 1e-6);
    }

    #[test]
    fn a_penalty_of_one_leaves_the_mean_and_nasty_tables_work() {
        let (x, y) = (fixture::x(), fixture::y());
        let model = fit(x.view(), &y, None, &LassoParams { alpha: 1.01, l1_ratio: 1.0 }, &Cancel::new()).unwrap();
        assert!(model.coef.iter().all(|&c| c == 0.0));
        for x in fixture::nasty() {
            let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e30).collect();
            let model = fit(x.view(), &y, None, &Default::default(), &Cancel::new()).unwrap();
            model.check().unwrap();
            assert!(model.predict(x.view()).unwrap().iter().all(|v| v.is_finite()));
        }
    }
}
