//! Projection on the directions that separate the classes best (Fisher, *The use of multiple measurements in taxonomic problems*,
//! 1936; Rao, 1948, for several classes).
//!
//! Directions have variance 1 within the classes; without shrinkage they are those of scikit-learn's
//! `LinearDiscriminantAnalysis(solver="eigen")`.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2, s};

use super::LearnError;
use super::affine::Affine;
use super::common::{Sample, centred_blocks_by, check_codes, class_means, present};
use super::lda::{LdaParams, MAX_COLUMNS};
use super::linalg::{Cholesky, add_gram, eigen, fix_signs};
use super::pca::rank;

/// Most directions.
const MAX_DIRECTIONS: usize = 64;

/// Finds the directions for `codes` (one class below `classes` a row): one fewer than there are classes, at most, or a constant 0
/// for a class alone.
///
/// # Errors
/// As [`lda::fit`](super::lda::fit).
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    params: &LdaParams,
    cancel: &Cancel,
) -> Result<Affine, LearnError> {
    const WHAT: &str = "the discriminant projection";
    check_codes(codes, classes, x.nrows())?;
    let sample = Sample::new(x, None)?;
    let columns = sample.x.ncols();
    if columns > MAX_COLUMNS {
        return Err(LearnError::TooLarge { what: WHAT, size: columns, limit: MAX_COLUMNS });
    }
    let (seen, index) = present(codes, classes);
    let (mean, mass) = class_means(&sample, &index, seen.len(), cancel)?;
    let mut middle = vec![0.0f64; columns];
    for (mean, mass) in mean.outer_iter().zip(&mass) {
        middle.iter_mut().zip(mean).for_each(|(to, m)| *to += m * mass / sample.total);
    }
    let mut within = Array2::<f64>::zeros((columns, columns));
    centred_blocks_by(
        sample.x.view(),
        |row| mean.row(index[row]),
        None,
        cancel,
        |_, block| {
            add_gram(&mut within, 1.0 / sample.total, block);
        },
    )?;
    let level = within.diag().sum() / columns as f64;
    within.mapv_inplace(|v| v * (1.0 - params.shrinkage));
    within.diag_mut().iter_mut().for_each(|v| *v += params.shrinkage * level);
    if level <= 0.0 {
        // Nothing varies within the classes: every direction counts alike.
        within.diag_mut().fill(1.0);
    }
    let (whitener, _) = Cholesky::new(WHAT, within.view(), cancel)?.whitener(cancel)?;
    let mut between = Array2::<f64>::zeros((seen.len(), columns));
    for ((mut to, mean), mass) in between.outer_iter_mut().zip(mean.outer_iter()).zip(&mass) {
        let root = (mass / sample.total).sqrt();
        to.iter_mut().zip(mean).zip(&middle).for_each(|((to, mean), middle)| *to = root * (mean - middle));
    }
    let between = between.dot(&whitener.t());
    // Squares of the largest magnitudes must not overflow; the directions do not depend on the unit.
    let top = between.iter().fold(0.0f64, |top, v| top.max(v.abs()));
    if !(top > 0.0 && top.is_finite()) {
        return Ok(Affine::dense(middle, Array2::zeros((1, columns))));
    }
    let between = between.mapv(|v| v / top);
    let most = seen.len().saturating_sub(1).min(columns).clamp(1, MAX_DIRECTIONS);
    let directions = if seen.len() < columns {
        let (values, vectors) = eigen(WHAT, &between.dot(&between.t()))?;
        let count = rank(&values).min(most);
        let mut directions = vectors.slice(s![..count, ..]).dot(&between);
        for mut row in directions.outer_iter_mut() {
            let length = row.dot(&row).sqrt();
            row.mapv_inplace(|v| if length > 0.0 { v / length } else { 0.0 });
        }
        directions
    } else {
        let (values, vectors) = eigen(WHAT, &between.t().dot(&between))?;
        vectors.slice(s![..rank(&values).min(most), ..]).to_owned()
    };
    let mut weights = directions.dot(&whitener);
    fix_signs(&mut weights);
    Ok(Affine::dense(middle, weights))
}

#[cfg(test)]
mod tests {
    use super::super::columns::Columns;
    use super::super::fixture::{self, CODES};
    use super::*;

    /// Without shrinkage scikit-learn's; with it scipy's generalised eigenvectors of the same two matrices.
    #[test]
    fn matches_scikit_learn() {
        let x = fixture::x();
        let columns = fixture::columns(&x);
        let data = Columns::new(15, columns.iter().map(Vec::as_slice).collect()).unwrap();
        // Differences between rows, up to the sign of a direction.
        let cases = [
            (0.0, [[14.770_138, 0.158_266], [21.359_542, 0.068_501], [7.445_337, 1.539_938]]),
            (0.5, [[10.372_865, 0.476_262], [14.832_241, 0.309_54], [3.690_564, 0.017_94]]),
        ];
        for (shrinkage, expected) in cases {
            let map = fit(x.view(), &CODES, 3, &LdaParams { shrinkage }, &Cancel::new()).unwrap();
            map.check().unwrap();
            let out = map.transform(&data, &Cancel::new()).unwrap();
            assert_eq!(out.len(), 2);
            for ((a, b), expected) in [(0, 5), (0, 10), (5, 14)].into_iter().zip(expected) {
                for (out, expected) in out.iter().zip(expected) {
                    assert!(((out[a] - out[b]).abs() - expected).abs() < 2e-3, "{} {expected}", out[a] - out[b]);
                }
            }
        }
    }

    #[test]
    fn nasty_tables_give_sound_maps() {
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                let map = fit(x.view(), &codes, classes as usize, &LdaParams { shrinkage: 1e-4 }, &Cancel::new()).unwrap();
                map.check().unwrap();
            }
        }
    }
}
