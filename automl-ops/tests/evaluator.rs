//! Scores are those of a loop written by hand, whatever the number of workers; bad settings are errors that say what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::space::sample;
use automl_core::{Alone, Cancel, EvalContext, Node};
use automl_core::{Direction, Evaluation, Evaluator, EvaluatorConfig, Genotype, Stop};
use automl_ops::evaluator::{Validated, score};
use automl_ops::frame::{Column, Frame, Values};
use automl_ops::operator::Target;
use automl_ops::pipeline::{Pipeline, folds};
use automl_ops::split;
use automl_ops::{Metric, PipelineSpace, Tabular, TabularEvaluator, Task, Training, Validation};
use common::{Context, bits, pipeline_with, training};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 12;

fn fold_seed() -> u64 {
    StableHash::new("folds").number(SEED).finish()
}

fn evaluator(task: Task, metric: Option<Metric>, validation: Validation, workers: usize) -> TabularEvaluator {
    TabularEvaluator::new(Arc::new(training(80, task, 1)), metric, validation, workers).unwrap()
}

fn genotype(name: &str) -> Genotype {
    pipeline_with(automl_ops::operator::operator(name).unwrap())
}

fn validated(evaluation: &Evaluation) -> Arc<Validated> {
    evaluation.artifact.clone().unwrap().downcast().unwrap_or_else(|_| panic!("another artifact"))
}

/// For each fold its rows held out, and the predictions for them.
fn by_hand(training: &Training, genotype: &Genotype, held: &[Vec<u32>]) -> Vec<(Vec<u32>, Vec<f32>)> {
    let predict = |held: &Vec<u32>| {
        let kept = split::complement(training.rows(), held);
        let (x, y) = (training.x.take(&kept), training.y.take(&kept));
        let pipeline = Pipeline::fit(genotype, &x, &y, SEED, &Cancel::new()).unwrap();
        (held.clone(), pipeline.predict(&training.x.take(held), &Cancel::new()).unwrap())
    };
    held.iter().map(predict).collect()
}

#[test]
fn scores_are_those_of_a_loop_by_hand() {
    for (task, names) in [
        (Task::Classification, ["decision_tree", "random_forest", "logistic"]),
        (Task::Regression, ["decision_tree", "gradient_boosting", "ridge"]),
    ] {
        let training = training(80, task, 1);
        let kfold = folds(&training.y, 4, fold_seed());
        let holdout = match &training.y {
            Target::Classes { codes, classes } => split::stratified_holdout(codes, *classes, 0.3, fold_seed()).1,
            Target::Values(values) => split::quantile_holdout(values, 0.3, fold_seed()).1,
        };
        assert_eq!(holdout.len(), 24);
        for (validation, held) in
            [(Validation::Kfold { folds: 4, repeats: 1 }, kfold), (Validation::Holdout { fraction: 0.3 }, vec![holdout])]
        {
            for name in names {
                let (genotype, evaluator) = (genotype(name), evaluator(task, None, validation, 1));
                let mut context = Context::new(SEED);
                let found = evaluator.evaluate(&genotype, &mut context).unwrap();
                let expected = by_hand(&training, &genotype, &held);
                let rows: Vec<u32> = expected.iter().flat_map(|(rows, _)| rows.clone()).collect();
                let predictions: Vec<f32> = expected.iter().flat_map(|(_, values)| values.clone()).collect();
                let validated = validated(&found);
                assert_eq!(validated.rows, rows);
                assert_eq!(bits(&validated.predictions), bits(&predictions));
                assert_eq!(validated.pipelines.len(), held.len());
                let metric = task.default_metric();
                let value = score(metric, &training.y.take(&rows), &predictions, None).unwrap();
                assert_eq!(found.metrics[metric.name()], value);
                assert_eq!(found.losses, [if metric.maximize() { -value } else { value }]);
                // One report a fold, of the fold's own loss.
                assert_eq!(context.reported.len(), held.len());
                for ((step, losses), (fold, (rows, values))) in context.reported.iter().zip(expected.iter().enumerate()) {
                    let value = score(metric, &training.y.take(rows), values, None).unwrap();
                    assert_eq!((*step, losses[0].abs()), (fold as u64, value.abs()));
                }
            }
        }
    }
}

#[test]
fn the_area_under_the_curve_is_that_of_the_folds() {
    let training = training(80, Task::Classification, 1);
    let found = evaluator(Task::Classification, Some(Metric::RocAuc), Validation::Kfold { folds: 4, repeats: 1 }, 1)
        .evaluate(&genotype("random_forest"), &mut Context::new(SEED))
        .unwrap();
    let expected = by_hand(&training, &genotype("random_forest"), &folds(&training.y, 4, fold_seed()));
    let scores = expected.iter().map(|(rows, values)| score(Metric::RocAuc, &training.y.take(rows), values, None).unwrap());
    assert!((found.metrics["roc_auc"] - scores.sum::<f64>() / 4.0).abs() < 1e-12);
}

#[test]
fn results_do_not_depend_on_the_workers() {
    for task in [Task::Classification, Task::Regression] {
        let genotype = genotype("gradient_boosting");
        let result = |workers: usize| {
            let evaluator = evaluator(task, None, Validation::Kfold { folds: 3, repeats: 1 }, workers);
            // All workers at once, so that they share the folds.
            let all: Vec<Evaluation> = std::thread::scope(|scope| {
                let run = || evaluator.evaluate(&genotype, &mut Context::new(SEED)).unwrap();
                let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let first = (all[0].losses.clone(), all[0].metrics.clone(), bits(&validated(&all[0]).predictions));
            for other in &all {
                assert_eq!((&other.losses, &other.metrics), (&first.0, &first.1));
            }
            first
        };
        let one = result(1);
        assert_eq!(one, result(2));
        assert_eq!(one, result(5));
    }
}

#[test]
fn a_lower_fidelity_trains_on_fewer_rows_and_scores_on_the_same() {
    for task in [Task::Classification, Task::Regression] {
        // One neighbour a training row: the state of the model tells how many rows it saw.
        let run = |fidelity: f64| {
            let evaluator = evaluator(task, None, Validation::Kfold { folds: 4, repeats: 1 }, 1);
            let mut context = Context { fidelity, ..Context::new(SEED) };
            let found = evaluator.evaluate(&genotype("knn"), &mut context).unwrap();
            let validated = validated(&found);
            let state = validated.pipelines[0].save().pop().unwrap();
            let [rows, _]: [usize; 2] = state.get("shape").unwrap();
            (rows, validated.rows.clone(), bits(&validated.predictions))
        };
        let (full, half, little) = (run(1.0), run(0.5), run(1e-9));
        assert_eq!(full.0, 60);
        assert!((28..=32).contains(&half.0), "{} rows", half.0);
        assert!((1..=3).contains(&little.0), "{} rows", little.0);
        assert_eq!(full.1, half.1);
        assert_ne!(full.2, half.2);
        assert_eq!(half, run(0.5));
    }
}

#[test]
fn another_seed_draws_other_folds() {
    let evaluator = evaluator(Task::Classification, None, Validation::Auto, 1);
    let rows = |seed| validated(&evaluator.evaluate(&genotype("decision_tree"), &mut Context::new(seed)).unwrap()).rows.clone();
    assert_ne!(rows(1), rows(2));
    assert_eq!(rows(1), rows(1));
    assert_eq!(rows(1).len(), 4 * 80, "the folds of a small table are drawn four times");
}

#[test]
fn folds_drawn_again_only_tell_how_good_a_model_is() {
    let run = |repeats| {
        let evaluator = evaluator(Task::Classification, None, Validation::Kfold { folds: 4, repeats }, 1);
        let mut context = Context::new(SEED);
        let found = evaluator.evaluate(&genotype("random_forest"), &mut context).unwrap();
        (found, context.reported.len())
    };
    let ((once, four), (thrice, twelve)) = (run(1), run(3));
    assert_eq!((four, twelve), (4, 12));
    let (once, thrice) = (validated(&once), validated(&thrice));
    assert_eq!((once.pipelines.len(), thrice.pipelines.len()), (4, 4));
    assert_eq!((once.folds.len(), thrice.folds.len()), (4, 12));
    assert_eq!(thrice.rows[..80], once.rows);
    assert_eq!(bits(&thrice.predictions[..once.predictions.len()]), bits(&once.predictions));
    for draw in thrice.rows.chunks(80) {
        let mut rows = draw.to_vec();
        rows.sort_unstable();
        assert!(rows.iter().copied().eq(0..80), "each draw holds out every row once");
    }
    assert!(thrice.rows[80..160] != once.rows, "no draw is like another");
}

/// Says that a candidate has lost whenever it is asked.
struct Lost {
    alone: Alone,
    reports: u64,
}

impl EvalContext for Lost {
    fn seed(&self) -> u64 {
        self.alone.seed
    }

    fn fidelity(&self) -> f64 {
        self.alone.fidelity
    }

    fn cancel(&self) -> &Cancel {
        &self.alone.cancel
    }

    fn report(&mut self, step: u64, _: &[f64]) -> Result<(), Stop> {
        assert_eq!(step, self.reports);
        self.reports += 1;
        Err(Stop::Pruned("lost".into()))
    }
}

#[test]
fn a_race_cuts_no_draw_of_folds_that_costs_next_to_nothing() {
    let evaluator = evaluator(Task::Classification, None, Validation::Kfold { folds: 4, repeats: 3 }, 1);
    let reports = |genotype: &Genotype| {
        let mut context = Lost { alone: Alone { seed: SEED, fidelity: 1.0, cancel: Cancel::new() }, reports: 0 };
        assert!(matches!(evaluator.evaluate(genotype, &mut context), Err(Stop::Pruned(_))));
        context.reports
    };
    assert_eq!(reports(&genotype("gaussian_nb")), 4, "one draw");
    let mut dear = genotype("gradient_boosting");
    if let Some(last) = dear.nodes.last_mut() {
        last.params.insert("rounds".into(), 1_000_i64.into());
    }
    assert!(evaluator.price(&dear, 1.0).unwrap().seconds / 3.0 > 0.01);
    assert_eq!(reports(&dear), 1);
}

fn refused(task: Task, metric: Option<Metric>, validation: Validation) -> String {
    let result = TabularEvaluator::new(Arc::new(training(30, task, 1)), metric, validation, 1);
    result.err().map(|error| error.to_string()).unwrap_or_else(|| panic!("{metric:?} and {validation:?} are accepted"))
}

#[test]
fn a_metric_of_the_other_task_is_an_error_that_lists_those_that_fit() {
    let error = refused(Task::Classification, Some(Metric::Rmse), Validation::Auto);
    assert!(error.contains("`rmse`") && error.contains("`y`") && error.contains("balanced_accuracy"), "{error}");
    let error = refused(Task::Regression, Some(Metric::RocAuc), Validation::Auto);
    assert!(error.contains("`roc_auc`") && error.contains("rmse, mae, r2"), "{error}");
    assert_eq!(evaluator(Task::Regression, None, Validation::Auto, 1).objectives()[0].direction, Direction::Minimize);
    assert_eq!(evaluator(Task::Classification, None, Validation::Auto, 1).objectives()[0].direction, Direction::Maximize);
}

#[test]
fn a_validation_that_makes_no_sense_is_an_error() {
    for folds in [0, 1] {
        let error = refused(Task::Classification, None, Validation::Kfold { folds, repeats: 1 });
        assert!(error.contains("at least 2") && error.contains("evaluator.validation"), "{error}");
    }
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        let error = refused(Task::Classification, None, Validation::Holdout { fraction });
        assert!(error.contains("between 0 and 1"), "{error}");
    }
    // More folds than rows: each row is held out once.
    let many = evaluator(Task::Regression, None, Validation::Kfold { folds: 1_000, repeats: 1 }, 1);
    assert_eq!(validated(&many.evaluate(&genotype("decision_tree"), &mut Context::new(1)).unwrap()).pipelines.len(), 80);
}

#[test]
fn a_candidate_that_cannot_be_run_is_infeasible_and_named() {
    let evaluator = evaluator(Task::Classification, None, Validation::Auto, 1);
    let evaluate = |nodes: Vec<Node>| evaluator.evaluate(&Genotype { nodes }, &mut Context::new(1)).err();
    let input = || Node::new("input", []);
    for (nodes, says) in [
        (vec![input(), Node::new("logistic", [0])], "logistic"),
        (vec![input(), Node::new("ridge", [0])], "ridge"),
        (vec![input(), Node::new("one_hot", [0])], "one_hot"),
        (vec![input(), Node::new("random_forrest", [0])], "random_forest"),
        (vec![input(), Node::new("decision_tree", [0]).with("depth", 3_i64)], "has `max_depth`, `min_samples_leaf`"),
        (vec![input(), Node::new("decision_tree", [0]).with("max_depth", 0_i64)], "decision_tree.max_depth"),
        (vec![input(), input(), Node::new("decision_tree", [0])], "one source"),
        (vec![input()], "later vertex"),
        (vec![], ""),
    ] {
        match evaluate(nodes.clone()) {
            Some(Stop::Infeasible(why)) => assert!(why.contains(says), "{nodes:?}: {why}"),
            other => panic!("{nodes:?}: {other:?}"),
        }
    }
    let mut context = Context::new(1);
    context.cancel.cancel();
    assert_eq!(evaluator.evaluate(&genotype("random_forest"), &mut context).err(), Some(Stop::Cancelled));
    context.cancel = Cancel::new();
}

#[test]
fn random_pipelines_predict_finite_numbers_on_a_hard_table() {
    for task in [Task::Classification, Task::Regression] {
        let mut training = training(60, task, 1);
        let draw = |scale: f32| Column::new(Values::Numeric((0..60).map(|row| scale * (row * 7 % 13 - 6) as f32).collect()));
        let tiny = draw(1e-30);
        let rare = Column::new(Values::Category { codes: (0..60).collect(), levels: 60 });
        let extra = [draw(1.5e17), tiny, draw(0.0), rare].map(Arc::new).to_vec();
        training.x = Frame::union([&training.x, &Frame::new(60, extra).unwrap()]);
        let space = PipelineSpace::fitting(&training, task.default_metric()).unwrap();
        let evaluator = TabularEvaluator::new(Arc::new(training), None, Validation::Kfold { folds: 2, repeats: 1 }, 1).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut refused = Vec::new();
        for _ in 0..150 {
            let genotype = sample(&space, &mut rng).unwrap();
            match evaluator.evaluate(&genotype, &mut Context::new(1)) {
                Ok(found) => assert!(found.losses[0].is_finite()),
                Err(Stop::Infeasible(why)) => refused.push(format!("{genotype}: {why}")),
                Err(stop) => panic!("{genotype}: {stop}"),
            }
        }
        assert!(refused.len() < 15, "{} of 150: {:#?}", refused.len(), refused);
    }
}

#[test]
fn too_few_rows_to_hold_any_out_are_infeasible() {
    let mut training = training(20, Task::Classification, 1);
    (training.x, training.y) = (training.x.take(&[0]), training.y.take(&[0]));
    let evaluator = TabularEvaluator::new(Arc::new(training), None, Validation::Auto, 1).unwrap();
    let result = evaluator.evaluate(&genotype("decision_tree"), &mut Context::new(1));
    assert!(matches!(result.err(), Some(Stop::Infeasible(why)) if why.contains("too few rows")));
}

#[test]
fn a_file_makes_an_evaluator_and_its_space() {
    let folder = tempfile::tempdir().unwrap();
    let train = folder.path().join("train.csv");
    let rows: String = (0..40).map(|row| format!("{},{},{}\n", row % 7, ["p", "q", "r"][row % 3], ["a", "b"][row % 2])).collect();
    std::fs::write(&train, format!("x,c,y\n{rows}")).unwrap();
    let config = Tabular { train, target: "y".into(), ..Tabular::default() };
    let evaluator = config.build(2).unwrap();
    let space = config.space().unwrap().unwrap();
    for start in space.starts() {
        let found = evaluator.evaluate(&start, &mut Context::new(1)).unwrap();
        assert!(found.losses[0].is_finite(), "{start}");
    }
    let missing = Tabular { target: "z".into(), ..config };
    assert!(missing.build(1).err().unwrap().to_string().contains("`z`"));
}
