//! One prediction of one or more surrogates.
//!
//! Each is one part of a mixture of normal distributions. The variance of a mixture holds how far the means lie apart, so where a
//! forest and a Gaussian process disagree, the next candidate is worth more: each mends what the other is wrong about. On tables of
//! hyperparameters (`benches/README.md`) this was ahead of taking turns, of the mean of their expected improvements, and of weights
//! by the likelihood of what is left out.

use automl_core::rand::Rng;

use super::Surrogate;
use super::forest::Forest;
use super::gp::Gp;
use super::model::Data;

/// Rows that a Gaussian process learns from, at most: half of them the best, the others the latest.
const MOST: usize = 200;

/// The weight of the forest in a mixture; that of the process is the rest.
const FOREST: f64 = 0.3;

/// What predicts the target of a row.
pub(crate) enum Ensemble {
    Forest(Forest),
    Gp(Gp),
    Both(Forest, Gp),
}

impl Ensemble {
    /// Surrogates of the rows of `data`, of which there is at least one.
    pub fn fit(kind: Surrogate, data: &Data, rng: &mut dyn Rng) -> Self {
        let gp = if kind == Surrogate::Forest { None } else { Gp::fit(&data.fewer(MOST)) };
        match gp {
            Some(gp) if kind == Surrogate::GaussianProcess => Self::Gp(gp),
            Some(gp) => Self::Both(Forest::fit(data, rng), gp),
            // Arithmetic that fails for a process does not for a forest.
            None => Self::Forest(Forest::fit(data, rng)),
        }
    }

    /// Mean and variance at a row.
    pub fn predict(&self, row: &[f64]) -> (f64, f64) {
        match self {
            Self::Forest(forest) => forest.predict(row),
            Self::Gp(gp) => gp.predict(row),
            Self::Both(forest, gp) => {
                let ((a, a_variance), (b, b_variance)) = (forest.predict(row), gp.predict(row));
                let mix = |a: f64, b: f64| FOREST * a + (1.0 - FOREST) * b;
                (mix(a, b), mix(a_variance, b_variance) + FOREST * (1.0 - FOREST) * (a - b) * (a - b))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::bayes::Column;

    #[test]
    fn a_mixture_is_unsure_where_its_parts_disagree() {
        let rows: Vec<Vec<f64>> = (0..8).map(|at| vec![f64::from(at) / 10.0]).collect();
        let targets = rows.iter().map(|row| 3.0 * row[0]).collect();
        let data = Data { columns: vec![Column::Number], rows, targets };
        let fit = |kind| Ensemble::fit(kind, &data, &mut ChaCha8Rng::seed_from_u64(1));
        let [forest, gp, both] = [Surrogate::Forest, Surrogate::GaussianProcess, Surrogate::Both].map(fit);
        // A forest does not go beyond what it saw; a process follows the slope.
        for row in [[0.3], [1.0]] {
            let ((a, a_variance), (b, b_variance), (mean, variance)) =
                (forest.predict(&row), gp.predict(&row), both.predict(&row));
            let second = |mean: f64, variance: f64| mean * mean + variance;
            assert!((mean - (FOREST * a + (1.0 - FOREST) * b)).abs() < 1e-12);
            let moments = FOREST * second(a, a_variance) + (1.0 - FOREST) * second(b, b_variance);
            assert!((second(mean, variance) - moments).abs() < 1e-12);
        }
    }
}
