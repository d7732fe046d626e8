//! Lasso (Tibshirani 1996): least squares with an L1 penalty, which drops columns.

use automl_core::{Param, Params};

use super::linear::{self, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::lasso::{self, LassoParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct Lasso;

crate::describe! {
    Lasso: "lasso", "A linear model of values with an L1 penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("alpha", 1e-5, 0.5, 1e-3).log().about("strength of the penalty; 1 drops all columns"),
    ]
}

crate::tabular_operator!(Lasso);

impl TabularOperator for Lasso {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::descent(shape)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = LassoParams { alpha: fit.float("alpha")?, l1_ratio: 1.0 };
        let model = lasso::fit(fit.x.matrix()?.view(), &fit.values_f32()?, fit.weights, &params, fit.cancel)?;
        Ok(Box::new(LinearValues::new(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_values(state)
    }
}
