//! Networks and trainings on a card beside the same on the processor. Where there is no card, the tests say so and pass.

#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::space::sample;
use automl_core::{Cancel, Genotype, SearchSpace};
use automl_nas::cells::{Darts, NaoCnn, NaoCnnWs, NasNet, Renas};
use automl_nas::images::{Images, Normalizer, Rows, Shape};
use automl_nas::network::{Design, Pass, Weights, plan};
use automl_nas::tensor::image::{Image, ImageDevice};
use automl_nas::tensor::{Cpu, Cuda, checkpoint, cuda, gradient, matrix, values};
use automl_nas::train::{Classifier, Optimizer, Recipe};
use automl_nas::{NasBench101, NasBench201, NasBenchMacro};
use rand_chacha::ChaCha8Rng;

const SHAPE: Shape = Shape { channels: 3, height: 8, width: 8 };
const BATCH: usize = 6;

fn card() -> Option<Cuda> {
    cuda::cuda().inspect_err(|problem| eprintln!("skipped: {problem}")).ok()
}

fn zoo() -> Vec<(Genotype, usize)> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let stacked: [&dyn SearchSpace; 5] =
        [&NasNet::default(), &NaoCnn::default(), &NaoCnnWs::default(), &Renas::default(), &Darts::default()];
    let mut zoo: Vec<(Genotype, usize)> = stacked.iter().map(|space| (sample(*space, &mut rng).unwrap(), 4)).collect();
    zoo.push((sample(&NasBench201::default(), &mut rng).unwrap(), 4));
    zoo.push((NasBench101::default().parse("01101|00110|00011|00001|00000 -1 0 2 1 -2").unwrap(), 5));
    zoo.push((NasBenchMacro::default().parse("10201210").unwrap(), 4));
    zoo
}

/// Logits and loss of a network, and the gradients of all its parameters.
fn outcome<D: ImageDevice>(device: &D, genotype: &Genotype, channels: usize) -> Vec<Vec<f32>> {
    let design = Design { cells: Some(1), channels: Some(channels), stem_stride: None };
    let mut weights = Weights::new(device.clone(), 3);
    let network = weights.bind(plan(genotype, &design, SHAPE, 3, false).unwrap()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let numbers = (0..BATCH * SHAPE.len()).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
    let images = Image::new(device, [BATCH, 3, 8, 8], numbers).unwrap();
    let targets = (0..BATCH * 3).map(|at| if at % 3 == at / 3 % 3 { 1.0 } else { 0.0 }).collect();
    let targets = matrix(device, BATCH, 3, targets).unwrap();
    let mut pass = Pass::training(None);
    let said = network.forward(&weights, &mut pass, &images).unwrap();
    let loss = pass.recorder.cross_entropy(&said.logits, &targets).unwrap();
    let mut found = vec![values(&said.logits), values(&loss)];
    let mut gradients = pass.recorder.backward(&loss).unwrap();
    found.extend(network.ids().iter().map(|&id| gradient(&mut gradients, weights.params().get(id)).unwrap()));
    weights.track(&pass.seen).unwrap();
    found.extend(weights.export().into_values().map(|(_, numbers)| numbers));
    found
}

#[test]
fn networks_of_every_space_agree() {
    let Some(card) = card() else { return };
    for (genotype, channels) in zoo() {
        let [found, expected] = [outcome(&card, &genotype, channels), outcome(&Cpu::default(), &genotype, channels)];
        assert_eq!(found.len(), expected.len());
        // Norms of few numbers magnify what sums in another order differ by.
        let wrong = found.iter().zip(&expected).enumerate().filter_map(|(part, (found, expected))| {
            let scale = expected.iter().fold(0.1_f32, |scale, x| scale.max(x.abs()));
            let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            let agrees = far < 5e-3 * scale && found.len() == expected.len() && found.iter().all(|x| x.is_finite());
            (!agrees).then(|| format!("part {part}: {far} of {scale}"))
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{genotype}: {wrong:?}");
    }
}

/// Images of 8 × 8 with stripes that lie, stand or lean.
fn stripes(count: usize) -> Images {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for row in 0..count {
        let (class, phase) = (row % 3, rng.random_range(0..4_usize));
        for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
            let bright = if ([y, x, x + y][class] + phase) % 4 < 2 { 180 } else { 40 };
            pixels.push(bright + rng.random_range(0..60_u8));
        }
        labels.push(class as u16);
    }
    let classes = ["lying", "standing", "leaning"].map(str::to_owned).into();
    Images { shape: Shape { channels: 1, height: 8, width: 8 }, pixels, labels, classes }
}

fn trained<D: ImageDevice>(device: D, recipe: &Recipe) -> (Classifier<D>, Vec<f64>) {
    let images = stripes(90);
    let rows = Rows::new(&images, &Normalizer::of(&images));
    let design = Design { cells: Some(0), channels: Some(4), stem_stride: None };
    let genotype = Renas::default().parse(&"0 0 1 5 ".repeat(5)).unwrap();
    let plan = plan(&genotype, &design, images.shape, 3, false).unwrap();
    let mut classifier = Classifier::new(plan, device, recipe, recipe.epochs, 7).unwrap();
    let mut losses = Vec::new();
    while classifier.done() < recipe.epochs {
        losses.push(classifier.epoch(&rows, &Cancel::new()).unwrap());
        losses.push(classifier.judge(&rows, &Cancel::new()).unwrap().loss);
    }
    (classifier, losses)
}

#[test]
fn trainings_go_the_same_way_and_a_checkpoint_goes_from_one_device_to_another() {
    let Some(card) = card() else { return };
    for (optimizer, learning_rate) in [(Optimizer::Sgd, 0.05), (Optimizer::Adam, 0.003)] {
        let recipe =
            Recipe { epochs: 4, batch_size: 15, optimizer, learning_rate, dropout: 0.2, drop_path: 0.2, ..Recipe::default() };
        let (on_card, losses) = trained(card.clone(), &recipe);
        let (_, expected) = trained(Cpu::default(), &recipe);
        for (epoch, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 0.1 * expected.max(0.1), "{optimizer:?}, {epoch}: {losses:?}, {expected:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        checkpoint::save(&path, on_card.weights().params(), None, "").unwrap();
        let mut weights = Weights::new(Cpu::default(), 0);
        let network = weights.bind(on_card.network().plan().clone()).unwrap();
        checkpoint::load(&path, weights.params_mut(), None).unwrap();
        let images = stripes(90);
        let rows = Rows::new(&images, &Normalizer::of(&images));
        let loss = automl_nas::train::judge(&network, &weights, &rows, &Cancel::new()).unwrap().loss;
        assert!((loss - losses[losses.len() - 1]).abs() < 1e-3, "{loss}, {losses:?}");
    }
}
