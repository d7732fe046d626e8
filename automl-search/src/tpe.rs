//! Tree-structured Parzen estimator: Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization",
//! NeurIPS 2011; over all questions jointly, as in Falkner, Klein and Hutter, "BOHB", ICML 2018.
//!
//! Two mixtures of kernels describe the answers that made good candidates and those that made the rest. Of some draws from the
//! former, the one is proposed that is likeliest under the former as against the latter. A kernel sits on one earlier
//! candidate, so questions that belong together stay together; a question that this candidate was not asked is answered from
//! the prior of the space, which makes conditional spaces and graphs no special case.

use std::collections::BTreeMap;
use std::f64::consts::{PI, SQRT_2};
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{
    Answer, Ask, Choose, Error, Genotype, Objective, Origin, Proposal, Question, Result, SearchSpace, Strategy, Trial, plugin,
};
use serde::{Deserialize, Serialize};

use crate::fresh::Told;
use crate::settings::at_least_one;

/// Bayesian optimisation by the densities of good and bad candidates.
///
/// Random until `initial` trials were told. Failed, infeasible and pruned trials count as bad, and so do pending ones: parallel
/// proposals keep apart. Trials at less than full fidelity are not learnt from. Sees the first objective alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Tpe {
    /// Random trials at the start; default 10.
    pub initial: usize,
    /// Draws of which the best is proposed; default 24.
    pub candidates: usize,
    /// Share of the trials that are good, in (0, 1); at most 25 are. Default 0.1.
    pub good: f64,
}

impl Default for Tpe {
    fn default() -> Self {
        Self { initial: 10, candidates: 24, good: 0.1 }
    }
}

/// Good trials, at most.
const MOST_GOOD: usize = 25;
/// Kernels of the bad trials, at most: those between are left out.
const MOST_BAD: usize = 400;
/// Width of a kernel on a domain of length 1, for one observation.
const WIDTH: f64 = 0.2;
/// Largest chance that a kernel leaves the answer of a choice to the prior.
const LOOSE: f64 = 0.5;

plugin! {
    "tpe",
    impl StrategyConfig for Tpe {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            at_least_one(&[("initial", self.initial), ("candidates", self.candidates)])?;
            if !(self.good > 0.0 && self.good < 1.0) {
                return Err(Error::config("strategy.good", format!("is {}; it must lie between 0 and 1", self.good)));
            }
            Ok(Box::new(Running { config: self.clone(), told: Told::new(space), seen: Vec::new() }))
        }
    }
}

struct Running {
    config: Tpe,
    told: Told,
    seen: Vec<Seen>,
}

/// A trial as its answers.
struct Seen {
    id: u64,
    hash: u64,
    /// Infinite where there is none.
    loss: f64,
    answers: Answers,
}

/// By point: the index of an option, or a place on the domain from 0 to 1.
type Answers = BTreeMap<usize, Place>;

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Option(usize),
    At(f64),
}

impl Running {
    fn answers(&self, genotype: &Genotype) -> Result<Answers> {
        let points = self.told.space.points();
        let place = |(point, answer): (usize, Answer)| {
            let place = match answer {
                Answer::Option(index) => Place::Option(index),
                answer => Place::At(points.get(point).map_or(0.5, |point| point.domain.unit(answer))),
            };
            (point, place)
        };
        Ok(self.told.space.trace(genotype)?.into_iter().map(|step| place((step.point, step.answer))).collect())
    }

    /// The trials that are good, best first, and the others; the earlier of equals is the better one.
    fn split(&self) -> (Vec<&Seen>, Vec<&Seen>) {
        let mut order: Vec<&Seen> = self.seen.iter().collect();
        order.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        let scored = order.iter().filter(|seen| seen.loss.is_finite()).count();
        let good = ((self.config.good * order.len() as f64).ceil() as usize).clamp(1, MOST_GOOD);
        let rest = order.split_off(good.min(scored));
        (order, rest)
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let fresh = self.told.fresh(ask);
        if self.told.trials < self.config.initial || self.seen.iter().all(|seen| seen.loss.is_infinite()) {
            return Ok(vec![fresh.random(rng)?]);
        }
        let (good, rest) = self.split();
        let step = rest.len().div_ceil(MOST_BAD).max(1);
        let mut bad: Vec<Answers> = rest.iter().step_by(step).map(|seen| seen.answers.clone()).collect();
        for pending in ask.pending {
            bad.push(self.answers(&pending.genotype)?);
        }
        let likely = Mixture::new(good.iter().map(|seen| seen.answers.clone()).collect());
        let unlikely = Mixture::new(bad);
        let mut best: Option<(f64, Genotype, Origin)> = None;
        for _ in 0..self.config.candidates {
            // One more component is the prior itself.
            let kernel = rng.random_range(0..=good.len());
            let mut draw = Draw { mixture: &likely, kernel, rng, steps: Vec::new() };
            let genotype = self.told.space.build(&mut draw)?;
            let steps = draw.steps;
            let score = likely.log_density(&steps) - unlikely.log_density(&steps);
            if best.as_ref().is_none_or(|(most, ..)| score > *most) && fresh.is(&genotype) {
                let parents = good.get(kernel).map(|seen| seen.id).into_iter().collect();
                best = Some((score, genotype, Origin { by: "tpe".to_owned(), parents, note: None }));
            }
        }
        Ok(vec![match best {
            Some((_, genotype, origin)) => Proposal::new(genotype, origin),
            None => fresh.random(rng)?,
        }])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.told.tell(trial);
        if trial.fidelity == 1.0 && trial.duplicate_of.is_none() {
            let answers = self.answers(&trial.genotype)?;
            // Evaluated again, with more effort: the last word counts.
            self.seen.retain(|seen| seen.hash != hash);
            self.seen.push(Seen { id: trial.id, hash, loss: trial.loss().unwrap_or(f64::INFINITY), answers });
        }
        Ok(())
    }
}

/// An answer that was drawn, with what its density needs to be known.
struct Step {
    point: usize,
    place: Place,
    /// Chance of the answer under the prior; 1 for a number, whose prior is even.
    prior: f64,
    /// Which options could be chosen; empty for a number.
    legal: Vec<bool>,
}

/// Kernels on earlier candidates, and the prior as one more.
struct Mixture {
    kernels: Vec<Answers>,
    /// Standard deviation of a kernel on a number.
    width: f64,
    /// By point the kernels that were asked it, with the logarithm that makes a kernel on a number a density.
    by_point: BTreeMap<usize, Vec<(usize, Place, f64)>>,
}

impl Mixture {
    fn new(kernels: Vec<Answers>) -> Self {
        let count = kernels.len().max(1) as f64;
        let questions = kernels.iter().map(BTreeMap::len).sum::<usize>() as f64 / count;
        // Scott's rule, and never narrower than what so many kernels can cover.
        let width = (WIDTH * count.powf(-1.0 / (questions + 4.0))).max(1.0 / (1.0 + count).min(100.0));
        let scale = |place: Place| match place {
            Place::Option(_) => 0.0,
            Place::At(centre) => {
                let inside = normal((1.0 - centre) / width) - normal(-centre / width);
                -(width * (2.0 * PI).sqrt() * inside).ln()
            }
        };
        let mut by_point: BTreeMap<usize, Vec<(usize, Place, f64)>> = BTreeMap::new();
        for (index, kernel) in kernels.iter().enumerate() {
            for (&point, &place) in kernel {
                by_point.entry(point).or_default().push((index, place, scale(place)));
            }
        }
        Self { kernels, width, by_point }
    }

    /// The chance that a kernel leaves a choice to the prior: smaller, the more kernels there are for its options.
    fn loose(&self, options: usize) -> f64 {
        let options = options as f64;
        (options / (options + self.kernels.len() as f64)).min(LOOSE)
    }

    /// The logarithm of the density of a candidate.
    fn log_density(&self, steps: &[Step]) -> f64 {
        let log = |density: f64| density.max(f64::MIN_POSITIVE).ln();
        // By the prior at first, which is what a kernel says of a question that it was not asked.
        let mut logs = vec![steps.iter().map(|step| log(step.prior)).sum::<f64>(); self.kernels.len() + 1];
        for step in steps {
            let prior = log(step.prior);
            let loose = self.loose(step.legal.iter().filter(|legal| **legal).count());
            let (same, other) = (log(loose * step.prior + 1.0 - loose), log(loose * step.prior));
            for &(kernel, place, scale) in self.by_point.get(&step.point).into_iter().flatten() {
                logs[kernel] += match (place, step.place) {
                    (Place::Option(own), Place::Option(index)) if own == index => same - prior,
                    // A kernel whose own answer is illegal here leaves the question to the prior.
                    (Place::Option(own), Place::Option(_)) if step.legal.get(own) == Some(&true) => other - prior,
                    (Place::At(centre), Place::At(x)) => scale - 0.5 * ((x - centre) / self.width).powi(2),
                    _ => 0.0,
                };
            }
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln() - (logs.len() as f64).ln()
    }
}

/// The distribution function of the standard normal distribution, to 1e-7 (Abramowitz and Stegun, 7.1.26).
fn normal(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = series.iter().fold(0.0, |sum, c| (sum + c) * t) * (-x * x).exp();
    if z < 0.0 { 0.5 * tail } else { 1.0 - 0.5 * tail }
}

/// Answers the questions of a space by one kernel of a mixture.
struct Draw<'a> {
    mixture: &'a Mixture,
    /// Its index; the prior where there is no such kernel.
    kernel: usize,
    rng: &'a mut dyn Rng,
    steps: Vec<Step>,
}

impl Draw<'_> {
    /// A number from 0 to 1 near the centre.
    fn near(&mut self, centre: f64) -> f64 {
        // By rejection: of a normal distribution around a place in the range, hardly less than half lies in it.
        for _ in 0..64 {
            let (a, b): (f64, f64) = (self.rng.random(), self.rng.random());
            let x = centre + self.mixture.width * (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * PI * b).cos();
            if (0.0..=1.0).contains(&x) {
                return x;
            }
        }
        centre
    }
}

impl Choose for Draw<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let own = self.mixture.kernels.get(self.kernel).and_then(|answers| answers.get(&question.id)).copied();
        if question.legal.is_empty() {
            let unit = match own {
                Some(Place::At(centre)) => self.near(centre),
                _ => self.rng.random(),
            };
            let answer = question.point.domain.at(unit);
            let place = Place::At(question.point.domain.unit(answer));
            self.steps.push(Step { point: question.id, place, prior: 1.0, legal: Vec::new() });
            return Ok(answer);
        }
        let options = question.legal.iter().filter(|legal| **legal).count();
        let even = |index: usize| f64::from(u8::from(question.legal.get(index) == Some(&true)));
        let weight = |index: usize| even(index) * question.weights.and_then(|weights| weights.get(index)).unwrap_or(&1.0);
        let total: f64 = (0..question.legal.len()).map(weight).sum();
        let prior = |index: usize| if total > 0.0 { weight(index) / total } else { even(index) / options as f64 };
        let kept = match own {
            Some(Place::Option(index)) if even(index) > 0.0 => Some(index),
            _ => None,
        };
        let index = match kept {
            Some(index) if self.rng.random::<f64>() >= self.mixture.loose(options) => index,
            _ => {
                let mut left: f64 = self.rng.random();
                let legal = || (0..question.legal.len()).filter(|&index| prior(index) > 0.0);
                let drawn = legal().find(|&index| {
                    left -= prior(index);
                    left < 0.0
                });
                drawn.or(legal().next_back()).unwrap_or_default()
            }
        };
        self.steps.push(Step {
            point: question.id,
            place: Place::Option(index),
            prior: prior(index),
            legal: question.legal.to_vec(),
        });
        Ok(Answer::Option(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_best, pool_space, tiny};

    #[test]
    fn beats_random_search() {
        let (tpe, random) = (mean_best(&Tpe::default()), mean_best(&Random {}));
        assert!(tpe < 0.85 * random, "{tpe} {random}");
    }

    #[test]
    fn a_small_space_is_seen_whole_before_anything_repeats() {
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let run = Run::new(&Tpe { initial: 1, ..Tpe::default() }, &space, 1).trials(3, |_| Some(0.0));
        let mut seen: Vec<String> = run.iter().map(|trial| trial.genotype.to_string()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3, "{seen:?}");
    }

    #[test]
    fn descends_from_good_trials_and_survives_failures() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then(|| distance(genotype));
        let trials = Run::new(&Tpe::default(), &space, 3).trials(80, odd);
        let parents = trials.iter().flat_map(|trial| &trial.origin.parents);
        let parents: Vec<&Trial> = parents.map(|&id| &trials[id as usize]).collect();
        assert!(parents.len() > 30 && parents.iter().all(|parent| parent.loss().is_some()));
        let odd = trials[40..].iter().filter(|trial| trial.loss().is_some()).count();
        assert!(odd > 25, "{odd} of 40 keep away from what fails");
        let trials = Run::new(&Tpe::default(), &space, 4).trials(30, |_| None);
        assert!(trials.iter().all(|trial| trial.origin.by == "random"));
    }

    #[test]
    fn a_kernel_is_a_density() {
        let place = |at: f64| Answers::from([(0, Place::At(at))]);
        let mixture = Mixture::new(vec![place(0.0), place(0.3), place(1.0)]);
        let step = |x: f64| [Step { point: 0, place: Place::At(x), prior: 1.0, legal: vec![] }];
        let mass: f64 = (0..1000).map(|x| mixture.log_density(&step((f64::from(x) + 0.5) / 1000.0)).exp() / 1000.0).sum();
        assert!((mass - 1.0).abs() < 1e-4, "{mass}");
        let mixture = Mixture::new(vec![Answers::from([(0, Place::Option(2))])]);
        let step = |index| [Step { point: 0, place: Place::Option(index), prior: 0.25, legal: vec![true; 4] }];
        let mass: f64 = (0..4).map(|index| mixture.log_density(&step(index)).exp()).sum();
        assert!((mass - 1.0).abs() < 1e-12, "{mass}");
        let legal = vec![true, true, false, true];
        let step = |index| [Step { point: 0, place: Place::Option(index), prior: 1.0 / 3.0, legal: legal.clone() }];
        let mass: f64 = [0, 1, 3].iter().map(|&index| mixture.log_density(&step(index)).exp()).sum();
        assert!((mass - 1.0).abs() < 1e-12, "where the kernel's option is illegal: {mass}");
    }

    #[test]
    fn what_failed_is_never_good() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let once = std::cell::Cell::new(false);
        let trials = Run::new(&Tpe::default(), &space, 5).trials(60, |_| (!once.replace(true)).then_some(1.0));
        assert!(trials[10..].iter().flat_map(|trial| &trial.origin.parents).all(|&parent| parent == 0));
    }
}
