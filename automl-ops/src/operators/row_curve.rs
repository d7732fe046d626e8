//! Takes each row for a curve whose columns are its places in order, as in series and spectra: less its mean, divided by its
//! deviation, with a few numbers for its shape.
//!
//! The standardised curve is what chemometrics calls the standard normal variate (Barnes, Dhanoa and Lister, Applied Spectroscopy
//! 43(5), 1989). The shape is scale-free: skewness, excess kurtosis, and where along the row the largest and the smallest value are,
//! from 0 to 1, the first of equals. Moments are of the curve that is emitted, in 64 bits: a row may be a small relief on a large level.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, go_on, numbers};
use super::number;
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, Values};
use crate::kinds::DENSE;
use crate::learn::columns::bounded;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

/// Columns of numbers below which a table is hardly one of curves.
const CURVE: usize = 16;
/// Rows that are looked at for that.
const LOOKED_AT: usize = 200;
/// How far neighbours differ in a curve at most, as a share of how far any two values of a row do; 1 where the order of the columns
/// means nothing.
const SMOOTH: f64 = 0.5;
/// Numbers that tell the shape.
const SHAPE: f64 = 4.0;

struct RowCurve;

crate::describe! {
    RowCurve: "row_curve", "Makes each row a curve of mean 0 and deviation 1, with numbers for its shape",
    reads [DENSE], emits DENSE,
    params [
        Param::int("differences", 0, 2, 0).about("how often each column is replaced by its difference to the next"),
    ]
}

crate::tabular_operator!(RowCurve);

struct Curve {
    width: usize,
    differences: usize,
}

impl TabularOperator for RowCurve {
    /// Whether neighbouring columns are alike within most rows: the ratio of von Neumann (1941), of the rows in the median.
    fn serves(&self, x: &Frame) -> bool {
        let numeric = |column: &'_ Arc<Column>| matches!(column.values(), Values::Numeric(_));
        let columns: Vec<&[f32]> = (0..x.columns().len())
            .filter(|&at| x.columns().get(at).is_some_and(numeric))
            .filter_map(|at| x.numeric(at).ok())
            .collect();
        if columns.len() < CURVE {
            return false;
        }
        let step = x.rows().div_ceil(LOOKED_AT).max(1);
        let rows = (0..x.rows()).step_by(step);
        let mut ratios: Vec<f64> = rows.filter_map(|row| ratio(columns.iter().filter_map(|column| column.get(row)))).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).is_some_and(|median| *median < SMOOTH)
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let columns = (shape.columns - number(params, "differences", 0.0)).max(1.0);
        Cost::of_cells(shape, 8.0, 4.0).and_bytes(72.0 * shape.rows).emitting(columns + SHAPE)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        for column in 0..fit.x.columns().len() {
            fit.x.numeric(column)?;
        }
        Ok(Box::new(Curve { width: fit.x.columns().len(), differences: fit.int("differences")? }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (width, differences) = (state.get("width")?, state.get("differences")?);
        if differences > 2 {
            return Err(OperatorError::state("`differences` are 2 at most"));
        }
        Ok(Box::new(Curve { width, differences }))
    }
}

/// Half the mean square of the differences of neighbours, over the variance; none for a row that is flat or has gaps.
fn ratio<'a>(values: impl Iterator<Item = &'a f32>) -> Option<f64> {
    let values: Vec<f64> = values.map(|&value| f64::from(value)).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    let differences: f64 = values.windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0])).sum();
    let ratio = 0.5 * differences / (count - 1.0) / variance;
    ratio.is_finite().then_some(ratio)
}

/// What is known of a row.
#[derive(Clone, Copy, Default)]
struct Row {
    mean: f64,
    /// Sums of the second, third and fourth powers of what deviates from the mean.
    powers: [f64; 3],
    high: (f64, usize),
    low: (f64, usize),
}

impl Curve {
    /// The columns after the differences; at least one column stays.
    fn columns(&self, x: &Frame, cancel: &Cancel) -> Result<Vec<Vec<f32>>, OperatorError> {
        let mut columns = Vec::with_capacity(self.width);
        for column in 0..self.width {
            columns.push(x.numeric(column)?.to_vec());
        }
        for _ in 0..self.differences {
            if columns.len() < 2 {
                break;
            }
            for at in 1..columns.len() {
                go_on(cancel)?;
                let (before, behind) = columns.split_at_mut(at);
                let (Some(to), Some(next)) = (before.last_mut(), behind.first()) else { continue };
                to.iter_mut().zip(next).for_each(|(to, next)| *to = bounded(f64::from(*next) - f64::from(*to)));
            }
            columns.pop();
        }
        Ok(columns)
    }
}

impl Fitted for Curve {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.width)?;
        let mut columns = self.columns(x, cancel)?;
        let count = columns.len().max(1) as f64;
        let mut rows = vec![Row { high: (f64::MIN, 0), low: (f64::MAX, 0), ..Row::default() }; x.rows()];
        for (place, column) in columns.iter().enumerate() {
            go_on(cancel)?;
            for (row, &value) in rows.iter_mut().zip(column) {
                let value = f64::from(value);
                row.mean += value / count;
                if value > row.high.0 {
                    row.high = (value, place);
                }
                if value < row.low.0 {
                    row.low = (value, place);
                }
            }
        }
        for column in &columns {
            go_on(cancel)?;
            for (row, &value) in rows.iter_mut().zip(column) {
                let off = f64::from(value) - row.mean;
                for (sum, power) in row.powers.iter_mut().zip([off * off, off * off * off, off * off * off * off]) {
                    *sum += power / count;
                }
            }
        }
        // A row without relief deviates from its mean by rounding alone.
        let flat = |row: &Row| row.powers[0].sqrt() <= 1e-12 * row.mean.abs().max(1e-12);
        for column in &mut columns {
            go_on(cancel)?;
            for (row, value) in rows.iter().zip(column.iter_mut()) {
                *value = if flat(row) { 0.0 } else { bounded((f64::from(*value) - row.mean) / row.powers[0].sqrt()) };
            }
        }
        let shape = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|row| if flat(row) { 0.0 } else { bounded(of(row)) }).collect();
        let last = (count - 1.0).max(1.0);
        columns.push(shape(&|row| row.powers[1] / row.powers[0].powf(1.5)));
        columns.push(shape(&|row| row.powers[2] / (row.powers[0] * row.powers[0]) - 3.0));
        columns.push(shape(&|row| row.high.1 as f64 / last));
        columns.push(shape(&|row| row.low.1 as f64 / last));
        Frame::new(x.rows(), columns.into_iter().map(numbers).collect())
    }

    fn save(&self, state: &mut State) {
        state.put("width", self.width);
        state.put("differences", self.differences);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rows: &[[f32; 4]], differences: usize) -> Vec<Vec<f32>> {
        let frame = Frame::from_rows(&rows.concat(), 4);
        let made = Curve { width: 4, differences }.apply(&frame, &Cancel::new()).unwrap();
        let values = made.row_major().unwrap();
        values.chunks(made.columns().len()).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn level_and_scale_of_a_row_do_not_count() {
        let rows = apply(&[[1.0, 2.0, 5.0, 2.0], [2_000.0, 2_020.0, 2_080.0, 2_020.0]], 0);
        for (a, b) in rows[0].iter().zip(&rows[1]) {
            assert!((a - b).abs() < 1e-3, "{rows:?}");
        }
        // A peak leans to the right, a valley to the left.
        let [peak, valley] = [apply(&[[0.0, 0.0, 9.0, 0.0]], 0), apply(&[[0.0, 0.0, -9.0, 0.0]], 0)];
        assert!(peak[0][4] > 1.0 && valley[0][4] < -1.0, "{peak:?} {valley:?}");
        assert_eq!((peak[0][6], valley[0][7]), (2.0 / 3.0, 2.0 / 3.0), "where they are");
    }

    #[test]
    fn it_serves_tables_whose_neighbouring_columns_are_alike() {
        let table = |value: &dyn Fn(usize, usize) -> f32| {
            let values: Vec<f32> = (0..30 * 20).map(|cell| value(cell / 20, cell % 20)).collect();
            RowCurve.serves(&Frame::from_rows(&values, 20))
        };
        assert!(table(&|row, column| (0.3 * column as f32 + row as f32).sin()));
        assert!(!table(&|row, column| ((7 * row + 13 * column) % 17) as f32), "no order");
        assert!(!table(&|row, column| (10 * (column % 2) + row) as f32), "columns of two scales");
        assert!(!table(&|_, _| 1.0) && !RowCurve.serves(&Frame::from_rows(&[1.0, 2.0, 3.0], 3)));
    }

    #[test]
    fn differences_take_the_slope_out_and_flat_rows_are_zero() {
        assert_eq!(apply(&[[1.0, 2.0, 3.0, 4.0]], 1), [[0.0; 7]]);
        assert_eq!(apply(&[[7.0; 4]], 0), [[0.0; 8]]);
        let twice = apply(&[[0.0, 0.0, 1.0, 3.0]], 2);
        assert_eq!(twice[0].len(), 6);
        assert_eq!(twice[0][..2], [0.0, 0.0], "1 and 1: no relief");
    }
}
