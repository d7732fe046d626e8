//! Divides each column by its largest magnitude, so that zeros stay zeros.

use automl_core::Params;

use super::columnwise::{Affine, check_rows, each_column};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct MaxAbsScale;

crate::describe! {
    MaxAbsScale: "max_abs_scale", "Divides each column by its largest magnitude",
    reads [DENSE], emits DENSE,
    params []
}

crate::tabular_operator!(MaxAbsScale);

impl TabularOperator for MaxAbsScale {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 1.0, 4.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let largest = |values: &[f32]| values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        Ok(Affine::boxed(each_column(fit.x, fit.cancel, |_, values| Ok((0.0, f64::from(largest(values)))))?, None))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Affine::load(state)
    }
}
