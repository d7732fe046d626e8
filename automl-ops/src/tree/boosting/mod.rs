//! Gradient boosting on histograms: binary logistic, softmax and squared error.
//!
//! Trees grow leaf by leaf (or level by level); of two sibling nodes only the smaller one is summed up, the other is their
//! parent minus it. Missing values go to the side that gains more, and categories are split natively. Chen and Guestrin,
//! *XGBoost*, 2016; Ke et al., *LightGBM*, 2017; Prokhorenkova et al. for the wish for native categories.

use std::sync::Arc;

use automl_core::Cancel;
use rand::Rng;

use self::grow::{Cut, Grower};
use self::objective::Loss;
use self::split::Scan;
use super::bins::Bins;
use super::model::Trees;
use super::parts::{integers, invalid, numbers};
use super::{PartData, Parts, Raw, Target, TreeError, checked_rows, stream};

mod grow;
mod histogram;
mod objective;
mod split;

/// How a booster learns. The defaults are those of LightGBM, where it has the parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostingParams {
    /// Rounds, at most; a round grows one tree, or one for each of three or more classes.
    pub rounds: usize,
    /// Factor of the numbers in the leaves, above 0.
    pub learning_rate: f32,
    /// Leaves of a tree, at least 2.
    pub max_leaves: usize,
    /// Splits from the root to a leaf, at most; without a limit where absent.
    pub max_depth: Option<usize>,
    /// Sum of the second derivatives of the loss in a leaf, at least.
    pub min_child_weight: f32,
    /// Rows in a leaf, at least.
    pub min_samples_leaf: usize,
    /// L1 penalty of the numbers in the leaves.
    pub l1: f32,
    /// L2 penalty of the numbers in the leaves.
    pub l2: f32,
    /// Gain of a split, at least.
    pub min_gain: f32,
    /// Share of the rows that a round learns from, in (0, 1], drawn without replacement.
    pub subsample: f32,
    /// Share of the columns that a tree may use, in (0, 1].
    pub column_subsample: f32,
    /// Ends when this many rounds in a row did not lower the loss on the validation part, and keeps the best round.
    pub early_stopping_rounds: Option<usize>,
    /// Share of the rows set aside for early stopping, in (0, 1); drawn from each class alike.
    pub validation_fraction: f32,
    /// Up to this many rows, a fit that stopped early is repeated on all rows, those set aside included, with as many rounds as
    /// were best; a cancelled repetition leaves the first fit.
    pub refit_rows: usize,
    /// Which leaf is split next.
    pub growth: Growth,
    /// Added to the weight of a category when categories are ordered, so that rare ones move to the middle.
    pub cat_smooth: f32,
    /// Added to `l2` for splits by a set of categories.
    pub cat_l2: f32,
    /// Up to this many categories in a node, each is tried against the rest.
    pub max_cat_one_hot: usize,
    /// Categories in the smaller set of a split, at most.
    pub max_cat_set: usize,
}

/// Which leaf is split next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// The one that gains most.
    #[default]
    LeafWise,
    /// One that is nearest to the root.
    DepthWise,
}

impl Default for BoostingParams {
    fn default() -> Self {
        Self {
            rounds: 100,
            learning_rate: 0.1,
            max_leaves: 31,
            max_depth: None,
            min_child_weight: 1e-3,
            min_samples_leaf: 20,
            l1: 0.0,
            l2: 0.0,
            min_gain: 0.0,
            subsample: 1.0,
            column_subsample: 1.0,
            early_stopping_rounds: None,
            validation_fraction: 0.1,
            refit_rows: 20_000,
            growth: Growth::LeafWise,
            cat_smooth: 10.0,
            cat_l2: 10.0,
            max_cat_one_hot: 4,
            max_cat_set: 32,
        }
    }
}

impl BoostingParams {
    fn check(&self) -> Result<(), TreeError> {
        let wrong = |name, found: String, expected| Err(TreeError::Param { name, found, expected });
        if self.max_leaves < 2 {
            return wrong("max_leaves", self.max_leaves.to_string(), "at least 2");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning_rate", self.learning_rate.to_string(), "a finite number above 0");
        }
        let shares = [("subsample", self.subsample), ("column_subsample", self.column_subsample)];
        for (name, share) in shares {
            if !(share > 0.0 && share <= 1.0) {
                return wrong(name, share.to_string(), "a share in (0, 1]");
            }
        }
        if !(self.validation_fraction > 0.0 && self.validation_fraction < 1.0) {
            return wrong("validation_fraction", self.validation_fraction.to_string(), "a share in (0, 1)");
        }
        let amounts = [
            ("min_child_weight", self.min_child_weight),
            ("l1", self.l1),
            ("l2", self.l2),
            ("min_gain", self.min_gain),
            ("cat_smooth", self.cat_smooth),
            ("cat_l2", self.cat_l2),
        ];
        for (name, amount) in amounts {
            if !(amount >= 0.0 && amount.is_finite()) {
                return wrong(name, amount.to_string(), "a finite number of at least 0");
            }
        }
        Ok(())
    }
}

/// What the scores of a booster mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Squared,
    Logistic,
    Softmax,
}

/// A fitted booster.
#[derive(Clone, Debug, PartialEq)]
pub struct Booster {
    kind: Kind,
    /// The score before any tree, one for each tree of a round.
    base: Vec<f32>,
    trees: Trees,
}

/// Boosts on the rows `rows` of `bins` (all of them where absent; a row may occur more than once). `target` and `weights` have
/// an entry for each row of the bins; rows of weight 0 are left out.
///
/// Cancelled, it gives the rounds that are finished.
///
/// # Errors
/// Inputs that do not belong together, parameters out of range, no rows, or cancelled before the first round was finished.
pub fn fit(
    bins: &[Arc<Bins>],
    rows: Option<&[u32]>,
    target: Target<'_>,
    weights: Option<&[f32]>,
    params: &BoostingParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<Booster, TreeError> {
    params.check()?;
    let rows = checked_rows(bins, rows, &target, weights)?;
    let merged: Vec<Arc<Bins>>;
    let bins = if rows.len() < FEW_ROWS {
        let least = params.min_samples_leaf.min(MIN_ROWS_BIN) as u32;
        merged = bins.iter().map(|column| column.merged(&rows, least).map_or_else(|| column.clone(), Arc::new)).collect();
        &merged[..]
    } else {
        bins
    };
    if params.early_stopping_rounds.is_none() {
        return boost(bins, &rows, &target, weights, params, seed, cancel).map(|(booster, _)| booster);
    }
    let (stopped, best) = boost(bins, &rows, &target, weights, params, seed, cancel)?;
    if rows.len() > params.refit_rows || best == 0 || cancel.is_cancelled() {
        return Ok(stopped);
    }
    let params = BoostingParams { rounds: best, early_stopping_rounds: None, ..params.clone() };
    match boost(bins, &rows, &target, weights, &params, seed, cancel) {
        Ok((booster, rounds)) if rounds == best || !cancel.is_cancelled() => Ok(booster),
        _ => Ok(stopped),
    }
}

/// One run of rounds, and how many of them were kept.
fn boost(
    bins: &[Arc<Bins>],
    rows: &[u32],
    target: &Target<'_>,
    weights: Option<&[f32]>,
    params: &BoostingParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<(Booster, usize), TreeError> {
    let n = rows.len();
    let (train, valid) = match params.early_stopping_rounds {
        Some(_) => validation(rows, target, params.validation_fraction, seed),
        None => ((0..n as u32).collect(), Vec::new()),
    };
    let mut loss = Loss::new(rows, target, weights, &train);
    let k = loss.scores();
    let mut scores: Vec<f32> = loss.start().iter().flat_map(|&base| std::iter::repeat_n(base, n)).collect();
    let mut trees = Trees::new(bins, 1);
    let usable: Vec<u32> = (0..bins.len() as u32).filter(|&at| splittable(&bins[at as usize])).collect();
    let mut grower = Grower::new(bins, rows, params, usable.len(), cancel);
    let mut best = (f64::INFINITY, 0);
    let (mut sampled, mut columns) = (train.clone(), usable.clone());
    let mut others = valid.clone();
    let sampling = params.subsample < 1.0 || params.column_subsample < 1.0;
    let mut kept = 0;
    'rounds: for round in 0..params.rounds {
        if sampling {
            let mut rng = stream(seed, round as u64 + 1);
            sample(&train, params.subsample, &mut rng, &mut sampled, &mut others);
            others.extend_from_slice(&valid);
            sample(&usable, params.column_subsample, &mut rng, &mut columns, &mut Vec::new());
        }
        loss.start_round(&scores);
        let mut split = false;
        for class in 0..k {
            let scores = &mut scores[class * n..(class + 1) * n];
            let units = loss.gradients(class, scores, &mut grower.gradients);
            let scan = Scan::new(params, units);
            match grower.grow(&mut trees, &scan, &columns, &sampled, &others, scores) {
                Ok(grown) => split |= grown,
                Err(Cut) => break 'rounds,
            }
        }
        if !split && !sampling {
            // Nothing will ever split again: these trees add nothing.
            break;
        }
        kept = round + 1;
        if let Some(patience) = params.early_stopping_rounds
            && !valid.is_empty()
        {
            let now = loss.mean(&scores, &valid);
            if now < best.0 {
                best = (now, kept);
            } else if kept - best.1 >= patience.max(1) {
                break;
            }
        }
        if cancel.is_cancelled() {
            break;
        }
    }
    if kept == 0 && params.rounds > 0 && cancel.is_cancelled() {
        return Err(TreeError::Cancelled);
    }
    if best.1 > 0 {
        kept = best.1;
    }
    grower.keep(&mut trees, kept * k);
    Ok((Booster { kind: loss.kind(), base: loss.base().to_vec(), trees }, kept))
}

/// Rows below which neighbouring bins with few of them are joined: most bins of a node would be empty.
const FEW_ROWS: usize = 5_000;
/// Rows of a joined bin, at least, where a leaf may have no fewer; what LightGBM has for any number of rows.
const MIN_ROWS_BIN: usize = 3;

fn splittable(bins: &Bins) -> bool {
    bins.bins() > 1 || bins.bins() == 1 && bins.codes.contains(&super::bins::MISSING)
}

/// Splits positions of rows into those to learn from and those to validate on, from each class alike.
fn validation(rows: &[u32], target: &Target<'_>, share: f32, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<(u32, u64, u32)> = Vec::with_capacity(rows.len());
    let mut rng = stream(seed, 0);
    for (position, &row) in rows.iter().enumerate() {
        let class = match target {
            Target::Classes { codes, .. } => codes[row as usize],
            Target::Values(_) => 0,
        };
        order.push((class, rng.next_u64(), position as u32));
    }
    order.sort_unstable();
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        // Every class keeps a row to learn from.
        let count = ((group.len() as f32 * share).round() as usize).min(group.len() - 1);
        valid.extend(group[..count].iter().map(|item| item.2));
        train.extend(group[count..].iter().map(|item| item.2));
    }
    train.sort_unstable();
    valid.sort_unstable();
    (train, valid)
}

/// Draws a share of `from` without replacement into `drawn`, the others into `rest`, both in their order.
fn sample(from: &[u32], share: f32, rng: &mut impl Rng, drawn: &mut Vec<u32>, rest: &mut Vec<u32>) {
    drawn.clear();
    rest.clear();
    let mut wanted = ((from.len() as f64 * f64::from(share)).round() as u64).max(1);
    for (at, &item) in from.iter().enumerate() {
        let left = (from.len() - at) as u64;
        if wanted == left || u64::from(rng.next_u32()) * left < wanted << 32 {
            drawn.push(item);
            wanted = wanted.saturating_sub(1);
        } else {
            rest.push(item);
        }
    }
}

impl Booster {
    /// Numbers a prediction has for each row: one for each class, or one value.
    pub fn width(&self) -> usize {
        if self.kind == Kind::Logistic { 2 } else { self.base.len() }
    }

    /// Rounds that were kept.
    pub fn rounds(&self) -> usize {
        self.trees.roots.len() / self.base.len().max(1)
    }

    /// Row-major probabilities of the classes, or one value a row.
    ///
    /// # Errors
    /// Columns that are not those of the fit, or differ in length; cancelled.
    pub fn predict(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<f32>, TreeError> {
        let each = self.base.len();
        let start: Vec<f64> = self.base.iter().map(|&base| f64::from(base)).collect();
        let add = |tree: usize, leaf: &[f32], rows: &[u32], scores: &mut [f64]| {
            let (class, value) = (tree % each, leaf.first().map_or(0.0, |&x| f64::from(x)));
            rows.iter().for_each(|&row| scores[row as usize * each + class] += value);
        };
        let kind = self.kind;
        let end = |scores: &[f64], row: &mut [f32]| {
            row.iter_mut().zip(scores).for_each(|(x, &score)| *x = score as f32);
            match (kind, row) {
                (Kind::Logistic, [no, yes]) => {
                    *yes = objective::sigmoid(*no);
                    *no = 1.0 - *yes;
                }
                (Kind::Softmax, row) => objective::softmax(row),
                _ => {}
            }
        };
        self.trees.predict(columns, self.width(), &start, add, end, cancel)
    }

    /// The leaf of each row in each tree: row-major, a tree a column. Leaves
    /// are numbered through the whole model, below [`Booster::leaf_count`].
    ///
    /// # Errors
    /// As [`Booster::predict`].
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

    /// Total gain of the splits of each column.
    pub fn feature_importance(&self) -> &[f32] {
        &self.trees.importance
    }

    /// The saved form.
    pub fn to_parts(&self) -> Parts {
        let kind = match self.kind {
            Kind::Squared => 0,
            Kind::Logistic => 1,
            Kind::Softmax => 2,
        };
        let mut parts = vec![
            ("booster".to_owned(), PartData::U32(vec![VERSION, kind])),
            ("base".to_owned(), PartData::F32(self.base.clone())),
        ];
        self.trees.write(&mut parts);
        parts
    }

    /// Bytes of the saved form.
    pub fn bytes(&self) -> usize {
        8 + 4 * self.base.len() + self.trees.bytes()
    }

    /// Reads [`Booster::to_parts`].
    ///
    /// # Errors
    /// Anything that was not written by it: such a model is never built.
    pub fn from_parts(parts: Parts) -> Result<Self, TreeError> {
        let kind = match integers(&parts, "booster")? {
            [VERSION, 0] => Kind::Squared,
            [VERSION, 1] => Kind::Logistic,
            [VERSION, 2] => Kind::Softmax,
            _ => {
                return Err(invalid("booster", format!("expected version {VERSION} and an objective")));
            }
        };
        let base = numbers(&parts, "base")?.to_vec();
        if base.is_empty() || kind != Kind::Softmax && base.len() != 1 {
            return Err(invalid("base", "expected a score for each tree of a round"));
        }
        let trees = Trees::read(&parts, 1)?;
        if !trees.roots.len().is_multiple_of(base.len()) {
            return Err(invalid("roots", format!("expected a multiple of {} trees", base.len())));
        }
        Ok(Self { kind, base, trees })
    }
}

/// Version of the saved form.
const VERSION: u32 = 1;
