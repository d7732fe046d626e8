//! Bayesian optimisation: a surrogate of the loss, and the candidate of which it expects the greatest improvement.
//!
//! Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; with the forest and the
//! local search of Hutter, Hoos and Leyton-Brown, "Sequential Model-Based Optimization for General Algorithm Configuration"
//! (SMAC), LION 2011. A candidate is a vector of one slot for each question of the space, and a question that was not asked is
//! a value like any other, which makes conditional spaces and graphs no special case.

mod forest;
mod gp;
mod model;
mod suggest;

use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Error, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Serialize};

pub(crate) use self::forest::Forest;
pub(crate) use self::model::{Column, Data, Model, Observation, Questions, Scope, targets};
use crate::fresh::{Told, learnt_loss};
use crate::settings::at_least_one;

/// Bayesian optimisation with a random forest (as SMAC) or a Gaussian process.
///
/// Random until `initial` trials were told; then the candidate of the greatest expected improvement. Failed and infeasible trials
/// count as the worst that was seen, pruned ones as the mean of their steps, pending ones as the mean of all: parallel proposals
/// keep apart. The forest learns from 1,000 trials at most. Trials at less than
/// full fidelity are not learnt from. Sees the first objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Bayes {
    /// What predicts the loss: `forest` (default) or `gaussian_process`, which learns from 300 trials at most.
    pub surrogate: Surrogate,
    /// Random trials at the start; default 20.
    pub initial: usize,
    /// Random candidates that the surrogate is asked about, before it climbs from the best; default 500.
    pub candidates: usize,
    /// Share of proposals that are random, in [0, 1): what keeps a wrong surrogate from leading astray. Default 0.
    pub random: f64,
}

/// What predicts the loss of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Surrogate {
    /// A random forest: good with many questions, options and conditions.
    #[default]
    Forest,
    /// A Gaussian process with a Matérn 5/2 kernel: good with few questions, above all numbers.
    GaussianProcess,
}

impl Default for Bayes {
    fn default() -> Self {
        Self { surrogate: Surrogate::Forest, initial: 20, candidates: 500, random: 0.0 }
    }
}

plugin! {
    "bayes",
    impl StrategyConfig for Bayes {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            at_least_one(&[("initial", self.initial), ("candidates", self.candidates)])?;
            if !(0.0..1.0).contains(&self.random) {
                return Err(Error::config("strategy.random", format!("is {}; it must be at least 0 and below 1", self.random)));
            }
            Ok(Box::new(Running { config: self.clone(), told: Told::new(space), seen: Vec::new() }))
        }
    }
}

struct Running {
    config: Bayes,
    told: Told,
    seen: Vec<Observation>,
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        if self.told.trials < self.config.initial || rng.random::<f64>() < self.config.random {
            return Ok(vec![fresh.random(rng)?]);
        }
        let scope = Scope::whole(self.told.space.as_ref());
        let pending = ask.pending.iter().map(|pending| scope.space.trace(&pending.genotype)).collect::<Result<Vec<_>>>()?;
        let Some(model) = Model::fit(self.config.surrogate, scope, &self.seen, &pending, rng) else {
            return Ok(vec![fresh.random(rng)?]);
        };
        let best = model.suggest(scope, &self.seen, self.config.candidates, &|genotype| fresh.is(genotype), rng)?;
        Ok(vec![match best {
            Some(best) => {
                let parents = best.parent.into_iter().collect();
                Proposal::new(best.genotype, Origin { by: "bayes".to_owned(), parents, note: None })
            }
            None => fresh.random(rng)?,
        }])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.told.tell(trial);
        if trial.fidelity == 1.0 && trial.duplicate_of.is_none() {
            let trace = self.told.space.trace(&trial.genotype)?;
            // Evaluated again, with more effort: the last word counts.
            self.seen.retain(|seen| seen.trace != trace);
            let best = self.seen.iter().filter(|seen| seen.complete).map(|seen| seen.loss).fold(f64::INFINITY, f64::min);
            let complete = trial.loss().is_some();
            self.seen.push(Observation { id: trial.id, trace, loss: learnt_loss(trial, best), complete });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use automl_core::{Genotype, StrategyConfig, conformance};

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_best_of, pool_space, tiny};

    fn both() -> [Bayes; 2] {
        [Surrogate::Forest, Surrogate::GaussianProcess].map(|surrogate| Bayes { surrogate, candidates: 100, ..Bayes::default() })
    }

    #[test]
    fn beats_random_search() {
        let mean = |config: &dyn StrategyConfig| mean_best_of(config, pool_space(), distance, 80, 4);
        let random = mean(&Random {});
        for config in both() {
            let own = mean(&config);
            assert!(own < 0.8 * random, "{:?}: {own} {random}", config.surrogate);
        }
    }

    #[test]
    fn both_surrogates_conform() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        for config in both() {
            conformance::check_strategy(&config, &space, 60, 7).unwrap();
        }
    }

    #[test]
    fn a_small_space_is_seen_whole_before_anything_repeats() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        for config in both() {
            let run = Run::new(&Bayes { initial: 1, ..config }, &space, 1).trials(3, |_| Some(0.0));
            let mut seen: Vec<String> = run.iter().map(|trial| trial.genotype.to_string()).collect();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 3, "{seen:?}");
        }
    }

    #[test]
    fn keeps_away_from_what_fails_and_survives_where_all_does() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then(|| distance(genotype));
        for config in both() {
            let trials = Run::new(&config, &space, 3).trials(60, odd);
            let good = trials[30..].iter().filter(|trial| trial.loss().is_some()).count();
            assert!(good > 18, "{good} of 30");
            let trials = Run::new(&config, &space, 4).trials(25, |_| None);
            assert!(trials.iter().all(|trial| trial.origin.by == "random"));
        }
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let refused = |config: Bayes| config.build(space.clone(), &[]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(Bayes { initial: 0, ..Bayes::default() }).contains("strategy.initial"));
        assert!(refused(Bayes { candidates: 0, ..Bayes::default() }).contains("strategy.candidates"));
        assert!(refused(Bayes { random: 1.0, ..Bayes::default() }).contains("strategy.random"));
        assert!(refused(Bayes { random: f64::NAN, ..Bayes::default() }).contains("strategy.random"));
        assert!(serde_json::from_str::<Bayes>(r#"{"surrogate": "tree"}"#).is_err());
    }
}
