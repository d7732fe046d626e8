//! Several objectives, limits to what a model may take, and warnings about the data and the validation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use common::{Place, curve, people, quadrants};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text.trim_end()).unwrap()
}

fn losses(trial: &Value) -> Vec<f64> {
    trial["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect()
}

fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a != b
}

#[test]
fn several_objectives_give_a_front_that_no_trial_dominates() {
    let place = Place::new();
    place.write("train.csv", &quadrants(240, 1));
    let told = place.run(
        "fit train.csv --target kind --objectives balanced_accuracy,predict_time,model_size --trials 60 --seed 2 --run-dir run \
         --format json",
    );
    let result = json(&told.ok());
    for name in ["balanced_accuracy", "predict_time", "model_size"] {
        assert!(result["scores"][name].is_f64(), "{name} in {result}");
    }
    let trials = place.trials("run");
    let front = place.run("trials run --pareto --format jsonl").ok();
    let front: Vec<Value> = front.lines().map(json).collect();
    assert!(front.len() >= 3 && front.len() < trials.len(), "{}", front.len());
    let complete: Vec<Vec<f64>> = trials.iter().filter(|trial| trial["state"] == "complete").map(losses).collect();
    for member in front.iter().map(losses) {
        assert_eq!(member.len(), 3);
        assert!(!complete.iter().any(|other| dominates(other, &member)), "{member:?}");
    }
    for other in &complete {
        assert!(front.iter().map(losses).any(|member| member == *other || dominates(&member, other)), "{other:?}");
    }
    assert!(trials.iter().all(|trial| trial["state"] != "pruned"), "nobody races in one of several objectives");
    let mut listed: Vec<&Value> = result["pareto"].as_array().unwrap().iter().collect();
    let ids: Vec<&Value> = front.iter().map(|trial| &trial["id"]).collect();
    assert_eq!(ids, std::mem::take(&mut listed));
    let table = place.run("trials run --pareto").ok();
    assert_eq!(table.lines().count(), 1 + front.len());
    for word in ["balanced_accuracy", "predict_time", "model_size", "ns", "kB"] {
        assert!(table.contains(word), "{word} in {table}");
    }
    // The same trials for any number of workers.
    place.run("fit train.csv --target kind --objectives balanced_accuracy,predict_time,model_size --trials 60 --seed 2 --run-dir two --workers 2").ok();
    assert_eq!(place.trials("two"), trials);
}

#[test]
fn a_run_of_one_objective_has_a_front_as_well() {
    let place = Place::new();
    place.write("train.csv", &curve(150, 1));
    place.run("fit train.csv --target price --trials 25 --run-dir run").ok();
    let table = place.run("trials run --pareto").ok();
    assert!(table.lines().next().unwrap().contains("predict_time"), "{table}");
    assert!(table.lines().count() > 2, "{table}");
}

#[test]
fn limits_hold_for_every_candidate_and_for_the_model() {
    let place = Place::new();
    place.write("train.csv", &quadrants(400, 1));
    let fit = "fit train.csv --target kind --trials 50 --seed 1 --format json";
    let free = json(&place.run(&format!("{fit} --run-dir free --out free.automl")).ok());
    let result = json(&place.run(&format!("{fit} --run-dir run --max-predict-time 4us --max-model-size 40kB")).ok());
    let bytes = std::fs::metadata(place.path("model.automl")).unwrap().len();
    assert!(bytes <= 40_000, "{bytes}");
    assert_eq!(result["model_size"].as_u64(), Some(bytes), "counted exactly");
    assert!(result["predict_time"].as_f64().unwrap() <= 4e-6, "{result}");
    assert!(result["predict_time_measured"].as_f64().unwrap() > 0.0, "{result}");
    assert!(free["model_size"].as_u64().unwrap() > 40_000, "the limits must bind: {free}");
    assert_eq!(free["model_size"].as_u64(), Some(std::fs::metadata(place.path("free.automl")).unwrap().len()));
    let trials = place.trials("run");
    for trial in trials.iter().filter(|trial| trial["state"] == "complete") {
        assert!(trial["metrics"]["predict_time"].as_f64().unwrap() <= 4e-6, "{trial}");
        assert!(trial["metrics"]["model_size"].as_f64().unwrap() <= 40_000.0, "{trial}");
    }
    let reasons: Vec<&str> = trials.iter().filter_map(|trial| trial["reason"].as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("max_predict_time")), "{reasons:?}");
    place.run("evaluate model.automl train.csv").ok();
}

#[test]
fn limits_that_nothing_meets_say_how_near_it_came() {
    let place = Place::new();
    place.write("train.csv", &quadrants(200, 1));
    place
        .run("-q fit train.csv --target kind --trials 10 --max-predict-time 1ns")
        .fails(4, &["max_predict_time", "the least took", "a row", "--max-predict-time"]);
    place
        .run("-q fit train.csv --target kind --trials 10 --max-model-size 100B --out small.automl")
        .fails(4, &["max_model_size", "kB", "--max-model-size"]);
}

#[test]
fn objectives_and_limits_that_make_no_sense_are_refused() {
    let place = Place::new();
    place.write("train.csv", &quadrants(100, 1));
    let fit = "fit train.csv --target kind --trials 3";
    place.run(&format!("{fit} --objectives predict_time")).fails(2, &["must be a metric"]);
    place.run(&format!("{fit} --objectives balanced_accuracy,rmse")).fails(2, &["rmse", "kind"]);
    place.run(&format!("{fit} --objectives accuracy,model_size,model_size")).fails(2, &["twice"]);
    place.run(&format!("{fit} --objectives accuracy,model_sise")).fails(2, &["model_size"]);
    place.run(&format!("{fit} --max-predict-time 5")).fails(2, &["50us"]);
    place.run(&format!("{fit} --max-model-size big")).fails(2, &["5MB"]);
    place.run(&format!("{fit} --drop nothing")).fails(3, &["nothing"]);
    place.run(&format!("{fit} --drop kind")).fails(3, &["is the target"]);
}

#[test]
fn a_column_that_holds_the_answer_is_named_and_can_be_dropped() {
    let place = Place::new();
    let honest = people(300, 1);
    let leaking: String = honest
        .lines()
        .enumerate()
        .map(|(row, line)| {
            let paid = if line.ends_with("no") { "0" } else { "1" };
            format!("{},{line}\n", if row == 0 { "paid" } else { paid })
        })
        .collect();
    place.write("honest.csv", &honest);
    place.write("leaking.csv", &leaking);
    let said = place.run("-q fit leaking.csv --target label --trials 4").stderr;
    assert!(said.contains("`paid`") && said.contains("--drop paid"), "{said}");
    let said = place.run("-q fit leaking.csv --target label --trials 4 --drop paid --run-dir run").stderr;
    assert!(!said.contains("paid"), "{said}");
    let said = place.run("-q fit honest.csv --target label --trials 4").stderr;
    assert!(!said.contains("holds the answer") && !said.contains("--drop"), "{said}");
    // The model does not ask for what it was trained without.
    place.run("evaluate model.automl honest.csv").ok();
    let dropped = place.run("-q fit leaking.csv --target label --trials 4 --drop paid --out dropped.automl").ok();
    assert!(!dropped.is_empty());
    place.run("predict dropped.automl honest.csv").ok();
}
