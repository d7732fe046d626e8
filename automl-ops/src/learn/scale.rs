//! Standardisation: mean and standard deviation of each column, in double precision and two passes.
//!
//! Deviations are taken from the first row before they are averaged, so that a constant column has a deviation of exactly zero
//! whatever its value, and large offsets cost no digits.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{Sample, clamp_coef, plain, to_f32};

/// Mean, variance (divisor: their number) and number of the values of one column that are not `NaN`.
///
/// Deviations are taken from the first value, in eight fixed lanes, so that a constant column has a variance of exactly zero.
pub fn present_moments(values: &[f32]) -> (f64, f64, usize) {
    let first = values.iter().find(|value| !value.is_nan()).map_or(0.0, |&value| f64::from(value));
    let count = values.iter().filter(|value| !value.is_nan()).count();
    let sum = |of: fn(f64) -> f64, from: f64| {
        let term = |value: f32| if value.is_nan() { 0.0 } else { of(f64::from(value) - from) };
        let mut lanes = [0.0_f64; 8];
        let chunks = values.chunks_exact(8);
        let rest: f64 = chunks.remainder().iter().map(|&value| term(value)).sum();
        for chunk in chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += term(value);
            }
        }
        lanes.iter().sum::<f64>() + rest
    };
    let mean = first + sum(|d| d, first) / count.max(1) as f64;
    (mean, sum(|d| d * d, mean) / count.max(1) as f64, count)
}

/// Rows between two questions to the token.
const ROWS: usize = 4096;

/// Weighted mean of each column of a matrix with at least one row. `weights` are above zero.
pub(super) fn means(x: ArrayView2<'_, f32>, weights: Option<&[f64]>, cancel: &Cancel) -> Result<Vec<f64>, LearnError> {
    let first: Vec<f64> = x.outer_iter().take(1).flatten().map(|&v| f64::from(v)).collect();
    let total: f64 = weights.map_or(x.nrows() as f64, |w| w.iter().sum());
    let mut mean = vec![0.0; x.ncols()];
    for (row, values) in x.outer_iter().enumerate() {
        if row % ROWS == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let w = weights.map_or(1.0, |w| w[row]);
        for ((sum, &v), first) in mean.iter_mut().zip(plain(values).iter()).zip(&first) {
            *sum += w * (f64::from(v) - first);
        }
    }
    for (mean, first) in mean.iter_mut().zip(&first) {
        *mean = first + *mean / total;
    }
    Ok(mean)
}

/// Weighted mean and variance (divisor: sum of the weights) of each column, as [`means`].
///
/// A constant column has variance exactly zero.
pub(super) fn moments(
    x: ArrayView2<'_, f32>,
    weights: Option<&[f64]>,
    cancel: &Cancel,
) -> Result<(Vec<f64>, Vec<f64>), LearnError> {
    let mean = means(x, weights, cancel)?;
    let total: f64 = weights.map_or(x.nrows() as f64, |w| w.iter().sum());
    let mut variance = vec![0.0; x.ncols()];
    for (row, values) in x.outer_iter().enumerate() {
        if row % ROWS == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let w = weights.map_or(1.0, |w| w[row]);
        for ((sum, &v), mean) in variance.iter_mut().zip(plain(values).iter()).zip(&mean) {
            let d = f64::from(v) - mean;
            *sum += w * d * d;
        }
    }
    variance.iter_mut().for_each(|v| *v /= total);
    Ok((mean, variance))
}

/// Standardised columns of a sample, for solvers that need columns of one scale.
pub(super) struct Standard {
    /// Rows x columns, mean 0 and variance 1; a constant column is 0.
    pub z: Array2<f32>,
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// Inverse of each standard deviation; 0 for a constant column, and with it its coefficient.
    pub inverse: Vec<f64>,
}

impl Standard {
    /// Standardises with the weighted means and variances.
    pub fn new(sample: &Sample<'_>, cancel: &Cancel) -> Result<Self, LearnError> {
        let (mean, variance) = moments(sample.x.view(), Some(&sample.w), cancel)?;
        let inverse: Vec<f64> = variance.iter().map(|&v| if v > 0.0 { 1.0 / v.sqrt() } else { 0.0 }).collect();
        let mut z = Array2::<f32>::zeros(sample.x.raw_dim());
        for (row, (mut to, from)) in z.outer_iter_mut().zip(sample.x.outer_iter()).enumerate() {
            if row % ROWS == 0 && cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            let to = to.as_slice_mut().unwrap_or_default().iter_mut();
            for (((to, &from), mean), inverse) in to.zip(plain(from).iter()).zip(&mean).zip(&inverse) {
                *to = to_f32((f64::from(from) - mean) * inverse);
            }
        }
        Ok(Self { z, mean, inverse })
    }

    /// Writes the coefficients for the original columns and returns the intercept, from those for standardised ones.
    pub fn restore<'a>(&self, w: &[f64], intercept: f64, coef: impl IntoIterator<Item = &'a mut f64>) -> f64 {
        let mut offset = intercept;
        for (((to, &w), mean), inverse) in coef.into_iter().zip(w).zip(&self.mean).zip(&self.inverse) {
            *to = clamp_coef(w * inverse);
            offset -= *to * mean;
        }
        clamp_coef(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn matches_the_definition_and_leaves_constants_alone() {
        let x = array![[1.0f32, 0.1, 1e30], [3.0, 0.1, -1e30], [8.0, 0.1, 0.0]];
        let Standard { z, mean, inverse } = Standard::new(&Sample::new(x.view(), None).unwrap(), &Cancel::new()).unwrap();
        assert_eq!(mean[0], 4.0);
        assert!((1.0 / inverse[0] - (26.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(inverse[1], 0.0);
        assert!(z.iter().all(|v| v.abs() < 2.0));
        assert_eq!(z.column(1).to_vec(), vec![0.0; 3]);
        assert!((z.column(2)[0] - 1.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let x = array![[1.0f32], [5.0]];
        let twice = array![[1.0f32], [5.0], [5.0]];
        let a = moments(x.view(), Some(&[1.0, 2.0]), &Cancel::new()).unwrap();
        let b = moments(twice.view(), None, &Cancel::new()).unwrap();
        assert!((a.0[0] - b.0[0]).abs() < 1e-12 && (a.1[0] - b.1[0]).abs() < 1e-12);
    }

    #[test]
    fn the_moments_of_one_column_skip_what_is_missing() {
        let (mean, variance, count) = present_moments(&[f32::NAN, 1.0, 3.0, f32::NAN, 8.0]);
        assert!((mean - 4.0).abs() < 1e-12 && (variance - 26.0 / 3.0).abs() < 1e-12 && count == 3);
        assert_eq!(present_moments(&[0.1; 100]).1, 0.0);
        assert_eq!(present_moments(&[f32::NAN]), (0.0, 0.0, 0));
    }

    #[test]
    fn bad_input_is_an_error() {
        let cancel = Cancel::new();
        assert!(Sample::new(Array2::zeros((0, 3)).view(), None).is_err());
        let spoilt = array![[1.0f32, f32::NAN]];
        assert!(matches!(Sample::new(spoilt.view(), None), Err(LearnError::NotFinite { row: 0, column: 1, .. })));
        cancel.cancel();
        let x = array![[1.0f32]];
        assert!(matches!(Standard::new(&Sample::new(x.view(), None).unwrap(), &cancel), Err(LearnError::Cancelled)));
    }
}
