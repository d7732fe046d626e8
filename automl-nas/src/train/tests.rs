use std::path::Path;

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::{Alone, Cancel, EvalContext, Evaluator, Genotype, SearchSpace, Stop};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cells::Renas;
use crate::images::{Augment, ImageData};
use crate::network::Design;

/// Images of 8 × 8 with stripes that lie, stand or lean, as IDX files: 90 to learn from and 30 to test on.
fn stripes(folder: &Path) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (set, count) in [("train", 90_u32), ("t10k", 30)] {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for row in 0..count {
            let (class, phase) = (row % 3, rng.random_range(0..4_u32));
            for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
                let along = [y, x, x + y][class as usize];
                let bright = if (along + phase) % 4 < 2 { 180 } else { 40 };
                pixels.push(bright + rng.random_range(0..60_u8));
            }
            labels.push(class as u8);
        }
        let header = |sizes: &[u32]| {
            let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
            [0, 0, 8, sizes.clone().count() as u8 / 4].into_iter().chain(sizes).collect::<Vec<u8>>()
        };
        std::fs::write(folder.join(format!("{set}-images-idx3-ubyte")), [header(&[count, 8, 8]), pixels].concat()).unwrap();
        std::fs::write(folder.join(format!("{set}-labels-idx1-ubyte")), [header(&[count]), labels].concat()).unwrap();
    }
}

fn config(folder: &Path) -> Train {
    Train {
        images: Some(ImageData { folder: folder.to_owned(), validation: 0.2, ..ImageData::default() }),
        network: Design { cells: Some(0), channels: Some(4), stem_stride: None },
        recipe: Recipe { epochs: 4, batch_size: 12, learning_rate: 0.1, ..Recipe::default() },
        ..Train::default()
    }
}

fn candidate() -> Genotype {
    Renas::default().parse(&"0 0 1 5 ".repeat(5)).unwrap()
}

/// What an evaluation is told and says.
struct Heard {
    fidelity: f64,
    cancel: Cancel,
    steps: Vec<f64>,
}

impl EvalContext for Heard {
    fn seed(&self) -> u64 {
        7
    }

    fn fidelity(&self) -> f64 {
        self.fidelity
    }

    fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn report(&mut self, step: u64, losses: &[f64]) -> Result<(), Stop> {
        assert_eq!(step, self.steps.len() as u64);
        self.steps.extend(losses);
        Ok(())
    }
}

fn heard(fidelity: f64) -> Heard {
    Heard { fidelity, cancel: Cancel::new(), steps: Vec::new() }
}

#[test]
fn a_network_learns_and_says_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    let mut config = config(folder.path());
    config.recipe.augment = Augment { crop: 1, flip: false, cutout: 2 };
    config.recipe.drop_path = 0.1;
    config.recipe.dropout = 0.1;
    config.recipe.auxiliary = 0.4;
    let [one, two] = [1, 2].map(|workers| {
        let evaluator = TrainEvaluator::new(&config, workers).unwrap();
        let mut cx = heard(1.0);
        let found = evaluator.evaluate(&candidate(), &mut cx).unwrap();
        (found.losses, found.metrics, cx.steps)
    });
    assert_eq!(one, two);
    let (losses, metrics, steps) = one;
    assert!(losses[0] < -0.6, "{losses:?} {metrics:?}");
    assert_eq!(steps.len(), 4);
    assert_eq!(losses[0], steps.iter().copied().fold(0.0, f64::min), "the best epoch counts");
    assert_eq!((metrics["accuracy"], metrics["epochs"]), (-losses[0], 4.0));
    assert!(metrics["parameters"] > 100.0 && metrics["flops"] > 10_000.0);
}

#[test]
fn fidelity_is_a_share_of_the_epochs_and_costs_as_much_less() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    let mut mixed = config(folder.path());
    let evaluator = TrainEvaluator::new(&mixed, 1).unwrap();
    let mut cx = heard(0.5);
    let same = evaluator.evaluate(&candidate(), &mut cx).unwrap();
    assert_eq!((cx.steps.len(), same.metrics["epochs"]), (2, 2.0));
    let price = |fidelity: f64| evaluator.price(&candidate(), fidelity).unwrap();
    assert!(price(0.5).seconds > 0.0 && (price(1.0).seconds / price(0.5).seconds - 2.0).abs() < 1e-9);
    assert_eq!(price(1.0).bytes, price(0.5).bytes);
    mixed.network.channels = Some(16);
    assert!(TrainEvaluator::new(&mixed, 1).unwrap().price(&candidate(), 1.0).unwrap().seconds > 2.0 * price(1.0).seconds);
    mixed.network.channels = Some(4);
    mixed.seeds = Seeds::Mixed;
    let other = TrainEvaluator::new(&mixed, 1).unwrap().evaluate(&candidate(), &mut heard(0.5)).unwrap();
    assert_ne!(same.metrics["training_loss"], other.metrics["training_loss"]);
}

#[test]
fn it_stops_when_told_and_says_why_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    let mut config = config(folder.path());
    let evaluator = TrainEvaluator::new(&config, 1).unwrap();
    let cancelled = heard(1.0);
    cancelled.cancel.cancel();
    let mut cx = Alone { seed: 1, fidelity: 1.0, cancel: cancelled.cancel };
    assert_eq!(evaluator.evaluate(&candidate(), &mut cx).err(), Some(Stop::Cancelled));
    let rnn = crate::NaoRnn::default().parse(&"0 ".repeat(22)).unwrap();
    assert!(
        matches!(evaluator.evaluate(&rnn, &mut heard(1.0)), Err(Stop::Infeasible(why)) if why.contains("no network on images"))
    );
    assert!(evaluator.price(&rnn, 1.0).is_none());
    config.recipe.learning_rate = 1e5;
    config.recipe.max_norm = 1e30;
    let evaluator = TrainEvaluator::new(&config, 1).unwrap();
    match evaluator.evaluate(&candidate(), &mut heard(1.0)) {
        Ok(found) => assert!(found.losses[0].is_finite()),
        Err(stop) => assert!(stop.to_string().contains("diverged"), "{stop}"),
    }
    let refused = |config: &Train| TrainEvaluator::new(config, 1).err().unwrap().to_string();
    config.recipe.momentum = 1.0;
    assert!(refused(&config).contains("evaluator.recipe.momentum"));
    config.recipe.momentum = 0.5;
    config.images.as_mut().unwrap().validation = 0.0;
    assert!(refused(&config).contains("evaluator.images.validation"));
    config.images = None;
    assert!(refused(&config).contains("evaluator.images.folder"));
}

#[test]
fn patience_ends_a_training_that_gets_no_better() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    let mut config = config(folder.path());
    config.recipe = Recipe { epochs: 50, patience: 2, learning_rate: 1e-9, ..config.recipe };
    let evaluator = TrainEvaluator::new(&config, 1).unwrap();
    let found = evaluator.evaluate(&candidate(), &mut heard(1.0)).unwrap();
    assert!(found.metrics["epochs"] < 20.0, "{:?}", found.metrics);
}

fn about(folder: &Path, validation: f64) -> About {
    let Train { images, network, recipe, .. } = config(folder);
    let images = ImageData { validation, ..images.unwrap() };
    let recipe = Recipe { augment: Augment { crop: 1, flip: true, cutout: 0 }, drop_path: 0.1, auxiliary: 0.4, ..recipe };
    About { genotype: candidate(), training: Training { images: Some(images), network, recipe, ..Training::default() }, seed: 5 }
}

#[test]
fn a_training_that_was_killed_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    for (validation, stretched) in [(0.0, false), (0.2, true)] {
        let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(format!("{name}-{validation}")));
        let never = Cancel::new();
        let mut training = FinalTraining::start(&whole, about(folder.path(), validation)).unwrap();
        while !training.is_over() {
            training.epoch(&never).unwrap();
            if stretched {
                training.set_epochs(3);
            }
        }
        let mut first = FinalTraining::start(&killed, about(folder.path(), validation)).unwrap();
        drop(FinalTraining::open(&killed).unwrap());
        first.epoch(&never).unwrap();
        if stretched {
            first.set_epochs(3);
            first.epoch(&never).unwrap();
        }
        // An epoch that is cut short leaves no trace on the disk.
        let cut = Cancel::new();
        cut.cancel();
        assert!(first.epoch(&cut).is_err());
        drop(first);
        let mut second = FinalTraining::open(&killed).unwrap();
        assert!(!second.is_over());
        while !second.is_over() {
            second.epoch(&never).unwrap();
        }
        let read = |dir: &Path, file: &str| std::fs::read(dir.join(file)).unwrap();
        assert_eq!(read(&whole, MODEL), read(&killed, MODEL), "validation {validation}");
        assert!(FinalTraining::open(&whole).unwrap().is_over());
        let figures = |training: &FinalTraining| -> Vec<Epoch> {
            training.history().iter().map(|epoch| Epoch { seconds: 0.0, ..epoch.clone() }).collect()
        };
        assert_eq!(figures(&training), figures(&second));
        let lines = String::from_utf8(read(&killed, "history.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), training.history().len());
        let tested = training.test(&never).unwrap();
        assert!(tested.accuracy > Some(0.5) && tested.rows == 30 && tested.latency > Some(0.0), "{tested:?}");
        assert_eq!(second.test(&never).unwrap().loss, tested.loss);
    }
    let again = FinalTraining::start(&folder.path().join("whole-0"), about(folder.path(), 0.0)).err().unwrap();
    assert!(again.to_string().contains("automl resume"));
}

#[test]
fn hostile_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    stripes(folder.path());
    let dir = folder.path().join("run");
    let mut training = FinalTraining::start(&dir, about(folder.path(), 0.0)).unwrap();
    training.set_epochs(1);
    training.epoch(&Cancel::new()).unwrap();
    let (model, good) = (dir.join(MODEL), std::fs::read(dir.join(MODEL)).unwrap());
    assert_eq!(Model::load(&model).unwrap().classes().len(), 3);
    let refused = |bytes: &[u8]| {
        std::fs::write(&model, bytes).unwrap();
        Model::load(&model).err().unwrap().to_string()
    };
    for length in [0, 7, 100, good.len() / 2, good.len() - 1] {
        assert!(refused(&good[..length]).contains("model.safetensors"));
    }
    // The same length, so that the header still fits: another network, whose weights are not there.
    let text = |from: &str, to: &str| {
        let place = good.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&good[..place], to.as_bytes(), &good[place + from.len()..]].concat()
    };
    assert!(!refused(&text("channels\\\\\\\":4", "channels\\\\\\\":9")).is_empty());
    assert!(!refused(&text("cells\\\\\\\":0", "cells\\\\\\\":9")).is_empty());
    assert!(!refused(&text("sep_conv_3x3", "sep_conv_9x9")).is_empty());
    let checkpoint = dir.join("checkpoint.safetensors");
    let good = std::fs::read(&checkpoint).unwrap();
    for length in [0, 100, good.len() - 5] {
        std::fs::write(&checkpoint, &good[..length]).unwrap();
        assert!(FinalTraining::open(&dir).err().unwrap().to_string().contains("checkpoint.safetensors"));
    }
    std::fs::write(dir.join("training.json"), "{}").unwrap();
    assert!(FinalTraining::open(&dir).err().unwrap().to_string().contains("training.json"));
}

#[test]
fn real_images() {
    let Some(data) = std::env::var_os("AUTOML_DATA") else {
        eprintln!("skipped: AUTOML_DATA does not name a folder with the data sets");
        return;
    };
    let images =
        ImageData { folder: Path::new(&data).join("images/digits8x8"), rows: 600, validation: 0.3, ..ImageData::default() };
    let mut config = config(Path::new(""));
    config.images = Some(images);
    config.recipe = Recipe { epochs: 3, batch_size: 24, ..config.recipe };
    let found = TrainEvaluator::new(&config, 1).unwrap().evaluate(&candidate(), &mut heard(1.0)).unwrap();
    assert!(found.losses[0] < -0.6, "{:?}", found.metrics);
}

#[test]
fn a_language_model_learns_what_follows_what() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "abcd efgh ".repeat(200)).unwrap();
    let mut config = Train {
        text: Some(crate::text::TextData {
            folder: folder.path().to_owned(),
            unit: crate::text::Unit::Characters,
            ..Default::default()
        }),
        language: Language { units: 8, steps: 10 },
        recipe: Recipe { epochs: 3, batch_size: 4, learning_rate: 1.0, max_norm: 1.0, dropout: 0.05, ..Recipe::default() },
        ..Train::default()
    };
    let cell = crate::NaoRnn { nodes: 3 }.parse("0 1 1 0").unwrap();
    let [one, two] = [1, 2].map(|workers| {
        let mut cx = heard(1.0);
        let found = TrainEvaluator::new(&config, workers).unwrap().evaluate(&cell, &mut cx).unwrap();
        assert_eq!(cx.steps.len(), 3);
        (found.losses, found.metrics)
    });
    assert_eq!(one, two);
    assert!(one.0[0] < 3.0, "nine characters, each follows from the one before: {one:?}");
    let evaluator = TrainEvaluator::new(&config, 1).unwrap();
    assert_eq!(evaluator.objectives()[0].name, "perplexity");
    assert!(evaluator.price(&cell, 1.0).unwrap().seconds > evaluator.price(&cell, 0.3).unwrap().seconds);
    assert!(matches!(evaluator.evaluate(&candidate(), &mut heard(1.0)), Err(Stop::Infeasible(why)) if why.contains("nao_rnn")));
    config.language.units = 0;
    assert!(TrainEvaluator::new(&config, 1).err().unwrap().to_string().contains("evaluator.language.units"));
}

#[test]
fn a_language_model_is_trained_to_the_end_and_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "abcd efgh ".repeat(200)).unwrap();
    let text = crate::text::TextData {
        folder: folder.path().to_owned(),
        unit: crate::text::Unit::Characters,
        ..crate::text::TextData::default()
    };
    let training = Training {
        text: Some(text),
        language: Language { units: 8, steps: 10 },
        recipe: Recipe { epochs: 4, batch_size: 4, learning_rate: 1.0, max_norm: 1.0, dropout: 0.05, ..Recipe::default() },
        ..Training::default()
    };
    let cell = crate::NaoRnn { nodes: 3 }.parse("0 1 1 0").unwrap();
    let about = About { genotype: cell, training, seed: 2 };
    let never = Cancel::new();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    let mut first = FinalTraining::start(&whole, about.clone()).unwrap();
    while !first.is_over() {
        first.epoch(&never).unwrap();
    }
    let mut begun = FinalTraining::start(&killed, about.clone()).unwrap();
    begun.epoch(&never).unwrap();
    begun.epoch(&never).unwrap();
    drop(begun);
    let mut second = FinalTraining::open(&killed).unwrap();
    while !second.is_over() {
        second.epoch(&never).unwrap();
    }
    let model = std::fs::read(whole.join(MODEL)).unwrap();
    assert_eq!(model, std::fs::read(killed.join(MODEL)).unwrap());
    let tested = first.test(&never).unwrap();
    assert!(tested.perplexity < Some(3.0) && tested.accuracy.is_none() && tested.rows == 90, "{tested:?}");
    let best = first.history().iter().filter_map(|epoch| epoch.validation_loss).fold(f64::INFINITY, f64::min);
    assert_eq!(first.best().map(|best| best.1), Some(-best));

    let (path, damaged) = (whole.join(MODEL), folder.path().join("damaged.safetensors"));
    assert_eq!(LanguageModel::load(&path).unwrap().1.len(), 10);
    for length in [0, 7, model.len() / 2, model.len() - 1] {
        std::fs::write(&damaged, &model[..length]).unwrap();
        assert!(LanguageModel::load(&damaged).err().unwrap().to_string().contains("damaged.safetensors"));
    }
    assert!(Model::load(&path).err().unwrap().to_string().contains("is no trained network"));
    let both = Training { images: Some(ImageData::default()), ..about.training.clone() };
    let refused = |about: About| FinalTraining::check(&about).err().unwrap().to_string();
    assert!(refused(About { training: both, ..about.clone() }).contains("one of the two"));
    assert!(refused(About { genotype: candidate(), ..about }).contains("nao_rnn"));
}
