//! Scores of classes from their probabilities.

use super::{Metric, MetricError, check_length, check_weights, mean, undefined};

/// Checked predictions of classes.
pub(super) struct Classified<'a> {
    truth: &'a [u32],
    values: &'a [f32],
    classes: usize,
    weights: Option<&'a [f32]>,
}

/// Total weights by class.
#[derive(Clone, Copy, Default)]
struct Tally {
    truth: f64,
    predicted: f64,
    hit: f64,
}

impl<'a> Classified<'a> {
    pub(super) fn new(
        metric: Metric,
        truth: &'a [u32],
        values: &'a [f32],
        classes: usize,
        weights: Option<&'a [f32]>,
    ) -> Result<Self, MetricError> {
        check_weights(metric, truth.len(), weights)?;
        let expected = truth.len().saturating_mul(classes);
        check_length("the probabilities, rows x classes", expected, values.len())?;
        if let Some(row) = truth.iter().position(|class| *class as usize >= classes) {
            return Err(MetricError::Value { row, what: "the true class is missing or has no probability" });
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::Value { row: place / classes, what: "a probability is not finite" });
        }
        Ok(Self { truth, values, classes, weights })
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row]))
    }

    fn tally(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.classes];
        for (row, (class, values)) in self.truth.iter().zip(self.values.chunks_exact(self.classes)).enumerate() {
            let (weight, class) = (self.weight(row), *class as usize);
            let mut predicted = 0;
            for (other, value) in values.iter().enumerate() {
                if *value > values[predicted] {
                    predicted = other;
                }
            }
            tallies[class].truth += weight;
            tallies[predicted].predicted += weight;
            tallies[class].hit += if class == predicted { weight } else { 0.0 };
        }
        tallies
    }

    pub(super) fn accuracy(&self) -> f64 {
        let (hit, truth) = self.tally().iter().fold((0.0, 0.0), |(hit, all), tally| (hit + tally.hit, all + tally.truth));
        hit / truth
    }

    pub(super) fn balanced_accuracy(&self) -> f64 {
        mean(self.tally().iter().filter(|tally| tally.truth > 0.0).map(|tally| tally.hit / tally.truth))
    }

    pub(super) fn f1(&self) -> f64 {
        let seen = |tally: &&Tally| tally.truth + tally.predicted > 0.0;
        mean(self.tally().iter().filter(seen).map(|tally| 2.0 * tally.hit / (tally.truth + tally.predicted)))
    }

    pub(super) fn log_loss(&self) -> f64 {
        const LEAST: f64 = 1e-15;
        let (mut loss, mut total) = (0.0, 0.0);
        for (row, (class, values)) in self.truth.iter().zip(self.values.chunks_exact(self.classes)).enumerate() {
            let clip = |value: f32| f64::from(value).clamp(LEAST, 1.0 - LEAST);
            let sum: f64 = values.iter().map(|value| clip(*value)).sum();
            let weight = self.weight(row);
            loss -= weight * (clip(values[*class as usize]) / sum).ln();
            total += weight;
        }
        loss / total
    }

    pub(super) fn roc_auc(&self) -> Result<f64, MetricError> {
        if self.classes == 2 {
            return self.area(1).ok_or_else(|| undefined(Metric::RocAuc, "the truth has one class only"));
        }
        let areas: Vec<f64> = (0..self.classes).filter_map(|class| self.area(class)).collect();
        if areas.is_empty() {
            return Err(undefined(Metric::RocAuc, "the truth has one class only"));
        }
        Ok(mean(areas.into_iter()))
    }

    /// The probability that a row of `class` is given more of it than another row, ties counting half; `None` if there are not
    /// rows of both kinds.
    fn area(&self, class: usize) -> Option<f64> {
        let value = |row: usize| self.values[row * self.classes + class];
        let mut order: Vec<usize> = (0..self.truth.len()).collect();
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        let (mut area, mut inside, mut outside) = (0.0, 0.0, 0.0);
        // `total_cmp` sets -0 below 0; `chunk_by` compares them equal, as ties must.
        for tied in order.chunk_by(|a, b| value(*a) == value(*b)) {
            let (mut tied_inside, mut tied_outside) = (0.0, 0.0);
            for &row in tied {
                let is_class = self.truth[row] as usize == class;
                *(if is_class { &mut tied_inside } else { &mut tied_outside }) += self.weight(row);
            }
            area += tied_inside * (outside + tied_outside / 2.0);
            inside += tied_inside;
            outside += tied_outside;
        }
        (inside > 0.0 && outside > 0.0).then(|| area / (inside * outside))
    }
}
