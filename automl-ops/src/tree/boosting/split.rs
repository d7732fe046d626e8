//! The best split of one histogram.
//!
//! All arithmetic stays in fixed-point units; only the final gain is scaled. Candidates are compared by cross-multiplication,
//! which needs no division.

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

/// The best candidate so far, as a fraction.
#[derive(Clone, Copy)]
struct Best<T> {
    over: f64,
    under: f64,
    what: Option<(T, Sums)>,
}

impl<T> Best<T> {
    #[inline]
    fn offer(&mut self, over: f64, under: f64, what: T, left: Sums) {
        if over * self.under > self.over * under {
            *self = Best {
                over,
                under,
                what: Some((what, left)),
            };
        }
    }
}

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
        if under > 0.0 {
            (-self.shrink(sums[0]) / under * self.leaf_unit) as f32
        } else {
            0.0
        }
    }

    #[inline]
    fn shrink(&self, first: i64) -> f64 {
        let first = first as f64;
        if self.l1 == 0.0 {
            first
        } else {
            first.signum() * (first.abs() - self.l1).max(0.0)
        }
    }

    #[inline]
    fn fits(&self, sums: Sums) -> bool {
        count(sums) >= self.min_rows && second(sums) >= self.min_second
    }

    /// The purity of two sides as a fraction.
    #[inline]
    fn sides(&self, left: Sums, right: Sums, l2: f64) -> (f64, f64) {
        let (a, b) = (self.shrink(left[0]), self.shrink(right[0]));
        let (u, v) = (second(left) + l2, second(right) + l2);
        (a * a * v + b * b * u, u * v)
    }

    fn start<T>(&self, total: Sums) -> (f64, Best<T>) {
        let first = self.shrink(total[0]);
        let whole = first * first / (second(total) + self.l2);
        (
            whole,
            Best {
                over: whole + self.min_gain,
                under: 1.0,
                what: None,
            },
        )
    }

    /// The best split of a node by one column with `bins` bins.
    pub(super) fn best(
        &self,
        histogram: &Histogram,
        bins: usize,
        categorical: bool,
        total: Sums,
        column: u32,
    ) -> Option<Split> {
        let (whole, (over, under), rule, left) = if categorical {
            self.best_set(histogram, bins, total)?
        } else {
            self.best_cut(histogram, bins, total)?
        };
        Some(Split {
            gain: (over / under - whole) * self.gain_unit,
            column,
            rule,
            left,
        })
    }

    fn best_cut(
        &self,
        histogram: &Histogram,
        bins: usize,
        total: Sums,
    ) -> Option<(f64, (f64, f64), Rule, Sums)> {
        let missing = histogram[usize::from(MISSING)];
        let (whole, mut best) = self.start(total);
        self.cuts(&histogram[..bins], [0; 2], total, false, &mut best);
        if count(missing) > 0 {
            self.cuts(&histogram[..bins], missing, total, true, &mut best);
        }
        let ((bin, missing_left), left) = best.what?;
        // Between two bins that occur, the middle one is the safest cut for rows that were not seen.
        let after = histogram[bin + 1..bins]
            .iter()
            .position(|&sums| count(sums) > 0);
        let bin = after.map_or(MAX_BINS - 1, |empty| bin + empty / 2) as u8;
        let missing_left = if count(missing) > 0 {
            missing_left
        } else {
            2 * count(left) > count(total)
        };
        Some((
            whole,
            (best.over, best.under),
            Rule::Cut { bin, missing_left },
            left,
        ))
    }

    #[inline]
    fn cuts(
        &self,
        bins: &[Sums],
        start: Sums,
        total: Sums,
        missing_left: bool,
        best: &mut Best<(usize, bool)>,
    ) {
        let mut left = start;
        for (bin, &sums) in bins.iter().enumerate() {
            if sums[1] == 0 {
                continue;
            }
            left = plus(left, sums);
            if !self.fits(left) {
                continue;
            }
            let right = minus(total, left);
            if !self.fits(right) {
                break;
            }
            let (over, under) = self.sides(left, right, self.l2);
            best.offer(over, under, (bin, missing_left), left);
        }
    }

    /// Few categories: each against the rest. Many: in the order of their mean, sets from either end.
    fn best_set(
        &self,
        histogram: &Histogram,
        bins: usize,
        total: Sums,
    ) -> Option<(f64, (f64, f64), Rule, Sums)> {
        let mut order = [(0.0, 0u8); 256];
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
        let (whole, mut best) = self.start::<(usize, usize)>(total);
        if present <= self.max_cat_one_hot {
            for (at, &(_, bin)) in order.iter().enumerate() {
                let (left, right) = (sums(bin), minus(total, sums(bin)));
                if self.fits(left) && self.fits(right) {
                    let (over, under) = self.sides(left, right, self.l2);
                    best.offer(over, under, (at, at + 1), left);
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
                    let (over, under) = self.sides(left, right, self.l2 + self.cat_l2);
                    let range = if from_end { (at, present) } else { (0, taken) };
                    best.offer(over, under, range, left);
                }
            }
        }
        let ((from, to), left) = best.what?;
        // Bins that do not occur in the node go with the larger side.
        let mut set = if 2 * count(left) > count(total) {
            [u32::MAX; 8]
        } else {
            [0; 8]
        };
        for (at, &(_, bin)) in order.iter().enumerate() {
            let bit = 1 << (bin & 31);
            let word = &mut set[usize::from(bin >> 5)];
            *word = if (from..to).contains(&at) {
                *word | bit
            } else {
                *word & !bit
            };
        }
        Some((whole, (best.over, best.under), Rule::Set(set), left))
    }
}
