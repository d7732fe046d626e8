//! Gradient boosting on histogram bins, leaf-wise as in LightGBM (Ke et al. 2017) or level by level as in XGBoost (Chen and
//! Guestrin 2016), with native categories and missing values.
//!
//! With early stopping, a tenth of the rows decides how many rounds are best. Up to 20,000 rows the booster is then fitted again
//! on all rows with that many rounds, so that no row is lost to the decision; where there are more, a tenth is not missed.
//! A cancelled fit gives the rounds that are finished.

use automl_core::{Cancel, Param, Params, Value};

use super::{TreeData, class_weight, damaged, number, text};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;
use crate::tree::boosting::{self, Booster, BoostingParams, Growth};
use crate::tree::cost;

struct GradientBoosting;

crate::describe! {
    GradientBoosting: "gradient_boosting", "Trees that each correct the sum of the earlier ones",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("rounds", 20, 1000, 100).log().about("trees, or trees a class"),
        Param::float("learning_rate", 0.01, 0.5, 0.1).log().about("share of each correction that is applied"),
        Param::choice("growth", &["leaf_wise", "depth_wise"]).about("whether the best leaf is split next, or a whole level"),
        Param::int("max_leaves", 4, 256, 31).log().when("growth", &["leaf_wise".into()]).about("leaves of a tree, at most"),
        Param::int("max_depth", 2, 10, 6).when("growth", &["depth_wise".into()]).about("splits from the root to a leaf, at most"),
        Param::int("min_samples_leaf", 1, 100, 20).log().about("training rows in a leaf, at least"),
        Param::float("l2", 1e-6, 100.0, 1e-3).log().about("penalty of large corrections"),
        Param::float("subsample", 0.4, 1.0, 1.0).about("share of the rows that a round learns from"),
        Param::float("column_subsample", 0.2, 1.0, 1.0).about("share of the columns that a tree sees"),
        Param::switch("early_stopping", false).about("whether a tenth of the rows decides when to stop"),
        class_weight(),
    ]
}

crate::tabular_operator!(GradientBoosting);

struct FittedBooster(Booster);

/// Parameters of the kernel; what a search did not set has its default.
fn kernel(params: &Params) -> BoostingParams {
    let deep = text(params, "growth") == "depth_wise";
    let depth = number(params, "max_depth", 6.0) as usize;
    BoostingParams {
        rounds: number(params, "rounds", 100.0) as usize,
        learning_rate: number(params, "learning_rate", 0.1) as f32,
        growth: if deep { Growth::DepthWise } else { Growth::LeafWise },
        max_leaves: if deep { 1 << depth.min(16) } else { number(params, "max_leaves", 31.0) as usize },
        max_depth: deep.then_some(depth),
        min_samples_leaf: number(params, "min_samples_leaf", 20.0) as usize,
        l2: number(params, "l2", 1e-3) as f32,
        subsample: number(params, "subsample", 1.0) as f32,
        column_subsample: number(params, "column_subsample", 1.0) as f32,
        early_stopping_rounds: (params.get("early_stopping") == Some(&Value::Bool(true))).then_some(20),
        ..BoostingParams::default()
    }
}

impl TabularOperator for GradientBoosting {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        cost::boosting(shape, &kernel(params))
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        cost::boosting_row(shape, &kernel(params))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        fit.int("rounds")?;
        let data = TreeData::new(fit)?;
        let params = kernel(fit.params);
        let booster =
            boosting::fit(&data.bins, None, data.target(fit.y), data.weights.as_deref(), &params, fit.seed, fit.cancel)?;
        Ok(Box::new(FittedBooster(booster)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(FittedBooster(Booster::from_parts(state.parts()).map_err(damaged)?)))
    }
}

impl Fitted for FittedBooster {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&self.0.predict(&x.basic().raw()?, cancel)?, self.0.width()))
    }

    fn save(&self, state: &mut State) {
        state.put_parts(self.0.to_parts());
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
