//! A second layer after the search: stacks of the members, judged as every candidate is, and taken where they win.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use automl_core::{Alone, Cancel, Evaluator, Genotype};
use automl_ops::stacking::second_layers;
use automl_ops::{Metric, Validated};

use super::{Evaluations, Joined, Keeper, Kept};

/// Members that are stacked, at most: those with the largest weights.
const MEMBERS: usize = 6;
/// Fits of a member in a fold of a stack: one for each inner fold, and one on all.
const FITS: f64 = 4.0;

impl Keeper {
    /// Puts stacks of the members among the candidates where the candidates together become better by that, on rows that chose neither
    /// members nor weights. Since those rows choose whether to stack, the score without a stack is given back: where there is one,
    /// the score that is told is no better.
    pub(super) fn stack(&self, kept: &mut Vec<Kept>, token: &Cancel, evaluations: &Evaluations<'_>) -> Option<f64> {
        let evaluator = evaluations.second_layer?;
        let plain = self.join(kept, token);
        let before = plain.honest?;
        let budget = self.ends.as_ref().map(|ends| Instant::now() + ends.stacking);
        let token = token.child(budget);
        let members = members(&plain, kept);
        // Of the members' folds, each takes so long; what it shares with others is not counted.
        let expected = FITS * members.iter().map(|kept| kept.seconds).sum::<f64>();
        let balanced = matches!(self.metric, Metric::BalancedAccuracy | Metric::F1);
        let genotypes: Vec<&Genotype> = members.iter().map(|kept| &kept.genotype).collect();
        let mut found = Vec::new();
        for genotype in second_layers(&genotypes, balanced) {
            let late = |budget: Instant| budget.saturating_duration_since(Instant::now()).as_secs_f64() < expected;
            if budget.is_some_and(late) {
                break;
            }
            found.extend(self.evaluate(genotype, evaluator, evaluations.seed, &token));
        }
        if found.is_empty() {
            return None;
        }
        let mut all = std::mem::take(kept);
        let old = all.len();
        all.extend(found);
        let mut places: Vec<usize> = (0..all.len()).collect();
        places.sort_by(|&a, &b| all[a].loss.total_cmp(&all[b].loss).then(a.cmp(&b)));
        let mut slots: Vec<Option<Kept>> = all.into_iter().map(Some).collect();
        let sorted: Vec<(bool, Kept)> =
            places.into_iter().filter_map(|at| Some((at >= old, slots.get_mut(at)?.take()?))).collect();
        let (is_stack, all): (Vec<bool>, Vec<Kept>) = sorted.into_iter().unzip();
        let together = self.join(&all, &token);
        let wins = together.honest.is_some_and(|after| self.worse(Some(after), Some(before)) == Some(before) && after != before);
        if wins {
            *kept = all;
            return Some(before);
        }
        kept.extend(is_stack.into_iter().zip(all).filter_map(|(stack, kept)| (!stack).then_some(kept)));
        None
    }

    /// The worse of two scores; the other where one is missing.
    pub(super) fn worse(&self, a: Option<f64>, b: Option<f64>) -> Option<f64> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if self.metric.maximize() { a.min(b) } else { a.max(b) }),
            (a, b) => a.or(b),
        }
    }

    /// A candidate made after the search; none where it fails or comes too late.
    fn evaluate(&self, genotype: Genotype, evaluator: &dyn Evaluator, seed: u64, token: &Cancel) -> Option<Kept> {
        let begin = Instant::now();
        let mut alone = Alone { seed, fidelity: 1.0, cancel: token.child(None) };
        // As in a study, a panic in one candidate must not end the run.
        let found = catch_unwind(AssertUnwindSafe(|| evaluator.evaluate(&genotype, &mut alone))).ok()?.ok()?;
        if token.is_cancelled() {
            return None;
        }
        let validated = found.artifact?.downcast::<Validated>().ok()?;
        let (loss, bytes) = (*found.losses.first()?, validated.bytes());
        let score = found.metrics.get(self.metric.name()).copied();
        Some(Kept { loss, score, genotype, validated, seconds: begin.elapsed().as_secs_f64(), bytes, whole: true })
    }
}

/// The members with the largest weights.
fn members<'a>(joined: &Joined, kept: &'a [Kept]) -> Vec<&'a Kept> {
    let mut chosen: Vec<(f32, &Kept)> =
        joined.ensemble.weights.iter().copied().zip(kept).filter(|(weight, _)| *weight > 0.0).collect();
    chosen.sort_by(|a, b| b.0.total_cmp(&a.0));
    chosen.into_iter().take(MEMBERS).map(|(_, kept)| kept).collect()
}
