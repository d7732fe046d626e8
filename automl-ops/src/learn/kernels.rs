//! Kernels of pairs of rows, and the table that a kernel method keeps.
//!
//! Columns are centred and, where asked, scaled first, so that a kernel from a product and two norms loses few digits. The width of
//! a kernel is relative: with `gamma` 1 it is one over the number of columns times their mean variance, which scikit-learn calls
//! `scale`.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::common::{BLOCK, Sample, check_finite, to_f32};
use super::logistic_loss::{exp_negative, multiply};
use super::scale::moments;

/// Largest magnitude of a transformed value: no kernel tells what lies beyond apart, and a product of rows stays finite.
const FAR: f64 = 1e8;

/// A function of two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// `exp(-gamma |a - b|^2)`.
    Rbf,
    /// `(1 + gamma a'b)^degree`.
    Polynomial(i32),
    /// Matérn with 5/2, of the distance times the root of `5 gamma`: rougher than [`Kernel::Rbf`].
    Matern,
}

impl Kernel {
    /// Name and degree, for a file.
    pub fn to_parts(self) -> (&'static str, i32) {
        match self {
            Self::Rbf => ("rbf", 0),
            Self::Polynomial(degree) => ("polynomial", degree),
            Self::Matern => ("matern", 0),
        }
    }

    /// The kernel of that name and degree.
    pub fn from_parts(name: &str, degree: i32) -> Option<Self> {
        match name {
            "rbf" => Some(Self::Rbf),
            "polynomial" if (1..=10).contains(&degree) => Some(Self::Polynomial(degree)),
            "matern" => Some(Self::Matern),
            _ => None,
        }
    }

    fn apply(self, products: &mut [f32], norm: f32, norms: &[f32], gamma: f32) {
        match self {
            Self::Rbf => {
                for (p, other) in products.iter_mut().zip(norms) {
                    *p = exp_negative((-gamma * (norm + other - 2.0 * *p)).min(0.0));
                }
            }
            Self::Polynomial(degree) => products.iter_mut().for_each(|p| {
                *p = to_f32((1.0 + f64::from(gamma) * f64::from(*p)).powi(degree).clamp(-1e30, 1e30));
            }),
            Self::Matern => {
                for (p, other) in products.iter_mut().zip(norms) {
                    let r = (5.0 * gamma * (norm + other - 2.0 * *p).max(0.0)).sqrt().min(1e9);
                    *p = (1.0 + r + r * r / 3.0) * exp_negative(-r);
                }
            }
        }
    }
}

/// How columns are centred and scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Subtracted from each column.
    pub mean: Vec<f64>,
    /// Then multiplied with; 0 for a constant column.
    pub inverse: Vec<f64>,
}

impl Transform {
    /// Measures the columns: each is scaled to variance 1 with `scale`, else all alike to a mean variance of 1.
    pub(super) fn new(sample: &Sample<'_>, scale: bool, cancel: &Cancel) -> Result<Self, LearnError> {
        let (mean, variance) = moments(sample.x.view(), Some(&sample.w), cancel)?;
        let root = |v: f64| if v > 0.0 && v.is_finite() { 1.0 / v.sqrt() } else { 0.0 };
        let inverse = if scale {
            variance.iter().map(|&v| root(v)).collect()
        } else {
            let level = root(variance.iter().sum::<f64>() / variance.len().max(1) as f64);
            vec![level; variance.len()]
        };
        Ok(Self { mean, inverse })
    }

    /// Rows ready for a kernel.
    pub(super) fn rows(&self, x: ArrayView2<'_, f32>) -> Rows {
        let mut z = Array2::<f32>::zeros(x.raw_dim());
        let mut norms = Vec::with_capacity(x.nrows());
        for (mut to, from) in z.outer_iter_mut().zip(x.outer_iter()) {
            let mut norm = 0.0f64;
            for (((to, &from), mean), inverse) in to.iter_mut().zip(from).zip(&self.mean).zip(&self.inverse) {
                *to = ((f64::from(from) - mean) * inverse).clamp(-FAR, FAR) as f32;
                norm += f64::from(*to) * f64::from(*to);
            }
            norms.push(norm as f32);
        }
        Rows { z, norms }
    }

    /// Validates the fields after loading, for so many columns.
    pub(super) fn check(&self, model: &'static str, columns: usize) -> Result<(), LearnError> {
        let sound = |values: &[f64]| values.len() == columns && values.iter().all(|v| v.abs() <= 1e50);
        if sound(&self.mean) && sound(&self.inverse) {
            return Ok(());
        }
        Err(LearnError::Corrupt { model, problem: "the means or scales do not fit the columns" })
    }
}

/// Transformed rows with their squared norms.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Rows x columns, in standard layout.
    pub z: Array2<f32>,
    /// Squared norm of each row.
    pub norms: Vec<f32>,
}

impl Rows {
    /// Rows that were transformed before, as a file holds them.
    pub fn of(z: Array2<f32>) -> Self {
        let norms = z.outer_iter().map(|row| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() as f32).collect();
        Self { z, norms }
    }

    /// Some of the rows.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let norms = rows.iter().map(|&row| self.norms[row]).collect();
        Self { z: self.z.select(ndarray::Axis(0), rows), norms }
    }

    /// Validates what a file held.
    pub(super) fn check(&self, model: &'static str) -> Result<(), LearnError> {
        if self.z.nrows() == self.norms.len() && self.z.iter().all(|v| f64::from(v.abs()) <= FAR) {
            return Ok(());
        }
        Err(LearnError::Corrupt { model, problem: "a row is not finite or out of range" })
    }
}

/// A kernel with its width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizedKernel {
    /// The function.
    pub kernel: Kernel,
    /// Its absolute `gamma`.
    pub gamma: f32,
}

impl SizedKernel {
    /// A kernel of a width relative to the columns that vary.
    pub(super) fn new(kernel: Kernel, gamma: f64, transform: &Transform) -> Self {
        let columns = transform.inverse.iter().filter(|v| **v > 0.0).count().max(1);
        Self { kernel, gamma: (gamma / columns as f64) as f32 }
    }

    /// Turns products of rows into kernels, from the squared norms of both sides.
    pub(super) fn kernel_of(&self, products: &mut [f32], norm: f32, norms: &[f32]) {
        self.kernel.apply(products, norm, norms, self.gamma);
    }

    /// The kernel of one row with all rows.
    pub(super) fn row(&self, rows: &Rows, row: usize, out: &mut Array2<f32>) {
        let own = rows.z.slice(s![row..=row, ..]).to_owned();
        multiply(rows.z.view(), &own, out.view_mut());
        if let (Some(out), Some(&norm)) = (out.as_slice_mut(), rows.norms.get(row)) {
            self.kernel.apply(out, norm, &rows.norms, self.gamma);
        }
    }

    /// The kernel of all pairs of rows, in double precision.
    pub(super) fn matrix(&self, a: &Rows, b: &Rows, cancel: &Cancel) -> Result<Array2<f64>, LearnError> {
        let mut out = Array2::<f64>::zeros((a.z.nrows(), b.z.nrows()));
        self.blocks(a, b, cancel, |start, block| {
            out.slice_mut(s![start..start + block.nrows(), ..]).zip_mut_with(&block, |to, &from| *to = f64::from(from));
        })?;
        Ok(out)
    }

    /// Calls `body` with the first row and the kernel of a block of rows of `a` with all rows of `b`.
    pub(super) fn blocks(
        &self,
        a: &Rows,
        b: &Rows,
        cancel: &Cancel,
        mut body: impl FnMut(usize, ArrayView2<'_, f32>),
    ) -> Result<(), LearnError> {
        let mut products = Array2::<f32>::zeros((BLOCK.min(a.z.nrows()), b.z.nrows()));
        for start in (0..a.z.nrows()).step_by(BLOCK) {
            if cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            let end = (start + BLOCK).min(a.z.nrows());
            let mut block = products.slice_mut(s![..end - start, ..]);
            general_mat_mul(1.0, &a.z.slice(s![start..end, ..]), &b.z.t(), 0.0, &mut block);
            for (mut row, &norm) in block.outer_iter_mut().zip(&a.norms[start..end]) {
                if let Some(row) = row.as_slice_mut() {
                    self.kernel.apply(row, norm, &b.norms, self.gamma);
                }
            }
            body(start, block.view());
        }
        Ok(())
    }
}

/// The rows of a query, checked and transformed.
pub(super) fn query(x: ArrayView2<'_, f32>, transform: &Transform) -> Result<Rows, LearnError> {
    if x.ncols() != transform.mean.len() {
        return Err(LearnError::Columns { expected: transform.mean.len(), found: x.ncols() });
    }
    check_finite(x)?;
    Ok(transform.rows(x))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn kernels_are_those_of_the_definition() {
        let x = fixture::x();
        let sample = Sample::new(x.view(), None).unwrap();
        let transform = Transform::new(&sample, true, &Cancel::new()).unwrap();
        let rows = transform.rows(x.view());
        for kernel in [Kernel::Rbf, Kernel::Polynomial(3), Kernel::Matern] {
            let sized = SizedKernel::new(kernel, 2.0, &transform);
            assert_eq!(sized.gamma, 0.5);
            let matrix = sized.matrix(&rows, &rows, &Cancel::new()).unwrap();
            let mut row = Array2::zeros((15, 1));
            sized.row(&rows, 3, &mut row);
            for (other, (&found, &single)) in matrix.row(3).iter().zip(&row).enumerate() {
                let (a, b) = (rows.z.row(3), rows.z.row(other));
                let square = f64::from(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>());
                let r = (2.5 * square).sqrt();
                let expected = match kernel {
                    Kernel::Rbf => (-0.5 * square).exp(),
                    Kernel::Polynomial(_) => (1.0 + 0.5 * f64::from(a.dot(&b))).powi(3),
                    Kernel::Matern => (1.0 + r + r * r / 3.0) * (-r).exp(),
                };
                assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{kernel:?} {found} {expected}");
                assert!((f64::from(single) - expected).abs() < 1e-3 * expected.abs().max(1.0));
            }
        }
        assert_eq!(Kernel::from_parts("polynomial", 99), None);
    }
}
