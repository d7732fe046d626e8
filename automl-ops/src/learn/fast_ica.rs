//! Independent components by fixed-point iteration (Hyvärinen, *Fast and robust fixed-point algorithms for independent component
//! analysis*, 1999).
//!
//! The data is whitened by principal components; all rows of the unmixing matrix are then updated together and made orthonormal
//! by `(W W')^-1/2 W`. The iterations see a sample of the rows, in single precision: what they estimate is far less certain than
//! that. They are bounded; where they do not converge, the last matrix is as good a rotation as any.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::LearnError;
use super::affine::Affine;
use super::approx::{exp_negative, tanh};
use super::columns::{alive, sample};
use super::common::BLOCK;
use super::linalg::{eigen, fix_signs, orthonormal};
use super::pca::{self, PcaParams};
use super::random_features::normal;

/// Most rows that the iterations see.
const ROWS: usize = 10_000;
/// Iterations stop when no row of the matrix turns by more than this share.
const TOLERANCE: f64 = 1e-4;

/// What is maximised: an approximation of negentropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contrast {
    /// `log cosh u`: a good all-rounder.
    LogCosh,
    /// `-exp(-u^2 / 2)`: for heavy tails and outliers.
    Exp,
    /// `u^4 / 4`, the kurtosis: for light tails.
    Cube,
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct FastIcaParams {
    /// Number of components wanted, from 1.
    pub n_components: usize,
    /// What is maximised.
    pub contrast: Contrast,
    /// Most iterations.
    pub max_iter: usize,
}

/// Finds the independent components of `x`, each with variance 1 and its largest weight positive.
///
/// # Errors
/// As [`pca::fit`].
pub fn fit(x: ArrayView2<'_, f32>, params: &FastIcaParams, seed: u64, cancel: &Cancel) -> Result<Affine, LearnError> {
    let white = pca::fit(x, &PcaParams { n_components: params.n_components, whiten: true }, cancel)?;
    let kept: Vec<usize> = sample(x.nrows(), ROWS, seed).into_iter().map(|row| row as usize).collect();
    let z = if kept.len() == x.nrows() { white.transform(x)? } else { white.transform(x.select(Axis(0), &kept).view())? };
    let k = z.ncols();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rotation = orthonormal(&Array2::from_shape_simple_fn((k, k), || normal(&mut rng)));
    for _ in 0..params.max_iter {
        let next = step(&z, &rotation, params.contrast, cancel)?;
        let Some(next) = decorrelated(&next)? else { break };
        let turn = next.outer_iter().zip(rotation.outer_iter()).map(|(a, b)| (a.dot(&b).abs() - 1.0).abs()).fold(0.0, f64::max);
        rotation = next;
        if turn < TOLERANCE {
            break;
        }
    }
    let mut unmixing = white.components;
    for (mut row, &variance) in unmixing.outer_iter_mut().zip(&white.explained_variance) {
        let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
        row.mapv_inplace(|v| v * scale);
    }
    let mut weights = rotation.dot(&unmixing);
    fix_signs(&mut weights);
    Ok(Affine::dense(white.mean, weights))
}

/// `E[g(W z) z'] - E[g'(W z)] W`.
fn step(z: &Array2<f32>, rotation: &Array2<f64>, contrast: Contrast, cancel: &Cancel) -> Result<Array2<f64>, LearnError> {
    let (rows, k) = z.dim();
    let narrow = rotation.mapv(|v| v as f32);
    let mut sources = Array2::<f32>::zeros((k, BLOCK.min(rows)));
    let mut part = Array2::<f32>::zeros((k, k));
    let (mut product, mut slope) = (Array2::<f64>::zeros((k, k)), vec![0.0f64; k]);
    for start in (0..rows).step_by(BLOCK) {
        alive(cancel)?;
        let z = z.slice(s![start..(start + BLOCK).min(rows), ..]);
        let mut sources = sources.slice_mut(s![.., ..z.nrows()]);
        general_mat_mul(1.0, &narrow, &z.t(), 0.0, &mut sources);
        for (mut values, slope) in sources.outer_iter_mut().zip(&mut slope) {
            if let Some(values) = values.as_slice_mut() {
                *slope += f64::from(bend(values, contrast));
            }
        }
        general_mat_mul(1.0, &sources, &z, 0.0, &mut part);
        product.zip_mut_with(&part, |sum, &v| *sum += f64::from(v));
    }
    let n = rows.max(1) as f64;
    for ((mut row, old), slope) in product.outer_iter_mut().zip(rotation.outer_iter()).zip(&slope) {
        row.zip_mut_with(&old, |v, old| *v = (*v - slope * old) / n);
    }
    Ok(product)
}

/// Replaces each value by the derivative of the contrast there, and gives the sum of the second derivatives.
fn bend(values: &mut [f32], contrast: Contrast) -> f32 {
    let apply = |values: &mut [f32], f: fn(f32) -> (f32, f32)| {
        let mut lanes = [0.0f32; 8];
        for chunk in values.chunks_mut(8) {
            for (v, lane) in chunk.iter_mut().zip(&mut lanes) {
                let (first, second) = f(*v);
                *v = first;
                *lane += second;
            }
        }
        lanes.iter().sum()
    };
    match contrast {
        Contrast::LogCosh => apply(values, |u| {
            let t = tanh(u);
            (t, 1.0 - t * t)
        }),
        Contrast::Exp => apply(values, |u| {
            let e = exp_negative(-0.5 * u * u);
            (u * e, (1.0 - u * u) * e)
        }),
        Contrast::Cube => apply(values, |u| (u * u * u, 3.0 * u * u)),
    }
}

/// `(W W')^-1/2 W`; nothing where `W` has not full rank.
fn decorrelated(w: &Array2<f64>) -> Result<Option<Array2<f64>>, LearnError> {
    let (values, vectors) = eigen("independent component analysis", &w.dot(&w.t()))?;
    let top = values.first().copied().unwrap_or(0.0);
    if !values.iter().all(|&value| value > top * 1e-13 && value > 0.0) {
        return Ok(None);
    }
    let mut scaled = vectors.clone();
    for (mut row, value) in scaled.outer_iter_mut().zip(&values) {
        row.mapv_inplace(|v| v / value.sqrt());
    }
    Ok(Some(vectors.t().dot(&scaled).dot(w)))
}

#[cfg(test)]
mod tests {
    use super::super::columns::Columns;
    use super::super::fixture;
    use super::*;
    use rand::RngExt;

    #[test]
    fn mixed_sources_are_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let sources = Array2::from_shape_fn((4000, 3), |(row, k)| match k {
            0 => (row as f32 * 0.37).sin(),
            1 => rng.random::<f32>() - 0.5,
            _ => f32::from(u8::from((row / 50) % 2 == 0)),
        });
        let mixing = ndarray::array![[1.0f32, 2.0, 0.5], [0.3, -1.0, 1.0], [2.0, 0.4, -0.7]];
        let x = sources.dot(&mixing);
        for contrast in [Contrast::LogCosh, Contrast::Exp, Contrast::Cube] {
            let params = FastIcaParams { n_components: 3, contrast, max_iter: 200 };
            let map = fit(x.view(), &params, 1, &Cancel::new()).unwrap();
            map.check().unwrap();
            let columns = fixture::columns(&x);
            let columns = Columns::new(4000, columns.iter().map(Vec::as_slice).collect()).unwrap();
            let found = map.transform(&columns, &Cancel::new()).unwrap();
            for source in sources.columns() {
                let source = source.to_vec();
                let best = found.iter().map(|found| correlation(found, &source).abs()).fold(0.0, f64::max);
                assert!(best > 0.99, "{contrast:?} {best}");
            }
        }
    }

    fn correlation(a: &[f32], b: &[f32]) -> f64 {
        let ((ma, va), (mb, vb)) = (super::super::columns::spread(a), super::super::columns::spread(b));
        let product: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - ma) * (f64::from(b) - mb)).sum();
        product / a.len() as f64 / (va * vb).sqrt()
    }

    #[test]
    fn degenerate_tables_give_sound_maps() {
        for x in fixture::nasty() {
            for contrast in [Contrast::LogCosh, Contrast::Exp, Contrast::Cube] {
                let params = FastIcaParams { n_components: 9, contrast, max_iter: 20 };
                fit(x.view(), &params, 1, &Cancel::new()).unwrap().check().unwrap();
            }
        }
    }
}
