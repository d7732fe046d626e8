//! Another answer to a question than the present one.

use automl_core::rand::{Rng, RngExt};
use automl_core::{Answer, Domain};

use crate::draft::take_weighted;

/// Standard deviation of a step on the unit scale of a domain, where a config says nothing else.
pub(crate) const SIGMA: f64 = 0.2;

/// Share of numbers that are drawn anew instead of stepped, where a config says nothing else.
pub(crate) const RESAMPLE: f64 = 0.1;

/// How numbers change.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Standard deviation on the unit scale of the domain.
    pub sigma: f64,
    /// Share of numbers that are drawn anew.
    pub resample: f64,
}

impl Step {
    /// An answer other than `old`: another option, the likelier the larger its weight, or a number a step away.
    ///
    /// `legal` and `weights` are those of the question, empty and absent where every option counts the same.
    pub fn other(
        self,
        domain: &Domain,
        old: Answer,
        legal: &[bool],
        weights: Option<&[f64]>,
        rng: &mut dyn Rng,
    ) -> Option<Answer> {
        if domain.options() == 0 {
            return self.number(domain, old, rng);
        }
        let weight = |option: usize| weights.map_or(1.0, |weights| weights.get(option).copied().unwrap_or(0.0));
        let others = (0..domain.options())
            .filter(|&option| Answer::Option(option) != old && legal.get(option) != Some(&false))
            .map(|option| (option, weight(option)));
        let mut others: Vec<(usize, f64)> = others.collect();
        if others.iter().all(|(_, weight)| *weight <= 0.0) {
            others.iter_mut().for_each(|(_, weight)| *weight = 1.0);
        }
        take_weighted(&mut others, rng).map(Answer::Option)
    }

    fn number(self, domain: &Domain, old: Answer, rng: &mut dyn Rng) -> Option<Answer> {
        let resample = rng.random::<f64>() < self.resample;
        // A step may be too small for a whole number, or clipped back to where it started: then again, and anew at last.
        let steps = (0..16).map(|attempt| {
            let anew = resample || attempt >= 8;
            domain.at(if anew { rng.random() } else { domain.unit(old) + self.sigma * gaussian(rng) })
        });
        // Of two values, even that may fail; an end of the domain does not.
        steps.chain([domain.at(0.0), domain.at(1.0)]).find(|answer| *answer != old)
    }
}

/// A standard normal number (Box and Muller 1958).
pub(crate) fn gaussian(rng: &mut dyn Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn always_differs_and_steps_on_the_scale_of_the_domain() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let step = Step { sigma: 0.1, resample: 0.0 };
        let domains = [
            Domain::Int { lo: 0, hi: 1, log: false },
            Domain::Int { lo: 1, hi: 1000, log: true },
            Domain::Float { lo: 1e-4, hi: 1.0, log: true },
            Domain::Choice(vec!["a".into(), "b".into(), "c".into()]),
        ];
        for domain in &domains {
            for _ in 0..200 {
                let old = domain.at(rng.random());
                let new = step.other(domain, old, &[], None, &mut rng).unwrap();
                assert_ne!(new, old);
                assert!(domain.value(new).is_some());
            }
        }
        let far = |answer: Answer| (domains[2].unit(answer) - 0.5).powi(2);
        let middle = domains[2].at(0.5);
        let spread: f64 =
            (0..2000).map(|_| far(step.other(&domains[2], middle, &[], None, &mut rng).unwrap())).sum::<f64>() / 2000.0;
        assert!((spread.sqrt() - 0.1).abs() < 0.01, "{spread}");
        let masked = step.other(&domains[3], Answer::Option(0), &[true, false, true], None, &mut rng);
        assert_eq!(masked, Some(Answer::Option(2)));
    }
}
