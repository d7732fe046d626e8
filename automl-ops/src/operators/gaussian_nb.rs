//! Gaussian naive Bayes: classes as Gaussians with independent columns.

use automl_core::{Cancel, Param, Params};

use super::{class_weight, damaged, linear};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::gaussian_nb::{self, GaussianNbParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct GaussianNb;

crate::describe! {
    GaussianNb: "gaussian_nb", "Classes as Gaussians with independent columns",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("var_smoothing", 1e-10, 1.0, 1e-9).log().about("share of the largest variance that is added to all"),
        class_weight(),
    ]
}

crate::tabular_operator!(GaussianNb);

struct FittedGaussianNb(gaussian_nb::GaussianNb);

impl TabularOperator for GaussianNb {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::passes(shape, 2.0).and_seconds(3e-9 * shape.cells() * shape.classes)
    }

    fn row_seconds(&self, shape: &Shape, _: &Params) -> f64 {
        1e-9 * (10.0 * shape.columns + 3.0 * shape.columns * shape.classes)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let params = GaussianNbParams { var_smoothing: fit.float("var_smoothing")?, priors: None };
        let weights = fit.row_weights();
        let model = gaussian_nb::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), &params, fit.cancel)?;
        Ok(Box::new(FittedGaussianNb(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = gaussian_nb::GaussianNb {
            classes: state.get("classes")?,
            codes: state.u32s("codes")?.to_vec(),
            log_prior: state.f64s("log_prior")?.to_vec(),
            mean: state.matrix("mean")?,
            variance: state.matrix("variance")?,
        };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedGaussianNb(model)))
    }
}

impl Fitted for FittedGaussianNb {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put("classes", self.0.classes);
        state.put_array("codes", Array::U32(self.0.codes.clone()));
        state.put_array("log_prior", Array::F64(self.0.log_prior.clone()));
        state.put_matrix("mean", &self.0.mean);
        state.put_matrix("variance", &self.0.variance);
    }
}
