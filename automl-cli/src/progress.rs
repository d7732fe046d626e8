//! What a run shows on stderr: a line that is kept up to date on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use automl_core::{Deadline, Evaluation, Objective, Observer, State, Trial};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Plain lines come at most this often, but for new bests.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Seen {
    trials: u64,
    failed: u64,
    best: Option<(f64, u64)>,
    news: bool,
}

/// The progress of one run; shows itself until dropped.
pub struct Progress {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a progress line needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first objective.
    pub objective: Objective,
    /// When the search ends.
    pub deadline: Option<Deadline>,
    /// After how many trials it ends.
    pub trials: Option<u64>,
}

impl Progress {
    /// Starts to show a run; `quiet` shows nothing.
    pub fn start(plan: Plan, quiet: bool) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(quiet));
        let thread = (!quiet).then(|| {
            let (seen, stop) = (seen.clone(), stop.clone());
            std::thread::spawn(move || {
                if std::io::stderr().is_terminal() { live(&plan, &seen, &stop) } else { plain(&plan, &seen, &stop) }
            })
        });
        Self { seen, stop, thread }
    }

    /// What tells the progress of finished trials.
    pub fn observer(&self) -> Box<dyn Observer> {
        Box::new(Watcher(self.seen.clone()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watcher(Arc<Mutex<Seen>>);

impl Observer for Watcher {
    fn finished(&mut self, trial: &Trial, _: Option<&Evaluation>) {
        let mut seen = lock(&self.0);
        seen.trials += 1;
        seen.failed += u64::from(matches!(trial.state, State::Failed | State::Infeasible));
        if let Some(loss) = trial.full_loss().filter(|loss| seen.best.is_none_or(|(best, _)| *loss < best)) {
            seen.best = Some((loss, trial.id));
            seen.news = true;
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn line(plan: &Plan, seen: &Seen) -> String {
    let best = match seen.best {
        Some((loss, id)) => format!("best {}={:.5} (trial {id})", plan.objective.name, plan.objective.loss(loss)),
        None => "no result yet".to_owned(),
    };
    let of = plan.trials.map(|trials| format!("/{trials}")).unwrap_or_default();
    let left = plan.deadline.as_ref().map(|deadline| {
        let left = deadline.at().saturating_duration_since(Instant::now()).as_secs();
        format!("  {} left", crate::duration::format(Duration::from_secs(left)))
    });
    format!("{best}  trials {}{of}  failures {}{}", seen.trials, seen.failed, left.unwrap_or_default())
}

fn live(plan: &Plan, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    while !stop.load(Ordering::Relaxed) {
        bar.set_message(line(plan, &lock(seen)));
        bar.tick();
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_with_message(line(plan, &lock(seen)));
}

fn plain(plan: &Plan, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut last = Instant::now();
    loop {
        let over = stop.load(Ordering::Relaxed);
        let text = {
            let mut seen = lock(seen);
            let due = last.elapsed() >= if seen.news { PLAIN_EVERY / 10 } else { PLAIN_EVERY };
            (over || due).then(|| {
                seen.news = false;
                line(plan, &seen)
            })
        };
        if let Some(text) = text {
            output::note(&text);
            last = Instant::now();
        }
        if over {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
