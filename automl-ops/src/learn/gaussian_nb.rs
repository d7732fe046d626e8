//! Gaussian naive Bayes: each column is normal within a class, independent of the others.
//!
//! Everything is kept and summed in double precision as logarithms, so that thousands of columns do not underflow.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView1, ArrayView2};

use super::LearnError;
use super::common::{BLOCK, Sample, check_codes, check_coef, check_input, check_present, present, softmax_into};

/// Smallest variance kept; a squared `f32` divided by it is still finite.
const MIN_VARIANCE: f64 = 1e-100;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNbParams {
    /// Share of the largest column variance that is added to all variances, from 0. Default 1e-9.
    pub var_smoothing: f64,
    /// One prior a class, not negative, not all zero; `None` takes the (weighted) frequencies. Default `None`.
    pub priors: Option<Vec<f64>>,
}

impl Default for GaussianNbParams {
    fn default() -> Self {
        Self { var_smoothing: 1e-9, priors: None }
    }
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNb {
    /// Number of classes, thus of columns of the prediction.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; the others get probability 0.
    pub codes: Vec<u32>,
    /// Log prior of each class of `codes`, up to a constant.
    pub log_prior: Vec<f64>,
    /// Mean, classes of `codes` x columns.
    pub mean: Array2<f64>,
    /// Smoothed variance, classes of `codes` x columns, at least 1e-100.
    pub variance: Array2<f64>,
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &GaussianNbParams,
    cancel: &Cancel,
) -> Result<GaussianNb, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    let smoothing = params.var_smoothing;
    if !(smoothing.is_finite() && smoothing >= 0.0) {
        return Err(LearnError::Param { name: "var_smoothing", value: smoothing, expected: "a finite number from 0" });
    }
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let columns = sample.x.ncols();
    let mut mass = vec![0.0f64; codes.len()];
    index.iter().zip(&sample.w).for_each(|(&class, w)| mass[class] += w);
    let log_prior = log_priors(params.priors.as_deref(), &codes, classes, &mass)?;

    let origin = sample.x.row(0).mapv(f64::from);
    let (mut mean, mut variance) = deviations(&sample, &index, &mass, &origin.to_vec(), cancel)?;
    let top = (0..columns).map(|j| spread(mean.column(j), variance.column(j), &mass)).fold(0.0, f64::max);
    for mut means in mean.outer_iter_mut() {
        means.iter_mut().zip(&origin).for_each(|(mean, origin)| *mean += origin);
    }
    // Where every column is constant there is no scale: any variance gives the same posterior to the classes.
    let floor = if top > 0.0 { (smoothing * top).max(1e-15 * top).max(MIN_VARIANCE) } else { 1.0 };
    variance.iter_mut().for_each(|v| *v = (*v + smoothing * top).max(floor));
    Ok(GaussianNb { classes, codes, log_prior, mean, variance })
}

/// Mean deviation from `origin` and variance of each class, classes x columns.
///
/// One pass of sums and squares; where a mean is so far from the origin that a variance would lose its digits, a second one.
fn deviations(
    sample: &Sample<'_>,
    index: &[usize],
    mass: &[f64],
    origin: &[f64],
    cancel: &Cancel,
) -> Result<(Array2<f64>, Array2<f64>), LearnError> {
    let mut mean = Array2::<f64>::zeros((mass.len(), origin.len()));
    let mut variance = Array2::<f64>::zeros(mean.raw_dim());
    for (row, values) in sample.x.outer_iter().enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let (class, w) = (index[row], sample.w[row]);
        let (mut sums, mut squares) = (mean.row_mut(class), variance.row_mut(class));
        if let (Some(sums), Some(squares), Some(values)) = (sums.as_slice_mut(), squares.as_slice_mut(), values.to_slice()) {
            for (((sum, square), &v), origin) in sums.iter_mut().zip(squares).zip(values).zip(origin) {
                let d = f64::from(v) - origin;
                *sum += w * d;
                *square += w * d * d;
            }
        }
    }
    let mut lost = false;
    for ((mut mean, mut variance), mass) in mean.outer_iter_mut().zip(variance.outer_iter_mut()).zip(mass) {
        for (mean, variance) in mean.iter_mut().zip(variance.iter_mut()) {
            *mean /= mass;
            let square = *mean * *mean;
            *variance = (*variance / mass - square).max(0.0);
            lost |= square > 1e6 * *variance && square > 0.0;
        }
    }
    if !lost {
        return Ok((mean, variance));
    }
    variance.fill(0.0);
    for (row, values) in sample.x.outer_iter().enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let (class, w) = (index[row], sample.w[row]);
        let sums = variance.row_mut(class).into_iter().zip(mean.row(class));
        for ((sum, mean), (&v, origin)) in sums.zip(values.iter().zip(origin)) {
            let d = f64::from(v) - origin - mean;
            *sum += w * d * d / mass[class];
        }
    }
    Ok((mean, variance))
}

impl GaussianNb {
    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.mean.ncols())?;
        let inverse = self.variance.mapv(|v| 0.5 / v);
        let base: Vec<f64> = (self.variance.outer_iter().zip(&self.log_prior))
            .map(|(row, prior)| prior - 0.5 * row.iter().map(|v| v.ln()).sum::<f64>())
            .collect();
        let mut out = Array2::zeros((x.nrows(), self.classes));
        let mut scores = vec![0.0f64; self.codes.len()];
        for (to, values) in out.outer_iter_mut().zip(x.outer_iter()) {
            let classes = self.mean.outer_iter().zip(inverse.outer_iter()).zip(&base);
            for (score, ((mean, inverse), base)) in scores.iter_mut().zip(classes) {
                let mut sum = 0.0;
                for ((&v, mean), inverse) in values.iter().zip(mean).zip(inverse) {
                    let d = f64::from(v) - mean;
                    sum += d * d * inverse;
                }
                *score = base - sum;
            }
            softmax_into(scores.iter(), &self.codes, to);
        }
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        const MODEL: &str = "Gaussian naive Bayes";
        check_present(MODEL, &self.codes, self.classes)?;
        check_coef(MODEL, self.log_prior.iter().chain(&self.mean).chain(&self.variance))?;
        let count = self.codes.len();
        if self.log_prior.len() != count || self.mean.nrows() != count || self.mean.dim() != self.variance.dim() {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the shapes do not fit the classes" });
        }
        if self.variance.iter().any(|&v| v < MIN_VARIANCE) || self.mean.iter().any(|v| v.abs() > f64::from(f32::MAX)) {
            return Err(LearnError::Corrupt { model: MODEL, problem: "a mean or a variance is out of range" });
        }
        Ok(())
    }
}

/// Variance of a column over all classes: the mean variance within plus the variance of the means.
fn spread(mean: ArrayView1<'_, f64>, variance: ArrayView1<'_, f64>, mass: &[f64]) -> f64 {
    let total: f64 = mass.iter().sum();
    let centre = mean.iter().zip(mass).map(|(mean, mass)| mean * mass).sum::<f64>() / total;
    let parts = mean.iter().zip(variance).zip(mass).map(|((m, v), mass)| mass * (v + (m - centre) * (m - centre)));
    parts.sum::<f64>() / total
}

/// Log prior of each class that occurs: as given, or by frequency.
fn log_priors(given: Option<&[f64]>, codes: &[u32], classes: usize, mass: &[f64]) -> Result<Vec<f64>, LearnError> {
    let Some(given) = given else {
        return Ok(mass.iter().map(|m| m.ln()).collect());
    };
    if given.len() != classes {
        return Err(LearnError::Length { what: "priors", expected: classes, found: given.len() });
    }
    if let Some(&value) = given.iter().find(|p| !(p.is_finite() && **p >= 0.0)) {
        return Err(LearnError::Param { name: "priors", value, expected: "finite numbers from 0" });
    }
    // A prior of zero keeps a class out unless no other class is left.
    Ok(codes.iter().filter_map(|&code| given.get(code as usize)).map(|p| p.max(1e-300).ln()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn matches_the_closed_form() {
        let x = array![[0.0f32], [2.0], [4.0], [8.0]];
        let params = GaussianNbParams { var_smoothing: 0.0, priors: Some(vec![0.5, 0.5]) };
        let model = fit(x.view(), &[0, 0, 1, 1], 2, None, &params, &Cancel::new()).unwrap();
        assert_eq!((model.mean[(0, 0)], model.mean[(1, 0)]), (1.0, 6.0));
        assert_eq!((model.variance[(0, 0)], model.variance[(1, 0)]), (1.0, 4.0));
        // exp(-2) / 1 against exp(-9 / 8) / 2
        let a = (-2f64).exp();
        let b = (-9f64 / 8.0).exp() / 2.0;
        let p = model.predict(array![[3.0f32]].view()).unwrap();
        assert!((f64::from(p[(0, 0)]) - a / (a + b)).abs() < 1e-6);
    }

    #[test]
    fn matches_scikit_learn() {
        let x = fixture::x();
        // A large smoothing keeps the probabilities away from 0 and 1.
        let params = GaussianNbParams { var_smoothing: 0.5, priors: None };
        let p = fit(x.view(), &CODES, 3, None, &params, &Cancel::new()).unwrap().predict(fixture::queries().view()).unwrap();
        let expected = array![
            [0.9212416477, 0.0774786850, 0.0012796673],
            [0.1014232015, 0.8091765792, 0.0894002193],
            [0.0001271889, 0.1511230423, 0.8487497688]
        ];
        assert_probabilities(&p, &expected, 1e-5);
        // Weighted: scikit-learn on the rows written twice, since it smooths by the unweighted variance.
        let p = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &params, &Cancel::new()).unwrap();
        let expected = array![
            [0.9380521829, 0.0607294329, 0.0012183842],
            [0.0970392966, 0.8128879598, 0.0900727436],
            [0.0000829109, 0.2051263206, 0.7947907685]
        ];
        assert_probabilities(&p.predict(fixture::queries().view()).unwrap(), &expected, 1e-5);
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let (x, rows) = (fixture::x(), fixture::doubled());
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let a = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &Default::default(), &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &codes, 3, None, &Default::default(), &Cancel::new()).unwrap();
        assert!(a.variance.iter().zip(&b.variance).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!((a.log_prior[0] - b.log_prior[0]).abs() < 1e-12);
    }

    #[test]
    fn nasty_tables_give_probabilities() {
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                for var_smoothing in [0.0, 1e-9] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let params = GaussianNbParams { var_smoothing, priors: None };
                    let model = fit(x.view(), &codes, classes as usize, None, &params, &Cancel::new()).unwrap();
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
        let model = fit(x.view(), &CODES, 3, None, &Default::default(), &cancel).unwrap();
        assert!(matches!(model.predict(array![[1.0f32]].view()), Err(LearnError::Columns { .. })));
        assert!(GaussianNb { variance: Array2::zeros((3, 4)), ..model.clone() }.check().is_err());
        assert!(GaussianNb { variance: Array2::ones((3, 5)), ..model.clone() }.check().is_err());
        assert!(GaussianNb { log_prior: vec![f64::NAN; 3], ..model }.check().is_err());
        let short = GaussianNbParams { priors: Some(vec![1.0]), ..Default::default() };
        assert!(fit(x.view(), &CODES, 3, None, &short, &cancel).is_err());
        cancel.cancel();
        assert_eq!(fit(x.view(), &CODES, 3, None, &Default::default(), &cancel), Err(LearnError::Cancelled));
    }
}
