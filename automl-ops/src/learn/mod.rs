//! Numeric kernels of the learners: plain functions and structs on dense matrices, with no knowledge of operators.
//!
//! Every kernel takes a row-major `ArrayView2<f32>` (rows x columns, finite), or [`columns::Columns`] where it goes column by
//! column, and keeps its result in public plain fields, so that an operator can save and load it without the kernel knowing a
//! file format. Inputs are single precision because the
//! table is; sums and solvers are double, because a Gram matrix squares the condition number.
//!
//! Two promises hold for all of them. A fitted struct whose `check` passes never panics in `predict` or `transform`, whatever
//! file it came from: a wrong number of columns is an error. And the result does not depend on the number of threads: work
//! is cut at fixed places and summed in order.

pub mod affine;
pub mod agglomerate;
mod approx;
pub mod bayesian_ridge;
mod calibrate;
pub mod centroid;
pub mod columns;
mod common;
pub mod correlation;
pub mod discrete_nb;
pub mod discriminant;
pub mod eliminate;
mod factor;
pub mod fast_ica;
#[cfg(test)]
mod fixture;
pub mod gaussian_nb;
mod glm;
pub mod group_lasso;
pub mod huber;
pub mod interactions;
pub mod iterative;
pub mod k_means;
pub mod kernel_ridge;
pub mod kernel_svm;
pub mod kernels;
pub mod knn;
pub mod knn_impute;
pub mod lasso;
mod lbfgs;
pub mod lda;
mod leave_one_out;
mod linalg;
pub mod linear_svm;
pub mod logistic;
mod logistic_loss;
mod logistic_newton;
pub mod neighbours;
pub mod nystroem;
mod owlqn;
pub mod pca;
pub mod pls;
pub mod power;
pub mod qda;
pub mod quantile;
pub mod random_features;
pub mod randomized_pca;
pub mod ridge;
pub mod ridge_classes;
pub mod scale;
pub mod select;
pub mod sgd;
pub mod significance;
mod smo;
pub mod spline;
pub mod stack;
pub mod tfidf;
pub mod tweedie;

/// Why a kernel could not be fitted or applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// There is nothing to learn from.
    #[error("{what} is empty: at least one row, one column and one class are needed")]
    Empty {
        /// The argument.
        what: &'static str,
    },
    /// Two arguments disagree about the number of rows.
    #[error("{what} has {found} values but the matrix has {expected} rows: give one value a row")]
    Length {
        /// The argument.
        what: &'static str,
        /// Rows of the matrix.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// The matrix has another width than the one the model was fitted on.
    #[error("the model was fitted on {expected} columns but got {found}: pass the same columns in the same order")]
    Columns {
        /// Columns at fit time.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// A value that is NaN or infinite.
    #[error("{what} holds a value that is not finite in row {row}, column {column}: impute or drop it first")]
    NotFinite {
        /// The argument.
        what: &'static str,
        /// Row of the first such value.
        row: usize,
        /// Its column; 0 for a vector.
        column: usize,
    },
    /// A class code outside `0..classes`.
    #[error("row {row} has class code {code} but there are {classes} classes: codes run from 0 to classes - 1")]
    Code {
        /// Row of the first such code.
        row: usize,
        /// The code.
        code: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A row weight that is negative or not finite.
    #[error("row {row} has weight {value}: weights are finite and not negative")]
    Weight {
        /// Row of the first such weight.
        row: usize,
        /// The weight.
        value: f32,
    },
    /// All row weights are zero.
    #[error("all row weights are zero: at least one row must count")]
    NoWeight,
    /// A hyperparameter outside its range.
    #[error("parameter `{name}` is {value}: expected {expected}")]
    Param {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The legal range.
        expected: &'static str,
    },
    /// The dense solver would need more memory and time than is sensible.
    #[error("{what} needs a {size} x {size} matrix, more than the limit of {limit}: reduce the columns or the rows first")]
    TooLarge {
        /// The kernel.
        what: &'static str,
        /// Side of the matrix it would build.
        size: usize,
        /// The largest side allowed.
        limit: usize,
    },
    /// More of something than is sensible.
    #[error("{what}: {found} are more than the limit of {limit}: reduce the columns or ask for fewer outputs")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there would be.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The matrix decomposition did not succeed even after regularisation.
    #[error("{what}: the matrix decomposition failed: scale the columns or regularise more")]
    Numeric {
        /// The kernel.
        what: &'static str,
    },
    /// The token was cancelled before there was a result.
    #[error("cancelled")]
    Cancelled,
    /// The fields of a loaded model contradict each other.
    #[error("corrupt {model} model: {problem}; fit it again")]
    Corrupt {
        /// The kernel.
        model: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}
