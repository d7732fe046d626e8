//! Robust regression with the loss of Huber (1981): outliers pull no more than rows a few deviations away.

use automl_core::{Param, Params};

use super::linear::{self, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::huber;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct Huber;

crate::describe! {
    Huber: "huber", "A linear model of values that outliers do not pull away",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("epsilon", 1.0, 3.0, 1.35).about("deviations beyond which a row is an outlier"),
        Param::float("alpha", 1e-6, 100.0, 1e-4).log().about("strength of the penalty, on standardised columns"),
    ]
}

crate::tabular_operator!(Huber);

impl TabularOperator for Huber {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::passes(shape, 25.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = (fit.float("epsilon")?, fit.float("alpha")?);
        let model = huber::fit(fit.x.matrix()?.view(), &fit.values_f32()?, fit.weights, params, fit.cancel)?;
        Ok(Box::new(LinearValues::new(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_values(state)
    }
}
