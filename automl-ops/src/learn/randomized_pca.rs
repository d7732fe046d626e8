//! Principal components by randomised subspace iteration, for tables with many columns.
//!
//! Halko, Martinsson and Tropp, *Finding structure with randomness*, 2011, with the iteration on the side of the columns: a
//! random basis of a few more directions than are wanted is multiplied by the covariance, block of rows by block of rows, and
//! made orthonormal, again and again; a small eigenproblem inside the basis (Rayleigh–Ritz) then gives the components. The memory
//! is that of the basis, columns x directions, and never that of a covariance.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::LearnError;
use super::affine::{Affine, centre};
use super::columns::{Columns, alive, block_rows, blocks, spread};
use super::linalg::{add_gram, eigen, fix_signs, orthonormal};
use super::pca::rank;
use super::random_features::normal;

/// Directions beside the wanted ones.
const OVERSAMPLING: usize = 10;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomizedPcaParams {
    /// Number of components wanted, from 1.
    pub n_components: usize,
    /// Multiplications by the covariance after the first: the more, the nearer to the exact components.
    pub power_iterations: usize,
    /// Divide each component by its standard deviation.
    pub whiten: bool,
}

/// Finds the components of `x`: orthonormal directions by descending variance, each with its largest loading positive. There are
/// fewer than were asked for where the centred data has a smaller rank, but never none.
///
/// # Errors
/// An empty table, `n_components` 0, or a cancelled token.
pub fn fit(x: &Columns<'_>, params: &RandomizedPcaParams, seed: u64, cancel: &Cancel) -> Result<Affine, LearnError> {
    x.check_fit()?;
    if params.n_components == 0 {
        return Err(LearnError::Param { name: "n_components", value: 0.0, expected: "a number from 1" });
    }
    let columns = x.width();
    let mean: Vec<f64> = x.map(cancel, |column| spread(column).0)?;
    let directions = (params.n_components + OVERSAMPLING).min(columns);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut basis = orthonormal(&Array2::from_shape_simple_fn((directions, columns), || normal(&mut rng)));
    for _ in 0..=params.power_iterations {
        let mut image = Array2::<f64>::zeros(basis.raw_dim());
        scores_by_block(x, &mean, &basis, cancel, |block, scores| {
            general_mat_mul(1.0, &scores.t(), &block, 1.0, &mut image);
        })?;
        // Dividing by the largest entry keeps squares from overflowing; a table of constants has no image, and any basis will do.
        let top = image.iter().fold(0.0f64, |top, v| top.max(v.abs()));
        if top > 0.0 {
            basis = orthonormal(&image.mapv(|v| v / top));
        }
    }
    let mut scatter = Array2::<f64>::zeros((directions, directions));
    scores_by_block(x, &mean, &basis, cancel, |_, scores| add_gram(&mut scatter, 1.0, scores))?;
    let (values, vectors) = eigen("randomised PCA", &scatter)?;
    let count = rank(&values).min(params.n_components);
    let mut components = vectors.slice(s![..count, ..]).dot(&basis);
    fix_signs(&mut components);
    if params.whiten {
        let freedom = x.rows().saturating_sub(1).max(1) as f64;
        for (mut row, value) in components.outer_iter_mut().zip(&values) {
            let scale = if *value > 0.0 { (freedom / value).sqrt() } else { 1.0 };
            row.mapv_inplace(|v| v * scale);
        }
    }
    Ok(Affine::dense(mean, components))
}

/// Calls `body` with blocks of centred rows and their coordinates in the basis, both in standard layout.
fn scores_by_block(
    x: &Columns<'_>,
    mean: &[f64],
    basis: &Array2<f64>,
    cancel: &Cancel,
    mut body: impl FnMut(ndarray::ArrayView2<'_, f64>, ndarray::ArrayView2<'_, f64>),
) -> Result<(), LearnError> {
    let size = block_rows(x.width());
    let mut block = Array2::<f64>::zeros((size, x.width()));
    let mut scores = Array2::<f64>::zeros((size, basis.nrows()));
    for rows in blocks(0..x.rows(), size) {
        alive(cancel)?;
        centre(x, mean, rows.clone(), &mut block);
        let block = block.slice(s![..rows.len(), ..]);
        let mut scores = scores.slice_mut(s![..rows.len(), ..]);
        general_mat_mul(1.0, &block, &basis.t(), 0.0, &mut scores);
        body(block, scores.view());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::affine::Weights;
    use super::super::fixture;
    use super::super::pca::{self, PcaParams};
    use super::*;
    use rand::RngExt;

    #[test]
    fn equals_the_exact_components() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        // 60 columns of rank 4 and noise.
        let loadings = Array2::from_shape_simple_fn((4, 60), || rng.random::<f32>() - 0.5);
        let scores = Array2::from_shape_fn((300, 4), |(_, k)| (rng.random::<f32>() - 0.5) * (8.0 - k as f32));
        let noise = Array2::from_shape_simple_fn((300, 60), || (rng.random::<f32>() - 0.5) * 0.1);
        for (x, n_components) in [(scores.dot(&loadings) + noise, 4), (fixture::x(), 3)] {
            for whiten in [false, true] {
                let exact = pca::fit(x.view(), &PcaParams { n_components, whiten }, &Cancel::new()).unwrap();
                let exact = exact.transform(x.view()).unwrap();
                let data = fixture::columns(&x);
                let data = Columns::new(x.nrows(), data.iter().map(Vec::as_slice).collect()).unwrap();
                let params = RandomizedPcaParams { n_components, power_iterations: 3, whiten };
                let map = fit(&data, &params, 1, &Cancel::new()).unwrap();
                map.check().unwrap();
                let out = map.transform(&data, &Cancel::new()).unwrap();
                for (found, expected) in out.iter().zip(exact.columns()) {
                    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3), "{found:?} {expected}");
                }
            }
        }
    }

    #[test]
    fn degenerate_tables_give_one_component() {
        for x in fixture::nasty() {
            let data = fixture::columns(&x);
            let data = Columns::new(x.nrows(), data.iter().map(Vec::as_slice).collect()).unwrap();
            let params = RandomizedPcaParams { n_components: 9, power_iterations: 1, whiten: true };
            let map = fit(&data, &params, 1, &Cancel::new()).unwrap();
            map.check().unwrap();
            let Weights::Dense(weights) = &map.weights else { panic!() };
            assert!(weights.nrows() >= 1 && weights.nrows() <= x.nrows());
        }
    }
}
