//! Texts as TF-IDF weights of hashed n-grams: all text columns share one block of number columns.

use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::{Cancel, Param, Params, Value};
use rayon::prelude::*;

use super::columnwise::{Types, check_cells, go_on, numbers, zeros};
use crate::cost::{Cost, Shape};
use crate::frame::{Frame, Values};
use crate::kinds::RAW;
use crate::learn::quantile::sample_rows;
use crate::learn::tfidf::{Counter, Grams, idf, weigh};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct TextTfidf;

crate::describe! {
    TextTfidf: "text_tfidf", "Texts become weights of hashed words or runs of characters; other columns stay",
    reads [RAW], emits RAW,
    params [
        Param::int("columns", 16, 1024, 256).log().about("columns that all texts of a row become together"),
        Param::choice("grams", &["words", "word_pairs", "characters"])
            .about("single words, pairs of neighbours as well, or three to five characters of a word"),
        Param::switch("sublinear", true).about("whether a word's weight grows with the logarithm of its count"),
    ]
}

crate::tabular_operator!(TextTfidf);

/// Training rows whose texts are counted for the weights, at most.
const ROWS: usize = 20_000;
/// Rows a task handles.
const CHUNK: usize = 64;

struct Weights {
    types: Types,
    grams: Grams,
    sublinear: bool,
    /// A weight for each column of the block; nothing where training had no texts.
    idf: Vec<f32>,
}

fn grams(name: &str) -> Grams {
    match name {
        "word_pairs" => Grams::Pairs,
        "characters" => Grams::Characters,
        _ => Grams::Words,
    }
}

/// A text column, and what keeps its words apart from those of the others.
type Texts<'a> = (u64, &'a [Option<Arc<str>>]);

fn texts(x: &Frame) -> Vec<Texts<'_>> {
    let columns = (0..).zip(x.columns());
    let texts = columns.filter_map(|(index, column)| match column.values() {
        Values::Text(values) => Some((StableHash::new("text").number(index).finish(), &values[..])),
        _ => None,
    });
    texts.collect()
}

fn count(counter: &mut Counter, texts: &[Texts<'_>], row: usize) {
    for (salt, texts) in texts {
        if let Some(Some(text)) = texts.get(row) {
            counter.count(text, *salt);
        }
    }
}

impl TabularOperator for TextTfidf {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::Text(_)))
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let columns = if let Some(Value::Int(columns)) = params.get("columns") { *columns as f64 } else { 256.0 };
        // A text of 50 words.
        let read = 4e-6 * shape.rows;
        Cost::of_cells(shape, 0.1, 0.1)
            .and_seconds(read + 0.3e-9 * shape.rows * columns)
            .and_bytes((4.0 * columns + 600.0) * shape.rows)
            .emitting(shape.columns + columns)
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        4e-6 + 0.5e-9 * self.cost(shape, params).columns
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (columns, grams) = (fit.int("columns")?.clamp(1, 1 << 16), grams(fit.text("grams")?));
        let texts = texts(fit.x);
        let types = Types::of(fit.x);
        let sublinear = fit.switch("sublinear")?;
        if texts.is_empty() {
            return Ok(Box::new(Weights { types, grams, sublinear, idf: Vec::new() }));
        }
        check_cells(fit.x.rows(), columns)?;
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let rows = rows.unwrap_or_else(|| (0..u32::try_from(fit.x.rows()).unwrap_or(u32::MAX)).collect());
        let documents = |rows: &[u32]| {
            let mut counter = Counter::new(grams, columns);
            let mut documents = vec![0_u32; columns];
            for &row in rows {
                go_on(fit.cancel)?;
                count(&mut counter, &texts, row as usize);
                counter.take(|column, _| {
                    if let Some(documents) = documents.get_mut(column as usize) {
                        *documents += 1;
                    }
                });
            }
            Ok(documents)
        };
        let parts: Vec<Vec<u32>> = rows.par_chunks(CHUNK * 16).map(documents).collect::<Result<_, OperatorError>>()?;
        let total = |column: usize| parts.iter().filter_map(|part| part.get(column)).sum();
        let idf = (0..columns).map(|column| idf(total(column), rows.len())).collect();
        Ok(Box::new(Weights { types, grams, sublinear, idf }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (types, idf) = (Types::load(state)?, state.finite("idf", None)?);
        if idf.len() > 1 << 16 || !idf.iter().all(|weight| (0.0..=1e3).contains(weight)) {
            return Err(OperatorError::state("`idf` holds no weights of words"));
        }
        let grams = grams(&state.get::<String>("grams")?);
        Ok(Box::new(Weights { types, grams, sublinear: state.get("sublinear")?, idf }))
    }
}

impl Fitted for Weights {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        self.types.check(x)?;
        if self.idf.is_empty() {
            return Ok(x.clone());
        }
        check_cells(x.rows(), self.idf.len())?;
        let texts = texts(x);
        let chunk = |start: usize| {
            let mut counter = Counter::new(self.grams, self.idf.len());
            let (mut cells, mut row_cells) = (Vec::new(), Vec::new());
            for row in start..(start + CHUNK).min(x.rows()) {
                go_on(cancel)?;
                count(&mut counter, &texts, row);
                row_cells.clear();
                counter.take(|column, count| row_cells.push((column, count)));
                weigh(&mut row_cells, &self.idf, self.sublinear);
                cells.extend(row_cells.iter().map(|&(column, weight)| (row, column, weight)));
            }
            Ok(cells)
        };
        let starts: Vec<usize> = (0..x.rows()).step_by(CHUNK).collect();
        let chunks: Vec<Vec<(usize, u32, f32)>> = starts.into_par_iter().map(chunk).collect::<Result<_, OperatorError>>()?;
        let mut block = zeros(x.rows(), self.idf.len());
        for (row, column, weight) in chunks.into_iter().flatten() {
            if let Some(cell) = block.get_mut(column as usize).and_then(|column| column.get_mut(row)) {
                *cell = weight;
            }
        }
        let others = x.columns().iter().filter(|column| !matches!(column.values(), Values::Text(_))).cloned();
        Frame::new(x.rows(), others.chain(block.into_iter().map(numbers)).collect())
    }

    fn save(&self, state: &mut State) {
        self.types.save(state);
        let grams = match self.grams {
            Grams::Words => "words",
            Grams::Pairs => "word_pairs",
            Grams::Characters => "characters",
        };
        state.put("grams", grams);
        state.put("sublinear", self.sublinear);
        state.put_array("idf", Array::F32(self.idf.clone()));
    }
}
