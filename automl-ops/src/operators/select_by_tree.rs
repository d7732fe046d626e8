//! Keeps the columns that trees split on with most gain (Breiman 2001; Louppe et al. 2013).

use automl_core::{Param, Params};

use super::TreeData;
use super::number;
use super::shared::Selected;
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::columns::sample;
use crate::learn::select::top_k;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;
use crate::tree::forest::{self, ForestParams};

/// Rows that the trees see, at most.
const ROWS: usize = 10_000;

struct SelectByTree;

crate::describe! {
    SelectByTree: "select_by_tree", "Keeps the columns that trees split on with most gain",
    reads [DENSE], emits DENSE,
    params [
        Param::float("threshold", 0.1, 2.0, 0.5).log().about("gain of a column that is kept, as a multiple of the columns' mean gain"),
        Param::choice("forest", &["extra_trees", "random_forest"]).about("extra trees are fairer to columns with few values"),
        Param::int("trees", 20, 100, 50).log().about("number of trees"),
    ]
}

crate::tabular_operator!(SelectByTree);

impl TabularOperator for SelectByTree {
    fn reads_target(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let rows = shape.rows.min(ROWS as f64);
        let work = number(params, "trees", 0.0) * rows * (rows + 2.0).log2();
        Cost::of_cells(shape, 20.0, 1.0)
            .and_seconds(1e-9 * work * (7.0 * shape.columns.sqrt() + 4.0 * shape.classes))
            .and_bytes(number(params, "trees", 0.0) * rows * (8.0 + 2.0 * shape.classes) + 1e6)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let data = TreeData::new(fit)?;
        let width = data.bins.len();
        let extra = fit.text("forest")? == "extra_trees";
        let params = ForestParams {
            trees: fit.int("trees")?,
            min_samples_leaf: 3,
            max_features: ((width as f64).sqrt() / width as f64).clamp(1e-6, 1.0) as f32,
            bootstrap: !extra,
            random_splits: extra,
            ..ForestParams::default()
        };
        let rows = sample(fit.x.rows(), ROWS, fit.seed);
        let forest = forest::fit(&data.bins, Some(&rows), data.target(fit.y), None, &params, fit.seed, fit.cancel)?;
        let gain: Vec<f64> = forest.feature_importance().iter().map(|&gain| f64::from(gain)).collect();
        let least = fit.float("threshold")? * gain.iter().sum::<f64>() / width as f64;
        let mut kept: Vec<usize> = (0..width).filter(|&column| gain[column] > 0.0 && gain[column] >= least).collect();
        if kept.is_empty() {
            kept = top_k(&gain, 1);
        }
        Ok(Selected::fitted(kept, width))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Selected::load(state)
    }
}
