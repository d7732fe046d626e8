//! Linear support vector machines (Fan et al. 2008, LIBLINEAR): squared hinge loss with calibrated probabilities, or a tube.

use automl_core::{Param, Params};

use super::class_weight;
use super::linear::{self, LinearClasses, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::linear_svm;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;

struct LinearSvm;

crate::describe! {
    LinearSvm: "linear_svm", "A linear model with a margin between classes, or a tube around values",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("c", 1e-4, 1e3, 1.0).log().about("inverse strength of the penalty, on standardised columns"),
        Param::float("epsilon", 1e-3, 1.0, 0.01).log().about("deviations of a value that cost nothing, in standard deviations"),
        class_weight(),
    ]
}

crate::tabular_operator!(LinearSvm);

impl TabularOperator for LinearSvm {
    // The coefficients are exact; the calibration of a classifier leaves out one row at a time, thus counts them.
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let side = if shape.columns > 512.0 { 0.0 } else { shape.columns };
        let margins = 0.5e-9 * linear::outputs(shape) * shape.rows.min(8192.0) * side * side;
        linear::passes(shape, 25.0).and_seconds(if shape.classes > 1.0 { margins } else { 0.0 })
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let c = fit.float("c")?;
        let x = fit.x.matrix()?;
        let weights = fit.row_weights();
        Ok(match fit.y {
            Target::Classes { codes, classes } => {
                let model = linear_svm::fit_classes(x.view(), codes, *classes, weights.as_deref(), c, fit.cancel)?;
                Box::new(LinearClasses(model))
            }
            Target::Values(_) => {
                let (y, epsilon) = (fit.values_f32()?, fit.float("epsilon")?);
                let model = linear_svm::fit_values(x.view(), &y, weights.as_deref(), c, epsilon, fit.cancel)?;
                Box::new(LinearValues::new(model))
            }
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load(state)
    }
}
