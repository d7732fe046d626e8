//! Random maps: cosine features of the Gaussian kernel, and random projections.
//!
//! Rahimi and Recht, *Random features for large-scale kernel machines*, 2007. Achlioptas, *Database-friendly random projections*,
//! 2003; Li, Hastie and Church, *Very sparse random projections*, 2006. All randomness is drawn at fit time.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LearnError;
use super::affine::{Affine, Weights};
use super::approx::cos;
use super::columns::{Columns, Standard, alive, block_rows, blocks, by_rows};

/// Deviations beyond which a standardised value counts no further: a wave or a kernel says nothing there.
pub(super) const REACH: f64 = 64.0;
/// Most numbers of a random matrix.
pub const MAX_CELLS: usize = 1 << 24;

/// A draw from the standard normal distribution (Box and Muller, 1958).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Waves `sqrt(2 / D) cos(W z + b)` of the standardised columns `z`, whose products approximate `exp(-gamma |z - z'|^2)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Waves {
    /// Mean and scale of the columns.
    pub standard: Standard,
    /// Frequencies, waves x columns.
    pub frequency: Array2<f32>,
    /// Phase of each wave.
    pub phase: Vec<f32>,
}

/// Draws `count` waves for the columns of `x`. `gamma` is a multiple of one over the number of columns that vary.
///
/// # Errors
/// An empty table, a random matrix beyond [`MAX_CELLS`], or a cancelled token.
pub fn waves(x: &Columns<'_>, count: usize, gamma: f64, seed: u64, cancel: &Cancel) -> Result<Waves, LearnError> {
    let standard = Standard::fit(x, cancel)?;
    check_cells("the random matrix of the waves", count, x.width())?;
    let deviation = (2.0 * gamma * heuristic(&standard)).sqrt();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let frequency = Array2::from_shape_simple_fn((count.max(1), x.width()), || (deviation * normal(&mut rng)) as f32);
    let phase = (0..count.max(1)).map(|_| rng.random::<f32>() * std::f32::consts::TAU).collect();
    Ok(Waves { standard, frequency, phase })
}

/// One over the number of columns that vary: the usual width of a kernel on standardised columns.
pub(super) fn heuristic(standard: &Standard) -> f64 {
    1.0 / standard.inverse.iter().filter(|inverse| **inverse > 0.0).count().max(1) as f64
}

fn check_cells(what: &'static str, outputs: usize, width: usize) -> Result<(), LearnError> {
    let cells = outputs.saturating_mul(width);
    if cells > MAX_CELLS { Err(LearnError::TooMany { what, found: cells, limit: MAX_CELLS }) } else { Ok(()) }
}

impl Waves {
    /// The waves, one column each.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a cancelled token.
    pub fn transform(&self, x: &Columns<'_>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        x.check_width(self.standard.width())?;
        let (count, width) = self.frequency.dim();
        let (size, scale) = (block_rows(width), (2.0 / count as f32).sqrt());
        by_rows(x.rows(), count, |span, out| {
            let mut block = Array2::<f32>::zeros((size, width));
            let mut angles = Array2::<f32>::zeros((count, size));
            for rows in blocks(span, size) {
                alive(cancel)?;
                self.standard.fill(x, rows.clone(), REACH, block.as_slice_mut().unwrap_or_default());
                let mut angles = angles.slice_mut(s![.., ..rows.len()]);
                general_mat_mul(1.0, &self.frequency, &block.slice(s![..rows.len(), ..]).t(), 0.0, &mut angles);
                for ((out, angles), &phase) in out.iter_mut().zip(angles.outer_iter()).zip(&self.phase) {
                    out.extend(angles.iter().map(|&angle| scale * cos(angle + phase)));
                }
            }
            Ok(())
        })
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        self.standard.check()?;
        // An angle is then below a million radians times a sensible number, and its cosine a number.
        let sound = |v: &f32| v.abs() <= 1e12;
        let (count, width) = self.frequency.dim();
        if count == 0
            || width != self.standard.width()
            || count != self.phase.len()
            || !self.frequency.iter().chain(&self.phase).all(sound)
        {
            return Err(LearnError::Corrupt { model: "waves", problem: "the frequencies do not fit the columns" });
        }
        Ok(())
    }
}

/// How the entries of a random projection are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Normal.
    Gaussian,
    /// A third of the entries are +1 or -1, the others 0 (Achlioptas).
    Third,
    /// One in `sqrt(columns)` entries is +1 or -1 (Li, Hastie and Church).
    Sparse,
}

/// Draws a projection to `outputs` columns that keeps squared distances on average.
///
/// # Errors
/// An empty table, or a Gaussian matrix beyond [`MAX_CELLS`].
pub fn projection(x: &Columns<'_>, outputs: usize, entries: Entries, seed: u64) -> Result<Affine, LearnError> {
    x.check_fit()?;
    let (width, outputs) = (x.width(), outputs.max(1));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mean = vec![0.0; width];
    let density = match entries {
        Entries::Gaussian => {
            check_cells("the random matrix of the projection", outputs, width)?;
            let deviation = 1.0 / (outputs as f64).sqrt();
            let weights = Array2::from_shape_simple_fn((outputs, width), || deviation * normal(&mut rng));
            return Ok(Affine::dense(mean, weights));
        }
        Entries::Third => 1.0 / 3.0,
        Entries::Sparse => 1.0 / (width as f64).sqrt(),
    };
    let size = 1.0 / (density * outputs as f64).sqrt();
    let list = |rng: &mut ChaCha8Rng| {
        let mut list = Vec::new();
        for column in 0..width as u32 {
            let unit = rng.random::<f64>();
            if unit < density {
                list.push((column, if unit < 0.5 * density { size } else { -size }));
            }
        }
        if list.is_empty() {
            list.push((rng.random_range(0..width as u32), size));
        }
        list
    };
    Ok(Affine { mean, weights: Weights::Sparse((0..outputs).map(|_| list(&mut rng)).collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        (0..5).map(|_| (0..40).map(|_| normal(&mut rng) as f32 * 3.0 + 7.0).collect()).collect()
    }

    #[test]
    fn products_of_waves_are_the_gaussian_kernel() {
        let columns = table();
        let x = Columns::new(40, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let map = waves(&x, 20_000, 1.0, 3, &Cancel::new()).unwrap();
        map.check().unwrap();
        let out = map.transform(&x, &Cancel::new()).unwrap();
        let z: Vec<Vec<f32>> = columns.iter().enumerate().map(|(i, column)| map.standard.column(i, column, 1e9)).collect();
        for (a, b) in [(0, 0), (0, 1), (5, 17), (33, 2)] {
            let squared: f32 = z.iter().map(|z| (z[a] - z[b]).powi(2)).sum();
            let product: f32 = out.iter().map(|wave| wave[a] * wave[b]).sum();
            assert!((product - (-squared / 5.0).exp()).abs() < 0.03, "{product} {squared}");
        }
    }

    #[test]
    fn projections_keep_distances() {
        let columns = table();
        let x = Columns::new(40, columns.iter().map(Vec::as_slice).collect()).unwrap();
        for entries in [Entries::Gaussian, Entries::Third, Entries::Sparse] {
            let map = projection(&x, 4000, entries, 3).unwrap();
            map.check().unwrap();
            let out = map.transform(&x, &Cancel::new()).unwrap();
            let squared = |of: &[Vec<f32>]| of.iter().map(|column| (column[3] - column[8]).powi(2)).sum::<f32>();
            assert!((squared(&out) / squared(&columns) - 1.0).abs() < 0.15, "{entries:?}");
        }
    }
}
