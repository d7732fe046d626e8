//! Judges cells by looking them up in the benchmark's table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use automl_core::error::nearest;
use automl_core::schemars::JsonSchema;
use automl_core::{Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Result, SearchSpace, Stop, plugin};
use serde::{Deserialize, Serialize};

use super::{Cell, NasBench201};

/// Looks cells of NAS-Bench-201 up in a table of all of them.
///
/// The table is CSV with a header, gzipped if its name ends in `.gz`: a row a cell, named by the column `arch_str`. Search on a
/// validation column and read the test figures among the metrics: a search that optimises a test column measures nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NasBench201Table {
    /// The table; default `nb201.csv.gz`.
    pub path: PathBuf,
    /// Column to search on; default `c10_val12`, the CIFAR-10 validation accuracy in percent after 12 epochs.
    pub objective: String,
    /// Which way that column is better; default `maximize`.
    pub direction: Direction,
    /// Columns to report as metrics; default `c10_test200`, the CIFAR-10 test accuracy after 200 epochs.
    pub report: Vec<String>,
}

impl Default for NasBench201Table {
    fn default() -> Self {
        Self {
            path: "nb201.csv.gz".into(),
            objective: "c10_val12".into(),
            direction: Direction::Maximize,
            report: vec!["c10_test200".into()],
        }
    }
}

plugin! {
    "nas_bench_201",
    impl EvaluatorConfig for NasBench201Table {
        fn build(&self, _: usize) -> Result<Arc<dyn Evaluator>, Box<dyn std::error::Error + Send + Sync>> {
            let rows = self.load()?;
            let objective = Objective { name: self.objective.clone(), direction: self.direction };
            Ok(Arc::new(Table { objective, report: self.report.clone(), rows }))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Some(Arc::new(NasBench201::default())))
        }
    }
}

/// Figures by the cell's index: the objective, then what is reported.
type Rows = BTreeMap<usize, Vec<f64>>;

impl NasBench201Table {
    fn load(&self) -> Result<Rows> {
        let mut reader = csv::Reader::from_reader(open(&self.path)?);
        let unreadable = |error: csv::Error| problem(&self.path, format!("cannot be read as a gzipped CSV table: {error}"));
        let header: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
        let arch = column(&header, "path", "arch_str", &self.path)?;
        let mut columns = vec![column(&header, "objective", &self.objective, &self.path)?];
        for name in &self.report {
            columns.push(column(&header, "report", name, &self.path)?);
        }
        let mut rows = Rows::new();
        for (line, record) in reader.records().enumerate() {
            let record = record.map_err(unreadable)?;
            let cell = Cell::from_arch(record.get(arch).unwrap_or_default())
                .map_err(|error| problem(&self.path, format!("row {}: {error}", line + 1)))?;
            let figure = |&column: &usize| {
                let text = record.get(column).unwrap_or_default();
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.ok_or_else(|| {
                    problem(&self.path, format!("row {}: `{}` is `{text}`, not a number", line + 1, header[column]))
                })
            };
            rows.insert(cell.index(), columns.iter().map(figure).collect::<Result<_>>()?);
        }
        if rows.is_empty() {
            return Err(problem(&self.path, "has no rows".into()));
        }
        Ok(rows)
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

fn problem(path: &Path, problem: String) -> Error {
    Error::config("evaluator.path", format!("{} {problem}", path.display()))
}

fn column(header: &[String], place: &str, name: &str, path: &Path) -> Result<usize> {
    header.iter().position(|column| column == name).ok_or_else(|| {
        let hint = nearest(name, header.iter().map(String::as_str)).map(|near| format!(" (did you mean `{near}`?)"));
        let hint = hint.unwrap_or_default();
        let text = format!("{} has no column `{name}`{hint}; it has {}", path.display(), header.join(", "));
        Error::config(format!("evaluator.{place}"), text)
    })
}

struct Table {
    objective: Objective,
    report: Vec<String>,
    rows: Rows,
}

impl Evaluator for Table {
    fn objectives(&self) -> Vec<Objective> {
        vec![self.objective.clone()]
    }

    fn evaluate(&self, genotype: &Genotype, _: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let cell = Cell::of(genotype).map_err(|error| Stop::Failed(error.to_string()))?;
        let row = self.rows.get(&cell.index());
        let (objective, report) = row
            .and_then(|row| row.split_first())
            .ok_or_else(|| Stop::Infeasible(format!("{} is not in the table", cell.arch())))?;
        let mut metrics: BTreeMap<String, f64> = self.report.iter().cloned().zip(report.iter().copied()).collect();
        metrics.insert(self.objective.name.clone(), *objective);
        Ok(Evaluation { losses: vec![self.objective.loss(*objective)], metrics, artifact: None })
    }
}
