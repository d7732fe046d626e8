//! Affine maps `W (x - mean)`: what most projections are once they are fitted.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::LearnError;
use super::columns::{Columns, alive, block_rows, blocks, bounded, by_rows};
use super::common::{check_coef, clamp_coef};

/// The matrix of a map.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// Outputs x columns.
    Dense(Array2<f64>),
    /// For each output the columns with a weight that is not 0.
    Sparse(Vec<Vec<(u32, f64)>>),
}

/// A fitted map.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// What is subtracted from each column.
    pub mean: Vec<f64>,
    /// The weights of the centred columns.
    pub weights: Weights,
}

impl Affine {
    /// A dense map; weights are limited to what a loaded map may have.
    pub(super) fn dense(mean: Vec<f64>, mut weights: Array2<f64>) -> Self {
        weights.mapv_inplace(clamp_coef);
        Self { mean, weights: Weights::Dense(weights) }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        match &self.weights {
            Weights::Dense(weights) => weights.nrows(),
            Weights::Sparse(lists) => lists.len(),
        }
    }

    /// The outputs, each within ±1e18.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a cancelled token.
    pub fn transform(&self, x: &Columns<'_>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        x.check_width(self.mean.len())?;
        match &self.weights {
            Weights::Dense(weights) => self.by_blocks(x, weights, cancel),
            Weights::Sparse(lists) => lists.par_iter().map(|list| self.combine(x, list, cancel)).collect(),
        }
    }

    fn by_blocks(&self, x: &Columns<'_>, weights: &Array2<f64>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        let size = block_rows(x.width());
        by_rows(x.rows(), weights.nrows(), |span, out| {
            let mut block = Array2::<f64>::zeros((size, x.width()));
            let mut scores = Array2::<f64>::zeros((size, weights.nrows()));
            for rows in blocks(span, size) {
                alive(cancel)?;
                centre(x, &self.mean, rows.clone(), &mut block);
                let mut scores = scores.slice_mut(s![..rows.len(), ..]);
                general_mat_mul(1.0, &block.slice(s![..rows.len(), ..]), &weights.t(), 0.0, &mut scores);
                for (out, scores) in out.iter_mut().zip(scores.columns()) {
                    out.extend(scores.iter().map(|&v| bounded(v)));
                }
            }
            Ok(())
        })
    }

    fn combine(&self, x: &Columns<'_>, list: &[(u32, f64)], cancel: &Cancel) -> Result<Vec<f32>, LearnError> {
        let mut sums = vec![0.0f64; x.rows()];
        for &(column, weight) in list {
            alive(cancel)?;
            let mean = self.mean.get(column as usize).copied().unwrap_or(0.0);
            for (sum, &v) in sums.iter_mut().zip(x.column(column as usize)) {
                *sum += weight * (f64::from(v) - mean);
            }
        }
        Ok(sums.into_iter().map(bounded).collect())
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        const MODEL: &str = "projection";
        check_coef(MODEL, &self.mean)?;
        let width = self.mean.len();
        let fits = match &self.weights {
            Weights::Dense(weights) => {
                check_coef(MODEL, weights)?;
                weights.ncols() == width && weights.nrows() > 0
            }
            Weights::Sparse(lists) => {
                check_coef(MODEL, lists.iter().flatten().map(|(_, weight)| weight))?;
                !lists.is_empty() && lists.iter().flatten().all(|&(column, _)| (column as usize) < width)
            }
        };
        if fits { Ok(()) } else { Err(LearnError::Corrupt { model: MODEL, problem: "the weights do not fit the columns" }) }
    }
}

/// Writes some rows, less `mean`, into `block`, which has room for them.
pub(super) fn centre(x: &Columns<'_>, mean: &[f64], rows: std::ops::Range<usize>, block: &mut Array2<f64>) {
    for ((column, mean), mut to) in x.iter().zip(mean).zip(block.columns_mut()) {
        let values = column.get(rows.clone()).unwrap_or_default();
        to.iter_mut().zip(values).for_each(|(to, &v)| *to = f64::from(v) - mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn sparse_and_dense_weights_agree() {
        let columns: Vec<Vec<f32>> = (0..3).map(|c| (0..3000).map(|row| ((row * (c + 3)) % 17) as f32).collect()).collect();
        let x = Columns::new(3000, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let mean = vec![1.0, 2.0, 3.0];
        let dense = Affine::dense(mean.clone(), array![[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]);
        let sparse = Affine { mean, weights: Weights::Sparse(vec![vec![(0, 2.0), (2, -1.0)], vec![]]) };
        dense.check().unwrap();
        sparse.check().unwrap();
        let out = dense.transform(&x, &Cancel::new()).unwrap();
        assert_eq!(out, sparse.transform(&x, &Cancel::new()).unwrap());
        assert_eq!(out[0][2999], 2.0 * (columns[0][2999] - 1.0) - (columns[2][2999] - 3.0));
        assert!(dense.transform(&x.select(&[0]), &Cancel::new()).is_err());
    }

    #[test]
    fn outputs_are_bounded_and_corrupt_maps_are_errors() {
        let x = [1e18f32, -1e18];
        let x = Columns::new(2, vec![&x]).unwrap();
        let map = Affine::dense(vec![0.0], array![[1e190], [-3.0]]);
        let out = map.transform(&x, &Cancel::new()).unwrap();
        assert_eq!(out, [[1e18f32, -1e18], [-1e18, 1e18]]);
        assert!(Affine { mean: vec![], ..map.clone() }.check().is_err());
        assert!(Affine { mean: vec![f64::NAN], ..map.clone() }.check().is_err());
        assert!(Affine { weights: Weights::Sparse(vec![vec![(1, 1.0)]]), ..map.clone() }.check().is_err());
        assert!(Affine { weights: Weights::Sparse(vec![]), ..map }.check().is_err());
    }
}
