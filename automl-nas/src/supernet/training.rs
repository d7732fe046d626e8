//! Training of the store along paths, and the score of one path.

use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use automl_core::{Cancel, Genotype, Stop};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Supernet;
use crate::images::Rows;
use crate::network::{Dropping, Norms, Numbers, Pass, Plan, Weights, plan};
use crate::tensor::image::{Image, Recorder};
use crate::tensor::{Cpu, TensorError, matrix, soft_targets, values};

fn failed(error: TensorError) -> Stop {
    Stop::Failed(error.to_string())
}

/// Trains a store for the paths that the sampling says; all numbers of it.
///
/// # Errors
/// [`Stop::Cancelled`], [`Stop::Failed`] where the loss leaves the finite numbers, [`Stop::Infeasible`] for a space without networks.
pub(super) fn train(config: &Supernet, rows: &Rows<'_>, seed: u64, cancel: &Cancel) -> Result<Numbers, Stop> {
    let infeasible = |error: automl_core::Error| Stop::Infeasible(error.to_string());
    let images = rows.images();
    let plan_of = |path: &Genotype| plan(path, &config.network, images.shape, images.classes.len(), false);
    let mut rng = ChaCha8Rng::seed_from_u64(seed_of(seed, "supernet.paths", 0));
    let parameters = |path: &Genotype| plan_of(path).ok().map(|plan| plan.size().parameters);
    let paths = config.sampling.paths(config.space.as_ref(), &parameters, config.steps, &mut rng).map_err(infeasible)?;

    // The optimizer walks all parameters of the store, so all are there before it is.
    let mut weights = Weights::new(Cpu::default(), seed_of(seed, "supernet.weights", 0));
    for path in &paths {
        weights.bind(plan_of(path).map_err(infeasible)?).map_err(failed)?;
        if cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
    }
    let mut stepper = config.recipe.stepper(weights.params_mut()).map_err(failed)?;
    let all: Vec<_> = weights.plans().iter().filter_map(|parameter| weights.id(&parameter.name)).collect();
    all.into_iter().for_each(|id| weights.params_mut().set_rate_factor(id, 0.0));

    let recipe = &config.recipe;
    let mut order: Vec<u32> = (0..).take(images.len()).collect();
    let batches = order.len().div_ceil(recipe.batch_size.max(1)).max(1);
    let batch = order.len().div_ceil(batches).max(1);
    for (step, path) in paths.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (epoch, place) = ((step / batches) as u64, step % batches);
        if place == 0 {
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed_of(seed, "supernet.order", epoch)));
        }
        let chunk = order.chunks(batch).nth(place).unwrap_or(&order);
        let network = weights.bind(plan_of(path).map_err(infeasible)?).map_err(failed)?;
        let progress = step as f64 / config.steps as f64;
        let dropping = Dropping {
            paths: (recipe.drop_path * progress) as f32,
            units: recipe.dropout as f32,
            rng: ChaCha8Rng::seed_from_u64(seed_of(seed, "supernet.drop", step as u64)),
        };
        let varied = rows.varied(chunk, &recipe.augment, seed_of(seed, "supernet.augment", 0), epoch);
        let mut pass = Pass { auxiliary: false, cancel: Some(cancel.clone()), ..Pass::training(Some(dropping)) };
        let said = network.forward(&weights, &mut pass, &batch_of(rows, chunk.len(), varied).map_err(failed)?);
        if cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (logits, classes) = (said.map_err(failed)?.logits, network.plan().classes());
        let codes = rows.labels(chunk).into_iter().map(|label| (label, 1.0 / chunk.len() as f32));
        let targets = soft_targets(codes, classes, recipe.label_smoothing as f32);
        let targets = matrix(&Cpu::default(), chunk.len(), classes, targets).map_err(failed)?;
        let loss = pass.recorder.cross_entropy(&logits, &targets).map_err(failed)?;
        if !values(&loss).iter().all(|loss| loss.is_finite()) {
            return Err(Stop::Failed(format!("the training of the supernet diverged in step {step}; lower the learning rate")));
        }
        let mut gradients = pass.recorder.backward(&loss).map_err(failed)?;
        // Who takes no part in a path stays as it is.
        let factor = |weights: &mut Weights<Cpu>, factor| {
            network.ids().iter().for_each(|&id| weights.params_mut().set_rate_factor(id, factor));
        };
        factor(&mut weights, 1.0);
        let rate = recipe.rate(step as f64 / batches as f64, config.steps as f64 / batches as f64);
        stepper.step(weights.params_mut(), &mut gradients, rate).map_err(failed)?;
        factor(&mut weights, 0.0);
    }
    Ok(weights.export())
}

/// The accuracy of a path on the first rows, and the share of its parameters that the training has seen.
///
/// # Errors
/// [`Stop::Cancelled`], [`Stop::Infeasible`].
pub(super) fn score(
    plan: Plan,
    numbers: &Numbers,
    rows: &Rows<'_>,
    count: usize,
    judged: usize,
    cancel: &Cancel,
) -> Result<(f64, f64), Stop> {
    let mut weights = Weights::new(Cpu::default(), 0);
    let network = weights.bind(plan).map_err(failed)?;
    let taken = weights.inherit(numbers).map_err(failed)?;
    let known = weights.plans().iter().filter(|parameter| taken.contains(&parameter.name)).count();
    let share = known as f64 / weights.plans().len().max(1) as f64;
    let all: Vec<u32> = (0..).take(count).collect();
    let parts = count.div_ceil(judged.max(1)).max(1);
    let mut right = 0;
    for chunk in all.chunks(count.div_ceil(parts).max(1)) {
        let images = batch_of(rows, chunk.len(), rows.plain(chunk)).map_err(failed)?;
        let mut pass =
            Pass { recorder: Recorder::off(), norms: Norms::Batch, cancel: Some(cancel.clone()), ..Pass::evaluation() };
        let said = network.forward(&weights, &mut pass, &images);
        if cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let logits = values(&said.map_err(failed)?.logits);
        for (logits, label) in logits.chunks_exact(network.plan().classes().max(1)).zip(rows.labels(chunk)) {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // The first of equals counts, and a number that is none is wrong.
            right += usize::from(logits.iter().position(|logit| *logit == top) == Some(label));
        }
    }
    Ok((right as f64 / count.max(1) as f64, share))
}

fn batch_of(rows: &Rows<'_>, count: usize, numbers: Vec<f32>) -> Result<Image<Cpu>, TensorError> {
    let shape = rows.images().shape;
    Image::new(&Cpu::default(), [count, shape.channels, shape.height, shape.width], numbers)
}
