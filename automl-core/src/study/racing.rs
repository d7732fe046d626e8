//! Giving up what cannot win: a candidate races the best trials over the steps (folds, epochs) that both report.
//!
//! The rivals are trials that were told to the strategy, so they depend on the lag alone and not on which worker was faster; and
//! their steps stand in the journal, so a resumed study gives up the same trials.

use std::sync::Arc;

use crate::trial::Trial;

/// Losses of the rivals, step by step.
pub(super) type Rivals = Arc<Vec<Vec<f64>>>;

/// The trials that others race against.
pub(super) struct Racing {
    /// How many; 0 for no races.
    count: usize,
    /// Their losses, best first, and their steps in the same order.
    losses: Vec<f64>,
    rivals: Rivals,
}

impl Racing {
    pub fn new(count: usize) -> Self {
        Self { count, losses: Vec::new(), rivals: Rivals::default() }
    }

    /// Notes a trial, if it is among the best.
    pub fn tell(&mut self, trial: &Trial) {
        let (Some(loss), false) = (trial.full_loss(), trial.steps.is_empty()) else { return };
        let place = self.losses.partition_point(|known| *known <= loss);
        if place < self.count {
            self.losses.insert(place, loss);
            self.losses.truncate(self.count);
            let rivals = Arc::make_mut(&mut self.rivals);
            rivals.insert(place, trial.steps.clone());
            rivals.truncate(self.count);
        }
    }

    /// Whom a trial of some fidelity races against: nobody until there are as many as there should be, since early trials are
    /// no measure of what can be had.
    pub fn rivals(&self, fidelity: f64) -> Rivals {
        if fidelity == 1.0 && self.losses.len() == self.count { self.rivals.clone() } else { Rivals::default() }
    }
}

/// Whether a candidate that reported these losses is worse than every rival over the same steps, with steps left to save. A rival
/// that reported no more steps (a step can be without a score) tells nothing.
pub(super) fn is_lost(steps: &[f64], rivals: &[Vec<f64>]) -> bool {
    let own: f64 = steps.iter().sum();
    let mut longer = rivals.iter().filter(|rival| rival.len() > steps.len()).peekable();
    !steps.is_empty() && longer.peek().is_some() && longer.all(|rival| own > rival[..steps.len()].iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_every_rival_has_lost() {
        let rivals = vec![vec![1.0, 5.0, 1.0], vec![2.0, 2.0, 2.0]];
        assert!(is_lost(&[3.0], &rivals));
        assert!(!is_lost(&[1.5], &rivals));
        assert!(!is_lost(&[2.5, 2.5], &rivals));
        assert!(is_lost(&[2.5, 4.0], &rivals));
        assert!(!is_lost(&[9.0, 9.0, 9.0], &rivals), "nothing is left to save");
        assert!(!is_lost(&[9.0], &[]) && !is_lost(&[], &rivals));
        let uneven = vec![vec![1.0, 5.0, 1.0], vec![1.0]];
        assert!(is_lost(&[3.0], &uneven), "who has no more steps is no rival");
    }
}
