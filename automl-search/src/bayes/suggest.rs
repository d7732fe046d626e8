//! The candidate that improves most, as a model expects it.
//!
//! Random candidates, then climbs from the best of them and from the best observations. A step of a climb answers one question
//! differently, each question in turn and no answer twice while there are others, and moves to the best of these: the
//! one-exchange neighbourhood of SMAC. Everything passed on the way is a candidate, and the best one that is new is taken.

use std::collections::BTreeSet;

use automl_core::hash::StableHash;
use automl_core::rand::{Rng, RngExt};
use automl_core::space::{KnownChoose, RandomChoose, RecordChoose};
use automl_core::{Answer, Choose, Domain, Genotype, Question, Result, Step, Trace};

use super::model::{Model, Observation, Scope};
use crate::mutations::step::{self, SIGMA};

/// Observations, and random candidates, that are climbed from.
const STARTS: usize = 5;
/// Neighbours that a step looks at.
const NEIGHBOURS: usize = 40;
/// Steps of a climb.
const STEPS: usize = 8;

/// A candidate that a model suggests.
pub(crate) struct Suggestion {
    /// What to evaluate.
    pub genotype: Genotype,
    /// The trial whose neighbourhood it was found in, if any.
    pub parent: Option<u64>,
}

impl Scope<'_> {
    /// A random candidate.
    ///
    /// # Errors
    /// Those of the space.
    pub fn draw(self, rng: &mut dyn Rng) -> Result<Genotype> {
        let known = KnownChoose::of(self.base, self.space.points().len());
        self.space.build(&mut Answers { scope: self, known: &known, change: None, rng })
    }
}

struct Candidate {
    score: f64,
    trace: Trace,
    genotype: Genotype,
    parent: Option<u64>,
}

impl Model {
    /// The candidate of the greatest expected improvement that `fresh` takes, of `draws` random ones and of climbs from the best
    /// of them and of the observations; `None` where all are refused.
    ///
    /// # Errors
    /// Those of the space.
    pub fn suggest(
        &self,
        scope: Scope<'_>,
        observations: &[Observation],
        draws: usize,
        fresh: &dyn Fn(&Genotype) -> bool,
        rng: &mut dyn Rng,
    ) -> Result<Option<Suggestion>> {
        let known = KnownChoose::of(scope.base, scope.space.points().len());
        let mut search = Search { model: self, scope, seen: BTreeSet::new(), found: Vec::with_capacity(draws) };
        for _ in 0..draws {
            search.look(&mut Answers { scope, known: &known, change: None, rng: &mut *rng }, None)?;
        }
        search.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut starts: Vec<(Trace, f64, Option<u64>)> =
            search.found.iter().take(STARTS).map(|found| (found.trace.clone(), found.score, None)).collect();
        let mut seen: Vec<&Observation> = observations.iter().filter(|seen| seen.loss.is_finite()).collect();
        seen.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        for seen in seen.iter().take(STARTS) {
            starts.push((seen.trace.clone(), self.log_improvement(scope.space.points(), &seen.trace), Some(seen.id)));
        }
        for start in starts {
            search.climb(start, rng)?;
        }
        search.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = search.found.into_iter().find(|found| fresh(&found.genotype));
        Ok(best.map(|found| Suggestion { genotype: found.genotype, parent: found.parent }))
    }
}

/// What was found so far.
struct Search<'a> {
    model: &'a Model,
    scope: Scope<'a>,
    /// Hashes of the answers of all that were looked at.
    seen: BTreeSet<u64>,
    found: Vec<Candidate>,
}

impl Search<'_> {
    /// Scores the candidate of these answers and notes it, unless it was looked at before.
    fn look(&mut self, answers: &mut dyn Choose, parent: Option<u64>) -> Result<()> {
        let mut record = RecordChoose { inner: answers, trace: Vec::new() };
        let genotype = self.scope.space.build(&mut record)?;
        let trace = record.trace;
        if self.seen.insert(hash(&trace)) {
            let score = self.model.log_improvement(self.scope.space.points(), &trace);
            self.found.push(Candidate { score, trace, genotype, parent });
        }
        Ok(())
    }

    /// Goes from neighbour to better neighbour.
    fn climb(&mut self, (mut at, mut score, parent): (Trace, f64, Option<u64>), rng: &mut dyn Rng) -> Result<()> {
        for _ in 0..STEPS {
            let first = self.found.len();
            self.neighbours(&at, parent, rng)?;
            let best = self.found[first..].iter().max_by(|a, b| a.score.total_cmp(&b.score));
            let Some(best) = best.filter(|best| best.score > score) else { break };
            (at, score) = (best.trace.clone(), best.score);
        }
        Ok(())
    }

    /// Looks at some of the candidates that answer one free question differently.
    fn neighbours(&mut self, trace: &Trace, parent: Option<u64>, rng: &mut dyn Rng) -> Result<()> {
        let scope = self.scope;
        let known = KnownChoose::of(trace, scope.space.points().len());
        let mut open: Vec<Step> = trace.iter().copied().filter(|step| (scope.free)(step.point)).collect();
        // Every question in turn, in a random order.
        for at in 0..open.len() {
            let other = rng.random_range(at..open.len());
            open.swap(at, other);
        }
        let count = NEIGHBOURS.max(open.len()).min(2 * NEIGHBOURS);
        for (turn, step) in open.iter().cycle().take(count).enumerate() {
            let change = Some((*step, turn / open.len()));
            self.look(&mut Answers { scope, known: &known, change, rng: &mut *rng }, parent)?;
        }
        Ok(())
    }
}

/// A number for the answers of a candidate.
fn hash(trace: &[Step]) -> u64 {
    let of_step = |hash: StableHash, step: &Step| {
        hash.number(step.point as u64).number(match step.answer {
            Answer::Option(option) => option as u64,
            Answer::Int(number) => number.cast_unsigned(),
            Answer::Float(number) => number.to_bits(),
        })
    };
    trace.iter().fold(StableHash::new("trace"), of_step).finish()
}

/// Answers as known, but for one question; at random what is not known.
struct Answers<'a> {
    scope: Scope<'a>,
    known: &'a [Option<Answer>],
    /// The question to be answered differently, with its answer, and how often it was before.
    change: Option<(Step, usize)>,
    rng: &'a mut dyn Rng,
}

impl Answers<'_> {
    /// Another answer: the options one after the other, a whole number one up and one down, then steps at random.
    fn other(&mut self, question: &Question<'_>, answer: Answer, turn: usize) -> Option<Answer> {
        match (&question.point.domain, answer) {
            (Domain::Choice(_), Answer::Option(now)) => {
                let legal = question.legal.iter().enumerate().filter(|(option, legal)| **legal && *option != now);
                let others: Vec<usize> = legal.map(|(option, _)| option).collect();
                // Beyond the last, the first again: it costs nothing to look at a candidate twice.
                return others.get(turn % others.len().max(1)).map(|&option| Answer::Option(option));
            }
            (domain, Answer::Int(now)) if turn < 2 => {
                let next = Answer::Int(if turn == 0 { now.saturating_add(1) } else { now.saturating_sub(1) });
                if domain.value(next).is_some() {
                    return Some(next);
                }
            }
            _ => {}
        }
        let step = step::Step { sigma: SIGMA, resample: 0.0 };
        step.other(&question.point.domain, answer, question.legal, question.weights, &mut *self.rng)
    }
}

impl Choose for Answers<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        if let Some((change, turn)) = self.change.filter(|(change, _)| change.point == question.id)
            && let Some(other) = self.other(question, change.answer, turn)
        {
            return Ok(other);
        }
        let usable = |answer: &Answer| match answer {
            Answer::Option(option) => question.legal.get(*option) == Some(&true),
            number => question.point.domain.value(*number).is_some(),
        };
        match self.known.get(question.id).copied().flatten().filter(usable) {
            // A draw answers anew whatever is free.
            Some(answer) if self.change.is_some() || !(self.scope.free)(question.id) => Ok(answer),
            _ => RandomChoose(&mut *self.rng).choose(question),
        }
    }
}
