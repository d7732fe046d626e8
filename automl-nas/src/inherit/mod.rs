//! Children that start from their parents' weights: the evaluator `inherit` (Chen et al., "Reinforced Evolutionary Neural Architecture
//! Search", CVPR 2019, section 3.4).
//!
//! A candidate without parents is trained as `train` does it. A child takes over the weights of all layers that its mutation left
//! alone; those that are new have ten times the learning rate, and one pass over the rows must do. Any strategy that names the
//! parents of its proposals can use it.
//!
//! **What is kept is a cache.** The weights of a trial follow from its candidate, its fidelity and its line of ancestors, which a
//! study can tell ([`EvalContext::ancestor`]); `keeper` has those of the last ones in memory, and of all in a folder where the config
//! names one. Where they are missing, after a resume without a folder, the ancestors are trained again, oldest first. So results
//! are the same for any number of workers and after any resume.

mod heritage;
mod keeper;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::schemars::JsonSchema;
use automl_core::{
    Ancestor, Cancel, Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Price, SearchSpace, Stop, plugin,
};
use serde::{Deserialize, Serialize};

use self::heritage::Heritage;
use self::keeper::Keeper;
use crate::cells::Renas;
use crate::images::{ImageData, Images, Normalizer, Rows, Split};
use crate::network::{Design, Numbers, Plan, plan};
use crate::tensor::{Cpu, Schedule, ScheduleShape};
use crate::train::{Classifier, Figures, Pools, Recipe, price};

/// Trains a candidate from the weights of its parents, where it has any.
///
/// Candidates are those of `train`. The objective is the accuracy on the validation rows after the training. The fidelity is the
/// share of the epochs, of those with parents and of those without.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Inherit {
    /// Images to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageData>,
    /// The network around the candidate's cells.
    pub network: Design,
    /// How a candidate without parents is trained; children are trained likewise but for what follows.
    pub recipe: Recipe,
    /// Passes over the training rows of a child; default 1.
    pub child_epochs: usize,
    /// Learning rate of the layers that a child inherits; default 0.001.
    pub child_rate: f64,
    /// The learning rate of its new layers, as a multiple of that; default 10.
    pub new_layers: f64,
    /// Folder for the weights of all trials, so that a resumed search finds them; default: none, and they are trained again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Networks whose weights stay in memory; default 64. A population should fit.
    pub keep: usize,
}

impl Default for Inherit {
    fn default() -> Self {
        Self {
            images: None,
            network: Design::default(),
            recipe: Recipe::default(),
            child_epochs: 1,
            child_rate: 0.001,
            new_layers: 10.0,
            folder: None,
            keep: 64,
        }
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

plugin! {
    "inherit",
    impl EvaluatorConfig for Inherit {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Problem> {
            Ok(Arc::new(InheritEvaluator::new(self, workers)?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Problem> {
            Ok(Some(Arc::new(Renas::default())))
        }
    }
}

/// The running half of [`Inherit`].
pub struct InheritEvaluator {
    config: Inherit,
    /// That of the recipe, for children.
    of_children: Recipe,
    training: Images,
    validation: Images,
    normalizer: Normalizer,
    /// A hash of all that weights depend on, beside candidate, fidelity, ancestors and seed.
    settings: u64,
    keeper: Keeper,
    pools: Pools,
}

/// A trial to be trained.
struct Line<'a> {
    genotype: &'a Genotype,
    fidelity: f64,
    /// Its parents with their weights.
    parents: Vec<(&'a Genotype, Arc<Numbers>)>,
}

/// What a training gave.
struct Trained {
    weights: Numbers,
    figures: Figures,
    loss: f64,
    /// Share of the parameters that were inherited.
    inherited: f64,
    epochs: usize,
}

impl InheritEvaluator {
    /// Reads the data; `workers` will evaluate at once.
    ///
    /// # Errors
    /// Bad settings or data.
    pub fn new(config: &Inherit, workers: usize) -> Result<Self, Problem> {
        let wrong = |place: &str, problem: String| Error::config(format!("evaluator.{place}"), problem);
        config.recipe.check("evaluator.recipe")?;
        if !(1..=100_000).contains(&config.child_epochs) {
            return Err(wrong("child_epochs", format!("is {}; it must be 1 to 100000", config.child_epochs)).into());
        }
        for (place, value, most) in [("child_rate", config.child_rate, 1e6), ("new_layers", config.new_layers, 1e6)] {
            if !(value > 0.0 && value <= most) {
                return Err(wrong(place, format!("is {value}; it must be above 0 and at most {most}")).into());
            }
        }
        let data = config.images.as_ref().ok_or_else(|| {
            Error::config("evaluator", "names no data; add `images = { folder = \"…\" }`, or `--set evaluator.images.folder=…`")
        })?;
        let Split { training, validation } = data.read()?;
        let validation =
            validation.ok_or_else(|| wrong("images.validation", "is 0; a search needs rows to validate on".into()))?;
        let rate = Schedule { shape: ScheduleShape::Constant {}, warm_up: 0.0 };
        let of_children =
            Recipe { epochs: config.child_epochs, learning_rate: config.child_rate, schedule: rate, ..config.recipe.clone() };
        // Where the weights lie, and how many stay in memory, changes none of them.
        let bare = Inherit { folder: None, keep: 0, ..config.clone() };
        let pixels = training
            .pixels
            .iter()
            .zip(1_u64..)
            .fold(0_u64, |sum, (pixel, at)| sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*pixel) ^ at));
        let settings = StableHash::new("inherit").text(&automl_core::serde_json::to_string(&bare)?).number(pixels);
        Ok(Self {
            of_children,
            normalizer: Normalizer::of(&training),
            training,
            validation,
            settings: settings.finish(),
            keeper: Keeper::new(config.keep, config.folder.clone())?,
            pools: Pools::new(workers)?,
            config: config.clone(),
        })
    }

    fn plan(&self, genotype: &Genotype) -> automl_core::Result<Plan> {
        let (images, auxiliary) = (&self.training, self.config.recipe.auxiliary > 0.0);
        plan(genotype, &self.config.network, images.shape, images.classes.len(), auxiliary)
    }

    /// A number for the weights of a trial: that of all they follow from.
    fn key(&self, genotype: &Genotype, fidelity: f64, parents: &[u64], seed: u64, keys: &BTreeMap<u64, u64>) -> u64 {
        let own =
            StableHash::new("weights").number(self.settings).number(seed).text(&genotype.to_string()).number(fidelity.to_bits());
        parents.iter().filter_map(|parent| keys.get(parent)).fold(own, |hash, key| hash.number(*key)).finish()
    }

    /// Trains a candidate from its parents' weights.
    fn train(&self, line: &Line<'_>, seed: u64, cancel: &Cancel) -> Result<Trained, Stop> {
        let plan = self.plan(line.genotype).map_err(|error| Stop::Infeasible(error.to_string()))?;
        let recipe = if line.parents.is_empty() { &self.config.recipe } else { &self.of_children };
        let epochs = recipe.epochs_at(line.fidelity);
        let heritage = Heritage::of(line.genotype, &line.parents);
        let parameters: Vec<String> = plan.parameters().iter().map(|parameter| parameter.name.clone()).collect();
        let mut classifier = Classifier::new(plan, Cpu::default(), recipe, epochs, seed)?;
        let weights = classifier.weights_mut();
        let taken: BTreeSet<String> =
            weights.inherit(&heritage.numbers).map_err(|error| Stop::Failed(error.to_string()))?.into_iter().collect();
        if !line.parents.is_empty() {
            for name in parameters.iter().filter(|name| !taken.contains(*name)) {
                if let Some(id) = weights.id(name) {
                    weights.params_mut().set_rate_factor(id, self.config.new_layers as f32);
                }
            }
        }
        let inherited = parameters.iter().filter(|name| taken.contains(*name)).count() as f64 / parameters.len().max(1) as f64;
        let (training, validation) = (Rows::new(&self.training, &self.normalizer), Rows::new(&self.validation, &self.normalizer));
        let mut loss = f64::NAN;
        while classifier.done() < epochs {
            loss = classifier.epoch(&training, cancel)?;
        }
        let figures = classifier.judge(&validation, cancel)?;
        Ok(Trained { weights: classifier.weights().export(), figures, loss, inherited, epochs })
    }

    /// The weights of all trials in `wanted`: kept ones, or trained again with what that takes. A trial that cannot be trained, such
    /// as one that failed, has none.
    fn weights_of(
        &self,
        wanted: &[u64],
        trials: &BTreeMap<u64, Ancestor>,
        keys: &BTreeMap<u64, u64>,
        (seed, cancel): (u64, &Cancel),
    ) -> Result<BTreeMap<u64, Arc<Numbers>>, Stop> {
        let (mut found, mut missing) = (BTreeMap::<u64, Arc<Numbers>>::new(), BTreeSet::new());
        let mut open = wanted.to_vec();
        while let Some(id) = open.pop() {
            let (Some(trial), Some(&key)) = (trials.get(&id), keys.get(&id)) else { continue };
            if found.contains_key(&id) || missing.contains(&id) {
                continue;
            }
            let bind = || self.plan(&trial.genotype).ok();
            if let Some(numbers) = self.keeper.get(key, bind) {
                found.insert(id, numbers);
            } else {
                missing.insert(id);
                open.extend(&trial.parents);
            }
        }
        // Parents have smaller numbers than their children.
        for id in missing {
            let (Some(trial), Some(&key)) = (trials.get(&id), keys.get(&id)) else { continue };
            let parents = Self::parents(&trial.parents, trials, &found);
            let line = Line { genotype: &trial.genotype, fidelity: trial.fidelity, parents };
            match self.pools.on(|| self.train(&line, seed, cancel)) {
                Ok(trained) => {
                    found.insert(id, self.keeper.put(key, trained.weights, || self.plan(&trial.genotype).ok()));
                }
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn parents<'a>(
        parents: &[u64],
        trials: &'a BTreeMap<u64, Ancestor>,
        found: &BTreeMap<u64, Arc<Numbers>>,
    ) -> Vec<(&'a Genotype, Arc<Numbers>)> {
        parents.iter().filter_map(|id| Some((&trials.get(id)?.genotype, found.get(id)?.clone()))).collect()
    }
}

/// All ancestors of a candidate.
fn ancestors(cx: &dyn EvalContext) -> BTreeMap<u64, Ancestor> {
    let mut trials = BTreeMap::new();
    let mut open = cx.parents().to_vec();
    while let Some(id) = open.pop() {
        if trials.contains_key(&id) {
            continue;
        }
        if let Some(trial) = cx.ancestor(id) {
            open.extend(&trial.parents);
            trials.insert(id, trial);
        }
    }
    trials
}

impl Evaluator for InheritEvaluator {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "accuracy".into(), direction: Direction::Maximize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let plan = self.plan(genotype).map_err(|error| Stop::Infeasible(error.to_string()))?;
        let (seed, cancel) = (cx.seed(), cx.cancel().clone());
        let trials = ancestors(&*cx);
        let mut keys = BTreeMap::new();
        for (id, trial) in &trials {
            keys.insert(*id, self.key(&trial.genotype, trial.fidelity, &trial.parents, seed, &keys));
        }
        let found = self.weights_of(cx.parents(), &trials, &keys, (seed, &cancel))?;
        let line = Line { genotype, fidelity: cx.fidelity(), parents: Self::parents(cx.parents(), &trials, &found) };
        let trained = self.pools.on(|| self.train(&line, seed, &cancel))?;
        let key = self.key(genotype, cx.fidelity(), cx.parents(), seed, &keys);
        self.keeper.put(key, trained.weights, || Some(plan.clone()));
        let size = plan.size();
        let metrics = [
            ("accuracy", trained.figures.accuracy),
            ("validation_loss", trained.figures.loss),
            ("training_loss", trained.loss),
            ("inherited", trained.inherited),
            ("epochs", trained.epochs as f64),
            ("parameters", size.parameters as f64),
            ("flops", size.flops as f64),
        ];
        let metrics = metrics.into_iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.to_owned(), value));
        Ok(Evaluation { losses: vec![0.0 - trained.figures.accuracy], metrics: metrics.collect(), artifact: None })
    }

    /// That of a candidate without parents: who descends from whom is not known here.
    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let recipe = &self.config.recipe;
        let epochs = recipe.epochs_at(fidelity).max(self.of_children.epochs_at(fidelity));
        Some(price(&self.plan(genotype).ok()?, [self.training.len(), self.validation.len()], epochs, recipe.batch_size))
    }
}

#[cfg(test)]
mod tests;
