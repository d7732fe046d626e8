//! Grows one tree of a forest.
//!
//! The rows of a node are a range of one array that every split partitions in place, with what each row carries beside it. Nodes
//! wait on a stack, or on a heap by gain where the number of leaves is limited; either way a child is pushed after its parent.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use automl_core::Cancel;
use rand_chacha::ChaCha8Rng;

use super::super::bins::Bins;
use super::super::model::{Rule, Trees, gained};
use super::super::stream;
use super::ForestParams;
use super::kernel::Kernel;
use super::split::{Found, Rows, Search, Split, below};

/// What all trees of a forest share.
pub(super) struct Job<'a> {
    pub bins: &'a [Arc<Bins>],
    pub rows: &'a [u32],
    pub weights: Option<&'a [f32]>,
    pub params: &'a ForestParams,
    pub seed: u64,
    pub cancel: &'a Cancel,
}

/// Reusable memory of the trees that one thread grows.
pub(super) struct Grower<'a, K: Kernel> {
    job: &'a Job<'a>,
    kernel: &'a K,
    search: Search<K>,
    total: K::Sum,
    rows: Vec<u32>,
    payload: Vec<u64>,
    scratch: Vec<(u32, u64)>,
    columns: Vec<u32>,
    /// For each class, the leaf of the tree that is certain of it.
    certain: Vec<Option<u32>>,
    /// Row visits since the last look at the cancel token.
    work: usize,
}

/// A node with a split that was found but not made.
struct Open {
    rows: Range<usize>,
    depth: usize,
    parent: Option<(u32, bool)>,
    split: Split,
    gain: f64,
}

/// The cancel token was raised.
struct Cut;

impl<'a, K: Kernel> Grower<'a, K> {
    pub(super) fn new(job: &'a Job<'a>, kernel: &'a K) -> Self {
        Self {
            job,
            kernel,
            search: Search::new(kernel, job.params.min_samples_leaf, job.weights.is_some()),
            total: kernel.zero(),
            rows: Vec::new(),
            payload: Vec::new(),
            scratch: Vec::new(),
            columns: Vec::new(),
            certain: Vec::new(),
            work: 0,
        }
    }

    /// The tree of number `index`, or nothing if the fit was cancelled meanwhile.
    pub(super) fn grow(&mut self, index: usize) -> Option<Trees> {
        if self.job.cancel.is_cancelled() {
            return None;
        }
        let mut rng = stream(self.job.seed, index as u64);
        self.draw(&mut rng);
        let bins = self.job.bins;
        self.columns.clear();
        self.columns.extend((0..bins.len() as u32).filter(|&column| bins[column as usize].rows() > 0));
        let mut trees = Trees::new(bins, self.kernel.width());
        self.certain.clear();
        self.certain.resize(trees.width, None);
        let grown = match self.job.params.max_leaves {
            None => self.depth_first(&mut trees, &mut rng),
            Some(leaves) => self.best_first(&mut trees, leaves, &mut rng),
        };
        // A forest waits for its last tree, so that none may take more than it needs.
        trees.shrink();
        grown.ok().map(|()| trees)
    }

    /// The rows of the tree and what they carry.
    fn draw(&mut self, rng: &mut ChaCha8Rng) {
        let all = self.job.rows;
        self.rows.clear();
        self.payload.clear();
        if self.job.params.bootstrap {
            let mut times = vec![0u32; all.len()];
            for _ in all {
                times[below(rng, all.len() as u32) as usize] += 1;
            }
            for (&row, &times) in all.iter().zip(&times) {
                if times > 0 {
                    self.rows.push(row);
                    self.payload.push(self.kernel.payload(row, times));
                }
            }
        } else {
            self.rows.extend_from_slice(all);
            self.payload.extend(all.iter().map(|&row| self.kernel.payload(row, 1)));
        }
        self.scratch.resize(self.rows.len(), (0, 0));
    }

    fn depth_first(&mut self, trees: &mut Trees, rng: &mut ChaCha8Rng) -> Result<(), Cut> {
        let mut stack: Vec<Open> = self.open(trees, 0..self.rows.len(), 0, None, rng)?.into_iter().collect();
        while let Some(open) = stack.pop() {
            let [left, right] = self.split(trees, open, rng)?;
            stack.extend(right);
            stack.extend(left);
        }
        Ok(())
    }

    fn best_first(&mut self, trees: &mut Trees, leaves: usize, rng: &mut ChaCha8Rng) -> Result<(), Cut> {
        let mut heap: BinaryHeap<Open> = self.open(trees, 0..self.rows.len(), 0, None, rng)?.into_iter().collect();
        let mut closed = trees.leaves.len() / trees.width;
        while let Some(open) = heap.pop() {
            if closed + heap.len() + 2 > leaves {
                self.close(trees, open.rows.clone(), open.parent);
            } else {
                heap.extend(self.split(trees, open, rng)?.into_iter().flatten());
            }
            closed = trees.leaves.len() / trees.width;
        }
        Ok(())
    }

    /// Makes the split of a node and opens its children.
    fn split(&mut self, trees: &mut Trees, open: Open, rng: &mut ChaCha8Rng) -> Result<[Option<Open>; 2], Cut> {
        let column = open.split.column as usize;
        let bins = &self.job.bins[column];
        let node = trees.push(column, bins, &open.split.rule);
        gained(&mut trees.importance[column], (open.gain * self.kernel.unit()) as f32);
        trees.attach(open.parent, node);
        let Range { start, end } = open.rows;
        let middle = start + self.partition(bins, &open.split.rule, start..end);
        let left = self.open(trees, start..middle, open.depth + 1, Some((node, true)), rng)?;
        let right = self.open(trees, middle..end, open.depth + 1, Some((node, false)), rng)?;
        Ok([left, right])
    }

    /// Moves the rows that go left to the front, in order, and gives their number.
    fn partition(&mut self, bins: &Bins, rule: &Rule, range: Range<usize>) -> usize {
        let (rows, payload) = (&mut self.rows[range.clone()], &mut self.payload[range]);
        let codes = &bins.codes[..];
        match rule {
            &Rule::Cut { bin, missing_left: false } => sides(rows, payload, &mut self.scratch, |row| codes[row] <= bin),
            // Adding one turns the missing code to 0, which is below every other.
            &Rule::Cut { bin, missing_left: true } => {
                sides(rows, payload, &mut self.scratch, |row| codes[row].wrapping_add(1) <= bin + 1)
            }
            rule => sides(rows, payload, &mut self.scratch, |row| rule.goes_left(codes[row])),
        }
    }

    /// Finds the split of a node, or makes it a leaf.
    fn open(
        &mut self,
        trees: &mut Trees,
        rows: Range<usize>,
        depth: usize,
        parent: Option<(u32, bool)>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Open>, Cut> {
        let params = self.job.params;
        let small = rows.len() < 2 || (self.job.weights.is_some() && rows.len() < 2 * params.min_samples_leaf);
        if small || params.max_depth.is_some_and(|most| depth >= most) {
            self.close(trees, rows, parent);
            return Ok(None);
        }
        self.kernel.total(&self.payload[rows.clone()], &mut self.total);
        if self.kernel.pure(&self.rows[rows.clone()], &self.total) {
            self.close(trees, rows, parent);
            return Ok(None);
        }
        match self.find(rows.clone(), rng)? {
            Some(split) => {
                let gain = split.score - self.kernel.whole(&self.total);
                Ok(Some(Open { rows, depth, parent, split, gain }))
            }
            None => {
                self.close(trees, rows, parent);
                Ok(None)
            }
        }
    }

    /// The best split among randomly drawn columns; columns that are constant in the node do not count as drawn.
    fn find(&mut self, rows: Range<usize>, rng: &mut ChaCha8Rng) -> Result<Option<Split>, Cut> {
        let params = self.job.params;
        let count = self.columns.len();
        let wanted = (params.max_features * count as f32).round().max(1.0) as usize;
        let node = Rows { rows: &self.rows[rows.clone()], payload: &self.payload[rows] };
        let (mut looked, mut best) = (0, None::<Split>);
        // Two rows are parted by any split alike.
        let ceiling =
            if node.rows.len() == 2 { f64::NEG_INFINITY } else { self.kernel.ceiling(&self.total).unwrap_or(f64::INFINITY) };
        for at in 0..count {
            if looked >= wanted {
                break;
            }
            self.work += node.rows.len() + 64;
            if self.work > WORK {
                self.work = 0;
                if self.job.cancel.is_cancelled() {
                    return Err(Cut);
                }
            }
            if wanted < count {
                self.columns.swap(at, at + below(rng, (count - at) as u32) as usize);
            }
            let column = self.columns[at] as usize;
            let bins = (column, &*self.job.bins[column]);
            let found = if params.random_splits {
                self.search.random(self.kernel, bins, node, &self.total, rng)
            } else {
                self.search.best(self.kernel, bins, node, &self.total, rng)
            };
            if let Found::Best(split) = found {
                looked += 1;
                if let Some(split) = split
                    && best.is_none_or(|best| split.score > best.score)
                {
                    best = Some(split);
                    if split.score >= ceiling - 1e-9 * ceiling.abs() {
                        break;
                    }
                }
            }
        }
        Ok(best)
    }

    /// Makes a node a leaf. Most leaves of a fully grown tree are certain of a class: one for each class will do, and with 26
    /// classes the model takes a fifth of the memory. Where leaves are counted, each is its own.
    fn close(&mut self, trees: &mut Trees, rows: Range<usize>, parent: Option<(u32, bool)>) {
        let mut link = trees.leaf_link();
        let start = trees.leaves.len();
        self.kernel.leaf(&self.rows[rows.clone()], &self.payload[rows], &mut trees.leaves);
        if trees.width > 1
            && self.job.params.max_leaves.is_none()
            && let Some(class) = trees.leaves[start..].iter().position(|&share| share == 1.0)
        {
            match self.certain[class] {
                Some(same) => {
                    trees.leaves.truncate(start);
                    link = same;
                }
                None => self.certain[class] = Some(link),
            }
        }
        trees.attach(parent, link);
    }
}

/// Row visits between two looks at the cancel token: about a millisecond.
const WORK: usize = 1 << 19;

/// A stable partition without branches.
fn sides(rows: &mut [u32], payload: &mut [u64], scratch: &mut [(u32, u64)], left: impl Fn(usize) -> bool) -> usize {
    let (mut lefts, mut rights) = (0, 0);
    for at in 0..rows.len() {
        let (row, carried) = (rows[at], payload[at]);
        let goes_left = left(row as usize);
        rows[lefts] = row;
        payload[lefts] = carried;
        scratch[rights] = (row, carried);
        lefts += usize::from(goes_left);
        rights += usize::from(!goes_left);
    }
    for ((row, carried), from) in rows[lefts..].iter_mut().zip(&mut payload[lefts..]).zip(scratch.iter()) {
        (*row, *carried) = *from;
    }
    lefts
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    /// By gain; the range of rows decides ties, so that the order is total.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.rows.start.cmp(&self.rows.start))
    }
}
