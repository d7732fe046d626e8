//! Keeps the columns that say most about the target, each judged on its own.

use automl_core::{Cancel, Param};

use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::select;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target};
use crate::state::{Array, State};

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

struct Selected {
    columns: Vec<usize>,
    width: usize,
}

impl TabularOperator for SelectKBest {
    fn reads_target(&self) -> bool {
        true
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = fit.x.matrix()?;
        if x.ncols() == 0 {
            return Err(OperatorError::Infeasible("there are no columns to select from".into()));
        }
        let scores = match (fit.y, fit.text("score")?) {
            (Target::Classes { codes, classes }, "f") => select::f_classif(x.view(), codes, *classes, fit.cancel)?,
            (Target::Classes { codes, classes }, _) => select::mutual_info_classif(x.view(), codes, *classes, fit.cancel)?,
            (Target::Values(_), "f") => select::f_regression(x.view(), &fit.values_f32()?, fit.cancel)?,
            (Target::Values(_), _) => select::mutual_info_regression(x.view(), &fit.values_f32()?, fit.cancel)?,
        };
        let width = x.ncols();
        let keep = ((fit.float("keep")? * width as f64).ceil() as usize).clamp(1, width);
        let mut columns = select::top_k(&scores, keep);
        columns.sort_unstable();
        Ok(Box::new(Selected { columns, width }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let columns: Vec<usize> = state.u32s("columns")?.iter().map(|&column| column as usize).collect();
        let width: usize = state.get("width")?;
        if columns.is_empty() || columns.iter().any(|&column| column >= width) {
            return Err(OperatorError::state("a selected column lies beyond the last"));
        }
        Ok(Box::new(Selected { columns, width }))
    }
}

impl Fitted for Selected {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.width)?;
        for &column in &self.columns {
            x.numeric(column)?;
        }
        Ok(x.select(&self.columns))
    }

    fn save(&self, state: &mut State) {
        let columns = self.columns.iter().filter_map(|&column| u32::try_from(column).ok()).collect();
        state.put_array("columns", Array::U32(columns));
        state.put("width", self.width);
    }
}
