//! A controller as a file: what was learnt on one task, for another.
//!
//! safetensors, with one entry `automl` among the metadata: the sizes, and what each row of the embeddings and heads stands for.
//! Rows are found by these names, so a controller serves every space that shares some of them.

use std::fs;
use std::path::Path;

use automl_core::{Domain, Error, Point, Result, SearchSpace, serde_json};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::controller::Controller;
use super::mutate::Mutator;

/// What the numbers of a file stand for.
#[derive(Serialize, Deserialize)]
struct About {
    embedding: usize,
    hidden: usize,
    bidirectional: bool,
    tokens: Vec<String>,
    points: Vec<String>,
    moves: Vec<String>,
    /// None where there is no critic.
    #[serde(default)]
    pairs: Vec<String>,
}

const KEY: &str = "automl";

impl About {
    fn of(controller: &Controller, mutator: &Mutator) -> Self {
        let sizes = controller.sizes;
        let points = if sizes.points > 0 { keys(mutator.space.as_ref()) } else { Vec::new() };
        let name = |config: serde_json::Value| config.get("type").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        let moves = mutator.moves.iter().map(|one| name(serde_json::to_value(one).unwrap_or_default())).collect();
        let (embedding, hidden, bidirectional) = (sizes.embedding, sizes.hidden, sizes.bidirectional);
        let pairs = if sizes.pairs > 0 { pairs(mutator) } else { Vec::new() };
        Self { embedding, hidden, bidirectional, tokens: tokens(mutator), points, moves, pairs }
    }

    /// What must be the same for one file to serve another controller.
    fn sizes(&self) -> String {
        let has = |names: &[String]| if names.is_empty() { "no" } else { "a" };
        format!(
            "embedding {}, hidden {}, bidirectional {}, {} table of questions, {} critic",
            self.embedding,
            self.hidden,
            self.bidirectional,
            has(&self.points),
            has(&self.pairs)
        )
    }

    /// What the rows of a part stand for and how wide they are; a part without names is one row.
    fn rows(&self, part: &str) -> Option<(&[String], usize)> {
        let state = self.hidden * if self.bidirectional { 2 } else { 1 };
        match part {
            "embedding" => Some((&self.tokens, self.embedding)),
            "points" => Some((&self.points, self.embedding)),
            "moves" => Some((&self.moves, state)),
            "answers" => Some((&self.tokens, state)),
            "biases" => Some((&self.tokens, 1)),
            "pairs" => Some((&self.pairs, 1)),
            _ => None,
        }
    }
}

/// The name of every point, and one more for the start.
fn keys(space: &dyn SearchSpace) -> Vec<String> {
    space.points().iter().map(|point| point.key.clone()).chain(["<start>".to_owned()]).collect()
}

/// What each token of a point stands for, in their order: an option or a bin.
fn words(mutator: &Mutator, index: usize, point: &Point) -> Vec<(usize, String)> {
    let legal = mutator.vocabulary.legal_tokens(index, &[]);
    let value = |word: usize| match &point.domain {
        Domain::Choice(options) => options.get(word).map(ToString::to_string).unwrap_or_default(),
        _ => format!("bin {word}"),
    };
    legal.into_iter().enumerate().map(|(word, token)| (token as usize, value(word))).collect()
}

/// The name of every token: its group, and what it stands for.
fn tokens(mutator: &Mutator) -> Vec<String> {
    let mut names = vec![String::new(); mutator.vocabulary.size() as usize];
    for (index, point) in mutator.space.points().iter().enumerate() {
        for (token, value) in words(mutator, index, point) {
            if let Some(name) = names.get_mut(token) {
                *name = format!("{}={value}", point.group);
            }
        }
    }
    names
}

/// The name of every pair: its point, and the answer; and one more for the start.
fn pairs(mutator: &Mutator) -> Vec<String> {
    let points = mutator.space.points().iter().enumerate();
    let names = points.flat_map(|(index, point)| {
        words(mutator, index, point).into_iter().map(move |(_, value)| format!("{}={value}", point.key))
    });
    names.chain(["<start>".to_owned()]).collect()
}

/// Writes a controller, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn save(path: &Path, controller: &Controller, mutator: &Mutator) -> Result<()> {
    let io = |source| Error::io(path, source);
    let about = serde_json::to_string(&About::of(controller, mutator)).map_err(|error| io(std::io::Error::other(error)))?;
    let parts: Vec<(&str, Vec<u8>)> = controller
        .weights
        .each()
        .into_iter()
        .map(|(name, part)| (name, part.iter().flat_map(|number| number.to_le_bytes()).collect()))
        .collect();
    let views = parts.iter().map(|(name, bytes)| {
        TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map(|view| (*name, view)).map_err(std::io::Error::other)
    });
    let views = views.collect::<std::io::Result<Vec<_>>>().map_err(io)?;
    let metadata = [(KEY.to_owned(), about)].into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| io(std::io::Error::other(error)))?;
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(io)
}

/// Puts what a file knows into a controller; what it does not know stays as it is.
///
/// # Errors
/// [`Error::Io`], and [`Error::Config`] for a file that is no controller, or one of other sizes.
pub(super) fn load(path: &Path, controller: &mut Controller, mutator: &Mutator) -> Result<()> {
    let wrong = |problem: String| Error::config("strategy.controller", format!("{}: {problem}", path.display()));
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    let no_file = |error: safetensors::SafeTensorError| wrong(format!("is no safetensors file: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(no_file)?;
    let about = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let about = about.ok_or_else(|| wrong("holds no controller; `save` writes one".into()))?;
    let about: About = serde_json::from_str(about).map_err(|error| wrong(format!("does not say what it holds: {error}")))?;
    let own = About::of(controller, mutator);
    if about.sizes() != own.sizes() {
        return Err(wrong(format!("has {}; the strategy is set to {}", about.sizes(), own.sizes())));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(no_file)?;
    for (name, part) in controller.weights.each_mut() {
        let numbers = floats(&file, name).ok_or_else(|| wrong(format!("has no 32-bit floats `{name}` that are finite")))?;
        match (about.rows(name), own.rows(name)) {
            (Some((theirs, width)), Some((ours, _))) => {
                if theirs.len().checked_mul(width) != Some(numbers.len()) {
                    return Err(wrong(format!("`{name}` has {} numbers for {} rows of {width}", numbers.len(), theirs.len())));
                }
                for (row, name) in part.chunks_exact_mut(width.max(1)).zip(ours) {
                    let index = theirs.iter().position(|other| other == name);
                    if let Some(values) = index.and_then(|index| numbers.get(index * width..(index + 1) * width)) {
                        row.copy_from_slice(values);
                    }
                }
            }
            _ if numbers.len() == part.len() => part.copy_from_slice(&numbers),
            _ => return Err(wrong(format!("`{name}` has {} numbers, not {}", numbers.len(), part.len()))),
        }
    }
    Ok(())
}

/// The numbers of an array, if they are finite floats.
fn floats(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    let view = file.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
    let (numbers, rest) = view.data().as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (rest.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
}
