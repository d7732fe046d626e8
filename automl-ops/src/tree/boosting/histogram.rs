//! Sums of derivatives over the bins of a column.
//!
//! An entry is two 64-bit integers: the sum of first derivatives, and the sum of second derivatives with the number of rows in
//! its low bits. One two-lane addition adds a row to a bin, and all sums are exact.

/// Fixed-point sum of first derivatives; fixed-point sum of second derivatives `<< COUNT_BITS` plus the number of rows.
pub(super) type Sums = [i64; 2];

/// Sums of each bin of one column.
pub(super) type Histogram = [Sums; 256];

/// Low bits of the second number that count rows.
pub(super) const COUNT_BITS: u32 = 26;

/// Factors from derivatives to fixed point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub first: f64,
    pub second: f64,
}

impl Units {
    /// Units in which the sums of `rows` rows with derivatives of at most these sizes do not overflow.
    pub(super) fn new(rows: usize, first: f64, second: f64) -> Self {
        let rows = rows.max(1) as f64;
        let unit = |room: u32, most: f64| ((1u64 << room) as f64 / (rows * most.max(1e-30))).min(1e30);
        Self { first: unit(61, first), second: unit(36, second) }
    }

    /// The sums of one row.
    #[inline]
    pub(super) fn sums(&self, first: f64, second: f64) -> Sums {
        [(first * self.first) as i64, (((second * self.second) as i64) << COUNT_BITS) | 1]
    }
}

/// Number of rows in sums.
#[inline]
pub(super) fn count(sums: Sums) -> i64 {
    sums[1] & ((1 << COUNT_BITS) - 1)
}

/// Fixed-point sum of second derivatives.
#[inline]
pub(super) fn second(sums: Sums) -> f64 {
    (sums[1] >> COUNT_BITS) as f64
}

/// Adds sums.
#[inline]
pub(super) fn plus(a: Sums, b: Sums) -> Sums {
    [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]
}

/// Subtracts sums.
#[inline]
pub(super) fn minus(a: Sums, b: Sums) -> Sums {
    [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1])]
}

/// Sets the entries that a column with `bins` bins can have to the sums of some rows.
pub(super) fn build(histogram: &mut Histogram, bins: usize, codes: &[u8], rows: &[u32], gradients: &[Sums]) {
    if bins < 16 && rows.len() >= 64 {
        build_few::<16>(histogram, bins, codes, rows, gradients);
        return;
    }
    if bins < 64 && rows.len() >= 256 {
        build_few::<64>(histogram, bins, codes, rows, gradients);
        return;
    }
    histogram[..bins].fill([0; 2]);
    histogram[255] = [0; 2];
    for (&row, &sums) in rows.iter().zip(gradients) {
        let entry = &mut histogram[usize::from(codes[row as usize])];
        *entry = plus(*entry, sums);
    }
}

/// [`build`] for a column with less than `N` bins, a power of two: neighbouring rows often share one, and adding to it would
/// wait for the addition before. Four histograms take turns.
fn build_few<const N: usize>(histogram: &mut Histogram, bins: usize, codes: &[u8], rows: &[u32], gradients: &[Sums]) {
    let mut turns = [[[0i64; 2]; N]; 4];
    // The missing code falls on the last entry, which no bin has.
    let entry = |row: u32| usize::from(codes[row as usize]) & (N - 1);
    let (rows, rows_left) = rows.as_chunks::<4>();
    let (gradients, gradients_left) = gradients.as_chunks::<4>();
    for (rows, gradients) in rows.iter().zip(gradients) {
        for ((turn, &row), &sums) in turns.iter_mut().zip(rows).zip(gradients) {
            let entry = &mut turn[entry(row)];
            *entry = plus(*entry, sums);
        }
    }
    let [first, ..] = &mut turns;
    for (&row, &sums) in rows_left.iter().zip(gradients_left) {
        let entry = &mut first[entry(row)];
        *entry = plus(*entry, sums);
    }
    let total = |bin: usize| turns.iter().fold([0; 2], |sum, turn| plus(sum, turn[bin]));
    (0..bins).for_each(|bin| histogram[bin] = total(bin));
    histogram[255] = total(N - 1);
}

/// Turns a parent into its other child.
pub(super) fn subtract(parent: &mut Histogram, child: &Histogram, bins: usize) {
    for (parent, child) in parent[..bins].iter_mut().zip(&child[..bins]) {
        *parent = minus(*parent, *child);
    }
    parent[255] = minus(parent[255], child[255]);
}
