//! Naive Bayes on yes-or-no columns and on counts. Both are linear models of log probabilities.
//!
//! The complement form is that of Rennie et al., *Tackling the poor assumptions of naive Bayes text classifiers* (2003). Since columns
//! are not independent, the scores can be calibrated on the training rows: one scale, and one offset a class.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::calibrate;
use super::common::{BLOCK, Sample, check_codes, check_input, clamp_coef, present};
use super::logistic::Logistic;

/// Where a column is cut in two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// At its median; a column whose median is its largest value is cut below it.
    #[default]
    Median,
    /// At its mean.
    Mean,
    /// At zero.
    Zero,
}

/// A fitted Bernoulli model.
#[derive(Clone, Debug, PartialEq)]
pub struct BernoulliNb {
    /// A value above it is a yes, one a column.
    pub cuts: Vec<f32>,
    /// The linear model on yes (1) and no (0).
    pub model: Logistic,
}

/// Fits a Bernoulli model: `alpha` rows of either value are added to each class.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, `alpha` not above 0, or a cancelled token.
pub fn bernoulli(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    (cut, alpha, calibrated): (Cut, f64, bool),
    cancel: &Cancel,
) -> Result<BernoulliNb, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    check_alpha(alpha)?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let cuts = cuts(&sample, cut, cancel)?;
    let yes = binary(sample.x.view(), &cuts);
    let (counts, mass) = class_sums(yes.view(), &sample.w, &index, codes.len(), &vec![0.0; cuts.len()], cancel)?;
    let mut coef = Array2::<f64>::zeros(counts.raw_dim());
    let mut intercept: Vec<f64> = mass.iter().map(|m| (m / sample.total).ln()).collect();
    for (k, (mut coef, counts)) in coef.outer_iter_mut().zip(counts.outer_iter()).enumerate() {
        for (coef, count) in coef.iter_mut().zip(counts) {
            let p = ((count + alpha) / (mass[k] + 2.0 * alpha)).clamp(1e-12, 1.0 - 1e-12);
            *coef = p.ln() - (1.0 - p).ln();
            intercept[k] += (1.0 - p).ln();
        }
    }
    let model = finish(classes, codes, coef, intercept, calibrated.then_some((yes.view(), &index, &sample.w)));
    Ok(BernoulliNb { cuts, model })
}

impl BernoulliNb {
    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.cuts.len())?;
        self.model.predict(binary(x, &self.cuts).view())
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        self.model.check()?;
        if self.cuts.len() != self.model.coef.ncols() || self.cuts.iter().any(|cut| !cut.is_finite()) {
            return Err(LearnError::Corrupt { model: "Bernoulli naive Bayes", problem: "the cuts do not fit the columns" });
        }
        Ok(())
    }
}

/// Fits a multinomial model of columns as counts above their smallest value: `alpha` is added to each count. With `complement`,
/// each class is told by the counts of all others.
///
/// # Errors
/// As [`bernoulli`].
pub fn multinomial(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    (alpha, complement, calibrated): (f64, bool, bool),
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    check_alpha(alpha)?;
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let mut least = vec![f64::INFINITY; sample.x.ncols()];
    for row in sample.x.outer_iter() {
        least.iter_mut().zip(row).for_each(|(least, &v)| *least = least.min(f64::from(v)));
    }
    let (mut counts, mass) = class_sums(sample.x.view(), &sample.w, &index, codes.len(), &least, cancel)?;
    let mut intercept: Vec<f64> = mass.iter().map(|m| (m / sample.total).ln()).collect();
    if complement {
        let all = counts.sum_axis(ndarray::Axis(0));
        for mut counts in counts.outer_iter_mut() {
            counts.zip_mut_with(&all, |count, all| *count = (all - *count).max(0.0));
        }
        if codes.len() > 1 {
            intercept.fill(0.0);
        }
    }
    for (mut counts, intercept) in counts.outer_iter_mut().zip(&mut intercept) {
        let total = (counts.sum() + alpha * counts.len() as f64).ln();
        let sign = if complement { -1.0 } else { 1.0 };
        for (coef, least) in counts.iter_mut().zip(&least) {
            *coef = sign * ((*coef + alpha).ln() - total);
            *intercept -= *coef * least;
        }
    }
    Ok(finish(classes, codes, counts, intercept, calibrated.then_some((sample.x.view(), &index, &sample.w))))
}

fn check_alpha(alpha: f64) -> Result<(), LearnError> {
    if alpha.is_finite() && alpha > 0.0 {
        return Ok(());
    }
    Err(LearnError::Param { name: "alpha", value: alpha, expected: "a finite number above 0" })
}

/// Calibrates the scores on training rows where those are given.
fn finish(
    classes: usize,
    codes: Vec<u32>,
    coef: Array2<f64>,
    intercept: Vec<f64>,
    on: Option<(ArrayView2<'_, f32>, &Vec<usize>, &Vec<f64>)>,
) -> Logistic {
    let mut model = Logistic::from_classes(classes, codes, coef, intercept);
    if let (Some((x, index, w)), true) = (on, model.codes.len() > 1) {
        calibrate::on_training_rows(&mut model, x, index, w);
    }
    model
}

/// Weighted sums of what the values have above `least`, classes x columns, and the weight of each class.
fn class_sums(
    x: ArrayView2<'_, f32>,
    w: &[f64],
    index: &[usize],
    classes: usize,
    least: &[f64],
    cancel: &Cancel,
) -> Result<(Array2<f64>, Vec<f64>), LearnError> {
    let mut sums = Array2::<f64>::zeros((classes, x.ncols()));
    let mut mass = vec![0.0; classes];
    for (row, values) in x.outer_iter().enumerate() {
        if row % BLOCK == 0 && cancel.is_cancelled() {
            return Err(LearnError::Cancelled);
        }
        mass[index[row]] += w[row];
        for ((sum, &v), least) in sums.row_mut(index[row]).iter_mut().zip(values).zip(least) {
            *sum += w[row] * (f64::from(v) - least);
        }
    }
    Ok((sums, mass))
}

fn binary(x: ArrayView2<'_, f32>, cuts: &[f32]) -> Array2<f32> {
    let mut out = Array2::<f32>::zeros(x.raw_dim());
    for (mut to, from) in out.outer_iter_mut().zip(x.outer_iter()) {
        to.iter_mut().zip(from).zip(cuts).for_each(|((to, &v), &cut)| *to = f32::from(u8::from(v > cut)));
    }
    out
}

fn cuts(sample: &Sample<'_>, cut: Cut, cancel: &Cancel) -> Result<Vec<f32>, LearnError> {
    let x = sample.x.view();
    match cut {
        Cut::Zero => Ok(vec![0.0; x.ncols()]),
        Cut::Mean => {
            let mean = super::scale::means(x, Some(&sample.w), cancel)?;
            Ok(mean.into_iter().map(|m| clamp_coef(m) as f32).collect())
        }
        Cut::Median => {
            let mut cuts = Vec::with_capacity(x.ncols());
            for column in x.columns() {
                if cancel.is_cancelled() {
                    return Err(LearnError::Cancelled);
                }
                if sample.w.iter().all(|&w| w == 1.0) {
                    cuts.push(middle_cut(column.to_vec()));
                    continue;
                }
                let mut values: Vec<(f32, f64)> = column.iter().copied().zip(sample.w.iter().copied()).collect();
                values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                let mut below = 0.0;
                let middle = values.iter().find(|(_, w)| {
                    below += w;
                    below >= 0.5 * sample.total
                });
                let middle = middle.map_or(0.0, |m| m.0);
                let top = values.last().map_or(middle, |v| v.0);
                let lower = values.iter().rev().find(|v| v.0 < middle);
                cuts.push(if middle < top { middle } else { lower.map_or(middle, |v| v.0) });
            }
            Ok(cuts)
        }
    }
}

/// The cut of a column whose rows weigh the same, without sorting all of it.
fn middle_cut(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let place = (values.len() - 1) / 2;
    let (below, &mut middle, above) = values.select_nth_unstable_by(place, f32::total_cmp);
    if above.iter().any(|&v| v > middle) {
        return middle;
    }
    let lower = below.iter().copied().filter(|&v| v < middle).fold(f32::NEG_INFINITY, f32::max);
    if lower.is_finite() { lower } else { middle }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn match_scikit_learn() {
        // The columns of the fixture are above zero; the counts are those above the least of each.
        let (x, q, cancel) = (fixture::x(), fixture::queries(), Cancel::new());
        let model = bernoulli(x.view(), &CODES, 3, Some(&WEIGHTS), (Cut::Mean, 1.0, false), &cancel).unwrap();
        assert_probabilities(&model.predict(q.view()).unwrap(), &Array2::from(BERNOULLI.to_vec()), 1e-4);
        for (complement, expected) in [(false, MULTINOMIAL), (true, COMPLEMENT)] {
            let model = multinomial(x.view(), &CODES, 3, Some(&WEIGHTS), (1.0, complement, false), &cancel).unwrap();
            assert_probabilities(&model.predict(q.view()).unwrap(), &Array2::from(expected.to_vec()), 1e-4);
        }
    }

    const BERNOULLI: [[f64; 3]; 3] =
        [[0.91110093, 0.08756445, 0.00133462], [0.56346708, 0.43323135, 0.00330156], [0.00051796, 0.20389918, 0.79558286]];
    const MULTINOMIAL: [[f64; 3]; 3] =
        [[0.64802839, 0.19771688, 0.15425472], [0.00559310, 0.53571840, 0.45868850], [0.00046498, 0.51326837, 0.48626665]];
    const COMPLEMENT: [[f64; 3]; 3] =
        [[0.51033367, 0.26240985, 0.22725649], [0.19342080, 0.37857053, 0.42800867], [0.20510143, 0.33787256, 0.45702602]];

    #[test]
    fn medians_split_a_column_of_ones_and_zeros() {
        let x = array![[0.0f32, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]];
        let sample = Sample::new(x.view(), None).unwrap();
        assert_eq!(cuts(&sample, Cut::Median, &Cancel::new()).unwrap(), [0.0, 1.0]);
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice_and_nasty_tables_work() {
        let (x, rows, cancel) = (fixture::x(), fixture::doubled(), Cancel::new());
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let a = multinomial(x.view(), &CODES, 3, Some(&WEIGHTS), (0.5, true, true), &cancel).unwrap();
        let b = multinomial(x.select(Axis(0), &rows).view(), &codes, 3, None, (0.5, true, true), &cancel).unwrap();
        assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-3 * b.abs().max(1.0)));
        for x in fixture::nasty() {
            for classes in [1u32, 2, 100] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                for cut in [Cut::Mean, Cut::Median] {
                    let model = bernoulli(x.view(), &codes, classes as usize, None, (cut, 1e-3, true), &cancel).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
                }
                let model = multinomial(x.view(), &codes, classes as usize, None, (1e-3, false, true), &cancel).unwrap();
                model.check().unwrap();
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
            }
        }
    }
}
