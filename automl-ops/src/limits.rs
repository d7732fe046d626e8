//! What it takes to use a model: the time to predict a row, and the size of its file; and limits to both.
//!
//! The time is arithmetic, as [`crate::cost`] is: what operators declare
//! ([`TabularOperator::row_seconds`](crate::operator::TabularOperator::row_seconds)), summed up. A clock would make what a search
//! finds depend on the load of the machine. It is the time of one row among many (a batch) on one core, without reading the
//! table; a single row by itself takes some microseconds a vertex more. The size is counted on what would be saved.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What it takes to use a model, or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Declared seconds to predict one row of many, on one core.
    pub predict_time: f64,
    /// Bytes of the model file.
    pub model_size: f64,
}

impl std::ops::Add for Measures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { predict_time: self.predict_time + other.predict_time, model_size: self.model_size + other.model_size }
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a row, {}", time(self.predict_time), size(self.model_size))
    }
}

/// The most that a model may take; what is `None` does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Time to predict a row.
    pub predict_time: Option<RowTime>,
    /// Size of the file.
    pub model_size: Option<FileSize>,
}

impl Limits {
    /// Whether anything is limited.
    pub fn any(&self) -> bool {
        self.predict_time.is_some() || self.model_size.is_some()
    }

    /// Whether a model of these measures is within.
    pub fn allow(&self, measures: Measures) -> bool {
        self.problem(measures).is_none()
    }

    /// What is beyond.
    pub fn problem(&self, measures: Measures) -> Option<String> {
        if let Some(limit) = self.predict_time.map(RowTime::seconds).filter(|limit| measures.predict_time > *limit) {
            return Some(format!(
                "predicting is expected to take {} a row, and `max_predict_time` is {}",
                time(measures.predict_time),
                time(limit)
            ));
        }
        let limit = self.model_size.map(FileSize::bytes).filter(|limit| measures.model_size > *limit)?;
        Some(format!("the model takes {}, and `max_model_size` is {}", size(measures.model_size), size(limit)))
    }

    /// The limits to what is added to so much.
    #[must_use]
    pub fn without(self, taken: Measures) -> Self {
        Self {
            predict_time: self.predict_time.map(|RowTime(limit)| RowTime((limit - 1e9 * taken.predict_time).max(0.0))),
            model_size: self.model_size.map(|FileSize(limit)| FileSize((limit - taken.model_size).max(0.0))),
        }
    }
}

/// A time to predict one row, written as `800ns`, `50us`, `2ms` or `0.1s`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowTime(f64);

/// A size of a file, written as `800kB`, `5MB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileSize(f64);

/// Units of time, in nanoseconds.
const TIMES: [(&str, f64); 6] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9)];
/// Units of size, in bytes.
const SIZES: [(&str, f64); 8] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
];

impl RowTime {
    /// In seconds.
    pub fn seconds(self) -> f64 {
        1e-9 * self.0
    }
}

impl FileSize {
    /// In bytes.
    pub fn bytes(self) -> f64 {
        self.0
    }
}

impl FromStr for RowTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = || format!("`{text}` is not a time to predict a row; write for example `50us` or `2ms`");
        quantity(text, &TIMES).map(Self).ok_or_else(example)
    }
}

impl FromStr for FileSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = || format!("`{text}` is not a size of a model; write for example `800kB` or `5MB`");
        quantity(text, &SIZES).map(Self).ok_or_else(example)
    }
}

impl TryFrom<String> for RowTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for FileSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RowTime> for String {
    fn from(RowTime(nanoseconds): RowTime) -> Self {
        format!("{nanoseconds}ns")
    }
}

impl From<FileSize> for String {
    fn from(FileSize(bytes): FileSize) -> Self {
        format!("{bytes}B")
    }
}

/// A positive number and its unit.
fn quantity(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let value = number.parse::<f64>().ok()? * scale;
    (value > 0.0 && value.is_finite()).then_some(value)
}

/// A time for people: `850 ns`, `12.3 µs`.
pub fn time(seconds: f64) -> String {
    readable(1e9 * seconds, &[("ns", 1e3), ("µs", 1e3), ("ms", 1e3), ("s", f64::INFINITY)])
}

/// A size for people: `850 B`, `12.3 kB`.
pub fn size(bytes: f64) -> String {
    readable(bytes, &[("B", 1e3), ("kB", 1e3), ("MB", 1e3), ("GB", f64::INFINITY)])
}

fn readable(mut value: f64, units: &[(&str, f64)]) -> String {
    for (unit, step) in units {
        if value < *step {
            let digits =
                if value < 10.0 && value.fract() != 0.0 { 2 } else { usize::from(value < 100.0 && value.fract() != 0.0) };
            return format!("{value:.digits$} {unit}");
        }
        value /= step;
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them_and_come_back_exactly() {
        for (text, nanoseconds) in [("800ns", 800.0), ("50us", 5e4), ("50 µs", 5e4), ("1.5ms", 1.5e6), (" 0.1s", 1e8)] {
            let read: RowTime = text.parse().unwrap();
            assert_eq!(read.0, nanoseconds, "{text}");
            assert_eq!(String::from(read).parse(), Ok(read));
        }
        for (text, bytes) in [("5MB", 5e6), ("800kB", 8e5), ("1 GiB", 1_073_741_824.0), ("12B", 12.0)] {
            let read: FileSize = text.parse().unwrap();
            assert_eq!(read.bytes(), bytes, "{text}");
            assert_eq!(String::from(read).parse(), Ok(read));
        }
        for bad in ["", "5", "-5us", "us", "0us", "5 parsecs", "1e3us", "nan us", "..us", "1s5"] {
            assert!(bad.parse::<RowTime>().unwrap_err().contains("50us"), "{bad}");
            assert!(bad.parse::<FileSize>().unwrap_err().contains("5MB"), "{bad}");
        }
    }

    #[test]
    fn limits_say_what_is_beyond() {
        let limits = Limits { predict_time: "50us".parse().ok(), model_size: "5MB".parse().ok() };
        let measures = |microseconds: f64, model_size: f64| Measures { predict_time: 1e-6 * microseconds, model_size };
        assert!(limits.allow(measures(49.0, 5e6)) && Limits::default().allow(measures(1e9, 1e18)));
        let slow = limits.problem(measures(60.0, 1.0)).unwrap();
        assert!(slow.contains("60.0 µs a row") && slow.contains("50 µs"), "{slow}");
        let large = limits.problem(measures(1.0, 7_250_000.0)).unwrap();
        assert!(large.contains("7.25 MB") && large.contains("5 MB"), "{large}");
        assert!(!limits.without(measures(20.0, 0.0)).allow(measures(31.0, 0.0)));
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([time(8.5e-7), time(1.234e-5), time(2.0)], ["850 ns", "12.3 µs", "2 s"]);
        assert_eq!([size(850.0), size(12_300.0), size(2.5e9)], ["850 B", "12.3 kB", "2.50 GB"]);
    }
}
