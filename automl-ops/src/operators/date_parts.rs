//! Dates as numbers: how long since the first, the parts of the calendar, and their places on a circle.

use std::f64::consts::TAU;

use automl_core::{Cancel, Param, Params};

use super::columnwise::{Types, go_on, numbers};
use crate::cost::{Cost, Shape};
use crate::frame::{Frame, Values, civil};
use crate::kinds::RAW;
use crate::learn::columns::bounded;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct DateParts;

crate::describe! {
    DateParts: "date_parts", "Dates become days since the first, calendar parts and sines; other columns stay",
    reads [RAW], emits RAW,
    params [
        Param::choice("parts", &["all", "plain", "cyclic"])
            .about("`plain`: year, month, day, weekday and hour; `cyclic`: sine and cosine of month, weekday and hour"),
    ]
}

crate::tabular_operator!(DateParts);

/// Days since the first date, year, month, day, weekday, hour; then sine and cosine of month, weekday and hour.
const PARTS: usize = 12;

/// The parts of one date.
fn parts(second: f64, first: f64) -> [f32; PARTS] {
    if !second.is_finite() {
        return [f32::NAN; PARTS];
    }
    // Three million years on both sides, so that the calendar cannot overflow.
    let second = second.clamp(-1e14, 1e14);
    let days = (second / 86_400.0).floor();
    let (year, month, day) = civil(days as i64);
    let weekday = (days as i64 + 3).rem_euclid(7);
    let hour = (second - days * 86_400.0) / 3_600.0;
    let circle = |share: f64| {
        let (sine, cosine) = (share * TAU).sin_cos();
        [sine as f32, cosine as f32]
    };
    let [month_sine, month_cosine] = circle((month - 1) as f64 / 12.0);
    let [weekday_sine, weekday_cosine] = circle(weekday as f64 / 7.0);
    let [hour_sine, hour_cosine] = circle(hour / 24.0);
    [
        bounded((second - first) / 86_400.0),
        year as f32,
        month as f32,
        day as f32,
        weekday as f32,
        hour.floor() as f32,
        month_sine,
        month_cosine,
        weekday_sine,
        weekday_cosine,
        hour_sine,
        hour_cosine,
    ]
}

struct Calendar {
    types: Types,
    /// For each date column the first date, in seconds since 1970, and the parts that it becomes, as bits.
    dates: Vec<(f64, u32)>,
}

impl TabularOperator for DateParts {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::DateTime(_)))
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        // Half of the columns come from dates, which count as the columns that they become.
        Cost::of_cells(shape, 12.0, 4.0)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let wanted: u32 = match fit.text("parts")? {
            "plain" => 0b0000_0011_1111,
            "cyclic" => 0b1111_1100_0001,
            _ => 0b1111_1111_1111,
        };
        let mut dates = Vec::new();
        for column in fit.x.columns() {
            let Values::DateTime(seconds) = column.values() else { continue };
            let first = seconds.iter().copied().filter(|second| second.is_finite()).fold(f64::INFINITY, f64::min);
            let first = if first.is_finite() { first.clamp(-1e14, 1e14) } else { 0.0 };
            // Parts that never differ in training say nothing; days are kept always.
            let (mut differ, mut before) = (1, None);
            for (row, &second) in seconds.iter().enumerate().filter(|(_, second)| second.is_finite()) {
                if row % 1024 == 0 {
                    go_on(fit.cancel)?;
                }
                let parts = parts(second, first);
                if let Some(before) = before {
                    differ |= changes(&before, &parts);
                }
                if wanted & !differ == 0 {
                    break;
                }
                before = Some(parts);
            }
            dates.push((first, wanted & differ));
        }
        Ok(Box::new(Calendar { types: Types::of(fit.x), dates }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (types, first, kept) = (Types::load(state)?, state.f64s("first")?, state.u32s("parts")?);
        let sound = first.len() == kept.len()
            && first.iter().all(|first| first.abs() <= 1e14)
            && kept.iter().all(|&kept| kept < 1 << PARTS)
            && first.len() <= types.len();
        if !sound {
            return Err(OperatorError::state("`first` and `parts` are not those of date columns"));
        }
        Ok(Box::new(Calendar { types, dates: first.iter().copied().zip(kept.iter().copied()).collect() }))
    }
}

fn changes(before: &[f32; PARTS], after: &[f32; PARTS]) -> u32 {
    (0..).zip(before.iter().zip(after)).fold(0, |bits, (bit, (a, b))| bits | u32::from(a != b) << bit)
}

impl Fitted for Calendar {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        self.types.check(x)?;
        let mut columns = Vec::new();
        let mut dates = self.dates.iter();
        for column in x.columns() {
            let Values::DateTime(seconds) = column.values() else {
                columns.push(column.clone());
                continue;
            };
            let &(first, kept) = dates.next().unwrap_or(&(0.0, 1));
            let mut parted: [Vec<f32>; PARTS] = Default::default();
            for (row, &second) in seconds.iter().enumerate() {
                if row % 1024 == 0 {
                    go_on(cancel)?;
                }
                let parts = parts(second, first);
                for (bit, (column, part)) in parted.iter_mut().zip(parts).enumerate() {
                    if kept >> bit & 1 == 1 {
                        column.push(part);
                    }
                }
            }
            let kept = (0..).zip(parted).filter(|(bit, _)| kept >> bit & 1 == 1);
            columns.extend(kept.map(|(_, values)| numbers(values)));
        }
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        self.types.save(state);
        state.put_array("first", Array::F64(self.dates.iter().map(|date| date.0).collect()));
        state.put_array("parts", Array::U32(self.dates.iter().map(|date| date.1).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_falls_apart() {
        // 2024-02-29 18:30 UTC was a Thursday.
        let parts = parts(1_709_231_400.0, 1_709_231_400.0 - 43_200.0);
        assert_eq!(parts[..6], [0.5, 2024.0, 2.0, 29.0, 3.0, 18.0]);
        assert!((parts[6] - 0.5).abs() < 1e-6 && (parts[10] - (18.5_f32 / 24.0 * TAU as f32).sin()).abs() < 1e-5);
        assert!(super::parts(f64::NAN, 0.0).iter().all(|part| part.is_nan()));
        assert!(super::parts(1e300, -1e14).iter().all(|part| part.is_finite()));
    }
}
