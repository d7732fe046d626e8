//! Categories rarer than a share of the rows become one.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params};

use super::columnwise::{Types, counts, go_on};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, MISSING, Values};
use crate::kinds::RAW;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct RareLevels;

crate::describe! {
    RareLevels: "rare_levels", "Rare categories become one; other columns stay",
    reads [RAW], emits RAW,
    params [
        Param::float("share", 0.001, 0.1, 0.01).log().about("share of the training rows below which a category is rare"),
    ]
}

crate::tabular_operator!(RareLevels);

struct Frequent {
    types: Types,
    /// For each categorical column the categories that stay, ascending.
    kept: Vec<Vec<u32>>,
}

impl TabularOperator for RareLevels {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::Category { .. }))
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 3.0, 4.0).and_bytes(8.0 * shape.levels)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let least = fit.float("share")? * fit.x.rows() as f64;
        let mut kept = Vec::new();
        for column in fit.x.columns() {
            go_on(fit.cancel)?;
            let Values::Category { codes, levels } = column.values() else { continue };
            let counts = counts(codes, *levels);
            let frequent = (0..*levels).zip(&counts).filter(|(_, count)| **count > 0 && f64::from(**count) >= least);
            kept.push(frequent.map(|(level, _)| level).collect());
        }
        Ok(Box::new(Frequent { types: Types::of(fit.x), kept }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (types, lengths) = (Types::load(state)?, state.u32s("lengths")?);
        let (mut rest, mut kept) = (state.u32s("kept")?, Vec::new());
        for &length in lengths {
            let damaged = || OperatorError::state("`kept` is too short");
            let (own, others) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
            if own.contains(&MISSING) || !own.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
                return Err(OperatorError::state("categories are not ascending"));
            }
            rest = others;
            kept.push(own.to_vec());
        }
        Ok(Box::new(Frequent { types, kept }))
    }
}

impl Fitted for Frequent {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        self.types.check(x)?;
        let mut kept = self.kept.iter();
        let encode = |column: &Arc<Column>| {
            go_on(cancel)?;
            let Values::Category { codes, .. } = column.values() else { return Ok(column.clone()) };
            let kept = kept.next().map_or(&[][..], |kept| kept);
            let rare = u32::try_from(kept.len()).unwrap_or(MISSING - 1);
            let code = |&code: &u32| match kept.binary_search(&code) {
                Ok(place) => u32::try_from(place).unwrap_or(rare),
                Err(_) if code == MISSING => MISSING,
                Err(_) => rare,
            };
            // A category that training did not show counts as a rare one.
            let values = Values::Category { codes: codes.iter().map(code).collect(), levels: rare + 1 };
            Ok(Arc::new(Column::new(values)))
        };
        Frame::new(x.rows(), x.columns().iter().map(encode).collect::<Result<_, OperatorError>>()?)
    }

    fn save(&self, state: &mut State) {
        self.types.save(state);
        let length = |kept: &Vec<u32>| u32::try_from(kept.len()).unwrap_or(u32::MAX);
        state.put_array("lengths", Array::U32(self.kept.iter().map(length).collect()));
        state.put_array("kept", Array::U32(self.kept.concat()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_and_unseen_categories_become_the_last() {
        let column = |codes: Vec<u32>| vec![Arc::new(Column::new(Values::Category { codes, levels: 9 }))];
        let x = Frame::new(5, column(vec![3, 7, 1, 8, MISSING])).unwrap();
        let fitted = Frequent { types: Types::of(&x), kept: vec![vec![3, 8]] };
        let out = fitted.apply(&x, &Cancel::new()).unwrap();
        assert_eq!(out.columns()[0].values(), &Values::Category { codes: vec![0, 2, 2, 1, MISSING], levels: 3 });
    }
}
