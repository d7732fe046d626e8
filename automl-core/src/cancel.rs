//! Cooperative cancellation.
//!
//! Every loop that can run for more than a few milliseconds asks [`Cancel::is_cancelled`] at least every 10 ms of work. Only
//! the study (and the command line above it) creates tokens with a deadline: nothing else reads a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A moment at which work ends, and which its owner may move while the work goes on. Clones are moved together.
#[derive(Clone, Debug)]
pub struct Deadline {
    start: Instant,
    /// Nanoseconds from `start` on.
    after: Arc<AtomicU64>,
}

impl Deadline {
    /// The moment as it stands now.
    pub fn at(&self) -> Instant {
        self.start + Duration::from_nanos(self.after.load(Ordering::Relaxed))
    }

    /// Moves it; what lies before the moment at which the deadline was made counts as that moment.
    pub fn move_to(&self, moment: Instant) {
        let after = moment.saturating_duration_since(self.start).as_nanos();
        self.after.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl From<Instant> for Deadline {
    fn from(moment: Instant) -> Self {
        let deadline = Self { start: Instant::now().min(moment), after: Arc::default() };
        deadline.move_to(moment);
        deadline
    }
}

/// A token that tells long-running work to end. Cheap to clone; clones share their flag.
///
/// A token is cancelled when its flag was raised, when its deadline has passed, or when its parent is cancelled.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Option<Deadline>,
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// A token without a deadline.
    pub fn new() -> Self {
        Self::default()
    }

    /// A child that is cancelled with `self`, or on its own, or at `deadline`.
    pub fn child(&self, deadline: Option<Instant>) -> Self {
        self.until(deadline.map(Deadline::from))
    }

    /// As [`Cancel::child`], with a deadline that may be moved.
    pub fn until(&self, deadline: Option<Deadline>) -> Self {
        Self { flag: Arc::default(), deadline, parent: Some(Arc::new(self.clone())) }
    }

    /// A child for one of `parts` pieces of work of about the same length that are left to do before this token's own
    /// deadline, with three tenths of the time kept for what comes after (a forest of many classes predicts for half as long as it fits); without a deadline, a plain child. Whatever can stop half
    /// done with something usable (a forest, a booster) then leaves time for the other pieces.
    pub fn share(&self, parts: usize) -> Self {
        let now = Instant::now();
        let each = |deadline: Instant| deadline.saturating_duration_since(now).mul_f64(0.7 / parts.max(1) as f64);
        self.child(self.deadline.as_ref().map(|deadline| now + each(deadline.at())))
    }

    /// Raises the flag: `self`, its clones and its children are cancelled from now on.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether work should end now. Costs an atomic load, and a clock read where there is a deadline.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
            || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
            || self.deadline.as_ref().is_some_and(|deadline| Instant::now() >= deadline.at())
    }
}

/// Measures how long something took, for reports: nothing that a search decides may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// A watch that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_child_ends_with_its_parent_but_not_the_other_way_round() {
        let parent = Cancel::new();
        let child = parent.child(None);
        let sibling = parent.child(None);
        child.cancel();
        assert!(child.is_cancelled() && !parent.is_cancelled() && !sibling.is_cancelled());
        parent.cancel();
        assert!(sibling.clone().is_cancelled());
    }

    #[test]
    fn a_share_ends_well_before_the_whole() {
        let now = Instant::now();
        let whole = Cancel::new().child(Some(now + Duration::from_secs(1_000)));
        let share = whole.share(2).deadline.unwrap().at();
        assert!(share > now + Duration::from_secs(300) && share < now + Duration::from_secs(400));
        assert!(Cancel::new().share(3).deadline.is_none());
        whole.cancel();
        assert!(whole.share(2).is_cancelled());
    }

    #[test]
    fn a_deadline_in_the_past_cancels() {
        assert!(Cancel::new().child(Some(Instant::now())).is_cancelled());
    }

    #[test]
    fn a_deadline_that_is_moved_takes_its_tokens_along() {
        let (now, far) = (Instant::now(), Duration::from_secs(1_000));
        let deadline = Deadline::from(now + far);
        let token = Cancel::new().until(Some(deadline.clone()));
        let child = token.child(None);
        assert!(!child.is_cancelled());
        deadline.move_to(now);
        assert!(child.is_cancelled() && token.is_cancelled());
        deadline.move_to(now + 2 * far);
        assert!(!child.is_cancelled());
        assert_eq!(deadline.at(), now + 2 * far);
    }
}
