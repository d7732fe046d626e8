//! AdaBoost: SAMME (Zhu et al. 2009) for classes, AdaBoost.R2 (Drucker 1997) for values, on shallow histogram trees.

use automl_core::{Cancel, Param, Params};

use super::{TreeData, class_weight, damaged, number};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;
use crate::tree::adaboost::{self, Adaboost, AdaboostParams};
use crate::tree::cost;
use crate::tree::forest::ForestParams;

struct AdaBoost;

crate::describe! {
    AdaBoost: "adaboost", "Shallow trees, each on rows weighted by the errors of the earlier ones",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("rounds", 10, 500, 100).log().about("number of trees, at most"),
        Param::float("learning_rate", 0.05, 2.0, 1.0).log().about("share of each tree's vote that counts"),
        Param::int("max_depth", 1, 8, 3).about("splits from the root to a leaf of a tree, at most"),
        class_weight(),
    ]
}

crate::tabular_operator!(AdaBoost);

struct FittedAdaBoost(Adaboost);

/// What is declared of its trees.
fn kernel(params: &Params) -> ForestParams {
    ForestParams {
        trees: number(params, "rounds", 100.0) as usize,
        max_depth: Some(number(params, "max_depth", 3.0) as usize),
        ..ForestParams::single_tree()
    }
}

impl TabularOperator for AdaBoost {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        // Classes are learnt a second time, for their probabilities.
        let cost = cost::forest(shape, &kernel(params));
        // Shallow trees, binned once, cost less than those of a forest.
        let seconds = cost.seconds * if shape.classes > 1.0 { 0.6 } else { 0.3 };
        Cost { seconds, ..cost }.and_bytes(8.0 * shape.rows * shape.classes)
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        cost::forest_row(shape, &kernel(params))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = AdaboostParams {
            rounds: fit.int("rounds")?,
            learning_rate: fit.float("learning_rate")?,
            max_depth: fit.int("max_depth")?,
        };
        let data = TreeData::new(fit)?;
        let frame = fit.x.basic();
        let (target, weights) = (data.target(fit.y), data.weights.as_deref());
        let booster = adaboost::fit(&data.bins, &frame.raw()?, target, weights, &params, fit.seed, fit.cancel)?;
        Ok(Box::new(FittedAdaBoost(booster)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(FittedAdaBoost(Adaboost::from_parts(state.parts()).map_err(damaged)?)))
    }
}

impl Fitted for FittedAdaBoost {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&self.0.predict(&x.basic().raw()?, cancel)?, self.0.width()))
    }

    fn save(&self, state: &mut State) {
        state.put_parts(self.0.to_parts());
    }
}
