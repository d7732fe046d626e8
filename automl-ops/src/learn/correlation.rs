//! Correlations between columns, on a sample of the rows where all of them would take too long.
//!
//! Columns are brought to mean 0 and length 1, or their ranks are, so that a correlation is a product; many of them are one
//! product of matrices. Constant columns correlate with nothing.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::LearnError;
use super::columns::{Columns, alive, sample, spread};

/// Multiplications for all correlations, where that leaves at least [`FEWEST`] rows.
const WORK: usize = 4_000_000_000;
const FEWEST: usize = 1000;
/// Columns compared at a time.
const BLOCK: usize = 128;
/// Most columns for [`distinct`].
pub const MAX_COLUMNS: usize = 10_000;

/// Rows that the correlations of so many columns are computed on, at most.
pub fn sampled(width: usize) -> usize {
    (WORK / width.max(1).pow(2)).max(FEWEST)
}

/// Columns of mean 0 and length 1, columns x sampled rows; constant ones are 0. With `ranks`, equal values share their mean rank
/// and products are Spearman's correlations.
pub(super) fn unit(x: &Columns<'_>, ranks: bool, seed: u64, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
    x.check_fit()?;
    let rows = sample(x.rows(), sampled(x.width()), seed);
    let columns: Vec<&[f32]> = x.iter().collect();
    let one = |column: &&[f32]| {
        alive(cancel)?;
        let values: Vec<f32> = rows.iter().filter_map(|&row| column.get(row as usize).copied()).collect();
        let values = if ranks { self::ranks(&values) } else { values };
        let (mean, variance) = spread(&values);
        let scale = if variance > 0.0 { 1.0 / (variance * values.len() as f64).sqrt() } else { 0.0 };
        Ok(values.iter().map(|&v| ((f64::from(v) - mean) * scale) as f32).collect::<Vec<f32>>())
    };
    let units: Vec<Vec<f32>> = columns.par_iter().map(one).collect::<Result<_, LearnError>>()?;
    Array2::from_shape_vec((x.width(), rows.len()), units.concat()).map_err(|_| LearnError::Empty { what: "the matrix" })
}

/// Rank of each value from 0; equal values share their mean.
fn ranks(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = (2 * start + run.len() - 1) as f32 / 2.0;
        run.iter().for_each(|&row| ranks[row] = rank);
        start += run.len();
    }
    ranks
}

/// All correlations, columns x columns.
pub(super) fn matrix(units: &Array2<f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
    let width = units.nrows();
    let mut out = Array2::<f32>::zeros((width, width));
    for start in (0..width).step_by(BLOCK) {
        alive(cancel)?;
        let end = (start + BLOCK).min(width);
        let part = units.slice(s![start..end, ..]);
        general_mat_mul(1.0, &part, &units.slice(s![..end, ..]).t(), 0.0, &mut out.slice_mut(s![start..end, ..end]));
    }
    for i in 0..width {
        for j in i + 1..width {
            out[(i, j)] = out[(j, i)];
        }
    }
    Ok(out)
}

/// The columns that remain, ascending, if those are dropped whose correlation with one that remains exceeds `threshold` in
/// magnitude. Of two such columns the one stays that varies more once its range is scaled to 1, that is the one less ruled by
/// outliers. Constant columns are dropped where any other is left.
///
/// # Errors
/// An empty table, more than [`MAX_COLUMNS`] columns, or a cancelled token.
pub fn distinct(x: &Columns<'_>, threshold: f64, ranks: bool, seed: u64, cancel: &Cancel) -> Result<Vec<usize>, LearnError> {
    x.check_fit()?;
    if x.width() > MAX_COLUMNS {
        let what = "columns to compare with each other";
        return Err(LearnError::TooMany { what, found: x.width(), limit: MAX_COLUMNS });
    }
    let variance = x.map(cancel, scaled_variance)?;
    let mut order: Vec<usize> = (0..x.width()).filter(|&column| variance[column] > 0.0).collect();
    order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
    if order.is_empty() {
        return Ok(vec![0]);
    }
    let units = unit(&x.select(&order), ranks, seed, cancel)?;
    // Places in `order` of the columns that remain, and their units side by side.
    let mut kept: Vec<usize> = Vec::new();
    let mut kept_units = Array2::<f32>::zeros(units.raw_dim());
    let mut products = Array2::<f32>::zeros((BLOCK, units.nrows()));
    let above = |product: f32| f64::from(product.abs()) > threshold;
    for start in (0..units.nrows()).step_by(BLOCK) {
        let part = units.slice(s![start..(start + BLOCK).min(units.nrows()), ..]);
        let before = kept.len();
        for from in (0..before).step_by(BLOCK) {
            alive(cancel)?;
            let to = (from + BLOCK).min(before);
            let others = kept_units.slice(s![from..to, ..]);
            general_mat_mul(1.0, &part, &others.t(), 0.0, &mut products.slice_mut(s![..part.nrows(), from..to]));
        }
        for (offset, column) in part.outer_iter().enumerate() {
            alive(cancel)?;
            let twin = products.row(offset).iter().take(before).any(|&product| above(product))
                || (before..kept.len()).any(|other| above(kept_units.row(other).dot(&column)));
            if !twin {
                kept_units.row_mut(kept.len()).assign(&column);
                kept.push(start + offset);
            }
        }
    }
    let mut kept: Vec<usize> = kept.into_iter().filter_map(|place| order.get(place).copied()).collect();
    kept.sort_unstable();
    Ok(kept)
}

/// Variance of a column whose range is scaled to 1: between 0 and a quarter.
pub fn scaled_variance(column: &[f32]) -> f64 {
    let low = column.iter().copied().fold(f32::INFINITY, f32::min);
    let high = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = f64::from(high) - f64::from(low);
    if range > 0.0 { spread(column).1 / range / range } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn correlations_match_numpy() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let found = matrix(&unit(&data, false, 1, &Cancel::new()).unwrap(), &Cancel::new()).unwrap();
        for (index, expected) in [((0, 1), 0.0445202), ((2, 0), 0.8419128), ((2, 3), 0.9691365), ((1, 2), -0.3141483)] {
            assert!((found[index] - expected).abs() < 1e-5, "{found}");
        }
        assert_eq!(distinct(&data, 0.9, false, 1, &Cancel::new()).unwrap(), [0, 1, 2]);
        assert_eq!(distinct(&data, 0.99, false, 1, &Cancel::new()).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn ranks_see_through_monotone_maps_and_constants_go() {
        let a: Vec<f32> = (0..300).map(|row| ((row * 37) % 101) as f32).collect();
        let b: Vec<f32> = a.iter().map(|v| (v / 8.0).exp()).collect();
        let c = vec![4.0f32; 300];
        let x = Columns::new(300, vec![&c, &b, &a]).unwrap();
        assert_eq!(distinct(&x, 0.95, true, 1, &Cancel::new()).unwrap(), [2]);
        assert_eq!(distinct(&x, 0.95, false, 1, &Cancel::new()).unwrap(), [1, 2]);
        assert_eq!(distinct(&x.select(&[0]), 0.95, false, 1, &Cancel::new()).unwrap(), [0]);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
    }

    #[test]
    fn many_blocks_agree_with_pairs() {
        let columns: Vec<Vec<f32>> = (0..300u32)
            .map(|c| (0..40u32).map(|row| ((row * (c % 70 + 3) + c % 70) % 73) as f32 + (c / 70) as f32).collect())
            .collect();
        let x = Columns::new(40, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let kept = distinct(&x, 0.999, false, 1, &Cancel::new()).unwrap();
        let all = matrix(&unit(&x, false, 1, &Cancel::new()).unwrap(), &Cancel::new()).unwrap();
        for column in 0..300 {
            let twins = kept.iter().filter(|&&other| other != column && all[(column, other)].abs() > 0.9995).count();
            assert!(if kept.contains(&column) { twins == 0 } else { twins > 0 }, "{column}");
        }
    }
}
