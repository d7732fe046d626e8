//! What the controller learns from: the reward of a mutation, and the policy gradient with Adam.
//!
//! The paper's rule is the plain one (section 3.3): reward `tan(π f / 2)` with the entropy added, one step a child, no baseline.
//! What [`RenasPlus`](super::RenasPlus) adds is here as settings of the same rule: a reward by improvement, a moving baseline,
//! and earlier mutations that are learnt from again, held back by PPO's clipping (Schulman et al., "Proximal Policy Optimization
//! Algorithms", 2017).

use automl_core::hash::StableHash;
use automl_core::rand::{RngExt, SeedableRng};
use automl_core::{Direction, Result, Trace};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::controller::{Controller, Pull};
use super::critic::Seen;
use super::mutate::Mutator;
use super::weights::{Sizes, Weights};
use crate::tensor::dot;

/// What a mutation is rewarded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, automl_core::schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Reward {
    /// How good the child is, as in the paper: `tan(π f / 2)` for an accuracy `f`, at most 0.99. A figure above 1 is a
    /// percentage. An objective that is minimised is an error, with `f` one less it.
    Figure,
    /// How good the child is among all candidates so far: the logit of the share that it beats. Whatever the figure's scale.
    Rank,
    /// How much better than its parent the child is: the difference of their logits of the shares that they beat.
    Improvement,
}

/// How a controller learns.
#[derive(Clone, Debug)]
pub(super) struct Learning {
    pub reward: Reward,
    /// Step of Adam; 0: it does not learn.
    pub rate: f64,
    /// Weight of the entropy.
    pub entropy: f64,
    /// Whether the entropy is added to the reward, as in the paper, or made larger by its own gradient.
    pub entropy_in_reward: bool,
    /// What is kept of the baseline at each child; none: no baseline.
    pub baseline: Option<f64>,
    /// Whether advantages are divided by their deviation.
    pub normalise: bool,
    /// Earlier mutations that are learnt from again with each child.
    pub replay: usize,
    /// Change of a mutation's probability from which it is not pushed further; none: it always is.
    pub clip: Option<f64>,
}

/// A mutation and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Experience {
    pub parent: Trace,
    pub child: Trace,
    pub routes: Vec<usize>,
    /// Logarithm of its probability when it was drawn.
    pub log_probability: f64,
    pub parent_loss: f64,
    /// Infinite where there is none.
    pub child_loss: f64,
}

/// The learning controller.
pub(super) struct Learner {
    pub controller: Controller,
    settings: Learning,
    direction: Direction,
    adam: Adam,
    gradients: Weights,
    /// Losses of all trials, ascending; infinite where there is none.
    losses: Vec<f64>,
    /// Moving means of the reward and of the squared distance from it.
    moments: Option<[f64; 2]>,
    memory: Vec<Experience>,
    /// The critic's own, since its gradients are of another size.
    critic_adam: Adam,
    /// What the critic learns from.
    pub seen: Vec<Seen>,
    /// Children learnt from.
    pub learnt: u64,
}

/// Largest advantage in deviations.
const MOST: f64 = 3.0;
/// Largest figure: the tangent has a pole at 1.
const TOP: f64 = 0.99;

impl Learner {
    pub fn new(controller: Controller, settings: Learning, direction: Direction) -> Self {
        let zeros = Weights::zeros(&controller.sizes);
        Self {
            controller,
            settings,
            direction,
            adam: Adam { moments: [zeros.clone(), zeros.clone()], steps: 0 },
            critic_adam: Adam { moments: [zeros.clone(), zeros.clone()], steps: 0 },
            seen: Vec::new(),
            gradients: zeros,
            losses: Vec::new(),
            moments: None,
            memory: Vec::new(),
            learnt: 0,
        }
    }

    /// Notes the loss of a trial, for the ranks.
    pub fn see(&mut self, loss: f64) {
        let place = self.losses.partition_point(|other| other.total_cmp(&loss).is_lt());
        self.losses.insert(place, loss);
    }

    /// The logit of the share of all trials that a loss beats.
    pub fn rank(&self, loss: f64) -> f64 {
        let (better, upto) = (self.losses.partition_point(|x| *x < loss), self.losses.partition_point(|x| *x <= loss));
        let (count, worse) = (self.losses.len() as f64, (self.losses.len() - upto) as f64);
        let share = (worse + 0.5 * (upto - better) as f64 + 0.5) / (count + 1.0);
        (share / (1.0 - share)).ln()
    }

    fn reward(&self, one: &Experience) -> f64 {
        match self.settings.reward {
            Reward::Figure => figure(one.child_loss, self.direction),
            Reward::Rank => self.rank(one.child_loss),
            Reward::Improvement => self.rank(one.child_loss) - self.rank(one.parent_loss),
        }
    }

    /// The reward as against the baseline.
    fn advantage(&self, reward: f64) -> f64 {
        let Some([mean, variance]) = self.moments else { return if self.settings.baseline.is_some() { 0.0 } else { reward } };
        let above = reward - mean;
        if self.settings.normalise { (above / (variance.sqrt() + 1e-6)).clamp(-MOST, MOST) } else { above }
    }

    fn follow(&mut self, reward: f64) {
        let Some(kept) = self.settings.baseline else { return };
        let [mean, variance] = self.moments.unwrap_or([reward, 0.0]);
        let new = kept * mean + (1.0 - kept) * reward;
        self.moments = Some([new, kept * variance + (1.0 - kept) * (reward - mean).powi(2)]);
    }

    /// One step of policy gradient from a new mutation, and some earlier ones drawn by `seed`.
    pub fn learn(&mut self, one: Experience, mutator: &Mutator, seed: u64) -> Result<()> {
        if self.settings.rate == 0.0 {
            return Ok(());
        }
        let mut rng = ChaCha8Rng::seed_from_u64(StableHash::new("renas").number(seed).finish());
        let earlier = if self.memory.is_empty() { 0 } else { self.settings.replay };
        let drawn: Vec<usize> = (0..earlier).map(|_| rng.random_range(0..self.memory.len())).collect();
        let share = 1.0 / (drawn.len() + 1) as f64;
        let mut gradients = self.take_gradients();
        for one in std::iter::once(&one).chain(drawn.iter().filter_map(|&index| self.memory.get(index))) {
            self.add_gradient(one, mutator, share, &mut gradients)?;
        }
        self.adam.step(&mut self.controller.weights, &gradients, self.settings.rate);
        self.gradients = gradients;
        self.follow(self.reward(&one));
        self.learnt += 1;
        if self.settings.replay > 0 {
            self.memory.push(one);
        }
        Ok(())
    }

    /// The gradients, set to zero, to be given back with a step.
    pub fn take_gradients(&mut self) -> Weights {
        for (_, part) in self.gradients.each_mut() {
            part.fill(0.0);
        }
        std::mem::replace(&mut self.gradients, Weights::zeros(&EMPTY))
    }

    /// A step of the critic's lessons.
    pub fn step_critic(&mut self, gradients: Weights, rate: f64) {
        self.critic_adam.step(&mut self.controller.weights, &gradients, rate);
        self.gradients = gradients;
    }

    /// Weight of the entropy.
    pub fn entropy(&self) -> f32 {
        self.settings.entropy as f32
    }

    fn add_gradient(&self, one: &Experience, mutator: &Mutator, share: f64, gradients: &mut Weights) -> Result<()> {
        let encoding = self.controller.encode(&mutator.sequence(&one.parent)?);
        let Some(decisions) = mutator.replay(&self.controller, &encoding, [&one.parent, &one.child], &one.routes)? else {
            return Ok(());
        };
        let entropy: f64 = decisions.iter().map(|decision| f64::from(decision.entropy())).sum();
        let (bonus, weight) =
            if self.settings.entropy_in_reward { (self.settings.entropy * entropy, 0.0) } else { (0.0, self.settings.entropy) };
        let advantage = self.advantage(self.reward(one) + bonus);
        let now: f64 = decisions.iter().map(|decision| f64::from(decision.log_probability())).sum();
        let likelihood = match self.settings.clip {
            Some(clip) => {
                let ratio = (now - one.log_probability).exp();
                // The gradient of min(ratio A, clamp(ratio) A).
                let beyond = if advantage > 0.0 { ratio > 1.0 + clip } else { ratio < 1.0 - clip };
                if beyond { 0.0 } else { advantage * ratio.min(10.0) }
            }
            None => advantage,
        };
        let pull = Pull { decisions: &decisions, likelihood: (share * likelihood) as f32, entropy: (share * weight) as f32 };
        self.controller.backward(&encoding, &[pull], 0.0, gradients);
        Ok(())
    }
}

/// The shape of no controller: what stands for the gradients while they are worked on.
const EMPTY: Sizes = Sizes { tokens: 0, points: 0, pairs: 0, moves: 0, embedding: 0, hidden: 0, bidirectional: false };

/// The paper's reward of a loss.
fn figure(loss: f64, direction: Direction) -> f64 {
    let unit = |figure: f64| if figure > 1.0 { figure / 100.0 } else { figure };
    let f = match direction {
        _ if !loss.is_finite() => 0.0,
        Direction::Maximize => unit(-loss),
        Direction::Minimize => 1.0 - unit(loss),
    };
    (std::f64::consts::FRAC_PI_2 * f.clamp(0.0, TOP)).tan()
}

/// Adam: Kingma and Ba, ICLR 2015.
struct Adam {
    moments: [Weights; 2],
    steps: i32,
}

const BETAS: [f32; 2] = [0.9, 0.999];

impl Adam {
    fn step(&mut self, weights: &mut Weights, gradients: &Weights, rate: f64) {
        if gradients.each().iter().any(|(_, part)| !dot(part, part).is_finite()) {
            return;
        }
        self.steps = self.steps.saturating_add(1);
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let rate = rate as f32 / first;
        let [means, squares] = &mut self.moments;
        let parts = weights.each_mut().into_iter().zip(gradients.each()).zip(means.each_mut()).zip(squares.each_mut());
        for ((((_, weights), (_, gradients)), (_, means)), (_, squares)) in parts {
            let numbers = weights.iter_mut().zip(gradients).zip(means.iter_mut()).zip(squares.iter_mut());
            for (((weight, gradient), mean), square) in numbers {
                *mean = BETAS[0] * *mean + (1.0 - BETAS[0]) * gradient;
                *square = BETAS[1] * *square + (1.0 - BETAS[1]) * gradient * gradient;
                *weight -= rate * *mean / ((*square / second).sqrt() + 1e-8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_reward_is_a_clamped_tangent_of_the_accuracy() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} {b}");
        close(figure(-0.5, Direction::Maximize), 1.0);
        close(figure(-90.0, Direction::Maximize), 6.3138);
        close(figure(0.1, Direction::Minimize), 6.3138);
        close(figure(-1.0, Direction::Maximize), figure(-0.99, Direction::Maximize));
        close(figure(f64::INFINITY, Direction::Minimize), 0.0);
        close(figure(3.0, Direction::Maximize), 0.0);
    }
}
