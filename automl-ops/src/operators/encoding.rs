//! What encoders share: for each column of a frame the numbers of its categories, or nothing for a column of numbers.

use std::sync::Arc;

use automl_core::Cancel;

use super::columnwise::{go_on, lists, put_lists};
use crate::frame::{Column, Frame, Values};
use crate::operator::OperatorError;
use crate::state::State;

/// The numbers of the categories of each column; `None` for a column of numbers.
pub(super) struct Tables(pub Vec<Option<Vec<f32>>>);

impl Tables {
    pub fn save(&self, state: &mut State) {
        state.put("categorical", self.0.iter().map(Option::is_some).collect::<Vec<_>>());
        put_lists(state, "numbers", &self.0.iter().flatten().cloned().collect::<Vec<_>>());
    }

    pub fn load(state: &State) -> Result<Self, OperatorError> {
        let categorical: Vec<bool> = state.get("categorical")?;
        let mut lists = lists(state, "numbers")?.into_iter();
        let short = || OperatorError::state("a categorical column has no numbers");
        let table = |&categorical: &bool| if categorical { Ok(Some(lists.next().ok_or_else(short)?)) } else { Ok(None) };
        Ok(Self(categorical.iter().map(table).collect::<Result<_, OperatorError>>()?))
    }
}

/// Columns of numbers as they are, and what `encode` makes of the codes and the table of each categorical column.
pub(super) fn encode(
    x: &Frame,
    tables: &Tables,
    cancel: &Cancel,
    mut encode: impl FnMut(&[u32], &[f32], &mut Vec<Arc<Column>>),
) -> Result<Frame, OperatorError> {
    x.expect_width(tables.0.len())?;
    let mut columns = Vec::with_capacity(x.columns().len());
    for (column, table) in x.columns().iter().zip(&tables.0) {
        go_on(cancel)?;
        match (column.values(), table) {
            (Values::Numeric(_), None) => columns.push(column.clone()),
            (Values::Category { codes, .. }, Some(table)) => encode(codes, table, &mut columns),
            _ => return Err(OperatorError::Kind { expected: "the column types of the training table" }),
        }
    }
    Frame::new(x.rows(), columns)
}
