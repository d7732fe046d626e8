//! From a file to a training table: what the target is, which columns count, how later tables become frames.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::fs;

use automl_core::{Cancel, Genotype, Node};
use automl_ops::dataset::{Binding, TargetColumn};
use automl_ops::frame::Values;
use automl_ops::kinds::{DENSE, NUMERIC, RAW};
use automl_ops::operator::Target;
use automl_ops::pipeline::Pipeline;
use automl_ops::table::{ColumnData, ReadOptions, Table, TableColumn};
use automl_ops::{About, Model, Task, Training};
use common::{bits, table};

/// A training table read from a CSV with the columns `x` and `y`, and the values of `y` given.
fn read(values: &[&str], task: Option<Task>) -> Result<Training, String> {
    let rows: Vec<String> = values.iter().enumerate().map(|(row, y)| format!("{},{y}\n", row * row % 7)).collect();
    read_csv(&format!("x,y\n{}", rows.concat()), "y", task)
}

fn read_csv(text: &str, target: &str, task: Option<Task>) -> Result<Training, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.csv");
    fs::write(&path, text).unwrap();
    Training::read(&path, target, None, task, &ReadOptions::default()).map_err(|error| error.to_string())
}

fn codes(training: &Training) -> (&[u32], Vec<&str>) {
    match &training.y {
        Target::Classes { codes, classes } => {
            assert_eq!(*classes, training.labels.len());
            (codes, training.labels.iter().map(String::as_str).collect())
        }
        Target::Values(values) => panic!("values: {values:?}"),
    }
}

fn values(training: &Training) -> &[f64] {
    match &training.y {
        Target::Values(values) => values,
        Target::Classes { codes, .. } => panic!("classes: {codes:?}"),
    }
}

fn numeric(name: &str, values: &[f64]) -> TableColumn {
    TableColumn::new(name, ColumnData::Numeric(values.to_vec()))
}

fn of(columns: Vec<TableColumn>) -> Table {
    let rows = columns.first().map_or(0, |column| column.data.len());
    Table { name: "t.csv".into(), columns, rows, warnings: Vec::new() }
}

#[test]
fn the_target_cannot_weigh_the_rows() {
    let table = of(vec![numeric("x", &[1.0, 2.0, 3.0]), numeric("y", &[1.0, 2.0, 4.0])]);
    let error = Training::new(table, "y", Some("y"), None).unwrap_err().to_string();
    assert_eq!(error, "t.csv: the weights `y` cannot be used: it is the target, which cannot also say how much a row counts");
}

#[test]
fn labels_speak_as_the_file_does() {
    for (given, labels) in [
        (["Yes", "No", "Yes", "No", "No"], ["No", "Yes"]),
        (["true", "false", "true", "true", "false"], ["false", "true"]),
        (["TRUE", "FALSE", "TRUE", "TRUE", "FALSE"], ["FALSE", "TRUE"]),
        (["b", "a", "a", "b", "a"], ["a", "b"]),
        (["1", "0", "0", "1", "0"], ["0", "1"]),
        (["10", "9", "9", "10", "9"], ["9", "10"]),
        (["1.0", "2.0", "2.0", "1.0", "2.0"], ["1", "2"]),
    ] {
        let training = read(&given, None).unwrap();
        let (codes, found) = codes(&training);
        assert_eq!(found, labels, "{given:?}");
        let spoken: Vec<&str> = codes.iter().map(|&code| found[code as usize]).collect();
        assert!(spoken.iter().zip(given).all(|(spoken, given)| *spoken == given || given.starts_with(spoken)), "{spoken:?}");
    }
}

#[test]
fn whole_numbers_are_classes_when_few_unless_the_task_says_otherwise() {
    let few = ["3", "1", "2", "3", "1", "2"];
    assert_eq!(codes(&read(&few, None).unwrap()).0, [2, 0, 1, 2, 0, 1]);
    assert_eq!(values(&read(&few, Some(Task::Regression)).unwrap()), [3.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
    let many: Vec<String> = (0..42).map(|row| (row % 21).to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&many, None).unwrap().task(), Task::Regression);
    assert_eq!(codes(&read(&many, Some(Task::Classification)).unwrap()).1.len(), 21);
    assert_eq!(read(&["0.5", "1", "2", "1"], None).unwrap().task(), Task::Regression);
    let error = read(&["a", "b", "a"], Some(Task::Regression)).unwrap_err();
    assert!(error.contains("a regression needs numbers") && error.contains("`y`"), "{error}");
    let error = read(&["yes", "no", "yes"], Some(Task::Regression)).unwrap_err();
    assert!(error.contains("a regression needs numbers"), "{error}");
    let error = read(&["2020-01-01", "2020-01-02", "2021-01-01"], None).unwrap_err();
    assert!(error.contains("dates"), "{error}");
}

#[test]
fn minus_zero_is_the_class_of_zero() {
    let mut table = of(vec![numeric("x", &[1.0, 2.0, 3.0, 4.0]), numeric("y", &[0.0, -0.0, 1.0, 0.0])]);
    let target = TargetColumn::take(&mut table, "y", None).unwrap();
    assert_eq!((target.labels, target.missing), (vec!["0".to_owned(), "1".to_owned()], 0));
    assert_eq!(target.target, Target::Classes { codes: vec![0, 0, 1, 0], classes: 2 });
}

#[test]
fn rows_without_a_target_are_left_out_with_a_note() {
    for (given, task) in
        [(["a", "", "b", "?", "a", "b"], Task::Classification), (["1.5", "", "2.5", "NA", "1", "3"], Task::Regression)]
    {
        let training = read(&given, None).unwrap();
        assert_eq!((training.task(), training.rows(), training.y.len()), (task, 4, 4));
        assert!(training.notes.iter().any(|note| note.contains("2 rows have no `y`")), "{:?}", training.notes);
        // The rows 0, 2, 4 and 5 of x = row² mod 7.
        assert_eq!(training.x.numeric(0).unwrap(), [0.0, 4.0, 2.0, 4.0]);
    }
    assert!(read(&["a", "b", "a"], None).unwrap().notes.is_empty());
}

#[test]
fn a_target_that_differs_in_its_last_digits_has_a_note() {
    let training = read(&["1700000001.5", "1700000002.5", "1700000009.5"], None).unwrap();
    assert!(
        training.notes.iter().any(|note| note.contains("last digits") && note.contains("1700000006")),
        "{:?}",
        training.notes
    );
    assert!(read(&["1.5", "2.5", "9.5"], None).unwrap().notes.is_empty());
}

#[test]
fn a_target_that_teaches_nothing_is_an_error_that_says_why() {
    for (given, says) in [
        (["a", "a", "a"], "one class"),
        (["1", "1", "1"], "one class"),
        (["", "", ""], "missing"),
        (["yes", "yes", ""], "one class"),
    ] {
        let error = read(&given, None).unwrap_err();
        assert!(error.contains(says) && error.contains("`y`"), "{given:?}: {error}");
    }
    let error = read(&["2.5", "2.5", "2.5"], None).unwrap_err();
    assert!(error.contains("all its values are equal"), "{error}");
    let error = read(&["1e30", "2.5", "3"], None).unwrap_err();
    assert!(error.contains("beyond 1e18"), "{error}");
    let error = read_csv("price,rooms\n1,2\n2,3\n", "prices", None).unwrap_err();
    assert!(error.contains("did you mean `price`"), "{error}");
    let error = read_csv("k,y\n1,a\n1,b\n", "y", None).unwrap_err();
    assert!(error.contains("train.csv"), "{error}");
    let error = read_csv("y\na\nb\n", "y", None).unwrap_err();
    assert!(error.contains("train.csv"), "{error}");
}

#[test]
fn columns_without_information_are_left_out_with_a_note() {
    let training = read_csv("k,e,x,m,y\n1,,1,5,a\n1,,2,,b\n1,,3,5,a\n", "y", None).unwrap();
    let names: Vec<&str> = training.binding.schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["x", "m"], "whether a value is missing may say something");
    assert_eq!(training.notes.len(), 2, "{:?}", training.notes);
    assert!(training.notes[0].contains("`k`") && training.notes[0].contains("equal"), "{:?}", training.notes);
    assert!(training.notes[1].contains("`e`") && training.notes[1].contains("missing"), "{:?}", training.notes);
}

#[test]
fn large_offsets_keep_their_digits() {
    let stamps: Vec<f64> = (0..50).map(|row| 1.7e9 + f64::from(row)).collect();
    let mixed: Vec<f64> = (0..50).map(|row| 1e6 * f64::from(row)).collect();
    let equal_but_one: Vec<f64> = (0..50).map(|row| if row == 0 { -1e17 } else { -1e17 + 64.0 }).collect();
    let training = of(vec![numeric("stamp", &stamps), numeric("mixed", &mixed), numeric("low", &equal_but_one)]);
    let binding = Binding::new(&training).unwrap();
    let frame = binding.frame(&training).unwrap();
    let steps: Vec<f32> = frame.numeric(0).unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step == 1.0), "{steps:?}");
    assert_eq!(binding.offsets[1], 0.0);
    let low = frame.numeric(2).unwrap();
    assert!(low[0] < low[1], "{low:?}");
    // A later value is placed on the same scale.
    let later = of(vec![numeric("stamp", &[1.7e9 + 60.0]), numeric("mixed", &[3.0]), numeric("low", &[0.0])]);
    let later = binding.frame(&later).unwrap();
    assert_eq!(later.numeric(0).unwrap()[0] - frame.numeric(0).unwrap()[0], 60.0);
    assert!(later.numeric(2).unwrap()[0].is_finite());
    let extremes = [f64::MAX, -f64::MAX, 0.0, 1.0];
    let extreme = of(vec![numeric("x", &extremes)]);
    let frame = Binding::new(&extreme).unwrap().frame(&extreme).unwrap();
    assert!(frame.numeric(0).unwrap().iter().all(|value| value.is_finite() && value.abs() <= 1e18 * 1.000_001), "{frame:?}");
}

#[test]
fn the_kind_is_the_narrowest_that_fits() {
    let kind = |text: &str| read_csv(text, "y", None).unwrap().kind;
    assert_eq!(kind("a,b,y\n1,yes,u\n2,no,v\n3,yes,u\n"), DENSE);
    assert_eq!(kind("a,b,y\n1,yes,u\n,no,v\n3,yes,u\n"), NUMERIC);
    assert_eq!(kind("a,b,y\n1,yes,u\n2,,v\n3,no,u\n"), NUMERIC);
    assert_eq!(kind("a,b,y\n1,p,u\n,q,v\n3,p,u\n"), RAW);
}

/// A model of one dense estimator, trained on a CSV.
fn dense_model(text: &str, steps: &[&str]) -> Model {
    let training = read_csv(text, "y", None).unwrap();
    let steps = steps.iter().enumerate().map(|(index, name)| Node::new(*name, [index]));
    let genotype = Genotype { nodes: [Node::new("input", [])].into_iter().chain(steps).collect() };
    let pipeline = Pipeline::fit(&genotype, &training.x, &training.y, 1, &Cancel::new()).unwrap();
    Model::new(About::new(&training, training.task().default_metric(), None, 1), vec![pipeline])
}

fn predict(model: &Model, text: &str) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.csv");
    fs::write(&path, text).unwrap();
    let predictions = model.predict(&model.read(&path, false).unwrap(), &Cancel::new()).unwrap();
    assert!(predictions.values.iter().all(|value| value.is_finite()));
    bits(&predictions.values)
}

#[test]
fn a_value_missing_only_later_counts_as_the_median() {
    let text = "a,f,y\n1,yes,u\n2,no,v\n3,yes,u\n4,yes,u\n9,no,v\n";
    let model = dense_model(text, &["standard_scale", "logistic"]);
    assert_eq!(predict(&model, "a,f\n,yes\n5,\n"), predict(&model, "a,f\n3,yes\n5,yes\n"));
    // Also where the column keeps its last digits by an offset.
    let text = "a,f,y\n1700000001,yes,u\n1700000002,no,v\n1700000003,yes,u\n1700000004,yes,u\n1700000009,no,v\n";
    let model = dense_model(text, &["standard_scale", "logistic"]);
    assert_eq!(predict(&model, "a,f\n,yes\n"), predict(&model, "a,f\n1700000003,yes\n"));
}

#[test]
fn an_unseen_category_is_a_missing_one() {
    let text = "c,x,y\np,1,u\nq,2,v\np,3,u\nq,4,v\np,5,u\nq,6,v\n";
    for steps in [&["decision_tree"][..], &["one_hot", "impute", "logistic"], &["ordinal", "impute", "knn"]] {
        let model = dense_model(text, steps);
        assert_eq!(predict(&model, "x,c,more\n1,zebra,1\n"), predict(&model, "c,x\n,1\n"), "{steps:?}");
    }
}

#[test]
fn rows_with_labels_that_the_model_does_not_know_are_left_out_of_an_evaluation() {
    let labels = ["a".to_owned(), "b".to_owned()];
    let levels = ["b", "c", "a"].map(str::to_owned).to_vec();
    let codes = vec![0, 1, 2, u32::MAX, 0];
    let labelled = of(vec![TableColumn::new("y", ColumnData::Category { codes, levels })]);
    let (truth, rows) = TargetColumn::truth(&labelled, "y", &labels).unwrap();
    assert_eq!((truth, rows), (Target::Classes { codes: vec![1, 0, 1], classes: 2 }, vec![0, 2, 4]));
    let unknown = of(vec![TableColumn::new("y", ColumnData::Text(vec![Some("z".into()), None]))]);
    assert!(TargetColumn::truth(&unknown, "y", &labels).is_err());
    let numbers = of(vec![numeric("y", &[2.0, f64::NAN, -0.0, 7.0])]);
    let (truth, rows) = TargetColumn::truth(&numbers, "y", &["0".to_owned(), "2".to_owned()]).unwrap();
    assert_eq!((truth, rows), (Target::Classes { codes: vec![1, 0], classes: 2 }, vec![0, 2]));
    assert_eq!(TargetColumn::truth(&numbers, "y", &[]).unwrap().1, [0, 2, 3]);
    assert!(TargetColumn::truth(&numbers, "z", &[]).is_err());
}

#[test]
fn a_labelled_file_is_read_as_the_training_file_was() {
    for (given, labels) in [("yes", ["no", "yes"]), ("b", ["a", "b"]), ("2", ["1", "2"])] {
        let [first, second] = labels;
        let text = format!("x,y\n1,{first}\n2,{second}\n3,{first}\n4,{second}\n");
        let model = dense_model(&text, &["knn"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.csv");
        // One label alone would read as another type on its own.
        fs::write(&path, format!("y,x\n{given},1\n{given},2\nother,3\n")).unwrap();
        let read = model.read(&path, true).unwrap();
        let (truth, rows) = TargetColumn::truth(&read, "y", &model.about.labels).unwrap();
        assert_eq!((truth, rows), (Target::Classes { codes: vec![1, 1], classes: 2 }, vec![0, 1]), "{given}");
    }
}

#[test]
fn a_table_with_other_categories_or_without_a_column_is_an_error() {
    let training = table(20, Task::Classification, 1);
    let binding = Binding::new(&training).unwrap();
    let frame = binding.frame(&training).unwrap();
    assert_eq!(frame.columns().len(), 7, "the target counts as a column here");
    assert!(matches!(frame.columns()[2].values(), Values::Category { levels: 4, .. }));
    let mut other = training.clone();
    other.columns[2].data = ColumnData::Category { codes: vec![0; 20], levels: vec!["x".into()] };
    assert!(binding.frame(&other).is_err());
    let mut other = training.clone();
    other.columns.remove(0);
    let error = binding.frame(&other).unwrap_err().to_string();
    assert!(error.contains("`a`"), "{error}");
    let mut other = training;
    other.columns[0].data = ColumnData::Text(vec![None; 20]);
    let error = binding.frame(&other).map(|frame| format!("{:?}", frame.columns()[0].values())).unwrap_err().to_string();
    assert!(error.contains("`a`"), "{error}");
    assert_eq!(binding.no_rows().columns().len(), 7);
}
