//! L-BFGS for smooth convex functions, with a weak Wolfe line search by bisection.
//!
//! Two-loop recursion of Nocedal and Wright, *Numerical Optimization* (2006), algorithm 7.4; line search of Lewis and Overton,
//! *Nonsmooth optimization via quasi-Newton methods* (2013). The weak Wolfe conditions keep `s'y` above zero, which is all
//! that the update needs, at about one evaluation an iteration.

/// When to stop.
pub(super) struct Limits {
    /// Most iterations.
    pub max_iter: usize,
    /// Stop when no component of the gradient is larger.
    pub tolerance: f64,
}

/// Pairs of steps and gradient changes kept.
pub(super) const MEMORY: usize = 10;
pub(super) const ARMIJO: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Relative noise of a function value whose inner products are single precision.
pub(super) const NOISE: f64 = 1e-8;

/// Minimises `eval` from `x` in place and returns the number of iterations done.
///
/// `eval` writes the gradient and returns the value, or `None` to stop: `x` is then the best point so far.
pub(super) fn minimise(x: &mut Vec<f64>, limits: &Limits, mut eval: impl FnMut(&[f64], &mut [f64]) -> Option<f64>) -> usize {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let Some(mut value) = eval(x, &mut gradient) else {
        return 0;
    };
    let mut history: Vec<Pair> = Vec::with_capacity(MEMORY);
    let mut direction = vec![0.0; n];
    let mut next = vec![0.0; n];
    let mut next_gradient = vec![0.0; n];
    for iteration in 0..limits.max_iter {
        if gradient.iter().all(|g| g.abs() <= limits.tolerance) || !value.is_finite() {
            return iteration;
        }
        two_loop(&history, &gradient, &mut direction);
        let mut slope = dot(&direction, &gradient);
        if slope.is_nan() || slope >= 0.0 {
            history.clear();
            two_loop(&history, &gradient, &mut direction);
            slope = dot(&direction, &gradient);
        }
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut step = if history.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut found = None;
        for _ in 0..30 {
            for ((next, &x), &d) in next.iter_mut().zip(x.iter()).zip(&direction) {
                *next = x + step * d;
            }
            let Some(next_value) = eval(&next, &mut next_gradient) else {
                return iteration;
            };
            let enough = value + ARMIJO * step * slope + NOISE * value.abs();
            if next_value.is_nan() || next_value > enough {
                high = step;
            } else if dot(&direction, &next_gradient) < CURVATURE * slope {
                low = step;
            } else {
                found = Some(next_value);
                break;
            }
            step = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
        }
        let Some(next_value) = found else {
            return iteration;
        };
        advance(&mut history, (x, &mut next), (&mut gradient, &mut next_gradient));
        value = next_value;
    }
    limits.max_iter
}

/// Goes to the next point: remembers the step and exchanges the points and their gradients.
pub(super) fn advance(
    history: &mut Vec<Pair>,
    (x, next): (&mut Vec<f64>, &mut Vec<f64>),
    (gradient, next_gradient): (&mut Vec<f64>, &mut Vec<f64>),
) {
    let s: Vec<f64> = next.iter().zip(x.iter()).map(|(a, b)| a - b).collect();
    let y: Vec<f64> = next_gradient.iter().zip(gradient.iter()).map(|(a, b)| a - b).collect();
    remember(history, s, y);
    std::mem::swap(x, next);
    std::mem::swap(gradient, next_gradient);
}

/// Adds a step and its change of the gradient, unless the curvature along it is not above zero.
fn remember(history: &mut Vec<Pair>, s: Vec<f64>, y: Vec<f64>) {
    let sy = dot(&s, &y);
    if sy > 0.0 {
        if history.len() == MEMORY {
            history.remove(0);
        }
        history.push(Pair { rho: 1.0 / sy, gamma: sy / dot(&y, &y), s, y });
    }
}

/// A step and the change of the gradient along it.
pub(super) struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
    gamma: f64,
}

/// Minus the approximate inverse Hessian times the gradient.
pub(super) fn two_loop(history: &[Pair], gradient: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(gradient).for_each(|(out, g)| *out = -g);
    let mut alphas = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let alpha = pair.rho * dot(&pair.s, out);
        out.iter_mut().zip(&pair.y).for_each(|(out, y)| *out -= alpha * y);
        alphas.push(alpha);
    }
    if let Some(last) = history.last() {
        out.iter_mut().for_each(|v| *v *= last.gamma);
    }
    for (pair, alpha) in history.iter().zip(alphas.iter().rev()) {
        let beta = pair.rho * dot(&pair.y, out);
        out.iter_mut().zip(&pair.s).for_each(|(out, s)| *out += (alpha - beta) * s);
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_an_ill_conditioned_quadratic() {
        let scales: Vec<f64> = (0..8).map(|i| 10f64.powi(i - 3)).collect();
        let mut x = vec![0.0; 8];
        let steps = minimise(&mut x, &Limits { max_iter: 500, tolerance: 1e-9 }, |x, g| {
            let mut value = 0.0;
            for i in 0..8 {
                let d = x[i] - i as f64;
                g[i] = scales[i] * d;
                value += 0.5 * scales[i] * d * d;
            }
            Some(value)
        });
        assert!(steps < 500);
        for (i, v) in x.iter().enumerate() {
            assert!((v - i as f64).abs() < 1e-4, "{x:?}");
        }
    }

    #[test]
    fn a_cut_keeps_the_best_point_so_far() {
        let mut calls = 0;
        let mut x = vec![10.0];
        minimise(&mut x, &Limits { max_iter: 50, tolerance: 1e-12 }, |x, g| {
            calls += 1;
            g[0] = 4.0 * x[0].powi(3);
            (calls < 4).then(|| x[0].powi(4))
        });
        assert!(x[0].abs() < 10.0 && x[0].abs() > 1e-6);
    }
}
