//! Linear models by stochastic gradient descent on small batches of standardised rows.
//!
//! The coefficients are the average of the iterates (Polyak and Juditsky 1992) since the last pass whose number is a power of two. Rates fall with the root of the
//! number of passes, or are scaled by the moments of the gradient (Kingma and Ba, *Adam*, 2015). The order of rows comes from the
//! seed. Class scores of the modified Huber loss (Zhang 2004), one class against the rest, are calibrated.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LearnError;
use super::calibrate;
use super::common::{Sample, check_codes, check_targets, clamp_coef, present};
use super::lasso::standard_target;
use super::logistic::Logistic;
use super::logistic_loss::{multiply, multiply_transposed};
use super::ridge::Ridge;
use super::scale::Standard;

/// Rows of a batch.
const BATCH: usize = 32;
/// Passes without a fall of the loss by a thousandth, after which the fit ends.
const PATIENCE: usize = 3;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdParams {
    /// Modified Huber instead of log loss for classes, Huber instead of squared loss for values. Default no.
    pub robust: bool,
    /// Strength of the penalty, from 0. Default 1e-4.
    pub alpha: f64,
    /// Share of the L1 penalty, 0 to 1. Default 0.
    pub l1_ratio: f64,
    /// First step, above 0. Default 0.02.
    pub rate: f64,
    /// Whether steps are scaled by the moments of the gradient. Default yes.
    pub adam: bool,
    /// Most passes over the rows. Default 30.
    pub epochs: usize,
    /// Seed of the order of the rows.
    pub seed: u64,
}

impl Default for SgdParams {
    fn default() -> Self {
        Self { robust: false, alpha: 1e-4, l1_ratio: 0.0, rate: 0.02, adam: true, epochs: 30, seed: 0 }
    }
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights. A token that is cancelled after the first pass
/// ends the fit with what there is.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
pub fn fit_classes(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &SgdParams,
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    check_params(params)?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let columns = sample.x.ncols();
    if codes.len() == 1 {
        return Ok(Logistic { classes, codes, coef: Array2::zeros((1, columns)), intercept: vec![0.0], iterations: 0 });
    }
    let outputs = if codes.len() == 2 { 1 } else { codes.len() };
    let standard = Standard::new(&sample, cancel)?;
    let slopes = |row: usize, scores: &mut [f32]| {
        let own = index[row];
        match (params.robust, &mut *scores) {
            (true, scores) => {
                let mut loss = 0.0;
                for (k, score) in scores.iter_mut().enumerate() {
                    let y = if own == if outputs == 1 { 1 } else { k } { 1.0 } else { -1.0 };
                    let margin = y * *score;
                    let (value, slope) = match margin {
                        m if m >= 1.0 => (0.0, 0.0),
                        m if m >= -1.0 => ((1.0 - m) * (1.0 - m), -2.0 * (1.0 - m)),
                        m => (-4.0 * m, -4.0),
                    };
                    loss += value;
                    *score = y * slope;
                }
                loss
            }
            (false, [score]) => {
                let y = if own == 1 { 1.0 } else { -1.0 };
                let margin = y * *score;
                let small = (-margin.abs()).exp();
                *score = -y * if margin >= 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
                small.ln_1p() + (-margin).max(0.0)
            }
            (false, scores) => {
                let top = scores.iter().copied().fold(f32::MIN, f32::max);
                let shifted = scores[own] - top;
                scores.iter_mut().for_each(|score| *score = (*score - top).exp());
                let total: f32 = scores.iter().sum();
                scores.iter_mut().for_each(|score| *score /= total);
                scores[own] -= 1.0;
                total.ln() - shifted
            }
        }
    };
    let point = descend(&standard.z, &sample, outputs, params, cancel, slopes)?;
    let mut coef = Array2::<f64>::zeros((outputs, columns));
    let mut intercept = Vec::with_capacity(outputs);
    for (row, point) in coef.outer_iter_mut().zip(&point) {
        intercept.push(standard.restore(&point[..columns], point[columns], row));
    }
    let mut model = Logistic { classes, codes, coef, intercept, iterations: 0 };
    if params.robust {
        calibrate::on_training_rows(&mut model, sample.x.view(), &index, &sample.w);
    }
    Ok(model)
}

/// Fits the target `y` (one value a row) on `x`, with optional row weights.
///
/// # Errors
/// As [`fit_classes`].
pub fn fit_values(
    x: ArrayView2<'_, f32>,
    y: &[f32],
    weights: Option<&[f32]>,
    params: &SgdParams,
    cancel: &Cancel,
) -> Result<Ridge, LearnError> {
    check_targets(y, x.nrows())?;
    check_params(params)?;
    let sample = Sample::new(x, weights)?;
    let (y, centre, scale) = standard_target(&sample.pick(y), &sample);
    let standard = Standard::new(&sample, cancel)?;
    let slopes = |row: usize, scores: &mut [f32]| {
        let [score] = scores else { return 0.0 };
        let d = *score - y[row] as f32;
        let bound = if params.robust { 1.0 } else { f32::INFINITY };
        *score = d.clamp(-bound, bound);
        if d.abs() <= bound { 0.5 * d * d } else { bound * (d.abs() - 0.5 * bound) }
    };
    let point = descend(&standard.z, &sample, 1, params, cancel, slopes)?;
    let columns = sample.x.ncols();
    let mut coef = vec![0.0; columns];
    let point: Vec<f64> = point.iter().flatten().map(|v| v * scale).collect();
    let intercept = standard.restore(&point[..columns], clamp_coef(point[columns] + centre), &mut coef);
    Ok(Ridge { coef, intercept })
}

fn check_params(params: &SgdParams) -> Result<(), LearnError> {
    for (name, value, least) in [("alpha", params.alpha, 0.0), ("rate", params.rate, f64::MIN_POSITIVE)] {
        if !(value.is_finite() && value >= least) {
            return Err(LearnError::Param { name, value, expected: "a finite number above 0" });
        }
    }
    if (0.0..=1.0).contains(&params.l1_ratio) {
        return Ok(());
    }
    Err(LearnError::Param { name: "l1_ratio", value: params.l1_ratio, expected: "a number from 0 to 1" })
}

/// Coefficients and intercept of each output. `slopes` replaces the scores of a row by the loss's derivatives and returns the loss.
fn descend(
    z: &Array2<f32>,
    sample: &Sample<'_>,
    outputs: usize,
    params: &SgdParams,
    cancel: &Cancel,
    slopes: impl Fn(usize, &mut [f32]) -> f32,
) -> Result<Vec<Vec<f64>>, LearnError> {
    let (rows, columns) = z.dim();
    let width = columns + 1;
    // One more column of ones is the intercept's.
    let mut coef = Array2::<f32>::zeros((outputs, width));
    let mut sum = Array2::<f64>::zeros((outputs, width));
    let (mut first, mut second) = (Array2::<f32>::zeros((outputs, width)), Array2::<f32>::zeros((outputs, width)));
    let mut gradient = Array2::<f32>::zeros((outputs, width));
    let mut block = Array2::<f32>::ones((BATCH, width));
    let mut scores = Array2::<f32>::zeros((BATCH, outputs));
    let mut order: Vec<usize> = (0..rows).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(params.seed);
    let mean_weight = sample.total / rows as f64;
    let (l1, l2) = ((params.alpha * params.l1_ratio) as f32, (params.alpha * (1.0 - params.l1_ratio)) as f32);
    let (mut steps, mut kept) = (0usize, 0usize);
    let (mut best, mut stalled) = (f64::INFINITY, 0);
    for epoch in 0..params.epochs.max(1) {
        for last in (1..rows).rev() {
            order.swap(last, rng.random_range(0..=last));
        }
        let mut loss = 0.0f64;
        if epoch.is_power_of_two() {
            sum.fill(0.0);
            kept = 0;
        }
        for batch in order.chunks(BATCH) {
            if cancel.is_cancelled() {
                if epoch == 0 {
                    return Err(LearnError::Cancelled);
                }
                return Ok(if kept > 0 { averaged(&sum, kept) } else { averaged(&coef.mapv(f64::from), 1) });
            }
            let mut block = block.slice_mut(ndarray::s![..batch.len(), ..]);
            let mut scores = scores.slice_mut(ndarray::s![..batch.len(), ..]);
            for (mut to, &row) in block.outer_iter_mut().zip(batch) {
                to.iter_mut().zip(z.row(row)).for_each(|(to, &from)| *to = from);
            }
            multiply(block.view(), &coef, scores.view_mut());
            for (mut scores, &row) in scores.outer_iter_mut().zip(batch) {
                let weight = (sample.w[row] / mean_weight) as f32;
                if let Some(scores) = scores.as_slice_mut() {
                    loss += f64::from(weight * slopes(row, scores));
                    scores.iter_mut().for_each(|score| *score *= weight / batch.len() as f32);
                }
            }
            multiply_transposed(scores.view(), block.view(), &mut gradient);
            steps += 1;
            let passes = (steps * BATCH) as f64 / rows as f64;
            let rate = (params.rate / (1.0 + passes).sqrt()) as f32;
            // Corrections of the moments' start at zero.
            let (start_first, start_second) =
                (1.0 - 0.9f32.powi(steps.min(10_000) as i32), 1.0 - 0.999f32.powi(steps.min(100_000) as i32));
            let moments = first.iter_mut().zip(second.iter_mut());
            for (place, ((coef, &slope), (first, second))) in coef.iter_mut().zip(&gradient).zip(moments).enumerate() {
                let penalised = place % width < columns;
                let slope = slope + if penalised { l2 * *coef } else { 0.0 };
                *coef -= if params.adam {
                    *first += 0.1 * (slope - *first);
                    *second += 0.001 * (slope * slope - *second);
                    rate * (*first / start_first) / ((*second / start_second).sqrt() + 1e-8)
                } else {
                    rate * slope
                };
                if penalised && l1 > 0.0 {
                    *coef = coef.signum() * (coef.abs() - rate * l1).max(0.0);
                }
                *coef = if coef.is_finite() { coef.clamp(-1e6, 1e6) } else { 0.0 };
            }
            kept += 1;
            sum.zip_mut_with(&coef, |sum, &c| *sum += f64::from(c));
        }
        let loss = loss / rows as f64;
        stalled = if loss < best * (1.0 - 1e-3) { 0 } else { stalled + 1 };
        best = best.min(loss);
        if stalled >= PATIENCE {
            break;
        }
    }
    Ok(averaged(&sum, kept))
}

fn averaged(sum: &Array2<f64>, kept: usize) -> Vec<Vec<f64>> {
    sum.outer_iter().map(|row| row.iter().map(|v| v / kept as f64).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, assert_sound};
    use super::*;

    #[test]
    fn comes_close_to_the_exact_solutions() {
        let x = Array2::from_shape_fn((600, 3), |(i, j)| ((i * (7 + j) * 31 + j * 17) % 101) as f32 / 50.0 - 1.0);
        let y: Vec<f32> = x.outer_iter().map(|row| 3.0 * row[0] - 2.0 * row[1] + 1.0).collect();
        for adam in [true, false] {
            for robust in [true, false] {
                let params = SgdParams { adam, robust, rate: if adam { 0.02 } else { 0.3 }, ..Default::default() };
                let model = fit_values(x.view(), &y, None, &params, &Cancel::new()).unwrap();
                for (found, expected) in model.coef.iter().chain([&model.intercept]).zip([3.0, -2.0, 0.0, 1.0]) {
                    assert!((found - expected).abs() < 0.1, "{adam} {robust} {model:?}");
                }
            }
        }
    }

    #[test]
    fn separates_classes_and_survives_nasty_tables() {
        let x = fixture::x();
        for robust in [true, false] {
            let params = SgdParams { robust, epochs: 200, rate: 0.05, ..Default::default() };
            let model = fit_classes(x.view(), &CODES, 3, None, &params, &Cancel::new()).unwrap();
            let found = model.predict(x.view()).unwrap();
            let right = (0..15).filter(|&row| found[(row, CODES[row] as usize)] > 0.4).count();
            assert!(right >= 13, "{robust} {found}");
            for x in fixture::nasty() {
                for classes in [1u32, 2, 100] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let params = SgdParams { robust, l1_ratio: 0.5, rate: 1.0, adam: false, ..Default::default() };
                    let model = fit_classes(x.view(), &codes, classes as usize, None, &params, &Cancel::new()).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
                }
                let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e17).collect();
                let model = fit_values(x.view(), &y, None, &SgdParams { robust, ..Default::default() }, &Cancel::new()).unwrap();
                model.check().unwrap();
            }
        }
    }
}
