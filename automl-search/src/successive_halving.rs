//! Asynchronous successive halving around any strategy.
//!
//! What comes from where:
//! - **Jamieson and Talwalkar**, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016: every
//!   candidate gets little effort, and the best part of each rung goes on to the next with more.
//! - **Li et al.**, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020: nobody waits for a rung to fill;
//!   whoever is among the best 1/eta of what its rung has seen so far goes on at once.
//! - **Ours**: new candidates come from another strategy, where ASHA draws at random; no more than 1/eta of a rung ever goes on,
//!   where ASHA sends after it whoever is better than those that went (as a strategy learns, that is most newcomers: over half of
//!   the effort went to the top); the first candidate to be promoted goes up to full effort at once, so that a study has a result
//!   early; and what the other strategy is told.
//!
//! The other strategy is told each outcome at once, as if it were of full fidelity, and again when the candidate was promoted:
//! its own origin, the new losses, the last word counts. Losses are passed on as they are. Less effort mostly means worse losses,
//! so those that were promoted lead the others by themselves, and nothing has to be learnt about the rungs first.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use automl_core::rand::Rng;
use automl_core::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use automl_core::{
    Ask, Error, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, StrategyConfig, Trial, plugin,
};
use serde::{Deserialize, Serialize};

use crate::graph_evolution::GraphEvolution;
use crate::mix::name_of;
use crate::settings::inside;

/// Tries what another strategy proposes with little effort, and spends more on what does well (ASHA).
///
/// Helps where a candidate that does well with little effort mostly does well with all of it, and where a trial's time falls with
/// its effort; where low rungs are mostly noise, it loses to the other strategy alone.
///
/// The rungs are the full effort and its shares 1/eta, 1/eta² … down to `least`. A candidate starts on the lowest, whatever
/// fidelity it was proposed at. As soon as fewer than 1/eta of a rung have gone on, the best of the others is evaluated again on
/// the next; else the other strategy is asked for a new candidate. The origin of such a trial is `promote`, its parent the trial
/// one rung below. Failed, infeasible and pruned trials do not go on. Only the highest rung counts as a result of the study, and
/// its budget of trials counts those of all rungs: with the defaults 13 trials, nine of them new candidates, cost as much as
/// three of full effort. Sees the first objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct SuccessiveHalving {
    /// What proposes new candidates; default `graph_evolution`.
    #[schemars(schema_with = "strategy_schema")]
    pub strategy: Arc<dyn StrategyConfig>,
    /// Share of the full effort below which there is no rung, from 0.0001 to 1/eta; default 1/9.
    pub least: f64,
    /// One in so many candidates of a rung goes on, with so many times the effort; from 1.5 to 100, default 3.
    pub eta: f64,
}

impl Default for SuccessiveHalving {
    fn default() -> Self {
        Self { strategy: Arc::new(GraphEvolution::default()), least: 1.0 / 9.0, eta: 3.0 }
    }
}

fn strategy_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "description": "A plugin of the kind `strategy`, by its `type`.", "required": ["type"] })
}

const NAME: &str = "successive_halving";
/// What made a trial that is a promotion.
const PROMOTE: &str = "promote";
/// How far a rung may lie below `least`: a ninth is a ninth, however it is rounded.
const ROUNDING: f64 = 1e-6;

plugin! {
    "successive_halving",
    impl StrategyConfig for SuccessiveHalving {
        fn build(&self, space: Arc<dyn SearchSpace>, objectives: &[Objective]) -> Result<Box<dyn Strategy>> {
            let Self { strategy, least, eta } = self;
            if !(1.5..=100.0).contains(eta) {
                return Err(Error::config("strategy.eta", format!("is {eta}; it must lie between 1.5 and 100")));
            }
            let most = 1.0 / eta;
            if !(1e-4..=most * (1.0 + ROUNDING)).contains(least) {
                let problem = format!("is {least}; it must lie between 0.0001 and 1 / eta, which is {most:.4}");
                return Err(Error::config("strategy.least", problem));
            }
            if name_of(strategy.as_ref()) == NAME {
                return Err(Error::config("strategy.strategy.type", "cannot wrap itself; name another strategy"));
            }
            let inner = strategy.build(space.clone(), objectives).map_err(|error| inside("strategy", error))?;
            let fidelities = (0..).map(|step| eta.powi(-step)).take_while(|fidelity| *fidelity >= least * (1.0 - ROUNDING));
            let mut rungs: Vec<Rung> = fidelities.map(Rung::new).collect();
            rungs.reverse();
            Ok(Box::new(Running { eta: *eta, space, inner, rungs, latest: BTreeMap::new() }))
        }
    }
}

struct Running {
    eta: f64,
    space: Arc<dyn SearchSpace>,
    inner: Box<dyn Strategy>,
    /// By rising fidelity; the last is that of full effort.
    rungs: Vec<Rung>,
    /// By hash of the candidate: the highest rung it was told at, and what the inner strategy was told then.
    latest: BTreeMap<u64, (usize, Trial)>,
}

/// What was told at one fidelity. Nothing here walks over all candidates: a proposal takes a logarithm of their number.
struct Rung {
    fidelity: f64,
    /// Hashes of all that were told, whatever came of them.
    told: BTreeSet<u64>,
    /// Number of distinct candidates that completed.
    complete: usize,
    /// Those of them that no higher rung was told of, best first; the earlier of equals.
    waiting: BTreeMap<Place, Entry>,
    /// By hash, where a candidate waits.
    places: BTreeMap<u64, Place>,
}

struct Entry {
    id: u64,
    hash: u64,
    genotype: Genotype,
}

/// By loss, then by the order in which they were told.
#[derive(Clone, Copy)]
struct Place(f64, usize);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl Rung {
    fn new(fidelity: f64) -> Self {
        Self { fidelity, told: BTreeSet::new(), complete: 0, waiting: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// Notes an outcome; `gone`: a higher rung was told of the candidate before.
    fn tell(&mut self, hash: u64, trial: &Trial, gone: bool) {
        if let (Some(loss), true) = (trial.loss(), self.told.insert(hash)) {
            self.complete += 1;
            if !gone {
                let place = Place(loss, self.complete);
                self.places.insert(hash, place);
                self.waiting.insert(place, Entry { id: trial.id, hash, genotype: trial.genotype.clone() });
            }
        }
    }

    /// A higher rung was told of the candidate.
    fn leave(&mut self, hash: u64) {
        if let Some(place) = self.places.remove(&hash) {
            self.waiting.remove(&place);
        }
    }
}

impl Running {
    /// The best that has not gone on, of the highest rung where one may; `all`: whatever share of a rung has gone on.
    fn promotion(&self, pending: &[Proposal], all: bool) -> Option<Proposal> {
        let pending: Vec<(u64, f64)> =
            pending.iter().map(|proposal| (self.space.canonical_hash(&proposal.genotype), proposal.fidelity)).collect();
        // Without any result the one candidate of a middle rung goes on, instead of waiting for others to be chosen from.
        let hurried = self.rungs.last().is_some_and(|top| top.complete == 0);
        (1..self.rungs.len()).rev().find_map(|next| {
            let (rung, above) = (&self.rungs[next - 1], &self.rungs[next]);
            let share = (rung.complete as f64 / self.eta) as usize;
            let share = if all { rung.complete } else { share.max(usize::from(hurried && next > 1)) };
            let on_their_way: BTreeSet<u64> = pending
                .iter()
                .filter(|(hash, fidelity)| *fidelity > rung.fidelity && rung.places.contains_key(hash))
                .map(|(hash, _)| *hash)
                .collect();
            let gone = rung.complete - rung.waiting.len() + on_their_way.len();
            if gone >= share {
                return None;
            }
            let best = rung.waiting.values().find(|entry| !on_their_way.contains(&entry.hash))?;
            Some(Proposal {
                genotype: best.genotype.clone(),
                origin: Origin { by: PROMOTE.to_owned(), parents: vec![best.id], note: None },
                fidelity: above.fidelity,
            })
        })
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if let Some(promotion) = self.promotion(ask.pending, false) {
            return Ok(vec![promotion]);
        }
        let pending: Vec<Proposal> = ask.pending.iter().filter(|proposal| proposal.origin.by != PROMOTE).cloned().collect();
        let mut proposals = self.inner.ask(&Ask { pending: &pending, ..*ask }, rng)?;
        for proposal in &mut proposals {
            proposal.fidelity = self.rungs[0].fidelity;
        }
        if proposals.is_empty() {
            // Nothing is left to try: what remains is to know more of what was tried.
            proposals.extend(self.promotion(ask.pending, true));
        }
        Ok(proposals)
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.space.canonical_hash(&trial.genotype);
        let index = self.rungs.iter().rposition(|rung| rung.fidelity <= trial.fidelity).unwrap_or_default();
        let gone = self.rungs[index + 1..].iter().any(|rung| rung.told.contains(&hash));
        self.rungs[index].tell(hash, trial, gone);
        self.rungs[..index].iter_mut().for_each(|rung| rung.leave(hash));
        let view = match self.latest.get(&hash) {
            // A candidate that comes up again on a lower rung tells nothing new: what is known of it is repeated.
            Some((rung, latest)) if *rung > index => Trial {
                id: trial.id,
                origin: trial.origin.clone(),
                duplicate_of: latest.duplicate_of.or(Some(latest.id)),
                ..latest.clone()
            },
            Some((_, latest)) if trial.origin.by == PROMOTE => {
                Trial { origin: latest.origin.clone(), fidelity: 1.0, ..trial.clone() }
            }
            _ => Trial { fidelity: 1.0, ..trial.clone() },
        };
        self.inner.tell(&view)?;
        if self.latest.get(&hash).is_none_or(|(rung, _)| *rung < index) {
            self.latest.insert(hash, (index, view));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use automl_core::hash::StableHash;
    use automl_core::{Budget, Cancel, Direction, EvalContext, Evaluation, Evaluator, State, Stop, Study};

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, pool_space};
    use crate::tpe::Tpe;

    fn space() -> Arc<dyn SearchSpace> {
        Arc::new(pool_space())
    }

    /// What less effort adds to the distance, grows with the effort that is missing: a constant, something for each vertex more
    /// than four, and noise.
    #[derive(Clone, Copy)]
    struct Problem(f64, f64, f64);

    const USUAL: Problem = Problem(0.1, 0.0, 0.2);

    impl Problem {
        fn loss(self, genotype: &Genotype, fidelity: f64) -> f64 {
            let seed = StableHash::new("noise").number(genotype.canonical_hash()).number(fidelity.to_bits());
            let unit = |part| (seed.number(part).finish() >> 11) as f64 / (1u64 << 53) as f64;
            let normal = (0..12).map(unit).sum::<f64>() - 6.0;
            let missing = 1.0 / fidelity - 1.0;
            let bias = self.0 + self.1 * (genotype.nodes.len() as f64 - 4.0);
            distance(genotype) + missing * bias + missing.sqrt() * self.2 * normal
        }
    }

    fn effort(trials: &[Trial]) -> f64 {
        trials.iter().map(|trial| trial.fidelity).sum()
    }

    /// Mean over seeds of the best distance that so much effort finds.
    fn mean_best(config: &dyn StrategyConfig, most: f64, problem: Problem) -> f64 {
        let best = |seed| {
            let run = Run::new(config, &space(), seed);
            let trials =
                run.until(3, |trials| effort(trials) >= most, |genotype, fidelity| Some(problem.loss(genotype, fidelity)));
            trials.iter().filter_map(Trial::full_loss).fold(f64::INFINITY, f64::min)
        };
        (0..20).map(best).sum::<f64>() / 20.0
    }

    #[test]
    fn saves_effort() {
        let inner: [Arc<dyn StrategyConfig>; 3] =
            [Arc::new(GraphEvolution::default()), Arc::new(Tpe::default()), Arc::new(Random {})];
        for strategy in inner {
            let alone = mean_best(strategy.as_ref(), 40.0, USUAL);
            for problem in [USUAL, Problem(0.0, 0.0, 0.3), Problem(-0.1, 0.0, 0.2), Problem(0.1, 0.1, 0.2)] {
                let halving = SuccessiveHalving { strategy: strategy.clone(), ..SuccessiveHalving::default() };
                let found = mean_best(&halving, 40.0, problem);
                println!("{}: {found:.2}, alone {alone:.2}", name_of(strategy.as_ref()));
                assert!(found < 0.95 * alone, "{strategy:?}: {found} {alone}");
            }
        }
    }

    #[test]
    fn who_is_among_the_best_of_a_rung_goes_on_once() {
        for lag in [0, 5] {
            let run = Run::new(&SuccessiveHalving::default(), &space(), 3);
            let trials = run.until(lag, |trials| trials.len() >= 300, |genotype, fidelity| Some(USUAL.loss(genotype, fidelity)));
            let rungs = [1.0 / 9.0, 1.0 / 3.0, 1.0];
            let at = |rung: usize| trials.iter().filter(|trial| trial.fidelity == rungs[rung]).count();
            assert_eq!(at(0) + at(1) + at(2), 300);
            assert!(at(1).abs_diff(at(0) / 3) <= 3 && at(2).abs_diff(at(1) / 3) <= 3, "{} {} {}", at(0), at(1), at(2));
            let first = trials.iter().position(|trial| trial.fidelity == 1.0).unwrap();
            assert!(first <= 4 + 3 * lag, "a result comes early: {first}");
            let mut promoted = BTreeSet::new();
            for (index, trial) in trials.iter().enumerate() {
                if trial.origin.by != PROMOTE {
                    assert_eq!(trial.fidelity, rungs[0]);
                    continue;
                }
                let parent = &trials[trial.origin.parents[0] as usize];
                let rung = rungs.iter().position(|fidelity| *fidelity == trial.fidelity).unwrap();
                assert!(promoted.insert(parent.id) && parent.genotype == trial.genotype && parent.fidelity == rungs[rung - 1]);
                let rivals = trials[..index - lag].iter().filter(|rival| rival.fidelity == parent.fidelity);
                let better = rivals.clone().filter(|rival| rival.losses[0] < parent.losses[0]).count();
                let hurried = better == 0 && rung == 2 && !trials[..index - lag].iter().any(|trial| trial.fidelity == 1.0);
                assert!(hurried || 3 * better < rivals.count(), "trial {index}");
            }
        }
    }

    #[test]
    fn failures_do_not_go_on_and_do_not_stop_others() {
        let config = SuccessiveHalving::default();
        let odd = |genotype: &Genotype, fidelity: f64| {
            (genotype.nodes.len() % 2 == 1 && fidelity < 1.0).then(|| USUAL.loss(genotype, fidelity))
        };
        let trials = Run::new(&config, &space(), 1).until(2, |trials| trials.len() >= 150, odd);
        let parents: Vec<u64> = trials.iter().flat_map(|trial| trial.origin.parents.clone()).collect();
        assert!(parents.iter().all(|&id| trials[id as usize].state == State::Complete));
        assert!(trials.iter().filter(|trial| trial.fidelity == 1.0).count() > 8);
        let trials = Run::new(&config, &space(), 1).trials(60, |_| None);
        assert!(trials.iter().all(|trial| trial.origin.by == "random"));
    }

    #[test]
    fn a_pending_promotion_is_not_made_again_and_starts_are_results() {
        let mut strategy = SuccessiveHalving::default().build(space(), &[]).unwrap();
        let told = Run::new(&Random {}, &space(), 1).trials(4, |genotype| Some(distance(genotype)));
        let start = Trial { origin: Origin::by("start"), ..told[0].clone() };
        strategy.tell(&start).unwrap();
        for trial in &told[1..] {
            strategy.tell(&Trial { fidelity: 1.0 / 9.0, ..trial.clone() }).unwrap();
        }
        let ask = |strategy: &dyn Strategy, pending: &[Proposal]| {
            use automl_core::rand::SeedableRng;
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
            strategy.ask(&Ask::alone(4, pending), &mut rng).unwrap().remove(0)
        };
        let promoted = ask(strategy.as_ref(), &[]);
        let best = told[1..].iter().min_by(|a, b| a.losses[0].total_cmp(&b.losses[0])).unwrap();
        assert_eq!((&promoted.genotype, promoted.fidelity), (&best.genotype, 1.0 / 3.0));
        assert_eq!(promoted.origin, Origin { by: PROMOTE.into(), parents: vec![best.id], note: None });
        assert_ne!(ask(strategy.as_ref(), std::slice::from_ref(&promoted)).origin.by, PROMOTE, "it is pending");
        let middle = Trial { id: 4, origin: promoted.origin, fidelity: promoted.fidelity, ..best.clone() };
        strategy.tell(&middle).unwrap();
        assert_ne!(ask(strategy.as_ref(), &[]).origin.by, PROMOTE, "with a start there is no hurry to reach the top");
        strategy.tell(&Trial { id: 5, fidelity: 1.0 / 9.0, losses: vec![-1.0], ..start }).unwrap();
        assert_ne!(ask(strategy.as_ref(), &[]).origin.by, PROMOTE, "a start does not climb to where it was");
    }

    /// Proposes nothing and remembers what it was told.
    struct Spy(Arc<std::sync::Mutex<Vec<Trial>>>);

    impl Strategy for Spy {
        fn ask(&self, _: &Ask<'_>, _: &mut dyn Rng) -> Result<Vec<Proposal>> {
            Ok(Vec::new())
        }

        fn tell(&mut self, trial: &Trial) -> Result<()> {
            self.0.lock().unwrap().push(trial.clone());
            Ok(())
        }
    }

    #[test]
    fn the_inner_strategy_is_told_of_its_own_candidates_again() {
        let told = Arc::default();
        let rungs = [1.0 / 3.0, 1.0].map(Rung::new).into();
        let inner = Box::new(Spy(Arc::clone(&told)));
        let mut strategy = Running { eta: 3.0, space: space(), inner, rungs, latest: BTreeMap::new() };
        let low = Trial { fidelity: 1.0 / 3.0, ..Run::new(&Random {}, &space(), 1).trials(1, |_| Some(1.0)).remove(0) };
        let promote = Origin { by: PROMOTE.into(), parents: vec![0], note: None };
        let high = Trial { id: 1, fidelity: 1.0, losses: vec![2.0], origin: promote, ..low.clone() };
        let again = Trial { id: 2, duplicate_of: Some(0), ..low.clone() };
        for trial in [&low, &high, &again] {
            strategy.tell(trial).unwrap();
        }
        let seen: Vec<_> = told.lock().unwrap().iter().map(|trial| (trial.id, trial.losses[0], trial.duplicate_of)).collect();
        assert_eq!(seen, [(0, 1.0, None), (1, 2.0, None), (2, 2.0, Some(1))]);
        assert!(told.lock().unwrap().iter().all(|trial| trial.fidelity == 1.0 && trial.origin == low.origin));
    }

    struct Made(Problem);

    impl Evaluator for Made {
        fn objectives(&self) -> Vec<Objective> {
            vec![Objective { name: "distance".into(), direction: Direction::Minimize }]
        }

        fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> std::result::Result<Evaluation, Stop> {
            Ok(Evaluation { losses: vec![self.0.loss(genotype, cx.fidelity())], ..Evaluation::default() })
        }
    }

    #[test]
    fn a_study_is_the_same_for_any_number_of_workers_and_after_a_resume() {
        let starts = vec![Run::new(&Random {}, &space(), 5).trials(1, |_| None).remove(0).genotype];
        let run = |workers, recorded: &[Trial]| {
            let strategy = SuccessiveHalving::default().build(space(), &[]).unwrap();
            let mut study = Study::new(space(), strategy, Arc::new(Made(Problem(-1.0, 0.0, 0.3))));
            (study.lag, study.workers, study.starts) = (3, workers, starts.clone());
            study.budget = Budget { trials: Some(150), ..Budget::default() };
            study.recorded = recorded.iter().map(|trial| (trial.id, trial.clone())).collect();
            let outcome = study.run(&Cancel::new()).unwrap();
            assert_eq!(outcome.best().unwrap().fidelity, 1.0);
            outcome.trials.into_iter().map(|trial| Trial { seconds: 0.0, ..trial }).collect::<Vec<_>>()
        };
        let one = run(1, &[]);
        assert_eq!(run(4, &[]), one);
        assert_eq!(run(2, &one[..70]), one);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_where_they_stand() {
        let place = |config: serde_json::Value| {
            let config: Box<dyn StrategyConfig> = serde_json::from_value(config).unwrap();
            config.build(space(), &[]).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let config = |least: f64, eta: f64, strategy: &str| {
            place(serde_json::json!({ "type": NAME, "least": least, "eta": eta, "strategy": { "type": strategy } }))
        };
        assert_eq!(config(0.0625, 4.0, "tpe"), "");
        assert_eq!(config(1.0 / 3.0, 3.0, "random"), "");
        assert!(config(0.5, 3.0, "tpe").contains("strategy.least"));
        assert!(config(f64::MIN, 3.0, "tpe").contains("strategy.least"));
        assert!(config(0.1, 1.0, "tpe").contains("strategy.eta"));
        assert!(config(0.1, 3.0, NAME).contains("strategy.strategy.type"));
        let inner = place(serde_json::json!({ "type": NAME, "strategy": { "type": "tpe", "candidates": 0 } }));
        assert!(inner.contains("strategy.strategy.candidates"), "{inner}");
    }
}
