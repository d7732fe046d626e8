//! What trees cost, as arithmetic on sizes; see [`crate::cost`].

use super::boosting::{BoostingParams, Growth};
use super::forest::ForestParams;
use crate::cost::{Cost, Shape};

/// Seconds and bytes of cutting columns into bins.
fn binning(shape: &Shape) -> Cost {
    Cost::of_cells(shape, 60.0, 2.0).and_seconds(1e-5).and_bytes(1e4)
}

/// Rows that a tree is grown on, its depth, and its leaves.
fn grown(shape: &Shape, params: &ForestParams) -> (f64, f64, f64) {
    let drawn = shape.rows * if params.bootstrap { 0.63 } else { 1.0 };
    let leaf = (params.min_samples_leaf as f64 * 1.5).max(1.0);
    let most = params.max_depth.map_or(60.0, |depth| depth as f64);
    // A grown tree is about a quarter deeper than a balanced one.
    let depth = (1.25 * (drawn / leaf).max(2.0).log2()).min(most);
    (drawn, depth, (drawn / leaf).max(1.0).min(most.exp2()))
}

/// Seconds to predict one row of many with a forest.
pub(crate) fn forest_row(shape: &Shape, params: &ForestParams) -> f64 {
    let (_, depth, leaves) = grown(shape, params);
    1e-9 * (10.0 * shape.columns + params.trees as f64 * (visit(params.trees as f64 * leaves) * depth + shape.classes))
}

/// Seconds to predict one row of many with boosted trees.
pub(crate) fn boosting_row(shape: &Shape, params: &BoostingParams) -> f64 {
    let (trees, leaves, depth) = boosted(shape, params);
    1e-9 * (10.0 * shape.columns + trees * (visit(trees * leaves) * depth + 1.0) + 10.0 * shape.classes)
}

/// Nanoseconds at a node; more where the nodes do not fit into a near cache.
fn visit(leaves: f64) -> f64 {
    if leaves > 5e4 { 4.0 } else { 2.0 }
}

/// Trees, leaves of one, and its depth.
fn boosted(shape: &Shape, params: &BoostingParams) -> (f64, f64, f64) {
    let width = if shape.classes > 2.0 { shape.classes } else { 1.0 };
    let most = (shape.rows / params.min_samples_leaf.max(1) as f64).max(1.0);
    let wanted = match (params.growth, params.max_depth) {
        (Growth::DepthWise, Some(depth)) => (depth as f64).exp2().min(params.max_leaves as f64),
        _ => params.max_leaves as f64,
    };
    let leaves = wanted.min(most);
    (params.rounds as f64 * width, leaves, 1.3 * leaves.max(2.0).log2())
}

/// The cost of [`forest::fit`](super::forest::fit) and of predicting the training rows.
pub(crate) fn forest(shape: &Shape, params: &ForestParams) -> Cost {
    let trees = params.trees as f64;
    let (drawn, depth, leaves) = grown(shape, params);
    // Values that all differ part every row; of classes, about a third is parted from others of its class in vain.
    let kept = leaves * if shape.classes > 1.0 { 0.5 } else { 1.5 };
    let columns = (shape.columns * f64::from(params.max_features)).max(1.0);
    // A node of few rows costs as much as its columns; each class adds a counter.
    let counters = if shape.classes > 2.0 { 1.0 + 0.02 * shape.classes } else { 1.0 };
    let visit = if params.random_splits { 3.0 } else { 6.0 };
    let grown = drawn * depth * (columns * visit * counters + 8.0) + leaves * columns * 25.0 * counters;
    let width = if shape.classes > 1.0 { shape.classes } else { 1.0 };
    // Leaves that are certain of a class are kept once.
    let grown_out = shape.classes > 1.0 && params.min_samples_leaf <= 1 && params.max_depth.is_none();
    let numbers = if grown_out { 0.1 * width } else { width };
    let applied = shape.rows * depth * 3.0 + shape.rows * width;
    binning(shape)
        .and_seconds(1e-9 * trees * (grown + applied))
        .and_bytes(1.5 * trees * kept * (16.0 + 4.0 * numbers) + 40.0 * drawn)
        .emitting(width)
}

/// The cost of [`boosting::fit`](super::boosting::fit) and of predicting the training rows.
pub(crate) fn boosting(shape: &Shape, params: &BoostingParams) -> Cost {
    let width = if shape.classes > 2.0 { shape.classes } else { 1.0 };
    let (trees, leaves, depth) = boosted(shape, params);
    let bins = (shape.rows / 3.0).clamp(2.0, 254.0);
    let columns = shape.columns * f64::from(params.column_subsample);
    let rows = shape.rows * f64::from(params.subsample);
    // Of two siblings the smaller one is summed up.
    let summed = rows * columns * (1.0 + 0.3 * depth);
    let searched = 2.0 * leaves * columns * (bins * 2.5 + 20.0);
    let moved = rows * (10.0 + 4.0 * depth);
    let applied = shape.rows * depth * 3.0;
    let again = if params.early_stopping_rounds.is_some() && shape.rows <= params.refit_rows as f64 { 2.0 } else { 1.0 };
    let histograms = (4096.0 * columns * (leaves + 1.0)).min(256e6);
    binning(shape)
        .and_seconds(1e-9 * trees * ((summed + searched + moved) * again + applied))
        .and_bytes(histograms + trees * leaves * 20.0 + shape.rows * (48.0 + 8.0 * width))
        .emitting(shape.classes)
}
