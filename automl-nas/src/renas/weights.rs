//! The numbers of the network: its sizes, its weights, and anything of their shape.

use automl_core::rand::{Rng, RngExt};

use super::lstm::{GATES, Lstm};

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Tokens of the vocabulary, that of the start included.
    pub tokens: usize,
    /// Questions of the space if each has an embedding of its own beside that of the answer's token; else 0.
    pub points: usize,
    /// Questions with one of their answers, if there is a critic, which has a weight for each; else 0.
    pub pairs: usize,
    /// Whole mutations that the router can choose instead of a place.
    pub moves: usize,
    /// Numbers of an embedding.
    pub embedding: usize,
    /// Units of the LSTM, a direction.
    pub hidden: usize,
    /// Whether the sequence is read from its end, too.
    pub bidirectional: bool,
}

impl Sizes {
    /// Numbers of a state: both directions side by side.
    pub fn width(&self) -> usize {
        self.hidden * if self.bidirectional { 2 } else { 1 }
    }
}

/// The weights, or anything of their shape: gradients, and the moments of the optimizer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// Tokens × embedding.
    pub embedding: Vec<f32>,
    /// (Start and points) × embedding; empty where points have none.
    pub points: Vec<f32>,
    /// Forward, and backward if there is one.
    pub directions: Vec<Lstm>,
    /// One a number of a state.
    pub router: Vec<f32>,
    /// Moves × state, read from the mean of all states.
    pub moves: Vec<f32>,
    /// Tokens × state.
    pub answers: Vec<f32>,
    /// One a token.
    pub biases: Vec<f32>,
    /// The critic: one a number of a state, read from the mean of all states; empty without one.
    pub critic: Vec<f32>,
    /// The critic's linear part: one a pair, and one for the start; empty without a critic.
    pub pairs: Vec<f32>,
}

impl Weights {
    pub fn zeros(sizes: &Sizes) -> Self {
        let zeros = |count: usize| vec![0.0; count];
        let gates = GATES * sizes.hidden;
        let direction =
            || Lstm { input: zeros(sizes.embedding * gates), hidden: zeros(sizes.hidden * gates), bias: zeros(gates) };
        Self {
            embedding: zeros(sizes.tokens * sizes.embedding),
            points: zeros(if sizes.points > 0 { (sizes.points + 1) * sizes.embedding } else { 0 }),
            directions: (0..sizes.width() / sizes.hidden.max(1)).map(|_| direction()).collect(),
            router: zeros(sizes.width()),
            moves: zeros(sizes.moves * sizes.width()),
            answers: zeros(sizes.tokens * sizes.width()),
            biases: zeros(sizes.tokens),
            critic: zeros(if sizes.pairs > 0 { sizes.width() } else { 0 }),
            pairs: zeros(if sizes.pairs > 0 { sizes.pairs + 1 } else { 0 }),
        }
    }

    /// Normal numbers of this standard deviation.
    pub fn random(sizes: &Sizes, deviation: f32, rng: &mut dyn Rng) -> Self {
        let mut weights = Self::zeros(sizes);
        for (_, values) in weights.each_mut() {
            values.iter_mut().for_each(|value| *value = deviation * gaussian(rng));
        }
        weights
    }

    /// Every part by its name, in a fixed order.
    pub fn each(&self) -> Vec<(&'static str, &Vec<f32>)> {
        let mut parts = vec![("embedding", &self.embedding), ("points", &self.points)];
        for (names, lstm) in LSTM_NAMES.iter().zip(&self.directions) {
            parts.extend([(names[0], &lstm.input), (names[1], &lstm.hidden), (names[2], &lstm.bias)]);
        }
        parts.extend([("router", &self.router), ("moves", &self.moves), ("answers", &self.answers), ("biases", &self.biases)]);
        parts.extend([("critic", &self.critic), ("pairs", &self.pairs)]);
        parts
    }

    /// See [`Weights::each`].
    pub fn each_mut(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        let mut parts = vec![("embedding", &mut self.embedding), ("points", &mut self.points)];
        for (names, lstm) in LSTM_NAMES.iter().zip(&mut self.directions) {
            parts.extend([(names[0], &mut lstm.input), (names[1], &mut lstm.hidden), (names[2], &mut lstm.bias)]);
        }
        let rest = [&mut self.router, &mut self.moves, &mut self.answers, &mut self.biases, &mut self.critic, &mut self.pairs];
        parts.extend(["router", "moves", "answers", "biases", "critic", "pairs"].into_iter().zip(rest));
        parts
    }
}

const LSTM_NAMES: [[&str; 3]; 2] =
    [["forward.input", "forward.hidden", "forward.bias"], ["backward.input", "backward.hidden", "backward.bias"]];

/// A standard normal number (Box and Muller 1958).
fn gaussian(rng: &mut dyn Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}
