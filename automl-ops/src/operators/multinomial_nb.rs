//! Naive Bayes of counts, and its complement form (Rennie et al. 2003).

use automl_core::{Param, Params};

use super::class_weight;
use super::linear::{self, LinearClasses};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::discrete_nb;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct MultinomialNb;

crate::describe! {
    MultinomialNb: "multinomial_nb", "Classes by how their columns share a total, as words share a text",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("alpha", 1e-3, 100.0, 1.0).log().about("added to each count"),
        Param::switch("complement", false).about("whether a class is told by the counts of all others"),
        Param::switch("calibrate", true).about("whether probabilities are corrected for columns that depend on each other"),
        class_weight(),
    ]
}

crate::tabular_operator!(MultinomialNb);

impl TabularOperator for MultinomialNb {
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification]
    }

    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::counted(shape)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (codes, classes) = fit.classes()?;
        let weights = fit.row_weights();
        let params = (fit.float("alpha")?, fit.switch("complement")?, fit.switch("calibrate")?);
        let model = discrete_nb::multinomial(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), params, fit.cancel)?;
        Ok(Box::new(LinearClasses(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_classes(state)
    }
}
