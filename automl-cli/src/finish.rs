//! The final training of a network: drives it epoch by epoch within a time, and tests what came of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use automl_nas::train::{About, Epoch, FinalTraining, MODEL, Tested};

use crate::error::CliError;
use crate::memory;
use crate::output;
use crate::signals::Signals;

/// Directory of a run's final training.
const FINAL: &str = "final";
/// Share of an epoch's time that the test may take, and by how much an epoch may be slower than the slowest so far.
const TEST: f64 = 0.1;
const SLOWER: f64 = 1.1;

/// What came of a final training.
#[derive(Debug)]
pub struct Trained {
    /// What the test said; none where a signal ended the training.
    pub tested: Option<Tested>,
    /// Epochs that were trained, and how many there were to be.
    pub epochs: [usize; 2],
    /// Its directory.
    pub dir: PathBuf,
}

impl Trained {
    /// The weights.
    pub fn model(&self) -> PathBuf {
        self.dir.join(MODEL)
    }

    /// A line for people.
    pub fn summary(&self) -> String {
        let [done, all] = self.epochs;
        let epochs = if done == all { output::count(done, "epoch") } else { format!("{done} of {all} epochs") };
        match self.tested {
            Some(tested) => {
                let size = format!("{} parameters, {:.1} million multiply-adds", tested.parameters, tested.flops as f64 / 1e6);
                match (tested.perplexity, tested.accuracy) {
                    (Some(perplexity), _) => {
                        format!(
                            "perplexity {perplexity:.2} on {} after {epochs}; {size} a token",
                            output::count(tested.rows, "token")
                        )
                    }
                    (None, accuracy) => format!(
                        "accuracy {:.4} on {} after {epochs}; {size}, {:.2} ms an image by itself",
                        accuracy.unwrap_or(f64::NAN),
                        output::count(tested.rows, "image"),
                        1e3 * tested.latency.unwrap_or(f64::NAN),
                    ),
                }
            }
            None => format!("not done: interrupted after {epochs}; `automl resume {}` goes on", self.dir.display()),
        }
    }
}

/// Trains the best network of a search in a directory below that of the run, and tests it; goes on where that was begun.
pub fn run(
    run_dir: Option<&Path>,
    about: About,
    end: Option<Instant>,
    signals: &Signals,
    quiet: bool,
) -> Result<Option<Trained>, CliError> {
    let Some(run_dir) = run_dir else {
        output::note("warning: there is no run directory, so the best network is not trained to the end");
        return Ok(None);
    };
    let names = (1..).map(|number| if number == 1 { FINAL.to_owned() } else { format!("{FINAL}-{number}") });
    for dir in names.map(|name| run_dir.join(name)) {
        let training = if FinalTraining::is_in(&dir) {
            let begun = FinalTraining::open(&dir)?;
            if begun.about().genotype != about.genotype {
                continue;
            }
            begun
        } else {
            FinalTraining::start(&dir, about)?
        };
        return drive(training, dir, end, signals, quiet).map(Some);
    }
    Ok(None)
}

/// Trains to the end, or until the time is over, and tests.
pub fn drive(
    mut training: FinalTraining,
    dir: PathBuf,
    end: Option<Instant>,
    signals: &Signals,
    quiet: bool,
) -> Result<Trained, CliError> {
    memory::keep_freed();
    let slowest = |history: &[Epoch]| history.iter().map(|epoch| epoch.seconds).fold(0.0, f64::max);
    while !training.is_over() {
        let test = Duration::from_secs_f64(TEST * slowest(training.history()));
        let cancel = signals.token().child(end.map(|end| end - test));
        match training.epoch(&cancel) {
            Ok(epoch) if !quiet => output::note(&line(epoch)),
            Ok(_) => {}
            Err(_) if cancel.is_cancelled() => break,
            Err(error) => return Err(error.into()),
        }
        if let Some(end) = end {
            let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
            let epoch = slowest(training.history()).max(1e-6);
            let more = ((left / epoch - TEST) / SLOWER).max(0.0) as usize;
            let all = training.epochs().min(training.history().len() + more);
            training.set_epochs(all);
        }
    }
    let done = training.history().len();
    let epochs = [done, training.epochs().max(done)];
    if signals.token().is_cancelled() {
        return Ok(Trained { tested: None, epochs, dir });
    }
    if done == 0 {
        let advice = "give it more time, or a smaller network (`final.network`) or fewer images (`final.images.rows`)";
        return Err(CliError::no_model(format!(
            "the final training ended no epoch in time; {advice}: `automl resume {}` goes on",
            dir.display()
        )));
    }
    let tested = training.test(signals.token());
    let tested = match tested {
        Err(_) if signals.token().is_cancelled() => None,
        tested => Some(tested?),
    };
    Ok(Trained { tested, epochs, dir })
}

fn line(epoch: &Epoch) -> String {
    let validation = match (epoch.validation_accuracy, epoch.validation_loss) {
        (Some(accuracy), _) => format!("  accuracy {accuracy:.4}"),
        (None, Some(loss)) => format!("  perplexity {:.2}", loss.exp()),
        (None, None) => String::new(),
    };
    format!(
        "epoch {}/{}  loss {:.4}{validation}  learning rate {:.2e}  {:.1} s",
        epoch.epoch, epoch.epochs, epoch.training_loss, epoch.learning_rate, epoch.seconds
    )
}
