//! Which operators of variation do well: what adapts a mix to the search at hand.
//!
//! Probability matching as in Thierens, "An adaptive pursuit strategy for allocating operator probabilities", GECCO 2005: an
//! operator is drawn in proportion to its rate of success, within bounds, and old successes fade.

use std::collections::BTreeMap;

/// What remains of an observation after each further one.
const FADING: f64 = 0.99;
/// Observations at the common rate that every operator begins with.
const PRIOR: f64 = 8.0;
/// The factor of an operator lies between this and its inverse, so that none dies out.
const FLOOR: f64 = 0.3;

/// Successes by operator.
#[derive(Default)]
pub(crate) struct Credit {
    operators: BTreeMap<String, Rate>,
}

#[derive(Clone, Copy, Default)]
struct Rate {
    tried: f64,
    won: f64,
}

impl Credit {
    /// Notes how a child of an operator did.
    pub fn tell(&mut self, by: &str, won: bool) {
        for rate in self.operators.values_mut() {
            rate.tried *= FADING;
            rate.won *= FADING;
        }
        let rate = self.operators.entry(by.to_owned()).or_default();
        rate.tried += 1.0;
        rate.won += f64::from(u8::from(won));
    }

    /// By what the weight of an operator is multiplied: its rate of success as against that of all; 1 where nothing is known.
    pub fn factor(&self, by: &str) -> f64 {
        let all = self
            .operators
            .values()
            .fold(Rate::default(), |sum, rate| Rate { tried: sum.tried + rate.tried, won: sum.won + rate.won });
        // One success and some failures beside what was seen, so that a single old success does not rule.
        let common = (all.won + 1.0) / (all.tried + PRIOR);
        let own = self.operators.get(by).copied().unwrap_or_default();
        let rate = (own.won + PRIOR * common) / (own.tried + PRIOR);
        (rate / common).clamp(FLOOR, 1.0 / FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_succeeds_is_drawn_more_often_and_nobody_dies_out() {
        let mut credit = Credit::default();
        assert_eq!(credit.factor("a"), 1.0);
        for round in 0..200 {
            credit.tell("good", round % 2 == 0);
            credit.tell("bad", false);
        }
        assert!(credit.factor("good") > 1.6 && credit.factor("bad") == FLOOR);
        assert_eq!(credit.factor("new"), 1.0);
        for _ in 0..400 {
            credit.tell("good", false);
            credit.tell("bad", true);
        }
        assert!(credit.factor("good") < 0.5 && credit.factor("bad") > 1.5, "old successes fade");
    }
}
