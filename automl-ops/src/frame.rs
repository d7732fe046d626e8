//! The data that flows along the edges of a pipeline: columns, shared between frames.
//!
//! A [`Frame`] is a list of reference-counted columns, so that the union of several inputs and a selection of columns copy
//! nothing. Numbers are `f32`: what a learner gains from more digits is lost in the noise of any table, and half the bytes is
//! twice the speed; linear solvers widen where they accumulate. A column keeps its histogram bins once a tree has asked for
//! them, so that all trees on the same rows share one binning.

use std::sync::{Arc, OnceLock};

use ndarray::Array2;

use crate::operator::OperatorError;
use crate::tree::Raw;
use crate::tree::bins::Bins;

/// The code of a missing or unseen category.
pub const MISSING: u32 = u32::MAX;

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers; `NaN` is a missing value. Never infinite.
    Numeric(Vec<f32>),
    /// Codes below `levels`; [`MISSING`] is a missing or unseen category.
    Category {
        /// One code a row.
        codes: Vec<u32>,
        /// Number of categories known from training.
        levels: u32,
    },
    /// Seconds since 1970-01-01 UTC; `NaN` is missing.
    DateTime(Vec<f64>),
    /// Free text; `None` is missing.
    Text(Vec<Option<Arc<str>>>),
}

/// One column, with what is computed from it at most once.
#[derive(Debug)]
pub struct Column {
    values: Values,
    bins: OnceLock<Arc<Bins>>,
}

impl Column {
    /// About the bytes that the values take, with room for what is learnt of them once.
    pub fn bytes(&self) -> usize {
        match self.values() {
            Values::Numeric(values) => 5 * values.len(),
            Values::Category { codes, .. } => 5 * codes.len(),
            Values::DateTime(values) => 8 * values.len(),
            Values::Text(texts) => texts.iter().map(|text| 32 + text.as_ref().map_or(0, |text| text.len())).sum(),
        }
    }

    /// A column of these values.
    pub fn new(values: Values) -> Self {
        Self { values, bins: OnceLock::new() }
    }

    /// The values.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Numeric(values) => values.len(),
            Values::Category { codes, .. } => codes.len(),
            Values::DateTime(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column at some rows.
    pub fn take(&self, rows: &[u32]) -> Self {
        fn pick<T: Clone>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().filter_map(|&row| values.get(row as usize).cloned()).collect()
        }
        Self::new(match &self.values {
            Values::Numeric(values) => Values::Numeric(pick(values, rows)),
            Values::Category { codes, levels } => Values::Category { codes: pick(codes, rows), levels: *levels },
            Values::DateTime(values) => Values::DateTime(pick(values, rows)),
            Values::Text(values) => Values::Text(pick(values, rows)),
        })
    }

    /// The histogram bins of a number or category column; `None` for other types.
    pub fn bins(&self) -> Option<Arc<Bins>> {
        let bins = match &self.values {
            Values::Numeric(values) => self.bins.get_or_init(|| Arc::new(Bins::numeric(values))),
            Values::Category { codes, levels } => self.bins.get_or_init(|| Arc::new(Bins::category(codes, *levels))),
            Values::DateTime(_) | Values::Text(_) => return None,
        };
        Some(bins.clone())
    }

    /// The values as a tree reads them; `None` for dates and texts.
    pub fn raw(&self) -> Option<Raw<'_>> {
        match &self.values {
            Values::Numeric(values) => Some(Raw::Numeric(values)),
            Values::Category { codes, .. } => Some(Raw::Category(codes)),
            Values::DateTime(_) | Values::Text(_) => None,
        }
    }

    /// Numbers and categories the tree can use: dates become their parts, texts their length and number of words.
    fn basic(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let numeric = |values: Vec<f32>| Arc::new(Self::new(Values::Numeric(values)));
        match &self.values {
            Values::Numeric(_) | Values::Category { .. } => vec![self.clone()],
            Values::DateTime(seconds) => date_parts(seconds).into_iter().map(numeric).collect(),
            Values::Text(texts) => {
                let count = |of: fn(&str) -> usize| {
                    texts.iter().map(|text| text.as_ref().map_or(f32::NAN, |text| of(text) as f32)).collect()
                };
                vec![numeric(count(|text| text.chars().count())), numeric(count(|text| text.split_whitespace().count()))]
            }
        }
    }
}

/// Days since 1970, year, month, day of the month, day of the week (Monday 0), hour; each `NaN` where the date is missing.
fn date_parts(seconds: &[f64]) -> [Vec<f32>; 6] {
    let mut parts: [Vec<f32>; 6] = std::array::from_fn(|_| Vec::with_capacity(seconds.len()));
    for &second in seconds {
        let values = if second.is_finite() {
            let days = (second / 86_400.0).floor();
            let (year, month, day) = civil(days as i64);
            let weekday = (days as i64 + 3).rem_euclid(7);
            let hour = ((second - days * 86_400.0) / 3_600.0).floor();
            [(second / 86_400.0) as f32, year as f32, month as f32, day as f32, weekday as f32, hour as f32]
        } else {
            [f32::NAN; 6]
        };
        for (part, value) in parts.iter_mut().zip(values) {
            part.push(value);
        }
    }
    parts
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, “chrono-compatible low-level date algorithms”).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// Columns of equal length. Cloning copies pointers only.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    rows: usize,
    columns: Vec<Arc<Column>>,
}

impl Frame {
    /// About the bytes that the columns take.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes()).sum()
    }

    /// A frame of columns; all must have `rows` rows.
    ///
    /// # Errors
    /// [`OperatorError::Shape`] for a column of another length.
    pub fn new(rows: usize, columns: Vec<Arc<Column>>) -> Result<Self, OperatorError> {
        match columns.iter().find(|column| column.len() != rows) {
            None => Ok(Self { rows, columns }),
            Some(column) => Err(OperatorError::Shape { what: "rows of a column", expected: rows, found: column.len() }),
        }
    }

    /// A frame of number columns from a row-major matrix, rows × columns.
    pub fn from_matrix(matrix: &Array2<f32>) -> Self {
        let columns = matrix.columns().into_iter().map(|column| Arc::new(Column::new(Values::Numeric(column.to_vec()))));
        Self { rows: matrix.nrows(), columns: columns.collect() }
    }

    /// A frame of number columns from row-major values, `width` a row.
    pub fn from_rows(values: &[f32], width: usize) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        let column = |index: usize| values.iter().skip(index).step_by(width).copied().collect();
        let columns = (0..width).map(|index| Arc::new(Column::new(Values::Numeric(column(index))))).collect();
        Self { rows, columns }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns.
    pub fn columns(&self) -> &[Arc<Column>] {
        &self.columns
    }

    /// The columns of several frames of equal length side by side.
    pub fn union<'a>(frames: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for frame in frames {
            union.rows = frame.rows;
            union.columns.extend(frame.columns.iter().cloned());
        }
        union
    }

    /// The frame at some rows.
    pub fn take(&self, rows: &[u32]) -> Self {
        Self { rows: rows.len(), columns: self.columns.iter().map(|column| Arc::new(column.take(rows))).collect() }
    }

    /// Some of the columns, in the order given; indices beyond the last are left out.
    pub fn select(&self, columns: &[usize]) -> Self {
        Self { rows: self.rows, columns: columns.iter().filter_map(|&index| self.columns.get(index).cloned()).collect() }
    }

    /// Numbers and categories only: dates become their parts, texts their length and number of words.
    pub fn basic(&self) -> Self {
        Self { rows: self.rows, columns: self.columns.iter().flat_map(Column::basic).collect() }
    }

    /// The columns as trees read them.
    ///
    /// # Errors
    /// [`OperatorError::Kind`] for a date or text; [`Frame::basic`] turns those into numbers.
    pub fn raw(&self) -> Result<Vec<Raw<'_>>, OperatorError> {
        self.columns.iter().map(|column| column.raw().ok_or(OperatorError::Kind { expected: "numbers or categories" })).collect()
    }

    /// The numbers of a column.
    ///
    /// # Errors
    /// [`OperatorError::Kind`] for a column of another type, [`OperatorError::Shape`] where there is none at `index`.
    pub fn numeric(&self, index: usize) -> Result<&[f32], OperatorError> {
        match self.columns.get(index).map(|column| column.values()) {
            Some(Values::Numeric(values)) => Ok(values),
            Some(_) => Err(OperatorError::Kind { expected: "numbers" }),
            None => Err(OperatorError::Shape { what: "columns", expected: index + 1, found: self.columns.len() }),
        }
    }

    /// The numbers row by row.
    ///
    /// # Errors
    /// [`OperatorError::Kind`] unless all columns are numbers.
    pub fn row_major(&self) -> Result<Vec<f32>, OperatorError> {
        Ok(self.matrix()?.into_raw_vec_and_offset().0)
    }

    /// A row-major matrix of rows × columns, for learners that want one.
    ///
    /// # Errors
    /// [`OperatorError::Kind`] unless all columns are numbers.
    pub fn matrix(&self) -> Result<Array2<f32>, OperatorError> {
        /// Side of a tile that stays in the first-level cache while it is transposed.
        const TILE: usize = 64;
        let width = self.columns.len();
        let mut values = vec![0.0; self.rows * width];
        let columns = (0..width).map(|index| self.numeric(index)).collect::<Result<Vec<_>, _>>()?;
        for first in (0..self.rows).step_by(TILE) {
            let Some(band) = values.get_mut(first * width..(first + TILE).min(self.rows) * width) else { break };
            for (tile, columns) in columns.chunks(TILE).enumerate() {
                for (offset, column) in columns.iter().enumerate() {
                    let to = band.iter_mut().skip(tile * TILE + offset).step_by(width);
                    to.zip(column.iter().skip(first)).for_each(|(to, &value)| *to = value);
                }
            }
        }
        Array2::from_shape_vec((self.rows, width), values).map_err(|_| OperatorError::Shape {
            what: "cells",
            expected: self.rows * width,
            found: 0,
        })
    }

    /// Checks the number of columns before a fitted operator reads them.
    ///
    /// # Errors
    /// [`OperatorError::Shape`].
    pub fn expect_width(&self, expected: usize) -> Result<(), OperatorError> {
        if self.columns.len() == expected {
            return Ok(());
        }
        Err(OperatorError::Shape { what: "columns", expected, found: self.columns.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_fall_apart_into_civil_parts() {
        // 2024-02-29 13:00 UTC was a Thursday.
        let parts = date_parts(&[1_709_211_600.0, f64::NAN, -1.0]);
        let row = |row: usize| parts.iter().skip(1).map(|part| part[row]).collect::<Vec<_>>();
        assert_eq!(row(0), [2024.0, 2.0, 29.0, 3.0, 13.0]);
        assert!(row(1).iter().all(|value| value.is_nan()));
        assert_eq!(row(2), [1969.0, 12.0, 31.0, 2.0, 23.0]);
    }

    #[test]
    fn a_union_shares_columns_and_take_gathers_rows() {
        let frame = Frame::from_rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        let union = Frame::union([&frame, &frame]);
        assert!(Arc::ptr_eq(&union.columns()[0], &union.columns()[2]));
        let taken = union.take(&[2, 0]);
        assert_eq!(taken.matrix().unwrap(), ndarray::array![[5.0, 6.0, 5.0, 6.0], [1.0, 2.0, 1.0, 2.0]]);
        assert!(Frame::new(2, frame.columns().to_vec()).is_err());
    }
}
