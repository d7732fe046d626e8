//! One column of 0 and 1 for each frequent category; rare categories share one.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params, Value};

use super::columnwise::{check_cells, counts, go_on, numbers, zeros};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, MISSING, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct OneHot;

crate::describe! {
    OneHot: "one_hot", "One column of 0 and 1 for each frequent category",
    reads [RAW], emits NUMERIC,
    params [
        Param::int("max_levels", 2, 128, 32).log().about("columns for one categorical column, at most; the rest share one"),
        Param::int("min_count", 1, 50, 2).log().about("training rows that a category needs for a column of its own"),
        Param::switch("missing", false).about("whether missing values get a column of their own, where training had any"),
    ]
}

crate::tabular_operator!(OneHot);

/// For each categorical column the categories with a column of their own, and whether the others share one.
struct Levels {
    /// Column index, its categories, ascending, and whether the others share a column, for every categorical column. Missing
    /// values with a column of their own are the last category.
    columns: Vec<(u32, Vec<u32>, bool)>,
    width: usize,
}

impl TabularOperator for OneHot {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let most = if let Some(Value::Int(most)) = params.get("max_levels") { *most as f64 } else { 32.0 };
        // Categories spread evenly over the columns, as far as is known.
        let added = shape.levels.min(most * shape.columns);
        let cost = Cost::of_cells(shape, 1.0, 0.1).and_seconds(1.7e-9 * added * shape.rows);
        cost.and_bytes(4.0 * added * shape.rows + 8.0 * shape.levels).emitting(shape.columns + added)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (max_levels, min_count) = (fit.int("max_levels")?, fit.int("min_count")?);
        let own_missing = fit.switch("missing")?;
        let x = fit.x.basic();
        let mut columns = Vec::new();
        for (index, column) in x.columns().iter().enumerate() {
            let Values::Category { codes, levels } = column.values() else { continue };
            go_on(fit.cancel)?;
            let counts = counts(codes, *levels);
            let count = |level: u32| counts.get(level as usize).map_or(0, |&count| count as usize);
            let mut frequent: Vec<u32> = (0..*levels).filter(|&level| count(level) >= min_count.max(1)).collect();
            frequent.sort_by_key(|&level| std::cmp::Reverse(count(level)));
            frequent.truncate(max_levels);
            frequent.sort_unstable();
            let seen = (0..*levels).filter(|&level| count(level) > 0).count();
            let shared = frequent.len() < seen;
            if own_missing && count(*levels) > 0 {
                frequent.push(MISSING);
            }
            columns.push((u32::try_from(index).unwrap_or(u32::MAX), frequent, shared));
        }
        let levels = Levels { columns, width: x.columns().len() };
        check_cells(x.rows(), levels.emitted())?;
        Ok(Box::new(levels))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let width: usize = state.get("width")?;
        let shared: Vec<bool> = state.get("shared")?;
        let mut columns = Vec::new();
        for (position, &index) in state.u32s("columns")?.iter().enumerate() {
            let shared = *shared.get(position).ok_or_else(|| OperatorError::state("`shared` is too short"))?;
            if index as usize >= width {
                return Err(OperatorError::state("a categorical column lies beyond the last"));
            }
            let levels = state.u32s(&format!("levels.{position}"))?.to_vec();
            if !levels.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
                return Err(OperatorError::state("categories are not ascending"));
            }
            columns.push((index, levels, shared));
        }
        Ok(Box::new(Levels { columns, width }))
    }
}

impl Levels {
    fn emitted(&self) -> usize {
        self.columns.iter().map(|(_, levels, shared)| levels.len() + usize::from(*shared)).sum()
    }
}

impl Fitted for Levels {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.basic();
        x.expect_width(self.width)?;
        check_cells(x.rows(), self.emitted())?;
        let mut encoded: Vec<Arc<Column>> = Vec::new();
        let mut categorical = self.columns.iter().peekable();
        for (index, column) in x.columns().iter().enumerate() {
            go_on(cancel)?;
            match (column.values(), categorical.next_if(|(at, ..)| *at as usize == index)) {
                (Values::Numeric(_), None) => encoded.push(column.clone()),
                (Values::Category { codes, .. }, Some((_, levels, shared))) => {
                    encode(codes, levels, *shared, &mut encoded);
                }
                _ => return Err(OperatorError::Kind { expected: "the column types of the training table" }),
            }
        }
        Frame::new(x.rows(), encoded)
    }

    fn save(&self, state: &mut State) {
        state.put("width", self.width);
        state.put_array("columns", Array::U32(self.columns.iter().map(|(index, ..)| *index).collect()));
        state.put("shared", self.columns.iter().map(|(.., shared)| *shared).collect::<Vec<_>>());
        for (position, (_, levels, _)) in self.columns.iter().enumerate() {
            state.put_array(&format!("levels.{position}"), Array::U32(levels.clone()));
        }
    }
}

/// A missing category has 0 everywhere, unless it has a column of its own; a rare or unseen one has 1 in the shared column, if there is one.
fn encode(codes: &[u32], levels: &[u32], shared: bool, encoded: &mut Vec<Arc<Column>>) {
    let mut columns = zeros(codes.len(), levels.len() + usize::from(shared));
    for (row, &code) in codes.iter().enumerate() {
        let place = match levels.binary_search(&code) {
            Ok(place) => place,
            Err(_) if code == MISSING => continue,
            Err(_) => levels.len(),
        };
        if let Some(column) = columns.get_mut(place) {
            column[row] = 1.0;
        }
    }
    encoded.extend(columns.into_iter().map(numbers));
}
