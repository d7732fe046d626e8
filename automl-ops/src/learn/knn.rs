//! k nearest neighbours: classification by their votes, regression by their mean.
//!
//! The search itself is [`neighbours`](super::neighbours). The weight of a row is that of its vote; it does not bring the row nearer.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{Sample, check_codes, check_targets, to_f32};
use super::neighbours::Index;

/// How the neighbours vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighting {
    /// All alike.
    #[default]
    Uniform,
    /// By inverse distance; neighbours at distance zero outvote all others.
    Distance,
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnnParams {
    /// Number of neighbours, from 1; all training rows where there are fewer. Default 5.
    pub k: usize,
    /// How they vote. Default uniform.
    pub weighting: Weighting,
}

impl Default for KnnParams {
    fn default() -> Self {
        Self { k: 5, weighting: Weighting::Uniform }
    }
}

/// A fitted classifier: the training rows that count.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnClassifier {
    /// The rows, ready for a search.
    pub index: Index,
    /// Class of each.
    pub codes: Vec<u32>,
    /// Weight of each vote, above zero; empty where all are alike.
    pub weights: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// Number of neighbours and how they vote.
    pub params: KnnParams,
}

/// A fitted regressor: the training rows that count.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnRegressor {
    /// The rows, ready for a search.
    pub index: Index,
    /// Target of each.
    pub targets: Vec<f32>,
    /// Weight of each target, above zero; empty where all are alike.
    pub weights: Vec<f32>,
    /// Number of neighbours and how they vote.
    pub params: KnnParams,
}

impl KnnClassifier {
    /// Keeps `x`, one class code below `classes` a row, and the weights of their votes. Rows of weight zero are dropped.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, `k` 0, or a cancelled token.
    pub fn fit(
        x: ArrayView2<'_, f32>,
        codes: &[u32],
        classes: usize,
        weights: Option<&[f32]>,
        params: &KnnParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_codes(codes, classes, x.nrows())?;
        let (data, weights, sample) = keep(x, weights)?;
        Self::new(data, sample.pick(codes), weights, classes, params.clone(), cancel)
    }

    /// A model of these rows, codes and weights.
    ///
    /// # Errors
    /// As [`KnnClassifier::fit`].
    pub fn new(
        data: Array2<f32>,
        codes: Vec<u32>,
        weights: Vec<f32>,
        classes: usize,
        params: KnnParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_codes(&codes, classes, data.nrows())?;
        check_model(&weights, data.nrows(), &params)?;
        Ok(Self { index: Index::new(data, cancel)?, codes, weights, classes, params })
    }

    /// Class probabilities, rows x classes: the share of the neighbours' votes.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
        let vote = |near: &[(usize, f64)]| {
            let mut votes = vec![0.0f64; self.classes];
            let mut total = 0.0;
            for (row, weight) in near_weights(near, &self.weights, self.params.weighting) {
                let code = self.codes.get(row).map_or(usize::MAX, |&code| code as usize);
                if let Some(vote) = votes.get_mut(code) {
                    *vote += weight;
                    total += weight;
                }
            }
            votes.into_iter().map(|vote| (vote / total) as f32).collect::<Vec<f32>>()
        };
        let mut out = Array2::zeros((x.nrows(), self.classes));
        for (mut to, votes) in out.outer_iter_mut().zip(self.index.map(x, self.params.k, cancel, vote)?) {
            to.iter_mut().zip(votes).for_each(|(to, vote)| *to = vote);
        }
        Ok(out)
    }
}

impl KnnRegressor {
    /// Keeps `x`, one target a row, and their weights. Rows of weight zero are dropped.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, `k` 0, or a cancelled token.
    pub fn fit(
        x: ArrayView2<'_, f32>,
        y: &[f32],
        weights: Option<&[f32]>,
        params: &KnnParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_targets(y, x.nrows())?;
        let (data, weights, sample) = keep(x, weights)?;
        Self::new(data, sample.pick(y), weights, params.clone(), cancel)
    }

    /// A model of these rows, targets and weights.
    ///
    /// # Errors
    /// As [`KnnRegressor::fit`].
    pub fn new(
        data: Array2<f32>,
        targets: Vec<f32>,
        weights: Vec<f32>,
        params: KnnParams,
        cancel: &Cancel,
    ) -> Result<Self, LearnError> {
        check_targets(&targets, data.nrows())?;
        check_model(&weights, data.nrows(), &params)?;
        Ok(Self { index: Index::new(data, cancel)?, targets, weights, params })
    }

    /// The (weighted) mean of the neighbours' targets, one a row.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Vec<f32>, LearnError> {
        let mean = |near: &[(usize, f64)]| {
            let (mut sum, mut total) = (0.0, 0.0);
            for (row, weight) in near_weights(near, &self.weights, self.params.weighting) {
                sum += weight * self.targets.get(row).copied().map_or(0.0, f64::from);
                total += weight;
            }
            to_f32(sum / total)
        };
        self.index.map(x, self.params.k, cancel, mean)
    }
}

/// The rows that count, their weights (none where all are alike), and the sample that they come from.
type Kept<'a> = (Array2<f32>, Vec<f32>, Sample<'a>);

fn keep<'a>(x: ArrayView2<'a, f32>, weights: Option<&[f32]>) -> Result<Kept<'a>, LearnError> {
    let sample = Sample::new(x, weights)?;
    let first = sample.w.first().copied().unwrap_or(1.0);
    let alike = sample.w.iter().all(|&w| w == first);
    let weights = if alike { Vec::new() } else { sample.w.iter().map(|&w| w as f32).collect() };
    Ok((sample.x.to_owned(), weights, sample))
}

fn check_model(weights: &[f32], rows: usize, params: &KnnParams) -> Result<(), LearnError> {
    if params.k == 0 {
        return Err(LearnError::Param { name: "k", value: 0.0, expected: "a number from 1" });
    }
    if !weights.is_empty() && weights.len() != rows {
        return Err(LearnError::Length { what: "the row weights", expected: rows, found: weights.len() });
    }
    match weights.iter().position(|&w| !(w.is_finite() && w > 0.0)) {
        Some(row) => Err(LearnError::Weight { row, value: weights.get(row).copied().unwrap_or(0.0) }),
        None => Ok(()),
    }
}

/// Row and vote of each neighbour. Distances are taken relative to the nearest, so that no quotient overflows.
fn near_weights<'a>(
    near: &'a [(usize, f64)],
    weights: &'a [f32],
    weighting: Weighting,
) -> impl Iterator<Item = (usize, f64)> + 'a {
    let nearest = near.first().map_or(0.0, |&(_, d)| d);
    near.iter().map(move |&(row, d)| {
        let weight = match weighting {
            Weighting::Uniform => 1.0,
            Weighting::Distance if d == nearest => 1.0,
            Weighting::Distance => (nearest / d).sqrt(),
        };
        (row, weight * weights.get(row).map_or(1.0, |&w| f64::from(w)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, CODES, assert_probabilities, assert_sound};
    use super::*;
    use ndarray::{Axis, array, s};

    #[test]
    fn matches_scikit_learn() {
        let (x, q, y) = (fixture::x(), fixture::queries(), fixture::y());
        let uniform = KnnParams::default();
        let distance = KnnParams { weighting: Weighting::Distance, ..uniform };
        let cancel = Cancel::new();
        let model = KnnClassifier::fit(x.view(), &CODES, 3, None, &uniform, &cancel).unwrap();
        let expected = array![[1.0, 0.0, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.0]];
        assert_probabilities(&model.predict(q.view(), &cancel).unwrap(), &expected, 1e-6);
        let model = KnnClassifier::fit(x.view(), &CODES, 3, None, &distance, &cancel).unwrap();
        let expected = array![[1.0, 0.0, 0.0], [0.0, 0.9317463114, 0.0682536886], [0.0, 0.0, 1.0]];
        assert_probabilities(&model.predict(q.view(), &cancel).unwrap(), &expected, 1e-6);
        let (x, q) = (x.slice(s![.., 1..]), q.slice(s![.., 1..]));
        for (params, expected) in [(uniform, [5.14, 5.78, 6.76]), (distance, [5.172769, 5.463802, 6.7314613])] {
            let model = KnnRegressor::fit(x, &y, None, &params, &cancel).unwrap();
            let found = model.predict(q, &cancel).unwrap();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        }
    }

    #[test]
    fn nasty_tables_work() {
        for x in fixture::nasty() {
            for weighting in [Weighting::Uniform, Weighting::Distance] {
                let params = KnnParams { k: 50, weighting };
                let codes: Vec<u32> = (0..x.nrows() as u32).collect();
                let model = KnnClassifier::fit(x.view(), &codes, 100, None, &params, &Cancel::new()).unwrap();
                assert_sound(&model.predict(x.view(), &Cancel::new()).unwrap());
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view(), &Cancel::new()).unwrap());
                let y: Vec<f32> = x.column(0).to_vec();
                let model = KnnRegressor::fit(x.view(), &y, None, &params, &Cancel::new()).unwrap();
                assert!(model.predict(x.view(), &Cancel::new()).unwrap().iter().all(|v| v.is_finite()));
            }
        }
    }

    #[test]
    fn a_neighbour_at_distance_zero_outvotes_all() {
        let x = array![[0.0f32], [1.0], [1.0], [2.0]];
        let params = KnnParams { k: 4, weighting: Weighting::Distance };
        let model = KnnClassifier::fit(x.view(), &[0, 1, 2, 0], 3, None, &params, &Cancel::new()).unwrap();
        let p = model.predict(array![[1.0f32]].view(), &Cancel::new()).unwrap();
        assert_eq!(p, array![[0.0f32, 0.5, 0.5]]);
    }

    #[test]
    fn weights_are_those_of_votes() {
        let x = array![[0.0f32], [1.0], [2.0], [9.0]];
        let weights = [1.0, 3.0, 0.0, 1.0];
        let params = KnnParams { k: 2, ..Default::default() };
        let model = KnnClassifier::fit(x.view(), &[0, 1, 0, 0], 2, Some(&weights), &params, &Cancel::new()).unwrap();
        let p = model.predict(array![[1.4f32]].view(), &Cancel::new()).unwrap();
        assert_eq!(p, array![[0.25f32, 0.75]]);
        let model = KnnRegressor::fit(x.view(), &[4.0, 8.0, 100.0, 0.0], Some(&weights), &params, &Cancel::new()).unwrap();
        assert_eq!(model.predict(array![[1.4f32]].view(), &Cancel::new()).unwrap(), [7.0]);
    }

    #[test]
    fn bad_arguments_are_errors() {
        let (x, cancel) = (fixture::x(), Cancel::new());
        let none = KnnParams { k: 0, ..Default::default() };
        assert!(KnnClassifier::fit(x.view(), &CODES, 3, None, &none, &cancel).is_err());
        let model = KnnClassifier::fit(x.view(), &CODES, 3, None, &Default::default(), &cancel).unwrap();
        assert!(matches!(model.predict(array![[1.0f32]].view(), &cancel), Err(LearnError::Columns { .. })));
        assert_eq!(model.predict(Array2::zeros((0, 4)).view(), &cancel).unwrap().dim(), (0, 3));
        let new = |data: Array2<f32>, codes: Vec<u32>, weights: Vec<f32>| {
            KnnClassifier::new(data, codes, weights, 3, KnnParams::default(), &Cancel::new())
        };
        assert!(new(x.clone(), vec![3; 15], vec![]).is_err());
        assert!(new(x.clone(), vec![0; 14], vec![]).is_err());
        assert!(new(x.clone(), vec![0; 15], vec![1.0; 14]).is_err());
        assert!(new(x.clone(), vec![0; 15], vec![-1.0; 15]).is_err());
        assert!(new(x.mapv(|_| f32::NAN), vec![0; 15], vec![]).is_err());
        assert!(new(x.select(Axis(0), &[]), vec![], vec![]).is_err());
        cancel.cancel();
        assert_eq!(model.predict(x.view(), &cancel), Err(LearnError::Cancelled));
    }
}
