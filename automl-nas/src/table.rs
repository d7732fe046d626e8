//! Judges candidates by looking them up in a table: any tabular benchmark, without its own software.
//!
//! The space reads the notation in which the table names its rows ([`SearchSpace::parse`]), so a table of a third party's space
//! takes no code here. A row is found by the hash of its graph: spellings of isomorphic graphs share it, whatever the space
//! merges beyond that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use automl_core::error::nearest;
use automl_core::hash::StableHash;
use automl_core::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use automl_core::{Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Result, SearchSpace, Stop, plugin};
use serde::{Deserialize, Serialize};

use crate::NasBench201;

/// Looks candidates up in a table with a row for each of them: a tabular benchmark.
///
/// The table is CSV with a header, gzipped if its name ends in `.gz`. Search on a validation column and read the test figures
/// among the metrics: a search that optimises a test column measures nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Table {
    /// The table; default `nb201.csv.gz`.
    pub file: PathBuf,
    /// The space whose candidates the rows are; default `nas_bench_201`. It reads the names of the rows.
    #[schemars(schema_with = "space_schema")]
    pub space: Arc<dyn SearchSpace>,
    /// Columns that name the row in the notation of the space, joined by a blank; default `arch_str`.
    pub key: Vec<String>,
    /// Column to search on; default `c10_val12`, CIFAR-10 validation accuracy in percent after 12 epochs. Several columns are
    /// repeated measurements of one figure.
    pub objective: Columns,
    /// Whether larger is better; default yes.
    pub maximize: bool,
    /// Columns that stand for the objective at less than full fidelity; default none: the objective at any fidelity.
    pub fidelities: Vec<Fidelity>,
    /// Columns to report as metrics, where the row has a number; default `c10_test200`.
    pub report: Vec<String>,
    /// Column of the seconds that the full evaluation took; reported as `simulated_seconds`, in proportion to the fidelity.
    /// Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// What stands for repeated measurements, be they several columns or several rows of one name; default `draw`.
    pub repeats: Repeats,
}

/// One column, or several that hold repeated measurements of one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "automl_core::schemars")]
pub enum Columns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Columns {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// What stands for the objective at low fidelities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Fidelity {
    /// The column.
    pub column: Columns,
    /// The share of the full effort, above 0 and below 1, up to which it stands for the objective.
    pub share: f64,
}

/// What stands for repeated measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Repeats {
    /// One of them, drawn for each candidate by the seed of the study: the noise that a search would meet.
    #[default]
    Draw,
    /// Their mean.
    Mean,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            file: "nb201.csv.gz".into(),
            space: Arc::new(NasBench201::default()),
            key: vec!["arch_str".into()],
            objective: Columns::One("c10_val12".into()),
            maximize: true,
            fidelities: Vec::new(),
            report: vec!["c10_test200".into()],
            cost: None,
            repeats: Repeats::Draw,
        }
    }
}

fn space_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "description": "A plugin of the kind `space`, by its `type`.", "required": ["type"] })
}

plugin! {
    "table",
    impl EvaluatorConfig for Table {
        fn build(&self, _: usize) -> Result<Arc<dyn Evaluator>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Arc::new(self.load()?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Some(self.space.clone()))
        }
    }
}

/// Places in the list of a row's figures.
type Places = std::ops::Range<usize>;

/// A table in memory.
struct Loaded {
    objective: Objective,
    /// The columns of each fidelity up to its share, ascending; the last is the objective's own.
    levels: Vec<(f64, Places)>,
    report: Vec<String>,
    reported: Places,
    cost: Option<usize>,
    repeats: Repeats,
    /// By the hash of the graph, the rows of that name: the figures of all columns, not a number where there is none.
    rows: BTreeMap<u64, Vec<Box<[f64]>>>,
}

impl Table {
    fn load(&self) -> Result<Loaded> {
        let mut reader = csv::Reader::from_reader(self.open()?);
        let unreadable = |error: csv::Error| self.problem(&format!("cannot be read as CSV: {error}"));
        let header: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
        let find = |place: &str, names: &[String]| -> Result<Vec<usize>> {
            if names.is_empty() && place != "report" {
                return Err(Error::config(format!("evaluator.{place}"), "names no column; name at least one"));
            }
            names.iter().map(|name| self.column(&header, place, name)).collect()
        };
        let key = find("key", &self.key)?;
        // The figures of a row: those of every fidelity, the objective's, what is reported, what it cost.
        let mut columns = Vec::new();
        let mut levels = Vec::new();
        for (share, names) in self.levels()? {
            let start = columns.len();
            columns.extend(find(if share < 1.0 { "fidelities" } else { "objective" }, names.names())?);
            levels.push((share, start..columns.len()));
        }
        let judged = columns.len();
        columns.extend(find("report", &self.report)?);
        let reported = judged..columns.len();
        let cost = match &self.cost {
            Some(name) => {
                columns.push(self.column(&header, "cost", name)?);
                Some(columns.len() - 1)
            }
            None => None,
        };
        let mut rows: BTreeMap<u64, Vec<Box<[f64]>>> = BTreeMap::new();
        let mut record = csv::StringRecord::new();
        let mut line = 0_u64;
        while reader.read_record(&mut record).map_err(unreadable)? {
            line += 1;
            let text = |&column: &usize| record.get(column).unwrap_or_default();
            let name = key.iter().map(text).collect::<Vec<_>>().join(" ");
            let genotype = self.space.parse(&name).map_err(|error| self.problem(&format!("row {line}: {error}")))?;
            let number = |column: &usize| text(column).parse().ok().filter(|number: &f64| number.is_finite());
            if let Some(column) = columns.iter().take(judged).find(|column| number(column).is_none()) {
                let (name, text) = (header.get(*column).map_or("", String::as_str), text(column));
                return Err(self.problem(&format!("row {line}: `{name}` is `{text}`, not a number")));
            }
            let figures = columns.iter().map(|column| number(column).unwrap_or(f64::NAN)).collect();
            rows.entry(genotype.canonical_hash()).or_default().push(figures);
        }
        if rows.is_empty() {
            return Err(self.problem("has no rows"));
        }
        let direction = if self.maximize { Direction::Maximize } else { Direction::Minimize };
        let objective = Objective { name: self.objective.names().join("|"), direction };
        Ok(Loaded { objective, levels, report: self.report.clone(), reported, cost, repeats: self.repeats, rows })
    }

    /// The fidelities with their columns, ascending, the objective at the end.
    fn levels(&self) -> Result<Vec<(f64, &Columns)>> {
        let mut levels: Vec<(f64, &Columns)> = self.fidelities.iter().map(|level| (level.share, &level.column)).collect();
        levels.push((1.0, &self.objective));
        let shares: Vec<f64> = levels.iter().map(|(share, _)| *share).collect();
        if shares.iter().any(|share| !share.is_finite() || *share <= 0.0) || shares.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::config("evaluator.fidelities", "shares must be above 0, below 1 and ascending"));
        }
        Ok(levels)
    }

    fn open(&self) -> Result<Box<dyn Read>> {
        let file = File::open(&self.file).map_err(|source| Error::io(&self.file, source))?;
        let gzipped = self.file.extension().is_some_and(|extension| extension == "gz");
        Ok(if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
    }

    fn problem(&self, problem: &str) -> Error {
        Error::config("evaluator.file", format!("{}: {problem}", self.file.display()))
    }

    fn column(&self, header: &[String], place: &str, name: &str) -> Result<usize> {
        header.iter().position(|column| column == name).ok_or_else(|| {
            let hint = nearest(name, header.iter().map(String::as_str)).map(|near| format!(" (did you mean `{near}`?)"));
            let hint = hint.unwrap_or_default();
            let text = format!("{} has no column `{name}`{hint}; it has {}", self.file.display(), header.join(", "));
            Error::config(format!("evaluator.{place}"), text)
        })
    }
}

impl Loaded {
    /// What a candidate measures in some columns of its rows: the mean of what is there, or the one that `draw` says.
    fn figure(&self, rows: &[Box<[f64]>], columns: &Places, draw: u64) -> Option<f64> {
        let drawn = |count: usize, draw: u64| usize::try_from(draw % count.max(1) as u64).unwrap_or(0);
        let number = |row: &[f64], column: usize| row.get(column).copied().filter(|number| !number.is_nan());
        match self.repeats {
            Repeats::Draw => {
                let row = rows.get(drawn(rows.len(), draw))?;
                number(row, columns.start + drawn(columns.len(), draw >> 32))
            }
            Repeats::Mean => {
                let all = rows.iter().flat_map(|row| columns.clone().filter_map(move |column| number(row, column)));
                let (sum, count) = all.fold((0.0, 0), |(sum, count), number| (sum + number, count + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
        }
    }
}

impl Evaluator for Loaded {
    fn objectives(&self) -> Vec<Objective> {
        vec![self.objective.clone()]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let hash = genotype.canonical_hash();
        let missing = || Stop::Infeasible("the table has no row for this candidate".into());
        let rows = self.rows.get(&hash).ok_or_else(missing)?;
        let draw = StableHash::new("table").number(cx.seed()).number(hash).finish();
        let level = self.levels.iter().find(|(share, _)| cx.fidelity() <= *share).or(self.levels.last());
        let value = level.and_then(|(_, columns)| self.figure(rows, columns, draw)).ok_or_else(missing)?;
        let mut metrics = BTreeMap::from([(self.objective.name.clone(), value)]);
        for (name, column) in self.report.iter().zip(self.reported.clone()) {
            if let Some(figure) = self.figure(rows, &(column..column + 1), draw) {
                metrics.insert(name.clone(), figure);
            }
        }
        if let Some(seconds) = self.cost.and_then(|cost| self.figure(rows, &(cost..cost + 1), draw)) {
            metrics.insert("simulated_seconds".into(), seconds * cx.fidelity());
        }
        Ok(Evaluation { losses: vec![self.objective.loss(value)], metrics, artifact: None })
    }
}
