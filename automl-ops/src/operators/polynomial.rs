//! Products of pairs of columns: a polynomial of degree 2.
//!
//! The columns themselves are passed on; products are of standardised columns, limited to ±1e9. Where there are more pairs than
//! asked for, as many are drawn at random. Constant columns have no products.

use std::collections::BTreeSet;
use std::sync::Arc;

use automl_core::{Cancel, Param, Params, Value};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::number;
use super::shared::{columns, put_standard, standard};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, Values};
use crate::kinds::DENSE;
use crate::learn::columns::Standard;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

/// Deviations beyond which a standardised value counts no further.
const REACH: f64 = 1e9;

struct Polynomial;

crate::describe! {
    Polynomial: "polynomial", "Adds products of pairs of columns",
    reads [DENSE], emits DENSE,
    params [
        Param::switch("squares", true).about("whether a column is multiplied with itself, too"),
        Param::int("products", 20, 2_000, 500).log().about("most products; beyond, as many pairs are drawn at random"),
    ]
}

crate::tabular_operator!(Polynomial);

struct FittedPolynomial {
    standard: Standard,
    pairs: Vec<(u32, u32)>,
}

impl TabularOperator for Polynomial {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let squares = params.get("squares") == Some(&Value::Bool(true));
        let pairs = 0.5 * shape.columns * (shape.columns + if squares { 1.0 } else { -1.0 });
        let products = number(params, "products", 0.0).min(pairs.max(0.0));
        Cost::of_cells(shape, 6.0, 4.0)
            .and_seconds(1e-9 * products * shape.rows)
            .and_bytes(4.0 * products * shape.rows + 1e5)
            .emitting(shape.columns + products)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let standard = Standard::fit(&columns(fit.x)?, fit.cancel)?;
        let varying: Vec<u32> =
            (0..).zip(&standard.inverse).filter(|(_, inverse)| **inverse > 0.0).map(|(index, _)| index).collect();
        let pairs = pairs(&varying, fit.switch("squares")?, fit.int("products")?, fit.seed);
        Ok(Box::new(FittedPolynomial { standard, pairs }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let standard = standard(state)?;
        let (first, second) = (state.u32s("first")?, state.u32s("second")?);
        let beyond = first.iter().chain(second).any(|&column| column as usize >= standard.width());
        if first.len() != second.len() || beyond {
            return Err(OperatorError::state("a product is of a column beyond the last"));
        }
        let pairs = first.iter().copied().zip(second.iter().copied()).collect();
        Ok(Box::new(FittedPolynomial { standard, pairs }))
    }
}

/// All pairs of columns, or `most` of them drawn without replacement (Floyd's method), in ascending order.
fn pairs(columns: &[u32], squares: bool, most: usize, seed: u64) -> Vec<(u32, u32)> {
    let n = columns.len() as u64;
    let all = if squares { n * (n + 1) / 2 } else { n * n.saturating_sub(1) / 2 };
    if all <= most as u64 {
        let from = usize::from(!squares);
        let with = |(index, &first): (usize, &u32)| columns.iter().skip(index + from).map(move |&second| (first, second));
        return columns.iter().enumerate().flat_map(with).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = BTreeSet::new();
    for last in all - most as u64..all {
        let index = rng.random_range(0..=last);
        if !drawn.insert(index) {
            drawn.insert(last);
        }
    }
    // Pair number `i` has the larger column `b` with `b (b + 1) / 2 <= i` (with squares), and the rest is the smaller one.
    let pair = |index: u64| {
        let mut larger = (((8.0 * index as f64 + 1.0).sqrt() - 1.0) / 2.0) as u64;
        while larger * (larger + 1) / 2 > index {
            larger -= 1;
        }
        while (larger + 1) * (larger + 2) / 2 <= index {
            larger += 1;
        }
        let smaller = index - larger * (larger + 1) / 2;
        let at = |place: u64| columns.get(place as usize).copied().unwrap_or(0);
        (at(smaller), at(larger + u64::from(!squares)))
    };
    let mut pairs: Vec<(u32, u32)> = drawn.into_iter().map(pair).collect();
    pairs.sort_unstable();
    pairs
}

impl Fitted for FittedPolynomial {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let data = columns(x)?;
        x.expect_width(self.standard.width())?;
        let mut out = x.columns().to_vec();
        // Each column is standardised once.
        let mut scaled: Vec<Vec<f32>> = vec![Vec::new(); data.width()];
        for column in self.pairs.iter().flat_map(|&(first, second)| [first as usize, second as usize]) {
            if let Some(values) = scaled.get_mut(column).filter(|values| values.is_empty()) {
                *values = self.standard.column(column, data.column(column), REACH);
            }
        }
        for &(first, second) in &self.pairs {
            if cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            let of = |column: u32| scaled.get(column as usize).map_or(&[][..], Vec::as_slice);
            let product = of(first).iter().zip(of(second)).map(|(a, b)| (a * b).clamp(-1e18, 1e18)).collect();
            out.push(Arc::new(Column::new(Values::Numeric(product))));
        }
        Frame::new(x.rows(), out)
    }

    fn save(&self, state: &mut State) {
        put_standard(state, &self.standard);
        let (first, second) = self.pairs.iter().copied().unzip();
        state.put_array("first", Array::U32(first));
        state.put_array("second", Array::U32(second));
    }
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_are_all_of_them_or_a_draw_without_repeats() {
        assert_eq!(pairs(&[1, 3, 4], true, 9, 1), [(1, 1), (1, 3), (1, 4), (3, 3), (3, 4), (4, 4)]);
        assert_eq!(pairs(&[1, 3, 4], false, 9, 1), [(1, 3), (1, 4), (3, 4)]);
        let columns: Vec<u32> = (0..60).collect();
        for squares in [true, false] {
            let mut drawn = pairs(&columns, squares, 1000, 7);
            assert!(drawn.iter().all(|(a, b)| b < &60 && if squares { a <= b } else { a < b }), "{drawn:?}");
            drawn.dedup();
            assert_eq!(drawn.len(), 1000);
        }
        assert!(pairs(&[], true, 9, 1).is_empty() && pairs(&[2], false, 9, 1).is_empty());
    }
}
