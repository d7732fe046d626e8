//! Least squares with a penalty on the length of each column's coefficients: the lasso, and for several outputs the group lasso
//! (Yuan and Lin, 2006; scikit-learn's `MultiTaskLasso`), by coordinate descent on the products of the columns (Friedman, Hastie
//! and Tibshirani, 2010). It is here to select columns: those with coefficients other than 0.

use automl_core::Cancel;
use ndarray::Array2;

use super::LearnError;
use super::columns::{Columns, Response, alive};
use super::eliminate::Products;

/// Passes over the columns, at most.
const PASSES: usize = 300;
/// A pass that changes no coefficient by more ends the descent; outputs have deviation 1.
const TOLERANCE: f64 = 1e-4;

/// Sum of the squares of each column's coefficients on the standardised scale, with a penalty of `strength` times the smallest one
/// that leaves no column.
///
/// # Errors
/// An empty table, more columns than [`eliminate`](super::eliminate::MAX_COLUMNS) takes, or a cancelled token.
pub fn squared_coefficients(
    x: &Columns<'_>,
    y: &Response,
    strength: f64,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<f64>, LearnError> {
    x.check_fit()?;
    let Products { columns, target, .. } = Products::new("the lasso", x, y, seed, cancel)?;
    let top = target.outer_iter().map(|row| row.dot(&row).sqrt()).fold(0.0, f64::max);
    let coefficients = descend(&columns, target, strength * top, cancel)?;
    Ok(coefficients.outer_iter().map(|row| row.dot(&row)).collect())
}

/// Coefficients, columns x outputs, that minimise half the mean squared error plus `penalty` times the lengths of the rows.
///
/// `columns` has the products of the columns, `target` those with the outputs.
fn descend(columns: &Array2<f64>, target: Array2<f64>, penalty: f64, cancel: &Cancel) -> Result<Array2<f64>, LearnError> {
    let (width, outputs) = target.dim();
    // What is left of the products with the outputs.
    let mut left = target;
    let mut coefficients = Array2::<f64>::zeros((width, outputs));
    let mut active: Vec<usize> = Vec::new();
    let mut change = vec![0.0f64; outputs];
    let mut full = true;
    for _ in 0..PASSES {
        let order: Vec<usize> = if full { (0..width).collect() } else { active.clone() };
        let mut largest = 0.0f64;
        for &column in &order {
            let own = columns[(column, column)];
            if own <= 0.0 {
                continue;
            }
            let mut length = 0.0;
            for ((change, left), old) in change.iter_mut().zip(left.row(column)).zip(coefficients.row(column)) {
                *change = left + own * old;
                length += *change * *change;
            }
            let shrink = (1.0 - penalty / length.sqrt().max(f64::MIN_POSITIVE)).max(0.0) / own;
            let mut moved = 0.0f64;
            for (change, old) in change.iter_mut().zip(coefficients.row_mut(column)) {
                let new = *change * shrink;
                *change = new - *old;
                *old = new;
                moved = moved.max(change.abs());
            }
            if moved == 0.0 {
                continue;
            }
            alive(cancel)?;
            largest = largest.max(moved);
            let products = columns.row(column);
            if let (1, Some(left), Some(&change)) = (outputs, left.as_slice_mut(), change.first()) {
                left.iter_mut().zip(products).for_each(|(left, product)| *left -= product * change);
                continue;
            }
            for (mut left, product) in left.outer_iter_mut().zip(products) {
                left.iter_mut().zip(&change).for_each(|(left, change)| *left -= product * change);
            }
        }
        alive(cancel)?;
        if largest <= TOLERANCE {
            if full {
                break;
            }
            full = true;
        } else {
            active = (0..width).filter(|&column| coefficients.row(column).iter().any(|&v| v != 0.0)).collect();
            full = false;
        }
    }
    Ok(coefficients)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES};
    use super::*;

    #[test]
    fn coefficients_match_scikit_learn() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns[1..].iter().map(Vec::as_slice).collect()).unwrap();
        let y = Response::values(&fixture::y(), 15).unwrap();
        let products = || Products::new("test", &data, &y, 1, &Cancel::new()).unwrap();
        let lasso =
            [(0.01, [0.42125781, 1.6530569, -0.71074267]), (0.1, [0.19703618, 0.80381137, 0.0]), (0.5, [0.0, 0.34191279, 0.0])];
        for (penalty, expected) in lasso {
            let found = descend(&products().columns, products().target, penalty, &Cancel::new()).unwrap();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 3e-2), "{found}");
        }
        let data = Columns::new(15, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let y = Response::classes(&CODES, 3, 15).unwrap();
        let products = Products::new("test", &data, &y, 1, &Cancel::new()).unwrap();
        let found = descend(&products.columns, products.target, 0.3, &Cancel::new()).unwrap();
        let expected = [
            [-0.01291115, -0.00562678, 0.01853792],
            [0.28091206, -0.40221685, 0.12130478],
            [-0.16807737, 0.03723684, 0.13084053],
            [-0.4324034, -0.04224102, 0.47464442],
        ];
        assert!(found.iter().zip(expected.as_flattened()).all(|(a, b)| (a - b).abs() < 5e-3), "{found}");
    }
}
