//! REINFORCE: Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", Machine
//! Learning 8, 1992; with a table of logits as its policy, as in NAS-Bench-201 (Dong and Yang, ICLR 2020, section 4).
//!
//! The policy answers the questions of any space: a softmax over the legal tokens of each point, which starts where random
//! sampling does. Reward is the loss with its sign turned; Adam makes its scale no matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::space::KnownChoose;
use automl_core::{
    Answer, Ask, Choose, Error, Genotype, Objective, Origin, Proposal, Question, Result, SearchSpace, Step, Strategy, Trial,
    Vocabulary, plugin,
};
use serde::{Deserialize, Serialize};

use crate::fresh::Told;

/// Policy gradients: learns how likely each answer to each question of the space should be.
///
/// Numbers are cut into 16 bins. A candidate that was tried before is drawn anew, up to 10 times. Failed, infeasible and pruned
/// trials count as the worst reward so far; starts and what other strategies proposed is not learnt from. Sees the first
/// objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Reinforce {
    /// Step of Adam, above 0; default 0.1.
    pub learning_rate: f64,
    /// How much of the mean reward is kept at each trial, in [0, 1); default 0.9. What is above the mean is made likelier.
    pub baseline: f64,
    /// Whether a question's answer depends on the answer before it; default no: each question has one distribution.
    pub context: bool,
}

impl Default for Reinforce {
    fn default() -> Self {
        Self { learning_rate: 0.1, baseline: 0.9, context: false }
    }
}

const NAME: &str = "reinforce";
/// Draws until a candidate is new.
const TRIES: usize = 10;
/// Bins of a number.
const BINS: u32 = 16;
/// Adam's decay of the mean and the mean square of the gradient.
const DECAY: [f64; 2] = [0.9, 0.999];

plugin! {
    "reinforce",
    impl StrategyConfig for Reinforce {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
                return Err(Error::config("strategy.learning_rate", format!("is {}; it must be above 0", self.learning_rate)));
            }
            if !(0.0..1.0).contains(&self.baseline) {
                return Err(Error::config("strategy.baseline", format!("is {}; it must be at least 0 and below 1", self.baseline)));
            }
            let vocabulary = Vocabulary::new(space.points(), BINS)?;
            let policy = Policy { vocabulary, context: self.context, tables: BTreeMap::new(), updates: 0 };
            Ok(Box::new(Running { config: self.clone(), told: Told::new(space), policy, mean: None, worst: None }))
        }
    }
}

struct Running {
    config: Reinforce,
    told: Told,
    policy: Policy,
    /// Moving mean of the reward.
    mean: Option<f64>,
    worst: Option<f64>,
}

/// Logits by question and context.
struct Policy {
    vocabulary: Vocabulary,
    context: bool,
    tables: BTreeMap<Key, BTreeMap<u32, Logit>>,
    updates: i32,
}

/// A point, and the token of the answer before it where that counts.
type Key = (usize, u32);

/// One logit with the moments of Adam.
#[derive(Clone, Copy, Default)]
struct Logit {
    value: f64,
    mean: f64,
    square: f64,
}

/// What was answered to one question.
struct Decision {
    key: Key,
    probabilities: Vec<(u32, f64)>,
    token: u32,
}

impl Policy {
    /// How likely each legal token is.
    fn probabilities(&self, key: Key, question: &Question<'_>) -> Vec<(u32, f64)> {
        let table = self.tables.get(&key);
        let tokens = self.vocabulary.legal_tokens(question.id, question.legal);
        let prior = |token: u32| match (question.weights, self.vocabulary.answer(question.id, token)) {
            (Some(weights), Some(Answer::Option(option))) => weights.get(option).copied().unwrap_or(0.0).max(1e-6),
            _ => 1.0,
        };
        let logit = |token: u32| table.and_then(|table| table.get(&token)).map_or(0.0, |logit| logit.value) + prior(token).ln();
        let logits: Vec<f64> = tokens.iter().map(|&token| logit(token)).collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
        tokens.into_iter().zip(logits).map(|(token, logit)| (token, (logit - most).exp() / sum)).collect()
    }

    /// Makes decisions likelier in proportion to `advantage`.
    fn update(&mut self, decisions: &[Decision], advantage: f64, rate: f64) {
        self.updates = self.updates.saturating_add(1);
        let [kept, kept_square] = DECAY.map(|decay| 1.0 - decay.powi(self.updates));
        for decision in decisions {
            let table = self.tables.entry(decision.key).or_default();
            for &(token, probability) in &decision.probabilities {
                let gradient = advantage * (f64::from(u8::from(token == decision.token)) - probability);
                let logit = table.entry(token).or_default();
                logit.mean = DECAY[0] * logit.mean + (1.0 - DECAY[0]) * gradient;
                logit.square = DECAY[1] * logit.square + (1.0 - DECAY[1]) * gradient * gradient;
                logit.value += rate * (logit.mean / kept) / ((logit.square / kept_square).sqrt() + 1e-8);
            }
        }
    }
}

/// Answers by the policy, or as is known, and keeps what was decided.
struct Deciding<'a> {
    policy: &'a Policy,
    /// Known answers, to learn from a candidate; else the policy draws.
    known: Option<&'a [Option<Answer>]>,
    rng: Option<&'a mut dyn Rng>,
    last: u32,
    decisions: Vec<Decision>,
}

impl Choose for Deciding<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let unanswered = || Error::Unanswered(question.point.key.clone());
        let key = (question.id, if self.policy.context { self.last } else { 0 });
        let probabilities = self.policy.probabilities(key, question);
        let known = self.known.and_then(|known| known.get(question.id).copied().flatten());
        let token = match (known, &mut self.rng) {
            (Some(answer), _) => self.policy.vocabulary.token(Step { point: question.id, answer }).ok_or_else(unanswered)?,
            (None, Some(rng)) => {
                let mut left = rng.random::<f64>();
                let drawn = probabilities.iter().find(|(_, probability)| {
                    left -= probability;
                    left < 0.0
                });
                drawn.or(probabilities.last()).map(|(token, _)| *token).ok_or_else(unanswered)?
            }
            (None, None) => return Err(unanswered()),
        };
        self.last = token;
        self.decisions.push(Decision { key, probabilities, token });
        match known {
            Some(answer) => Ok(answer),
            None => self.policy.vocabulary.answer(question.id, token).ok_or_else(unanswered),
        }
    }
}

impl Running {
    fn draw(&self, rng: &mut dyn Rng) -> Result<Genotype> {
        let mut deciding = Deciding { policy: &self.policy, known: None, rng: Some(rng), last: 0, decisions: Vec::new() };
        self.told.space.build(&mut deciding)
    }

    fn decisions(&self, genotype: &Genotype) -> Result<Vec<Decision>> {
        let space = &self.told.space;
        let known = KnownChoose::of(&space.trace(genotype)?, space.points().len());
        let mut deciding = Deciding { policy: &self.policy, known: Some(&known), rng: None, last: 0, decisions: Vec::new() };
        space.build(&mut deciding)?;
        Ok(deciding.decisions)
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        let mut genotype = self.draw(rng)?;
        for _ in 1..TRIES {
            if fresh.is(&genotype) {
                break;
            }
            genotype = self.draw(rng)?;
        }
        Ok(vec![Proposal::new(genotype, Origin::by(NAME))])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.told.tell(trial);
        let reward = trial.full_loss().filter(|loss| loss.is_finite()).map(|loss| -loss);
        let worst = [self.worst, reward].into_iter().flatten().reduce(f64::min);
        self.worst = worst;
        let Some(reward) = reward.or(worst) else { return Ok(()) };
        if trial.origin.by != NAME {
            return Ok(());
        }
        let mean = self.mean.map_or(reward, |mean| self.config.baseline * mean + (1.0 - self.config.baseline) * reward);
        self.mean = Some(mean);
        let decisions = self.decisions(&trial.genotype)?;
        self.policy.update(&decisions, reward - mean, self.config.learning_rate);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use automl_core::{StrategyConfig, conformance};

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_best, pool_space, tiny};

    #[test]
    fn beats_random_search_with_and_without_context() {
        let random = mean_best(&Random {});
        for context in [false, true] {
            let own = mean_best(&Reinforce { context, ..Reinforce::default() });
            assert!(own < random, "{context}: {own} {random}");
        }
    }

    #[test]
    fn settles_on_what_is_rewarded() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let which = |genotype: &Genotype| genotype.nodes.iter().any(|node| node.params.get("which") == Some(&"b".into()));
        let trials = Run::new(&Reinforce::default(), &space, 1).trials(300, |genotype| Some(f64::from(!which(genotype))));
        // All three are tried early, so every draw after that repeats one: the last of ten tries.
        let late = trials[200..].iter().filter(|trial| which(&trial.genotype)).count();
        assert!(late > 80, "{late} of 100");
    }

    #[test]
    fn context_conforms_and_failures_are_survived() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        conformance::check_strategy(&Reinforce { context: true, ..Reinforce::default() }, &space, 60, 7).unwrap();
        let trials = Run::new(&Reinforce::default(), &space, 2).trials(30, |_| None);
        assert_eq!(trials.len(), 30);
        // What fails gets rarer.
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then(|| distance(genotype));
        let trials = Run::new(&Reinforce::default(), &space, 3).trials(300, odd);
        let failed = |trials: &[Trial]| trials.iter().filter(|trial| trial.loss().is_none()).count();
        assert!(failed(&trials[200..]) < failed(&trials[..100]), "{} {}", failed(&trials[..100]), failed(&trials[200..]));
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let refused =
            |config: Reinforce| config.build(space.clone(), &[]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(Reinforce { learning_rate: 0.0, ..Reinforce::default() }).contains("strategy.learning_rate"));
        assert!(refused(Reinforce { baseline: 1.0, ..Reinforce::default() }).contains("strategy.baseline"));
    }
}
