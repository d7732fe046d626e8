//! Tables as they are read from a file, before a pipeline has settled on what to do with them.
//!
//! [`read`] takes a CSV, TSV or Parquet file (told apart by its first bytes, gzip seen through) and decides the type of every
//! column from *all* its values. [`read_with_schema`] takes the decisions of an earlier table instead, which is what prediction
//! needs: the columns a model was trained on, in their order, with the same category codes, and missing values where the new
//! file holds something else.
//!
//! A [`Table`] keeps what the file said (`f64`, sorted category levels); a `Frame` is what flows through
//! a pipeline.

mod convert;
mod csv;
mod dates;
mod error;
mod intern;
mod parquet;
mod schema;
mod sniff;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use dates::DateOrder;
pub use error::DataError;
pub(crate) use error::did_you_mean;
pub use schema::{ColumnSchema, Schema};

use convert::Want;
use source::{Format, Input};

/// The code of a missing or unseen category, here and in frames.
pub const MISSING: u32 = u32::MAX;

/// The cells that are missing values unless [`ReadOptions::missing`] says otherwise. An empty cell is always missing.
pub const MISSING_TOKENS: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"];

/// Columns of equal length, and what the reader had to decide on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The file it comes from, as given; used in messages.
    pub name: String,
    /// The columns in the order of the file, or of the schema it was read with.
    pub columns: Vec<TableColumn>,
    /// Number of rows.
    pub rows: usize,
    /// Whole sentences about repairs: renamed columns, infinite values, cells that did not parse.
    pub warnings: Vec<String>,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    /// Name from the header, without surrounding spaces; unique in its table.
    pub name: String,
    /// The values.
    pub data: ColumnData,
    /// How its dates are written, where they end with the year.
    pub date_order: Option<DateOrder>,
}

/// The values of a column, one a row.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// Numbers; `NaN` is missing. Never infinite.
    Numeric(Vec<f64>),
    /// Truth values; `None` is missing.
    Boolean(Vec<Option<bool>>),
    /// One of few strings.
    Category {
        /// Positions in `levels`; [`MISSING`] is missing or unseen.
        codes: Vec<u32>,
        /// Distinct values: sorted, or as the schema lists them.
        levels: Vec<String>,
    },
    /// Seconds since 1970-01-01 UTC; `NaN` is missing.
    DateTime(Vec<f64>),
    /// Free text; `None` is missing. Equal texts share their memory.
    Text(Vec<Option<Arc<str>>>),
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Numbers.
    Numeric,
    /// Truth values.
    Boolean,
    /// One of few strings.
    Category,
    /// Points in time.
    DateTime,
    /// Free text.
    Text,
}

/// How to read a file. The default suits most files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Types of columns by name, where the values would suggest another. [`read_with_schema`] does not look at them.
    pub types: BTreeMap<String, ColumnType>,
    /// Columns that are read but are no features, for [`Training::read`](crate::Training::read).
    pub drop: Vec<String>,
    /// Cells that are missing values, instead of [`MISSING_TOKENS`]; compared exactly, without surrounding spaces.
    /// In Parquet files only nulls, NaN and blank strings are missing.
    pub missing: Vec<String>,
    /// The byte between fields; default: found out from the name and the first lines.
    pub delimiter: Option<u8>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { types: BTreeMap::new(), drop: Vec::new(), missing: MISSING_TOKENS.map(str::to_owned).to_vec(), delimiter: None }
    }
}

/// Reads a file and infers the types of its columns.
///
/// # Errors
/// See [`DataError`]: the file cannot be read, has no rows or unequal lines, or a value contradicts [`ReadOptions::types`].
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Table, DataError> {
    dispatch(Input::open(path.as_ref())?, None, options)
}

/// Reads the columns that `schema` lists, in its order; others are ignored.
///
/// Unseen categories and cells that do not parse become missing values, with a warning that counts them.
///
/// # Errors
/// See [`DataError`]: the file cannot be read, has no rows or unequal lines, or lacks a column.
pub fn read_with_schema(path: impl AsRef<Path>, schema: &Schema, options: &ReadOptions) -> Result<Table, DataError> {
    dispatch(Input::open(path.as_ref())?, Some(schema), options)
}

fn dispatch(input: Input, schema: Option<&Schema>, options: &ReadOptions) -> Result<Table, DataError> {
    match input.format {
        Format::Delimited => csv::read(&input, schema, options),
        Format::Parquet => parquet::read(&input, schema, options),
    }
}

impl Table {
    /// The type of every column and the levels of categories: what [`read_with_schema`] needs to read alike.
    pub fn schema(&self) -> Schema {
        Schema { columns: self.columns.iter().map(ColumnSchema::of).collect() }
    }

    /// The position of a column.
    ///
    /// # Errors
    /// [`DataError::NoColumn`], with the nearest name and those there are.
    pub fn position(&self, name: &str) -> Result<usize, DataError> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| DataError::no_column(&self.name, name, self.columns.iter().map(|column| column.name.as_str())))
    }

    /// A column by name.
    ///
    /// # Errors
    /// As [`position`](Self::position).
    pub fn column(&self, name: &str) -> Result<&TableColumn, DataError> {
        self.position(name).map(|position| &self.columns[position])
    }

    /// Takes a column out of the table and returns it.
    ///
    /// # Errors
    /// As [`position`](Self::position).
    pub fn drop_column(&mut self, name: &str) -> Result<TableColumn, DataError> {
        self.position(name).map(|position| self.columns.remove(position))
    }

    /// The named rows, in the order given and as often as given. Categories keep all their levels.
    ///
    /// # Panics
    /// If a row is not below [`rows`](Self::rows).
    pub fn take(&self, rows: &[usize]) -> Table {
        Table {
            name: self.name.clone(),
            columns: self.columns.iter().map(|column| column.take(rows)).collect(),
            rows: rows.len(),
            warnings: Vec::new(),
        }
    }
}

impl TableColumn {
    /// A column without a [`DateOrder`].
    pub fn new(name: impl Into<String>, data: ColumnData) -> Self {
        Self { name: name.into(), data, date_order: None }
    }

    /// The named rows, in the order given. Panics as [`Table::take`] does.
    pub fn take(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|&row| values[row].clone()).collect()
        }
        let data = match &self.data {
            ColumnData::Numeric(values) => ColumnData::Numeric(pick(values, rows)),
            ColumnData::Boolean(values) => ColumnData::Boolean(pick(values, rows)),
            ColumnData::Category { codes, levels } => ColumnData::Category { codes: pick(codes, rows), levels: levels.clone() },
            ColumnData::DateTime(values) => ColumnData::DateTime(pick(values, rows)),
            ColumnData::Text(values) => ColumnData::Text(pick(values, rows)),
        };
        Self { name: self.name.clone(), data, date_order: self.date_order }
    }
}

impl ColumnData {
    /// The type of the column.
    pub fn kind(&self) -> ColumnType {
        match self {
            Self::Numeric(_) => ColumnType::Numeric,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Category { .. } => ColumnType::Category,
            Self::DateTime(_) => ColumnType::DateTime,
            Self::Text(_) => ColumnType::Text,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numeric(values) | Self::DateTime(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Category { codes, .. } => codes.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of missing values.
    pub fn missing(&self) -> usize {
        match self {
            Self::Numeric(values) | Self::DateTime(values) => values.iter().filter(|value| value.is_nan()).count(),
            Self::Boolean(values) => values.iter().filter(|value| value.is_none()).count(),
            Self::Category { codes, .. } => codes.iter().filter(|code| **code == MISSING).count(),
            Self::Text(values) => values.iter().filter(|value| value.is_none()).count(),
        }
    }
}

impl ColumnType {
    /// All types.
    pub const ALL: [Self; 5] = [Self::Numeric, Self::Boolean, Self::Category, Self::DateTime, Self::Text];

    /// The name in configs and messages: `numeric`, `boolean`, `category`, `date_time`, `text`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::DateTime => "date_time",
            Self::Text => "text",
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ColumnType {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| DataError::TypeName {
            name: name.to_owned(),
            suggestion: did_you_mean(name, Self::ALL.into_iter().map(Self::name)),
        })
    }
}

/// What is wanted of each column of a file: a column of the file, and how to read it; `None` skips it.
///
/// Without a schema that is every column of the file, in its order.
fn wanted<'a>(
    file: &str,
    names: &[String],
    schema: Option<&'a Schema>,
    options: &ReadOptions,
) -> Result<Vec<(usize, Want<'a>)>, DataError> {
    let have = || names.iter().map(String::as_str);
    if let Some(schema) = schema {
        let mut seen = BTreeSet::new();
        if let Some(twice) = schema.columns.iter().find(|column| !seen.insert(&column.name)) {
            return Err(DataError::SchemaTwice { column: twice.name.clone() });
        }
        return schema
            .columns
            .iter()
            .map(|column| match names.iter().position(|name| *name == column.name) {
                Some(position) => Ok((position, Want::Known(column))),
                None => Err(DataError::no_column(file, &column.name, have())),
            })
            .collect();
    }
    if let Some(unknown) = options.types.keys().find(|name| !names.contains(name)) {
        return Err(DataError::no_column(file, unknown, have()));
    }
    Ok(names
        .iter()
        .map(|name| options.types.get(name).map_or(Want::Inferred, |kind| Want::Demanded(*kind)))
        .enumerate()
        .collect())
}

#[cfg(test)]
mod tests;
