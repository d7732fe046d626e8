//! Categories as the mean of the target where they occur, drawn towards the mean of all rows (Micci-Barreca, “A preprocessing
//! scheme for high-cardinality categorical attributes in classification and prediction problems”, 2001).
//!
//! With `empirical_bayes` the variances of the target between and within categories say how far, as in the analysis of variance
//! with random effects: categories that say nothing get the mean of all. It encodes the target, so the engine feeds later
//! vertices from fits that did not see a row's own target.

use std::sync::Arc;

use automl_core::{Cancel, Param, Params, Value};

use super::columnwise::{check_rows, go_on, lookup, numbers};
use super::encoding::{Tables, encode};
use crate::cost::{Cost, Shape};
use crate::frame::{Column, Frame, MISSING, Values};
use crate::kinds::{NUMERIC, RAW};
use crate::learn::columns::bounded;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target};
use crate::state::{Array, State};

struct TargetEncode;

crate::describe! {
    TargetEncode: "target_encode", "Categories as the mean of the target where they occur",
    reads [RAW], emits NUMERIC,
    params [
        Param::choice("smoothing", &["empirical_bayes", "fixed"]).about("how far the mean of a category is drawn to that of all rows"),
        Param::float("strength", 0.5, 200.0, 10.0).log().when("smoothing", &[Value::from("fixed")])
            .about("rows at the mean of all that are added to each category"),
    ]
}

crate::tabular_operator!(TargetEncode);

/// Columns that one categorical column becomes, at most. With more classes than that, classes share columns by their number, so
/// that every fold of the training rows gives a column the same meaning.
const COLUMNS: usize = 20;

/// The target as columns: two classes need one, more classes one each but the first.
struct Outcomes<'a> {
    y: &'a Target,
    columns: usize,
}

impl<'a> Outcomes<'a> {
    fn new(y: &'a Target) -> Self {
        let columns = match y {
            Target::Classes { classes, .. } => classes.saturating_sub(1).clamp(1, COLUMNS),
            Target::Values(_) => 1,
        };
        Self { y, columns }
    }

    /// The outcome of a row in a column.
    fn at(&self, row: usize, column: usize) -> f64 {
        match self.y {
            Target::Values(values) => values.get(row).copied().unwrap_or(0.0),
            Target::Classes { codes, .. } => match codes.get(row) {
                Some(&code) if code > 0 => f64::from(u8::from((code as usize - 1) % self.columns == column)),
                _ => 0.0,
            },
        }
    }
}

/// Rows at the mean of all that match what is known before: the variance within categories over that between them, estimated by
/// the method of moments from the rows, the sums and the squared deviations of each category. Infinite where the categories do
/// not differ more than chance makes them.
fn prior_rows(counts: &[f64], sums: &[f64], squares: &[f64]) -> f64 {
    let present = || counts.iter().zip(sums).filter(|(count, _)| **count > 0.0);
    let (categories, rows) = (present().count() as f64, counts.iter().sum::<f64>());
    if categories < 2.0 || rows <= categories {
        return f64::INFINITY;
    }
    let within = squares.iter().sum::<f64>() / (rows - categories);
    let between = present().map(|(count, sum)| sum * sum / count).sum::<f64>() / (categories - 1.0);
    let size = (rows - counts.iter().map(|count| count * count).sum::<f64>() / rows) / (categories - 1.0);
    let variance = (between - within) / size;
    if variance > 0.0 { within / variance } else { f64::INFINITY }
}

/// The numbers of the categories of a column, missing ones last, for one outcome. A category without rows gets the mean.
fn means(codes: &[u32], levels: u32, outcome: &[f64], mean: f64, strength: Option<f64>) -> Vec<f32> {
    let size = levels as usize + 1;
    let place = |code: u32| if code == MISSING { size - 1 } else { code as usize };
    let (mut counts, mut sums, mut squares) = (vec![0.0_f64; size], vec![0.0_f64; size], vec![0.0_f64; size]);
    // Outcomes less their mean lose no digits to an offset.
    for (&code, outcome) in codes.iter().zip(outcome) {
        if let (Some(count), Some(sum)) = (counts.get_mut(place(code)), sums.get_mut(place(code))) {
            *count += 1.0;
            *sum += outcome - mean;
        }
    }
    for (&code, outcome) in codes.iter().zip(outcome) {
        let at = place(code);
        if let (Some(square), Some(sum), Some(count)) = (squares.get_mut(at), sums.get(at), counts.get(at)) {
            *square += (outcome - mean - sum / count).powi(2);
        }
    }
    let strength = strength.unwrap_or_else(|| prior_rows(&counts, &sums, &squares));
    let number = |(&count, &sum): (&f64, &f64)| bounded(if count > 0.0 { mean + sum / (count + strength) } else { mean });
    counts.iter().zip(&sums).map(number).collect()
}

struct Encoded {
    /// For each outcome the tables of all columns.
    outcomes: Vec<Tables>,
    /// The mean of each outcome, for categories that no table has.
    means: Vec<f32>,
}

impl TabularOperator for TargetEncode {
    fn serves(&self, x: &Frame) -> bool {
        x.columns().iter().any(|column| matches!(column.values(), Values::Category { .. }))
    }

    fn cross_fits(&self) -> bool {
        true
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let each = (shape.classes - 1.0).clamp(1.0, COLUMNS as f64);
        let cost = Cost::of_cells(shape, 3.0 * each, 4.0 * each).and_bytes(40.0 * shape.levels + 8.0 * shape.rows);
        cost.emitting(shape.columns * each)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        if fit.y.len() != fit.x.rows() {
            return Err(OperatorError::Shape { what: "rows of the target", expected: fit.x.rows(), found: fit.y.len() });
        }
        let strength = if fit.text("smoothing")? == "fixed" { Some(fit.float("strength")?) } else { None };
        let (x, target) = (fit.x.basic(), Outcomes::new(fit.y));
        let rows = x.rows() as f64;
        let (mut outcomes, mut priors) = (Vec::new(), Vec::new());
        for outcome in 0..target.columns {
            let values: Vec<f64> = (0..x.rows()).map(|row| target.at(row, outcome)).collect();
            let first = values.first().copied().unwrap_or(0.0);
            let mean = first + values.iter().map(|value| value - first).sum::<f64>() / rows;
            let mut tables = Vec::new();
            for column in x.columns() {
                go_on(fit.cancel)?;
                tables.push(match column.values() {
                    Values::Category { codes, levels } => Some(means(codes, *levels, &values, mean, strength)),
                    _ => None,
                });
            }
            outcomes.push(Tables(tables));
            priors.push(bounded(mean));
        }
        Ok(Box::new(Encoded { outcomes, means: priors }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let means = state.finite("means", None)?;
        let all = Tables::load(state)?.0;
        if means.is_empty() || means.len() > COLUMNS || all.len() % means.len() != 0 {
            return Err(OperatorError::state("the tables do not fit the outcomes"));
        }
        let width = all.len() / means.len();
        let mut rest = all.into_iter();
        let outcomes: Vec<Tables> = means.iter().map(|_| Tables(rest.by_ref().take(width).collect())).collect();
        let types = |tables: &Tables| tables.0.iter().map(Option::is_some).collect::<Vec<_>>();
        if outcomes.iter().any(|tables| outcomes.first().map(types) != Some(types(tables))) {
            return Err(OperatorError::state("the outcomes differ in their columns"));
        }
        Ok(Box::new(Encoded { outcomes, means }))
    }
}

impl Fitted for Encoded {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let Some((first, others)) = self.outcomes.split_first() else {
            return Err(OperatorError::state("there are no outcomes"));
        };
        let x = x.basic();
        let column = |codes: &[u32], table: &[f32], outcome: usize| -> Arc<Column> {
            let mean = self.means.get(outcome).copied().unwrap_or(0.0);
            numbers(codes.iter().map(|&code| lookup(table, code, mean)).collect())
        };
        let encoded = encode(&x, first, cancel, |codes, table, columns| columns.push(column(codes, table, 0)))?;
        let mut columns = encoded.columns().to_vec();
        for (outcome, tables) in (1..).zip(others) {
            for (values, table) in x.columns().iter().zip(&tables.0) {
                go_on(cancel)?;
                if let (Values::Category { codes, .. }, Some(table)) = (values.values(), table) {
                    columns.push(column(codes, table, outcome));
                }
            }
        }
        Frame::new(x.rows(), columns)
    }

    fn save(&self, state: &mut State) {
        Tables(self.outcomes.iter().flat_map(|tables| tables.0.clone()).collect()).save(state);
        state.put_array("means", Array::F32(self.means.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_smoothing_matches_scikit_learn() {
        let y = [1.0, 2.0, 4.0, 5.0, 7.0, 3.0];
        let found = means(&[0, 0, 0, 1, 1, 2], 3, &y, 22.0 / 6.0, Some(10.0));
        // TargetEncoder(smooth=10).
        for (a, b) in found.iter().zip([3.358_974, 4.055_556, 3.606_061, 3.666_667]) {
            assert!((a - b).abs() < 2e-6, "{found:?}");
        }
    }

    #[test]
    fn empirical_bayes_believes_categories_that_differ() {
        let codes: Vec<u32> = (0..400).map(|row| row % 20).collect();
        let noise = |row: u32| f64::from(row.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
        let spread = |effect: f64| {
            let y: Vec<f64> = (0..400).map(|row| noise(row) + effect * f64::from(row % 20)).collect();
            let mean = y.iter().sum::<f64>() / 400.0;
            let found = means(&codes, 20, &y, mean, None);
            f64::from(found[19] - found[0])
        };
        assert!((spread(1.0) - 19.0).abs() < 0.5, "{}", spread(1.0));
        assert!(spread(0.0).abs() < 0.1, "{}", spread(0.0));
        // One row a category says nothing about what categories are worth.
        assert_eq!(means(&[0, 1], 2, &[1.0, 3.0], 2.0, None), [2.0; 3]);
        // No variance within categories: they say all.
        assert_eq!(means(&[0, 0, 1, 1], 2, &[1.0, 1.0, 3.0, 3.0], 2.0, None), [1.0, 3.0, 2.0]);
    }

    #[test]
    fn many_classes_share_columns() {
        let y = Target::Classes { codes: vec![0, 1, 21, 2], classes: 100 };
        let target = Outcomes::new(&y);
        assert_eq!(target.columns, COLUMNS);
        assert_eq!((0..4).map(|row| target.at(row, 0)).collect::<Vec<_>>(), [0.0, 1.0, 1.0, 0.0]);
        let y = Target::Classes { codes: vec![0, 1], classes: 2 };
        assert_eq!(Outcomes::new(&y).columns, 1);
    }
}
