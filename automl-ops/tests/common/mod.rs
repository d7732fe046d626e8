//! What several integration tests need: a mixed table, one pipeline for every operator, an evaluation context.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use automl_core::operator::defaults;
use automl_core::{Cancel, EvalContext, Genotype, Node, Stop};
use automl_ops::frame::Frame;
use automl_ops::kinds::{NUMERIC, PREDICTION, RAW};
use automl_ops::operator::{TabularOperator, operators};
use automl_ops::table::{ColumnData, Table, TableColumn};
use automl_ops::{Task, Training};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Linked operators that serve a task, without those that a test registers itself.
pub fn pool(task: Task) -> Vec<&'static dyn TabularOperator> {
    operators().into_iter().filter(|op| op.tasks().contains(&task) && !op.name().contains('/')).collect()
}

/// The encoders and imputers that an operator needs behind raw columns, and the operator.
pub fn front(op: &dyn TabularOperator) -> Vec<Node> {
    let reads: Vec<_> = op.inputs().into_iter().flat_map(|port| port.accepts).collect();
    let before: &[&str] = if reads.contains(&RAW) {
        &[]
    } else if reads.contains(&NUMERIC) {
        &["one_hot"]
    } else {
        &["one_hot", "impute"]
    };
    let mut nodes = vec![Node::new("input", [])];
    for name in before.iter().copied().chain([op.name()]) {
        let mut node = Node::new(name, [nodes.len() - 1]);
        node.params = defaults(&automl_ops::operator::operator(name).unwrap().params());
        nodes.push(node);
    }
    nodes
}

/// A pipeline over raw columns that contains an operator, with its defaults.
pub fn pipeline_with(op: &dyn TabularOperator) -> Genotype {
    let mut nodes = front(op);
    if op.output() != PREDICTION {
        nodes.push(Node::new("decision_tree", [nodes.len() - 1]));
    }
    Genotype { nodes }
}

/// A table of numbers with missing values, categories, dates, texts and truth values, and a target `y` that depends on them.
pub fn table(rows: usize, task: Task, seed: u64) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers = |shift: f64| -> Vec<f64> {
        let draw = |row: usize| if row % 11 == 5 { f64::NAN } else { shift * (row % 3) as f64 + rng.random::<f64>() };
        (0..rows).map(draw).collect()
    };
    let columns = [
        ("a", ColumnData::Numeric(numbers(0.5))),
        ("b", ColumnData::Numeric(numbers(0.0))),
        (
            "c",
            ColumnData::Category {
                codes: (0..rows as u32).map(|row| (row * 5 + row / 7) % 4).collect(),
                levels: ["n", "o", "s", "w"].map(str::to_owned).to_vec(),
            },
        ),
        ("d", ColumnData::DateTime((0..rows).map(|row| 1.6e9 + 9e4 * (row * 13 % 97) as f64).collect())),
        ("t", ColumnData::Text((0..rows).map(|row| Some(Arc::from("word ".repeat(row * 3 % 5).as_str()))).collect())),
        ("f", ColumnData::Boolean((0..rows).map(|row| (row % 6 != 1).then_some(row % 4 < 2)).collect())),
        (
            "y",
            match task {
                Task::Classification => ColumnData::Category {
                    codes: (0..rows as u32).map(|row| u32::from(row * 7 % 10 < 5) ^ u32::from(row % 3 == 0)).collect(),
                    levels: ["no", "yes"].map(str::to_owned).to_vec(),
                },
                // Distinct, so that a change smaller than a step keeps every rank.
                Task::Regression => {
                    ColumnData::Numeric((0..rows).map(|row| (row * 17 % 101) as f64 + (row % 3) as f64 / 10.0).collect())
                }
            },
        ),
    ];
    let columns = columns.map(|(name, data)| TableColumn::new(name, data)).to_vec();
    Table { name: "made_up.csv".into(), columns, rows, warnings: Vec::new() }
}

/// The table made ready.
pub fn training(rows: usize, task: Task, seed: u64) -> Training {
    Training::new(table(rows, task, seed), "y", None, None).unwrap()
}

/// The bits of predictions, so that comparisons are exact.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Some rows of other features than those of the training rows.
pub fn probe(rows: usize) -> Frame {
    training(rows, Task::Classification, 99).x
}

/// A context as the study gives it.
pub struct Context {
    pub seed: u64,
    pub fidelity: f64,
    pub cancel: Cancel,
    pub reported: Vec<(u64, Vec<f64>)>,
}

impl Context {
    pub fn new(seed: u64) -> Self {
        Self { seed, fidelity: 1.0, cancel: Cancel::new(), reported: Vec::new() }
    }
}

impl EvalContext for Context {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn fidelity(&self) -> f64 {
        self.fidelity
    }

    fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn report(&mut self, step: u64, losses: &[f64]) -> Result<(), Stop> {
        self.reported.push((step, losses.to_vec()));
        Ok(())
    }
}
