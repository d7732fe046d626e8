//! Categories as numbers, ordered by frequency or by name.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{counts, go_on, numbers};
use super::encoding::{Tables, encode};
use crate::cost::{Cost, Shape};
use crate::frame::{Frame, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Ordinal;

crate::describe! {
    Ordinal: "ordinal", "Categories as numbers, ordered by frequency or by name",
    reads [RAW], emits NUMERIC,
    params [
        Param::choice("order", &["frequency", "name"]).about("the most frequent first, or as the names are sorted"),
    ]
}

crate::tabular_operator!(Ordinal);

struct Ranks(Tables);

impl TabularOperator for Ordinal {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 1.0, 4.0).and_bytes(24.0 * shape.levels)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let by_name = fit.text("order")? == "name";
        let mut tables = Vec::new();
        for column in fit.x.basic().columns() {
            go_on(fit.cancel)?;
            let Values::Category { codes, levels } = column.values() else {
                tables.push(None);
                continue;
            };
            let counts = counts(codes, *levels);
            let mut order: Vec<usize> = (0..*levels as usize).collect();
            if !by_name {
                order.sort_by_key(|&level| std::cmp::Reverse(counts.get(level)));
            }
            let mut ranks = vec![0.0; order.len()];
            for (rank, level) in order.into_iter().enumerate() {
                if let Some(place) = ranks.get_mut(level) {
                    *place = rank as f32;
                }
            }
            tables.push(Some(ranks));
        }
        Ok(Box::new(Ranks(Tables(tables))))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(Ranks(Tables::load(state)?)))
    }
}

impl Fitted for Ranks {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        encode(&x.basic(), &self.0, cancel, |codes, ranks, columns| {
            // A missing or unseen category stays missing.
            let number = |&code: &u32| ranks.get(code as usize).copied().unwrap_or(f32::NAN);
            columns.push(numbers(codes.iter().map(number).collect()));
        })
    }

    fn save(&self, state: &mut State) {
        self.0.save(state);
    }
}
