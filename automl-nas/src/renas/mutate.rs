//! A mutation as a sequence of decisions: where the parent is changed, and what stands there instead.
//!
//! The router names places of the parent's trace; then the space asks its questions. One at a named place gets another answer
//! than the parent's, from the controller; any other keeps the parent's answer where that is asked for and legal, and asks the
//! controller where it is not. So masks come from the space alone, and a mutation is known from the parent, the places and the
//! child: [`Mutator::replay`] makes the same decisions again, for the controller to learn from.

use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::space::KnownChoose;
use automl_core::{Answer, Choose, Error, Genotype, Mutation, Point, Question, Result, SearchSpace, Step, Trace, Vocabulary};
use serde::{Deserialize, Serialize};

use super::controller::{Controller, Decision, Encoding, Head, Word};

/// How many places a mutation changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, automl_core::schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Changes {
    /// One in every block, as in the paper. A block is what shares the first number in the names of its questions
    /// (`cell.0.a.state`, `3.pca.components`); where no name has a number between dots, all questions are one block.
    EveryBlock,
    /// One, and after each a further one with this probability, at least 0 and below 1.
    Several(f64),
}

/// A space as the controller sees it.
pub(super) struct Mutator {
    pub space: Arc<dyn SearchSpace>,
    pub vocabulary: Vocabulary,
    /// Block of each point.
    blocks: Vec<usize>,
    /// Of each point, its first token and its first pair.
    firsts: Vec<[usize; 2]>,
    /// Questions with one of their answers.
    pub pairs: usize,
    pub moves: Vec<Arc<dyn Mutation>>,
    changes: Changes,
}

/// A child with the decisions that made it.
pub(super) struct Child {
    pub genotype: Genotype,
    /// What the router chose, in order.
    pub routes: Vec<usize>,
    pub decisions: Vec<Decision>,
}

/// Bins of a number.
pub(super) const BINS: u32 = 16;

impl Mutator {
    pub fn new(space: Arc<dyn SearchSpace>, moves: Vec<Arc<dyn Mutation>>, changes: Changes) -> Result<Self> {
        let vocabulary = Vocabulary::new(space.points(), BINS)?;
        let blocks = blocks(space.points());
        let mut pairs = 0;
        let firsts = (0..space.points().len()).map(|point| {
            let tokens = vocabulary.legal_tokens(point, &[]);
            let first = [tokens.first().map_or(0, |&token| token as usize), pairs];
            pairs += tokens.len();
            first
        });
        let firsts = firsts.collect();
        Ok(Self { space, vocabulary, blocks, firsts, pairs, moves, changes })
    }

    /// The sequence that the controller reads.
    pub fn sequence(&self, trace: &[Step]) -> Result<Vec<Word>> {
        let tokens = self.vocabulary.encode(trace)?;
        let word = |(token, step): (u32, &Step)| {
            let [first, pair] = self.firsts.get(step.point).copied().unwrap_or_default();
            [token as usize, step.point, pair + (token as usize).saturating_sub(first)]
        };
        Ok(tokens.into_iter().zip(trace).map(word).collect())
    }

    /// The groups of steps in each of which the router chooses once; with one group alone, moves are among its candidates.
    fn groups(&self, parent: &[Step], changes: usize) -> Vec<Vec<usize>> {
        // Step 0 is the start.
        let steps = 1..=parent.len();
        match self.changes {
            Changes::Several(_) => vec![steps.collect(); changes.min(parent.len())],
            Changes::EveryBlock => {
                let block = |step: &usize| parent.get(step - 1).and_then(|step| self.blocks.get(step.point)).copied();
                let mut groups: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
                for step in steps {
                    match groups.iter_mut().find(|(own, _)| *own == block(&step)) {
                        Some((_, group)) => group.push(step),
                        None => groups.push((block(&step), vec![step])),
                    }
                }
                groups.into_iter().map(|(_, group)| group).collect()
            }
        }
    }

    /// Where to change, each place by `take`, which says the candidate's index; a move stands alone.
    fn route(
        &self,
        controller: &Controller,
        encoding: &Encoding,
        groups: Vec<Vec<usize>>,
        mut take: impl FnMut(&Decision) -> Option<usize>,
    ) -> Option<(Vec<usize>, Vec<Decision>)> {
        let (mut routes, mut decisions) = (Vec::new(), Vec::new());
        let steps = encoding.steps();
        for group in groups {
            let mut candidates: Vec<usize> = group.into_iter().filter(|step| !routes.contains(step)).collect();
            if routes.is_empty() {
                candidates.extend(steps..steps + self.moves.len());
            }
            if candidates.is_empty() {
                continue;
            }
            let mut decision = controller.decide(encoding, Head::Router, candidates);
            decision.taken = take(&decision)?;
            let route = *decision.candidates.get(decision.taken)?;
            routes.push(route);
            decisions.push(decision);
            if route >= steps {
                break;
            }
        }
        Some((routes, decisions))
    }

    /// A child that the controller draws, or chance alone if `evenly`; none where that came out as the parent, or a move cannot
    /// apply.
    pub fn draw(
        &self,
        controller: &Controller,
        encoding: &Encoding,
        parent: &Genotype,
        trace: &Trace,
        evenly: bool,
        rng: &mut dyn Rng,
    ) -> Result<Option<Child>> {
        let mut changes = 1;
        if let Changes::Several(more) = self.changes {
            while changes < trace.len() && rng.random::<f64>() < more {
                changes += 1;
            }
        }
        let groups = self.groups(trace, changes);
        let routed = self.route(controller, encoding, groups, |decision| Some(sample(decision, evenly, &mut *rng)));
        let Some((routes, decisions)) = routed else { return Ok(None) };
        if let Some(index) = routes.last().and_then(|route| route.checked_sub(encoding.steps())) {
            let Some(mutation) = self.moves.get(index) else { return Ok(None) };
            let child = mutation.mutate(parent, self.space.as_ref(), rng)?;
            return Ok(child.map(|genotype| Child { genotype, routes, decisions }));
        }
        let mut answering = Answering::new(self, controller, encoding, trace, &routes, By::Draw(rng, evenly));
        let genotype = self.space.build(&mut answering)?;
        let decisions = decisions.into_iter().chain(answering.decisions).collect();
        Ok(if genotype == *parent { None } else { Some(Child { genotype, routes, decisions }) })
    }

    /// The decisions that led from a parent to a child, as the controller sees them now; none if these routes do not.
    pub fn replay(
        &self,
        controller: &Controller,
        encoding: &Encoding,
        [parent, child]: [&Trace; 2],
        routes: &[usize],
    ) -> Result<Option<Vec<Decision>>> {
        let mut left = routes.iter();
        let groups = self.groups(parent, routes.len());
        let routed = self.route(controller, encoding, groups, |decision| {
            let route = left.next()?;
            decision.candidates.iter().position(|candidate| candidate == route)
        });
        let Some((replayed, mut decisions)) = routed.filter(|(replayed, _)| replayed == routes) else { return Ok(None) };
        if replayed.iter().all(|&route| route < encoding.steps()) {
            let known = KnownChoose::of(child, self.space.points().len());
            let mut answering = Answering::new(self, controller, encoding, parent, routes, By::Known(known));
            self.space.build(&mut answering)?;
            decisions.extend(answering.decisions);
        }
        Ok(Some(decisions))
    }
}

/// The block of each point: what stands before and with the first number in its key.
fn blocks(points: &[Point]) -> Vec<usize> {
    let mut names: Vec<&str> = Vec::new();
    let name = |key: &'_ str| {
        let mut end = 0;
        for part in key.split('.') {
            end += part.len();
            if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
                return end;
            }
            end += 1;
        }
        0
    };
    let mut block = |key| {
        names.iter().position(|known| *known == key).unwrap_or_else(|| {
            names.push(key);
            names.len() - 1
        })
    };
    points.iter().map(|point| block(point.key.get(..name(&point.key)).unwrap_or_default())).collect()
}

/// Index of a candidate, drawn by its probability or evenly.
fn sample(decision: &Decision, evenly: bool, rng: &mut dyn Rng) -> usize {
    if evenly {
        return rng.random_range(0..decision.candidates.len().max(1));
    }
    let mut left = rng.random::<f32>();
    let drawn = decision.log_probabilities.iter().position(|log| {
        left -= log.exp();
        left < 0.0
    });
    drawn.unwrap_or(decision.candidates.len().saturating_sub(1))
}

/// Who says what the controller decides.
enum By<'a> {
    /// Chance, by the controller's probabilities or evenly.
    Draw(&'a mut dyn Rng, bool),
    /// The child, by its answer to each point.
    Known(Vec<Option<Answer>>),
}

/// Answers the questions of the space, and keeps the controller's decisions.
struct Answering<'a> {
    mutator: &'a Mutator,
    controller: &'a Controller,
    encoding: &'a Encoding,
    /// Step and answer of each point in the parent.
    parent: Vec<Option<(usize, Answer)>>,
    routes: &'a [usize],
    by: By<'a>,
    /// The last step of the parent that was asked for again: the state by which a question new to it is answered.
    last: usize,
    decisions: Vec<Decision>,
}

impl<'a> Answering<'a> {
    fn new(
        mutator: &'a Mutator,
        controller: &'a Controller,
        encoding: &'a Encoding,
        trace: &Trace,
        routes: &'a [usize],
        by: By<'a>,
    ) -> Self {
        let mut parent = vec![None; mutator.space.points().len()];
        for (index, step) in trace.iter().enumerate() {
            if let Some(slot) = parent.get_mut(step.point) {
                *slot = Some((index + 1, step.answer));
            }
        }
        Self { mutator, controller, encoding, parent, routes, by, last: 0, decisions: Vec::new() }
    }

    /// Asks the controller for one of the tokens.
    fn decide(&mut self, question: &Question<'_>, tokens: Vec<usize>) -> Result<Answer> {
        let vocabulary = &self.mutator.vocabulary;
        let unanswered = || Error::Unanswered(question.point.key.clone());
        let mut decision = self.controller.decide(self.encoding, Head::Answers(self.last), tokens);
        let answer = match &mut self.by {
            By::Draw(rng, evenly) => {
                decision.taken = sample(&decision, *evenly, *rng);
                let token = decision.candidates.get(decision.taken).and_then(|&token| u32::try_from(token).ok());
                token.and_then(|token| vocabulary.answer(question.id, token)).ok_or_else(unanswered)?
            }
            By::Known(child) => {
                let answer = child.get(question.id).copied().flatten().ok_or_else(unanswered)?;
                let token = vocabulary.token(Step { point: question.id, answer }).ok_or_else(unanswered)?;
                let taken = decision.candidates.iter().position(|&candidate| candidate == token as usize);
                decision.taken = taken.ok_or_else(unanswered)?;
                answer
            }
        };
        self.decisions.push(decision);
        Ok(answer)
    }
}

impl Choose for Answering<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let vocabulary = &self.mutator.vocabulary;
        let mut tokens: Vec<usize> =
            vocabulary.legal_tokens(question.id, question.legal).into_iter().map(|token| token as usize).collect();
        let Some((step, old)) = self.parent.get(question.id).copied().flatten() else {
            return self.decide(question, tokens);
        };
        self.last = step;
        let token = vocabulary.token(Step { point: question.id, answer: old });
        let usable = match old {
            Answer::Option(option) => question.legal.get(option) == Some(&true),
            number => question.point.domain.value(number).is_some(),
        };
        if self.routes.contains(&step) {
            // A change changes something, where anything else is legal.
            tokens.retain(|&other| token.is_none_or(|token| token as usize != other));
            if !tokens.is_empty() {
                return self.decide(question, tokens);
            }
        }
        if usable { Ok(old) } else { self.decide(question, tokens) }
    }
}
