//! Fitted trees as flat arrays, and how they are walked.
//!
//! All trees of a model share one array of 16-byte nodes in which a child lies behind its parent; a link with its top bit set
//! names a leaf, so reaching one costs no visit. To predict, a block of rows falls through a tree together, parted at each node as
//! in a fit: no step waits for another and no branch depends on the data. The last few rows of a node walk side by side.

use std::ops::Range;
use std::sync::Arc;

use automl_core::Cancel;
use rayon::prelude::*;

use super::bins::{Bins, MISSING};
use super::{Raw, TreeError};

/// The bit of a link that names a leaf.
pub(super) const LEAF: u32 = 1 << 31;
/// The bit of [`Node::column`] for a split by a set of bins.
const SET: u32 = 1 << 31;
/// The bit of [`Node::column`] for missing numbers going left.
const MISSING_LEFT: u32 = 1 << 30;

/// One split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Position of the column, and two bits about the kind of split.
    pub column: u32,
    /// The bits of the threshold, or the position of the set of bins that go left.
    pub split: u32,
    /// Node or leaf for `x <= threshold`, or for bins in the set.
    pub left: u32,
    /// Node or leaf for the rest.
    pub right: u32,
}

impl Node {
    pub(super) fn position(&self) -> usize {
        (self.column & !(SET | MISSING_LEFT)) as usize
    }

    pub(super) fn is_set(&self) -> bool {
        self.column & SET != 0
    }

    #[inline]
    fn goes_left(&self, sets: &[[u32; 8]], view: View<'_>, row: u32) -> bool {
        match view {
            View::Numbers(values) => {
                let x = values[row as usize];
                (x <= f32::from_bits(self.split)) | (x.is_nan() & (self.column & MISSING_LEFT != 0))
            }
            View::Bins(bins) => {
                let bin = bins[row as usize];
                sets[self.split as usize][usize::from(bin >> 5)] >> (bin & 31) & 1 == 1
            }
        }
    }

    /// Copies rows: those that go left to the front, the others behind them; gives the number of the former.
    fn part(&self, sets: &[[u32; 8]], view: View<'_>, from: &[u32], to: &mut [u32]) -> usize {
        let cut = f32::from_bits(self.split);
        match view {
            // What is missing compares with nothing.
            #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "a missing value goes left here")]
            View::Numbers(values) if self.column & MISSING_LEFT != 0 => part(from, to, |row| !(values[row as usize] > cut)),
            View::Numbers(values) => part(from, to, |row| values[row as usize] <= cut),
            View::Bins(_) => part(from, to, |row| self.goes_left(sets, view, row)),
        }
    }
}

/// How one node sends bins to its children.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    /// Bins up to `bin` go left; the missing bin where `missing_left` says so.
    Cut { bin: u8, missing_left: bool },
    /// Bins in the set go left; the missing bin is bit 255.
    Set([u32; 8]),
}

impl Rule {
    #[inline]
    pub(super) fn goes_left(&self, code: u8) -> bool {
        match self {
            Rule::Cut { bin, missing_left } => code <= *bin || (code == MISSING && *missing_left),
            Rule::Set(set) => set[usize::from(code >> 5)] >> (code & 31) & 1 == 1,
        }
    }
}

/// Trees over the same columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trees {
    /// For each column: the bin of each level, or nothing for numbers.
    pub columns: Vec<Option<Vec<u8>>>,
    /// One link a tree.
    pub roots: Vec<u32>,
    pub nodes: Vec<Node>,
    pub sets: Vec<[u32; 8]>,
    /// `width` numbers a leaf.
    pub leaves: Vec<f32>,
    pub width: usize,
    /// Total gain for each column.
    pub importance: Vec<f32>,
}

impl Trees {
    pub(super) fn new(bins: &[Arc<Bins>], width: usize) -> Self {
        Self {
            columns: bins.iter().map(|column| column.categorical.then(|| column.level_bins.clone())).collect(),
            roots: Vec::new(),
            nodes: Vec::new(),
            sets: Vec::new(),
            leaves: Vec::new(),
            width,
            importance: vec![0.0; bins.len()],
        }
    }

    /// Adds a node whose children are not known yet.
    pub(super) fn push(&mut self, column: usize, bins: &Bins, rule: &Rule) -> u32 {
        let (flags, split) = match rule {
            Rule::Cut { bin, missing_left } => {
                // The last bin has no upper cut: everything that is a number goes left.
                let cut = bins.cuts.get(usize::from(*bin)).copied().unwrap_or(f32::MAX);
                (if *missing_left { MISSING_LEFT } else { 0 }, cut.to_bits())
            }
            Rule::Set(set) => {
                self.sets.push(*set);
                (SET, self.sets.len() as u32 - 1)
            }
        };
        self.nodes.push(Node { column: column as u32 | flags, split, left: LEAF, right: LEAF });
        self.nodes.len() as u32 - 1
    }

    /// Adds a leaf and gives the link to it; the caller appends `width` numbers to `leaves`.
    pub(super) fn leaf_link(&self) -> u32 {
        (self.leaves.len() / self.width) as u32 | LEAF
    }

    /// Makes `link` the child of the node and side in `parent`, or the root of a new tree.
    pub(super) fn attach(&mut self, parent: Option<(u32, bool)>, link: u32) {
        match parent {
            None => self.roots.push(link),
            Some((node, true)) => self.nodes[node as usize].left = link,
            Some((node, false)) => self.nodes[node as usize].right = link,
        }
    }

    /// All trees of `parts`, which have the same columns and width; none where there are no parts. Large forests are not copied
    /// more than once.
    pub(super) fn joined(parts: Vec<Trees>) -> Option<Self> {
        let sum = |count: fn(&Trees) -> usize| parts.iter().map(count).sum::<usize>();
        let (roots, nodes) = (sum(|part| part.roots.len()), sum(|part| part.nodes.len()));
        let (sets, leaves) = (sum(|part| part.sets.len()), sum(|part| part.leaves.len()));
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        all.roots.reserve_exact(roots - all.roots.len());
        all.nodes.reserve_exact(nodes - all.nodes.len());
        all.sets.reserve_exact(sets - all.sets.len());
        all.leaves.reserve_exact(leaves - all.leaves.len());
        parts.for_each(|part| all.append(part));
        Some(all)
    }

    /// Gives back what was reserved for more nodes.
    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.sets.shrink_to_fit();
        self.leaves.shrink_to_fit();
    }

    /// Appends the trees of `other`, which has the same columns and width.
    pub(super) fn append(&mut self, other: Trees) {
        let (node, leaf) = (self.nodes.len() as u32, (self.leaves.len() / self.width) as u32);
        let set = self.sets.len() as u32;
        let shift = |link: u32| {
            if link & LEAF == 0 { link + node } else { link + leaf }
        };
        self.roots.extend(other.roots.into_iter().map(shift));
        self.nodes.extend(other.nodes.into_iter().map(|node| Node {
            split: if node.is_set() { node.split + set } else { node.split },
            left: shift(node.left),
            right: shift(node.right),
            ..node
        }));
        self.sets.extend(other.sets);
        self.leaves.extend(other.leaves);
        for (sum, gain) in self.importance.iter_mut().zip(other.importance) {
            gained(sum, gain);
        }
    }

    /// Rows of the columns, which have to be those of the fit.
    pub(super) fn check(&self, columns: &[Raw<'_>]) -> Result<usize, TreeError> {
        if columns.len() != self.columns.len() {
            let (expected, found) = (self.columns.len(), columns.len());
            return Err(TreeError::Length { what: "the list of columns", expected, found });
        }
        let rows = columns.first().map_or(0, Raw::len);
        for (at, (column, map)) in columns.iter().zip(&self.columns).enumerate() {
            if column.len() != rows {
                return Err(TreeError::Length { what: "a column", expected: rows, found: column.len() });
            }
            let expected = if map.is_some() { "a category" } else { "numeric" };
            if column.kind() != expected {
                return Err(TreeError::Kind { column: at, expected, found: column.kind() });
            }
        }
        Ok(rows)
    }

    /// Row-major, `k` numbers a row. The sums of a row begin at `start`; `add` gets the index of a tree, the
    /// numbers of a leaf, the rows that reach it and the sums of all rows; `end` turns sums into the numbers of the row.
    ///
    /// # Errors
    /// Columns that are not those of the fit, or differ in length; cancelled.
    pub(super) fn predict(
        &self,
        columns: &[Raw<'_>],
        k: usize,
        start: &[f64],
        add: impl Fn(usize, &[f32], &[u32], &mut [f64]) + Sync,
        end: impl Fn(&[f64], &mut [f32]) + Sync,
        cancel: &Cancel,
    ) -> Result<Vec<f32>, TreeError> {
        let (rows, each) = (self.check(columns)?, start.len());
        let mut out = vec![0.0; rows * k];
        let block = self.block(rows, each);
        let one = |at: usize, out: &mut [f32], buffer: &mut Buffer| {
            if cancel.is_cancelled() {
                return;
            }
            let mut sums = std::mem::take(&mut buffer.sums);
            sums.clear();
            (0..out.len() / k).for_each(|_| sums.extend_from_slice(start));
            self.leaves(columns, at * block, out.len() / k, buffer, |tree, leaf, rows| {
                let leaf = leaf * self.width;
                add(tree, &self.leaves[leaf..leaf + self.width], rows, &mut sums);
            });
            out.chunks_exact_mut(k).zip(sums.chunks_exact(each)).for_each(|(out, sums)| end(sums, out));
            buffer.sums = sums;
        };
        if rows * self.roots.len() < SERIAL_WALKS || rows <= block {
            let mut buffer = Buffer::default();
            out.chunks_mut(block * k).enumerate().for_each(|(at, out)| one(at, out, &mut buffer));
        } else {
            let blocks = out.par_chunks_mut(block * k).enumerate();
            blocks.for_each_init(Buffer::default, |buffer, (at, out)| one(at, out, buffer));
        }
        if cancel.is_cancelled() { Err(TreeError::Cancelled) } else { Ok(out) }
    }

    /// The leaf of each row in each tree, counted from the first leaf of the model: row-major, a tree a column.
    ///
    /// # Errors
    /// Columns that are not those of the fit, or cancelled.
    pub(super) fn reached(&self, columns: &[Raw<'_>], cancel: &Cancel) -> Result<Vec<u32>, TreeError> {
        let (rows, trees) = (self.check(columns)?, self.roots.len().max(1));
        let block = self.block(rows, 1);
        let mut out = vec![0; rows * trees];
        out.par_chunks_mut(block * trees).enumerate().for_each_init(Buffer::default, |buffer, (at, out)| {
            if !cancel.is_cancelled() {
                self.leaves(columns, at * block, out.len() / trees, buffer, |tree, leaf, rows| {
                    rows.iter().for_each(|&row| out[row as usize * trees + tree] = leaf as u32);
                });
            }
        });
        if cancel.is_cancelled() { Err(TreeError::Cancelled) } else { Ok(out) }
    }

    /// Rows of a block: more for large trees, so that a tree in the cache serves many of them.
    fn block(&self, rows: usize, each: usize) -> usize {
        let tree = 2 * self.nodes.len() / self.roots.len().max(1);
        tree.clamp(1 << 10, 1 << 13).min((1 << 17) / each.max(1)).min(rows.div_ceil(16)).max(64)
    }

    /// Calls `reach` with a tree, a leaf of it and the rows in it, counted from `first`, for every leaf that is reached.
    fn leaves(
        &self,
        columns: &[Raw<'_>],
        first: usize,
        rows: usize,
        buffer: &mut Buffer,
        mut reach: impl FnMut(usize, usize, &[u32]),
    ) {
        let Buffer { bins, order, open, .. } = buffer;
        bins.clear();
        for (column, map) in columns.iter().zip(&self.columns) {
            if let Raw::Category(codes) = column {
                let map = map.as_deref().unwrap_or(&[]);
                bins.extend(codes[first..first + rows].iter().map(|&code| map.get(code as usize).copied().unwrap_or(MISSING)));
            }
        }
        let mut categories = bins.chunks_exact(rows.max(1));
        let mut views: Vec<View<'_>> = Vec::with_capacity(columns.len());
        for column in columns {
            views.push(match *column {
                Raw::Numeric(values) => View::Numbers(&values[first..first + rows]),
                Raw::Category(_) => View::Bins(categories.next().unwrap_or(&[])),
            });
        }
        order.iter_mut().for_each(|order| order.resize(rows, 0));
        let [one, two] = order;
        for (tree, &root) in self.roots.iter().enumerate() {
            one.iter_mut().zip(0..).for_each(|(slot, row)| *slot = row);
            open.push((root, 0..rows, false));
            while let Some((link, range, swapped)) = open.pop() {
                let (from, to) = if swapped {
                    (&two[range.clone()], &mut one[range.clone()])
                } else {
                    (&one[range.clone()], &mut two[range.clone()])
                };
                if link & LEAF != 0 {
                    reach(tree, (link & !LEAF) as usize, from);
                } else if from.len() <= LANES {
                    self.walk(link, &views, from, |leaf, row| reach(tree, leaf, &[row]));
                } else {
                    let node = &self.nodes[link as usize];
                    let lefts = node.part(&self.sets, views[node.position()], from, to);
                    let middle = range.start + lefts;
                    if middle < range.end {
                        open.push((node.right, middle..range.end, !swapped));
                    }
                    if lefts > 0 {
                        open.push((node.left, range.start..middle, !swapped));
                    }
                }
            }
        }
    }

    /// The leaves of a few rows, which walk together so that their loads overlap.
    #[inline]
    fn walk(&self, link: u32, views: &[View<'_>], rows: &[u32], mut reach: impl FnMut(usize, u32)) {
        if let &[row] = rows {
            let mut link = link;
            while link & LEAF == 0 {
                let node = &self.nodes[link as usize];
                link = if node.goes_left(&self.sets, views[node.position()], row) { node.left } else { node.right };
            }
            return reach((link & !LEAF) as usize, row);
        }
        let mut links = [link; LANES];
        loop {
            let mut walking = 0u32;
            for (link, &row) in links.iter_mut().zip(rows) {
                let at = if *link & LEAF == 0 { *link } else { 0 };
                let node = &self.nodes[at as usize];
                let next = if node.goes_left(&self.sets, views[node.position()], row) { node.left } else { node.right };
                *link = if *link & LEAF == 0 { next } else { *link };
                walking |= !*link;
            }
            if walking & LEAF == 0 {
                break;
            }
        }
        links.iter().zip(rows).for_each(|(link, &row)| reach((link & !LEAF) as usize, row));
    }

    /// Number of splits by each column.
    pub(super) fn splits(&self) -> Vec<u32> {
        let mut counts = vec![0; self.columns.len()];
        self.nodes.iter().for_each(|node| counts[node.position()] += 1);
        counts
    }
}

/// Writes both ends of `to` without branches; the slots that are not claimed are written again.
#[inline]
fn part(from: &[u32], to: &mut [u32], left: impl Fn(u32) -> bool) -> usize {
    let (mut lefts, mut end) = (0, from.len().min(to.len()));
    for &row in from {
        let goes_left = left(row);
        to[lefts] = row;
        to[end - 1] = row;
        lefts += usize::from(goes_left);
        end -= usize::from(!goes_left);
    }
    lefts
}

/// Adds a gain, and stays finite however large the target is.
pub(super) fn gained(sum: &mut f32, gain: f32) {
    *sum = (*sum + gain.max(0.0)).min(f32::MAX);
}

/// A block of a column as a tree reads it.
#[derive(Clone, Copy)]
enum View<'a> {
    Numbers(&'a [f32]),
    Bins(&'a [u8]),
}

/// Reusable memory of one thread that predicts.
#[derive(Default)]
struct Buffer {
    /// Bins of the categories of a block, column by column.
    bins: Vec<u8>,
    /// Rows ordered by node: those of a node move from one list to the other when it is split.
    order: [Vec<u32>; 2],
    /// Nodes to visit, their rows, and whether these are in the second list.
    open: Vec<(u32, Range<usize>, bool)>,
    sums: Vec<f64>,
}

/// Rows that walk a tree together.
const LANES: usize = 8;
/// Walks (rows times trees) below which starting other threads costs more than it saves.
const SERIAL_WALKS: usize = 1 << 14;
