//! Training networks for real: the evaluator `train`, and the final training of what a search found.
//!
//! - [`Train`] judges a candidate by building its network and training it, on images or on text.
//! - [`Classifier`] is a network in training; other evaluators use it, and `network` under it.
//! - [`FinalTraining`] trains one candidate to the end, with checkpoints and a history, and leaves a [`Model`]; [`Final`] has its
//!   settings.

mod classifier;
mod device;
mod evaluator;
mod finish;
mod language;
mod model;
mod pools;
mod price;
mod recipe;
mod settings;
#[cfg(test)]
mod tests;
mod work;

pub use classifier::{Classifier, Figures, TrainError, judge};
pub use device::Device;
pub use evaluator::{Seeds, Train, TrainEvaluator};
pub use finish::{About, Epoch, FinalTraining, MODEL, Tested};
pub use language::{Language, LanguageModel};
pub use model::Model;
pub use pools::Pools;
pub use price::price;
pub use recipe::{Optimizer, Recipe};
pub use settings::{Final, Training};

/// The seed of a final training by that of the run: apart from those of the search.
fn epoch_seed(seed: u64) -> u64 {
    automl_core::study::seed_of(seed, "final", 0)
}
