//! Dates and times as people write them, to and from seconds since 1970-01-01 UTC.
//!
//! ISO 8601 (`2020-01-31`, `2020-01-31T12:00:05.25+02:00`; a space for the `T`, `/` for `-`) always reads one way.
//! `31/12/2020` and `12/31/2020` (also with `-` or `.`) need the [`DateOrder`] of the column, which its own values must settle.
//! A time without a zone is taken as UTC. The calendar arithmetic is Howard Hinnant's `days_from_civil`.

use serde::{Deserialize, Serialize};

/// Which number comes first in dates that end with the year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// `31/12/2020`.
    DayMonth,
    /// `12/31/2020`.
    MonthDay,
}

/// A date as written: settled, or still waiting for the order of its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Written {
    /// Seconds since 1970-01-01 UTC.
    Known(f64),
    /// The two numbers before the year, the year, and the seconds after midnight UTC.
    Order {
        /// First number.
        first: u32,
        /// Second number.
        second: u32,
        /// The year.
        year: i64,
        /// Seconds to add to midnight; a zone can make them negative.
        time: f64,
    },
}

impl Written {
    /// Reads a date, with or without a time of day; `None` if it is not one in any order.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut scan = Scan(text.as_bytes());
        let (a, a_digits) = scan.number(4)?;
        let separator = scan.one_of(b"-/.")?;
        let (b, b_digits) = scan.number(2)?;
        scan.one_of(&[separator])?;
        let (c, c_digits) = scan.number(4)?;
        let time = scan.time()?;
        match (a_digits, b_digits, c_digits) {
            (4, _, 1..=2) if separator != b'.' => Some(Self::Known(midnight(i64::from(a), b, c)? + time)),
            (1..=2, _, 4) if a.max(b) <= 31 && (1..=12).contains(&a.min(b)) => {
                Some(Self::Order { first: a, second: b, year: i64::from(c), time })
            }
            _ => None,
        }
    }

    /// Seconds since 1970-01-01 UTC; `None` where the date does not exist under `order`, or needs one and has none.
    pub(super) fn seconds(self, order: Option<DateOrder>) -> Option<f64> {
        match (self, order) {
            (Self::Known(seconds), _) => Some(seconds),
            (Self::Order { first, second, year, time }, Some(DateOrder::DayMonth)) => Some(midnight(year, second, first)? + time),
            (Self::Order { first, second, year, time }, Some(DateOrder::MonthDay)) => Some(midnight(year, first, second)? + time),
            (Self::Order { .. }, None) => None,
        }
    }
}

/// What the dates of a column say together about their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// No date needs one.
    None,
    /// All dates agree.
    Settled(DateOrder),
    /// Both orders are possible for every date.
    Open,
    /// Some dates allow only one order, others only the other.
    Conflict,
}

/// The order that all of `dates` share.
pub(super) fn order(dates: impl Iterator<Item = Written>) -> Order {
    let (mut any, mut day_first, mut month_first) = (false, false, false);
    for date in dates {
        if let Written::Order { first, second, .. } = date {
            any = true;
            day_first |= first > 12;
            month_first |= second > 12;
        }
    }
    match (any, day_first, month_first) {
        (false, ..) => Order::None,
        (_, true, true) => Order::Conflict,
        (_, true, false) => Order::Settled(DateOrder::DayMonth),
        (_, false, true) => Order::Settled(DateOrder::MonthDay),
        (_, false, false) => Order::Open,
    }
}

/// ISO 8601 of a time, to the second.
pub(super) fn format(seconds: f64) -> String {
    let whole = seconds.floor() as i64;
    let (days, time) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    if time == 0 {
        return format!("{year:04}-{month:02}-{day:02}");
    }
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

/// Seconds at the start of a day; `None` if the calendar has no such day.
fn midnight(year: i64, month: u32, day: u32) -> Option<f64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) as f64 * 86_400.0)
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// The rest of a text that is read from the left.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    /// A number of one to `most` digits, and how many it has.
    fn number(&mut self, most: usize) -> Option<(u32, usize)> {
        let digits = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        let value = number.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        (digits > 0).then_some((value, digits))
    }

    /// A number of exactly two digits, at most `most`.
    fn pair(&mut self, most: u32) -> Option<u32> {
        self.number(2).filter(|(value, digits)| *digits == 2 && *value <= most).map(|(value, _)| value)
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    /// What may follow a date: nothing, or a time of day with or without a zone. Seconds after midnight UTC.
    fn time(&mut self) -> Option<f64> {
        if self.0.is_empty() {
            return Some(0.0);
        }
        self.one_of(b"T ")?;
        let (hour, digits) = self.number(2)?;
        if hour > 23 || digits == 0 {
            return None;
        }
        self.one_of(b":")?;
        let mut seconds = f64::from(hour * 3600 + self.pair(59)? * 60);
        if self.one_of(b":").is_some() {
            seconds += f64::from(self.pair(60)?);
            if self.one_of(b".,").is_some() {
                let (fraction, digits) = self.number(9)?;
                seconds += f64::from(fraction) / 10_f64.powi(digits as i32);
            }
        }
        let _ = self.one_of(b" ");
        if self.0.is_empty() || self.one_of(b"Zz").is_some() {
            return self.0.is_empty().then_some(seconds);
        }
        let sign = if self.one_of(b"+-")? == b'+' { 1.0 } else { -1.0 };
        let hours = self.pair(18)?;
        let _ = self.one_of(b":");
        let minutes = if self.0.is_empty() { 0 } else { self.pair(59)? };
        self.0.is_empty().then_some(seconds - sign * f64::from(hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(text: &str) -> Option<f64> {
        Written::parse(text)?.seconds(None)
    }

    #[test]
    fn iso_dates_and_times() {
        assert_eq!(iso("1970-01-01"), Some(0.0));
        assert_eq!(iso("2020-01-31"), Some(1_580_428_800.0));
        assert_eq!(iso("2020/01/31"), iso("2020-01-31"));
        assert_eq!(iso("2020-01-31 12:00"), Some(1_580_472_000.0));
        assert_eq!(iso("2020-01-31T12:00:05.25Z"), Some(1_580_472_005.25));
        assert_eq!(iso("2020-01-31 12:00:00+02:00"), Some(1_580_464_800.0));
        assert_eq!(iso("2020-01-31 12:00:00-0130"), Some(1_580_477_400.0));
        assert_eq!(iso("1969-12-31T23:59:59"), Some(-1.0));
        assert_eq!(iso("2000-02-29").map(format), Some("2000-02-29".to_owned()));
        assert_eq!(iso("2020-01-31 12:00:05").map(format), Some("2020-01-31T12:00:05Z".to_owned()));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "2020",
            "2020-13-01",
            "2021-02-29",
            "2020-01-00",
            "2020-01-31x",
            "2020-01-31 25:00",
            "2020-01-31 12",
            "1-2-3",
            "2020-01/31",
            "192.168.1.1",
            "2020-01-31T12:00:00+",
            "20200131",
            "1.2.3",
            "2020-01-31 12:00:00 abc",
        ] {
            assert_eq!(iso(text), None, "{text}");
        }
    }

    #[test]
    fn the_column_settles_the_order() {
        let parse = |texts: &[&str]| texts.iter().map(|text| Written::parse(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(order(parse(&["01/02/2020", "31/12/2020"]).into_iter()), Order::Settled(DateOrder::DayMonth));
        assert_eq!(order(parse(&["01/02/2020", "12/31/2020"]).into_iter()), Order::Settled(DateOrder::MonthDay));
        assert_eq!(order(parse(&["01/02/2020", "03/04/2020"]).into_iter()), Order::Open);
        assert_eq!(order(parse(&["31/12/2020", "12/31/2020"]).into_iter()), Order::Conflict);
        assert_eq!(order(parse(&["2020-01-31"]).into_iter()), Order::None);
        let date = Written::parse("31.12.2020 06:30").unwrap();
        assert_eq!(date.seconds(Some(DateOrder::DayMonth)), iso("2020-12-31 06:30"));
        assert_eq!(date.seconds(Some(DateOrder::MonthDay)), None);
        assert_eq!(date.seconds(None), None);
    }

    #[test]
    fn the_calendar_is_its_own_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = civil(days);
            assert_eq!(midnight(year, month as u32, day as u32), Some(days as f64 * 86_400.0));
        }
    }
}
