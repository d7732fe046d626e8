//! Keeps the columns that say most about the target, each judged on its own.

use automl_core::{Param, Params, Value};

use super::shared::{Selected, columns, share, share_of};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::select;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target};
use crate::state::State;

struct SelectKBest;

crate::describe! {
    SelectKBest: "select_k_best", "Keeps the columns that say most about the target, one by one",
    reads [DENSE], emits DENSE,
    params [
        Param::float("keep", 0.05, 1.0, 0.5).about("share of the columns that is kept, at least one"),
        Param::choice("score", &["f", "mutual_information"]).about("`f`: analysis of variance, or correlation in a regression"),
    ]
}

crate::tabular_operator!(SelectKBest);

impl TabularOperator for SelectKBest {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let information = params.get("score") == Some(&Value::Text("mutual_information".into()));
        Cost::of_cells(shape, if information { 32.0 } else { 3.0 }, 0.0)
            .and_bytes(48.0 * shape.rows + 16.0 * shape.columns)
            .emitting(share_of(params, "keep", shape.columns))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        if x.width() == 0 {
            return Err(OperatorError::Infeasible("there are no columns to select from".into()));
        }
        let scores = match (fit.y, fit.text("score")?) {
            (Target::Classes { codes, classes }, "f") => select::f_classif(&x, codes, *classes, fit.cancel)?,
            (Target::Classes { codes, classes }, _) => select::mutual_info_classif(&x, codes, *classes, fit.cancel)?,
            (Target::Values(_), "f") => select::f_regression(&x, &fit.values_f32()?, fit.cancel)?,
            (Target::Values(_), _) => select::mutual_info_regression(&x, &fit.values_f32()?, fit.cancel)?,
        };
        let mut kept = select::top_k(&scores, share(fit, "keep", x.width())?);
        kept.sort_unstable();
        Ok(Selected::fitted(kept, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
