//! Regularized (aging) evolution: Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture
//! Search", AAAI 2019.
//!
//! The population is a queue: who comes in pushes the oldest out, however good it is, so a candidate lives on only through
//! children that do well again. Steady state as in the paper; with outcomes in flight the parent is the best of those told.

use std::collections::VecDeque;
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, pareto, plugin};
use serde::{Deserialize, Serialize};

use crate::credit::Credit;
use crate::fresh::Told;
use crate::mix::{Mix, Weighted};
use crate::settings::at_least_one;

/// Aging evolution: mutates the best of a random sample of the latest candidates.
///
/// Random until `population` trials were told, however they ended; failed, infeasible and pruned ones do not enter the
/// population. From then on each proposal is one mutation of the best of `sample` members drawn with replacement. A child that
/// was tried before is made anew, up to 10 times (the paper does not avoid duplicates). With several objectives the best of a
/// sample is the first in the order of NSGA-II.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct RegularizedEvolution {
    /// Members of the population, and random trials at the start; default 100, as in the paper.
    pub population: usize,
    /// Members drawn for one parent; default 25, as in the paper.
    pub sample: usize,
    /// Mutations with their weights. Default: on graphs a mix of the graph mutations, elsewhere `mutation_point`.
    pub mutations: Vec<Weighted>,
}

impl Default for RegularizedEvolution {
    fn default() -> Self {
        Self { population: 100, sample: 25, mutations: Vec::new() }
    }
}

/// Children that are made until one is new.
const TRIES: usize = 10;

plugin! {
    "regularized_evolution",
    impl StrategyConfig for RegularizedEvolution {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            at_least_one(&[("population", self.population), ("sample", self.sample)])?;
            let mix = Mix::new(&self.mutations, space.as_ref())?;
            let (size, sample) = (self.population, self.sample);
            Ok(Box::new(Running { mix, size, sample, told: Told::new(space), population: VecDeque::new() }))
        }
    }
}

struct Running {
    mix: Mix,
    size: usize,
    sample: usize,
    told: Told,
    population: VecDeque<Member>,
}

struct Member {
    id: u64,
    losses: Vec<f64>,
    genotype: Genotype,
}

impl Running {
    /// The best of a sample; the first of equals.
    fn parent(&self, rng: &mut dyn Rng) -> Option<&Member> {
        let draws = (0..self.sample).filter_map(|_| {
            let index = rng.random_range(0..self.population.len().max(1));
            self.population.get(index)
        });
        let drawn: Vec<&Member> = draws.collect();
        let losses: Vec<&[f64]> = drawn.iter().map(|member| member.losses.as_slice()).collect();
        pareto::order(&losses).first().and_then(|&best| drawn.get(best)).copied()
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        let mut last = None;
        if self.told.trials >= self.size {
            for _ in 0..TRIES {
                let Some(parent) = self.parent(rng) else { break };
                let space = self.told.space.as_ref();
                let Some((child, by)) = self.mix.mutate(&parent.genotype, &Credit::default(), space, rng)? else { continue };
                let new = fresh.is(&child);
                last = Some(Proposal::new(child, Origin { by: by.to_owned(), parents: vec![parent.id], note: None }));
                if new {
                    break;
                }
            }
        }
        Ok(vec![match last {
            Some(proposal) => proposal,
            None => fresh.random(rng)?,
        }])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.told.tell(trial);
        if let Some(losses) = trial.losses() {
            self.population.push_back(Member { id: trial.id, losses: losses.to_vec(), genotype: trial.genotype.clone() });
            if self.population.len() > self.size {
                self.population.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_area, mean_best, pool_space};

    fn small() -> RegularizedEvolution {
        RegularizedEvolution { population: 30, sample: 10, mutations: Vec::new() }
    }

    #[test]
    fn beats_random_search() {
        let (evolution, random) = (mean_best(&small()), mean_best(&Random {}));
        assert!(evolution < 0.85 * random, "{evolution} {random}");
    }

    #[test]
    fn several_objectives_give_a_wider_front_than_random_search() {
        let (evolution, random) = (mean_area(&small()), mean_area(&Random {}));
        assert!(evolution > 1.05 * random, "{evolution} {random}");
    }

    #[test]
    fn is_random_first_and_then_mutates_members_that_are_young_enough() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let trials = Run::new(&small(), &space, 5).trials(150, |genotype| Some(distance(genotype)));
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for trial in &trials {
            let origin = &trial.origin;
            assert_eq!(origin.by == "random", trial.id < 30, "{}", trial.id);
            assert!(origin.parents.iter().all(|&parent| parent < trial.id && parent + 30 >= trial.id), "{:?}", origin.parents);
            *by.entry(&origin.by).or_default() += 1;
        }
        assert_eq!(by.len(), 6, "every mutation of the mix and random: {by:?}");
    }

    #[test]
    fn does_not_wait_for_trials_that_fail() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then_some(0.0);
        let trials = Run::new(&small(), &space, 6).trials(60, odd);
        assert!(trials[30..].iter().all(|trial| !trial.origin.parents.is_empty()));
        let failed = |id: &u64| trials[*id as usize].loss().is_none();
        assert!(!trials.iter().flat_map(|trial| &trial.origin.parents).any(failed));
        let trials = Run::new(&small(), &space, 7).trials(40, |_| None);
        assert!(trials.iter().all(|trial| trial.origin.by == "random"));
    }
}
