//! Divides each row by its norm, so that only the proportions of its values count.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, go_on, map_columns, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::columns::bounded;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Normalize;

crate::describe! {
    Normalize: "normalize", "Divides each row by its norm",
    reads [DENSE], emits DENSE,
    params [
        Param::choice("norm", &["l2", "l1", "max"]).about("root of the sum of squares, sum of magnitudes, or largest magnitude"),
    ]
}

crate::tabular_operator!(Normalize);

struct Norm {
    norm: String,
    width: usize,
}

impl TabularOperator for Normalize {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 1.5, 4.0).and_bytes(8.0 * shape.rows)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        for column in 0..fit.x.columns().len() {
            fit.x.numeric(column)?;
        }
        Ok(Box::new(Norm { norm: fit.text("norm")?.to_owned(), width: fit.x.columns().len() }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(Norm { norm: state.get("norm")?, width: state.get("width")? }))
    }
}

impl Fitted for Norm {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.width)?;
        let mut norms = vec![0.0_f64; x.rows()];
        for column in 0..self.width {
            go_on(cancel)?;
            let cells = norms.iter_mut().zip(x.numeric(column)?.iter().map(|&value| f64::from(value)));
            match self.norm.as_str() {
                "l1" => cells.for_each(|(norm, value)| *norm += value.abs()),
                "max" => cells.for_each(|(norm, value)| *norm = norm.max(value.abs())),
                _ => cells.for_each(|(norm, value)| *norm += value * value),
            }
        }
        let root = !matches!(self.norm.as_str(), "l1" | "max");
        for norm in &mut norms {
            let length = if root { norm.sqrt() } else { *norm };
            *norm = if length > 0.0 { 1.0 / length } else { 1.0 };
        }
        map_columns(x, self.width, cancel, |_, values| {
            Ok(numbers(values.iter().zip(&norms).map(|(&value, inverse)| bounded(f64::from(value) * inverse)).collect()))
        })
    }

    fn save(&self, state: &mut State) {
        state.put("norm", &self.norm);
        state.put("width", self.width);
    }
}
