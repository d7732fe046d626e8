//! Keeps the columns to which a lasso gives a coefficient (Tibshirani 1996).

use automl_core::{Param, Params};

use super::shared::{Selected, columns, response};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::eliminate::sampled;
use crate::learn::group_lasso::squared_coefficients;
use crate::learn::select::top_k;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct SelectByLasso;

crate::describe! {
    SelectByLasso: "select_by_lasso", "Keeps the columns to which a lasso gives a coefficient",
    reads [DENSE], emits DENSE,
    params [
        Param::float("strength", 1e-3, 0.5, 0.02).log().about("penalty, as a share of the one that leaves no column"),
    ]
}

crate::tabular_operator!(SelectByLasso);

impl TabularOperator for SelectByLasso {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let square = shape.columns * shape.columns;
        let rows = shape.rows.min(sampled(shape.columns as usize) as f64);
        let outputs = if shape.classes > 2.0 { shape.classes } else { 1.0 };
        Cost::of_cells(shape, 1.5, 0.0)
            .and_seconds(1e-9 * (rows * shape.columns * (1.0 + 0.04 * shape.columns) + 80.0 * square * (1.0 + outputs)))
            .and_bytes(8.0 * square + 24.0 * shape.columns * outputs + 8.0 * shape.rows + 1e6)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let size = squared_coefficients(&x, &response(fit)?, fit.float("strength")?, fit.seed, fit.cancel)?;
        let mut kept: Vec<usize> = (0..x.width()).filter(|&column| size[column] > 0.0).collect();
        if kept.is_empty() {
            kept = top_k(&size, 1);
        }
        Ok(Selected::fitted(kept, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
