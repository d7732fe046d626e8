//! Ridge regression: `sum w (y - x'b - a)^2 + alpha |b|^2`, solved by Cholesky on the weighted Gram matrix.
//!
//! The columns are centred, so the intercept is not penalised; they are not scaled, so `alpha` means what it means in
//! scikit-learn. With fewer rows than columns the dual form (Saunders et al., 1998) works on rows x rows instead. Where the
//! matrix is singular (duplicated columns, `alpha` 0) a jitter grows until it is not.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::common::{
    Sample, affine_blocks, centred_blocks, check_coef, check_from_zero, check_input, check_targets, clamp_coef, plain, to_f32,
};
use super::linalg::{Cholesky, add_gram};
use super::scale::means;

/// Largest side of the Gram matrix: half a gigabyte, some seconds of Cholesky.
pub const MAX_SIDE: usize = 8192;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeParams {
    /// Strength of the penalty, from 0. Default 1.
    pub alpha: f64,
}

impl Default for RidgeParams {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

/// A fitted ridge regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// One coefficient a column.
    pub coef: Vec<f64>,
    /// The constant term.
    pub intercept: f64,
}

/// Fits the target `y` (one value a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, `alpha` below 0, more than [`MAX_SIDE`] rows and
/// columns, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    params: &RidgeParams,
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    check_from_zero("alpha", params.alpha)?;
    let sample = Sample::new(x, weights)?;
    let y = sample.pick(y);
    let x = sample.x.view();
    let (rows, columns) = x.dim();
    if rows.min(columns) > MAX_SIDE {
        return Err(LearnError::TooLarge { what: "ridge regression", size: rows.min(columns), limit: MAX_SIDE });
    }
    let mean = means(x, Some(&sample.w), cancel)?;
    let y_mean = y.iter().zip(&sample.w).map(|(&y, w)| w * f64::from(y)).sum::<f64>() / sample.total;
    // Rows of the least-squares problem are multiplied by the root of their weight, the target too.
    let y: Vec<f64> = y.iter().zip(&sample.w).map(|(&y, w)| (f64::from(y) - y_mean) * w.sqrt()).collect();
    let mut coef = if columns <= rows {
        primal(x, &y, &mean, &sample.w, params.alpha, cancel)?
    } else {
        dual(x, &y, &mean, &sample.w, params.alpha, cancel)?
    };
    coef.iter_mut().for_each(|c| *c = clamp_coef(*c));
    let intercept = clamp_coef(y_mean - coef.iter().zip(&mean).map(|(c, m)| c * m).sum::<f64>());
    Ok(Ridge { coef, intercept })
}

impl Ridge {
    /// One value a row, clipped to finite numbers.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Vec<f32>, LearnError> {
        check_input(x, self.coef.len())?;
        let mut out = Vec::with_capacity(x.nrows());
        // A view of one row never fails for the length of its own slice; an empty one would predict the intercept.
        let coef = ArrayView2::from_shape((1, self.coef.len()), &self.coef).unwrap_or_else(|_| ArrayView2::from(&[[]]));
        affine_blocks(x, coef, &[self.intercept], |_, scores| out.extend(scores.iter().map(|&v| to_f32(v))));
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where a coefficient is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        check_coef("ridge", self.coef.iter().chain([&self.intercept]))
    }
}

fn primal(
    x: ArrayView2<'_, f32>,
    y: &[f64],
    mean: &[f64],
    weights: &[f64],
    alpha: f64,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    let columns = x.ncols();
    let mut gram = Array2::<f64>::zeros((columns, columns));
    let mut moment = Array2::<f64>::zeros((1, columns));
    centred_blocks(x, mean, Some(weights), cancel, |start, block| {
        add_gram(&mut gram, 1.0, block);
        let sums = moment.as_slice_mut().unwrap_or_default();
        for (row, &y) in block.outer_iter().zip(&y[start..]) {
            sums.iter_mut().zip(plain(row).iter()).for_each(|(sum, v)| *sum += y * v);
        }
    })?;
    gram.diag_mut().iter_mut().for_each(|d| *d += alpha);
    Cholesky::new("ridge regression", gram.view(), cancel)?.solve_rows(&mut moment);
    Ok(moment.into_iter().collect())
}

fn dual(
    x: ArrayView2<'_, f32>,
    y: &[f64],
    mean: &[f64],
    weights: &[f64],
    alpha: f64,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    /// Columns handled at a time.
    const COLUMNS: usize = 512;
    let (rows, columns) = x.dim();
    let mut kernel = Array2::<f64>::zeros((rows, rows));
    let mut parts = Vec::new();
    for start in (0..columns).step_by(COLUMNS) {
        let end = (start + COLUMNS).min(columns);
        let mut part = Array2::<f64>::zeros((rows, end - start));
        centred_blocks(x.slice(s![.., start..end]), &mean[start..end], Some(weights), cancel, |row, block| {
            part.slice_mut(s![row..row + block.nrows(), ..]).assign(&block);
        })?;
        general_mat_mul(1.0, &part, &part.t(), 1.0, &mut kernel);
        parts.push(part);
    }
    kernel.diag_mut().iter_mut().for_each(|d| *d += alpha);
    let mut solution = Array2::from_shape_fn((1, rows), |(_, i)| y[i]);
    Cholesky::new("ridge regression", kernel.view(), cancel)?.solve_rows(&mut solution);
    let mut coef = Vec::with_capacity(columns);
    for part in &parts {
        coef.extend(solution.dot(part));
    }
    Ok(coef)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, WEIGHTS};
    use super::*;
    use ndarray::{Axis, array};

    fn close(found: &Ridge, coef: &[f64], intercept: f64, tolerance: f64) {
        assert_eq!(found.coef.len(), coef.len());
        for (a, b) in found.coef.iter().zip(coef).chain([(&found.intercept, &intercept)]) {
            assert!((a - b).abs() < tolerance, "{found:?} {coef:?} {intercept}");
        }
    }

    #[test]
    fn matches_scikit_learn() {
        let (x, y, cancel) = (fixture::x(), fixture::y(), Cancel::new());
        let x = x.slice(s![.., 1..]);
        let params = RidgeParams { alpha: 0.5 };
        let model = fit(x, &y, None, &params, &cancel).unwrap();
        close(&model, &[0.59807025524, 0.58231390874, -0.34239013978], 2.25756628277, 1e-5);
        let model = fit(x, &y, Some(&WEIGHTS), &params, &cancel).unwrap();
        close(&model, &[0.71734184891, 0.70248754883, -0.54977186496], 1.69054848652, 1e-5);
        // Fewer rows than columns: the dual form.
        let model = fit(x.slice(s![..2, ..]), &y[..2], None, &params, &cancel).unwrap();
        close(&model, &[0.05714285714, 0.02857142857, 0.0], 5.00285714286, 1e-5);
    }

    #[test]
    fn both_forms_agree_and_a_weight_of_two_is_a_row_twice() {
        let (x, y) = (fixture::x(), fixture::y());
        let x = x.slice(s![.., 1..]);
        let (mean, weights, y64) = (vec![0.1; 3], [0.5; 15], y.iter().map(|&y| f64::from(y)).collect::<Vec<_>>());
        let a = primal(x, &y64, &mean, &weights, 0.3, &Cancel::new()).unwrap();
        let b = dual(x, &y64, &mean, &weights, 0.3, &Cancel::new()).unwrap();
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} {b:?}");

        let rows = fixture::doubled();
        let twice: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
        let a = fit(x, &y, Some(&WEIGHTS), &Default::default(), &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &twice, None, &Default::default(), &Cancel::new()).unwrap();
        close(&a, &b.coef, b.intercept, 1e-9);
    }

    #[test]
    fn nasty_tables_and_no_penalty_work() {
        for x in fixture::nasty() {
            for alpha in [0.0, 1.0] {
                let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e30).collect();
                let weights: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e-30 + f32::from(u8::from(row == 0))).collect();
                for weights in [None, Some(weights.as_slice())] {
                    let model = fit(x.view(), &y, weights, &RidgeParams { alpha }, &Cancel::new()).unwrap();
                    model.check().unwrap();
                    assert!(model.predict(x.view()).unwrap().iter().all(|v| v.is_finite()));
                }
            }
        }
        // A duplicated column shares the coefficient; an exact fit stays exact.
        let x = array![[1.0f32, 1.0], [2.0, 2.0], [3.0, 3.0]];
        let model = fit(x.view(), &[2.0, 4.0, 6.0], None, &RidgeParams { alpha: 0.0 }, &Cancel::new()).unwrap();
        close(&model, &[1.0, 1.0], 0.0, 1e-4);
    }

    #[test]
    fn bad_arguments_are_errors() {
        let (x, y, cancel) = (fixture::x(), fixture::y(), Cancel::new());
        assert!(matches!(fit(x.view(), &y[1..], None, &Default::default(), &cancel), Err(LearnError::Length { .. })));
        assert!(fit(x.view(), &y, None, &RidgeParams { alpha: -1.0 }, &cancel).is_err());
        let model = fit(x.view(), &y, None, &Default::default(), &cancel).unwrap();
        assert_eq!(model.predict(array![[1.0f32]].view()), Err(LearnError::Columns { expected: 4, found: 1 }));
        assert!(model.predict(Array2::zeros((0, 4)).view()).unwrap().is_empty());
        assert!(Ridge { coef: vec![f64::INFINITY], intercept: 0.0 }.check().is_err());
        let empty = Ridge { coef: vec![], intercept: 1.5 };
        assert_eq!(empty.predict(Array2::zeros((2, 0)).view()), Ok(vec![1.5; 2]));
        cancel.cancel();
        assert_eq!(fit(x.view(), &y, None, &Default::default(), &cancel), Err(LearnError::Cancelled));
    }
}
