//! The candidate that improves most, as a model expects it.
//!
//! Random candidates, then climbs from the best of them and from the best observations. A step of a climb answers one question
//! differently, for some draws of the question and the answer, and moves to the best of these: the one-exchange neighbourhood
//! of SMAC. Everything passed on the way is a candidate, and the best one that is new is taken.

use automl_core::rand::{Rng, RngExt};
use automl_core::space::{KnownChoose, RandomChoose, RecordChoose};
use automl_core::{Answer, Choose, Genotype, Question, Result, Step, Trace};

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
        let points = scope.space.points();
        let known = KnownChoose::of(scope.base, points.len());
        let mut found = Vec::with_capacity(draws);
        for _ in 0..draws {
            found.push(self.candidate(scope, &mut Answers { scope, known: &known, change: None, rng: &mut *rng }, None)?);
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut starts: Vec<(Trace, f64, Option<u64>)> =
            found.iter().take(STARTS).map(|found| (found.trace.clone(), found.score, None)).collect();
        let mut seen: Vec<&Observation> = observations.iter().filter(|seen| seen.loss.is_finite()).collect();
        seen.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        for seen in seen.iter().take(STARTS) {
            starts.push((seen.trace.clone(), self.log_improvement(points, &seen.trace), Some(seen.id)));
        }
        for (mut at, mut score, parent) in starts {
            for _ in 0..STEPS {
                let mut neighbours = self.neighbours(scope, &at, parent, rng)?;
                let Some(best) = neighbours.iter().max_by(|a, b| a.score.total_cmp(&b.score)) else { break };
                let better = best.score > score;
                if better {
                    (at, score) = (best.trace.clone(), best.score);
                }
                found.append(&mut neighbours);
                if !better {
                    break;
                }
            }
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = found.into_iter().find(|found| fresh(&found.genotype));
        Ok(best.map(|found| Suggestion { genotype: found.genotype, parent: found.parent }))
    }

    fn candidate(&self, scope: Scope<'_>, answers: &mut dyn Choose, parent: Option<u64>) -> Result<Candidate> {
        let mut record = RecordChoose { inner: answers, trace: Vec::new() };
        let genotype = scope.space.build(&mut record)?;
        let trace = record.trace;
        Ok(Candidate { score: self.log_improvement(scope.space.points(), &trace), trace, genotype, parent })
    }

    /// Some of the candidates that answer one free question differently.
    fn neighbours(&self, scope: Scope<'_>, trace: &Trace, parent: Option<u64>, rng: &mut dyn Rng) -> Result<Vec<Candidate>> {
        let known = KnownChoose::of(trace, scope.space.points().len());
        let mut open: Vec<Step> = trace.iter().copied().filter(|step| (scope.free)(step.point)).collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        // Every question in turn, in a random order.
        for at in 0..open.len() {
            let other = rng.random_range(at..open.len());
            open.swap(at, other);
        }
        let count = NEIGHBOURS.max(open.len()).min(2 * NEIGHBOURS);
        let turns = open.iter().cycle().take(count);
        turns
            .map(|&step| {
                let mut answers = Answers { scope, known: &known, change: Some(step), rng: &mut *rng };
                self.candidate(scope, &mut answers, parent)
            })
            .collect()
    }
}

/// Answers as known, but for one question; at random what is not known.
struct Answers<'a> {
    scope: Scope<'a>,
    known: &'a [Option<Answer>],
    /// The question to be answered differently, with its answer.
    change: Option<Step>,
    rng: &'a mut dyn Rng,
}

impl Choose for Answers<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let step = step::Step { sigma: SIGMA, resample: 0.0 };
        if let Some(change) = self.change.filter(|change| change.point == question.id)
            && let Some(other) =
                step.other(&question.point.domain, change.answer, question.legal, question.weights, &mut *self.rng)
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
