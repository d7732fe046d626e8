//! How well fitted networks predict and spell candidates that they have not seen: the figures of the paper's ablation (Luo et
//! al., figure 2a).

use std::sync::Arc;

use automl_core::rand::SeedableRng;
use automl_core::{Cancel, Genotype, Result, SearchSpace};
use rand_chacha::ChaCha8Rng;

use super::codec::{Codec, Sequence, failed};
use super::fit::{self, Speller, Start};
use super::moves::Course;
use super::{Seen, Settings};

/// What networks know of candidates that were held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Share of pairs with different losses that are in the right order; 0.5 is chance.
    pub pairwise: f64,
    /// Kendall's τ-a over those pairs, -1 to 1.
    pub tau: f64,
    /// Share of candidates that the decoder reads back exactly from their states.
    pub exact: f64,
    /// Tokens that differ between a candidate and what the decoder reads, in the mean; what is missing or left over counts.
    pub hamming: f64,
    /// Passes over the candidates until the fit ended, in the mean over the ensemble.
    pub epochs: f64,
}

/// Fits the networks to `known` candidates with their losses, and says what they know of `held_out` ones.
///
/// # Errors
/// Those of the space, and of settings that make no sense.
pub fn probe(
    settings: &Settings,
    space: Arc<dyn SearchSpace>,
    known: &[(Genotype, f64)],
    held_out: &[(Genotype, f64)],
    seed: u64,
) -> Result<Probe> {
    settings.check()?;
    let codec = Codec::new(space, settings.bins)?;
    let mut seen: Vec<Seen> = Vec::with_capacity(known.len());
    for (id, (genotype, loss)) in known.iter().enumerate() {
        seen.extend(Seen::new(&codec, settings, id as u64, genotype, *loss, seed)?);
    }
    let losses: Vec<f64> = seen.iter().map(|seen| seen.loss).collect();
    let scores = settings.target.scores(&losses).unwrap_or_default();
    let (speller, cancel) = (Speller::default(), Cancel::new());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let start = Start::New(speller.get(&codec, settings, seed, &cancel)?);
    let fitted = fit::fit(&codec, settings, &start, &seen.iter().collect::<Vec<_>>(), &scores, &mut rng, &cancel)?;
    let sequence = |(genotype, _): &(Genotype, f64)| codec.sequence(&codec.space.trace(genotype)?);
    let sequences: Vec<Sequence> = held_out.iter().map(sequence).collect::<Result<_>>()?;
    let inputs: Vec<&Sequence> = sequences.iter().collect();
    let said = fitted.judge(&inputs, 0.0)?;
    let (mut right, mut wrong) = (0.0, 0.0);
    for (better, (_, loss)) in said.iter().zip(held_out) {
        for (worse, _) in said.iter().zip(held_out).filter(|(_, (_, other))| loss < other) {
            if better > worse { right += 1.0 } else { wrong += 1.0 }
        }
    }
    let pairs = f64::max(right + wrong, 1.0);
    let (mut exact, mut hamming) = (0.0, 0.0);
    if let Some(model) = fitted.models.first().filter(|_| !inputs.is_empty()) {
        let course = Course::new(model, &inputs, false).map_err(failed)?;
        for decoded in course.decode(model, &codec, &[0.0], 1, &cancel)? {
            let read: Vec<usize> = codec.vocabulary.encode(&decoded.answers)?.into_iter().map(|token| token as usize).collect();
            let Some(own) = sequences.get(decoded.seed).map(|sequence| &sequence.tokens) else { continue };
            let differ = own.iter().zip(&read).filter(|(a, b)| a != b).count() + own.len().abs_diff(read.len());
            hamming += differ as f64;
            exact += f64::from(u8::from(differ == 0));
        }
    }
    let count = held_out.len().max(1) as f64;
    let epochs = fitted.trained.iter().map(|trained| trained.epochs as f64).sum::<f64>() / fitted.trained.len().max(1) as f64;
    Ok(Probe { pairwise: right / pairs, tau: (right - wrong) / pairs, exact: exact / count, hamming: hamming / count, epochs })
}
