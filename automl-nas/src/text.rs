//! Texts to learn a language model from: words or characters as numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use automl_core::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::images::ImageError as TextError;

/// Bytes of a text, at most.
const MOST_BYTES: u64 = 1 << 30;
/// What ends a line, and what stands for a word that is not in the vocabulary.
const END: &str = "<eos>";
const UNKNOWN: &str = "<unk>";
/// Shares of a single file that validate and test.
const HELD_OUT: f64 = 0.05;

/// A text, found by what lies in a folder: files whose names hold `train`, `valid` and `test`, as WikiText and Penn Treebank come,
/// or a single `.txt`, of which the last tenth becomes validation and test. Plain or `.gz`, UTF-8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct TextData {
    /// The folder; default `text`.
    pub folder: PathBuf,
    /// What a token is; default `words`.
    pub unit: Unit,
    /// Most tokens that are told apart, the most frequent ones; default 10,000. All others are `<unk>`.
    pub vocabulary: usize,
    /// Use at most so many tokens of the training text, from its start; default 0: all. Of the validation text a tenth as many.
    pub tokens: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Unit {
    /// What stands between blanks; the end of a line is a token, too.
    #[default]
    Words,
    /// A character.
    Characters,
}

impl Default for TextData {
    fn default() -> Self {
        Self { folder: "text".into(), unit: Unit::Words, vocabulary: 10_000, tokens: 0 }
    }
}

/// A text as numbers.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// To learn from.
    pub training: Vec<u32>,
    /// To validate on.
    pub validation: Vec<u32>,
    /// The token of each number, the most frequent ones first.
    pub vocabulary: Vec<String>,
}

impl TextData {
    /// Reads the text to learn from and the one to validate on. The test text is not touched.
    ///
    /// # Errors
    /// [`TextError`] for files that are missing or broken.
    pub fn read(&self) -> Result<Corpus, TextError> {
        if !(2..=1_000_000).contains(&self.vocabulary) {
            let problem = format!("`vocabulary` is {}; it must be 2 to 1,000,000", self.vocabulary);
            return Err(TextError::new(&self.folder, problem));
        }
        let (training, validation) = match self.file("train")? {
            Some(path) => {
                let valid = self.file("valid")?;
                let valid = valid.ok_or_else(|| TextError::new(&path, "has no file `…valid…` beside it"))?;
                (self.split(&text(&path)?), self.split(&text(&valid)?))
            }
            None => {
                let all = self.split(&text(&self.single()?)?);
                let [first, second, _] = parts(&all);
                (first.to_vec(), second.to_vec())
            }
        };
        let most = |share: usize, all: usize| if self.tokens == 0 { all } else { all.min((self.tokens / share).max(2)) };
        let training = training.get(..most(1, training.len())).unwrap_or_default();
        let validation = validation.get(..most(10, validation.len())).unwrap_or_default();
        let vocabulary = self.words(training);
        let numbers = Numbers::new(&vocabulary);
        let corpus =
            Corpus { training: numbers.of(training), validation: numbers.of(validation), vocabulary: vocabulary.clone() };
        if corpus.training.len() < 2 || corpus.validation.len() < 2 || vocabulary.len() < 2 {
            return Err(TextError::new(&self.folder, "holds no text: two tokens to learn from and to validate on are the least"));
        }
        Ok(corpus)
    }

    /// Reads the test text in the numbers of a vocabulary.
    ///
    /// # Errors
    /// [`TextError`] for files that are missing or broken.
    pub fn read_test(&self, vocabulary: &[String]) -> Result<Vec<u32>, TextError> {
        let tokens = match self.file("test")? {
            Some(path) => self.split(&text(&path)?),
            None if self.file("train")?.is_some() => {
                return Err(TextError::new(&self.folder, "has no file `…test…` beside the training text"));
            }
            None => parts(&self.split(&text(&self.single()?)?))[2].to_vec(),
        };
        if tokens.len() < 2 {
            return Err(TextError::new(&self.folder, "holds no text to test on: two tokens are the least"));
        }
        Ok(Numbers::new(vocabulary).of(&tokens))
    }

    fn names(&self) -> Result<Vec<String>, TextError> {
        let mut names = crate::images::names(&self.folder)?;
        names.retain(|name| self.folder.join(name).is_file() && !name.starts_with('.'));
        Ok(names)
    }

    fn file(&self, part: &str) -> Result<Option<PathBuf>, TextError> {
        Ok(self.names()?.iter().find(|name| name.contains(part)).map(|name| self.folder.join(name)))
    }

    fn single(&self) -> Result<PathBuf, TextError> {
        let names = self.names()?;
        let texts = names.iter().filter(|name| name.strip_suffix(".gz").unwrap_or(name).ends_with(".txt"));
        match texts.collect::<Vec<_>>()[..] {
            [one] => Ok(self.folder.join(one)),
            _ => Err(TextError::new(
                &self.folder,
                "holds no text that is known: files whose names hold `train`, `valid` and `test`, or a single `.txt`, plain or .gz",
            )),
        }
    }

    fn split(&self, text: &str) -> Vec<String> {
        match self.unit {
            Unit::Characters => text.chars().map(String::from).collect(),
            Unit::Words => text.lines().flat_map(|line| line.split_whitespace().chain([END])).map(str::to_owned).collect(),
        }
    }

    /// The most frequent tokens, and one for all others.
    fn words(&self, tokens: &[String]) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        tokens.iter().for_each(|token| *counts.entry(token).or_default() += 1);
        counts.remove(UNKNOWN);
        let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let kept = order.into_iter().take(self.vocabulary - 1).map(|(token, _)| token.to_owned());
        std::iter::once(UNKNOWN.to_owned()).chain(kept).collect()
    }
}

/// What remains after the two ends were cut off, and these.
fn parts(tokens: &[String]) -> [&[String]; 3] {
    let held = (tokens.len() as f64 * HELD_OUT) as usize;
    let (training, rest) = tokens.split_at(tokens.len() - 2 * held);
    let (validation, test) = rest.split_at(held);
    [training, validation, test]
}

/// The numbers of tokens; the first one is that of all unknown ones.
struct Numbers<'a>(BTreeMap<&'a str, u32>);

impl<'a> Numbers<'a> {
    fn new(vocabulary: &'a [String]) -> Self {
        Self(vocabulary.iter().map(String::as_str).zip(0..).collect())
    }

    fn of(&self, tokens: &[String]) -> Vec<u32> {
        tokens.iter().map(|token| self.0.get(token.as_str()).copied().unwrap_or(0)).collect()
    }
}

fn text(path: &Path) -> Result<String, TextError> {
    let wrong = |error: std::io::Error| TextError::new(path, error.to_string());
    let file = std::io::BufReader::new(File::open(path).map_err(wrong)?);
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    reader.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(TextError::new(path, "is larger than 1 GiB"));
    }
    String::from_utf8(bytes).map_err(|error| TextError::new(path, format!("is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_by_how_often_they_come() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("x.train.tokens", "b a a\na c\n\n"), ("x.valid.tokens", "a d\n"), ("x.test.tokens", "c b\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let data = TextData { folder: folder.path().to_owned(), ..TextData::default() };
        let corpus = data.read().unwrap();
        assert_eq!(corpus.vocabulary, ["<unk>", "<eos>", "a", "b", "c"]);
        assert_eq!(corpus.training, [3, 2, 2, 1, 2, 4, 1, 1]);
        assert_eq!(corpus.validation, [2, 0, 1]);
        assert_eq!(data.read_test(&corpus.vocabulary).unwrap(), [4, 3, 1]);
        std::fs::write(folder.path().join("x.test.tokens"), "").unwrap();
        assert!(data.read_test(&corpus.vocabulary).unwrap_err().to_string().contains("to test on"));
        let few = TextData { vocabulary: 3, tokens: 4, ..data.clone() }.read().unwrap();
        assert_eq!((few.vocabulary.join(" "), few.training), ("<unk> a <eos>".to_owned(), vec![0, 1, 1, 2]));
        std::fs::write(folder.path().join("x.valid.tokens"), [0xff, 0xfe]).unwrap();
        assert!(data.read().unwrap_err().to_string().contains("UTF-8"));
        std::fs::remove_file(folder.path().join("x.valid.tokens")).unwrap();
        assert!(data.read().unwrap_err().to_string().contains("valid"));
        assert!(TextData { vocabulary: 1, ..data }.read().is_err());
    }

    #[test]
    fn a_single_text_is_cut_into_three() {
        let folder = tempfile::tempdir().unwrap();
        let data = TextData { folder: folder.path().to_owned(), unit: Unit::Characters, ..TextData::default() };
        assert!(data.read().unwrap_err().to_string().contains("holds no text"));
        std::fs::write(folder.path().join("a.txt"), "ab".repeat(100)).unwrap();
        let corpus = data.read().unwrap();
        assert_eq!((corpus.training.len(), corpus.validation.len()), (180, 10));
        assert_eq!(data.read_test(&corpus.vocabulary).unwrap(), [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
    }
}
