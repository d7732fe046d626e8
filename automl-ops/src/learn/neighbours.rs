//! The nearest rows of a table by brute force: a matrix product filters, exact distances decide.
//!
//! Squared distances by `|a|^2 + |b|^2 - 2 a.b` cost one product but lose digits. Here they only rule rows out: a training
//! row whose approximate distance exceeds the k-th best by more than the rounding error is skipped, and all others get their
//! exact distance in double precision from the original values. The result therefore equals a plain double loop, does not
//! depend on blocks or threads, and ties go to the lower row. Only one block of distances exists per thread.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::LearnError;
use super::common::{check_fit, check_input, standard, to_f32};
use super::logistic_loss::multiply;
use super::scale::means;

/// Query rows a task handles.
const QUERIES: usize = 64;
/// Training rows a product handles: with 64 queries, 256 KB of distances.
const TRAIN: usize = 1024;
/// Fewer query rows than this are better multiplied one by one.
const FEW: usize = 4;

/// The `k` nearest rows of `data` for each row of `x`, nearest first, each with its squared Euclidean distance.
///
/// Equal distances are ordered by row. All rows of `data` come back where there are fewer than `k`.
///
/// # Errors
/// Different numbers of columns, a value that is not finite, no row in `data`, or a cancelled token.
pub fn neighbours(
    data: ArrayView2<'_, f32>,
    x: ArrayView2<'_, f32>,
    k: usize,
    cancel: &Cancel,
) -> Result<Vec<Vec<(usize, f64)>>, LearnError> {
    map_neighbours(data, x, k, cancel, <[_]>::to_vec)
}

/// Calls `each` with what [`neighbours`] gives for a row, and keeps only what it returns.
///
/// # Errors
/// As [`neighbours`].
pub fn map_neighbours<T: Send>(
    data: ArrayView2<'_, f32>,
    x: ArrayView2<'_, f32>,
    k: usize,
    cancel: &Cancel,
    each: impl Fn(&[(usize, f64)]) -> T + Sync,
) -> Result<Vec<T>, LearnError> {
    check_fit(data)?;
    Index::new(standard(data).into_owned(), cancel)?.map(x, k, cancel, each)
}

/// Training rows prepared for approximate distances: centred, and scaled by one factor to values of at most 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    data: Array2<f32>,
    mean: Vec<f64>,
    unit: f64,
    centred: Array2<f32>,
    norms: Vec<f32>,
    top_norm: f32,
}

impl Index {
    /// Prepares rows x columns.
    ///
    /// # Errors
    /// No row, no column, a value that is not finite, or a cancelled token.
    pub fn new(data: Array2<f32>, cancel: &Cancel) -> Result<Self, LearnError> {
        check_fit(data.view())?;
        let data = if data.is_standard_layout() { data } else { standard(data.view()).into_owned() };
        let mean = means(data.view(), None, cancel)?;
        let mut top = 0.0f64;
        for row in data.outer_iter() {
            top = row.iter().zip(&mean).fold(top, |top, (&v, mean)| top.max((f64::from(v) - mean).abs()));
        }
        let unit = if top > 0.0 { 1.0 / top } else { 1.0 };
        let mut centred = Array2::zeros(data.raw_dim());
        let mut norms = Vec::with_capacity(data.nrows());
        for (to, from) in centred.outer_iter_mut().zip(data.outer_iter()) {
            norms.push(centre(from, &mean, unit, to));
        }
        let top_norm = norms.iter().copied().fold(0.0, f32::max);
        Ok(Self { data, mean, unit, centred, norms, top_norm })
    }

    /// The rows as they were given.
    pub fn data(&self) -> ArrayView2<'_, f32> {
        self.data.view()
    }

    /// Calls `each` with the `k` nearest rows of each row of `x`, as [`neighbours`] gives them.
    ///
    /// # Errors
    /// Another number of columns, a value that is not finite, or a cancelled token.
    pub fn map<T: Send>(
        &self,
        x: ArrayView2<'_, f32>,
        k: usize,
        cancel: &Cancel,
        each: impl Fn(&[(usize, f64)]) -> T + Sync,
    ) -> Result<Vec<T>, LearnError> {
        check_input(x, self.data.ncols())?;
        let x = standard(x);
        let block = |start: usize| {
            let rows = x.slice(s![start..(start + QUERIES).min(x.nrows()), ..]);
            let best = self.search(rows, k.max(1), cancel)?;
            Ok(best.iter().map(|best| each(&best.near)).collect())
        };
        if x.nrows() <= QUERIES {
            return if x.nrows() == 0 { Ok(Vec::new()) } else { block(0) };
        }
        let starts: Vec<usize> = (0..x.nrows()).step_by(QUERIES).collect();
        let blocks: Vec<Result<Vec<T>, LearnError>> = starts.into_par_iter().map(block).collect();
        let mut out = Vec::with_capacity(x.nrows());
        for block in blocks {
            out.extend(block?);
        }
        Ok(out)
    }

    fn search(&self, x: ArrayView2<'_, f32>, k: usize, cancel: &Cancel) -> Result<Vec<Best>, LearnError> {
        let (rows, columns) = self.data.dim();
        let mut queries = Array2::<f32>::zeros(x.raw_dim());
        let mut best: Vec<Best> = Vec::with_capacity(x.nrows());
        for (mut to, from) in queries.outer_iter_mut().zip(x.outer_iter()) {
            let norm = centre(from, &self.mean, self.unit, to.view_mut());
            // Each term of the sum is off by some units in the last place of the norms.
            let slack = (columns + 16) as f32 * f32::EPSILON * (norm + self.top_norm);
            let mut error = slack + f32::MIN_POSITIVE;
            if norm > 1e12 {
                // Far outside the data there is no usable approximation: all rows get their exact distance.
                to.fill(0.0);
                error = f32::INFINITY;
            }
            best.push(Best { near: Vec::with_capacity(k.min(rows)), norm, error, limit: f32::INFINITY });
        }
        let mut products = Array2::<f32>::zeros((x.nrows(), TRAIN.min(rows)));
        for start in (0..rows).step_by(TRAIN) {
            let end = (start + TRAIN).min(rows);
            let mut products = products.slice_mut(s![.., ..end - start]);
            let train = self.centred.slice(s![start..end, ..]);
            if queries.nrows() < FEW {
                for (query, mut products) in queries.outer_iter().zip(products.outer_iter_mut()) {
                    let query = query.to_owned().insert_axis(Axis(0));
                    multiply(train, &query, products.view_mut().insert_axis(Axis(1)));
                    products.mapv_inplace(|p| -2.0 * p);
                }
            } else {
                general_mat_mul(-2.0, &queries, &train.t(), 0.0, &mut products);
            }
            let norms = self.norms.get(start..end).unwrap_or_default();
            for ((best, products), query) in best.iter_mut().zip(products.outer_iter()).zip(x.outer_iter()) {
                if cancel.is_cancelled() {
                    return Err(LearnError::Cancelled);
                }
                self.scan(best, products, norms, query, start, k.min(rows));
            }
        }
        Ok(best)
    }

    /// Updates the best rows of one query with one block of training rows.
    fn scan(
        &self,
        best: &mut Best,
        products: ArrayView1<'_, f32>,
        norms: &[f32],
        query: ArrayView1<'_, f32>,
        start: usize,
        k: usize,
    ) {
        const LANES: usize = 16;
        let Some(products) = products.to_slice() else {
            return;
        };
        for (chunk, (products, norms)) in products.chunks(LANES).zip(norms.chunks(LANES)).enumerate() {
            // One comparison per chunk in the common case that no row is near enough.
            let limit = best.limit - best.norm;
            let any = products.iter().zip(norms).fold(false, |any, (p, n)| any | (p + n <= limit));
            if !any {
                continue;
            }
            for (lane, (p, n)) in products.iter().zip(norms).enumerate() {
                if p + n > best.limit - best.norm {
                    continue;
                }
                let row = start + chunk * LANES + lane;
                let distance = exact(query, self.data.row(row));
                let full = best.near.len() == k;
                if full && best.near.last().is_some_and(|&(_, worst)| distance >= worst) {
                    continue;
                }
                if full {
                    best.near.pop();
                }
                let place = best.near.partition_point(|&(_, other)| other <= distance);
                best.near.insert(place, (row, distance));
                if let (true, Some(&(_, worst))) = (best.near.len() == k, best.near.last()) {
                    best.limit = (worst * self.unit * self.unit) as f32 + best.error;
                }
            }
        }
    }
}

/// The best rows of one query so far, and the approximate distance above which a row cannot be among them.
struct Best {
    near: Vec<(usize, f64)>,
    norm: f32,
    error: f32,
    limit: f32,
}

/// Writes the centred, scaled row and returns its squared norm.
fn centre(from: ArrayView1<'_, f32>, mean: &[f64], unit: f64, to: ndarray::ArrayViewMut1<'_, f32>) -> f32 {
    let mut norm = 0.0f64;
    for ((to, &from), mean) in to.into_iter().zip(from).zip(mean) {
        *to = to_f32((f64::from(from) - mean) * unit);
        norm += f64::from(*to) * f64::from(*to);
    }
    norm.min(f64::from(f32::MAX)) as f32
}

/// Squared distance in four fixed lanes, which the compiler can keep in one register.
fn exact(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let (Some(a), Some(b)) = (a.to_slice(), b.to_slice()) else {
        return a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    };
    let mut lanes = [0.0f64; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    for (a, b) in a4.zip(b4) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            let d = f64::from(a) - f64::from(b);
            *lane += d * d;
        }
    }
    lanes[0] + lanes[1] + (lanes[2] + lanes[3]) + tail
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn naive(data: &Array2<f32>, x: &Array2<f32>, k: usize) -> Vec<Vec<(usize, f64)>> {
        let one = |q: ArrayView1<'_, f32>| {
            let mut all: Vec<_> = data.outer_iter().map(|row| exact(q, row)).enumerate().collect();
            all.sort_by(|a, b| a.1.total_cmp(&b.1));
            all.truncate(k);
            all
        };
        x.outer_iter().map(one).collect()
    }

    #[test]
    fn equals_the_double_loop_with_an_offset_ties_and_several_blocks() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (offset, levels) in [(0.0, 1 << 20), (1e6, 1 << 20), (0.0, 3)] {
            let mut draw =
                |rows: usize| Array2::from_shape_fn((rows, 7), |_| offset + rng.random_range(0..levels) as f32 / 1000.0);
            let (data, x) = (draw(2500), draw(70));
            for k in [1, 9] {
                assert_eq!(neighbours(data.view(), x.view(), k, &Cancel::new()).unwrap(), naive(&data, &x, k));
            }
        }
    }

    #[test]
    fn one_and_two_threads_agree() {
        let data = Array2::from_shape_fn((1500, 5), |(i, j)| ((i * 31 + j * 17) % 101) as f32);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| neighbours(data.view(), data.slice(s![..300, ..]), 7, &Cancel::new()).unwrap())
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn nasty_tables_equal_the_double_loop() {
        for x in fixture::nasty() {
            let far = &x * 0.0 + f32::MAX;
            assert_eq!(neighbours(x.view(), x.view(), 3, &Cancel::new()).unwrap(), naive(&x, &x, 3));
            assert_eq!(neighbours(x.view(), far.view(), 3, &Cancel::new()).unwrap(), naive(&x, &far, 3));
        }
    }
}
