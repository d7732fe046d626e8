//! Ridge regression that finds its own penalty: the evidence of MacKay (*Bayesian interpolation*, 1992), by one eigen-decomposition.
//!
//! Columns are standardised, so that one prior variance fits them all. In the eigenbasis of the Gram matrix (of the rows, where there
//! are fewer of them) an update of the two precisions costs one pass over the eigenvalues.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::common::{Sample, centred_blocks, check_targets};
use super::lasso::standard_target;
use super::linalg::{add_gram, eigen};
use super::ridge::Ridge;
use super::scale::Standard;

/// Largest side of the matrix that is decomposed.
pub const MAX_SIDE: usize = 1024;
/// Shape and rate of the Gamma priors of both precisions.
const PRIOR: f64 = 1e-6;

/// Fits the target `y` (one value a row) on `x`, with optional row weights.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, more than [`MAX_SIDE`] rows and columns, or a cancelled token.
pub fn fit(x: ArrayView2<'_, f32>, y: &[f32], weights: Option<&[f32]>, cancel: &Cancel) -> Result<Ridge, LearnError> {
    const WHAT: &str = "Bayesian ridge regression";
    check_targets(y, x.nrows())?;
    let sample = Sample::new(x, weights)?;
    let (rows, columns) = sample.x.dim();
    let side = rows.min(columns);
    if side > MAX_SIDE {
        return Err(LearnError::TooLarge { what: WHAT, size: side, limit: MAX_SIDE });
    }
    let (y, y_mean, y_scale) = standard_target(&sample.pick(y), &sample);
    let standard = Standard::new(&sample, cancel)?;
    let z = standard.z.view();
    let centre = vec![0.0; columns];
    let mut moment = vec![0.0; columns];
    let mut matrix = Array2::<f64>::zeros((side, side));
    let wide = columns > rows;
    let mut all = Array2::<f64>::zeros(if wide { (rows, columns) } else { (0, 0) });
    centred_blocks(z, &centre, Some(&sample.w), cancel, |start, block| {
        if wide {
            all.slice_mut(s![start..start + block.nrows(), ..]).assign(&block);
        } else {
            add_gram(&mut matrix, 1.0, block);
        }
        for (offset, row) in block.outer_iter().enumerate() {
            let factor = y[start + offset] * sample.w[start + offset].sqrt();
            row.iter().zip(&mut moment).for_each(|(v, sum)| *sum += factor * v);
        }
    })?;
    if wide {
        general_mat_mul(1.0, &all, &all.t(), 0.0, &mut matrix);
    }
    let (mut values, mut vectors) = eigen(WHAT, &matrix)?;
    let top = values.first().copied().unwrap_or(0.0);
    let kept = values.iter().take_while(|v| **v > 1e-10 * top.max(1e-300)).count();
    values.truncate(kept);
    vectors = vectors.slice(s![..kept, ..]).to_owned();
    if wide {
        // From the eigenvectors of the rows to those of the columns.
        vectors = vectors.dot(&all);
        for (mut vector, value) in vectors.outer_iter_mut().zip(&values) {
            vector.mapv_inplace(|v| v / value.sqrt());
        }
    }
    let moments: Vec<f64> = vectors.outer_iter().map(|v| v.iter().zip(&moment).map(|(a, b)| a * b).sum()).collect();
    let total: f64 = y.iter().zip(&sample.w).map(|(y, w)| w * y * y).sum();
    let solution = precisions(&values, &moments, total, sample.total);
    let mut beta = vec![0.0; columns];
    for (vector, c) in vectors.outer_iter().zip(&solution) {
        beta.iter_mut().zip(vector).for_each(|(b, v)| *b += y_scale * c * v);
    }
    let mut coef = vec![0.0; columns];
    let intercept = standard.restore(&beta, y_mean, &mut coef);
    Ok(Ridge { coef, intercept })
}

/// Coefficients in the eigenbasis at the precisions of most evidence. `moments` are the products with the target, `square` its
/// squared norm and `count` the weight of the rows.
fn precisions(values: &[f64], moments: &[f64], square: f64, count: f64) -> Vec<f64> {
    let (mut noise, mut prior) = (1.0, 1.0);
    let mut coef = vec![0.0; values.len()];
    for _ in 0..300 {
        let mut moved = 0.0;
        for ((c, s), m) in coef.iter_mut().zip(values).zip(moments) {
            let new = noise * m / (noise * s + prior);
            moved += (new - *c).abs();
            *c = new;
        }
        let effective: f64 = values.iter().map(|s| noise * s / (noise * s + prior)).sum();
        let norm: f64 = coef.iter().map(|c| c * c).sum();
        let fitted: f64 = coef.iter().zip(values).zip(moments).map(|((c, s), m)| c * (c * s - 2.0 * m)).sum();
        let residual = (square + fitted).max(0.0);
        prior = (effective + 2.0 * PRIOR) / (norm + 2.0 * PRIOR);
        noise = ((count - effective).max(0.0) + 2.0 * PRIOR) / (residual + 2.0 * PRIOR);
        if moved < 1e-5 {
            break;
        }
    }
    coef
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, WEIGHTS};
    use super::*;
    use ndarray::Axis;

    #[test]
    fn matches_scikit_learn() {
        let (x, y) = (fixture::x(), fixture::y());
        let model = fit(x.slice(s![.., 1..]), &y, None, &Cancel::new()).unwrap();
        for (found, expected) in model.coef.iter().chain([&model.intercept]).zip(BAYES) {
            assert!((found - expected).abs() < 1e-3, "{model:?}");
        }
    }

    const BAYES: [f64; 4] = [0.7970513, 0.764495, -0.7052751, 1.402384];

    #[test]
    fn a_weight_of_two_is_a_row_twice_and_nasty_tables_work() {
        let (x, y) = (fixture::x(), fixture::y());
        let rows = fixture::doubled();
        let twice: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
        let x = x.slice(s![.., 1..]);
        let a = fit(x, &y, Some(&WEIGHTS), &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &twice, None, &Cancel::new()).unwrap();
        assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-5));
        for x in fixture::nasty() {
            let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e17).collect();
            let model = fit(x.view(), &y, None, &Cancel::new()).unwrap();
            model.check().unwrap();
            assert!(model.predict(x.view()).unwrap().iter().all(|v| v.is_finite()));
        }
    }
}
