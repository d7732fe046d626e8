//! The final training of a candidate: epoch by epoch, with a checkpoint after each, the whole history, and a model at the end.
//!
//! A directory holds it: `training.json` says what is trained, `checkpoint.safetensors` where the training stands, `history.jsonl`
//! what each epoch gave, one JSON object a line, and `model.safetensors` the weights: those of the best epoch on what validates,
//! where something does, else those of the last one. Every file is written whole or not at all. The checkpoint holds the history,
//! too, so a killed training goes on to the bit from its last epoch. Whoever drives it owns the clock.

use std::fs;
use std::path::{Path, PathBuf};

use automl_core::{Cancel, Error, Genotype, Stopwatch, serde_json};
use serde::{Deserialize, Serialize};

use super::Pools;
use super::settings::Training;
use super::work::Work;

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
    /// Share of the test images whose class is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Perplexity of the test text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// The mean loss of an image, or of a token.
    pub loss: f64,
    /// Images or tokens.
    pub rows: usize,
    /// Measured seconds for an image by itself, on one thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Parameters of the network.
    pub parameters: u64,
    /// Its multiply-adds for an image, or for a token.
    pub flops: u64,
}

/// A final training.
pub struct FinalTraining {
    dir: PathBuf,
    about: About,
    work: Work,
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
        let work = &mut opened.work;
        let progress = work.load(&path)?;
        let broken = |error: serde_json::Error| Error::config(path.display().to_string(), format!("does not read: {error}"));
        let progress: Progress = serde_json::from_str(&progress).map_err(broken)?;
        let most = opened.about.training.recipe.epochs;
        if progress.history.len() > progress.epochs || progress.epochs > most {
            let problem = format!("tells of {} of {} epochs, of {most} at most", progress.history.len(), progress.epochs);
            return Err(Error::config(path.display().to_string(), problem).into());
        }
        work.set_done(progress.history.len());
        work.set_epochs(progress.epochs);
        opened.history = progress.history;
        Ok(opened)
    }

    fn of(dir: &Path, about: About) -> Result<Self, Problem> {
        let work = Work::new(&about)?;
        Ok(Self { dir: dir.to_owned(), about, work, history: Vec::new(), pools: Pools::new(1)? })
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
        self.work.epochs()
    }

    /// Sets how many epochs there are to be, at most as many as the recipe says: what is left of the schedule shrinks.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.work.set_epochs(epochs.min(self.about.training.recipe.epochs));
    }

    /// Whether nothing is left to train.
    pub fn is_over(&self) -> bool {
        let patience = self.about.training.recipe.patience;
        let best = self.best().map_or(0, |(epoch, _)| epoch);
        let waited = self.history.len() - best.min(self.history.len());
        self.history.len() >= self.epochs() || (patience > 0 && best > 0 && waited >= patience)
    }

    /// The epoch that did best on what validates, and how well: its accuracy, or for a text the loss with a minus.
    pub fn best(&self) -> Option<(usize, f64)> {
        let figures = self.history.iter().filter_map(|epoch| {
            let score = epoch.validation_accuracy.or(epoch.validation_loss.map(|loss| -loss));
            Some((epoch.epoch, score?))
        });
        figures.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// Trains for an epoch and keeps what it gave.
    ///
    /// # Errors
    /// [`super::TrainError`], [`CheckpointError`](crate::tensor::checkpoint::CheckpointError); the directory then stands where it stood before the epoch.
    pub fn epoch(&mut self, cancel: &Cancel) -> Result<&Epoch, Problem> {
        let watch = Stopwatch::start();
        let learning_rate = self.work.rate();
        let gave = self.work.epoch(&self.pools, cancel)?;
        let before = self.best();
        self.history.push(Epoch {
            epoch: self.work.done(),
            epochs: self.work.epochs(),
            learning_rate,
            training_loss: gave.loss,
            validation_accuracy: gave.validation_accuracy,
            validation_loss: gave.validation_loss,
            seconds: watch.seconds(),
        });
        if self.best().is_none() || self.best() != before {
            self.work.write(&self.dir.join(MODEL), &self.about)?;
        }
        self.save()?;
        self.history.last().ok_or_else(|| "an epoch left no trace".into())
    }

    fn save(&self) -> Result<(), Problem> {
        let progress = Progress { epochs: self.epochs(), history: self.history.clone() };
        let progress = serde_json::to_string(&progress)?;
        self.work.save(&self.dir.join(CHECKPOINT), &progress)?;
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
        self.work.test(&self.dir.join(MODEL), &self.about, &self.pools, cancel)
    }
}

/// Writes a text, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).map_err(|source| Error::io(path, source))
}
