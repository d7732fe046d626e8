//! The measures, each on one batch through a network at its start.

use automl_core::Cancel;
use automl_core::rand::{Rng, RngExt, SeedableRng};
use automl_core::schemars::JsonSchema;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::algebra::{correlations, eigenvalues, log_determinant};
use crate::images::Shape;
use crate::network::{Network, Norms, Pass, Plan, Weights};
use crate::tensor::image::{Image, ImageDevice, Recorder};
use crate::tensor::{Cpu, TensorError, gradient, matrix, soft_targets, total, values};

/// What is measured. Larger is better, as the papers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Measure {
    /// The logarithm of the sum over weights of `w ∂R/∂w`, where `R` is the sum of the outputs for an image of ones, all weights
    /// are made positive and norms do nothing (Tanaka et al., "Pruning neural networks without any data", NeurIPS 2020).
    Synflow,
    /// The sum over weights of `|w ∂L/∂w|` (Lee et al., "SNIP", ICLR 2019).
    Snip,
    /// The sum over layers of the norm of the gradient of their weights (Abdelfattah et al. 2021).
    GradNorm,
    /// How little the gradients with respect to different images correlate (Mellor et al., "Neural Architecture Search without
    /// Training", first version, 2020).
    JacobCov,
    /// How much the last features move when the images do a little, with the norms' scales put back (Lin et al., "Zen-NAS", ICCV
    /// 2021), on random images and weights.
    Zen,
    /// How different the patterns of active ReLUs are between images (Mellor et al., "Neural Architecture Search without
    /// Training", ICML 2021).
    Naswot,
    /// Number of parameters.
    Parameters,
    /// Multiply-adds of an image.
    Flops,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Synflow, Self::Snip, Self::GradNorm, Self::JacobCov, Self::Zen, Self::Naswot, Self::Parameters, Self::Flops];

    /// Its name in configs and among the figures of a trial.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synflow => "synflow",
            Self::Snip => "snip",
            Self::GradNorm => "grad_norm",
            Self::JacobCov => "jacob_cov",
            Self::Zen => "zen",
            Self::Naswot => "naswot",
            Self::Parameters => "parameters",
            Self::Flops => "flops",
        }
    }

    /// Whether it depends on the weights that a network starts with.
    pub fn is_random(self) -> bool {
        !matches!(self, Self::Parameters | Self::Flops)
    }
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The token was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// What the device could not do.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The measure means nothing here, such as of a network that does not tell any images apart.
    #[error("`{0}` has no finite value for this network: it tells none of the images apart, or its numbers overflow")]
    Undefined(&'static str),
}

/// Images and outputs of synflow are scaled by so much, since the numbers of a deep network without norms leave those that a float
/// holds; the logarithm puts it back.
const SCALE: f32 = 1e-15;
/// Keeps a logarithm finite (Mellor et al.).
const EPSILON: f64 = 1e-5;
/// Share of noise in the second images of Zen.
const NOISE: f32 = 0.01;

/// One network, one batch.
pub(super) struct Probe<'a> {
    pub plan: &'a Plan,
    pub shape: Shape,
    /// Normalised, image by image.
    pub images: &'a [f32],
    pub labels: &'a [usize],
    pub seed: u64,
    pub cancel: &'a Cancel,
}

impl Probe<'_> {
    /// The value of a measure.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn value(&self, measure: Measure) -> Result<f64, ProbeError> {
        let value = match measure {
            Measure::Synflow => self.synflow(),
            Measure::Snip => {
                self.by_layer(|weights, slopes| weights.iter().zip(slopes).map(|(w, g)| f64::from(w * g).abs()).sum())
            }
            Measure::GradNorm => self.by_layer(|_, slopes| slopes.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()),
            Measure::JacobCov => self.jacob_cov(),
            Measure::Zen => self.zen(),
            Measure::Naswot => self.naswot(),
            Measure::Parameters => Ok(self.plan.size().parameters as f64),
            Measure::Flops => Ok(self.plan.size().flops as f64),
        };
        match value {
            _ if self.cancel.is_cancelled() => Err(ProbeError::Cancelled),
            Ok(value) if !value.is_finite() => Err(ProbeError::Undefined(measure.name())),
            value => value,
        }
    }

    fn network(&self) -> Result<(Network, Weights<Cpu>), TensorError> {
        let mut weights = Weights::new(Cpu::default(), self.seed);
        Ok((weights.bind(self.plan.clone())?, weights))
    }

    fn batch(&self, count: usize, numbers: Vec<f32>) -> Result<Image<Cpu>, TensorError> {
        Image::new(&Cpu::default(), [count, self.shape.channels, self.shape.height, self.shape.width], numbers)
    }

    fn pass<'p>(&self, recorder: Recorder<Cpu>, norms: Norms) -> Pass<'p, Cpu> {
        Pass { recorder, norms, cancel: Some(self.cancel.clone()), ..Pass::evaluation() }
    }

    /// The sum over layers of what `of` makes of their weights and of the gradients of the loss on the batch.
    fn by_layer(&self, of: impl Fn(&[f32], &[f32]) -> f64) -> Result<f64, ProbeError> {
        let (network, weights) = self.network()?;
        let mut pass = self.pass(Recorder::on(), Norms::Batch);
        let said = network.forward(&weights, &mut pass, &self.batch(self.labels.len(), self.images.to_vec())?)?;
        let (count, classes) = (self.labels.len(), self.plan.classes());
        let targets = soft_targets(self.labels.iter().map(|&label| (label, 1.0 / count as f32)), classes, 0.0);
        let loss = pass.recorder.cross_entropy(&said.logits, &matrix(&Cpu::default(), count, classes, targets)?)?;
        let mut gradients = pass.recorder.backward(&loss)?;
        let mut sum = 0.0;
        for (id, parameter) in network.ids().iter().zip(self.plan.parameters()) {
            if parameter.decays {
                let weight = weights.params().get(*id);
                sum += of(&values(weight), &gradient(&mut gradients, weight)?);
            }
        }
        Ok(sum)
    }

    fn synflow(&self) -> Result<f64, ProbeError> {
        let (network, mut weights) = self.network()?;
        for &id in network.ids() {
            let positive: Vec<f32> = values(weights.params().get(id)).into_iter().map(f32::abs).collect();
            weights.params_mut().set(id, &positive)?;
        }
        let mut pass = self.pass(Recorder::on(), Norms::Off);
        let said = network.forward(&weights, &mut pass, &self.batch(1, vec![SCALE; self.shape.len()])?)?;
        let outputs = pass.recorder.apply(&said.logits, total)?;
        let scaled = pass.recorder.weighted_sum(&[(SCALE, &outputs)])?;
        let mut gradients = pass.recorder.backward(&scaled)?;
        let mut sum = 0.0;
        for (id, parameter) in network.ids().iter().zip(self.plan.parameters()) {
            if parameter.decays {
                let weight = weights.params().get(*id);
                let flow = gradient(&mut gradients, weight)?;
                sum += values(weight).iter().zip(flow).map(|(&w, g)| f64::from(w) * f64::from(g)).sum::<f64>();
            }
        }
        Ok(sum.ln() - 2.0 * f64::from(SCALE).ln())
    }

    fn jacob_cov(&self) -> Result<f64, ProbeError> {
        let (network, weights) = self.network()?;
        let mut pass = self.pass(Recorder::on(), Norms::Batch);
        let images = self.batch(self.labels.len(), self.images.to_vec())?.tracked();
        let said = network.forward(&weights, &mut pass, &images)?;
        let outputs = pass.recorder.apply(&said.logits, total)?;
        let mut gradients = pass.recorder.backward(&outputs)?;
        let slopes = Cpu::image_gradient(&mut gradients, &images)?;
        if slopes.iter().all(|slope| *slope == 0.0) {
            return Ok(f64::NEG_INFINITY);
        }
        let count = self.labels.len();
        let values = eigenvalues(correlations(&slopes, count), count);
        // Rounding can leave a value of 0 a little below it.
        Ok(-values.into_iter().map(|value| value.max(0.0) + EPSILON).map(|value| value.ln() + 1.0 / value).sum::<f64>())
    }

    fn naswot(&self) -> Result<f64, ProbeError> {
        let (network, weights) = self.network()?;
        let count = self.labels.len();
        let mut kernel = vec![0.0; count * count];
        let mut watch = |image: &Image<Cpu>| agreements(&image.values(), count, &mut kernel);
        let mut pass = self.pass(Recorder::off(), Norms::Batch);
        pass.watch = Some(&mut watch);
        let images = self.batch(count, self.images.to_vec())?;
        network.forward(&weights, &mut pass, &images)?;
        drop(pass);
        Ok(log_determinant(kernel, count))
    }

    fn zen(&self) -> Result<f64, ProbeError> {
        let (network, mut weights) = self.network()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for (&id, parameter) in network.ids().iter().zip(self.plan.parameters()) {
            if parameter.decays {
                weights.params_mut().set(id, &normal(parameter.shape[0] * parameter.shape[1], &mut rng))?;
            }
        }
        let count = self.labels.len();
        let plain = normal(self.images.len(), &mut rng);
        let noisy: Vec<f32> = plain.iter().zip(normal(self.images.len(), &mut rng)).map(|(x, noise)| x + NOISE * noise).collect();
        let features = |images: Vec<f32>| {
            let mut last = Vec::new();
            let mut watch = |image: &Image<Cpu>| last = image.values();
            let mut pass = self.pass(Recorder::off(), Norms::Batch);
            pass.watch = Some(&mut watch);
            network.forward(&weights, &mut pass, &self.batch(count, images)?)?;
            let seen = std::mem::take(&mut pass.seen);
            drop(pass);
            Ok::<_, TensorError>((last, seen))
        };
        let ((first, seen), (second, _)) = (features(plain)?, features(noisy)?);
        let moved: f64 = first.iter().zip(&second).map(|(a, b)| f64::from(a - b).abs()).sum::<f64>() / count as f64;
        let scales = seen.iter().map(|(_, batch)| {
            let moments = values(&batch.moments);
            let variances = &moments[moments.len() / 2..];
            let variance = variances.iter().map(|&v| f64::from(v)).sum::<f64>() / variances.len().max(1) as f64;
            (variance.sqrt() + EPSILON).ln()
        });
        Ok(moved.ln() + scales.sum::<f64>())
    }
}

/// Adds, for each pair of images, in how many places both or neither is above 0.
fn agreements(activations: &[f32], count: usize, kernel: &mut [f64]) {
    let width = (activations.len() / count.max(1)).max(1);
    let bits = |row: &[f32]| {
        let word = |places: &[f32]| places.iter().enumerate().fold(0_u64, |word, (at, &x)| word | u64::from(x > 0.0) << at);
        row.chunks(64).map(word).collect::<Vec<u64>>()
    };
    let codes: Vec<Vec<u64>> = activations.chunks_exact(width).map(bits).collect();
    for (i, a) in codes.iter().enumerate() {
        for (j, b) in codes.iter().enumerate() {
            let differ: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
            if let Some(cell) = kernel.get_mut(i * count + j) {
                *cell += width as f64 - f64::from(differ);
            }
        }
    }
}

/// Numbers from the normal distribution (Box and Muller 1958).
fn normal(count: usize, rng: &mut dyn Rng) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count + 1);
    while numbers.len() < count {
        let (radius, angle) = ((-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(), std::f64::consts::TAU * rng.random::<f64>());
        numbers.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    numbers.truncate(count);
    numbers
}
