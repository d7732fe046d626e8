//! Any strategy, any space, any evaluator, by changing one line; configs in three languages; what the listings print.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use std::io::{BufRead, BufReader};

use common::{Place, data, people};
use serde_json::Value;

const TOML: &str = r#"seed = 4

[study]
trials = 12
workers = 2

[strategy]
type = "STRATEGY"

[evaluator]
type = "tabular"
train = "train.csv"
target = "label"
"#;

const YAML: &str = "seed: 4
study:
  trials: 12
  workers: 2
strategy:
  type: STRATEGY
evaluator:
  type: tabular
  train: train.csv
  target: label
";

const JSON: &str = r#"{
  "seed": 4,
  "study": { "trials": 12, "workers": 2 },
  "strategy": { "type": "STRATEGY" },
  "evaluator": { "type": "tabular", "train": "train.csv", "target": "label" }
}
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("train.csv", &people(80, 1));
    place
}

/// Names of the plugins of a kind, as `automl plugins` lists them.
fn names(place: &Place, kind: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(&place.run(&format!("plugins --kind {kind} --format json")).ok()).unwrap();
    list.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_line_changes_the_strategy_in_any_language() {
    let place = place();
    for strategy in ["random", "regularized_evolution", "graph_evolution", "darwin", "bayes", "tpe"] {
        let runs = [("toml", TOML), ("yaml", YAML), ("json", JSON)].map(|(extension, text)| {
            let file = format!("search.{extension}");
            place.write(&file, &text.replace("STRATEGY", strategy));
            let dir = format!("{strategy}-{extension}");
            place.run(&format!("-q search {file} --run-dir {dir}")).ok();
            place.trials(&dir)
        });
        assert_eq!(runs[0].len(), 12);
        assert_eq!(runs[0], runs[1], "{strategy}: TOML and YAML");
        assert_eq!(runs[0], runs[2], "{strategy}: TOML and JSON");
        let resolved = std::fs::read_to_string(place.path(&format!("{strategy}-yaml/run.toml"))).unwrap();
        assert!(resolved.contains(&format!("type = \"{strategy}\"")), "{resolved}");
    }
    assert!(!place.path("model.automl").exists(), "a search writes no model unless told to");
}

#[test]
fn every_combination_has_an_example_that_checks() {
    let place = place();
    let data = data();
    let (strategies, evaluators) = (names(&place, "strategy"), names(&place, "evaluator"));
    assert!(strategies.len() >= 3 && evaluators.len() >= 2, "{strategies:?} {evaluators:?}");
    for strategy in &strategies {
        for evaluator in &evaluators {
            let file = format!("{strategy}-{evaluator}.toml");
            place.run(&format!("new --strategy {strategy} --evaluator {evaluator} --out {file}")).ok();
            assert_eq!(
                place.run(&format!("new --strategy {strategy} --evaluator {evaluator}")).ok().lines().next(),
                Some("seed = 1")
            );
            let settings = match (evaluator.as_str(), &data) {
                ("tabular", _) => "--set evaluator.train=train.csv --set evaluator.target=label".to_owned(),
                ("table", Some(data)) => format!("--set evaluator.file={}", data.join("nas/nb201.csv.gz").display()),
                ("train" | "zero_cost" | "inherit" | "supernet", Some(data)) => {
                    format!("--set evaluator.images.folder={}", data.join("images/digits8x8").display())
                }
                ("filter", Some(data)) => {
                    let folder = data.join("images/digits8x8");
                    let of = |part: &str| format!("--set evaluator.{part}.images.folder={}", folder.display());
                    format!("{} {}", of("first"), of("then"))
                }
                ("table" | "train" | "zero_cost" | "inherit" | "supernet" | "filter", None) => continue,
                _ => String::new(),
            };
            let said = place.run(&format!("check {file} {settings}")).ok();
            assert!(said.contains("questions"), "{said}");
        }
    }
    place.run("new --strategy randm").fails(2, &["randm", "random"]);
    place.run("new --evaluator tabula").fails(2, &["tabula", "tabular"]);
    place.run("new --space pipelin").fails(2, &["pipelin", "pipeline"]);
}

#[test]
fn settings_override_the_file() {
    let place = place();
    place.write("search.toml", &TOML.replace("STRATEGY", "random"));
    place.run("-q search search.toml --run-dir a --trials 5 --set seed=9 --set study.starts=false").ok();
    let trials = place.trials("a");
    assert_eq!(trials.len(), 5);
    assert!(trials.iter().all(|trial| trial["by"] != "start"), "{trials:?}");
    let resolved = std::fs::read_to_string(place.path("a/run.toml")).unwrap();
    assert!(resolved.contains("seed = 9") && resolved.contains("trials = 5"), "{resolved}");
    place.run("check search.toml --set study.trails=5").fails(2, &["trails", "trials"]);
    place.run("check search.toml --set study.trials=many").fails(2, &["study.trials", "many"]);
    place.run("check search.toml --set study").fails(2, &["study", "="]);
}

#[test]
fn a_fault_in_a_config_is_shown_with_its_place() {
    let place = place();
    let good = TOML.replace("STRATEGY", "random");
    for (bad, words) in [
        (good.replace("workers = 2", "worker = 2"), &["search.toml:5:1", "worker", "workers"][..]),
        (good.replace("\"random\"", "\"randm\""), &["search.toml:8:", "randm", "random"]),
        (good.replace("trials = 12", "trials = \"many\""), &["search.toml:4:10"]),
        (good.replace("seed = 4", "seed = "), &["search.toml:1:"]),
        (good.replace("\"tabular\"", "\"tabula\""), &["search.toml:11:", "tabular"]),
        (good.replace("target = \"label\"", "targt = \"label\""), &["search.toml:13:1", "targt", "target"]),
    ] {
        place.write("search.toml", &bad);
        place.run("check search.toml").fails(2, words);
        place.run("-q search search.toml").fails(2, words);
    }
    place.write("search.toml", &good.replace("trials = 12", "trials = 0"));
    place.run("-q search search.toml").fails(2, &["search.toml:4:10", "at least 1"]);
    place.run("check nowhere.toml").fails(2, &["nowhere.toml"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn the_listing_of_trials_may_be_cut_short() {
    let place = place();
    place.write("search.toml", &TOML.replace("STRATEGY", "random"));
    place.run("-q search search.toml --run-dir run").ok();
    let table = place.run("trials run --format table").ok();
    assert_eq!(table.lines().count(), 13);
    assert!(table.lines().next().unwrap().contains("genotype"), "{table}");
    assert_eq!(place.run("trials run").ok(), table, "the table is the default");

    let mut child = place.start("trials run --format jsonl");
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(serde_json::from_str::<Value>(&first).is_ok(), "{first}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // A reader that was never there.
    for line in ["trials run", "plugins", "plugins --format json", "new"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(line);
        let output = command.stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{line}");
    }
}

#[test]
fn cells_of_nas_bench_201() {
    let Some(data) = data() else { return };
    let place = Place::new();
    let path = data.join("nas/nb201.csv.gz").display().to_string();
    let example = include_str!("../../examples/nas-bench-201.toml");
    let mut found = Vec::new();
    for strategy in ["random", "regularized_evolution", "graph_evolution", "darwin", "bayes", "tpe"] {
        place.write("nas.toml", &example.replace("type = \"random\"", &format!("type = \"{strategy}\"")));
        let settings = format!("--set evaluator.file={path}");
        let result = place.run(&format!("-q search nas.toml --trials 150 --run-dir {strategy} --format json {settings}")).ok();
        let result: Value = serde_json::from_str(&result).unwrap();
        assert!(result["scores"]["c10_val12"].as_f64().unwrap() > 70.0, "{result}");
        assert!(result["metrics"]["c10_test200"].is_f64(), "{result}");
        assert!(result["model"].is_null(), "{result}");
        found.push(place.trials(strategy));
    }
    assert!(found.iter().all(|trials| trials.len() == 150));
    assert!(found[0] != found[1] && found[1] != found[2] && found[0] != found[2], "each strategy goes its own way");
}
