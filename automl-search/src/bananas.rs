//! A predictor over the paths of a graph: White, Neiswanger and Savani, "BANANAS: Bayesian Optimization with Neural Architectures
//! for Neural Architecture Search", AAAI 2021.
//!
//! From the paper: the path encoding, an ensemble that tells how sure it is, independent Thompson sampling, and mutations of the
//! best candidates as what is chosen from. Ours: the ensemble is the random forest of [`crate::bayes`], which takes milliseconds
//! where five networks take a minute, and it sees the answers of the trace beside the paths, so that any space is served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::rand::Rng;
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trace, Trial, plugin};
use serde::{Deserialize, Serialize};

use crate::bayes::{Column, Data, Ensemble, Questions, Surrogate, targets};
use crate::credit::Credit;
use crate::fresh::{Told, learnt_loss};
use crate::mix::{Mix, Weighted};
use crate::mutations::step::gaussian;
use crate::settings::at_least_one;

/// After BANANAS: an ensemble predicts the loss from the paths and answers of a candidate and chooses among mutants of the best.
///
/// Random until `initial` trials were told; then the ensemble is fitted, `candidates` mutants of the best `parents` are made, a
/// loss is drawn for each as the ensemble is sure of it, and the `batch` best draws are proposed. Failed and infeasible trials
/// count as the worst that was seen. Trials at less than full fidelity are not learnt from. Sees the first objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Bananas {
    /// Random trials at the start; default 10, as in the paper.
    pub initial: usize,
    /// Proposals between two fits; default 10, as in the paper.
    pub batch: usize,
    /// Mutants that the ensemble is asked about; default 100, as in the paper.
    pub candidates: usize,
    /// Best candidates that are mutated; default 10.
    pub parents: usize,
    /// Mutations with their weights. Default: on graphs a mix of the graph mutations, elsewhere `mutation_point`.
    pub mutations: Vec<Weighted>,
}

impl Default for Bananas {
    fn default() -> Self {
        Self { initial: 10, batch: 10, candidates: 100, parents: 10, mutations: Vec::new() }
    }
}

const NAME: &str = "bananas";
/// Paths that are columns, the most frequent first.
const PATHS: usize = 50;
/// Paths of one candidate that are followed.
const FOLLOWED: usize = 256;

plugin! {
    "bananas",
    impl StrategyConfig for Bananas {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            let (initial, batch) = (("initial", self.initial), ("batch", self.batch));
            at_least_one(&[initial, batch, ("candidates", self.candidates), ("parents", self.parents)])?;
            let mix = Mix::new(&self.mutations, space.as_ref())?;
            Ok(Box::new(Running { config: self.clone(), mix, told: Told::new(space), seen: Vec::new() }))
        }
    }
}

struct Running {
    config: Bananas,
    mix: Mix,
    told: Told,
    seen: Vec<Seen>,
}

/// A candidate with its outcome.
struct Seen {
    id: u64,
    genotype: Genotype,
    trace: Trace,
    paths: BTreeSet<u64>,
    /// Infinite where there is none.
    loss: f64,
}

/// The operators along each way from a source to the output, as a hash each.
fn paths(genotype: &Genotype) -> BTreeSet<u64> {
    let mut at: Vec<BTreeSet<u64>> = Vec::with_capacity(genotype.nodes.len());
    for node in &genotype.nodes {
        let start = StableHash::new("path");
        let before = node.inputs.iter().filter_map(|&input| at.get(input)).flatten();
        let mut own: BTreeSet<u64> = before.take(FOLLOWED).map(|&path| start.number(path).text(&node.op).finish()).collect();
        if node.inputs.is_empty() {
            own.insert(start.text(&node.op).finish());
        }
        at.push(own);
    }
    at.pop().unwrap_or_default()
}

/// What the ensemble sees of a candidate.
struct Features {
    questions: Questions,
    paths: Vec<u64>,
}

impl Features {
    fn of(space: &dyn SearchSpace, seen: &[Seen]) -> Self {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for &path in seen.iter().flat_map(|seen| &seen.paths) {
            *counts.entry(path).or_default() += 1;
        }
        // A path that all or only one of them have tells nothing.
        let mut common: Vec<(usize, u64)> = counts
            .into_iter()
            .filter(|(_, count)| *count > 1 && *count < seen.len())
            .map(|(path, count)| (count, path))
            .collect();
        common.sort_unstable_by(|a, b| b.cmp(a));
        let paths = common.into_iter().take(PATHS).map(|(_, path)| path).collect();
        Self { questions: Questions::of(space.points(), seen.iter().map(|seen| &seen.trace), &|_| true), paths }
    }

    fn columns(&self) -> Vec<Column> {
        self.questions.columns.iter().copied().chain(self.paths.iter().map(|_| Column::Options(2))).collect()
    }

    fn row(&self, space: &dyn SearchSpace, trace: &Trace, paths: &BTreeSet<u64>) -> Vec<f64> {
        let mut row = self.questions.row(space.points(), trace);
        row.extend(self.paths.iter().map(|path| f64::from(u8::from(paths.contains(path)))));
        row
    }
}

impl Running {
    /// The best distinct candidates.
    fn parents(&self) -> Vec<&Seen> {
        let mut best: Vec<&Seen> = self.seen.iter().filter(|seen| seen.loss.is_finite()).collect();
        best.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        best.truncate(self.config.parents);
        best
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        let space = self.told.space.as_ref();
        let losses: Vec<f64> = self.seen.iter().map(|seen| seen.loss).collect();
        let targets = if self.told.trials < self.config.initial { None } else { targets(&losses) };
        let (Some(targets), parents) = (targets, self.parents()) else { return Ok(vec![fresh.random(rng)?]) };
        let features = Features::of(space, &self.seen);
        let rows = self.seen.iter().map(|seen| features.row(space, &seen.trace, &seen.paths)).collect();
        let forest = Ensemble::fit(Surrogate::Forest, &Data { columns: features.columns(), rows, targets }, rng);
        let mut made = BTreeSet::new();
        let mut drawn: Vec<(f64, Proposal)> = Vec::with_capacity(self.config.candidates);
        for parent in parents.iter().cycle().take(self.config.candidates) {
            let Some((child, by)) = self.mix.mutate(&parent.genotype, &Credit::default(), space, rng)? else { continue };
            if !fresh.is(&child) || !made.insert(space.canonical_hash(&child)) {
                continue;
            }
            let (mean, variance) = forest.predict(&features.row(space, &space.trace(&child)?, &paths(&child)));
            let origin = Origin { by: format!("{NAME}/{by}"), parents: vec![parent.id], note: None };
            drawn.push((mean + variance.sqrt() * gaussian(rng), Proposal::new(child, origin)));
        }
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best: Vec<Proposal> = drawn.into_iter().take(self.config.batch).map(|(_, proposal)| proposal).collect();
        if best.is_empty() { Ok(vec![fresh.random(rng)?]) } else { Ok(best) }
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.told.tell(trial);
        if trial.fidelity == 1.0 && trial.duplicate_of.is_none() {
            let trace = self.told.space.trace(&trial.genotype)?;
            // Evaluated again, with more effort: the last word counts.
            self.seen.retain(|seen| seen.trace != trace);
            let best = self.seen.iter().map(|seen| seen.loss).fold(f64::INFINITY, f64::min);
            let (genotype, paths) = (trial.genotype.clone(), paths(&trial.genotype));
            self.seen.push(Seen { id: trial.id, genotype, trace, paths, loss: learnt_loss(trial, best) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use automl_core::{GraphSpace, Node, StrategyConfig};

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_best_of, pool_space, tiny};

    #[test]
    fn beats_random_search() {
        let mean = |config: &dyn StrategyConfig| mean_best_of(config, pool_space(), distance, 80, 4);
        let (own, random) = (mean(&Bananas::default()), mean(&Random {}));
        assert!(own < 0.9 * random, "{own} {random}");
    }

    #[test]
    fn a_path_is_its_operators_whatever_the_order_of_nodes() {
        let node = |op: &str, inputs: &[usize]| Node::new(op, inputs);
        let one = Genotype { nodes: vec![node("x", &[]), node("a", &[0]), node("b", &[0]), node("c", &[1, 2])] };
        let other = Genotype { nodes: vec![node("x", &[]), node("b", &[0]), node("a", &[0]), node("c", &[1, 2])] };
        let skip = Genotype { nodes: vec![node("x", &[]), node("a", &[0]), node("b", &[0]), node("c", &[0, 1, 2])] };
        assert_eq!(paths(&one), paths(&other));
        assert_eq!((paths(&one).len(), paths(&skip).len()), (2, 3));
        assert!(paths(&one).is_subset(&paths(&skip)));
    }

    #[test]
    fn proposes_batches_of_new_mutants_of_the_best() {
        let space: Arc<dyn SearchSpace> = Arc::new(GraphSpace::default());
        let loss = |genotype: &Genotype| genotype.nodes.iter().filter(|node| node.op != "conv_3x3").count() as f64;
        let trials = Run::new(&Bananas { batch: 1, ..Bananas::default() }, &space, 1).trials(60, |genotype| Some(loss(genotype)));
        assert!(trials.iter().all(|trial| trial.origin.by.starts_with(NAME) == (trial.id >= 10)));
        let hashes: BTreeSet<u64> = trials[10..].iter().map(|trial| space.canonical_hash(&trial.genotype)).collect();
        assert_eq!(hashes.len(), 50);
    }

    #[test]
    fn failures_are_survived() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        assert_eq!(Run::new(&Bananas::default(), &space, 4).trials(25, |_| None).len(), 25);
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then(|| distance(genotype));
        let trials = Run::new(&Bananas::default(), &space, 3).trials(100, odd);
        let good = trials[50..].iter().filter(|trial| trial.loss().is_some()).count();
        assert!(good > 30, "{good} of 50");
        let tiny: Arc<dyn SearchSpace> = Arc::new(tiny());
        assert_eq!(Run::new(&Bananas { initial: 1, ..Bananas::default() }, &tiny, 1).trials(5, |_| Some(0.0)).len(), 5);
    }
}
