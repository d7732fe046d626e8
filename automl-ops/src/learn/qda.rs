//! Quadratic discriminant analysis: each class is normal with a mean and a covariance of its own.
//!
//! The covariances are maximum likelihood (divisor: the weight of the class), mixed with the variances of the columns over all
//! classes: unlike the identity, these do not depend on the units of a column. A class with fewer rows than columns has a
//! singular covariance, so a share of 1e-9 is always mixed in.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2, Axis};

use super::LearnError;
use super::common::{
    Sample, centred_blocks, check_codes, check_coef, check_input, check_present, clamp_coef, class_means, present, softmax_into,
};
use super::linalg::{Cholesky, add_gram};
use super::scale::moments;

/// Most numbers in the covariances of all classes together: half a gigabyte.
pub const MAX_SIZE: usize = 1 << 26;

/// Hyperparameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QdaParams {
    /// Share of the overall column variances in each covariance, 0 to 1. Default 0.
    pub reg_param: f64,
}

/// A fitted quadratic discriminant analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Qda {
    /// Number of classes, thus of columns of the prediction.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; the others get probability 0.
    pub codes: Vec<u32>,
    /// Mean, classes of `codes` x columns.
    pub mean: Array2<f64>,
    /// For each class of `codes` the matrix `W` (columns x columns) with `W'W` the inverse of its covariance.
    pub whiten: Vec<Array2<f64>>,
    /// For each class of `codes` the log prior minus half the log determinant of its covariance.
    pub offset: Vec<f64>,
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, covariances of more than
/// [`MAX_SIZE`] numbers, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &QdaParams,
    cancel: &Cancel,
) -> Result<Qda, LearnError> {
    const WHAT: &str = "quadratic discriminant analysis";
    check_codes(codes, classes, x.nrows())?;
    if !(0.0..=1.0).contains(&params.reg_param) {
        return Err(LearnError::Param { name: "reg_param", value: params.reg_param, expected: "a number from 0 to 1" });
    }
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let columns = sample.x.ncols();
    let limit = (MAX_SIZE / codes.len()).isqrt();
    if columns > limit {
        return Err(LearnError::TooLarge { what: WHAT, size: columns, limit });
    }
    let (_, variance) = moments(sample.x.view(), Some(&sample.w), cancel)?;
    let (mean, mass) = class_means(&sample, &index, codes.len(), cancel)?;
    let share = params.reg_param.max(1e-9);
    let mut whiten = Vec::with_capacity(codes.len());
    let mut offset = Vec::with_capacity(codes.len());
    for (class, mass) in mass.iter().enumerate() {
        let rows: Vec<usize> = (0..index.len()).filter(|&row| index[row] == class).collect();
        let own = sample.x.select(Axis(0), &rows);
        let w: Vec<f64> = rows.iter().map(|&row| sample.w[row]).collect();
        let mut covariance = Array2::<f64>::zeros((columns, columns));
        let centre: Vec<f64> = mean.row(class).to_vec();
        centred_blocks(own.view(), &centre, Some(&w), cancel, |_, block| {
            add_gram(&mut covariance, (1.0 - share) / mass, block);
        })?;
        for (d, &v) in covariance.diag_mut().iter_mut().zip(&variance) {
            // A column that is constant over all classes says nothing: any variance serves.
            *d = if v > 0.0 { *d + share * v } else { 1.0 };
        }
        let (mut root, log_det) = Cholesky::new(WHAT, covariance.view(), cancel)?.whitener(cancel)?;
        root.mapv_inplace(clamp_coef);
        whiten.push(root);
        offset.push(clamp_coef((mass / sample.total).ln() - 0.5 * log_det));
    }
    Ok(Qda { classes, codes, mean, whiten, offset })
}

impl Qda {
    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.mean.ncols())?;
        let mut scores = Array2::<f64>::zeros((x.nrows(), self.codes.len()));
        for (class, (root, offset)) in self.whiten.iter().zip(&self.offset).enumerate() {
            let centre: Vec<f64> = self.mean.row(class).to_vec();
            centred_blocks(x, &centre, None, cancel, |start, block| {
                for (row, d) in block.dot(&root.t()).outer_iter().enumerate() {
                    scores[(start + row, class)] = offset - 0.5 * d.dot(&d);
                }
            })?;
        }
        let mut out = Array2::zeros((x.nrows(), self.classes));
        for (to, scores) in out.outer_iter_mut().zip(scores.outer_iter()) {
            softmax_into(scores.iter(), &self.codes, to);
        }
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        const MODEL: &str = "quadratic discriminant";
        check_present(MODEL, &self.codes, self.classes)?;
        check_coef(MODEL, self.mean.iter().chain(&self.offset).chain(self.whiten.iter().flatten()))?;
        let (count, columns) = self.mean.dim();
        let counts = [count, self.whiten.len(), self.offset.len()];
        if counts.iter().any(|&n| n != self.codes.len()) || self.whiten.iter().any(|w| w.dim() != (columns, columns)) {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the shapes do not fit the classes" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::array;

    #[test]
    fn matches_the_densities() {
        let x = fixture::x();
        let q = array![[5.5f32, 3.0, 2.7, 0.8], [6.3, 3.0, 5.0, 1.75]];
        let params = QdaParams { reg_param: 0.5 };
        let model = fit(x.view(), &CODES, 3, None, &params, &Cancel::new()).unwrap();
        model.check().unwrap();
        // From scipy's multivariate normal density with the same covariances.
        assert_probabilities(
            &model.predict(q.view(), &Cancel::new()).unwrap(),
            &array![[0.552673377, 0.445490749, 0.001835874], [0.000059374, 0.456172785, 0.543767841]],
            1e-5,
        );
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let (x, rows) = (fixture::x(), fixture::doubled());
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let params = QdaParams { reg_param: 0.01 };
        let a = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &params, &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &codes, 3, None, &params, &Cancel::new()).unwrap();
        let pairs = a.whiten.iter().flatten().zip(b.whiten.iter().flatten());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn nasty_tables_give_probabilities() {
        let cancel = Cancel::new();
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                for reg_param in [0.0, 0.5, 1.0] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let model = fit(x.view(), &codes, classes as usize, None, &QdaParams { reg_param }, &cancel).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict(x.view(), &cancel).unwrap());
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view(), &cancel).unwrap());
                }
            }
        }
    }

    #[test]
    fn bad_arguments_and_corrupt_models_are_errors() {
        let (x, cancel) = (fixture::x(), Cancel::new());
        assert!(fit(x.view(), &CODES, 3, None, &QdaParams { reg_param: -0.5 }, &cancel).is_err());
        let model = fit(x.view(), &CODES, 3, None, &Default::default(), &cancel).unwrap();
        assert!(matches!(model.predict(array![[1.0f32]].view(), &cancel), Err(LearnError::Columns { .. })));
        assert!(Qda { offset: vec![], ..model.clone() }.check().is_err());
        assert!(Qda { whiten: vec![Array2::zeros((3, 4)); 3], ..model.clone() }.check().is_err());
        cancel.cancel();
        assert_eq!(model.predict(x.view(), &cancel), Err(LearnError::Cancelled));
    }
}
