//! The built program lists the plugins of the third party, searches with them, and its model predicts.

#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the program in `dir` and gives its standard output.
fn acme(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_acme")).current_dir(dir).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "acme {}\n{}", args.join(" "), text(output.stderr));
    text(output.stdout)
}

#[test]
fn the_plugins_are_listed_with_their_crates() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, name, package) in [("operator", "acme/robust_scale", "acme-ops"), ("strategy", "acme/hill_climb", "acme-search")] {
        let list: Value = serde_json::from_str(&acme(dir.path(), &["plugins", "--kind", kind, "--format", "json"])).unwrap();
        let list = list.as_array().unwrap();
        let found = list.iter().find(|plugin| plugin["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {list:?}"));
        assert_eq!(found["package"], package);
        assert!(list.len() > 1, "the official plugins are linked, too");
    }
}

/// 120 rows of two numbers, one with outliers; the class says on which side of a line a row lies.
fn table() -> String {
    let mut csv = String::from("width,height,side\n");
    for row in 0..120 {
        let (x, y) = (row % 12, row * 7 % 31);
        let x = if row % 40 == 3 { 10_000 } else { x };
        writeln!(csv, "{x}.5,{y}.25,{}", if row % 12 * 2 > y { "right" } else { "left" }).unwrap();
    }
    csv
}

/// The model reads the table through the operator alone: no edge leads from the input to the estimator.
const CONFIG: &str = r#"
seed = 1

[study]
trials = 8
# Each proposal knows the trial before it: eight are few for a climb.
lag = 0

[strategy]
type = "acme/hill_climb"
restart = 0.2

[space]
type = "pipeline"
input = "dense"
operators = ["acme/robust_scale", "logistic"]
forbidden = [["input", "logistic"]]
"#;

#[test]
fn a_search_with_the_plugins_gives_a_model_that_predicts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("train.csv"), table()).unwrap();
    std::fs::write(dir.join("fit.toml"), CONFIG).unwrap();
    let fit = ["fit", "train.csv", "--target", "side", "--config", "fit.toml", "--run-dir", "run", "--out", "side.automl", "-q"];
    acme(dir, &fit);

    let trials = acme(dir, &["trials", "run", "--format", "jsonl"]);
    let trials: Vec<Value> = trials.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(trials.len(), 8);
    for trial in &trials {
        let nodes = trial["genotype"]["nodes"].as_array().unwrap();
        assert!(nodes.iter().any(|node| node["op"] == "acme/robust_scale"), "{trial}");
    }
    assert!(trials.iter().any(|trial| trial["by"] == "hill_climb"));
    assert!(trials.iter().any(|trial| trial["state"] == "complete"));

    let predicted = acme(dir, &["predict", "side.automl", "train.csv"]);
    let predicted: Vec<&str> = predicted.lines().skip(1).collect();
    assert_eq!(predicted.len(), 120);
    let table = table();
    let hits =
        table.lines().skip(1).zip(&predicted).filter(|(row, predicted)| row.rsplit(',').next() == predicted.split(',').next());
    assert!(hits.count() > 90);
}

#[test]
fn a_strategy_of_a_third_party_stands_in_the_matrix_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut csv = String::from("arch,valid\n");
    for index in 0..3_u32.pow(8) {
        let digits: Vec<u32> = (0..8).map(|place| index / 3_u32.pow(place) % 3).collect();
        let valid: u32 = digits.iter().enumerate().map(|(place, digit)| digit * (place as u32 + 1)).sum();
        writeln!(csv, "{},{valid}", digits.iter().map(u32::to_string).collect::<String>()).unwrap();
    }
    std::fs::write(dir.path().join("table.csv"), csv).unwrap();
    let config = "[study]\nlag = 0\n[strategy]\ntype = \"random\"\n[evaluator]\ntype = \"table\"\nfile = \"table.csv\"\nkey = [\"arch\"]\n\
                  objective = \"valid\"\nreport = []\nspace = { type = \"nas_bench_macro\", merge_isomorphic = false }\n";
    std::fs::write(dir.path().join("macro.toml"), config).unwrap();
    let args = ["-q", "compare", "macro.toml", "--matrix", "--seeds", "5", "--at", "60", "--format", "markdown"];
    let strategies = ["--strategy", "random", "--strategy", "acme/hill_climb(restart=0.05)"];
    let text = acme(dir.path(), &[&args[..], &strategies[..]].concat());
    let rows: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(rows[0], "| strategy | macro: valid | mean rank |", "{text}");
    assert!(rows[2].starts_with("| acme/hill_climb(restart=0.05) |") && rows[3].starts_with("| random |"), "{text}");
}
