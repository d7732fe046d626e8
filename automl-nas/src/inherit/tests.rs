use std::path::Path;

use automl_core::rand::{Rng, RngExt, SeedableRng};
use automl_core::space::sample;
use automl_core::{Ask, EvaluatorConfig, Origin, Proposal, Strategy, Study, Trial};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::zero_cost::tests::{images, small};

fn config(folder: &Path, keep: usize, weights: Option<PathBuf>) -> Inherit {
    let recipe = Recipe { epochs: 2, batch_size: 12, ..Recipe::default() };
    Inherit { images: Some(images(folder)), network: small(), recipe, keep, folder: weights, ..Inherit::default() }
}

/// Lines of children, each of the trial before the last, that re-answer one question; one in five begins anew.
struct Chain(Vec<Genotype>);

impl Strategy for Chain {
    fn ask(&self, _: &Ask<'_>, rng: &mut dyn Rng) -> automl_core::Result<Vec<Proposal>> {
        let space = crate::NasBench201::default();
        let parent = self.0.len().checked_sub(1).filter(|_| rng.random_range(0..5) > 0);
        let Some((parent, genotype)) = parent.and_then(|id| Some((id, self.0.get(id)?))) else {
            return Ok(vec![Proposal::new(sample(&space, rng)?, Origin::by("new"))]);
        };
        let mut cell = crate::Cell::of(genotype)?.index();
        let place = 5_usize.pow(rng.random_range(0..6));
        cell += place * rng.random_range(1..5);
        let origin = Origin { parents: vec![parent as u64], ..Origin::by("child") };
        Ok(vec![Proposal::new(crate::Cell::at(cell % 15_625).genotype(), origin)])
    }

    fn tell(&mut self, trial: &Trial) -> automl_core::Result<()> {
        self.0.push(trial.genotype.clone());
        Ok(())
    }
}

fn trials(config: &Inherit, workers: usize, recorded: &[Trial]) -> Vec<Trial> {
    let space = Arc::new(crate::NasBench201 { merge_isomorphic: false });
    let mut study = Study::new(space, Box::new(Chain(Vec::new())), config.build(workers).unwrap());
    (study.workers, study.lag, study.budget.trials) = (workers, 2, Some(12));
    study.recorded = recorded.iter().map(|trial| (trial.id, trial.clone())).collect();
    let trials = study.run(&Cancel::new()).unwrap().trials;
    trials.into_iter().map(|trial| Trial { seconds: 0.0, ..trial }).collect()
}

#[test]
fn results_are_the_same_for_any_number_of_workers_and_after_any_resume() {
    let folder = tempfile::tempdir().unwrap();
    let one = trials(&config(folder.path(), 64, None), 1, &[]);
    let children = one.iter().filter(|trial| trial.origin.by == "child" && trial.duplicate_of.is_none());
    let inherited: Vec<f64> = children.map(|trial| trial.metrics["inherited"]).collect();
    assert!(inherited.len() > 3 && inherited.iter().all(|share| *share > 0.2 && *share <= 1.0), "{inherited:?}");
    assert!(one.iter().filter(|trial| trial.origin.by == "new").all(|trial| trial.metrics["inherited"] == 0.0));
    assert!(one.iter().all(|trial| trial.metrics["epochs"] == if trial.origin.by == "new" { 2.0 } else { 1.0 }));
    assert_eq!(trials(&config(folder.path(), 64, None), 3, &[]), one);
    // Without memory or files all ancestors are trained again.
    assert_eq!(trials(&config(folder.path(), 0, None), 1, &one[..9]), one);
    // With files they are read; a broken one does not count.
    let weights = folder.path().join("weights");
    let kept = config(folder.path(), 1, Some(weights.clone()));
    assert_eq!(trials(&kept, 2, &[]), one);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&weights).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 8);
    std::fs::write(&files[0], b"nonsense").unwrap();
    std::fs::write(&files[1], []).unwrap();
    assert_eq!(trials(&kept, 2, &one[..7]), one);
}

#[test]
fn a_child_begins_with_what_its_parent_has_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = InheritEvaluator::new(&config(folder.path(), 8, None), 1).unwrap();
    let space = crate::NasBench201::default();
    let parent = space.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|").unwrap();
    let line = |genotype, parents| Line { genotype, fidelity: 1.0, parents };
    let first = evaluator.train(&line(&parent, Vec::new()), 7, &Cancel::new()).unwrap();
    let same = evaluator.train(&line(&parent, vec![(&parent, Arc::new(first.weights))]), 7, &Cancel::new()).unwrap();
    assert_eq!((same.inherited, same.epochs), (1.0, 1));
    // At a hundredth of the learning rate it goes on from there.
    assert!(same.loss < first.loss + 0.2, "{} {}", same.loss, first.loss);
    let child = space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|").unwrap();
    let child = evaluator.train(&line(&child, vec![(&parent, Arc::new(same.weights.clone()))]), 7, &Cancel::new()).unwrap();
    assert!(child.inherited > 0.5 && child.inherited < 1.0);
    let moved = |name: &str| {
        let (after, before) = (&child.weights[name].1, &same.weights[name].1);
        after.iter().zip(before).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / before.len() as f64
    };
    let (stem, kept) = (moved("stem.conv"), child.weights.contains_key("cell.0.2_0.nor_conv_3x3.conv"));
    assert!(stem > 0.0 && stem < 0.01, "{stem}");
    assert!(kept || child.weights.keys().any(|name| name.starts_with("cell.0.2_0.nor_conv_3x3")));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |config: &Inherit| config.build(1).map(|_| ()).unwrap_err().to_string();
    assert!(refused(&Inherit::default()).contains("images"));
    assert!(refused(&Inherit { child_epochs: 0, ..Inherit::default() }).contains("evaluator.child_epochs"));
    assert!(refused(&Inherit { new_layers: -1.0, ..Inherit::default() }).contains("evaluator.new_layers"));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    let evaluator = config(folder.path(), 4, None).build(1).unwrap();
    let genotype = sample(&crate::NaoRnn::default(), &mut rng).unwrap();
    let mut alone = automl_core::Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() };
    assert!(matches!(evaluator.evaluate(&genotype, &mut alone), Err(Stop::Infeasible(_))));
}
