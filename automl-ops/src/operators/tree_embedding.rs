//! The leaves that a row falls into, one column a leaf: of a small booster (He et al. 2014, “Practical lessons from predicting
//! clicks on ads at Facebook”), or of trees with random splits that do not see the target (as in scikit-learn's
//! `RandomTreesEmbedding`). A linear model after it weighs the leaves anew.
//!
//! The columns of two fits have nothing in common, so the output on training rows comes from the fit on all of them and not
//! out of fold; leaves of a booster have at least 10 rows, which keeps what they tell of a single row's target small.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{TreeData, damaged, number, text};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, Values};
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;
use crate::tree::boosting::{self, Booster, BoostingParams};
use crate::tree::cost;
use crate::tree::forest::{self, Forest, ForestParams};
use crate::tree::{self, Raw};

/// Columns of the output, at most.
const MOST: usize = 2_000;
/// Training rows in a leaf of a booster, at least.
const MIN_ROWS: usize = 10;

struct TreeEmbedding;

crate::describe! {
    TreeEmbedding: "tree_embedding", "The leaf that each tree of a small ensemble gives a row, one column a leaf",
    reads [RAW, NUMERIC, DENSE, PREDICTION], emits DENSE,
    params [
        Param::choice("kind", &["boosting", "random"]).about("trees that learn the target, or random splits"),
        Param::int("trees", 5, 100, 20).log().about("number of trees"),
        Param::int("leaves", 4, 32, 8).log().about("leaves of a tree, at most"),
    ]
}

crate::tabular_operator!(TreeEmbedding);

enum Model {
    Boosting(Booster),
    Random(Forest),
}

struct FittedEmbedding(Model);

/// Rounds and leaves of which no more than [`MOST`] columns come.
fn sizes(trees: usize, leaves: usize, each: usize) -> (usize, usize) {
    let rounds = (trees / each.max(1)).max(1);
    (rounds, leaves.min(MOST / (rounds * each.max(1)).max(1)).max(2))
}

impl TabularOperator for TreeEmbedding {
    fn reads_target(&self) -> bool {
        true
    }

    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let (trees, leaves) = (number(params, "trees", 20.0) as usize, number(params, "leaves", 8.0) as usize);
        let base = if text(params, "kind") == "random" {
            let params = ForestParams {
                trees,
                max_depth: Some(leaves.ilog2() as usize + 2),
                max_features: 1e-6,
                random_splits: true,
                bootstrap: false,
                ..ForestParams::default()
            };
            cost::forest(&Shape { classes: 1.0, ..*shape }, &params)
        } else {
            let each = if shape.classes > 2.0 { shape.classes as usize } else { 1 };
            let (rounds, max_leaves) = sizes(trees, leaves, each);
            cost::boosting(shape, &BoostingParams { rounds, max_leaves, min_samples_leaf: MIN_ROWS, ..BoostingParams::default() })
        };
        let columns = (trees * leaves).min(MOST) as f64;
        base.and_seconds(1e-9 * shape.rows * columns).and_bytes(4.0 * shape.rows * columns).emitting(columns)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (trees, leaves) = (fit.int("trees")?, fit.int("leaves")?);
        let data = TreeData::new(fit)?;
        let model = if fit.text("kind")? == "random" {
            // Any target will do: each split is the only one that is looked at.
            let mut rng = ChaCha8Rng::seed_from_u64(fit.seed);
            let values: Vec<f32> = (0..fit.x.rows()).map(|_| rng.random()).collect();
            let (_, leaves) = sizes(trees, leaves, 1);
            let params = ForestParams {
                trees,
                max_leaves: Some(leaves),
                max_features: 1e-6,
                random_splits: true,
                bootstrap: false,
                ..ForestParams::default()
            };
            let target = tree::Target::Values(&values);
            Model::Random(forest::fit(&data.bins, None, target, fit.weights, &params, fit.seed, fit.cancel)?)
        } else {
            let each = match fit.y {
                Target::Classes { classes, .. } if *classes > 2 => *classes,
                _ => 1,
            };
            let (rounds, max_leaves) = sizes(trees, leaves, each);
            if rounds * each * 2 > MOST {
                let problem = format!("a tree for each of {each} classes makes more than {MOST} columns; use kind `random`");
                return Err(OperatorError::Infeasible(problem));
            }
            let params = BoostingParams { rounds, max_leaves, min_samples_leaf: MIN_ROWS, ..BoostingParams::default() };
            let (target, weights) = (data.target(fit.y), data.weights.as_deref());
            Model::Boosting(boosting::fit(&data.bins, None, target, weights, &params, fit.seed, fit.cancel)?)
        };
        Ok(Box::new(FittedEmbedding(model)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = if state.get::<bool>("random")? {
            Model::Random(Forest::from_parts(state.parts()).map_err(damaged)?)
        } else {
            Model::Boosting(Booster::from_parts(state.parts()).map_err(damaged)?)
        };
        if model.width() > MOST {
            return Err(OperatorError::state(format!("it has {} leaves, more than {MOST}", model.width())));
        }
        Ok(Box::new(FittedEmbedding(model)))
    }
}

impl Model {
    fn width(&self) -> usize {
        match self {
            Self::Boosting(model) => model.leaf_count(),
            Self::Random(model) => model.leaf_count(),
        }
    }

    fn leaves(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<u32>, OperatorError> {
        Ok(match self {
            Self::Boosting(model) => model.leaves(columns, cancel)?,
            Self::Random(model) => model.leaves(columns, cancel)?,
        })
    }
}

impl Fitted for FittedEmbedding {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let (rows, width) = (x.rows(), self.0.width());
        let leaves = self.0.leaves(&x.basic().raw()?, cancel)?;
        let trees = leaves.len().checked_div(rows).unwrap_or(0);
        let mut columns = vec![vec![0.0_f32; rows]; width];
        for tree in 0..trees {
            if cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            for (row, &leaf) in leaves.iter().skip(tree).step_by(trees).enumerate() {
                if let Some(cell) = columns.get_mut(leaf as usize).and_then(|column| column.get_mut(row)) {
                    *cell = 1.0;
                }
            }
        }
        let columns = columns.into_par_iter().map(|values| Arc::new(Column::new(Values::Numeric(values)))).collect();
        Frame::new(rows, columns)
    }

    fn save(&self, state: &mut State) {
        state.put("random", matches!(self.0, Model::Random(_)));
        state.put_parts(match &self.0 {
            Model::Boosting(model) => model.to_parts(),
            Model::Random(model) => model.to_parts(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_leaf_of_each_tree() {
        let values: Vec<f32> = (0..400).map(|at| ((at * 7919) % 401) as f32).collect();
        let x = Frame::from_rows(&values, 2);
        let y = Target::Values((0..200).map(|row| f64::from(values[2 * row] + values[2 * row + 1])).collect());
        let cancel = Cancel::new();
        let mut params = automl_core::operator::defaults(&automl_core::Operator::params(&TreeEmbedding));
        for kind in ["boosting", "random"] {
            params.insert("kind".into(), kind.into());
            let fit = Fit { x: &x, y: &y, weights: None, params: &params, seed: 1, cancel: &cancel };
            let output = TreeEmbedding.fit(&fit).unwrap().apply(&x, &cancel).unwrap().matrix().unwrap();
            assert!(output.ncols() > 40 && output.ncols() <= 160, "{}", output.ncols());
            assert!(output.rows().into_iter().all(|row| row.sum() == 20.0));
        }
    }

    #[test]
    fn many_classes_have_fewer_rounds_and_smaller_trees() {
        assert_eq!(sizes(20, 8, 1), (20, 8));
        assert_eq!(sizes(100, 32, 1), (100, 20));
        assert_eq!(sizes(20, 8, 3), (6, 8));
        assert_eq!(sizes(20, 32, 400), (1, 5));
    }
}
