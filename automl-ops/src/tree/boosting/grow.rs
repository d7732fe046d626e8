//! Grows one tree of a booster.
//!
//! All memory lives as long as the fit: a tree, a node and a split allocate nothing. One pass over the columns does all the work
//! of a split (sum up the smaller child, subtract, search both) while the histogram of a column is in the nearest cache; that
//! pass is what threads share.

use std::ops::Range;
use std::sync::Arc;

use automl_core::Cancel;
use rayon::prelude::*;

use super::super::bins::Bins;
use super::super::model::{LEAF, Rule, Trees, gained};
use super::histogram::{Histogram, Sums, build, count, minus, plus, subtract};
use super::split::{Scan, Split};
use super::{BoostingParams, Growth};

/// The cancel token was raised.
pub(super) struct Cut;

/// Grows trees over the same rows.
pub(super) struct Grower<'a> {
    bins: &'a [Arc<Bins>],
    /// The row in the bins of each position.
    rows: &'a [u32],
    params: &'a BoostingParams,
    cancel: &'a Cancel,
    /// Derivatives of each position, to be set before each tree.
    pub(super) gradients: Vec<Sums>,
    /// Positions, ordered by leaf.
    order: Vec<u32>,
    scratch: Vec<u32>,
    /// Rows and derivatives of the node that is summed up, in its order.
    node_rows: Vec<u32>,
    node_gradients: Vec<Sums>,
    pool: Vec<Vec<Histogram>>,
    free: Vec<usize>,
    found: Vec<[Option<Split>; 2]>,
    leaves: Vec<Leaf>,
    /// Rule, column and gain of each node of all trees.
    splits: Vec<(Rule, u32, f32)>,
    /// Nodes and leaves up to the end of each tree.
    ends: Vec<(usize, usize)>,
}

/// A leaf that may become a node.
struct Leaf {
    range: Range<usize>,
    sums: Sums,
    depth: usize,
    parent: Option<(u32, bool)>,
    slot: Option<usize>,
    split: Option<Split>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        bins: &'a [Arc<Bins>],
        rows: &'a [u32],
        params: &'a BoostingParams,
        columns: usize,
        cancel: &'a Cancel,
    ) -> Self {
        let bytes = columns.max(1) * size_of::<Histogram>();
        // A leaf whose histogram was given up is summed up again when it is split.
        let slots = (params.max_leaves + 1).min(POOL_BYTES / bytes).max(3);
        Self {
            bins,
            rows,
            params,
            cancel,
            gradients: Vec::new(),
            order: Vec::new(),
            scratch: Vec::new(),
            node_rows: Vec::new(),
            node_gradients: Vec::new(),
            pool: (0..slots).map(|_| Vec::new()).collect(),
            free: Vec::new(),
            found: Vec::new(),
            leaves: Vec::new(),
            splits: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Adds a tree to `trees`, learnt from the positions `sampled`, and its numbers to the scores of these and of `others`.
    /// Gives whether it has a split. After an error, [`Grower::keep`] removes what is there of the tree.
    pub(super) fn grow(
        &mut self,
        trees: &mut Trees,
        scan: &Scan,
        columns: &[u32],
        sampled: &[u32],
        others: &[u32],
        scores: &mut [f32],
    ) -> Result<bool, Cut> {
        self.order.clear();
        self.order.extend_from_slice(sampled);
        self.scratch.resize(sampled.len(), 0);
        self.leaves.clear();
        self.free.clear();
        self.free.extend((0..self.pool.len()).rev());
        let sums = sampled.iter().fold([0; 2], |sums, &at| plus(sums, self.gradients[at as usize]));
        let root = Leaf { range: 0..sampled.len(), sums, depth: 0, parent: None, slot: None, split: None };
        self.leaves.push(root);
        if self.may_split(scan, 0) {
            self.search(scan, columns, 0, None)?;
        }
        while self.leaves.len() < self.params.max_leaves {
            let Some(at) = self.next() else { break };
            self.split(trees, scan, columns, at)?;
        }
        let split = self.leaves.len() > 1;
        for leaf in &self.leaves {
            let value = scan.leaf(leaf.sums);
            trees.attach(leaf.parent, trees.leaf_link());
            trees.leaves.push(value);
            for &at in &self.order[leaf.range.clone()] {
                scores[at as usize] += value;
            }
        }
        self.score(trees, others, scores);
        self.ends.push((trees.nodes.len(), trees.leaves.len()));
        Ok(split)
    }

    /// The leaf to split next.
    fn next(&self) -> Option<usize> {
        let open = self.leaves.iter().enumerate().filter_map(|(at, leaf)| leaf.split.map(|split| (at, leaf, split)));
        match self.params.growth {
            Growth::LeafWise => open.rev().max_by(|a, b| a.2.gain.total_cmp(&b.2.gain)).map(|(at, ..)| at),
            Growth::DepthWise => open.min_by_key(|(at, leaf, _)| (leaf.depth, *at)).map(|(at, ..)| at),
        }
    }

    fn may_split(&self, scan: &Scan, at: usize) -> bool {
        let leaf = &self.leaves[at];
        self.params.max_depth.is_none_or(|most| leaf.depth < most) && scan.splittable(leaf.sums)
    }

    fn split(&mut self, trees: &mut Trees, scan: &Scan, columns: &[u32], at: usize) -> Result<(), Cut> {
        let leaf = &mut self.leaves[at];
        let Some(split) = leaf.split.take() else {
            return Ok(());
        };
        let (range, depth, slot) = (leaf.range.clone(), leaf.depth, leaf.slot.take());
        let bins = &self.bins[split.column as usize];
        let node = trees.push(split.column as usize, bins, &split.rule);
        trees.attach(leaf.parent, node);
        self.splits.push((split.rule, split.column, split.gain as f32));
        let right_sums = minus(leaf.sums, split.left);
        let lefts = self.partition(bins, &split.rule, range.clone());
        debug_assert_eq!(lefts as i64, count(split.left));
        let middle = range.start + lefts;
        let child =
            |range, sums, left| Leaf { range, sums, depth: depth + 1, parent: Some((node, left)), slot: None, split: None };
        let other = self.leaves.len();
        self.leaves.push(child(middle..range.end, right_sums, false));
        self.leaves[at] = child(range.start..middle, split.left, true);
        let last = self.leaves.len() >= self.params.max_leaves;
        let (small, large) = if 2 * lefts <= range.len() { (at, other) } else { (other, at) };
        let wanted = |grower: &Self, at| !last && grower.may_split(scan, at);
        match (wanted(self, small), wanted(self, large), slot) {
            (false, false, slot) => self.free.extend(slot),
            (true, false, slot) => {
                self.free.extend(slot);
                self.search(scan, columns, small, None)?;
            }
            (_, true, Some(slot)) => self.search(scan, columns, small, Some((large, slot)))?,
            (small_wanted, true, None) => {
                if small_wanted {
                    self.search(scan, columns, small, None)?;
                }
                self.search(scan, columns, large, None)?;
            }
        }
        Ok(())
    }

    /// Sums up the leaf `small` and finds its split, and that of its sibling, which is what is left of their parent's
    /// histograms in the slot given with it.
    fn search(&mut self, scan: &Scan, columns: &[u32], small: usize, large: Option<(usize, usize)>) -> Result<(), Cut> {
        let slot = self.slot(small, large.map(|(large, _)| large));
        let mut own = std::mem::take(&mut self.pool[slot]);
        let mut rest = large.map(|(_, slot)| std::mem::take(&mut self.pool[slot])).unwrap_or_default();
        own.resize(columns.len(), [[0; 2]; 256]);
        self.found.resize(columns.len(), [None; 2]);
        let range = self.leaves[small].range.clone();
        self.node_rows.resize(range.len(), 0);
        self.node_gradients.resize(range.len(), [0; 2]);
        let (all_rows, all_gradients) = (self.rows, &self.gradients[..]);
        let gather = |order: &[u32], rows: &mut [u32], gradients: &mut [Sums]| {
            for ((&at, row), sums) in order.iter().zip(rows).zip(gradients) {
                *row = all_rows[at as usize];
                *sums = all_gradients[at as usize];
            }
        };
        let order = &self.order[range.clone()];
        if order.len() < 2 * LONG {
            gather(order, &mut self.node_rows, &mut self.node_gradients);
        } else {
            let pieces = self.node_rows.par_chunks_mut(LONG).zip(self.node_gradients.par_chunks_mut(LONG));
            let pieces = order.par_chunks(LONG).zip(pieces);
            pieces.for_each(|(order, (rows, gradients))| gather(order, rows, gradients));
        }
        let (rows, gradients) = (&self.node_rows[..], &self.node_gradients[..]);
        let sums = self.leaves[small].sums;
        let small_wanted = self.may_split(scan, small);
        let rest_sums = large.map(|(large, _)| self.leaves[large].sums);
        let (bins, cancel) = (self.bins, self.cancel);
        let long = rows.len() > LONG;
        let one = |column: u32, own: &mut Histogram, rest: Option<&mut Histogram>, found: &mut [Option<Split>; 2]| {
            let of = &bins[column as usize];
            *found = [None; 2];
            if long && cancel.is_cancelled() {
                return;
            }
            build(own, of.bins(), &of.codes, rows, gradients);
            if small_wanted {
                found[0] = scan.best(own, of.bins(), of.categorical, sums, column);
            }
            if let (Some(rest), Some(sums)) = (rest, rest_sums) {
                subtract(rest, own, of.bins());
                found[1] = scan.best(rest, of.bins(), of.categorical, sums, column);
            }
        };
        let found = &mut self.found[..];
        if columns.len() * (rows.len() + 256) < SERIAL_WORK {
            let mut rest = rest.iter_mut();
            for ((&column, own), found) in columns.iter().zip(&mut own).zip(found) {
                one(column, own, rest.next(), found);
            }
        } else if large.is_some() {
            let all = columns.par_iter().zip(&mut own).zip(&mut rest).zip(found);
            all.for_each(|(((&column, own), rest), found)| one(column, own, Some(rest), found));
        } else {
            let all = columns.par_iter().zip(&mut own).zip(found);
            all.for_each(|((&column, own), found)| one(column, own, None, found));
        }
        self.pool[slot] = own;
        if let Some((_, slot)) = large {
            self.pool[slot] = rest;
        }
        if self.cancel.is_cancelled() {
            return Err(Cut);
        }
        self.settle(small, slot, 0);
        if let Some((large, slot)) = large {
            self.settle(large, slot, 1);
        }
        Ok(())
    }

    /// Gives a leaf the best split that was found; its histograms stay only if it has one.
    fn settle(&mut self, at: usize, slot: usize, which: usize) {
        let better = |best: Option<Split>, split: Split| match best {
            Some(best) if best.gain >= split.gain => Some(best),
            _ => Some(split),
        };
        let best = self.found.iter().filter_map(|found| found[which]).fold(None, better);
        self.leaves[at].split = best;
        if best.is_some() {
            self.leaves[at].slot = Some(slot);
        } else {
            self.free.push(slot);
        }
    }

    /// A free slot; if there is none, that of the leaf that gains least.
    fn slot(&mut self, small: usize, large: Option<usize>) -> usize {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let gain = |leaf: &Leaf| leaf.split.map_or(0.0, |split| split.gain);
        let holders = self.leaves.iter_mut().enumerate();
        let holders = holders.filter(|(at, leaf)| *at != small && Some(*at) != large && leaf.slot.is_some());
        let least = holders.min_by(|a, b| gain(a.1).total_cmp(&gain(b.1)));
        // Every slot is free or held by a leaf or by this split, so the new slot is never needed.
        least.and_then(|(_, leaf)| leaf.slot.take()).unwrap_or_else(|| {
            self.pool.push(Vec::new());
            self.pool.len() - 1
        })
    }

    /// Moves the positions that go left to the front, in order, and gives their number.
    fn partition(&mut self, bins: &Bins, rule: &Rule, range: Range<usize>) -> usize {
        let (order, scratch, rows) = (&mut self.order[range.clone()], &mut self.scratch[range], self.rows);
        if order.len() < 2 * LONG {
            return part(bins, rule, rows, order, scratch);
        }
        // Each piece on its own, then the pieces one after the other.
        let pieces = order.par_chunks_mut(LONG).zip(scratch.par_chunks_mut(LONG));
        let lefts: Vec<usize> = pieces.map(|(order, scratch)| part(bins, rule, rows, order, scratch)).collect();
        let all = lefts.iter().sum();
        let (mut left, mut right) = scratch.split_at_mut(all);
        for (piece, &lefts) in order.chunks(LONG).zip(&lefts) {
            let (piece_left, piece_right) = piece.split_at(lefts);
            let (now, later) = left.split_at_mut(piece_left.len());
            now.copy_from_slice(piece_left);
            left = later;
            let (now, later) = right.split_at_mut(piece_right.len());
            now.copy_from_slice(piece_right);
            right = later;
        }
        order.copy_from_slice(scratch);
        all
    }

    /// Adds the numbers of the last tree to the scores of rows that it did not learn from.
    fn score(&self, trees: &Trees, others: &[u32], scores: &mut [f32]) {
        let Some(&root) = trees.roots.last() else {
            return;
        };
        let walk = |&at: &u32| {
            let row = self.rows[at as usize] as usize;
            let mut link = root;
            while link & LEAF == 0 {
                let (rule, column, _) = &self.splits[link as usize];
                let node = &trees.nodes[link as usize];
                let left = rule.goes_left(self.bins[*column as usize].codes[row]);
                link = if left { node.left } else { node.right };
            }
            trees.leaves[(link & !LEAF) as usize]
        };
        if others.len() < LONG {
            others.iter().for_each(|at| scores[*at as usize] += walk(at));
        } else {
            let mut values = Vec::new();
            others.par_iter().with_min_len(LONG / 8).map(walk).collect_into_vec(&mut values);
            others.iter().zip(&values).for_each(|(&at, value)| scores[at as usize] += value);
        }
    }

    /// Removes all trees but the first `count` and sums up the gains of the others.
    pub(super) fn keep(&self, trees: &mut Trees, count: usize) {
        let (nodes, leaves) = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or((0, 0));
        trees.roots.truncate(count);
        trees.nodes.truncate(nodes);
        trees.leaves.truncate(leaves);
        let sets = trees.nodes.iter().filter(|node| node.is_set()).count();
        trees.sets.truncate(sets);
        for (_, column, gain) in self.splits.iter().take(nodes) {
            gained(&mut trees.importance[*column as usize], *gain);
        }
    }
}

/// Memory for histograms, at most.
const POOL_BYTES: usize = 256 << 20;
/// Rows of a node from which each column looks at the cancel token; rows to score from which other threads help.
const LONG: usize = 1 << 15;
/// Bin updates of a node below which starting other threads costs more than it saves.
const SERIAL_WORK: usize = 40_000;

/// [`Grower::partition`] of one piece.
fn part(bins: &Bins, rule: &Rule, rows: &[u32], order: &mut [u32], scratch: &mut [u32]) -> usize {
    let code = |at: u32| bins.codes[rows[at as usize] as usize];
    match rule {
        &Rule::Cut { bin, missing_left: false } => sides(order, scratch, |at| code(at) <= bin),
        // Adding one turns the missing code to 0, which is below every other.
        &Rule::Cut { bin, missing_left: true } => sides(order, scratch, |at| code(at).wrapping_add(1) <= bin + 1),
        rule => sides(order, scratch, |at| rule.goes_left(code(at))),
    }
}

/// A stable partition without branches.
fn sides(order: &mut [u32], scratch: &mut [u32], left: impl Fn(u32) -> bool) -> usize {
    let (mut lefts, mut rights) = (0, 0);
    for at in 0..order.len() {
        let item = order[at];
        let goes_left = left(item);
        order[lefts] = item;
        scratch[rights] = item;
        lefts += usize::from(goes_left);
        rights += usize::from(!goes_left);
    }
    order[lefts..].copy_from_slice(&scratch[..rights]);
    lefts
}
