//! What can be set, and the set-ups of the paper.

use automl_core::schemars::JsonSchema;
use automl_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::model::Sizes;
use super::moves::Steps;
use super::train::Training;

/// Settings of [`Nao`](super::Nao) and [`NaoPlus`](super::NaoPlus). The defaults are those of `nao` for some hundred trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Settings {
    /// A set-up of the paper, in place of the defaults of all other settings; what is set beside it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Random trials at the start. Default 50.
    pub initial: usize,
    /// Proposals of a round: between two of them the networks are fitted anew. Default 25.
    pub batch: usize,
    /// Least size of a round as a share of what was evaluated before, so that fits take time in proportion to the trials and not to
    /// their square. Default 0: all rounds are of one size.
    pub growth: f64,
    /// Best candidates of all evaluated that are moved. Default 25.
    pub seeds: usize,
    /// Share of a round that is drawn at random, 0 to 1. Default 0.
    pub explore: f64,
    /// Share of a round, 0 to 1, that are seeds with their numbers moved by about a bin; spaces without numbers have none.
    /// Default 0.25.
    pub refine: f64,
    /// Tokens of a number, at least 1. Default 16.
    pub bins: u32,
    /// Numbers of the embedding of a token. Default 32.
    pub embedding: usize,
    /// Units of the encoder and of the decoder. Default 96.
    pub hidden: usize,
    /// Hidden layers of the predictor. Default 0: one linear layer.
    pub layers: usize,
    /// Units of each. Default 64.
    pub units: usize,
    /// Share of the predictor in the loss, 0 to 1: `lambda · MSE + (1 - lambda) · NLL`. Default 0.8.
    pub lambda: f64,
    /// Share of the order of pairs in the loss of the predictor, 0 to 1. Default 0: the squared error alone.
    pub rank: f64,
    /// What the predictor is taught. Default `min_max`.
    pub target: Target,
    /// Largest number of passes over the candidates. Default 1000.
    pub epochs: usize,
    /// Passes without 1 % of progress of the loss after which a fit ends. Default 20.
    pub patience: usize,
    /// Candidates of a step of the optimizer. Default 50.
    pub batch_size: usize,
    /// Learning rate of Adam. Default 0.001.
    pub learning_rate: f64,
    /// Whether it falls to 0 over the `epochs`, like half a cosine. Default no.
    pub anneal: bool,
    /// Passes of a fit that goes on from that of the round before, in place of `epochs`. Default 0: each starts anew.
    pub warm: usize,
    /// Whether the networks are told which question of the space a token answers. Default no: they read tokens alone.
    pub questions: bool,
    /// Largest norm of a gradient. Default 5.
    pub clip: f64,
    /// Factor of the L2 penalty. Default 1e-4.
    pub l2: f64,
    /// Share of the encoder's inputs that is dropped in training, 0 to below 1. Default 0.1.
    pub dropout: f64,
    /// Other spellings of a candidate to learn from, where the space knows of any. Default 4.
    pub spellings: usize,
    /// Size of the first step along the gradient. Default 10.
    pub step: f64,
    /// How often a step is enlarged, by half of the first, while nothing new is decoded. Default 40.
    pub enlarged: usize,
    /// Whether the gradient is scaled to the length of the states, so that steps do not depend on its size. Default no.
    pub normalised: bool,
    /// Sequences that the decoder follows. Default 1: greedily.
    pub beam: usize,
    /// Which of the decoded candidates are proposed. Default `first`.
    pub choose: Choice,
    /// Times that the best of what was decoded is moved on before any is proposed; not with `choose: first`. Default 0.
    pub hops: usize,
    /// Best seeds whose neighbours, in one answer, compete with what was decoded; not with `choose: first`. Default 0.
    pub neighbours: usize,
    /// Predictors that are fitted, each with its own encoder and decoder. Default 1.
    pub ensemble: usize,
    /// With `choose: predicted`, the standard deviations of the ensemble that are taken off a prediction; below 0 they are added.
    /// Default 0.
    pub caution: f64,
    /// Random candidates that encoder and decoder learn to spell before the first fit, which costs no trial. Default 0.
    pub pretrain: usize,
    /// Passes over them. Default 10.
    pub pretrain_epochs: usize,
    /// Random candidates that the fitted predictor judges, to be learnt from as well (Luo et al., "Semi-Supervised Neural
    /// Architecture Search", NeurIPS 2020). Default 0.
    pub pseudo: usize,
}

/// Set-ups of the paper and of its authors' programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Preset {
    /// Convolutional cells, each trained by itself: 600 random ones, then rounds of 200.
    Cnn,
    /// Recurrent cells.
    Rnn,
    /// Convolutional cells that share their weights: 1,000 random ones, then rounds of 550, of which 50 are random.
    Ws,
}

/// What the predictor is taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Target {
    /// 0 for the worst and 1 for the best so far, in proportion; the predictor ends in a sigmoid.
    MinMax,
    /// Standard deviations above the mean, within three; the predictor is linear.
    ZScore,
    /// The quantile of the normal distribution at the rank; the predictor is linear.
    NormalScore,
}

/// Which of the decoded candidates are proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Choice {
    /// The first that are new, by the size of the step, as in the paper.
    First,
    /// Of all steps, those with the best predictions.
    Predicted,
    /// Of all steps, those that the members of the ensemble predict to be best, in turn: a form of Thompson's sampling.
    Thompson,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: None,
            initial: 50,
            batch: 25,
            growth: 0.0,
            seeds: 25,
            explore: 0.0,
            refine: 0.25,
            bins: 16,
            embedding: 32,
            hidden: 96,
            layers: 0,
            units: 64,
            lambda: 0.8,
            rank: 0.0,
            target: Target::MinMax,
            epochs: 1000,
            patience: 20,
            batch_size: 50,
            learning_rate: 1e-3,
            anneal: false,
            warm: 0,
            questions: false,
            clip: 5.0,
            l2: 1e-4,
            dropout: 0.1,
            spellings: 4,
            step: 10.0,
            enlarged: 40,
            normalised: false,
            beam: 1,
            choose: Choice::First,
            hops: 0,
            neighbours: 0,
            ensemble: 1,
            caution: 0.0,
            pretrain: 0,
            pretrain_epochs: 10,
            pseudo: 0,
        }
    }
}

impl Preset {
    /// The settings.
    pub fn settings(self) -> Settings {
        // The paper trains for 1000 epochs and knows no early end.
        let paper = Settings { epochs: 1000, patience: 1000, ..Settings::default() };
        match self {
            Self::Cnn => Settings { initial: 600, batch: 200, seeds: 200, lambda: 0.9, ..paper },
            Self::Rnn => {
                Settings { initial: 600, batch: 200, seeds: 200, embedding: 64, hidden: 128, layers: 1, units: 200, ..paper }
            }
            Self::Ws => Settings {
                initial: 1000,
                batch: 550,
                seeds: 100,
                explore: 50.0 / 550.0,
                embedding: 48,
                layers: 3,
                units: 100,
                batch_size: 100,
                step: 1.0,
                enlarged: 198,
                ..paper
            },
        }
    }
}

impl Settings {
    /// What later work found to help, together, for some tens to hundreds of trials (`docs/nao.md`).
    pub fn plus() -> Self {
        Self {
            initial: 30,
            batch: 10,
            growth: 0.1,
            seeds: 20,
            embedding: 16,
            hidden: 32,
            layers: 1,
            units: 32,
            target: Target::NormalScore,
            epochs: 60,
            warm: 10,
            batch_size: 25,
            learning_rate: 5e-3,
            anneal: true,
            questions: true,
            dropout: 0.0,
            step: 0.2,
            enlarged: 8,
            normalised: true,
            choose: Choice::Predicted,
            hops: 1,
            neighbours: 3,
            ensemble: 5,
            caution: -1.0,
            pretrain: 300,
            ..Self::default()
        }
    }

    /// What the keys of an object say over these settings, or over the preset that they name.
    pub(super) fn overlaid(self, keys: serde_json::Value) -> serde_json::Result<Self> {
        let preset: Option<Preset> = match keys.get("preset") {
            Some(preset) => serde_json::from_value(preset.clone())?,
            None => None,
        };
        let mut all = serde_json::to_value(preset.map_or(self, Preset::settings))?;
        match (keys, &mut all) {
            (serde_json::Value::Object(keys), serde_json::Value::Object(settings)) => {
                settings.extend(keys.into_iter().filter(|(key, _)| key != "preset"));
                serde_json::from_value(all)
            }
            // Something else than an object: the settings themselves say what they expected.
            (other, _) => serde_json::from_value(other),
        }
    }

    /// Refuses settings that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let counts = [
            ("initial", self.initial),
            ("batch", self.batch),
            ("seeds", self.seeds),
            ("embedding", self.embedding),
            ("hidden", self.hidden),
            ("units", self.units),
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("batch_size", self.batch_size),
            ("beam", self.beam),
            ("ensemble", self.ensemble),
            ("bins", self.bins as usize),
        ];
        if let Some((place, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::config(format!("strategy.{place}"), "must be at least 1"));
        }
        let shares = [
            ("explore", self.explore),
            ("refine", self.refine),
            ("lambda", self.lambda),
            ("rank", self.rank),
            ("growth", self.growth),
        ];
        if let Some((place, value)) = shares.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(Error::config(format!("strategy.{place}"), format!("must be from 0 to 1, not {value}")));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("strategy.dropout", format!("must be from 0 to below 1, not {}", self.dropout)));
        }
        let positive = [("learning_rate", self.learning_rate), ("clip", self.clip), ("step", self.step)];
        if let Some((place, value)) = positive.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Err(Error::config(format!("strategy.{place}"), format!("must be above 0, not {value}")));
        }
        if !(self.l2.is_finite() && self.l2 >= 0.0 && self.caution.is_finite()) {
            return Err(Error::config("strategy.l2", "`l2` must be at least 0, and `caution` a number"));
        }
        Ok(())
    }

    /// Proposals of the round after so many trials.
    pub(super) fn round(&self, told: usize) -> usize {
        self.batch.max((self.growth * told as f64) as usize)
    }

    pub(super) fn sizes(&self, codec: &Codec) -> Sizes {
        let Self { embedding, hidden, layers, units, .. } = *self;
        let questions = if self.questions { codec.space.points().len() } else { 0 };
        Sizes { words: codec.words(), questions, embedding, hidden, layers, units, sigmoid: self.target == Target::MinMax }
    }

    pub(super) fn training(&self) -> Training {
        Training {
            lambda: self.lambda,
            rank: self.rank,
            epochs: self.epochs,
            patience: self.patience,
            batch: self.batch_size,
            rate: self.learning_rate,
            anneal: self.anneal,
            clip: self.clip,
            l2: self.l2,
            dropout: self.dropout,
        }
    }

    pub(super) fn steps(&self) -> Steps {
        Steps { first: self.step, enlarged: self.enlarged, normalised: self.normalised, beam: self.beam }
    }
}

impl Target {
    /// What the predictor is taught of losses, the better the larger; an infinite loss counts as the worst finite one. Nothing
    /// where no loss is finite.
    pub(super) fn scores(self, losses: &[f64]) -> Option<Vec<f32>> {
        let finite = || losses.iter().copied().filter(|loss| loss.is_finite());
        let worst = finite().reduce(f64::max)?;
        let best = finite().fold(worst, f64::min);
        let known: Vec<f64> = losses.iter().map(|loss| if loss.is_finite() { *loss } else { worst }).collect();
        let count = known.len() as f64;
        let scores: Vec<f32> = match self {
            Self::MinMax => {
                let width = worst - best;
                known.iter().map(|loss| if width > 0.0 { ((worst - loss) / width) as f32 } else { 0.5 }).collect()
            }
            Self::ZScore => {
                let mean = known.iter().sum::<f64>() / count;
                let deviation = (known.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / count).sqrt();
                let score = |loss: &f64| ((mean - loss) / deviation.max(f64::MIN_POSITIVE)).clamp(-3.0, 3.0) as f32;
                known.iter().map(score).collect()
            }
            Self::NormalScore => {
                let rank = |loss: &f64| {
                    let (worse, ties) = known.iter().fold((0, 0), |(worse, ties), other| {
                        (worse + usize::from(other > loss), ties + usize::from(other == loss))
                    });
                    worse as f64 + 0.5 * ties as f64
                };
                known.iter().map(|loss| normal_quantile(rank(loss) / count) as f32).collect()
            }
        };
        Some(scores)
    }
}

/// The quantile of the normal distribution, by the logistic approximation of Tukey's lambda: within 0.01 from 1 % to 99 %.
fn normal_quantile(share: f64) -> f64 {
    (share.powf(0.135) - (1.0 - share).powf(0.135)) / 0.1975
}
