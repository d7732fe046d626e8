//! `automl compare` and `automl graph`: the same figures for any number of threads, an interrupt that keeps what is done, and
//! pictures of candidates from wherever people have them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Place, csv_rows, ended};

/// A table of NAS-Bench-Macro's space: a network is the better the more of its layers are 1 or 2, and the later the better.
fn table() -> String {
    let mut text = String::from("arch,valid,test\n");
    for index in 0..3_u32.pow(8) {
        let digits: Vec<u32> = (0..8).map(|place| index / 3_u32.pow(place) % 3).collect();
        let valid: u32 = digits.iter().enumerate().map(|(place, digit)| digit * (place as u32 + 1)).sum();
        let arch: String = digits.iter().map(u32::to_string).collect();
        text += &format!("{arch},{valid},{}\n", valid + 100);
    }
    text
}

const CONFIG: &str = r#"
[study]
lag = 0
[strategy]
type = "random"
[evaluator]
type = "table"
file = "table.csv"
key = ["arch"]
objective = "valid"
report = ["test"]
space = { type = "nas_bench_macro", merge_isomorphic = false }
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("table.csv", &table());
    place.write("macro.toml", CONFIG);
    place
}

/// Words of a command whose arguments hold blanks.
fn compare(place: &Place, more: &[&str]) -> common::Ran {
    let mut command = place.command("compare macro.toml");
    command.args(["--strategy", "random", "--strategy", "regularized_evolution(population=8, sample=4)"]).args(more);
    common::ran(&mut command)
}

#[test]
fn figures_are_the_same_for_any_number_of_threads_and_add_up() {
    let place = place();
    let of = |threads: &str, out: &str| {
        compare(&place, &["--seeds", "12", "--at", "20,80", "--threads", threads, "--format", "csv", "--out", out]).ok()
    };
    let one = of("1", "one");
    assert_eq!(one, of("4", "four"));
    let rows = csv_rows(&one);
    assert_eq!(rows.len(), 1 + 2 * 2 * 2);
    let evolution =
        |metric: &str| rows.iter().find(|row| row[0].starts_with("regularized") && row[1] == metric && row[2] == "80").unwrap();
    let mean = |row: &[String]| row[4].parse::<f64>().unwrap();
    assert_eq!(evolution("valid")[0], "regularized_evolution(population=8, sample=4)");
    assert!((mean(evolution("test")) - mean(evolution("valid")) - 100.0).abs() < 1e-9);
    let random = rows.iter().find(|row| row[0] == "random" && row[1] == "valid" && row[2] == "80").unwrap();
    assert!(mean(evolution("valid")) > mean(random));
    for name in ["compare.csv", "runs.csv", "valid.svg", "test.svg"] {
        let read = |dir: &str| std::fs::read_to_string(place.path(dir).join(name)).unwrap();
        assert_eq!(read("one"), read("four"), "{name}");
        assert!(!name.ends_with("svg") || read("one").contains("regularized_evolution(population=8, sample=4)"));
    }
    let runs = csv_rows(&std::fs::read_to_string(place.path("one/runs.csv")).unwrap());
    let valid = runs.iter().filter(|row| row[0] == "random" && row[2] == "valid" && row[3] == "80");
    let values: Vec<f64> = valid.map(|row| row[4].parse().unwrap()).collect();
    assert_eq!(values.len(), 12);
    assert!((values.iter().sum::<f64>() / 12.0 - mean(random)).abs() < 1e-9);
}

#[test]
fn a_run_of_a_comparison_is_that_of_a_search_with_its_seed() {
    let place = place();
    let compared = place.run("-q compare macro.toml --seeds 1 --seed 5 --trials 60 --at 60 --format csv").ok();
    let searched = place.run("-q search macro.toml --trials 60 --seed 5 --run-dir run --format json").ok();
    let searched: serde_json::Value = serde_json::from_str(&searched).unwrap();
    let valid = csv_rows(&compared).into_iter().find(|row| row[1] == "valid").unwrap();
    assert_eq!(valid[4].parse::<f64>().unwrap(), searched["scores"]["valid"].as_f64().unwrap());
}

#[test]
fn tables_are_for_people_and_mistakes_are_named() {
    let place = place();
    let text = compare(&place, &["--seeds", "3", "--trials", "30", "--at", "10,30,500", "--optimum", "72"]).ok();
    assert!(
        text.contains("share of runs that had found 72, the optimum") && text.contains("test of the best by valid so far"),
        "{text}"
    );
    assert!(!text.contains("500"), "what lies beyond the last trial is not told: {text}");
    let text =
        compare(&place, &["--seeds", "2", "--trials", "20", "--at", "20", "--metric", "test", "--format", "markdown"]).ok();
    assert!(text.contains("| queries | 20 |\n|---|---|\n| random | "), "{text}");
    place.run("compare macro.toml --seeds 2 --metric tset").fails(2, &["tset", "valid, test"]);
    place.run("compare macro.toml --strategy randm").fails(2, &["randm", "random"]);
    place.run("compare absent.toml").fails(2, &["absent.toml"]);
}

#[test]
fn a_matrix_shows_strategies_beside_configs_of_any_objective() {
    let place = place();
    place.write("other.toml", &CONFIG.replace("\"valid\"", "\"test\"").replace("[\"test\"]", "[\"valid\"]"));
    let text = compare(&place, &["other.toml", "--matrix", "--seeds", "6", "--at", "60", "--format", "markdown"]).ok();
    let rows: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(rows[0], "| strategy | macro: valid | other: test | mean rank |", "{text}");
    assert!(rows[2].starts_with("| regularized_evolution(population=8, sample=4) |") && rows[2].ends_with("| 1.00 |"), "{text}");
    assert!(rows[3].starts_with("| random |") && rows[3].ends_with("| 2.00 |"), "{text}");
    let csv = csv_rows(
        &compare(&place, &["other.toml", "--matrix", "--metric", "test", "--seeds", "6", "--at", "60", "--format", "csv"]).ok(),
    );
    let mean = |config: &str| csv.iter().find(|row| row[0] == "random" && row[1] == config).unwrap()[4].parse::<f64>().unwrap();
    assert_eq!(mean("macro: test"), mean("other: test"), "the same runs, whichever of the two they are judged by");
    compare(&place, &["other.toml"]).fails(2, &["--matrix"]);
}

#[test]
fn the_queries_until_a_target_are_told() {
    let place = place();
    let text = compare(&place, &["--seeds", "6", "--trials", "80", "--at", "80", "--target", "60", "--format", "csv"]).ok();
    let rows = csv_rows(&text);
    let of = |strategy: &str| rows.iter().find(|row| row[0].starts_with(strategy) && row[1] == "queries until 60").unwrap();
    let mean = |strategy: &str| of(strategy)[4].parse::<f64>().unwrap();
    assert!(mean("regularized") < mean("random") && mean("random") <= 80.0, "{text}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_runs_that_are_whole() {
    let place = place();
    let mut child = place.start("compare macro.toml --seeds 1000000 --trials 200 --at 200 --format csv");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none());
    common::signal(&child, "INT");
    let ran = ended(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("were whole and count"), "{}", ran.stderr);
    let runs: usize = csv_rows(&ran.stdout)[1][3].parse().unwrap();
    assert!((1..1_000_000).contains(&runs), "{runs}");
}

#[test]
fn pictures_are_drawn_of_runs_files_pipes_and_notations() {
    let place = place();
    place.run("-q search macro.toml --trials 20 --seed 5 --run-dir run").ok();
    let best = place.run("graph run").ok();
    assert!(best.starts_with("<svg") && best.contains("bottleneck_5x5_e6"), "{best}");
    let trial = place.run("trials run --format jsonl").ok().lines().nth(3).unwrap().to_owned();
    place.write("trial.json", &trial);
    let third = place.run("graph run --trial 3").ok();
    assert_eq!(third, place.run("graph trial.json").ok());
    let mut child = place.command("graph -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(trial.as_bytes()).unwrap();
    assert_eq!(third, ended(child.wait_with_output().unwrap()).ok());
    place.run("graph 01201201 --space nas_bench_macro --out net.dot").ok();
    let dot = std::fs::read_to_string(place.path("net.dot")).unwrap();
    assert!(dot.starts_with("digraph") && dot.contains("n7 -> n8;"), "{dot}");
    place.run("graph run --trial 99").fails(2, &["no trial 99"]);
    place.run("graph absent.json").fails(3, &["absent.json"]);
    place.run("graph 0120 --space nas_bench_macro").fails(2, &["layer_4"]);
    place.run("graph 0120 --space nas_bench_marco").fails(2, &["nas_bench_macro"]);
    place.write("empty.json", r#"{"nodes": []}"#);
    place.run("graph empty.json").fails(3, &["nothing to draw"]);
    place.write("cycle.json", r#"{"nodes": [{"op": "a", "inputs": [0]}]}"#);
    place.run("graph cycle.json").fails(3, &["node 0"]);
}

#[test]
fn the_examples_run_where_the_tables_are() {
    let Some(data) = common::data() else { return };
    let place = Place::new();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let tables = [
        ("nas-bench-201", "nb201.csv.gz", "c10_test200"),
        ("nas-bench-macro", "nas_bench_macro_cifar10.csv.gz", "mean_acc"),
        ("ec-nas", "ecnas_4v5v_4epochs.csv.gz", "test_acc"),
    ];
    for (config, table, metric) in tables {
        let config = examples.join(format!("{config}.toml"));
        let settings = format!("--set evaluator.file={}", data.join("nas").join(table).display());
        let line = format!("-q search {} {settings} --trials 40 --format json", config.display());
        let result: serde_json::Value = serde_json::from_str(&place.run(&line).ok()).unwrap();
        assert_eq!(result["trials"], 40);
        assert_eq!(result["failed"], 0);
        assert!(result["metrics"][metric].as_f64().unwrap() > 0.5, "{result}");
    }
}
