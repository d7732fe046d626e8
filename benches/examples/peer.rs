//! One operator on one split, for `benches/peers/compare.py`: fits, predicts, and tells scores and processor time.
//!
//! Reads requests as JSON lines from standard input and answers each with one line:
//! `{"train": CSV, "test": CSV, "task": "classification", "op": "pca", "params": {…}, "then": "ridge" | null, "seed": 1}`.
//! The target is the column `y`. Tables are read once; one thread computes. A transformation is scored by the model `then` behind
//! it, whose time does not count.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::BufRead;
use std::path::PathBuf;

use automl_core::{Cancel, Params, Value};
use automl_ops::evaluator::score;
use automl_ops::frame::Frame;
use automl_ops::operator::{Fit, TabularOperator, Target, operator};
use automl_ops::table::ReadOptions;
use automl_ops::{Metric, Task, Training};
// Links its operators.
use automl_nas as _;
use cpu_time::ProcessTime;
use serde::Deserialize;
use serde_json::json;

type Problem = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Request {
    train: PathBuf,
    test: PathBuf,
    task: Task,
    op: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    then: Option<String>,
    seed: u64,
}

struct Split {
    x: Frame,
    y: Target,
    test: Frame,
    truth: Target,
}

fn read(request: &Request) -> Result<Split, Problem> {
    let training = Training::read(&request.train, "y", None, Some(request.task), &ReadOptions::default())?;
    let schema = automl_ops::table::Schema {
        columns: training.binding.schema.columns.iter().cloned().chain([training.target_column.clone()]).collect(),
    };
    let table = automl_ops::table::read_with_schema(&request.test, &schema, &ReadOptions::default())?;
    let (truth, rows) = automl_ops::dataset::TargetColumn::truth(&table, "y", &training.labels)?;
    let rows: Vec<u32> = rows.into_iter().filter_map(|row| u32::try_from(row).ok()).collect();
    let test = training.binding.frame(&table)?.take(&rows);
    Ok(Split { x: training.x, y: training.y, test, truth })
}

/// Work is repeated until it took this long.
const MEASURED: f64 = 0.05;

/// The least processor time of a few repetitions, and the last result.
fn timed<T>(mut work: impl FnMut() -> Result<T, Problem>) -> Result<(f64, T), Problem> {
    let (mut best, mut total) = (f64::INFINITY, 0.0);
    loop {
        let begin = ProcessTime::try_now()?;
        let result = work()?;
        let took = begin.try_elapsed()?.as_secs_f64();
        best = best.min(took);
        total += took;
        if total >= MEASURED {
            return Ok((best, result));
        }
    }
}

/// The frame as another candidate would meet it: nothing that an earlier fit computed is kept with its columns.
fn fresh(x: &Frame) -> Frame {
    x.take(&(0..x.rows() as u32).collect::<Vec<u32>>())
}

fn answer(request: &Request, split: &Split) -> Result<serde_json::Value, Problem> {
    let cancel = Cancel::new();
    let op: &dyn TabularOperator = operator(&request.op)?;
    let params = complete(op, &request.params)?;
    let fit = |op: &dyn TabularOperator, x: &Frame, params: &Params| {
        let fit = Fit { x, y: &split.y, weights: None, params, seed: request.seed, cancel: &cancel };
        Ok::<_, Problem>(op.fit(&fit)?)
    };
    let (mut fit_seconds, mut total, mut fitted) = (f64::INFINITY, 0.0, None);
    while total < MEASURED {
        let x = fresh(&split.x);
        let begin = ProcessTime::try_now()?;
        let model = fit(op, &x, &params)?;
        let took = begin.try_elapsed()?.as_secs_f64();
        (fit_seconds, total) = (fit_seconds.min(took), total + took.max(1e-5));
        fitted = Some(model);
    }
    let fitted = fitted.ok_or("not fitted")?;
    let (apply_seconds, output) = timed(|| Ok(fitted.apply(&split.test, &cancel)?))?;
    let output = match &request.then {
        None => output,
        Some(model) => {
            let model = operator(model)?;
            let x = fitted.apply(&split.x, &cancel)?;
            fit(model, &x, &complete(model, &BTreeMap::new())?)?.apply(&output, &cancel)?
        }
    };
    let predictions = output.row_major()?;
    let metrics: &[Metric] = match request.task {
        Task::Classification => &[Metric::Accuracy, Metric::LogLoss],
        Task::Regression => &[Metric::R2],
    };
    let scores: BTreeMap<&str, f64> = metrics
        .iter()
        .filter_map(|metric| Some((metric.name(), score(*metric, &split.truth, &predictions, None).ok()?)))
        .collect();
    Ok(json!({ "fit": fit_seconds, "apply": apply_seconds, "scores": scores }))
}

/// The parameters given, and the defaults of the others.
fn complete(op: &dyn TabularOperator, given: &BTreeMap<String, Value>) -> Result<Params, Problem> {
    let mut params = Params::new();
    for param in op.params() {
        if param.applies(&params) {
            let value = given.get(param.name.as_ref()).unwrap_or(&param.default).clone();
            params.insert(param.name.to_string(), value);
        }
    }
    if let Some(name) = given.keys().find(|name| !params.contains_key(*name)) {
        return Err(format!("`{}` has no parameter `{name}` here", op.name()).into());
    }
    Ok(params)
}

fn main() -> Result<(), Problem> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut splits: BTreeMap<PathBuf, Split> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let split = match splits.entry(request.train.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(read(&request)?),
        };
        let told = pool.install(|| answer(&request, split).map_err(|error| error.to_string()));
        println!("{}", told.unwrap_or_else(|error| json!({ "error": error })));
    }
    Ok(())
}
