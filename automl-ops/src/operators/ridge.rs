//! Ridge regression (Hoerl and Kennard 1970): least squares with an L2 penalty; of values, or of class targets with calibration.

use automl_core::{Param, Params};

use super::class_weight;
use super::linear::{self, LinearClasses, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::ridge::{self, RidgeParams};
use crate::learn::ridge_classes;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;

struct Ridge;

crate::describe! {
    Ridge: "ridge", "A linear model with an L2 penalty by least squares",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [Param::float("alpha", 1e-4, 1e4, 1.0).log().about("strength of the penalty"), class_weight()]
}

crate::tabular_operator!(Ridge);

impl TabularOperator for Ridge {
    // The coefficients are exact; the calibration of a classifier leaves out one row at a time, thus counts them.
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::gram(shape)
            .and_seconds(2.5e-7 * shape.classes * shape.rows.min(8192.0) * f64::from(u8::from(shape.classes > 1.0)))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = RidgeParams { alpha: fit.float("alpha")? };
        let x = fit.x.matrix()?;
        Ok(match fit.y {
            Target::Classes { codes, classes } => {
                let weights = fit.row_weights();
                let model = ridge_classes::fit(x.view(), codes, *classes, weights.as_deref(), &params, fit.cancel)?;
                Box::new(LinearClasses(model))
            }
            Target::Values(_) => {
                let model = ridge::fit(x.view(), &fit.values_f32()?, fit.weights, &params, fit.cancel)?;
                Box::new(LinearValues::new(model))
            }
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load(state)
    }
}
