//! A basis of cubic B-splines for each column, so that a linear model becomes a smooth additive one.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params, Value};

use super::columnwise::{check_cells, check_rows, each_column, lists, numbers, put_lists, zeros};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame};
use crate::kinds::DENSE;
use crate::learn::quantile::{ROWS, sample_rows, sorted};
use crate::learn::spline::Knots;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct Spline;

crate::describe! {
    Spline: "spline", "A basis of cubic splines for each column",
    reads [DENSE], emits DENSE,
    params [
        Param::int("knots", 3, 12, 5).about("knots of one column, at quantiles; a column with fewer than three stays as it is"),
    ]
}

crate::tabular_operator!(Spline);

/// Most columns of the output.
const COLUMNS: usize = 8_192;

/// The knots of each column; nothing for a column that stays as it is.
struct Bases(Vec<Option<Knots>>, Vec<Vec<f32>>);

impl TabularOperator for Spline {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let knots = if let Some(Value::Int(knots)) = params.get("knots") { *knots as f64 } else { 5.0 };
        let each = knots + 1.0;
        let cost = Cost::of_cells(shape, 55.0 + 2.0 * each, 4.0 * each).and_bytes(16.0 * shape.rows.min(ROWS as f64));
        cost.emitting(each * shape.columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let count = fit.int("knots")?.max(3);
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let knots = each_column(fit.x, fit.cancel, |_, values| {
            let knots = Knots::at_quantiles(&sorted(values, rows.as_deref()), count);
            Ok(if knots.len() < 3 { Vec::new() } else { knots })
        })?;
        let fitted = Bases::new(knots).ok_or_else(|| OperatorError::Infeasible("a column has no ascending knots".into()))?;
        if fitted.columns() > COLUMNS.max(fit.x.columns().len()) {
            let problem = format!("{} spline columns are more than {COLUMNS}: select columns first", fitted.columns());
            return Err(OperatorError::Infeasible(problem));
        }
        check_cells(fit.x.rows(), fitted.columns())?;
        Ok(Box::new(fitted))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let damaged = || OperatorError::state("the knots of a column do not rise");
        Ok(Box::new(Bases::new(lists(state, "knots")?).ok_or_else(damaged)?))
    }
}

impl Bases {
    fn new(knots: Vec<Vec<f32>>) -> Option<Self> {
        let bases = knots.iter().map(|knots| if knots.is_empty() { Some(None) } else { Some(Some(Knots::new(knots)?)) });
        Some(Self(bases.collect::<Option<_>>()?, knots))
    }

    fn columns(&self) -> usize {
        self.0.iter().map(|basis| basis.as_ref().map_or(1, |basis| basis.functions() - 1)).sum()
    }
}

/// All functions but the last, which the others give away since they sum to 1.
fn expand(values: &[f32], knots: &Knots) -> Vec<Arc<Column>> {
    let mut columns = zeros(values.len(), knots.functions() - 1);
    for (row, &value) in values.iter().enumerate() {
        let (first, basis) = knots.basis(f64::from(value));
        for (column, function) in columns.iter_mut().skip(first).zip(basis) {
            if let Some(cell) = column.get_mut(row) {
                *cell = function as f32;
            }
        }
    }
    columns.into_iter().map(numbers).collect()
}

impl Fitted for Bases {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.0.len())?;
        check_cells(x.rows(), self.columns())?;
        let columns = each_column(x, cancel, |index, values| {
            Ok(match self.0.get(index) {
                Some(Some(knots)) => expand(values, knots),
                _ => x.columns().get(index).cloned().into_iter().collect(),
            })
        })?;
        Frame::new(x.rows(), columns.into_iter().flatten().collect())
    }

    fn save(&self, state: &mut State) {
        put_lists(state, "knots", &self.1);
    }
}
