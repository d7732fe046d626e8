use std::path::Path;

use automl_core::rand::SeedableRng;
use automl_core::space::sample;
use automl_core::{Alone, Cancel};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cells::Renas;

/// 48 images of 8 × 8 in three classes, as CIFAR's binary records are not: a folder of IDX files.
pub(crate) fn images(folder: &Path) -> ImageData {
    let (count, side) = (48_u32, 8_u32);
    let header = |kind: u8, sizes: &[u32]| {
        let mut bytes = vec![0, 0, 8, kind];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes
    };
    let mut pixels = header(3, &[count, side, side]);
    let mut labels = header(1, &[count]);
    for image in 0..count {
        let class = image % 3;
        labels.push(class as u8);
        for place in 0..side * side {
            let (row, column) = (place / side, place % side);
            // Stripes along the rows, along the columns, or a diagonal, with noise.
            let lit = [row % 2 == 0, column % 2 == 0, row == column][class as usize];
            pixels.push(if lit { 180 } else { 40 } + (image * 37 + place * 101) as u8 % 40);
        }
    }
    std::fs::write(folder.join("train-images-idx3-ubyte"), pixels).unwrap();
    std::fs::write(folder.join("train-labels-idx1-ubyte"), labels).unwrap();
    ImageData { folder: folder.into(), validation: 0.25, ..ImageData::default() }
}

pub(crate) fn small() -> Design {
    Design { cells: Some(1), channels: Some(4), ..Design::default() }
}

fn evaluator(folder: &Path, measure: Measure, report: &[Measure]) -> Arc<dyn Evaluator> {
    let config =
        ZeroCost { images: Some(images(folder)), network: small(), measure, report: report.to_vec(), batch_size: 12, repeats: 1 };
    automl_core::EvaluatorConfig::build(&config, 1).unwrap()
}

fn alone(seed: u64) -> Alone {
    Alone { seed, fidelity: 1.0, cancel: Cancel::new() }
}

fn cell(arch: &str) -> Genotype {
    NasBench201::default().parse(arch).unwrap()
}

const CONVS: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|";
const THIN: &str = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|avg_pool_3x3~2|";
const NOTHING: &str = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|";

#[test]
fn every_measure_is_deterministic_and_prefers_more_network() {
    let folder = tempfile::tempdir().unwrap();
    for measure in Measure::ALL {
        let evaluator = evaluator(folder.path(), measure, &[]);
        let value = |arch: &str, seed| evaluator.evaluate(&cell(arch), &mut alone(seed)).unwrap().metrics[measure.name()];
        let (rich, thin) = (value(CONVS, 1), value(THIN, 1));
        assert!(rich.is_finite() && thin.is_finite(), "{measure:?}: {rich} {thin}");
        assert_eq!(value(CONVS, 1).to_bits(), rich.to_bits(), "{measure:?}");
        assert_eq!(value(CONVS, 2) != rich, measure.is_random(), "{measure:?}");
        // Those that count paths or patterns, and so the size of what trains.
        if matches!(measure, Measure::Synflow | Measure::Naswot | Measure::Zen | Measure::Parameters | Measure::Flops) {
            assert!(rich > thin, "{measure:?}: {rich} {thin}");
        }
    }
}

#[test]
fn what_is_reported_is_what_would_be_the_objective() {
    let folder = tempfile::tempdir().unwrap();
    let all = evaluator(folder.path(), Measure::Naswot, &Measure::ALL).evaluate(&cell(CONVS), &mut alone(3)).unwrap();
    assert_eq!(all.losses, [-all.metrics["naswot"]]);
    for measure in Measure::ALL {
        let one = evaluator(folder.path(), measure, &[]).evaluate(&cell(CONVS), &mut alone(3)).unwrap();
        assert_eq!(one.metrics[measure.name()], all.metrics[measure.name()]);
        assert_eq!(one.losses, [-one.metrics[measure.name()]]);
    }
}

#[test]
fn a_network_that_tells_nothing_apart_is_infeasible_where_the_measure_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for measure in [Measure::JacobCov, Measure::Synflow, Measure::Zen] {
        let stop = evaluator(folder.path(), measure, &[]).evaluate(&cell(NOTHING), &mut alone(1)).map(|_| ()).unwrap_err();
        assert!(matches!(&stop, Stop::Infeasible(why) if why.contains(measure.name())), "{stop:?}");
    }
    let outside = Genotype { nodes: vec![automl_core::Node::new("pca", [])] };
    let stop = evaluator(folder.path(), Measure::Snip, &[]).evaluate(&outside, &mut alone(1)).map(|_| ()).unwrap_err();
    assert!(matches!(&stop, Stop::Infeasible(why) if why.contains("no network on images")), "{stop:?}");
}

#[test]
fn stacked_cells_are_measured_and_priced() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), Measure::Synflow, &[Measure::Naswot, Measure::Zen]);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..2 {
        let genotype = sample(&Renas::default(), &mut rng).unwrap();
        assert!(evaluator.evaluate(&genotype, &mut alone(1)).unwrap().losses[0].is_finite());
        assert!(evaluator.price(&genotype, 1.0).unwrap().seconds > 0.0);
    }
    let cancelled = Alone { cancel: Cancel::new().child(Some(std::time::Instant::now())), ..alone(1) };
    let stopped = evaluator.evaluate(&sample(&Renas::default(), &mut rng).unwrap(), &mut { cancelled });
    assert!(matches!(stopped, Err(Stop::Cancelled)));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |config: &ZeroCost| automl_core::EvaluatorConfig::build(config, 1).map(|_| ()).unwrap_err().to_string();
    assert!(refused(&ZeroCost::default()).contains("images"));
    assert!(refused(&ZeroCost { batch_size: 1, ..ZeroCost::default() }).contains("evaluator.batch_size"));
    assert!(refused(&ZeroCost { repeats: 0, ..ZeroCost::default() }).contains("evaluator.repeats"));
}
