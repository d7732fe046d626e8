//! Elastic net (Zou and Hastie 2005): least squares with an L1 and an L2 penalty.

use automl_core::{Param, Params};

use super::linear::{self, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::lasso::{self, LassoParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct ElasticNet;

crate::describe! {
    ElasticNet: "elastic_net", "A linear model of values with an L1 and an L2 penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("alpha", 1e-5, 0.5, 1e-3).log().about("strength of the penalty; 1 drops all columns"),
        Param::float("l1_ratio", 0.05, 0.95, 0.5).about("share of the L1 penalty"),
    ]
}

crate::tabular_operator!(ElasticNet);

impl TabularOperator for ElasticNet {
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
        let params = LassoParams { alpha: fit.float("alpha")?, l1_ratio: fit.float("l1_ratio")? };
        let model = lasso::fit(fit.x.matrix()?.view(), &fit.values_f32()?, fit.weights, &params, fit.cancel)?;
        Ok(Box::new(LinearValues::new(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_values(state)
    }
}
