//! Projects onto the directions that separate the classes best (Fisher 1936, Rao 1948).

use automl_core::{Param, Params};

use super::shared::FittedAffine;
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::discriminant;
use crate::learn::lda::LdaParams;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task};
use crate::state::State;

struct LdaProjection;

crate::describe! {
    LdaProjection: "lda_projection", "Projects onto the directions that separate the classes",
    reads [DENSE], emits DENSE,
    params [
        Param::float("shrinkage", 1e-6, 1.0, 1e-4).log().about("share of the covariance that is replaced by its diagonal mean"),
    ]
}

crate::tabular_operator!(LdaProjection);

impl TabularOperator for LdaProjection {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let side = shape.columns.min(shape.classes);
        let outputs = (shape.classes - 1.0).min(shape.columns).clamp(1.0, 64.0);
        Cost::of_cells(shape, 5.0 + 0.06 * shape.columns + 0.1 * outputs, 4.0)
            .and_seconds(1e-9 * (0.05 * shape.columns.powi(3) + 6.0 * side.powi(3) + 0.3 * shape.classes * shape.columns.powi(2)))
            .and_bytes(32.0 * shape.columns * shape.columns + 24.0 * shape.classes * shape.columns + 8.0 * shape.rows * outputs)
            .emitting(outputs)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let params = LdaParams { shrinkage: fit.float("shrinkage")? };
        Ok(Box::new(FittedAffine(discriminant::fit(fit.x.matrix()?.view(), codes, classes, &params, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
