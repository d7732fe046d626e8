//! Principal components by a randomised method (Halko, Martinsson and Tropp 2011), for many columns.

use automl_core::{Param, Params};

use super::number;
use super::shared::{FittedAffine, columns};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::randomized_pca::{self, RandomizedPcaParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct RandomizedPca;

crate::describe! {
    RandomizedPca: "randomized_pca", "Projects onto a few directions of largest variance, found by random probing",
    reads [DENSE], emits DENSE,
    params [
        Param::int("components", 2, 100, 16).log().about("number of components, at most that of the columns and rows"),
        Param::int("power_iterations", 0, 4, 2).about("refinements; more come nearer to the exact components"),
        Param::switch("whiten", false).about("whether every component gets variance 1"),
    ]
}

crate::tabular_operator!(RandomizedPca);

impl TabularOperator for RandomizedPca {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let components = number(params, "components", 0.0).min(shape.columns);
        let directions = (components + 10.0).min(shape.columns);
        let passes = number(params, "power_iterations", 0.0) + 1.0;
        Cost::of_cells(shape, 2.0 * (passes + 2.0) + 0.2 * directions * (passes + 1.0), 0.0)
            .and_seconds(1e-9 * passes * shape.columns * directions * directions)
            .and_bytes(16.0 * shape.columns * directions + 8.0 * shape.rows * components + 1e6)
            .emitting(components)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let params = RandomizedPcaParams {
            n_components: fit.int("components")?.min(x.width()).max(1),
            power_iterations: fit.int("power_iterations")?,
            whiten: fit.switch("whiten")?,
        };
        Ok(Box::new(FittedAffine(randomized_pca::fit(&x, &params, fit.seed, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
