//! One column of 0 and 1 for each frequent category; rare categories share one.

use std::sync::Arc;

use automl_core::{Cancel, Param};

use crate::frame::{Column, Frame, Values};
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
    ]
}

crate::tabular_operator!(OneHot);

/// For each categorical column the categories with a column of their own, and whether the others share one.
struct Levels {
    /// Column index, then its categories, for every categorical column.
    columns: Vec<(u32, Vec<u32>, bool)>,
    width: usize,
}

impl TabularOperator for OneHot {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (max_levels, min_count) = (fit.int("max_levels")?, fit.int("min_count")?);
        let x = fit.x.basic();
        let mut columns = Vec::new();
        for (index, column) in x.columns().iter().enumerate() {
            let Values::Category { codes, levels } = column.values() else { continue };
            let mut counts = vec![0_usize; *levels as usize];
            for &code in codes {
                if let Some(count) = counts.get_mut(code as usize) {
                    *count += 1;
                }
            }
            let mut frequent: Vec<u32> = (0..*levels).filter(|&level| counts[level as usize] >= min_count.max(1)).collect();
            frequent.sort_by_key(|&level| std::cmp::Reverse(counts[level as usize]));
            frequent.truncate(max_levels);
            frequent.sort_unstable();
            let seen = counts.iter().filter(|count| **count > 0).count();
            let shared = frequent.len() < seen;
            columns.push((u32::try_from(index).unwrap_or(u32::MAX), frequent, shared));
        }
        Ok(Box::new(Levels { columns, width: x.columns().len() }))
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
            columns.push((index, state.u32s(&format!("levels.{position}"))?.to_vec(), shared));
        }
        Ok(Box::new(Levels { columns, width }))
    }
}

impl Fitted for Levels {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.basic();
        x.expect_width(self.width)?;
        let mut encoded: Vec<Arc<Column>> = Vec::new();
        let mut categorical = self.columns.iter().peekable();
        for (index, column) in x.columns().iter().enumerate() {
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

/// A missing category has 0 everywhere; a rare or unseen one has 1 in the shared column, if there is one.
fn encode(codes: &[u32], levels: &[u32], shared: bool, encoded: &mut Vec<Arc<Column>>) {
    let mut columns = vec![vec![0.0_f32; codes.len()]; levels.len() + usize::from(shared)];
    for (row, &code) in codes.iter().enumerate() {
        let place = match levels.binary_search(&code) {
            Ok(place) => place,
            Err(_) if code == crate::frame::MISSING => continue,
            Err(_) => levels.len(),
        };
        if let Some(column) = columns.get_mut(place) {
            column[row] = 1.0;
        }
    }
    encoded.extend(columns.into_iter().map(|values| Arc::new(Column::new(Values::Numeric(values)))));
}
