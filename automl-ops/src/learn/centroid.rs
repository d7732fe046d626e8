//! Nearest centroids with shrinkage (Tibshirani et al., *Diagnosis of multiple cancer types by shrunken centroids of gene expression*,
//! 2002), calibrated to probabilities.
//!
//! Columns are divided by their deviation within the classes, and what a class's mean differs from the overall mean is shrunk
//! towards zero, which drops columns. Squared distances to centroids differ by a linear function, so the result is a linear model.

use automl_core::Cancel;
use ndarray::ArrayView2;

use super::LearnError;
use super::calibrate;
use super::common::{BLOCK, Sample, check_codes, class_means, present};
use super::logistic::Logistic;

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights; `shrinkage`, from 0, is the threshold in standard
/// errors of a class's mean. The result is in the fields of a logistic regression.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    shrinkage: f64,
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    if !(shrinkage.is_finite() && shrinkage >= 0.0) {
        return Err(LearnError::Param { name: "shrinkage", value: shrinkage, expected: "a finite number from 0" });
    }
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let (mut mean, mass) = class_means(&sample, &index, codes.len(), cancel)?;
    let columns = sample.x.ncols();
    let mut middle = vec![0.0; columns];
    for (mean, mass) in mean.outer_iter().zip(&mass) {
        middle.iter_mut().zip(mean).for_each(|(to, m)| *to += m * mass / sample.total);
    }
    let mut within = vec![0.0; columns];
    for (row, values) in sample.x.outer_iter().enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        for ((sum, &v), mean) in within.iter_mut().zip(values).zip(mean.row(index[row])) {
            *sum += sample.w[row] * (f64::from(v) - mean).powi(2);
        }
    }
    let mut deviation: Vec<f64> = within.iter().map(|sum| (sum / sample.total).sqrt()).collect();
    let mut sorted = deviation.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    // Half the median deviation is added, so that a column that barely varies does not decide alone.
    let base = 0.5 * sorted.get(columns / 2).copied().unwrap_or(0.0);
    let top = sorted.last().copied().unwrap_or(0.0);
    let fallback = if top > 0.0 { top } else { 1.0 };
    deviation.iter_mut().for_each(|s| *s = if *s + base > 0.0 { *s + base } else { fallback });

    let mut intercept = Vec::with_capacity(codes.len());
    for (mut row, mass) in mean.outer_iter_mut().zip(&mass) {
        let error = (1.0 / mass - 1.0 / sample.total).max(0.0).sqrt();
        let mut offset = (mass / sample.total).ln();
        for ((m, middle), s) in row.iter_mut().zip(&middle).zip(&deviation) {
            let d = (*m - middle) / s;
            let shrunk = d.signum() * (d.abs() - shrinkage * error).max(0.0);
            *m = if shrunk == 0.0 { 0.0 } else { shrunk / s };
            // Half the squared distance, less what all classes share.
            offset -= *m * middle + 0.5 * shrunk * shrunk;
        }
        intercept.push(offset);
    }
    let mut model = Logistic::from_classes(classes, codes, mean, intercept);
    if model.codes.len() > 1 {
        calibrate::on_training_rows(&mut model, sample.x.view(), &index, &sample.w);
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_sound};
    use super::*;
    use ndarray::Axis;

    #[test]
    fn separates_and_drops_columns() {
        let x = fixture::x();
        let model = fit(x.view(), &CODES, 3, None, 0.0, &Cancel::new()).unwrap();
        let found = model.predict(x.view()).unwrap();
        assert!((0..15).filter(|&row| found[(row, CODES[row] as usize)] > 0.4).count() >= 14, "{found}");
        let none = fit(x.view(), &CODES, 3, None, 1e3, &Cancel::new()).unwrap();
        assert!(none.coef.iter().all(|&c| c == 0.0));
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice_and_nasty_tables_work() {
        let (x, rows) = (fixture::x(), fixture::doubled());
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let a = fit(x.view(), &CODES, 3, Some(&WEIGHTS), 0.5, &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &codes, 3, None, 0.5, &Cancel::new()).unwrap();
        assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-3 * b.abs().max(1.0)));
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                let model = fit(x.view(), &codes, classes as usize, None, 0.5, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
            }
        }
    }
}
