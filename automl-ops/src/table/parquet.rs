//! Reads Parquet files through Arrow, a batch of rows at a time.
//!
//! The file states its types, so nothing is inferred but whether a column of strings holds categories or text. Only the columns
//! that are wanted are decoded.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};

use arrow_array::cast::AsArray;
use arrow_array::types::{Date64Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::convert::{self, Context, Declared, Missing, Raw, Strings};
use super::source::Input;
use super::{DataError, MISSING, ReadOptions, Schema, Table, sniff, wanted};

/// Reads the columns of a Parquet file; all of them without a schema.
///
/// The decoder itself panics on some damaged files (a negative page offset, a dictionary that is missing): that is caught and
/// becomes the error it should have been. All that the closure touches is dropped with it.
pub(super) fn read(input: &Input, schema: Option<&Schema>, options: &ReadOptions) -> Result<Table, DataError> {
    panic::catch_unwind(AssertUnwindSafe(|| decode(input, schema, options))).unwrap_or_else(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or(cause.downcast_ref::<&str>().copied());
        let message = said.unwrap_or("the decoder gave up").to_owned();
        Err(DataError::Parquet { file: input.file.clone(), message })
    })
}

fn decode(input: &Input, schema: Option<&Schema>, options: &ReadOptions) -> Result<Table, DataError> {
    let broken = |message: String| DataError::Parquet { file: input.file.clone(), message };
    let path = input.path().ok_or_else(|| broken("it comes through a pipe, and its index stands at the end".to_owned()))?;
    let file = File::open(path).map_err(|error| input.io(error))?;
    let meta = ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| broken(error.to_string()))?;

    let mut warnings = Vec::new();
    let fields = meta.schema().fields();
    let header = fields.iter().map(|field| field.name().trim().to_owned()).collect();
    let names = sniff::names(header, &input.file, &mut warnings);
    let wants = wanted(&input.file, &names, schema, options)?;
    // A projection delivers columns in the order of the file.
    let mut positions: Vec<usize> = wants.iter().map(|(position, _)| *position).collect();
    positions.sort_unstable();
    let mut columns = positions
        .iter()
        .map(|&position| Cells::new(&input.file, &names[position], fields[position].data_type()))
        .collect::<Result<Vec<Cells>, DataError>>()?;

    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, meta);
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(8192).build().map_err(|error| broken(error.to_string()))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| broken(error.to_string()))?;
        rows += batch.num_rows();
        for (cells, array) in columns.iter_mut().zip(batch.columns()) {
            cells.push(array).map_err(|error| broken(error.to_string()))?;
        }
    }
    if rows == 0 {
        return Err(DataError::NoRows { file: input.file.clone(), columns: names.len() });
    }

    let missing = Missing::new(&[]);
    let place = |row: usize| format!("row {}", row + 1);
    let mut raws: Vec<Option<Raw>> = columns.into_iter().map(|cells| Some(cells.raw)).collect();
    let mut found = Vec::with_capacity(wants.len());
    for (position, want) in wants {
        let column = &names[position];
        let taken = positions.binary_search(&position).ok().and_then(|slot| raws.get_mut(slot)?.take());
        let raw = taken.ok_or_else(|| broken(format!("column `{column}` is not where its index says")))?;
        let mut cx = Context { file: &input.file, column, missing: &missing, place: &place, warnings: &mut warnings };
        found.push(convert::finish(raw, want, &mut cx)?);
    }
    Ok(Table { name: input.file.clone(), columns: found, rows, warnings })
}

/// The values of one column so far.
struct Cells {
    raw: Raw,
    /// What every batch is cast to before it is taken apart.
    cast: DataType,
    /// Seconds in one unit of a time stamp.
    unit: f64,
}

impl Cells {
    fn new(file: &str, column: &str, found: &DataType) -> Result<Self, DataError> {
        let numbers = || Raw::Numbers { values: Vec::new(), infinite: 0, unparsed: 0 };
        let strings = |declared| Raw::Strings(Strings { declared, ..Strings::default() });
        let dates = || Raw::Dates(Vec::new());
        let (inner, declared) = match found {
            DataType::Dictionary(_, values) => (&**values, Declared::Dictionary),
            other => (other, Declared::Strings),
        };
        let (raw, cast, unit) = match inner {
            DataType::Null => (numbers(), DataType::Float64, 1.0),
            kind if kind.is_numeric() => (numbers(), DataType::Float64, 1.0),
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => (numbers(), DataType::Int64, seconds(inner)),
            DataType::Boolean => (Raw::Booleans(Vec::new()), DataType::Boolean, 1.0),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (strings(declared), DataType::LargeUtf8, 1.0),
            DataType::Date32 | DataType::Date64 => (dates(), DataType::Date64, 1e-3),
            DataType::Timestamp(_, zone) => (dates(), DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), 1e-6),
            _ => {
                return Err(DataError::ColumnType { file: file.to_owned(), column: column.to_owned(), found: found.to_string() });
            }
        };
        Ok(Self { raw, cast, unit })
    }

    fn push(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let array = cast(array, &self.cast)?;
        let unit = self.unit;
        match &mut self.raw {
            Raw::Numbers { values, infinite, .. } => match array.data_type() {
                DataType::Int64 => {
                    let times = array.as_primitive::<Int64Type>();
                    values.extend(times.iter().map(|time| time.map_or(f64::NAN, |time| time as f64 * unit)));
                }
                _ => {
                    for value in array.as_primitive::<Float64Type>() {
                        let value = value.unwrap_or(f64::NAN);
                        *infinite += usize::from(value.is_infinite());
                        values.push(if value.is_finite() { value } else { f64::NAN });
                    }
                }
            },
            Raw::Booleans(values) => values.extend(array.as_boolean()),
            Raw::Dates(values) => match array.data_type() {
                DataType::Date64 => {
                    let dates = array.as_primitive::<Date64Type>();
                    values.extend(dates.iter().map(|date| date.map_or(f64::NAN, |date| date as f64 * unit)));
                }
                _ => {
                    let times = array.as_primitive::<TimestampMicrosecondType>();
                    values.extend(times.iter().map(|time| time.map_or(f64::NAN, |time| time as f64 * unit)));
                }
            },
            Raw::Strings(strings) => {
                for text in array.as_string::<i64>() {
                    let text = text.unwrap_or_default().trim();
                    // Arrow strings are UTF-8, so that interning them cannot fail.
                    let code = if text.is_empty() { None } else { strings.dictionary.intern(text.as_bytes()).ok() };
                    strings.codes.push(code.unwrap_or(MISSING));
                }
            }
        }
        Ok(())
    }
}

/// Seconds in one unit of a type that counts time.
fn seconds(kind: &DataType) -> f64 {
    match kind {
        DataType::Time32(unit) | DataType::Time64(unit) | DataType::Duration(unit) => match unit {
            TimeUnit::Second => 1.0,
            TimeUnit::Millisecond => 1e-3,
            TimeUnit::Microsecond => 1e-6,
            TimeUnit::Nanosecond => 1e-9,
        },
        _ => 1.0,
    }
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
