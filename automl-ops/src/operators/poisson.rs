//! Regression of targets that are not negative, such as counts and amounts, with a logarithmic link (Tweedie 1984).

use automl_core::{Param, Params};

use super::linear::{self, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::tweedie;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct Poisson;

crate::describe! {
    Poisson: "poisson", "A model of counts or amounts, linear in their logarithm",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("alpha", 1e-6, 10.0, 1e-2).log().about("strength of the penalty, on standardised columns"),
        Param::float("power", 1.0, 1.9, 1.0).about("how the variance grows with the mean: 1 for counts, more for amounts with zeros"),
    ]
}

crate::tabular_operator!(Poisson);

impl TabularOperator for Poisson {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Regression]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::passes(shape, 25.0).and_seconds(2e-7 * shape.rows)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let y = fit.values_f32()?;
        if y.iter().any(|y| *y < 0.0) {
            let why = "a logarithmic link needs targets that are not negative: use another model, or shift the target";
            return Err(OperatorError::Infeasible(why.into()));
        }
        let params = (fit.float("power")?, fit.float("alpha")?);
        let model = tweedie::fit(fit.x.matrix()?.view(), &y, fit.weights, params, fit.cancel)?;
        // Beyond the training targets an exponential is not to be trusted.
        let top = 2.0 * y.iter().copied().fold(0.0, f32::max);
        Ok(Box::new(LinearValues { model, log_link: Some(top.min(1e18)) }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_values(state)
    }
}
