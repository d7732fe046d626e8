//! Random forest (Breiman 2001), on histogram bins.

use automl_core::{Param, Params};

use super::{FittedForest, class_weight, criterion, looked_at, number};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;
use crate::tree::cost;
use crate::tree::forest::ForestParams;

struct RandomForest;

crate::describe! {
    RandomForest: "random_forest", "Trees on bootstrap samples and random columns, averaged",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("trees", 20, 500, 100).log().about("number of trees"),
        Param::float("max_features", 0.05, 1.0, 0.3).about("share of the columns that a split looks at; a regression looks at more, its root"),
        Param::int("min_samples_leaf", 1, 30, 1).log().about("training rows in a leaf, at least"),
        Param::switch("bootstrap", true).about("whether each tree draws its rows with replacement"),
        Param::choice("criterion", &["gini", "entropy"]).about("impurity of classes; a regression uses the variance"),
        class_weight(),
    ]
}

crate::tabular_operator!(RandomForest);

/// What is declared of a forest with these parameters.
fn kernel(shape: &Shape, params: &Params) -> ForestParams {
    ForestParams {
        trees: number(params, "trees", 100.0) as usize,
        max_features: looked_at(number(params, "max_features", 0.3), shape.classes > 1.0),
        min_samples_leaf: number(params, "min_samples_leaf", 1.0) as usize,
        bootstrap: params.get("bootstrap") == Some(&automl_core::Value::Bool(true)),
        random_splits: false,
        ..ForestParams::default()
    }
}

impl TabularOperator for RandomForest {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        cost::forest(shape, &kernel(shape, params))
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        cost::forest_row(shape, &kernel(shape, params))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = ForestParams {
            trees: fit.int("trees")?,
            max_depth: None,
            min_samples_leaf: fit.int("min_samples_leaf")?,
            max_features: looked_at(fit.float("max_features")?, fit.classes().is_ok()),
            bootstrap: fit.switch("bootstrap")?,
            random_splits: false,
            criterion: criterion(fit)?,
            ..ForestParams::default()
        };
        FittedForest::fit(fit, &params)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedForest::load(state)
    }
}
