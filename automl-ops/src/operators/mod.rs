//! The gene pool: one operator a file.
//!
//! Kinds say what can follow what ([`crate::kinds`]): an encoder turns raw columns into numbers, an imputer fills what is
//! missing, and dense numbers feed the linear, neighbour and projection operators. Trees read anything.

mod adaboost;
mod bagging;
mod decision_tree;
mod extra_trees;
mod gaussian_nb;
mod gradient_boosting;
mod impute;
mod knn;
mod lda;
mod logistic;
mod one_hot;
mod ordinal;
mod pca;
mod qda;
mod random_forest;
mod ridge;
mod select_k_best;
mod standard_scale;
mod tree_embedding;

use automl_core::{Cancel, Param, Params, Value};

use crate::frame::{Frame, Values};
use crate::operator::{Fit, Fitted, OperatorError, Target};
use crate::state::State;
use crate::tree::forest::{Criterion, Forest, ForestParams};
use crate::tree::{self, bins::Bins};

/// The parameter that every classifier has: whether classes weigh the same in all.
fn class_weight() -> Param {
    Param::choice("class_weight", &["none", "balanced"]).about("`balanced`: every class weighs the same in all")
}

/// What trees learn from: the columns in bins, and the target as they want it.
struct TreeData {
    bins: Vec<std::sync::Arc<Bins>>,
    values: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl TreeData {
    fn new(fit: &Fit<'_>) -> Result<Self, OperatorError> {
        let frame = fit.x.basic();
        if frame.columns().is_empty() {
            return Err(OperatorError::Infeasible("there are no columns to learn from".into()));
        }
        let kind = || OperatorError::Kind { expected: "numbers or categories" };
        let bins = frame.columns().iter().map(|column| column.bins().ok_or_else(kind)).collect::<Result<_, _>>()?;
        let values = match fit.y {
            Target::Values(_) => fit.values_f32()?,
            Target::Classes { .. } => Vec::new(),
        };
        Ok(Self { bins, values, weights: fit.row_weights().map(std::borrow::Cow::into_owned) })
    }

    fn target<'a>(&'a self, y: &'a Target) -> tree::Target<'a> {
        match y {
            Target::Classes { codes, classes } => tree::Target::Classes { codes, classes: *classes },
            Target::Values(_) => tree::Target::Values(&self.values),
        }
    }
}

/// A fitted forest; single trees are forests of one.
struct FittedForest(Forest);

impl FittedForest {
    fn fit(fit: &Fit<'_>, params: &ForestParams) -> Result<Box<dyn Fitted>, OperatorError> {
        let data = TreeData::new(fit)?;
        let forest =
            tree::forest::fit(&data.bins, None, data.target(fit.y), data.weights.as_deref(), params, fit.seed, fit.cancel)?;
        Ok(Box::new(Self(forest)))
    }

    fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let forest = Forest::from_parts(state.parts()).map_err(|error| OperatorError::state(error.to_string()))?;
        Ok(Box::new(Self(forest)))
    }
}

impl Fitted for FittedForest {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&self.0.predict(&x.basic().raw()?, cancel)?, self.0.width()))
    }

    fn save(&self, state: &mut State) {
        state.put_parts(self.0.to_parts());
    }
}

/// A number among parameters that a cost is asked for.
fn number(params: &Params, name: &str, default: f64) -> f64 {
    match params.get(name) {
        Some(Value::Float(value)) => *value,
        Some(Value::Int(value)) => *value as f64,
        _ => default,
    }
}

/// The text among parameters that a cost is asked for.
fn text<'a>(params: &'a Params, name: &str) -> &'a str {
    match params.get(name) {
        Some(Value::Text(value)) => value,
        _ => "",
    }
}

/// Share of the columns that a split of a forest looks at. Means of values want more columns than votes (Breiman 2001).
fn looked_at(share: f64, classes: bool) -> f32 {
    (if classes { share } else { share.sqrt() }) as f32
}

fn criterion(fit: &Fit<'_>) -> Result<Criterion, OperatorError> {
    Ok(if fit.text("criterion")? == "entropy" { Criterion::Entropy } else { Criterion::Gini })
}

/// Whether any number of a frame is missing.
fn has_missing(frame: &Frame) -> bool {
    frame.columns().iter().any(|column| matches!(column.values(), Values::Numeric(values) if values.iter().any(|x| x.is_nan())))
}

/// A damaged state, in the words of a kernel's check.
fn damaged(error: impl std::fmt::Display) -> OperatorError {
    OperatorError::state(error.to_string())
}
