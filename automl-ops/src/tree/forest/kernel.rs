//! What a forest sums up in its nodes: counts of classes, or weights and values.
//!
//! A row of a tree carries one 64-bit payload. For numbers and for two classes it is `value << bits | weight` in fixed point,
//! so one integer addition adds both to a bin; more classes have a counter each.

use super::Criterion;
use super::grow::Job;

/// A cut between two bins that occur.
pub(super) struct Cut {
    pub score: f64,
    pub bin: u8,
    pub next: u8,
    pub left: u64,
}

/// The sums that decide splits of one kind of target.
pub(super) trait Kernel: Sync {
    /// One number of a histogram.
    type Cell: Copy + Default + Send;
    /// The sums of one side of a split.
    type Sum: Clone + Send;

    /// Whether [`Kernel::cut`] is there.
    const CUTS: bool;

    /// The best cut of a column without missing values that leaves `least` rows on both sides, behind which of the bins that
    /// occur and with how much on its left; and clears the cells.
    fn cut(&self, cells: &mut [Self::Cell], mask: [u64; 4], total: &Self::Sum, least: u64) -> Option<Cut>;
    /// Cells of one bin.
    fn stride(&self) -> usize;
    /// Numbers of a leaf.
    fn width(&self) -> usize;
    /// What a row that was drawn `times` carries.
    fn payload(&self, row: u32, times: u32) -> u64;
    /// No rows.
    fn zero(&self) -> Self::Sum;
    /// Sets sums to those of no rows.
    fn clear(&self, sum: &mut Self::Sum);
    /// Sets sums to others, without new memory.
    fn copy(&self, sum: &mut Self::Sum, from: &Self::Sum);
    /// The sums of all rows of a node.
    fn total(&self, payload: &[u64], sum: &mut Self::Sum);
    /// Adds the sums of the rows whose code is at most `bin`.
    fn total_below(&self, codes: &[u8], payload: &[u64], bin: u8, sum: &mut Self::Sum);
    /// Adds a row to the cells of its bin.
    fn add(&self, cells: &mut [Self::Cell], code: u8, payload: u64);
    /// Adds a bin to the sums of a side.
    fn take(&self, sum: &mut Self::Sum, cells: &[Self::Cell]);
    /// Adds a row of a node with these sums to a side that was cleared.
    fn put(&self, sum: &mut Self::Sum, total: &Self::Sum, payload: u64);
    /// [`Kernel::score`] of a side whose rows were put to it.
    fn score_put(&self, side: &Self::Sum, total: &Self::Sum) -> f64;
    /// The score of a split into two pure sides, where it is known beforehand.
    fn ceiling(&self, total: &Self::Sum) -> Option<f64>;
    /// Whether no row fell into a bin.
    fn is_empty(&self, cells: &[Self::Cell]) -> bool;
    /// Total weight of a side; the number of rows where the fit has no weights.
    fn weight(&self, sum: &Self::Sum) -> u64;
    /// Purity of a split (more is better), given one side and the whole node; both sides have rows.
    fn score(&self, side: &Self::Sum, total: &Self::Sum) -> f64;
    /// Purity of an unsplit node on the scale of [`Kernel::score`].
    fn whole(&self, total: &Self::Sum) -> f64;
    /// Whether no split can improve a node.
    fn pure(&self, rows: &[u32], total: &Self::Sum) -> bool;
    /// Where a category stands among others; `pick` is the payload of some row of the node.
    fn rank(&self, cells: &[Self::Cell], pick: u64) -> f64;
    /// Appends the numbers of a leaf.
    fn leaf(&self, rows: &[u32], payload: &[u64], leaves: &mut Vec<f32>);
    /// Factor from differences of scores to gains in the units of the target.
    fn unit(&self) -> f64;
}

/// Fixed-point weights of the rows of a fit; whole numbers where it has none.
struct Weights<'a> {
    weights: Option<&'a [f32]>,
    scale: f64,
}

impl<'a> Weights<'a> {
    /// Weights that sum to less than `2^31` however the rows are drawn.
    fn new(job: &Job<'a>) -> Self {
        let scale = job.weights.map_or(1.0, |weights| {
            let sum: f64 = job.rows.iter().map(|&row| f64::from(weights[row as usize])).sum();
            let most = job.rows.iter().map(|&row| weights[row as usize]).fold(0.0, f32::max);
            // A bootstrap sample may weigh more than its source, twice as much only by a chance that never happens.
            let bound = if job.params.bootstrap { (f64::from(most) * job.rows.len() as f64).min(2.0 * sum) } else { sum };
            (f64::from(i32::MAX) - 2.0 * job.rows.len() as f64) / bound
        });
        Self { weights: job.weights, scale }
    }

    fn of(&self, row: u32, times: u32) -> u64 {
        match self.weights {
            None => u64::from(times),
            Some(weights) => ((f64::from(weights[row as usize]) * self.scale * f64::from(times)).round() as u64).max(1),
        }
    }
}

/// Numbers, or two classes as 0 and 1.
pub(super) struct Packed<'a> {
    target: PackedTarget<'a>,
    weights: Weights<'a>,
    /// Low bits of a payload, which hold the weight.
    bits: u32,
    scale: f64,
    entropy: bool,
}

enum PackedTarget<'a> {
    Binary(&'a [u32]),
    Values { values: &'a [f32], mean: f64 },
}

impl<'a> Packed<'a> {
    pub(super) fn binary(codes: &'a [u32], criterion: Criterion, job: &Job<'a>) -> Self {
        let entropy = criterion == Criterion::Entropy;
        Self { target: PackedTarget::Binary(codes), weights: Weights::new(job), bits: 32, scale: 1.0, entropy }
    }

    pub(super) fn values(values: &'a [f32], job: &Job<'a>) -> Self {
        let weights = Weights::new(job);
        let n = job.rows.len();
        let mean = job.rows.iter().map(|&row| f64::from(values[row as usize])).sum::<f64>() / n as f64;
        let weight = |row: u32| job.weights.map_or(1.0, |weights| f64::from(weights[row as usize]));
        let largest = |row: &u32| (f64::from(values[*row as usize]) - mean).abs() * weight(*row);
        let bound = job.rows.iter().map(largest).fold(f64::MIN_POSITIVE, f64::max) * n as f64;
        let bits = if job.weights.is_some() { 32 } else { usize::BITS - n.leading_zeros() };
        let scale = ((1u64 << (62 - bits)) as f64 / bound).min(1e300);
        Self { target: PackedTarget::Values { values, mean }, weights, bits, scale, entropy: false }
    }

    #[inline]
    fn split(&self, sum: u64) -> (f64, f64) {
        (((sum as i64) >> self.bits) as f64, (sum & ((1 << self.bits) - 1)) as f64)
    }
}

/// `x ln x`, continuous at 0.
fn xlnx(x: f64) -> f64 {
    if x > 0.0 { x * x.ln() } else { 0.0 }
}

impl Kernel for Packed<'_> {
    type Cell = u64;
    type Sum = u64;
    const CUTS: bool = true;

    fn cut(&self, cells: &mut [u64], mask: [u64; 4], total: &u64, least: u64) -> Option<Cut> {
        // First the sums up to each bin, then their scores: neither loop waits for the other's branches.
        let (mut sums, mut bins) = ([0u64; 256], [0u8; 256]);
        let (mut sum, mut count) = (0u64, 0usize);
        for ((mut word, cells), base) in mask.into_iter().zip(cells.chunks_mut(64)).zip([0u8, 64, 128, 192]) {
            while word != 0 {
                let bit = word.trailing_zeros() as u8;
                word &= word - 1;
                sum = sum.wrapping_add(std::mem::take(&mut cells[usize::from(bit)]));
                sums[count & 255] = sum;
                bins[count & 255] = base + bit;
                count += 1;
            }
        }
        let rows = self.weight(total);
        let mut best = (f64::NEG_INFINITY, usize::MAX);
        for (at, side) in sums[..count.min(256)].split_last()?.1.iter().enumerate() {
            let left = self.weight(side);
            let score = self.score(side, total);
            if score > best.0 && left >= least && rows - left >= least {
                best = (score, at);
            }
        }
        let (&left, &bin, &next) = (sums.get(best.1)?, bins.get(best.1)?, bins.get(best.1 + 1)?);
        Some(Cut { score: best.0, bin, next, left: self.weight(&left) })
    }

    fn stride(&self) -> usize {
        1
    }

    fn width(&self) -> usize {
        match self.target {
            PackedTarget::Binary(_) => 2,
            PackedTarget::Values { .. } => 1,
        }
    }

    fn payload(&self, row: u32, times: u32) -> u64 {
        let weight = self.weights.of(row, times);
        match self.target {
            PackedTarget::Binary(codes) => ((weight * u64::from(codes[row as usize])) << 32) | weight,
            PackedTarget::Values { values, mean } => {
                let own = self.weights.weights.map_or(1.0, |weights| f64::from(weights[row as usize]));
                let value = (f64::from(values[row as usize]) - mean) * own * f64::from(times) * self.scale;
                ((value.round() as i64) << self.bits) as u64 | weight
            }
        }
    }

    fn zero(&self) -> u64 {
        0
    }

    fn clear(&self, sum: &mut u64) {
        *sum = 0;
    }

    fn copy(&self, sum: &mut u64, from: &u64) {
        *sum = *from;
    }

    fn total(&self, payload: &[u64], sum: &mut u64) {
        *sum = payload.iter().fold(0, |sum: u64, &x| sum.wrapping_add(x));
    }

    fn total_below(&self, codes: &[u8], payload: &[u64], bin: u8, sum: &mut u64) {
        let below = codes.iter().zip(payload).map(|(&code, &x)| if code <= bin { x } else { 0 });
        *sum = below.fold(*sum, u64::wrapping_add);
    }

    #[inline]
    fn add(&self, cells: &mut [u64], code: u8, payload: u64) {
        if let Some(cell) = cells.get_mut(usize::from(code)) {
            *cell = cell.wrapping_add(payload);
        }
    }

    #[inline]
    fn take(&self, sum: &mut u64, cells: &[u64]) {
        *sum = cells.iter().fold(*sum, |sum, &x| sum.wrapping_add(x));
    }

    #[inline]
    fn put(&self, sum: &mut u64, _total: &u64, payload: u64) {
        *sum = sum.wrapping_add(payload);
    }

    #[inline]
    fn score_put(&self, side: &u64, total: &u64) -> f64 {
        self.score(side, total)
    }

    fn ceiling(&self, total: &u64) -> Option<f64> {
        match self.target {
            PackedTarget::Binary(_) => Some(if self.entropy { 0.0 } else { self.split(*total).0 }),
            PackedTarget::Values { .. } => None,
        }
    }

    #[inline]
    fn is_empty(&self, cells: &[u64]) -> bool {
        cells.iter().all(|&cell| cell == 0)
    }

    #[inline]
    fn weight(&self, sum: &u64) -> u64 {
        sum & ((1 << self.bits) - 1)
    }

    #[inline]
    fn score(&self, side: &u64, total: &u64) -> f64 {
        let ((a, u), (b, v)) = (self.split(*side), self.split(total.wrapping_sub(*side)));
        if self.entropy {
            return xlnx(a) + xlnx(u - a) - xlnx(u) + xlnx(b) + xlnx(v - b) - xlnx(v);
        }
        (a * a * v + b * b * u) / (u * v)
    }

    fn whole(&self, total: &u64) -> f64 {
        let (a, u) = self.split(*total);
        if self.entropy { xlnx(a) + xlnx(u - a) - xlnx(u) } else { a * a / u }
    }

    fn pure(&self, rows: &[u32], total: &u64) -> bool {
        match self.target {
            PackedTarget::Binary(_) => {
                let (a, u) = self.split(*total);
                a == 0.0 || a == u
            }
            PackedTarget::Values { values, .. } => rows.split_first().is_none_or(|(&first, rest)| {
                let first = values[first as usize];
                rest.iter().all(|&row| values[row as usize] == first)
            }),
        }
    }

    fn rank(&self, cells: &[u64], _pick: u64) -> f64 {
        let (a, u) = self.split(cells.iter().fold(0, |sum: u64, &x| sum.wrapping_add(x)));
        a / u
    }

    fn leaf(&self, rows: &[u32], payload: &[u64], leaves: &mut Vec<f32>) {
        match self.target {
            PackedTarget::Binary(_) => {
                let mut total = 0;
                self.total(payload, &mut total);
                let (a, u) = self.split(total);
                leaves.extend([((u - a) / u) as f32, (a / u) as f32]);
            }
            PackedTarget::Values { values, mean } => {
                let (mut sum, mut total) = (0.0, 0.0);
                for (&row, &payload) in rows.iter().zip(payload) {
                    let weight = self.weight(&payload) as f64;
                    sum += weight * (f64::from(values[row as usize]) - mean);
                    total += weight;
                }
                leaves.push((mean + sum / total) as f32);
            }
        }
    }

    fn unit(&self) -> f64 {
        1.0 / (self.scale * self.scale * self.weights.scale)
    }
}

/// A counter for each class.
pub(super) struct Classes<'a> {
    codes: &'a [u32],
    classes: usize,
    weights: Weights<'a>,
    entropy: bool,
}

/// Rows of one side of a split.
#[derive(Clone)]
pub(super) struct Counts {
    weight: u64,
    of_class: Vec<u32>,
    /// Changes that rows put to a side made to the terms of its classes and of those of the other side, so that many classes
    /// cost no more than two.
    terms: f64,
    other_terms: f64,
}

impl<'a> Classes<'a> {
    pub(super) fn new(codes: &'a [u32], classes: usize, criterion: Criterion, job: &Job<'a>) -> Self {
        Self { codes, classes, weights: Weights::new(job), entropy: criterion == Criterion::Entropy }
    }

    fn purity(&self, sum: f64, squares: f64) -> f64 {
        if self.entropy { squares - xlnx(sum) } else { squares / sum }
    }

    fn term(&self, x: u32) -> f64 {
        let x = f64::from(x);
        if self.entropy { xlnx(x) } else { x * x }
    }
}

impl Kernel for Classes<'_> {
    type Cell = u32;
    type Sum = Counts;
    const CUTS: bool = false;

    fn cut(&self, _: &mut [u32], _: [u64; 4], _: &Counts, _: u64) -> Option<Cut> {
        None
    }

    fn stride(&self) -> usize {
        self.classes
    }

    fn width(&self) -> usize {
        self.classes
    }

    fn payload(&self, row: u32, times: u32) -> u64 {
        (u64::from(self.codes[row as usize]) << 32) | self.weights.of(row, times)
    }

    fn zero(&self) -> Self::Sum {
        Counts { weight: 0, of_class: vec![0; self.classes], terms: 0.0, other_terms: 0.0 }
    }

    fn clear(&self, sum: &mut Self::Sum) {
        sum.weight = 0;
        sum.of_class.fill(0);
        (sum.terms, sum.other_terms) = (0.0, 0.0);
    }

    fn copy(&self, sum: &mut Self::Sum, from: &Self::Sum) {
        sum.weight = from.weight;
        sum.of_class.copy_from_slice(&from.of_class);
        (sum.terms, sum.other_terms) = (from.terms, from.other_terms);
    }

    fn total(&self, payload: &[u64], sum: &mut Self::Sum) {
        self.clear(sum);
        for &payload in payload {
            sum.weight += payload & 0xffff_ffff;
            sum.of_class[(payload >> 32) as usize] += payload as u32;
        }
        sum.terms = sum.of_class.iter().map(|&x| self.term(x)).sum();
    }

    fn total_below(&self, codes: &[u8], payload: &[u64], bin: u8, sum: &mut Self::Sum) {
        for (&code, &payload) in codes.iter().zip(payload) {
            let weight = if code <= bin { payload as u32 } else { 0 };
            sum.weight += u64::from(weight);
            sum.of_class[(payload >> 32) as usize] += weight;
        }
    }

    #[inline]
    fn add(&self, cells: &mut [u32], code: u8, payload: u64) {
        if let Some(cell) = cells.get_mut(usize::from(code) * self.classes + (payload >> 32) as usize) {
            *cell += payload as u32;
        }
    }

    #[inline]
    fn take(&self, sum: &mut Self::Sum, cells: &[u32]) {
        let mut added = 0;
        for (sum_of_class, &cell) in sum.of_class.iter_mut().zip(cells) {
            *sum_of_class += cell;
            added += cell;
        }
        sum.weight += u64::from(added);
    }

    #[inline]
    fn put(&self, sum: &mut Counts, total: &Counts, payload: u64) {
        let (class, weight) = ((payload >> 32) as usize, payload as u32);
        let (Some(own), Some(&all)) = (sum.of_class.get_mut(class), total.of_class.get(class)) else { return };
        let (before, rest) = (*own, all - *own);
        *own += weight;
        sum.weight += u64::from(weight);
        sum.terms += self.term(before + weight) - self.term(before);
        sum.other_terms += self.term(rest - weight) - self.term(rest);
    }

    fn score_put(&self, side: &Counts, total: &Counts) -> f64 {
        let right = total.terms + side.other_terms;
        self.purity(side.weight as f64, side.terms) + self.purity((total.weight - side.weight) as f64, right)
    }

    fn ceiling(&self, total: &Self::Sum) -> Option<f64> {
        // More than two classes cannot be told apart by one split.
        let two = total.of_class.iter().filter(|&&x| x > 0).count() == 2;
        two.then_some(if self.entropy { 0.0 } else { total.weight as f64 })
    }

    #[inline]
    fn is_empty(&self, cells: &[u32]) -> bool {
        cells.iter().all(|&cell| cell == 0)
    }

    #[inline]
    fn weight(&self, sum: &Self::Sum) -> u64 {
        sum.weight
    }

    #[inline]
    fn score(&self, side: &Self::Sum, total: &Self::Sum) -> f64 {
        let (mut left, mut right) = (0.0, 0.0);
        let counters = side.of_class.iter().zip(&total.of_class);
        if self.entropy {
            for (&x, &all) in counters {
                left += xlnx(f64::from(x));
                right += xlnx(f64::from(all - x));
            }
        } else {
            // Weights sum to less than 2^31; signed numbers convert many at a time.
            for (&x, &all) in counters {
                let (x, rest) = (f64::from(x as i32), f64::from((all - x) as i32));
                left += x * x;
                right += rest * rest;
            }
        }
        self.purity(side.weight as f64, left) + self.purity((total.weight - side.weight) as f64, right)
    }

    fn whole(&self, total: &Self::Sum) -> f64 {
        self.purity(total.weight as f64, total.of_class.iter().map(|&x| self.term(x)).sum())
    }

    fn pure(&self, _rows: &[u32], total: &Self::Sum) -> bool {
        total.of_class.iter().filter(|&&x| x > 0).count() < 2
    }

    fn rank(&self, cells: &[u32], pick: u64) -> f64 {
        let sum: f64 = cells.iter().map(|&x| f64::from(x)).sum();
        cells.get((pick >> 32) as usize).map_or(0.0, |&x| f64::from(x) / sum)
    }

    fn leaf(&self, _rows: &[u32], payload: &[u64], leaves: &mut Vec<f32>) {
        let mut sum = self.zero();
        self.total(payload, &mut sum);
        leaves.extend(sum.of_class.iter().map(|&x| (f64::from(x) / sum.weight as f64) as f32));
    }

    fn unit(&self) -> f64 {
        1.0 / self.weights.scale
    }
}
