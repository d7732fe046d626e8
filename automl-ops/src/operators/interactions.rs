//! Adds products, differences and ratios of the pairs of columns that say more about the target than either column.

use automl_core::{Cancel, Param, Params};

use super::damaged;
use super::number;
use super::shared::{columns, frame, put_standard, response, standard};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::interactions::{self, Kind, PAIRED, Pair, ROWS};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Interactions;

crate::describe! {
    Interactions: "interactions", "Adds products, differences and ratios of columns that say more about the target together",
    reads [DENSE], emits DENSE,
    params [
        Param::int("columns", 2, 50, 10).log().about("most columns that are added"),
        Param::choice("kinds", &["all", "products", "differences_and_ratios"]).about("what is made of a pair"),
    ]
}

crate::tabular_operator!(Interactions);

struct FittedInteractions(interactions::Interactions);

impl TabularOperator for Interactions {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let (paired, made) = (shape.columns.min(PAIRED as f64), number(params, "columns", 0.0));
        let each = 1.2e-9 * shape.rows.min(ROWS as f64);
        Cost::of_cells(shape, 3.0, 0.0)
            .and_seconds(each * (4.0 * 0.5 * paired * paired + shape.columns) + 2e-9 * made * shape.rows)
            .and_bytes(8.0 * ROWS as f64 * paired + 16.0 * shape.rows * made)
            .emitting(shape.columns + made)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let kinds = match fit.text("kinds")? {
            "products" => &[Kind::Product][..],
            "differences_and_ratios" => &[Kind::Difference, Kind::Ratio],
            _ => &[Kind::Product, Kind::Difference, Kind::Ratio],
        };
        let found = interactions::fit(&columns(fit.x)?, &response(fit)?, fit.int("columns")?, kinds, fit.seed, fit.cancel)?;
        Ok(Box::new(FittedInteractions(found)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (kinds, first, second) = (state.u8s("kinds")?, state.u32s("first")?, state.u32s("second")?);
        let floors = state.finite("floors", Some(kinds.len()))?;
        if first.len() != kinds.len() || second.len() != kinds.len() {
            return Err(OperatorError::state("the pairs and their kinds differ in number"));
        }
        let pair = |(((&kind, &first), &second), floor): (((&u8, &u32), &u32), f32)| {
            let kind = match kind {
                0 => Kind::Product,
                1 => Kind::Difference,
                2 => Kind::Ratio,
                _ => return Err(OperatorError::state(format!("there is no kind {kind} of pair"))),
            };
            Ok(Pair { kind, first: first as usize, second: second as usize, floor })
        };
        let pairs = kinds.iter().zip(first).zip(second).zip(floors).map(pair).collect::<Result<_, _>>()?;
        let found = interactions::Interactions { standard: standard(state)?, pairs };
        found.check().map_err(damaged)?;
        Ok(Box::new(FittedInteractions(found)))
    }
}

impl Fitted for FittedInteractions {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let made = frame(x.rows(), self.0.transform(&columns(x)?, cancel)?)?;
        Ok(Frame::union([x, &made]))
    }

    fn save(&self, state: &mut State) {
        put_standard(state, &self.0.standard);
        let kind = |pair: &Pair| match pair.kind {
            Kind::Product => 0,
            Kind::Difference => 1,
            Kind::Ratio => 2,
        };
        let pairs = &self.0.pairs;
        state.put_array("kinds", Array::U8(pairs.iter().map(kind).collect()));
        state.put_array("first", Array::U32(pairs.iter().map(|pair| pair.first as u32).collect()));
        state.put_array("second", Array::U32(pairs.iter().map(|pair| pair.second as u32).collect()));
        state.put_array("floors", Array::F32(pairs.iter().map(|pair| pair.floor).collect()));
    }
}
