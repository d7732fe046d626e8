//! What a linear least-squares model would say about a row that it had not seen, without fitting it again.
//!
//! For squared loss this is exact (Allen 1974); for a loss whose second derivative is constant on each side of a kink, one Newton
//! step from the fit (Rad and Maleki, *A scalable estimate of the out-of-sample prediction error*, 2020).

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::centred_blocks;

/// `u x' A^-1 x` for each row, centred by `mean`, with `u` the part of its weight that one row is: at most 1. `whiten` is `W` with
/// `W'W` the inverse of `A`.
pub(super) fn leverages(
    x: ArrayView2<'_, f32>,
    mean: &[f64],
    weights: &[f64],
    whiten: &Array2<f64>,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    let mut out = Vec::with_capacity(x.nrows());
    centred_blocks(x, mean, None, cancel, |start, block| {
        for (row, d) in block.dot(&whiten.t()).outer_iter().enumerate() {
            out.push(weights.get(start + row).map_or(1.0, |w| w.min(1.0)) * d.dot(&d));
        }
    })?;
    Ok(out)
}

/// The score without the row: `score` is the model's, `slope` and `curvature` the loss's derivatives there, `leverage` from
/// [`leverages`] with the Hessian of the whole loss.
pub(super) fn without(score: f64, slope: f64, curvature: f64, leverage: f64) -> f64 {
    score + leverage * slope / (1.0 - leverage * curvature).max(1e-4)
}
