//! Bagging (Breiman 1996): the mean of one kind of estimator, fitted on bootstrap samples of the rows and parts of the columns
//! (Ho 1998, random subspaces).

use std::borrow::Cow;
use std::sync::Arc;

use automl_core::{Cancel, Param, Params};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{class_weight, number, text};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, Values};
use crate::kinds::{DENSE, PREDICTION};
use crate::metrics::Task;
use crate::operator::{self, Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::{Array, State};

/// Estimators, at most.
const MOST: usize = 50;

struct Bagging;

crate::describe! {
    Bagging: "bagging", "The mean of estimators on samples of the rows and columns",
    reads [DENSE], emits PREDICTION,
    params [
        Param::choice("base", &BASES).about("the estimator; one of classes alone is `ridge` in a regression"),
        Param::int("estimators", 5, MOST as i64, 20).log().about("number of estimators"),
        Param::float("max_samples", 0.3, 1.0, 1.0).about("rows drawn, with replacement, as a share of all"),
        Param::float("max_features", 0.3, 1.0, 1.0).about("share of the columns that an estimator sees"),
        class_weight(),
    ]
}

crate::tabular_operator!(Bagging);

/// Estimators that are bagged: those of this crate whose samples differ enough for it, fixed here since a choice that grew with
/// the linked plugins would change what a journal replays to.
const BASES: [&str; 10] =
    ["decision_tree", "logistic", "knn", "ridge", "linear_svm", "rbf_svm", "gaussian_nb", "lda", "qda", "gradient_boosting"];

/// The operator of that name, or its counterpart where it does not serve the task.
fn base(name: &str, task: Task) -> Result<&'static dyn TabularOperator, OperatorError> {
    if !BASES.contains(&name) {
        return Err(OperatorError::state(format!("`{name}` is not an estimator that is bagged")));
    }
    let find = |name| operator::operator(name).map_err(|error| OperatorError::Infeasible(error.to_string()));
    let base = find(name)?;
    if base.tasks().contains(&task) { Ok(base) } else { find("ridge") }
}

/// Default parameters; a single tree is grown until its leaves are pure, as bagging wants it.
fn defaults(base: &dyn TabularOperator) -> Params {
    let mut params = automl_core::operator::defaults(&base.params());
    if base.name() == "decision_tree" {
        params.insert("min_samples_leaf".into(), 1.into());
        params.insert("max_depth".into(), 30.into());
    }
    params
}

struct Member {
    columns: Vec<u32>,
    fitted: Box<dyn Fitted>,
}

struct FittedBagging {
    base: &'static dyn TabularOperator,
    task: Task,
    inputs: usize,
    width: usize,
    members: Vec<Member>,
}

impl TabularOperator for Bagging {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let count = number(params, "estimators", 20.0);
        let columns = (shape.columns * number(params, "max_features", 1.0)).max(1.0);
        let task = if shape.classes > 1.0 { Task::Classification } else { Task::Regression };
        let part = shape.with_columns(columns);
        let one = match base(text(params, "base"), task) {
            Ok(base) => base.cost(&part, &defaults(base)),
            Err(_) => Cost::of_cells(&part, 10.0, 8.0),
        };
        let copies = Cost::of_cells(&part, 2.0, 8.0);
        Cost {
            seconds: count * (0.5 * one.seconds + copies.seconds),
            // A few are fitted at once; what a fitted one keeps is a fraction of what its fit took.
            bytes: 2.0 * (one.bytes + copies.bytes) + count * 0.02 * one.bytes,
            columns: shape.classes,
        }
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        let part = shape.with_columns((shape.columns * number(params, "max_features", 1.0)).max(1.0));
        let task = if shape.classes > 1.0 { Task::Classification } else { Task::Regression };
        let one = base(text(params, "base"), task).map_or(1e-6, |base| base.row_seconds(&part, &defaults(base)));
        number(params, "estimators", 20.0) * (one + 1e-9 * (part.columns + shape.classes))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let base = base(fit.text("base")?, fit.y.task())?;
        let params = defaults(base);
        let (count, samples, features) = (fit.int("estimators")?, fit.float("max_samples")?, fit.float("max_features")?);
        let (rows, inputs) = (fit.x.rows(), fit.x.columns().len());
        if rows != fit.y.len() {
            return Err(OperatorError::Shape { what: "rows of the target", expected: rows, found: fit.y.len() });
        }
        if inputs == 0 || rows == 0 {
            return Err(OperatorError::Infeasible("there are no rows or no columns to learn from".into()));
        }
        let weights = fit.row_weights();
        let draw = Draw { weights: weights.as_deref(), rows, samples, inputs, features };
        let one = |index: usize| {
            if fit.cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            let mut rng = ChaCha8Rng::seed_from_u64(fit.seed);
            rng.set_stream(index as u64);
            let (counts, columns) = (draw.rows(&mut rng), draw.columns(&mut rng));
            let chosen: Vec<usize> = columns.iter().map(|&column| column as usize).collect();
            let (x, y, weights) = if base.weights() == Weights::Ignored {
                let taken: Vec<u32> =
                    (0..).zip(&counts).flat_map(|(row, &count)| std::iter::repeat_n(row, count as usize)).collect();
                (fit.x.select(&chosen).take(&taken), Cow::Owned(fit.y.take(&taken)), None)
            } else {
                (fit.x.select(&chosen), Cow::Borrowed(fit.y), Some(&counts[..]))
            };
            let inner = Fit { x: &x, y: &y, weights, params: &params, seed: rng.random(), cancel: fit.cancel };
            Ok(Member { columns, fitted: base.fit(&inner)? })
        };
        let made: Vec<Result<Member, OperatorError>> = (0..count).into_par_iter().with_max_len(1).map(one).collect();
        // A sample may be one that the estimator cannot serve; the others stand for it.
        let mut problem = OperatorError::Cancelled;
        let mut members = Vec::with_capacity(count);
        for member in made {
            match member {
                Ok(member) => members.push(member),
                Err(error) => problem = error,
            }
        }
        if members.is_empty() {
            return Err(problem);
        }
        Ok(Box::new(FittedBagging { base, task: fit.y.task(), inputs, width: fit.y.width(), members }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let name: String = state.get("base")?;
        let (inputs, width, count): (usize, usize, usize) = (state.get("inputs")?, state.get("width")?, state.get("members")?);
        let task = if state.get("classes")? { Task::Classification } else { Task::Regression };
        let base = base(&name, task)?;
        if !(1..=MOST).contains(&count) || !(1..=1 << 16).contains(&width) || !base.tasks().contains(&task) {
            return Err(OperatorError::state("a number of estimators or outputs, or a task, that cannot be"));
        }
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let prefix = format!("{index}.");
            let columns = state.u32s(&format!("{prefix}columns"))?.to_vec();
            if columns.is_empty() || columns.len() > inputs || columns.iter().any(|&column| column as usize >= inputs) {
                return Err(OperatorError::state(format!("estimator {index} reads columns that are not there")));
            }
            let prefix = format!("{index}.base.");
            let values =
                state.values.iter().filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), value.clone())));
            let arrays =
                state.arrays.iter().filter_map(|(name, array)| Some((name.strip_prefix(&prefix)?.to_owned(), array.clone())));
            let inner = State { values: values.collect(), arrays: arrays.collect() };
            members.push(Member { columns, fitted: base.load(&inner)? });
        }
        Ok(Box::new(FittedBagging { base, task, inputs, width, members }))
    }
}

/// How samples are drawn.
struct Draw<'a> {
    weights: Option<&'a [f32]>,
    rows: usize,
    samples: f64,
    inputs: usize,
    features: f64,
}

impl Draw<'_> {
    /// How often each row is drawn, as likely as its weight.
    fn rows(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let drawn = ((self.rows as f64 * self.samples).round() as usize).max(1);
        let mut counts = vec![0.0_f32; self.rows];
        let weight = |row: usize| self.weights.map_or(1.0, |weights| weights.get(row).map_or(0.0, |&weight| f64::from(weight)));
        let ends: Vec<f64> = (0..self.rows)
            .scan(0.0, |sum, row| {
                *sum += weight(row);
                Some(*sum)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0.0);
        for _ in 0..drawn {
            let at = rng.random::<f64>() * total;
            let row = ends.partition_point(|&end| end <= at).min(self.rows - 1);
            if let Some(count) = counts.get_mut(row) {
                *count += 1.0;
            }
        }
        counts
    }

    /// Different columns, in their order.
    fn columns(&self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let wanted = ((self.inputs as f64 * self.features).round() as usize).clamp(1, self.inputs);
        let mut columns: Vec<u32> = (0..self.inputs as u32).collect();
        for at in 0..wanted.min(self.inputs - 1) {
            columns.swap(at, rng.random_range(at..self.inputs));
        }
        columns.truncate(wanted);
        columns.sort_unstable();
        columns
    }
}

impl Fitted for FittedBagging {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.inputs)?;
        let mut sums = vec![vec![0.0_f64; x.rows()]; self.width];
        for member in &self.members {
            let chosen: Vec<usize> = member.columns.iter().map(|&column| column as usize).collect();
            let output = member.fitted.apply(&x.select(&chosen), cancel)?;
            output.expect_width(self.width)?;
            for (index, sums) in sums.iter_mut().enumerate() {
                sums.iter_mut().zip(output.numeric(index)?).for_each(|(sum, &value)| *sum += f64::from(value));
            }
        }
        let share = 1.0 / self.members.len() as f64;
        let columns = sums.into_iter().map(|sums| sums.into_iter().map(|sum| (sum * share) as f32).collect());
        let columns = columns.map(|values| Arc::new(Column::new(Values::Numeric(values))));
        Frame::new(x.rows(), columns.collect())
    }

    fn save(&self, state: &mut State) {
        state.put("base", self.base.name());
        state.put("classes", self.task == Task::Classification);
        state.put("inputs", self.inputs);
        state.put("width", self.width);
        state.put("members", self.members.len());
        for (index, member) in self.members.iter().enumerate() {
            state.put_array(&format!("{index}.columns"), Array::U32(member.columns.clone()));
            let mut inner = State::default();
            member.fitted.save(&mut inner);
            inner.values.into_iter().for_each(|(name, value)| state.put(&format!("{index}.base.{name}"), value));
            inner.arrays.into_iter().for_each(|(name, array)| state.put_array(&format!("{index}.base.{name}"), array));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Target;

    #[test]
    fn samples_have_the_size_asked_for_and_rows_of_weight_0_are_never_drawn() {
        let weights = [0.0, 1.0, 3.0, 0.0];
        let draw = Draw { weights: Some(&weights), rows: 4, samples: 1000.0, inputs: 10, features: 0.3 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let counts = draw.rows(&mut rng);
        assert_eq!((counts[0], counts[3], counts.iter().sum::<f32>()), (0.0, 0.0, 4000.0));
        assert!((2900.0..3100.0).contains(&counts[2]), "{counts:?}");
        let columns = draw.columns(&mut rng);
        assert!(columns.len() == 3 && columns.is_sorted_by(|a, b| a < b) && columns.iter().all(|&column| column < 10));
    }

    #[test]
    fn a_state_names_no_other_operator() {
        let x = Frame::from_rows(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 1);
        let y = Target::Classes { codes: vec![0, 0, 0, 1, 1, 1], classes: 2 };
        let params = automl_core::operator::defaults(&automl_core::Operator::params(&Bagging));
        let cancel = Cancel::new();
        let fitted = Bagging.fit(&Fit { x: &x, y: &y, weights: None, params: &params, seed: 1, cancel: &cancel }).unwrap();
        let mut state = State::default();
        fitted.save(&mut state);
        assert!(Bagging.load(&state).is_ok());
        for (name, value) in [("base", serde_json::json!("bagging")), ("members", 1000.into()), ("inputs", 0.into())] {
            let mut state = state.clone();
            state.put(name, value);
            assert!(Bagging.load(&state).is_err(), "{name}");
        }
    }
}
