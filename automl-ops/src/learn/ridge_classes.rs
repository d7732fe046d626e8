//! Ridge classification: least squares on targets of -1 and 1, one a class, calibrated to probabilities.
//!
//! One Cholesky factor serves all classes, so that it costs what one ridge regression costs. Probabilities are
//! calibrated on leave-one-out scores, which the same factor gives: in-sample scores of a table with many
//! columns would be far too sure.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::calibrate::{self, calibrate};
use super::common::{Sample, centred_blocks, check_codes, check_from_zero, clamp_coef, plain, present};
use super::leave_one_out::{leverages, without};
use super::linalg::{Cholesky, add_gram};
use super::logistic::Logistic;
use super::ridge::{MAX_SIDE, RidgeParams};
use super::scale::means;

const WHAT: &str = "ridge classification";

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights. The result is a linear model of log
/// probabilities, in the fields of a logistic regression.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, `alpha` below 0, more than [`MAX_SIDE`] rows and
/// columns, or a cancelled token.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &RidgeParams,
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    check_from_zero("alpha", params.alpha)?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let (rows, columns) = sample.x.dim();
    if rows.min(columns) > MAX_SIDE {
        return Err(LearnError::TooLarge { what: WHAT, size: rows.min(columns), limit: MAX_SIDE });
    }
    if codes.len() == 1 {
        return Ok(Logistic { classes, codes, coef: Array2::zeros((1, columns)), intercept: vec![0.0], iterations: 0 });
    }
    let outputs = if codes.len() == 2 { 1 } else { codes.len() };
    let problem = Problem {
        sample: &sample,
        index: &index,
        outputs,
        alpha: params.alpha,
        mean: means(sample.x.view(), Some(&sample.w), cancel)?,
    };
    let (mut coef, scores, picked) = if columns <= rows { problem.primal(cancel)? } else { problem.dual(cancel)? };
    coef.mapv_inplace(clamp_coef);
    let centre = problem.centres();
    let mut intercept: Vec<f64> = (coef.outer_iter().zip(&centre))
        .map(|(coef, centre)| clamp_coef(centre - coef.iter().zip(&problem.mean).map(|(c, m)| c * m).sum::<f64>()))
        .collect();
    let classes_picked: Vec<usize> = picked.iter().map(|&row| index[row]).collect();
    let weights_picked: Vec<f64> = picked.iter().map(|&row| sample.w[row]).collect();
    calibrate(scores.view(), &classes_picked, &weights_picked).fold_into(&mut coef, &mut intercept);
    Ok(Logistic { classes, codes, coef, intercept, iterations: 0 })
}

/// Coefficients, leave-one-out scores (rows x outputs) and the rows that these are of.
type Solved = (Array2<f64>, Array2<f64>, Vec<usize>);

struct Problem<'a> {
    sample: &'a Sample<'a>,
    index: &'a [usize],
    outputs: usize,
    alpha: f64,
    mean: Vec<f64>,
}

impl Problem<'_> {
    /// Target of a row for an output: 1 for its class, else -1; a single output is that of the second class.
    fn target(&self, row: usize, output: usize) -> f64 {
        let class = if self.outputs == 1 { 1 } else { output };
        if self.index[row] == class { 1.0 } else { -1.0 }
    }

    /// Weighted mean of each output's target.
    fn centres(&self) -> Vec<f64> {
        let mut centre = vec![0.0; self.outputs];
        for (row, w) in self.sample.w.iter().enumerate() {
            for (k, centre) in centre.iter_mut().enumerate() {
                *centre += w * self.target(row, k) / self.sample.total;
            }
        }
        centre
    }

    fn primal(&self, cancel: &Cancel) -> Result<Solved, LearnError> {
        let x = self.sample.x.view();
        let (rows, columns) = x.dim();
        let mut gram = Array2::<f64>::zeros((columns, columns));
        let mut coef = Array2::<f64>::zeros((self.outputs, columns));
        // Sums of the rows of a class give all right-hand sides: the targets differ in sign only, and the columns are centred.
        let mut sums = Array2::<f64>::zeros((if self.outputs == 1 { 2 } else { self.outputs }, columns));
        centred_blocks(x, &self.mean, Some(&self.sample.w), cancel, |start, block| {
            add_gram(&mut gram, 1.0, block);
            for (offset, row) in block.outer_iter().enumerate() {
                let factor = self.sample.w[start + offset].sqrt();
                let mut sums = sums.row_mut(self.index[start + offset]);
                let sums = sums.as_slice_mut().unwrap_or_default().iter_mut();
                sums.zip(plain(row).iter()).for_each(|(sum, v)| *sum += factor * v);
            }
        })?;
        for (k, mut to) in coef.outer_iter_mut().enumerate() {
            to.scaled_add(2.0, &sums.row(if self.outputs == 1 { 1 } else { k }));
        }
        gram.diag_mut().iter_mut().for_each(|d| *d += self.alpha);
        let factor = Cholesky::new(WHAT, gram.view(), cancel)?;
        factor.solve_rows(&mut coef);

        let stride = rows.div_ceil(calibrate::ROWS);
        let picked: Vec<usize> = (0..rows).step_by(stride).collect();
        let view = x.slice(s![..;stride, ..]);
        let weights: Vec<f64> = picked.iter().map(|&row| self.sample.w[row]).collect();
        let leverage = leverages(view, &self.mean, &weights, &factor.whitener(cancel)?.0, cancel)?;
        let centre = self.centres();
        let mut scores = Array2::<f64>::zeros((picked.len(), self.outputs));
        centred_blocks(view, &self.mean, None, cancel, |start, block| {
            for (offset, found) in block.dot(&coef.t()).outer_iter().enumerate() {
                let row = start + offset;
                let leverage = leverage[row] + weights[row].min(1.0) / self.sample.total;
                for (k, found) in found.iter().enumerate() {
                    let score = found + centre[k];
                    scores[(row, k)] = without(score, score - self.target(picked[row], k), 1.0, leverage);
                }
            }
        })?;
        Ok((coef, scores, picked))
    }

    fn dual(&self, cancel: &Cancel) -> Result<Solved, LearnError> {
        /// Columns handled at a time.
        const COLUMNS: usize = 512;
        let x = self.sample.x.view();
        let (rows, columns) = x.dim();
        let mut kernel = Array2::<f64>::zeros((rows, rows));
        let bands: Vec<(usize, usize)> =
            (0..columns).step_by(COLUMNS).map(|start| (start, (start + COLUMNS).min(columns))).collect();
        let band = |start: usize, end: usize| {
            let mut part = Array2::<f64>::zeros((rows, end - start));
            let weights = Some(self.sample.w.as_slice());
            centred_blocks(x.slice(s![.., start..end]), &self.mean[start..end], weights, cancel, |row, block| {
                part.slice_mut(s![row..row + block.nrows(), ..]).assign(&block);
            })?;
            Ok::<_, LearnError>(part)
        };
        for &(start, end) in &bands {
            let part = band(start, end)?;
            ndarray::linalg::general_mat_mul(1.0, &part, &part.t(), 1.0, &mut kernel);
        }
        // A trace of the diagonal keeps the inverse bounded where rows are equal.
        let ridge = self.alpha.max(1e-9 * kernel.diag().sum() / rows as f64).max(f64::MIN_POSITIVE);
        kernel.diag_mut().iter_mut().for_each(|d| *d += ridge);
        let factor = Cholesky::new(WHAT, kernel.view(), cancel)?;
        let centre = self.centres();
        let mut dual =
            Array2::from_shape_fn((self.outputs, rows), |(k, row)| (self.target(row, k) - centre[k]) * self.sample.w[row].sqrt());
        factor.solve_rows(&mut dual);
        let mut coef = Array2::<f64>::zeros((self.outputs, columns));
        for &(start, end) in &bands {
            coef.slice_mut(s![.., start..end]).assign(&dual.dot(&band(start, end)?));
        }
        let whiten = factor.whitener(cancel)?.0;
        let mut inverse = vec![0.0; rows];
        for row in whiten.outer_iter() {
            row.iter().zip(&mut inverse).for_each(|(w, sum)| *sum += w * w);
        }
        let mut scores = Array2::<f64>::zeros((rows, self.outputs));
        for (row, mut scores) in scores.outer_iter_mut().enumerate() {
            let w = self.sample.w[row];
            let one = w.min(1.0);
            let leverage = (1.0 - ridge * inverse[row]).clamp(0.0, 1.0) * one / w + one / self.sample.total;
            for (k, score) in scores.iter_mut().enumerate() {
                let slope = -ridge * dual[(k, row)] / w.sqrt();
                *score = without(self.target(row, k) + slope, slope, 1.0, leverage);
            }
        }
        Ok((coef, scores, (0..rows).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_sound};
    use super::*;
    use ndarray::Axis;

    #[test]
    fn both_forms_agree_and_leave_one_out_is_leaving_one_out() {
        let x = fixture::x();
        let index: Vec<usize> = CODES.iter().map(|&code| code as usize).collect();
        let cancel = Cancel::new();
        let sample = Sample::new(x.view(), Some(&WEIGHTS)).unwrap();
        let mean = means(x.view(), Some(&sample.w), &cancel).unwrap();
        let problem = Problem { sample: &sample, index: &index, outputs: 3, alpha: 0.3, mean };
        let (a, b) = (problem.primal(&cancel).unwrap(), problem.dual(&cancel).unwrap());
        assert!(a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() < 1e-8), "{}\n{}", a.0, b.0);
        assert!(a.1.iter().zip(&b.1).all(|(a, b)| (a - b).abs() < 1e-8), "{}\n{}", a.1, b.1);

        let rest: Vec<usize> = (1..15).collect();
        let other = x.select(Axis(0), &rest);
        let sample = Sample::new(other.view(), Some(&WEIGHTS[1..])).unwrap();
        let mean = means(other.view(), Some(&sample.w), &cancel).unwrap();
        let without = Problem { sample: &sample, index: &index[1..], outputs: 3, alpha: 0.3, mean };
        let (coef, ..) = without.primal(&cancel).unwrap();
        let row = x.row(0).iter().zip(&without.mean).map(|(&v, m)| f64::from(v) - m).collect::<ndarray::Array1<f64>>();
        let score = coef.dot(&row) + ndarray::Array1::from(without.centres());
        assert!((0..3).all(|k| (score[k] - a.1[(0, k)]).abs() < 1e-6), "{score} {}", a.1.row(0));
    }

    #[test]
    fn separates_and_survives_nasty_tables() {
        let x = fixture::x();
        let model = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &Default::default(), &Cancel::new()).unwrap();
        let found = model.predict(x.view()).unwrap();
        // The class between two others is hidden from least squares.
        assert!((0..15).all(|row| CODES[row] == 1 || found[(row, CODES[row] as usize)] > 0.5), "{found}");
        for x in fixture::nasty() {
            for classes in [1u32, 2, 3, 100] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                let model = fit(x.view(), &codes, classes as usize, None, &RidgeParams { alpha: 1e-3 }, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert_sound(&model.predict(x.view()).unwrap());
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
            }
        }
    }
}
