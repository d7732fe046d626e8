//! What trials may take: the price of a candidate is arithmetic and the same in each run; the memory of the process is not, and
//! is watched for what the arithmetic missed.

use std::time::{Duration, Instant};

use super::{Budget, Run};
use crate::evaluator::Price;

/// How long a process may use too much memory before a trial is stopped for it; nothing is started meanwhile.
const GRACE: Duration = Duration::from_millis(300);

/// How far a price in seconds may lie beyond the time of a trial before the trial is refused: prices are rough, and what fits
/// in steps can stop early with something usable.
const DEAR: f64 = 4.0;

impl Budget {
    /// Bytes that all trials together may use.
    fn for_trials(&self) -> Option<f64> {
        let memory = self.memory?;
        Some(memory.saturating_sub(self.reserved).max(memory / 4) as f64)
    }
}

impl Run<'_> {
    /// Bytes of the budget that the running trials are not expected to use.
    pub(super) fn free_memory(&self) -> Option<f64> {
        let taken: f64 = self.in_flight.values().map(|trial| trial.bytes).sum();
        Some(self.study.budget.for_trials()? - taken)
    }

    /// Why a candidate of this price is not evaluated at all.
    pub(super) fn refusal(&self, price: Price) -> Option<String> {
        if let Some(most) = self.study.budget.for_trials().filter(|most| price.bytes > *most) {
            let (need, most) = (price.bytes / 1e6, most / 1e6);
            return Some(format!("would need about {need:.0} MB; of the memory limit, {most:.0} MB are for candidates"));
        }
        let limit = self.study.budget.trial_time?.as_secs_f64();
        (price.seconds > DEAR * limit)
            .then(|| format!("would take about {:.0} s; one trial may take {limit:.1} s", price.seconds.max(1.0)))
    }

    /// Stops the largest running trial where the process uses more memory than it may, and goes on doing so: what was freed a
    /// moment ago may not be back with the system yet.
    pub(super) fn watch_memory(&mut self) {
        let (Some(memory), Some(probe)) = (self.study.budget.memory, &self.study.memory_probe) else { return };
        let Some(used) = probe().filter(|used| *used > memory) else {
            self.over = None;
            return;
        };
        let (since, stopped) = *self.over.get_or_insert_with(|| (Instant::now(), false));
        // Far beyond the limit there is no time to wait, but what a stopped trial frees takes a moment.
        if since.elapsed() < GRACE && (stopped || used < memory + memory / 4) {
            return;
        }
        let running = self.in_flight.values_mut();
        if let Some(trial) = running.max_by(|a, b| a.bytes.total_cmp(&b.bytes)).filter(|trial| !trial.stopped) {
            trial.stopped = true;
            trial.cancel.cancel();
            self.over = Some((Instant::now(), true));
        }
    }
}
