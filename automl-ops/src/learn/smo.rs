//! Sequential minimal optimisation for support vector machines, with second-order working sets and a cache of kernel rows.
//!
//! Fan, Chen and Lin, *Working set selection using second order information for training support vector machines* (2005). The
//! dual is written with signed variables: minimise `b'K b / 2 - t'b` where `b` sums to zero and each variable lies between bounds of
//! its own. Classes are then targets of -1 and 1 with a bound of zero on one side; a value with a tube around it is two variables of one row.

use automl_core::Cancel;
use ndarray::Array2;

use super::LearnError;
use super::kernels::{Rows, SizedKernel};

/// Bytes of kernel rows that are kept.
const CACHE: usize = 192 << 20;
/// Least curvature along a pair.
const TAU: f64 = 1e-12;
/// The solver ends when no pair violates the optimality conditions by more.
const TOLERANCE: f64 = 1e-3;

/// One variable of the dual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variable {
    /// Its row of the kernel.
    pub row: usize,
    /// Its target.
    pub target: f64,
    /// Its bounds, around zero.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// A solution: one coefficient a row, and the constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solution {
    /// Coefficients of the kernel with each row; 0 for most.
    pub coef: Vec<f64>,
    /// The constant.
    pub bias: f64,
}

/// Solves the dual from zero, in a bounded number of steps.
pub(super) fn solve(rows: &Rows, kernel: SizedKernel, variables: &[Variable], cancel: &Cancel) -> Result<Solution, LearnError> {
    let n = rows.norms.len();
    let mut cache = Cache::new(rows, kernel);
    let mut beta = vec![0.0; variables.len()];
    // What the rows have so far, without the constant.
    let mut scores = vec![0.0f64; n];
    let diagonal: Vec<f64> = (0..n).map(|row| cache.diagonal(row)).collect();
    let steps = 20 * variables.len() + 10_000;
    let mut bias = 0.0;
    for step in 0..steps {
        if step % 16 == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let gap = |k: usize| variables[k].target - scores[variables[k].row];
        let (mut first, mut top, mut bottom) = (usize::MAX, f64::NEG_INFINITY, f64::INFINITY);
        for (k, (variable, &b)) in variables.iter().zip(&beta).enumerate() {
            let v = variable.target - scores[variable.row];
            if b < variable.high && v > top {
                (first, top) = (k, v);
            }
            if b > variable.low && v < bottom {
                bottom = v;
            }
        }
        bias = match (top.is_finite(), bottom.is_finite()) {
            (true, true) => 0.5 * (top + bottom),
            (true, false) => top,
            (false, true) => bottom,
            (false, false) => 0.0,
        };
        if first == usize::MAX || top - bottom <= TOLERANCE {
            break;
        }
        let i = first;
        let row_i = cache.row(variables[i].row);
        let (mut second, mut best) = (usize::MAX, f64::NEG_INFINITY);
        let own = diagonal[variables[i].row];
        for (k, (variable, &b)) in variables.iter().zip(&beta).enumerate() {
            let fall = top - (variable.target - scores[variable.row]);
            if b > variable.low && fall > 0.0 {
                let curvature = (own + diagonal[variable.row] - 2.0 * f64::from(row_i[variable.row])).max(TAU);
                let gain = fall * fall / curvature;
                if gain > best {
                    (second, best) = (k, gain);
                }
            }
        }
        if second == usize::MAX {
            break;
        }
        let j = second;
        let curvature = (own + diagonal[variables[j].row] - 2.0 * f64::from(row_i[variables[j].row])).max(TAU);
        let by = ((gap(i) - gap(j)) / curvature).min(variables[i].high - beta[i]).min(beta[j] - variables[j].low);
        beta[i] = (beta[i] + by).min(variables[i].high);
        beta[j] = (beta[j] - by).max(variables[j].low);
        let row_j = cache.row(variables[j].row);
        for ((score, &a), &b) in scores.iter_mut().zip(row_i.iter()).zip(row_j.iter()) {
            *score += by * (f64::from(a) - f64::from(b));
        }
    }
    let mut coef = vec![0.0; n];
    variables.iter().zip(&beta).for_each(|(variable, b)| coef[variable.row] += b);
    Ok(Solution { coef, bias })
}

/// Rows of the kernel, computed when asked for; the oldest that was not asked for again gives way.
struct Cache<'a> {
    rows: &'a Rows,
    kernel: SizedKernel,
    kept: Vec<Option<std::sync::Arc<[f32]>>>,
    used: Vec<bool>,
    order: std::collections::VecDeque<usize>,
    limit: usize,
    buffer: Array2<f32>,
}

impl<'a> Cache<'a> {
    fn new(rows: &'a Rows, kernel: SizedKernel) -> Self {
        let n = rows.norms.len();
        let limit = (CACHE / (4 * n.max(1))).max(2);
        Self {
            rows,
            kernel,
            kept: vec![None; n],
            used: vec![false; n],
            order: std::collections::VecDeque::new(),
            limit,
            buffer: Array2::zeros((n, 1)),
        }
    }

    fn diagonal(&mut self, row: usize) -> f64 {
        let mut own = [self.rows.norms[row]];
        self.kernel.kernel_of(&mut own, self.rows.norms[row], &self.rows.norms[row..=row]);
        f64::from(own[0])
    }

    fn row(&mut self, row: usize) -> std::sync::Arc<[f32]> {
        if let Some(found) = &self.kept[row] {
            self.used[row] = true;
            return found.clone();
        }
        while self.order.len() >= self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            if std::mem::take(&mut self.used[oldest]) {
                self.order.push_back(oldest);
            } else {
                self.kept[oldest] = None;
            }
        }
        self.kernel.row(self.rows, row, &mut self.buffer);
        let found: std::sync::Arc<[f32]> = self.buffer.iter().copied().collect();
        self.kept[row] = Some(found.clone());
        self.order.push_back(row);
        found
    }
}
