//! All candidates that answer one question of a space differently.

use std::collections::BTreeSet;

use automl_core::space::KnownChoose;
use automl_core::space::{Next, next_question};
use automl_core::{Answer, Choose, Domain, Genotype, Question, Result, SearchSpace};

/// How far a number steps, on the unit scale of its domain.
const STEP: f64 = 0.1;

/// The candidates that differ from `genotype` in the answer to one question, each once, with their canonical hashes.
///
/// Every other legal option counts; a number steps up and down, a whole one also to its neighbours. What is asked because of the
/// change alone takes its likeliest option, or the middle of its domain: the list is the same whenever it is asked for.
///
/// # Errors
/// Those of the space.
pub(crate) fn neighbours(space: &dyn SearchSpace, genotype: &Genotype) -> Result<Vec<(u64, Genotype)>> {
    let trace = space.trace(genotype)?;
    let known = KnownChoose::of(&trace, space.points().len());
    let mut seen = BTreeSet::from([space.canonical_hash(genotype)]);
    let mut found = Vec::new();
    for (index, step) in trace.iter().enumerate() {
        let legal = match next_question(space, trace.get(..index).unwrap_or_default())? {
            Next::Question { legal, .. } => legal,
            Next::Complete(_) => break,
        };
        let Some(point) = space.points().get(step.point) else { continue };
        for other in others(&point.domain, step.answer, &legal) {
            let mut answers = known.clone();
            if let Some(answer) = answers.get_mut(step.point) {
                *answer = Some(other);
            }
            let mut likeliest = Likeliest;
            let neighbour = space.build(&mut KnownChoose { known: answers, fallback: Some(&mut likeliest) })?;
            let hash = space.canonical_hash(&neighbour);
            if seen.insert(hash) {
                found.push((hash, neighbour));
            }
        }
    }
    Ok(found)
}

/// The other answers to one question.
fn others(domain: &Domain, answer: Answer, legal: &[bool]) -> Vec<Answer> {
    let near = |sign: f64| domain.at(domain.unit(answer) + sign * STEP);
    let mut others = match (domain, answer) {
        (Domain::Choice(_), _) => {
            (0..legal.len()).filter(|&option| legal.get(option) == Some(&true)).map(Answer::Option).collect()
        }
        (Domain::Int { lo, hi, .. }, Answer::Int(x)) => {
            vec![near(-1.0), Answer::Int(x.saturating_sub(1).max(*lo)), Answer::Int(x.saturating_add(1).min(*hi)), near(1.0)]
        }
        _ => vec![near(-1.0), near(1.0)],
    };
    others.retain(|other| *other != answer);
    others.dedup();
    others
}

/// The first of the likeliest legal options, and the middle of a domain of numbers.
struct Likeliest;

impl Choose for Likeliest {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let weight = |option: usize| question.weights.map_or(1.0, |weights| weights.get(option).copied().unwrap_or(0.0));
        let legal = (0..question.legal.len()).filter(|&option| question.legal.get(option) == Some(&true));
        let best = legal.reduce(|best, option| if weight(option) > weight(best) { option } else { best });
        Ok(best.map_or_else(|| question.point.domain.at(0.5), Answer::Option))
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::{pool_space, tiny};

    #[test]
    fn neighbours_are_legal_distinct_and_one_change_away() {
        let space = pool_space();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let genotype = sample(&space, &mut rng).unwrap();
            let found = neighbours(&space, &genotype).unwrap();
            assert_eq!(found, neighbours(&space, &genotype).unwrap());
            let hashes: BTreeSet<u64> = found.iter().map(|(hash, _)| *hash).collect();
            assert_eq!(hashes.len(), found.len());
            assert!(!hashes.contains(&space.canonical_hash(&genotype)) && found.len() > 3);
            assert!(found.iter().all(|(_, neighbour)| space.trace(neighbour).is_ok()));
        }
        let only = sample(&tiny(), &mut rng).unwrap();
        assert_eq!(neighbours(&tiny(), &only).unwrap().len(), 2);
    }

    #[test]
    fn numbers_step_to_both_sides_and_stay_inside() {
        let int = Domain::Int { lo: 1, hi: 9, log: false };
        assert_eq!(others(&int, Answer::Int(5), &[]), [4, 6].map(Answer::Int));
        assert_eq!(others(&int, Answer::Int(1), &[]), [Answer::Int(2)]);
        let float = Domain::Float { lo: 0.0, hi: 1.0, log: false };
        assert_eq!(others(&float, Answer::Float(0.0), &[]), [Answer::Float(0.1)]);
    }
}
