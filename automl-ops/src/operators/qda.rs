//! Quadratic discriminant analysis, regularised towards spheres (Friedman 1989).

use automl_core::{Cancel, Param, Params};

use super::{class_weight, damaged, linear};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::qda::{self, QdaParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::{Array, State};

struct Qda;

crate::describe! {
    Qda: "qda", "Classes as Gaussians with a covariance each",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("regularisation", 1e-6, 1.0, 1e-3).log().about("share of each covariance that is replaced by a sphere"),
        class_weight(),
    ]
}

crate::tabular_operator!(Qda);

struct FittedQda(qda::Qda);

impl TabularOperator for Qda {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::gram(shape)
            .and_seconds(1e-9 * shape.classes * (shape.cells() * (1.0 + 0.1 * shape.columns) + shape.columns.powi(3)))
    }

    fn row_seconds(&self, shape: &Shape, _: &Params) -> f64 {
        1e-9 * (10.0 * shape.columns + shape.classes * (20.0 + shape.columns * (1.0 + 0.1 * shape.columns)))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let params = QdaParams { reg_param: fit.float("regularisation")? };
        let weights = fit.row_weights();
        let model = qda::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), &params, fit.cancel)?;
        Ok(Box::new(FittedQda(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let codes = state.u32s("codes")?.to_vec();
        let whiten = (0..codes.len()).map(|class| state.matrix(&format!("whiten.{class}"))).collect::<Result<_, _>>()?;
        let model = qda::Qda {
            classes: state.get("classes")?,
            codes,
            mean: state.matrix("mean")?,
            whiten,
            offset: state.f64s("offset")?.to_vec(),
        };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedQda(model)))
    }
}

impl Fitted for FittedQda {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view(), cancel)?))
    }

    fn save(&self, state: &mut State) {
        state.put("classes", self.0.classes);
        state.put_array("codes", Array::U32(self.0.codes.clone()));
        state.put_matrix("mean", &self.0.mean);
        state.put_array("offset", Array::F64(self.0.offset.clone()));
        for (class, whiten) in self.0.whiten.iter().enumerate() {
            state.put_matrix(&format!("whiten.{class}"), whiten);
        }
    }
}
