//! Subtracts the mean and divides by the standard deviation, column by column.

use automl_core::Cancel;

use super::damaged;
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::scale::Scaler;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct StandardScale;

crate::describe! {
    StandardScale: "standard_scale", "Subtracts the mean and divides by the standard deviation",
    reads [DENSE, PREDICTION], emits DENSE,
    params []
}

crate::tabular_operator!(StandardScale);

struct FittedScale(Scaler);

impl TabularOperator for StandardScale {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(FittedScale(Scaler::fit(fit.x.matrix()?.view(), fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let scaler = Scaler { mean: state.f64s("mean")?.to_vec(), scale: state.f64s("scale")?.to_vec() };
        scaler.check().map_err(damaged)?;
        Ok(Box::new(FittedScale(scaler)))
    }
}

impl Fitted for FittedScale {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.transform(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put_array("mean", Array::F64(self.0.mean.clone()));
        state.put_array("scale", Array::F64(self.0.scale.clone()));
    }
}
