//! Logarithms that keep the sign: `sign(x) ln(1 + |x| / scale)`.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, each_column, map_columns, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, quantile, sample_rows, sorted};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct LogTransform;

crate::describe! {
    LogTransform: "log_transform", "Takes logarithms of magnitudes and keeps the signs",
    reads [DENSE], emits DENSE,
    params [
        Param::float("scale", 0.01, 100.0, 1.0).log()
            .about("magnitude below which values stay as they are, in medians of the column's magnitudes other than 0"),
    ]
}

crate::tabular_operator!(LogTransform);

/// The scale of each column, above 0.
struct Scales(Vec<f32>);

impl TabularOperator for LogTransform {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 30.0, 4.0).and_bytes(16.0 * shape.rows.min(ROWS as f64))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let factor = fit.float("scale")?;
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let scales = each_column(fit.x, fit.cancel, |_, values| {
            let magnitudes: Vec<f32> = match &rows {
                None => values.iter().map(|value| value.abs()).filter(|&value| value > 0.0).collect(),
                Some(rows) => {
                    let sampled = rows.iter().filter_map(|&row| values.get(row as usize));
                    sampled.map(|value| value.abs()).filter(|&value| value > 0.0).collect()
                }
            };
            let scale = (factor * quantile(&sorted(&magnitudes, None), 0.5)) as f32;
            Ok(if scale.is_normal() { scale } else { 1.0 })
        })?;
        Ok(Box::new(Scales(scales)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let scales = state.finite("scale", None)?;
        if !scales.iter().all(|&scale| scale > 0.0) {
            return Err(OperatorError::state("a scale is not above 0"));
        }
        Ok(Box::new(Scales(scales)))
    }
}

impl Fitted for Scales {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        map_columns(x, self.0.len(), cancel, |index, values| {
            let scale = self.0.get(index).map_or(1.0, |&scale| f64::from(scale));
            let log = |&value: &f32| {
                let log = (f64::from(value.abs()) / scale).ln_1p();
                if log.is_finite() { log.copysign(f64::from(value)) as f32 } else { 0.0 }
            };
            Ok(numbers(values.iter().map(log).collect()))
        })
    }

    fn save(&self, state: &mut State) {
        state.put_array("scale", Array::F32(self.0.clone()));
    }
}
