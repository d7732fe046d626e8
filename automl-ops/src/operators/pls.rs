//! Partial least squares: projects onto directions that vary with the target (Wold 1966; de Jong 1993).

use automl_core::{Param, Params};

use super::number;
use super::shared::{FittedAffine, columns, response};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::pls;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Pls;

crate::describe! {
    Pls: "pls", "Projects onto directions that vary with the target",
    reads [DENSE], emits DENSE,
    params [
        Param::int("components", 1, 20, 4).log().about("number of directions, at most that of the columns"),
    ]
}

crate::tabular_operator!(Pls);

impl TabularOperator for Pls {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let components = number(params, "components", 0.0).min(shape.columns);
        let outputs = if shape.classes > 2.0 { shape.classes } else { 1.0 };
        let side = outputs.min(shape.columns);
        Cost::of_cells(shape, 3.0 + 1.2 * components, 0.0)
            .and_seconds(1e-9 * components * (2.0 * shape.columns * outputs * (1.0 + side) + 6.0 * side.powi(3)))
            .and_bytes(8.0 * (shape.columns * (outputs + 3.0 * components) + shape.rows * (components + 2.0)) + 1e6)
            .emitting(components)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let map = pls::fit(&columns(fit.x)?, &response(fit)?, fit.int("components")?, fit.cancel)?;
        Ok(Box::new(FittedAffine(map)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
