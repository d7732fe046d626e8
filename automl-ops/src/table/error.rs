//! What can go wrong between a file and a table, said so that the user can act on it.
//!
//! Every message names the file and, where known, the line and the column; then what was expected; then what to do next. A
//! misspelt column name is answered with the nearest one, since that is the most frequent mistake of all.

use std::io;

/// An error of reading a file into a [`Table`](super::Table), or of asking a table for a column it does not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path leads nowhere.
    #[error("{file}: there is no such file; check the path and the folder you started in")]
    NotFound {
        /// The path as given.
        file: String,
    },
    /// The path is a directory.
    #[error("{file}: this is a directory; name one CSV, TSV or Parquet file in it")]
    Directory {
        /// The path as given.
        file: String,
    },
    /// The operating system refused.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The path as given.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Gzip data that ends early or does not decode.
    #[error("{file}: the gzip data is {what}; copy or download the file again (`gzip -t` tells whether it is whole)")]
    Gzip {
        /// The path as given.
        file: String,
        /// `cut off before its end` or `damaged`.
        what: &'static str,
    },
    /// A file of a format that is known but not read.
    #[error("{file}: this is {format}, expected CSV, TSV (plain or gzip) or Parquet; {advice}")]
    Format {
        /// The path as given.
        file: String,
        /// What the first bytes say, with its article.
        format: &'static str,
        /// What to do next.
        advice: &'static str,
    },
    /// A table whose columns say nothing.
    #[error("{file}: no column beside the target carries information; every one is constant or all missing")]
    NoFeatures {
        /// The path as given.
        file: String,
    },
    /// A target column that cannot be learnt.
    #[error("{file}: the target `{column}` cannot be used: {problem}")]
    Target {
        /// The path as given.
        file: String,
        /// Name of the target.
        column: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A column of row weights that cannot be used.
    #[error("{file}: the weights `{column}` cannot be used: {problem}")]
    Weights {
        /// The path as given.
        file: String,
        /// Name of the column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A column that cannot be left out.
    #[error("{file}: the column `{column}` cannot be left out: {problem}")]
    Drop {
        /// The path as given.
        file: String,
        /// Name of the column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A column of another type, or of categories with other codes, than the model knows.
    #[error(
        "{file}: the column `{column}` has another type or other category codes than in training; read the file with the model's schema"
    )]
    Levels {
        /// The path as given.
        file: String,
        /// Name of the column.
        column: String,
    },
    /// No header line.
    #[error("{file}: the file is empty; expected a header line with the column names, then one line a row")]
    Empty {
        /// The path as given.
        file: String,
    },
    /// A header and nothing else.
    #[error("{file}: the file has a header with {columns} column(s) but no rows; check that the export finished")]
    NoRows {
        /// The path as given.
        file: String,
        /// Number of columns in the header.
        columns: usize,
    },
    /// A line with too many or too few fields.
    #[error("{file}, line {line}: expected {expected} fields as in the header, found {found} (delimiter {delimiter}); {advice}")]
    Ragged {
        /// The path as given.
        file: String,
        /// Line in the file, from 1; of a record over several lines, the first.
        line: u64,
        /// Fields in the header.
        expected: usize,
        /// Fields in this record.
        found: usize,
        /// The delimiter in use, readable.
        delimiter: String,
        /// What to look for.
        advice: &'static str,
    },
    /// A quoted value that runs to the end of the file.
    #[error(
        "{file}, line {line}: a quote opens in this line and never closes; close it, or double a quote that is meant literally"
    )]
    Quote {
        /// The path as given.
        file: String,
        /// Line in the file, from 1.
        line: u64,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "{file}, line {line}, column `{column}`: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8, for example \
         `iconv -f latin1 -t utf-8 IN > OUT`"
    )]
    NotUtf8 {
        /// The path as given.
        file: String,
        /// Line in the file, from 1.
        line: u64,
        /// Column name, or its position for a cell of the header.
        column: String,
        /// The first byte that does not belong.
        byte: u8,
    },
    /// A value that does not parse under a type the user demanded.
    #[error(
        "{file}, {place}, column `{column}`: `{value}` is not {expected}; correct the value, add it to the missing tokens, or \
         give the column another type"
    )]
    BadValue {
        /// The path as given.
        file: String,
        /// `line 7`, or `row 7` in a format without lines; from 1.
        place: String,
        /// Column name.
        column: String,
        /// The value, shortened when long.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A column that was asked for and is not there.
    #[error("{file}: there is no column `{column}`{suggestion}; the file has {have}")]
    NoColumn {
        /// The path as given.
        file: String,
        /// The name asked for.
        column: String,
        /// ` (did you mean …?)` or empty.
        suggestion: String,
        /// The names the file has.
        have: String,
    },
    /// A schema that names a column twice.
    #[error("the schema names column `{column}` twice; remove one of the two")]
    SchemaTwice {
        /// The name.
        column: String,
    },
    /// A Parquet column of a type that no table column can hold.
    #[error(
        "{file}, column `{column}`: values of type {found} are not read, expected numbers, booleans, strings, dates or times; \
         flatten or drop the column before writing the file"
    )]
    ColumnType {
        /// The path as given.
        file: String,
        /// Column name.
        column: String,
        /// The Arrow type.
        found: String,
    },
    /// A Parquet file that does not decode.
    #[error("{file}: not a whole Parquet file: {message}; write or copy it again")]
    Parquet {
        /// The path as given.
        file: String,
        /// What the decoder said.
        message: String,
    },
    /// An unknown name of a column type.
    #[error("there is no column type `{name}`{suggestion}; the types are numeric, boolean, category, date_time and text")]
    TypeName {
        /// The name asked for.
        name: String,
        /// ` (did you mean …?)` or empty.
        suggestion: String,
    },
}

impl DataError {
    /// The error for a column name that none of `have` equals.
    pub(crate) fn no_column<'a>(file: &str, column: &str, have: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self::NoColumn {
            file: file.to_owned(),
            column: column.to_owned(),
            suggestion: did_you_mean(column, have.clone()),
            have: list(have),
        }
    }
}

/// ` (did you mean `x`?)` for the nearest of `have`, empty where nothing is near.
pub(crate) fn did_you_mean<'a>(name: &str, have: impl Iterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    have.map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, other)| format!(" (did you mean `{other}`?)"))
        .unwrap_or_default()
}

/// Names in backticks, the first 20 of them.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = names.collect();
    let mut text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        text.push_str("no columns");
    }
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let have = ["income", "age", "workclass"];
        assert_eq!(did_you_mean("Incme", have.into_iter()), " (did you mean `income`?)");
        assert_eq!(did_you_mean("target", have.into_iter()), "");
        let error = DataError::no_column("a.csv", "agee", have.into_iter()).to_string();
        assert_eq!(error, "a.csv: there is no column `agee` (did you mean `age`?); the file has `income`, `age`, `workclass`");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..30).map(|i| format!("c{i}")).collect();
        assert!(list(names.iter().map(String::as_str)).ends_with("`c19` and 10 more"));
    }
}
