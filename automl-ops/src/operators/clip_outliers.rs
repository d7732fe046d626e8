//! Cuts values beyond two quantiles of training (winsorising).

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, each_column, map_columns, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, quantile, sample_rows, sorted};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct ClipOutliers;

crate::describe! {
    ClipOutliers: "clip_outliers", "Cuts values beyond two quantiles of their column",
    reads [DENSE], emits DENSE,
    params [
        Param::float("tail", 0.001, 0.1, 0.01).log().about("share of the training values that is cut on each side"),
    ]
}

crate::tabular_operator!(ClipOutliers);

/// The lowest and the highest value of each column.
struct Limits(Vec<(f32, f32)>);

impl TabularOperator for ClipOutliers {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 12.0, 4.0).and_bytes(16.0 * shape.rows.min(ROWS as f64))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let tail = fit.float("tail")?;
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let limits = each_column(fit.x, fit.cancel, |_, values| {
            let sorted = sorted(values, rows.as_deref());
            Ok((quantile(&sorted, tail) as f32, quantile(&sorted, 1.0 - tail) as f32))
        })?;
        Ok(Box::new(Limits(limits)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let low = state.finite("low", None)?;
        let high = state.finite("high", Some(low.len()))?;
        if low.iter().zip(&high).any(|(low, high)| low > high) {
            return Err(OperatorError::state("a lowest value lies above the highest"));
        }
        Ok(Box::new(Limits(low.into_iter().zip(high).collect())))
    }
}

impl Fitted for Limits {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        map_columns(x, self.0.len(), cancel, |index, values| {
            let &(low, high) = self.0.get(index).unwrap_or(&(0.0, 0.0));
            if values.iter().all(|value| (low..=high).contains(value)) {
                return x.columns().get(index).cloned().ok_or(OperatorError::Kind { expected: "numbers" });
            }
            // A comparison with NaN is false, so that NaN becomes the lowest value.
            Ok(numbers(values.iter().map(|&value| if value > low { value.min(high) } else { low }).collect()))
        })
    }

    fn save(&self, state: &mut State) {
        state.put_array("low", Array::F32(self.0.iter().map(|limits| limits.0).collect()));
        state.put_array("high", Array::F32(self.0.iter().map(|limits| limits.1).collect()));
    }
}
