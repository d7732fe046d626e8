//! Categories as numbers, ordered by frequency.

use std::sync::Arc;

use automl_core::Cancel;

use crate::frame::{Column, Frame, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Ordinal;

crate::describe! {
    Ordinal: "ordinal", "Categories as numbers, ordered by frequency",
    reads [RAW], emits NUMERIC,
    params []
}

crate::tabular_operator!(Ordinal);

/// For each column the number of each category, or nothing for a column of numbers.
struct Ranks(Vec<Option<Vec<f32>>>);

impl TabularOperator for Ordinal {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let ranks = |column: &Arc<Column>| {
            let Values::Category { codes, levels } = column.values() else { return None };
            let mut counts = vec![0_u32; *levels as usize];
            for &code in codes {
                if let Some(count) = counts.get_mut(code as usize) {
                    *count += 1;
                }
            }
            let mut order: Vec<usize> = (0..counts.len()).collect();
            order.sort_by_key(|&level| std::cmp::Reverse(counts[level]));
            let mut ranks = vec![0.0; counts.len()];
            for (rank, level) in order.into_iter().enumerate() {
                ranks[level] = rank as f32;
            }
            Some(ranks)
        };
        Ok(Box::new(Ranks(fit.x.basic().columns().iter().map(ranks).collect())))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let categorical: Vec<bool> = state.get("categorical")?;
        let ranks = categorical
            .iter()
            .enumerate()
            .map(|(index, &categorical)| categorical.then(|| state.finite(&format!("ranks.{index}"), None)).transpose());
        Ok(Box::new(Ranks(ranks.collect::<Result<_, _>>()?)))
    }
}

impl Fitted for Ranks {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.basic();
        x.expect_width(self.0.len())?;
        let encode = |(column, ranks): (&Arc<Column>, &Option<Vec<f32>>)| match (column.values(), ranks) {
            (Values::Numeric(_), None) => Ok(column.clone()),
            (Values::Category { codes, .. }, Some(ranks)) => {
                // A missing or unseen category stays missing.
                let number = |&code: &u32| ranks.get(code as usize).copied().unwrap_or(f32::NAN);
                Ok(Arc::new(Column::new(Values::Numeric(codes.iter().map(number).collect()))))
            }
            _ => Err(OperatorError::Kind { expected: "the column types of the training table" }),
        };
        Frame::new(x.rows(), x.columns().iter().zip(&self.0).map(encode).collect::<Result<_, _>>()?)
    }

    fn save(&self, state: &mut State) {
        state.put("categorical", self.0.iter().map(Option::is_some).collect::<Vec<_>>());
        for (index, ranks) in self.0.iter().enumerate() {
            if let Some(ranks) = ranks {
                state.put_array(&format!("ranks.{index}"), Array::F32(ranks.clone()));
            }
        }
    }
}
