//! Candidates as token sequences with the space's masks, and back.

use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::space::{KnownChoose, Next, RandomChoose, next_question};
use automl_core::{Answer, Choose, Domain, Genotype, Question, Result, SearchSpace, Step, Trace, Vocabulary};

use crate::tensor::TensorError;

/// Translates between the candidates of a space and tokens.
#[derive(Clone)]
pub(super) struct Codec {
    pub space: Arc<dyn SearchSpace>,
    pub vocabulary: Arc<Vocabulary>,
    bins: u32,
}

/// The tokens of a candidate, and what was legal where each stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sequence {
    pub tokens: Vec<usize>,
    /// The question that each token answers.
    pub points: Vec<usize>,
    /// Steps × vocabulary.
    pub legal: Vec<bool>,
}

impl Codec {
    pub fn new(space: Arc<dyn SearchSpace>, bins: u32) -> Result<Self> {
        let vocabulary = Arc::new(Vocabulary::new(space.points(), bins)?);
        Ok(Self { space, vocabulary, bins: bins.max(1) })
    }

    /// Number of tokens.
    pub fn words(&self) -> usize {
        self.vocabulary.size() as usize
    }

    /// The tokens of a trace.
    pub fn sequence(&self, trace: &Trace) -> Result<Sequence> {
        let mut masks =
            Masks { codec: self, known: KnownChoose { known: known(self, trace), fallback: None }, legal: Vec::new() };
        self.space.build(&mut masks)?;
        let tokens = self.vocabulary.encode(trace)?.into_iter().map(|token| token as usize).collect();
        Ok(Sequence { tokens, points: trace.iter().map(|step| step.point).collect(), legal: masks.legal })
    }

    /// Candidates that differ from one in one answer: each other option, and each other bin of a number. What the space asks on
    /// top is drawn.
    pub fn neighbours(&self, trace: &Trace, rng: &mut dyn Rng) -> Result<Vec<Genotype>> {
        let sequence = self.sequence(trace)?;
        let mut found = Vec::new();
        for ((step, own), legal) in trace.iter().zip(&sequence.tokens).zip(sequence.legal.chunks_exact(self.words().max(1))) {
            for token in (0..legal.len()).filter(|token| legal[*token] && token != own) {
                let Some(answer) = u32::try_from(token).ok().and_then(|token| self.vocabulary.answer(step.point, token)) else {
                    continue;
                };
                let mut known = known(self, trace);
                if let Some(slot) = known.get_mut(step.point) {
                    *slot = Some(answer);
                }
                found.push(self.space.build(&mut KnownChoose { known, fallback: Some(&mut RandomChoose(rng)) })?);
            }
        }
        Ok(found)
    }

    /// The question after some answers, and whether each token is legal there; nothing where the candidate is complete.
    pub fn open(&self, steps: &[Step]) -> Result<Option<(usize, Vec<bool>)>> {
        match next_question(self.space.as_ref(), steps)? {
            Next::Question { id, legal, .. } => Ok(Some((id, self.mask(id, &legal)))),
            Next::Complete(_) => Ok(None),
        }
    }

    fn mask(&self, question: usize, legal: &[bool]) -> Vec<bool> {
        let mut mask = vec![false; self.words()];
        for token in self.vocabulary.legal_tokens(question, legal) {
            if let Some(slot) = mask.get_mut(token as usize) {
                *slot = true;
            }
        }
        mask
    }

    /// The candidate of some decoded answers with the precision of its numbers given back: a number in the bin of `near`'s
    /// answer to the same question is that answer, any other is drawn from its bin.
    pub fn precise(&self, steps: &[Step], near: &Trace, rng: &mut dyn Rng) -> Result<Genotype> {
        let before = known(self, near);
        let token = |point: usize, answer: Answer| self.vocabulary.token(Step { point, answer });
        let mut trace = steps.to_vec();
        for step in &mut trace {
            let Some(point) = self.space.points().get(step.point) else { continue };
            let own = token(step.point, step.answer);
            step.answer = match (&point.domain, before.get(step.point).copied().flatten()) {
                (Domain::Choice(_), _) => step.answer,
                (_, Some(answer)) if token(step.point, answer) == own => answer,
                (domain, _) => {
                    // A few draws around the middle of the bin find its ends without knowing where they are.
                    let (middle, width) = (domain.unit(step.answer), 1.0 / f64::from(self.bins));
                    let draw = domain.at(middle + width * (rng.random::<f64>() - 0.5));
                    if token(step.point, draw) == own { draw } else { step.answer }
                }
            };
        }
        // A condition on a number may change within its bin; what was decoded is legal.
        self.rebuilt(&trace).or_else(|_| self.rebuilt(&steps.to_vec()))
    }

    /// The candidate of a trace.
    pub fn rebuilt(&self, trace: &Trace) -> Result<Genotype> {
        self.space.build(&mut KnownChoose { known: known(self, trace), fallback: None })
    }

    /// A candidate with the numbers of `trace` moved by about a bin each; nothing where it has none.
    pub fn nudged(&self, trace: &Trace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
        let mut moved = trace.clone();
        let mut any = false;
        for step in &mut moved {
            let Some(domain) = self.space.points().get(step.point).map(|point| &point.domain) else { continue };
            if domain.options() == 0 {
                any = true;
                let by: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum();
                step.answer = domain.at(domain.unit(step.answer) + by / f64::from(self.bins));
            }
        }
        Ok(if any { self.rebuilt(&moved).ok() } else { None })
    }
}

fn known(codec: &Codec, trace: &Trace) -> Vec<Option<Answer>> {
    KnownChoose::of(trace, codec.space.points().len())
}

/// Replays answers and notes what was legal at each.
struct Masks<'a> {
    codec: &'a Codec,
    known: KnownChoose<'a>,
    legal: Vec<bool>,
}

impl Choose for Masks<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        self.legal.extend(self.codec.mask(question.id, question.legal));
        self.known.choose(question)
    }
}

/// A tensor operation that failed, as an error of the strategy.
pub(super) fn failed(error: TensorError) -> automl_core::Error {
    automl_core::Error::Plugin(format!("the networks of `nao`: {error}"))
}
