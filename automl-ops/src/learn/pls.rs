//! Partial least squares: directions of the columns that vary with the target (de Jong, *SIMPLS: an alternative approach to
//! partial least squares regression*, 1993).
//!
//! Columns and outputs are standardised; classes are indicator outputs. With one output the components are those of NIPALS and of
//! scikit-learn's `PLSRegression`, up to their length: here each has variance 1. The data is only read, column by column, twice a
//! component.

use automl_core::Cancel;
use ndarray::Array2;

use super::LearnError;
use super::affine::Affine;
use super::columns::{Columns, Response, Standard, alive};
use super::lbfgs::dot;
use super::linalg::{eigen, fix_signs};

/// Finds at most `n_components` components; fewer where the columns hold no more that varies with the target, but never none.
///
/// # Errors
/// An empty table, or a cancelled token.
pub fn fit(x: &Columns<'_>, y: &Response, n_components: usize, cancel: &Cancel) -> Result<Affine, LearnError> {
    let standard = Standard::fit(x, cancel)?;
    let (rows, width, outputs) = (x.rows(), x.width(), y.width());
    let all: Vec<u32> = (0..rows as u32).collect();
    // Covariances of columns and outputs, less what the components so far explain.
    let mut cross = Array2::<f64>::zeros((width, outputs));
    for (index, (column, mut to)) in x.iter().zip(cross.outer_iter_mut()).enumerate() {
        alive(cancel)?;
        to.iter_mut().zip(y.cross(column, standard.of(index), &all)).for_each(|(to, v)| *to = v);
    }
    let start = norm(cross.iter());
    let mut weights: Vec<Vec<f64>> = Vec::new();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for _ in 0..n_components.min(width).min(rows.saturating_sub(1)) {
        let Some(mut weight) = direction(&cross, start)? else { break };
        let mut scores = vec![0.0f64; rows];
        for (index, (column, &w)) in x.iter().zip(&weight).enumerate() {
            alive(cancel)?;
            let (mean, inverse) = standard.of(index);
            let factor = w * inverse;
            if factor != 0.0 {
                scores.iter_mut().zip(column).for_each(|(score, &v)| *score += factor * (f64::from(v) - mean));
            }
        }
        let deviation = norm(scores.iter()) / (rows as f64).sqrt();
        if deviation <= 1e-9 {
            break;
        }
        weight.iter_mut().for_each(|w| *w /= deviation);
        scores.iter_mut().for_each(|score| *score /= deviation * rows as f64);
        let mut loading = Vec::with_capacity(width);
        for (index, column) in x.iter().enumerate() {
            alive(cancel)?;
            let (mean, inverse) = standard.of(index);
            let product: f64 = column.iter().zip(&scores).map(|(&v, score)| (f64::from(v) - mean) * score).sum();
            loading.push(product * inverse);
        }
        // Twice is enough for a basis that is orthogonal up to rounding.
        for earlier in basis.iter().chain(&basis) {
            let along = dot(earlier, &loading);
            loading.iter_mut().zip(earlier).for_each(|(v, e)| *v -= along * e);
        }
        let length = norm(loading.iter());
        if length <= 1e-9 {
            break;
        }
        loading.iter_mut().for_each(|v| *v /= length);
        for mut column in cross.columns_mut() {
            let along: f64 = column.iter().zip(&loading).map(|(c, v)| c * v).sum();
            column.iter_mut().zip(&loading).for_each(|(c, v)| *c -= along * v);
        }
        weights.push(weight);
        basis.push(loading);
    }
    if weights.is_empty() {
        weights.push(vec![0.0; width]);
    }
    let mut map = Array2::from_shape_fn((weights.len(), width), |(k, column)| weights[k][column]);
    fix_signs(&mut map);
    for mut row in map.outer_iter_mut() {
        row.iter_mut().zip(&standard.inverse).for_each(|(v, inverse)| *v *= inverse);
    }
    Ok(Affine::dense(standard.mean, map))
}

/// The direction of unit length in which a matrix of columns x outputs has most extent; nothing where there is next to none
/// compared with `start`.
fn direction(cross: &Array2<f64>, start: f64) -> Result<Option<Vec<f64>>, LearnError> {
    let size = norm(cross.iter());
    if !(size > start * 1e-7 && size > 0.0) {
        return Ok(None);
    }
    let unit = cross.mapv(|v| v / size);
    let mut direction: Vec<f64> = if cross.ncols() <= cross.nrows() {
        let (_, vectors) = eigen("partial least squares", &unit.t().dot(&unit))?;
        unit.dot(&vectors.row(0)).to_vec()
    } else {
        eigen("partial least squares", &unit.dot(&unit.t()))?.1.row(0).to_vec()
    };
    let length = norm(direction.iter());
    if length <= 0.0 {
        return Ok(None);
    }
    direction.iter_mut().for_each(|v| *v /= length);
    Ok(Some(direction))
}

fn norm<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::columns::spread;
    use super::super::fixture::{self, CODES};
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns[1..].iter().map(Vec::as_slice).collect()).unwrap();
        let y = Response::values(&fixture::y(), 15).unwrap();
        let map = fit(&data, &y, 2, &Cancel::new()).unwrap();
        let out = map.transform(&data, &Cancel::new()).unwrap();
        // The scores of `PLSRegression(2)` over their deviation, up to their sign.
        for (row, expected) in [(0, [1.291_850_5, 0.678_225_6]), (1, [1.250_134_3, 1.167_378_9]), (10, [1.386_943_4, 0.827_012])]
        {
            assert!((out[0][row].abs() - expected[0]).abs() < 1e-4 && (out[1][row].abs() - expected[1]).abs() < 1e-4);
        }
    }

    #[test]
    fn components_are_uncorrelated_and_few_where_there_is_no_more() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let y = Response::classes(&CODES, 3, 15).unwrap();
        let out = fit(&data, &y, 9, &Cancel::new()).unwrap().transform(&data, &Cancel::new()).unwrap();
        assert!((2..=4).contains(&out.len()));
        assert!(out.iter().all(|scores| (spread(scores).1 - 1.0).abs() < 1e-4));
        let product: f32 = out[0].iter().zip(&out[1]).map(|(a, b)| a * b).sum();
        assert!(product.abs() < 1e-3, "{product}");
        for x in fixture::nasty() {
            let columns = fixture::columns(&x);
            let data = Columns::new(x.nrows(), columns.iter().map(Vec::as_slice).collect()).unwrap();
            let codes: Vec<u32> = (0..x.nrows() as u32).collect();
            let y = Response::classes(&codes, x.nrows(), x.nrows()).unwrap();
            fit(&data, &y, 3, &Cancel::new()).unwrap().check().unwrap();
        }
    }
}
