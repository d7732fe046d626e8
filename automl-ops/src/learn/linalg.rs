//! Cholesky and symmetric eigen-decomposition by faer, from and to `ndarray`, in double precision on one thread.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::solvers::Solve;
use faer::{Accum, MatMut, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2};

use super::LearnError;

/// A Cholesky factor of `D (A + jitter) D`, with `D` scaling the diagonal of `A` to 1.
///
/// Scaling first makes the jitter mean the same for columns of every magnitude.
pub(super) struct Cholesky {
    factor: faer::linalg::solvers::Llt<f64>,
    scale: Vec<f64>,
}

impl Cholesky {
    /// Factors a symmetric, positive semi-definite matrix of which the lower triangle is read.
    ///
    /// Where it is not numerically positive definite, a jitter from 1e-10 up to 1 (relative to the diagonal) is added.
    pub fn new(what: &'static str, a: ArrayView2<'_, f64>) -> Result<Self, LearnError> {
        let n = a.nrows().min(a.ncols());
        let scale: Vec<f64> = a.diag().iter().map(|&d| if d > 0.0 && d.is_finite() { 1.0 / d.sqrt() } else { 1.0 }).collect();
        let unit = |i: usize, j: usize| a.get((i, j)).map_or(0.0, |v| v * scale[i] * scale[j]);
        for jitter in [0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0] {
            let matrix = faer::Mat::from_fn(n, n, |i, j| if i == j { unit(i, j) + jitter } else { unit(i.max(j), i.min(j)) });
            if let Ok(factor) = matrix.llt(Side::Lower) {
                // A pivot at the level of rounding means that the matrix is singular in all but name.
                if (0..n).all(|i| factor.L()[(i, i)] > 1e-7) {
                    return Ok(Self { factor, scale });
                }
            }
        }
        Err(LearnError::Numeric { what })
    }

    /// Solves for each row of `b` (right-hand sides x size) in place.
    pub fn solve_rows(&self, b: &mut Array2<f64>) {
        let mut rhs = faer::Mat::from_fn(b.ncols(), b.nrows(), |i, j| b[(j, i)] * self.scale[i]);
        self.factor.solve_in_place(rhs.as_mut());
        for ((j, i), value) in b.indexed_iter_mut() {
            *value = rhs[(i, j)] * self.scale[i];
        }
    }
}

impl Cholesky {
    /// `W` (lower triangle, size x size) with `|W d|^2 = d' A^-1 d`, and the logarithm of the determinant of `A`.
    pub fn whitener(&self) -> (Array2<f64>, f64) {
        let n = self.scale.len();
        let factor = self.factor.L();
        let mut inverse = faer::Mat::<f64>::identity(n, n);
        factor.solve_lower_triangular_in_place(inverse.as_mut());
        let log_det = (0..n).map(|i| 2.0 * (factor[(i, i)].ln() - self.scale[i].ln())).sum();
        (Array2::from_shape_fn((n, n), |(i, j)| inverse[(i, j)] * self.scale[j]), log_det)
    }
}

/// Adds `alpha block' block` to the lower triangle of `gram` (columns x columns, standard layout): half a full product.
pub(super) fn add_gram(gram: &mut Array2<f64>, alpha: f64, block: ArrayView2<'_, f64>) {
    let (rows, columns) = block.dim();
    if let (Some(to), Some(from)) = (gram.as_slice_mut(), block.to_slice()) {
        let from = MatRef::from_row_major_slice(from, rows, columns);
        matmul(
            MatMut::from_row_major_slice_mut(to, columns, columns),
            BlockStructure::TriangularLower,
            Accum::Add,
            from.transpose(),
            BlockStructure::Rectangular,
            from,
            BlockStructure::Rectangular,
            alpha,
            Par::Seq,
        );
    }
}

/// Eigenvalues, descending, and their eigenvectors as rows, of a symmetric matrix in standard layout, of which the lower triangle is read.
pub(super) fn eigen(what: &'static str, a: &Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), LearnError> {
    let n = a.nrows();
    // Dividing by the largest entry keeps squares inside the solver from overflowing.
    let top = a.iter().fold(0.0f64, |top, v| top.max(v.abs()));
    if a.iter().any(|v| !v.is_finite()) {
        return Err(LearnError::Numeric { what });
    }
    let unit = if top > 0.0 { 1.0 / top } else { 1.0 };
    let scaled: Vec<f64> = a.iter().map(|v| v * unit).collect();
    let matrix = MatRef::from_row_major_slice(&scaled, n, n);
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| LearnError::Numeric { what })?;
    let values: Vec<f64> = eigen.S().column_vector().iter().rev().map(|v| v / unit).collect();
    let vectors = eigen.U();
    Ok((values, Array2::from_shape_fn((n, n), |(k, i)| vectors[(i, n - 1 - k)])))
}

/// An orthonormal basis of the span of the rows of `a` (rows x columns, standard layout, no more rows than columns), as rows.
///
/// Where the rows depend on each other, the basis has as many rows all the same.
pub(super) fn orthonormal(a: &Array2<f64>) -> Array2<f64> {
    let (rows, columns) = a.dim();
    let Some(values) = a.as_slice() else { return a.clone() };
    let basis = MatRef::from_row_major_slice(values, rows, columns).transpose().qr().compute_thin_Q();
    Array2::from_shape_fn((rows.min(columns), columns), |(k, i)| basis[(i, k)])
}

/// Gives each row the sign that makes its entry of largest magnitude positive; of nearly equal ones the first decides.
pub(super) fn fix_signs(rows: &mut Array2<f64>) {
    for mut row in rows.outer_iter_mut() {
        let top = row.iter().fold(0.0f64, |top, v| top.max(v.abs()));
        if row.iter().find(|v| v.abs() >= top * (1.0 - 1e-9)).is_some_and(|v| *v < 0.0) {
            row.iter_mut().for_each(|v| *v = -*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn solves_and_falls_back_on_a_singular_matrix() {
        let mut b = array![[5.0, 4.0]];
        Cholesky::new("test", array![[4.0, 1.0], [1.0, 3.0]].view()).unwrap().solve_rows(&mut b);
        assert!((b[(0, 0)] - 1.0).abs() < 1e-12 && (b[(0, 1)] - 1.0).abs() < 1e-12);
        // Twice the same column at a huge scale: the two share the solution.
        let mut b = array![[2e40, 2e40]];
        Cholesky::new("test", array![[1e40, 1e40], [1e40, 1e40]].view()).unwrap().solve_rows(&mut b);
        assert!((b[(0, 0)] - 1.0).abs() < 1e-3 && (b[(0, 1)] - 1.0).abs() < 1e-3, "{b}");
        assert!(Cholesky::new("test", array![[f64::NAN]].view()).is_err());
        Cholesky::new("test", Array2::zeros((3, 3)).view()).unwrap();
    }

    #[test]
    fn the_gram_matrix_is_the_product() {
        let block = Array2::from_shape_fn((37, 21), |(i, j)| ((i * 7 + j * 3) % 11) as f64);
        let mut gram = Array2::zeros((21, 21));
        add_gram(&mut gram, 0.5, block.view());
        add_gram(&mut gram, 0.5, block.view());
        let full = block.t().dot(&block);
        for ((i, j), &v) in gram.indexed_iter() {
            assert!(i < j || (v - full[(i, j)]).abs() < 1e-9);
        }
    }

    #[test]
    fn the_whitener_gives_distance_and_determinant() {
        let a = array![[4e8, 1e4], [1e4, 3.0]];
        let (w, log_det) = Cholesky::new("test", a.view()).unwrap().whitener();
        assert!((log_det - 11e8f64.ln()).abs() < 1e-9);
        // The inverse is [[3, -1e4], [-1e4, 4e8]] / 11e8.
        let d = w.dot(&array![2.0, 1.0]);
        assert!((d.dot(&d) - (12.0 - 4e4 + 4e8) / 11e8).abs() < 1e-9);
    }

    #[test]
    fn eigenvalues_come_in_descending_order() {
        let (values, vectors) = eigen("test", &array![[2.0, 1.0], [1.0, 2.0]]).unwrap();
        assert!((values[0] - 3.0).abs() < 1e-12 && (values[1] - 1.0).abs() < 1e-12);
        assert!((vectors[(0, 0)] - vectors[(0, 1)]).abs() < 1e-12);
        assert!(eigen("test", &array![[f64::INFINITY]]).is_err());
        assert!(eigen("test", &array![[f64::NAN]]).is_err());
    }
}
