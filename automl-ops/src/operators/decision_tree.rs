//! A single classification or regression tree (Breiman et al. 1984), on histogram bins.

use automl_core::{Param, Params};

use super::{FittedForest, class_weight, criterion, number};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;
use crate::tree::cost;
use crate::tree::forest::ForestParams;

struct DecisionTree;

crate::describe! {
    DecisionTree: "decision_tree", "A single tree of splits",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("max_depth", 1, 30, 10).log().about("splits from the root to a leaf, at most"),
        Param::int("min_samples_leaf", 1, 100, 5).log().about("training rows in a leaf, at least"),
        Param::choice("criterion", &["gini", "entropy"]).about("impurity of classes; a regression uses the variance"),
        class_weight(),
    ]
}

crate::tabular_operator!(DecisionTree);

/// What is declared of a forest with these parameters.
fn kernel(params: &Params) -> ForestParams {
    ForestParams {
        max_depth: Some(number(params, "max_depth", 10.0) as usize),
        min_samples_leaf: number(params, "min_samples_leaf", 5.0) as usize,
        ..ForestParams::single_tree()
    }
}

impl TabularOperator for DecisionTree {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        cost::forest(shape, &kernel(params))
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        cost::forest_row(shape, &kernel(params))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = ForestParams {
            trees: 1,
            max_depth: Some(fit.int("max_depth")?),
            min_samples_leaf: fit.int("min_samples_leaf")?,
            max_features: 1.0,
            bootstrap: false,
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
