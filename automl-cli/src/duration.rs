//! Spans of time as people write them: `90s`, `10m`, `1h30m`, `1.5h`, `500ms`, or a bare number of seconds.
//!
//! Budgets and limits on the command line and in configs are read by [`parse`] and shown by [`format()`];
//! [`parse_extension`] also takes `+10m`, for more on top of what a run had.

use std::time::Duration;

/// Units by their letters, the longest letters of a common start first, in nanoseconds.
const UNITS: [(&str, u64); 5] =
    [("ms", 1_000_000), ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];

/// Longest span that is taken: 100 years of 365 days; more is a slip, and sums stay far from overflow.
const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {reason}; write for example `90s`, `10m`, `1h30m`, `1.5h`, `500ms`, or a number of seconds")]
pub struct DurationError {
    text: String,
    reason: String,
}

/// A length, or a length to be added to one that was set before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `10m`: this long in all.
    Total(Duration),
    /// `+10m`: this much more.
    More(Duration),
}

impl Extension {
    /// The new length, given the one before.
    pub fn apply(self, before: Duration) -> Duration {
        match self {
            Self::Total(total) => total,
            Self::More(more) => before.saturating_add(more),
        }
    }
}

/// Reads a duration; units from large to small, each at most once.
///
/// # Errors
/// When the text is empty, negative, has an unknown unit or more than 100 years. Parts of a nanosecond are rounded.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let fail = |reason: String| DurationError { text: text.chars().take(60).collect(), reason };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(fail("it is empty".into()));
    }
    if trimmed.starts_with('-') {
        return Err(fail("it is negative".into()));
    }
    if trimmed.starts_with('+') {
        return Err(fail("a `+` is only for more time on top of what there was".into()));
    }
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits).unwrap_or((rest, ""));
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters).unwrap_or((tail, ""));
        let value = nanoseconds_of(number).ok_or_else(|| match number {
            "" => fail("a number is missing".into()),
            number => fail(format!("`{number}` is not a number")),
        })?;
        let scale = match unit {
            "" if number.len() == trimmed.len() => UNITS[4].1,
            "" => return Err(fail(format!("`{number}` has no unit"))),
            unit => match UNITS.iter().find(|(name, _)| *name == unit) {
                Some((_, scale)) => *scale,
                None => {
                    return Err(fail(format!("the unit `{unit}` is unknown, use d, h, m, s or ms")));
                }
            },
        };
        if scale >= last {
            return Err(fail("units go from large to small, each once".into()));
        }
        last = scale;
        let part = value.scaled(scale).filter(|part| *part <= MAX);
        total = part
            .map(|part| total.saturating_add(part))
            .filter(|total| *total <= MAX)
            .ok_or_else(|| fail("it is more than 100 years".into()))?;
        rest = next.trim_start();
    }
    Ok(total)
}

/// Reads `10m` as the whole and `+10m` as more.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_extension(text: &str) -> Result<Extension, DurationError> {
    match text.trim().strip_prefix('+') {
        Some(more) => parse(more).map(Extension::More),
        None => parse(text).map(Extension::Total),
    }
}

/// Writes a duration so that [`parse`] reads the same one: `1h30m`, `1.5s`, `500ms`, `0s`.
///
/// Parts under a millisecond are written as a fraction of a second or millisecond.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = duration.subsec_nanos();
    if seconds == 0 && nanos > 0 {
        return format!("{}ms", decimal(u64::from(nanos / 1_000_000), nanos % 1_000_000, 6));
    }
    let mut text = String::new();
    for (count, unit) in [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m")] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if !seconds.is_multiple_of(60) || nanos > 0 || text.is_empty() {
        text.push_str(&format!("{}s", decimal(seconds % 60, nanos, 9)));
    }
    text
}

/// `whole.fraction` without zeros at the end.
fn decimal(whole: u64, fraction: u32, digits: usize) -> String {
    let text = format!("{whole}.{fraction:0digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A decimal number as written, in whole and billionths: exact where a float is not.
struct Decimal {
    whole: u64,
    billionths: u64,
}

fn nanoseconds_of(number: &str) -> Option<Decimal> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let billionths = fraction.chars().chain(std::iter::repeat('0')).take(9).collect::<String>();
    let whole = if whole.is_empty() { "0" } else { whole };
    // Too many digits for 64 bits is too long in any unit.
    Some(Decimal { whole: whole.parse().unwrap_or(u64::MAX), billionths: billionths.parse().ok()? })
}

impl Decimal {
    fn scaled(&self, nanoseconds: u64) -> Option<Duration> {
        let scale = u128::from(nanoseconds);
        let whole = u128::from(self.whole).checked_mul(scale)?;
        let part = (u128::from(self.billionths) * scale + 500_000_000) / 1_000_000_000;
        let total = whole.checked_add(part)?;
        let seconds = u64::try_from(total / 1_000_000_000).ok()?;
        let nanos = u32::try_from(total % 1_000_000_000).ok()?;
        Some(Duration::new(seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("1s500ms", 1_500),
            ("2d", 172_800_000),
            ("45", 45_000),
            ("0.25", 250),
            (".5s", 500),
            (" 3 s ", 3_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_what_is_right() {
        for (text, reason) in [
            ("", "empty"),
            ("-5s", "negative"),
            ("+5s", "`+`"),
            ("10 parsecs", "`parsecs` is unknown"),
            ("10M", "`M` is unknown"),
            ("m", "number is missing"),
            ("1.2.3s", "`1.2.3` is not a number"),
            (".", "`.` is not a number"),
            ("1h30", "`30` has no unit"),
            ("30m1h", "large to small"),
            ("1h1h", "large to small"),
            ("1e3s", "`e` is unknown"),
            ("99999999999999999999999d", "100 years"),
            ("36501d", "100 years"),
            ("٣s", "number is missing"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("`1h30m`") && error.contains("`500ms`"), "{error}");
        }
    }

    #[test]
    fn written_is_read_back() {
        for (ns, text) in [
            (0, "0s"),
            (1, "0.000001ms"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h"),
            (90_061_000_000_001, "1d1h1m1.000000001s"),
        ] {
            let duration = Duration::from_nanos(ns);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration));
        }
        let mut ns = 7_u64;
        for _ in 0..2_000 {
            ns = ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let duration = Duration::from_nanos(ns >> (ns % 60)).min(MAX);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }

    #[test]
    fn an_extension_adds_or_replaces() {
        let before = Duration::from_secs(60);
        assert_eq!(parse_extension("+10m").map(|e| e.apply(before)), Ok(Duration::from_secs(660)));
        assert_eq!(parse_extension("10m").map(|e| e.apply(before)), Ok(Duration::from_secs(600)));
        assert!(parse_extension("++1m").is_err() && parse_extension("+").is_err());
        assert_eq!(Extension::More(Duration::MAX).apply(before), Duration::MAX);
    }
}
