//! Principal components by eigen-decomposition of the covariance, or of the Gram matrix where there are fewer rows than columns.
//!
//! This costs `rows * columns^2` once, against several such passes for a singular value decomposition. Squaring loses the
//! components whose deviation is below 1e-7 of the largest; those are rounding noise in an `f32` table and are left out.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::common::{affine_blocks, centred_blocks, check_coef, check_fit, check_input, clamp_coef, standard, to_f32};
use super::linalg::{add_gram, eigen, fix_signs};
use super::scale::moments;

/// Largest side of the matrix to decompose, which cannot be interrupted: about a quarter of a second. Wider tables are for
/// [`randomized_pca`](super::randomized_pca).
pub const MAX_SIDE: usize = 1024;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcaParams {
    /// Number of components wanted, from 1. Default 2.
    pub n_components: usize,
    /// Divide each component by its standard deviation. Default false.
    pub whiten: bool,
}

impl Default for PcaParams {
    fn default() -> Self {
        Self { n_components: 2, whiten: false }
    }
}

/// Fitted principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// Components x columns, orthonormal, by descending variance; the largest absolute loading of each is positive.
    ///
    /// There are fewer than were asked for where the centred data has a smaller rank, but never none.
    pub components: Array2<f64>,
    /// Variance of each component (divisor: rows - 1).
    pub explained_variance: Vec<f64>,
    /// The same as a share of the total variance.
    pub explained_ratio: Vec<f64>,
    /// Whether `transform` divides by the standard deviations.
    pub whiten: bool,
}

/// Finds the components of `x`.
///
/// # Errors
/// An empty matrix, values that are not finite, `n_components` 0, more than [`MAX_SIDE`] rows and columns, or a cancelled
/// token. The decomposition itself cannot be cut.
pub fn fit(x: ArrayView2<'_, f32>, params: &PcaParams, cancel: &Cancel) -> Result<Pca, LearnError> {
    check_fit(x)?;
    if params.n_components == 0 {
        return Err(LearnError::Param { name: "n_components", value: 0.0, expected: "a number from 1" });
    }
    let x = standard(x);
    let x = x.view();
    let (rows, columns) = x.dim();
    let side = rows.min(columns);
    if side > MAX_SIDE {
        return Err(LearnError::TooLarge { what: "PCA", size: side, limit: MAX_SIDE });
    }
    let (mean, variance) = moments(x, None, cancel)?;
    let freedom = rows.saturating_sub(1).max(1) as f64;
    let (values, mut components) = if columns <= rows {
        primal(x, &mean, params.n_components, cancel)?
    } else {
        dual(x, &mean, params.n_components, cancel)?
    };
    fix_signs(&mut components);
    let total = variance.iter().sum::<f64>() * rows as f64;
    let explained_ratio = values.iter().map(|v| if total > 0.0 { v / total } else { 0.0 }).collect();
    let explained_variance = values.iter().map(|v| v / freedom).collect();
    Ok(Pca { mean, components, explained_variance, explained_ratio, whiten: params.whiten })
}

impl Pca {
    /// Coordinates of the rows, rows x components, clipped to finite numbers.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn transform(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.mean.len())?;
        let scale: Vec<f64> =
            (self.explained_variance.iter()).map(|&v| if self.whiten && v > 0.0 { 1.0 / v.sqrt() } else { 1.0 }).collect();
        let mut out = Array2::zeros((x.nrows(), self.components.nrows()));
        let offset: Vec<f64> =
            (self.components.outer_iter()).map(|row| -row.iter().zip(&self.mean).map(|(c, m)| c * m).sum::<f64>()).collect();
        affine_blocks(x, self.components.view(), &offset, |start, scores| {
            for (row, scores) in scores.outer_iter().enumerate() {
                let values = scores.iter().zip(&scale).map(|(v, s)| to_f32(v * s));
                out.row_mut(start + row).iter_mut().zip(values).for_each(|(to, v)| *to = v);
            }
        });
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        check_coef("PCA", self.components.iter())?;
        check_coef("PCA", self.mean.iter().chain(&self.explained_variance).chain(&self.explained_ratio))?;
        let count = self.components.nrows();
        if count == 0
            || self.components.ncols() != self.mean.len()
            || self.explained_variance.len() != count
            || self.explained_ratio.len() != count
        {
            return Err(LearnError::Corrupt { model: "PCA", problem: "the shapes contradict each other" });
        }
        Ok(())
    }
}

/// Scatter along each component, and the components as rows.
type Spectrum = (Vec<f64>, Array2<f64>);

fn primal(x: ArrayView2<'_, f32>, mean: &[f64], wanted: usize, cancel: &Cancel) -> Result<Spectrum, LearnError> {
    let mut scatter = Array2::<f64>::zeros((x.ncols(), x.ncols()));
    centred_blocks(x, mean, None, cancel, |_, block| add_gram(&mut scatter, 1.0, block))?;
    let (mut values, vectors) = eigen("PCA", &scatter)?;
    let count = rank(&values).min(wanted);
    values.truncate(count);
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    Ok((values, vectors.slice(s![..count, ..]).to_owned()))
}

fn dual(x: ArrayView2<'_, f32>, mean: &[f64], wanted: usize, cancel: &Cancel) -> Result<Spectrum, LearnError> {
    const COLUMNS: usize = 512;
    let (rows, columns) = x.dim();
    let mut gram = Array2::<f64>::zeros((rows, rows));
    let mut parts = Vec::new();
    for start in (0..columns).step_by(COLUMNS) {
        let end = (start + COLUMNS).min(columns);
        let mut part = Array2::<f64>::zeros((rows, end - start));
        centred_blocks(x.slice(s![.., start..end]), &mean[start..end], None, cancel, |row, block| {
            part.slice_mut(s![row..row + block.nrows(), ..]).assign(&block);
        })?;
        general_mat_mul(1.0, &part, &part.t(), 1.0, &mut gram);
        parts.push((start, part));
    }
    let (mut values, vectors) = eigen("PCA", &gram)?;
    let count = rank(&values).min(wanted);
    values.truncate(count);
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    let mut components = Array2::<f64>::zeros((count, columns));
    for (start, part) in &parts {
        let mut to = components.slice_mut(s![.., *start..start + part.ncols()]);
        general_mat_mul(1.0, &vectors.slice(s![..count, ..]), part, 0.0, &mut to);
    }
    for (k, mut row) in components.outer_iter_mut().enumerate() {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|v| *v = clamp_coef(*v / norm));
        } else if let Some(first) = row.get_mut(k) {
            *first = 1.0;
        }
    }
    Ok((values, components))
}

/// Number of eigenvalues above rounding noise, at least one.
pub(super) fn rank(values: &[f64]) -> usize {
    let top = values.first().copied().unwrap_or(0.0);
    let noise = top * (f64::EPSILON * values.len() as f64).max(1e-14);
    values.iter().take_while(|&&v| v > noise).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use ndarray::array;

    #[test]
    fn matches_scikit_learn() {
        let x = fixture::x();
        let pca = fit(x.view(), &PcaParams { n_components: 3, whiten: false }, &Cancel::new()).unwrap();
        pca.check().unwrap();
        // scikit-learn up to the sign, which here makes the largest loading positive.
        let expected = array![
            [0.3404433188, -0.0555601710, 0.8517059294, 0.3944723361],
            [0.6566490862, 0.7237141006, -0.2121424960, -0.0067408866],
            [0.6061944688, -0.5604433966, -0.0176378570, -0.5640216053]
        ];
        assert!(pca.components.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{}", pca.components);
        for (a, b) in pca.explained_variance.iter().zip([4.6522976764, 0.2990815335, 0.1048763139]) {
            assert!((a - b).abs() < 1e-5);
        }
        for (a, b) in pca.explained_ratio.iter().zip([0.9177681134, 0.0590004152, 0.0206891612]) {
            assert!((a - b).abs() < 1e-5);
        }
        let t = pca.transform(fixture::queries().view()).unwrap();
        for (a, b) in t.row(0).iter().zip([2.421636281, 0.1586495833, 0.0276227453]) {
            assert!((f64::from(a.abs()) - b).abs() < 1e-5);
        }
        let white = fit(x.view(), &PcaParams { n_components: 3, whiten: true }, &Cancel::new()).unwrap();
        let t = white.transform(fixture::queries().view()).unwrap();
        for (a, b) in t.row(1).iter().zip([0.1243347990, 2.6394625132, 0.9863067138]) {
            assert!((f64::from(a.abs()) - b).abs() < 1e-4);
        }
    }

    #[test]
    fn the_dual_form_gives_the_same_components() {
        let x = fixture::x();
        let few = x.slice(s![3..7, ..]);
        let mean = moments(few, None, &Cancel::new()).unwrap().0;
        let a = primal(few, &mean, 2, &Cancel::new()).unwrap();
        let b = dual(few, &mean, 2, &Cancel::new()).unwrap();
        assert!(a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(a.1.iter().zip(&b.1).all(|(a, b)| (a.abs() - b.abs()).abs() < 1e-7));
    }

    #[test]
    fn degenerate_tables_work() {
        let params = PcaParams { n_components: 10, whiten: true };
        let cancel = Cancel::new();
        let cases = [
            array![[1.0f32, 2.0, 3.0]],
            array![[5.0f32, 5.0], [5.0, 5.0], [5.0, 5.0]],
            array![[1e30f32, -1e30], [-1e30, 1e30], [0.0, 1e-30]],
            array![[f32::MAX, f32::MIN, 1.0], [f32::MIN, f32::MAX, 2.0]],
            array![[1.0f32, 1.0], [2.0, 2.0], [4.0, 4.0]],
        ];
        for x in cases {
            let pca = fit(x.view(), &params, &cancel).unwrap();
            pca.check().unwrap();
            let t = pca.transform(x.view()).unwrap();
            assert_eq!(t.ncols(), 1, "{x} has rank 1 at most");
            assert!(t.iter().all(|v| v.is_finite()));
            assert!(matches!(pca.transform(Array2::zeros((1, 9)).view()), Err(LearnError::Columns { .. })));
        }
        let wide = fit(Array2::zeros((1, MAX_SIDE + 1)).view(), &params, &cancel).unwrap();
        assert_eq!(wide.components.dim(), (1, MAX_SIDE + 1));
        assert!(fit(array![[1.0f32]].view(), &PcaParams { n_components: 0, whiten: false }, &cancel).is_err());
    }
}
