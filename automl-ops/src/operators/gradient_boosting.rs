//! Gradient boosting on histogram bins, leaf-wise as in LightGBM (Ke et al. 2017), with native categories and missing values.

use automl_core::{Cancel, Param};

use super::{TreeData, class_weight, damaged};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;
use crate::tree::boosting::{self, Booster, BoostingParams};

struct GradientBoosting;

crate::describe! {
    GradientBoosting: "gradient_boosting", "Trees that each correct the sum of the earlier ones",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("rounds", 20, 1000, 100).log().about("trees, or trees a class"),
        Param::float("learning_rate", 0.01, 0.5, 0.1).log().about("share of each correction that is applied"),
        Param::int("max_leaves", 4, 256, 31).log().about("leaves of a tree, at most"),
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

impl TabularOperator for GradientBoosting {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = BoostingParams {
            rounds: fit.int("rounds")?,
            learning_rate: fit.float("learning_rate")? as f32,
            max_leaves: fit.int("max_leaves")?,
            min_samples_leaf: fit.int("min_samples_leaf")?,
            l2: fit.float("l2")? as f32,
            subsample: fit.float("subsample")? as f32,
            column_subsample: fit.float("column_subsample")? as f32,
            early_stopping_rounds: fit.switch("early_stopping")?.then_some(20),
            validation_fraction: 0.1,
            ..BoostingParams::default()
        };
        let data = TreeData::new(fit)?;
        let booster =
            boosting::fit(&data.bins, None, data.target(fit.y), data.weights.as_deref(), &params, fit.seed, fit.cancel)?;
        Ok(Box::new(FittedBooster(booster)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(FittedBooster(Booster::from_parts(state.parts()).map_err(damaged)?)))
    }
}

impl Fitted for FittedBooster {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&self.0.predict(&x.basic().raw()?)?, self.0.width()))
    }

    fn save(&self, state: &mut State) {
        state.put_parts(self.0.to_parts());
    }
}
