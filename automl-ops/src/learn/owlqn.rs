//! Orthant-wise L-BFGS (Andrew and Gao, *Scalable training of L1-regularized log-linear models*, 2007): a smooth convex function
//! plus an L1 penalty on the leading coordinates.
//!
//! Within an orthant the penalty is linear, so L-BFGS steps along the pseudo-gradient, and a step that would leave the orthant
//! stops at zero.

use super::lbfgs::{ARMIJO, Limits, NOISE, Pair, advance, dot, two_loop};

/// Minimises `eval` plus `l1` times the magnitudes of the first `penalised` coordinates, from `x` in place; returns the iterations.
///
/// `eval` writes the gradient of the smooth part and returns its value, or `None` to stop: `x` is then the best point so far.
pub(super) fn minimise(
    x: &mut Vec<f64>,
    penalised: usize,
    l1: f64,
    limits: &Limits,
    mut eval: impl FnMut(&[f64], &mut [f64]) -> Option<f64>,
) -> usize {
    let n = x.len();
    let penalty = |x: &[f64]| l1 * x.iter().take(penalised).map(|x| x.abs()).sum::<f64>();
    let mut gradient = vec![0.0; n];
    let Some(smooth) = eval(x, &mut gradient) else {
        return 0;
    };
    let mut value = smooth + penalty(x);
    let mut history: Vec<Pair> = Vec::new();
    let (mut direction, mut pseudo) = (vec![0.0; n], vec![0.0; n]);
    let (mut next, mut next_gradient) = (vec![0.0; n], vec![0.0; n]);
    for iteration in 0..limits.max_iter {
        pseudo_gradient(x, &gradient, penalised, l1, &mut pseudo);
        if pseudo.iter().all(|g| g.abs() <= limits.tolerance) || !value.is_finite() {
            return iteration;
        }
        two_loop(&history, &pseudo, &mut direction);
        direction.iter_mut().zip(&pseudo).take(penalised).filter(|(d, g)| **d * **g >= 0.0).for_each(|(d, _)| *d = 0.0);
        let slope = dot(&direction, &pseudo);
        if slope.is_nan() || slope >= 0.0 {
            history.clear();
            two_loop(&history, &pseudo, &mut direction);
        }
        let mut step = if history.is_empty() { 1.0 / dot(&pseudo, &pseudo).sqrt().max(1.0) } else { 1.0 };
        let mut found = None;
        for _ in 0..30 {
            for (i, ((next, &x), &d)) in next.iter_mut().zip(x.iter()).zip(&direction).enumerate() {
                *next = x + step * d;
                // The orthant of a zero coordinate is the one that the penalised function falls into.
                let side = if x == 0.0 { -pseudo[i] } else { x };
                if i < penalised && *next * side <= 0.0 {
                    *next = 0.0;
                }
            }
            let Some(smooth) = eval(&next, &mut next_gradient) else {
                return iteration;
            };
            let next_value = smooth + penalty(&next);
            let fall: f64 = pseudo.iter().zip(&next).zip(x.iter()).map(|((g, next), x)| g * (next - x)).sum();
            if next_value <= value + ARMIJO * fall + NOISE * value.abs() {
                found = Some(next_value);
                break;
            }
            step *= 0.5;
        }
        let Some(next_value) = found else {
            return iteration;
        };
        advance(&mut history, (x, &mut next), (&mut gradient, &mut next_gradient));
        value = next_value;
    }
    limits.max_iter
}

/// The subgradient of least magnitude.
fn pseudo_gradient(x: &[f64], gradient: &[f64], penalised: usize, l1: f64, out: &mut [f64]) {
    for (i, ((out, &g), &x)) in out.iter_mut().zip(gradient).zip(x).enumerate() {
        *out = match () {
            () if i >= penalised => g,
            () if x != 0.0 => g + l1 * x.signum(),
            () => g.signum() * (g.abs() - l1).max(0.0),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_a_quadratic_by_the_penalty() {
        // The minimum of h (x - c)^2 / 2 + l |x| is c shrunk by l / h; the last coordinate is free.
        let (scales, centres) = ([1.0, 10.0, 0.1, 2.0], [3.0, -0.05, 50.0, 0.3]);
        let mut x = vec![0.0; 4];
        minimise(&mut x, 3, 1.0, &Limits { max_iter: 200, tolerance: 1e-9 }, |x, g| {
            let mut value = 0.0;
            for i in 0..4 {
                g[i] = scales[i] * (x[i] - centres[i]);
                value += 0.5 * g[i] * (x[i] - centres[i]);
            }
            Some(value)
        });
        for (found, expected) in x.iter().zip([2.0, 0.0, 40.0, 0.3]) {
            assert!((found - expected).abs() < 1e-5, "{x:?}");
        }
    }
}
