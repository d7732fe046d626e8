//! The fitted form of every linear model: coefficients of log probabilities, or of a value.

use automl_core::{Cancel, Params, Value};

use super::damaged;
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::learn::logistic::Logistic;
use crate::learn::ridge::Ridge;
use crate::operator::{Fitted, OperatorError};
use crate::state::{Array, State};

/// Largest magnitude of a predicted value.
const LIMIT: f32 = 1e18;

/// A linear model of log probabilities.
pub(super) struct LinearClasses(pub Logistic);

/// A linear model of a value, or of its logarithm.
pub(super) struct LinearValues {
    pub model: Ridge,
    /// The largest prediction of a model of the logarithm; `None`: the model is of the value itself.
    pub log_link: Option<f32>,
}

impl LinearValues {
    /// A model of the value itself.
    pub fn new(model: Ridge) -> Self {
        Self { model, log_link: None }
    }
}

impl Fitted for LinearClasses {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.predict(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        save_logistic(&self.0, state);
    }
}

impl Fitted for LinearValues {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        let mut values = self.model.predict(x.matrix()?.view())?;
        for value in &mut values {
            let linked = self.log_link.map_or(*value, |top| value.exp().min(top));
            *value = linked.clamp(-LIMIT, LIMIT);
        }
        Ok(Frame::from_rows(&values, 1))
    }

    fn save(&self, state: &mut State) {
        state.put_array("coef", Array::F64(self.model.coef.clone()));
        state.put("intercept", self.model.intercept);
        if let Some(top) = self.log_link {
            state.put_array("log_link", Array::F32(vec![top]));
        }
    }
}

/// The cost of coordinate descent: on the Gram matrix, or in passes over the rows where the columns are many.
pub(super) fn descent(shape: &Shape) -> Cost {
    if shape.columns <= shape.rows.min(4096.0) { gram(shape) } else { passes(shape, 200.0) }
}

/// The cost of a table of classes and columns, calibrated on training rows.
pub(super) fn counted(shape: &Shape) -> Cost {
    passes(shape, 2.0).and_seconds(2.5e-7 * shape.rows.min(8192.0) * shape.classes)
}

/// Reads what either form wrote.
pub(super) fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
    if state.values.contains_key("classes") { load_classes(state) } else { load_values(state) }
}

/// Writes a model of classes.
pub(super) fn save_logistic(model: &Logistic, state: &mut State) {
    state.put("classes", model.classes);
    state.put("iterations", model.iterations);
    state.put_array("codes", Array::U32(model.codes.clone()));
    state.put_matrix("coef", &model.coef);
    state.put_array("intercept", Array::F64(model.intercept.clone()));
}

/// Reads a model of classes.
pub(super) fn load_classes(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
    Ok(Box::new(LinearClasses(logistic(state)?)))
}

/// Reads what [`save_logistic`] wrote.
pub(super) fn logistic(state: &State) -> Result<Logistic, OperatorError> {
    let model = Logistic {
        classes: state.get("classes")?,
        codes: state.u32s("codes")?.to_vec(),
        coef: state.matrix("coef")?,
        intercept: state.f64s("intercept")?.to_vec(),
        iterations: state.get("iterations")?,
    };
    model.check().map_err(damaged)?;
    Ok(model)
}

/// Reads a model of values.
pub(super) fn load_values(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
    let log_link = if state.arrays.contains_key("log_link") { state.finite("log_link", Some(1))?.first().copied() } else { None };
    let model = Ridge { coef: state.f64s("coef")?.to_vec(), intercept: state.get("intercept")? };
    model.check().map_err(damaged)?;
    Ok(Box::new(LinearValues { model, log_link }))
}

/// Scores that a class model has: one with two classes, else one a class.
pub(super) fn outputs(shape: &Shape) -> f64 {
    if shape.classes <= 2.0 { 1.0 } else { shape.classes }
}

/// The cost of `passes` over the cells, each of them one product a score, beside the standardised copy.
pub(super) fn passes(shape: &Shape, passes: f64) -> Cost {
    let seconds = 1e-9 * shape.cells() * (8.0 + 0.6 * passes * outputs(shape)) + 2e-9 * passes * shape.rows * outputs(shape);
    Cost { seconds, bytes: 12.0 * shape.cells(), columns: shape.classes }
}

/// The cost of a Gram matrix (of the rows where there are fewer of them) and a factor of it.
pub(super) fn gram(shape: &Shape) -> Cost {
    let side = shape.rows.min(shape.columns);
    let seconds = 1e-9 * (3.0 * shape.cells() + 0.08 * shape.cells() * side + 0.1 * side.powi(3));
    Cost { seconds, bytes: 4.0 * shape.cells() + 32.0 * side * side, columns: shape.classes }
}

/// Whether a choice among the parameters is this.
pub(super) fn is(params: &Params, name: &str, value: &str) -> bool {
    matches!(params.get(name), Some(Value::Text(text)) if text == value)
}
