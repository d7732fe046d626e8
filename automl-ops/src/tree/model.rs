//! Fitted trees as flat arrays, and how they are walked.
//!
//! All trees of a model share one array of 16-byte nodes in which a child lies behind its parent; a link with its top bit set
//! names a leaf, so reaching one costs no visit. Rows are walked in blocks that are first turned to row-major order: then one
//! tree stays in the cache for a whole block, and eight rows walk at a time so that their loads overlap.

use std::sync::Arc;

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

    /// Fills the row-major `out` (`k` numbers a row). The sums of a row begin at `start`, `add` adds the numbers of a leaf of
    /// the tree of that index, and `end` turns the sums into the numbers of the row.
    pub(super) fn predict(
        &self,
        columns: &[Raw<'_>],
        out: &mut [f32],
        k: usize,
        start: &[f64],
        add: impl Fn(usize, &[f32], &mut [f64]) + Sync,
        end: impl Fn(&[f64], &mut [f32]) + Sync,
    ) {
        let (stride, each) = (columns.len().max(1), start.len());
        let block = (BLOCK_VALUES / stride).clamp(16, 512);
        let one = |at: usize, out: &mut [f32], buffer: &mut Buffer| {
            let rows = out.len() / k;
            let Buffer { x, links, sums } = buffer;
            x.resize(rows * stride, 0.0);
            links.resize(rows, 0);
            self.transpose(columns, at * block, x, stride);
            sums.clear();
            (0..rows).for_each(|_| sums.extend_from_slice(start));
            for (tree, &root) in self.roots.iter().enumerate() {
                self.walk(root, x, stride, links);
                for (sums, &link) in sums.chunks_exact_mut(each).zip(links.iter()) {
                    let leaf = (link & !LEAF) as usize * self.width;
                    add(tree, &self.leaves[leaf..leaf + self.width], sums);
                }
            }
            out.chunks_exact_mut(k).zip(sums.chunks_exact(each)).for_each(|(out, sums)| end(sums, out));
        };
        if (out.len() / k) * self.roots.len() < SERIAL_WALKS || out.len() <= block * k {
            let mut buffer = Buffer::default();
            out.chunks_mut(block * k).enumerate().for_each(|(at, out)| one(at, out, &mut buffer));
        } else {
            let blocks = out.par_chunks_mut(block * k).enumerate();
            blocks.for_each_init(Buffer::default, |buffer, (at, out)| one(at, out, buffer));
        }
    }

    /// Row-major values of the rows from `first` on; the bin of a level stands for it.
    fn transpose(&self, columns: &[Raw<'_>], first: usize, x: &mut [f32], stride: usize) {
        for (position, (column, map)) in columns.iter().zip(&self.columns).enumerate() {
            let cells = x.iter_mut().skip(position).step_by(stride);
            match (column, map) {
                (Raw::Numeric(values), _) => cells.zip(&values[first..]).for_each(|(cell, &value)| *cell = value),
                (Raw::Category(codes), map) => {
                    let map = map.as_deref().unwrap_or(&[]);
                    for (cell, &code) in cells.zip(&codes[first..]) {
                        *cell = f32::from(map.get(code as usize).copied().unwrap_or(MISSING));
                    }
                }
            }
        }
    }

    /// The link to the leaf of each row of a block.
    fn walk(&self, root: u32, x: &[f32], stride: usize, links: &mut [u32]) {
        links.fill(root);
        if root & LEAF != 0 {
            return;
        }
        for (x, links) in x.chunks(LANES * stride).zip(links.chunks_mut(LANES)) {
            loop {
                let mut walking = 0u32;
                for (row, link) in x.chunks_exact(stride).zip(links.iter_mut()) {
                    if *link & LEAF == 0 {
                        *link = self.step(*link, row);
                        walking |= !*link;
                    }
                }
                if walking & LEAF == 0 {
                    break;
                }
            }
        }
    }

    #[inline]
    fn step(&self, link: u32, row: &[f32]) -> u32 {
        let node = &self.nodes[link as usize];
        let x = row[node.position()];
        let left = if node.is_set() {
            let bin = x as u8;
            self.sets[node.split as usize][usize::from(bin >> 5)] >> (bin & 31) & 1 == 1
        } else {
            x <= f32::from_bits(node.split) || (x.is_nan() && node.column & MISSING_LEFT != 0)
        };
        if left { node.left } else { node.right }
    }
}

/// Adds a gain, and stays finite however large the target is.
pub(super) fn gained(sum: &mut f32, gain: f32) {
    *sum = (*sum + gain.max(0.0)).min(f32::MAX);
}

/// Reusable memory of one thread that predicts.
#[derive(Default)]
struct Buffer {
    x: Vec<f32>,
    links: Vec<u32>,
    sums: Vec<f64>,
}

/// Rows that walk a tree at a time.
const LANES: usize = 8;
/// Values of a block of rows: what a level-two cache holds beside a tree.
const BLOCK_VALUES: usize = 1 << 15;
/// Walks (rows times trees) below which starting other threads costs more than it saves.
const SERIAL_WALKS: usize = 1 << 14;
