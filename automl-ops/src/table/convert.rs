//! From raw columns, as a format delivers them, to typed ones: inference, demanded types, and types known from training.
//!
//! Everything but a number arrives as interned strings, so each decision looks at the distinct values only, and reading a
//! million rows of three categories parses three strings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dates::{self, Order, Written};
use super::intern::Interner;
use super::{ColumnData, ColumnSchema, ColumnType, DataError, DateOrder, MISSING, TableColumn};

/// How a column is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want<'a> {
    /// By its values.
    Inferred,
    /// As the user says; a value that does not fit is an error.
    Demanded(ColumnType),
    /// As in training; a value that does not fit is missing.
    Known(&'a ColumnSchema),
}

/// A column as its format delivers it.
pub(super) enum Raw {
    /// Numbers; `NaN` is missing.
    Numbers {
        /// One value a row, never infinite.
        values: Vec<f64>,
        /// How many were infinite.
        infinite: usize,
        /// How many did not parse.
        unparsed: usize,
    },
    /// Truth values.
    Booleans(Vec<Option<bool>>),
    /// Seconds since 1970-01-01 UTC.
    Dates(Vec<f64>),
    /// Strings.
    Strings(Strings),
}

/// Interned cells.
#[derive(Default)]
pub(super) struct Strings {
    /// The distinct cells, missing tokens among them.
    pub(super) dictionary: Interner,
    /// One code a row; [`MISSING`] for an empty cell.
    pub(super) codes: Vec<u32>,
    /// What the format itself says of them.
    pub(super) declared: Declared,
}

/// What a format says of a column of strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Declared {
    /// Nothing: they may spell numbers, dates or truth values.
    #[default]
    Nothing,
    /// They are strings.
    Strings,
    /// They are one of few strings.
    Dictionary,
}

/// Cells that stand for a missing value.
pub(super) struct Missing {
    tokens: Vec<String>,
    longest: usize,
    /// Whether a token such as `-999` also is a number.
    pub(super) numeric: bool,
}

impl Missing {
    pub(super) fn new(tokens: &[String]) -> Self {
        Self {
            longest: tokens.iter().map(String::len).max().unwrap_or(0),
            numeric: tokens.iter().any(|token| number(token).is_some()),
            tokens: tokens.to_vec(),
        }
    }

    pub(super) fn contains(&self, cell: &[u8]) -> bool {
        cell.is_empty() || (cell.len() <= self.longest && self.tokens.iter().any(|token| token.as_bytes() == cell))
    }
}

/// What the conversion of one column needs to know of its surroundings.
pub(super) struct Context<'a> {
    pub(super) file: &'a str,
    pub(super) column: &'a str,
    pub(super) missing: &'a Missing,
    /// `line 7` for a row, from 0.
    pub(super) place: &'a dyn Fn(usize) -> String,
    pub(super) warnings: &'a mut Vec<String>,
}

/// The typed column.
pub(super) fn finish(raw: Raw, want: Want<'_>, cx: &mut Context<'_>) -> Result<TableColumn, DataError> {
    let kind = match want {
        Want::Inferred => match &raw {
            Raw::Numbers { .. } => ColumnType::Numeric,
            Raw::Booleans(_) => ColumnType::Boolean,
            Raw::Dates(_) => ColumnType::DateTime,
            Raw::Strings(strings) => return infer(strings, cx),
        },
        Want::Demanded(kind) => kind,
        Want::Known(known) => known.kind,
    };
    let data = match (kind, raw) {
        (ColumnType::Numeric, Raw::Numbers { values, infinite, unparsed }) => {
            cx.count(infinite, "infinite value(s) read as missing");
            cx.count(unparsed, "value(s) that are not numbers read as missing");
            ColumnData::Numeric(values)
        }
        (ColumnType::Numeric, Raw::Booleans(values)) => {
            let number = |value: Option<bool>| value.map_or(f64::NAN, |value| f64::from(u8::from(value)));
            ColumnData::Numeric(values.into_iter().map(number).collect())
        }
        (ColumnType::Numeric, Raw::Dates(values)) => ColumnData::Numeric(values),
        (ColumnType::DateTime, Raw::Dates(values) | Raw::Numbers { values, .. }) => ColumnData::DateTime(values),
        (ColumnType::Boolean, Raw::Booleans(values)) => ColumnData::Boolean(values),
        (kind, raw) => return from_strings(&raw.into_strings(), kind, want, cx),
    };
    Ok(TableColumn::new(cx.column, data))
}

/// The type that all distinct values allow: boolean, date_time, category or text, in this order.
fn infer(strings: &Strings, cx: &mut Context<'_>) -> Result<TableColumn, DataError> {
    let levels = strings.levels(cx.missing);
    let present = || levels.iter().flatten().copied();
    if strings.declared == Declared::Nothing && present().next().is_some() {
        if is_boolean(present()) {
            return from_strings(strings, ColumnType::Boolean, Want::Inferred, cx);
        }
        if let Some(written) = present().map(Written::parse).collect::<Option<Vec<_>>>() {
            let order = dates::order(written.iter().copied());
            let settled = if let Order::Settled(order) = order { Some(order) } else { None };
            if written.iter().all(|date| date.seconds(settled).is_some()) {
                return from_strings(strings, ColumnType::DateTime, Want::Inferred, cx);
            }
            if order == Order::Open {
                cx.warn("the dates do not tell days from months and are read as categories; write them as YYYY-MM-DD");
            }
        }
        if present().all(|value| number(&value.replacen(',', ".", 1)).is_some()) {
            cx.warn("the values look like numbers with a comma and are read as categories; write them with a decimal point");
        }
    }
    let kind = if strings.declared == Declared::Dictionary || !is_text(present(), strings.codes.len()) {
        ColumnType::Category
    } else {
        ColumnType::Text
    };
    from_strings(strings, kind, Want::Inferred, cx)
}

/// Whether the values are truth values of one vocabulary. `t` and `f` count only together: alone, `F` is more often a sex, a
/// grade or a flag.
fn is_boolean<'a>(values: impl Iterator<Item = &'a str> + Clone) -> bool {
    let spoken = |words: [&str; 2]| values.clone().all(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)));
    let both = || values.clone().any(|v| v.eq_ignore_ascii_case("t")) && values.clone().any(|v| v.eq_ignore_ascii_case("f"));
    spoken(["true", "false"]) || spoken(["yes", "no"]) || (spoken(["t", "f"]) && both())
}

/// Whether distinct values are texts rather than names of categories: too many to be categories (more than 50, or than half the
/// rows where these are few, and more than 5 % of the rows) and of three words or more on average.
fn is_text<'a>(values: impl Iterator<Item = &'a str> + Clone, rows: usize) -> bool {
    let distinct = values.clone().count();
    let words: usize = values.map(|value| value.split_whitespace().count()).sum();
    distinct > (rows / 2).min(50).max(rows / 20) && words >= 3 * distinct
}

fn from_strings(strings: &Strings, kind: ColumnType, want: Want<'_>, cx: &mut Context<'_>) -> Result<TableColumn, DataError> {
    let levels = strings.levels(cx.missing);
    let mut date_order = None;
    let data = match kind {
        ColumnType::Numeric => {
            let values = strings.parse(&levels, number, "a number", want, cx)?;
            ColumnData::Numeric(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        }
        ColumnType::Boolean => {
            ColumnData::Boolean(strings.parse(&levels, boolean, "true, false, yes, no, t, f, 1 or 0", want, cx)?)
        }
        ColumnType::DateTime => {
            date_order = match want {
                Want::Known(ColumnSchema { date_order: Some(order), .. }) => Some(*order),
                _ => settle(&levels),
            };
            let parse = |text: &str| Written::parse(text)?.seconds(date_order);
            let expected = "a date such as 2020-01-31 or 2020-01-31T12:00:00Z";
            let values = strings.parse(&levels, parse, expected, want, cx)?;
            ColumnData::DateTime(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
        }
        ColumnType::Category => match want {
            Want::Known(known) => {
                let code_of = known_codes(&known.levels);
                let codes = strings.parse(&levels, code_of, "a known category", want, cx)?;
                let codes = codes.into_iter().map(|code| code.unwrap_or(MISSING)).collect();
                ColumnData::Category { codes, levels: known.levels.clone() }
            }
            _ => strings.category(&levels),
        },
        ColumnType::Text => {
            let texts: Vec<Option<Arc<str>>> = levels.iter().map(|level| level.map(Arc::from)).collect();
            ColumnData::Text(strings.each(|code| texts[code].clone()))
        }
    };
    Ok(TableColumn { date_order, ..TableColumn::new(cx.column, data) })
}

impl Strings {
    /// The distinct values by code; `None` for a missing token.
    fn levels(&self, missing: &Missing) -> Vec<Option<&str>> {
        self.dictionary.iter().map(|level| (!missing.contains(level.as_bytes())).then_some(level)).collect()
    }

    /// One value a row from the code of its cell.
    fn each<T>(&self, value: impl Fn(usize) -> Option<T>) -> Vec<Option<T>> {
        self.codes.iter().map(|&code| if code == MISSING { None } else { value(code as usize) }).collect()
    }

    /// One parsed value a row. A value that does not parse is an error if the type was demanded, else missing and counted.
    fn parse<T: Copy>(
        &self,
        levels: &[Option<&str>],
        parse: impl Fn(&str) -> Option<T>,
        expected: &'static str,
        want: Want<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Vec<Option<T>>, DataError> {
        let parsed: Vec<Option<T>> = levels.iter().map(|level| level.and_then(&parse)).collect();
        let bad = |code: usize| levels[code].is_some() && parsed[code].is_none();
        if let Some(first) = (0..levels.len()).find(|&code| bad(code)) {
            if let Want::Demanded(_) = want {
                let row = self.codes.iter().position(|&code| code as usize == first).unwrap_or(0);
                return Err(cx.bad_value(row, levels[first].unwrap_or_default(), expected));
            }
            let count = self.codes.iter().filter(|code| **code != MISSING && bad(**code as usize)).count();
            let example = shorten(levels[first].unwrap_or_default());
            cx.count(count, &format!("value(s) such as `{example}` are not {expected} and read as missing"));
        }
        Ok(self.each(|code| parsed[code]))
    }

    /// Codes into the sorted levels.
    fn category(&self, levels: &[Option<&str>]) -> ColumnData {
        let mut sorted: Vec<(&str, usize)> =
            levels.iter().enumerate().filter_map(|(code, level)| level.map(|level| (level, code))).collect();
        sorted.sort_unstable();
        let mut renamed = vec![None; levels.len()];
        for (new, (_, old)) in sorted.iter().enumerate() {
            renamed[*old] = Some(new as u32);
        }
        ColumnData::Category {
            codes: self.each(|code| renamed[code]).into_iter().map(|code| code.unwrap_or(MISSING)).collect(),
            levels: sorted.into_iter().map(|(level, _)| level.to_owned()).collect(),
        }
    }
}

impl Raw {
    /// The cells as a CSV file would spell them.
    fn into_strings(self) -> Strings {
        fn spell<T>(values: Vec<T>, text: impl Fn(&T) -> Option<String>) -> Strings {
            let mut strings = Strings::default();
            for value in &values {
                // A `String` is UTF-8, so that interning it cannot fail.
                let code = text(value).and_then(|text| strings.dictionary.intern(text.as_bytes()).ok());
                strings.codes.push(code.unwrap_or(MISSING));
            }
            strings
        }
        match self {
            Self::Numbers { values, .. } => spell(values, |value| (!value.is_nan()).then(|| value.to_string())),
            Self::Booleans(values) => spell(values, |value| value.map(|value| value.to_string())),
            Self::Dates(values) => spell(values, |value| (!value.is_nan()).then(|| dates::format(*value))),
            Self::Strings(strings) => strings,
        }
    }
}

impl Context<'_> {
    pub(super) fn bad_value(&self, row: usize, value: &str, expected: &'static str) -> DataError {
        DataError::BadValue {
            file: self.file.to_owned(),
            place: (self.place)(row),
            column: self.column.to_owned(),
            value: shorten(value),
            expected,
        }
    }

    fn warn(&mut self, what: &str) {
        self.warnings.push(format!("{}, column `{}`: {what}", self.file, self.column));
    }

    fn count(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.warn(&format!("{count} {what}"));
        }
    }
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    fast_float2::parse::<f64, _>(text).ok().filter(|value| value.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match number(text) {
        Some(1.0) => Some(true),
        Some(0.0) => Some(false),
        _ if is(["true", "yes", "t"]) => Some(true),
        _ if is(["false", "no", "f"]) => Some(false),
        _ => None,
    }
}

/// The code of a value in `levels`, by its text or else by its number: a tool that writes `3` as `3.0` names the same category.
fn known_codes(levels: &[String]) -> impl Fn(&str) -> Option<u32> {
    let coded = || levels.iter().zip(0_u32..);
    let texts: BTreeMap<&str, u32> = coded().map(|(level, code)| (level.as_str(), code)).collect();
    let bits = |level: &str| number(level).map(|value| (value + 0.0).to_bits());
    let numbers: BTreeMap<u64, u32> = coded().filter_map(|(level, code)| Some((bits(level)?, code))).collect();
    move |value| texts.get(value).or_else(|| numbers.get(&bits(value)?)).copied()
}

/// The order of the dates among `levels`, if they settle it; what is no date is left to its own error.
fn settle(levels: &[Option<&str>]) -> Option<DateOrder> {
    match dates::order(levels.iter().flatten().filter_map(|level| Written::parse(level))) {
        Order::Settled(order) => Some(order),
        Order::None | Order::Open | Order::Conflict => None,
    }
}

/// At most 40 characters, so that a message stays one line.
fn shorten(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
