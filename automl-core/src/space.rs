//! A space asks questions; whatever answers them makes candidates.
//!
//! A [`SearchSpace`] knows a fixed list of [`Point`]s. To build a genotype it asks those that apply, one after the other; who
//! answers is a [`Choose`]: a random one samples, one over a recorded [`Trace`] replays, one over tokens decodes, a network's
//! decoder or a controller is one more. The legal mask comes from the space and from nowhere else. A conditional parameter is
//! a question that is not asked.

use std::fmt::Debug;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::genotype::{Genotype, Value};
use crate::graph::GraphSpace;
use crate::notation::Indices;

/// What can be answered to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Domain {
    /// One of several options.
    Choice(Vec<Value>),
    /// A whole number, both bounds included.
    Int {
        /// Smallest value.
        lo: i64,
        /// Largest value.
        hi: i64,
        /// Whether the logarithm is spread evenly; then `lo` is at least 1.
        #[serde(default)]
        log: bool,
    },
    /// A number, both bounds included.
    Float {
        /// Smallest value.
        lo: f64,
        /// Largest value.
        hi: f64,
        /// Whether the logarithm is spread evenly; then `lo` is above 0.
        #[serde(default)]
        log: bool,
    },
}

impl Domain {
    /// Number of options of a choice, 0 for numbers.
    pub fn options(&self) -> usize {
        match self {
            Self::Choice(options) => options.len(),
            _ => 0,
        }
    }

    /// Why the domain itself makes no sense, if so.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Choice(options) if options.is_empty() => Some("a choice needs at least one option"),
            Self::Choice(options) if (1..options.len()).any(|i| options[..i].contains(&options[i])) => {
                Some("the options of a choice must differ")
            }
            Self::Int { lo, hi, .. } if lo > hi => Some("`lo` must not be above `hi`"),
            Self::Int { lo, log: true, .. } if *lo < 1 => Some("a log scale needs `lo` of at least 1"),
            Self::Float { lo, hi, .. } if !lo.is_finite() || !hi.is_finite() || lo > hi => {
                Some("bounds must be finite, with `lo` not above `hi`")
            }
            Self::Float { lo, log: true, .. } if *lo <= 0.0 => Some("a log scale needs `lo` above 0"),
            _ => None,
        }
    }

    /// The position of an answer on the domain's own scale, 0 to 1 (a choice: the middle of its option's share).
    pub fn unit(&self, answer: Answer) -> f64 {
        let share = |lo: f64, hi: f64, x: f64| if hi > lo { ((x - lo) / (hi - lo)).clamp(0.0, 1.0) } else { 0.5 };
        match (self, answer) {
            (Self::Choice(options), Answer::Option(index)) => (index as f64 + 0.5) / options.len() as f64,
            (Self::Int { lo, hi, log: false }, Answer::Int(x)) => share(*lo as f64 - 0.5, *hi as f64 + 0.5, x as f64),
            (Self::Int { lo, hi, log: true }, Answer::Int(x)) => {
                share((*lo as f64 - 0.5).ln(), (*hi as f64 + 0.5).ln(), (x as f64).ln())
            }
            (Self::Float { lo, hi, log: false }, Answer::Float(x)) => share(*lo, *hi, x),
            (Self::Float { lo, hi, log: true }, Answer::Float(x)) => share(lo.ln(), hi.ln(), x.ln()),
            _ => 0.5,
        }
    }

    /// The answer at a position of 0 to 1: the inverse of [`Domain::unit`], and a uniform sample where `unit` is uniform.
    pub fn at(&self, unit: f64) -> Answer {
        let unit = unit.clamp(0.0, 1.0);
        let between = |lo: f64, hi: f64| lo + unit * (hi - lo);
        match self {
            Self::Choice(options) => {
                Answer::Option(((unit * options.len() as f64) as usize).min(options.len().saturating_sub(1)))
            }
            Self::Int { lo, hi, log } => {
                let (low, high) = (*lo as f64 - 0.5, *hi as f64 + 0.5);
                let x = if *log { between(low.ln(), high.ln()).exp() } else { between(low, high) };
                Answer::Int((x.round() as i64).clamp(*lo, *hi))
            }
            Self::Float { lo, hi, log: false } => Answer::Float(between(*lo, *hi).clamp(*lo, *hi)),
            Self::Float { lo, hi, log: true } => Answer::Float(between(lo.ln(), hi.ln()).exp().clamp(*lo, *hi)),
        }
    }

    /// The parameter value that an answer stands for.
    pub fn value(&self, answer: Answer) -> Option<Value> {
        match (self, answer) {
            (Self::Choice(options), Answer::Option(index)) => options.get(index).cloned(),
            (Self::Int { lo, hi, .. }, Answer::Int(x)) if (*lo..=*hi).contains(&x) => Some(Value::Int(x)),
            (Self::Float { lo, hi, .. }, Answer::Float(x)) if (*lo..=*hi).contains(&x) => Some(Value::Float(x)),
            _ => None,
        }
    }

    /// The answer that gives a parameter value; a whole number stands for a float where one is asked for.
    pub fn answer(&self, value: &Value) -> Option<Answer> {
        match (self, value) {
            (Self::Choice(options), value) => options.iter().position(|option| option == value).map(Answer::Option),
            (Self::Int { lo, hi, .. }, Value::Int(x)) if (*lo..=*hi).contains(x) => Some(Answer::Int(*x)),
            (Self::Float { lo, hi, .. }, Value::Float(x)) if (*lo..=*hi).contains(x) => Some(Answer::Float(*x)),
            _ => None,
        }
    }
}

/// A question that a space can ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name, unique in the space, such as `3.pca.components`.
    pub key: String,
    /// What the question is about, such as `pca.components`: points of one group share their domain and their tokens.
    pub group: String,
    /// What can be answered.
    pub domain: Domain,
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Index of an option of a choice.
    Option(usize),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
}

/// A question as it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Index into [`SearchSpace::points`].
    pub id: usize,
    /// The point at that index.
    pub point: &'a Point,
    /// For a choice, which options are legal here (at least two are); empty for numbers, whose bounds always hold.
    pub legal: &'a [bool],
    /// For a choice, how likely a random sample takes each option (0 where illegal); even where absent.
    pub weights: Option<&'a [f64]>,
}

/// Whatever answers the questions of a space.
pub trait Choose {
    /// The answer to one question.
    ///
    /// # Errors
    /// Any error ends the building of the genotype and is passed on.
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer>;
}

/// The questions asked to build a genotype, with their answers, in order.
pub type Trace = Vec<Step>;

/// One question of a [`Trace`] with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Index into [`SearchSpace::points`].
    pub point: usize,
    /// The answer.
    pub answer: Answer,
}

/// A space of candidates; plain data that a config names by its `type`.
///
/// `build` and `trace` are inverse to each other; the conformance suite ([`crate::conformance::check_space`]) says what else
/// a space promises.
#[typetag::serde(tag = "type")]
pub trait SearchSpace: Debug + Send + Sync {
    /// All questions that the space can ask; the list never changes.
    fn points(&self) -> &[Point];

    /// Builds a genotype from answers. Asks through [`Asker`], which never asks a question with one legal answer.
    ///
    /// # Errors
    /// Those of `choose`, and [`Error::Illegal`] for an answer that the mask forbids.
    fn build(&self, choose: &mut dyn Choose) -> Result<Genotype>;

    /// The questions and answers that build `genotype`.
    ///
    /// # Errors
    /// [`Error::Outside`] says why the genotype lies outside the space.
    fn trace(&self, genotype: &Genotype) -> Result<Trace>;

    /// A number equal for genotypes that are the same candidate. Default: isomorphic graphs.
    fn canonical_hash(&self, genotype: &Genotype) -> u64 {
        genotype.canonical_hash()
    }

    /// The space as a space of typed graphs, if it is one: structural mutations need it.
    fn graph(&self) -> Option<&GraphSpace> {
        None
    }

    /// Good points to start from, best first; a study evaluates them before it asks the strategy. Default: none.
    fn starts(&self) -> Vec<Genotype> {
        Vec::new()
    }

    /// The genotype that `text` spells in the notation of the tables and papers about this space. Default: the indices of the
    /// chosen options in the order of the questions, as one digit each (`02012100`) or as numbers with anything between them.
    ///
    /// # Errors
    /// [`Error::Outside`] says what was expected.
    fn parse(&self, text: &str) -> Result<Genotype> {
        let mut answers = Indices::new(text);
        let genotype = self.build(&mut answers).map_err(|error| Error::Outside(format!("`{text}`: {error}")))?;
        answers.end().map(|()| genotype)
    }

    /// Another spelling of the same candidate, drawn at random: its trace differs and its canonical hash is equal, such as a
    /// cell with the two branches of a block swapped. A strategy that learns from tokens sees more of them that way (Luo et al.,
    /// "Neural Architecture Optimization", NeurIPS 2018, section 3.3). Default: none.
    ///
    /// # Errors
    /// [`Error::Outside`] for a genotype of another space.
    fn equivalent(&self, genotype: &Genotype, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
        let _ = (genotype, rng);
        Ok(None)
    }
}

/// Asks questions on behalf of a space: leaves out those with one legal answer, and refuses illegal answers.
pub struct Asker<'a> {
    points: &'a [Point],
    choose: &'a mut dyn Choose,
}

impl<'a> Asker<'a> {
    /// Asks the questions of `points` to `choose`.
    pub fn new(points: &'a [Point], choose: &'a mut dyn Choose) -> Self {
        Self { points, choose }
    }

    /// Index of the option chosen among the legal ones; not asked if there is one alone.
    ///
    /// # Errors
    /// [`Error::Illegal`] for an illegal answer, or where no option is legal.
    pub fn option(&mut self, id: usize, legal: &[bool], weights: Option<&[f64]>) -> Result<usize> {
        let mut options = legal.iter().enumerate().filter(|(_, legal)| **legal).map(|(index, _)| index);
        let point = self.point(id)?;
        match (options.next(), options.next()) {
            (None, _) => return Err(illegal(point, "answered", legal)),
            (Some(only), None) => return Ok(only),
            _ => {}
        }
        match self.choose.choose(&Question { id, point, legal, weights })? {
            Answer::Option(index) if legal.get(index) == Some(&true) => Ok(index),
            answer => Err(illegal(point, &describe(point, answer), legal)),
        }
    }

    /// The value of a parameter; every option of a choice is legal, and a domain of one value is not asked.
    ///
    /// # Errors
    /// [`Error::Illegal`] for an answer outside the domain.
    pub fn value(&mut self, id: usize) -> Result<Value> {
        let point = self.point(id)?;
        let answer = match &point.domain {
            Domain::Choice(options) => Answer::Option(self.option(id, &vec![true; options.len()], None)?),
            Domain::Int { lo, hi, .. } if lo == hi => Answer::Int(*lo),
            Domain::Float { lo, hi, .. } if lo == hi => Answer::Float(*lo),
            _ => self.choose.choose(&Question { id, point, legal: &[], weights: None })?,
        };
        point.domain.value(answer).ok_or_else(|| illegal(point, &describe(point, answer), &[]))
    }

    fn point(&self, id: usize) -> Result<&'a Point> {
        self.points.get(id).ok_or_else(|| Error::Plugin(format!("the space asks its question {id}, which is not listed")))
    }
}

fn describe(point: &Point, answer: Answer) -> String {
    match (point.domain.value(answer), answer) {
        (Some(value), _) => format!("`{value}`"),
        (None, Answer::Option(index)) => format!("option {index}"),
        (None, Answer::Int(x)) => x.to_string(),
        (None, Answer::Float(x)) => x.to_string(),
    }
}

fn illegal(point: &Point, answer: &str, legal: &[bool]) -> Error {
    let allowed = match &point.domain {
        Domain::Choice(options) => {
            let names: Vec<String> =
                options.iter().zip(legal).filter(|(_, legal)| **legal).map(|(value, _)| format!("`{value}`")).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        }
        Domain::Int { lo, hi, .. } => format!("{lo} to {hi}"),
        Domain::Float { lo, hi, .. } => format!("{lo} to {hi}"),
    };
    Error::Illegal { point: point.key.clone(), answer: answer.to_owned(), allowed }
}

/// Answers at random: choices by the space's weights, numbers evenly on the scale of their domain.
pub struct RandomChoose<'a>(pub &'a mut dyn Rng);

impl Choose for RandomChoose<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        if question.point.domain.options() == 0 {
            return Ok(question.point.domain.at(self.0.random::<f64>()));
        }
        let weight = |index: usize| match question.weights {
            Some(weights) => weights.get(index).copied().unwrap_or(0.0),
            None => 1.0,
        };
        let legal = || question.legal.iter().enumerate().filter(|(_, legal)| **legal).map(|(index, _)| index);
        let total: f64 = legal().map(weight).sum();
        // Weights may all be zero where a transition matrix rules out what the masks allow: then every legal option is even.
        let weight = |index: usize| if total > 0.0 { weight(index) } else { 1.0 };
        let mut left = self.0.random::<f64>() * legal().map(weight).sum::<f64>();
        let mut last = None;
        for index in legal().filter(|&index| weight(index) > 0.0) {
            last = Some(index);
            left -= weight(index);
            if left < 0.0 {
                break;
            }
        }
        last.map(Answer::Option).ok_or_else(|| Error::Unanswered(question.point.key.clone()))
    }
}

/// Answers from a list of known answers by point; asks `fallback` where none is known or the known one is illegal here.
///
/// With the answers of a parent this repairs a child; with an error as fallback it replays.
pub struct KnownChoose<'a> {
    /// Known answer of each point, by its index.
    pub known: Vec<Option<Answer>>,
    /// Who answers the rest; nobody: [`Error::Unanswered`].
    pub fallback: Option<&'a mut dyn Choose>,
}

impl KnownChoose<'_> {
    /// The answers of a trace in a space of `points` points.
    pub fn of(trace: &[Step], points: usize) -> Vec<Option<Answer>> {
        let mut known = vec![None; points];
        for step in trace {
            if let Some(slot) = known.get_mut(step.point) {
                *slot = Some(step.answer);
            }
        }
        known
    }
}

impl Choose for KnownChoose<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let known = self.known.get(question.id).copied().flatten();
        let usable = |answer: &Answer| match answer {
            Answer::Option(index) => question.legal.get(*index) == Some(&true),
            number => question.point.domain.value(*number).is_some(),
        };
        match (known, &mut self.fallback) {
            (Some(answer), Some(_)) if usable(&answer) => Ok(answer),
            (Some(answer), None) => Ok(answer),
            (_, Some(fallback)) => fallback.choose(question),
            (None, None) => Err(Error::Unanswered(question.point.key.clone())),
        }
    }
}

/// Passes answers on and records them.
pub struct RecordChoose<'a> {
    /// Who answers.
    pub inner: &'a mut dyn Choose,
    /// What was asked and answered so far.
    pub trace: Trace,
}

impl Choose for RecordChoose<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let answer = self.inner.choose(question)?;
        self.trace.push(Step { point: question.id, answer });
        Ok(answer)
    }
}

/// A random genotype of a space.
///
/// # Errors
/// Those of [`SearchSpace::build`]; a conforming space has none here.
pub fn sample(space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Genotype> {
    space.build(&mut RandomChoose(rng))
}

/// What follows a prefix of a trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This question, with its legal options and their weights.
    Question {
        /// Index into [`SearchSpace::points`].
        id: usize,
        /// As in [`Question::legal`].
        legal: Vec<bool>,
        /// As in [`Question::weights`].
        weights: Option<Vec<f64>>,
    },
    /// Nothing: the prefix is a whole trace, and this is its genotype.
    Complete(Genotype),
}

/// The question that the space asks after the answers of `prefix`, or the genotype where nothing is left to ask.
///
/// # Errors
/// [`Error::Illegal`] if the prefix holds an illegal answer, [`Error::Outside`] if it answers another question than asked.
pub fn next_question(space: &dyn SearchSpace, prefix: &[Step]) -> Result<Next> {
    let mut reader = PrefixChoose { prefix, position: 0, open: None };
    match space.build(&mut reader) {
        Ok(_) if reader.position < prefix.len() => {
            Err(Error::Outside(format!("{} answers are left over at the end", prefix.len() - reader.position)))
        }
        Ok(genotype) => Ok(Next::Complete(genotype)),
        Err(error) => reader.open.ok_or(error),
    }
}

struct PrefixChoose<'a> {
    prefix: &'a [Step],
    position: usize,
    open: Option<Next>,
}

impl Choose for PrefixChoose<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let Some(step) = self.prefix.get(self.position) else {
            self.open = Some(Next::Question {
                id: question.id,
                legal: question.legal.to_vec(),
                weights: question.weights.map(<[f64]>::to_vec),
            });
            return Err(Error::Unanswered(question.point.key.clone()));
        };
        if step.point != question.id {
            return Err(Error::Outside(format!(
                "answer {} is for question {}, but the space asks `{}`",
                self.position, step.point, question.point.key
            )));
        }
        self.position += 1;
        Ok(step.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_and_at_are_inverse() {
        let domains = [
            Domain::Int { lo: 1, hi: 1000, log: true },
            Domain::Int { lo: -3, hi: 4, log: false },
            Domain::Float { lo: 1e-4, hi: 10.0, log: true },
            Domain::Choice(vec!["a".into(), "b".into(), "c".into()]),
        ];
        for domain in domains {
            for step in 0..=100 {
                let answer = domain.at(f64::from(step) / 100.0);
                assert!(domain.value(answer).is_some(), "{domain:?} {answer:?}");
                match (domain.at(domain.unit(answer)), answer) {
                    (Answer::Float(x), Answer::Float(y)) => assert!((x / y - 1.0).abs() < 1e-9),
                    (again, answer) => assert_eq!(again, answer),
                }
            }
        }
    }

    #[test]
    fn bad_domains_are_named() {
        assert!(Domain::Choice(vec![]).problem().is_some());
        assert!(Domain::Choice(vec!["a".into(), "a".into()]).problem().is_some());
        assert!(Domain::Int { lo: 0, hi: 4, log: true }.problem().is_some());
        assert!(Domain::Float { lo: 2.0, hi: 1.0, log: false }.problem().is_some());
        assert!(Domain::Float { lo: f64::NAN, hi: 1.0, log: false }.problem().is_some());
        assert!(Domain::Int { lo: 1, hi: 4, log: true }.problem().is_none());
    }
}
