//! k nearest neighbours: classification by their votes, regression by their mean.
//!
//! The search itself is [`neighbours`](super::neighbours). Row weights have no place in this method and are not taken.

use automl_core::Cancel;
use ndarray::{Array2, ArrayView2};

use super::LearnError;
use super::common::{MAX_CLASSES, check_codes, check_fit, check_targets, standard, to_f32};
use super::neighbours::map_neighbours;

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

/// A fitted classifier: the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnClassifier {
    /// Training rows x columns, in standard layout.
    pub data: Array2<f32>,
    /// Class of each training row.
    pub codes: Vec<u32>,
    /// Number of classes.
    pub classes: usize,
    /// Number of neighbours and their weights.
    pub params: KnnParams,
}

/// A fitted regressor: the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnRegressor {
    /// Training rows x columns, in standard layout.
    pub data: Array2<f32>,
    /// Target of each training row.
    pub targets: Vec<f32>,
    /// Number of neighbours and their weights.
    pub params: KnnParams,
}

impl KnnClassifier {
    /// Keeps `x` and one class code below `classes` a row.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, or `k` 0.
    pub fn fit(x: ArrayView2<'_, f32>, codes: &[u32], classes: usize, params: &KnnParams) -> Result<Self, LearnError> {
        check_codes(codes, classes, x.nrows())?;
        Ok(Self { data: keep(x, params)?, codes: codes.to_vec(), classes, params: params.clone() })
    }

    /// Class probabilities, rows x classes: the share of the neighbours' votes.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Array2<f32>, LearnError> {
        let vote = |near: &[(usize, f64)]| {
            let mut votes = vec![0.0f64; self.classes];
            let mut total = 0.0;
            for (row, weight) in near_weights(near, self.params.weighting) {
                let code = self.codes.get(row).map_or(usize::MAX, |&code| code as usize);
                if let Some(vote) = votes.get_mut(code) {
                    *vote += weight;
                    total += weight;
                }
            }
            votes.into_iter().map(|vote| (vote / total) as f32).collect::<Vec<f32>>()
        };
        let mut out = Array2::zeros((x.nrows(), self.classes));
        let votes = map_neighbours(self.data.view(), x, self.params.k, cancel, vote)?;
        for (mut to, votes) in out.outer_iter_mut().zip(votes) {
            to.iter_mut().zip(votes).for_each(|(to, vote)| *to = vote);
        }
        Ok(out)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a value is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        check_data(&self.data, self.codes.len(), &self.params)?;
        if self.classes > MAX_CLASSES || self.codes.iter().any(|&code| code as usize >= self.classes) {
            return Err(LearnError::Corrupt { model: MODEL, problem: "a class code is not below `classes`" });
        }
        Ok(())
    }
}

impl KnnRegressor {
    /// Keeps `x` and one target a row.
    ///
    /// # Errors
    /// Arguments that contradict each other, values that are not finite, or `k` 0.
    pub fn fit(x: ArrayView2<'_, f32>, y: &[f32], params: &KnnParams) -> Result<Self, LearnError> {
        check_targets(y, x.nrows())?;
        Ok(Self { data: keep(x, params)?, targets: y.to_vec(), params: params.clone() })
    }

    /// The (weighted) mean of the neighbours' targets, one a row.
    ///
    /// # Errors
    /// Another number of columns than at fit time, a value that is not finite, or a cancelled token.
    pub fn predict(&self, x: ArrayView2<'_, f32>, cancel: &Cancel) -> Result<Vec<f32>, LearnError> {
        let mean = |near: &[(usize, f64)]| {
            let (mut sum, mut total) = (0.0, 0.0);
            for (row, weight) in near_weights(near, self.params.weighting) {
                sum += weight * self.targets.get(row).copied().map_or(0.0, f64::from);
                total += weight;
            }
            to_f32(sum / total)
        };
        map_neighbours(self.data.view(), x, self.params.k, cancel, mean)
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where shapes contradict each other or a value is out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        check_data(&self.data, self.targets.len(), &self.params)?;
        if self.targets.iter().any(|v| !v.is_finite()) {
            return Err(LearnError::Corrupt { model: MODEL, problem: "a target is not finite" });
        }
        Ok(())
    }
}

const MODEL: &str = "k nearest neighbours";

fn keep(x: ArrayView2<'_, f32>, params: &KnnParams) -> Result<Array2<f32>, LearnError> {
    check_fit(x)?;
    if params.k == 0 {
        return Err(LearnError::Param { name: "k", value: 0.0, expected: "a number from 1" });
    }
    Ok(standard(x).into_owned())
}

fn check_data(data: &Array2<f32>, rows: usize, params: &KnnParams) -> Result<(), LearnError> {
    let problem = if data.is_empty() || data.nrows() != rows {
        "the data has no row or another number of rows than the target"
    } else if params.k == 0 {
        "`k` is 0"
    } else if data.iter().any(|v| !v.is_finite()) {
        "a value is not finite"
    } else {
        return Ok(());
    };
    Err(LearnError::Corrupt { model: MODEL, problem })
}

/// Row and vote of each neighbour. Distances are taken relative to the nearest, so that no quotient overflows.
fn near_weights(near: &[(usize, f64)], weighting: Weighting) -> impl Iterator<Item = (usize, f64)> + '_ {
    let nearest = near.first().map_or(0.0, |&(_, d)| d);
    near.iter().map(move |&(row, d)| {
        let weight = match weighting {
            Weighting::Uniform => 1.0,
            Weighting::Distance if d == nearest => 1.0,
            Weighting::Distance => (nearest / d).sqrt(),
        };
        (row, weight)
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
        let model = KnnClassifier::fit(x.view(), &CODES, 3, &uniform).unwrap();
        model.check().unwrap();
        let expected = array![[1.0, 0.0, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.0]];
        assert_probabilities(&model.predict(q.view(), &cancel).unwrap(), &expected, 1e-6);
        let model = KnnClassifier::fit(x.view(), &CODES, 3, &distance).unwrap();
        let expected = array![[1.0, 0.0, 0.0], [0.0, 0.9317463114, 0.0682536886], [0.0, 0.0, 1.0]];
        assert_probabilities(&model.predict(q.view(), &cancel).unwrap(), &expected, 1e-6);
        let (x, q) = (x.slice(s![.., 1..]), q.slice(s![.., 1..]));
        for (params, expected) in [(uniform, [5.14, 5.78, 6.76]), (distance, [5.172769, 5.463802, 6.7314613])] {
            let model = KnnRegressor::fit(x, &y, &params).unwrap();
            model.check().unwrap();
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
                let model = KnnClassifier::fit(x.view(), &codes, 100, &params).unwrap();
                assert_sound(&model.predict(x.view(), &Cancel::new()).unwrap());
                assert_sound(&model.predict((&x * 0.0 + f32::MAX).view(), &Cancel::new()).unwrap());
                let y: Vec<f32> = x.column(0).to_vec();
                let model = KnnRegressor::fit(x.view(), &y, &params).unwrap();
                assert!(model.predict(x.view(), &Cancel::new()).unwrap().iter().all(|v| v.is_finite()));
            }
        }
    }

    #[test]
    fn a_neighbour_at_distance_zero_outvotes_all() {
        let x = array![[0.0f32], [1.0], [1.0], [2.0]];
        let params = KnnParams { k: 4, weighting: Weighting::Distance };
        let model = KnnClassifier::fit(x.view(), &[0, 1, 2, 0], 3, &params).unwrap();
        let p = model.predict(array![[1.0f32]].view(), &Cancel::new()).unwrap();
        assert_eq!(p, array![[0.0f32, 0.5, 0.5]]);
    }

    #[test]
    fn bad_arguments_and_corrupt_models_are_errors() {
        let x = fixture::x();
        assert!(KnnClassifier::fit(x.view(), &CODES, 3, &KnnParams { k: 0, ..Default::default() }).is_err());
        let model = KnnClassifier::fit(x.view(), &CODES, 3, &Default::default()).unwrap();
        let cancel = Cancel::new();
        assert!(matches!(model.predict(array![[1.0f32]].view(), &cancel), Err(LearnError::Columns { .. })));
        assert_eq!(model.predict(Array2::zeros((0, 4)).view(), &cancel).unwrap().dim(), (0, 3));
        assert!(KnnClassifier { codes: vec![3; 15], ..model.clone() }.check().is_err());
        assert!(KnnClassifier { codes: vec![0; 14], ..model.clone() }.check().is_err());
        assert!(KnnClassifier { data: x.mapv(|_| f32::NAN), ..model.clone() }.check().is_err());
        assert!(KnnClassifier { data: x.select(Axis(0), &[]), codes: vec![], ..model.clone() }.check().is_err());
        cancel.cancel();
        assert_eq!(model.predict(x.view(), &cancel), Err(LearnError::Cancelled));
    }
}
