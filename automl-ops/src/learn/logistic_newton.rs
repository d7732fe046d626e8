//! Logistic regression of two classes with few columns: Newton's method, which takes a tenth of the passes over the rows that
//! L-BFGS or OWL-QN take, where the square of the columns costs next to nothing.
//!
//! With an L1 penalty each step minimises the quadratic model and the penalty by coordinate descent (Friedman, Hastie and Tibshirani,
//! *Regularization paths for generalized linear models*, 2010; as a proximal Newton method: Lee, Sun and Saunders, 2014). All sums
//! are double, on one thread.

use automl_core::Cancel;
use ndarray::Array2;

use super::lbfgs::{ARMIJO, Limits, dot};

/// Columns beyond which the other solvers take less.
const COLUMNS: usize = 32;
/// Rows times columns squared, at most: a pass takes about 20 ms then, and a token is looked at after each.
const WORK: usize = 20_000_000;
/// Sweeps over the coordinates of one step.
const SWEEPS: usize = 1_000;
/// Relative noise of a value.
const NOISE: f64 = 1e-13;
/// Least curvature along a coordinate.
const FLAT: f64 = 1e-10;

/// The mean loss over standardised columns with its penalties; the last coordinate of a point is the intercept, which has none.
pub(super) struct Binary<'a> {
    pub z: &'a Array2<f32>,
    /// Class of each row, 0 or 1.
    pub index: &'a [usize],
    /// Part of each row in the total weight.
    pub share: &'a [f64],
    /// Strength of half the squares.
    pub l2: f64,
    /// Strength of the magnitudes.
    pub l1: f64,
}

/// Value, gradient and curvature (row by row, all of it) of the smooth part.
struct Local {
    value: f64,
    gradient: Vec<f64>,
    curvature: Vec<f64>,
}

impl Binary<'_> {
    /// Whether this is the better way.
    pub fn serves(z: &Array2<f32>) -> bool {
        let (rows, columns) = z.dim();
        (1..=COLUMNS).contains(&columns) && rows.saturating_mul(columns * columns) <= WORK && z.is_standard_layout()
    }

    /// Minimises from `point` in place and returns the number of iterations done; a cancelled token ends it.
    pub fn minimise(&self, point: &mut [f64], limits: &Limits, cancel: &Cancel) -> usize {
        let mut here = self.at(point);
        let mut value = here.value + self.magnitudes(point);
        let mut next = point.to_vec();
        for iteration in 0..limits.max_iter {
            if !value.is_finite() || self.is_least(point, &here.gradient, limits.tolerance) || cancel.is_cancelled() {
                return iteration;
            }
            let step = self.step(point, &here);
            let fall = dot(&here.gradient, &step) + self.magnitudes(&sum(point, &step, 1.0)) - self.magnitudes(point);
            let mut length = 1.0;
            let found = loop {
                next.copy_from_slice(&sum(point, &step, length));
                let there = self.at(&next);
                let reached = there.value + self.magnitudes(&next);
                if reached <= value + ARMIJO * length * fall + NOISE * value.abs() {
                    break Some((there, reached));
                }
                length *= 0.5;
                if length < 1e-9 {
                    break None;
                }
            };
            let Some((there, reached)) = found else { return iteration };
            point.copy_from_slice(&next);
            (here, value) = (there, reached);
        }
        limits.max_iter
    }

    fn magnitudes(&self, point: &[f64]) -> f64 {
        if self.l1 == 0.0 { 0.0 } else { self.l1 * point.iter().take(self.z.ncols()).map(|w| w.abs()).sum::<f64>() }
    }

    /// Whether no component of the subgradient of least magnitude is larger than the tolerance.
    fn is_least(&self, point: &[f64], gradient: &[f64], tolerance: f64) -> bool {
        let columns = self.z.ncols();
        point.iter().zip(gradient).enumerate().all(|(at, (&w, &g))| {
            let slope = match () {
                () if at >= columns => g,
                () if w != 0.0 => g + self.l1 * w.signum(),
                () => (g.abs() - self.l1).max(0.0),
            };
            slope.abs() <= tolerance
        })
    }

    fn at(&self, point: &[f64]) -> Local {
        let columns = self.z.ncols();
        let size = columns + 1;
        let (weights, intercept) = (&point[..columns], point[columns]);
        let mut local = Local { value: 0.0, gradient: vec![0.0; size], curvature: vec![0.0; size * size] };
        let mut row = vec![1.0_f64; size];
        let rows = self.z.as_slice().unwrap_or_default().chunks_exact(columns);
        for ((values, &class), &share) in rows.zip(self.index).zip(self.share) {
            row.iter_mut().zip(values).for_each(|(to, &from)| *to = f64::from(from));
            let score = dot(&row[..columns], weights) + intercept;
            // With the sign turned for the first class, the loss is ln(1 + exp(-m)).
            let margin = if class == 1 { score } else { -score };
            let small = (-margin.abs()).exp();
            let wrong = if margin >= 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
            local.value += share * (small.ln_1p() + (-margin).max(0.0));
            let slope = share * if class == 1 { -wrong } else { wrong };
            let bend = share * wrong * (1.0 - wrong);
            for (at, &value) in row.iter().enumerate() {
                local.gradient[at] += slope * value;
                let scaled = bend * value;
                let line = &mut local.curvature[at * size..=at * size + at];
                line.iter_mut().zip(&row).for_each(|(sum, other)| *sum += scaled * other);
            }
        }
        for (at, &w) in weights.iter().enumerate() {
            local.value += 0.5 * self.l2 * w * w;
            local.gradient[at] += self.l2 * w;
            local.curvature[at * size + at] += self.l2;
        }
        for at in 0..size {
            for before in 0..at {
                local.curvature[before * size + at] = local.curvature[at * size + before];
            }
            local.curvature[at * size + at] += FLAT;
        }
        local
    }

    /// The step to the least of the quadratic model with the penalty of magnitudes.
    fn step(&self, point: &[f64], here: &Local) -> Vec<f64> {
        let size = here.gradient.len();
        if self.l1 == 0.0
            && let Some(step) = solve(&here.curvature, &here.gradient)
        {
            return step;
        }
        let mut step = vec![0.0; size];
        // The gradient of the model where the step leads.
        let mut slope = here.gradient.clone();
        for _ in 0..SWEEPS {
            let mut largest = 0.0_f64;
            for (at, &from) in point.iter().enumerate() {
                let line = &here.curvature[at * size..(at + 1) * size];
                let (bend, now) = (line[at], from + step[at]);
                let aim = now - slope[at] / bend;
                let shrunk = if at + 1 < size { aim.signum() * (aim.abs() - self.l1 / bend).max(0.0) } else { aim };
                let change = shrunk - now;
                if change != 0.0 {
                    step[at] += change;
                    slope.iter_mut().zip(line).for_each(|(slope, bend)| *slope += bend * change);
                    largest = largest.max(bend * change.abs());
                }
            }
            if largest <= 1e-7 {
                break;
            }
        }
        step
    }
}

fn sum(point: &[f64], step: &[f64], length: f64) -> Vec<f64> {
    point.iter().zip(step).map(|(at, step)| at + length * step).collect()
}

/// Minus the solution of a small system by Cholesky's method; none where the matrix is not positive definite.
fn solve(matrix: &[f64], right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    let mut lower = matrix.to_vec();
    for at in 0..size {
        for below in at..size {
            let known: f64 = (0..at).map(|k| lower[below * size + k] * lower[at * size + k]).sum();
            let rest = matrix[below * size + at] - known;
            if below == at {
                if rest <= 1e-12 * matrix[at * size + at] {
                    return None;
                }
                lower[at * size + at] = rest.sqrt();
            } else {
                lower[below * size + at] = rest / lower[at * size + at];
            }
        }
    }
    let mut out: Vec<f64> = right.iter().map(|value| -value).collect();
    for at in 0..size {
        let known: f64 = (0..at).map(|k| lower[at * size + k] * out[k]).sum();
        out[at] = (out[at] - known) / lower[at * size + at];
    }
    for at in (0..size).rev() {
        let known: f64 = (at + 1..size).map(|k| lower[k * size + at] * out[k]).sum();
        out[at] = (out[at] - known) / lower[at * size + at];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{CODES, x};
    use super::super::logistic_loss::Problem;
    use super::super::{lbfgs, owlqn};
    use super::*;

    #[test]
    fn finds_what_the_other_solvers_find_in_fewer_steps() {
        let z = x();
        let index: Vec<usize> = CODES.iter().map(|&code| usize::from(code == 2)).collect();
        let share: Vec<f64> = (0..15).map(|row| (1.0 + f64::from(row % 3)) / 30.0).collect();
        let limits = Limits { max_iter: 2_000, tolerance: 1e-6 };
        for (l1, l2) in [(0.0, 0.05), (0.02, 0.0), (0.01, 0.01)] {
            let mut problem = Problem::new(&z, &index, &share, 1, l2);
            let (mut slow, mut fast) = (problem.start(2), problem.start(2));
            let eval = |point: &[f64], gradient: &mut [f64]| problem.eval(point, gradient, &Cancel::new());
            if l1 > 0.0 {
                owlqn::minimise(&mut slow, 4, l1, &limits, eval);
            } else {
                lbfgs::minimise(&mut slow, &limits, eval);
            }
            let binary = Binary { z: &z, index: &index, share: &share, l2, l1 };
            let steps = binary.minimise(&mut fast, &limits, &Cancel::new());
            assert!(steps < 30, "{steps}");
            // The columns are not standardised here, so that the others end a little before the bottom of a flat valley.
            let value = |point: &[f64]| binary.at(point).value + binary.magnitudes(point);
            assert!(value(&fast) <= value(&slow) + 1e-8, "{l1} {l2}: {} {}", value(&slow), value(&fast));
            for (slow, fast) in slow.iter().zip(&fast) {
                assert!((slow - fast).abs() < 0.02 * (1.0 + fast.abs()), "{l1} {l2}: {slow} {fast}");
            }
        }
    }

    #[test]
    fn what_can_be_told_apart_for_certain_stays_finite() {
        let z = Array2::from_shape_fn((20, 2), |(row, column)| if column == 0 { row as f32 - 9.5 } else { 0.0 });
        let index: Vec<usize> = (0..20).map(|row| usize::from(row > 9)).collect();
        let problem = Binary { z: &z, index: &index, share: &[0.05; 20], l2: 1e-9, l1: 0.0 };
        let mut point = vec![0.0; 3];
        let steps = problem.minimise(&mut point, &Limits { max_iter: 100, tolerance: 1e-4 }, &Cancel::new());
        assert!(steps < 100 && point.iter().all(|w| w.is_finite()) && point[0] > 1.0, "{steps} {point:?}");
    }
}
