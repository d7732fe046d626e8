//! Drops, again and again, the columns that matter least to a linear model (Guyon et al. 2002).

use automl_core::{Param, Params};

use super::number;
use super::shared::{Selected, columns, response, share, share_of};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::eliminate::{self, EliminateParams, sampled};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct RecursiveElimination;

crate::describe! {
    RecursiveElimination: "recursive_elimination", "Drops the columns that matter least to a linear model, step by step",
    reads [DENSE], emits DENSE,
    params [
        Param::float("keep", 0.05, 0.95, 0.5).about("share of the columns that stays, at least one"),
        Param::float("step", 0.05, 0.5, 0.1).about("share of the columns left that a step drops, at least one"),
        Param::float("alpha", 1e-2, 1e3, 1.0).log().about("strength of the ridge penalty on standardised columns"),
    ]
}

crate::tabular_operator!(RecursiveElimination);

impl TabularOperator for RecursiveElimination {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let square = shape.columns * shape.columns;
        let rows = shape.rows.min(sampled(shape.columns as usize) as f64);
        let outputs = if shape.classes > 2.0 { shape.classes } else { 1.0 };
        let keep = share_of(params, "keep", shape.columns);
        // Systems shrink from step to step, and their cost with the cube of the columns left.
        let left = (keep / shape.columns).powi(3);
        let systems = ((1.0 - left) / (3.0 * number(params, "step", 0.0).max(0.01))).max(1.0);
        let system = square * (0.015 * shape.columns + 5.0 + 0.3 * outputs);
        Cost::of_cells(shape, 1.5, 0.0)
            .and_seconds(1e-9 * (rows * shape.columns * (1.0 + 0.04 * shape.columns) + systems * system))
            .and_bytes(32.0 * square + 24.0 * shape.columns * outputs + 8.0 * shape.rows + 1e6)
            .emitting(keep)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let params =
            EliminateParams { keep: share(fit, "keep", x.width())?, step: fit.float("step")?, alpha: fit.float("alpha")? };
        let kept = eliminate::eliminate(&x, &response(fit)?, &params, fit.seed, fit.cancel)?;
        Ok(Selected::fitted(kept, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
