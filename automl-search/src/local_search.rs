//! Local search: White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021, which found it
//! hard to beat on the tabular benchmarks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Serialize};

use crate::fresh::Told;
use crate::neighbours::neighbours;

/// Climbs from a random candidate: evaluates all that answer one question differently, in random order, and moves to the best.
///
/// At an optimum it starts again from a random candidate. What was evaluated before is not evaluated again; failed, infeasible
/// and pruned candidates are never moved to. Proposals made while the last neighbours are still pending are random. Sees the
/// first objective alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct LocalSearch {}

const NAME: &str = "local_search";

plugin! {
    "local_search",
    impl StrategyConfig for LocalSearch {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            Ok(Box::new(Running { told: Told::new(space), outcomes: BTreeMap::new(), centre: None }))
        }
    }
}

struct Running {
    told: Told,
    /// Loss and trial of every candidate that was told, by its hash; infinite where it has no loss.
    outcomes: BTreeMap<u64, (f64, u64)>,
    centre: Option<Centre>,
}

/// Where the climb stands.
struct Centre {
    loss: f64,
    trial: u64,
    neighbours: Vec<(u64, Genotype)>,
}

impl Running {
    fn climb_from(&self, genotype: &Genotype, (loss, trial): (f64, u64)) -> Result<Option<Centre>> {
        let neighbours = neighbours(self.told.space.as_ref(), genotype)?;
        Ok(Some(Centre { loss, trial, neighbours }))
    }

    /// Moves on while all neighbours of the centre are known.
    fn climb(&mut self) -> Result<()> {
        while let Some(centre) = &self.centre {
            let known: Option<Vec<(f64, u64, &Genotype)>> = centre
                .neighbours
                .iter()
                .map(|(hash, neighbour)| self.outcomes.get(hash).map(|&(loss, trial)| (loss, trial, neighbour)))
                .collect();
            let Some(known) = known else { break };
            let best = known.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(loss, ..)| *loss < centre.loss);
            self.centre = match best {
                Some((loss, trial, neighbour)) => self.climb_from(&neighbour.clone(), (loss, trial))?,
                None => None,
            };
        }
        Ok(())
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if let Some(centre) = &self.centre {
            let space = &self.told.space;
            let pending: BTreeSet<u64> = ask.pending.iter().map(|proposal| space.canonical_hash(&proposal.genotype)).collect();
            let open: Vec<&Genotype> = centre
                .neighbours
                .iter()
                .filter(|(hash, _)| !self.outcomes.contains_key(hash) && !pending.contains(hash))
                .map(|(_, neighbour)| neighbour)
                .collect();
            if !open.is_empty()
                && let Some(neighbour) = open.get(rng.random_range(0..open.len()))
            {
                let origin = Origin { by: NAME.to_owned(), parents: vec![centre.trial], note: None };
                return Ok(vec![Proposal::new((*neighbour).clone(), origin)]);
            }
        }
        Ok(vec![self.told.fresh(ask).random(rng)?])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.told.tell(trial);
        let loss = trial.full_loss().unwrap_or(f64::INFINITY);
        self.outcomes.insert(hash, (loss, trial.id));
        // A late neighbour of an optimum is no new start.
        if self.centre.is_none() && loss.is_finite() && trial.origin.by != NAME {
            self.centre = self.climb_from(&trial.genotype, (loss, trial.id))?;
        }
        self.climb()
    }
}

#[cfg(test)]
mod tests {
    use automl_core::{GraphSpace, StrategyConfig};

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_best_of, pool_space, tiny};

    #[test]
    fn beats_random_search_on_cells() {
        let worse = |genotype: &Genotype| 6.0 - genotype.nodes.iter().filter(|node| node.op == "conv_3x3").count() as f64;
        let mean = |config: &dyn StrategyConfig| mean_best_of(config, GraphSpace::default(), worse, 250, 8);
        let (local, random) = (mean(&LocalSearch {}), mean(&Random {}));
        assert!(local < random, "{local} {random}");
    }

    #[test]
    fn moves_to_the_best_of_all_neighbours_and_starts_again_at_an_optimum() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let trials = Run::new(&LocalSearch {}, &space, 2).trials(400, |genotype| Some(distance(genotype)));
        let loss = |trial: &Trial| trial.losses[0];
        let mut starts = 0;
        for (index, trial) in trials.iter().enumerate() {
            let Some(&parent) = trial.origin.parents.first() else {
                starts += 1;
                continue;
            };
            // Whoever comes after with another parent was found among the neighbours of the one before.
            let before = &trials[index - 1];
            if let Some(&last) = before.origin.parents.first()
                && last != parent
            {
                assert!(loss(&trials[parent as usize]) < loss(&trials[last as usize]));
            }
        }
        assert!((2..100).contains(&starts), "{starts} starts");
    }

    #[test]
    fn a_small_space_is_seen_whole_and_failures_are_survived() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let trials = Run::new(&LocalSearch {}, &space, 1).trials(3, |_| Some(0.0));
        let seen: BTreeSet<String> = trials.iter().map(|trial| trial.genotype.to_string()).collect();
        assert_eq!(seen.len(), 3);
        let trials = Run::new(&LocalSearch {}, &space, 1).trials(20, |_| None);
        assert!(trials.iter().all(|trial| trial.origin.by == "random"));
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then(|| distance(genotype));
        let trials = Run::new(&LocalSearch {}, &space, 3).trials(200, odd);
        let failed = |id: &u64| trials[*id as usize].loss().is_none();
        assert!(!trials.iter().flat_map(|trial| &trial.origin.parents).any(failed));
    }
}
