//! Drops columns that say almost the same as another.

use automl_core::{Param, Params, Value};

use super::shared::{Selected, columns};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::correlation::{self, sampled};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct CorrelationFilter;

crate::describe! {
    CorrelationFilter: "correlation_filter", "Drops columns that correlate with another one",
    reads [DENSE], emits DENSE,
    params [
        Param::float("threshold", 0.5, 0.999, 0.95).about("correlation, whatever its sign, above which one of two columns goes"),
        Param::choice("method", &["pearson", "spearman"]).about("of the values, or of their ranks"),
    ]
}

crate::tabular_operator!(CorrelationFilter);

impl TabularOperator for CorrelationFilter {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let rows = shape.rows.min(sampled(shape.columns as usize) as f64);
        let ranks = params.get("method") == Some(&Value::Text("spearman".into()));
        let each = if ranks { 40.0 } else { 3.0 } + 0.025 * shape.columns;
        Cost::of_cells(shape, 5.0, 0.0)
            .and_seconds(1e-9 * rows * shape.columns * each)
            .and_bytes(12.0 * rows * shape.columns + 512.0 * shape.columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let ranks = fit.text("method")? == "spearman";
        let kept = correlation::distinct(&x, fit.float("threshold")?, ranks, fit.seed, fit.cancel)?;
        Ok(Selected::fitted(kept, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
