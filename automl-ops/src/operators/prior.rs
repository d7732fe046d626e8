//! The baseline: class frequencies, or the mean or median of the target, whatever the columns say.

use automl_core::{Param, Params};

use ndarray::Array2;

use super::class_weight;
use super::linear::{self, LinearClasses, LinearValues};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::logistic::Logistic;
use crate::learn::ridge::Ridge;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::State;

struct Prior;

crate::describe! {
    Prior: "prior", "Predicts the same for every row: frequencies, mean or median",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::choice("statistic", &["mean", "median"]).about("of a value: `median` bears outliers"),
        class_weight(),
    ]
}

crate::tabular_operator!(Prior);

/// The middle of sorted values with weights; the mean of two where the half falls between them.
fn median(sorted: &[(f64, f64)], total: f64) -> f64 {
    let mut below = 0.0;
    for (place, (value, weight)) in sorted.iter().enumerate() {
        below += weight;
        if below > 0.5 * total {
            return *value;
        }
        if below == 0.5 * total && below > 0.0 {
            let next = sorted.iter().skip(place + 1).find(|(_, weight)| *weight > 0.0);
            return next.map_or(*value, |(next, _)| 0.5 * (value + next));
        }
    }
    0.0
}

impl TabularOperator for Prior {
    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        Cost { seconds: 1e-7 * shape.rows, bytes: 32.0 * shape.rows, columns: shape.classes }
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (rows, columns) = (fit.x.rows(), fit.x.columns().len());
        if rows != fit.y.len() || rows == 0 {
            return Err(OperatorError::Shape { what: "targets", expected: rows, found: fit.y.len() });
        }
        // A wrong type of column is refused as elsewhere.
        (0..columns).try_for_each(|index| fit.x.numeric(index).map(|_| ()))?;
        let weights = fit.row_weights();
        let weight = |row: usize| weights.as_ref().map_or(1.0, |w| w.get(row).map_or(0.0, |&w| f64::from(w)));
        Ok(match fit.y {
            Target::Classes { codes, classes } => {
                let mut mass = vec![0.0; *classes];
                for (row, &code) in codes.iter().enumerate() {
                    if let Some(mass) = mass.get_mut(code as usize) {
                        *mass += weight(row);
                    }
                }
                let (codes, logs): (Vec<u32>, Vec<f64>) =
                    (0..).zip(&mass).filter(|(_, mass)| **mass > 0.0).map(|(code, mass)| (code, mass.ln())).unzip();
                let intercept = if let [first, second] = logs.as_slice() { vec![second - first] } else { logs };
                let coef = Array2::zeros((intercept.len(), columns));
                let model = Logistic { classes: *classes, codes, coef, intercept, iterations: 0 };
                model.check()?;
                Box::new(LinearClasses(model))
            }
            Target::Values(values) => {
                let mut sorted: Vec<(f64, f64)> = values.iter().enumerate().map(|(row, &y)| (y, weight(row))).collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                let total: f64 = sorted.iter().map(|(_, w)| w).sum();
                let mean = sorted.iter().map(|(y, w)| y * w).sum::<f64>() / total.max(f64::MIN_POSITIVE);
                let intercept = if fit.text("statistic")? == "median" { median(&sorted, total) } else { mean };
                Box::new(LinearValues::new(Ridge { coef: vec![0.0; columns], intercept }))
            }
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        linear::load(state)
    }
}
