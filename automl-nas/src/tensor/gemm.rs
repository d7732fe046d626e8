//! Products of matrices, and what convolutions make of them.
//!
//! One operand is packed into blocks of [`ROWS`] rows. The other is read in place, row by row from wherever each of its rows
//! starts: for a convolution, rows are the same image seen from each place of the kernel, so nothing is copied for them. Each
//! number of a product is one sum in the order of the inner dimension, in parts of [`DEPTH`] steps, so it depends neither on
//! what is computed beside it nor on the number of threads.

use std::borrow::Cow;

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::simd::{fma, kernel};

/// Rows of a block; a block of 6 × 16 numbers fills the registers.
const ROWS: usize = 6;
/// Columns of a block.
pub(super) const COLUMNS: usize = 16;

/// Multiplications from which a product is shared among threads: about a tenth of a millisecond of work.
const PARALLEL: usize = 1 << 22;
/// Rows of a block of a shared product; a multiple of [`ROWS`].
const SHARE: usize = 48;
/// Steps of the inner dimension that are taken before the next block: what they read of the right operand stays in the first
/// cache.
const DEPTH: usize = 256;

/// A matrix in blocks of rows, each with its columns one after the other.
pub(super) struct Packed {
    numbers: Vec<f32>,
    rows: usize,
    inner: usize,
}

impl Packed {
    /// Packs rows × inner numbers.
    pub(super) fn new(rows: usize, inner: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut numbers = vec![0.0; rows.div_ceil(ROWS) * inner * ROWS];
        for (block, numbers) in numbers.chunks_exact_mut((inner * ROWS).max(1)).enumerate() {
            let start = block * ROWS;
            for row in start..rows.min(start + ROWS) {
                numbers[row - start..].iter_mut().step_by(ROWS).enumerate().for_each(|(k, to)| *to = at(row, k));
            }
        }
        Self { numbers, rows, inner }
    }
}

/// Where a product goes: a matrix whose rows are `stride` numbers apart.
pub(super) struct Target<'a> {
    pub numbers: &'a mut [f32],
    pub stride: usize,
    pub columns: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
}

/// `a b`, where row `k` of `b` starts at `rows[k]`; from each start on, there must be columns rounded up to a multiple of
/// [`COLUMNS`] many numbers.
pub(super) fn product(a: &Packed, b: &[f32], rows: &[usize], target: Target<'_>) {
    debug_assert!(a.inner == rows.len());
    if a.inner == 0 || a.rows == 0 {
        if !target.add {
            target.numbers.fill(0.0);
        }
        return;
    }
    tiles(a, b, rows, target);
}

kernel! {
    fn tiles<'a>(a: &'a Packed, b: &'a [f32], rows: &'a [usize], target: Target<'a>) {
        for (depth, rows) in rows.chunks(DEPTH).enumerate() {
            let add = target.add || depth > 0;
            let own = depth * DEPTH * ROWS..(depth * DEPTH + rows.len()) * ROWS;
            for column in (0..target.columns).step_by(COLUMNS) {
                let b = b.get(column..).unwrap_or(&[]);
                let count = COLUMNS.min(target.columns - column);
                for (block, a) in a.numbers.chunks_exact(a.inner * ROWS).enumerate() {
                    let sums = tile::<FMA>(&a[own.clone()], b, rows);
                    let targets = target.numbers.get_mut(block * ROWS * target.stride + column..).unwrap_or(&mut []);
                    for (target_row, sums) in targets.chunks_mut(target.stride).zip(&sums) {
                        match target_row.get_mut(..count) {
                            Some(to) if !add => to.copy_from_slice(&sums[..count]),
                            Some(to) => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
                            None => {}
                        }
                    }
                }
            }
        }
    }
}

/// The sums of one block. Loops over constants, not iterators: the compiler then keeps all sums in registers.
#[inline(always)]
fn tile<const FMA: bool>(a: &[f32], b: &[f32], rows: &[usize]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0_f32; COLUMNS]; ROWS];
    for (a, &start) in a.as_chunks::<ROWS>().0.iter().zip(rows) {
        let Some(b) = b.get(start..).and_then(|b| b.first_chunk::<COLUMNS>()) else { break };
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                sums[row][column] = fma::<FMA>(a[row], b[column], sums[row][column]);
            }
        }
    }
    sums
}

/// Rows and columns of a block of [`products_of_rows`], and numbers that are summed side by side.
const PAIRS: (usize, usize) = (4, 3);
const LANES: usize = 8;

kernel! {
    /// Adds to `target`, a row of as many numbers as `b_rows` for each of `a_rows`, the products of rows: of `count` numbers from
    /// each start in `a` with those from each start in `b`. `count` is a multiple of 8.
    pub(super) fn products_of_rows<'a>(
        a: &'a [f32],
        a_rows: &'a [usize],
        b: &'a [f32],
        b_rows: &'a [usize],
        count: usize,
        target: &'a mut [f32],
    ) {
        let width = b_rows.len();
        for (row, a_rows) in a_rows.chunks(PAIRS.0).enumerate() {
            for (column, b_rows) in b_rows.chunks(PAIRS.1).enumerate() {
                // What is missing in the last block repeats its first row.
                let starts = |rows: &[usize], index: usize| rows.get(index).or(rows.first()).copied().unwrap_or(0);
                let a: [&[[f32; LANES]]; PAIRS.0] = std::array::from_fn(|index| lanes(a, starts(a_rows, index), count));
                let b: [&[[f32; LANES]]; PAIRS.1] = std::array::from_fn(|index| lanes(b, starts(b_rows, index), count));
                let sums = pairs::<FMA>(a, b);
                for (index, sums) in sums.iter().enumerate().take(a_rows.len()) {
                    let at = (row * PAIRS.0 + index) * width + column * PAIRS.1;
                    for (to, sum) in target.iter_mut().skip(at).zip(sums).take(b_rows.len()) {
                        *to += folded(sum);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn lanes(numbers: &[f32], start: usize, count: usize) -> &[[f32; LANES]] {
    numbers.get(start..start + count).unwrap_or(&[]).as_chunks().0
}

#[inline(always)]
fn pairs<const FMA: bool>(a: [&[[f32; LANES]]; PAIRS.0], b: [&[[f32; LANES]]; PAIRS.1]) -> [[[f32; LANES]; PAIRS.1]; PAIRS.0] {
    let mut sums = [[[0.0_f32; LANES]; PAIRS.1]; PAIRS.0];
    let count = a.iter().chain(&b).map(|row| row.len()).min().unwrap_or(0);
    let (a, b) = (a.map(|row| &row[..count]), b.map(|row| &row[..count]));
    for at in 0..count {
        for row in 0..PAIRS.0 {
            for column in 0..PAIRS.1 {
                for lane in 0..LANES {
                    sums[row][column][lane] = fma::<FMA>(a[row][at][lane], b[column][at][lane], sums[row][column][lane]);
                }
            }
        }
    }
    sums
}

/// The sum of eight lanes.
#[inline(always)]
pub(super) fn folded(lanes: &[f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = *lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The right operand of products: rows that are read in place where they are contiguous and no block reads beyond the last of
/// them, and copied otherwise.
pub(super) struct Right<'a> {
    numbers: Cow<'a, [f32]>,
    starts: Vec<usize>,
    columns: usize,
}

impl<'a> Right<'a> {
    pub(super) fn new(b: ArrayView2<'a, f32>) -> Self {
        let (inner, columns) = b.dim();
        let (numbers, stride) = match b.to_slice().filter(|_| columns.is_multiple_of(COLUMNS)) {
            Some(numbers) => (Cow::Borrowed(numbers), columns),
            None => {
                let stride = columns.next_multiple_of(COLUMNS);
                let mut numbers = vec![0.0; inner * stride];
                if let Some(transposed) = b.t().to_slice() {
                    for (column, from) in transposed.chunks_exact(inner.max(1)).enumerate() {
                        numbers.iter_mut().skip(column).step_by(stride).zip(from).for_each(|(to, from)| *to = *from);
                    }
                } else {
                    let rows = numbers.chunks_exact_mut(stride.max(1)).zip(b.rows());
                    rows.for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from));
                }
                (Cow::Owned(numbers), stride)
            }
        };
        Self { numbers, starts: (0..inner).map(|row| row * stride).collect(), columns }
    }

    /// Adds `a` times this to `c`, which is row-major, on one thread.
    pub(super) fn add_to(&self, a: ArrayView2<'_, f32>, c: &mut [f32]) {
        if !c.is_empty() {
            self.add_packed(&Packed::of(a), c);
        }
    }

    /// The same for several products with one left operand.
    pub(super) fn add_packed(&self, a: &Packed, c: &mut [f32]) {
        if c.len() != a.rows * self.columns || a.inner != self.starts.len() || c.is_empty() {
            return;
        }
        let target = Target { numbers: c, stride: self.columns, columns: self.columns, add: true };
        product(a, &self.numbers, &self.starts, target);
    }
}

impl Packed {
    /// Packs a matrix.
    pub(super) fn of(a: ArrayView2<'_, f32>) -> Self {
        let (rows, inner) = a.dim();
        let mut numbers = vec![0.0; rows.div_ceil(ROWS) * inner * ROWS];
        for (block, numbers) in numbers.chunks_exact_mut((inner * ROWS).max(1)).enumerate() {
            let a = a.slice(s![block * ROWS..rows.min((block + 1) * ROWS), ..]);
            let columns = numbers.as_chunks_mut::<ROWS>().0.iter_mut();
            if a.strides()[0] == 1 && a.nrows() == ROWS {
                columns.zip(a.columns()).for_each(|(to, from)| {
                    if let Some(from) = from.to_slice() {
                        to.copy_from_slice(from);
                    }
                });
                continue;
            }
            let rows: [_; ROWS] = std::array::from_fn(|row| if row < a.nrows() { a.row(row).to_slice() } else { None });
            if let [Some(first), Some(second), Some(third), Some(fourth), Some(fifth), Some(sixth)] = rows {
                let pairs = first.iter().zip(second).zip(third.iter().zip(fourth)).zip(fifth.iter().zip(sixth));
                columns.zip(pairs).for_each(|(to, (((a, b), (c, d)), (e, f)))| *to = [*a, *b, *c, *d, *e, *f]);
                continue;
            }
            for (row, from) in a.rows().into_iter().enumerate() {
                let to = numbers.iter_mut().skip(row).step_by(ROWS);
                match from.to_slice() {
                    Some(from) => to.zip(from).for_each(|(to, from)| *to = *from),
                    None => to.zip(from).for_each(|(to, from)| *to = *from),
                }
            }
        }
        Self { numbers, rows, inner }
    }
}

/// Adds `a b` to `c`, which is row-major and has the rows of `a` and the columns of `b`. Large products are shared among
/// threads.
pub(crate) fn add_product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, c: &mut [f32]) {
    let (rows, columns) = (a.nrows(), b.ncols());
    if c.is_empty() || c.len() != rows * columns {
        return;
    }
    let right = Right::new(b);
    if c.len().saturating_mul(a.ncols()) < PARALLEL {
        right.add_to(a, c);
    } else {
        let blocks = c.par_chunks_mut(SHARE * columns).enumerate();
        blocks.for_each(|(index, c)| {
            let first = index * SHARE;
            right.add_to(a.slice(s![first..first + c.len() / columns, ..]), c);
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn numbers(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(row, column)| ((row * 31 + column * 17 + seed * 7) % 23) as f32 * 0.1 - 1.0)
    }

    #[test]
    fn products_of_all_shapes_are_right() {
        for (rows, inner, columns) in [(1, 1, 1), (7, 5, 3), (6, 16, 16), (13, 33, 50), (64, 9, 32), (3, 0, 4), (400, 300, 170)] {
            let (a, b) = (numbers(rows, inner, 1), numbers(inner, columns, 2));
            let expected = a.dot(&b) + 1.0;
            let mut c = vec![1.0; rows * columns];
            add_product(a.view(), b.view(), &mut c);
            c.iter().zip(&expected).for_each(|(c, expected)| assert!((c - expected).abs() < 1e-3, "{c} {expected}"));
            // Operands that lie the other way round.
            let (left, right) = (a.t().as_standard_layout().to_owned(), b.t().as_standard_layout().to_owned());
            let mut c = vec![1.0; rows * columns];
            add_product(left.t(), right.t(), &mut c);
            c.iter().zip(&expected).for_each(|(c, expected)| assert!((c - expected).abs() < 1e-3, "{c} {expected}"));
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (a, b) = (numbers(20, 40, 1), numbers(40, 37, 2));
        let whole = &mut vec![0.0; 20 * 37];
        add_product(a.view(), b.view(), whole);
        for row in [0, 7, 19] {
            let mut alone = vec![0.0; 37];
            add_product(a.view().slice_move(ndarray::s![row..=row, ..]), b.view(), &mut alone);
            assert_eq!(alone, whole[row * 37..(row + 1) * 37]);
        }
    }

    #[test]
    fn products_of_rows_are_sums_of_products() {
        let (a, b) = (numbers(7, 32, 1), numbers(5, 40, 2));
        let starts = |count: usize, stride: usize| (0..count).map(|row| row * stride).collect::<Vec<_>>();
        let mut target = vec![1.0; 35];
        let (left, right) = (a.as_slice().unwrap(), b.as_slice().unwrap());
        products_of_rows(left, &starts(7, 32), right, &starts(5, 40), 24, &mut target);
        for (row, column) in (0..7).flat_map(|row| (0..5).map(move |column| (row, column))) {
            let expected: f32 = 1.0 + (0..24).map(|at| a[[row, at]] * b[[column, at]]).sum::<f32>();
            assert!((target[row * 5 + column] - expected).abs() < 1e-4);
        }
    }
}
