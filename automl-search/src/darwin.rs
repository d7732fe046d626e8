//! DarwinML whole (Qi et al., arXiv 1901.08013): graphs by evolution, the hyperparameters of the best graphs by Bayesian
//! optimisation.
//!
//! What comes from where:
//! - **The paper** (read in its abstract and introduction alone): evolution of graphs with tournaments, mutation and heredity;
//!   Bayesian optimisation of the hyperparameters.
//! - **The vendor's manual**: optimisation follows evolution, on each of the best graphs by itself; the first sample is the
//!   defaults, then come 20 initial samples and as many guided ones.
//! - **Ours**: the two are interleaved, since a budget of time has no end that a strategy could know; what evolution tried of a
//!   graph counts among its samples; graphs so cheap that a guided proposal takes as long as a trial are left to mutation;
//!   several objectives are tuned in directions drawn at random (ParEGO).
//!
//! The evolution is [`GraphEvolution`] with all its plugins, the surrogates are those of [`Bayes`](crate::Bayes). On a space that
//! is no space of graphs, the whole of it is tuned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{
    Ask, Error, Genotype, GraphSpace, Objective, Origin, Proposal, Result, SearchSpace, Step, Strategy, Trial, plugin,
};
use serde::{Deserialize, Serialize};

use crate::bayes::{Model, Observation, Scope, Surrogate};
use crate::fresh::{Fresh, Told, learnt_loss, skeleton};
use crate::graph_evolution::GraphEvolution;
use crate::scalar::Scalar;
use crate::settings::{at_least_one, inside};

/// Evolution of graphs, with Bayesian optimisation of the hyperparameters of the best ones.
///
/// A share `tune` of the proposals tunes one of the best graphs: at its defaults, then at random until it has `initial`
/// samples, then where the surrogate expects the greatest improvement. All others come from `evolution`, and so do those whose
/// graph is expected to take less than 50 ms: a guided proposal would take as long itself. The origin of a tuned trial is `tune`.
/// With several objectives each of these proposals weighs them anew, at random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Darwin {
    /// The evolution, with the settings of `graph_evolution`.
    pub evolution: GraphEvolution,
    /// Share of proposals that tune a graph; 0: evolution alone. Default 0.2.
    pub tune: f64,
    /// How many of the best graphs are tuned; default 3.
    pub graphs: usize,
    /// Samples of a graph before the surrogate guides, those of evolution included; default 10.
    pub initial: usize,
    /// What predicts the loss: `forest` (default), `gaussian_process` or `both`.
    pub surrogate: Surrogate,
}

impl Default for Darwin {
    fn default() -> Self {
        Self { evolution: GraphEvolution::default(), tune: 0.2, graphs: 3, initial: 10, surrogate: Surrogate::Forest }
    }
}

/// Random candidates that a surrogate is asked about, before it climbs from the best.
const DRAWS: usize = 60;
/// Samples that a surrogate learns from: the latest.
const SAMPLES: usize = 200;
/// Trials told after which what will hardly be tuned any more is forgotten: an hour on a small table tells hundreds of thousands.
const CLEAN: usize = 2_000;
/// Graphs that are remembered then, the best.
const REMEMBERED: usize = 30;
/// Expected seconds of a trial below which a guided proposal is not worth its own time.
const CHEAP: f64 = 0.05;

plugin! {
    "darwin",
    impl StrategyConfig for Darwin {
        fn build(&self, space: Arc<dyn SearchSpace>, objectives: &[Objective]) -> Result<Box<dyn Strategy>> {
            if !(0.0..=1.0).contains(&self.tune) {
                return Err(Error::config("strategy.tune", "is a share, 0 to 1"));
            }
            at_least_one(&[("graphs", self.graphs), ("initial", self.initial)])?;
            let evolution = self.evolution.build(space.clone(), objectives).map_err(|error| inside("evolution", error))?;
            let mut free = vec![space.graph().is_none(); space.points().len()];
            for point in space.graph().into_iter().flat_map(GraphSpace::parameters) {
                free[point] = true;
            }
            let (config, told) = (self.clone(), Told::new(space));
            Ok(Box::new(Running { config, evolution, told, free, trials: BTreeMap::new(), next: 0, graphs: BTreeMap::new() }))
        }
    }
}

struct Running {
    config: Darwin,
    evolution: Box<dyn Strategy>,
    told: Told,
    /// By point, whether it is a hyperparameter.
    free: Vec<bool>,
    /// What was told at full fidelity and is remembered, by a number that is never used again.
    trials: BTreeMap<usize, Sample>,
    next: usize,
    /// The graphs among these.
    graphs: BTreeMap<u64, Graph>,
}

struct Sample {
    id: u64,
    hash: u64,
    genotype: Genotype,
    /// As a model learns it, where there is one objective.
    loss: f64,
    /// All of a complete one.
    losses: Vec<f64>,
    complete: bool,
}

/// What is known of a graph without its hyperparameters.
struct Graph {
    /// Its samples, as places in the trials.
    samples: Vec<usize>,
    /// The loss of the best.
    best: f64,
    /// The place of the best.
    at: usize,
}

impl Running {
    /// A proposal that tunes one of the best graphs; none where there is nothing to tune, or nothing new.
    fn tune(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Option<Proposal>> {
        let complete = self.trials.values().filter(|sample| sample.complete);
        let scalar = Scalar::draw(complete.map(|sample| sample.losses.as_slice()), rng);
        let loss = |sample: &Sample| match &scalar {
            Some(scalar) if sample.complete => scalar.loss(&sample.losses),
            Some(_) => f64::INFINITY,
            None => sample.loss,
        };
        let known = self.graphs.values().filter(|graph| graph.best.is_finite());
        let mut best: Vec<(f64, usize, &Graph)> = match &scalar {
            None => known.map(|graph| (graph.best, graph.at, graph)).collect(),
            Some(_) => known.map(|graph| self.champion(graph, &loss)).collect(),
        };
        best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.truncate(self.config.graphs);
        let Some(&(_, at, graph)) = best.get(rng.random_range(0..best.len().max(1))) else { return Ok(None) };
        let champion = &self.trials[&at];
        let space = self.told.space.as_ref();
        let base = space.trace(&champion.genotype)?;
        let is_cheap = ask.prices.price(&champion.genotype, 1.0).is_some_and(|price| price.seconds < CHEAP);
        if is_cheap || !base.iter().any(|step| self.is_free(step.point)) {
            return Ok(None);
        }
        let fresh = self.told.fresh(ask);
        let found = match self.at_defaults(&champion.genotype).filter(|genotype| fresh.is(genotype)) {
            Some(defaults) => Some(defaults),
            None => self.guided(graph, at, &loss, &base, ask, &fresh, rng)?,
        };
        let origin = Origin { by: "tune".into(), parents: vec![champion.id], note: None };
        Ok(found.map(|genotype| Proposal::new(genotype, origin)))
    }

    /// The best loss of a graph, and the place of its sample.
    fn champion<'a>(&self, graph: &'a Graph, loss: &dyn Fn(&Sample) -> f64) -> (f64, usize, &'a Graph) {
        let losses = graph.samples.iter().map(|&at| (loss(&self.trials[&at]), at));
        let (best, at) = losses.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((graph.best, graph.at));
        (best, at, graph)
    }

    /// The candidate of the graph from which the surrogate expects most; a random one while it has few samples.
    #[expect(clippy::too_many_arguments, reason = "what a surrogate learns from, and what its proposal must respect")]
    fn guided(
        &self,
        graph: &Graph,
        champion: usize,
        loss: &dyn Fn(&Sample) -> f64,
        base: &[Step],
        ask: &Ask<'_>,
        fresh: &Fresh<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Option<Genotype>> {
        let space = self.told.space.as_ref();
        let free = |point: usize| self.is_free(point);
        let scope = Scope { space, free: &free, base };
        let skip = graph.samples.len().saturating_sub(SAMPLES);
        // The best sample is always among them.
        let used = graph.samples.iter().copied().enumerate().filter(|(rank, at)| *rank >= skip || *at == champion);
        let mut observations = Vec::new();
        for sample in used.filter_map(|(_, at)| self.trials.get(&at)) {
            let trace = space.trace(&sample.genotype)?;
            observations.push(Observation { id: sample.id, trace, loss: loss(sample), complete: sample.complete });
        }
        let own = skeleton(&self.trials[&champion].genotype);
        let kin = ask.pending.iter().filter(|pending| skeleton(&pending.genotype) == own);
        let pending = kin.map(|pending| space.trace(&pending.genotype)).collect::<Result<Vec<_>>>()?;
        if observations.len() >= self.config.initial
            && let Some(model) = Model::fit(self.config.surrogate, scope, &observations, &pending, rng)
        {
            let found = model.suggest(scope, &observations, DRAWS, &|genotype| fresh.is(genotype), rng)?;
            return Ok(found.map(|found| found.genotype));
        }
        scope.draw(rng).map(|genotype| Some(genotype).filter(|genotype| fresh.is(genotype)))
    }

    /// Keeps the best graphs with their latest samples and their best.
    fn clean(&mut self) {
        let mut ranked: Vec<(f64, usize, u64)> =
            self.graphs.iter().map(|(&skeleton, graph)| (graph.best, graph.at, skeleton)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for &(.., skeleton) in ranked.iter().skip(REMEMBERED) {
            self.graphs.remove(&skeleton);
        }
        for graph in self.graphs.values_mut() {
            let skip = graph.samples.len().saturating_sub(SAMPLES);
            let at = graph.at;
            let mut rank = 0;
            graph.samples.retain(|&sample| {
                rank += 1;
                rank > skip || sample == at
            });
        }
        let kept: BTreeSet<usize> = self.graphs.values().flat_map(|graph| graph.samples.iter().copied()).collect();
        self.trials.retain(|at, _| kept.contains(at));
    }

    fn is_free(&self, point: usize) -> bool {
        self.free.get(point).copied().unwrap_or(false)
    }

    /// The graph with every operator at its defaults; none where the space is no space of graphs.
    fn at_defaults(&self, genotype: &Genotype) -> Option<Genotype> {
        let graph = self.told.space.graph()?;
        let mut genotype = genotype.clone();
        for node in genotype.nodes.iter_mut().filter(|node| !node.inputs.is_empty()) {
            node.params = graph.defaults(&node.op);
        }
        self.told.space.trace(&genotype).is_ok().then_some(genotype)
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if self.config.tune > 0.0
            && self.told.trials >= self.config.evolution.initial
            && rng.random::<f64>() < self.config.tune
            && let Some(tuned) = self.tune(ask, rng)?
        {
            return Ok(vec![tuned]);
        }
        self.evolution.ask(ask, rng)
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.evolution.tell(trial)?;
        let hash = self.told.tell(trial);
        if trial.fidelity != 1.0 || trial.duplicate_of.is_some() {
            return Ok(());
        }
        let at = self.next;
        self.next += 1;
        let graph =
            self.graphs.entry(skeleton(&trial.genotype)).or_insert(Graph { samples: Vec::new(), best: f64::INFINITY, at });
        // Evaluated again, with more effort: the last word counts.
        graph.samples.retain(|&sample| self.trials[&sample].hash != hash);
        let loss = learnt_loss(trial, graph.best);
        let losses = trial.losses().unwrap_or_default().to_vec();
        let complete = trial.loss().is_some();
        self.trials.insert(at, Sample { id: trial.id, hash, genotype: trial.genotype.clone(), loss, losses, complete });
        graph.samples.push(at);
        let complete = graph.samples.iter().copied().filter(|sample| self.trials[sample].complete);
        let best = complete.min_by(|a, b| self.trials[a].loss.total_cmp(&self.trials[b].loss));
        (graph.best, graph.at) = best.map_or((f64::INFINITY, at), |best| (self.trials[&best].loss, best));
        // With several objectives, any sample may be the best in the next direction.
        if self.next.is_multiple_of(CLEAN) && losses_of_one(&self.trials) {
            self.clean();
        }
        Ok(())
    }
}

/// Whether there is one objective, as far as is known.
fn losses_of_one(trials: &BTreeMap<usize, Sample>) -> bool {
    trials.values().all(|sample| sample.losses.len() <= 1)
}

#[cfg(test)]
mod tests {
    use automl_core::StrategyConfig;

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_area, mean_best, pool_space};

    #[test]
    fn beats_random_search() {
        let (darwin, random) = (mean_best(&Darwin::default()), mean_best(&Random {}));
        assert!(darwin < 0.8 * random, "{darwin} {random}");
    }

    #[test]
    fn several_objectives_give_a_wider_front_than_random_search() {
        let (darwin, random) = (mean_area(&Darwin::default()), mean_area(&Random {}));
        assert!(darwin > 1.1 * random, "{darwin} {random}");
    }

    #[test]
    fn tunes_the_best_graphs_from_their_defaults_on_and_changes_nothing_else() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let config = Darwin { tune: 0.4, graphs: 2, ..Darwin::default() };
        let trials = Run::new(&config, &space, 3).trials(200, |genotype| Some(distance(genotype)));
        let tuned: Vec<&Trial> = trials.iter().filter(|trial| trial.origin.by == "tune").collect();
        assert!((35..=80).contains(&tuned.len()), "{}", tuned.len());
        for trial in &tuned {
            let parent = &trials[trial.origin.parents[0] as usize];
            assert_eq!(skeleton(&trial.genotype), skeleton(&parent.genotype));
            assert_ne!(trial.genotype, parent.genotype);
        }
        assert!(trials.iter().any(|trial| trial.origin.by == "heredity_layer"));
    }

    #[test]
    fn a_long_search_remembers_the_best_graphs_alone() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let free = vec![true; space.points().len()];
        let config = Darwin::default();
        let evolution = config.evolution.build(space.clone(), &[]).unwrap();
        let told = Told::new(space.clone());
        let mut running = Running { config, evolution, told, free, trials: BTreeMap::new(), next: 0, graphs: BTreeMap::new() };
        let mut rng = <rand_chacha::ChaCha8Rng as automl_core::rand::SeedableRng>::seed_from_u64(1);
        let mut best = f64::INFINITY;
        for id in 0..CLEAN as u64 {
            let genotype = automl_core::space::sample(space.as_ref(), &mut rng).unwrap();
            let loss = distance(&genotype);
            best = best.min(loss);
            running.tell(&Trial::told(id, Proposal::new(genotype, Origin::by("random")), Some(vec![loss]))).unwrap();
        }
        assert!(running.graphs.len() <= REMEMBERED && running.trials.len() <= REMEMBERED * (SAMPLES + 1));
        assert!(running.graphs.values().any(|graph| graph.best == best && running.trials[&graph.at].loss == best));
        let ask = Ask::alone(CLEAN as u64, &[]);
        assert!(running.ask(&ask, &mut rng).is_ok());
    }

    #[test]
    fn without_tuning_it_is_its_evolution() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let run = |config: &dyn StrategyConfig| Run::new(config, &space, 4).trials(60, |genotype| Some(distance(genotype)));
        let same = |trials: Vec<Trial>| trials.into_iter().map(|trial| trial.genotype.to_string()).collect::<Vec<_>>();
        let darwin = Darwin { tune: 0.0, ..Darwin::default() };
        assert_eq!(same(run(&darwin)), same(run(&GraphEvolution::default())));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let evolution = GraphEvolution { population: 0, ..GraphEvolution::default() };
        for bad in [
            Darwin { tune: 1.5, ..Darwin::default() },
            Darwin { graphs: 0, ..Darwin::default() },
            Darwin { evolution, ..Darwin::default() },
        ] {
            assert!(bad.build(space.clone(), &[]).is_err(), "{bad:?}");
        }
        let evolution = GraphEvolution { tournament: 0, ..GraphEvolution::default() };
        let error = Darwin { evolution, ..Darwin::default() }.build(space, &[]).err().unwrap();
        assert!(error.to_string().contains("strategy.evolution.tournament"), "{error}");
    }
}
