//! Class probabilities from scores: `softmax(scale * score + offset)`, with one scale and one offset a class.
//!
//! With two classes and one score this is the sigmoid of Platt, *Probabilistic outputs for support vector machines* (1999). Its
//! correction for the number of rows is kept: a class of weight `n` is given the target `(n + 1) / (n + classes)`, so that scores
//! that separate the classes do not ask for an infinite scale. The scores should come from a model that did not see the row.

use ndarray::{Array2, ArrayView2, s};

use super::lbfgs::{Limits, minimise};
use super::logistic::Logistic;

/// Rows that are enough for a few parameters; more are thinned out evenly.
pub(super) const ROWS: usize = 8192;

/// What turns scores into log probabilities, up to a constant a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calibration {
    /// Factor of every score, not negative.
    pub scale: f64,
    /// One offset a score.
    pub offset: Vec<f64>,
}

impl Calibration {
    /// Applies it to linear coefficients (outputs x columns) and intercepts.
    pub fn fold_into(&self, coef: &mut Array2<f64>, intercept: &mut [f64]) {
        coef.mapv_inplace(|c| super::common::clamp_coef(c * self.scale));
        for (intercept, offset) in intercept.iter_mut().zip(&self.offset) {
            *intercept = super::common::clamp_coef(*intercept * self.scale + offset);
        }
    }
}

/// Calibrates a linear model on its own training rows, thinned out to [`ROWS`]; `index` is the class and `weights` the weight of each.
pub(super) fn on_training_rows(model: &mut Logistic, x: ArrayView2<'_, f32>, index: &[usize], weights: &[f64]) {
    let stride = x.nrows().div_ceil(ROWS);
    let scores = model.scores(x.slice(s![..;stride, ..]));
    let index: Vec<usize> = index.iter().step_by(stride).copied().collect();
    let weights: Vec<f64> = weights.iter().step_by(stride).copied().collect();
    calibrate(scores.view(), &index, &weights).fold_into(&mut model.coef, &mut model.intercept);
}

/// Minimises the weighted log loss. `scores` are rows x outputs: one output for two classes (high for the second), else one a
/// class; `index` is the class and `weights` the weight of each row.
pub(super) fn calibrate(scores: ArrayView2<'_, f64>, index: &[usize], weights: &[f64]) -> Calibration {
    let outputs = scores.ncols();
    let classes = if outputs == 1 { 2 } else { outputs };
    let total: f64 = weights.iter().sum();
    let mut mass = vec![0.0; classes];
    index.iter().zip(weights).for_each(|(&class, w)| mass[class] += w);
    let count = total.max(1e-300);
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let spread = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len().max(1) as f64;
    let unit = if spread.is_finite() && spread > 1e-200 { 1.0 / spread.sqrt() } else { 0.0 };
    let priors = || -> Vec<f64> {
        let logs: Vec<f64> = mass.iter().map(|m| ((m + 1.0) / (count + classes as f64)).ln()).collect();
        if outputs == 1 { vec![logs[1] - logs[0]] } else { logs }
    };
    if unit == 0.0 {
        return Calibration { scale: 0.0, offset: priors() };
    }
    let own: Vec<f64> = mass.iter().map(|m| (m + 1.0) / (m + classes as f64)).collect();
    let other: Vec<f64> = mass.iter().map(|m| 1.0 / (m + classes as f64)).collect();
    let mut point = vec![1.0];
    point.extend(std::iter::repeat_n(0.0, outputs));
    let mut logits = vec![0.0; outputs];
    let loss = |point: &[f64], gradient: &mut [f64]| {
        let (scale, offset) = point.split_first()?;
        gradient.fill(0.0);
        let (slope, slopes) = gradient.split_first_mut()?;
        let mut loss = 0.0;
        for ((row, &class), w) in scores.outer_iter().zip(index).zip(weights) {
            let share = w / count;
            for ((logit, &score), offset) in logits.iter_mut().zip(row).zip(offset) {
                *logit = scale * (score - mean) * unit + offset;
            }
            loss += share * row_loss(&mut logits, class, own[class], other[class]);
            for ((&d, &score), sum) in logits.iter().zip(row).zip(slopes.iter_mut()) {
                *sum += share * d;
                *slope += share * d * (score - mean) * unit;
            }
        }
        // A trace of a penalty: a shift of all offsets changes nothing else.
        for (o, g) in offset.iter().zip(slopes.iter_mut()) {
            *g += 1e-9 * o;
            loss += 0.5e-9 * o * o;
        }
        Some(loss)
    };
    minimise(&mut point, &Limits { max_iter: 50, tolerance: 1e-5 }, loss);
    let scale = point[0] * unit;
    let offset: Vec<f64> = point[1..].iter().map(|b| b - scale * mean).collect();
    if scale > 0.0 && scale.is_finite() && offset.iter().all(|o| o.is_finite()) {
        Calibration { scale, offset }
    } else {
        // Scores that point the wrong way say nothing.
        Calibration { scale: 0.0, offset: priors() }
    }
}

/// Cross-entropy against the smoothed target; replaces the logits by its derivatives.
fn row_loss(logits: &mut [f64], class: usize, own: f64, other: f64) -> f64 {
    if let [logit] = logits {
        let target = if class == 1 { own } else { other };
        let small = (-logit.abs()).exp();
        let p = if *logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        let loss = small.ln_1p() + logit.max(0.0) - target * *logit;
        *logit = p - target;
        return loss;
    }
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|l| (l - top).exp()).sum();
    let norm = top + total.ln();
    let mut loss = 0.0;
    for (k, logit) in logits.iter_mut().enumerate() {
        let target = if k == class { own } else { other };
        loss -= target * (*logit - norm);
        *logit = (*logit - norm).exp() - target;
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn matches_platt_scaling() {
        // `sklearn.calibration._sigmoid_calibration` on the same scores: a and b with the opposite sign.
        let scores = array![[-2.0], [-1.0], [-0.5], [0.2], [0.4], [1.0], [2.5], [-0.1]];
        let found = calibrate(scores.view(), &[0, 0, 0, 0, 1, 1, 1, 1], &[1.0; 8]);
        assert!((found.scale - PLATT.0).abs() < 1e-3 && (found.offset[0] - PLATT.1).abs() < 1e-3, "{found:?}");
    }

    const PLATT: (f64, f64) = (0.9773936932, -0.0290675898);

    #[test]
    fn useless_scores_give_the_frequencies() {
        let found = calibrate(array![[1.0], [1.0], [1.0]].view(), &[0, 1, 1], &[1.0; 3]);
        assert!(found.scale == 0.0 && (found.offset[0] - 1.5f64.ln()).abs() < 1e-9);
        let found = calibrate(array![[1.0], [-1.0], [1.0], [-1.0]].view(), &[0, 1, 0, 1], &[1.0; 4]);
        assert_eq!(found.scale, 0.0);
    }

    #[test]
    fn separated_classes_keep_a_finite_scale() {
        let scores = array![[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [8.0, 0.0, 0.0]];
        let found = calibrate(scores.view(), &[0, 1, 2, 0], &[1.0; 4]);
        assert!(found.scale > 0.0 && found.scale < 10.0, "{found:?}");
    }
}
