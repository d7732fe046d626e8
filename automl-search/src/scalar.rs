//! Several objectives as one number, in a direction drawn at random: what a surrogate of one loss can learn from.
//!
//! ParEGO: Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive multiobjective optimization
//! problems", IEEE Transactions on Evolutionary Computation 10(1), 2006: the augmented Tchebycheff function with weights that are
//! drawn anew for each proposal, here evenly from all directions.

use automl_core::rand::{Rng, RngExt};

/// The share of the sum beside the largest part, as in the paper.
const SUM: f64 = 0.05;

/// What each objective counts, and its range.
pub(crate) struct Scalar(Vec<Part>);

#[derive(Clone, Copy)]
struct Part {
    weight: f64,
    least: f64,
    range: f64,
}

impl Scalar {
    /// A direction for losses like these; none for one objective, which is a number already.
    pub fn draw<'a>(losses: impl Iterator<Item = &'a [f64]> + Clone, rng: &mut dyn Rng) -> Option<Self> {
        let objectives = losses.clone().next().map_or(0, <[f64]>::len);
        if objectives < 2 {
            return None;
        }
        // Exponential numbers over their sum are even on the simplex.
        let drawn: Vec<f64> = (0..objectives).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
        let sum = drawn.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let part = |(objective, drawn): (usize, f64)| {
            let values = || losses.clone().filter_map(|losses| losses.get(objective).copied());
            let least = values().fold(f64::INFINITY, f64::min);
            Part { weight: drawn / sum, least, range: values().fold(f64::NEG_INFINITY, f64::max) - least }
        };
        Some(Self(drawn.into_iter().enumerate().map(part).collect()))
    }

    /// The losses as one.
    pub fn loss(&self, losses: &[f64]) -> f64 {
        let parts = self.0.iter().zip(losses).map(|(part, loss)| {
            let share = if part.range > 0.0 { (loss - part.least) / part.range } else { 0.0 };
            part.weight * share
        });
        let (most, sum) = parts.fold((0.0_f64, 0.0), |(most, sum), part| (most.max(part), sum + part));
        most + SUM * sum
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_end_of_a_front_is_the_best_in_some_direction_and_nothing_behind_it_ever_is() {
        let losses = [vec![0.0, 9e6], vec![0.4, 4e6], vec![1.0, 1e6], vec![0.9, 8e6]];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut won = [0; 4];
        for _ in 0..400 {
            let scalar = Scalar::draw(losses.iter().map(Vec::as_slice), &mut rng).unwrap();
            let best = (0..4).min_by(|&a, &b| scalar.loss(&losses[a]).total_cmp(&scalar.loss(&losses[b]))).unwrap();
            won[best] += 1;
        }
        assert!(won[..3].iter().all(|&won| won > 40) && won[3] == 0, "{won:?}");
    }

    #[test]
    fn one_objective_needs_no_direction_and_draws_nothing() {
        let losses = [vec![1.0], vec![2.0]];
        let (mut used, mut fresh) = (ChaCha8Rng::seed_from_u64(2), ChaCha8Rng::seed_from_u64(2));
        assert!(Scalar::draw(losses.iter().map(Vec::as_slice), &mut used).is_none());
        assert_eq!(used.random::<u64>(), fresh.random::<u64>());
    }
}
