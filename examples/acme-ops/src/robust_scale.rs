//! Subtracts the median and divides by the distance of two quantiles, column by column.
//!
//! Unlike the mean and the standard deviation, neither moves when a few values are far out.

use std::sync::Arc;

use automl_core::{Cancel, Param};
use automl_ops::frame::{Column, Frame, Values};
use automl_ops::kinds::DENSE;
use automl_ops::operator::{Fit, Fitted, OperatorError, TabularOperator};
use automl_ops::state::{Array, State};

struct RobustScale;

automl_ops::describe! {
    RobustScale: "acme/robust_scale", "Subtracts the median and divides by the distance of two quantiles",
    reads [DENSE], emits DENSE,
    params [
        Param::float("range", 0.2, 0.98, 0.5).about("share of the values between the two quantiles; 0.5: the quartiles"),
    ]
}

automl_ops::tabular_operator!(RobustScale);

/// One value a column.
struct Scale {
    median: Vec<f32>,
    /// Above 0.
    width: Vec<f32>,
}

impl TabularOperator for RobustScale {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let tail = (1.0 - fit.float("range")?) / 2.0;
        let (mut median, mut width) = (Vec::new(), Vec::new());
        for index in 0..fit.x.columns().len() {
            if fit.cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            let mut sorted = fit.x.numeric(index)?.to_vec();
            sorted.sort_unstable_by(f32::total_cmp);
            median.push(quantile(&sorted, 0.5));
            let distance = quantile(&sorted, 1.0 - tail) - quantile(&sorted, tail);
            // A column that is nearly constant keeps its scale, as does one whose quantiles are further apart than f32 reaches.
            width.push(if distance > 0.0 && distance.is_finite() { distance } else { 1.0 });
        }
        Ok(Box::new(Scale { median, width }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let median = state.finite("median", None)?;
        let width = state.finite("width", Some(median.len()))?;
        if width.iter().any(|&width| width <= 0.0) {
            return Err(OperatorError::state("a width must be above 0"));
        }
        Ok(Box::new(Scale { median, width }))
    }
}

impl Fitted for Scale {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.median.len())?;
        let mut columns = Vec::with_capacity(self.median.len());
        for (index, (&median, &width)) in self.median.iter().zip(&self.width).enumerate() {
            // A new row may lie so far out that the quotient leaves f32; columns are never infinite.
            let scale = |&value: &f32| ((value - median) / width).clamp(f32::MIN, f32::MAX);
            columns.push(Arc::new(Column::new(Values::Numeric(x.numeric(index)?.iter().map(scale).collect()))));
        }
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        state.put_array("median", Array::F32(self.median.clone()));
        state.put_array("width", Array::F32(self.width.clone()));
    }
}

/// The value at a share of the way through sorted values, between two of them by line; 0 where there are none.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let position = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).map_or(0.0, |&value| f64::from(value));
    let (below, above) = (at(position.floor()), at(position.ceil()));
    (below + (above - below) * position.fract()) as f32
}

#[cfg(test)]
mod tests {
    use automl_core::operator::defaults;
    use automl_core::{Operator, Value};
    use automl_ops::operator::Target;

    use super::*;

    fn fitted(x: &Frame, range: f64) -> Box<dyn Fitted> {
        let mut params = defaults(&RobustScale.params());
        params.insert("range".into(), Value::Float(range));
        let y = Target::Values(vec![0.0; x.rows()]);
        RobustScale.fit(&Fit { x, y: &y, weights: None, params: &params, seed: 0, cancel: &Cancel::new() }).unwrap()
    }

    #[test]
    fn an_outlier_moves_nothing_and_a_constant_stays_finite() {
        let rows = [0.0, 7.0, 1.0, 7.0, 2.0, 7.0, 3.0, 7.0, 1e6, 7.0];
        let x = Frame::from_rows(&rows, 2);
        let scaled = fitted(&x, 0.5).apply(&x, &Cancel::new()).unwrap();
        assert_eq!(scaled.numeric(0).unwrap()[..4], [-1.0, -0.5, 0.0, 0.5]);
        assert_eq!(scaled.numeric(1).unwrap(), [0.0; 5]);
    }

    #[test]
    fn quantiles_lie_between_values() {
        let sorted = [0.0, 1.0, 2.0, 4.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&sorted, share)), [0.0, 1.5, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let x = Frame::from_rows(&[1.0, 2.0, 3.0], 1);
        let mut state = State::default();
        fitted(&x, 0.5).save(&mut state);
        assert!(RobustScale.load(&state).is_ok());
        for width in [vec![0.0], vec![f32::NAN], vec![1.0, 1.0], vec![]] {
            let mut damaged = state.clone();
            damaged.put_array("width", Array::F32(width));
            assert!(RobustScale.load(&damaged).is_err());
        }
    }
}
