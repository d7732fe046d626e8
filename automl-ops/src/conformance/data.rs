//! Small generated data sets that an operator must serve, or refuse in words.

use std::sync::Arc;

use automl_core::Kind;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::frame::{Column, Frame, MISSING, Values};
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::metrics::Task;
use crate::operator::Target;

/// Rows of the ordinary data set.
const ROWS: usize = 48;
/// Classes of the data set with many of them.
const MANY_CLASSES: u32 = 100;
/// Columns of the data set with many of them.
const MANY_COLUMNS: u64 = 10_000;
/// Categories that the table knows; training rows have the first four only.
const LEVELS: u32 = 6;

/// One data set.
pub(super) struct Case {
    pub name: &'static str,
    pub x: Frame,
    pub y: Target,
    /// Rows to apply to: like the training rows, then unseen categories, missing values and extremes.
    pub probe: Frame,
    /// Whether every operator of the kind must serve it; else it may say that it cannot.
    pub ordinary: bool,
    /// Random parameter settings to try beside the defaults.
    pub settings: usize,
}

/// All data sets of a kind and a task.
pub(super) fn cases(kind: &Kind, task: Task) -> Vec<Case> {
    let mut cases = Vec::new();
    for classes in if task == Task::Classification { 2..4 } else { 1..2 } {
        let codes: Vec<u32> = (0..ROWS as u32).map(|row| row * 7 % classes).collect();
        let y = target(&codes, classes, task);
        let x = columns(kind, &codes, classes, task, 1.0, 1);
        let probe = probe(kind, classes, task, 1.0);
        let case = |name, x: &Frame, y: &Target| Case {
            name,
            x: x.clone(),
            y: y.clone(),
            probe: probe.clone(),
            ordinary: false,
            settings: 2,
        };
        cases.push(Case { ordinary: true, ..case("ordinary", &x, &y) });
        cases.push(case("one row", &x.take(&[1]), &y.take(&[1])));
        cases.push(case("two rows", &x.take(&[0, 1]), &y.take(&[0, 1])));
        let one: Vec<u32> = (0..ROWS as u32).filter(|&row| codes[row as usize] == 0).collect();
        cases.push(case("one class of the target alone", &x.take(&one), &y.take(&one)));
        cases.push(case("one row again and again", &x.take(&[3; 20]), &y.take(&[3; 20])));
        cases.push(case("equal rows, unequal targets", &x.take(&[3; ROWS]), &y));
        let twice: Vec<u32> = (0..ROWS as u32).chain(0..ROWS as u32).collect();
        cases.push(case("every row twice", &x.take(&twice), &y.take(&twice)));
        if *kind != PREDICTION || task == Task::Regression {
            let huge = columns(kind, &codes, classes, task, 1e18, 1);
            cases.push(Case { probe: self::probe(kind, classes, task, 1e18), ..case("values up to 1e18", &huge, &y) });
        }
        let nothing = Frame::new(ROWS, Vec::new()).unwrap_or_default();
        let bare = Frame::new(5, Vec::new()).unwrap_or_default();
        if nothing.rows() == ROWS {
            cases.push(Case { probe: bare, ..case("no columns", &nothing, &y) });
        }
        if let Target::Values(values) = &y {
            let huge = Target::Values(values.iter().map(|value| value * 1e17).collect());
            cases.push(case("targets up to 1e18", &x, &huge));
            cases.push(case("equal targets", &x, &Target::Values(vec![2.5; ROWS])));
        }
    }
    if task == Task::Classification {
        let codes: Vec<u32> = (0..300).map(|row| row * 7 % MANY_CLASSES).collect();
        let x = columns(kind, &codes, MANY_CLASSES, task, 1.0, 1);
        let probe = columns(kind, &codes[..5], MANY_CLASSES, task, 1.0, 2);
        let y = target(&codes, MANY_CLASSES, task);
        cases.push(Case { name: "100 classes", x, y, probe, ordinary: false, settings: 1 });
    }
    if *kind != PREDICTION {
        let codes: Vec<u32> = (0..24).map(|row| row % 2).collect();
        let part = |seed| columns(kind, &codes, 2, task, 1.0, seed);
        let parts: Vec<Frame> = (0..MANY_COLUMNS / part(0).columns().len().max(1) as u64).map(part).collect();
        let x = Frame::union(&parts);
        let probe = x.take(&[3, 1, 2]);
        cases.push(Case { name: "10,000 columns", x, y: target(&codes, 2, task), probe, ordinary: false, settings: 0 });
    }
    cases
}

/// A larger ordinary data set, on which an expensive fit takes long.
pub(super) fn large(kind: &Kind, task: Task) -> (Frame, Target) {
    let codes: Vec<u32> = (0..2_000_u32).map(|row| row.wrapping_mul(2_654_435_761) >> 16).map(|hash| hash % 3).collect();
    let parts: Vec<Frame> = (0..4).map(|seed| columns(kind, &codes, 3, task, 1.0, seed)).collect();
    (Frame::union(&parts), target(&codes, 3, task))
}

/// A frame of the same width that no operator of this kind can read as it read the training rows.
pub(super) fn other_kinds(x: &Frame) -> Frame {
    let rows = x.rows();
    let swap = |column: &Arc<Column>| {
        Arc::new(Column::new(match column.values() {
            Values::Numeric(_) => Values::Category { codes: vec![0; rows], levels: 1 },
            _ => Values::Numeric(vec![0.0; rows]),
        }))
    };
    Frame::new(rows, x.columns().iter().map(swap).collect()).unwrap_or_default()
}

/// A frame of dense numbers with one missing value, which its kind forbids.
pub(super) fn spoilt(x: &Frame) -> Option<Frame> {
    let mut columns = x.columns().to_vec();
    let first = columns.first_mut()?;
    let Values::Numeric(values) = first.values() else { return None };
    let mut values = values.clone();
    *values.first_mut()? = f32::NAN;
    *first = Arc::new(Column::new(Values::Numeric(values)));
    Frame::new(x.rows(), columns).ok()
}

fn target(codes: &[u32], classes: u32, task: Task) -> Target {
    match task {
        Task::Classification => Target::Classes { codes: codes.to_vec(), classes: classes as usize },
        Task::Regression => {
            Target::Values((0_u32..).zip(codes).map(|(row, &code)| f64::from(code) + f64::from(row * 37 % 101) / 10.0).collect())
        }
    }
}

fn probe(kind: &Kind, classes: u32, task: Task, scale: f32) -> Frame {
    let codes: Vec<u32> = (0..9).map(|row| row % classes.max(1)).collect();
    let x = columns(kind, &codes, classes, task, scale, 2);
    if *kind == PREDICTION && task == Task::Classification {
        return x;
    }
    // The last rows are as bad as the kind allows.
    let mend = |column: &Arc<Column>| {
        Arc::new(Column::new(match column.values().clone() {
            Values::Numeric(mut values) => {
                values[6] = if *kind == DENSE || *kind == PREDICTION { 0.0 } else { f32::NAN };
                values[7] = 1e18;
                values[8] = -1e18;
                Values::Numeric(values)
            }
            Values::Category { mut codes, levels } => {
                codes[6] = MISSING;
                codes[7] = levels - 1;
                Values::Category { codes, levels }
            }
            Values::DateTime(mut values) => {
                values[6] = f64::NAN;
                values[7] = 1e11;
                Values::DateTime(values)
            }
            Values::Text(mut values) => {
                values[6] = None;
                values[7] = Some("".into());
                Values::Text(values)
            }
        }))
    };
    Frame::new(x.rows(), x.columns().iter().map(mend).collect()).unwrap_or(x)
}

fn columns(kind: &Kind, codes: &[u32], classes: u32, task: Task, scale: f32, seed: u64) -> Frame {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows = codes.len();
    if *kind == PREDICTION && task == Task::Classification {
        // As an inner estimator emits it: one column for two classes, else one a class.
        let mut values = Vec::new();
        for &code in codes {
            let mut row: Vec<f32> = (0..classes).map(|class| rng.random::<f32>() + f32::from(u8::from(class == code))).collect();
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= sum);
            values.extend(if classes == 2 { &row[1..] } else { &row[..] });
        }
        return Frame::from_rows(&values, if classes == 2 { 1 } else { classes as usize });
    }
    let missing = *kind == NUMERIC || *kind == RAW;
    let mut numeric = |shift: f32, missing: bool, scale: f32| -> Vec<f32> {
        let mut draw = |code: u32| {
            let value = (rng.random::<f32>() * 2.0 - 1.0 + shift * code as f32) * scale;
            if missing && rng.random::<f32>() < 0.2 { f32::NAN } else { value.clamp(-1e18, 1e18) }
        };
        codes.iter().map(|&code| draw(code)).collect()
    };
    let mut values = vec![
        Values::Numeric(numeric(1.0, missing, 1.0)),
        Values::Numeric(numeric(0.3, false, scale)),
        Values::Numeric(numeric(0.0, missing, 1000.0)),
        Values::Numeric(vec![3.5; rows]),
    ];
    if missing {
        values.push(Values::Numeric(vec![f32::NAN; rows]));
    }
    if *kind == RAW {
        let mut draw = |of: u32, missing: u32| -> Vec<u32> {
            codes
                .iter()
                .map(|&code| (code + rng.random_range(0..of)) % of)
                .map(|c| if c == missing { MISSING } else { c })
                .collect()
        };
        values.push(Values::Category { codes: draw(4, LEVELS), levels: LEVELS });
        values.push(Values::Category { codes: draw(5, 1), levels: LEVELS });
        values.push(Values::Category { codes: vec![2; rows], levels: LEVELS });
        values.push(Values::Category { codes: vec![MISSING; rows], levels: LEVELS });
        let seconds = |row: usize| if row % 5 == 4 { f64::NAN } else { 1.7e9 + 86_400.0 * row as f64 };
        values.push(Values::DateTime((0..rows).map(seconds).collect()));
        let text = |row: usize| (row % 7 != 3).then(|| Arc::from("a word or two ".repeat(row % 4).as_str()));
        values.push(Values::Text((0..rows).map(text).collect()));
    }
    Frame::new(rows, values.into_iter().map(|values| Arc::new(Column::new(values))).collect()).unwrap_or_default()
}
