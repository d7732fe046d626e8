//! The identity: lets a graph hand columns on unchanged beside what is made of them.

use automl_core::{Cancel, Params};

use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Passthrough;

crate::describe! {
    Passthrough: "passthrough", "Hands its columns on unchanged",
    reads [DENSE], emits DENSE,
    params []
}

crate::tabular_operator!(Passthrough);

/// Number of columns.
struct Width(usize);

impl TabularOperator for Passthrough {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 0.01, 0.01)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let width = fit.x.columns().len();
        (0..width).try_for_each(|column| fit.x.numeric(column).map(drop))?;
        Ok(Box::new(Width(width)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(Width(state.get("width")?)))
    }
}

impl Fitted for Width {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.0)?;
        (0..self.0).try_for_each(|column| x.numeric(column).map(drop))?;
        Ok(x.clone())
    }

    fn save(&self, state: &mut State) {
        state.put("width", self.0);
    }
}
