//! Fills missing numbers with a typical value of their column, and can tell the next vertex where it did.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params};
use rayon::prelude::*;

use super::columnwise::{each_column, go_on, numbers};
use super::has_missing;
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame};
use crate::kinds::{DENSE, NUMERIC};
use crate::learn::columns::bounded;
use crate::learn::quantile::sorted;
use crate::learn::scale::present_moments;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Impute;

crate::describe! {
    Impute: "impute", "Fills missing numbers with a typical value of their column",
    reads [NUMERIC], emits DENSE,
    params [
        Param::choice("strategy", &["median", "mean", "most_frequent", "zero", "constant"])
            .about("the value that is filled in; `constant`: a standard deviation below the smallest"),
        indicator(),
    ]
}

crate::tabular_operator!(Impute);

/// The parameter of every imputer.
pub(super) fn indicator() -> Param {
    Param::switch("indicator", true).about("whether a column of 0 and 1 says where values were missing")
}

/// The columns with gaps in training, where `fit` asks for indicators.
pub(super) fn indicated(fit: &Fit<'_>) -> Result<Vec<u32>, OperatorError> {
    if !(fit.switch("indicator")? && has_missing(fit.x)) {
        return Ok(Vec::new());
    }
    let gaps = each_column(fit.x, fit.cancel, |_, values| Ok(values.iter().any(|value| value.is_nan())))?;
    Ok((0..).zip(gaps).filter(|(_, gap)| *gap).map(|(index, _)| index).collect())
}

/// Reads the indicators of an imputer of that many columns.
pub(super) fn load_indicators(state: &State, width: usize) -> Result<Vec<u32>, OperatorError> {
    let indicators = state.u32s("indicators")?.to_vec();
    if indicators.len() > width || indicators.iter().any(|&index| index as usize >= width) {
        return Err(OperatorError::state("an indicator lies beyond the last column"));
    }
    Ok(indicators)
}

/// Adds columns of 0 and 1 that say where `x` has gaps.
fn indicate(x: &Frame, indicators: &[u32], columns: &mut Vec<Arc<Column>>) -> Result<(), OperatorError> {
    for &index in indicators {
        columns.push(numbers(x.numeric(index as usize)?.iter().map(|value| f32::from(u8::from(value.is_nan()))).collect()));
    }
    Ok(())
}

/// The frame with the gaps of each row filled by `fill`, which is handed the rows that have any; and the indicators.
pub(super) fn fill_rows(
    x: &Frame,
    indicators: &[u32],
    cancel: &Cancel,
    fill: impl Fn(&mut [f32]) + Sync,
) -> Result<Frame, OperatorError> {
    /// Rows a task handles.
    const ROWS: usize = 16;
    let width = x.columns().len();
    let mut gap = vec![false; x.rows()];
    for index in 0..width {
        go_on(cancel)?;
        gap.iter_mut().zip(x.numeric(index)?).for_each(|(gap, value)| *gap |= value.is_nan());
    }
    let gappy: Vec<usize> = (0..).zip(gap).filter(|(_, gap)| *gap).map(|(row, _)| row).collect();
    let filled = |rows: &[usize]| {
        let mut cells = vec![0.0_f32; rows.len() * width];
        for (cells, &row) in cells.chunks_mut(width.max(1)).zip(rows) {
            go_on(cancel)?;
            for (index, cell) in cells.iter_mut().enumerate() {
                *cell = x.numeric(index)?.get(row).copied().unwrap_or(f32::NAN);
            }
            fill(cells);
        }
        Ok(cells)
    };
    let blocks: Vec<Vec<f32>> = gappy.par_chunks(ROWS).map(filled).collect::<Result<_, OperatorError>>()?;
    let mut columns = each_column(x, cancel, |index, values| {
        if !values.iter().any(|value| value.is_nan()) {
            return x.columns().get(index).cloned().ok_or(OperatorError::Kind { expected: "numbers" });
        }
        let mut values = values.to_vec();
        let rows = blocks.iter().flat_map(|block| block.chunks(width.max(1)));
        for (&row, cells) in gappy.iter().zip(rows) {
            if let (Some(value), Some(&cell)) = (values.get_mut(row).filter(|value| value.is_nan()), cells.get(index)) {
                *value = bounded(f64::from(cell));
            }
        }
        Ok(numbers(values))
    })?;
    indicate(x, indicators, &mut columns)?;
    Frame::new(x.rows(), columns)
}

struct Fill {
    values: Vec<f32>,
    /// Columns that had missing values in training and get an indicator.
    indicators: Vec<u32>,
}

impl TabularOperator for Impute {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 6.0, 4.0).and_bytes(4.0 * shape.rows)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let strategy = fit.text("strategy")?;
        let typical = |values: &[f32]| typical(values.iter().copied().filter(|value| !value.is_nan()).collect(), strategy);
        let values = each_column(fit.x, fit.cancel, |_, values| Ok(typical(values)))?;
        Ok(Box::new(Fill { values, indicators: indicated(fit)? }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let values = state.finite("values", None)?;
        let indicators = load_indicators(state, values.len())?;
        Ok(Box::new(Fill { values, indicators }))
    }
}

/// The value that stands for a missing one; 0 where nothing is known.
fn typical(mut present: Vec<f32>, strategy: &str) -> f32 {
    if present.is_empty() {
        return 0.0;
    }
    match strategy {
        "mean" => present_moments(&present).0 as f32,
        "constant" => {
            let deviation = present_moments(&present).1.sqrt();
            let smallest = present.iter().copied().fold(f32::MAX, f32::min);
            bounded(f64::from(smallest) - if deviation > 0.0 { deviation } else { 1.0 })
        }
        "most_frequent" => {
            present = sorted(&present, None);
            let runs = present.chunk_by(|a, b| a == b);
            // The first of the longest runs: the smallest of the most frequent values.
            runs.reduce(|best, run| if run.len() > best.len() { run } else { best }).map_or(0.0, |run| run[0])
        }
        "zero" => 0.0,
        _ => {
            let middle = present.len() / 2;
            *present.select_nth_unstable_by(middle, f32::total_cmp).1
        }
    }
}

impl Fitted for Fill {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.values.len())?;
        let mut columns = Vec::with_capacity(self.values.len() + self.indicators.len());
        for (index, &fill) in self.values.iter().enumerate() {
            let column = x.numeric(index)?;
            if column.iter().any(|value| value.is_nan()) {
                let filled = column.iter().map(|&value| if value.is_nan() { fill } else { value }).collect();
                columns.push(numbers(filled));
            } else {
                columns.push(x.columns()[index].clone());
            }
        }
        indicate(x, &self.indicators, &mut columns)?;
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        state.put_array("values", Array::F32(self.values.clone()));
        state.put_array("indicators", Array::U32(self.indicators.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::typical;

    #[test]
    fn each_strategy_has_its_value() {
        let values = || vec![4.0, 1.0, 1.0, 10.0];
        assert_eq!(typical(values(), "mean"), 4.0);
        assert_eq!(typical(values(), "median"), 4.0);
        assert_eq!(typical(values(), "most_frequent"), 1.0);
        assert_eq!(typical(values(), "zero"), 0.0);
        assert!((typical(values(), "constant") - (1.0 - 13.5_f32.sqrt())).abs() < 1e-6);
        assert_eq!(typical(vec![2.0; 3], "constant"), 1.0);
        assert_eq!(typical(vec![], "mean"), 0.0);
    }
}
