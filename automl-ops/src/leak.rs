//! Columns that look as if they held the answer: a feature that predicts the target almost perfectly all by itself.
//!
//! Each column alone gives a small tree that is scored on rows which it did not see. It is only a suspicion, since some targets
//! are that simple: so the bar is high, a table of one feature is left alone, and so is a table in which many columns reach it.

use automl_core::{Cancel, Genotype, Node};

use crate::evaluator::score;
use crate::metrics::{Metric, Task};
use crate::operator::Target;
use crate::pipeline::{self, Data, Pipeline};
use crate::split;
use crate::training::Training;

/// Share of the classes found right (balanced), or of the variance explained, from which a column is suspected.
const BAR: f64 = 0.99;
/// Rows below which chance is too strong to say anything.
const FEW: usize = 50;
/// Cells that are looked at, at most, and rows of them.
const CELLS: usize = 1_000_000;
const ROWS: usize = 4_000;
/// Suspects above which the target is just easy.
const MANY: usize = 3;

/// A column under suspicion.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Its name.
    pub column: String,
    /// Balanced accuracy or R² that it reaches alone, on rows held out.
    pub score: f64,
}

impl Suspect {
    /// What to tell the user.
    pub fn warning(&self, training: &Training) -> String {
        let (column, target) = (&self.column, &training.target_column.name);
        let (name, score) = (metric(training.task()).name(), self.score);
        format!(
            "column `{column}` looks as if it held the answer: alone it predicts `{target}` with a {name} of {score:.3}; \
             if it is not known when a prediction is made, leave it out with `--drop {column}`"
        )
    }
}

fn metric(task: Task) -> Metric {
    if task == Task::Classification { Metric::BalancedAccuracy } else { Metric::R2 }
}

/// The columns of a training table that look as if they held the answer; the seed only says which rows are looked at.
pub fn suspects(training: &Training, seed: u64, cancel: &Cancel) -> Vec<Suspect> {
    let columns = training.x.columns().len();
    if training.rows() < FEW || columns < 2 {
        return Vec::new();
    }
    let most = (CELLS / columns).clamp(2 * FEW, ROWS);
    let parts = pipeline::folds(&training.y, training.rows().div_ceil(most).max(1), seed);
    let looked_at = parts.first().cloned().unwrap_or_default();
    let rows: Vec<u32> = if training.rows() <= most { (0..training.rows() as u32).collect() } else { looked_at };
    let part = training.data().take(&rows);
    let mut found = Vec::new();
    for (index, schema) in training.binding.schema.columns.iter().enumerate() {
        if cancel.is_cancelled() {
            break;
        }
        let x = part.x.select(&[index]);
        let data = Data { x: &x, y: &part.y, weights: None };
        if let Some(score) = alone(&data, seed, cancel).filter(|score| *score >= BAR) {
            found.push(Suspect { column: schema.name.clone(), score });
        }
    }
    if found.len() > MANY { Vec::new() } else { found }
}

/// The score of a small tree on these features, by halves that did not see each other.
fn alone(data: &Data<'_>, seed: u64, cancel: &Cancel) -> Option<f64> {
    let depth = if data.y.task() == Task::Classification { 6_i64 } else { 10 };
    let tree = Node::new("decision_tree", [0]).with("max_depth", depth).with("min_samples_leaf", 2_i64);
    let genotype = Genotype { nodes: vec![Node::new("input", []), tree] };
    let (mut rows, mut predictions) = (Vec::new(), Vec::new());
    for held in pipeline::folds(data.y, 2, seed) {
        let fitting = data.take(&split::complement(data.y.len(), &held));
        let fitted = Pipeline::fit(&genotype, &fitting.x, &fitting.y, seed, cancel).ok()?;
        predictions.extend(fitted.predict(&data.x.take(&held), cancel).ok()?);
        rows.extend(held);
    }
    let truth: Target = data.y.take(&rows);
    score(metric(truth.task()), &truth, &predictions, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{self, ReadOptions};

    fn training(text: &str) -> Training {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        Training::new(table::read(&path, &ReadOptions::default()).unwrap(), "y", None, None).unwrap()
    }

    fn names(training: &Training) -> Vec<String> {
        suspects(training, 1, &Cancel::new()).into_iter().map(|suspect| suspect.column).collect()
    }

    /// Numbers that look random: `a` and `b` decide the class together, neither of them alone.
    fn rows(write: impl Fn(u64, u64, u64) -> String, head: &str) -> String {
        let noise = |row: u64, salt: u64| (row * 2_654_435_761 + salt * 40_503) % 1_009 * 7 % 100;
        (0..400).fold(format!("{head}\n"), |text, row| text + &write(row, noise(row, 1), noise(row, 2)) + "\n")
    }

    #[test]
    fn a_copy_of_the_answer_is_named_and_an_honest_feature_is_not() {
        let class = |a: u64, b: u64| if (a > 50) == (b > 50) { "yes" } else { "no" };
        let honest = rows(|_, a, b| format!("{a},{b},{}", class(a, b)), "a,b,y");
        assert_eq!(names(&training(&honest)), [""; 0]);
        let leaking = rows(
            |_, a, b| format!("{a},{b},{},{}", if class(a, b) == "yes" { "paid" } else { "open" }, class(a, b)),
            "a,b,state,y",
        );
        let training = training(&leaking);
        assert_eq!(names(&training), ["state"]);
        let warning = suspects(&training, 1, &Cancel::new())[0].warning(&training);
        assert!(warning.contains("`state`") && warning.contains("--drop state"), "{warning}");
    }

    #[test]
    fn a_number_that_is_the_target_in_another_unit_is_named() {
        let leaking = rows(|row, a, b| format!("{a},{b},{},{}", 3 * (a * b + row), a * b + row), "a,b,cents,y");
        assert_eq!(names(&training(&leaking)), ["cents"]);
        let honest = rows(|row, a, b| format!("{a},{b},{}", a * b + row % 5), "a,b,y");
        assert_eq!(names(&training(&honest)), [""; 0]);
    }

    #[test]
    fn a_table_of_one_feature_is_left_alone() {
        let simple = rows(|_, a, _| format!("{a},{}", if a > 50 { "yes" } else { "no" }), "a,y");
        assert_eq!(names(&training(&simple)), [""; 0]);
    }
}
