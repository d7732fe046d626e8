//! Linear models by stochastic gradient descent (Bottou 2010), averaged: cheap on many rows, with losses that bear outliers.

use automl_core::{Param, Params, Value};

use super::class_weight;
use super::linear::{self, LinearClasses, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::sgd::{self, SgdParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;

struct Sgd;

crate::describe! {
    Sgd: "sgd", "A linear model that learns from small batches of rows",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::choice("loss", &["smooth", "robust"]).about("`smooth`: log or squared loss; `robust`: modified Huber or Huber loss"),
        Param::float("alpha", 1e-7, 0.1, 1e-4).log().about("strength of the penalty, on standardised columns"),
        Param::float("l1_ratio", 0.0, 1.0, 0.0).about("share of the L1 penalty"),
        Param::choice("steps", &["adam", "falling"]).about("`adam`: scaled by the moments of the gradient; `falling`: by the passes alone"),
        Param::float("rate", 1e-3, 0.5, 0.02).log().about("size of the first steps"),
        Param::int("epochs", 5, 100, 30).log().about("passes over the rows, at most"),
        class_weight(),
    ]
}

crate::tabular_operator!(Sgd);

impl TabularOperator for Sgd {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let epochs = if let Some(Value::Int(epochs)) = params.get("epochs") { *epochs as f64 } else { 30.0 };
        let outputs = linear::outputs(shape);
        linear::passes(shape, epochs).and_seconds(1e-9 * epochs * shape.rows * outputs * (10.0 + 0.3 * shape.columns))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = SgdParams {
            robust: fit.text("loss")? == "robust",
            alpha: fit.float("alpha")?,
            l1_ratio: fit.float("l1_ratio")?,
            rate: fit.float("rate")?,
            adam: fit.text("steps")? == "adam",
            epochs: fit.int("epochs")?,
            seed: fit.seed,
        };
        let x = fit.x.matrix()?;
        let weights = fit.row_weights();
        Ok(match fit.y {
            Target::Classes { codes, classes } => {
                let model = sgd::fit_classes(x.view(), codes, *classes, weights.as_deref(), &params, fit.cancel)?;
                Box::new(LinearClasses(model))
            }
            Target::Values(_) => {
                let model = sgd::fit_values(x.view(), &fit.values_f32()?, weights.as_deref(), &params, fit.cancel)?;
                Box::new(LinearValues::new(model))
            }
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load(state)
    }
}
