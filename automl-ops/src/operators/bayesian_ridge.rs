//! Ridge regression that finds its own penalty by the evidence (MacKay 1992).

use automl_core::Params;

use super::linear::{self, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::bayesian_ridge;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct BayesianRidge;

crate::describe! {
    BayesianRidge: "bayesian_ridge", "A linear model of values that finds its own penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params []
}

crate::tabular_operator!(BayesianRidge);

impl TabularOperator for BayesianRidge {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::gram(shape)
            .and_seconds(1.5e-9 * shape.rows.min(shape.columns).min(1024.0).powi(3) + 5e-9 * shape.cells())
            .and_bytes(16.0 * shape.cells())
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = bayesian_ridge::fit(fit.x.matrix()?.view(), &fit.values_f32()?, fit.weights, fit.cancel)?;
        Ok(Box::new(LinearValues::new(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_values(state)
    }
}
