//! Support vector machines with a kernel: one against one for classes, an epsilon-insensitive tube for values.
//!
//! Every pair of classes gets a machine (`smo`) and a sigmoid (`calibrate`) on decisions about
//! rows that it did not see: three folds, or a third held out where a pair has many rows. The pairs' probabilities are joined
//! as in Wu, Lin and Weng, *Probability estimates for multi-class classification by pairwise coupling* (2004), second method.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::LearnError;
use super::calibrate::calibrate;
use super::common::{Sample, check_codes, check_coef, check_from_zero, check_present, check_targets, plain, present, to_f32};
use super::kernels::{Kernel, Rows, SizedKernel, Transform, query};
use super::lasso::standard_target;
use super::smo::{Solution, Variable, solve};

/// Most classes: their machines grow with the square.
pub const MAX_CLASSES: usize = 64;
/// Rows of a pair from which a third is held out once, instead of three folds.
const MANY: usize = 1500;
const MODEL: &str = "support vector machine";

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct SvmParams {
    /// Largest coefficient of a row of weight 1, above 0. Default 1.
    pub c: f64,
    /// The kernel. Default RBF.
    pub kernel: Kernel,
    /// Its width, relative to one over the number of columns. Default 1.
    pub gamma: f64,
    /// Whether every column is scaled to variance 1 first. Default yes.
    pub scale: bool,
    /// Deviations of a value that cost nothing, in standard deviations. Default 0.1.
    pub epsilon: f64,
}

impl Default for SvmParams {
    fn default() -> Self {
        Self { c: 1.0, kernel: Kernel::Rbf, gamma: 1.0, scale: true, epsilon: 0.1 }
    }
}

/// What both fitted machines share: rows with coefficients, and how they are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// How a row is transformed.
    pub transform: Transform,
    /// The kernel and its absolute width.
    pub kernel: SizedKernel,
    /// The transformed support vectors.
    pub rows: Rows,
}

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct SvmClassifier {
    /// Number of classes, thus of columns of the prediction.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; the others get probability 0.
    pub codes: Vec<u32>,
    /// Support vectors, those of the first class first.
    pub support: Support,
    /// Where the vectors of each class end.
    pub ends: Vec<usize>,
    /// Coefficients, (classes of `codes` - 1) x vectors: a vector of class `a` has in row `b` (`b - 1` where `b > a`) that of the
    /// machine of `a` against `b`.
    pub coef: Array2<f64>,
    /// Constant, scale and offset of each pair's sigmoid, pairs x 3, in the order (0, 1), (0, 2), …, (1, 2), ….
    pub pairs: Array2<f64>,
}

/// A fitted regressor.
#[derive(Clone, Debug, PartialEq)]
pub struct SvmRegressor {
    /// Support vectors.
    pub support: Support,
    /// Their coefficients.
    pub coef: Vec<f64>,
    /// The constant.
    pub intercept: f64,
}

fn check_params(params: &SvmParams) -> Result<(), LearnError> {
    for (name, value) in [("c", params.c), ("gamma", params.gamma)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(LearnError::Param { name, value, expected: "a finite number above 0" });
        }
    }
    check_from_zero("epsilon", params.epsilon)
}

/// The machine of two classes: `second` tells the rows of the second.
fn machine(
    rows: &Rows,
    kernel: SizedKernel,
    second: &[bool],
    w: &[f64],
    c: f64,
    cancel: &Cancel,
) -> Result<Solution, LearnError> {
    let variable = |row: usize| {
        let bound = c * w[row];
        if second[row] {
            Variable { target: 1.0, low: 0.0, high: bound }
        } else {
            Variable { target: -1.0, low: -bound, high: 0.0 }
        }
    };
    let variables: Vec<Variable> = (0..second.len()).map(variable).collect();
    solve(rows, kernel, &variables, 0.0, cancel)
}

/// Decisions about rows from a machine fitted without them: (row, decision).
fn unseen(
    rows: &Rows,
    kernel: SizedKernel,
    second: &[bool],
    w: &[f64],
    c: f64,
    cancel: &Cancel,
) -> Result<Vec<(usize, f64)>, LearnError> {
    // Folds take the rows of each class in turn.
    let mut counts = [0usize; 2];
    let mut fold = Vec::with_capacity(second.len());
    for &second in second {
        let count = &mut counts[usize::from(second)];
        fold.push(*count % 3);
        *count += 1;
    }
    if counts.iter().any(|&count| count < 3) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for held in 0..if second.len() > MANY { 1 } else { 3 } {
        let (out, kept): (Vec<usize>, Vec<usize>) = (0..second.len()).partition(|&row| fold[row] == held);
        let inner = rows.select(&kept);
        let pick: Vec<bool> = kept.iter().map(|&row| second[row]).collect();
        let weights: Vec<f64> = kept.iter().map(|&row| w[row]).collect();
        let solution = machine(&inner, kernel, &pick, &weights, c, cancel)?;
        let used: Vec<usize> = (0..kept.len()).filter(|&row| solution.coef[row] != 0.0).collect();
        let coef: Vec<f64> = used.iter().map(|&row| solution.coef[row]).collect();
        kernel.blocks(&rows.select(&out), &inner.select(&used), cancel, |start, block| {
            for (offset, row) in block.outer_iter().enumerate() {
                let decision = row.iter().zip(&coef).map(|(&k, c)| f64::from(k) * c).sum::<f64>() + solution.bias;
                found.push((out[start + offset], decision));
            }
        })?;
    }
    Ok(found)
}

impl SvmClassifier {
    /// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, parameters out of range, more than [`MAX_CLASSES`]
    /// classes, or a cancelled token.
    pub fn fit(
        x: ArrayView2<'_, f32>,
        codes: &[u32],
        classes: usize,
        weights: Option<&[f32]>,
        params: &SvmParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_codes(codes, classes, x.nrows())?;
        check_params(params)?;
        let sample = Sample::new(x, weights)?;
        let (codes, index) = present(&sample.pick(codes), classes);
        if codes.len() > MAX_CLASSES {
            return Err(LearnError::TooLarge {
                what: "a machine for every pair of classes",
                size: codes.len(),
                limit: MAX_CLASSES,
            });
        }
        let transform = Transform::new(&sample, params.scale, cancel)?;
        let kernel = SizedKernel::new(params.kernel, params.gamma, &transform);
        let rows = transform.rows(sample.x.view());
        let members: Vec<Vec<usize>> =
            (0..codes.len()).map(|class| (0..index.len()).filter(|&row| index[row] == class).collect()).collect();
        let one = |&(a, b): &(usize, usize)| {
            let all: Vec<usize> = members[a].iter().chain(&members[b]).copied().collect();
            let second: Vec<bool> = all.iter().map(|&row| index[row] == b).collect();
            let w: Vec<f64> = all.iter().map(|&row| sample.w[row]).collect();
            let own = rows.select(&all);
            let solution = machine(&own, kernel, &second, &w, params.c, cancel)?;
            let held = unseen(&own, kernel, &second, &w, params.c, cancel)?;
            let sigmoid = if held.is_empty() {
                // Too few rows to hold any out: a decision of 1 is as good as the support vectors say.
                [solution.bias, 1.0, 0.0]
            } else {
                let scores = Array2::from_shape_fn((held.len(), 1), |(place, _)| held[place].1);
                let classes: Vec<usize> = held.iter().map(|&(row, _)| usize::from(second[row])).collect();
                let weights: Vec<f64> = held.iter().map(|&(row, _)| w[row]).collect();
                let found = calibrate(scores.view(), &classes, &weights);
                [solution.bias, found.scale, found.offset.first().copied().unwrap_or(0.0)]
            };
            Ok((all, solution.coef, sigmoid))
        };
        let pairs = pairs(codes.len());
        let machines: Vec<Result<_, LearnError>> = pairs.par_iter().map(one).collect();
        let mut full = Array2::<f64>::zeros((codes.len() - 1, index.len()));
        let mut sigmoids = Array2::<f64>::zeros((pairs.len(), 3));
        for (place, (machine, &(a, b))) in machines.into_iter().zip(&pairs).enumerate() {
            let (all, coef, sigmoid) = machine?;
            for (row, coef) in all.into_iter().zip(coef) {
                let other = if index[row] == a { b - 1 } else { a };
                full[(other, row)] = coef;
            }
            sigmoids.row_mut(place).iter_mut().zip(sigmoid).for_each(|(to, from)| *to = from);
        }
        let mut used = Vec::new();
        let mut ends = Vec::new();
        for members in &members {
            used.extend(members.iter().copied().filter(|&row| full.column(row).iter().any(|&c| c != 0.0)));
            ends.push(used.len());
        }
        let support = Support { transform, kernel, rows: rows.select(&used) };
        Ok(Self {
            classes,
            codes,
            support,
            ends,
            coef: full.select(ndarray::Axis(1), &used).as_standard_layout().into_owned(),
            pairs: sigmoids,
        })
    }

    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
        let mut out = Array2::<f32>::zeros((x.nrows(), self.classes));
        let count = self.codes.len();
        let mut beats = Array2::<f64>::zeros((count, count));
        let mut starts = vec![0];
        starts.extend(&self.ends);
        let pairs = pairs(count);
        let rows = query(x, &self.support.transform)?;
        self.support.kernel.blocks(&rows, &self.support.rows, cancel, |start, block| {
            for (offset, kernel) in block.outer_iter().enumerate() {
                let kernel = plain(kernel);
                for (sigmoid, &(a, b)) in self.pairs.outer_iter().zip(&pairs) {
                    let part = |class: usize, other: usize| {
                        let coef = self.coef.row(other);
                        weigh(&kernel, coef.to_slice().unwrap_or_default(), starts[class], starts[class + 1])
                    };
                    let decision = part(a, b - 1) + part(b, a) + sigmoid[0];
                    let p = 1.0 / (1.0 + (-(sigmoid[1] * decision + sigmoid[2])).exp());
                    let p = if p.is_nan() { 0.5 } else { p.clamp(1e-7, 1.0 - 1e-7) };
                    beats[(b, a)] = p;
                    beats[(a, b)] = 1.0 - p;
                }
                for (p, &code) in couple(&beats).into_iter().zip(&self.codes) {
                    if let Some(to) = out.get_mut((start + offset, code as usize)) {
                        *to = p as f32;
                    }
                }
            }
        })?;
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        check_present(MODEL, &self.codes, self.classes)?;
        check_coef(MODEL, self.coef.iter().chain(&self.pairs))?;
        self.support.check()?;
        let (count, vectors) = (self.codes.len(), self.support.rows.z.nrows());
        let ordered = self.ends.windows(2).all(|pair| pair[0] <= pair[1]);
        if count > MAX_CLASSES
            || !ordered
            || self.ends.len() != count
            || self.ends.last() != Some(&vectors)
            || self.coef.dim() != (count - 1, vectors)
            || self.pairs.dim() != (count * (count - 1) / 2, 3)
        {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the coefficients do not fit the classes" });
        }
        Ok(())
    }
}

impl SvmRegressor {
    /// Fits the target `y` (one value a row) on `x`, with optional row weights.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, parameters out of range, or a cancelled token.
    pub fn fit(
        x: ArrayView2<'_, f32>,
        y: &[f32],
        weights: Option<&[f32]>,
        params: &SvmParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_targets(y, x.nrows())?;
        check_params(params)?;
        let sample = Sample::new(x, weights)?;
        let (y, centre, scale) = standard_target(&sample.pick(y), &sample);
        let transform = Transform::new(&sample, params.scale, cancel)?;
        let kernel = SizedKernel::new(params.kernel, params.gamma, &transform);
        let rows = transform.rows(sample.x.view());
        let variable = |(&target, &w): (&f64, &f64)| Variable { target, low: -params.c * w, high: params.c * w };
        let variables: Vec<Variable> = y.iter().zip(&sample.w).map(variable).collect();
        let solution = solve(&rows, kernel, &variables, params.epsilon, cancel)?;
        let used: Vec<usize> = (0..y.len()).filter(|&row| solution.coef[row] != 0.0).collect();
        let coef = used.iter().map(|&row| scale * solution.coef[row]).collect();
        let support = Support { transform, kernel, rows: rows.select(&used) };
        Ok(Self { support, coef, intercept: centre + scale * solution.bias })
    }

    /// One value a row, clipped to finite numbers.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Vec<f32>, LearnError> {
        let mut out = Vec::with_capacity(x.nrows());
        let rows = query(x, &self.support.transform)?;
        self.support.kernel.blocks(&rows, &self.support.rows, cancel, |_, block| {
            out.extend(
                block.outer_iter().map(|kernel| to_f32(self.intercept + weigh(&plain(kernel), &self.coef, 0, self.coef.len()))),
            );
        })?;
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a number is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        check_coef(MODEL, self.coef.iter().chain([&self.intercept]))?;
        self.support.check()?;
        if self.coef.len() != self.support.rows.z.nrows() {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the coefficients do not fit the vectors" });
        }
        Ok(())
    }
}

impl Support {
    /// Validates the fields after loading.
    pub(super) fn check(&self) -> Result<(), LearnError> {
        self.transform.check(MODEL, self.rows.z.ncols())?;
        if !(self.kernel.gamma.is_finite() && self.kernel.gamma >= 0.0) {
            return Err(LearnError::Corrupt { model: MODEL, problem: "the width of the kernel is not finite" });
        }
        self.rows.check(MODEL)
    }
}

/// Pairs of so many classes, in order.
fn pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
}

/// The weighted sum of part of a kernel row, in fixed lanes, which vectorise.
pub(super) fn weigh(kernel: &[f32], coef: &[f64], start: usize, end: usize) -> f64 {
    const LANES: usize = 8;
    let (kernel, coef) = (kernel.get(start..end).unwrap_or_default(), coef.get(start..end).unwrap_or_default());
    let mut lanes = [0.0f64; LANES];
    let (a, b) = (kernel.chunks_exact(LANES), coef.chunks_exact(LANES));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(&k, c)| f64::from(k) * c).sum();
    for (a, b) in a.zip(b) {
        for ((lane, &k), c) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f64::from(k) * c;
        }
    }
    lanes.iter().sum::<f64>() + tail
}

/// Class probabilities from those of each class against each other, `beats[(a, b)]`.
fn couple(beats: &Array2<f64>) -> Vec<f64> {
    let count = beats.nrows();
    if count <= 2 {
        return if count == 1 { vec![1.0] } else { vec![beats[(0, 1)], beats[(1, 0)]] };
    }
    let q = Array2::from_shape_fn((count, count), |(a, b)| {
        if a == b { (0..count).filter(|&c| c != a).map(|c| beats[(c, a)].powi(2)).sum() } else { -beats[(b, a)] * beats[(a, b)] }
    });
    let mut p = vec![1.0 / count as f64; count];
    for _ in 0..100 {
        let mut qp: Vec<f64> = q.outer_iter().map(|row| row.iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut pqp: f64 = qp.iter().zip(&p).map(|(a, b)| a * b).sum();
        if qp.iter().all(|v| (v - pqp).abs() < 0.005 / count as f64) {
            break;
        }
        for t in 0..count {
            let diff = (pqp - qp[t]) / q[(t, t)];
            p[t] += diff;
            pqp = (pqp + diff * (diff * q[(t, t)] + 2.0 * qp[t])) / (1.0 + diff).powi(2);
            for (j, qp) in qp.iter_mut().enumerate() {
                *qp = (*qp + diff * q[(t, j)]) / (1.0 + diff);
            }
            p.iter_mut().for_each(|p| *p /= 1.0 + diff);
        }
    }
    let total: f64 = p.iter().map(|p| p.max(0.0)).sum();
    if total > 0.0 && total.is_finite() {
        p.iter().map(|p| p.max(0.0) / total).collect()
    } else {
        vec![1.0 / count as f64; count]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, assert_sound};
    use super::*;

    #[test]
    fn machines_match_scikit_learn() {
        // `SVC(C=2, gamma=0.25).decision_function` and `SVR(C=2, gamma=0.25, epsilon=0.1)` behind a `StandardScaler`, of the first rows.
        let (x, y) = (fixture::x(), fixture::y());
        let cancel = Cancel::new();
        let sample = Sample::new(x.view(), None).unwrap();
        let transform = Transform::new(&sample, true, &cancel).unwrap();
        let kernel = SizedKernel::new(Kernel::Rbf, 1.0, &transform);
        let rows = transform.rows(x.view());
        let second: Vec<bool> = CODES.iter().map(|&code| code == 1).collect();
        let found = machine(&rows, kernel, &second, &[1.0; 15], 2.0, &cancel).unwrap();
        let matrix = kernel.matrix(&rows, &rows, &cancel).unwrap();
        let decisions = matrix.dot(&ndarray::Array1::from(found.coef)) + found.bias;
        for (found, expected) in decisions.iter().zip(SVC) {
            assert!((found - expected).abs() < 3e-3, "{decisions}");
        }
        let model = SvmRegressor::fit(x.view(), &y, None, &SvmParams { c: 2.0, ..Default::default() }, &cancel).unwrap();
        for (found, expected) in model.predict(x.view(), &cancel).unwrap().iter().zip(SVR) {
            assert!((f64::from(*found) - expected).abs() < 5e-3, "{found} {expected}");
        }
    }

    const SVC: [f64; 6] = [-1.148919, -1.0, -1.0, -1.0, -1.143643, 0.246915];
    const SVR: [f64; 6] = [5.147146, 5.432813, 5.318721, 4.881279, 5.081279, 6.918721];

    #[test]
    fn coupling_finds_consistent_probabilities() {
        let p = [0.5, 0.3, 0.2];
        let beats = Array2::from_shape_fn((3, 3), |(a, b)| if a == b { 0.0 } else { p[a] / (p[a] + p[b]) });
        assert!(couple(&beats).iter().zip(p).all(|(a, b)| (a - b).abs() < 0.01), "{:?}", couple(&beats));
    }

    #[test]
    fn nasty_tables_give_probabilities_and_values() {
        for kernel in [Kernel::Rbf, Kernel::Polynomial(3)] {
            for x in fixture::nasty() {
                let params = SvmParams { c: 100.0, kernel, ..Default::default() };
                for classes in [1u32, 2, 3] {
                    let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                    let model = SvmClassifier::fit(x.view(), &codes, classes as usize, None, &params, &Cancel::new()).unwrap();
                    model.check().unwrap();
                    assert_sound(&model.predict((&x * 0.0 + f32::MAX).view(), &Cancel::new()).unwrap());
                }
                let y: Vec<f32> = (0..x.nrows()).map(|row| row as f32 * 1e17).collect();
                let model = SvmRegressor::fit(x.view(), &y, None, &params, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert!(model.predict(x.view(), &Cancel::new()).unwrap().iter().all(|v| v.is_finite()));
            }
        }
    }
}
