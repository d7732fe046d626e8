use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, RngExt};

use super::*;
use crate::evaluator::{Direction, EvalContext, Objective, Price};
use crate::graph::GraphSpace;
use crate::space::sample;
use crate::strategy::StrategyConfig;

/// Mutates by resampling until something is new; depends on everything it was told.
#[derive(Default)]
struct Climb {
    space: Option<Arc<dyn SearchSpace>>,
    best: Option<(f64, u64)>,
    told: u64,
}

impl Strategy for Climb {
    fn ask(&self, _: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let space = self.space.as_ref().unwrap();
        let count = 1 + rng.random_range(0..2);
        let origin =
            Origin { by: "climb".into(), parents: self.best.iter().map(|(_, id)| *id).collect(), note: Some(self.told.into()) };
        (0..count).map(|_| Ok(Proposal::new(sample(space.as_ref(), rng)?, origin.clone()))).collect()
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        assert_eq!(trial.id, self.told, "outcomes are told in the order of their ids");
        self.told += 1;
        if let Some(loss) = trial.loss().filter(|loss| self.best.is_none_or(|(best, _)| *loss < best)) {
            self.best = Some((loss, trial.id));
        }
        Ok(())
    }
}

/// A loss from the hash; slow for some, failing for others.
#[derive(Default)]
struct Hashed {
    calls: AtomicU64,
    threads: Mutex<BTreeSet<String>>,
}

impl Evaluator for Hashed {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "hash".into(), direction: Direction::Minimize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.threads.lock().unwrap().insert(format!("{:?}", std::thread::current().id()));
        let hash = genotype.canonical_hash();
        std::thread::sleep(Duration::from_micros(hash % 700));
        match hash % 11 {
            0 => Err(Stop::Failed("bad luck".into())),
            1 => Err(Stop::Infeasible("cannot be".into())),
            2 => panic!("a bug in an operator"),
            3 if cx.cancel().is_cancelled() => Err(Stop::Cancelled),
            _ => Ok(Evaluation { losses: vec![(hash % 100_003) as f64], ..Evaluation::default() }),
        }
    }
}

fn study(workers: usize) -> (Study, Arc<Hashed>) {
    let space: Arc<dyn SearchSpace> = Arc::new(GraphSpace::default());
    let evaluator = Arc::new(Hashed::default());
    let strategy = Climb { space: Some(space.clone()), ..Climb::default() };
    let mut study = Study::new(space, Box::new(strategy), evaluator.clone());
    study.seed = 5;
    study.lag = 5;
    study.workers = workers;
    study.budget.trials = Some(120);
    (study, evaluator)
}

fn timeless(trials: &[Trial]) -> Vec<Trial> {
    trials.iter().map(|trial| Trial { seconds: 0.0, ..trial.clone() }).collect()
}

fn quiet<T>(work: impl FnOnce() -> T) -> T {
    // The panics of the evaluator are part of the test; their messages are noise.
    std::panic::set_hook(Box::new(|_| {}));
    work()
}

#[test]
fn any_number_of_workers_gives_the_same_trials() {
    quiet(|| {
        let run = |workers| study(workers).0.run(&Cancel::new()).unwrap();
        let one = timeless(&run(1).trials);
        assert_eq!(one.len(), 120);
        for state in [State::Complete, State::Failed, State::Infeasible] {
            assert!(one.iter().any(|trial| trial.state == state), "{state:?} occurs");
        }
        assert!(one.iter().any(|trial| trial.reason.as_deref().is_some_and(|why| why.contains("a bug in an operator"))));
        for workers in [2, 4, 6, 50] {
            assert_eq!(timeless(&run(workers).trials), one, "{workers} workers");
        }
    });
}

#[test]
fn a_lean_study_finds_the_same_and_forgets_what_it_needs_no_more() {
    quiet(|| {
        let run = |lean| {
            let mut study = study(2).0;
            study.lean = lean;
            study.run(&Cancel::new()).unwrap()
        };
        let (whole, lean) = (run(false), run(true));
        let outcome = |trial: &Trial| (trial.id, trial.state, trial.losses.clone(), trial.duplicate_of, trial.reason.clone());
        assert!(whole.trials.iter().map(outcome).eq(lean.trials.iter().map(outcome)));
        assert_eq!(timeless(whole.best().cloned().as_slice()), timeless(lean.best().cloned().as_slice()));
        let forgotten = lean.trials.iter().filter(|trial| trial.genotype.nodes.is_empty()).count();
        assert!(forgotten > 80, "{forgotten}");
    });
}

#[test]
fn several_workers_work_and_a_duplicate_is_not_evaluated_again() {
    quiet(|| {
        let (study, evaluator) = study(3);
        let outcome = study.run(&Cancel::new()).unwrap();
        assert!(evaluator.threads.lock().unwrap().len() > 1);
        let hashes: BTreeSet<u64> = outcome.trials.iter().map(|trial| trial.genotype.canonical_hash()).collect();
        assert!(hashes.len() < outcome.trials.len(), "the small space repeats itself");
        assert_eq!(evaluator.calls.load(Ordering::Relaxed), hashes.len() as u64);
        for trial in outcome.trials.iter().filter(|trial| trial.duplicate_of.is_some()) {
            let original = &outcome.trials[usize::try_from(trial.duplicate_of.unwrap()).unwrap()];
            assert_eq!((trial.state, &trial.losses), (original.state, &original.losses));
        }
    });
}

#[test]
fn a_journal_cut_anywhere_resumes_to_the_undisturbed_run() {
    quiet(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut whole, _) = study(4);
        whole.journal = Some(Journal::create(&path, serde_json::Value::Null).unwrap());
        let whole = timeless(&whole.run(&Cancel::new()).unwrap().trials);
        let text = std::fs::read_to_string(&path).unwrap();
        for (cut, workers) in [(1, 1), (17, 2), (60, 4), (121, 3)] {
            let head: Vec<&str> = text.lines().take(cut).collect();
            std::fs::write(&path, head.join("\n") + "\n{\"id\": 99, \"sta").unwrap();
            let (mut again, evaluator) = study(workers);
            let (journal, contents) = Journal::open(&path).unwrap();
            again.journal = Some(journal);
            again.recorded = contents.trials;
            assert_eq!(timeless(&again.run(&Cancel::new()).unwrap().trials), whole, "cut after {cut} lines");
            if cut == 121 {
                assert_eq!(evaluator.calls.load(Ordering::Relaxed), 0, "nothing is evaluated twice");
            }
            let kept: Vec<Trial> = Journal::read(&path).unwrap().counting().cloned().collect();
            assert_eq!(timeless(&kept), whole);
        }
    });
}

#[test]
fn a_journal_of_another_config_is_refused() {
    quiet(|| {
        let first = study(1).0.run(&Cancel::new()).unwrap();
        let (mut other, _) = study(1);
        other.seed = 6;
        other.recorded = first.trials.into_iter().map(|trial| (trial.id, trial)).collect();
        assert!(matches!(other.run(&Cancel::new()), Err(Error::Replay { .. })));
    });
}

#[test]
fn rules_end_a_study_at_the_same_trial_for_any_number_of_workers() {
    quiet(|| {
        let all = study(1).0.run(&Cancel::new()).unwrap();
        let best = all.best().unwrap().clone();
        for workers in [1, 4] {
            let (mut by_target, _) = study(workers);
            by_target.budget.target = best.losses.first().copied();
            let outcome = by_target.run(&Cancel::new()).unwrap();
            assert!(matches!(outcome.ended, Ended::Target));
            assert_eq!(outcome.trials.len() as u64, best.id + 1);

            let (mut by_patience, _) = study(workers);
            by_patience.budget.patience = Some(10);
            let outcome = by_patience.run(&Cancel::new()).unwrap();
            assert!(matches!(outcome.ended, Ended::Patience));
            assert_eq!(outcome.trials.len() as u64, outcome.best().unwrap().id + 11);
        }
    });
}

#[test]
fn the_clock_and_the_token_end_a_study_and_keep_what_is_done() {
    quiet(|| {
        for (deadline, workers) in [(true, 1), (true, 3), (false, 3)] {
            let (mut study, _) = study(workers);
            study.budget.trials = Some(u64::MAX);
            let cancel = Cancel::new();
            if deadline {
                study.budget.deadline = Some((Instant::now() + Duration::from_millis(30)).into());
            } else {
                let cancel = cancel.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(30));
                    cancel.cancel();
                });
            }
            let outcome = study.run(&cancel).unwrap();
            assert!(matches!((&outcome.ended, deadline), (Ended::Time, true) | (Ended::Cancelled, false)), "{:?}", outcome.ended);
            assert!(!outcome.trials.is_empty());
        }
    });
}

/// Thinks until it is cancelled from its third proposal on; what it says then is an error.
struct Ponders(Climb);

impl Strategy for Ponders {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        if ask.trial < 2 {
            return Ok(vec![self.0.ask(ask, rng)?.remove(0)]);
        }
        while !ask.cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::Plugin("half a thought".into()))
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.0.tell(trial)
    }
}

#[test]
fn a_strategy_that_thinks_is_told_when_the_time_is_over() {
    let (mut study, _) = study(1);
    study.strategy = Box::new(Ponders(Climb { space: Some(study.space.clone()), ..Climb::default() }));
    study.budget.deadline = Some((Instant::now() + Duration::from_millis(200)).into());
    let outcome = study.run(&Cancel::new()).unwrap();
    assert!(matches!(outcome.ended, Ended::Time), "{:?}", outcome.ended);
    assert!(outcome.trials.len() <= 2);
}

#[test]
fn a_study_that_nothing_ends_is_refused() {
    let (mut study, _) = study(1);
    study.budget.trials = None;
    assert!(study.run(&Cancel::new()).unwrap_err().to_string().contains("nothing ends this study"));
}

// The trait object must stay usable without naming its type.
const _: fn(&dyn StrategyConfig) = |_| {};

/// Costs what the hash says; counts the bytes in use.
#[derive(Default)]
struct Priced {
    used: AtomicU64,
    peak: AtomicU64,
    seen: Mutex<Vec<f64>>,
}

fn priced(genotype: &Genotype) -> Price {
    let hash = genotype.canonical_hash();
    Price { seconds: (hash % 7) as f64, bytes: (hash % 100) as f64 }
}

impl Evaluator for Priced {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "hash".into(), direction: Direction::Minimize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let price = priced(genotype);
        let used = self.used.fetch_add(price.bytes as u64, Ordering::SeqCst) + price.bytes as u64;
        self.peak.fetch_max(used, Ordering::SeqCst);
        self.seen.lock().unwrap().push(price.seconds);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            if cx.cancel().is_cancelled() {
                break;
            }
        }
        self.used.fetch_sub(price.bytes as u64, Ordering::SeqCst);
        if cx.cancel().is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            Ok(Evaluation { losses: vec![price.bytes], ..Default::default() })
        }
    }

    fn price(&self, genotype: &Genotype, _: f64) -> Option<Price> {
        Some(priced(genotype))
    }
}

#[test]
fn what_the_budget_cannot_pay_is_refused_and_the_rest_shares_the_memory() {
    let run = |workers| {
        let (mut study, _) = study(workers);
        let evaluator = Arc::new(Priced::default());
        study.evaluator = evaluator.clone();
        study.budget =
            Budget { trials: Some(60), memory: Some(90), trial_time: Some(Duration::from_secs(1)), ..Budget::default() };
        (study.run(&Cancel::new()).unwrap().trials, evaluator)
    };
    let (trials, evaluator) = run(4);
    assert_eq!(timeless(&trials), timeless(&run(1).0));
    assert!(evaluator.peak.load(Ordering::SeqCst) <= 90);
    assert!(evaluator.seen.lock().unwrap().iter().all(|seconds| *seconds <= 4.0));
    for trial in trials.iter().filter(|trial| trial.duplicate_of.is_none()) {
        let price = priced(&trial.genotype);
        let why = trial.reason.as_deref().unwrap_or("");
        assert_eq!(price.bytes > 90.0, why.starts_with("would need"), "{price:?}: {why}");
        assert_eq!(price.bytes <= 90.0 && price.seconds > 4.0, why.starts_with("would take"), "{price:?}: {why}");
    }
}

#[test]
fn a_trial_that_makes_the_process_too_large_is_stopped_alone() {
    let (mut study, _) = study(1);
    let evaluator = Arc::new(Priced::default());
    study.evaluator = evaluator.clone();
    study.budget = Budget { trials: Some(12), memory: Some(1_000), ..Budget::default() };
    // As if the process grew with every tenth look.
    let looks = AtomicU64::new(0);
    study.memory_probe = Some(Box::new(move || Some(if looks.fetch_add(1, Ordering::SeqCst) % 10 == 3 { 2_000 } else { 10 })));
    let trials = study.run(&Cancel::new()).unwrap().trials;
    let stopped = trials.iter().filter(|trial| trial.reason.as_deref().is_some_and(|why| why.contains("stopped"))).count();
    assert_eq!(trials.len(), 12);
    assert!((1..6).contains(&stopped), "{stopped} of 12 were stopped");
}

/// Reports one step after another, each its own number from the hash; the loss is their mean.
#[derive(Default)]
struct Stepped(AtomicU64);

impl Evaluator for Stepped {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "hash".into(), direction: Direction::Minimize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let hash = genotype.canonical_hash();
        let steps: Vec<f64> = (0..4).map(|step| (hash % 1_009) as f64 + (hash >> (8 * step) & 255) as f64).collect();
        for (step, loss) in steps.iter().enumerate() {
            self.0.fetch_add(1, Ordering::Relaxed);
            cx.report(step as u64, &[*loss])?;
        }
        Ok(Evaluation { losses: vec![steps.iter().sum::<f64>() / 4.0], ..Evaluation::default() })
    }
}

#[test]
fn races_save_steps_the_same_for_any_number_of_workers_and_after_a_resume() {
    let run = |workers, racing, recorded| {
        let (mut study, _) = study(workers);
        let evaluator = Arc::new(Stepped::default());
        study.evaluator = evaluator.clone();
        study.budget.racing = racing;
        study.recorded = recorded;
        let trials = timeless(&study.run(&Cancel::new()).unwrap().trials);
        (trials, evaluator.0.load(Ordering::Relaxed))
    };
    let (raced, steps) = run(1, 3, BTreeMap::new());
    let pruned = raced.iter().filter(|trial| trial.state == State::Pruned && trial.duplicate_of.is_none()).count();
    let lost = |trial: &Trial| trial.reason.as_deref().is_some_and(|why| why.contains("worse than the best 3 trials"));
    assert!(pruned > 20 && raced.iter().all(|trial| lost(trial) == (trial.state == State::Pruned)), "{pruned}");
    assert_eq!(run(4, 3, BTreeMap::new()).0, raced);
    let half: BTreeMap<u64, Trial> = raced[..60].iter().map(|trial| (trial.id, trial.clone())).collect();
    assert_eq!(run(2, 3, half).0, raced);
    let (whole, all) = run(1, 0, BTreeMap::new());
    assert!(whole.iter().all(|trial| trial.state == State::Complete));
    assert!(steps + 2 * pruned as u64 <= all, "{steps} of {all}, {pruned} given up");
}

/// As [`Climb`], at a fidelity of a quarter but for every fourth trial.
struct Hasty(Climb);

impl Strategy for Hasty {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fidelity = if ask.trial % 4 == 3 { 1.0 } else { 0.25 };
        let mut proposals = self.0.ask(ask, rng)?;
        proposals.truncate(1);
        Ok(proposals.into_iter().map(|proposal| Proposal { fidelity, ..proposal }).collect())
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.0.tell(trial)
    }
}

/// A loss from the hash, which little effort flatters.
struct Flattering;

impl Evaluator for Flattering {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "hash".into(), direction: Direction::Minimize }]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let loss = (genotype.canonical_hash() % 1_009) as f64;
        Ok(Evaluation { losses: vec![if cx.fidelity() < 1.0 { loss - 5_000.0 } else { loss }], ..Evaluation::default() })
    }
}

#[test]
fn only_full_fidelity_is_a_result() {
    let hasty = |budget: Budget| {
        let (mut study, _) = study(3);
        study.strategy = Box::new(Hasty(Climb { space: Some(study.space.clone()), ..Climb::default() }));
        study.evaluator = Arc::new(Flattering);
        study.budget = Budget { trials: Some(120), ..budget };
        study
    };
    let all = hasty(Budget::default()).run(&Cancel::new()).unwrap();
    let best = all.best().unwrap().clone();
    assert!(best.fidelity == 1.0 && best.losses[0] >= 0.0);
    let full = all.trials.iter().filter(|trial| trial.fidelity == 1.0);
    assert_eq!(full.map(|trial| trial.losses[0]).fold(f64::INFINITY, f64::min), best.losses[0]);

    let outcome = hasty(Budget { target: Some(best.losses[0]), ..Budget::default() }).run(&Cancel::new()).unwrap();
    assert!(matches!(outcome.ended, Ended::Target));
    assert_eq!(outcome.trials.len() as u64, best.id + 1);

    // Four trials are worth 1.75 of full fidelity.
    let outcome = hasty(Budget { patience: Some(7), ..Budget::default() }).run(&Cancel::new()).unwrap();
    assert!(matches!(outcome.ended, Ended::Patience));
    assert_eq!(outcome.trials.len() as u64, outcome.best().unwrap().id + 1 + 16);

    let mut other = hasty(Budget::default());
    other.recorded = all.trials.into_iter().map(|trial| (trial.id, Trial { fidelity: 1.0, ..trial })).collect();
    assert!(matches!(other.run(&Cancel::new()), Err(Error::Replay { .. })), "a record of another fidelity");
}
