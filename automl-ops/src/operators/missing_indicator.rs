//! Where values are missing, and nothing else: a column of 0 and 1 for each column that had gaps in training.

use automl_core::{Cancel, Params};

use super::columnwise::{each_column, go_on, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct MissingIndicator;

crate::describe! {
    MissingIndicator: "missing_indicator", "Columns of 0 and 1 that say where values are missing",
    reads [NUMERIC], emits DENSE,
    params []
}

crate::tabular_operator!(MissingIndicator);

/// The columns with gaps in training, and how many there are in all.
struct Gaps {
    columns: Vec<u32>,
    width: usize,
}

impl TabularOperator for MissingIndicator {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 0.5, 4.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let gaps = each_column(fit.x, fit.cancel, |_, values| Ok(values.iter().any(|value| value.is_nan())))?;
        let columns = (0..).zip(&gaps).filter(|(_, gap)| **gap).map(|(index, _)| index).collect();
        Ok(Box::new(Gaps { columns, width: gaps.len() }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (columns, width) = (state.u32s("columns")?.to_vec(), state.get("width")?);
        if columns.len() > width || columns.iter().any(|&column| column as usize >= width) {
            return Err(OperatorError::state("an indicator lies beyond the last column"));
        }
        Ok(Box::new(Gaps { columns, width }))
    }
}

impl Fitted for Gaps {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.width)?;
        (0..self.width).try_for_each(|column| x.numeric(column).map(drop))?;
        let mut columns = Vec::with_capacity(self.columns.len().max(1));
        for &index in &self.columns {
            go_on(cancel)?;
            let values = x.numeric(index as usize)?;
            columns.push(numbers(values.iter().map(|value| f32::from(u8::from(value.is_nan()))).collect()));
        }
        if columns.is_empty() {
            // An operator emits at least one column.
            columns.push(numbers(vec![0.0; x.rows()]));
        }
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        state.put_array("columns", Array::U32(self.columns.clone()));
        state.put("width", self.width);
    }
}
