//! Maps the range of each column to a given one.

use automl_core::{Param, Params};

use super::columnwise::{Affine, check_rows, each_column};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct MinMaxScale;

crate::describe! {
    MinMaxScale: "min_max_scale", "Maps the smallest value of a column to 0 or -1, the largest to 1",
    reads [DENSE], emits DENSE,
    params [
        Param::choice("range", &["zero_one", "minus_one_one"]).about("where the training values go"),
        Param::switch("clip", false).about("whether values beyond those of training are cut"),
    ]
}

crate::tabular_operator!(MinMaxScale);

impl TabularOperator for MinMaxScale {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 1.0, 4.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let symmetric = fit.text("range")? == "minus_one_one";
        let clip = fit.switch("clip")?.then_some([if symmetric { -1.0 } else { 0.0 }, 1.0]);
        let scales = each_column(fit.x, fit.cancel, |_, values| {
            let low = f64::from(values.iter().copied().fold(f32::MAX, f32::min));
            let high = f64::from(values.iter().copied().fold(f32::MIN, f32::max));
            let width = high - low;
            Ok(if symmetric { (f64::midpoint(low, high), width / 2.0) } else { (low, width) })
        })?;
        Ok(Affine::boxed(scales, clip))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Affine::load(state)
    }
}
