//! Ridge regression (Hoerl and Kennard 1970): least squares with an L2 penalty.

use automl_core::{Cancel, Param};

use super::damaged;
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::ridge::{self, RidgeParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct Ridge;

crate::describe! {
    Ridge: "ridge", "A linear model of values with an L2 penalty",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [Param::float("alpha", 1e-4, 1e4, 1.0).log().about("strength of the penalty")]
}

crate::tabular_operator!(Ridge);

struct FittedRidge(ridge::Ridge);

impl TabularOperator for Ridge {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = RidgeParams { alpha: fit.float("alpha")? };
        let model = ridge::fit(fit.x.matrix()?.view(), &fit.values_f32()?, fit.weights, &params, fit.cancel)?;
        Ok(Box::new(FittedRidge(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = ridge::Ridge { coef: state.f64s("coef")?.to_vec(), intercept: state.get("intercept")? };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedRidge(model)))
    }
}

impl Fitted for FittedRidge {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&self.0.predict(x.matrix()?.view())?, 1))
    }

    fn save(&self, state: &mut State) {
        state.put_array("coef", Array::F64(self.0.coef.clone()));
        state.put("intercept", self.0.intercept);
    }
}
