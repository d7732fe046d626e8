//! A candidate as the list of the options that it takes: how most tabular benchmarks name their rows.

use crate::error::{Error, Result};
use crate::space::{Answer, Choose, Question};

/// Answers the choices of a space by the indices that a text lists.
pub(crate) struct Indices<'a> {
    text: &'a str,
    left: std::vec::IntoIter<usize>,
}

impl<'a> Indices<'a> {
    /// Digits alone are an index each; else every whole number is one.
    pub fn new(text: &'a str) -> Self {
        let trimmed = text.trim();
        let digits: Option<Vec<usize>> = trimmed.chars().map(|c| c.to_digit(10).map(|digit| digit as usize)).collect();
        let numbers = || trimmed.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        Self { text, left: digits.unwrap_or_else(numbers).into_iter() }
    }

    /// Whether every index was used.
    ///
    /// # Errors
    /// [`Error::Outside`] where some are left over.
    pub fn end(&self) -> Result<()> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Error::Outside(format!("`{}`: the last {left} numbers answer no question of this space", self.text))),
        }
    }
}

impl Choose for Indices<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        if question.legal.is_empty() {
            return Err(Error::Outside(format!("the question `{}` is a number and has no index", question.point.key)));
        }
        self.left.next().map(Answer::Option).ok_or_else(|| Error::Unanswered(question.point.key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::GraphSpace;
    use crate::space::{SearchSpace, sample};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn digits_and_numbers_spell_the_options_and_mistakes_are_named() {
        let space = GraphSpace::default();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let genotype = sample(&space, &mut rng).unwrap();
            let index = |answer: Answer| match answer {
                Answer::Option(index) => index.to_string(),
                other => panic!("{other:?}"),
            };
            let indices: Vec<String> = space.trace(&genotype).unwrap().iter().map(|step| index(step.answer)).collect();
            assert_eq!(space.parse(&indices.concat()).unwrap(), genotype);
            assert_eq!(space.parse(&format!("[{}]", indices.join(", "))).unwrap(), genotype);
            let long = space.parse(&(indices.concat() + "00")).unwrap_err().to_string();
            assert!(long.contains("the last 2 numbers"), "{long}");
        }
        assert!(space.parse("").unwrap_err().to_string().contains("0.op"));
        assert!(space.parse("9").unwrap_err().to_string().contains("option 9"));
    }
}
