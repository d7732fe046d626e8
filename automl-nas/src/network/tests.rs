use automl_core::rand::{RngExt, SeedableRng};
use automl_core::space::sample;
use automl_core::{Genotype, SearchSpace};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cells::{Darts, NaoCnn, NaoCnnWs, NasNet, Renas};
use crate::tensor::image::Image;
use crate::tensor::{Cpu, values};
use crate::{NasBench101, NasBench201, NasBenchMacro};

const COLOUR: Shape = Shape { channels: 3, height: 8, width: 8 };

fn stacked() -> [Box<dyn SearchSpace>; 5] {
    [
        Box::new(NasNet::default()),
        Box::new(NaoCnn::default()),
        Box::new(NaoCnnWs::default()),
        Box::new(Renas::default()),
        Box::new(Darts::default()),
    ]
}

fn small(cells: usize, channels: usize) -> Design {
    Design { cells: Some(cells), channels: Some(channels), stem_stride: None }
}

#[test]
fn stacked_cells_are_as_large_as_the_arithmetic_says() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for space in stacked() {
        for (cells, channels, side) in [(3, 32, 32), (1, 6, 8), (2, 10, 16), (0, 4, 8)] {
            let genotype = sample(space.as_ref(), &mut rng).unwrap();
            let network = crate::cells::Network { cells, channels, image: side, ..crate::cells::Network::default() };
            let input = Shape { channels: 3, height: side, width: side };
            let plan = plan(&genotype, &small(cells, channels), input, 10, false).unwrap();
            assert_eq!(plan.size(), network.size(&genotype).unwrap(), "{genotype}");
            let weights: usize = plan.parameters().iter().map(|parameter| parameter.shape[0] * parameter.shape[1]).sum();
            assert_eq!(weights as u64, plan.size().parameters);
        }
    }
}

#[test]
fn networks_of_benchmarks_are_as_large_as_published() {
    let input = Shape { channels: 3, height: 32, width: 32 };
    let whole = |genotype: &Genotype| plan(genotype, &Design::default(), input, 10, false).unwrap().size();
    for index in [0, 77, 1_462, 9_999, 12_345, 15_624] {
        let cell = crate::Cell::at(index);
        let (built, counted) = (whole(&cell.genotype()), cell.size(10));
        assert_eq!((built.parameters, built.flops), (counted.parameters, counted.flops), "{}", cell.arch());
    }
    // The benchmark's own table.
    for (name, parameters, flops) in [
        ("00000000", 387_882, 7_713_280),
        ("02012100", 890_666, 47_327_744),
        ("11111221", 2_181_386, 65_012_224),
        ("22222222", 2_932_586, 105_660_928),
    ] {
        let size = whole(&NasBenchMacro::default().parse(name).unwrap());
        assert_eq!((size.parameters, size.flops), (parameters, flops), "{name}");
    }
}

fn batch(shape: Shape, count: usize, seed: u64) -> Image<Cpu> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let numbers = (0..count * shape.len()).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
    Image::new(&Cpu::default(), [count, shape.channels, shape.height, shape.width], numbers).unwrap()
}

/// A network of every macro-structure, as small as it gets.
fn zoo() -> Vec<(Genotype, Design)> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut zoo: Vec<(Genotype, Design)> =
        stacked().iter().map(|space| (sample(space.as_ref(), &mut rng).unwrap(), small(1, 2))).collect();
    zoo.push((sample(&NasBench201::default(), &mut rng).unwrap(), small(1, 2)));
    zoo.push((NasBench101::default().parse("01101|00110|00011|00001|00000 -1 0 2 1 -2").unwrap(), small(1, 5)));
    zoo.push((NasBenchMacro::default().parse("10201210").unwrap(), small(1, 2)));
    zoo
}

/// Norms that nothing reads, such as those of a source that a cell leaves aside.
fn unused(plan: &Plan) -> usize {
    let steps = plan.steps().iter().zip(&plan.needed);
    steps.filter(|(step, needed)| matches!(step.op, Op::Norm { .. }) && **needed == [false; 2]).count()
}

#[test]
fn evaluation_takes_rows_one_by_one_and_running_statistics() {
    for (genotype, design) in zoo() {
        let plan = plan(&genotype, &design, COLOUR, 3, true).unwrap();
        let mut weights = Weights::new(Cpu::default(), 3);
        let network = weights.bind(plan).unwrap();
        let mut pass = Pass::training(None);
        network.forward(&weights, &mut pass, &batch(COLOUR, 4, 5)).unwrap();
        assert_eq!(pass.seen.len(), network.plan().statistics().len() - unused(network.plan()));
        let before = weights.export();
        weights.track(&pass.seen).unwrap();
        assert!(weights.export() != before);
        let said = |images: &Image<Cpu>| {
            let output = network.forward(&weights, &mut Pass::evaluation(), images).unwrap();
            assert!(output.auxiliary.is_none());
            values(&output.logits)
        };
        let images = batch(COLOUR, 3, 8);
        let apart: Vec<f32> = images
            .values()
            .chunks(COLOUR.len())
            .flat_map(|one| said(&Image::new(&Cpu::default(), [1, 3, 8, 8], one.to_vec()).unwrap()))
            .collect();
        for (a, b) in said(&images).iter().zip(&apart) {
            assert!((a - b).abs() < 1e-4, "{genotype}");
        }
    }
}

#[test]
fn parts_of_one_name_begin_alike_and_are_inherited() {
    let space = Renas::default();
    let parent = space.parse(&"0 0 1 5 ".repeat(5)).unwrap();
    let child = space.parse(&format!("0 0 1 5 1 1 1 5 {}", "0 0 1 5 ".repeat(3))).unwrap();
    let bound = |genotype: &Genotype, seed: u64| {
        let mut weights = Weights::new(Cpu::default(), seed);
        weights.bind(plan(genotype, &small(1, 3), COLOUR, 3, false).unwrap()).unwrap();
        weights
    };
    let (old, mut new) = (bound(&parent, 1), bound(&child, 1));
    let (a, b) = (old.export(), new.export());
    assert!(a.iter().filter(|(name, _)| b.contains_key(*name)).all(|(name, numbers)| b.get(name) == Some(numbers)));
    let other = bound(&parent, 2).export();
    assert_ne!(other, a);
    let taken = new.inherit(&other).unwrap();
    let untouched = a.keys().filter(|name| !name.contains(".5.")).count();
    assert_eq!(taken.len(), untouched, "all but the operator that changed");
    assert!(taken.iter().all(|name| new.export()[name] == other[name]));
    assert!(b.keys().any(|name| name == "cell.0.5.sep_conv_5x5.depthwise_0"));
    // Several networks in one store share what they have in common.
    let mut shared = Weights::new(Cpu::default(), 1);
    let networks = [&parent, &child].map(|one| shared.bind(plan(one, &small(1, 3), COLOUR, 3, false).unwrap()).unwrap());
    assert!(shared.plans().len() < networks[0].ids().len() + networks[1].ids().len());
}

#[test]
fn dropping_is_drawn_by_its_generator() {
    let (genotype, design) = zoo().swap_remove(3);
    let mut weights = Weights::new(Cpu::default(), 3);
    let network = weights.bind(plan(&genotype, &design, COLOUR, 3, false).unwrap()).unwrap();
    let images = batch(COLOUR, 4, 5);
    let said = |seed: u64| {
        let dropping = Dropping { paths: 0.4, units: 0.3, rng: ChaCha8Rng::seed_from_u64(seed) };
        values(&network.forward(&weights, &mut Pass::training(Some(dropping)), &images).unwrap().logits)
    };
    assert_eq!(said(1), said(1));
    assert_ne!(said(1), said(2));
}

#[test]
fn what_is_no_network_is_refused() {
    let refused =
        |genotype: &Genotype, design: &Design, input: Shape| plan(genotype, design, input, 10, false).unwrap_err().to_string();
    let genotype = Renas::default().parse(&"0 0 1 5 ".repeat(5)).unwrap();
    assert!(refused(&genotype, &small(1, 0), COLOUR).contains("network.channels"));
    assert!(refused(&genotype, &small(1_000, 1), COLOUR).contains("network.cells"));
    let rnn = crate::NaoRnn::default().parse(&"0 ".repeat(22)).unwrap();
    assert!(refused(&rnn, &small(1, 4), COLOUR).contains("no network on images"));
    let mut broken = genotype.clone();
    broken.nodes[5].op = "conv_99x99".into();
    assert!(refused(&broken, &small(1, 4), COLOUR).contains("conv_99x99"));
    broken.nodes[5].op = "sum".into();
    broken.nodes[5].inputs = vec![99];
    assert!(plan(&broken, &small(1, 4), COLOUR, 10, false).is_err());
    assert!(plan(&Genotype::default(), &small(1, 4), COLOUR, 10, false).is_err());
    assert!(refused(&genotype, &small(3, 4_000), Shape { channels: 3, height: 1024, width: 1024 }).contains("lower"));
}
