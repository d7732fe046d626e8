//! Robust regression with the loss of Huber (*Robust statistics*, 1981): squared up to `epsilon` deviations, then linear.
//!
//! The deviation is fitted with the coefficients (his proposal 2, in the convex form of Owen 2007, as in scikit-learn), by L-BFGS on
//! standardised columns and target.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::common::{BLOCK, Sample, check_from_zero, check_targets, clamp_coef, to_f32};
use super::lasso::standard_target;
use super::lbfgs::{Limits, minimise};
use super::logistic_loss::{multiply, multiply_transposed};
use super::ridge::Ridge;
use super::scale::Standard;

/// Smallest logarithm of the deviation, relative to the spread of the target.
const LEAST: f64 = -12.0;

/// Fits the target `y` (one value a row) on `x`, with optional row weights: `epsilon` from 1, and the penalty `alpha |b|^2` beside the
/// sum of the losses.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    (epsilon, alpha): (f64, f64),
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    if !(epsilon.is_finite() && epsilon >= 1.0) {
        return Err(LearnError::Param { name: "epsilon", value: epsilon, expected: "a finite number from 1" });
    }
    check_from_zero("alpha", alpha)?;
    let sample = Sample::new(x, weights)?;
    let (y, centre, scale) = standard_target(&sample.pick(y), &sample);
    let standard = Standard::new(&sample, cancel)?;
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let (rows, columns) = sample.x.dim();
    let penalty = 2.0 * alpha / sample.total;
    let mut coef32 = Array2::<f32>::zeros((1, columns));
    let mut part = Array2::<f32>::zeros((1, columns));
    let mut scores = Array2::<f32>::zeros((BLOCK.min(rows), 1));
    // Coefficients, intercept, logarithm of the deviation.
    let mut point = vec![0.0; columns + 2];
    minimise(&mut point, &Limits { max_iter: 200, tolerance: 1e-5 }, |point, gradient| {
        let (w, rest) = point.split_at(columns);
        let [intercept, log_sigma] = rest else { return None };
        let floored = *log_sigma < LEAST;
        let sigma = log_sigma.clamp(LEAST, 50.0).exp();
        coef32.iter_mut().zip(w).for_each(|(to, &from)| *to = to_f32(from));
        gradient.fill(0.0);
        let (mut total, mut by_sigma) = (sigma, 1.0);
        for start in (0..rows).step_by(BLOCK) {
            if cancel.is_cancelled() {
                return None;
            }
            let end = (start + BLOCK).min(rows);
            let z = standard.z.slice(s![start..end, ..]);
            let mut scores = scores.slice_mut(s![..end - start, ..]);
            multiply(z, &coef32, scores.view_mut());
            for ((score, y), share) in scores.iter_mut().zip(&y[start..end]).zip(&share[start..end]) {
                let r = f64::from(*score) + intercept - y;
                let slope = if r.abs() <= epsilon * sigma {
                    total += share * r * r / sigma;
                    by_sigma -= share * (r / sigma).powi(2);
                    2.0 * r / sigma
                } else {
                    total += share * (2.0 * epsilon * r.abs() - epsilon * epsilon * sigma);
                    by_sigma -= share * epsilon * epsilon;
                    2.0 * epsilon * r.signum()
                };
                *score = to_f32(share * slope);
                gradient[columns] += share * slope;
            }
            multiply_transposed(scores.view(), z, &mut part);
            gradient.iter_mut().zip(&part).for_each(|(sum, &part)| *sum += f64::from(part));
        }
        gradient[columns + 1] = if floored { 0.0 } else { by_sigma * sigma };
        for (g, w) in gradient.iter_mut().zip(w) {
            *g += penalty * w;
            total += 0.5 * penalty * w * w;
        }
        Some(total)
    });
    point.iter_mut().for_each(|v| *v *= scale);
    let mut coef = vec![0.0; columns];
    let intercept = standard.restore(&point[..columns], clamp_coef(point[columns] + centre), &mut coef);
    Ok(Ridge { coef, intercept })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        // `HuberRegressor(epsilon=1.35, alpha=0.1)` on standardised columns and target, mapped back; one target is an outlier.
        let (x, mut y) = (fixture::x(), fixture::y());
        y[3] = 30.0;
        let model = fit(x.slice(s![.., 1..]), &y, None, (1.35, 0.1), &Cancel::new()).unwrap();
        for (found, expected) in model.coef.iter().chain([&model.intercept]).zip(HUBER) {
            assert!((found - expected).abs() < 0.02 * expected.abs().max(1.0), "{model:?}");
        }
    }

    const HUBER: [f64; 4] = [0.9299743, 1.0386066, -1.2120201, 0.7031367];

    #[test]
    fn nasty_tables_work() {
        for x in fixture::nasty() {
            for y in [vec![1e18; x.nrows()], (0..x.nrows()).map(|row| row as f32 * 1e18).collect()] {
                let model = fit(x.view(), &y, None, (1.35, 1e-4), &Cancel::new()).unwrap();
                model.check().unwrap();
                assert!(model.predict(x.view()).unwrap().iter().all(|v| v.is_finite()));
            }
        }
    }
}
