//! Logistic regression: binary or multinomial, with an L2 penalty by L-BFGS, or L1 or both by OWL-QN; two classes with few columns
//! by Newton's method.
//!
//! The columns are standardised before the solver sees them, since L-BFGS needs ten times the steps on badly scaled columns,
//! and the coefficients are mapped back to the original scale. **The penalty acts on the standardised coefficients**: the
//! result equals scikit-learn's `LogisticRegression(C)` behind a `StandardScaler`, and does not depend on the units of a
//! column. The intercept is not penalised. With two classes one coefficient vector is fitted, with more one a class (softmax).

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{
    Sample, affine_blocks, check_codes, check_coef, check_input, check_present, clamp_coef, present, softmax_into,
};
use super::lbfgs::{Limits, minimise};
use super::logistic_loss::Problem;
use super::logistic_newton::Binary;
use super::owlqn;
use super::scale::Standard;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticParams {
    /// Inverse strength of the penalty, above zero, as in scikit-learn: `sum(loss) + |W|^2 / (2 C)`. Default 1.
    pub c: f64,
    /// Share of the L1 penalty, 0 to 1: the penalty is `(l1_ratio |W|_1 + (1 - l1_ratio) |W|^2 / 2) / C`. Default 0.
    pub l1_ratio: f64,
    /// Most iterations. Default 100.
    pub max_iter: usize,
    /// Stop when no component of the gradient of the mean loss is larger. Default 1e-4.
    pub tolerance: f64,
}

impl Default for LogisticParams {
    fn default() -> Self {
        Self { c: 1.0, l1_ratio: 0.0, max_iter: 100, tolerance: 1e-4 }
    }
}

/// A fitted logistic regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// Number of classes, thus of columns of the prediction.
    pub classes: usize,
    /// Classes that occurred with weight, ascending; the others get probability 0.
    pub codes: Vec<u32>,
    /// Coefficients on the original scale, outputs x columns: one output with two classes (the score of the second), else one
    /// a class of `codes`.
    pub coef: Array2<f64>,
    /// One intercept an output.
    pub intercept: Vec<f64>,
    /// Iterations done; equal to `max_iter` where the solver was not finished.
    pub iterations: usize,
}

/// Fits `codes` (one class below `classes` a row) on `x`, with optional row weights.
///
/// A token that is cancelled while the solver runs ends it, and the current iterate is the model.
///
/// # Errors
/// Arguments that contradict each other, values that are not finite, parameters out of range, or a token that is cancelled
/// before the solver starts.
pub fn fit(
    x: ArrayView2<'_, f32>,
    codes: &[u32],
    classes: usize,
    weights: Option<&[f32]>,
    params: &LogisticParams,
    cancel: &Cancel,
) -> Result<Logistic, LearnError> {
    check_codes(codes, classes, x.nrows())?;
    if !(params.c.is_finite() && params.c > 0.0) {
        return Err(LearnError::Param { name: "c", value: params.c, expected: "a finite number above 0" });
    }
    if params.tolerance.is_nan() || params.tolerance < 0.0 {
        return Err(LearnError::Param { name: "tolerance", value: params.tolerance, expected: "a number from 0" });
    }
    if !(0.0..=1.0).contains(&params.l1_ratio) {
        return Err(LearnError::Param { name: "l1_ratio", value: params.l1_ratio, expected: "a number from 0 to 1" });
    }
    let sample = Sample::new(x, weights)?;
    let (codes, index) = present(&sample.pick(codes), classes);
    let columns = sample.x.ncols();
    let outputs = if codes.len() == 2 { 1 } else { codes.len() };
    if codes.len() == 1 {
        let coef = Array2::zeros((1, columns));
        return Ok(Logistic { classes, codes, coef, intercept: vec![0.0], iterations: 0 });
    }
    let standard = Standard::new(&sample, cancel)?;
    let share: Vec<f64> = sample.w.iter().map(|w| w / sample.total).collect();
    let strength = 1.0 / (params.c * sample.total);
    let mut problem = Problem::new(&standard.z, &index, &share, outputs, (1.0 - params.l1_ratio) * strength);
    let mut point = problem.start(codes.len());
    let limits = Limits { max_iter: params.max_iter, tolerance: params.tolerance };
    let eval = |point: &[f64], gradient: &mut [f64]| problem.eval(point, gradient, cancel);
    let iterations = if outputs == 1 && Binary::serves(&standard.z) {
        let (l1, l2) = (params.l1_ratio * strength, (1.0 - params.l1_ratio) * strength);
        Binary { z: &standard.z, index: &index, share: &share, l2, l1 }.minimise(&mut point, &limits, cancel)
    } else if params.l1_ratio > 0.0 {
        owlqn::minimise(&mut point, outputs * columns, params.l1_ratio * strength, &limits, eval)
    } else {
        minimise(&mut point, &limits, eval)
    };

    let mut coef = Array2::<f64>::zeros((outputs, columns));
    let mut intercept = Vec::with_capacity(outputs);
    for (k, row) in coef.outer_iter_mut().enumerate() {
        intercept.push(standard.restore(&point[k * columns..], point[outputs * columns + k], row));
    }
    Ok(Logistic { classes, codes, coef, intercept, iterations })
}

impl Logistic {
    /// A model from scores of every class: classes of `codes` x columns, and one intercept a class.
    pub(super) fn from_classes(classes: usize, codes: Vec<u32>, coef: Array2<f64>, intercept: Vec<f64>) -> Self {
        let (mut coef, mut intercept) = match intercept.as_slice() {
            [first, second] => {
                let difference = &coef.row(1) - &coef.row(0);
                (difference.insert_axis(ndarray::Axis(0)), vec![second - first])
            }
            _ => (coef, intercept),
        };
        coef.mapv_inplace(clamp_coef);
        intercept.iter_mut().for_each(|b| *b = clamp_coef(*b));
        Self { classes, codes, coef, intercept, iterations: 0 }
    }

    /// The scores of some rows, rows x outputs.
    pub(super) fn scores(&self, x: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut out = Array2::<f64>::zeros((x.nrows(), self.coef.nrows()));
        affine_blocks(x, self.coef.view(), &self.intercept, |start, scores| {
            out.slice_mut(ndarray::s![start..start + scores.nrows(), ..]).assign(&scores);
        });
        out
    }

    /// Class probabilities, rows x classes; each row sums to 1.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a value that is not finite.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, LearnError> {
        check_input(x, self.coef.ncols())?;
        let mut out = Array2::zeros((x.nrows(), self.classes));
        affine_blocks(x, self.coef.view(), &self.intercept, |start, scores| {
            for (row, scores) in scores.outer_iter().enumerate() {
                let to = out.row_mut(start + row);
                match (self.codes.len(), scores.first()) {
                    (2, Some(&score)) => softmax_into([0.0, score].iter(), &self.codes, to),
                    _ => softmax_into(scores.iter(), &self.codes, to),
                }
            }
        });
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a coefficient is not finite.
    pub fn check(&self) -> Result<(), LearnError> {
        check_present("logistic", &self.codes, self.classes)?;
        check_coef("logistic", self.coef.iter().chain(&self.intercept))?;
        let outputs = if self.codes.len() == 2 { 1 } else { self.codes.len() };
        if self.coef.nrows() != outputs || self.intercept.len() != outputs {
            return Err(LearnError::Corrupt { model: "logistic", problem: "the coefficients do not fit the classes" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, WEIGHTS, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::{Axis, array, s};

    fn exact() -> LogisticParams {
        LogisticParams { tolerance: 1e-6, max_iter: 1000, ..Default::default() }
    }

    #[test]
    fn matches_scikit_learn() {
        let (x, q, cancel) = (fixture::x(), fixture::queries(), Cancel::new());
        let model = fit(x.view(), &CODES, 3, None, &exact(), &cancel).unwrap();
        model.check().unwrap();
        let expected = array![
            [0.8555527851, 0.1395449208, 0.0049022941],
            [0.0219583630, 0.9598098002, 0.0182318368],
            [0.0044957461, 0.1578557864, 0.8376484675]
        ];
        assert_probabilities(&model.predict(q.view()).unwrap(), &expected, 1e-4);
        let model = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &exact(), &cancel).unwrap();
        let expected = array![
            [0.8762808245, 0.1229556841, 0.0007634914],
            [0.0177450501, 0.9668015388, 0.0154534110],
            [0.0014349259, 0.1255681708, 0.8729969033]
        ];
        assert_probabilities(&model.predict(q.view()).unwrap(), &expected, 1e-4);
        let codes = CODES.map(|code| u32::from(code == 2));
        let model = fit(x.view(), &codes, 2, None, &LogisticParams { c: 0.5, ..exact() }, &cancel).unwrap();
        assert_eq!(model.coef.dim(), (1, 4));
        let expected = array![[0.9622037802, 0.0377962198], [0.9189103834, 0.0810896166], [0.2145467900, 0.7854532100]];
        assert_probabilities(&model.predict(q.view()).unwrap(), &expected, 1e-4);
    }

    #[test]
    fn an_l1_penalty_matches_scikit_learn() {
        let (x, q) = (fixture::x(), fixture::queries());
        for (l1_ratio, expected) in [
            (
                1.0,
                array![
                    [0.83068946, 0.15653516, 0.01277538],
                    [0.06789516, 0.89999102, 0.03211382],
                    [0.0084285, 0.18558182, 0.80598968]
                ],
            ),
            (
                0.5,
                array![
                    [0.83796512, 0.15367154, 0.00836333],
                    [0.03136989, 0.94048169, 0.02814842],
                    [0.00677159, 0.17651392, 0.81671449]
                ],
            ),
        ] {
            let model = fit(x.view(), &CODES, 3, None, &LogisticParams { l1_ratio, ..exact() }, &Cancel::new()).unwrap();
            assert_probabilities(&model.predict(q.view()).unwrap(), &expected, 1e-3);
            assert!(model.coef.iter().any(|&c| c == 0.0));
        }
    }

    #[test]
    fn a_weight_of_two_is_a_row_twice() {
        let x = fixture::x();
        let rows = fixture::doubled();
        let codes: Vec<u32> = rows.iter().map(|&row| CODES[row]).collect();
        let a = fit(x.view(), &CODES, 3, Some(&WEIGHTS), &exact(), &Cancel::new()).unwrap();
        let b = fit(x.select(Axis(0), &rows).view(), &codes, 3, None, &exact(), &Cancel::new()).unwrap();
        assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-3), "{}\n{}", a.coef, b.coef);
    }

    #[test]
    fn nasty_tables_give_probabilities() {
        for x in fixture::nasty() {
            for classes in [1u32, 2, 3, 100] {
                let codes: Vec<u32> = (0..x.nrows() as u32).map(|row| (row * 7) % classes).collect();
                let params = LogisticParams { c: 1e6, ..Default::default() };
                let model = fit(x.view(), &codes, classes as usize, None, &params, &Cancel::new()).unwrap();
                model.check().unwrap();
                assert_sound(&model.predict(x.view()).unwrap());
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view()).unwrap());
            }
        }
    }

    #[test]
    fn many_classes_are_learnt() {
        let x = Array2::from_shape_fn((300, 100), |(i, j)| f32::from(u8::from(i % 100 == j)));
        let codes: Vec<u32> = (0..300).map(|i| i % 100).collect();
        let model = fit(x.view(), &codes, 100, None, &Default::default(), &Cancel::new()).unwrap();
        let p = model.predict(x.view()).unwrap();
        assert!((0..300).all(|i| p[(i, i % 100)] > 0.5));
    }

    #[test]
    fn classes_without_weight_get_no_probability() {
        let x = fixture::x();
        let weights: Vec<f32> = CODES.iter().map(|&code| f32::from(u8::from(code != 1))).collect();
        let p = fit(x.view(), &CODES, 4, Some(&weights), &exact(), &Cancel::new()).unwrap().predict(x.view()).unwrap();
        assert_sound(&p);
        assert!(p.column(1).iter().chain(p.column(3)).all(|&p| p == 0.0) && p[(0, 0)] > 0.8 && p[(14, 2)] > 0.8);
    }

    #[test]
    fn a_cut_returns_the_current_iterate() {
        let x = fixture::x();
        let few = fit(x.view(), &CODES, 3, None, &LogisticParams { max_iter: 2, ..exact() }, &Cancel::new()).unwrap();
        assert_eq!(few.iterations, 2);
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(fit(x.view(), &CODES, 3, None, &exact(), &cancel), Err(LearnError::Cancelled));
    }

    #[test]
    fn bad_arguments_and_corrupt_models_are_errors() {
        let x = fixture::x();
        let cancel = Cancel::new();
        assert!(matches!(fit(x.view(), &CODES, 2, None, &exact(), &cancel), Err(LearnError::Code { row: 10, .. })));
        assert!(matches!(fit(x.view(), &CODES[1..], 3, None, &exact(), &cancel), Err(LearnError::Length { .. })));
        let zero = LogisticParams { c: 0.0, ..exact() };
        assert!(matches!(fit(x.view(), &CODES, 3, None, &zero, &cancel), Err(LearnError::Param { name: "c", .. })));
        let model = fit(x.view(), &CODES, 3, None, &exact(), &cancel).unwrap();
        let narrow = x.slice(s![.., 1..]);
        assert_eq!(model.predict(narrow), Err(LearnError::Columns { expected: 4, found: 3 }));
        assert!(Logistic { codes: vec![0, 1, 7], ..model.clone() }.check().is_err());
        assert!(Logistic { codes: vec![0, 1], ..model.clone() }.check().is_err());
        assert!(Logistic { intercept: vec![0.0], ..model.clone() }.check().is_err());
        assert!(Logistic { coef: model.coef.mapv(|_| f64::NAN), ..model.clone() }.check().is_err());
        assert!(Logistic { classes: usize::MAX, ..model }.check().is_err());
    }
}
