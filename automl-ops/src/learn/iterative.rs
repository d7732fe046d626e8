//! Filling gaps with what regressions on the other columns say, column after column, in rounds (van Buuren and
//! Groothuis-Oudshoorn, “mice: multivariate imputation by chained equations in R”, 2011), with one answer instead of several.
//!
//! Gaps begin as the mean. In each round every column with gaps is regressed on those columns that correlate most with it, on
//! the rows that have it, and its gaps get what the regression says, within the range of training.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::LearnError;
use super::linalg::{Cholesky, add_gram};

/// Rows a task handles.
const CHUNK: usize = 2_048;
/// Rows that correlations are computed from, at most.
const CORRELATED: usize = 1_024;
/// Most columns: all pairs of them are correlated.
pub const MAX_COLUMNS: usize = 4_096;
/// Standardised values are cut here.
const CUT: f64 = 1e6;

/// How regressions are fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IterativeParams {
    /// Times that every column with gaps is fitted.
    pub rounds: usize,
    /// Columns that one column is regressed on, at most.
    pub predictors: usize,
    /// Penalty of the squared coefficients, in rows.
    pub alpha: f64,
}

/// The regression of one column on others, all of them standardised.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// The column that is filled.
    pub target: u32,
    /// The columns that it is predicted from.
    pub predictors: Vec<u32>,
    /// A coefficient for each of them.
    pub coef: Vec<f64>,
    /// The constant term.
    pub intercept: f64,
}

/// Fitted imputation.
#[derive(Clone, Debug, PartialEq)]
pub struct Iterative {
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// Standard deviation of each column, above 0.
    pub scale: Vec<f64>,
    /// Smallest and largest standardised value of each column.
    pub range: Vec<[f64; 2]>,
    /// Times that the regressions are gone through.
    pub rounds: usize,
    /// The regressions of the last round, in their order.
    pub regressions: Vec<Regression>,
}

impl Iterative {
    /// Fits the regressions on columns with gaps (`NaN`); `mean`, `scale` and `range` are given.
    ///
    /// # Errors
    /// More than [`MAX_COLUMNS`] columns, or a cancelled token.
    pub fn fit(mut self, columns: &[Vec<f32>], params: &IterativeParams, cancel: &Cancel) -> Result<Self, LearnError> {
        let width = columns.len();
        if width > MAX_COLUMNS {
            return Err(LearnError::TooLarge { what: "iterative imputation", size: width, limit: MAX_COLUMNS });
        }
        let standard =
            |(index, column): (usize, &Vec<f32>)| column.iter().map(|&value| self.standard(index, value)).collect::<Vec<f64>>();
        let mut values: Vec<Vec<f64>> = columns.iter().enumerate().map(standard).collect();
        let rows: Vec<(Vec<u32>, Vec<u32>)> = columns.iter().map(|column| split(column)).collect();
        let gappy = rows.iter().enumerate().filter(|(_, (present, gaps))| !gaps.is_empty() && present.len() > 1);
        let mut targets: Vec<usize> = gappy.map(|(index, _)| index).collect();
        targets.sort_by_key(|&target| rows.get(target).map_or(0, |(_, gaps)| gaps.len()));
        let predictors = correlated(&values, &targets, params.predictors, cancel)?;
        self.regressions = Vec::new();
        for _ in 0..params.rounds.max(1) {
            self.regressions.clear();
            for (&target, predictors) in targets.iter().zip(&predictors) {
                let Some((present, gaps)) = rows.get(target) else { continue };
                let regression = regress(&values, target, predictors, present, params.alpha, cancel)?;
                let [low, high] = self.range.get(target).copied().unwrap_or([0.0; 2]);
                let filled: Vec<f64> = gaps.iter().map(|&row| regression.predict(|p| at(&values, p, row), low, high)).collect();
                if let Some(column) = values.get_mut(target) {
                    for (&row, value) in gaps.iter().zip(filled) {
                        if let Some(cell) = column.get_mut(row as usize) {
                            *cell = value;
                        }
                    }
                }
                self.regressions.push(regression);
            }
        }
        self.rounds = params.rounds.max(1);
        Ok(self)
    }

    /// The standardised value, 0 for a gap.
    fn standard(&self, column: usize, value: f32) -> f64 {
        let (Some(mean), Some(scale)) = (self.mean.get(column), self.scale.get(column)) else { return 0.0 };
        if value.is_nan() { 0.0 } else { ((f64::from(value) - mean) / scale).clamp(-CUT, CUT) }
    }

    /// Fills the gaps of a row of the width of training.
    pub fn fill(&self, row: &mut [f32]) {
        let mut values: Vec<f64> = row.iter().enumerate().map(|(index, &value)| self.standard(index, value)).collect();
        let gap = |target: u32| row.get(target as usize).is_some_and(|value| value.is_nan());
        let regressions: Vec<&Regression> = self.regressions.iter().filter(|regression| gap(regression.target)).collect();
        // One gap depends on no other.
        for _ in 0..if regressions.len() == 1 { 1 } else { self.rounds } {
            for regression in &regressions {
                let target = regression.target as usize;
                let [low, high] = self.range.get(target).copied().unwrap_or([0.0; 2]);
                let value = regression.predict(|p| values.get(p as usize).copied().unwrap_or(0.0), low, high);
                if let Some(cell) = values.get_mut(target) {
                    *cell = value;
                }
            }
        }
        for (index, (cell, value)) in row.iter_mut().zip(values).enumerate() {
            if let (true, Some(mean), Some(scale)) = (cell.is_nan(), self.mean.get(index), self.scale.get(index)) {
                *cell = (value * scale + mean) as f32;
            }
        }
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where lengths differ or numbers are out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        let width = self.mean.len();
        let column = |&column: &u32| (column as usize) < width;
        let regression = |regression: &Regression| {
            column(&regression.target)
                && regression.predictors.iter().all(column)
                && regression.predictors.len() == regression.coef.len()
                && regression.coef.iter().chain([&regression.intercept]).all(|coef| coef.abs() <= 1e100)
        };
        let sound = self.scale.len() == width
            && self.range.len() == width
            && (1..=100).contains(&self.rounds)
            && self.regressions.len() <= width
            && self.mean.iter().all(|mean| mean.abs() <= 1e19)
            && self.scale.iter().all(|&scale| scale > 0.0 && scale <= 1e19)
            && self.range.iter().all(|[low, high]| *low >= -CUT && low <= high && *high <= CUT)
            && self.regressions.iter().all(regression);
        if sound { Ok(()) } else { Err(LearnError::Corrupt { model: "imputation", problem: "its parts do not fit together" }) }
    }
}

/// The rows that have a value, and the gaps.
fn split(column: &[f32]) -> (Vec<u32>, Vec<u32>) {
    let (mut present, mut gaps) = (Vec::new(), Vec::new());
    for (row, value) in (0..).zip(column) {
        if value.is_nan() { gaps.push(row) } else { present.push(row) }
    }
    (present, gaps)
}

impl Regression {
    fn predict(&self, value: impl Fn(u32) -> f64, low: f64, high: f64) -> f64 {
        let products = self.predictors.iter().zip(&self.coef).map(|(&predictor, coef)| coef * value(predictor));
        let sum = self.intercept + products.sum::<f64>();
        if sum.is_nan() { 0.0 } else { sum.max(low).min(high) }
    }
}

fn at(values: &[Vec<f64>], column: u32, row: u32) -> f64 {
    values.get(column as usize).and_then(|column| column.get(row as usize)).copied().unwrap_or(0.0)
}

/// For each target the columns that correlate most with it, in their order; all others where there are no more.
fn correlated(values: &[Vec<f64>], targets: &[usize], most: usize, cancel: &Cancel) -> Result<Vec<Vec<u32>>, LearnError> {
    let width = values.len();
    let others = |target: usize| (0..width as u32).filter(move |&column| column as usize != target);
    if width <= most + 1 {
        return Ok(targets.iter().map(|&target| others(target).collect()).collect());
    }
    let rows = values.first().map_or(0, Vec::len);
    let step = rows.div_ceil(CORRELATED).max(1);
    let table = Array2::from_shape_fn((width, rows.div_ceil(step)), |(column, row)| {
        at(values, column as u32, u32::try_from(row * step).unwrap_or(u32::MAX)) as f32
    });
    let mut chosen = Vec::with_capacity(targets.len());
    for block in targets.chunks(32) {
        if cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let some = table.select(ndarray::Axis(0), block);
        let mut products = Array2::<f32>::zeros((block.len(), width));
        general_mat_mul(1.0, &some, &table.t(), 0.0, &mut products);
        for (&target, products) in block.iter().zip(products.outer_iter()) {
            let mut order: Vec<u32> = others(target).collect();
            let size = |column: &u32| products.get(*column as usize).map_or(0.0, |product| product.abs());
            order.sort_by(|a, b| size(b).total_cmp(&size(a)));
            order.truncate(most);
            order.sort_unstable();
            chosen.push(order);
        }
    }
    Ok(chosen)
}

/// Ridge regression of a column on others, on the rows that have it.
fn regress(
    values: &[Vec<f64>],
    target: usize,
    predictors: &[u32],
    present: &[u32],
    alpha: f64,
    cancel: &Cancel,
) -> Result<Regression, LearnError> {
    // The target is one more column of the Gram matrix, the constant term another.
    let size = predictors.len() + 2;
    let columns: Vec<&[f64]> =
        predictors.iter().map(|&p| p as usize).chain([target]).filter_map(|p| values.get(p)).map(|c| &c[..]).collect();
    let part = |rows: &[u32]| {
        let mut gram = Array2::<f64>::zeros((size, size));
        let mut block = Array2::<f64>::ones((rows.len().min(256), size));
        for rows in rows.chunks(256) {
            if cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            for (&row, mut cells) in rows.iter().zip(block.outer_iter_mut()) {
                for (cell, column) in cells.iter_mut().zip(&columns) {
                    *cell = column.get(row as usize).copied().unwrap_or(0.0);
                }
            }
            add_gram(&mut gram, 1.0, block.slice(s![..rows.len(), ..]));
        }
        Ok(gram)
    };
    let parts: Vec<Result<Array2<f64>, LearnError>> = present.par_chunks(CHUNK).map(part).collect();
    let mut gram = Array2::<f64>::zeros((size, size));
    for part in parts {
        gram += &part?;
    }
    let (k, rows) = (predictors.len(), present.len().max(1) as f64);
    let sums: Vec<f64> = gram.row(k + 1).to_vec();
    let mut centred = Array2::from_shape_fn((k, k), |(i, j)| gram[(i.max(j), i.min(j))] - sums[i] * sums[j] / rows);
    centred.diag_mut().iter_mut().for_each(|cell| *cell += alpha);
    let mut coef = Array2::from_shape_fn((1, k), |(_, i)| gram[(k, i)] - sums[i] * sums[k] / rows);
    if k > 0 {
        Cholesky::new("iterative imputation", centred.view(), cancel)?.solve_rows(&mut coef);
    }
    let coef: Vec<f64> = coef.iter().map(|coef| if coef.is_nan() { 0.0 } else { coef.clamp(-1e100, 1e100) }).collect();
    let intercept = (sums[k] - coef.iter().zip(&sums).map(|(coef, sum)| coef * sum).sum::<f64>()) / rows;
    let intercept = if intercept.is_nan() { 0.0 } else { intercept.clamp(-1e100, 1e100) };
    Ok(Regression { target: u32::try_from(target).unwrap_or(u32::MAX), predictors: predictors.to_vec(), coef, intercept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::scale::present_moments;

    fn fitted(columns: &[Vec<f32>], predictors: usize) -> Iterative {
        let moments: Vec<_> = columns.iter().map(|column| present_moments(column)).collect();
        let mean = moments.iter().map(|m| m.0).collect();
        let scale = moments.iter().map(|m| m.1.sqrt().max(1e-9)).collect();
        let start = Iterative { mean, scale, range: vec![[-9.0, 9.0]; columns.len()], rounds: 1, regressions: vec![] };
        start.fit(columns, &IterativeParams { rounds: 5, predictors, alpha: 1e-3 }, &Cancel::new()).unwrap()
    }

    #[test]
    fn a_linear_relation_is_found_through_gaps() {
        let value = |row: usize, column: usize| match column {
            0 => (row * 37 % 101) as f32,
            1 => 3.0 - 2.0 * (row * 37 % 101) as f32,
            2 => (row * 53 % 97) as f32,
            _ => (row * 37 % 101) as f32 + 0.5 * (row * 53 % 97) as f32,
        };
        let gap = |row: usize, column: usize| (row * 7 + column * 3).is_multiple_of(11);
        let column = |column| (0..500).map(|row| if gap(row, column) { f32::NAN } else { value(row, column) }).collect();
        let columns: Vec<Vec<f32>> = (0..4).map(column).collect();
        for (predictors, close) in [(2, 25.0), (10, 1.0)] {
            let model = fitted(&columns, predictors);
            model.check().unwrap();
            let mut row = [f32::NAN, value(7, 1), value(7, 2), f32::NAN];
            model.fill(&mut row);
            assert!((row[0] - value(7, 0)).abs() < 1.0 && (row[3] - value(7, 3)).abs() < close, "{predictors}: {row:?}");
        }
    }

    #[test]
    fn a_column_without_values_or_gaps_gets_its_mean() {
        let model = fitted(&[vec![f32::NAN; 4], vec![1.0, 2.0, 3.0, 6.0]], 5);
        let mut row = [f32::NAN; 2];
        model.fill(&mut row);
        assert_eq!(row, [0.0, 3.0]);
        assert!(Iterative { rounds: 0, ..model }.check().is_err());
    }
}
