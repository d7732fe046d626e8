//! A training table made ready: features as a frame, the target, and how later tables become frames.

use std::path::Path;

use automl_core::Kind;

use crate::dataset::{self, Binding, TargetColumn};
use crate::frame::Frame;
use crate::metrics::Task;
use crate::operator::Target;
use crate::pipeline::Data;
use crate::table::{self, ColumnSchema, ColumnType, DataError, ReadOptions, Table};

/// A training table made ready for a search.
#[derive(Debug)]
pub struct Training {
    /// How tables become frames.
    pub binding: Binding,
    /// Name and type of the target column, for reading labelled tables.
    pub target_column: ColumnSchema,
    /// Class labels by code; empty for a regression.
    pub labels: Vec<String>,
    /// The features.
    pub x: Frame,
    /// The target.
    pub y: Target,
    /// How much each row counts; every row counts 1 where absent.
    pub weights: Option<Vec<f32>>,
    /// The narrowest kind of edge that describes the features.
    pub kind: Kind,
    /// What the reader and the binding had to decide, in whole sentences.
    pub notes: Vec<String>,
    /// A hash of names, sizes and values, for the model file.
    pub fingerprint: u64,
}

impl Training {
    /// Reads a file whose column `target` is to be predicted; the column `weights`, if named, says how much each row counts.
    ///
    /// # Errors
    /// [`DataError`] that names file, line and column.
    pub fn read(
        path: &Path,
        target: &str,
        weights: Option<&str>,
        task: Option<Task>,
        options: &ReadOptions,
    ) -> Result<Self, DataError> {
        let mut read = table::read(path, options)?;
        // Labels such as `Yes` and `No` read as truth values: predictions must speak as the file does.
        if read.column(target)?.data.kind() == ColumnType::Boolean {
            let mut options = options.clone();
            options.types.insert(target.to_owned(), ColumnType::Category);
            read = table::read(path, &options)?;
        }
        for name in &options.drop {
            if name == target {
                let problem = "it is the target".to_owned();
                return Err(DataError::Drop { file: read.name, column: name.clone(), problem });
            }
            read.column(name)?;
        }
        read.columns.retain(|column| !options.drop.contains(&column.name));
        Self::new(read, target, weights, task)
    }

    /// Makes a table ready.
    ///
    /// # Errors
    /// [`DataError`] for a target or features that cannot be used.
    pub fn new(mut table: Table, target: &str, weights: Option<&str>, task: Option<Task>) -> Result<Self, DataError> {
        if weights == Some(target) {
            let problem = "it is the target, which cannot also say how much a row counts".to_owned();
            return Err(DataError::Weights { file: table.name, column: target.to_owned(), problem });
        }
        let weights = weights.map(|name| dataset::take_weights(&mut table, name)).transpose()?;
        let mut target_column = ColumnSchema::of(table.column(target)?);
        let column = TargetColumn::take(&mut table, target, task)?;
        if target_column.kind == ColumnType::Category {
            target_column.levels.clone_from(&column.labels);
        }
        let weights =
            weights.map(|weights| column.rows.iter().filter_map(|&row| weights.get(row).copied()).collect::<Vec<f32>>());
        let binding = Binding::new(&table)?;
        let x = binding.frame(&table)?;
        let mut notes = std::mem::take(&mut table.warnings);
        if column.missing > 0 {
            notes.push(format!("{} rows have no `{target}` and are left out", column.missing));
        }
        notes.extend(dataset::lost_digits(target, &column.target));
        notes.extend(binding.ignored.iter().map(|(name, why)| format!("column `{name}` is left out: {why}")));
        let fingerprint = fingerprint(&x, &column.target, weights.as_deref());
        Ok(Self {
            kind: dataset::kind(&x),
            binding,
            target_column,
            labels: column.labels,
            x,
            y: column.target,
            weights,
            notes,
            fingerprint,
        })
    }

    /// The task.
    pub fn task(&self) -> Task {
        self.y.task()
    }

    /// All the rows, to learn from.
    pub fn data(&self) -> Data<'_> {
        Data { x: &self.x, y: &self.y, weights: self.weights.as_deref() }
    }

    /// Number of training rows.
    pub fn rows(&self) -> usize {
        self.x.rows()
    }
}

fn fingerprint(x: &Frame, y: &Target, weights: Option<&[f32]>) -> u64 {
    use crate::frame::Values;
    use automl_core::hash::StableHash;
    let mut hash = StableHash::new("data").number(x.rows() as u64);
    for column in x.columns() {
        hash = match column.values() {
            Values::Numeric(values) => values.iter().fold(hash, |hash, value| hash.number(u64::from(value.to_bits()))),
            Values::Category { codes, .. } => codes.iter().fold(hash, |hash, &code| hash.number(u64::from(code))),
            Values::DateTime(values) => values.iter().fold(hash, |hash, value| hash.number(value.to_bits())),
            Values::Text(values) => values.iter().fold(hash, |hash, text| hash.text(text.as_deref().unwrap_or(""))),
        };
    }
    let hash = weights.unwrap_or_default().iter().fold(hash, |hash, weight| hash.number(u64::from(weight.to_bits())));
    match y {
        Target::Classes { codes, .. } => codes.iter().fold(hash, |hash, &code| hash.number(u64::from(code))),
        Target::Values(values) => values.iter().fold(hash, |hash, value| hash.number(value.to_bits())),
    }
    .finish()
}
