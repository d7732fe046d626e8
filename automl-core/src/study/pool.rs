//! The workers of a study: threads where there are several or where trials are watched, else the caller's own thread.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use super::ancestry::Ancestry;
use super::racing::{Rivals, is_lost};
use crate::cancel::Cancel;
use crate::evaluator::{Ancestor, EvalContext, Evaluation, Evaluator, Stop};
use crate::genotype::Genotype;

/// A trial to be evaluated.
pub(super) struct Job {
    pub id: usize,
    pub genotype: Genotype,
    pub fidelity: f64,
    /// Ends this trial alone.
    pub cancel: Cancel,
    /// Whom it races against.
    pub rivals: Rivals,
    /// As in [`EvalContext::parents`].
    pub parents: Vec<u64>,
}

/// How it went.
pub(super) struct Report {
    pub id: usize,
    /// That of the job.
    pub genotype: Genotype,
    pub result: Result<Evaluation, Stop>,
    /// The first losses that it reported.
    pub steps: Vec<f64>,
    pub seconds: f64,
    /// Whether the study ended before the evaluation did, so that the result may be cut short.
    pub cut: bool,
}

/// What evaluates a job, shared by the workers.
struct Bench {
    evaluator: Arc<dyn Evaluator>,
    seed: u64,
    cancel: Cancel,
    trial_time: Option<Duration>,
    ancestry: Ancestry,
}

/// Evaluates jobs.
pub(super) struct Pool<'scope> {
    workers: usize,
    bench: Arc<Bench>,
    /// Jobs of the single worker: the thread that waits.
    own: VecDeque<Job>,
    threads: Option<(Sender<Job>, Receiver<Report>)>,
    _scope: std::marker::PhantomData<&'scope ()>,
}

impl<'scope> Pool<'scope> {
    pub fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        workers: usize,
        evaluator: Arc<dyn Evaluator>,
        seed: u64,
        cancel: Cancel,
        trial_time: Option<Duration>,
        watched: bool,
    ) -> Self {
        let bench = Arc::new(Bench { evaluator, seed, cancel, trial_time, ancestry: Ancestry::default() });
        let threads = (workers > 1 || watched).then(|| {
            let (jobs, inbox) = channel::<Job>();
            let (outbox, reports) = channel();
            let inbox = Arc::new(Mutex::new(inbox));
            for _ in 0..workers {
                let (bench, inbox, outbox) = (bench.clone(), inbox.clone(), outbox.clone());
                scope.spawn(move || {
                    loop {
                        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { return };
                        if outbox.send(bench.evaluate(job)).is_err() {
                            return;
                        }
                    }
                });
            }
            (jobs, reports)
        });
        Self { workers, bench, own: VecDeque::new(), threads, _scope: std::marker::PhantomData }
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The trials so far, which evaluations may ask about.
    pub fn ancestry(&self) -> &Ancestry {
        &self.bench.ancestry
    }

    pub fn start(&mut self, job: Job) {
        match &self.threads {
            // The receiver lives as long as the workers do, and they end only when this sender is dropped.
            Some((jobs, _)) => drop(jobs.send(job)),
            None => self.own.push_back(job),
        }
    }

    /// The next finished job; `None` after a moment without one, so that the caller can look at its token.
    pub fn wait(&mut self) -> Option<Report> {
        match &self.threads {
            Some((_, reports)) => reports.recv_timeout(Duration::from_millis(20)).ok(),
            None => self.own.pop_front().map(|job| self.bench.evaluate(job)),
        }
    }
}

impl Bench {
    fn evaluate(&self, job: Job) -> Report {
        let start = Instant::now();
        let deadline = self.trial_time.map(|limit| start + limit);
        let cancel = job.cancel.child(deadline);
        let Job { id, genotype, fidelity, rivals, parents, .. } = job;
        let ancestry = self.ancestry.clone();
        let mut cx = Context { seed: self.seed, fidelity, cancel, rivals, steps: Vec::new(), parents, ancestry };
        let result = if self.cancel.is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            // A panic in one candidate must not end the search: the trial fails, and says why.
            catch_unwind(AssertUnwindSafe(|| self.evaluator.evaluate(&genotype, &mut cx)))
                .unwrap_or_else(|panic| Err(Stop::Failed(format!("panicked: {}", message(&*panic)))))
        };
        let result = match result {
            Ok(found) if found.losses.iter().any(|loss| !loss.is_finite()) || found.losses.is_empty() => {
                Err(Stop::Failed("the evaluation gave a loss that is not a finite number".into()))
            }
            result => result,
        };
        let (seconds, cut) = (start.elapsed().as_secs_f64(), self.cancel.is_cancelled());
        Report { id, genotype, result, steps: cx.steps, seconds, cut }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

struct Context {
    seed: u64,
    fidelity: f64,
    cancel: Cancel,
    rivals: Rivals,
    steps: Vec<f64>,
    parents: Vec<u64>,
    ancestry: Ancestry,
}

impl EvalContext for Context {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn fidelity(&self) -> f64 {
        self.fidelity
    }

    fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn report(&mut self, step: u64, losses: &[f64]) -> Result<(), Stop> {
        // Only steps without a gap, which others can be compared with.
        if let Some(loss) = losses.first().filter(|loss| loss.is_finite() && step == self.steps.len() as u64) {
            self.steps.push(*loss);
            if is_lost(&self.steps, &self.rivals) && !self.cancel.is_cancelled() {
                let (steps, rivals) = (self.steps.len(), self.rivals.len());
                return Err(Stop::Pruned(format!("worse than the best {rivals} trials over the first {steps} of its steps")));
            }
        }
        if self.cancel.is_cancelled() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    fn parents(&self) -> &[u64] {
        &self.parents
    }

    fn ancestor(&self, trial: u64) -> Option<Ancestor> {
        self.ancestry.get(trial)
    }
}
