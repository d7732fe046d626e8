//! Nearest shrunken centroids (Tibshirani et al. 2002): a class is told by the distance to its mean.

use automl_core::{Param, Params};

use super::class_weight;
use super::linear::{self, LinearClasses};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::centroid;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Task, Weights};
use crate::state::State;

struct NearestCentroid;

crate::describe! {
    NearestCentroid: "nearest_centroid", "Classes by the distance to their means",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("shrinkage", 0.0, 10.0, 0.0).about("standard errors by which means are drawn together; drops columns"),
        class_weight(),
    ]
}

crate::tabular_operator!(NearestCentroid);

impl TabularOperator for NearestCentroid {
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
        let shrinkage = fit.float("shrinkage")?;
        let model = centroid::fit(fit.x.matrix()?.view(), codes, classes, weights.as_deref(), shrinkage, fit.cancel)?;
        Ok(Box::new(LinearClasses(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load_classes(state)
    }
}
