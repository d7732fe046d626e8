//! A table as columns side by side, for the kernels that need no row-major copy of it.
//!
//! What runs over rows is cut into spans of a fixed length, so the result is the same for any number of threads; inside a span
//! the rows go through in blocks that fit the cache. Every number of the output depends on its own row alone.

use std::ops::Range;

use automl_core::Cancel;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::LearnError;
use super::common::{all_finite, check_codes, check_targets, present};

/// Largest magnitude of an output.
pub(crate) const LIMIT: f64 = 1e18;
/// Rows a task handles.
const SPAN: usize = 2048;

/// The nearest number within ±1e18; NaN becomes 0.
pub(crate) fn bounded(value: f64) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(-LIMIT, LIMIT) as f32 }
}

/// An error where the token is cancelled.
pub(super) fn alive(cancel: &Cancel) -> Result<(), LearnError> {
    if cancel.is_cancelled() { Err(LearnError::Cancelled) } else { Ok(()) }
}

/// Finite columns of equal length.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    rows: usize,
    columns: Vec<&'a [f32]>,
}

impl<'a> Columns<'a> {
    /// Columns of `rows` finite numbers each.
    ///
    /// # Errors
    /// [`LearnError::Length`] or [`LearnError::NotFinite`].
    pub fn new(rows: usize, columns: Vec<&'a [f32]>) -> Result<Self, LearnError> {
        for (column, values) in columns.iter().enumerate() {
            if values.len() != rows {
                return Err(LearnError::Length { what: "a column", expected: rows, found: values.len() });
            }
            if !all_finite(values) {
                let row = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
                return Err(LearnError::NotFinite { what: "the matrix", row, column });
            }
        }
        Ok(Self { rows, columns })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The values of a column; empty where there is none at `index`.
    pub fn column(&self, index: usize) -> &'a [f32] {
        self.columns.get(index).copied().unwrap_or_default()
    }

    /// The columns.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> {
        self.columns.iter().copied()
    }

    /// Some of the columns.
    #[must_use]
    pub fn select(&self, columns: &[usize]) -> Self {
        Self { rows: self.rows, columns: columns.iter().filter_map(|&index| self.columns.get(index).copied()).collect() }
    }

    /// An error where there is no row or no column.
    pub(super) fn check_fit(&self) -> Result<(), LearnError> {
        if self.rows == 0 || self.columns.is_empty() { Err(LearnError::Empty { what: "the matrix" }) } else { Ok(()) }
    }

    /// An error unless there are `expected` columns.
    pub(super) fn check_width(&self, expected: usize) -> Result<(), LearnError> {
        if self.width() == expected { Ok(()) } else { Err(LearnError::Columns { expected, found: self.width() }) }
    }

    /// `each` of every column, in parallel.
    pub(super) fn map<T: Send>(&self, cancel: &Cancel, each: impl Fn(&[f32]) -> T + Sync) -> Result<Vec<T>, LearnError> {
        self.columns.par_iter().map(|column| alive(cancel).map(|()| each(column))).collect()
    }
}

/// Rows of a block that is `width` numbers wide and should stay in the second-level cache.
pub(super) fn block_rows(width: usize) -> usize {
    ((1 << 16) / width.max(1)).clamp(16, 256)
}

/// Cuts a range into blocks of at most `size`.
pub(super) fn blocks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size.max(1)).map(move |start| start..(start + size.max(1)).min(end))
}

/// Makes `outputs` columns of `rows` rows: `body` appends the numbers of a range of rows to each of them. Ranges run in parallel.
pub(super) fn by_rows(
    rows: usize,
    outputs: usize,
    body: impl Fn(Range<usize>, &mut [Vec<f32>]) -> Result<(), LearnError> + Sync,
) -> Result<Vec<Vec<f32>>, LearnError> {
    let spans: Vec<Range<usize>> = blocks(0..rows, SPAN).collect();
    let part = |span: Range<usize>| {
        let mut out = vec![Vec::with_capacity(span.len()); outputs];
        body(span, &mut out).map(|()| out)
    };
    let mut parts: Vec<Vec<Vec<f32>>> = spans.into_par_iter().map(part).collect::<Result<_, _>>()?;
    if parts.len() == 1 {
        return Ok(parts.pop().unwrap_or_default());
    }
    let mut out = vec![Vec::with_capacity(rows); outputs];
    for part in &parts {
        out.iter_mut().zip(part).for_each(|(to, from)| to.extend_from_slice(from));
    }
    Ok(out)
}

/// Sum of `f` over values, in eight fixed lanes.
pub(super) fn sum(values: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let chunks = values.chunks_exact(8);
    let tail: f64 = chunks.remainder().iter().map(|&v| f(f64::from(v))).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &v)| *lane += f(f64::from(v)));
    }
    lanes.iter().sum::<f64>() + tail
}

/// Mean and variance (divisor: rows) of a column. A constant column has variance exactly zero.
pub(super) fn spread(values: &[f32]) -> (f64, f64) {
    let (first, n) = (values.first().map_or(0.0, |&v| f64::from(v)), values.len().max(1) as f64);
    let mean = first + sum(values, |v| v - first) / n;
    (mean, sum(values, |v| (v - mean) * (v - mean)) / n)
}

/// At most `most` of the row numbers below `rows`, ascending, drawn without replacement.
pub(crate) fn sample(rows: usize, most: usize, seed: u64) -> Vec<u32> {
    if rows <= most {
        return (0..rows as u32).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut wanted = most;
    let mut kept = Vec::with_capacity(most);
    for row in 0..rows {
        if rng.random_range(0..rows - row) < wanted {
            kept.push(row as u32);
            wanted -= 1;
        }
    }
    kept
}

/// Centres and scales columns to mean 0 and deviation 1; constant columns become 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// One over the standard deviation of each column (divisor: rows), 0 for a constant one.
    pub inverse: Vec<f64>,
}

impl Standard {
    /// Measures the columns.
    ///
    /// # Errors
    /// No row or no column, or a cancelled token.
    pub fn fit(x: &Columns<'_>, cancel: &Cancel) -> Result<Self, LearnError> {
        x.check_fit()?;
        let of = x.map(cancel, |column| {
            let (mean, variance) = spread(column);
            (mean, if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 })
        })?;
        let (mean, inverse) = of.into_iter().unzip();
        Ok(Self { mean, inverse })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Mean and factor of a column.
    pub(super) fn of(&self, column: usize) -> (f64, f64) {
        (self.mean.get(column).copied().unwrap_or(0.0), self.inverse.get(column).copied().unwrap_or(0.0))
    }

    /// A standardised column, limited to ±`limit`.
    pub fn column(&self, index: usize, values: &[f32], limit: f64) -> Vec<f32> {
        let (mean, inverse) = self.of(index);
        values.iter().map(|&v| ((f64::from(v) - mean) * inverse).clamp(-limit, limit) as f32).collect()
    }

    /// Writes some standardised rows, limited to ±`limit`, row by row into `block`, which has room for them.
    pub(super) fn fill(&self, x: &Columns<'_>, rows: Range<usize>, limit: f64, block: &mut [f32]) {
        let width = x.width();
        for (index, column) in x.iter().enumerate() {
            let (mean, inverse) = self.of(index);
            let values = column.get(rows.clone()).unwrap_or_default();
            for (to, &v) in block.iter_mut().skip(index).step_by(width.max(1)).zip(values) {
                *to = ((f64::from(v) - mean) * inverse).clamp(-limit, limit) as f32;
            }
        }
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where lengths differ or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        let sound = |values: &[f64]| values.iter().all(|v| v.abs() <= super::common::MAX_COEF);
        if self.mean.len() == self.inverse.len() && sound(&self.mean) && sound(&self.inverse) {
            return Ok(());
        }
        Err(LearnError::Corrupt { model: "standardisation", problem: "`mean` and `inverse` differ in length or are not finite" })
    }
}

/// A target as the linear kernels see it: centred outputs of deviation 1, one a class (one alone for two classes) or one value.
#[derive(Clone, Debug)]
pub enum Response {
    /// Classes.
    Classes {
        /// The class of each row among those that occur.
        index: Vec<usize>,
        /// One over the deviation of the indicator of each class.
        scale: Vec<f64>,
    },
    /// Values.
    Values(Vec<f64>),
}

impl Response {
    /// Class codes below `classes`, one for each of `rows` rows.
    ///
    /// # Errors
    /// As the kernels: another number of codes, a code beyond the last class.
    pub fn classes(codes: &[u32], classes: usize, rows: usize) -> Result<Self, LearnError> {
        check_codes(codes, classes, rows)?;
        let (seen, index) = present(codes, classes);
        let mut mass = vec![0.0f64; seen.len()];
        index.iter().for_each(|&class| mass[class] += 1.0);
        let share = |mass: f64| mass / rows as f64;
        let scale = mass.iter().map(|&m| 1.0 / (share(m) * (1.0 - share(m))).sqrt()).map(|s| if s.is_finite() { s } else { 0.0 });
        Ok(Self::Classes { index, scale: scale.collect() })
    }

    /// Finite values, one for each of `rows` rows.
    ///
    /// # Errors
    /// As the kernels: another number of values, a value that is not finite.
    pub fn values(values: &[f32], rows: usize) -> Result<Self, LearnError> {
        check_targets(values, rows)?;
        let (mean, variance) = spread(values);
        let inverse = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
        Ok(Self::Values(values.iter().map(|&v| (f64::from(v) - mean) * inverse).collect()))
    }

    /// Number of outputs.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Classes { scale, .. } if scale.len() == 2 => 1,
            Self::Classes { scale, .. } => scale.len(),
            Self::Values(_) => 1,
        }
    }

    /// Products of a column, centred by `mean`, with the outputs, over `rows`, divided by their number and times `inverse`.
    pub(super) fn cross(&self, column: &[f32], (mean, inverse): (f64, f64), rows: &[u32]) -> Vec<f64> {
        let at = |row: u32| column.get(row as usize).map_or(0.0, |&v| f64::from(v) - mean);
        let factor = inverse / rows.len().max(1) as f64;
        match self {
            Self::Classes { index, scale } => {
                let mut sums = vec![0.0f64; scale.len()];
                for &row in rows {
                    if let Some(sum) = index.get(row as usize).and_then(|&class| sums.get_mut(class)) {
                        *sum += at(row);
                    }
                }
                // The first of two classes says what the second does.
                let skip = scale.len() - self.width();
                sums.iter().zip(scale).skip(skip).map(|(sum, scale)| sum * scale * factor).collect()
            }
            Self::Values(values) => {
                vec![rows.iter().filter_map(|&row| Some(values.get(row as usize)? * at(row))).sum::<f64>() * factor]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_join_in_order_and_samples_are_ascending() {
        let out = by_rows(5000, 2, |rows, out| {
            out[0].extend(rows.clone().map(|row| row as f32));
            out[1].extend(rows.map(|row| -(row as f32)));
            Ok(())
        })
        .unwrap();
        assert!(out[0].iter().enumerate().all(|(row, &v)| v == row as f32) && out[1][4999] == -4999.0);
        assert_eq!(by_rows(0, 3, |_, _| Ok(())).unwrap(), vec![Vec::<f32>::new(); 3]);
        let rows = sample(1000, 100, 3);
        assert!(rows.len() == 100 && rows.windows(2).all(|pair| pair[0] < pair[1]) && rows[99] < 1000);
        assert_eq!(sample(3, 100, 3), [0, 1, 2]);
    }

    #[test]
    fn columns_are_standardised_and_constants_become_zero() {
        let (a, b) = ([1.0f32, 3.0, 8.0], [0.1f32; 3]);
        let x = Columns::new(3, vec![&a, &b]).unwrap();
        let standard = Standard::fit(&x, &Cancel::new()).unwrap();
        assert_eq!(standard.inverse[1], 0.0);
        let mut block = [9.0; 6];
        standard.fill(&x, 0..3, 1e9, &mut block);
        let deviation = (26.0f32 / 3.0).sqrt();
        assert!((block[0] + 3.0 / deviation).abs() < 1e-6 && block[1] == 0.0 && (block[4] - 4.0 / deviation).abs() < 1e-6);
        assert!(Columns::new(3, vec![&a, &b[..2]]).is_err() && Columns::new(1, vec![&[f32::NAN]]).is_err());
    }

    #[test]
    fn a_response_is_standardised() {
        let column = [1.0f32, 2.0, 3.0, 6.0];
        let rows = [0, 1, 2, 3];
        let values = Response::values(&[2.0, 4.0, 6.0, 12.0], 4).unwrap();
        let (mean, variance) = spread(&column);
        // A copy of the target has correlation 1 with it, whatever the units.
        assert!((values.cross(&column, (mean, 1.0 / variance.sqrt()), &rows)[0] - 1.0).abs() < 1e-12);
        let classes = Response::classes(&[0, 0, 4, 4], 5, 4).unwrap();
        assert_eq!(classes.width(), 1);
        assert!((classes.cross(&[0.0, 0.0, 1.0, 1.0], (0.5, 2.0), &rows)[0] - 1.0).abs() < 1e-12);
        let one = Response::classes(&[1, 1, 1, 1], 2, 4).unwrap();
        assert_eq!(one.cross(&column, (mean, 1.0), &rows), [0.0]);
    }
}
