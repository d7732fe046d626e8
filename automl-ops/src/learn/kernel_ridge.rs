//! Least squares with a kernel: kernel ridge regression, and Gaussian processes, which choose width and noise by their evidence.
//!
//! Rasmussen and Williams, *Gaussian processes for machine learning* (2006), equations 2.25 and 2.30. Classes are targets of -1 and
//! 1, one against the rest, calibrated on leave-one-out scores (their equation 5.12): one factor gives all of
//! them, at the price of a fraction of a Laplace approximation.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::calibrate::calibrate;
use super::common::{Sample, check_codes, check_coef, check_present, check_targets, plain, present, softmax_into, to_f32};
use super::factor::Factor;
use super::kernel_svm::{Support, weigh};
use super::kernels::{Kernel, Rows, SizedKernel, Transform, query};
use super::lasso::standard_target;
use super::linalg::eigen;

/// Rows on which width and noise are chosen.
const CHOOSE: usize = 200;
const MODEL: &str = "kernel";

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelRidgeParams {
    /// The kernel. Default RBF.
    pub kernel: Kernel,
    /// Width (relative to one over the number of columns) and strength of the penalty (the noise), both above 0; `None` chooses
    /// those of most evidence. Default `None`.
    pub fixed: Option<(f64, f64)>,
    /// Whether every column is scaled to variance 1 first. Default yes.
    pub scale: bool,
}

impl Default for KernelRidgeParams {
    fn default() -> Self {
        Self { kernel: Kernel::Rbf, fixed: None, scale: true }
    }
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelRidge {
    /// Number of classes, thus of columns of the prediction; 0 for values.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; empty for values.
    pub codes: Vec<u32>,
    /// Training rows.
    pub support: Support,
    /// Coefficients, outputs x training rows: one output for values and for two classes, else one a class of `codes`.
    pub coef: Array2<f64>,
    /// One constant an output.
    pub intercept: Vec<f64>,
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
pub fn fit_classes(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &KernelRidgeParams,
    cancel: &Cancel,
) -> Result<KernelRidge, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let outputs = if codes.len() == 2 { 1 } else { codes.len() };
    let mut targets = Array2::<f64>::zeros((outputs, index.len()));
    let mut centre = vec![0.0; outputs];
    for (k, (mut row, centre)) in targets.outer_iter_mut().zip(&mut centre).enumerate() {
        let own = if outputs == 1 { codes.len() - 1 } else { k };
        row.iter_mut().zip(&index).for_each(|(to, &class)| *to = if class == own { 1.0 } else { -1.0 });
        *centre = row.iter().zip(&sample.w).map(|(t, w)| t * w).sum::<f64>() / sample.total;
        row.mapv_inplace(|t| t - *centre);
    }
    let solved = Solved::new(&sample, &targets, params, true, cancel)?;
    let mut scores = solved.left_out;
    for (mut column, centre) in scores.columns_mut().into_iter().zip(&centre) {
        column.mapv_inplace(|s| s + centre);
    }
    let (mut coef, mut intercept) = (solved.coef, centre);
    if codes.len() > 1 {
        calibrate(scores.view(), &index, &sample.w).fold_into(&mut coef, &mut intercept);
    }
    Ok(KernelRidge { classes, codes, support: solved.support, coef, intercept })
}

/// Fits the target `y` (one value a row) on `x`, with optional row weights.
///
/// # Errors
/// As [`fit_classes`].
pub fn fit_values(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    params: &KernelRidgeParams,
    cancel: &Cancel,
) -> Result<KernelRidge, LearnError> {
    check_targets(y, x.nrows())?;
    let sample = Sample::new(x, weights)?;
    let (y, centre, scale) = standard_target(&sample.pick(y), &sample);
    let targets = Array2::from_shape_fn((1, y.len()), |(_, row)| y[row]);
    let solved = Solved::new(&sample, &targets, params, false, cancel)?;
    let coef = solved.coef.mapv(|c| c * scale);
    Ok(KernelRidge { classes: 0, codes: Vec::new(), support: solved.support, coef, intercept: vec![centre] })
}

struct Solved {
    support: Support,
    coef: Array2<f64>,
    /// Rows x outputs; empty where not asked for.
    left_out: Array2<f64>,
}

impl Solved {
    /// Solves for targets (outputs x rows) with mean zero.
    fn new(
        sample: &Sample<'_>,
        targets: &Array2<f64>,
        params: &KernelRidgeParams,
        left_out: bool,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        let transform = Transform::new(sample, params.scale, cancel)?;
        let rows = transform.rows(sample.x.view());
        let (gamma, noise) = match params.fixed {
            Some(fixed) => fixed,
            None => choose(&rows, &transform, targets, params.kernel, cancel)?,
        };
        for (name, value) in [("gamma", gamma), ("alpha", noise)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(LearnError::Param { name, value, expected: "a finite number above 0" });
            }
        }
        let kernel = SizedKernel::new(params.kernel, gamma, &transform);
        let mean_weight = sample.total / sample.w.len() as f64;
        let matrix = kernel.matrix(&rows, &rows, cancel)?;
        let level = (matrix.diag().sum() / matrix.nrows() as f64).max(1e-300);
        let mut found = None;
        // The kernel is single precision: where that is not enough, a little more noise is.
        for more in [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0] {
            let mut matrix = matrix.clone();
            for (d, w) in matrix.diag_mut().iter_mut().zip(&sample.w) {
                *d += noise * (mean_weight / w).min(1e6) + more * level;
            }
            found = Factor::new(matrix, cancel)?;
            if found.is_some() {
                break;
            }
        }
        let factor = found.ok_or(LearnError::Numeric { what: MODEL })?;
        let mut coef = targets.clone();
        factor.solve_rows(&mut coef);
        let mut scores = Array2::<f64>::zeros((if left_out { rows.norms.len() } else { 0 }, targets.nrows()));
        if left_out {
            let inverse = factor.inverse_diagonal(cancel)?;
            for ((row, output), score) in scores.indexed_iter_mut() {
                *score = targets[(output, row)] - coef[(output, row)] / inverse[row].max(1e-300);
            }
        }
        Ok(Self { support: Support { transform, kernel, rows }, coef, left_out: scores })
    }
}

/// Width and noise of most evidence, with the variance of the signal at its best for each, on evenly spaced rows.
fn choose(
    rows: &Rows,
    transform: &Transform,
    targets: &Array2<f64>,
    kernel: Kernel,
    cancel: &Cancel,
) -> Result<(f64, f64), LearnError> {
    let stride = rows.norms.len().div_ceil(CHOOSE);
    let picked: Vec<usize> = (0..rows.norms.len()).step_by(stride).collect();
    let rows = rows.select(&picked);
    let targets = targets.select(ndarray::Axis(1), &picked);
    let n = picked.len() as f64;
    let outputs = targets.nrows() as f64;
    let evidence = |gamma: f64| -> Result<(f64, f64), LearnError> {
        let (values, vectors) = eigen(MODEL, &SizedKernel::new(kernel, gamma, transform).matrix(&rows, &rows, cancel)?)?;
        let squares: Vec<f64> =
            vectors.outer_iter().map(|v| targets.outer_iter().map(|t| t.dot(&v).powi(2)).sum::<f64>()).collect();
        let mut best = (f64::NEG_INFINITY, 1.0);
        for step in 0..=12 {
            let noise = 10f64.powf(-4.0 + 5.0 * f64::from(step) / 12.0);
            let sum: f64 = values.iter().zip(&squares).map(|(v, s)| s / (v.max(0.0) + noise)).sum();
            let log_det: f64 = values.iter().map(|v| (v.max(0.0) + noise).ln()).sum();
            let value = -0.5 * outputs * (n * (sum / (n * outputs)).max(1e-300).ln() + log_det);
            if value > best.0 {
                best = (value, noise);
            }
        }
        Ok(best)
    };
    let mut best = (f64::NEG_INFINITY, 1.0, 1.0);
    let consider = |gamma: f64, best: &mut (f64, f64, f64)| -> Result<(), LearnError> {
        let (value, noise) = evidence(gamma)?;
        if value > best.0 {
            *best = (value, gamma, noise);
        }
        Ok(())
    };
    for gamma in [0.003, 0.02, 0.1, 0.5, 2.5, 12.0] {
        consider(gamma, &mut best)?;
    }
    let middle = best.1;
    for factor in [0.45, 2.2] {
        consider(middle * factor, &mut best)?;
    }
    Ok((best.1, best.2))
}

impl KernelRidge {
    /// Class probabilities (rows x classes, each row sums to 1) or one value a row, clipped to finite numbers.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
        let rows = query(x, &self.support.transform)?;
        let mut out = Array2::<f32>::zeros((x.nrows(), self.classes.max(1)));
        let mut scores = vec![0.0; self.coef.nrows()];
        self.support.kernel.blocks(&rows, &self.support.rows, cancel, |start, block| {
            for (offset, kernel) in block.outer_iter().enumerate() {
                let kernel = plain(kernel);
                for ((score, coef), intercept) in scores.iter_mut().zip(self.coef.outer_iter()).zip(&self.intercept) {
                    *score = intercept + weigh(&kernel, &plain(coef), 0, kernel.len());
                }
                let mut to = out.row_mut(start + offset);
                match (scores.as_slice(), self.codes.len()) {
                    ([value], 0) => to.fill(to_f32(*value)),
                    ([score], 2) => softmax_into([0.0, *score].iter(), &self.codes, to),
                    (scores, _) => softmax_into(scores.iter(), &self.codes, to),
                }
            }
        })?;
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        if self.classes > 0 {
            check_present(MODEL, &self.codes, self.classes)?;
        }
        check_coef(MODEL, self.coef.iter().chain(&self.intercept))?;
        self.support.check()?;
        let outputs = if self.codes.len() <= 2 { 1 } else { self.codes.len() };
        let shape = (outputs, self.support.rows.z.nrows());
        if self.coef.dim() != shape || self.intercept.len() != outputs || (self.classes == 0) != self.codes.is_empty() {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the coefficients do not fit the rows and classes" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_sound};
    use super::*;
    use ndarray::s;

    #[test]
    fn matches_scikit_learn() {
        // `KernelRidge(kernel="rbf", gamma=1/3, alpha=0.1)` on standardised columns and target, of the first rows.
        let (x, y) = (fixture::x(), fixture::y());
        let x = x.slice(s![.., 1..]);
        let params = KernelRidgeParams { fixed: Some((1.0, 0.1)), ..Default::default() };
        let model = fit_values(x, &y, None, &params, &Cancel::new()).unwrap();
        model.check().unwrap();
        for (found, expected) in model.predict(x, &Cancel::new()).unwrap().iter().zip(RIDGE) {
            assert!((f64::from(*found) - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    const RIDGE: [f64; 5] = [5.1716117, 5.3772986, 5.1732211, 4.953625, 5.1460817];

    #[test]
    fn the_evidence_finds_a_smooth_function() {
        let x = Array2::from_shape_fn((80, 1), |(i, _)| i as f32 / 10.0);
        let y: Vec<f32> = x.iter().map(|x| x.sin()).collect();
        let model = fit_values(x.view(), &y, None, &Default::default(), &Cancel::new()).unwrap();
        let between = Array2::from_shape_fn((70, 1), |(i, _)| 0.35 + i as f32 / 10.0);
        for (found, x) in model.predict(between.view(), &Cancel::new()).unwrap().iter().zip(&between) {
            assert!((found - x.sin()).abs() < 0.02, "{x} {found}");
        }
    }

    #[test]
    fn separates_classes_and_survives_nasty_tables() {
        let x = fixture::x();
        let model = fit_classes(x.view(), &CODES, 3, Some(&WEIGHTS), &Default::default(), &Cancel::new()).unwrap();
        let found = model.predict(x.view(), &Cancel::new()).unwrap();
        assert!((0..15).all(|row| found[(row, CODES[row] as usize)] > 0.4), "{found}");
        for kernel in [Kernel::Rbf, Kernel::Matern, Kernel::Polynomial(3)] {
            for x in fixture::nasty() {
                let fixed = if kernel == Kernel::Rbf { None } else { Some((1.0, 1e-3)) };
                let params = KernelRidgeParams { kernel, fixed, scale: false };
                for classes in [1u32, 2, 3] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let model = fit_classes(x.view(), &codes, classes as usize, None, &params, &Cancel::new()).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view(), &Cancel::new()).unwrap());
                }
                let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e17).collect();
                let model = fit_values(x.view(), &y, None, &params, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert!(model.predict(x.view(), &Cancel::new()).unwrap().iter().all(|v| v.is_finite()));
            }
        }
    }
}
