//! Keeps the columns whose F test is significant (Benjamini and Hochberg 1995).

use automl_core::{Param, Params};

use super::shared::{Selected, columns};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::select::{f_classif, f_regression, top_k};
use crate::learn::significance::{Control, f_survival, significant};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target};
use crate::state::State;

struct SelectSignificant;

crate::describe! {
    SelectSignificant: "select_significant", "Keeps the columns that depend on the target beyond chance",
    reads [DENSE], emits DENSE,
    params [
        Param::float("level", 1e-4, 0.5, 0.05).log().about("rate of errors that is allowed"),
        Param::choice("control", &["discovery_rate", "each", "any"])
            .about("errors among the columns kept (Benjamini–Hochberg), of each test, or any at all (Bonferroni)"),
    ]
}

crate::tabular_operator!(SelectSignificant);

impl TabularOperator for SelectSignificant {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost::of_cells(shape, 3.0, 0.0).and_seconds(1e-6 * shape.columns).and_bytes(24.0 * shape.rows + 16.0 * shape.columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        if x.width() == 0 {
            return Err(OperatorError::Infeasible("there are no columns to select from".into()));
        }
        let rows = x.rows() as f64;
        let (scores, freedom) = match fit.y {
            Target::Classes { codes, classes } => {
                let mut seen = codes.clone();
                seen.sort_unstable();
                seen.dedup();
                let between = seen.len() as f64 - 1.0;
                (f_classif(&x, codes, *classes, fit.cancel)?, (between, rows - between - 1.0))
            }
            Target::Values(_) => (f_regression(&x, &fit.values_f32()?, fit.cancel)?, (1.0, rows - 2.0)),
        };
        let p_values: Vec<f64> = scores.iter().map(|&score| f_survival(score, freedom.0, freedom.1)).collect();
        let control = match fit.text("control")? {
            "each" => Control::Each,
            "any" => Control::Any,
            _ => Control::DiscoveryRate,
        };
        let mut kept = significant(&p_values, fit.float("level")?, control);
        if kept.is_empty() {
            kept = top_k(&scores, 1);
        }
        Ok(Selected::fitted(kept, x.width()))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
