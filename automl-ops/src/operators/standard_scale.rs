//! Subtracts the mean and divides by the standard deviation, column by column.

use automl_core::Params;

use super::columnwise::{Affine, check_rows, each_column};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::scale::present_moments;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct StandardScale;

crate::describe! {
    StandardScale: "standard_scale", "Subtracts the mean and divides by the standard deviation",
    reads [DENSE, PREDICTION], emits DENSE,
    params []
}

crate::tabular_operator!(StandardScale);

impl TabularOperator for StandardScale {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 2.0, 4.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let scales = each_column(fit.x, fit.cancel, |_, values| {
            let (mean, variance, _) = present_moments(values);
            Ok((mean, variance.sqrt()))
        })?;
        Ok(Affine::boxed(scales, None))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Affine::load(state)
    }
}
