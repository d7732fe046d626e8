//! Fills missing numbers with a typical value of their column, and can tell the next vertex where it did.

use std::sync::Arc;

use automl_core::{Cancel, Param};

use super::has_missing;
use crate::frame::{Column, Frame, Values};
use crate::kinds::{DENSE, NUMERIC};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Impute;

crate::describe! {
    Impute: "impute", "Fills missing numbers with a typical value of their column",
    reads [NUMERIC], emits DENSE,
    params [
        Param::choice("strategy", &["median", "mean", "most_frequent", "zero"]).about("the value that is filled in"),
        Param::switch("indicator", true).about("whether a column of 0 and 1 says where values were missing"),
    ]
}

crate::tabular_operator!(Impute);

struct Fill {
    values: Vec<f32>,
    /// Columns that had missing values in training and get an indicator.
    indicators: Vec<u32>,
}

impl TabularOperator for Impute {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let strategy = fit.text("strategy")?;
        let indicator = fit.switch("indicator")? && has_missing(fit.x);
        let (mut values, mut indicators) = (Vec::new(), Vec::new());
        for index in 0..fit.x.columns().len() {
            let column = fit.x.numeric(index)?;
            let present: Vec<f32> = column.iter().copied().filter(|value| !value.is_nan()).collect();
            if indicator && present.len() < column.len() {
                indicators.extend(u32::try_from(index));
            }
            values.push(typical(present, strategy));
        }
        Ok(Box::new(Fill { values, indicators }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let values = state.finite("values", None)?;
        let indicators = state.u32s("indicators")?.to_vec();
        if indicators.iter().any(|&index| index as usize >= values.len()) {
            return Err(OperatorError::state("an indicator lies beyond the last column"));
        }
        Ok(Box::new(Fill { values, indicators }))
    }
}

/// The value that stands for a missing one; 0 where nothing is known.
fn typical(mut present: Vec<f32>, strategy: &str) -> f32 {
    if present.is_empty() {
        return 0.0;
    }
    present.sort_unstable_by(f32::total_cmp);
    match strategy {
        "mean" => (present.iter().map(|&value| f64::from(value)).sum::<f64>() / present.len() as f64) as f32,
        "most_frequent" => {
            let runs = present.chunk_by(|a, b| a == b);
            // The first of the longest runs: the smallest of the most frequent values.
            runs.reduce(|best, run| if run.len() > best.len() { run } else { best }).map_or(0.0, |run| run[0])
        }
        "zero" => 0.0,
        _ => present[present.len() / 2],
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
                columns.push(Arc::new(Column::new(Values::Numeric(filled))));
            } else {
                columns.push(x.columns()[index].clone());
            }
        }
        for &index in &self.indicators {
            let missing = x.numeric(index as usize)?.iter().map(|value| f32::from(u8::from(value.is_nan()))).collect();
            columns.push(Arc::new(Column::new(Values::Numeric(missing))));
        }
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
        assert_eq!(typical(vec![], "mean"), 0.0);
    }
}
