//! Random forests, extra trees and single decision trees.
//!
//! Each tree draws from a generator of its own, numbered by its index, so a forest is the same for any number of threads. A
//! single decision tree is a forest of one tree without bootstrap that looks at all columns. Breiman, *Random forests*, 2001;
//! Geurts, Ernst and Wehenkel, *Extremely randomized trees*, 2006.

use std::sync::Arc;

use automl_core::Cancel;
use rayon::prelude::*;

use self::grow::{Grower, Job};
use self::kernel::{Classes, Packed};
use super::bins::Bins;
use super::model::Trees;
use super::parts::{integers, invalid};
use super::{PartData, Parts, Raw, Target, TreeError, checked_rows};

mod grow;
mod kernel;
mod split;

/// How the purity of a node of classes is measured. Numbers always use variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// Gini impurity.
    #[default]
    Gini,
    /// Shannon entropy.
    Entropy,
}

/// How a forest is grown.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestParams {
    /// Number of trees, at least 1.
    pub trees: usize,
    /// Splits from the root to a leaf, at most; without a limit where absent.
    pub max_depth: Option<usize>,
    /// Rows a leaf has at least; a row drawn twice counts twice, unless there are weights.
    pub min_samples_leaf: usize,
    /// Share of the columns that each split looks at, in (0, 1]; at least one column.
    pub max_features: f32,
    /// Whether each tree learns from as many rows drawn with replacement.
    pub bootstrap: bool,
    /// Whether each column offers one random split instead of its best one (extra trees).
    pub random_splits: bool,
    /// Purity of classes.
    pub criterion: Criterion,
    /// Leaves of a tree, at most; the split that gains most is then made first.
    pub max_leaves: Option<usize>,
}

impl Default for ForestParams {
    /// 100 fully grown trees on bootstrap samples that look at 30 % of the columns.
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: None,
            min_samples_leaf: 1,
            max_features: 0.3,
            bootstrap: true,
            random_splits: false,
            criterion: Criterion::Gini,
            max_leaves: None,
        }
    }
}

impl ForestParams {
    /// A single decision tree.
    pub fn single_tree() -> Self {
        Self { trees: 1, max_features: 1.0, bootstrap: false, ..Self::default() }
    }

    fn check(&self) -> Result<(), TreeError> {
        let wrong = |name, found: String, expected| Err(TreeError::Param { name, found, expected });
        if self.trees == 0 {
            return wrong("trees", "0".into(), "at least 1");
        }
        if !(self.max_features > 0.0 && self.max_features <= 1.0) {
            return wrong("max_features", self.max_features.to_string(), "a share in (0, 1]");
        }
        if self.max_leaves.is_some_and(|leaves| leaves < 2) {
            return wrong("max_leaves", format!("{:?}", self.max_leaves), "at least 2");
        }
        Ok(())
    }
}

/// A fitted forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    trees: Trees,
}

/// Grows a forest on the rows `rows` of `bins` (all of them where absent; a row may occur more than once). `target` and
/// `weights` have an entry for each row of the bins; rows of weight 0 are left out.
///
/// Cancelled, it gives the trees that are finished.
///
/// # Errors
/// Inputs that do not belong together, parameters out of range, no rows, or cancelled before the first tree was finished.
pub fn fit(
    bins: &[Arc<Bins>],
    rows: Option<&[u32]>,
    target: Target<'_>,
    weights: Option<&[f32]>,
    params: &ForestParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<Forest, TreeError> {
    params.check()?;
    let rows = checked_rows(bins, rows, &target, weights)?;
    let job = Job { bins, rows: &rows, weights, params, seed, cancel };
    let trees = match target {
        Target::Classes { codes, classes: 2 } => grow_all(&job, &Packed::binary(codes, params.criterion, &job)),
        Target::Classes { codes, classes } => grow_all(&job, &Classes::new(codes, classes, params.criterion, &job)),
        Target::Values(values) => grow_all(&job, &Packed::values(values, &job)),
    };
    let trees = Trees::joined(trees.into_iter().flatten().collect()).ok_or(TreeError::Cancelled)?;
    Ok(Forest { trees })
}

fn grow_all<K: kernel::Kernel>(job: &Job<'_>, kernel: &K) -> Vec<Option<Trees>> {
    let count = job.params.trees;
    if count == 1 || job.rows.len() * count < SERIAL_ROWS {
        let mut grower = Grower::new(job, kernel);
        return (0..count).map(|index| grower.grow(index)).collect();
    }
    (0..count).into_par_iter().with_max_len(1).map_init(|| Grower::new(job, kernel), |grower, index| grower.grow(index)).collect()
}

/// Rows times trees below which starting other threads costs more than it saves.
const SERIAL_ROWS: usize = 2_000;

impl Forest {
    /// The trees, for models that are made of them.
    pub(super) fn into_trees(self) -> Trees {
        self.trees
    }

    /// Numbers a prediction has for each row: one for each class, or one value.
    pub fn width(&self) -> usize {
        self.trees.width
    }

    /// Number of trees, fewer than asked for in a fit that was cancelled.
    pub fn trees(&self) -> usize {
        self.trees.roots.len()
    }

    /// Row-major probabilities of the classes, or one value a row.
    ///
    /// # Errors
    /// Columns that are not those of the fit, or differ in length; cancelled.
    pub fn predict(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<f32>, TreeError> {
        let k = self.trees.width;
        let share = 1.0 / self.trees.roots.len() as f64;
        let add = |_, leaf: &[f32], rows: &[u32], sums: &mut [f64]| {
            for &row in rows {
                let sums = sums[row as usize * k..].iter_mut();
                sums.zip(leaf).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        };
        let end = |sums: &[f64], row: &mut [f32]| {
            row.iter_mut().zip(sums).for_each(|(x, sum)| *x = (sum * share) as f32);
        };
        self.trees.predict(columns, k, &vec![0.0; k], add, end, cancel)
    }

    /// The leaf of each row in each tree: row-major, a tree a column. Leaves are numbered through the whole model, below
    /// [`Forest::leaf_count`]; leaves of a tree that are certain of the same class are one, unless `max_leaves` is set.
    ///
    /// # Errors
    /// As [`Forest::predict`].
    pub fn leaves(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<u32>, TreeError> {
        self.trees.reached(columns, cancel)
    }

    /// Number of leaves of all trees.
    pub fn leaf_count(&self) -> usize {
        self.trees.leaves.len() / self.trees.width
    }

    /// Number of splits by each column.
    pub fn split_counts(&self) -> Vec<u32> {
        self.trees.splits()
    }

    /// Total decrease of impurity by splits of each column.
    pub fn feature_importance(&self) -> &[f32] {
        &self.trees.importance
    }

    /// The saved form.
    pub fn to_parts(&self) -> Parts {
        let mut parts = vec![("forest".to_owned(), PartData::U32(vec![VERSION, self.trees.width as u32]))];
        self.trees.write(&mut parts);
        parts
    }

    /// Bytes of the saved form.
    pub fn bytes(&self) -> usize {
        8 + self.trees.bytes()
    }

    /// Reads [`Forest::to_parts`].
    ///
    /// # Errors
    /// Anything that was not written by it: such a model is never built.
    pub fn from_parts(parts: Parts) -> Result<Self, TreeError> {
        let &[VERSION, width] = integers(&parts, "forest")? else {
            return Err(invalid("forest", format!("expected version {VERSION} and a width")));
        };
        let trees = Trees::read(&parts, width as usize)?;
        if trees.roots.is_empty() {
            return Err(invalid("roots", "a forest has at least one tree"));
        }
        Ok(Self { trees })
    }
}

/// Version of the saved form.
const VERSION: u32 = 1;
