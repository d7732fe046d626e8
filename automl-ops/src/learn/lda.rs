//! Linear discriminant analysis: classes are normal with means of their own and one covariance.
//!
//! The covariance is that within the classes (maximum likelihood), shrunk towards a multiple of the identity; this equals
//! scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage)`. Where it is singular, a jitter grows until it is not.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{
    Sample, affine_blocks, centred_blocks_by, check_codes, check_coef, check_input, check_present, clamp_coef, class_means,
    present, softmax_into,
};
use super::linalg::{Cholesky, add_gram};

/// Most columns: the covariance takes 128 MB and a second of Cholesky.
pub const MAX_COLUMNS: usize = 4096;

/// Hyperparameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LdaParams {
    /// Share of the identity (times the mean variance) in the covariance, 0 to 1. Default 0.
    pub shrinkage: f64,
}

/// A fitted linear discriminant analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Lda {
    /// Number of classes, thus of columns of the prediction.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; the others get probability 0.
    pub codes: Vec<u32>,
    /// Coefficients of the scores, classes of `codes` x columns.
    pub coef: Array2<f64>,
    /// One intercept a class of `codes`.
    pub intercept: Vec<f64>,
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, more than [`MAX_COLUMNS`], or
/// a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &LdaParams,
    cancel: &Cancel,
) -> Result<Lda, LearnError> {
    const WHAT: &str = "linear discriminant analysis";
    check_codes(codes, classes, x.nrows())?;
    if !(0.0..=1.0).contains(&params.shrinkage) {
        return Err(LearnError::Param { name: "shrinkage", value: params.shrinkage, expected: "a number from 0 to 1" });
    }
    let sample = Sample::new(x, weights)?;
    let columns = sample.x.ncols();
    if columns > MAX_COLUMNS {
        return Err(LearnError::TooLarge { what: WHAT, size: columns, limit: MAX_COLUMNS });
    }
    let (codes, index) = present(&sample.pick(codes), classes);
    let (mean, mass) = class_means(&sample, &index, codes.len(), cancel)?;
    let mut covariance = Array2::<f64>::zeros((columns, columns));
    let centre = |row: usize| mean.row(index[row]);
    centred_blocks_by(sample.x.view(), centre, Some(&sample.w), cancel, |_, block| {
        add_gram(&mut covariance, 1.0 / sample.total, block);
    })?;
    let level = covariance.diag().sum() / columns as f64;
    covariance.mapv_inplace(|v| v * (1.0 - params.shrinkage));
    covariance.diag_mut().iter_mut().for_each(|v| *v += params.shrinkage * level);

    // Scores are taken from the overall mean: a common offset would only cancel, and with it digits.
    let mut middle = vec![0.0f64; columns];
    for (mean, mass) in mean.outer_iter().zip(&mass) {
        middle.iter_mut().zip(mean).for_each(|(to, m)| *to += m * mass / sample.total);
    }
    let mut offset = mean.clone();
    for mut row in offset.outer_iter_mut() {
        row.iter_mut().zip(&middle).for_each(|(v, middle)| *v -= middle);
    }
    let mut coef = offset.clone();
    Cholesky::new(WHAT, covariance.view(), cancel)?.solve_rows(&mut coef);
    coef.mapv_inplace(clamp_coef);
    let mut intercept = Vec::with_capacity(codes.len());
    for ((coef, offset), mass) in coef.outer_iter().zip(offset.outer_iter()).zip(&mass) {
        let shift: f64 = coef.iter().zip(offset).zip(&middle).map(|((c, o), m)| c * (0.5 * o + m)).sum();
        intercept.push(clamp_coef((mass / sample.total).ln() - shift));
    }
    Ok(Lda { classes, codes, coef, intercept })
}

impl Lda {
    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.coef.ncols())?;
        let mut out = Array2::zeros((x.nrows(), self.classes));
        affine_blocks(x, self.coef.view(), &self.intercept, |start, scores| {
            for (row, scores) in scores.outer_iter().enumerate() {
                softmax_into(scores.iter(), &self.codes, out.row_mut(start + row));
            }
        });
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a coefficient is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        const MODEL: &str = "linear discriminant";
        check_present(MODEL, &self.codes, self.classes)?;
        check_coef(MODEL, self.coef.iter().chain(&self.intercept))?;
        if self.coef.nrows() != self.codes.len() || self.intercept.len() != self.codes.len() {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the coefficients do not fit the classes" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn matches_scikit_learn() {
        let x = fixture::x();
        // Neighbouring classes with a strong shrinkage, so that the probabilities are not all 0 and 1.
        let params = LdaParams { shrinkage: 0.9 };
        let model = fit(x.view(), &CODES, 3, None, &params, &Cancel::new()).unwrap();
        model.check().unwrap();
        assert_probabilities(
            &model.predict(between().view()).unwrap(),
            &array![[0.939795588, 0.060204412, 0.000000000], [0.000000000, 0.336827285, 0.663172715]],
            1e-4,
        );
        let exact = fit(x.view(), &CODES, 3, None, &Default::default(), &Cancel::new()).unwrap();
        assert_probabilities(
            &exact.predict(between().view()).unwrap(),
            &array![[0.000944207, 0.999055793, 0.000000000], [0.000000000, 0.971800663, 0.028199337]],
            1e-3,
        );
    }

    fn between() -> Array2<f32> {
        array![[5.5, 3.0, 2.7, 0.8], [6.3, 3.0, 5.0, 1.75]]
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let (x, rows) = (fixture::x(), fixture::doubled());
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let a = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &Default::default(), &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &codes, 3, None, &Default::default(), &Cancel::new()).unwrap();
        assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-6 * b.abs().max(1.0)));
    }

    #[test]
    fn nasty_tables_give_probabilities() {
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                for shrinkage in [0.0, 0.5, 1.0] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let model = fit(x.view(), &codes, classes as usize, None, &LdaParams { shrinkage }, &Cancel::new()).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict(x.view()).unwrap());
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
                }
            }
        }
    }

    #[test]
    fn bad_arguments_and_corrupt_models_are_errors() {
        let (x, cancel) = (fixture::x(), Cancel::new());
        assert!(fit(x.view(), &CODES, 3, None, &LdaParams { shrinkage: 1.5 }, &cancel).is_err());
        assert!(fit(x.view(), &CODES, 3, None, &LdaParams { shrinkage: f64::NAN }, &cancel).is_err());
        let model = fit(x.view(), &CODES, 3, None, &Default::default(), &cancel).unwrap();
        assert!(matches!(model.predict(array![[1.0f32]].view()), Err(LearnError::Columns { .. })));
        assert!(Lda { intercept: vec![], ..model.clone() }.check().is_err());
        assert!(Lda { codes: vec![0, 1], ..model }.check().is_err());
        cancel.cancel();
        assert_eq!(fit(x.view(), &CODES, 3, None, &Default::default(), &cancel), Err(LearnError::Cancelled));
    }
}
