//! Centres of clusters by Lloyd's iteration, seeded by k-means++ (Arthur and Vassilvitskii, *k-means++: the advantages of careful
//! seeding*, 2007, with the best of a few candidates at each draw).
//!
//! Columns are standardised first. The centres are those of a sample of the rows, which says where clusters lie as well as all of
//! them; iterations are bounded. Distances are computed column by column, so that rows fill the vector registers.

use std::ops::Range;

use automl_core::Cancel;
use ndarray::{Array2, ArrayView1};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LearnError;
use super::columns::{Columns, Standard, alive, blocks, bounded, by_rows, sample};

/// Rows in a block: their distances to one centre stay in the first-level cache.
const BLOCK: usize = 256;
/// Numbers of the sample, where that leaves it [`FEWEST`] rows.
const CELLS: usize = 1 << 20;
const FEWEST: usize = 1024;
const MOST: usize = 10_000;
/// Deviations beyond which a standardised value counts no further.
const REACH: f64 = 1e9;
/// Lloyd iterations, at most.
const ITERATIONS: usize = 40;
/// Share by which an iteration must lower the sum of the squared distances to go on.
const TOLERANCE: f64 = 1e-4;

/// Fitted centres.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// Mean and scale of the columns.
    pub standard: Standard,
    /// Centres x columns, on the standardised scale.
    pub centres: Array2<f32>,
}

/// Rows that the centres of a table of so many columns are learnt from, at most.
pub fn sampled(width: usize) -> usize {
    (CELLS / width.max(1)).clamp(FEWEST, MOST)
}

/// Finds `count` centres, or as many as there are distinct rows.
///
/// # Errors
/// An empty table, or a cancelled token.
pub fn fit(x: &Columns<'_>, count: usize, seed: u64, cancel: &Cancel) -> Result<KMeans, LearnError> {
    let standard = Standard::fit(x, cancel)?;
    let rows = sample(x.rows(), sampled(x.width()), seed);
    let mut z = Vec::with_capacity(x.width());
    for (index, column) in x.iter().enumerate() {
        alive(cancel)?;
        let values: Vec<f32> = rows.iter().filter_map(|&row| column.get(row as usize).copied()).collect();
        z.push(standard.column(index, &values, REACH));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut centres = spread_out(&z, rows.len(), count.max(1), &mut rng, cancel)?;
    let mut before = f64::INFINITY;
    for _ in 0..ITERATIONS {
        let total = lloyd(&z, rows.len(), &mut centres, cancel)?;
        if total >= before * (1.0 - TOLERANCE) {
            break;
        }
        before = total;
    }
    Ok(KMeans { standard, centres })
}

/// Adds the squared distances of some rows to a centre.
fn add_squared(z: &[Vec<f32>], rows: Range<usize>, centre: ArrayView1<'_, f32>, out: &mut [f32]) {
    for (column, &c) in z.iter().zip(centre) {
        let values = column.get(rows.clone()).unwrap_or_default();
        out.iter_mut().zip(values).for_each(|(out, v)| *out += (v - c) * (v - c));
    }
}

fn row_of(z: &[Vec<f32>], row: usize) -> Vec<f32> {
    z.iter().map(|column| column.get(row).copied().unwrap_or(0.0)).collect()
}

/// Rows drawn with a chance that grows with the squared distance to those drawn before.
fn spread_out(
    z: &[Vec<f32>],
    rows: usize,
    count: usize,
    rng: &mut ChaCha8Rng,
    cancel: &Cancel,
) -> Result<Array2<f32>, LearnError> {
    let candidates = 2 + (count as f64).ln() as usize;
    let distances = |row: usize, nearest: &[f32]| -> Result<Vec<f32>, LearnError> {
        let centre = row_of(z, row);
        let mut out = vec![0.0f32; rows];
        for range in blocks(0..rows, BLOCK) {
            alive(cancel)?;
            add_squared(z, range.clone(), ArrayView1::from(&centre), out.get_mut(range).unwrap_or_default());
        }
        out.iter_mut().zip(nearest).for_each(|(out, nearest)| *out = out.min(*nearest));
        Ok(out)
    };
    let sum = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>();
    let first = rng.random_range(0..rows.max(1));
    let mut centres = row_of(z, first);
    let mut nearest = distances(first, &vec![f32::INFINITY; rows])?;
    for _ in 1..count {
        let total = sum(&nearest);
        if total <= 0.0 {
            break;
        }
        let mut best: Option<(f64, usize, Vec<f32>)> = None;
        for _ in 0..candidates {
            let mut left = rng.random::<f64>() * total;
            let mut row = 0;
            for (index, &weight) in nearest.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                row = index;
                left -= f64::from(weight);
                if left < 0.0 {
                    break;
                }
            }
            let after = distances(row, &nearest)?;
            let left = sum(&after);
            if best.as_ref().is_none_or(|(least, ..)| left < *least) {
                best = Some((left, row, after));
            }
        }
        let Some((_, row, after)) = best else { break };
        centres.extend(row_of(z, row));
        nearest = after;
    }
    let found = centres.len() / z.len().max(1);
    Array2::from_shape_vec((found, z.len()), centres).map_err(|_| LearnError::Empty { what: "the matrix" })
}

/// Moves each centre to the mean of the rows nearest to it; the sum of the squared distances before. A centre without rows moves
/// to the row farthest from its own.
fn lloyd(z: &[Vec<f32>], rows: usize, centres: &mut Array2<f32>, cancel: &Cancel) -> Result<f64, LearnError> {
    let mut label = vec![0usize; rows];
    let mut nearest = vec![0.0f32; rows];
    let (mut least, mut distance) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
    for range in blocks(0..rows, BLOCK) {
        alive(cancel)?;
        least.fill(f32::INFINITY);
        let labels = label.get_mut(range.clone()).unwrap_or_default();
        for (index, centre) in centres.outer_iter().enumerate() {
            distance.fill(0.0);
            add_squared(z, range.clone(), centre, distance.get_mut(..range.len()).unwrap_or_default());
            for ((label, least), &distance) in labels.iter_mut().zip(&mut least).zip(&distance) {
                if distance < *least {
                    (*least, *label) = (distance, index);
                }
            }
        }
        nearest.get_mut(range.clone()).unwrap_or_default().copy_from_slice(&least[..range.len()]);
    }
    let mut counts = vec![0.0f64; centres.nrows()];
    label.iter().for_each(|&label| counts[label] += 1.0);
    let mut sums = vec![0.0f64; centres.nrows()];
    for (column, mut to) in z.iter().zip(centres.columns_mut()) {
        alive(cancel)?;
        sums.fill(0.0);
        label.iter().zip(column).for_each(|(&label, &v)| sums[label] += f64::from(v));
        for ((to, sum), count) in to.iter_mut().zip(&sums).zip(&counts) {
            if *count > 0.0 {
                *to = (sum / count) as f32;
            }
        }
    }
    let total = nearest.iter().map(|&v| f64::from(v)).sum();
    for (index, _) in counts.iter().enumerate().filter(|(_, count)| **count == 0.0) {
        let farthest = nearest.iter().enumerate().fold((0, -1.0), |top, (row, &v)| if v > top.1 { (row, v) } else { top }).0;
        if let Some(value) = nearest.get_mut(farthest) {
            *value = 0.0;
        }
        centres.row_mut(index).iter_mut().zip(row_of(z, farthest)).for_each(|(to, v)| *to = v);
    }
    Ok(total)
}

impl KMeans {
    /// Distances of the standardised rows to the centres, one column a centre.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a cancelled token.
    pub fn transform(&self, x: &Columns<'_>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        x.check_width(self.standard.width())?;
        by_rows(x.rows(), self.centres.nrows(), |span, out| {
            for rows in blocks(span, BLOCK) {
                alive(cancel)?;
                let part = |(index, column): (usize, &[f32])| {
                    self.standard.column(index, column.get(rows.clone()).unwrap_or_default(), REACH)
                };
                let z: Vec<Vec<f32>> = x.iter().enumerate().map(part).collect();
                let mut distance = [0.0f32; BLOCK];
                for (out, centre) in out.iter_mut().zip(self.centres.outer_iter()) {
                    let distance = distance.get_mut(..rows.len()).unwrap_or_default();
                    distance.fill(0.0);
                    add_squared(&z, 0..rows.len(), centre, distance);
                    out.extend(distance.iter().map(|&squared| bounded(f64::from(squared.sqrt()))));
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
        let (count, width) = self.centres.dim();
        if count == 0 || width != self.standard.width() || !self.centres.iter().all(|v| v.abs() <= 1e10) {
            return Err(LearnError::Corrupt { model: "k-means", problem: "the centres do not fit the columns" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn clusters_are_found() {
        // Four clusters at the corners of a square, 3,000 rows.
        let x = Array2::from_shape_fn((3000, 2), |(row, column)| {
            ((row >> column) & 1) as f32 * 10.0 + ((row * 7919 + column * 31) % 100) as f32 / 100.0
        });
        let data = fixture::columns(&x);
        let data = Columns::new(3000, data.iter().map(Vec::as_slice).collect()).unwrap();
        let model = fit(&data, 4, 1, &Cancel::new()).unwrap();
        model.check().unwrap();
        let out = model.transform(&data, &Cancel::new()).unwrap();
        for row in 0..3000 {
            let near = out.iter().filter(|distance| distance[row] < 0.3).count();
            assert_eq!(near, 1, "row {row}");
        }
    }

    #[test]
    fn there_are_no_more_centres_than_distinct_rows() {
        for x in fixture::nasty() {
            let data = fixture::columns(&x);
            let data = Columns::new(x.nrows(), data.iter().map(Vec::as_slice).collect()).unwrap();
            let model = fit(&data, 8, 1, &Cancel::new()).unwrap();
            model.check().unwrap();
            assert!(model.centres.nrows() <= x.nrows());
            assert!(model.transform(&data, &Cancel::new()).unwrap().iter().flatten().all(|v| v.is_finite()));
        }
    }
}
