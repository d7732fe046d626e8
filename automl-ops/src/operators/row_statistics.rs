//! What a row looks like as a whole: how much is missing, and the moments and extremes of its standardised values.

use automl_core::{Cancel, Params};

use super::columnwise::{check_rows, each_column, go_on, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::NUMERIC;
use crate::learn::columns::bounded;
use crate::learn::scale::present_moments;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct RowStatistics;

crate::describe! {
    RowStatistics: "row_statistics", "Adds missing values, mean, deviation, smallest and largest standardised value of each row",
    reads [NUMERIC], emits NUMERIC,
    params []
}

crate::tabular_operator!(RowStatistics);

/// Mean and inverse of the standard deviation of each column; 0 as inverse for a column that does not count.
struct Standard {
    mean: Vec<f64>,
    inverse: Vec<f64>,
}

impl TabularOperator for RowStatistics {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 10.0, 0.01).and_bytes(60.0 * shape.rows).emitting(shape.columns + 5.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let moments = each_column(fit.x, fit.cancel, |_, values| {
            let (mean, variance, _) = present_moments(values);
            let deviation = variance.sqrt();
            Ok((mean, if deviation > 1e-30 { 1.0 / deviation } else { 0.0 }))
        })?;
        let (mean, inverse) = moments.into_iter().unzip();
        Ok(Box::new(Standard { mean, inverse }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (mean, inverse) = (state.f64s("mean")?.to_vec(), state.f64s("inverse")?.to_vec());
        let sound = mean.iter().all(|mean| mean.abs() <= 1e19) && inverse.iter().all(|inverse| (0.0..=1e31).contains(inverse));
        if mean.len() != inverse.len() || !sound {
            return Err(OperatorError::state("`mean` and `inverse` are not those of columns"));
        }
        Ok(Box::new(Standard { mean, inverse }))
    }
}

#[derive(Clone, Copy)]
struct Row {
    missing: f32,
    count: f64,
    sum: f64,
    squares: f64,
    low: f64,
    high: f64,
}

impl Fitted for Standard {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.mean.len())?;
        let nothing = Row { missing: 0.0, count: 0.0, sum: 0.0, squares: 0.0, low: f64::MAX, high: f64::MIN };
        let mut rows = vec![nothing; x.rows()];
        for (index, (mean, &inverse)) in self.mean.iter().zip(&self.inverse).enumerate() {
            go_on(cancel)?;
            for (row, &value) in rows.iter_mut().zip(x.numeric(index)?) {
                if value.is_nan() {
                    row.missing += 1.0;
                } else if inverse > 0.0 {
                    let z = (f64::from(value) - mean) * inverse;
                    row.count += 1.0;
                    row.sum += z;
                    row.squares += z * z;
                    row.low = row.low.min(z);
                    row.high = row.high.max(z);
                }
            }
        }
        let or_missing = |row: &Row, value: f64| if row.count > 0.0 { bounded(value) } else { f32::NAN };
        let mean = |row: &Row| row.sum / row.count.max(1.0);
        let deviation = |row: &Row| (row.squares / row.count.max(1.0) - mean(row) * mean(row)).max(0.0).sqrt();
        let mut columns = x.columns().to_vec();
        columns.push(numbers(rows.iter().map(|row| row.missing).collect()));
        columns.push(numbers(rows.iter().map(|row| or_missing(row, mean(row))).collect()));
        columns.push(numbers(rows.iter().map(|row| or_missing(row, deviation(row))).collect()));
        columns.push(numbers(rows.iter().map(|row| or_missing(row, row.low)).collect()));
        columns.push(numbers(rows.iter().map(|row| or_missing(row, row.high)).collect()));
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        state.put_array("mean", Array::F64(self.mean.clone()));
        state.put_array("inverse", Array::F64(self.inverse.clone()));
    }
}
