//! Weights of several predictions: not negative, with sum one, so that the mixture is never worse than its inputs need it to be.
//!
//! Of class probabilities, the weights are those of a mixture of most likelihood, by expectation maximisation (Dempster, Laird and
//! Rubin 1977); of values, those of least squares, by projected gradient steps (Breiman, *Stacked regressions*, 1996).

use automl_core::Cancel;
use ndarray::{Array2, ArrayView1, ArrayView2};

use super::LearnError;
use super::common::{BLOCK, Sample, check_codes, check_targets};

/// Smallest probability that is told from zero.
const LEAST: f64 = 1e-7;

/// The number of models whose probabilities are in so many columns: one column each for two classes, else one a class.
pub fn models(columns: usize, classes: usize) -> Option<usize> {
    let each = if classes == 2 { 1 } else { classes.max(1) };
    (columns > 0 && columns.is_multiple_of(each)).then_some(columns / each)
}

/// The probability of a class by one model, from a row of all models' columns.
fn probability(row: ArrayView1<'_, f32>, model: usize, class: usize, classes: usize) -> f64 {
    let value = |place: usize| f64::from(row.get(place).copied().unwrap_or(0.0).clamp(0.0, 1.0));
    match classes {
        2 if class == 1 => value(model),
        2 => 1.0 - value(model),
        _ => value(model * classes + class),
    }
}

/// Weights of the models that make the classes most likely.
///
/// # Errors
/// Arguments that contradict each other, columns that are not those of whole models, values that are not finite, or a cancelled token.
pub fn mix_classes(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    /// Most steps.
    const STEPS: usize = 300;
    check_codes(codes, classes, x.nrows())?;
    let count = models(x.ncols(), classes).ok_or(LearnError::Columns { expected: classes, found: x.ncols() })?;
    let sample = Sample::new(x, weights)?;
    let codes = sample.pick(codes);
    let mut own = Array2::<f64>::zeros((codes.len(), count));
    for ((mut own, row), &code) in own.outer_iter_mut().zip(sample.x.outer_iter()).zip(&codes) {
        for (model, p) in own.iter_mut().enumerate() {
            *p = probability(row, model, code as usize, classes).max(LEAST);
        }
    }
    let mut mix = vec![1.0 / count as f64; count];
    for _ in 0..STEPS {
        let mut next = vec![0.0; count];
        for (row, (p, w)) in own.outer_iter().zip(&sample.w).enumerate() {
            if row % BLOCK == 0 && cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            let total: f64 = p.iter().zip(&mix).map(|(p, m)| p * m).sum();
            let factor = w / (sample.total * total.max(f64::MIN_POSITIVE));
            next.iter_mut().zip(p).zip(&mix).for_each(|((next, p), m)| *next += factor * p * m);
        }
        let moved = next.iter().zip(&mix).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        mix = next;
        if moved < 1e-5 {
            break;
        }
    }
    let total: f64 = mix.iter().sum();
    mix.iter_mut().for_each(|m| *m = if *m < 1e-4 { 0.0 } else { *m / total });
    let total: f64 = mix.iter().sum();
    mix.iter_mut().for_each(|m| *m /= total);
    Ok(mix)
}

/// Weights of the models whose mixture is nearest to the target.
///
/// # Errors
/// As [`mix_classes`].
pub fn mix_values(x: ArrayView2<'_, f32>, y: &[f32], weights: Option<&[f32]>, cancel: &Cancel) -> Result<Vec<f64>, LearnError> {
    check_targets(y, x.nrows())?;
    let sample = Sample::new(x, weights)?;
    let y = sample.pick(y);
    let count = sample.x.ncols();
    // With weights that sum to one, the residual is the mixture of the models' residuals: only their Gram matrix counts.
    let mut gram = Array2::<f64>::zeros((count, count));
    let mut residual = vec![0.0; count];
    for (row, (values, &y)) in sample.x.outer_iter().zip(&y).enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        residual.iter_mut().zip(values).for_each(|(r, &v)| *r = f64::from(v) - f64::from(y));
        let w = sample.w[row] / sample.total;
        for (i, mut to) in gram.outer_iter_mut().enumerate() {
            let factor = w * residual[i];
            to.iter_mut().zip(&residual).for_each(|(to, r)| *to += factor * r);
        }
    }
    let top = gram.diag().iter().copied().fold(0.0, f64::max);
    let mut mix = vec![1.0 / count as f64; count];
    if !(top > 0.0 && top.is_finite()) {
        return Ok(mix);
    }
    gram.mapv_inplace(|v| v / top);
    // The norm of a positive matrix is at most its largest sum of a row.
    let bound = gram.outer_iter().map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max);
    let (mut ahead, mut momentum) = (mix.clone(), 1.0f64);
    for step in 0..2000 {
        if step % 16 == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let slope: Vec<f64> = gram.outer_iter().map(|row| row.iter().zip(&ahead).map(|(g, a)| g * a).sum()).collect();
        let moved: Vec<f64> = ahead.iter().zip(&slope).map(|(a, s)| a - s / bound).collect();
        let next = project(&moved);
        // Nesterov's steps, without momentum where they point back.
        let back: f64 = ahead.iter().zip(&next).zip(&mix).map(|((a, n), m)| (a - n) * (n - m)).sum();
        let following = if back > 0.0 { 1.0 } else { 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) };
        let factor = if back > 0.0 { 0.0 } else { (momentum - 1.0) / following };
        ahead = next.iter().zip(&mix).map(|(n, m)| n + factor * (n - m)).collect();
        let distance = next.iter().zip(&mix).map(|(n, m)| (n - m).abs()).fold(0.0, f64::max);
        (mix, momentum) = (next, following);
        if distance < 1e-9 {
            break;
        }
    }
    Ok(mix)
}

/// The nearest point whose coordinates are not negative and sum to one (Duchi et al. 2008).
fn project(point: &[f64]) -> Vec<f64> {
    let mut sorted = point.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (place, value) in sorted.iter().enumerate() {
        sum += value;
        let candidate = (sum - 1.0) / (place + 1) as f64;
        if value - candidate > 0.0 {
            shift = candidate;
        }
    }
    point.iter().map(|v| (v - shift).max(0.0)).collect()
}

/// The mixture of class probabilities, rows x classes; each row sums to 1.
///
/// # Errors
/// Other columns than those of the models, or a value that is not finite.
pub fn classes(x: ArrayView2<'_, f32>, mix: &[f64], classes: usize) -> Result<Array2<f32>, LearnError> {
    let each = if classes == 2 { 1 } else { classes };
    super::common::check_input(x, mix.len() * each)?;
    let mut out = Array2::<f32>::zeros((x.nrows(), classes));
    let mut p = vec![0.0f64; classes];
    for (mut to, row) in out.outer_iter_mut().zip(x.outer_iter()) {
        for (class, p) in p.iter_mut().enumerate() {
            *p = mix.iter().enumerate().map(|(model, m)| m * probability(row, model, class, classes)).sum();
        }
        let total: f64 = p.iter().sum();
        for (to, p) in to.iter_mut().zip(&p) {
            *to = if total > 0.0 { (p / total) as f32 } else { 1.0 / classes as f32 };
        }
    }
    Ok(out)
}

/// Logarithms of probabilities (log odds of two classes), for a linear model on them.
pub fn logits(x: ArrayView2<'_, f32>, classes: usize) -> Array2<f32> {
    x.mapv(|p| {
        let p = f64::from(p).clamp(1e-6, 1.0 - 1e-6);
        (if classes == 2 { (p / (1.0 - p)).ln() } else { p.ln() }) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn values_get_the_weights_of_least_squares() {
        // y = 0.7 a + 0.3 b, and c is noise.
        let x = Array2::from_shape_fn((50, 3), |(i, j)| ((i * (3 + 4 * j) + j) % 17) as f32);
        let y: Vec<f32> = x.outer_iter().map(|row| 0.7 * row[0] + 0.3 * row[1]).collect();
        let mix = mix_values(x.view(), &y, None, &Cancel::new()).unwrap();
        assert!(mix.iter().zip([0.7, 0.3, 0.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{mix:?}");
        assert_eq!(mix_values(array![[1.0f32, 1.0]].view(), &[1.0], None, &Cancel::new()).unwrap(), [0.5, 0.5]);
    }

    #[test]
    fn a_better_model_gets_the_weight() {
        // The first model knows, the second says the opposite: the likeliest mixture of p = 0.9 and p = 0.1 is all of the first.
        let codes: Vec<u32> = (0..40).map(|row| row % 2).collect();
        let x = Array2::from_shape_fn((40, 2), |(i, j)| if (i % 2 == 1) == (j == 0) { 0.9 } else { 0.1 });
        let mix = mix_classes(x.view(), &codes, 2, None, &Cancel::new()).unwrap();
        assert!(mix[0] > 0.99, "{mix:?}");
        let p = classes(x.view(), &mix, 2).unwrap();
        assert!((p[(0, 0)] - 0.9).abs() < 0.01 && (p.row(0).sum() - 1.0).abs() < 1e-6);
        let three = array![[0.7f32, 0.2, 0.1, 0.1, 0.1, 0.8], [0.1, 0.8, 0.1, 0.2, 0.2, 0.6], [0.2, 0.1, 0.7, 0.5, 0.4, 0.1]];
        let mix = mix_classes(three.view(), &[0, 1, 2], 3, Some(&[1.0, 2.0, 1.0]), &Cancel::new()).unwrap();
        assert_eq!(mix, [1.0, 0.0]);
        assert!(mix_classes(three.view(), &[0, 1, 2], 4, None, &Cancel::new()).is_err());
    }
}
