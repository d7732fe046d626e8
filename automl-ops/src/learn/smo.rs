//! Sequential minimal optimisation for support vector machines, with second-order working sets and a cache of kernel rows.
//!
//! Fan, Chen and Lin, *Working set selection using second order information for training support vector machines* (2005). The
//! dual is written with signed variables, one a row: minimise `b'K b / 2 - t'b + tube |b|_1` where `b` sums to zero and each
//! variable lies between bounds of its own. Classes are then targets of -1 and 1 with a bound of zero on one side and no tube; values have bounds on both.

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

/// The dual variable of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variable {
    /// Its target.
    pub target: f64,
    /// Its lower bound, at most zero.
    pub low: f64,
    /// Its upper bound, at least zero.
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

/// One row while the dual is solved.
#[derive(Clone, Copy)]
struct State {
    /// Target less what the rows have so far, without the constant.
    gap: f64,
    beta: f64,
    low: f64,
    high: f64,
    diagonal: f64,
}

impl State {
    /// Slope of the objective where the variable grows, and how far it may until the slope changes; nothing at its bound.
    fn up(&self, tube: f64) -> Option<(f64, f64)> {
        if self.beta < 0.0 { Some((self.gap + tube, -self.beta)) } else { self.room(self.high - self.beta, self.gap - tube) }
    }

    /// The same where it falls.
    fn down(&self, tube: f64) -> Option<(f64, f64)> {
        if self.beta > 0.0 { Some((self.gap - tube, self.beta)) } else { self.room(self.beta - self.low, self.gap + tube) }
    }

    fn room(&self, room: f64, slope: f64) -> Option<(f64, f64)> {
        (room > 0.0).then_some((slope, room))
    }
}

/// Solves the dual from zero, one variable a row, in a bounded number of steps.
pub(super) fn solve(
    rows: &Rows,
    kernel: SizedKernel,
    variables: &[Variable],
    tube: f64,
    cancel: &Cancel,
) -> Result<Solution, LearnError> {
    let mut cache = Cache::new(rows, kernel);
    let state = |(row, v): (usize, &Variable)| State {
        gap: v.target,
        beta: 0.0,
        low: v.low,
        high: v.high,
        diagonal: cache.diagonal(row),
    };
    let mut states: Vec<State> = variables.iter().enumerate().map(state).collect();
    let (mut first, mut bottom) = extremes(&states, tube);
    let mut bias = 0.0;
    for step in 0..40 * variables.len() + 10_000 {
        if step % 16 == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let top = first.map_or(f64::NEG_INFINITY, |(_, slope)| slope);
        bias = match (top.is_finite(), bottom.is_finite()) {
            (true, true) => 0.5 * (top + bottom),
            (true, false) => top,
            (false, true) => bottom,
            (false, false) => 0.0,
        };
        let Some((i, _)) = first else { break };
        if top - bottom <= TOLERANCE {
            break;
        }
        let row_i = cache.row(i);
        let own = states[i].diagonal;
        let (mut second, mut best) = (None, f64::NEG_INFINITY);
        for (k, (state, &product)) in states.iter().zip(row_i.iter()).enumerate() {
            let Some((slope, _)) = state.down(tube) else { continue };
            let fall = top - slope;
            if fall > 0.0 && k != i {
                let gain = fall * fall / (own + state.diagonal - 2.0 * f64::from(product)).max(TAU);
                if gain > best {
                    (second, best) = (Some((k, fall)), gain);
                }
            }
        }
        let Some((j, fall)) = second else { break };
        let curvature = (own + states[j].diagonal - 2.0 * f64::from(row_i[j])).max(TAU);
        let room = states[i].up(tube).map_or(0.0, |(_, room)| room).min(states[j].down(tube).map_or(0.0, |(_, room)| room));
        let by = (fall / curvature).min(room);
        states[i].beta = moved(states[i].beta, by, states[i].high);
        states[j].beta = -moved(-states[j].beta, by, -states[j].low);
        let row_j = cache.row(j);
        for ((state, &a), &b) in states.iter_mut().zip(row_i.iter()).zip(row_j.iter()) {
            state.gap -= by * (f64::from(a) - f64::from(b));
        }
        (first, bottom) = extremes(&states, tube);
    }
    Ok(Solution { coef: states.iter().map(|state| state.beta).collect(), bias })
}

/// A variable after a step up: exactly at zero or at its bound where it all but reaches that.
fn moved(beta: f64, by: f64, high: f64) -> f64 {
    let next = beta + by;
    let near = 1e-12 * high.abs().max(beta.abs());
    match () {
        () if beta < 0.0 && next > -near => 0.0,
        () if next > high - near => high,
        () => next,
    }
}

/// The row whose growth lowers the objective most, with its slope, and the least slope of a row that may fall.
fn extremes(states: &[State], tube: f64) -> (Option<(usize, f64)>, f64) {
    let (mut first, mut top, mut bottom) = (usize::MAX, f64::NEG_INFINITY, f64::INFINITY);
    for (k, state) in states.iter().enumerate() {
        if let Some((slope, _)) = state.up(tube)
            && slope > top
        {
            (first, top) = (k, slope);
        }
        if let Some((slope, _)) = state.down(tube) {
            bottom = bottom.min(slope);
        }
    }
    ((first != usize::MAX).then_some((first, top)), bottom)
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
