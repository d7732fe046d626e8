//! Cholesky factors of large matrices in blocks, which a cancelled token can end between blocks.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2, s};

use super::LearnError;

/// Columns of a block.
const BLOCK: usize = 64;
/// Rows that one product handles: some milliseconds.
const BAND: usize = 256;

/// The factor `L` (lower triangle) with `L L'` the matrix.
pub(super) struct Factor(Array2<f64>);

impl Factor {
    /// Factors a symmetric matrix of which the lower triangle is read; `None` where it is not positive definite.
    pub fn new(mut a: Array2<f64>, cancel: &Cancel) -> Result<Option<Self>, LearnError> {
        let n = a.nrows();
        for start in (0..n).step_by(BLOCK) {
            let end = (start + BLOCK).min(n);
            for band in (start..n).step_by(BAND) {
                if cancel.is_cancelled() {
                    return Err(LearnError::Cancelled);
                }
                let stop = (band + BAND).min(n);
                let own = a.slice(s![start..end, ..start]).to_owned();
                let (left, mut right) = a.multi_slice_mut((s![band..stop, ..start], s![band..stop, start..end]));
                general_mat_mul(-1.0, &left, &own.t(), 1.0, &mut right);
            }
            if !small(a.slice_mut(s![start..end, start..end])) {
                return Ok(None);
            }
            let own = a.slice(s![start..end, start..end]).to_owned();
            for mut row in a.slice_mut(s![end.., start..end]).outer_iter_mut() {
                for j in 0..end - start {
                    let sum: f64 = row.iter().zip(own.row(j)).take(j).map(|(a, b)| a * b).sum();
                    row[j] = (row[j] - sum) / own[(j, j)];
                }
            }
        }
        Ok(Some(Self(a)))
    }

    /// Solves for each row of `b` (right-hand sides x size) in place.
    pub fn solve_rows(&self, b: &mut Array2<f64>) {
        let n = self.0.nrows();
        for mut x in b.outer_iter_mut() {
            for i in 0..n {
                let sum = self.0.slice(s![i, ..i]).dot(&x.slice(s![..i]));
                x[i] = (x[i] - sum) / self.0[(i, i)];
            }
            for i in (0..n).rev() {
                let value = x[i] / self.0[(i, i)];
                x[i] = value;
                x.slice_mut(s![..i]).scaled_add(-value, &self.0.slice(s![i, ..i]));
            }
        }
    }

    /// The diagonal of the inverse of the matrix.
    pub fn inverse_diagonal(&self, cancel: &Cancel) -> Result<Vec<f64>, LearnError> {
        let n = self.0.nrows();
        let mut inverse = Array2::<f64>::zeros((n, n));
        let mut diagonal = vec![0.0; n];
        for start in (0..n).step_by(BLOCK) {
            let end = (start + BLOCK).min(n);
            let mut rows = Array2::<f64>::zeros((end - start, end));
            for band in (0..start).step_by(BAND) {
                if cancel.is_cancelled() {
                    return Err(LearnError::Cancelled);
                }
                let stop = (band + BAND).min(start);
                // Rows of the inverse above `band` are zero in these columns.
                let left = self.0.slice(s![start..end, band..start]);
                let right = inverse.slice(s![band..start, band..stop]);
                general_mat_mul(-1.0, &left, &right, 0.0, &mut rows.slice_mut(s![.., band..stop]));
            }
            for i in 0..end - start {
                rows[(i, start + i)] = 1.0;
                let (above, mut own) = rows.multi_slice_mut((s![..i, ..], s![i, ..]));
                for (j, row) in above.outer_iter().enumerate() {
                    own.scaled_add(-self.0[(start + i, start + j)], &row);
                }
                let pivot = self.0[(start + i, start + i)];
                own.mapv_inplace(|v| v / pivot);
            }
            for row in rows.outer_iter() {
                diagonal.iter_mut().zip(row).for_each(|(sum, v)| *sum += v * v);
            }
            inverse.slice_mut(s![start..end, ..end]).assign(&rows);
        }
        Ok(diagonal)
    }
}

/// Factors a small block in place; false where it is not positive definite.
fn small(mut a: ArrayViewMut2<'_, f64>) -> bool {
    for j in 0..a.nrows() {
        for i in j..a.nrows() {
            let sum: f64 = a.row(i).iter().zip(a.row(j)).take(j).map(|(a, b)| a * b).sum();
            let value = a[(i, j)] - sum;
            if i == j {
                if !(value.is_finite() && value > 1e-14) {
                    return false;
                }
                a[(j, j)] = value.sqrt();
            } else {
                a[(i, j)] = value / a[(j, j)];
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_inverts_over_several_blocks() {
        let n = 300;
        let a = Array2::from_shape_fn((n, n), |(i, j)| {
            (-(i as f64 - j as f64).powi(2) / 50.0).exp() + if i == j { 0.1 } else { 0.0 }
        });
        let factor = Factor::new(a.clone(), &Cancel::new()).unwrap().unwrap();
        let mut solution = Array2::<f64>::eye(n);
        factor.solve_rows(&mut solution);
        let product = a.dot(&solution.t());
        assert!(product.indexed_iter().all(|((i, j), v)| (v - f64::from(u8::from(i == j))).abs() < 1e-8));
        let diagonal = factor.inverse_diagonal(&Cancel::new()).unwrap();
        assert!(diagonal.iter().zip(solution.diag()).all(|(a, b)| (a - b).abs() < 1e-8));
        assert!(Factor::new(-a, &Cancel::new()).unwrap().is_none());
    }
}
