//! What a final training works on: a network and its data, images or a text.

use std::path::Path;

use automl_core::{Cancel, Error};

use super::classifier::TrainError;
use super::device::Trainee;
use super::finish::{About, Tested};
use super::language::LanguageModel;
use super::model::Model;
use super::{Pools, epoch_seed};
use crate::images::{Images, Normalizer, Rows, Split};
use crate::network::plan;
use crate::tensor::checkpoint::{self, CheckpointError};
use crate::text::Corpus;

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// A network in training, and its data.
pub(super) enum Work {
    Images { rows: Images, validation: Option<Images>, normalizer: Normalizer, trainee: Box<Trainee> },
    Text { corpus: Corpus, model: Box<LanguageModel> },
}

/// What an epoch gave.
pub(super) struct Gave {
    pub loss: f64,
    /// On the validation rows, where there are some; a text has none.
    pub validation_accuracy: Option<f64>,
    pub validation_loss: Option<f64>,
}

impl Work {
    /// Reads the data and makes the network.
    pub fn new(about: &About) -> Result<Self, Problem> {
        let training = &about.training;
        let (recipe, seed) = (&training.recipe, epoch_seed(about.seed));
        training.check()?;
        match (&training.images, &training.text) {
            (Some(images), None) => {
                let Split { training: rows, validation } = images.read()?;
                let normalizer = Normalizer::of(&rows);
                let plan = plan(&about.genotype, &training.network, rows.shape, rows.classes.len(), recipe.auxiliary > 0.0)?;
                let trainee = Box::new(Trainee::new(training.device, plan, recipe, recipe.epochs, seed)?);
                Ok(Self::Images { rows, validation, normalizer, trainee })
            }
            (None, Some(text)) => {
                let corpus = text.read()?;
                let words = corpus.vocabulary.len();
                let model = LanguageModel::new(&about.genotype, &training.language, words, recipe, recipe.epochs, seed)?;
                Ok(Self::Text { corpus, model: Box::new(model) })
            }
            _ => Err(Error::config("final.images.folder", "name images or a text, one of the two").into()),
        }
    }

    /// Epochs in all.
    pub fn epochs(&self) -> usize {
        match self {
            Self::Images { trainee, .. } => trainee.epochs(),
            Self::Text { model, .. } => model.epochs(),
        }
    }

    /// Sets the number of epochs in all: what is left of the schedule stretches or shrinks.
    pub fn set_epochs(&mut self, epochs: usize) {
        match self {
            Self::Images { trainee, .. } => trainee.set_epochs(epochs),
            Self::Text { model, .. } => model.set_epochs(epochs),
        }
    }

    /// Epochs that are done.
    pub fn done(&self) -> usize {
        match self {
            Self::Images { trainee, .. } => trainee.done(),
            Self::Text { model, .. } => model.done(),
        }
    }

    /// Says how many epochs are done, after [`Work::load`].
    pub fn set_done(&mut self, done: usize) {
        match self {
            Self::Images { trainee, .. } => trainee.set_done(done),
            Self::Text { model, .. } => model.done = done,
        }
    }

    /// The learning rate at the start of the next epoch.
    pub fn rate(&self) -> f64 {
        match self {
            Self::Images { trainee, .. } => trainee.rate(0.0),
            Self::Text { model, .. } => model.rate(0.0),
        }
    }

    /// Trains for an epoch and judges the network.
    pub fn epoch(&mut self, pools: &Pools, cancel: &Cancel) -> Result<Gave, TrainError> {
        match self {
            Self::Images { rows, validation, normalizer, trainee } => {
                let validation = validation.as_ref().map(|images| Rows::new(images, normalizer));
                let (loss, figures) = trainee.epoch(pools, &Rows::new(rows, normalizer), validation.as_ref(), cancel)?;
                let [validation_accuracy, validation_loss] =
                    [figures.map(|figures| figures.accuracy), figures.map(|figures| figures.loss)];
                Ok(Gave { loss, validation_accuracy, validation_loss })
            }
            Self::Text { corpus, model } => pools.on(|| {
                let loss = model.epoch(&corpus.training, cancel)?;
                let (validation, _) = model.judge(&corpus.validation, cancel)?;
                Ok(Gave { loss, validation_accuracy: None, validation_loss: Some(validation) })
            }),
        }
    }

    /// Writes the model as it is now.
    pub fn write(&self, path: &Path, about: &About) -> Result<(), Problem> {
        match self {
            Self::Images { rows, normalizer, trainee, .. } => Model::write(path, about, &rows.classes, normalizer, trainee),
            Self::Text { corpus, model } => model.write(path, &about.genotype, &corpus.vocabulary),
        }
    }

    /// Looks at the test set with the model of a file.
    pub fn test(&self, path: &Path, about: &About, pools: &Pools, cancel: &Cancel) -> Result<Tested, Problem> {
        if let Some(text) = &about.training.text {
            let (model, vocabulary) = LanguageModel::load(path)?;
            let test = text.read_test(&vocabulary)?;
            let (loss, rows) = pools.on(|| model.judge(&test, cancel))?;
            let [parameters, flops] = model.size();
            let perplexity = Some(loss.exp());
            return Ok(Tested { accuracy: None, perplexity, loss, rows, latency: None, parameters, flops });
        }
        let model = Model::load(path)?;
        let test = about.training.images.as_ref().ok_or("there are no images to test on")?.read_test()?;
        let figures = pools.on(|| model.judge(&test, cancel))?;
        let size = model.network().plan().size();
        Ok(Tested {
            accuracy: Some(figures.accuracy),
            perplexity: None,
            loss: figures.loss,
            rows: test.len(),
            latency: Some(model.latency(&test)?),
            parameters: size.parameters,
            flops: size.flops,
        })
    }

    /// Writes where the training stands, with some words beside it.
    pub fn save(&self, path: &Path, words: &str) -> Result<(), CheckpointError> {
        match self {
            Self::Images { trainee, .. } => trainee.save(path, true, words),
            Self::Text { model, .. } => checkpoint::save(path, &model.params, Some(&model.optimizer), words),
        }
    }

    /// Reads what [`Work::save`] wrote, and gives the words.
    pub fn load(&mut self, path: &Path) -> Result<String, CheckpointError> {
        match self {
            Self::Images { trainee, .. } => trainee.load(path),
            Self::Text { model, .. } => checkpoint::load(path, &mut model.params, Some(&mut model.optimizer)),
        }
    }
}
