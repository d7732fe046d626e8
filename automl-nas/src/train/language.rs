//! Language models of recurrent cells: an embedding, the cell, a linear layer over the vocabulary.

use std::fs;
use std::path::Path;

use automl_core::hash::StableHash;
use automl_core::rand::{RngExt, SeedableRng};
use automl_core::schemars::JsonSchema;
use automl_core::study::seed_of;
use automl_core::{Cancel, Error, Genotype, Result, serde_json};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::classifier::TrainError;
use super::recipe::Recipe;
use crate::nao_rnn::ACTIVATIONS;
use crate::tensor::image::Recorder;
use crate::tensor::recurrent::{Tree, tree};
use crate::tensor::{
    Activation, Cpu, Linear, Matrix, NnDevice, Optimizer, ParamId, Params, Scalar, TensorError, checkpoint, matrix, sequence,
    soft_targets, values,
};

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The language model around a recurrent cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Language {
    /// Numbers of the state, and of a token's embedding; default 64. The papers have 850.
    pub units: usize,
    /// Tokens through which gradients flow back; default 35.
    pub steps: usize,
}

impl Default for Language {
    fn default() -> Self {
        Self { units: 64, steps: 35 }
    }
}

impl Language {
    /// Checks the settings; `place` is where they stand in the config.
    ///
    /// # Errors
    /// [`Error::Config`] that names the setting.
    pub fn check(&self, place: &str) -> Result<()> {
        for (name, value, most) in [("units", self.units, 8_192), ("steps", self.steps, 1_000)] {
            if !(1..=most).contains(&value) {
                return Err(Error::config(format!("{place}.{name}"), format!("is {value}; it must be 1 to {most}")));
            }
        }
        Ok(())
    }

    /// Parameters, and multiply-adds for a token, of the model with a cell of so many nodes.
    pub fn size(&self, nodes: usize, vocabulary: usize) -> [u64; 2] {
        let (units, nodes, words) = (self.units as u64, nodes as u64, vocabulary as u64);
        let cell = (nodes + 1) * 2 * units * units;
        [2 * words * units + words + cell, cell + words * units]
    }
}

/// The activation of each node and the node that it reads.
pub(super) fn nodes(genotype: &Genotype) -> Result<(Vec<Activation>, Vec<usize>)> {
    genotype.check()?;
    let outside = || {
        Error::Outside(format!(
            "{genotype} is no recurrent cell; those of the space nao_rnn are: `input`, nodes that read one earlier, `mean`"
        ))
    };
    let [input, inner @ .., mean] = genotype.nodes.as_slice() else { return Err(outside()) };
    if input.op != "input"
        || mean.op != "mean"
        || inner.is_empty()
        || mean.inputs.len() != inner.len()
        || mean.inputs.contains(&0)
    {
        return Err(outside());
    }
    let (mut activations, mut reads) = (Vec::new(), Vec::new());
    for (index, node) in inner.iter().enumerate() {
        let place = ACTIVATIONS.iter().position(|name| *name == node.op).ok_or_else(outside)?;
        activations.extend([Activation::Tanh, Activation::Relu, Activation::Identity, Activation::Sigmoid].get(place));
        reads.push(match (index, &node.inputs[..]) {
            (0, [0]) => 0,
            (1.., &[read]) if read > 0 => read - 1,
            _ => return Err(outside()),
        });
    }
    Ok((activations, reads))
}

/// A language model in training.
pub struct LanguageModel {
    pub(super) params: Params<Cpu>,
    pub(super) optimizer: Optimizer<Cpu>,
    activations: Vec<Activation>,
    reads: Vec<usize>,
    /// Embedding, first node, later nodes, weights and biases over the vocabulary.
    embedding: ParamId,
    first: ParamId,
    others: Vec<ParamId>,
    decoder: [ParamId; 2],
    language: Language,
    vocabulary: usize,
    recipe: Recipe,
    seed: u64,
    epochs: usize,
    pub(super) done: usize,
}

/// What the numbers of a file stand for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    genotype: Genotype,
    language: Language,
    vocabulary: Vec<String>,
}

impl LanguageModel {
    /// A model at its start, to be trained for so many epochs.
    ///
    /// # Errors
    /// [`Error::Outside`] for a genotype that is no recurrent cell; [`Error::Config`] where there is no memory.
    pub fn new(
        genotype: &Genotype,
        language: &Language,
        vocabulary: usize,
        recipe: &Recipe,
        epochs: usize,
        seed: u64,
    ) -> Result<Self> {
        let (activations, reads) = nodes(genotype)?;
        let units = language.units;
        let mut params = Params::new(Cpu::default());
        let bound = 1.0 / (units as f32).sqrt();
        let mut add = |name: String, shape: [usize; 2], bound: f32, decays: bool| {
            let seed = StableHash::new("language").number(seed).text(&name).finish();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let numbers = (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0_f32..1.0) * bound).collect();
            params.add_named(name, shape, numbers, decays).map_err(|error| Error::config("language", error.to_string()))
        };
        let embedding = add("embedding".into(), [vocabulary, units], 0.1, true)?;
        let first = add("cell.0".into(), [2 * units, 2 * units], bound, true)?;
        let others = (1..activations.len()).map(|node| add(format!("cell.{node}"), [units, 2 * units], bound, true));
        let others = others.collect::<Result<Vec<_>>>()?;
        let decoder = [
            add("decoder.weight".into(), [units, vocabulary], 0.1, true)?,
            add("decoder.bias".into(), [1, vocabulary], 0.0, false)?,
        ];
        let optimizer = recipe.stepper(&mut params).map_err(|error| Error::config("language", error.to_string()))?;
        let (language, recipe) = (language.clone(), recipe.clone());
        Ok(Self {
            params,
            optimizer,
            activations,
            reads,
            embedding,
            first,
            others,
            decoder,
            language,
            vocabulary,
            recipe,
            seed,
            epochs,
            done: 0,
        })
    }

    /// Writes the weights with what is needed to use them.
    pub(super) fn write(&self, path: &Path, genotype: &Genotype, vocabulary: &[String]) -> std::result::Result<(), Problem> {
        let card = Card { genotype: genotype.clone(), language: self.language.clone(), vocabulary: vocabulary.to_vec() };
        Ok(checkpoint::save(path, &self.params, None, &serde_json::to_string(&card)?)?)
    }

    /// Reads a model, and the token of each number.
    ///
    /// # Errors
    /// A file that is missing, broken, or no language model.
    pub fn load(path: &Path) -> std::result::Result<(Self, Vec<String>), Problem> {
        let wrong = |problem: String| Error::config(path.display().to_string(), problem);
        let bytes = fs::metadata(path).map_err(|source| Error::io(path, source))?.len();
        let card = checkpoint::progress(path)?;
        let card: Card = serde_json::from_str(&card).map_err(|error| wrong(format!("is no trained language model: {error}")))?;
        card.language.check("language")?;
        let words = card.vocabulary.len();
        // Before any memory is asked for: a small file holds no large network.
        let [parameters, _] = card.language.size(nodes(&card.genotype)?.0.len(), words);
        if parameters > bytes / 4 {
            return Err(wrong(format!("has {bytes} bytes for {parameters} parameters")).into());
        }
        let mut model = Self::new(&card.genotype, &card.language, words, &Recipe::default(), 1, 0)?;
        checkpoint::load(path, &mut model.params, None)?;
        Ok((model, card.vocabulary))
    }

    /// Parameters, and multiply-adds for a token.
    pub fn size(&self) -> [u64; 2] {
        self.language.size(self.activations.len(), self.vocabulary)
    }

    /// Epochs that are done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Epochs in all.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Sets the number of epochs in all: what is left of the schedule stretches or shrinks.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.epochs = epochs.max(self.done).max(1);
    }

    /// The learning rate after a share of the epoch that comes next.
    pub fn rate(&self, share: f64) -> f64 {
        self.recipe.rate(self.done as f64 + share, self.epochs as f64)
    }

    /// One pass over a text; the mean loss of a token on the way.
    ///
    /// # Errors
    /// [`TrainError`]; the model is then in the middle of an epoch.
    pub fn epoch(&mut self, text: &[u32], cancel: &Cancel) -> Result<f64, TrainError> {
        let streams = Streams::new(text, self.recipe.batch_size);
        let segments = streams.segments(self.language.steps);
        let mut state = vec![0.0; streams.count * self.language.units];
        let (mut total, mut count) = (0.0, 0);
        for (number, segment) in segments.iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(TrainError::Cancelled);
            }
            let share = number as f64 / segments.len() as f64;
            let drawn = seed_of(self.seed, "language.drop", ((self.done as u64) << 32) + number as u64);
            let mut recorder = Recorder::on();
            let dropped = Some(ChaCha8Rng::seed_from_u64(drawn)).filter(|_| self.recipe.dropout > 0.0);
            let (inputs, targets) = streams.tokens(segment.clone());
            let (loss, last) = self.loss(&mut recorder, &inputs, &targets, &state, dropped, self.recipe.label_smoothing)?;
            state = last;
            let value = number_of(&loss);
            if !value.is_finite() {
                return Err(TrainError::Diverged(self.done + 1));
            }
            (total, count) = (total + value * targets.len() as f64, count + targets.len());
            let mut gradients = recorder.backward(&loss)?;
            let rate = self.rate(share);
            self.optimizer.step(&mut self.params, &mut gradients, rate)?;
        }
        self.done += 1;
        Ok(total / count.max(1) as f64)
    }

    /// The mean loss of a token of a text, whose exponential is the perplexity, and how many tokens were predicted: all but the
    /// first of each of ten parts.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn judge(&self, text: &[u32], cancel: &Cancel) -> Result<(f64, usize), TrainError> {
        let streams = Streams::new(text, 10);
        let mut state = vec![0.0; streams.count * self.language.units];
        let (mut total, mut count) = (0.0, 0);
        for segment in streams.segments(self.language.steps) {
            if cancel.is_cancelled() {
                return Err(TrainError::Cancelled);
            }
            let (inputs, targets) = streams.tokens(segment);
            let (loss, last) = self.loss(&mut Recorder::off(), &inputs, &targets, &state, None, 0.0)?;
            state = last;
            (total, count) = (total + number_of(&loss) * targets.len() as f64, count + targets.len());
        }
        Ok((total / count.max(1) as f64, count))
    }

    /// The mean loss of a segment, time-major, and the state after it.
    fn loss(
        &self,
        recorder: &mut Recorder<Cpu>,
        inputs: &[usize],
        targets: &[usize],
        state: &[f32],
        mut dropped: Option<ChaCha8Rng>,
        smoothing: f64,
    ) -> Result<(Scalar<Cpu>, Vec<f32>), TensorError> {
        let (device, units, rows) = (self.params.device(), self.language.units, inputs.len());
        let batch = state.len() / units;
        // One mask for all steps: what a step forgets, its neighbours forget, too (Gal and Ghahramani 2016).
        let mut thin = |recorder: &mut Recorder<Cpu>, x: Matrix<Cpu>| -> Result<Matrix<Cpu>, TensorError> {
            let Some(rng) = &mut dropped else { return Ok(x) };
            let share = self.recipe.dropout as f32;
            let mask: Vec<f32> =
                (0..batch * units).map(|_| if rng.random::<f32>() < share { 0.0 } else { 1.0 / (1.0 - share) }).collect();
            let mask = mask.iter().copied().cycle().take(rows * units).collect();
            recorder.scaled(&x, &matrix(device, rows, units, mask)?)
        };
        let x = recorder.apply(self.params.get(self.embedding), |table| sequence::gather(table, inputs))?;
        let x = thin(recorder, x)?;
        let cell = Tree {
            activations: &self.activations,
            reads: &self.reads,
            first: self.params.get(self.first),
            others: self.others.iter().map(|&id| self.params.get(id)).collect(),
        };
        let start = matrix(device, batch, units, state.to_vec())?;
        let states = recorder.apply(&x, |x| tree(&cell, x, &start))?;
        let all = values(&states);
        let last = all.get(all.len().saturating_sub(state.len())..).unwrap_or_default().to_vec();
        let states = thin(recorder, states)?;
        let [weight, bias] = self.decoder.map(|id| self.params.get(id));
        let layer = Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true };
        let logits = recorder.linear(&layer, &states)?;
        let each = 1.0 / rows.max(1) as f32;
        let targets = soft_targets(targets.iter().map(|&target| (target, each)), self.vocabulary, smoothing as f32);
        let loss = recorder.cross_entropy(&logits, &matrix(device, rows, self.vocabulary, targets)?)?;
        Ok((loss, last))
    }
}

fn number_of<D: NnDevice>(loss: &Scalar<D>) -> f64 {
    values(loss).first().copied().map_or(f64::NAN, f64::from)
}

/// A text cut into streams of one length that are read side by side.
struct Streams<'a> {
    text: &'a [u32],
    count: usize,
    length: usize,
}

impl<'a> Streams<'a> {
    fn new(text: &'a [u32], count: usize) -> Self {
        let count = count.clamp(1, (text.len() / 2).max(1));
        Self { text, count, length: text.len() / count }
    }

    /// Places of the inputs; each has a target one place further.
    fn segments(&self, steps: usize) -> Vec<std::ops::Range<usize>> {
        let last = self.length.saturating_sub(1);
        (0..last).step_by(steps.max(1)).map(|start| start..(start + steps).min(last)).collect()
    }

    /// Inputs and targets of a segment, time-major.
    fn tokens(&self, segment: std::ops::Range<usize>) -> (Vec<usize>, Vec<usize>) {
        let at = |place: usize| self.text.get(place).map_or(0, |&token| token as usize);
        let places = segment.flat_map(|step| (0..self.count).map(move |stream| stream * self.length + step));
        places.map(|place| (at(place), at(place + 1))).unzip()
    }
}
