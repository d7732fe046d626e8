//! What every plugin promises, as functions that any test can call.
//!
//! A third party runs `conformance::check_linked(&spaces)` in a test of its own crate; the workspace runs it over every linked
//! plugin. Each check returns the broken promise in words.

use std::sync::Arc;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::evaluator::{Direction, Objective};
use crate::genotype::Genotype;
use crate::registry::{self, Plugin};
use crate::space::{Answer, Next, SearchSpace, Step, next_question, sample};
use crate::strategy::{Ask, Crossover, Mutation, Proposal, Strategy, StrategyConfig};
use crate::study::seed_of;
use crate::trial::{State, Trial};
use crate::vocabulary::Vocabulary;

/// A broken promise, in words.
pub type Check = Result<(), String>;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Checks a space on `cases` random genotypes: `build` and `trace` are inverse, tokens round-trip, masks tell the truth, every
/// prefix of a trace names the next question, equivalents are equal but in their spelling, starts lie inside, and points have
/// distinct keys.
///
/// # Errors
/// The broken promise.
pub fn check_space(space: &dyn SearchSpace, cases: usize, seed: u64) -> Check {
    let points = space.points();
    for (index, point) in points.iter().enumerate() {
        if let Some(problem) = point.domain.problem() {
            return Err(format!("point `{}`: {problem}", point.key));
        }
        if points[..index].iter().any(|other| other.key == point.key) {
            return Err(format!("two points are named `{}`", point.key));
        }
    }
    let vocabulary = Vocabulary::new(points, 16).map_err(text)?;
    let mut rng = rng(seed);
    for genotype in space.starts() {
        check_genotype(space, &vocabulary, &genotype, &mut rng)?;
    }
    for _ in 0..cases {
        let genotype = sample(space, &mut rng).map_err(|error| format!("a random genotype cannot be built: {error}"))?;
        check_genotype(space, &vocabulary, &genotype, &mut rng)?;
    }
    Ok(())
}

fn check_genotype(space: &dyn SearchSpace, vocabulary: &Vocabulary, genotype: &Genotype, rng: &mut ChaCha8Rng) -> Check {
    genotype.check().map_err(text)?;
    let trace = space.trace(genotype).map_err(|error| format!("{genotype} has no trace: {error}"))?;
    match next_question(space, &trace).map_err(text)? {
        Next::Complete(rebuilt) if rebuilt == *genotype => {}
        other => return Err(format!("the trace of {genotype} builds {other:?}")),
    }
    let tokens = vocabulary.encode(&trace).map_err(text)?;
    let decoded = vocabulary.decode(space, &tokens).map_err(|error| format!("the tokens of {genotype}: {error}"))?;
    let again = vocabulary.encode(&space.trace(&decoded).map_err(text)?).map_err(text)?;
    if again != tokens {
        return Err(format!("the tokens of {genotype} decode to {decoded}, whose tokens differ"));
    }
    if space.canonical_hash(genotype) != space.canonical_hash(&genotype.clone()) {
        return Err(format!("the hash of {genotype} changes"));
    }
    if let Some(other) = space.equivalent(genotype, rng).map_err(text)? {
        let spelt =
            space.trace(&other).map_err(|error| format!("{other}, an equivalent of {genotype}, has no trace: {error}"))?;
        if spelt == trace {
            return Err(format!("the equivalent of {genotype} is spelt the same"));
        }
        if space.canonical_hash(&other) != space.canonical_hash(genotype) {
            return Err(format!("{other} is called an equivalent of {genotype}, but its hash differs"));
        }
    }
    let cut = if trace.is_empty() { 0 } else { rng.random_range(0..trace.len()) };
    check_prefix(space, vocabulary, &trace, &tokens, cut)
}

/// One prefix: it names the question that the trace answers next, legal answers go on, illegal ones are refused.
fn check_prefix(space: &dyn SearchSpace, vocabulary: &Vocabulary, trace: &[Step], tokens: &[u32], cut: usize) -> Check {
    let Some(step) = trace.get(cut) else { return Ok(()) };
    let prefix = &trace[..cut];
    let Next::Question { id, legal, .. } = next_question(space, prefix).map_err(text)? else {
        return Err(format!("the prefix {prefix:?} of a longer trace is complete"));
    };
    if id != step.point {
        return Err(format!("after {prefix:?} the space asks {id}, but the trace answers {}", step.point));
    }
    if !vocabulary.legal_after(space, &tokens[..cut]).map_err(text)?.contains(&tokens[cut]) {
        return Err(format!("token {} is not among the legal ones after {:?}", tokens[cut], &tokens[..cut]));
    }
    if !legal.is_empty() && legal.iter().filter(|legal| **legal).count() < 2 {
        return Err(format!("question {id} has one legal answer and must not be asked"));
    }
    for (option, &legal) in legal.iter().enumerate() {
        let mut steps = prefix.to_vec();
        steps.push(Step { point: id, answer: Answer::Option(option) });
        match (next_question(space, &steps), legal) {
            (Ok(_), true) | (Err(_), false) => {}
            (Err(error), true) => {
                return Err(format!("option {option} of question {id} is marked legal after {prefix:?}, but: {error}"));
            }
            (Ok(_), false) => {
                return Err(format!("option {option} of question {id} is marked illegal after {prefix:?}, but builds"));
            }
        }
    }
    Ok(())
}

/// Checks a strategy on a space for `trials` trials with made-up outcomes, some of them failed, pruned or infeasible: `ask` is
/// pure, proposals are legal, what was told replays to the bit, and pending proposals are taken without an error.
///
/// # Errors
/// The broken promise.
pub fn check_strategy(config: &dyn StrategyConfig, space: &Arc<dyn SearchSpace>, trials: u64, seed: u64) -> Check {
    let objectives = [Objective { name: "made_up".into(), direction: Direction::Minimize }];
    let build = || config.build(space.clone(), &objectives).map_err(|error| format!("does not build: {error}"));
    let mut strategy = build()?;
    let mut replayed = build()?;
    let mut pending: Vec<Proposal> = Vec::new();
    let (mut asked, mut told) = (0, 0);
    while asked < trials {
        let ask = |strategy: &dyn Strategy| strategy.ask(&Ask::alone(asked, &pending), &mut rng(seed_of(seed, "ask", asked)));
        let proposals = ask(strategy.as_ref()).map_err(|error| format!("ask {asked}: {error}"))?;
        if ask(strategy.as_ref()).map_err(text)? != proposals {
            return Err(format!("ask {asked} is not pure: asked twice, it answers differently"));
        }
        if ask(replayed.as_ref()).map_err(text)? != proposals {
            return Err(format!("ask {asked} differs between two strategies that were told the same"));
        }
        if proposals.is_empty() {
            break;
        }
        for proposal in &proposals {
            space.trace(&proposal.genotype).map_err(|error| format!("proposal {asked} by `{}`: {error}", proposal.origin.by))?;
            if !(proposal.fidelity > 0.0 && proposal.fidelity <= 1.0) {
                return Err(format!("proposal {asked} has fidelity {}", proposal.fidelity));
            }
            asked += 1;
        }
        pending.extend(proposals);
        // Up to three outcomes stay open, as with several workers.
        while pending.len() > 3 {
            let trial = made_up(told, pending.remove(0));
            strategy.tell(&trial).map_err(|error| format!("tell {told}: {error}"))?;
            let journaled = serde_json::to_string(&trial).map_err(text)?;
            let read: Trial = serde_json::from_str(&journaled).map_err(text)?;
            replayed.tell(&read).map_err(|error| format!("tell {told} from the journal: {error}"))?;
            told += 1;
        }
    }
    Ok(())
}

/// An outcome that depends on the candidate alone; every seventh trial has none.
fn made_up(id: u64, proposal: Proposal) -> Trial {
    let hash = proposal.genotype.canonical_hash();
    let state = match id % 7 {
        2 => State::Failed,
        4 => State::Infeasible,
        6 => State::Pruned,
        _ => State::Complete,
    };
    let loss = (hash % 10_007) as f64 / 10_007.0;
    let losses = (state == State::Complete).then(|| vec![loss]);
    Trial { state, seconds: 0.25, ..Trial::told(id, proposal, losses) }
}

/// Checks a mutation on `cases` random parents: results are legal and differ, parents stay as they are, the same seed gives
/// the same result.
///
/// # Errors
/// The broken promise.
pub fn check_mutation(mutation: &dyn Mutation, space: &dyn SearchSpace, cases: usize, seed: u64) -> Check {
    let mut parents = rng(seed);
    for case in 0..cases as u64 {
        let parent = sample(space, &mut parents).map_err(text)?;
        let mutate = || mutation.mutate(&parent, space, &mut rng(seed ^ case)).map_err(text);
        check_child(space, mutate()?, mutate()?, &[&parent])?;
    }
    Ok(())
}

/// Checks a crossover as [`check_mutation`] does.
///
/// # Errors
/// The broken promise.
pub fn check_crossover(crossover: &dyn Crossover, space: &dyn SearchSpace, cases: usize, seed: u64) -> Check {
    let mut parents = rng(seed);
    for case in 0..cases as u64 {
        let a = sample(space, &mut parents).map_err(text)?;
        let b = sample(space, &mut parents).map_err(text)?;
        let cross = || crossover.cross(&a, &b, space, &mut rng(seed ^ case)).map_err(text);
        check_child(space, cross()?, cross()?, &[&a, &b])?;
    }
    Ok(())
}

fn check_child(space: &dyn SearchSpace, child: Option<Genotype>, again: Option<Genotype>, parents: &[&Genotype]) -> Check {
    if child != again {
        return Err("the same seed gives another child".into());
    }
    let Some(child) = child else { return Ok(()) };
    if parents.contains(&&child) {
        return Err(format!("the child {child} equals a parent"));
    }
    space.trace(&child).map(drop).map_err(|error| format!("the child {child}: {error}"))
}

/// Checks the listing of one plugin: its example parses, prints back the same, and a misspelt field is refused.
///
/// # Errors
/// The broken promise.
pub fn check_config(plugin: &Plugin) -> Check {
    let example = (plugin.example)();
    let parsed = (plugin.parse)(example.clone()).map_err(|error| format!("its example does not parse: {error}"))?;
    if parsed != example {
        return Err(format!("its example prints back as {parsed}"));
    }
    let mut misspelt = example;
    if let Some(fields) = misspelt.as_object_mut() {
        fields.insert("no_such_field".into(), 1.into());
    }
    match (plugin.parse)(misspelt) {
        Ok(_) => Err("an unknown field is accepted; add `#[serde(deny_unknown_fields)]`".into()),
        Err(_) => Ok(()),
    }
}

/// Runs every check over every linked plugin: configs, spaces, and strategies, mutations and crossovers on each of `spaces`.
///
/// # Errors
/// Every broken promise, with the plugin's name.
pub fn check_linked(spaces: &[Arc<dyn SearchSpace>]) -> Result<usize, Vec<String>> {
    let mut problems = Vec::new();
    let mut count = 0;
    let mut note = |name: String, check: Check| {
        count += 1;
        if let Err(problem) = check {
            problems.push(format!("{name}: {problem}"));
        }
    };
    if let Err(error) = registry::check() {
        note("registry".into(), Err(error.to_string()));
    }
    for plugin in registry::plugins() {
        let name = format!("{} `{}`", plugin.kind, plugin.name);
        note(name.clone(), check_config(plugin));
        let example = (plugin.example)();
        for (index, space) in spaces.iter().enumerate() {
            let name = format!("{name} on space {index}");
            match plugin.kind {
                "strategy" => {
                    note(name, typed(&example, |config: Box<dyn StrategyConfig>| check_strategy(config.as_ref(), space, 60, 7)))
                }
                "mutation" => {
                    note(name, typed(&example, |it: Box<dyn Mutation>| check_mutation(it.as_ref(), space.as_ref(), 60, 7)))
                }
                "crossover" => {
                    note(name, typed(&example, |it: Box<dyn Crossover>| check_crossover(it.as_ref(), space.as_ref(), 60, 7)))
                }
                _ => {}
            }
        }
        if plugin.kind == "space" {
            note(name, typed(&example, |space: Box<dyn SearchSpace>| check_space(space.as_ref(), 60, 7)));
        }
    }
    for (index, space) in spaces.iter().enumerate() {
        note(format!("space {index}"), check_space(space.as_ref(), 60, 7));
    }
    if problems.is_empty() { Ok(count) } else { Err(problems) }
}

fn typed<T: serde::de::DeserializeOwned>(example: &serde_json::Value, check: impl FnOnce(T) -> Check) -> Check {
    check(serde_json::from_value(example.clone()).map_err(text)?)
}
