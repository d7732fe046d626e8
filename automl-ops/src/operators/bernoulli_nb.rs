//! Naive Bayes of yes-or-no columns (McCallum and Nigam 1998); numbers are cut in two.

use automl_core::{Cancel, Param, Params};

use super::linear;
use super::{class_weight, damaged};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::discrete_nb::{self, Cut};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct BernoulliNb;

crate::describe! {
    BernoulliNb: "bernoulli_nb", "Classes by which columns are high and which are low",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::choice("cut", &["median", "mean", "zero"]).about("above what a column counts as yes"),
        Param::float("alpha", 1e-3, 100.0, 1.0).log().about("rows of either value that are added to each class"),
        Param::switch("calibrate", true).about("whether probabilities are corrected for columns that depend on each other"),
        class_weight(),
    ]
}

crate::tabular_operator!(BernoulliNb);

struct FittedBernoulliNb(discrete_nb::BernoulliNb);

impl TabularOperator for BernoulliNb {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::passes(shape, 2.0).and_seconds(1e-8 * shape.cells() + 2.5e-7 * shape.rows.min(8192.0) * shape.classes)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let cut = match fit.text("cut")? {
            "mean" => Cut::Mean,
            "zero" => Cut::Zero,
            _ => Cut::Median,
        };
        let params = (cut, fit.float("alpha")?, fit.switch("calibrate")?);
        let weights = fit.row_weights();
        let model = discrete_nb::bernoulli(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), params, fit.cancel)?;
        Ok(Box::new(FittedBernoulliNb(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = discrete_nb::BernoulliNb { cuts: state.finite("cuts", None)?, model: linear::logistic(state)? };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedBernoulliNb(model)))
    }
}

impl Fitted for FittedBernoulliNb {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put_array("cuts", Array::F32(self.0.cuts.clone()));
        linear::save_logistic(&self.0.model, state);
    }
}
