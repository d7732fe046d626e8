//! The best split of one column in one node of a forest.
//!
//! Deep nodes have fewer rows than a column has bins. There, only bins that occur are visited (a 256-bit mask finds them in
//! order) and cleared again on the way, so the cost of a node follows its rows and not its bins. The few rows near the leaves,
//! where a forest spends most of its time, are sorted instead.

use rand::Rng;

use super::super::bins::{Bins, MAX_BINS, MISSING};
use super::super::model::Rule;
use super::kernel::Kernel;

/// A split and its purity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub score: f64,
    pub column: u32,
    pub rule: Rule,
}

/// The rows of a node: positions in the bins, and what each carries.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub rows: &'a [u32],
    pub payload: &'a [u64],
}

/// Reusable memory for the search of splits.
pub(super) struct Search<K: Kernel> {
    cells: Vec<K::Cell>,
    counts: [u32; 256],
    codes: Vec<u8>,
    keys: Vec<u32>,
    sorted: Vec<u32>,
    side: K::Sum,
    other: K::Sum,
    mixed: K::Sum,
    /// Whether leaves count rows apart from their weight.
    counted: bool,
    min_rows: u64,
}

/// What the search found for a column.
pub(super) enum Found {
    /// All rows of the node are in one bin.
    Constant,
    /// The best split, if one leaves enough rows on both sides.
    Best(Option<Split>),
}

impl<K: Kernel> Search<K> {
    pub(super) fn new(kernel: &K, min_rows: usize, weighted: bool) -> Self {
        Self {
            cells: vec![K::Cell::default(); 256 * kernel.stride()],
            counts: [0; 256],
            codes: Vec::new(),
            keys: Vec::new(),
            sorted: Vec::new(),
            side: kernel.zero(),
            other: kernel.zero(),
            mixed: kernel.zero(),
            counted: weighted && min_rows > 1,
            min_rows: min_rows.max(1) as u64,
        }
    }

    /// The best split of `column` by its histogram.
    pub(super) fn best(
        &mut self,
        kernel: &K,
        (column, bins): (usize, &Bins),
        node: Rows<'_>,
        total: &K::Sum,
        rng: &mut impl Rng,
    ) -> Found {
        let rows = node.rows.len();
        // A counter for each class in each bin costs more than to sort a few rows.
        let sparse = kernel.stride() > 1 && 4 * rows < rows.min(bins.bins()) * kernel.stride() && rows < 1 << 24;
        if (rows <= FEW_ROWS || sparse) && !bins.categorical {
            return self.best_sorted(kernel, (column, bins), node, total);
        }
        let stride = kernel.stride();
        let mask = self.histogram(kernel, bins, node);
        let present: u32 = mask.iter().map(|word| word.count_ones()).sum();
        if K::CUTS && present > 1 && mask[3] >> 63 == 0 && !bins.categorical && !self.counted {
            let best = kernel.cut(&mut self.cells, mask, total, self.min_rows).map(|cut| Split {
                score: cut.score,
                column: column as u32,
                rule: Rule::Cut {
                    bin: ((u32::from(cut.bin) + u32::from(cut.next) - 1) / 2) as u8,
                    missing_left: 2 * cut.left > kernel.weight(total),
                },
            });
            return Found::Best(best);
        }
        let found = if present < 2 {
            Found::Constant
        } else if bins.categorical {
            Found::Best(self.best_set(kernel, column, node, mask, total, rng))
        } else {
            Found::Best(self.best_cut(kernel, column, node, mask, total))
        };
        for bin in Bits(mask) {
            let at = usize::from(bin);
            self.cells[at * stride..(at + 1) * stride].fill(K::Cell::default());
            self.counts[at] = 0;
        }
        found
    }

    /// [`Search::best`] by sorting the rows, at most 2²⁴ of them.
    fn best_sorted(&mut self, kernel: &K, (column, bins): (usize, &Bins), node: Rows<'_>, total: &K::Sum) -> Found {
        self.keys.clear();
        let (mut low, mut high) = (MISSING, 0);
        for (&row, at) in node.rows.iter().zip(0u32..) {
            let code = bins.codes[row as usize];
            (low, high) = (low.min(code), high.max(code));
            self.keys.push(u32::from(code) << 24 | at);
        }
        if low == high {
            return Found::Constant;
        }
        if self.keys.len() <= FEW_ROWS {
            self.keys.sort_unstable();
        } else {
            by_code(&mut self.keys, &mut self.sorted);
        }
        let keys = &self.keys[..];
        let payload = |key: u32| node.payload[(key & 0xff_ffff) as usize];
        let code = |key: u32| (key >> 24) as u8;
        let rows = if self.counted { keys.len() as u64 } else { kernel.weight(total) };
        let (known, missing) = keys.split_at(keys.partition_point(|&key| code(key) < MISSING));
        kernel.clear(&mut self.other);
        missing.iter().for_each(|&key| kernel.put(&mut self.other, total, payload(key)));
        let missing_rows = if self.counted { missing.len() as u64 } else { kernel.weight(&self.other) };
        kernel.clear(&mut self.side);
        let mut best: Option<(f64, u8, bool)> = None;
        let mut consider = |score: f64, bin: u8, missing_left: bool| {
            if best.is_none_or(|(most, ..)| score > most) {
                best = Some((score, bin, missing_left));
            }
        };
        let fits = |left: u64| left >= self.min_rows && rows - left >= self.min_rows;
        for (at, &key) in known.iter().enumerate() {
            kernel.put(&mut self.side, total, payload(key));
            let next = known.get(at + 1).map(|&next| code(next));
            if next == Some(code(key)) {
                continue;
            }
            let left_rows = if self.counted { at as u64 + 1 } else { kernel.weight(&self.side) };
            let Some(next) = next else {
                if !missing.is_empty() && fits(left_rows) {
                    consider(kernel.score_put(&self.side, total), MAX_BINS as u8 - 1, false);
                }
                break;
            };
            let cut = ((u32::from(code(key)) + u32::from(next) - 1) / 2) as u8;
            if fits(left_rows) {
                consider(kernel.score_put(&self.side, total), cut, missing.is_empty() && left_rows * 2 > rows);
            }
            if !missing.is_empty() && fits(left_rows + missing_rows) {
                kernel.copy(&mut self.mixed, &self.side);
                missing.iter().for_each(|&key| kernel.put(&mut self.mixed, total, payload(key)));
                consider(kernel.score_put(&self.mixed, total), cut, true);
            }
        }
        let split = |(score, bin, missing_left)| Split { score, column: column as u32, rule: Rule::Cut { bin, missing_left } };
        Found::Best(best.map(split))
    }

    /// Fills the cells and gives the bins that occur.
    fn histogram(&mut self, kernel: &K, bins: &Bins, node: Rows<'_>) -> [u64; 4] {
        let mut mask = [0u64; 4];
        let codes = &bins.codes[..];
        if self.counted {
            node.rows.iter().for_each(|&row| self.counts[usize::from(codes[row as usize])] += 1);
        }
        let stride = kernel.stride();
        if node.rows.len() < 2 * bins.bins() {
            for (&row, &payload) in node.rows.iter().zip(node.payload) {
                let code = codes[row as usize];
                mask[usize::from(code >> 6)] |= 1 << (code & 63);
                kernel.add(&mut self.cells, code, payload);
            }
        } else {
            for (&row, &payload) in node.rows.iter().zip(node.payload) {
                kernel.add(&mut self.cells, codes[row as usize], payload);
            }
            for bin in (0..bins.bins()).chain([usize::from(MISSING)]) {
                let cells = &self.cells[bin * stride..(bin + 1) * stride];
                mask[bin >> 6] |= u64::from(!kernel.is_empty(cells)) << (bin & 63);
            }
        }
        mask
    }

    fn best_cut(&mut self, kernel: &K, column: usize, node: Rows<'_>, mut mask: [u64; 4], total: &K::Sum) -> Option<Split> {
        let stride = kernel.stride();
        let rows = if self.counted { node.rows.len() as u64 } else { kernel.weight(total) };
        let last = usize::from(MISSING);
        let has_missing = mask[3] >> 63 == 1;
        mask[3] &= !(1 << 63);
        let missing_rows = if !has_missing {
            0
        } else if self.counted {
            u64::from(self.counts[last])
        } else {
            kernel.clear(&mut self.other);
            kernel.take(&mut self.other, &self.cells[last * stride..]);
            kernel.weight(&self.other)
        };
        kernel.clear(&mut self.side);
        let mut best: Option<(f64, u8, bool)> = None;
        let mut consider = |score: f64, bin: u8, missing_left: bool| {
            if best.is_none_or(|(most, ..)| score > most) {
                best = Some((score, bin, missing_left));
            }
        };
        let (mut left_rows, mut previous) = (0u64, None);
        for bin in Bits(mask) {
            let at = usize::from(bin);
            if let Some(previous) = previous {
                // Between two bins that occur, the middle one is the safest cut for rows that were not seen.
                let cut = (u32::from(previous) + u32::from(bin) - 1) / 2;
                if left_rows >= self.min_rows && rows - left_rows >= self.min_rows {
                    // Without missing rows, those to come go with the larger side.
                    let majority = !has_missing && left_rows * 2 > rows;
                    consider(kernel.score(&self.side, total), cut as u8, majority);
                }
                let with_missing = left_rows + missing_rows;
                if has_missing && with_missing >= self.min_rows && rows - with_missing >= self.min_rows {
                    kernel.copy(&mut self.other, &self.side);
                    kernel.take(&mut self.other, &self.cells[last * stride..]);
                    consider(kernel.score(&self.other, total), cut as u8, true);
                }
            }
            kernel.take(&mut self.side, &self.cells[at * stride..(at + 1) * stride]);
            left_rows = if self.counted { left_rows + u64::from(self.counts[at]) } else { kernel.weight(&self.side) };
            previous = Some(bin);
        }
        if has_missing && left_rows >= self.min_rows && missing_rows >= self.min_rows {
            consider(kernel.score(&self.side, total), MAX_BINS as u8 - 1, false);
        }
        best.map(|(score, bin, missing_left)| Split { score, column: column as u32, rule: Rule::Cut { bin, missing_left } })
    }

    /// Orders the categories by their mean, or by the share of one class, and cuts that order: exact for two classes and for
    /// numbers (Fisher, 1958; Breiman et al., 1984).
    fn best_set(
        &mut self,
        kernel: &K,
        column: usize,
        node: Rows<'_>,
        mask: [u64; 4],
        total: &K::Sum,
        rng: &mut impl Rng,
    ) -> Option<Split> {
        let stride = kernel.stride();
        let rows = if self.counted { node.rows.len() as u64 } else { kernel.weight(total) };
        let pick = below(rng, node.payload.len() as u32) as usize;
        let pick = node.payload.get(pick).copied().unwrap_or(0);
        let mut order = [(0.0, 0u8); 256];
        let mut present = 0;
        for (slot, bin) in order.iter_mut().zip(Bits(mask)) {
            let at = usize::from(bin);
            *slot = (kernel.rank(&self.cells[at * stride..(at + 1) * stride], pick), bin);
            present += 1;
        }
        let order = &mut order[..present];
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        kernel.clear(&mut self.side);
        let mut best: Option<(f64, usize, u64)> = None;
        let mut left_rows = 0;
        for (taken, &(_, bin)) in order.iter().enumerate() {
            if left_rows >= self.min_rows && rows - left_rows >= self.min_rows {
                let score = kernel.score(&self.side, total);
                if best.is_none_or(|(most, ..)| score > most) {
                    best = Some((score, taken, left_rows));
                }
            }
            let at = usize::from(bin);
            kernel.take(&mut self.side, &self.cells[at * stride..(at + 1) * stride]);
            left_rows = if self.counted { left_rows + u64::from(self.counts[at]) } else { kernel.weight(&self.side) };
        }
        let (score, taken, left_rows) = best?;
        let rule = set_rule(order[..taken].iter().map(|&(_, bin)| bin), mask, left_rows * 2 > rows);
        Some(Split { score, column: column as u32, rule })
    }

    /// A random split of `column`: a cut between its extremes in the node, or a random half of its categories.
    pub(super) fn random(
        &mut self,
        kernel: &K,
        (column, bins): (usize, &Bins),
        node: Rows<'_>,
        total: &K::Sum,
        rng: &mut impl Rng,
    ) -> Found {
        self.codes.clear();
        self.codes.extend(node.rows.iter().map(|&row| bins.codes[row as usize]));
        if bins.categorical {
            return self.random_set(kernel, column, node, total, rng);
        }
        // Adding one turns the missing code to 0, so that two passes of minimum and maximum tell all.
        let low = self.codes.iter().fold(MISSING, |low, &code| low.min(code));
        let high = self.codes.iter().fold(0, |high, &code| high.max(code.wrapping_add(1)));
        let has_missing = self.codes.contains(&MISSING);
        if low == MISSING || (low + 1 == high && !has_missing) {
            return Found::Constant;
        }
        let high = high - 1;
        let (mut bin, mut missing_left) = (MAX_BINS as u8 - 1, false);
        if low < high {
            // Even in value, not in rank: that is what makes the trees of a forest differ.
            let (from, to) = (bins.cuts[usize::from(low)], bins.cuts[usize::from(high) - 1]);
            let at = from + (to - from) * unit(rng);
            let cuts = &bins.cuts[usize::from(low)..usize::from(high) - 1];
            bin = low + cuts.partition_point(|&cut| cut < at) as u8;
            missing_left = has_missing && rng.next_u32() & 1 == 1;
        }
        if missing_left {
            self.codes.iter_mut().for_each(|code| *code = if *code == MISSING { 0 } else { *code });
        }
        kernel.clear(&mut self.side);
        kernel.total_below(&self.codes, node.payload, bin, &mut self.side);
        let Some((score, majority_left)) = self.judge(kernel, node, total, bin) else {
            return Found::Best(None);
        };
        let missing_left = if has_missing { missing_left } else { majority_left };
        Found::Best(Some(Split { score, column: column as u32, rule: Rule::Cut { bin, missing_left } }))
    }

    fn random_set(&mut self, kernel: &K, column: usize, node: Rows<'_>, total: &K::Sum, rng: &mut impl Rng) -> Found {
        let mut mask = [0u64; 4];
        for &code in &self.codes {
            mask[usize::from(code >> 6)] |= 1 << (code & 63);
        }
        let present: u32 = mask.iter().map(|word| word.count_ones()).sum();
        if present < 2 {
            return Found::Constant;
        }
        let mut order = [0u8; 256];
        order.iter_mut().zip(Bits(mask)).for_each(|(slot, bin)| *slot = bin);
        let order = &mut order[..present as usize];
        let taken = 1 + below(rng, present - 1) as usize;
        for at in 0..taken {
            order.swap(at, at + below(rng, present - at as u32) as usize);
        }
        let rule = set_rule(order[..taken].iter().copied(), mask, rng.next_u32() & 1 == 1);
        kernel.clear(&mut self.side);
        // One pass with a code that tells the side makes the sums those of a cut.
        self.codes.iter_mut().for_each(|code| *code = u8::from(!rule.goes_left(*code)));
        kernel.total_below(&self.codes, node.payload, 0, &mut self.side);
        let judged = self.judge(kernel, node, total, 0);
        Found::Best(judged.map(|(score, _)| Split { score, column: column as u32, rule }))
    }

    /// The score of the split in `self.side`, which has the codes up to `bin`, and whether it is the larger side.
    fn judge(&self, kernel: &K, node: Rows<'_>, total: &K::Sum, bin: u8) -> Option<(f64, bool)> {
        let (rows, left_rows) = if self.counted {
            (node.rows.len() as u64, self.codes.iter().filter(|&&code| code <= bin).count() as u64)
        } else {
            (kernel.weight(total), kernel.weight(&self.side))
        };
        if left_rows < self.min_rows || rows - left_rows < self.min_rows {
            return None;
        }
        Some((kernel.score(&self.side, total), left_rows * 2 > rows))
    }
}

/// Sorts keys by their upper byte, and leaves them in their order otherwise.
fn by_code(keys: &mut Vec<u32>, sorted: &mut Vec<u32>) {
    let mut starts = [0u32; 257];
    keys.iter().for_each(|&key| starts[(key >> 24) as usize + 1] += 1);
    for code in 1..starts.len() {
        starts[code] += starts[code - 1];
    }
    sorted.resize(keys.len(), 0);
    for &key in keys.iter() {
        let start = &mut starts[(key >> 24) as usize];
        sorted[*start as usize] = key;
        *start += 1;
    }
    std::mem::swap(keys, sorted);
}

/// Rows of a node that are sorted for any target, at most.
const FEW_ROWS: usize = 20;

/// The rule for a set of bins; bins that do not occur in the node go left where `rest_left`.
fn set_rule(left: impl Iterator<Item = u8>, present: [u64; 4], rest_left: bool) -> Rule {
    let mut set = [0u32; 8];
    if rest_left {
        for (word, bits) in set.iter_mut().enumerate() {
            *bits = !((present[word / 2] >> (32 * (word % 2))) as u32);
        }
    }
    left.for_each(|bin| set[usize::from(bin >> 5)] |= 1 << (bin & 31));
    Rule::Set(set)
}

/// A number below `n`; 0 where `n` is 0.
#[inline]
pub(super) fn below(rng: &mut impl Rng, n: u32) -> u32 {
    ((u64::from(rng.next_u32()) * u64::from(n)) >> 32) as u32
}

/// A number in [0, 1).
fn unit(rng: &mut impl Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// The positions of the bits that are set, in order.
struct Bits([u64; 4]);

impl Iterator for Bits {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        for (at, word) in self.0.iter_mut().enumerate() {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(at as u8 * 64 + bit as u8);
            }
        }
        None
    }
}
