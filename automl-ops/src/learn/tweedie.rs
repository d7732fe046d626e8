//! Regression of targets that are not negative, with a logarithmic link: Poisson, and Tweedie distributions up to power 2.
//!
//! Jørgensen, *Exponential dispersion models* (1987); the loss is half the deviance, as in scikit-learn's `TweedieRegressor`, on
//! standardised columns.

use automl_core::Cancel;
use ndarray::ArrayView2;

use super::LearnError;
use super::common::{Sample, check_from_zero, check_targets};
use super::glm::{Loss, Problem};
use super::lbfgs::Limits;
use super::ridge::Ridge;
use super::scale::Standard;

/// Fits the logarithm of the mean of `y` (one value a row, not negative) on `x`, with optional row weights. `power` is that of the
/// variance in the mean, 1 to below 2; `alpha`, from 0, the penalty beside the mean loss of a target with mean 1.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, a negative target, parameters out of range, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    (power, alpha): (f64, f64),
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    if !(1.0..2.0).contains(&power) {
        return Err(LearnError::Param { name: "power", value: power, expected: "a number from 1 to below 2" });
    }
    check_from_zero("alpha", alpha)?;
    let sample = Sample::new(x, weights)?;
    let y = sample.pick(y);
    if let Some(&value) = y.iter().find(|y| **y < 0.0) {
        return Err(LearnError::Param { name: "target", value: f64::from(value), expected: "numbers that are not negative" });
    }
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let mean: f64 = y.iter().zip(&share).map(|(&y, share)| f64::from(y) * share).sum();
    let columns = sample.x.ncols();
    if mean <= 0.0 {
        return Ok(Ridge { coef: vec![0.0; columns], intercept: -80.0 });
    }
    let y: Vec<f64> = y.iter().map(|&y| f64::from(y) / mean).collect();
    let standard = Standard::new(&sample, cancel)?;
    let problem = Problem { z: &standard.z, y: &y, share: &share, loss: Loss::Tweedie(power), penalty: alpha };
    let point = problem.solve(0.0, &Limits { max_iter: 200, tolerance: 1e-5 }, cancel);
    let mut coef = vec![0.0; columns];
    let intercept = standard.restore(&point[..columns], point[columns] + mean.ln(), &mut coef);
    Ok(Ridge { coef, intercept })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use ndarray::s;

    #[test]
    fn matches_scikit_learn() {
        // `TweedieRegressor(power, alpha=0.1, link="log")` on standardised columns and a target with mean 1, mapped back.
        let (x, y) = (fixture::x(), fixture::y());
        for (power, expected) in [(1.0, POISSON), (1.5, COMPOUND)] {
            let model = fit(x.slice(s![.., 1..]), &y, None, (power, 0.1), &Cancel::new()).unwrap();
            for (found, expected) in model.coef.iter().chain([&model.intercept]).zip(expected) {
                assert!((found - expected).abs() < 1e-3, "{model:?}");
            }
        }
    }

    const POISSON: [f64; 4] = [0.08242039, 0.05586734, 0.02258122, 1.27241336];
    const COMPOUND: [f64; 4] = [0.08454803, 0.05536704, 0.0243579, 1.26492332];

    #[test]
    fn nasty_tables_work_and_negative_targets_do_not() {
        for x in fixture::nasty() {
            for scale in [0.0, 1.0, 1e18] {
                let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * scale).collect();
                fit(x.view(), &y, None, (1.5, 1e-6), &Cancel::new()).unwrap().check().unwrap();
            }
        }
        assert!(fit(fixture::x().view(), &[-1.0; 15], None, (1.0, 1.0), &Cancel::new()).is_err());
    }
}
