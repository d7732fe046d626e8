//! What a training takes, by arithmetic.

use automl_core::Price;

use super::language::Language;
use crate::network::Plan;

/// Seconds of a multiply-add of a dense convolution forward, on one core; backward takes twice as much.
const DENSE: f64 = 1.0 / 20e9;
/// The same of a depthwise convolution.
const DEPTHWISE: f64 = 1.0 / 4e9;
/// The same of a comparison or addition of a pool.
const POOLED: f64 = 1.0 / 2e9;
/// Seconds to write a number and read it again.
const NUMBER: f64 = 1.0e-9;
/// A training step beside a forward pass.
const TRAINED: f64 = 3.0;
/// Numbers that a training holds for each that steps give: themselves, what the way back keeps, and gradients.
const HELD: f64 = 2.5;

/// The price of a training: rows that are trained on and judged in each epoch.
pub fn price(plan: &Plan, [trained, judged]: [usize; 2], epochs: usize, batch: usize) -> Price {
    let work = plan.work();
    let forward = work.dense * DENSE + work.depthwise * DEPTHWISE + work.pooled * POOLED + work.numbers * NUMBER;
    let rows = TRAINED * trained as f64 + judged as f64;
    // Each step also walks the parameters: gradient, moment and weight.
    let parameters: f64 = plan.parameters().iter().map(|parameter| (parameter.shape[0] * parameter.shape[1]) as f64).sum();
    let steps = trained.div_ceil(batch.max(1)) as f64;
    let seconds = epochs as f64 * (rows * forward + steps * parameters * 4.0 * NUMBER);
    let bytes = 4.0 * (HELD * work.numbers * batch.min(trained.max(1)) as f64 + 4.0 * parameters);
    Price { seconds, bytes }
}

/// The price of the training of a language model with a cell of so many nodes: tokens that are trained on and judged in each epoch.
pub(super) fn price_of_text(
    language: &Language,
    nodes: usize,
    vocabulary: usize,
    [trained, judged]: [usize; 2],
    epochs: usize,
    batch: usize,
) -> Price {
    let [parameters, products] = language.size(nodes, vocabulary);
    let numbers = (8 * nodes * language.units + 4 * vocabulary) as f64;
    let forward = products as f64 * DENSE + numbers * NUMBER;
    let tokens = TRAINED * trained as f64 + judged as f64;
    let segment = batch.saturating_mul(language.steps).max(1);
    let steps = trained.div_ceil(segment) as f64;
    let seconds = epochs as f64 * (tokens * forward + steps * parameters as f64 * 4.0 * NUMBER);
    let bytes = 4.0 * (HELD * numbers * segment.min(trained.max(1)) as f64 + 4.0 * parameters as f64);
    Price { seconds, bytes }
}
