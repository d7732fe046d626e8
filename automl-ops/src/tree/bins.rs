//! Columns cut into at most 255 bins, one byte a value.
//!
//! Bins are computed once for a column and shared by every fit on it. Code [`MISSING`] is the bin of missing values, so a
//! histogram is an array of 256 entries that a code can index without a check.

/// The code of a missing value, a rare level or an unseen level.
pub const MISSING: u8 = 255;

/// Bins of values other than the missing one.
pub const MAX_BINS: usize = 254;

/// Rows that decide the cuts of a long column; the rest only get codes.
const SAMPLE: usize = 200_000;

/// One binned column.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// The bin of each row, below [`MAX_BINS`], or [`MISSING`].
    pub codes: Vec<u8>,
    /// Numeric columns: increasing, finite; code `b` means `cuts[b - 1] < x <= cuts[b]`.
    pub cuts: Vec<f32>,
    /// Whether the codes have no order.
    pub categorical: bool,
    /// Category columns: the bin of each level.
    pub level_bins: Vec<u8>,
    /// Number of bins that occur, counted up to the highest one and without the missing one.
    used: usize,
}

impl Bins {
    /// Cuts numbers at midpoints between neighbouring values, all of them where there are at most [`MAX_BINS`] different ones
    /// and otherwise so that bins hold about equally many rows. `NaN` is missing.
    pub fn numeric(values: &[f32]) -> Self {
        let cuts = cut(values);
        Self::with_cuts(values, cuts)
    }

    /// Codes numbers by cuts that are already known, such as those of another part of the same column. Cuts have to increase;
    /// those beyond [`MAX_BINS`]` - 1` are dropped.
    pub fn with_cuts(values: &[f32], mut cuts: Vec<f32>) -> Self {
        cuts.truncate(MAX_BINS - 1);
        let codes: Vec<u8> =
            values.iter().map(|&x| if x.is_nan() { MISSING } else { cuts.partition_point(|&cut| cut < x) as u8 }).collect();
        let used = used(&codes);
        Self { codes, cuts, categorical: false, level_bins: Vec::new(), used }
    }

    /// A bin for each of the [`MAX_BINS`] most frequent of `levels` levels; other levels and codes at or beyond `levels`
    /// (`u32::MAX` by convention) are missing.
    pub fn category(codes: &[u32], levels: u32) -> Self {
        let levels = levels as usize;
        let mut level_bins: Vec<u8> = (0..levels.min(MAX_BINS)).map(|level| level as u8).collect();
        if levels > MAX_BINS {
            let mut counts = vec![0usize; levels];
            for &code in codes {
                if let Some(count) = counts.get_mut(code as usize) {
                    *count += 1;
                }
            }
            let mut order: Vec<usize> = (0..levels).collect();
            order.sort_by_key(|&level| (std::cmp::Reverse(counts[level]), level));
            order.truncate(MAX_BINS);
            level_bins = vec![MISSING; levels];
            for (bin, level) in order.into_iter().enumerate() {
                level_bins[level] = bin as u8;
            }
        }
        let codes: Vec<u8> = codes.iter().map(|&code| level_bins.get(code as usize).copied().unwrap_or(MISSING)).collect();
        let used = used(&codes);
        Self { codes, cuts: Vec::new(), categorical: true, level_bins, used }
    }

    /// The same column with neighbouring bins joined until each has `least` of `rows`; `None` where all have, and for
    /// categories.
    pub fn merged(&self, rows: &[u32], least: u32) -> Option<Self> {
        if self.categorical {
            return None;
        }
        let mut counts = [0u32; 256];
        for &row in rows {
            counts[usize::from(*self.codes.get(row as usize)?)] += 1;
        }
        let counts = counts.get(..self.used)?;
        if counts.iter().all(|&count| count >= least) {
            return None;
        }
        let mut cuts = Vec::new();
        let mut size = 0;
        for (&count, &cut) in counts.iter().zip(&self.cuts) {
            size += count;
            if size >= least {
                cuts.push(cut);
                size = 0;
            }
        }
        if counts.len() > self.cuts.len() {
            size += counts.last()?;
        }
        if size < least {
            cuts.pop();
        }
        // The bin of each bin: the cuts that are kept below its own.
        let mut map = [MISSING; 256];
        let mut joined = 0u8;
        for (bin, slot) in map.iter_mut().enumerate().take(MAX_BINS) {
            *slot = joined;
            let closes = self.cuts.get(bin).is_some_and(|cut| cuts.get(usize::from(joined)) == Some(cut));
            joined += u8::from(closes);
        }
        let codes: Vec<u8> = self.codes.iter().map(|&code| map[usize::from(code)]).collect();
        let used = used(&codes);
        Some(Self { codes, cuts, categorical: false, level_bins: Vec::new(), used })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.codes.len()
    }

    /// One more than the highest code that occurs, missing values apart.
    pub fn bins(&self) -> usize {
        self.used
    }
}

fn used(codes: &[u8]) -> usize {
    codes.iter().filter(|&&code| code != MISSING).max().map_or(0, |&code| usize::from(code) + 1)
}

/// A number between two others, at least `low` and below `high`.
fn between(low: f32, high: f32) -> f32 {
    let middle = low * 0.5 + high * 0.5;
    if middle >= low && middle < high { middle } else { low }
}

fn cut(values: &[f32]) -> Vec<f32> {
    let step = values.len().div_ceil(SAMPLE).max(1);
    let mut sorted: Vec<f32> = values.iter().step_by(step).filter(|x| !x.is_nan()).map(|x| x.clamp(f32::MIN, f32::MAX)).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for &x in &sorted {
        match distinct.last_mut() {
            Some((last, count)) if *last == x => *count += 1,
            _ => distinct.push((x, 1)),
        }
    }
    if distinct.len() <= MAX_BINS {
        return distinct.windows(2).map(|pair| between(pair[0].0, pair[1].0)).collect();
    }
    // A value that is more frequent than a fair share gets a bin of its own; the others share what is left.
    let fair = sorted.len() as f64 / MAX_BINS as f64;
    let heavy = |count: usize| count as f64 >= fair;
    let mut bins_left = MAX_BINS - distinct.iter().filter(|(_, count)| heavy(*count)).count();
    let mut rows_left: usize = distinct.iter().filter(|(_, count)| !heavy(*count)).map(|(_, count)| count).sum();
    let mut cuts = Vec::with_capacity(MAX_BINS - 1);
    let mut size = 0usize;
    let mut share = rows_left as f64 / bins_left.max(1) as f64;
    for pair in distinct.windows(2) {
        let ((value, count), (next, next_count)) = (pair[0], pair[1]);
        size += count;
        if !heavy(count) {
            rows_left -= count;
        }
        let full = size as f64 >= share;
        if heavy(count) || full || (heavy(next_count) && size as f64 >= (share * 0.5).max(1.0)) {
            cuts.push(between(value, next));
            size = 0;
            if !heavy(count) {
                bins_left = bins_left.saturating_sub(1);
                share = rows_left as f64 / bins_left.max(1) as f64;
            }
            if cuts.len() == MAX_BINS - 1 {
                break;
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each() {
        let bins = Bins::numeric(&[3.0, 1.0, f32::NAN, 2.0, 1.0, f32::INFINITY]);
        assert_eq!(bins.codes, [2, 0, MISSING, 1, 0, 3]);
        assert_eq!(bins.cuts[..2], [1.5, 2.5]);
        assert_eq!(bins.bins(), 4);
    }

    #[test]
    fn codes_agree_with_cuts_on_any_distribution() {
        let mut values: Vec<f32> = (0..5000u32).map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32).powf(3.0)).collect();
        values.extend(std::iter::repeat_n(7.0, 3000));
        values.extend([f32::MIN, f32::MAX, f32::NEG_INFINITY, -0.0, 0.0, f32::from_bits(1)]);
        let bins = Bins::numeric(&values);
        assert!(bins.cuts.len() > 200 && bins.cuts.len() < MAX_BINS);
        assert!(bins.cuts.is_sorted_by(|a, b| a < b) && bins.cuts.iter().all(|cut| cut.is_finite()));
        for (&x, &code) in values.iter().zip(&bins.codes) {
            let b = usize::from(code);
            assert!(b == 0 || bins.cuts[b - 1] < x, "{x}");
            assert!(b == bins.cuts.len() || x <= bins.cuts[b], "{x}");
        }
        let mut sizes = [0; 256];
        bins.codes.iter().for_each(|&code| sizes[usize::from(code)] += 1);
        let own = bins.codes[5000];
        let largest = (0..254).filter(|&b| b != usize::from(own)).map(|b| sizes[b]).max();
        assert!(largest < Some(60), "{largest:?}");
    }

    #[test]
    fn joined_bins_have_the_rows_asked_for() {
        let values: Vec<f32> = (0..50).map(|i| (i * i) as f32).chain([f32::NAN, 4.0, 4.0]).collect();
        let bins = Bins::numeric(&values);
        let rows: Vec<u32> = (0..53).collect();
        let joined = bins.merged(&rows, 3).unwrap();
        assert_eq!((joined.codes[0], joined.codes[2], joined.codes[3], joined.codes[50]), (0, 0, 1, MISSING));
        let mut counts = [0; 256];
        joined.codes.iter().for_each(|&code| counts[usize::from(code)] += 1);
        assert!(counts[..joined.bins()].iter().all(|&count| count >= 3), "{counts:?}");
        assert_eq!(joined, Bins::with_cuts(&values, joined.cuts.clone()));
        assert_eq!(joined.merged(&rows, 3), None);
        assert_eq!(Bins::numeric(&[1.0, 2.0]).merged(&[0, 1], 3).unwrap().bins(), 1);
    }

    #[test]
    fn rare_levels_share_the_missing_bin() {
        let mut codes: Vec<u32> = (0..300).collect();
        codes.extend(200..300);
        codes.push(u32::MAX);
        let bins = Bins::category(&codes, 300);
        assert_eq!(bins.codes[299], 99);
        assert_eq!(bins.codes[153], 253);
        assert_eq!(bins.codes[154], MISSING);
        assert_eq!(bins.codes.last(), Some(&MISSING));
        assert_eq!(Bins::category(&[0, 1, u32::MAX, 9], 2).codes, [0, 1, MISSING, MISSING]);
    }

    #[test]
    fn empty_and_all_missing_columns_have_no_bins() {
        assert_eq!(Bins::numeric(&[]).bins(), 0);
        assert_eq!(Bins::numeric(&[f32::NAN; 3]).bins(), 0);
        assert_eq!(Bins::category(&[u32::MAX], 0).bins(), 0);
    }
}
