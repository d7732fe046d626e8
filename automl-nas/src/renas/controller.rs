//! The network that chooses mutations (Chen et al. 2019, section 3.3).
//!
//! Tokens of the parent are embedded and read by an LSTM from both ends; one state stands for each token, and one for the
//! start. The **router** scores each token's state: that is where the change goes. The **answers** score the tokens that could
//! stand there from the state at that place: the paper's operator mutator, and, since sources are answers like any other, its input
//! mutator, too. The **critic**, which the paper does not have, says how good it expects a candidate to be: from the mean of its
//! states, and from a weight for each of its answers, which is what few candidates teach. Scores are shaped as
//! `2.5 tanh(score / 5)`, which keeps a softmax over them from closing.

use super::lstm::{Pass, add_scaled};
use super::weights::{Sizes, Weights};
use crate::tensor::{dot, tanh};

/// Largest size of a shaped score (Bello et al. 2017), and the temperature that scores are divided by.
const TANH: f32 = 2.5;
const TEMPERATURE: f32 = 5.0;

/// An answer as the network reads it: its token, the point that it answers, and the two as a pair.
pub(super) type Word = [usize; 3];

/// A parent as the network reads it.
#[derive(Debug)]
pub(super) struct Encoding {
    /// The start, and the sequence.
    rows: Vec<Word>,
    x: Vec<f32>,
    passes: Vec<Pass>,
    /// Steps × state.
    states: Vec<f32>,
    /// The mean of all states.
    mean: Vec<f32>,
}

impl Encoding {
    /// Tokens, the start included.
    pub fn steps(&self) -> usize {
        self.rows.len()
    }
}

/// What a choice is made by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    /// Where to change: the steps of the parent's sequence, and behind them the moves.
    Router,
    /// What to answer, by the state of a step: tokens.
    Answers(usize),
}

/// A choice with how likely each candidate was.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub head: Head,
    pub candidates: Vec<usize>,
    /// Logarithm of the probability of each.
    pub log_probabilities: Vec<f32>,
    /// Hyperbolic tangent of each score over the temperature: what the way back needs.
    squashed: Vec<f32>,
    /// Index of the candidate that was taken.
    pub taken: usize,
}

impl Decision {
    /// Logarithm of the probability of what was taken.
    pub fn log_probability(&self) -> f32 {
        self.log_probabilities.get(self.taken).copied().unwrap_or(0.0)
    }

    /// Entropy in nats.
    pub fn entropy(&self) -> f32 {
        -self.log_probabilities.iter().map(|log| log.exp() * log).sum::<f32>()
    }
}

/// Which way decisions about one encoding are pulled: by the gradient of `Σ likelihood · log p(taken) + entropy · entropy`, negated,
/// so that a step against it makes what was taken likelier.
pub(super) struct Pull<'a> {
    pub decisions: &'a [Decision],
    pub likelihood: f32,
    pub entropy: f32,
}

/// The network.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    pub sizes: Sizes,
    pub weights: Weights,
}

impl Controller {
    /// Reads a sequence; the start is put before it.
    pub fn encode(&self, sequence: &[Word]) -> Encoding {
        let width = self.sizes.embedding;
        let start = [automl_core::vocabulary::START as usize, self.sizes.points, self.sizes.pairs];
        let rows: Vec<Word> = std::iter::once(&start).chain(sequence).copied().collect();
        let mut x = vec![0.0; rows.len() * width];
        for (x, [token, point, _]) in x.chunks_exact_mut(width).zip(&rows) {
            add_scaled(x, 1.0, row(&self.weights.embedding, *token, width));
            add_scaled(x, 1.0, row(&self.weights.points, *point, width));
        }
        let directions = self.weights.directions.iter().enumerate();
        let passes: Vec<Pass> = directions.map(|(index, lstm)| lstm.forward(&x, rows.len(), index == 1)).collect();
        let mut states = Vec::with_capacity(rows.len() * self.sizes.width());
        for step in 0..rows.len() {
            passes.iter().for_each(|pass| states.extend_from_slice(row(&pass.states, step, self.sizes.hidden)));
        }
        let mut mean = vec![0.0; self.sizes.width()];
        for state in states.chunks_exact(self.sizes.width()) {
            add_scaled(&mut mean, 1.0 / rows.len() as f32, state);
        }
        Encoding { rows, x, passes, states, mean }
    }

    /// How likely a head takes each candidate; `taken` is filled in by whoever takes one.
    pub fn decide(&self, encoding: &Encoding, head: Head, candidates: Vec<usize>) -> Decision {
        let width = self.sizes.width();
        let score = |&candidate: &usize| match head {
            Head::Router if candidate < encoding.steps() => dot(row(&encoding.states, candidate, width), &self.weights.router),
            Head::Router => dot(&encoding.mean, row(&self.weights.moves, candidate - encoding.steps(), width)),
            Head::Answers(step) => {
                let bias = self.weights.biases.get(candidate).copied().unwrap_or(0.0);
                bias + dot(row(&encoding.states, step, width), row(&self.weights.answers, candidate, width))
            }
        };
        let squashed: Vec<f32> = candidates.iter().map(|candidate| tanh(score(candidate) / TEMPERATURE)).collect();
        let total: f32 = squashed.iter().map(|squashed| (TANH * squashed).exp()).sum();
        let log_probabilities = squashed.iter().map(|squashed| TANH * squashed - total.ln()).collect();
        Decision { head, candidates, log_probabilities, squashed, taken: 0 }
    }

    /// What the critic expects of a candidate; 0 without one.
    pub fn value(&self, encoding: &Encoding) -> f32 {
        let pair = |[_, _, pair]: &Word| self.weights.pairs.get(*pair).copied().unwrap_or(0.0);
        dot(&encoding.mean, &self.weights.critic) + encoding.rows.iter().map(pair).sum::<f32>()
    }

    /// Adds the gradients of all pulls, and of `value` times what the critic expects.
    pub fn backward(&self, encoding: &Encoding, pulls: &[Pull<'_>], value: f32, gradients: &mut Weights) {
        let width = self.sizes.width();
        let steps = encoding.steps();
        let mut delta = vec![0.0; encoding.states.len()];
        let mut d_mean: Vec<f32> = vec![0.0; width];
        if !gradients.critic.is_empty() {
            add_scaled(&mut d_mean, value, &self.weights.critic);
            add_scaled(&mut gradients.critic, value, &encoding.mean);
            for [_, _, pair] in &encoding.rows {
                row_mut(&mut gradients.pairs, *pair, 1).iter_mut().for_each(|weight| *weight += value);
            }
        }
        let each = pulls.iter().flat_map(|pull| pull.decisions.iter().map(move |decision| (pull, decision)));
        for (&Pull { likelihood, entropy, .. }, decision) in each {
            let nats = decision.entropy();
            let numbers = decision.candidates.iter().zip(&decision.log_probabilities).zip(&decision.squashed).enumerate();
            for (index, ((&candidate, &log), squashed)) in numbers {
                let p = log.exp();
                let hit = if index == decision.taken { 1.0 } else { 0.0 };
                let along = likelihood * (hit - p) - entropy * p * (log + nats);
                let d = -along * TANH / TEMPERATURE * (1.0 - squashed * squashed);
                match decision.head {
                    Head::Router if candidate < steps => {
                        add_scaled(&mut gradients.router, d, row(&encoding.states, candidate, width));
                        add_scaled(row_mut(&mut delta, candidate, width), d, &self.weights.router);
                    }
                    Head::Router => {
                        add_scaled(row_mut(&mut gradients.moves, candidate - steps, width), d, &encoding.mean);
                        add_scaled(&mut d_mean, d, row(&self.weights.moves, candidate - steps, width));
                    }
                    Head::Answers(step) => {
                        add_scaled(row_mut(&mut gradients.answers, candidate, width), d, row(&encoding.states, step, width));
                        add_scaled(row_mut(&mut delta, step, width), d, row(&self.weights.answers, candidate, width));
                        if let Some(bias) = gradients.biases.get_mut(candidate) {
                            *bias += d;
                        }
                    }
                }
            }
        }
        for state in delta.chunks_exact_mut(width) {
            add_scaled(state, 1.0 / steps as f32, &d_mean);
        }
        let mut dx = vec![0.0; encoding.x.len()];
        let hidden = self.sizes.hidden;
        let directions = self.weights.directions.iter().zip(&encoding.passes).zip(&mut gradients.directions);
        for (index, ((lstm, pass), gradients)) in directions.enumerate() {
            let own: Vec<f32> = delta.chunks_exact(width).flat_map(|state| row(state, index, hidden)).copied().collect();
            lstm.backward(&encoding.x, pass, &own, gradients, &mut dx);
        }
        let width = self.sizes.embedding;
        for (dx, [token, point, _]) in dx.chunks_exact(width).zip(&encoding.rows) {
            add_scaled(row_mut(&mut gradients.embedding, *token, width), 1.0, dx);
            add_scaled(row_mut(&mut gradients.points, *point, width), 1.0, dx);
        }
    }
}

/// A row of a row-major matrix; empty beyond its end.
fn row(values: &[f32], index: usize, width: usize) -> &[f32] {
    values.get(index * width..(index + 1) * width).unwrap_or_default()
}

fn row_mut(values: &mut [f32], index: usize, width: usize) -> &mut [f32] {
    values.get_mut(index * width..(index + 1) * width).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SIZES: Sizes = Sizes { tokens: 7, points: 4, pairs: 9, moves: 2, embedding: 5, hidden: 3, bidirectional: true };
    const SEQUENCE: [Word; 4] = [[3, 0, 1], [1, 1, 4], [6, 2, 5], [1, 3, 8]];

    fn controller(sizes: Sizes) -> Controller {
        Controller { sizes, weights: Weights::random(&sizes, 0.7, &mut ChaCha8Rng::seed_from_u64(3)) }
    }

    fn decisions(controller: &Controller, encoding: &Encoding) -> Vec<Decision> {
        let heads =
            [(Head::Router, vec![1, 2, 4, 5, 6], 3), (Head::Answers(2), vec![1, 3, 5], 1), (Head::Answers(0), vec![2, 6], 0)];
        let decide = |(head, candidates, taken)| Decision { taken, ..controller.decide(encoding, head, candidates) };
        heads.into_iter().map(decide).collect()
    }

    #[test]
    fn gradients_are_slopes() {
        for sizes in [SIZES, Sizes { bidirectional: false, points: 0, pairs: 0, ..SIZES }] {
            let mut controller = controller(sizes);
            let value = |controller: &Controller| {
                let encoding = controller.encode(&SEQUENCE);
                let along = |one: &Decision| f64::from(-0.8 * one.log_probability() - 0.3 * one.entropy());
                decisions(controller, &encoding).iter().map(along).sum::<f64>() + 0.6 * f64::from(controller.value(&encoding))
            };
            let encoding = controller.encode(&SEQUENCE);
            let mut gradients = Weights::zeros(&sizes);
            let pulls = [Pull { decisions: &decisions(&controller, &encoding), likelihood: 0.8, entropy: 0.3 }];
            controller.backward(&encoding, &pulls, 0.6, &mut gradients);
            for (part, (name, gradient)) in gradients.each().into_iter().enumerate() {
                for (place, &gradient) in gradient.iter().enumerate() {
                    let mut at = |step: f32| {
                        let old = controller.weights.each()[part].1[place];
                        controller.weights.each_mut()[part].1[place] = old + step;
                        let value = value(&controller);
                        controller.weights.each_mut()[part].1[place] = old;
                        value
                    };
                    let slope = (at(0.01) - at(-0.01)) / 0.02;
                    assert!((slope - f64::from(gradient)).abs() < 2e-3, "{name}[{place}]: {gradient} {slope}");
                }
            }
        }
    }

    #[test]
    fn both_ends_of_the_sequence_reach_every_state() {
        let state = |bidirectional: bool, sequence: &[Word], step: usize| {
            let controller = controller(Sizes { bidirectional, ..SIZES });
            row(&controller.encode(sequence).states, step, controller.sizes.width()).to_vec()
        };
        let mut other = SEQUENCE;
        other[3][0] = 2;
        assert_ne!(state(true, &SEQUENCE, 1), state(true, &other, 1));
        assert_eq!(state(false, &SEQUENCE, 1), state(false, &other, 1), "read from the start alone");
        assert_ne!(state(false, &SEQUENCE, 4), state(false, &other, 4));
    }

    #[test]
    fn scores_are_shaped_by_the_papers_constants() {
        let mut controller = controller(SIZES);
        controller.weights.answers.fill(0.0);
        controller.weights.biases = vec![0.0, 1.0, -4.0, 0.0, 0.0, 0.0, 0.0];
        let decision = controller.decide(&controller.encode(&SEQUENCE), Head::Answers(1), vec![1, 2]);
        let wanted = 2.5 * ((1.0_f32 / 5.0).tanh() - (-4.0_f32 / 5.0).tanh());
        assert!((decision.log_probabilities[0] - decision.log_probabilities[1] - wanted).abs() < 1e-5);
    }

    #[test]
    fn shaped_scores_keep_every_candidate_possible() {
        let mut controller = controller(SIZES);
        controller.weights.biases[1] = 1e6;
        let encoding = controller.encode(&SEQUENCE);
        let decision = controller.decide(&encoding, Head::Answers(1), vec![1, 2]);
        assert!(decision.log_probabilities.iter().all(|log| *log > -2.0 * TANH - 1e-3), "{decision:?}");
        assert!((decision.log_probabilities.iter().map(|log| log.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
