//! Cholesky and symmetric eigen-decomposition by faer, from and to `ndarray`, in double precision on one thread.

use automl_core::Cancel;
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::columns::alive;

/// A Cholesky factor of `D (A + jitter) D`, with `D` scaling the diagonal of `A` to 1.
///
/// Scaling first makes the jitter mean the same for columns of every magnitude.
pub(super) struct Cholesky {
    /// Its lower triangle is the factor; what lies above is not read.
    lower: Mat<f64>,
    scale: Vec<f64>,
}

/// Columns that are factored before the token is looked at again.
const PANEL: usize = 256;

impl Cholesky {
    /// Factors a symmetric, positive semi-definite matrix of which the lower triangle is read.
    ///
    /// Where it is not numerically positive definite, a jitter from 1e-10 up to 1 (relative to the diagonal) is added.
    ///
    /// # Errors
    /// Numbers that are not finite, or a cancelled token.
    pub fn new(what: &'static str, a: ArrayView2<'_, f64>, cancel: &Cancel) -> Result<Self, LearnError> {
        let n = a.nrows().min(a.ncols());
        let scale: Vec<f64> = a.diag().iter().map(|&d| if d > 0.0 && d.is_finite() { 1.0 / d.sqrt() } else { 1.0 }).collect();
        let unit = |i: usize, j: usize| a.get((i, j)).map_or(0.0, |v| v * scale[i] * scale[j]);
        for jitter in [0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0] {
            let mut lower = Mat::from_fn(n, n, |i, j| if i == j { unit(i, j) + jitter } else { unit(i.max(j), i.min(j)) });
            // A pivot at the level of rounding means that the matrix is singular in all but name.
            if factor(lower.as_mut(), cancel)? && (0..n).all(|i| lower[(i, i)] > 1e-7) {
                return Ok(Self { lower, scale });
            }
        }
        Err(LearnError::Numeric { what })
    }

    /// Solves for each row of `b` (right-hand sides x size) in place.
    pub fn solve_rows(&self, b: &mut Array2<f64>) {
        let mut rhs = Mat::from_fn(b.ncols(), b.nrows(), |i, j| b[(j, i)] * self.scale[i]);
        self.lower.solve_lower_triangular_in_place(rhs.as_mut());
        self.lower.transpose().solve_upper_triangular_in_place(rhs.as_mut());
        for ((j, i), value) in b.indexed_iter_mut() {
            *value = rhs[(i, j)] * self.scale[i];
        }
    }
}

impl Cholesky {
    /// `W` (lower triangle, size x size) with `|W d|^2 = d' A^-1 d`, and the logarithm of the determinant of `A`.
    ///
    /// # Errors
    /// A cancelled token.
    pub fn whitener(&self, cancel: &Cancel) -> Result<(Array2<f64>, f64), LearnError> {
        let n = self.scale.len();
        let mut inverse = Mat::<f64>::identity(n, n);
        for start in (0..n).step_by(PANEL) {
            alive(cancel)?;
            // The inverse of a lower triangle is one, too: above the panel it is zero.
            let (size, width) = (n - start, PANEL.min(n - start));
            let panel = inverse.as_mut().submatrix_mut(start, start, size, width);
            self.lower.as_ref().submatrix(start, start, size, size).solve_lower_triangular_in_place(panel);
        }
        let log_det = (0..n).map(|i| 2.0 * (self.lower[(i, i)].ln() - self.scale[i].ln())).sum();
        Ok((Array2::from_shape_fn((n, n), |(i, j)| if j > i { 0.0 } else { inverse[(i, j)] * self.scale[j] }), log_det))
    }
}

/// Replaces the lower triangle by its Cholesky factor, panel by panel; `false` where it is not positive definite.
fn factor(mut a: MatMut<'_, f64>, cancel: &Cancel) -> Result<bool, LearnError> {
    let n = a.nrows();
    for start in (0..n).step_by(PANEL) {
        alive(cancel)?;
        let end = (start + PANEL).min(n);
        let Ok(block) = a.as_ref().submatrix(start, start, end - start, end - start).llt(Side::Lower) else { return Ok(false) };
        a.rb_mut().submatrix_mut(start, start, end - start, end - start).copy_from(block.L());
        let (left, mut right) = a.rb_mut().split_at_col_mut(end);
        let mut panel = left.submatrix_mut(end, start, n - end, end - start);
        block.L().solve_lower_triangular_in_place(panel.rb_mut().transpose_mut());
        for top in (end..n).step_by(PANEL) {
            alive(cancel)?;
            let rows = PANEL.min(n - top);
            let (above, own) = (panel.rb().subrows(0, top - end + rows), panel.rb().subrows(top - end, rows));
            let to = right.rb_mut().submatrix_mut(top, 0, rows, top - end + rows);
            faer::linalg::matmul::matmul(to, Accum::Add, own, above.transpose(), -1.0, Par::Seq);
        }
    }
    Ok(true)
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
        Cholesky::new("test", array![[4.0, 1.0], [1.0, 3.0]].view(), &Cancel::new()).unwrap().solve_rows(&mut b);
        assert!((b[(0, 0)] - 1.0).abs() < 1e-12 && (b[(0, 1)] - 1.0).abs() < 1e-12);
        // Twice the same column at a huge scale: the two share the solution.
        let mut b = array![[2e40, 2e40]];
        Cholesky::new("test", array![[1e40, 1e40], [1e40, 1e40]].view(), &Cancel::new()).unwrap().solve_rows(&mut b);
        assert!((b[(0, 0)] - 1.0).abs() < 1e-3 && (b[(0, 1)] - 1.0).abs() < 1e-3, "{b}");
        assert!(Cholesky::new("test", array![[f64::NAN]].view(), &Cancel::new()).is_err());
        Cholesky::new("test", Array2::zeros((3, 3)).view(), &Cancel::new()).unwrap();
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
    fn a_matrix_of_several_panels_is_factored_and_inverted() {
        let n = 2 * PANEL + 37;
        let entry = |i: usize, j: usize| if i == j { 3.0 } else { 1.0 / (1.0 + (i.abs_diff(j) as f64).powi(2)) };
        let a = Array2::from_shape_fn((n, n), |(i, j)| entry(i, j));
        let cholesky = Cholesky::new("test", a.view(), &Cancel::new()).unwrap();
        let truth = Array2::from_shape_fn((2, n), |(i, j)| ((i + 1) * j % 7) as f64 - 3.0);
        let mut b = truth.dot(&a);
        cholesky.solve_rows(&mut b);
        assert!(b.iter().zip(&truth).all(|(found, truth)| (found - truth).abs() < 1e-9));
        let (w, _) = cholesky.whitener(&Cancel::new()).unwrap();
        let unit = w.dot(&a).dot(&w.t());
        assert!(unit.indexed_iter().all(|((i, j), v)| (v - f64::from(u8::from(i == j))).abs() < 1e-9));
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(Cholesky::new("test", a.view(), &cancel), Err(LearnError::Cancelled)));
        assert!(matches!(cholesky.whitener(&cancel), Err(LearnError::Cancelled)));
    }

    #[test]
    fn the_whitener_gives_distance_and_determinant() {
        let a = array![[4e8, 1e4], [1e4, 3.0]];
        let (w, log_det) = Cholesky::new("test", a.view(), &Cancel::new()).unwrap().whitener(&Cancel::new()).unwrap();
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
