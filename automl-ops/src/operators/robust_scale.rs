//! Subtracts the median and divides by the distance of two quantiles, which values far out do not move.

use automl_core::{Param, Params};

use super::columnwise::{Affine, check_rows, each_column};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, quantile, sample_rows, sorted};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct RobustScale;

crate::describe! {
    RobustScale: "robust_scale", "Subtracts the median and divides by the distance of two quantiles",
    reads [DENSE], emits DENSE,
    params [
        Param::float("tail", 0.01, 0.3, 0.25).about("share of the values beyond each of the two quantiles; 0.25: the quartiles"),
    ]
}

crate::tabular_operator!(RobustScale);

impl TabularOperator for RobustScale {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 10.0, 4.0).and_bytes(16.0 * shape.rows.min(ROWS as f64))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let tail = fit.float("tail")?;
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let scales = each_column(fit.x, fit.cancel, |_, values| {
            let sorted = sorted(values, rows.as_deref());
            Ok((quantile(&sorted, 0.5), quantile(&sorted, 1.0 - tail) - quantile(&sorted, tail)))
        })?;
        Ok(Affine::boxed(scales, None))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Affine::load(state)
    }
}
