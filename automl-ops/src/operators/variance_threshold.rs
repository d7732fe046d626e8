//! Drops columns that hardly vary.

use automl_core::Param;

use super::shared::{Selected, columns};
use crate::kinds::DENSE;
use crate::learn::correlation::scaled_variance;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct VarianceThreshold;

crate::describe! {
    VarianceThreshold: "variance_threshold", "Drops columns that hardly vary",
    reads [DENSE], emits DENSE,
    params [
        Param::float("threshold", 1e-7, 0.1, 1e-7)
            .log()
            .about("variance that a column exceeds once its range is scaled to 1; a share `p` of ones has variance `p (1 - p)`"),
    ]
}

crate::tabular_operator!(VarianceThreshold);

impl TabularOperator for VarianceThreshold {
    fn cost(&self, shape: &crate::cost::Shape, _: &automl_core::Params) -> crate::cost::Cost {
        crate::cost::Cost::of_cells(shape, 1.0, 0.0).and_bytes(16.0 * shape.columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (x, threshold) = (columns(fit.x)?, fit.float("threshold")?);
        let mut kept = Vec::new();
        let mut best = (0, -1.0);
        for (index, column) in x.iter().enumerate() {
            if fit.cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            let variance = scaled_variance(column);
            if variance > threshold {
                kept.push(index);
            }
            if variance > best.1 {
                best = (index, variance);
            }
        }
        if x.width() == 0 {
            return Err(OperatorError::Infeasible("there are no columns to select from".into()));
        }
        // The column that varies most stays in any case.
        Ok(Selected::fitted(if kept.is_empty() { vec![best.0] } else { kept }, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
