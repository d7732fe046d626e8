use std::path::Path;

use automl_core::rand::SeedableRng;
use automl_core::space::sample;
use automl_core::{Alone, Cancel, EvaluatorConfig};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cells::NaoCnnWs;
use crate::zero_cost::tests::{images, small};

fn config(folder: &Path) -> Supernet {
    let recipe = Recipe { batch_size: 12, ..Recipe::default() };
    Supernet { images: Some(images(folder)), network: small(), steps: 60, recipe, ..Supernet::default() }
}

fn cells(count: usize) -> Vec<Genotype> {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    (0..count).map(|_| sample(&NasBench201::default(), &mut rng).unwrap()).collect()
}

fn scores(config: &Supernet, genotypes: &[Genotype], seed: u64) -> Vec<(f64, f64)> {
    let evaluator = config.build(1).unwrap();
    let score = |genotype| {
        let found = evaluator.evaluate(genotype, &mut Alone { seed, fidelity: 1.0, cancel: Cancel::new() }).unwrap();
        (found.metrics["accuracy"], found.metrics["trained"])
    };
    genotypes.iter().map(score).collect()
}

#[test]
fn paths_are_scored_the_same_in_any_order_and_better_than_by_chance() {
    let folder = tempfile::tempdir().unwrap();
    let (config, mut genotypes) = (config(folder.path()), cells(6));
    let first = scores(&config, &genotypes, 1);
    assert!(first.iter().all(|(_, trained)| *trained == 1.0), "60 paths cover five operators: {first:?}");
    let mean = first.iter().map(|(accuracy, _)| accuracy).sum::<f64>() / 6.0;
    assert!(mean > 0.5, "three classes: {mean}");
    genotypes.reverse();
    let mut again = scores(&config, &genotypes, 1);
    again.reverse();
    assert_eq!(again, first);
    assert_ne!(scores(&config, &genotypes[..2], 2), again[4..].iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn workers_share_one_training() {
    let folder = tempfile::tempdir().unwrap();
    let (config, genotypes) = (Supernet { steps: 12, ..config(folder.path()) }, cells(4));
    let alone = scores(&config, &genotypes, 3);
    let evaluator = config.build(2).unwrap();
    let together: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let score = |genotype| {
            let evaluator = &evaluator;
            scope.spawn(move || {
                let found = evaluator.evaluate(genotype, &mut Alone { seed: 3, fidelity: 1.0, cancel: Cancel::new() }).unwrap();
                (found.metrics["accuracy"], found.metrics["trained"])
            })
        };
        let running: Vec<_> = genotypes.iter().map(score).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
}

#[test]
fn other_spaces_and_policies_train_too() {
    let folder = tempfile::tempdir().unwrap();
    let pool = |size, weights| Arc::new(Pool { size, weights });
    for sampling in [pool(3, PoolWeights::Uniform), pool(3, PoolWeights::Parameters)] {
        let config = Supernet { space: Arc::new(NaoCnnWs::default()), sampling, steps: 4, ..config(folder.path()) };
        let genotype = sample(config.space.as_ref(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let found = scores(&config, &[genotype], 1);
        assert!(found[0].1 > 0.1, "{found:?}");
    }
}

#[test]
fn large_members_of_a_pool_are_taken_more_often() {
    let size = |genotype: &Genotype| Some(genotype.nodes.iter().filter(|node| node.op.starts_with("nor_conv")).count() as u64);
    let mean = |weights| {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let paths = Pool { size: 40, weights }.paths(&NasBench201::default(), &size, 4000, &mut rng).unwrap();
        assert!(paths.iter().map(Genotype::canonical_hash).collect::<std::collections::BTreeSet<_>>().len() <= 40);
        paths.iter().filter_map(size).sum::<u64>() as f64 / 4000.0
    };
    assert!(mean(PoolWeights::Parameters) > mean(PoolWeights::Uniform) + 0.2);
}

#[test]
fn a_cancelled_training_leaves_nothing_and_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (config, genotypes) = (Supernet { steps: 4, ..config(folder.path()) }, cells(1));
    let evaluator = config.build(1).unwrap();
    let over = Cancel::new().child(Some(std::time::Instant::now()));
    assert!(matches!(
        evaluator.evaluate(&genotypes[0], &mut Alone { seed: 1, fidelity: 1.0, cancel: over }),
        Err(Stop::Cancelled)
    ));
    let mut later = Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() };
    assert_eq!(evaluator.evaluate(&genotypes[0], &mut later).unwrap().metrics["accuracy"], scores(&config, &genotypes, 1)[0].0);
    let refused = |config: &Supernet| config.build(1).map(|_| ()).unwrap_err().to_string();
    assert!(refused(&Supernet::default()).contains("images"));
    assert!(refused(&Supernet { steps: 0, ..Supernet::default() }).contains("evaluator.steps"));
    let error = serde_json::from_str::<Supernet>("{\"sampling\": {\"type\": \"unifrm\"}}").unwrap_err().to_string();
    assert!(error.contains("uniform") && error.contains("pool"), "{error}");
}
