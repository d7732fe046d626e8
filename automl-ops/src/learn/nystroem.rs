//! Features whose products approximate a kernel, from landmarks (Williams and Seeger, *Using the Nyström method to speed up kernel
//! machines*, 2001).
//!
//! Columns are standardised first, so the result equals scikit-learn's `Nystroem` behind a `StandardScaler`. Kernels of rows and
//! landmarks are computed in single precision; directions in which the kernel of the landmarks has next to no extent, which that
//! noise would drown, are left out of the normalisation.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::LearnError;
use super::approx::exp_negative;
use super::columns::{Columns, Standard, alive, block_rows, blocks, bounded, by_rows, sample};
use super::linalg::eigen;
use super::random_features::{REACH, heuristic};

/// Share of the largest eigenvalue below which a direction is noise.
const FLOOR: f64 = 1e-5;

/// How alike two standardised rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `exp(-gamma |a - b|^2)`.
    Gaussian,
    /// `exp(-gamma |a - b|_1)`.
    Laplacian,
    /// `(gamma a.b + 1)^degree`.
    Polynomial,
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct NystroemParams {
    /// Number of landmarks, thus of outputs; all rows where there are fewer.
    pub landmarks: usize,
    /// The kernel.
    pub kernel: Kernel,
    /// Multiple of one over the number of columns that vary.
    pub gamma: f64,
    /// Exponent of the polynomial.
    pub degree: u32,
}

/// A fitted feature map.
#[derive(Clone, Debug, PartialEq)]
pub struct Nystroem {
    /// Mean and scale of the columns.
    pub standard: Standard,
    /// Standardised landmarks x columns.
    pub landmarks: Array2<f32>,
    /// Inverse root of the kernel of the landmarks, landmarks x landmarks.
    pub root: Array2<f32>,
    /// The kernel.
    pub kernel: Kernel,
    /// Its width, as it is multiplied.
    pub gamma: f64,
    /// Exponent of the polynomial.
    pub degree: u32,
}

/// Draws landmarks among the rows of `x` and normalises their kernel.
///
/// # Errors
/// An empty table, or a cancelled token. The eigen-decomposition of the kernel of the landmarks cannot be cut.
pub fn fit(x: &Columns<'_>, params: &NystroemParams, seed: u64, cancel: &Cancel) -> Result<Nystroem, LearnError> {
    let standard = Standard::fit(x, cancel)?;
    let rows = sample(x.rows(), params.landmarks.max(1), seed);
    let mut landmarks = Array2::<f32>::zeros((rows.len(), x.width()));
    for (index, (column, mut to)) in x.iter().zip(landmarks.columns_mut()).enumerate() {
        let values: Vec<f32> = rows.iter().filter_map(|&row| column.get(row as usize).copied()).collect();
        to.iter_mut().zip(standard.column(index, &values, REACH)).for_each(|(to, v)| *to = v);
    }
    let gamma = params.gamma * heuristic(&standard);
    let root = Array2::zeros((0, 0));
    let mut map = Nystroem { standard, landmarks, root, kernel: params.kernel, gamma, degree: params.degree };
    let count = rows.len();
    let mut kernel = Array2::<f32>::zeros((count, count));
    let norms = map.norms();
    for rows in blocks(0..count, block_rows(x.width())) {
        alive(cancel)?;
        map.kernels(map.landmarks.slice(s![rows.clone(), ..]), &norms, kernel.slice_mut(s![rows, ..]));
    }
    let (values, vectors) = eigen("the Nyström method", &kernel.mapv(f64::from))?;
    let top = values.first().copied().unwrap_or(0.0);
    let mut scaled = vectors.clone();
    for (mut row, &value) in scaled.outer_iter_mut().zip(&values) {
        let factor = if value > FLOOR * top && value > 0.0 { 1.0 / value.sqrt() } else { 0.0 };
        row.mapv_inplace(|v| v * factor);
    }
    map.root = vectors.t().dot(&scaled).mapv(bounded);
    Ok(map)
}

impl Nystroem {
    /// The features, one column a landmark, each within ±1e18.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a cancelled token.
    pub fn transform(&self, x: &Columns<'_>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        x.check_width(self.standard.width())?;
        let (count, width) = self.landmarks.dim();
        let size = block_rows(width.max(count));
        by_rows(x.rows(), count, |span, out| {
            let mut block = Array2::<f32>::zeros((size, width));
            let mut kernel = Array2::<f32>::zeros((size, count));
            let mut features = Array2::<f32>::zeros((count, size));
            let norms = self.norms();
            for rows in blocks(span, size) {
                alive(cancel)?;
                self.standard.fill(x, rows.clone(), REACH, block.as_slice_mut().unwrap_or_default());
                let mut kernel = kernel.slice_mut(s![..rows.len(), ..]);
                self.kernels(block.slice(s![..rows.len(), ..]), &norms, kernel.view_mut());
                let mut features = features.slice_mut(s![.., ..rows.len()]);
                general_mat_mul(1.0, &self.root, &kernel.t(), 0.0, &mut features);
                for (out, features) in out.iter_mut().zip(features.outer_iter()) {
                    out.extend(features.iter().map(|&v| bounded(f64::from(v))));
                }
            }
            Ok(())
        })
    }

    /// Squared norms of the landmarks.
    fn norms(&self) -> Vec<f32> {
        self.landmarks.outer_iter().map(|row| row.dot(&row)).collect()
    }

    /// Kernels of some standardised rows with all landmarks.
    fn kernels(&self, rows: ArrayView2<'_, f32>, norms: &[f32], mut out: ArrayViewMut2<'_, f32>) {
        let gamma = self.gamma as f32;
        if self.kernel != Kernel::Laplacian {
            general_mat_mul(1.0, &rows, &self.landmarks.t(), 0.0, &mut out);
        }
        for (row, mut out) in rows.outer_iter().zip(out.outer_iter_mut()) {
            match self.kernel {
                Kernel::Gaussian => {
                    let norm = row.dot(&row);
                    for (out, other) in out.iter_mut().zip(norms) {
                        *out = exp_negative(-gamma * (norm + other - 2.0 * *out).max(0.0));
                    }
                }
                Kernel::Laplacian => {
                    for (out, landmark) in out.iter_mut().zip(self.landmarks.outer_iter()) {
                        *out = exp_negative(-gamma * distance(row.as_slice(), landmark.as_slice()));
                    }
                }
                Kernel::Polynomial => out.mapv_inplace(|product| (gamma * product + 1.0).powi(self.degree.min(9) as i32)),
            }
        }
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        self.standard.check()?;
        let (count, width) = self.landmarks.dim();
        let sound = |v: &f32| v.is_finite();
        if count == 0
            || width != self.standard.width()
            || self.root.dim() != (count, count)
            || !self.landmarks.iter().chain(&self.root).all(sound)
            || !(self.gamma.is_finite() && self.gamma >= 0.0)
        {
            return Err(LearnError::Corrupt { model: "Nyström", problem: "the landmarks do not fit the columns or the root" });
        }
        Ok(())
    }
}

/// Sum of the absolute differences, in eight fixed lanes.
fn distance(a: Option<&[f32]>, b: Option<&[f32]>) -> f32 {
    let (a, b) = (a.unwrap_or_default().chunks_exact(8), b.unwrap_or_default().chunks_exact(8));
    let tail: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| (a - b).abs()).sum();
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += (a - b).abs();
        }
    }
    lanes.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn with_all_rows_as_landmarks_products_are_the_kernel() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns.iter().map(Vec::as_slice).collect()).unwrap();
        // scikit-learn's kernels of rows 0 and 5, and 0 and 1, of the standardised table with gamma 0.25 and degree 3.
        for (kernel, expected) in KERNELS {
            let params = NystroemParams { landmarks: 100, kernel, gamma: 1.0, degree: 3 };
            let map = fit(&data, &params, 1, &Cancel::new()).unwrap();
            map.check().unwrap();
            let out = map.transform(&data, &Cancel::new()).unwrap();
            for (other, expected) in [5, 1].into_iter().zip(expected) {
                let product: f32 = out.iter().map(|feature| feature[0] * feature[other]).sum();
                assert!((product - expected).abs() < 0.01 * expected.max(1.0), "{kernel:?} {product} {expected}");
            }
        }
    }

    const KERNELS: [(Kernel, [f32; 2]); 3] = [
        (Kernel::Gaussian, [0.0579539, 0.9168057]),
        (Kernel::Laplacian, [0.2071276, 0.8022324]),
        (Kernel::Polynomial, [0.1311075, 12.353619]),
    ];

    #[test]
    fn degenerate_tables_give_finite_features() {
        for x in fixture::nasty() {
            let columns = fixture::columns(&x);
            let data = Columns::new(x.nrows(), columns.iter().map(Vec::as_slice).collect()).unwrap();
            for kernel in [Kernel::Gaussian, Kernel::Laplacian, Kernel::Polynomial] {
                let params = NystroemParams { landmarks: 5, kernel, gamma: 10.0, degree: 4 };
                let map = fit(&data, &params, 1, &Cancel::new()).unwrap();
                map.check().unwrap();
                assert!(map.transform(&data, &Cancel::new()).unwrap().iter().flatten().all(|v| v.is_finite()));
            }
        }
    }
}
