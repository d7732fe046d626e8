//! The gene pool: one operator a file.
//!
//! Kinds say what can follow what ([`crate::kinds`]): an encoder turns raw columns into numbers, an imputer fills what is
//! missing, and dense numbers feed the linear, neighbour and projection operators. Trees read anything.

mod adaboost;
mod bagging;
mod bayesian_ridge;
mod bernoulli_nb;
mod bin;
mod clip_outliers;
mod columnwise;
mod correlation_filter;
mod count_encode;
mod date_parts;
mod decision_tree;
mod elastic_net;
mod encoding;
mod extra_trees;
mod fast_ica;
mod feature_agglomeration;
mod gaussian_nb;
mod gaussian_process;
mod gradient_boosting;
mod hash_encode;
mod huber;
mod impute;
mod interactions;
mod iterative_impute;
mod kernel_ridge;
mod kmeans_distance;
mod knn;
mod knn_impute;
mod lasso;
mod lda;
mod lda_projection;
mod linear;
mod linear_svm;
mod log_transform;
mod logistic;
mod max_abs_scale;
mod min_max_scale;
mod missing_indicator;
mod multinomial_nb;
mod nearest_centroid;
mod normalize;
mod nystroem;
mod one_hot;
mod ordinal;
mod passthrough;
mod pca;
mod pls;
mod poisson;
mod polynomial;
mod power_transform;
mod prior;
mod qda;
mod quantile_transform;
mod random_forest;
mod random_kitchen_sinks;
mod random_projection;
mod randomized_pca;
mod rare_levels;
mod rbf_svm;
mod recursive_elimination;
mod ridge;
mod robust_scale;
mod row_curve;
mod row_statistics;
mod select_by_lasso;
mod select_by_tree;
mod select_k_best;
mod select_significant;
mod sgd;
mod shared;
mod spline;
mod stacker;
mod standard_scale;
mod target_encode;
mod text_tfidf;
mod tree_embedding;
mod variance_threshold;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use automl_core::{Cancel, Param, Params, Value};

use crate::frame::{Frame, Values};
use crate::operator::{Fit, Fitted, OperatorError, Target};
use crate::pipeline::{Data, Part};
use crate::state::State;
use crate::tree::forest::{Criterion, Forest, ForestParams};
use crate::tree::{self, bins::Bins};

/// The parameter that every classifier has: whether classes weigh the same in all.
fn class_weight() -> Param {
    Param::choice("class_weight", &["none", "balanced"]).about("`balanced`: every class weighs the same in all")
}

/// At most `most` rows, ascending, each class with its share, drawn from the seed; `None` where there are no more rows than that.
fn sampled(fit: &Fit<'_>, most: usize) -> Option<Vec<u32>> {
    let rows = fit.y.len();
    if rows <= most {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(fit.seed);
    let mut order: Vec<(u32, u32)> = (0..rows as u32).map(|row| (rng.random(), row)).collect();
    order.sort_unstable();
    if let Target::Classes { codes, .. } = fit.y {
        order.sort_by_key(|&(_, row)| codes.get(row as usize).copied().unwrap_or(0));
    }
    // Evenly over the rows in the order of their classes.
    let mut picked: Vec<u32> = (0..most).filter_map(|place| order.get(place * rows / most).map(|&(_, row)| row)).collect();
    picked.sort_unstable();
    Some(picked)
}

/// At most `most` rows of a fit, a seeded sample, with the weights that their classes give them.
fn thinned(fit: &Fit<'_>, most: usize) -> Part {
    let weights = fit.row_weights();
    let Some(rows) = sampled(fit, most) else {
        return Part { x: fit.x.clone(), y: fit.y.clone(), weights: weights.map(std::borrow::Cow::into_owned) };
    };
    let mut part = Data { x: fit.x, y: fit.y, weights: weights.as_deref() }.take(&rows);
    // A sample without any weight counts its rows alike.
    part.weights = part.weights.filter(|weights| weights.iter().any(|&weight| weight > 0.0));
    part
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

    fn bytes(&self) -> usize {
        self.0.bytes()
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
