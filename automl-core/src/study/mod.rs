//! The study: owns the loop, the seeds, the clock, the budgets, the journal and the workers.
//!
//! **The same trials for any number of workers.** Proposal *n* is asked with a generator seeded by (seed, *n*), after exactly
//! the outcomes below *n − lag* were told, in the order of their ids. `lag` is part of the config, so at most `lag + 1` trials
//! run at once and it does not matter how many really do. A rule that ends the study (trials, patience, target) is applied in
//! the order of ids, too; a stop by the clock or by a signal only cuts the log short.
//!
//! **Resume is replay.** A recorded trial is not evaluated again: its proposal is asked, compared with the record, and told.

mod ancestry;
mod limits;
mod pool;
mod racing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::cancel::{Cancel, Deadline};
use crate::error::{Error, Result};
use crate::evaluator::{Evaluation, Evaluator, Stop};
use crate::genotype::Genotype;
use crate::hash::StableHash;
use crate::journal::Journal;
use crate::space::SearchSpace;
use crate::strategy::{Ask, Origin, Prices, Proposal, Strategy};
use crate::trial::{State, Trial};
use pool::{Job, Pool, Report};
use racing::Racing;

/// Seed of the `n`-th use of a stream of random numbers.
pub fn seed_of(seed: u64, stream: &str, n: u64) -> u64 {
    StableHash::new(stream).number(seed).number(n).finish()
}

/// When a study ends; what is `None` does not end it.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// This many trials, of whatever fidelity.
    pub trials: Option<u64>,
    /// At this moment, which an observer may move; trials in flight are given up.
    pub deadline: Option<Deadline>,
    /// After this many trials in a row without a better one; a trial at less than full fidelity counts as that share of one.
    pub patience: Option<u64>,
    /// Once the first loss of a trial at full fidelity is at most this.
    pub target: Option<f64>,
    /// Longest time of one trial, which then fails.
    pub trial_time: Option<Duration>,
    /// Bytes that the process may use. A candidate whose price lies beyond is refused; what does not fit beside the running
    /// trials waits; and where the process grows beyond it nevertheless, the largest running trial is stopped.
    pub memory: Option<u64>,
    /// Of these, the bytes that are not for trials: data, shared work, what observers keep. A number of the study's sizes, not a
    /// measurement, so that what is refused is the same in each run. A quarter of the memory is for trials in any case.
    pub reserved: u64,
    /// A trial is given up once the losses that it reports are worse, in the mean, than those of each of so many best trials at
    /// the same steps; 0: every trial runs to its end, and so it does where there are several objectives.
    pub racing: usize,
}

/// Proposals in a row that were all evaluated before, after which the space counts as exhausted.
const EXHAUSTED: u64 = 1_000;

/// Why a study ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The budget of trials is spent.
    Trials,
    /// The deadline has come.
    Time,
    /// No better trial for as long as the budget's patience.
    Patience,
    /// The target is reached.
    Target,
    /// The strategy proposes nothing new.
    Exhausted,
    /// The token given to [`Study::run`] was cancelled.
    Cancelled,
    /// The journal cannot be written any more; what was found is in the outcome.
    Journal(Error),
}

/// What a study found.
#[derive(Debug)]
pub struct Outcome {
    /// The trials that count, by id. A stop by clock or signal may leave out ids that were in flight.
    pub trials: Vec<Trial>,
    /// Why it ended.
    pub ended: Ended,
}

impl Outcome {
    /// The complete trial at full fidelity with the smallest first loss; the earliest of equals.
    pub fn best(&self) -> Option<&Trial> {
        best(&self.trials)
    }
}

/// The complete trial at full fidelity with the smallest first loss; the earliest of equals.
pub fn best(trials: &[Trial]) -> Option<&Trial> {
    let complete = trials.iter().filter_map(|trial| trial.full_loss().map(|loss| (loss, trial)));
    complete.min_by(|(a, x), (b, y)| a.total_cmp(b).then(x.id.cmp(&y.id))).map(|(_, trial)| trial)
}

/// Hears of every finished trial, on the thread that runs the study.
pub trait Observer {
    /// A trial ended. Its evaluation is there unless the trial has none, repeats an earlier one, or comes from the journal.
    fn finished(&mut self, trial: &Trial, evaluation: Option<&Evaluation>);
}

/// A study, ready to run.
pub struct Study {
    /// Where candidates come from.
    pub space: Arc<dyn SearchSpace>,
    /// What proposes them.
    pub strategy: Box<dyn Strategy>,
    /// What judges them.
    pub evaluator: Arc<dyn Evaluator>,
    /// Seed of everything.
    pub seed: u64,
    /// How many of the latest outcomes a proposal may not know.
    pub lag: u64,
    /// Trials that run at once; more than `lag + 1` never do.
    pub workers: usize,
    /// When it ends.
    pub budget: Budget,
    /// Candidates evaluated before the strategy is asked.
    pub starts: Vec<Genotype>,
    /// Where finished trials are kept.
    pub journal: Option<Journal>,
    /// Trials of an earlier session.
    pub recorded: BTreeMap<u64, Trial>,
    /// Who hears of finished trials.
    pub observers: Vec<Box<dyn Observer>>,
    /// Whether what was tried and is not the best so far is forgotten once everybody was told of it, but for its outcome: an hour on a
    /// small table tries hundreds of thousands of candidates. The journal has them all.
    pub lean: bool,
    /// Tells the bytes that the process uses now; asked while trials run, where the budget bounds the memory.
    pub memory_probe: Option<Box<dyn Fn() -> Option<u64>>>,
}

impl Study {
    /// A study with seed 0, no lag, one worker and no budget.
    pub fn new(space: Arc<dyn SearchSpace>, strategy: Box<dyn Strategy>, evaluator: Arc<dyn Evaluator>) -> Self {
        Self {
            space,
            strategy,
            evaluator,
            seed: 0,
            lag: 0,
            workers: 1,
            budget: Budget::default(),
            starts: Vec::new(),
            journal: None,
            recorded: BTreeMap::new(),
            observers: Vec::new(),
            lean: false,
            memory_probe: None,
        }
    }

    /// Runs until the budget ends or `cancel` is cancelled.
    ///
    /// # Errors
    /// [`Error::Config`] for a budget that never ends the study, [`Error::Replay`] where the recorded trials are not those
    /// that the strategy proposes, and errors of the strategy.
    pub fn run(self, cancel: &Cancel) -> Result<Outcome> {
        let ends = &self.budget;
        if ends.trials.is_none() && ends.deadline.is_none() && ends.patience.is_none() {
            return Err(Error::config("budget", "nothing ends this study; set a number of trials, a time limit or a patience"));
        }
        let token = cancel.until(self.budget.deadline.clone());
        let workers = self.workers.clamp(1, usize::try_from(self.lag).unwrap_or(usize::MAX).saturating_add(1));
        let evaluator = self.evaluator.clone();
        let seed = seed_of(self.seed, "evaluate", 0);
        let trial_time = self.budget.trial_time;
        let watched = self.budget.memory.is_some() && self.memory_probe.is_some();
        std::thread::scope(|scope| {
            let pool = Pool::new(scope, workers, evaluator, seed, token.clone(), trial_time, watched);
            let outcome = Run::new(self, cancel.clone(), token.clone(), pool).run();
            token.cancel();
            outcome
        })
    }
}

/// A trial that a worker evaluates.
struct InFlight {
    /// Bytes it is expected to use.
    bytes: f64,
    cancel: Cancel,
    /// Whether it was stopped for its memory.
    stopped: bool,
}

/// The state of a running study.
struct Run<'scope> {
    study: Study,
    /// The caller's token: tells a stop by signal from one by the clock.
    outer: Cancel,
    token: Cancel,
    pool: Pool<'scope>,
    /// Outcomes by id; `None` while in flight.
    trials: Vec<Option<Trial>>,
    /// Proposals that were not told yet; the first is that of trial `told`.
    pending: VecDeque<Proposal>,
    /// Proposals of one ask that have no id yet.
    queue: VecDeque<Proposal>,
    /// Since when the process has used more memory than it may, or since a trial was stopped for it; and whether one was.
    over: Option<(Instant, bool)>,
    /// The next trial, where it waits for memory.
    held: Option<Proposal>,
    in_flight: BTreeMap<usize, InFlight>,
    racing: Racing,
    told: usize,
    /// First id whose outcome the stop rules have not seen.
    settled: usize,
    first_seen: BTreeMap<(u64, u64), usize>,
    /// Duplicates that wait for the outcome of their original.
    waiting: BTreeMap<usize, Vec<usize>>,
    /// The least loss at full fidelity of those that were settled.
    best: Option<f64>,
    /// Effort since then, in trials at full fidelity.
    idle: f64,
    repeats: u64,
    exhausted: bool,
    ended: Option<(Ended, usize)>,
    synced: Instant,
}

impl<'scope> Run<'scope> {
    fn new(study: Study, outer: Cancel, token: Cancel, pool: Pool<'scope>) -> Self {
        Self {
            // Who is worse in the first of several objectives can still be the best in another.
            racing: Racing::new(if study.evaluator.objectives().len() > 1 { 0 } else { study.budget.racing }),
            study,
            outer,
            token,
            pool,
            trials: Vec::new(),
            pending: VecDeque::new(),
            queue: VecDeque::new(),
            over: None,
            held: None,
            in_flight: BTreeMap::new(),
            told: 0,
            settled: 0,
            first_seen: BTreeMap::new(),
            waiting: BTreeMap::new(),
            best: None,
            idle: 0.0,
            repeats: 0,
            exhausted: false,
            ended: None,
            synced: Instant::now(),
        }
    }

    fn run(mut self) -> Result<Outcome> {
        loop {
            self.settle();
            if let Some((ended, end)) = self.ended.take() {
                return Ok(self.finish(ended, Some(end)));
            }
            if self.token.is_cancelled() {
                let ended = if self.outer.is_cancelled() { Ended::Cancelled } else { Ended::Time };
                return Ok(self.finish(ended, None));
            }
            if self.propose()? || self.token.is_cancelled() {
                continue;
            }
            if self.in_flight.is_empty() {
                let ended = if self.exhausted { Ended::Exhausted } else { Ended::Trials };
                let end = self.trials.len();
                return Ok(self.finish(ended, Some(end)));
            }
            match self.pool.wait() {
                Some(report) => {
                    self.reported(report);
                    if self.over.is_some() {
                        self.watch_memory();
                    }
                }
                None => self.watch_memory(),
            }
        }
    }

    /// Gives the next trial its proposal and its worker; `false` where that must wait or nothing is left.
    fn propose(&mut self) -> Result<bool> {
        let id = self.trials.len();
        let spent = self.study.budget.trials.is_some_and(|trials| id as u64 >= trials);
        if spent || self.exhausted || self.in_flight.len() >= self.pool.workers() {
            return Ok(false);
        }
        let held = self.held.take();
        let Some(proposal) = (if held.is_some() { held } else { self.next_proposal(id)? }) else { return Ok(false) };
        let hash = self.study.space.canonical_hash(&proposal.genotype);
        let seen = self.first_seen.contains_key(&(hash, proposal.fidelity.to_bits()));
        let recorded = self.study.recorded.contains_key(&(id as u64));
        let price = if seen || recorded { None } else { self.study.evaluator.price(&proposal.genotype, proposal.fidelity) };
        let bytes = price.map_or(0.0, |price| price.bytes);
        let full = self.over.is_some() || self.free_memory().is_some_and(|free| bytes > free);
        let refusal = price.and_then(|price| self.refusal(price));
        if full && refusal.is_none() && !self.in_flight.is_empty() {
            self.held = Some(proposal);
            return Ok(false);
        }
        self.trials.push(None);
        let original = *self.first_seen.entry((hash, proposal.fidelity.to_bits())).or_insert(id);
        let parents = self.pool.ancestry().add(&proposal, original);
        if let Some(record) = self.study.recorded.remove(&(id as u64)) {
            if record.genotype != proposal.genotype || record.fidelity != proposal.fidelity {
                return Err(Error::Replay { id: id as u64 });
            }
            self.pending.push_back(proposal);
            self.keep(id, record, None, false);
        } else if original == id {
            if let Some(why) = refusal {
                let (genotype, result) = (proposal.genotype.clone(), Err(Stop::Infeasible(why)));
                self.pending.push_back(proposal);
                self.reported(Report { id, genotype, result, steps: Vec::new(), seconds: 0.0, cut: false });
                return Ok(true);
            }
            let cancel = self.token.child(None);
            self.in_flight.insert(id, InFlight { bytes, cancel: cancel.clone(), stopped: false });
            let rivals = self.racing.rivals(proposal.fidelity);
            let (genotype, fidelity) = (proposal.genotype.clone(), proposal.fidelity);
            self.pool.start(Job { id, genotype, fidelity, cancel, rivals, parents });
            self.pending.push_back(proposal);
        } else if let Some(Some(trial)) = self.trials.get(original) {
            let repeated = repeat(trial, id, &proposal);
            self.pending.push_back(proposal);
            self.keep(id, repeated, None, true);
        } else {
            self.pending.push_back(proposal);
            self.waiting.entry(original).or_default().push(id);
        }
        Ok(true)
    }

    fn next_proposal(&mut self, id: usize) -> Result<Option<Proposal>> {
        if let Some(start) = self.study.starts.get(id) {
            return Ok(Some(Proposal::new(start.clone(), Origin::by("start"))));
        }
        let lag = usize::try_from(self.study.lag).unwrap_or(usize::MAX);
        while self.told < id.saturating_sub(lag) {
            let Some(Some(trial)) = self.trials.get(self.told) else { return Ok(None) };
            self.study.strategy.tell(trial)?;
            self.racing.tell(trial);
            self.pending.pop_front();
            self.forget(self.told);
            self.told += 1;
        }
        if self.queue.is_empty() {
            let prices = Prices::of(self.study.evaluator.as_ref());
            let ask = Ask { trial: id as u64, pending: self.pending.make_contiguous(), prices, cancel: &self.token };
            let mut rng = ChaCha8Rng::seed_from_u64(seed_of(self.study.seed, "ask", id as u64));
            let asked = self.study.strategy.ask(&ask, &mut rng);
            if self.token.is_cancelled() {
                return Ok(None);
            }
            self.queue = asked?.into();
            self.exhausted = self.queue.is_empty();
        }
        Ok(self.queue.pop_front())
    }

    /// Lets go of what a study does not need of a trial any more.
    fn forget(&mut self, id: usize) {
        if !self.study.lean || id >= self.settled {
            return;
        }
        if let Some(Some(trial)) = self.trials.get_mut(id)
            && trial.full_loss().is_none_or(|loss| self.best.is_some_and(|best| loss > best))
        {
            trial.genotype.nodes = Vec::new();
            trial.steps = Vec::new();
            trial.origin = Origin::by("");
        }
    }

    /// The proposal of a trial that was not told yet.
    fn proposal(&self, id: usize) -> Option<&Proposal> {
        self.pending.get(id.checked_sub(self.told)?)
    }

    /// Turns a worker's report into a trial; one that the study's own end cut short is dropped.
    fn reported(&mut self, report: Report) {
        let stopped = self.in_flight.remove(&report.id).is_some_and(|trial| trial.stopped);
        let Some(proposal) = self.proposal(report.id) else { return };
        if report.cut || self.token.is_cancelled() {
            return;
        }
        let (state, reason) = match &report.result {
            Ok(_) => (State::Complete, None),
            Err(Stop::Pruned(why)) => (State::Pruned, Some(why.clone())),
            Err(Stop::Infeasible(why)) => (State::Infeasible, Some(why.clone())),
            Err(Stop::Failed(why)) => (State::Failed, Some(why.clone())),
            Err(Stop::Cancelled) if stopped => {
                let memory = self.study.budget.memory.unwrap_or_default() as f64 / 1e6;
                (State::Failed, Some(format!("was stopped, since the process used more than the {memory:.0} MB it may")))
            }
            Err(Stop::Cancelled) => {
                let limit = self.study.budget.trial_time.unwrap_or_default().as_secs_f64();
                (State::Failed, Some(format!("took longer than the {limit:.1} s that one trial may take")))
            }
        };
        let evaluation = report.result.ok();
        let trial = Trial {
            id: report.id as u64,
            state,
            losses: evaluation.as_ref().map(|found| found.losses.clone()).unwrap_or_default(),
            metrics: evaluation.as_ref().map(|found| found.metrics.clone()).unwrap_or_default(),
            genotype: report.genotype,
            origin: proposal.origin.clone(),
            fidelity: proposal.fidelity,
            steps: report.steps,
            duplicate_of: None,
            reason,
            seconds: report.seconds,
        };
        self.keep(report.id, trial, evaluation.as_ref(), true);
    }

    /// Keeps a finished trial, tells the observers, and resolves the duplicates that wait for it.
    fn keep(&mut self, id: usize, trial: Trial, evaluation: Option<&Evaluation>, new: bool) {
        if new {
            self.write(&trial);
        }
        for observer in &mut self.study.observers {
            observer.finished(&trial, evaluation);
        }
        self.trials[id] = Some(trial);
        for duplicate in self.waiting.remove(&id).unwrap_or_default() {
            if let (Some(Some(trial)), Some(proposal)) = (self.trials.get(id), self.proposal(duplicate)) {
                let repeated = repeat(trial, duplicate, proposal);
                self.keep(duplicate, repeated, None, true);
            }
        }
    }

    fn write(&mut self, trial: &Trial) {
        let Some(journal) = &mut self.study.journal else { return };
        let mut written = journal.append(trial);
        if written.is_ok() && self.synced.elapsed() > Duration::from_secs(1) {
            written = journal.sync();
            self.synced = Instant::now();
        }
        if let Err(error) = written {
            self.study.journal = None;
            let end = self.trials.len();
            self.ended.get_or_insert((Ended::Journal(error), end));
        }
    }

    /// Applies the rules that end a study, trial by trial in the order of ids.
    fn settle(&mut self) {
        while self.ended.is_none() {
            let Some(Some(trial)) = self.trials.get(self.settled) else { return };
            let id = self.settled;
            self.settled += 1;
            self.repeats = if trial.duplicate_of.is_some() { self.repeats + 1 } else { 0 };
            self.idle += trial.fidelity;
            if let Some(loss) = trial.full_loss().filter(|loss| self.best.is_none_or(|best| *loss < best)) {
                (self.best, self.idle) = (Some(loss), 0.0);
            }
            let budget = &self.study.budget;
            let reached = self.best.is_some_and(|best| budget.target.is_some_and(|target| best <= target));
            let ended = if reached {
                Ended::Target
            } else if budget.patience.is_some_and(|patience| self.idle >= patience as f64) {
                Ended::Patience
            } else if self.repeats >= EXHAUSTED {
                Ended::Exhausted
            } else {
                continue;
            };
            self.ended = Some((ended, id + 1));
        }
    }

    fn finish(mut self, ended: Ended, end: Option<usize>) -> Outcome {
        self.token.cancel();
        let mut trials: Vec<Trial> = self.trials.into_iter().take(end.unwrap_or(usize::MAX)).flatten().collect();
        trials.sort_by_key(|trial| trial.id);
        let closed = match (&mut self.study.journal, end) {
            (Some(journal), Some(end)) => journal.end(end as u64),
            (Some(journal), None) => journal.sync(),
            (None, _) => Ok(()),
        };
        let ended = match (ended, closed) {
            (ended, Ok(())) | (ended @ Ended::Journal(_), _) => ended,
            (_, Err(error)) => Ended::Journal(error),
        };
        Outcome { trials, ended }
    }
}

/// The outcome of an earlier trial, for a proposal of the same candidate.
fn repeat(original: &Trial, id: usize, proposal: &Proposal) -> Trial {
    Trial {
        id: id as u64,
        state: original.state,
        losses: original.losses.clone(),
        metrics: original.metrics.clone(),
        genotype: proposal.genotype.clone(),
        origin: proposal.origin.clone(),
        fidelity: original.fidelity,
        steps: Vec::new(),
        duplicate_of: Some(original.duplicate_of.unwrap_or(original.id)),
        reason: original.reason.clone(),
        seconds: 0.0,
    }
}

#[cfg(test)]
mod tests;
