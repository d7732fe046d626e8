//! The best split of one histogram.
//!
//! All arithmetic stays in fixed-point units; only the final gain is scaled.

use super::super::bins::{MAX_BINS, MISSING};
use super::super::model::Rule;
use super::BoostingParams;
use super::histogram::{Histogram, Sums, Units, count, minus, plus, second};

/// A split and what it gains, in the units of the loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub gain: f64,
    pub column: u32,
    pub rule: Rule,
    pub left: Sums,
}

/// The rules for splits and leaves of one tree, in fixed-point units.
pub(super) struct Scan {
    l1: f64,
    l2: f64,
    cat_l2: f64,
    cat_smooth: f64,
    min_second: f64,
    pub min_rows: i64,
    min_gain: f64,
    max_cat_one_hot: usize,
    max_cat_set: usize,
    gain_unit: f64,
    leaf_unit: f64,
}

/// The best candidate so far.
#[derive(Clone, Copy)]
struct Best<T> {
    score: f64,
    what: Option<T>,
}

impl<T> Best<T> {
    #[inline]
    fn offer(&mut self, score: f64, what: T) {
        if score > self.score {
            *self = Best { score, what: Some(what) };
        }
    }
}

/// Bins that are scored together.
const TILE: usize = 32;

impl Scan {
    pub(super) fn new(params: &BoostingParams, units: Units) -> Self {
        let gain_unit = units.second / (units.first * units.first);
        Self {
            l1: f64::from(params.l1) * units.first,
            l2: f64::from(params.l2) * units.second,
            cat_l2: f64::from(params.cat_l2) * units.second,
            cat_smooth: f64::from(params.cat_smooth) * units.second,
            // One unit at least: a side without curvature has no best value.
            min_second: (f64::from(params.min_child_weight) * units.second).max(1.0),
            min_rows: params.min_samples_leaf.clamp(1, i32::MAX as usize) as i64,
            min_gain: f64::from(params.min_gain) / gain_unit,
            max_cat_one_hot: params.max_cat_one_hot,
            max_cat_set: params.max_cat_set.max(1),
            gain_unit,
            leaf_unit: f64::from(params.learning_rate) * units.second / units.first,
        }
    }

    /// Whether a node can be split at all.
    pub(super) fn splittable(&self, sums: Sums) -> bool {
        count(sums) >= 2 * self.min_rows && second(sums) >= 2.0 * self.min_second
    }

    /// The number in a leaf.
    pub(super) fn leaf(&self, sums: Sums) -> f32 {
        let under = second(sums) + self.l2;
        if under > 0.0 { (-self.shrink(sums[0] as f64) / under * self.leaf_unit) as f32 } else { 0.0 }
    }

    #[inline]
    fn shrink(&self, first: f64) -> f64 {
        if self.l1 == 0.0 { first } else { first.signum() * (first.abs() - self.l1).max(0.0) }
    }

    #[inline]
    fn fits(&self, sums: Sums) -> bool {
        count(sums) >= self.min_rows && second(sums) >= self.min_second
    }

    /// The purity of two sides.
    fn sides(&self, left: Sums, right: Sums, l2: f64) -> f64 {
        let (a, b) = (self.shrink(left[0] as f64), self.shrink(right[0] as f64));
        a * a / (second(left) + l2) + b * b / (second(right) + l2)
    }

    fn start<T>(&self, total: Sums) -> (f64, Best<T>) {
        let first = self.shrink(total[0] as f64);
        let whole = first * first / (second(total) + self.l2);
        (whole, Best { score: whole + self.min_gain, what: None })
    }

    /// The best split of a node by one column with `bins` bins.
    pub(super) fn best(&self, histogram: &Histogram, bins: usize, categorical: bool, total: Sums, column: u32) -> Option<Split> {
        let (gain, rule, left) = match (categorical, bins < 32) {
            (false, _) => self.best_cut(histogram, bins, total)?,
            (true, true) => self.best_set::<32>(histogram, bins, total)?,
            (true, false) => self.best_set::<256>(histogram, bins, total)?,
        };
        Some(Split { gain: gain * self.gain_unit, column, rule, left })
    }

    fn best_cut(&self, histogram: &Histogram, bins: usize, total: Sums) -> Option<(f64, Rule, Sums)> {
        let missing = histogram[usize::from(MISSING)];
        let has_missing = count(missing) > 0;
        let (whole, mut best) = self.start(total);
        let cuts = if self.l1 == 0.0 { Self::cuts::<false> } else { Self::cuts::<true> };
        cuts(self, &histogram[..bins], [0; 2], total, false, &mut best);
        if has_missing {
            cuts(self, &histogram[..bins], missing, total, true, &mut best);
        }
        let (bin, missing_left) = best.what?;
        let start = if missing_left { missing } else { [0; 2] };
        let left = histogram[..=bin].iter().fold(start, |left, &sums| plus(left, sums));
        // Between two bins that occur, the middle one is the safest cut for rows that were not seen.
        let after = histogram[bin + 1..bins].iter().position(|&sums| count(sums) > 0);
        let bin = after.map_or(MAX_BINS - 1, |empty| bin + empty / 2) as u8;
        let missing_left = if has_missing { missing_left } else { 2 * count(left) > count(total) };
        Some((best.score - whole, Rule::Cut { bin, missing_left }, left))
    }

    /// Offers the cuts behind each bin. Bins that make a cut are first collected without branches, then scored a tile at a
    /// time in a loop that the compiler turns to vector instructions.
    fn cuts<const L1: bool>(&self, bins: &[Sums], start: Sums, total: Sums, missing_left: bool, best: &mut Best<(usize, bool)>) {
        let (first_total, second_total) = (total[0] as f64, second(total));
        let most = count(total) - self.min_rows;
        let mut left = start;
        let (mut firsts, mut seconds) = ([0.0; TILE], [1.0; TILE]);
        let (mut scores, mut places) = ([0.0; TILE], [0u8; TILE]);
        for (tile, bins) in bins.chunks(TILE).enumerate() {
            let mut found = 0;
            for (place, &sums) in bins.iter().enumerate() {
                left = plus(left, sums);
                let rows = count(left);
                let slot = found & (TILE - 1);
                firsts[slot] = left[0] as f64;
                seconds[slot] = second(left);
                places[slot] = place as u8;
                found += usize::from((sums[1] != 0) & (rows >= self.min_rows) & (rows <= most));
            }
            // Whole vectors, with what an earlier tile left behind in the last one.
            let used = found.next_multiple_of(4).min(TILE);
            let slots = firsts[..used].iter().zip(&seconds[..used]);
            for (score, (&first, &second)) in scores[..used].iter_mut().zip(slots) {
                let (a, b) = (first, first_total - first);
                let (a, b) = if L1 { (self.shrink(a), self.shrink(b)) } else { (a, b) };
                let (u, v) = (second + self.l2, second_total - second + self.l2);
                *score = (a * a * v + b * b * u) / (u * v);
            }
            for ((&score, &second), &place) in scores.iter().zip(&seconds).zip(&places).take(found) {
                let enough = second >= self.min_second && second_total - second >= self.min_second;
                if score > best.score && enough {
                    *best = Best { score, what: Some((tile * TILE + usize::from(place), missing_left)) };
                }
            }
            if count(left) > most {
                break;
            }
        }
    }

    /// Few categories: each against the rest. Many: in the order of their mean, sets from either end. `N` is more than `bins`.
    fn best_set<const N: usize>(&self, histogram: &Histogram, bins: usize, total: Sums) -> Option<(f64, Rule, Sums)> {
        let mut order = [(0.0, 0u8); N];
        let mut present = 0;
        for bin in (0..bins).chain([usize::from(MISSING)]) {
            let sums = histogram[bin];
            if sums[1] != 0 {
                order[present] = (sums[0] as f64 / (second(sums) + self.cat_smooth), bin as u8);
                present += 1;
            }
        }
        let order = &mut order[..present];
        let sums = |bin: u8| histogram[usize::from(bin)];
        let (whole, mut best) = self.start::<((usize, usize), Sums)>(total);
        if present <= self.max_cat_one_hot {
            for (at, &(_, bin)) in order.iter().enumerate() {
                let (left, right) = (sums(bin), minus(total, sums(bin)));
                if self.fits(left) && self.fits(right) {
                    best.offer(self.sides(left, right, self.l2), ((at, at + 1), left));
                }
            }
        } else {
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let most = self.max_cat_set.min(present.div_ceil(2));
            for from_end in [false, true] {
                let mut left = [0; 2];
                for taken in 1..=most.min(present - 1) {
                    let at = if from_end { present - taken } else { taken - 1 };
                    left = plus(left, sums(order[at].1));
                    if !self.fits(left) {
                        continue;
                    }
                    let right = minus(total, left);
                    if !self.fits(right) {
                        break;
                    }
                    let range = if from_end { (at, present) } else { (0, taken) };
                    best.offer(self.sides(left, right, self.l2 + self.cat_l2), (range, left));
                }
            }
        }
        let ((from, to), left) = best.what?;
        // Bins that do not occur in the node go with the larger side.
        let mut set = if 2 * count(left) > count(total) { [u32::MAX; 8] } else { [0; 8] };
        for (at, &(_, bin)) in order.iter().enumerate() {
            let bit = 1 << (bin & 31);
            let word = &mut set[usize::from(bin >> 5)];
            *word = if (from..to).contains(&at) { *word | bit } else { *word & !bit };
        }
        Some((best.score - whole, Rule::Set(set), left))
    }
}
