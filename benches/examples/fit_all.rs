//! Fits every pair of a folder of data sets with the real program, and prints a table of test scores.
//!
//! `cargo run --release -p benches --example fit_all -- target/release/automl DATA/tabular 10s [SEED]`
//!
//! `DATA/tabular/tasks.csv` lists the sets: name, task, target column. Balanced accuracy for classes, R² for values, on `test.csv`,
//! which is read once, after the fit.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, data, limit, rest @ ..] = args.as_slice() else {
        return Err("usage: fit_all PROGRAM DATA_FOLDER TIME_LIMIT [SEED]".into());
    };
    let seed = rest.first().map_or("1", String::as_str);
    let work = std::env::temp_dir().join(format!("automl-fit-all-{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    println!("| set | score | trials | failed | seconds | MB at most |\n|---|---|---|---|---|---|");
    let tasks = std::fs::read_to_string(Path::new(data).join("tasks.csv"))?;
    for line in tasks.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, task, target, ..] = fields.as_slice() else { continue };
        let (train, test) = (Path::new(data).join(name).join("train.csv"), Path::new(data).join(name).join("test.csv"));
        let model = work.join("model.automl");
        let _ = std::fs::remove_file(&model);
        let start = Instant::now();
        let fit = Command::new(program)
            .args(["fit", "--quiet", "--format", "json", "--target", target, "--time-limit", limit, "--seed", seed])
            .arg(&train)
            .args(["--task", task])
            .arg("--out")
            .arg(&model)
            .current_dir(&work)
            .output()?;
        let seconds = start.elapsed().as_secs_f64();
        let report: serde_json::Value = serde_json::from_slice(&fit.stdout).unwrap_or_default();
        let scored = Command::new(program).arg("evaluate").arg(&model).arg(&test).args(["--format", "json"]).output()?;
        let scored: serde_json::Value = serde_json::from_slice(&scored.stdout).unwrap_or_default();
        let metric = if *task == "regression" { "r2" } else { "balanced_accuracy" };
        let score = scored["metrics"][metric].as_f64().map_or("-".to_owned(), |score| format!("{score:.4}"));
        let peak = report["peak_memory"].as_f64().unwrap_or(f64::NAN) / 1e6;
        println!("| {name} | {score} | {} | {} | {seconds:.1} | {peak:.0} |", report["trials"], report["failed"]);
        if !fit.status.success() {
            eprintln!("{name}: {}", String::from_utf8_lossy(&fit.stderr));
        }
    }
    std::fs::remove_dir_all(&work)?;
    Ok(())
}
