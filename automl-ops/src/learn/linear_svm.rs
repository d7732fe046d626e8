//! Linear support vector machines in the primal (Fan et al., *LIBLINEAR*, 2008): squared hinge loss for classes, one against the
//! rest, and squared epsilon-insensitive loss for values.
//!
//! The columns are standardised, so that the penalty does not depend on units; the intercept is not penalised. Margins become
//! probabilities by calibration on margins that leave the row out, as far as the columns allow: the squared
//! hinge is quadratic in the rows inside the margin, so that one factor of their Gram matrix gives all of these.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::LearnError;
use super::calibrate::{self, calibrate};
use super::common::{Sample, check_codes, check_targets, clamp_coef, present};
use super::glm::{Loss, Problem};
use super::lasso::standard_target;
use super::lbfgs::Limits;
use super::leave_one_out::{leverages, without};
use super::linalg::{Cholesky, add_gram};
use super::logistic::Logistic;
use super::ridge::Ridge;
use super::scale::Standard;

/// Most columns for which margins leave the row out.
const MAX_LEFT_OUT: usize = 512;
const LIMITS: Limits = Limits { max_iter: 200, tolerance: 1e-4 };

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights and inverse penalty `c`, above 0.
/// The result is a linear model of log probabilities, in the fields of a logistic regression.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, or a cancelled token.
pub fn fit_classes(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    c: f64,
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    check_c(c)?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let columns = sample.x.ncols();
    if codes.len() == 1 {
        return Ok(Logistic { classes, codes, coef: Array2::zeros((1, columns)), intercept: vec![0.0], iterations: 0 });
    }
    let standard = Standard::new(&sample, cancel)?;
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let outputs = if codes.len() == 2 { 1 } else { codes.len() };
    let stride = sample.x.nrows().div_ceil(calibrate::ROWS);
    let picked: Vec<usize> = (0..sample.x.nrows()).step_by(stride).collect();
    let one = |output: usize| {
        let own = if outputs == 1 { 1 } else { output };
        let y: Vec<f64> = index.iter().map(|&class| if class == own { 1.0 } else { -1.0 }).collect();
        let problem =
            Problem { z: &standard.z, y: &y, share: &share, loss: Loss::SquaredHinge, penalty: 1.0 / (c * sample.total) };
        let point = problem.solve(0.0, &LIMITS, cancel);
        let margins = left_out(&problem, &point, &picked, &sample, cancel)?;
        Ok((point, margins))
    };
    let solved: Vec<Result<_, LearnError>> = (0..outputs).into_par_iter().map(one).collect();
    let mut coef = Array2::<f64>::zeros((outputs, columns));
    let mut intercept = Vec::with_capacity(outputs);
    let mut scores = Array2::<f64>::zeros((picked.len(), outputs));
    for (k, (solved, row)) in solved.into_iter().zip(coef.outer_iter_mut()).enumerate() {
        let (point, margins) = solved?;
        intercept.push(standard.restore(&point[..columns], point[columns], row));
        scores.column_mut(k).iter_mut().zip(margins).for_each(|(to, margin)| *to = margin);
    }
    let classes_picked: Vec<usize> = picked.iter().map(|&row| index[row]).collect();
    let weights_picked: Vec<f64> = picked.iter().map(|&row| sample.w[row]).collect();
    calibrate(scores.view(), &classes_picked, &weights_picked).fold_into(&mut coef, &mut intercept);
    Ok(Logistic { classes, codes, coef, intercept, iterations: 0 })
}

/// Fits the target `y` (one value a row) on `x`, with optional row weights. Deviations below `epsilon`, in standard deviations of
/// the target, cost nothing; `c` is the inverse penalty, above 0.
///
/// # Errors
/// As [`fit_classes`].
pub fn fit_values(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    c: f64,
    epsilon: f64,
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    check_c(c)?;
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(LearnError::Param { name: "epsilon", value: epsilon, expected: "a finite number from 0" });
    }
    let sample = Sample::new(x, weights)?;
    let (y, centre, scale) = standard_target(&sample.pick(y), &sample);
    let standard = Standard::new(&sample, cancel)?;
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let loss = Loss::EpsilonInsensitive(epsilon);
    let problem = Problem { z: &standard.z, y: &y, share: &share, loss, penalty: 1.0 / (c * sample.total) };
    let mut point = problem.solve(0.0, &LIMITS, cancel);
    point.iter_mut().for_each(|v| *v *= scale);
    let columns = sample.x.ncols();
    let mut coef = vec![0.0; columns];
    let intercept = standard.restore(&point[..columns], clamp_coef(point[columns] + centre), &mut coef);
    Ok(Ridge { coef, intercept })
}

fn check_c(c: f64) -> Result<(), LearnError> {
    if c.is_finite() && c > 0.0 {
        return Ok(());
    }
    Err(LearnError::Param { name: "c", value: c, expected: "a finite number above 0" })
}

/// Margins of some rows, each from the model without that row.
fn left_out(
    problem: &Problem<'_>,
    point: &[f64],
    picked: &[usize],
    sample: &Sample<'_>,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    let columns = problem.z.ncols();
    let w = ndarray::ArrayView1::from(&point[..columns]);
    let mut margins: Vec<f64> = (picked.iter())
        .map(|&row| problem.z.row(row).iter().zip(w).map(|(&z, w)| f64::from(z) * w).sum::<f64>() + point[columns])
        .collect();
    if columns > MAX_LEFT_OUT {
        return Ok(margins);
    }
    // The last column of ones is that of the intercept.
    let mut rows = Array2::<f32>::ones((picked.len(), columns + 1));
    for (mut to, &row) in rows.outer_iter_mut().zip(picked) {
        to.slice_mut(s![..columns]).assign(&problem.z.row(row));
    }
    let total: f64 = picked.iter().map(|&row| problem.share[row]).sum();
    let inside = |place: usize, margin: f64| problem.y[picked[place]] * margin < 1.0;
    let mut hessian = Array2::<f64>::zeros((columns + 1, columns + 1));
    let mut block = Array2::<f64>::zeros((256, columns + 1));
    for start in (0..picked.len()).step_by(256) {
        if cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let end = (start + 256).min(picked.len());
        let mut block = block.slice_mut(s![..end - start, ..]);
        for (offset, mut to) in block.outer_iter_mut().enumerate() {
            let place = start + offset;
            let curvature = if inside(place, margins[place]) { 2.0 } else { 0.0 };
            let root = (curvature * problem.share[picked[place]] / total).sqrt();
            to.iter_mut().zip(rows.row(place)).for_each(|(to, &z)| *to = root * f64::from(z));
        }
        add_gram(&mut hessian, 1.0, block.view());
    }
    hessian.diag_mut().iter_mut().take(columns).for_each(|d| *d += problem.penalty);
    let whiten = Cholesky::new("linear support vector machine", hessian.view(), cancel)?.whitener(cancel)?.0;
    let weights: Vec<f64> = picked.iter().map(|&row| sample.w[row]).collect();
    let leverage = leverages(rows.view(), &vec![0.0; columns + 1], &weights, &whiten, cancel)?;
    for (place, (margin, leverage)) in margins.iter_mut().zip(&leverage).enumerate() {
        let (_, slope) = Loss::SquaredHinge.eval(*margin, problem.y[picked[place]]);
        let curvature = if inside(place, *margin) { 2.0 } else { 0.0 };
        *margin = without(*margin, slope, curvature, leverage / sample.total);
    }
    Ok(margins)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_sound};
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        // `LinearSVC(C=1, intercept_scaling=1e4)` behind a `StandardScaler`: decisions relative to each other, before calibration.
        let x = fixture::x();
        let sample = Sample::new(x.view(), None).unwrap();
        let standard = Standard::new(&sample, &Cancel::new()).unwrap();
        let y: Vec<f64> = CODES.iter().map(|&code| if code == 1 { 1.0 } else { -1.0 }).collect();
        let share = [1.0 / 15.0; 15];
        let problem = Problem { z: &standard.z, y: &y, share: &share, loss: Loss::SquaredHinge, penalty: 1.0 / 15.0 };
        let found = problem.solve(0.0, &Limits { max_iter: 1000, tolerance: 1e-7 }, &Cancel::new());
        for (found, expected) in found.iter().zip(SVC) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    const SVC: [f64; 5] = [-0.22551918, -0.54217354, 0.55097485, -0.38836698, -0.32808842];

    #[test]
    fn leaving_out_is_close_to_fitting_without() {
        let x = fixture::x();
        let sample = Sample::new(x.view(), None).unwrap();
        let standard = Standard::new(&sample, &Cancel::new()).unwrap();
        let y: Vec<f64> = CODES.iter().map(|&code| if code == 1 { 1.0 } else { -1.0 }).collect();
        let limits = Limits { max_iter: 1000, tolerance: 1e-7 };
        let share = [1.0 / 15.0; 15];
        let problem = Problem { z: &standard.z, y: &y, share: &share, loss: Loss::SquaredHinge, penalty: 1.0 / 15.0 };
        let point = problem.solve(0.0, &limits, &Cancel::new());
        let rows: Vec<usize> = (0..15).collect();
        let margins = left_out(&problem, &point, &rows, &sample, &Cancel::new()).unwrap();
        for row in [0, 5, 7, 11] {
            let mut share = share;
            share[row] = 0.0;
            let without = Problem { share: &share, ..problem }.solve(0.0, &limits, &Cancel::new());
            let exact = standard.z.row(row).iter().zip(&without).map(|(&z, w)| f64::from(z) * w).sum::<f64>() + without[4];
            let inside = standard.z.row(row).iter().zip(&point).map(|(&z, w)| f64::from(z) * w).sum::<f64>() + point[4];
            let (error, gap) = ((margins[row] - exact).abs(), (inside - exact).abs());
            assert!(error < 0.5 * gap + 0.02, "{row}: {} {exact} {inside}", margins[row]);
        }
    }

    #[test]
    fn nasty_tables_give_probabilities_and_values() {
        for x in fixture::nasty() {
            for classes in [1u32, 2, 3] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                let model = fit_classes(x.view(), &codes, classes as usize, None, 10.0, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
            }
            let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e17).collect();
            let model = fit_values(x.view(), &y, None, 1.0, 0.1, &Cancel::new()).unwrap();
            model.check().unwrap();
            assert!(model.predict(x.view()).unwrap().iter().all(|v| v.is_finite()));
        }
        let x = fixture::x();
        let model = fit_classes(x.view(), &CODES, 3, Some(&WEIGHTS), 1.0, &Cancel::new()).unwrap();
        assert_sound(&model.predict(x.view()).unwrap());
    }
}
