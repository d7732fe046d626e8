//! The three networks (Luo et al., section 3.1): an LSTM encoder whose hidden states, at length one, are the representation; a
//! predictor on their mean; an LSTM decoder with attention over them, whose softmax sees the legal tokens alone.

use automl_core::rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::codec::Sequence;
use crate::tensor::sequence::{
    Lstm, attention, beside, fork, gather, gradient, lstm, lstm_step, masked_cross_entropy, mean_steps, plus, product, recur,
    scaled, to_gates, unit_rows, with_gradient,
};
use crate::tensor::{
    Activation, Cpu, Linear, Matrix, NnDevice, NoneTape, ParamId, Params, Scalar, Tape, TensorError, backward, matrix, record,
    values,
};

/// Sizes of the networks.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub words: usize,
    /// Questions that the networks tell apart; 0 where they read tokens alone.
    pub questions: usize,
    pub embedding: usize,
    pub hidden: usize,
    /// Hidden layers of the predictor.
    pub layers: usize,
    /// Units of each.
    pub units: usize,
    /// Whether the predictor ends in a sigmoid.
    pub sigmoid: bool,
}

/// Encoder, predictor and decoder, with their parameters.
pub(super) struct Model {
    pub params: Params<Cpu>,
    sizes: Sizes,
    embedding: ParamId,
    encoder: [ParamId; 3],
    predictor: Vec<[ParamId; 2]>,
    words: ParamId,
    /// What is added to the words of the encoder and of the decoder for each question.
    questions: Option<[ParamId; 2]>,
    decoder: [ParamId; 3],
    query: [ParamId; 2],
    combine: [ParamId; 2],
    output: [ParamId; 2],
}

/// Sequences side by side, time-major, padded at the end.
pub(super) struct Batch {
    pub lengths: Vec<usize>,
    /// Row `step · batch + index`.
    tokens: Vec<usize>,
    /// The same, of the questions that they answer.
    points: Vec<usize>,
}

impl Batch {
    pub fn new(sequences: &[&Sequence]) -> Self {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let each = |of: fn(&Sequence) -> &[usize]| -> Vec<usize> {
            let at = |step: usize| sequences.iter().map(move |sequence| of(sequence).get(step).copied().unwrap_or(0));
            (0..steps).flat_map(at).collect()
        };
        Self { lengths, tokens: each(|sequence| &sequence.tokens), points: each(|sequence| &sequence.points) }
    }

    /// What the decoder reads when it is taught: the start, then each token but the last.
    fn shifted(&self) -> Vec<usize> {
        let kept = self.tokens.len() - self.lengths.len().min(self.tokens.len());
        std::iter::repeat_n(0, self.lengths.len()).chain(self.tokens[..kept].iter().copied()).collect()
    }
}

impl Model {
    /// Networks with random parameters, uniform within one over the root of what reaches a unit.
    pub fn new(sizes: Sizes, rng: &mut dyn Rng) -> Result<Self, TensorError> {
        let mut params = Params::new(Cpu::default());
        let Sizes { words, questions: asked, embedding: e, hidden: h, layers, units, .. } = sizes;
        let mut uniform = |rows: usize, columns: usize, fan: usize, decay: bool| {
            let bound = 1.0 / (fan.max(1) as f32).sqrt();
            let draw = |_| bound * (2.0 * rng.random::<f32>() - 1.0);
            params.add([rows, columns], (0..rows * columns).map(draw).collect(), decay)
        };
        let embedding = uniform(words, e, e, true)?;
        let encoder = [uniform(e, 4 * h, h, true)?, uniform(h, 4 * h, h, true)?, uniform(1, 4 * h, h, false)?];
        let own = uniform(words, h, h, true)?;
        let questions = if asked == 0 { None } else { Some([uniform(asked, e, e, true)?, uniform(asked, h, h, true)?]) };
        let decoder = [uniform(h, 4 * h, h, true)?, uniform(h, 4 * h, h, true)?, uniform(1, 4 * h, h, false)?];
        let query = [uniform(h, h, h, true)?, uniform(1, h, h, false)?];
        let combine = [uniform(2 * h, h, 2 * h, true)?, uniform(1, h, 2 * h, false)?];
        let output = [uniform(h, words, h, true)?, uniform(1, words, h, false)?];
        // The last in the store: see `renewed`.
        let widths: Vec<usize> = std::iter::once(h).chain(std::iter::repeat_n(units, layers)).chain([1]).collect();
        let layer = |pair: &[usize]| Ok([uniform(pair[0], pair[1], pair[0], true)?, uniform(1, pair[1], pair[0], false)?]);
        let predictor = widths.windows(2).map(layer).collect::<Result<_, TensorError>>()?;
        Ok(Self { params, sizes, embedding, encoder, predictor, words: own, questions, decoder, query, combine, output })
    }

    /// The same networks, with parameters of their own.
    pub fn copied(&self) -> Result<Self, TensorError> {
        let mut copied = Self::new(self.sizes.clone(), &mut ChaCha8Rng::seed_from_u64(0))?;
        copied.params.import(&self.params.export())?;
        Ok(copied)
    }

    /// Networks with the same encoder and decoder and a new predictor.
    pub fn renewed(&self, rng: &mut dyn Rng) -> Result<Self, TensorError> {
        let mut renewed = Self::new(self.sizes.clone(), rng)?;
        let Sizes { hidden, layers, units, .. } = self.sizes;
        let widths: Vec<usize> = std::iter::once(hidden).chain(std::iter::repeat_n(units, layers)).chain([1]).collect();
        let of_predictor: usize = widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        let (mut kept, fresh) = (self.params.export(), renewed.params.export());
        let body = kept.len().saturating_sub(of_predictor);
        kept[body..].copy_from_slice(&fresh[body..]);
        renewed.params.import(&kept)?;
        Ok(renewed)
    }

    fn lstm(&self, of: &[ParamId; 3]) -> Lstm<'_> {
        Lstm { input: self.params.get(of[0]), hidden: self.params.get(of[1]), bias: self.params.get(of[2]) }
    }

    fn linear<T: Tape<f32, Cpu>>(
        &self,
        of: &[ParamId; 2],
        activation: Activation,
        x: Matrix<Cpu, T>,
    ) -> Result<Matrix<Cpu, T>, TensorError> {
        let (weight, bias) = (self.params.get(of[0]), self.params.get(of[1]));
        Cpu::linear(&Linear { weight, bias, activation, mask: None, input_gradient: true }, x)
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Matrix<Cpu>, TensorError> {
        matrix(self.params.device(), rows, columns, vec![0.0; rows * columns])
    }

    /// The unit-norm hidden states, (steps · batch) × hidden; `dropout` is the share of the embedding that is left out.
    pub fn encode<T: Tape<f32, Cpu>>(
        &self,
        batch: &Batch,
        dropout: Option<(f64, &mut dyn Rng)>,
    ) -> Result<Matrix<Cpu, T>, TensorError> {
        let mut x = gather(self.params.get(self.embedding).retaped::<T>(), &batch.tokens)?;
        if let Some([questions, _]) = self.questions {
            x = plus(x, gather(self.params.get(questions).retaped::<T>(), &batch.points)?)?;
        }
        if let Some((share, rng)) = dropout {
            let kept = (1.0 / (1.0 - share)) as f32;
            let factor = |_| if rng.random::<f64>() < share { 0.0 } else { kept };
            x = scaled(x, (0..batch.tokens.len() * self.sizes.embedding).map(factor).collect())?;
        }
        let start = self.zeros(batch.lengths.len(), 2 * self.sizes.hidden)?;
        unit_rows(lstm(&self.lstm(&self.encoder), x, start.retaped::<T>())?)
    }

    /// The predictions for states, batch × 1: the better, the larger.
    pub fn predict<T: Tape<f32, Cpu>>(&self, states: Matrix<Cpu, T>, lengths: &[usize]) -> Result<Matrix<Cpu, T>, TensorError> {
        let last = if self.sizes.sigmoid { Activation::Sigmoid } else { Activation::Identity };
        let mut x = mean_steps(states, lengths)?;
        for (index, layer) in self.predictor.iter().enumerate() {
            x = self.linear(layer, if index + 1 < self.predictor.len() { Activation::Relu } else { last }, x)?;
        }
        Ok(x)
    }

    /// `Σ weight · -log P(token)` of sequences that are read from their own states; one weight each, for each of its tokens.
    pub fn reconstruct<T: Tape<f32, Cpu>>(
        &self,
        states: Matrix<Cpu, T>,
        batch: &Batch,
        sequences: &[&Sequence],
        weights: &[f32],
    ) -> Result<Scalar<Cpu, T>, TensorError> {
        let decoder = self.lstm(&self.decoder);
        let words = to_gates(&decoder, self.params.get(self.words).retaped::<T>())?;
        let (keys, states) = fork(states);
        let start = self.start(states, &batch.lengths)?;
        let mut x = gather(words, &batch.shifted())?;
        if let Some([_, questions]) = self.questions {
            let asked = product(self.params.get(questions).retaped::<T>(), decoder.input)?;
            x = plus(x, gather(asked, &batch.points)?)?;
        }
        let decoded = recur(decoder.hidden, x, start)?;
        let logits = self.attend(decoded, keys, &batch.lengths)?;
        let (count, words) = (sequences.len(), self.sizes.words);
        let mut legal = vec![false; batch.tokens.len() * words];
        let mut shares = vec![0.0; batch.tokens.len()];
        for (index, (sequence, &weight)) in sequences.iter().zip(weights).enumerate() {
            for (step, mask) in sequence.legal.chunks_exact(words).enumerate() {
                let row = step * count + index;
                legal[row * words..(row + 1) * words].copy_from_slice(mask);
                shares[row] = weight;
            }
        }
        masked_cross_entropy(logits, &legal, &batch.tokens, &shares)
    }

    /// Where the decoder starts: the last hidden state of the encoder, as state and as cell.
    fn start<T: Tape<f32, Cpu>>(&self, states: Matrix<Cpu, T>, lengths: &[usize]) -> Result<Matrix<Cpu, T>, TensorError> {
        let last: Vec<usize> =
            lengths.iter().enumerate().map(|(index, length)| length.saturating_sub(1) * lengths.len() + index).collect();
        let (state, cell) = fork(gather(states, &last)?);
        beside(state, cell)
    }

    /// The scores of tokens for hidden states of the decoder.
    fn attend<T: Tape<f32, Cpu>>(
        &self,
        decoded: Matrix<Cpu, T>,
        keys: Matrix<Cpu, T>,
        lengths: &[usize],
    ) -> Result<Matrix<Cpu, T>, TensorError> {
        let (decoded, own) = fork(decoded);
        let context = attention(self.linear(&self.query, Activation::Identity, decoded)?, keys, lengths)?;
        let combined = self.linear(&self.combine, Activation::Tanh, beside(context, own)?)?;
        self.linear(&self.output, Activation::Identity, combined)
    }

    /// The gradient of the sum of the predictions with respect to the states, row-major.
    pub fn slope(&self, states: &Matrix<Cpu>, lengths: &[usize]) -> Result<Vec<f32>, TensorError> {
        let states = states.clone();
        let predictions = self.predict(record(states.clone()), lengths)?;
        let ones = vec![1.0; lengths.len()];
        let mut gradients = backward(with_gradient(predictions, 0.0, ones)?)?;
        gradient(&mut gradients, &states)
    }

    /// The state of the decoder before the first token, for each sequence of states.
    pub fn begin(&self, states: &Matrix<Cpu>, lengths: &[usize]) -> Result<Matrix<Cpu>, TensorError> {
        self.start::<NoneTape>(states.clone(), lengths)
    }

    /// One step of the decoder: the state after the token before, where some question is asked, and the scores of tokens, rows ×
    /// words.
    pub fn step(
        &self,
        before: &[usize],
        asked: &[usize],
        state: &Matrix<Cpu>,
        keys: Matrix<Cpu>,
        lengths: &[usize],
    ) -> Result<(Matrix<Cpu>, Vec<f32>), TensorError> {
        let mut x = gather(self.params.get(self.words).clone(), before)?;
        if let Some([_, questions]) = self.questions {
            x = plus(x, gather(self.params.get(questions).clone(), asked)?)?;
        }
        let state = lstm_step(&self.lstm(&self.decoder), &x, state)?;
        let hidden = self.sizes.hidden;
        let own = values(&state).chunks_exact(2 * hidden).flat_map(|row| row[..hidden].to_vec()).collect();
        let own = matrix(self.params.device(), before.len(), hidden, own)?;
        let scores = values(&self.attend(own, keys, lengths)?);
        Ok((state, scores))
    }

    /// The hidden size.
    pub fn hidden(&self) -> usize {
        self.sizes.hidden
    }
}
