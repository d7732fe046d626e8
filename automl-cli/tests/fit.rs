//! The main job: from a table to a model, to predictions, to scores; and what the program says where it cannot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use std::collections::BTreeSet;

use common::{Place, csv_rows, curve, data, people, quadrants};
use serde_json::Value;

#[track_caller]
fn object(text: &str) -> Value {
    assert_eq!(text.trim_end().lines().count(), 1, "one line: {text}");
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value.is_object(), "{text}");
    value
}

/// Predicts with probabilities and checks what every prediction of classes promises.
#[track_caller]
fn check_classes(place: &Place, test: &str, rows: usize, labels: &BTreeSet<String>) {
    let plain = csv_rows(&place.run(&format!("predict model.automl {test}")).ok());
    assert_eq!(plain[0], ["prediction"]);
    let with = csv_rows(&place.run(&format!("predict model.automl {test} --proba")).ok());
    assert_eq!((plain.len(), with.len()), (rows + 1, rows + 1));
    let header: BTreeSet<String> = with[0][1..].iter().map(|name| name.strip_prefix("proba_").unwrap().to_owned()).collect();
    assert_eq!(header, *labels);
    for (plain, row) in plain[1..].iter().zip(&with[1..]) {
        assert_eq!(plain[0], row[0]);
        assert!(labels.contains(&row[0]), "{row:?}");
        let chances: Vec<f64> = row[1..].iter().map(|chance| chance.parse().unwrap()).collect();
        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{row:?}");
        let top = (0..chances.len()).max_by(|a, b| chances[*a].total_cmp(&chances[*b])).unwrap();
        assert!(with[0][1 + top] == format!("proba_{}", row[0]) || chances.iter().filter(|c| **c == chances[top]).count() > 1);
    }
}

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn two_classes_with_texts_dates_and_holes() {
    let place = Place::new();
    place.write("train.csv", &people(240, 1));
    place.write("test.csv", &people(60, 2));
    let ran = place.run("fit train.csv --target label --trials 8 --seed 3 --format json");
    assert!(ran.stderr.contains("trials 8/8"), "progress goes to stderr: {}", ran.stderr);
    let result = object(&ran.ok());
    for key in ["scores", "metrics", "genotype", "trial", "trials", "failed", "ended", "model", "run_dir", "seconds"] {
        assert!(result.get(key).is_some(), "{key} in {result}");
    }
    assert_eq!(result["trials"], 8);
    assert!(result["scores"]["balanced_accuracy"].as_f64().unwrap() > 0.6, "{result}");
    check_classes(&place, "test.csv", 60, &labels(&["yes, sure", "no"]));
    let scores = object(&place.run("evaluate model.automl test.csv --format json").ok());
    assert_eq!(scores["rows"], 60);
    for name in ["balanced_accuracy", "accuracy", "roc_auc", "log_loss", "f1"] {
        assert!(scores["metrics"][name].is_f64(), "{name} in {scores}");
    }
    // The target may be missing from a table to predict, and columns may come in any order.
    let shuffled: String =
        csv_rows(&people(60, 2)).iter().map(|row| format!("{},{},{},{}\n", row[3], row[2], row[1], row[0])).collect();
    place.write("shuffled.csv", &shuffled);
    assert_eq!(place.run("predict model.automl shuffled.csv").ok(), place.run("predict model.automl test.csv").ok());
    place.run("predict model.automl test.csv --out predictions.csv").ok();
    assert_eq!(std::fs::read_to_string(place.path("predictions.csv")).unwrap(), place.run("predict model.automl test.csv").ok());
}

#[test]
fn many_classes_named_by_numbers() {
    let place = Place::new();
    place.write("train.csv", &quadrants(200, 1));
    place.write("test.csv", &quadrants(50, 2));
    place.run("-q fit train.csv --target kind --task classification --trials 6").ok();
    check_classes(&place, "test.csv", 50, &labels(&["1", "2", "3", "4"]));
    let scores = object(&place.run("evaluate model.automl test.csv --format json").ok());
    assert!(scores["metrics"]["accuracy"].as_f64().unwrap() > 0.8, "{scores}");
}

#[test]
fn values() {
    let place = Place::new();
    place.write("train.csv", &curve(200, 1));
    place.write("test.csv", &curve(50, 2));
    let result = object(&place.run("-q fit train.csv --target price --trials 6 --out price.automl --format json").ok());
    assert!(result["scores"]["rmse"].as_f64().unwrap() < 2.0, "{result}");
    let rows = csv_rows(&place.run("predict price.automl test.csv").ok());
    assert_eq!((rows.len(), rows[0].as_slice()), (51, ["prediction".to_owned()].as_slice()));
    assert!(rows[1..].iter().all(|row| row[0].parse::<f64>().unwrap().is_finite()));
    let scores = object(&place.run("evaluate price.automl test.csv --format json").ok());
    for name in ["rmse", "mae", "r2"] {
        assert!(scores["metrics"][name].is_f64(), "{name} in {scores}");
    }
    place.run("predict price.automl test.csv --proba").fails(2, &["--proba", "predicts values"]);
}

#[test]
fn ends_by_the_clock_with_a_model() {
    let place = Place::new();
    place.write("train.csv", &people(240, 1));
    let result = object(&place.run("-q fit train.csv --target label --time-limit 2s --format json").ok());
    assert!(result["trials"].as_u64().unwrap() > 0);
    check_classes(&place, "train.csv", 240, &labels(&["yes, sure", "no"]));
}

#[test]
fn quiet_says_nothing_but_the_result() {
    let place = Place::new();
    place.write("train.csv", &quadrants(120, 1));
    let ran = place.run("fit train.csv --target kind --task classification --trials 3 -q");
    assert_eq!(ran.stderr, "");
    let result = ran.ok();
    assert!(result.contains("model.automl") && result.contains("balanced_accuracy"), "{result}");
    assert!(result.lines().all(|line| line.chars().count() <= 160), "{result}");
    place.write(
        "odd.csv",
        &people(60, 1).replace(",label", ",label,same").replace("no\n", "no,1\n").replace("sure\"\n", "sure\",1\n"),
    );
    let told = place.run("fit odd.csv --target label --trials 1 --out odd.automl");
    assert!(told.stderr.contains("`same` is left out"), "{}", told.stderr);
    assert!(told.ok().contains("of 1 trial ("));
    assert_eq!(place.run("-q fit odd.csv --target label --trials 1 --out odd.automl").stderr, "");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Place::new();
    place.write("train.csv", &people(60, 1));
    place.run("fit train.csv --target label --trails 3").fails(2, &["--trails", "--trials"]);
    place.run("fit train.csv --target label --trials 0").fails(2, &["--trials"]);
    place.run("fit train.csv --target label --time-limit soon").fails(2, &["--time-limit"]);
    place.run("fit train.csv --target label --metric acuracy").fails(2, &["acuracy", "accuracy"]);
    place.run("fit train.csv --target label --metric rmse").fails(2, &["rmse", "balanced_accuracy"]);
    place.run("fit train.csv --target label --strategy randm").fails(2, &["randm", "random"]);
    place
        .run("fit train.csv --target label --trials 3 --set strategy.evolution.populaton=5")
        .fails(2, &["populaton", "population"]);
    place.run("fit").fails(2, &["--target"]);
    place.run("predct model.automl train.csv").fails(2, &["predict"]);
    assert!(!place.path("model.automl").exists());
}

#[test]
fn bad_data_is_exit_code_3() {
    let place = Place::new();
    place.write("train.csv", &people(60, 1));
    place.run("fit train.csv --target lable --trials 3").fails(3, &["lable", "label"]);
    place.run("fit trian.csv --target label --trials 3").fails(3, &["trian.csv"]);
    place.write("empty.csv", "");
    place.run("fit empty.csv --target label --trials 3").fails(3, &["empty.csv"]);
    place.write("header.csv", "a,label\n");
    place.run("fit header.csv --target label --trials 3").fails(3, &["header.csv"]);
    std::fs::write(place.path("broken.csv"), b"a,label\n1,x\n2,\"y\n3,z\n").unwrap();
    place.run("fit broken.csv --target label --trials 3").fails(3, &["broken.csv"]);
    std::fs::write(place.path("noise.parquet"), [7_u8; 300]).unwrap();
    place.run("fit noise.parquet --target label --trials 3").fails(3, &["noise.parquet"]);
    place.write("one.csv", &people(60, 1).replace("\"yes, sure\"", "no"));
    place.run("fit one.csv --target label --trials 3").fails(3, &["label"]);
    place.run("fit . --target label --trials 3").fails(3, &[]);
    assert!(!place.path("model.automl").exists());
    assert!(!place.path("runs").exists(), "a run that cannot begin leaves no directory");
}

#[test]
fn a_model_or_a_table_that_does_not_fit_is_exit_code_3() {
    let place = Place::new();
    place.write("train.csv", &people(80, 1));
    place.run("-q fit train.csv --target label --trials 2").ok();
    place.run("predict no.automl train.csv").fails(3, &["no.automl"]);
    place.write("junk.automl", "this is not a model");
    place.run("predict junk.automl train.csv").fails(3, &["junk.automl"]);
    place.write("empty.automl", "");
    place.run("predict empty.automl train.csv").fails(3, &["empty.automl"]);
    let model = std::fs::read(place.path("model.automl")).unwrap();
    std::fs::write(place.path("half.automl"), &model[..model.len() / 2]).unwrap();
    place.run("predict half.automl train.csv").fails(3, &["half.automl"]);
    let mut flipped = model;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    std::fs::write(place.path("flipped.automl"), flipped).unwrap();
    place.run("predict flipped.automl train.csv").fails(3, &["flipped.automl"]);
    let narrow: String = csv_rows(&people(20, 2)).iter().map(|row| format!("{},{},{}\n", row[0], row[2], row[3])).collect();
    place.write("narrow.csv", &narrow);
    place.run("predict model.automl narrow.csv").fails(3, &["narrow.csv", "income"]);
    place.run("evaluate model.automl narrow.csv").fails(3, &["narrow.csv"]);
}

#[test]
fn no_model_within_the_budget_is_exit_code_4() {
    let place = Place::new();
    place.write("train.csv", &people(80, 1));
    let config = "study = { starts = false }\nstrategy = { type = \"random\" }\n\n[evaluator]\ntype = \"tabular\"\n\
                  train = \"train.csv\"\ntarget = \"label\"\n\n[space]\ntype = \"pipeline\"\ninput = \"dense\"\noperators = [\"lda\"]\n";
    place.write("search.toml", config);
    place.run("-q search search.toml --trials 3").fails(4, &["no trial was complete", "3 tried"]);
    place.run("-q fit train.csv --target label --time-limit 1ms").fails(4, &["no trial was complete"]);
    // Even then there is a model, the constant one, and the message names it.
    assert_eq!(csv_rows(&place.run("predict model.automl train.csv").ok()).len(), 81);
}

#[test]
fn an_older_model_is_not_called_a_constant() {
    let place = Place::new();
    place.write("train.csv", &people(80, 1));
    place.run("-q fit train.csv --target label --trials 2").ok();
    let said = place.run("-q fit train.csv --target label --time-limit 1ms").fails(4, &["model.automl"]);
    assert!(!said.contains("constant"), "{said}");
}

#[test]
fn real_tables() {
    let Some(data) = data() else { return };
    for (name, target) in [("titanic_kaggle", "Survived"), ("anneal", "class"), ("jobs_hr", "target")] {
        let place = Place::new();
        let folder = data.join("tabular").join(name);
        let (train, test) = (folder.join("train.csv"), folder.join("test.csv"));
        let (train, test) = (train.display().to_string(), test.display().to_string());
        place.run(&format!("-q fit {train} --target {target} --task classification --trials 6")).ok();
        let rows = csv_rows(&std::fs::read_to_string(&test).unwrap());
        let column = rows[0].iter().position(|column| column == target).unwrap();
        let known = csv_rows(&std::fs::read_to_string(&train).unwrap());
        let labels = known[1..].iter().map(|row| row[column].clone()).collect();
        check_classes(&place, &test, rows.len() - 1, &labels);
        let scores = object(&place.run(&format!("evaluate model.automl {test} --format json")).ok());
        assert!(scores["metrics"]["balanced_accuracy"].as_f64().unwrap() > 0.5, "{name}: {scores}");
    }
}
