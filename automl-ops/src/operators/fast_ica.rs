//! Independent component analysis (Hyvärinen 1999): directions whose values are as far from normal as can be.

use automl_core::{Param, Params};

use super::shared::{FittedAffine, share, share_of};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::fast_ica::{self, Contrast, FastIcaParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

/// Most components.
const MOST: usize = 64;
/// Iterations, at most, as in scikit-learn.
const ITERATIONS: usize = 200;

struct FastIca;

crate::describe! {
    FastIca: "fast_ica", "Projects onto independent components",
    reads [DENSE], emits DENSE,
    params [
        Param::float("components", 0.05, 1.0, 0.5).about("share of the columns' number that is kept, from 1 to 64 components"),
        Param::choice("contrast", &["logcosh", "exp", "cube"]).about("measure of non-normality; `exp` for heavy tails, `cube` for light"),
    ]
}

crate::tabular_operator!(FastIca);

impl TabularOperator for FastIca {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let side = shape.columns.min(shape.rows);
        let components = share_of(params, "components", side).min(MOST as f64);
        let iterations = 0.7 * ITERATIONS as f64;
        let step = shape.rows.min(10_000.0) * components * (2.0 + 0.2 * components) + 4.0 * components.powi(3);
        Cost::of_cells(shape, 8.0 + 0.06 * side, 12.0)
            .and_seconds(1e-9 * (iterations * step + 0.2 * side.powi(3)))
            .and_bytes(24.0 * side * side + 8.0 * shape.rows * components + 1e6)
            .emitting(components)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let contrast = match fit.text("contrast")? {
            "exp" => Contrast::Exp,
            "cube" => Contrast::Cube,
            _ => Contrast::LogCosh,
        };
        let n_components = share(fit, "components", fit.x.columns().len().min(fit.x.rows()))?.min(MOST);
        let params = FastIcaParams { n_components, contrast, max_iter: ITERATIONS };
        Ok(Box::new(FittedAffine(fast_ica::fit(fit.x.matrix()?.view(), &params, fit.seed, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
