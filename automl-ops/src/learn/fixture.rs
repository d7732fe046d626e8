//! A small fixed data set: every tenth row of the iris data. Expected values in the tests are scikit-learn's on it.

use ndarray::{Array2, array};

/// Class of each row.
pub(super) const CODES: [u32; 15] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2];

/// Weights 1, 2, 1, 2, ...
pub(super) const WEIGHTS: [f32; 15] = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0];

/// The table, 15 x 4.
#[rustfmt::skip]
pub(super) fn x() -> Array2<f32> {
    array![
        [5.1, 3.5, 1.4, 0.2], [5.4, 3.7, 1.5, 0.2], [5.4, 3.4, 1.7, 0.2], [4.8, 3.1, 1.6, 0.2], [5.0, 3.5, 1.3, 0.3],
        [7.0, 3.2, 4.7, 1.4], [5.0, 2.0, 3.5, 1.0], [5.9, 3.2, 4.8, 1.8], [5.5, 2.4, 3.8, 1.1], [5.5, 2.6, 4.4, 1.2],
        [6.3, 3.3, 6.0, 2.5], [6.5, 3.2, 5.1, 2.0], [6.9, 3.2, 5.7, 2.3], [7.4, 2.8, 6.1, 1.9], [6.7, 3.1, 5.6, 2.4]
    ]
}

/// The columns of a table.
pub(super) fn columns(x: &Array2<f32>) -> Vec<Vec<f32>> {
    x.columns().into_iter().map(|column| column.to_vec()).collect()
}

/// A regression target: the first column.
pub(super) fn y() -> Vec<f32> {
    x().column(0).to_vec()
}

/// Three rows to predict.
pub(super) fn queries() -> Array2<f32> {
    array![[5.2, 3.3, 1.7, 0.3], [5.1, 1.8, 3.8, 1.1], [7.0, 3.0, 6.0, 2.4]]
}

/// The rows with every row of weight 2 written twice: row numbers.
pub(super) fn doubled() -> Vec<usize> {
    (0..15).flat_map(|row| std::iter::repeat_n(row, WEIGHTS[row] as usize)).collect()
}

/// Asserts that probabilities are those expected, and that rows sum to 1.
pub(super) fn assert_probabilities(found: &Array2<f32>, expected: &Array2<f64>, tolerance: f64) {
    assert_eq!(found.dim(), expected.dim());
    for (f, e) in found.iter().zip(expected) {
        assert!((f64::from(*f) - e).abs() <= tolerance, "found\n{found}\nexpected\n{expected}");
    }
    assert_sound(found);
}

/// Asserts that every row is a probability distribution.
pub(super) fn assert_sound(found: &Array2<f32>) {
    assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{found}");
    assert!(found.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5), "{found}");
}

/// Tables that break careless code: one row, constants, copies, more columns than rows, extreme values.
pub(super) fn nasty() -> Vec<Array2<f32>> {
    vec![
        array![[1.0, 2.0, 3.0]],
        array![[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]],
        array![[0.1, 1.0, 1.0], [0.1, 2.0, 2.0], [0.1, 4.0, 4.0], [0.1, 3.0, 3.0]],
        array![[1.0, 0.0, 2.0, 5.0, 1.0], [3.0, 1.0, 0.0, 2.0, 2.0]],
        array![[1e30, -1e30], [-1e30, 1e30], [0.0, 1e-30], [1.0, 2.0]],
        array![[f32::MAX, 1e-38], [f32::MIN, 1e-40], [f32::MAX, 0.0]],
        Array2::zeros((2, 3)),
    ]
}
