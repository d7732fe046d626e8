//! Cuts each column into bins: a number a bin, or a column of 0 and 1 for each.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params, Value};

use super::columnwise::{ascending, check_cells, check_rows, each_column, lists, numbers, put_lists, zeros};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame};
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, quantiles, sample_rows, sorted};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Bin;

crate::describe! {
    Bin: "bin", "Cuts each column into bins",
    reads [DENSE], emits DENSE,
    params [
        Param::choice("cuts", &["quantile", "uniform"]).about("bins with equally many training rows, or of equal width"),
        Param::int("bins", 2, 32, 8).log().about("bins of one column, at most"),
        Param::choice("encoding", &["one_hot", "ordinal"]).about("a column of 0 and 1 for each bin, or the number of the bin"),
    ]
}

crate::tabular_operator!(Bin);

struct Edges {
    /// Inner edges of each column, ascending; a value belongs to the bin above its last edge that is not above it.
    edges: Vec<Vec<f32>>,
    one_hot: bool,
}

impl TabularOperator for Bin {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let bins = if let Some(Value::Int(bins)) = params.get("bins") { *bins as f64 } else { 8.0 };
        let each = if params.get("encoding") == Some(&Value::from("ordinal")) { 1.0 } else { bins };
        let cost = Cost::of_cells(shape, 25.0 + 2.0 * each, 4.0 * each).and_bytes(16.0 * shape.rows.min(ROWS as f64));
        cost.emitting(each * shape.columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let (uniform, bins) = (fit.text("cuts")? == "uniform", fit.int("bins")?.max(2));
        let one_hot = fit.text("encoding")? == "one_hot";
        let rows = if uniform { None } else { sample_rows(fit.x.rows(), ROWS, fit.seed) };
        let edges = each_column(fit.x, fit.cancel, |_, values| {
            let mut edges = if uniform {
                let low = f64::from(values.iter().copied().fold(f32::MAX, f32::min));
                let high = f64::from(values.iter().copied().fold(f32::MIN, f32::max));
                (0..=bins).map(|edge| (low + (high - low) * edge as f64 / bins as f64) as f32).collect()
            } else {
                quantiles(&sorted(values, rows.as_deref()), bins + 1)
            };
            // The outer edges bound nothing; an edge at the smallest value would leave an empty bin below it.
            let low = edges.first().copied().unwrap_or(0.0);
            edges.pop();
            edges.retain(|&edge| edge > low);
            edges.dedup();
            Ok(edges)
        })?;
        let fitted = Edges { edges, one_hot };
        check_cells(fit.x.rows(), fitted.columns())?;
        Ok(Box::new(fitted))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let edges = lists(state, "edges")?;
        if !edges.iter().all(|list| ascending(list)) {
            return Err(OperatorError::state("the edges of a column fall"));
        }
        Ok(Box::new(Edges { edges, one_hot: state.get("one_hot")? }))
    }
}

impl Edges {
    fn columns(&self) -> usize {
        self.edges.iter().map(|edges| if self.one_hot { edges.len() + 1 } else { 1 }).sum()
    }

    fn encode(&self, values: &[f32], edges: &[f32]) -> Vec<Arc<Column>> {
        let bin = |&value: &f32| edges.partition_point(|&edge| edge <= value);
        if !self.one_hot {
            return vec![numbers(values.iter().map(|value| bin(value) as f32).collect())];
        }
        let mut columns = zeros(values.len(), edges.len() + 1);
        for (row, value) in values.iter().enumerate() {
            if let Some(cell) = columns.get_mut(bin(value)).and_then(|column| column.get_mut(row)) {
                *cell = 1.0;
            }
        }
        columns.into_iter().map(numbers).collect()
    }
}

impl Fitted for Edges {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.edges.len())?;
        check_cells(x.rows(), self.columns())?;
        let encoded =
            each_column(
                x,
                cancel,
                |index, values| Ok(self.encode(values, self.edges.get(index).map_or(&[][..], |edges| edges))),
            )?;
        Frame::new(x.rows(), encoded.into_iter().flatten().collect())
    }

    fn save(&self, state: &mut State) {
        put_lists(state, "edges", &self.edges);
        state.put("one_hot", self.one_hot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_an_edge_belongs_above_it() {
        let bins = Edges { edges: vec![vec![1.0, 3.0]], one_hot: true };
        let x = Frame::from_rows(&[-9.0, 1.0, 2.9, 3.0, 99.0], 1);
        let bin = |one_hot| Edges { one_hot, ..Edges { edges: bins.edges.clone(), one_hot } }.apply(&x, &Cancel::new()).unwrap();
        assert_eq!(bin(false).numeric(0).unwrap(), [0.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(bin(true).numeric(1).unwrap(), [0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(bin(true).columns().len(), 3);
    }
}
