//! Bayesian optimisation: a surrogate of the loss, and the candidate of which it expects the greatest improvement.
//!
//! Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998; with the forest and the
//! local search of Hutter, Hoos and Leyton-Brown, "Sequential Model-Based Optimization for General Algorithm Configuration"
//! (SMAC), LION 2011. A candidate is a vector of one slot for each question of the space, and a question that was not asked is
//! a value like any other, which makes conditional spaces and graphs no special case.
//!
//! Several objectives become one by weights that every proposal draws anew (ParEGO, Knowles 2006).

mod ensemble;
mod forest;
mod gp;
mod model;
mod suggest;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Error, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Serialize};

pub(crate) use self::ensemble::Ensemble;
pub(crate) use self::model::{Column, Data, Model, Observation, Questions, Scope, targets};
use crate::fresh::{Told, learnt_loss};
use crate::scalar::Scalar;
use crate::settings::at_least_one;

/// Bayesian optimisation with a random forest (as SMAC), a Gaussian process, or both.
///
/// Random until `initial` trials were told; then the candidate of the greatest expected improvement. Failed and infeasible trials
/// count as the worst that was seen, pruned ones as the mean of their steps, pending ones as the mean of all: parallel proposals
/// keep apart. The forest learns from 1,000 trials at most, the process from 200: the best and the latest. Trials at less than
/// full fidelity are not learnt from. With several objectives each proposal weighs them anew, at random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Bayes {
    /// What predicts the loss: `both` (default), `forest` or `gaussian_process`.
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
    Forest,
    /// A Gaussian process with a Matérn 5/2 kernel: good with few questions, above all numbers.
    GaussianProcess,
    /// The mixture of both, unsure where they disagree.
    #[default]
    Both,
}

impl Default for Bayes {
    fn default() -> Self {
        Self { surrogate: Surrogate::default(), initial: 20, candidates: 500, random: 0.0 }
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
            Ok(Box::new(Running { config: self.clone(), told: Told::new(space), seen: Vec::new(), losses: BTreeMap::new() }))
        }
    }
}

struct Running {
    config: Bayes,
    told: Told,
    seen: Vec<Observation>,
    /// By id, all losses of those that are complete, where there are several objectives.
    losses: BTreeMap<u64, Vec<f64>>,
}

impl Running {
    /// What is to be learnt from: with several objectives, by weights that are drawn here.
    fn weighed(&self, rng: &mut dyn Rng) -> Cow<'_, [Observation]> {
        let Some(scalar) = Scalar::draw(self.losses.values().map(Vec::as_slice), rng) else { return Cow::Borrowed(&self.seen) };
        let loss = |seen: &Observation| self.losses.get(&seen.id).map_or(f64::INFINITY, |losses| scalar.loss(losses));
        Cow::Owned(self.seen.iter().map(|seen| Observation { loss: loss(seen), ..seen.clone() }).collect())
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        if self.told.trials < self.config.initial || rng.random::<f64>() < self.config.random {
            return Ok(vec![fresh.random(rng)?]);
        }
        let scope = Scope::whole(self.told.space.as_ref());
        let pending = ask.pending.iter().map(|pending| scope.space.trace(&pending.genotype)).collect::<Result<Vec<_>>>()?;
        let seen = self.weighed(rng);
        let Some(model) = Model::fit(self.config.surrogate, scope, &seen, &pending, rng) else {
            return Ok(vec![fresh.random(rng)?]);
        };
        let best = model.suggest(scope, &seen, self.config.candidates, &|genotype| fresh.is(genotype), rng)?;
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
            if let Some(losses) = trial.losses().filter(|losses| losses.len() > 1) {
                self.losses.insert(trial.id, losses.to_vec());
            }
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
    use crate::testing::{Run, distance, mean_area_of, mean_best_of, pool_space, tiny};

    fn all() -> [Bayes; 3] {
        [Surrogate::Forest, Surrogate::GaussianProcess, Surrogate::Both].map(|surrogate| Bayes {
            surrogate,
            candidates: 100,
            ..Bayes::default()
        })
    }

    #[test]
    fn beats_random_search() {
        let mean = |config: &dyn StrategyConfig| mean_best_of(config, pool_space(), distance, 80, 3);
        let random = mean(&Random {});
        for config in all() {
            let own = mean(&config);
            assert!(own < 0.8 * random, "{:?}: {own} {random}", config.surrogate);
        }
    }

    #[test]
    fn several_objectives_give_a_wider_front_than_random_search() {
        let config = Bayes { surrogate: Surrogate::Forest, candidates: 100, ..Bayes::default() };
        let (bayes, random) = (mean_area_of(&config, 120, 3), mean_area_of(&Random {}, 120, 3));
        assert!(bayes > 1.1 * random, "{bayes} {random}");
    }

    #[test]
    fn all_surrogates_conform() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        for config in all() {
            conformance::check_strategy(&config, &space, 60, 7).unwrap();
        }
    }

    #[test]
    fn a_small_space_is_seen_whole_before_anything_repeats() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        for config in all() {
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
        for config in all() {
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
