//! Token sequences for any space: what learned strategies read and write.
//!
//! Every option of every group of points gets a token; numbers are cut into bins (and keep their exact value in the
//! genotype, so tokens round-trip, not values). Points of one group share their tokens: `pca` is the same word at every vertex.
//! Token 0 starts a sequence.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::genotype::Genotype;
use crate::space::{Answer, Choose, Domain, Next, Point, Question, SearchSpace, Step, next_question};

/// The token that starts a sequence and never stands inside one.
pub const START: u32 = 0;

/// Maps the answers of a space to tokens and back.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    domains: Vec<Domain>,
    /// First token of each point's group.
    offsets: Vec<u32>,
    bins: u32,
    size: u32,
}

impl Vocabulary {
    /// The vocabulary of a space, with numbers cut into at most `bins` bins (at least 1; 16 serves well).
    ///
    /// # Errors
    /// [`Error::Config`] if points of one group differ in their domain.
    pub fn new(points: &[Point], bins: u32) -> Result<Self> {
        let bins = bins.max(1);
        let mut groups: BTreeMap<&str, (&Domain, u32)> = BTreeMap::new();
        let mut offsets = Vec::with_capacity(points.len());
        let mut size = START + 1;
        for point in points {
            let &mut (domain, offset) = groups.entry(&point.group).or_insert_with(|| {
                let offset = size;
                size += words(&point.domain, bins);
                (&point.domain, offset)
            });
            if *domain != point.domain {
                return Err(Error::config(&point.key, format!("points of the group `{}` must share one domain", point.group)));
            }
            offsets.push(offset);
        }
        Ok(Self { domains: points.iter().map(|point| point.domain.clone()).collect(), offsets, bins, size })
    }

    /// Number of tokens, [`START`] included.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The token of an answer.
    pub fn token(&self, step: Step) -> Option<u32> {
        let domain = self.domains.get(step.point)?;
        domain.value(step.answer)?;
        let words = words(domain, self.bins);
        let word = match (domain, step.answer) {
            (_, Answer::Option(index)) => u32::try_from(index).ok()?,
            (Domain::Int { lo, .. }, Answer::Int(x)) if count_of(domain, self.bins).is_some() => u32::try_from(x - lo).ok()?,
            (_, number) => word_of(domain, number, words),
        };
        Some(self.offsets.get(step.point)? + word)
    }

    /// The answer of a token to the question of `point`: for numbers the middle of the bin.
    pub fn answer(&self, point: usize, token: u32) -> Option<Answer> {
        let domain = self.domains.get(point)?;
        let word = token.checked_sub(*self.offsets.get(point)?)?;
        let words = words(domain, self.bins);
        match domain {
            _ if word >= words => None,
            Domain::Choice(_) => Some(Answer::Option(word as usize)),
            Domain::Int { lo, .. } if count_of(domain, self.bins).is_some() => Some(Answer::Int(lo + i64::from(word))),
            numbers => Some(middle(numbers, word, words)),
        }
    }

    /// The tokens of a trace, without [`START`].
    ///
    /// # Errors
    /// [`Error::Outside`] for a trace of another space.
    pub fn encode(&self, trace: &[Step]) -> Result<Vec<u32>> {
        let token = |step: &Step| {
            self.token(*step)
                .ok_or_else(|| Error::Outside(format!("no token stands for {step:?}: the trace is of another space")))
        };
        trace.iter().map(token).collect()
    }

    /// The genotype of a token sequence.
    ///
    /// # Errors
    /// [`Error::Illegal`] for a token that the mask forbids, [`Error::Unanswered`] where tokens are missing,
    /// [`Error::Outside`] where some are left over.
    pub fn decode(&self, space: &dyn SearchSpace, tokens: &[u32]) -> Result<Genotype> {
        let mut reader = TokenChoose { vocabulary: self, tokens, position: 0 };
        let genotype = space.build(&mut reader)?;
        match tokens.len() - reader.position {
            0 => Ok(genotype),
            left => Err(Error::Outside(format!("{left} tokens are left over at the end"))),
        }
    }

    /// The tokens that are legal as an answer to a question; ascending, never empty.
    pub fn legal_tokens(&self, question: usize, legal: &[bool]) -> Vec<u32> {
        let (Some(domain), Some(&offset)) = (self.domains.get(question), self.offsets.get(question)) else {
            return Vec::new();
        };
        (0..words(domain, self.bins))
            .filter(|&word| legal.is_empty() || legal.get(word as usize) == Some(&true))
            .map(|word| offset + word)
            .collect()
    }

    /// The tokens legal after a prefix of a sequence; empty where the sequence is complete.
    ///
    /// # Errors
    /// Those of [`Vocabulary::decode`] for a prefix that no genotype has.
    pub fn legal_after(&self, space: &dyn SearchSpace, prefix: &[u32]) -> Result<Vec<u32>> {
        let mut steps = Vec::with_capacity(prefix.len());
        loop {
            let Next::Question { id, legal, .. } = next_question(space, &steps)? else { return Ok(Vec::new()) };
            let Some(&token) = prefix.get(steps.len()) else { return Ok(self.legal_tokens(id, &legal)) };
            let answer =
                self.answer(id, token).ok_or_else(|| Error::Outside(format!("token {token} answers no question here")))?;
            steps.push(Step { point: id, answer });
        }
    }
}

/// Number of words of a group: options, or bins (one a whole number where they are few).
fn words(domain: &Domain, bins: u32) -> u32 {
    match domain {
        Domain::Choice(options) => u32::try_from(options.len()).unwrap_or(u32::MAX),
        Domain::Int { .. } => count_of(domain, bins).unwrap_or_else(|| binned(domain, bins)),
        Domain::Float { lo, hi, .. } if lo == hi => 1,
        Domain::Float { .. } => bins,
    }
}

/// How many whole numbers a domain has, if each can have a word of its own.
fn count_of(domain: &Domain, bins: u32) -> Option<u32> {
    let Domain::Int { lo, hi, .. } = domain else { return None };
    u32::try_from(hi.abs_diff(*lo)).ok().and_then(|width| width.checked_add(1)).filter(|&count| count <= bins)
}

/// On a log scale the low bins may be narrower than a whole number: as many bins as all hold one.
fn binned(domain: &Domain, bins: u32) -> u32 {
    let whole = |n: u32| (0..n).all(|word| word_of(domain, middle(domain, word, n), n) == word);
    (1..=bins).rev().find(|&n| whole(n)).unwrap_or(1)
}

fn middle(domain: &Domain, word: u32, words: u32) -> Answer {
    domain.at((f64::from(word) + 0.5) / f64::from(words))
}

fn word_of(domain: &Domain, answer: Answer, words: u32) -> u32 {
    ((domain.unit(answer) * f64::from(words)) as u32).min(words - 1)
}

struct TokenChoose<'a> {
    vocabulary: &'a Vocabulary,
    tokens: &'a [u32],
    position: usize,
}

impl Choose for TokenChoose<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let token = *self.tokens.get(self.position).ok_or_else(|| Error::Unanswered(question.point.key.clone()))?;
        self.position += 1;
        self.vocabulary.answer(question.id, token).ok_or_else(|| Error::Illegal {
            point: question.point.key.clone(),
            answer: format!("token {token}"),
            allowed: format!("{:?}", self.vocabulary.legal_tokens(question.id, question.legal)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(key: &str, group: &str, domain: Domain) -> Point {
        Point { key: key.into(), group: group.into(), domain }
    }

    #[test]
    fn every_token_of_a_number_round_trips() {
        let domains = [
            Domain::Int { lo: 1, hi: 5, log: false },
            Domain::Int { lo: 1, hi: 1000, log: true },
            Domain::Int { lo: 1, hi: 12, log: true },
            Domain::Float { lo: 1e-5, hi: 1e2, log: true },
            Domain::Float { lo: 0.0, hi: 1.0, log: false },
        ];
        for domain in domains {
            let vocabulary = Vocabulary::new(&[point("a", "a", domain.clone())], 16).unwrap();
            let tokens = vocabulary.legal_tokens(0, &[]);
            assert!(tokens.len() >= 5, "{domain:?} has {} tokens", tokens.len());
            for token in tokens {
                let answer = vocabulary.answer(0, token).unwrap();
                assert_eq!(vocabulary.token(Step { point: 0, answer }), Some(token), "{domain:?}");
            }
        }
    }

    #[test]
    fn a_group_shares_its_tokens_and_must_share_its_domain() {
        let choice = |n: i64| Domain::Choice((0..n).map(Value::Int).collect());
        use crate::genotype::Value;
        let shared = [point("0.op", "op", choice(3)), point("1.op", "op", choice(3))];
        assert_eq!(Vocabulary::new(&shared, 8).unwrap().size(), 4);
        let clash = [point("0.op", "op", choice(3)), point("1.op", "op", choice(4))];
        assert!(Vocabulary::new(&clash, 8).is_err());
    }
}
