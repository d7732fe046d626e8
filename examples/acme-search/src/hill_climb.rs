//! Hill climbing: changes the best candidate so far, one question at a time.
//!
//! Works in any space, since it knows questions and answers alone: one answer of the best candidate is given anew, the others
//! stay where the space still asks for them.

use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::space::{KnownChoose, RandomChoose, sample};
use automl_core::{Ask, Error, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Serialize};

/// Hill climbing: changes one answer of the best candidate so far.
///
/// A child that equals its parent or is being evaluated is made anew, up to 16 times; then the proposal is random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct HillClimb {
    /// Share of proposals that are random instead, to leave a local optimum; 0 to 1, default 0.1.
    pub restart: f64,
}

impl Default for HillClimb {
    fn default() -> Self {
        Self { restart: 0.1 }
    }
}

/// Children that are made until one is new.
const TRIES: usize = 16;

plugin! {
    "acme/hill_climb",
    impl StrategyConfig for HillClimb {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            if !(0.0..=1.0).contains(&self.restart) {
                return Err(Error::config("strategy.restart", "is a share, 0 to 1"));
            }
            Ok(Box::new(Running { space, restart: self.restart, best: None }))
        }
    }
}

struct Running {
    space: Arc<dyn SearchSpace>,
    restart: f64,
    /// The best trial told so far, the earliest of equals.
    best: Option<Best>,
}

struct Best {
    id: u64,
    loss: f64,
    genotype: Genotype,
}

impl Running {
    /// The parent with one answer given anew; questions that only now arise are answered at random.
    fn child(&self, parent: &Genotype, rng: &mut dyn Rng) -> Result<Genotype> {
        let trace = self.space.trace(parent)?;
        let mut known = KnownChoose::of(&trace, self.space.points().len());
        let changed = trace.get(rng.random_range(0..trace.len().max(1))).and_then(|step| known.get_mut(step.point));
        if let Some(answer) = changed {
            *answer = None;
        }
        self.space.build(&mut KnownChoose { known, fallback: Some(&mut RandomChoose(rng)) })
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if let Some(best) = self.best.as_ref().filter(|_| rng.random::<f64>() >= self.restart) {
            for _ in 0..TRIES {
                let child = self.child(&best.genotype, rng)?;
                if child != best.genotype && ask.pending.iter().all(|pending| pending.genotype != child) {
                    let origin = Origin { by: "hill_climb".into(), parents: vec![best.id], note: None };
                    return Ok(vec![Proposal::new(child, origin)]);
                }
            }
        }
        Ok(vec![Proposal::new(sample(self.space.as_ref(), rng)?, Origin::by("random"))])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        if let Some(loss) = trial.loss().filter(|loss| self.best.as_ref().is_none_or(|best| *loss < best.loss)) {
            self.best = Some(Best { id: trial.id, loss, genotype: trial.genotype.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use automl_core::{Budget, Cancel, EvalContext, Evaluation, Evaluator, GraphSpace, Stop, StrategyConfig, Study};

    use super::*;

    /// The loss is the number of nodes that are not `conv_3x3`.
    struct Counts;

    impl Evaluator for Counts {
        fn objectives(&self) -> Vec<Objective> {
            Vec::new()
        }

        fn evaluate(&self, genotype: &Genotype, _: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
            let others = genotype.nodes.iter().filter(|node| node.op != "conv_3x3").count();
            Ok(Evaluation { losses: vec![others as f64], ..Evaluation::default() })
        }
    }

    #[test]
    fn children_descend_from_the_best_so_far_and_reach_the_optimum() {
        let space: Arc<dyn SearchSpace> = Arc::new(GraphSpace::default());
        let strategy = HillClimb { restart: 0.0 }.build(space.clone(), &[]).unwrap();
        let budget = Budget { trials: Some(200), ..Budget::default() };
        let outcome = Study { budget, ..Study::new(space, strategy, Arc::new(Counts)) }.run(&Cancel::new()).unwrap();
        let mut best = (f64::INFINITY, None);
        for trial in &outcome.trials {
            assert_eq!(trial.origin.parents.first().copied(), best.1);
            let loss = trial.loss().unwrap();
            if loss < best.0 {
                best = (loss, Some(trial.id));
            }
        }
        // Nothing is left but the two sources.
        assert_eq!(best.0, 2.0);
    }
}
