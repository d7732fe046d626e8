//! Gradients of whole networks, one of every space, against finite differences.
//!
//! ReLUs, maxima and norms of few numbers make a loss rough: over steps of a thousandth the differences are of another slope than at
//! the point itself. So the steps are as small as the precision of the loss allows, and a difference counts where two agree.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::space::sample;
use automl_core::{Genotype, SearchSpace};
use automl_nas::cells::{Darts, NaoCnn, NaoCnnWs, NasNet, Renas};
use automl_nas::images::Shape;
use automl_nas::network::{Design, Network, Pass, Weights, plan};
use automl_nas::tensor::image::Image;
use automl_nas::tensor::{Cpu, Scalar, matrix, sequence, values};
use automl_nas::{NasBench101, NasBench201, NasBenchMacro};
use rand_chacha::ChaCha8Rng;

const SHAPE: Shape = Shape { channels: 3, height: 8, width: 8 };
const BATCH: usize = 6;
/// Every so many parameters is looked at.
const EVERY: usize = 5;

fn zoo() -> Vec<(Genotype, usize)> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let stacked: [&dyn SearchSpace; 5] =
        [&NasNet::default(), &NaoCnn::default(), &NaoCnnWs::default(), &Renas::default(), &Darts::default()];
    let mut zoo: Vec<(Genotype, usize)> = stacked.iter().map(|space| (sample(*space, &mut rng).unwrap(), 2)).collect();
    zoo.push((sample(&NasBench201::default(), &mut rng).unwrap(), 2));
    // Widths that do not divide evenly, so that a vertex reads the first channels of another.
    zoo.push((NasBench101::default().parse("01101|00110|00011|00001|00000 -1 0 2 1 -2").unwrap(), 5));
    zoo.push((NasBenchMacro::default().parse("10201210").unwrap(), 2));
    zoo
}

fn loss(weights: &Weights<Cpu>, network: &Network, pass: &mut Pass<'_, Cpu>, images: &Image<Cpu>) -> Scalar<Cpu> {
    let said = network.forward(weights, pass, images).unwrap();
    let targets = (0..BATCH * 3).map(|at| if at % 3 == at / 3 % 3 { 1.0 } else { 0.0 }).collect();
    let targets = matrix(&Cpu::default(), BATCH, 3, targets).unwrap();
    let own = pass.recorder.cross_entropy(&said.logits, &targets).unwrap();
    match said.auxiliary {
        Some(second) => {
            let second = pass.recorder.cross_entropy(&second, &targets).unwrap();
            pass.recorder.weighted_sum(&[(1.0, &own), (0.4, &second)]).unwrap()
        }
        None => own,
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (index, (genotype, channels)) in zoo().into_iter().enumerate() {
        let design = Design { cells: Some(1), channels: Some(channels), stem_stride: None };
        let mut weights = Weights::new(Cpu::default(), 3);
        // The second classifier is the same for all, and large.
        let network = weights.bind(plan(&genotype, &design, SHAPE, 3, index == 5).unwrap()).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let numbers = (0..BATCH * SHAPE.len()).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
        let images = Image::new(&Cpu::default(), [BATCH, 3, 8, 8], numbers).unwrap();
        let mut pass = Pass::training(None);
        let start = loss(&weights, &network, &mut pass, &images);
        let mut gradients = pass.recorder.backward(&start).unwrap();
        let (mut smooth, mut looked, mut wrong) = (0, 0, Vec::new());
        for &id in network.ids().iter().step_by(EVERY) {
            let gradient = sequence::gradient(&mut gradients, weights.params().get(id)).unwrap();
            let before = values(weights.params().get(id));
            let mut direction: Vec<f32> = before.iter().map(|_| rng.random_range(-1.0_f32..1.0)).collect();
            let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
            direction.iter_mut().for_each(|x| *x /= length);
            let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let mut difference = |step: f32| {
                let mut side = |step: f32| {
                    let moved: Vec<f32> = before.iter().zip(&direction).map(|(w, d)| w + step * d).collect();
                    weights.params_mut().set(id, &moved).unwrap();
                    f64::from(values(&loss(&weights, &network, &mut Pass::training(None), &images))[0])
                };
                (side(step) - side(-step)) / f64::from(2.0 * step)
            };
            let [a, b] = [2.5e-4, 1.2e-4].map(&mut difference);
            weights.params_mut().set(id, &before).unwrap();
            looked += 1;
            if (a - b).abs() < 0.02 * a.abs().max(b.abs()) + 5e-3 {
                smooth += 1;
                if (slope - b).abs() > 0.05 * b.abs() + 1e-2 {
                    wrong.push([slope, a, b]);
                }
            }
        }
        // Where a ReLU's or a maximum's edge is nearer than the steps, they may agree on another slope.
        assert!(wrong.len() <= 1 + smooth / 20, "{genotype}: gradients against differences {wrong:?}");
        assert!(2 * smooth >= looked, "{genotype}: {smooth} of {looked} differences tell something");
    }
}
