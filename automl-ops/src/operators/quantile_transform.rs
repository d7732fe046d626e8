//! Ranks among the quantiles of training, uniform or as a normal distribution would have them.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{ascending, check_rows, each_column, lists, map_columns, numbers, put_lists};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, normal, quantiles, rank, sample_rows, sorted};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct QuantileTransform;

crate::describe! {
    QuantileTransform: "quantile_transform", "Replaces each value by its rank, uniform or normal",
    reads [DENSE], emits DENSE,
    params [
        Param::choice("output", &["normal", "uniform"]).about("the distribution that the training values get"),
        Param::int("quantiles", 10, 1000, 1000).log().about("quantiles between which ranks are interpolated, at most"),
    ]
}

crate::tabular_operator!(QuantileTransform);

struct Ranks {
    quantiles: Vec<Vec<f32>>,
    normal: bool,
}

impl TabularOperator for QuantileTransform {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 60.0, 4.0).and_bytes(16.0 * shape.rows.min(ROWS as f64))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let normal = fit.text("output")? == "normal";
        let count = fit.int("quantiles")?.min(fit.x.rows()).max(1);
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let quantiles = each_column(fit.x, fit.cancel, |_, values| Ok(quantiles(&sorted(values, rows.as_deref()), count)))?;
        Ok(Box::new(Ranks { quantiles, normal }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let quantiles = lists(state, "quantiles")?;
        if !quantiles.iter().all(|list| ascending(list)) {
            return Err(OperatorError::state("the quantiles of a column fall"));
        }
        Ok(Box::new(Ranks { quantiles, normal: state.get("normal")? }))
    }
}

impl Fitted for Ranks {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        map_columns(x, self.quantiles.len(), cancel, |index, values| {
            let quantiles = self.quantiles.get(index).map_or(&[][..], |list| list);
            Ok(numbers(if self.normal {
                values.iter().map(|&value| normal(rank(quantiles, value)) as f32).collect()
            } else {
                values.iter().map(|&value| rank(quantiles, value) as f32).collect()
            }))
        })
    }

    fn save(&self, state: &mut State) {
        put_lists(state, "quantiles", &self.quantiles);
        state.put("normal", self.normal);
    }
}
