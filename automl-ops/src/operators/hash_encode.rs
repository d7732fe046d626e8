//! Categories of all columns hashed into a few signed columns (Weinberger et al., “Feature hashing for large scale multitask
//! learning”, 2009), whatever their number.

use automl_core::hash::StableHash;
use automl_core::{Cancel, Param, Params, Value};

use super::columnwise::{check_cells, go_on, numbers, zeros};
use crate::cost::{Cost, Shape};
use crate::frame::{Frame, MISSING, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct HashEncode;

crate::describe! {
    HashEncode: "hash_encode", "Categories of all columns, hashed into a few signed columns",
    reads [RAW], emits NUMERIC,
    params [
        Param::int("columns", 8, 256, 32).log().about("columns that all categories of a row become together"),
        Param::int("hashes", 1, 4, 2).about("columns that one category touches; more tell more categories apart"),
    ]
}

crate::tabular_operator!(HashEncode);

struct Hashed {
    categorical: Vec<bool>,
    columns: usize,
    hashes: u32,
    seed: u64,
}

impl TabularOperator for HashEncode {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::Category { .. }))
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let columns = if let Some(Value::Int(columns)) = params.get("columns") { *columns as f64 } else { 32.0 };
        let cost = Cost::of_cells(shape, 6.0, 0.1).and_seconds(0.5e-9 * columns * shape.rows);
        cost.and_bytes(4.0 * columns * shape.rows).emitting(shape.columns + columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = fit.x.basic();
        let categorical: Vec<bool> =
            x.columns().iter().map(|column| matches!(column.values(), Values::Category { .. })).collect();
        // Where there is nothing to hash, there is nothing to add.
        let columns = if categorical.contains(&true) { fit.int("columns")?.max(1) } else { 0 };
        check_cells(x.rows(), columns)?;
        let hashes = u32::try_from(fit.int("hashes")?).unwrap_or(1).clamp(1, 16);
        Ok(Box::new(Hashed { categorical, columns, hashes, seed: fit.seed }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (categorical, columns): (Vec<bool>, usize) = (state.get("categorical")?, state.get("columns")?);
        let (hashes, seed) = (state.get("hashes")?, state.get("seed")?);
        if columns > 1 << 16 || !(1..=16).contains(&hashes) || categorical.contains(&true) == (columns == 0) {
            return Err(OperatorError::state("`columns` or `hashes` is out of range"));
        }
        Ok(Box::new(Hashed { categorical, columns, hashes, seed }))
    }
}

impl Fitted for Hashed {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.basic();
        x.expect_width(self.categorical.len())?;
        check_cells(x.rows(), self.columns)?;
        let mut columns = Vec::with_capacity(x.columns().len() + self.columns);
        let mut block = zeros(x.rows(), self.columns);
        for (index, (column, &categorical)) in (0_u64..).zip(x.columns().iter().zip(&self.categorical)) {
            go_on(cancel)?;
            let codes = match (column.values(), categorical) {
                (Values::Numeric(_), false) => {
                    columns.push(column.clone());
                    continue;
                }
                (Values::Category { codes, .. }, true) => codes,
                _ => return Err(OperatorError::Kind { expected: "the column types of the training table" }),
            };
            for hash in 0..self.hashes {
                go_on(cancel)?;
                let salt = StableHash::new("hash_encode").number(self.seed).number(index).number(u64::from(hash));
                for (row, &code) in codes.iter().enumerate().filter(|(_, code)| **code != MISSING) {
                    let hash = salt.number(u64::from(code)).finish();
                    // The highest bits choose the column, the lowest the sign.
                    let place = (u128::from(hash) * self.columns as u128) >> 64;
                    if let Some(cell) = block.get_mut(place as usize).and_then(|column| column.get_mut(row)) {
                        *cell += if hash & 1 == 1 { 1.0 } else { -1.0 };
                    }
                }
            }
        }
        columns.extend(block.into_iter().map(numbers));
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        state.put("categorical", &self.categorical);
        state.put("columns", self.columns);
        state.put("hashes", self.hashes);
        state.put("seed", self.seed);
    }
}
