//! RENAS: Chen et al., "RENAS: Reinforced Evolutionary Neural Architecture Search", CVPR 2019.
//!
//! An evolution whose mutations a network chooses: it reads the parent, says where to change it and what to put there, and learns
//! from how the child does. Nothing here knows what is searched. The network reads the tokens of a trace and answers the questions
//! of the space under its masks (`mutate`), so it evolves convolutional cells, benchmarks and tabular pipelines alike; there,
//! inserting a vertex and removing one are answers, too.
//!
//! - `controller`: the network, and its way back. `weights`: its numbers. `lstm`: what it reads with.
//! - `mutate`: a mutation as decisions of the controller.
//! - `learn`: rewards, policy gradient, Adam. `critic`: what `renas_plus` learns from every candidate, and by imagination.
//! - `evolve`: the population, and the strategy.
//! - `file`: controllers on disk, for transfer.
//!
//! Left open by the paper and chosen here: how many members a tournament has (`sample`); that a change never keeps the old answer;
//! that a child that was tried before is drawn anew. Earlier sources are answers like any other and share the head of the operators,
//! since the questions do not tell which is which. What the paper does around the search is the evaluator's: children that inherit
//! weights, and the final population trained from scratch.

mod controller;
mod critic;
mod evolve;
mod file;
mod learn;
mod lstm;
mod mutate;
#[cfg(test)]
mod tests;
mod weights;

use std::path::PathBuf;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::rand::SeedableRng;
use automl_core::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use automl_core::{Direction, Error, Mutation, Objective, Result, SearchSpace, Strategy, plugin};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use controller::Controller;
use evolve::{Running, Told};
use learn::{Learner, Learning};
use mutate::Mutator;
use weights::{Sizes, Weights};

pub use critic::Critic;
pub use learn::Reward;
pub use mutate::Changes;

/// Reinforced evolution as published: tournaments, with mutations from a controller that learns by policy gradient.
///
/// Random until `population` trials were told, however they ended. From then on each proposal is a mutation of the best of
/// `sample` members; when its outcome is told, the worst of that sample makes room. Failed, infeasible and pruned children do not
/// enter, and count as an accuracy of 0. Rewards expect an accuracy or an error as the objective; `renas_plus` takes any scale.
/// All seeds begin with the same controller. Sees the first objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Renas {
    /// Members of the population, and random trials at the start; default 20, as in the paper.
    pub population: usize,
    /// Members of a tournament; default 10. The paper does not say.
    pub sample: usize,
    /// Whether the oldest member makes room instead of the worst of the sample; default no.
    pub aging: bool,
    /// How much a mutation changes; default `every_block`, as in the paper.
    pub changes: Changes,
    /// Whether the controller reads from both ends; default yes, as in the paper.
    pub bidirectional: bool,
    /// Numbers of an embedding; default 100, as in the paper.
    pub embedding: usize,
    /// Units of the LSTM in each direction; default 100, as in the paper.
    pub hidden: usize,
    /// Step of Adam; default 0.001, as in the paper. 0: mutations stay random, the control of the paper.
    pub learning_rate: f64,
    /// Weight of the entropy in the reward; default 0.1, as in the paper.
    pub entropy: f64,
    /// Share of the full effort that a candidate gets, above 0 to 1; default 1.
    pub fidelity: f64,
    /// Trials after which the members of the population are evaluated once more with the full effort, the best first, and the search
    /// ends: the paper trains them from scratch and takes the best. Default none: it ends with the budget of the study.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<u64>,
    /// Whole mutations that the router can choose instead of a place. Default none.
    #[schemars(schema_with = "moves_schema")]
    pub moves: Vec<Arc<dyn Mutation>>,
    /// A controller that was saved before, to start from. Default none: random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<PathBuf>,
    /// Where to save the controller when the search ends. Default nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<PathBuf>,
}

impl Default for Renas {
    fn default() -> Self {
        Self {
            population: 20,
            sample: 10,
            aging: false,
            changes: Changes::EveryBlock,
            bidirectional: true,
            embedding: 100,
            hidden: 100,
            learning_rate: 1e-3,
            entropy: 0.1,
            fidelity: 1.0,
            finish: None,
            moves: Vec::new(),
            controller: None,
            save: None,
        }
    }
}

/// Reinforced evolution for any objective: a critic that takes the best of several mutations, a reward by improvement, a baseline,
/// aging, and mutations of one place.
///
/// As `renas`, with a reward that takes any scale of the objective and with advantages as against a moving baseline; on request,
/// with earlier mutations that are learnt from again. The controller is smaller, knows which question a token answers, and has a
/// critic: it learns from every candidate how good one can be expected to be. A loaded controller chooses among random
/// candidates from the first on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct RenasPlus {
    /// Members of the population, and random trials at the start; default 20.
    pub population: usize,
    /// Members of a tournament; default 10.
    pub sample: usize,
    /// Whether the oldest member makes room instead of the worst of the sample; default yes.
    pub aging: bool,
    /// Children without an improvement after which a new population begins, with `sample` random members and all that was learnt;
    /// default 20, which is how long the best lives. 0: never.
    pub patience: usize,
    /// How much a mutation changes; default `several = 0`: one place.
    pub changes: Changes,
    /// What a mutation is rewarded for; default `improvement`.
    pub reward: Reward,
    /// What is kept of the moving mean of rewards at each child, in [0, 1); default 0.95. 0: no baseline.
    pub baseline: f64,
    /// Whether advantages are divided by their deviation, and cut off at 3; default yes.
    pub normalise: bool,
    /// Earlier mutations that are learnt from again with each child; default 0: more did not help.
    pub replay: usize,
    /// Relative change of a mutation's probability from which it is not pushed further, default 0.2. 0: it always is.
    pub clip: f64,
    /// Whether each question has an embedding of its own beside that of the answer; default yes.
    pub questions: bool,
    /// Whether the controller reads from both ends; default yes.
    pub bidirectional: bool,
    /// Numbers of an embedding; default 24.
    pub embedding: usize,
    /// Units of the LSTM in each direction; default 24.
    pub hidden: usize,
    /// Standard deviation of the first weights; default 0.1.
    pub deviation: f64,
    /// Step of Adam; default 0.003. 0: nothing is learnt from rewards; without a critic, mutations stay random.
    pub learning_rate: f64,
    /// Weight of the entropy, which has a gradient of its own; default 0.01.
    pub entropy: f64,
    /// What the controller learns from all candidates. With `children = 1` and `lessons = 0` there is no critic.
    pub critic: Critic,
    /// Share of the full effort that a candidate gets, above 0 to 1; default 1.
    pub fidelity: f64,
    /// Trials after which the members of the population are evaluated once more with the full effort, the best first, and the search
    /// ends: the paper trains them from scratch and takes the best. Default none: it ends with the budget of the study.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<u64>,
    /// Whole mutations that the router can choose instead of a place. Default none.
    #[schemars(schema_with = "moves_schema")]
    pub moves: Vec<Arc<dyn Mutation>>,
    /// A controller that was saved before, to start from. Default none: random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<PathBuf>,
    /// Where to save the controller when the search ends. Default nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save: Option<PathBuf>,
}

impl Default for RenasPlus {
    fn default() -> Self {
        Self {
            population: 20,
            sample: 10,
            aging: true,
            patience: 20,
            changes: Changes::Several(0.0),
            reward: Reward::Improvement,
            baseline: 0.95,
            normalise: true,
            replay: 0,
            clip: 0.2,
            questions: true,
            bidirectional: true,
            embedding: 24,
            hidden: 24,
            deviation: 0.1,
            learning_rate: 3e-3,
            entropy: 0.01,
            critic: Critic::default(),
            fidelity: 1.0,
            finish: None,
            moves: Vec::new(),
            controller: None,
            save: None,
        }
    }
}

fn moves_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "object", "description": "A plugin of the kind `mutation`, by its `type`.", "required": ["type"] }
    })
}

plugin! {
    "renas",
    impl StrategyConfig for Renas {
        fn build(&self, space: Arc<dyn SearchSpace>, objectives: &[Objective]) -> Result<Box<dyn Strategy>> {
            // N(0, 0.01) in the paper: the second is read as the standard deviation.
            RenasPlus {
                population: self.population,
                sample: self.sample,
                aging: self.aging,
                patience: 0,
                changes: self.changes,
                reward: Reward::Figure,
                baseline: 0.0,
                normalise: false,
                replay: 0,
                clip: 0.0,
                questions: false,
                bidirectional: self.bidirectional,
                embedding: self.embedding,
                hidden: self.hidden,
                deviation: 0.01,
                learning_rate: self.learning_rate,
                entropy: self.entropy,
                critic: Critic::none(),
                fidelity: self.fidelity,
                finish: self.finish,
                moves: self.moves.clone(),
                controller: self.controller.clone(),
                save: self.save.clone(),
            }
            .running("renas", true, space, objectives)
        }
    }
}

plugin! {
    "renas_plus",
    impl StrategyConfig for RenasPlus {
        fn build(&self, space: Arc<dyn SearchSpace>, objectives: &[Objective]) -> Result<Box<dyn Strategy>> {
            self.running("renas_plus", false, space, objectives)
        }
    }
}

impl RenasPlus {
    fn check(&self) -> Result<()> {
        let sizes = [("population", self.population), ("sample", self.sample), ("hidden", self.hidden)];
        for (name, size) in sizes.into_iter().chain([("embedding", self.embedding)]) {
            if size == 0 || size > 10_000 {
                return Err(Error::config(format!("strategy.{name}"), "must lie between 1 and 10000"));
            }
        }
        let critic = &self.critic;
        let from_zero = |most: f64| move |x: f64| (0.0..most).contains(&x);
        let several = if let Changes::Several(more) = self.changes { more } else { 0.0 };
        let numbers = [
            ("changes.several", several, from_zero(1.0)(several), "at least 0 and below 1"),
            ("learning_rate", self.learning_rate, from_zero(1.0)(self.learning_rate), "at least 0 and below 1"),
            ("entropy", self.entropy, from_zero(100.0)(self.entropy), "at least 0 and below 100"),
            ("deviation", self.deviation, from_zero(10.0)(self.deviation), "at least 0 and below 10"),
            ("baseline", self.baseline, from_zero(1.0)(self.baseline), "at least 0 and below 1"),
            ("clip", self.clip, from_zero(100.0)(self.clip), "at least 0 and below 100"),
            ("replay", self.replay as f64, self.replay <= 1000, "at most 1000"),
            ("critic.explore", critic.explore, (0.0..=1.0).contains(&critic.explore), "between 0 and 1"),
            ("critic.rate", critic.rate, from_zero(1.0)(critic.rate), "at least 0 and below 1"),
            ("fidelity", self.fidelity, self.fidelity > 0.0 && self.fidelity <= 1.0, "above 0 and at most 1"),
        ];
        for (name, count, least, most) in [
            ("children", critic.children, 1, 10_000),
            ("lessons", critic.lessons, 0, 1000),
            ("batch", critic.batch, 1, 1000),
            ("imagined", critic.imagined, 0, 1000),
        ] {
            if count < least || count > most {
                return Err(Error::config(format!("strategy.critic.{name}"), format!("must lie between {least} and {most}")));
            }
        }
        if let Some((name, value, _, wanted)) = numbers.into_iter().find(|(_, _, fine, _)| !fine) {
            return Err(Error::config(format!("strategy.{name}"), format!("is {value}; it must be {wanted}")));
        }
        let folder = self.save.as_ref().and_then(|path| path.parent()).filter(|folder| !folder.as_os_str().is_empty());
        match folder.filter(|folder| !folder.is_dir()) {
            Some(folder) => {
                Err(Error::config("strategy.save", format!("there is no folder {}; make it first", folder.display())))
            }
            None => Ok(()),
        }
    }

    fn running(
        &self,
        name: &'static str,
        entropy_in_reward: bool,
        space: Arc<dyn SearchSpace>,
        objectives: &[Objective],
    ) -> Result<Box<dyn Strategy>> {
        self.check()?;
        let points = if self.questions { space.points().len() } else { 0 };
        let mutator = Mutator::new(space, self.moves.clone(), self.changes)?;
        let sizes = Sizes {
            tokens: mutator.vocabulary.size() as usize,
            points,
            pairs: if self.critic.is_on() { mutator.pairs } else { 0 },
            moves: self.moves.len(),
            embedding: self.embedding,
            hidden: self.hidden,
            bidirectional: self.bidirectional,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(StableHash::new("renas controller").finish());
        let weights = Weights::random(&sizes, self.deviation as f32, &mut rng);
        let mut controller = Controller { sizes, weights };
        if let Some(path) = &self.controller {
            file::load(path, &mut controller, &mutator)?;
        }
        let learning = Learning {
            reward: self.reward,
            rate: self.learning_rate,
            entropy: self.entropy,
            entropy_in_reward,
            baseline: Some(self.baseline).filter(|kept| *kept > 0.0),
            normalise: self.normalise,
            replay: self.replay,
            clip: Some(self.clip).filter(|clip| *clip > 0.0),
        };
        let direction = objectives.first().map_or(Direction::Minimize, |objective| objective.direction);
        let learner = Learner::new(controller, learning, direction);
        Ok(Box::new(Running {
            name,
            size: self.population,
            sample: self.sample,
            aging: self.aging,
            patience: Some(self.patience).filter(|patience| *patience > 0),
            mutator,
            learner,
            critic: Some(self.critic.clone()).filter(Critic::is_on),
            warm: self.controller.is_some(),
            fidelity: self.fidelity,
            finish: self.finish,
            save: self.save.clone(),
            told: Told::new(self.population),
        }))
    }
}
