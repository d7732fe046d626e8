//! Recursive elimination of columns by the coefficients of a ridge regression (Guyon et al., *Gene selection for cancer
//! classification using support vector machines*, 2002, with a linear model that needs one pass over the data).
//!
//! The products of all columns with each other and with the target are computed once; every step then solves a smaller system and
//! drops the columns with the smallest squared coefficients. Classes are indicator outputs.

use automl_core::Cancel;
use ndarray::{Array2, Axis, s};

use super::LearnError;
use super::affine::centre;
use super::columns::{Columns, Response, Standard, alive, block_rows, blocks, sample};
use super::linalg::{Cholesky, add_gram};

/// Most columns: their products take 32 MB, a system some seconds.
pub const MAX_COLUMNS: usize = 2048;
/// Multiplications for the products of the columns, where that leaves at least [`FEWEST`] rows.
const WORK: usize = 10_000_000_000;
const FEWEST: usize = 2000;

/// Standardised columns and outputs, multiplied with each other and divided by the number of rows.
pub(super) struct Products {
    /// Columns x columns.
    pub columns: Array2<f64>,
    /// Columns x outputs.
    pub target: Array2<f64>,
    /// Rows that were multiplied.
    pub rows: usize,
}

/// Rows that the products of so many columns are computed on, at most.
pub fn sampled(width: usize) -> usize {
    (WORK / width.max(1).pow(2)).max(FEWEST)
}

impl Products {
    /// Multiplies the columns of `x` on a sample of the rows.
    pub fn new(what: &'static str, x: &Columns<'_>, y: &Response, seed: u64, cancel: &Cancel) -> Result<Self, LearnError> {
        let width = x.width();
        if width > MAX_COLUMNS {
            return Err(LearnError::TooLarge { what, size: width, limit: MAX_COLUMNS });
        }
        let rows = sample(x.rows(), sampled(width), seed);
        let all = rows.len() == x.rows();
        let taken: Vec<Vec<f32>> = if all {
            Vec::new()
        } else {
            x.map(cancel, |column| rows.iter().filter_map(|&row| column.get(row as usize).copied()).collect())?
        };
        let part = if all { x.clone() } else { Columns::new(rows.len(), taken.iter().map(Vec::as_slice).collect())? };
        let standard = Standard::fit(&part, cancel)?;
        let mut columns = Array2::<f64>::zeros((width, width));
        let size = block_rows(width);
        let mut block = Array2::<f64>::zeros((size, width));
        for rows in blocks(0..part.rows(), size) {
            alive(cancel)?;
            centre(&part, &standard.mean, rows.clone(), &mut block);
            add_gram(&mut columns, 1.0 / part.rows() as f64, block.slice(s![..rows.len(), ..]));
        }
        for i in 0..width {
            for j in 0..=i {
                let product = columns[(i, j)] * standard.of(i).1 * standard.of(j).1;
                columns[(i, j)] = product;
                columns[(j, i)] = product;
            }
        }
        let mut target = Array2::<f64>::zeros((width, y.width()));
        for (index, (column, mut to)) in x.iter().zip(target.outer_iter_mut()).enumerate() {
            alive(cancel)?;
            to.iter_mut().zip(y.cross(column, standard.of(index), &rows)).for_each(|(to, v)| *to = v);
        }
        Ok(Self { columns, target, rows: rows.len() })
    }
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct EliminateParams {
    /// Columns that stay, from 1.
    pub keep: usize,
    /// Share of the columns left that a step drops, at least one.
    pub step: f64,
    /// Strength of the ridge penalty on standardised columns, as in scikit-learn.
    pub alpha: f64,
}

/// The columns that stay, ascending.
///
/// # Errors
/// An empty table, more than [`MAX_COLUMNS`] columns, or a cancelled token. One system cannot be cut.
pub fn eliminate(
    x: &Columns<'_>,
    y: &Response,
    params: &EliminateParams,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<usize>, LearnError> {
    x.check_fit()?;
    let mut left: Vec<usize> = (0..x.width()).collect();
    let keep = params.keep.max(1);
    if left.len() <= keep {
        return Ok(left);
    }
    let products = Products::new("recursive elimination", x, y, seed, cancel)?;
    let penalty = params.alpha / products.rows.max(1) as f64;
    while left.len() > keep {
        alive(cancel)?;
        let mut system = products.columns.select(Axis(0), &left).select(Axis(1), &left);
        system.diag_mut().iter_mut().for_each(|v| *v += penalty);
        let mut coefficients = products.target.select(Axis(0), &left).reversed_axes().as_standard_layout().into_owned();
        Cholesky::new("recursive elimination", system.view(), cancel)?.solve_rows(&mut coefficients);
        let size: Vec<f64> = coefficients.columns().into_iter().map(|column| column.dot(&column)).collect();
        let mut order: Vec<usize> = (0..left.len()).collect();
        order.sort_by(|&a, &b| size[b].total_cmp(&size[a]));
        let drop = ((params.step * left.len() as f64) as usize).clamp(1, left.len() - keep);
        order.truncate(left.len() - drop);
        order.sort_unstable();
        left = order.into_iter().filter_map(|place| left.get(place).copied()).collect();
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES};
    use super::*;

    #[test]
    fn the_order_is_that_of_scikit_learn() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns[1..].iter().map(Vec::as_slice).collect()).unwrap();
        let y = Response::values(&fixture::y(), 15).unwrap();
        // `RFE(Ridge(1), step=1).ranking_` on the standardised table is [2, 1, 3].
        for (keep, expected) in [(1, vec![1]), (2, vec![0, 1]), (3, vec![0, 1, 2])] {
            let params = EliminateParams { keep, step: 0.01, alpha: 1.0 };
            assert_eq!(eliminate(&data, &y, &params, 1, &Cancel::new()).unwrap(), expected);
        }
    }

    #[test]
    fn nasty_tables_leave_a_column() {
        for x in fixture::nasty().into_iter().chain([fixture::x()]) {
            let columns = fixture::columns(&x);
            let data = Columns::new(x.nrows(), columns.iter().map(Vec::as_slice).collect()).unwrap();
            let y = Response::classes(&CODES[..x.nrows()], 3, x.nrows()).unwrap();
            let params = EliminateParams { keep: 1, step: 0.5, alpha: 1e-6 };
            assert_eq!(eliminate(&data, &y, &params, 1, &Cancel::new()).unwrap().len(), 1);
        }
    }
}
