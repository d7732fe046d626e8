//! Who descends from whom, for evaluations that build on those of their parents.

use std::sync::{Arc, PoisonError, RwLock};

use crate::evaluator::Ancestor;
use crate::strategy::Proposal;

/// The trials so far, by id; shared with the workers.
#[derive(Clone, Default)]
pub(super) struct Ancestry(Arc<RwLock<Vec<Ancestor>>>);

impl Ancestry {
    /// Adds the next trial and returns its parents. A duplicate of an earlier trial stands for that one.
    pub fn add(&self, proposal: &Proposal, original: usize) -> Vec<u64> {
        let mut trials = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let ancestor = match trials.get(original) {
            Some(original) => original.clone(),
            None => Ancestor {
                // Strategies name trials that they were told; whatever else stands there has no evaluation to build on.
                parents: proposal.origin.parents.iter().copied().filter(|&id| id < trials.len() as u64).collect(),
                genotype: proposal.genotype.clone(),
                fidelity: proposal.fidelity,
            },
        };
        let parents = ancestor.parents.clone();
        trials.push(ancestor);
        parents
    }

    pub fn get(&self, trial: u64) -> Option<Ancestor> {
        let trials = self.0.read().unwrap_or_else(PoisonError::into_inner);
        trials.get(usize::try_from(trial).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, RngExt};

    use crate::evaluator::{Ancestor, Direction, EvalContext, Evaluation, Evaluator, Objective, Stop};
    use crate::graph::GraphSpace;
    use crate::space::{SearchSpace, sample};
    use crate::strategy::{Ask, Origin, Proposal, Strategy};
    use crate::study::Study;
    use crate::trial::Trial;
    use crate::{Cancel, Genotype, Result};
    use std::sync::Arc;

    /// Descends from any told trial, and repeats itself at times.
    struct Wander(Vec<Genotype>);

    impl Strategy for Wander {
        fn ask(&self, _: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
            let (told, again) = (self.0.len() as u64, rng.random_range(0..4) == 0);
            let parents = if told > 0 { vec![rng.random_range(0..told)] } else { vec![999] };
            let known = self.0.get(rng.random_range(0..self.0.len().max(1))).filter(|_| again);
            let genotype = known.cloned().map_or_else(|| sample(&GraphSpace::default(), rng), Ok)?;
            Ok(vec![Proposal::new(genotype, Origin { parents, ..Origin::by("wander") })])
        }

        fn tell(&mut self, trial: &Trial) -> Result<()> {
            self.0.push(trial.genotype.clone());
            Ok(())
        }
    }

    /// What an evaluation leaves to its children: a number that all ancestors have a part in.
    struct Heirs;

    fn heritage(genotype: &Genotype, parents: &[u64], ancestor: &dyn Fn(u64) -> Option<Ancestor>) -> u64 {
        let of_parent = parents.first().and_then(|&id| ancestor(id));
        let inherited = of_parent.map_or(1, |parent| heritage(&parent.genotype, &parent.parents, ancestor));
        genotype.canonical_hash().rotate_left(7) ^ inherited.wrapping_mul(31)
    }

    impl Evaluator for Heirs {
        fn objectives(&self) -> Vec<Objective> {
            vec![Objective { name: "heritage".into(), direction: Direction::Minimize }]
        }

        fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> std::result::Result<Evaluation, Stop> {
            let heritage = heritage(genotype, cx.parents(), &|id| cx.ancestor(id));
            Ok(Evaluation { losses: vec![(heritage % 1_000_003) as f64], ..Evaluation::default() })
        }
    }

    fn trials(workers: usize, recorded: &[Trial]) -> Vec<Trial> {
        let space: Arc<dyn SearchSpace> = Arc::new(GraphSpace::default());
        let mut study = Study::new(space, Box::new(Wander(Vec::new())), Arc::new(Heirs));
        (study.workers, study.lag, study.budget.trials) = (workers, 4, Some(80));
        study.recorded = recorded.iter().map(|trial| (trial.id, trial.clone())).collect::<BTreeMap<_, _>>();
        let trials = study.run(&Cancel::new()).unwrap().trials;
        trials.into_iter().map(|trial| Trial { seconds: 0.0, ..trial }).collect()
    }

    #[test]
    fn evaluations_see_their_ancestors_for_any_number_of_workers_and_after_a_resume() {
        let one = trials(1, &[]);
        assert!(one.iter().any(|trial| trial.duplicate_of.is_some()) && one[6].origin.parents[0] < 3);
        assert_eq!(trials(5, &[]), one);
        for cut in [1, 30, 79] {
            assert_eq!(trials(3, &one[..cut]), one, "resumed after {cut} trials");
        }
        // As the trials themselves tell it; a duplicate is the trial that it repeats.
        let ancestor = |id: u64| {
            let trial = &one[usize::try_from(id).ok()?];
            let trial = trial.duplicate_of.map_or(trial, |original| &one[usize::try_from(original).unwrap()]);
            let parents = trial.origin.parents.iter().copied().filter(|&parent| parent < trial.id).collect();
            Some(Ancestor { genotype: trial.genotype.clone(), fidelity: 1.0, parents })
        };
        for trial in one.iter().filter(|trial| trial.duplicate_of.is_none()) {
            let own = ancestor(trial.id).unwrap();
            assert_eq!(trial.losses, [(heritage(&own.genotype, &own.parents, &ancestor) % 1_000_003) as f64], "{}", trial.id);
        }
    }
}
