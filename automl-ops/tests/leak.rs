//! Nothing that is scored, or handed to the next vertex, comes from a fit that saw the answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::space::sample;
use automl_core::{Cancel, Evaluator, Genotype, Node, Stop};
use automl_ops::evaluator::Validated;
use automl_ops::frame::{Column, Frame, Values};
use automl_ops::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use automl_ops::operator::{Fit, Fitted, OperatorError, TabularOperator, Target};
use automl_ops::pipeline::{Pipeline, folds};
use automl_ops::space::{PipelineSpace, PipelineSpec};
use automl_ops::state::State;
use automl_ops::{Metric, TabularEvaluator, Task, Training, Validation};
use common::{Context, bits, front, pipeline_with, pool, probe, training};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TASKS: [Task; 2] = [Task::Classification, Task::Regression];

thread_local! {
    /// What the last spy on this thread was fitted on.
    static SEEN: RefCell<Frame> = RefCell::default();
}

/// An estimator that tells the test what it was given.
struct Spy;
automl_ops::describe! { Spy: "test/spy", "Records its input", reads [RAW, NUMERIC, DENSE, PREDICTION], emits PREDICTION, params [] }
automl_ops::tabular_operator!(Spy);

struct FittedSpy(usize);

impl TabularOperator for Spy {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        SEEN.with_borrow_mut(|seen| *seen = fit.x.clone());
        Ok(Box::new(FittedSpy(fit.y.width())))
    }

    fn load(&self, _: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Err(OperatorError::state("a spy is never saved"))
    }
}

impl Fitted for FittedSpy {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_rows(&vec![0.0; x.rows() * self.0], self.0))
    }

    fn save(&self, _: &mut State) {}
}

/// What a vertex behind these nodes sees of the training rows.
fn seen_behind(nodes: &[Node], x: &Frame, y: &Target, seed: u64) -> Frame {
    let mut nodes = nodes.to_vec();
    nodes.push(Node::new("test/spy", [nodes.len() - 1]));
    Pipeline::fit(&Genotype { nodes }, x, y, seed, &Cancel::new()).unwrap();
    SEEN.with_borrow(Clone::clone)
}

fn row(frame: &Frame, row: u32) -> Vec<u32> {
    bits(&frame.take(&[row]).matrix().unwrap().into_raw_vec_and_offset().0)
}

/// Another target with the same folds, different at some of `rows` alone; and the rows at which it differs.
///
/// Classes: the labels of neighbours in one fold are exchanged, which exchanges their places in the deal of the folds. Values:
/// they move by less than a step, which keeps their ranks.
fn changed(y: &Target, rows: &[u32]) -> (Target, Vec<u32>) {
    let mut y = y.clone();
    let mut at = Vec::new();
    match &mut y {
        Target::Classes { codes, .. } => {
            let mut rows = rows.iter().copied().peekable();
            while let Some(row) = rows.next() {
                let (one, other) = (row as usize, row as usize + 1);
                if rows.peek() == Some(&(row + 1)) && codes[one] != codes[other] {
                    codes.swap(one, other);
                    at.extend([row, row + 1]);
                    rows.next();
                }
            }
        }
        Target::Values(values) => {
            for &row in rows {
                values[row as usize] += 0.04;
                at.push(row);
            }
        }
    }
    assert!(!at.is_empty(), "no target can be changed");
    (y, at)
}

/// Whether an estimator found nothing and says the same of all rows; another in each of the folds.
fn constant(predictions: &[f32], folds: usize) -> bool {
    predictions.iter().map(|value| value.to_bits()).collect::<BTreeSet<_>>().len() <= 2 * folds
}

/// The frame with the features of some rows replaced by those of others.
fn shuffled(x: &Frame, rows: &[u32]) -> Frame {
    let mut order: Vec<u32> = (0..x.rows() as u32).collect();
    for &row in rows {
        order[row as usize] = (row * 7 + 3) % x.rows() as u32;
    }
    x.take(&order)
}

#[test]
fn a_fold_is_fitted_on_its_training_rows_alone() {
    let probe = probe(20);
    for task in TASKS {
        for op in pool(task) {
            let genotype = pipeline_with(op);
            let validate = |training: Training| -> Arc<Validated> {
                let evaluator =
                    TabularEvaluator::new(Arc::new(training), None, Validation::Kfold { folds: 3, repeats: 1 }, 1).unwrap();
                let result = evaluator.evaluate(&genotype, &mut Context::new(5)).unwrap();
                result.artifact.unwrap().downcast().unwrap_or_else(|_| panic!("another artifact"))
            };
            let before = validate(training(90, task, 1));
            let held = &before.rows[..30];
            let mut other = training(90, task, 1);
            other.x = shuffled(&other.x, held);
            other.y = changed(&other.y, held).0;
            let after = validate(other);
            assert_eq!(before.rows, after.rows, "the folds moved");
            let predict =
                |validated: &Validated, fold: usize| bits(&validated.pipelines[fold].predict(&probe, &Cancel::new()).unwrap());
            assert_eq!(predict(&before, 0), predict(&after, 0), "{genotype} saw rows held out");
            let seen = before.predictions[..] != after.predictions[..] || constant(&before.predictions, before.pipelines.len());
            assert!(seen, "{genotype}: the change is too small to be seen");
        }
    }
}

#[test]
fn the_output_of_an_inner_vertex_does_not_know_the_target_of_its_row() {
    let mut checked = 0;
    for task in TASKS {
        let Training { x, y, .. } = training(90, task, 1);
        for op in pool(task).into_iter().filter(|op| op.cross_fits()) {
            let nodes = front(op);
            let before = seen_behind(&nodes, &x, &y, 5);
            for held in folds(&y, 3, StableHash::new("inner folds").number(5).finish()) {
                let (other, at) = changed(&y, &held);
                let after = seen_behind(&nodes, &x, &other, 5);
                for row_at in at {
                    assert_eq!(row(&before, row_at), row(&after, row_at), "`{}` tells the target of row {row_at}", op.name());
                }
                let depends = (0..90).any(|at| row(&before, at) != row(&after, at));
                let flat = (0..90).map(|at| row(&before, at)).collect::<BTreeSet<_>>().len() <= 3;
                assert!(depends || flat, "`{}`: nothing depends on the target", op.name());
            }
            checked += 1;
        }
    }
    assert!(checked >= 12);
}

#[test]
fn nor_does_it_through_a_selection_before_it() {
    for (task, estimator) in [(Task::Classification, "logistic"), (Task::Regression, "ridge")] {
        let Training { x, y, .. } = training(90, task, 1);
        let names = ["one_hot", "impute", "select_k_best", "standard_scale", estimator];
        let steps = names.iter().enumerate().map(|(index, name)| Node::new(*name, [index]));
        let nodes: Vec<Node> = [Node::new("input", [])].into_iter().chain(steps).collect();
        let before = seen_behind(&nodes, &x, &y, 5);
        for held in folds(&y, 3, StableHash::new("inner folds").number(5).finish()) {
            let (other, at) = changed(&y, &held);
            let after = seen_behind(&nodes, &x, &other, 5);
            assert!(at.iter().all(|&at| row(&before, at) == row(&after, at)), "{task:?}");
        }
    }
}

/// Features and labels without any relation.
fn noise(rows: usize, width: usize, seed: u64) -> (Frame, Target) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let columns = (0..width).map(|_| Values::Numeric((0..rows).map(|_| rng.random::<f32>()).collect()));
    let x = Frame::new(rows, columns.map(|values| Arc::new(Column::new(values))).collect()).unwrap();
    let mut codes: Vec<u32> = (0..rows as u32).map(|row| row % 2).collect();
    for row in (1..rows).rev() {
        codes.swap(row, rng.random_range(0..=row));
    }
    (x, Target::Classes { codes, classes: 2 })
}

/// The share of rows whose label an inner vertex's output of the second class has right.
fn right(seen: &Frame, y: &Target) -> f64 {
    let Target::Classes { codes, .. } = y else { unreachable!() };
    let values = seen.numeric(0).unwrap();
    values.iter().zip(codes).filter(|(value, code)| (**value > 0.5) == (**code == 1)).count() as f64 / codes.len() as f64
}

#[test]
fn inner_vertices_that_learn_by_heart_say_nothing_about_noise() {
    let (x, y) = noise(400, 5, 3);
    let by_heart = [
        Node::new("knn", [0]).with("k", 1_i64),
        Node::new("decision_tree", [0]).with("max_depth", 30_i64).with("min_samples_leaf", 1_i64),
        Node::new("random_forest", [0]),
        Node::new("gradient_boosting", [0]).with("min_samples_leaf", 1_i64),
    ];
    // Five standard deviations of a fair coin.
    let bound = 5.0 * (0.25_f64 / 400.0).sqrt();
    for node in by_heart {
        let nodes = [Node::new("input", []), node.clone()];
        let in_sample = Pipeline::fit(&Genotype { nodes: nodes.to_vec() }, &x, &y, 5, &Cancel::new()).unwrap();
        let in_sample = Frame::from_rows(&in_sample.predict(&x, &Cancel::new()).unwrap(), 2).select(&[1]);
        assert!(right(&in_sample, &y) > 0.95, "`{}` does not learn by heart", node.op);
        let share = right(&seen_behind(&nodes, &x, &y, 5), &y);
        assert!((share - 0.5).abs() < bound, "`{}` is right at {share} of pure noise", node.op);
        // And so for an estimator behind it.
        let chain = [Node::new("input", []), node.clone(), Node::new("decision_tree", [1]).with("min_samples_leaf", 1_i64)];
        let share = right(&seen_behind(&chain, &x, &y, 5), &y);
        assert!((share - 0.5).abs() < bound, "a tree behind `{}` is right at {share} of pure noise", node.op);
    }
}

#[test]
fn a_selection_before_an_inner_vertex_says_nothing_about_noise() {
    let (x, y) = noise(100, 600, 3);
    let nodes = [Node::new("input", []), Node::new("select_k_best", [0]).with("keep", 0.05), Node::new("gaussian_nb", [1])];
    let share = right(&seen_behind(&nodes, &x, &y, 5), &y);
    assert!(share < 0.5 + 5.0 * (0.25_f64 / 100.0).sqrt(), "right at {share} of pure noise");
}

#[test]
fn no_pipeline_predicts_noise() {
    const ROWS: usize = 120;
    let (x, y) = noise(ROWS, 6, 9);
    let mut training = training(ROWS, Task::Classification, 1);
    (training.x, training.y, training.kind) = (x, y, DENSE);
    let operators = pool(Task::Classification).iter().map(|op| op.name().to_owned()).collect();
    let input = automl_ops::space::Input::Dense;
    let space = PipelineSpace::new(PipelineSpec { operators, input, ..PipelineSpec::default() }).unwrap();
    let folds = Validation::Kfold { folds: 3, repeats: 1 };
    let evaluator = TabularEvaluator::new(Arc::new(training), Some(Metric::BalancedAccuracy), folds, 1).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (mut best, mut complete) = (0.0_f64, 0);
    for _ in 0..200 {
        let genotype = sample(&space, &mut rng).unwrap();
        match evaluator.evaluate(&genotype, &mut Context::new(2)) {
            Ok(evaluation) => {
                complete += 1;
                best = best.max(-evaluation.losses[0]);
            }
            Err(Stop::Infeasible(_)) => {}
            Err(stop) => panic!("{genotype}: {stop}"),
        }
    }
    assert!(complete > 150, "only {complete} of 200 random pipelines are feasible");
    // The best of 200 fair coins stays below four and a half standard deviations.
    assert!(best < 0.5 + 4.5 * (0.25 / ROWS as f64).sqrt(), "{best} on pure noise");
}
