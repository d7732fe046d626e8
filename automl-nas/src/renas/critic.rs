//! What the critic learns from: every candidate that was told, whoever proposed it, and mutations that are only imagined.
//!
//! A policy gradient learns from one number a child. But whatever was evaluated says what answers are worth, so the controller
//! has a head that predicts how good a candidate is (an actor and its critic: Konda and Tsitsiklis, "Actor-critic algorithms",
//! 1999), and learns it by regression. It serves twice. Of the children that the policy draws, the one with the best prospects is
//! proposed; and the policy learns from children that it draws for the critic alone (Sutton's "Dyna", 1991), many for each that
//! is evaluated.

use automl_core::hash::StableHash;
use automl_core::rand::{Rng, RngExt, SeedableRng};
use automl_core::{Genotype, Result, Trace};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::controller::{Pull, Word};
use super::learn::Learner;
use super::mutate::Mutator;
use super::weights::Weights;

/// How the critic learns, and what it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, automl_core::schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Critic {
    /// Children that are drawn for each proposal, each by a tournament of its own; the critic takes one. Default 16; 1: it is not asked.
    pub children: usize,
    /// Share of those children that chance draws instead of the controller, so that what it thinks little of stays possible; default 0.25.
    pub explore: f64,
    /// Steps of learning for each trial; default 4.
    pub lessons: usize,
    /// Candidates a step, drawn from all that were told; default 3.
    pub batch: usize,
    /// Children that are imagined for each trial, from which the policy learns; default 8, none: 0.
    pub imagined: usize,
    /// Step of Adam for the critic; default 0.01.
    pub rate: f64,
}

impl Default for Critic {
    fn default() -> Self {
        Self { children: 16, explore: 0.25, lessons: 4, batch: 3, imagined: 8, rate: 0.01 }
    }
}

impl Critic {
    /// No critic.
    pub fn none() -> Self {
        Self { children: 1, lessons: 0, ..Self::default() }
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.children > 1 || self.lessons > 0
    }
}

/// A candidate that was told.
pub(super) struct Seen {
    pub genotype: Genotype,
    pub trace: Trace,
    pub sequence: Vec<Word>,
    /// Infinite where there is none.
    pub loss: f64,
}

/// Candidates of which the best is the parent of imagined children.
const DRAWN: usize = 3;
/// What the logit of a rank is divided by, for numbers of about one.
const SCALE: f64 = 2.0;
/// Largest error whose square counts; beyond it, the size does (Huber 1964).
const HUBER: f32 = 1.0;
/// Added to the deviation of what the critic expects of imagined children, and about as large as a young critic errs: where it expects
/// much the same of all, little is learnt. With a tenth of it, the policy soon follows the errors of a critic that knows twenty candidates.
const DOUBT: f32 = 1.0;

impl Learner {
    /// The lessons of a trial, drawn by `seed`; the latest candidate is among them.
    pub fn criticise(&mut self, critic: &Critic, mutator: &Mutator, seed: u64) -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(StableHash::new("renas critic").number(seed).finish());
        let latest = self.seen.len().saturating_sub(1);
        for lesson in 0..critic.lessons {
            let mut gradients = self.take_gradients();
            for place in 0..critic.batch {
                let index = if lesson + place == 0 { latest } else { rng.random_range(0..=latest) };
                let Some(seen) = self.seen.get(index) else { continue };
                let encoding = self.controller.encode(&seen.sequence);
                let error = self.controller.value(&encoding) - (self.rank(seen.loss) / SCALE) as f32;
                let slope = error.clamp(-HUBER, HUBER) / critic.batch as f32;
                self.controller.backward(&encoding, &[], slope, &mut gradients);
            }
            if lesson == 0 && critic.imagined > 1 {
                self.imagine(critic.imagined, mutator, &mut rng, &mut gradients)?;
            }
            self.step_critic(gradients, critic.rate);
        }
        Ok(())
    }

    /// Adds the policy gradient over children of one parent that nobody evaluates: the critic says how much better each is than the
    /// mean of them.
    fn imagine(&self, count: usize, mutator: &Mutator, rng: &mut dyn Rng, gradients: &mut Weights) -> Result<()> {
        let drawn = (0..DRAWN).filter_map(|_| self.seen.get(rng.random_range(0..self.seen.len().max(1))));
        let Some(parent) = drawn.min_by(|a, b| a.loss.total_cmp(&b.loss)) else { return Ok(()) };
        let encoding = self.controller.encode(&parent.sequence);
        let mut children = Vec::with_capacity(count);
        for _ in 0..count {
            let drawn = mutator.draw(&self.controller, &encoding, &parent.genotype, &parent.trace, false, rng)?;
            let Some(child) = drawn else { continue };
            let sequence = mutator.sequence(&mutator.space.trace(&child.genotype)?)?;
            children.push((self.controller.value(&self.controller.encode(&sequence)), child.decisions));
        }
        let share = 1.0 / children.len().max(1) as f32;
        let mean = share * children.iter().map(|(value, _)| value).sum::<f32>();
        let variance = share * children.iter().map(|(value, _)| (value - mean).powi(2)).sum::<f32>();
        let pull = |(value, decisions)| Pull {
            decisions,
            likelihood: share * (value - mean) / (variance.sqrt() + DOUBT),
            entropy: share * self.entropy(),
        };
        let pulls: Vec<Pull<'_>> = children.iter().map(|(value, decisions)| pull((value, decisions.as_slice()))).collect();
        self.controller.backward(&encoding, &pulls, 0.0, gradients);
        Ok(())
    }
}
