//! From a table to what a pipeline reads: which columns are features, how they become a frame, what the target is.
//!
//! A [`Binding`] is fixed on the training table and stored in the model file, so that any later table becomes a frame in the
//! same way.

use std::sync::Arc;

use automl_core::Kind;
use serde::{Deserialize, Serialize};

use crate::frame::{Column, Frame, Values};
use crate::kinds;
use crate::metrics::Task;
use crate::operator::Target;
use crate::table::{ColumnData, ColumnSchema, ColumnType, DataError, Schema, Table, TableColumn};

/// Largest magnitude of a number in a frame: its square still fits an `f32`.
const LARGEST: f64 = 1e18;

/// How the columns of a table become those of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The feature columns, in order.
    pub schema: Schema,
    /// For each feature what is subtracted before it becomes an `f32`: 0, or the middle of values that differ only in their
    /// last digits (a time stamp, an identifier).
    pub offsets: Vec<f64>,
    /// For each feature what stands for a missing number, where training had none and the pipeline relies on that.
    pub fill: Vec<Option<f32>>,
    /// Columns of the training table that carry no information, and why they are left out.
    pub ignored: Vec<(String, String)>,
}

impl Binding {
    /// Fixes the features of a training table (without its target).
    ///
    /// # Errors
    /// [`DataError::NoFeatures`] where no column carries information.
    pub fn new(table: &Table) -> Result<Self, DataError> {
        let (mut columns, mut offsets, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
        for column in &table.columns {
            if let Some(why) = uninformative(&column.data) {
                ignored.push((column.name.clone(), why.to_owned()));
            } else {
                columns.push(ColumnSchema::of(column));
                offsets.push(offset(&column.data));
            }
        }
        if columns.is_empty() {
            return Err(DataError::NoFeatures { file: table.name.clone() });
        }
        let mut binding = Self { schema: Schema { columns }, fill: vec![None; offsets.len()], offsets, ignored };
        // Nothing may be missing later where nothing was missing in training: then the median stands for it.
        let frame = binding.frame(table)?;
        if kind(&frame) == kinds::DENSE {
            binding.fill = frame.columns().iter().map(|column| median(column)).collect();
        }
        Ok(binding)
    }

    /// The frame of a table that has the bound columns, such as one read with [`Binding::schema`].
    ///
    /// # Errors
    /// [`DataError`] for a column that is missing or has another type.
    pub fn frame(&self, table: &Table) -> Result<Frame, DataError> {
        let mut columns = Vec::with_capacity(self.schema.columns.len());
        for ((wanted, offset), fill) in self.schema.columns.iter().zip(&self.offsets).zip(&self.fill) {
            let column = table.column(&wanted.name)?;
            if column.data.kind() != wanted.kind {
                return Err(DataError::Levels { file: table.name.clone(), column: column.name.clone() });
            }
            columns.push(Arc::new(Column::new(values(column, wanted, *offset, *fill, table)?)));
        }
        Ok(Frame::new(table.rows, columns).unwrap_or_default())
    }

    /// The frame of a table without rows.
    pub fn no_rows(&self) -> Frame {
        let column = |column: &ColumnSchema| {
            Arc::new(Column::new(match column.kind {
                ColumnType::Numeric | ColumnType::Boolean => Values::Numeric(Vec::new()),
                ColumnType::Category => {
                    Values::Category { codes: Vec::new(), levels: u32::try_from(column.levels.len()).unwrap_or(u32::MAX) }
                }
                ColumnType::DateTime => Values::DateTime(Vec::new()),
                ColumnType::Text => Values::Text(Vec::new()),
            }))
        };
        Frame::new(0, self.schema.columns.iter().map(column).collect()).unwrap_or_default()
    }
}

/// The narrowest kind that describes a frame: `dense`, `numeric` or `raw`.
pub fn kind(frame: &Frame) -> Kind {
    let mut kind = kinds::DENSE;
    for column in frame.columns() {
        match column.values() {
            Values::Numeric(values) if values.iter().any(|value| value.is_nan()) => kind = kinds::NUMERIC,
            Values::Numeric(_) => {}
            _ => return kinds::RAW,
        }
    }
    kind
}

fn values(
    column: &TableColumn,
    wanted: &ColumnSchema,
    offset: f64,
    fill: Option<f32>,
    table: &Table,
) -> Result<Values, DataError> {
    Ok(match &column.data {
        ColumnData::Numeric(values) => {
            let narrow = |value: f64| match (value.is_nan(), fill) {
                (true, Some(fill)) => fill,
                _ => (value - offset).clamp(-LARGEST, LARGEST) as f32,
            };
            Values::Numeric(values.iter().map(|&value| narrow(value)).collect())
        }
        ColumnData::Boolean(values) => {
            let missing = fill.unwrap_or(f32::NAN);
            let number = |value: &Option<bool>| value.map_or(missing, |value| if value { 1.0 } else { 0.0 });
            Values::Numeric(values.iter().map(number).collect())
        }
        ColumnData::Category { codes, levels } if *levels == wanted.levels => {
            Values::Category { codes: codes.clone(), levels: u32::try_from(levels.len()).unwrap_or(u32::MAX) }
        }
        ColumnData::DateTime(values) => Values::DateTime(values.clone()),
        ColumnData::Text(values) => Values::Text(values.clone()),
        ColumnData::Category { .. } => {
            return Err(DataError::Levels { file: table.name.clone(), column: column.name.clone() });
        }
    })
}

/// Why a column says nothing about any target, if so.
fn uninformative(data: &ColumnData) -> Option<&'static str> {
    fn constant<T: PartialEq>(values: impl Iterator<Item = Option<T>>) -> Option<&'static str> {
        let (mut first, mut missing) = (None, false);
        for value in values {
            match (value, &first) {
                (None, _) => missing = true,
                (Some(value), None) => first = Some(value),
                (Some(value), Some(first)) if value != *first => return None,
                _ => {}
            }
        }
        match (first, missing) {
            (None, _) => Some("all its values are missing"),
            (Some(_), false) => Some("all its values are equal"),
            // Whether a value is there may itself say something.
            (Some(_), true) => None,
        }
    }
    match data {
        ColumnData::Numeric(values) | ColumnData::DateTime(values) => {
            constant(values.iter().map(|&value| (!value.is_nan()).then_some(value)))
        }
        ColumnData::Boolean(values) => constant(values.iter().copied()),
        ColumnData::Category { codes, .. } => constant(codes.iter().map(|&code| (code != crate::table::MISSING).then_some(code))),
        ColumnData::Text(values) => constant(values.iter().map(|value| value.as_deref())),
    }
}

/// The middle of numbers whose differences an `f32` would lose, else 0.
fn offset(data: &ColumnData) -> f64 {
    if let ColumnData::Numeric(values) = data { middle_of_close(values) } else { 0.0 }
}

fn middle_of_close(values: &[f64]) -> f64 {
    let finite = || values.iter().copied().filter(|value| !value.is_nan());
    let (lo, hi) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), value| (lo.min(value), hi.max(value)));
    let middle = lo / 2.0 + hi / 2.0;
    if hi - lo < middle.abs() * 1e-3 { middle } else { 0.0 }
}

fn median(column: &Column) -> Option<f32> {
    let Values::Numeric(values) = column.values() else { return None };
    let mut values: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// Takes the column of row weights out of a table.
///
/// # Errors
/// [`DataError::Weights`] where the column holds no numbers, or one that is missing, negative or too large, or nothing above 0.
pub fn take_weights(table: &mut Table, name: &str) -> Result<Vec<f32>, DataError> {
    let column = table.drop_column(name)?;
    let problem = |problem: String| DataError::Weights { file: table.name.clone(), column: name.to_owned(), problem };
    let ColumnData::Numeric(values) = column.data else {
        return Err(problem(format!("its values are of the type {}, not numbers", column.data.kind().name())));
    };
    if let Some(row) = values.iter().position(|value| !(0.0..=1e12).contains(value)) {
        let found = if values[row].is_nan() { "missing".to_owned() } else { values[row].to_string() };
        return Err(problem(format!("row {} is {found}; a weight is a number from 0 to 1e12", row + 1)));
    }
    if values.iter().all(|value| *value == 0.0) {
        return Err(problem("all its values are 0: no row would count".into()));
    }
    Ok(values.into_iter().map(|value| value as f32).collect())
}

/// The target column of a training table, with the rows that have one.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetColumn {
    /// Its name.
    pub name: String,
    /// What is to be predicted, for the rows kept.
    pub target: Target,
    /// Class labels by code, sorted (numbers by value); empty for a regression.
    pub labels: Vec<String>,
    /// Rows whose target is not missing.
    pub rows: Vec<usize>,
    /// Rows left out because their target is missing.
    pub missing: usize,
}

/// What is lost of the digits of a regression target, in a whole sentence.
pub(crate) fn lost_digits(name: &str, target: &Target) -> Option<String> {
    let Target::Values(values) = target else { return None };
    let middle = middle_of_close(values);
    (middle != 0.0).then(|| {
        format!(
            "the values of `{name}` differ only in their last digits, of which predictions keep seven; subtract {middle:.0} first"
        )
    })
}

/// Distinct whole numbers up to which a numeric target counts as classes.
const FEW: usize = 20;

impl TargetColumn {
    /// Takes the target out of a table: classes for text, truth values and few whole numbers, unless `task` says otherwise.
    ///
    /// # Errors
    /// [`DataError`] where the column is absent, all missing, constant, or does not fit the task.
    pub fn take(table: &mut Table, name: &str, task: Option<Task>) -> Result<Self, DataError> {
        let column = table.drop_column(name)?;
        let file = table.name.clone();
        let problem = |problem: &str| DataError::Target { file: file.clone(), column: name.to_owned(), problem: problem.into() };
        let labelled = labels_of(&column.data, task).map_err(|why| problem(&why))?;
        let rows: Vec<usize> = (0..table.rows).filter(|&row| labelled.present(row)).collect();
        if rows.is_empty() {
            return Err(problem("all its values are missing; name a column that has some"));
        }
        let missing = table.rows - rows.len();
        let (target, labels) = match labelled {
            Labelled::Values(values) => {
                let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
                if values.iter().any(|value| value.abs() > LARGEST) {
                    return Err(problem("its values go beyond 1e18; write them in a larger unit, or as logarithms"));
                }
                if values.iter().all(|value| Some(value) == values.first()) {
                    return Err(problem("all its values are equal: there is nothing to learn"));
                }
                (Target::Values(values), Vec::new())
            }
            Labelled::Classes(codes, labels) => {
                if labels.len() < 2 {
                    return Err(problem("it has one class alone: there is nothing to learn"));
                }
                let codes = rows.iter().filter_map(|&row| codes[row]).collect();
                (Target::Classes { codes, classes: labels.len() }, labels)
            }
        };
        if missing > 0 {
            *table = table.take(&rows);
        }
        Ok(Self { name: name.to_owned(), target, labels, rows, missing })
    }

    /// The truth of a labelled table for a model with these labels: codes, or values. Rows without a target, or with a label
    /// that the model does not know, are left out.
    ///
    /// # Errors
    /// [`DataError`] where the column is absent or nothing is left.
    pub fn truth(table: &Table, name: &str, labels: &[String]) -> Result<(Target, Vec<usize>), DataError> {
        let column = table.column(name)?;
        let problem =
            |problem: &str| DataError::Target { file: table.name.clone(), column: name.to_owned(), problem: problem.into() };
        let task = if labels.is_empty() { Task::Regression } else { Task::Classification };
        let labelled = labels_of(&column.data, Some(task)).map_err(|why| problem(&why))?;
        let (rows, target): (Vec<usize>, Target) = match labelled {
            Labelled::Values(values) => {
                let rows: Vec<usize> = (0..table.rows).filter(|&row| !values[row].is_nan()).collect();
                let kept = rows.iter().map(|&row| values[row]).collect();
                (rows, Target::Values(kept))
            }
            Labelled::Classes(codes, found) => {
                let known: Vec<Option<u32>> = found
                    .iter()
                    .map(|label| labels.iter().position(|known| known == label).and_then(|code| u32::try_from(code).ok()))
                    .collect();
                let code = |row: usize| codes[row].and_then(|code| known.get(code as usize).copied().flatten());
                let (rows, codes) = (0..table.rows).filter_map(|row| Some((row, code(row)?))).unzip();
                (rows, Target::Classes { codes, classes: labels.len() })
            }
        };
        if rows.is_empty() {
            return Err(problem("no row has a value that the model knows"));
        }
        Ok((target, rows))
    }
}

enum Labelled {
    Values(Vec<f64>),
    Classes(Vec<Option<u32>>, Vec<String>),
}

impl Labelled {
    fn present(&self, row: usize) -> bool {
        match self {
            Self::Values(values) => values.get(row).is_some_and(|value| !value.is_nan()),
            Self::Classes(codes, _) => codes.get(row).is_some_and(Option::is_some),
        }
    }
}

fn labels_of(data: &ColumnData, task: Option<Task>) -> Result<Labelled, String> {
    match (data, task) {
        (ColumnData::Numeric(values), Some(Task::Regression)) => Ok(Labelled::Values(values.clone())),
        (ColumnData::Numeric(values), None) if !few_whole(values) => Ok(Labelled::Values(values.clone())),
        (ColumnData::Numeric(values), _) => Ok(numeric_classes(values)),
        (_, Some(Task::Regression)) => {
            let kind: ColumnType = data.kind();
            Err(format!(
                "a regression needs numbers, but its values are of the type {}; leave out `--task`, or clean the column",
                kind.name()
            ))
        }
        (ColumnData::Boolean(values), _) => {
            let present: Vec<bool> = [false, true].into_iter().filter(|value| values.contains(&Some(*value))).collect();
            let code = |value: bool| present.iter().position(|&other| other == value).and_then(|code| u32::try_from(code).ok());
            let codes = values.iter().map(|value| value.and_then(code)).collect();
            Ok(Labelled::Classes(codes, present.iter().map(ToString::to_string).collect()))
        }
        (ColumnData::Category { codes, levels }, _) => {
            Ok(texts(codes.iter().map(|&code| levels.get(code as usize).map(String::as_str))))
        }
        (ColumnData::Text(values), _) => Ok(texts(values.iter().map(|value| value.as_deref()))),
        (ColumnData::DateTime(_), _) => Err("its values are dates; a target is a class or a number".into()),
    }
}

fn few_whole(values: &[f64]) -> bool {
    let mut distinct: Vec<f64> = Vec::new();
    for &value in values.iter().filter(|value| !value.is_nan()) {
        if value.fract() != 0.0 {
            return false;
        }
        if !distinct.contains(&value) {
            distinct.push(value);
            if distinct.len() > FEW {
                return false;
            }
        }
    }
    true
}

fn numeric_classes(values: &[f64]) -> Labelled {
    // A negative zero is the class of zero.
    let values: Vec<f64> = values.iter().map(|&value| value + 0.0).collect();
    let mut distinct: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup();
    let code =
        |value: f64| distinct.binary_search_by(|other| other.total_cmp(&value)).ok().and_then(|code| u32::try_from(code).ok());
    let codes = values.iter().map(|&value| if value.is_nan() { None } else { code(value) }).collect();
    Labelled::Classes(codes, distinct.iter().map(ToString::to_string).collect())
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>> + Clone) -> Labelled {
    let mut labels: Vec<&str> = values.clone().flatten().collect();
    labels.sort_unstable();
    labels.dedup();
    let code = |value: &str| labels.binary_search(&value).ok().and_then(|code| u32::try_from(code).ok());
    let codes = values.map(|value| value.and_then(code)).collect();
    Labelled::Classes(codes, labels.iter().map(ToString::to_string).collect())
}
