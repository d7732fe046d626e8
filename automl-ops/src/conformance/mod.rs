//! What every tabular operator promises, as functions that any test can call.
//!
//! A third party runs [`check_operator`] on its operator in a test of its own crate; the workspace runs [`check_linked`] over
//! the whole gene pool. An operator is fitted on small generated tables of every kind it reads, with its default parameters and
//! with random ones. It may say in words that a table cannot be served ([`OperatorError::Infeasible`]), except the ordinary
//! ones; it may never panic.

mod data;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use automl_core::{Cancel, Kind, Params};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;
use rayon::prelude::*;

use self::data::Case;
use crate::cost::Shape;
use crate::frame::{Frame, Values};
use crate::kinds::{DENSE, NUMERIC, PREDICTION, RAW};
use crate::metrics::Task;
use crate::operator::{self, Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;

/// A broken promise, in words.
pub type Check = Result<(), String>;

/// Random parameter settings on an ordinary table; other tables get the defaults and two of them.
const SETTINGS: usize = 10;
/// How long a fit may go on after its token was cancelled.
const PATIENCE: Duration = Duration::from_secs(3);

/// Checks the promises of [`TabularOperator`] and [`Fitted`] for each task the operator serves and each kind it reads: outputs
/// of the right shape and range, the same for 1 and 2 threads, row by row independent of the other rows, equal after saving
/// and loading; errors, not panics, for other columns than those of the fit; an end soon after cancellation.
///
/// # Errors
/// The first broken promise, with operator, task, table and parameters.
pub fn check_operator(op: &dyn TabularOperator) -> Check {
    let pools = [pool(1)?, pool(2)?];
    if op.tasks().is_empty() {
        return Err(format!("`{}` serves no task", op.name()));
    }
    for &task in op.tasks() {
        for kind in op.inputs().into_iter().flat_map(|port| port.accepts) {
            if ![RAW, NUMERIC, DENSE, PREDICTION].contains(&kind) {
                return Err(format!("`{}` reads `{kind}`, which no table and no operator here emits", op.name()));
            }
            check_kind(op, task, &kind, &pools)?;
        }
    }
    Ok(())
}

/// Runs [`check_operator`] on every linked operator; the number checked.
///
/// # Errors
/// Every operator's first broken promise.
pub fn check_linked() -> Result<usize, Vec<String>> {
    let operators = operator::operators();
    let problems: Vec<String> = operators.par_iter().filter_map(|op| check_operator(*op).err()).collect();
    if problems.is_empty() { Ok(operators.len()) } else { Err(problems) }
}

fn pool(threads: usize) -> Result<ThreadPool, String> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())
}

fn check_kind(op: &dyn TabularOperator, task: Task, kind: &Kind, pools: &[ThreadPool; 2]) -> Check {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for case in data::cases(kind, task) {
        let settings = if case.ordinary { SETTINGS } else { case.settings };
        for index in 0..=settings {
            let params = if index == 0 { automl_core::operator::defaults(&op.params()) } else { setting(op, |_| rng.random()) };
            let place = || {
                let listed: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("`{}` ({task:?} of {kind} input, {}, {})", op.name(), case.name, listed.join(" "))
            };
            guarded(|| check_cost(op, &params))
                .and_then(|()| guarded(|| Checked { op, case: &case, params: &params, pools }.check()))
                .map_err(|why| format!("{}: {why}", place()))?;
        }
    }
    let place = |why| format!("`{}` ({task:?} of {kind} input): {why}", op.name());
    guarded(|| check_cancel(op, kind, task)).map_err(place)
}

/// A cost is a positive number that grows with the table.
fn check_cost(op: &dyn TabularOperator, params: &Params) -> Check {
    let small = Shape { rows: 100.0, columns: 10.0, levels: 20.0, classes: 3.0 };
    let cost = op.cost(&small, params);
    if ![cost.seconds, cost.bytes, cost.columns].iter().all(|value| value.is_finite() && *value > 0.0) {
        return Err(format!("declares a cost of {cost:?}, which is not a set of positive numbers"));
    }
    let larger = op.cost(&Shape { rows: 1e5, columns: 100.0, ..small }, params);
    if larger.seconds <= cost.seconds || larger.bytes <= cost.bytes {
        return Err(format!("declares that a thousand times the rows cost {larger:?}, and the small table {cost:?}"));
    }
    let row = op.row_seconds(&small, params);
    if !(row > 0.0 && row < 1.0) {
        return Err(format!("declares that one row of a small table takes {row} s; it is more than 0 and far below a second"));
    }
    Ok(())
}

/// Parameters at positions 0 to 1 of their domains.
fn setting(op: &dyn TabularOperator, mut unit: impl FnMut(usize) -> f64) -> Params {
    let mut params = Params::new();
    for (index, param) in op.params().into_iter().enumerate() {
        let value = param.domain.value(param.domain.at(unit(index)));
        if param.applies(&params) {
            params.insert(param.name.to_string(), value.unwrap_or(param.default));
        }
    }
    params
}

fn guarded(check: impl FnOnce() -> Check) -> Check {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panics: {}", text.unwrap_or("without words")))
    })
}

/// One fit that is checked.
struct Checked<'a> {
    op: &'a dyn TabularOperator,
    case: &'a Case,
    params: &'a Params,
    pools: &'a [ThreadPool; 2],
}

impl Checked<'_> {
    fn fit(&self, x: &Frame) -> Result<Box<dyn Fitted>, OperatorError> {
        let fit = Fit { x, y: &self.case.y, weights: None, params: self.params, seed: 11, cancel: &Cancel::new() };
        self.op.fit(&fit)
    }

    fn check(&self) -> Check {
        let Case { x, probe, ordinary, .. } = self.case;
        let cancel = Cancel::new();
        let apply = |fitted: &dyn Fitted, frame: &Frame| {
            fitted.apply(frame, &cancel).map_err(|error| format!("cannot be applied to {} rows: {error}", frame.rows()))
        };
        let [one, two] = self.pools;
        let fitted = match one.install(|| self.fit(x)) {
            Ok(fitted) => fitted,
            Err(OperatorError::Infeasible(why)) if !ordinary && !why.is_empty() => return Ok(()),
            Err(error) => return Err(format!("cannot be fitted: {error}")),
        };
        let output = one.install(|| apply(fitted.as_ref(), probe))?;
        self.check_output(&output, probe.rows())?;
        let again = two.install(|| self.fit(x)).map_err(|error| format!("cannot be fitted by two threads: {error}"))?;
        same(&output, &two.install(|| apply(again.as_ref(), probe))?, "two threads")?;
        let training = apply(fitted.as_ref(), x)?;
        self.check_output(&training, x.rows())?;

        let mut state = State::default();
        fitted.save(&mut state);
        if fitted.bytes() != state.bytes() {
            return Err(format!("says that it saves {} bytes, and saves {}", fitted.bytes(), state.bytes()));
        }
        let text = serde_json::to_string(&state.values).map_err(|error| format!("its state is no JSON: {error}"))?;
        state.values = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let loaded = self.op.load(&state).map_err(|error| format!("cannot load what it saved: {error}"))?;
        same(&output, &apply(loaded.as_ref(), probe)?, "saving and loading")?;

        // Of a table of many columns, a row or two tell as much.
        for row in 0..if x.columns().len() > 100 { 2 } else { probe.rows() as u32 } {
            let alone = apply(fitted.as_ref(), &probe.take(&[row]))?;
            same(&output.take(&[row]), &alone, &format!("row {row} on its own"))?;
        }
        let reversed: Vec<u32> = (0..probe.rows() as u32).rev().flat_map(|row| [row; 3]).collect();
        same(&output.take(&reversed), &apply(fitted.as_ref(), &probe.take(&reversed))?, "other rows beside it")?;
        let none = apply(fitted.as_ref(), &probe.take(&[]))?;
        self.check_output(&none, 0)?;
        if none.columns().len() != output.columns().len() {
            return Err(format!("{} columns for no rows, else {}", none.columns().len(), output.columns().len()));
        }
        if !self.op.reads_target() {
            let others: Vec<u32> = (0..x.rows() as u32).map(|row| (row * 5 + 1) % x.rows() as u32).collect();
            let fit = Fit { x, y: &self.case.y.take(&others), weights: None, params: self.params, seed: 11, cancel: &cancel };
            let other = self.op.fit(&fit).map_err(|error| format!("cannot be fitted on another target: {error}"))?;
            same(&output, &apply(other.as_ref(), probe)?, "another target, which `reads_target` denies")?;
        }
        if self.case.ordinary {
            self.check_weights(&output, two)?;
        }
        if x.columns().is_empty() || x.columns().len() > 100 { Ok(()) } else { self.check_refusals(fitted.as_ref()) }
    }

    /// Weights do what [`TabularOperator::weights`] says, and equal weights change nothing that matters.
    fn check_weights(&self, output: &Frame, two: &ThreadPool) -> Check {
        let Case { x, y, probe, .. } = self.case;
        let cancel = Cancel::new();
        let fitted = |x: &Frame, y: &Target, weights: Option<&[f32]>| {
            let fit = Fit { x, y, weights, params: self.params, seed: 11, cancel: &cancel };
            let fitted = self.op.fit(&fit).map_err(|error| format!("cannot be fitted with weights: {error}"))?;
            fitted.apply(probe, &cancel).map_err(|error| format!("cannot be applied after a fit with weights: {error}"))
        };
        let rows = 0..x.rows() as u32;
        let weights: Vec<f32> = rows.clone().map(|row| if row % 3 == 0 { 2.0 } else { 1.0 }).collect();
        let weighted = two.install(|| fitted(x, y, Some(&weights)))?;
        self.check_output(&weighted, probe.rows())?;
        match self.op.weights() {
            Weights::Ignored => same(output, &weighted, "weights, which `weights` says are ignored"),
            Weights::Approximate => Ok(()),
            Weights::Exact => {
                let twice: Vec<u32> = rows.flat_map(|row| if row % 3 == 0 { vec![row; 2] } else { vec![row] }).collect();
                let repeated = fitted(&x.take(&twice), &y.take(&twice), None)?;
                near(&repeated, &weighted).map_err(|why| format!("a row of weight 2 is not two rows: {why}"))
            }
        }
    }

    /// Other columns than those of the fit are an error.
    fn check_refusals(&self, fitted: &dyn Fitted) -> Check {
        let (cancel, probe) = (Cancel::new(), &self.case.probe);
        let fewer = probe.select(&(1..probe.columns().len()).collect::<Vec<_>>());
        let more = Frame::union([probe, probe]);
        for (frame, what) in [(fewer, "a column less"), (more, "twice the columns"), (data::other_kinds(probe), "other kinds")] {
            if fitted.apply(&frame, &cancel).is_ok() {
                return Err(format!("takes {what} than it was fitted on"));
            }
        }
        // Dense operators need not serve what their kind forbids, but may not panic.
        if let Some(spoilt) = data::spoilt(&self.case.x) {
            let _ = fitted.apply(&spoilt, &cancel);
            let _ = self.fit(&spoilt);
        }
        let short = Target::take(&self.case.y, &[0]);
        let fit = Fit { x: &self.case.x, y: &short, weights: None, params: self.params, seed: 11, cancel: &cancel };
        if self.case.ordinary && self.op.cross_fits() && self.op.fit(&fit).is_ok() {
            return Err("is fitted on a target of another length than its features".into());
        }
        let fit = Fit { x: &self.case.x, y: &self.case.y, weights: None, params: &Params::new(), seed: 11, cancel: &cancel };
        let _ = self.op.fit(&fit);
        if self.op.load(&State::default()).is_ok() {
            return Err("loads an empty state".into());
        }
        Ok(())
    }

    fn check_output(&self, output: &Frame, rows: usize) -> Check {
        let kind = self.op.output();
        if output.rows() != rows {
            return Err(format!("emits {} rows for {rows}", output.rows()));
        }
        for (index, column) in output.columns().iter().enumerate() {
            match column.values() {
                Values::Numeric(values) => {
                    let missing = kind == NUMERIC || kind == RAW;
                    if let Some(row) = values.iter().position(|value| !(value.is_finite() || missing && value.is_nan())) {
                        return Err(format!("emits {} at row {row}, column {index}, as `{kind}`", values[row]));
                    }
                }
                _ if kind == RAW => {}
                _ => return Err(format!("emits a column that holds no numbers as `{kind}`")),
            }
        }
        if kind == PREDICTION { self.check_predictions(output) } else { Ok(()) }
    }

    fn check_predictions(&self, output: &Frame) -> Check {
        let width = self.case.y.width();
        output.expect_width(width).map_err(|error| error.to_string())?;
        if self.case.y.task() == Task::Regression {
            return Ok(());
        }
        let matrix = output.matrix().map_err(|error| error.to_string())?;
        for (row, values) in matrix.rows().into_iter().enumerate() {
            let sum: f32 = values.iter().sum();
            if (sum - 1.0).abs() > 1e-4 || values.iter().any(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("emits {values} at row {row}, which are no probabilities"));
            }
        }
        Ok(())
    }
}

/// Compares two outputs up to what rounding and the tolerance of an iterative solver may do.
fn near(a: &Frame, b: &Frame) -> Check {
    if a.columns().len() != b.columns().len() {
        return Err(format!("{} columns and {}", a.columns().len(), b.columns().len()));
    }
    for (index, (left, right)) in a.columns().iter().zip(b.columns()).enumerate() {
        let (Values::Numeric(left), Values::Numeric(right)) = (left.values(), right.values()) else { continue };
        let scale = left.iter().filter(|value| !value.is_nan()).fold(1.0_f32, |scale, value| scale.max(value.abs().min(1e3)));
        for (row, (&one, &other)) in left.iter().zip(right).enumerate() {
            let distance = (one - other).abs() / scale.max(one.abs());
            if !(distance <= 0.01 || one.is_nan() && other.is_nan()) {
                return Err(format!("{one} and {other} at row {row}, column {index}"));
            }
        }
    }
    Ok(())
}

/// Compares two outputs to the bit.
fn same(a: &Frame, b: &Frame, what: &str) -> Check {
    if a.columns().len() != b.columns().len() || a.rows() != b.rows() {
        return Err(format!("another shape after {what}"));
    }
    let bits = |values: &Values| match values {
        Values::Numeric(values) => values.iter().map(|value| u64::from(value.to_bits())).collect(),
        Values::Category { codes, .. } => codes.iter().map(|&code| u64::from(code)).collect(),
        Values::DateTime(values) => values.iter().map(|value| value.to_bits()).collect(),
        Values::Text(_) => Vec::new(),
    };
    for (index, (left, right)) in a.columns().iter().zip(b.columns()).enumerate() {
        let (one, other): (Vec<u64>, Vec<u64>) = (bits(left.values()), bits(right.values()));
        if let Some(row) = one.iter().zip(&other).position(|(one, other)| one != other) {
            let shown = |frame: &Arc<crate::frame::Column>| format!("{:?}", frame.take(&[row as u32]).values());
            return Err(format!("column {index}, row {row} differs with {what}: {} and {}", shown(left), shown(right)));
        }
    }
    Ok(())
}

/// The most expensive fit ends soon if its token is cancelled before or meanwhile.
fn check_cancel(op: &dyn TabularOperator, kind: &Kind, task: Task) -> Check {
    let (x, y) = data::large(kind, task);
    let params = setting(op, |_| 1.0);
    for wait in [Duration::ZERO, Duration::from_millis(20)] {
        let began = Instant::now();
        let cancel = Cancel::new().child(Some(began + wait));
        match op.fit(&Fit { x: &x, y: &y, weights: None, params: &params, seed: 11, cancel: &cancel }) {
            Ok(_) | Err(OperatorError::Cancelled) => {}
            Err(error) => return Err(format!("a cancelled fit says: {error}")),
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("a fit cancelled after {wait:?} goes on for {:?}", began.elapsed()));
        }
    }
    Ok(())
}
