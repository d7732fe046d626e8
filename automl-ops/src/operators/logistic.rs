//! Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.

use automl_core::{Cancel, Param};

use super::{class_weight, damaged};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::logistic::{self, LogisticParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct Logistic;

crate::describe! {
    Logistic: "logistic", "A linear model of class probabilities with an L2 penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("c", 1e-4, 1e4, 1.0).log().about("inverse strength of the penalty, on standardised columns"),
        class_weight(),
    ]
}

crate::tabular_operator!(Logistic);

struct FittedLogistic(logistic::Logistic);

impl TabularOperator for Logistic {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let params = LogisticParams { c: fit.float("c")?, ..LogisticParams::default() };
        let weights = fit.row_weights();
        let model = logistic::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), &params, fit.cancel)?;
        Ok(Box::new(FittedLogistic(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = logistic::Logistic {
            classes: state.get("classes")?,
            codes: state.u32s("codes")?.to_vec(),
            coef: state.matrix("coef")?,
            intercept: state.f64s("intercept")?.to_vec(),
            iterations: state.get("iterations")?,
        };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedLogistic(model)))
    }
}

impl Fitted for FittedLogistic {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put("classes", self.0.classes);
        state.put("iterations", self.0.iterations);
        state.put_array("codes", Array::U32(self.0.codes.clone()));
        state.put_matrix("coef", &self.0.coef);
        state.put_array("intercept", Array::F64(self.0.intercept.clone()));
    }
}
