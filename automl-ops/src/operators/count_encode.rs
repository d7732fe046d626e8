//! Categories as numbers that say how frequent they are.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{counts, go_on, lookup, numbers};
use super::encoding::{Tables, encode};
use crate::cost::{Cost, Shape};
use crate::frame::{Frame, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct CountEncode;

crate::describe! {
    CountEncode: "count_encode", "Categories as numbers that say how frequent they are",
    reads [RAW], emits NUMERIC,
    params [
        Param::choice("unit", &["log", "share", "count"]).about("logarithm of one plus the training rows, their share, or their number"),
    ]
}

crate::tabular_operator!(CountEncode);

struct Counts(Tables);

impl TabularOperator for CountEncode {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::Category { .. }))
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 1.0, 4.0).and_bytes(8.0 * shape.levels)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (unit, rows) = (fit.text("unit")?, fit.x.rows().max(1) as f64);
        let value = |count: u32| match unit {
            "count" => count as f32,
            "share" => (f64::from(count) / rows) as f32,
            _ => f64::from(count).ln_1p() as f32,
        };
        let mut tables = Vec::new();
        for column in fit.x.basic().columns() {
            go_on(fit.cancel)?;
            let Values::Category { codes, levels } = column.values() else {
                tables.push(None);
                continue;
            };
            tables.push(Some(counts(codes, *levels).into_iter().map(value).collect()));
        }
        Ok(Box::new(Counts(Tables(tables))))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(Counts(Tables::load(state)?)))
    }
}

impl Fitted for Counts {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        encode(&x.basic(), &self.0, cancel, |codes, table, columns| {
            // A category that training did not show was counted no times.
            columns.push(numbers(codes.iter().map(|&code| lookup(table, code, 0.0)).collect()));
        })
    }

    fn save(&self, state: &mut State) {
        self.0.save(state);
    }
}
