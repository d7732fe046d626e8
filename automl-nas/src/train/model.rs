//! A trained network as a file: safetensors, with what is needed to use it among its metadata.

use std::fs;
use std::path::Path;

use automl_core::{Cancel, Error, Genotype, Stopwatch, serde_json};
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

use super::classifier::{Figures, TrainError, judge};
use super::device::Trainee;
use super::finish::About;
use crate::images::{Images, Normalizer, Rows, Shape};
use crate::network::{Design, Network, Pass, Weights, plan};
use crate::tensor::image::Image;
use crate::tensor::{Cpu, checkpoint};

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// What the numbers of a file stand for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    genotype: Genotype,
    network: Design,
    /// Channels, height, width.
    input: [usize; 3],
    classes: Vec<String>,
    means: Vec<f32>,
    deviations: Vec<f32>,
    auxiliary: bool,
}

/// A trained network.
pub struct Model {
    network: Network,
    weights: Weights<Cpu>,
    normalizer: Normalizer,
    classes: Vec<String>,
}

impl Model {
    pub(super) fn write(
        path: &Path,
        about: &About,
        classes: &[String],
        normalizer: &Normalizer,
        trainee: &Trainee,
    ) -> Result<(), Problem> {
        let plan = trainee.plan();
        let Shape { channels, height, width } = plan.input();
        let card = Card {
            genotype: about.genotype.clone(),
            network: about.training.network.clone(),
            input: [channels, height, width],
            classes: classes.to_vec(),
            means: normalizer.means.clone(),
            deviations: normalizer.deviations.clone(),
            auxiliary: plan.has_auxiliary(),
        };
        let card = serde_json::to_string(&card)?;
        Ok(trainee.save(path, false, &card)?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// A file that is missing, broken, or no model.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let wrong = |problem: String| Error::config(path.display().to_string(), problem);
        let bytes = fs::metadata(path).map_err(|source| Error::io(path, source))?.len();
        let card = checkpoint::progress(path)?;
        let card: Card = serde_json::from_str(&card).map_err(|error| wrong(format!("is no trained network: {error}")))?;
        let [channels, height, width] = card.input;
        let usable = |numbers: &[f32]| numbers.len() == channels && numbers.iter().all(|number| number.is_finite());
        if !usable(&card.means) || !usable(&card.deviations) || card.deviations.contains(&0.0) {
            return Err(wrong("does not say how its images are normalised".into()).into());
        }
        let input = Shape { channels, height, width };
        let plan = plan(&card.genotype, &card.network, input, card.classes.len(), card.auxiliary)?;
        // Before any memory is asked for: a small file holds no large network.
        let numbers: u128 =
            plan.parameters().iter().map(|parameter| parameter.shape[0] as u128 * parameter.shape[1] as u128).sum();
        if 4 * numbers > u128::from(bytes) {
            return Err(wrong(format!("has {bytes} bytes for {numbers} parameters")).into());
        }
        let mut weights = Weights::new(Cpu::default(), 0);
        let network = weights.bind(plan)?;
        checkpoint::load(path, weights.params_mut(), None)?;
        let normalizer = Normalizer { means: card.means, deviations: card.deviations };
        Ok(Self { network, weights, normalizer, classes: card.classes })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How well it tells images apart.
    ///
    /// # Errors
    /// [`TrainError`], also for images of another shape.
    pub fn judge(&self, images: &Images, cancel: &Cancel) -> Result<Figures, TrainError> {
        judge(&self.network, &self.weights, &Rows::new(images, &self.normalizer), cancel)
    }

    /// Measured seconds for an image by itself on one thread: the median of several. For reports: no loss may depend on it.
    ///
    /// # Errors
    /// [`TrainError`], also for images of another shape.
    pub fn latency(&self, images: &Images) -> Result<f64, Problem> {
        let rows = Rows::new(images, &self.normalizer);
        let Shape { channels, height, width } = images.shape;
        let image = Image::new(&Cpu::default(), [1, channels, height, width], rows.plain(&[0]))?;
        let once = || -> Result<f64, TrainError> {
            let watch = Stopwatch::start();
            self.network.forward(&self.weights, &mut Pass::evaluation(), &image)?;
            Ok(watch.seconds())
        };
        let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
        let mut seconds = pool.install(|| (0..15).map(|_| once()).collect::<Result<Vec<f64>, _>>())?;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds.get(seconds.len() / 2).copied().unwrap_or_default())
    }
}
