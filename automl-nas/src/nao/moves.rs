//! The move (Luo et al., section 3.2, equation 2): the states of good candidates follow the gradient of the predictor, and the
//! decoder reads new candidates from where they arrive.

use automl_core::{Cancel, Result, Step, Trace};
use rayon::prelude::*;

use super::codec::{Codec, Sequence, failed};
use super::model::{Batch, Model};
use crate::tensor::sequence::{gather, unit_rows};
use crate::tensor::{NoneTape, TensorError, matrix, values};

/// Sequences that a thread takes at a time.
const PART: usize = 64;

/// How to move.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// The first step, in units of the gradient, or of the length of the states where it is normalised.
    pub first: f64,
    /// How often it is enlarged by half of that.
    pub enlarged: usize,
    /// Whether the gradient of each seed is scaled to the length of its states.
    pub normalised: bool,
    /// Sequences that the decoder follows.
    pub beam: usize,
}

/// A seed's states on their way.
pub(super) struct Course {
    lengths: Vec<usize>,
    states: Vec<f32>,
    slope: Vec<f32>,
}

/// What was decoded from a seed.
#[derive(Clone, Debug)]
pub(super) struct Decoded {
    pub seed: usize,
    /// The size of the step that led there.
    pub step: f64,
    pub answers: Trace,
}

/// What the predictor says of sequences, one number each.
pub(super) fn predict(model: &Model, sequences: &[&Sequence]) -> Result<Vec<f64>> {
    let part = |part: &[&Sequence]| -> std::result::Result<Vec<f64>, TensorError> {
        let batch = Batch::new(part);
        let states = model.encode::<NoneTape>(&batch, None)?;
        Ok(values(&model.predict(states, &batch.lengths)?).into_iter().map(f64::from).collect())
    };
    let parts: Vec<_> = sequences.par_chunks(PART).map(part).collect();
    let mut all = Vec::with_capacity(sequences.len());
    for part in parts {
        all.extend(part.map_err(failed)?);
    }
    Ok(all)
}

impl Course {
    /// Sets out from seeds, all as one batch.
    pub fn new(model: &Model, seeds: &[&Sequence], normalised: bool) -> std::result::Result<Self, TensorError> {
        let batch = Batch::new(seeds);
        let states = model.encode::<NoneTape>(&batch, None)?;
        let mut slope = model.slope(&states, &batch.lengths)?;
        if normalised {
            let (count, hidden) = (seeds.len(), model.hidden());
            let mut squares = vec![0.0_f32; count];
            for (row, slope) in slope.chunks_exact(hidden).enumerate() {
                squares[row % count] += slope.iter().map(|x| x * x).sum::<f32>();
            }
            for (row, slope) in slope.chunks_exact_mut(hidden).enumerate() {
                let index = row % count;
                // The states of a sequence have the length of the root of their number.
                let factor = (batch.lengths[index] as f32 / squares[index].max(f32::MIN_POSITIVE)).sqrt();
                slope.iter_mut().for_each(|x| *x *= factor);
            }
        }
        Ok(Self { lengths: batch.lengths, states: values(&states), slope })
    }

    /// Decodes where steps of some sizes lead, all of them as one batch: for each step, in their order, and each seed up to `beam`
    /// candidates, the likeliest first. Cancelled, none.
    pub fn decode(&self, model: &Model, codec: &Codec, steps: &[f64], beam: usize, cancel: &Cancel) -> Result<Vec<Decoded>> {
        let (seeds, hidden) = (self.lengths.len(), model.hidden().max(1));
        let count = steps.len() * seeds;
        let places = self.states.len() / (hidden * seeds).max(1);
        let mut moved = Vec::with_capacity(self.states.len() * steps.len());
        let rows = self.states.chunks_exact(hidden * seeds.max(1)).zip(self.slope.chunks_exact(hidden * seeds.max(1)));
        for (states, slope) in rows {
            for &step in steps {
                moved.extend(states.iter().zip(slope).map(|(state, slope)| state + step as f32 * slope));
            }
        }
        let moved = matrix(model.params.device(), places * count, hidden, moved).and_then(unit_rows).map_err(failed)?;
        let lengths: Vec<usize> = self.lengths.iter().copied().cycle().take(count).collect();
        let mut states = model.begin(&moved, &lengths).map_err(failed)?;
        let mut open: Vec<Open> =
            (0..count).map(|row| Open { row, state: row, before: 0, answers: Vec::new(), likelihood: 0.0 }).collect();
        let mut done = Vec::new();
        loop {
            if cancel.is_cancelled() {
                return Ok(Vec::new());
            }
            // What the space asks each of them next; those that it asks nothing are complete.
            let asked: Vec<_> = open.par_iter().map(|open| codec.open(&open.answers)).collect::<Result<_>>()?;
            let (mut going, mut questions) = (Vec::new(), Vec::new());
            for (open, asked) in open.into_iter().zip(asked) {
                match asked {
                    Some(question) => {
                        going.push(open);
                        questions.push(question);
                    }
                    None => done.push(open),
                }
            }
            if going.is_empty() {
                break;
            }
            let from: Vec<usize> = going.iter().map(|open| open.row).collect();
            let of: Vec<usize> = from.iter().map(|&row| lengths[row]).collect();
            let before: Vec<usize> = going.iter().map(|open| open.before).collect();
            let points: Vec<usize> = questions.iter().map(|(point, _)| *point).collect();
            let own: Vec<usize> = going.iter().map(|open| open.state).collect();
            let advance = || {
                let state = gather(states.clone(), &own)?;
                // Mostly all go on, with the states that they have.
                let whole = from.len() == count && from.iter().enumerate().all(|(index, &row)| index == row);
                let keys: Vec<usize> = (0..places).flat_map(|place| from.iter().map(move |row| place * count + row)).collect();
                let keys = if whole { moved.clone() } else { gather(moved.clone(), &keys)? };
                model.step(&before, &points, &state, keys, &of)
            };
            let (after, scores) = advance().map_err(failed)?;
            states = after;
            open = extend(codec, &going, &questions, &scores, beam);
        }
        done.sort_by(|a, b| a.row.cmp(&b.row).then(b.likelihood.total_cmp(&a.likelihood)));
        let decoded = |open: Open| {
            let step = steps.get(open.row / seeds.max(1)).copied().unwrap_or(0.0);
            Decoded { seed: open.row % seeds.max(1), step, answers: open.answers }
        };
        Ok(done.into_iter().map(decoded).collect())
    }
}

/// A sequence that is being decoded.
#[derive(Clone)]
struct Open {
    /// Of which seed it is read, at which step: the step times the number of seeds, plus the seed.
    row: usize,
    /// Row of its state.
    state: usize,
    /// The token before.
    before: usize,
    answers: Trace,
    /// Logarithm of its probability.
    likelihood: f64,
}

/// The likeliest continuations: up to `beam` for each row.
fn extend(codec: &Codec, going: &[Open], questions: &[(usize, Vec<bool>)], scores: &[f32], beam: usize) -> Vec<Open> {
    let words = codec.words();
    let mut next: Vec<Open> = Vec::new();
    let mut of_row: Vec<(f64, usize, usize)> = Vec::new();
    let flush = |of_row: &mut Vec<(f64, usize, usize)>, next: &mut Vec<Open>| {
        of_row.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        for &(likelihood, row, token) in of_row.iter().take(beam.max(1)) {
            let Some((from, (point, _))) = going.get(row).zip(questions.get(row)) else { continue };
            let Some(answer) = u32::try_from(token).ok().and_then(|token| codec.vocabulary.answer(*point, token)) else {
                continue;
            };
            let mut answers = from.answers.clone();
            answers.push(Step { point: *point, answer });
            next.push(Open { row: from.row, state: row, before: token, answers, likelihood });
        }
        of_row.clear();
    };
    let mut last = None;
    let rows = going.iter().zip(questions).zip(scores.chunks_exact(words.max(1)));
    for (row, ((open, (_, legal)), scores)) in rows.enumerate() {
        if last.is_some_and(|row| row != open.row) {
            flush(&mut of_row, &mut next);
        }
        last = Some(open.row);
        let top =
            legal.iter().zip(scores).filter(|(legal, _)| **legal).map(|(_, score)| *score).fold(f32::NEG_INFINITY, f32::max);
        let allowed = || legal.iter().zip(scores).enumerate().filter(|(_, (legal, _))| **legal);
        let total: f64 = allowed().map(|(_, (_, score))| f64::from(score - top).exp()).sum();
        of_row.extend(allowed().map(|(token, (_, score))| (open.likelihood + f64::from(score - top) - total.ln(), row, token)));
    }
    flush(&mut of_row, &mut next);
    next
}
