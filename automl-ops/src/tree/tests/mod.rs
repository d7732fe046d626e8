//! Checks of the kernels on small made-up problems.

use std::sync::Arc;
use std::time::{Duration, Instant};

use automl_core::Cancel;
use rand::Rng;

use super::adaboost::{self, Adaboost, AdaboostParams};
use super::bins::Bins;
use super::boosting::{self, Booster, BoostingParams, Growth};
use super::forest::{self, Criterion, Forest, ForestParams};
use super::{PartData, Parts, Raw, Target, TreeError, stream};

mod learning;
mod running;
mod saved;

/// Columns and targets: two numbers, one of them with gaps, and a category with 12 levels.
struct Problem {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<u32>,
    values: Vec<f32>,
    classes: Vec<u32>,
}

impl Problem {
    fn new(rows: usize, seed: u64) -> Self {
        let mut rng = stream(seed, 0);
        let mut unit = || (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        let a: Vec<f32> = (0..rows).map(|_| unit() * 4.0 - 2.0).collect();
        let b: Vec<f32> = (0..rows).map(|_| if unit() < 0.2 { f32::NAN } else { unit() }).collect();
        let c: Vec<u32> = (0..rows).map(|_| (unit() * 12.0) as u32).collect();
        let value = |i: usize| {
            let gap = if b[i].is_nan() { 1.5 } else { b[i] };
            a[i] * a[i] + gap + if [1, 4, 5, 9].contains(&c[i]) { 2.0 } else { 0.0 }
        };
        let values: Vec<f32> = (0..rows).map(value).collect();
        let classes = values
            .iter()
            .map(|&y| {
                if y < 2.0 {
                    0
                } else if y < 3.5 {
                    1
                } else {
                    2
                }
            })
            .collect();
        Self { a, b, c, values, classes }
    }

    fn bins(&self) -> Vec<Arc<Bins>> {
        vec![Arc::new(Bins::numeric(&self.a)), Arc::new(Bins::numeric(&self.b)), Arc::new(Bins::category(&self.c, 12))]
    }

    fn raw(&self) -> [Raw<'_>; 3] {
        [Raw::Numeric(&self.a), Raw::Numeric(&self.b), Raw::Category(&self.c)]
    }

    fn binary(&self) -> Vec<u32> {
        self.classes.iter().map(|&class| u32::from(class > 0)).collect()
    }
}

fn accuracy(probabilities: &[f32], classes: &[u32]) -> f64 {
    let k = probabilities.len() / classes.len();
    let right = probabilities.chunks(k).zip(classes).filter(|(row, class)| {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        row.iter().all(|&p| p <= row[**class as usize])
    });
    right.count() as f64 / classes.len() as f64
}

fn r2(predicted: &[f32], values: &[f32]) -> f64 {
    let mean = values.iter().map(|&y| f64::from(y)).sum::<f64>() / values.len() as f64;
    let total: f64 = values.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum();
    let error: f64 = values.iter().zip(predicted).map(|(&y, &p)| f64::from(y - p).powi(2)).sum();
    1.0 - error / total
}

fn boost(bins: &[Arc<Bins>], target: Target<'_>, params: &BoostingParams) -> Booster {
    boosting::fit(bins, None, target, None, params, 7, &Cancel::new()).unwrap()
}

fn grow(bins: &[Arc<Bins>], target: Target<'_>, params: &ForestParams) -> Forest {
    forest::fit(bins, None, target, None, params, 7, &Cancel::new()).unwrap()
}

fn adaboost(problem: &Problem, target: Target<'_>, rounds: usize) -> Adaboost {
    let params = AdaboostParams { rounds, learning_rate: 1.0, max_depth: 3 };
    adaboost::fit(&problem.bins(), &problem.raw(), target, None, &params, 7, &Cancel::new()).unwrap()
}

fn forests() -> Vec<ForestParams> {
    let base = ForestParams { trees: 30, max_features: 0.7, ..ForestParams::default() };
    vec![
        base.clone(),
        ForestParams { random_splits: true, bootstrap: false, ..base.clone() },
        ForestParams { criterion: Criterion::Entropy, max_leaves: Some(200), ..base },
        ForestParams::single_tree(),
    ]
}

fn boosters() -> Vec<BoostingParams> {
    let base = BoostingParams { rounds: 60, ..BoostingParams::default() };
    vec![
        base.clone(),
        BoostingParams { growth: Growth::DepthWise, max_depth: Some(5), subsample: 0.7, ..base.clone() },
        BoostingParams { l1: 0.1, l2: 1.0, column_subsample: 0.7, early_stopping_rounds: Some(10), ..base.clone() },
        BoostingParams { max_cat_one_hot: 20, min_samples_leaf: 3, ..base },
    ]
}
