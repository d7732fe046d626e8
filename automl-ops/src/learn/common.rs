//! What the kernels share: argument checks, row weights, block-wise passes in double precision, a safe softmax.

use automl_core::Cancel;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2, s};

use super::LearnError;

/// Rows handled at a time: a block of some hundred columns stays in the second-level cache.
pub(super) const BLOCK: usize = 256;
/// Most classes a kernel accepts, so that a corrupt file cannot ask for an absurd allocation.
pub(super) const MAX_CLASSES: usize = 1 << 16;
/// Largest magnitude of a stored coefficient: a product with any `f32`, summed over any number of columns, stays finite.
pub(super) const MAX_COEF: f64 = 1e200;

/// Whether all values are finite; branch-free, so that it vectorises.
pub(super) fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    values.iter().fold(true, |ok, v| ok & (v.to_bits() & EXPONENT != EXPONENT))
}

/// Rejects NaN and infinity.
pub(super) fn check_finite(x: ArrayView2<'_, f32>) -> Result<(), LearnError> {
    for (row, values) in x.outer_iter().enumerate() {
        let ok = match values.as_slice() {
            Some(slice) => all_finite(slice),
            None => values.iter().all(|v| v.is_finite()),
        };
        if !ok {
            let column = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
            return Err(LearnError::NotFinite { what: "the matrix", row, column });
        }
    }
    Ok(())
}

/// The input of `predict` and `transform`: the width of the training data, finite; any number of rows.
pub(super) fn check_input(x: ArrayView2<'_, f32>, expected: usize) -> Result<(), LearnError> {
    if x.ncols() != expected {
        return Err(LearnError::Columns { expected, found: x.ncols() });
    }
    check_finite(x)
}

/// The input of a `fit`: at least one row and one column, finite.
pub(super) fn check_fit(x: ArrayView2<'_, f32>) -> Result<(), LearnError> {
    if x.is_empty() {
        return Err(LearnError::Empty { what: "the matrix" });
    }
    check_finite(x)
}

/// One finite target a row.
pub(super) fn check_targets(y: &[f32], rows: usize) -> Result<(), LearnError> {
    if y.len() != rows {
        return Err(LearnError::Length { what: "the target", expected: rows, found: y.len() });
    }
    match y.iter().position(|v| !v.is_finite()) {
        Some(row) => Err(LearnError::NotFinite { what: "the target", row, column: 0 }),
        None => Ok(()),
    }
}

/// A parameter that is a finite number from 0.
pub(super) fn check_from_zero(name: &'static str, value: f64) -> Result<(), LearnError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(LearnError::Param { name, value, expected: "a finite number from 0" })
}

/// One code below `classes` a row.
pub(super) fn check_codes(codes: &[u32], classes: usize, rows: usize) -> Result<(), LearnError> {
    if codes.len() != rows {
        return Err(LearnError::Length { what: "the class codes", expected: rows, found: codes.len() });
    }
    if classes == 0 {
        return Err(LearnError::Empty { what: "the list of classes" });
    }
    if classes > MAX_CLASSES {
        return Err(LearnError::Param { name: "classes", value: classes as f64, expected: "at most 65536" });
    }
    match codes.iter().position(|&code| code as usize >= classes) {
        Some(row) => Err(LearnError::Code { row, code: codes.get(row).copied().unwrap_or(0), classes }),
        None => Ok(()),
    }
}

/// Training rows that count, with their weights. Rows of weight zero are dropped: they may hold anything.
pub(super) struct Sample<'a> {
    /// Kept rows, in standard layout.
    pub x: CowArray<'a, f32, Ix2>,
    /// Weight of each kept row, above zero.
    pub w: Vec<f64>,
    /// Sum of the weights.
    pub total: f64,
    kept: Option<Vec<usize>>,
}

impl<'a> Sample<'a> {
    /// Checks the matrix and the weights; `None` weighs every row 1.
    pub fn new(x: ArrayView2<'a, f32>, weights: Option<&[f32]>) -> Result<Self, LearnError> {
        check_fit(x)?;
        let rows = x.nrows();
        let Some(weights) = weights else {
            return Ok(Self { x: standard(x), w: vec![1.0; rows], total: rows as f64, kept: None });
        };
        if weights.len() != rows {
            return Err(LearnError::Length { what: "the row weights", expected: rows, found: weights.len() });
        }
        for (row, &value) in weights.iter().enumerate() {
            if !(value.is_finite() && value >= 0.0) {
                return Err(LearnError::Weight { row, value });
            }
        }
        let kept: Vec<usize> = (0..rows).filter(|&row| weights[row] > 0.0).collect();
        if kept.is_empty() {
            return Err(LearnError::NoWeight);
        }
        let w: Vec<f64> = kept.iter().map(|&row| f64::from(weights[row])).collect();
        let total = w.iter().sum();
        if kept.len() == rows {
            return Ok(Self { x: standard(x), w, total, kept: None });
        }
        Ok(Self { x: x.select(Axis(0), &kept).into(), w, total, kept: Some(kept) })
    }

    /// The values of the kept rows. `values` has one a row of the original matrix.
    pub fn pick<T: Copy>(&self, values: &[T]) -> Vec<T> {
        match &self.kept {
            None => values.to_vec(),
            Some(kept) => kept.iter().filter_map(|&row| values.get(row).copied()).collect(),
        }
    }
}

/// Row-major data, copied only where the view is not.
pub(super) fn standard(x: ArrayView2<'_, f32>) -> CowArray<'_, f32, Ix2> {
    if x.is_standard_layout() { x.into() } else { x.as_standard_layout().into_owned().into() }
}

/// The classes that occur, ascending, and for each row the index of its class among them.
pub(super) fn present(codes: &[u32], classes: usize) -> (Vec<u32>, Vec<usize>) {
    let mut slot = vec![usize::MAX; classes];
    for &code in codes {
        slot[code as usize] = 0;
    }
    let mut seen = Vec::new();
    for (code, slot) in slot.iter_mut().enumerate() {
        if *slot == 0 {
            *slot = seen.len();
            seen.push(code as u32);
        }
    }
    let index = codes.iter().map(|&code| slot[code as usize]).collect();
    (seen, index)
}

/// Whether `codes` could have come from [`present`].
pub(super) fn check_present(model: &'static str, codes: &[u32], classes: usize) -> Result<(), LearnError> {
    let ascending = codes.windows(2).all(|pair| pair[0] < pair[1]);
    if classes > MAX_CLASSES || codes.is_empty() || !ascending || codes.iter().any(|&code| code as usize >= classes) {
        return Err(LearnError::Corrupt { model, problem: "the class codes are not ascending numbers below `classes`" });
    }
    Ok(())
}

/// Whether all coefficients are finite and of sensible magnitude.
pub(super) fn check_coef<'a>(model: &'static str, values: impl IntoIterator<Item = &'a f64>) -> Result<(), LearnError> {
    // A comparison with NaN is false, so NaN is caught too.
    if values.into_iter().all(|v| v.abs() <= MAX_COEF) {
        return Ok(());
    }
    Err(LearnError::Corrupt { model, problem: "a coefficient is not finite or absurdly large" })
}

/// Keeps a coefficient within what `check` accepts.
pub(super) fn clamp_coef(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-MAX_COEF, MAX_COEF) }
}

/// The nearest finite `f32`; NaN becomes 0.
pub(super) fn to_f32(value: f64) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 }
}

/// The numbers of a row as a slice, over which loops vectorise; copied only where they are apart.
pub(super) fn plain<T: Clone>(row: ArrayView1<'_, T>) -> std::borrow::Cow<'_, [T]> {
    row.to_slice().map_or_else(|| row.to_vec().into(), Into::into)
}

/// Passes over `x` in blocks of rows, each centred by `mean`, multiplied by the root of its weight, in double precision.
///
/// `body` gets the first row of the block and the block (rows x columns).
pub(super) fn centred_blocks(
    x: ArrayView2<'_, f32>,
    mean: &[f64],
    weights: Option<&[f64]>,
    cancel: &Cancel,
    body: impl FnMut(usize, ArrayView2<'_, f64>),
) -> Result<(), LearnError> {
    let mean = ArrayView1::from(mean);
    centred_blocks_by(x, |_| mean, weights, cancel, body)
}

/// As [`centred_blocks`], with a mean for each row.
pub(super) fn centred_blocks_by<'m>(
    x: ArrayView2<'_, f32>,
    mean: impl Fn(usize) -> ArrayView1<'m, f64>,
    weights: Option<&[f64]>,
    cancel: &Cancel,
    mut body: impl FnMut(usize, ArrayView2<'_, f64>),
) -> Result<(), LearnError> {
    let mut buffer = Array2::<f64>::zeros((BLOCK.min(x.nrows()), x.ncols()));
    for start in (0..x.nrows()).step_by(BLOCK) {
        if cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let end = (start + BLOCK).min(x.nrows());
        let rows = x.slice(s![start..end, ..]);
        let mut block = buffer.slice_mut(s![..end - start, ..]);
        for (row, (mut to, from)) in block.outer_iter_mut().zip(rows.outer_iter()).enumerate() {
            let root = weights.map_or(1.0, |w| w[start + row].sqrt());
            let (from, mean) = (plain(from), plain(mean(start + row)));
            for ((to, &from), mean) in to.as_slice_mut().unwrap_or_default().iter_mut().zip(from.iter()).zip(mean.iter()) {
                *to = (f64::from(from) - mean) * root;
            }
        }
        body(start, block.view());
    }
    Ok(())
}

/// Weighted mean of the rows of each class, classes x columns, and the total weight of each class.
///
/// Every class below `classes` has a row. Sums are taken from the first row, so that an offset costs no digits.
pub(super) fn class_means(
    sample: &Sample<'_>,
    index: &[usize],
    classes: usize,
    cancel: &Cancel,
) -> Result<(Array2<f64>, Vec<f64>), LearnError> {
    let origin: Vec<f64> = sample.x.row(0).iter().map(|&v| f64::from(v)).collect();
    let mut mean = Array2::<f64>::zeros((classes, sample.x.ncols()));
    let mut mass = vec![0.0f64; classes];
    for (row, values) in sample.x.outer_iter().enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        let (class, w) = (index[row], sample.w[row]);
        mass[class] += w;
        let values = plain(values);
        let mut sums = mean.row_mut(class);
        let sums = sums.as_slice_mut().unwrap_or_default();
        for ((sum, &v), origin) in sums.iter_mut().zip(values.iter()).zip(&origin) {
            *sum += w * (f64::from(v) - origin);
        }
    }
    for (mut mean, mass) in mean.outer_iter_mut().zip(&mass) {
        mean.iter_mut().zip(&origin).for_each(|(mean, origin)| *mean = origin + *mean / mass);
    }
    Ok((mean, mass))
}

/// Calls `body` with blocks of `x * coef' + intercept`: first row of the block, scores (rows x outputs).
///
/// `coef` is outputs x columns. Overflow cannot happen for coefficients that pass [`check_coef`].
pub(super) fn affine_blocks(
    x: ArrayView2<'_, f32>,
    coef: ArrayView2<'_, f64>,
    intercept: &[f64],
    mut body: impl FnMut(usize, ArrayView2<'_, f64>),
) {
    let rows = BLOCK.min(x.nrows());
    let mut wide = Array2::<f64>::zeros((rows, x.ncols()));
    let mut scores = Array2::<f64>::zeros((rows, coef.nrows()));
    for start in (0..x.nrows()).step_by(BLOCK) {
        let end = (start + BLOCK).min(x.nrows());
        let mut wide = wide.slice_mut(s![..end - start, ..]);
        wide.zip_mut_with(&x.slice(s![start..end, ..]), |to, &from| *to = f64::from(from));
        let mut scores = scores.slice_mut(s![..end - start, ..]);
        for mut row in scores.outer_iter_mut() {
            row.iter_mut().zip(intercept).for_each(|(score, &b)| *score = b);
        }
        general_mat_mul(1.0, &wide, &coef.t(), 1.0, &mut scores);
        body(start, scores.view());
    }
}

/// Probabilities from log scores, written to the columns `codes` of `out`; the other columns are left alone.
///
/// Subtracting the maximum keeps the sum between 1 and the number of classes. Where a score is NaN, the classes share alike.
pub(super) fn softmax_into<'a>(
    scores: impl Iterator<Item = &'a f64> + Clone,
    codes: &[u32],
    mut out: ndarray::ArrayViewMut1<'_, f32>,
) {
    let top = scores.clone().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.clone().map(|s| (s - top).exp()).sum();
    let sound = total.is_finite() && total > 0.0;
    for (&code, &score) in codes.iter().zip(scores) {
        if let Some(out) = out.get_mut(code as usize) {
            *out = if sound { ((score - top).exp() / total) as f32 } else { 1.0 / codes.len() as f32 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn softmax_survives_extreme_scores() {
        let mut out = Array1::zeros(3);
        softmax_into([1e300, -1e300].iter(), &[0, 2], out.view_mut());
        assert_eq!(out, array![1.0, 0.0, 0.0]);
        softmax_into([f64::NAN, 1.0].iter(), &[0, 1], out.view_mut());
        assert_eq!(out, array![0.5, 0.5, 0.0]);
        softmax_into([f64::INFINITY, f64::INFINITY].iter(), &[0, 1], out.view_mut());
        assert_eq!(out, array![0.5, 0.5, 0.0]);
    }

    #[test]
    fn rows_without_weight_are_dropped_with_their_targets() {
        let x = array![[1.0f32], [f32::MAX], [3.0]];
        let sample = Sample::new(x.view(), Some(&[1.0, 0.0, 2.0])).unwrap();
        assert_eq!(sample.x, array![[1.0f32], [3.0]]);
        assert_eq!(sample.pick(&[7, 8, 9]), vec![7, 9]);
        assert_eq!(sample.total, 3.0);
        assert_eq!(Sample::new(x.view(), Some(&[0.0; 3])).err(), Some(LearnError::NoWeight));
        assert!(matches!(Sample::new(x.view(), Some(&[1.0, -1.0, 1.0])), Err(LearnError::Weight { row: 1, .. })));
        assert!(matches!(Sample::new(x.view(), Some(&[1.0])), Err(LearnError::Length { .. })));
    }

    #[test]
    fn present_classes_are_numbered_in_order() {
        assert_eq!(present(&[5, 2, 5], 7), (vec![2, 5], vec![1, 0, 1]));
        assert!(check_present("test", &[2, 2], 7).is_err());
        assert!(check_present("test", &[2, 7], 7).is_err());
    }
}
