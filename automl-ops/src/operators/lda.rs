//! Linear discriminant analysis with shrinkage (Friedman 1989).

use automl_core::{Cancel, Param, Params};

use super::{class_weight, damaged, linear};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::lda::{self, LdaParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct Lda;

crate::describe! {
    Lda: "lda", "Classes as Gaussians with one covariance",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("shrinkage", 1e-6, 1.0, 1e-4).log().about("share of the covariance that is replaced by its diagonal mean"),
        class_weight(),
    ]
}

crate::tabular_operator!(Lda);

struct FittedLda(lda::Lda);

impl TabularOperator for Lda {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::gram(shape)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let params = LdaParams { shrinkage: fit.float("shrinkage")? };
        let weights = fit.row_weights();
        let model = lda::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), &params, fit.cancel)?;
        Ok(Box::new(FittedLda(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = lda::Lda {
            classes: state.get("classes")?,
            codes: state.u32s("codes")?.to_vec(),
            coef: state.matrix("coef")?,
            intercept: state.f64s("intercept")?.to_vec(),
        };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedLda(model)))
    }
}

impl Fitted for FittedLda {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put("classes", self.0.classes);
        state.put_array("codes", Array::U32(self.0.codes.clone()));
        state.put_matrix("coef", &self.0.coef);
        state.put_array("intercept", Array::F64(self.0.intercept.clone()));
    }
}
