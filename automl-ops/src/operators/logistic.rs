//! Logistic regression, multinomial for more than two classes, with an L2 penalty, an L1 penalty (Tibshirani 1996) or both.

use automl_core::{Param, Params, Value};

use super::class_weight;
use super::linear::{self, LinearClasses};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::logistic::{self, LogisticParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct Logistic;

crate::describe! {
    Logistic: "logistic", "A linear model of class probabilities with a penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("c", 1e-4, 1e4, 1.0).log().about("inverse strength of the penalty, on standardised columns"),
        Param::choice("penalty", &["l2", "l1", "elastic_net"]).about("`l1`: of magnitudes, drops columns; `l2`: of squares"),
        Param::float("l1_ratio", 0.05, 0.95, 0.5).when("penalty", &[Value::from("elastic_net")]).about("share of the L1 penalty"),
        class_weight(),
    ]
}

crate::tabular_operator!(Logistic);

impl TabularOperator for Logistic {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        linear::passes(shape, if linear::is(params, "penalty", "l2") { 30.0 } else { 60.0 })
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let l1_ratio = match fit.text("penalty")? {
            "l1" => 1.0,
            "elastic_net" => fit.float("l1_ratio")?,
            _ => 0.0,
        };
        let params = LogisticParams { c: fit.float("c")?, l1_ratio, ..LogisticParams::default() };
        let weights = fit.row_weights();
        let model = logistic::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), &params, fit.cancel)?;
        Ok(Box::new(LinearClasses(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_classes(state)
    }
}
