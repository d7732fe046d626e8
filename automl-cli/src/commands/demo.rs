//! `automl demo`: the main job on a real data set that a dependency ships.
//!
//! The red wines of Cortez et al. (2009): 1,599 wines, 11 measurements, graded by tasters from 3 to 8; `linfa-datasets` carries
//! them. Here a wine is good from grade 6 on. A quarter is held out and looked at once, at the end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use automl_ops::Model;
use automl_ops::split;

use crate::args::{Demo, Format};
use crate::commands::{evaluate, fit, report};
use crate::config::{self, Source};
use crate::error::CliError;
use crate::run_config::RunConfig;
use crate::session::{self, Run};
use crate::{duration, output};

pub fn run(demo: &Demo, start: Instant, quiet: bool) -> Result<u8, CliError> {
    let dir =
        demo.run_dir.clone().or_else(|| session::fresh_dir("demo")).unwrap_or_else(|| std::env::temp_dir().join("automl-demo"));
    let (train, test) = write_tables(&dir)?;
    let model = dir.join("model.automl");
    if !quiet {
        output::note(&format!("1,599 red wines, good or not by 11 measurements; a quarter is held out ({})", test.display()));
    }
    let setting = |key: &str, path: &Path| fit::setting(key, &path.to_string_lossy());
    let overrides = [
        "evaluator.type=\"tabular\"".to_owned(),
        setting("evaluator.train", &train),
        "evaluator.target=\"good\"".to_owned(),
        "strategy.type=\"darwin\"".to_owned(),
        setting("out", &model),
        format!("study.time_limit=\"{}\"", duration::format(demo.time_limit)),
        format!("seed={}", demo.seed),
    ];
    let config: RunConfig = config::load(Source::text("demo.toml", ""), &overrides, &config::Options::default())?;
    let finished = session::run(Run { config, run_dir: Some(dir), name: String::new(), resumed: None, start, quiet })?;
    let code = report::finished(&finished, Format::Table)?;
    let trained = Model::load(&model)?;
    let table = trained.read(&test, true)?;
    let (rows, metrics) = evaluate::metrics(&trained, table, quiet)?;
    output::result(|out| {
        for name in ["balanced_accuracy", "accuracy", "roc_auc"] {
            if let Some(score) = metrics.get(name) {
                writeln!(out, "{name} on the {rows} wines held out: {score:.4}")?;
            }
        }
        let (model, test) = (model.display(), test.display());
        writeln!(out, "now try: automl predict {model} {test} --proba")
    })?;
    Ok(code)
}

/// Writes the two tables as CSV files.
fn write_tables(dir: &Path) -> Result<(PathBuf, PathBuf), CliError> {
    let problem = |error: std::io::Error| CliError::failed(format!("{}: {error}; name another --run-dir", dir.display()));
    std::fs::create_dir_all(dir).map_err(problem)?;
    let wines = linfa_datasets::winequality();
    let good: Vec<u32> = wines.targets.iter().map(|&grade| u32::from(grade >= 6)).collect();
    let (train, test) = split::stratified_holdout(&good, 2, 0.25, 1);
    let write = |name: &str, rows: &[u32]| {
        let path = dir.join(name);
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let names: Vec<String> = wines.feature_names().iter().map(|name| name.replace(' ', "_")).collect();
        writeln!(file, "{},good", names.join(","))?;
        for &row in rows {
            let wine = wines.records.row(row as usize);
            let values: Vec<String> = wine.iter().map(ToString::to_string).collect();
            let label = if good.get(row as usize) == Some(&1) { "yes" } else { "no" };
            writeln!(file, "{},{label}", values.join(","))?;
        }
        file.flush()?;
        Ok(path)
    };
    Ok((write("train.csv", &train).map_err(problem)?, write("test.csv", &test).map_err(problem)?))
}
