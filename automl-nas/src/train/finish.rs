//! The final training of a candidate: epoch by epoch, with a checkpoint after each, the whole history, and a model at the end.
//!
//! A directory holds it: `training.json` says what is trained, `checkpoint.safetensors` where the training stands, `history.jsonl`
//! what each epoch gave, one JSON object a line, and `model.safetensors` the weights: those of the best epoch on the validation rows,
//! where there are some, else those of the last one. Every file is written whole or not at all. The checkpoint holds the history,
//! too, so a killed training goes on to the bit from its last epoch. Whoever drives it owns the clock.

use std::fs;
use std::path::{Path, PathBuf};

use automl_core::{Cancel, Error, Genotype, Stopwatch, serde_json};
use serde::{Deserialize, Serialize};

use super::classifier::Figures;
use super::device::Trainee;
use super::model::Model;
use super::settings::Training;
use super::{Pools, epoch_seed};
use crate::images::{Images, Normalizer, Rows, Split};
use crate::network::plan;

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// What is trained.
pub const ABOUT: &str = "training.json";
const CHECKPOINT: &str = "checkpoint.safetensors";
const HISTORY: &str = "history.jsonl";
/// The weights.
pub const MODEL: &str = "model.safetensors";

/// What is trained, as a directory keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The candidate.
    pub genotype: Genotype,
    /// Data, network and recipe.
    pub training: Training,
    /// Seed of all that is drawn.
    pub seed: u64,
}

/// What an epoch gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// How many there are to be.
    pub epochs: usize,
    /// Learning rate at its start.
    pub learning_rate: f64,
    /// Mean loss on the training rows, on the way.
    pub training_loss: f64,
    /// Share of the validation rows whose class is right, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Their mean loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Where a training stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    epochs: usize,
    history: Vec<Epoch>,
}

/// What the test says of a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tested {
    /// Share of the test rows whose class is right, and their mean loss.
    pub accuracy: f64,
    /// Their mean loss.
    pub loss: f64,
    /// How many they are.
    pub rows: usize,
    /// Measured seconds for an image by itself, on one thread.
    pub latency: f64,
    /// Parameters of the network.
    pub parameters: u64,
    /// Its multiply-adds for an image.
    pub flops: u64,
}

/// A final training.
pub struct FinalTraining {
    dir: PathBuf,
    about: About,
    rows: Images,
    validation: Option<Images>,
    normalizer: Normalizer,
    trainee: Trainee,
    history: Vec<Epoch>,
    pools: Pools,
}

impl FinalTraining {
    /// Whether a directory holds a training.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(ABOUT).is_file()
    }

    /// Whether what is said can be trained: reads the data, and makes nothing.
    ///
    /// # Errors
    /// Bad settings or data.
    pub fn check(about: &About) -> Result<(), Problem> {
        Self::of(Path::new(""), about.clone()).map(drop)
    }

    /// Starts a training in a directory, which is made.
    ///
    /// # Errors
    /// Bad settings or data; a directory that holds a training already.
    pub fn start(dir: &Path, about: About) -> Result<Self, Problem> {
        if Self::is_in(dir) {
            let problem =
                format!("{} holds a training already; go on with it by `automl resume`, or name another", dir.display());
            return Err(Error::config("run-dir", problem).into());
        }
        let started = Self::of(dir, about)?;
        let io = |source| Error::io(dir, source);
        fs::create_dir_all(dir).map_err(io)?;
        let text = serde_json::to_string_pretty(&started.about).map_err(|error| io(error.into()))?;
        write(&dir.join(ABOUT), &text)?;
        Ok(started)
    }

    /// Goes on with the training of a directory, from its last epoch.
    ///
    /// # Errors
    /// Files that are missing or broken; data that is not there any more.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join(ABOUT);
        let text = fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let broken = |error: serde_json::Error| Error::config(path.display().to_string(), format!("does not read: {error}"));
        let about: About = serde_json::from_str(&text).map_err(broken)?;
        let mut opened = Self::of(dir, about)?;
        let path = dir.join(CHECKPOINT);
        if !path.is_file() {
            return Ok(opened);
        }
        let trainee = &mut opened.trainee;
        let progress = trainee.load(&path)?;
        let broken = |error: serde_json::Error| Error::config(path.display().to_string(), format!("does not read: {error}"));
        let progress: Progress = serde_json::from_str(&progress).map_err(broken)?;
        let most = opened.about.training.recipe.epochs;
        if progress.history.len() > progress.epochs || progress.epochs > most {
            let problem = format!("tells of {} of {} epochs, of {most} at most", progress.history.len(), progress.epochs);
            return Err(Error::config(path.display().to_string(), problem).into());
        }
        trainee.set_done(progress.history.len());
        trainee.set_epochs(progress.epochs);
        opened.history = progress.history;
        Ok(opened)
    }

    fn of(dir: &Path, about: About) -> Result<Self, Problem> {
        let Training { images, network, recipe, device } = &about.training;
        recipe.check("final.recipe")?;
        device.check("final.device")?;
        let Split { training, validation } = images.read()?;
        let normalizer = Normalizer::of(&training);
        let plan = plan(&about.genotype, network, training.shape, training.classes.len(), recipe.auxiliary > 0.0)?;
        let trainee = Trainee::new(*device, plan, recipe, recipe.epochs, epoch_seed(about.seed))?;
        let (dir, pools) = (dir.to_owned(), Pools::new(1)?);
        Ok(Self { dir, about, rows: training, validation, normalizer, trainee, history: Vec::new(), pools })
    }

    /// What is trained.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What the epochs so far gave.
    pub fn history(&self) -> &[Epoch] {
        &self.history
    }

    /// How many epochs there are to be.
    pub fn epochs(&self) -> usize {
        self.trainee.epochs()
    }

    /// Sets how many epochs there are to be, at most as many as the recipe says: what is left of the schedule shrinks.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.trainee.set_epochs(epochs.min(self.about.training.recipe.epochs));
    }

    /// Whether nothing is left to train.
    pub fn is_over(&self) -> bool {
        let patience = self.about.training.recipe.patience;
        let best = self.best().map_or(0, |(epoch, _)| epoch);
        let waited = self.history.len() - best.min(self.history.len());
        self.history.len() >= self.epochs() || (patience > 0 && best > 0 && waited >= patience)
    }

    /// The epoch of the best accuracy on the validation rows, and that accuracy.
    pub fn best(&self) -> Option<(usize, f64)> {
        let figures = self.history.iter().filter_map(|epoch| Some((epoch.epoch, epoch.validation_accuracy?)));
        figures.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// Trains for an epoch and keeps what it gave.
    ///
    /// # Errors
    /// [`super::TrainError`], [`CheckpointError`](crate::tensor::checkpoint::CheckpointError); the directory then stands where it stood before the epoch.
    pub fn epoch(&mut self, cancel: &Cancel) -> Result<&Epoch, Problem> {
        let watch = Stopwatch::start();
        let learning_rate = self.trainee.rate(0.0);
        let rows = Rows::new(&self.rows, &self.normalizer);
        let validation = self.validation.as_ref().map(|images| Rows::new(images, &self.normalizer));
        let (loss, figures) = self.trainee.epoch(&self.pools, &rows, validation.as_ref(), cancel)?;
        let before = self.best();
        self.history.push(Epoch {
            epoch: self.trainee.done(),
            epochs: self.trainee.epochs(),
            learning_rate,
            training_loss: loss,
            validation_accuracy: figures.map(|figures| figures.accuracy),
            validation_loss: figures.map(|figures| figures.loss),
            seconds: watch.seconds(),
        });
        if self.best().is_none() || self.best() != before {
            let names = &self.rows.classes;
            let normalizer = &self.normalizer;
            Model::write(&self.dir.join(MODEL), &self.about, names, normalizer, &self.trainee)?;
        }
        self.save()?;
        self.history.last().ok_or_else(|| "an epoch left no trace".into())
    }

    fn save(&self) -> Result<(), Problem> {
        let progress = Progress { epochs: self.epochs(), history: self.history.clone() };
        let progress = serde_json::to_string(&progress)?;
        self.trainee.save(&self.dir.join(CHECKPOINT), true, &progress)?;
        let mut lines = String::new();
        for epoch in &self.history {
            lines += &serde_json::to_string(epoch)?;
            lines.push('\n');
        }
        Ok(write(&self.dir.join(HISTORY), &lines)?)
    }

    /// Looks at the test set, with the model as it lies on the disk. Once, at the very end.
    ///
    /// # Errors
    /// A model or a test set that cannot be read.
    pub fn test(&self, cancel: &Cancel) -> Result<Tested, Problem> {
        let model = Model::load(&self.dir.join(MODEL))?;
        let test = self.about.training.images.read_test()?;
        let Figures { accuracy, loss } = self.pools.on(|| model.judge(&test, cancel))?;
        let size = model.network().plan().size();
        let latency = model.latency(&test)?;
        Ok(Tested { accuracy, loss, rows: test.len(), latency, parameters: size.parameters, flops: size.flops })
    }
}

/// Writes a text, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).map_err(|source| Error::io(path, source))
}
