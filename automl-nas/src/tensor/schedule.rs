//! How a learning rate changes over a training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A learning rate over time, as a factor of the base rate. Time runs in epochs and their parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Epochs over which the rate first rises from 0 to what the shape says. Default 0.
    pub warm_up: f64,
    /// How it goes on.
    pub shape: Shape,
}

/// The shape of a [`Schedule`] behind its warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// The same rate all the time.
    Constant {},
    /// Falls like half a cosine to a share of the base rate (Loshchilov and Hutter, "SGDR", 2017).
    Cosine {
        /// The share at the end. Default 0.
        #[serde(default)]
        floor: f64,
    },
    /// Falls like half a cosine, again and again from the base rate on (Loshchilov and Hutter, "SGDR", 2017).
    CosineRestarts {
        /// Epochs of the first fall.
        period: f64,
        /// By how much each fall is longer than the one before. Default 2.
        #[serde(default = "two")]
        growth: f64,
        /// The share of the base rate at the end of a fall. Default 0.
        #[serde(default)]
        floor: f64,
    },
    /// Falls like a power of the time that is left.
    Polynomial {
        /// The power. Default 1, a straight line.
        #[serde(default = "one")]
        power: f64,
    },
    /// Falls by a factor after every so many epochs.
    Step {
        /// Epochs between two falls.
        every: f64,
        /// Default 0.1.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Falls by a factor at given epochs.
    Milestones {
        /// The epochs, rising.
        at: Vec<f64>,
        /// Default 0.1.
        #[serde(default = "tenth")]
        factor: f64,
    },
}

impl Default for Shape {
    fn default() -> Self {
        Self::Cosine { floor: 0.0 }
    }
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

fn tenth() -> f64 {
    0.1
}

impl Schedule {
    /// What is wrong with the settings, if anything is.
    pub fn problem(&self) -> Option<String> {
        let (positive, share) = (|x: f64| x.is_finite() && x > 0.0, |x: f64| (0.0..=1.0).contains(&x));
        let shape = match &self.shape {
            Shape::Constant {} => None,
            Shape::Cosine { floor } => (!share(*floor)).then(|| format!("floor = {floor}: it is a share, 0 to 1")),
            Shape::CosineRestarts { period, growth, floor } => {
                let fine = positive(*period) && growth.is_finite() && *growth >= 1.0 && share(*floor);
                (!fine).then(|| format!("period = {period}, growth = {growth}, floor = {floor}: above 0, at least 1, a share"))
            }
            Shape::Polynomial { power } => (!positive(*power)).then(|| format!("power = {power}: it is above 0")),
            Shape::Step { every, factor } => {
                (!positive(*every) || !share(*factor)).then(|| format!("every = {every}, factor = {factor}: above 0, a share"))
            }
            Shape::Milestones { at, factor } => {
                let rising = at.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) && at.iter().all(|at| at.is_finite());
                (!rising || !share(*factor)).then(|| format!("at = {at:?}, factor = {factor}: the epochs rise, a share"))
            }
        };
        let fine = self.warm_up.is_finite() && self.warm_up >= 0.0;
        shape.or_else(|| (!fine).then(|| format!("warm_up = {}: it is at least 0 epochs", self.warm_up)))
    }

    /// The factor of the base rate after some of all epochs.
    pub fn factor(&self, epoch: f64, epochs: f64) -> f64 {
        if epoch < self.warm_up {
            return epoch / self.warm_up * self.shape.factor(0.0, epochs - self.warm_up);
        }
        self.shape.factor(epoch - self.warm_up, epochs - self.warm_up)
    }
}

impl Shape {
    fn factor(&self, epoch: f64, epochs: f64) -> f64 {
        let share = if epochs > 0.0 { (epoch / epochs).clamp(0.0, 1.0) } else { 1.0 };
        match self {
            Self::Constant {} => 1.0,
            Self::Cosine { floor } => fall(share, *floor),
            Self::CosineRestarts { period, growth, floor } => {
                let (mut at, mut length) = (epoch, *period);
                if *growth > 1.0 {
                    while at >= length {
                        at -= length;
                        length *= growth;
                    }
                } else {
                    at %= length;
                }
                fall(at / length, *floor)
            }
            Self::Polynomial { power } => (1.0 - share).powf(*power),
            // What is a hair before a whole number of steps is there.
            Self::Step { every, factor } => factor.powf((epoch / every + 1e-9).floor()),
            Self::Milestones { at, factor } => factor.powf(at.iter().filter(|at| **at <= epoch + 1e-9).count() as f64),
        }
    }
}

fn fall(share: f64, floor: f64) -> f64 {
    floor + (1.0 - floor) * (0.5 + 0.5 * (std::f64::consts::PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(shape: Shape, at: &[f64]) -> Vec<f64> {
        let schedule = Schedule { warm_up: 0.0, shape };
        assert_eq!(schedule.problem(), None);
        at.iter().map(|&epoch| schedule.factor(epoch, 10.0)).collect()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} {b:?}");
    }

    #[test]
    fn shapes_are_as_described() {
        close(&rates(Shape::Constant {}, &[0.0, 10.0]), &[1.0, 1.0]);
        close(&rates(Shape::Cosine { floor: 0.0 }, &[0.0, 5.0, 10.0, 11.0]), &[1.0, 0.5, 0.0, 0.0]);
        close(&rates(Shape::Cosine { floor: 0.1 }, &[0.0, 5.0, 10.0]), &[1.0, 0.55, 0.1]);
        let restarts = |growth| Shape::CosineRestarts { period: 2.0, growth, floor: 0.0 };
        close(&rates(restarts(2.0), &[0.0, 1.0, 2.0, 4.0, 6.0]), &[1.0, 0.5, 1.0, 0.5, 1.0]);
        close(&rates(restarts(1.0), &[1.0, 2.0, 3.0, 9.0]), &[0.5, 1.0, 0.5, 0.5]);
        close(&rates(Shape::Polynomial { power: 2.0 }, &[0.0, 5.0, 10.0]), &[1.0, 0.25, 0.0]);
        close(&rates(Shape::Step { every: 3.0, factor: 0.1 }, &[0.0, 2.9, 3.0, 6.5]), &[1.0, 1.0, 0.1, 0.01]);
        let milestones = Shape::Milestones { at: vec![5.0, 7.5], factor: 0.5 };
        close(&rates(milestones, &[4.9, 5.0, 8.0]), &[1.0, 0.5, 0.25]);
    }

    #[test]
    fn a_warm_up_rises_to_the_shape() {
        let schedule = Schedule { warm_up: 2.0, shape: Shape::Polynomial { power: 1.0 } };
        let at: Vec<f64> = [0.0, 1.0, 2.0, 6.0, 10.0].into_iter().map(|epoch| schedule.factor(epoch, 10.0)).collect();
        close(&at, &[0.0, 0.5, 1.0, 0.5, 0.0]);
        assert_eq!(Schedule { warm_up: 3.0, ..schedule }.factor(3.0, 3.0), 0.0);
    }

    #[test]
    fn wrong_settings_are_named() {
        let of = |json: &str| serde_json::from_str::<Schedule>(json).map(|schedule| schedule.problem());
        assert_eq!(of("{}").unwrap(), None);
        assert_eq!(of(r#"{"shape": {"type": "cosine_restarts", "period": 10}}"#).unwrap(), None);
        for (json, word) in [
            (r#"{"warm_up": -1}"#, "warm_up"),
            (r#"{"shape": {"type": "cosine", "floor": 2}}"#, "floor"),
            (r#"{"shape": {"type": "cosine_restarts", "period": 0}}"#, "period"),
            (r#"{"shape": {"type": "cosine_restarts", "period": 1, "growth": 0.5}}"#, "growth"),
            (r#"{"shape": {"type": "polynomial", "power": 0}}"#, "power"),
            (r#"{"shape": {"type": "step", "every": 0}}"#, "every"),
            (r#"{"shape": {"type": "milestones", "at": [3, 2]}}"#, "rise"),
        ] {
            assert!(of(json).unwrap().unwrap().contains(word), "{json}");
        }
        assert!(of(r#"{"shape": {"type": "linear"}}"#).is_err() && of(r#"{"shape": {"type": "cosine", "flor": 0}}"#).is_err());
    }
}
