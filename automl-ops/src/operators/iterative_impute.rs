//! Fills missing numbers by regressions on the other columns, in rounds.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, each_column};
use super::impute::{fill_rows, indicated, indicator, load_indicators};
use super::{damaged, number};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC};
use crate::learn::iterative::{Iterative, IterativeParams, MAX_COLUMNS, Regression};
use crate::learn::quantile::sample_rows;
use crate::learn::scale::present_moments;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct IterativeImpute;

crate::describe! {
    IterativeImpute: "iterative_impute", "Fills missing numbers by regressions on the other columns",
    reads [NUMERIC], emits DENSE,
    params [
        Param::int("rounds", 1, 10, 5).about("times that every column with gaps is predicted anew"),
        Param::int("predictors", 5, 50, 20).log().about("columns that one column is predicted from, at most: the most correlated"),
        Param::float("alpha", 1e-2, 1e3, 1.0).log().about("penalty of the squared coefficients, on standardised columns"),
        indicator(),
    ]
}

crate::tabular_operator!(IterativeImpute);

/// Training rows that regressions are fitted on, at most.
const ROWS: usize = 1 << 14;

struct Filler {
    model: Iterative,
    indicators: Vec<u32>,
}

impl TabularOperator for IterativeImpute {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let int = |name: &str| number(params, name, 10.0);
        let (rounds, predictors) = (int("rounds"), int("predictors").min(shape.columns));
        let rows = shape.rows.min(ROWS as f64);
        // A third of the columns have gaps.
        let cell = 3.0 * predictors + 0.2 * predictors * predictors;
        let fit = 0.3e-9 * rounds * rows * shape.columns * cell;
        let correlations = 0.1e-9 * rows.min(1e3) * shape.columns * shape.columns;
        let apply = 0.3e-9 * rounds * predictors * shape.cells();
        Cost::of_cells(shape, 20.0, 9.0).and_seconds(fit + correlations + apply).and_bytes(16.0 * rows * shape.columns)
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        let predictors = number(params, "predictors", 10.0).min(shape.columns);
        1e-9 * shape.columns * (20.0 + 0.3 * number(params, "rounds", 10.0) * predictors)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        if fit.x.columns().len() > MAX_COLUMNS {
            let problem = format!("regressions serve {MAX_COLUMNS} columns at most: select columns first, or use `impute`");
            return Err(OperatorError::Infeasible(problem));
        }
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let measured = each_column(fit.x, fit.cancel, |_, values| {
            let (mean, variance, _) = present_moments(values);
            let scale = if variance > 0.0 { variance.sqrt().max(f64::from(f32::MIN_POSITIVE)) } else { 1.0 };
            let present = || values.iter().filter(|value| !value.is_nan());
            let place = |value: f32| ((f64::from(value) - mean) / scale).clamp(-1e6, 1e6);
            let range = match (present().copied().reduce(f32::min), present().copied().reduce(f32::max)) {
                (Some(low), Some(high)) => [place(low), place(high)],
                _ => [0.0; 2],
            };
            let sample = match &rows {
                None => values.to_vec(),
                Some(rows) => rows.iter().filter_map(|&row| values.get(row as usize).copied()).collect(),
            };
            Ok(((mean, scale), (range, sample)))
        })?;
        let ((mean, scale), (range, sample)): ((_, _), (_, Vec<Vec<f32>>)) = measured.into_iter().unzip();
        let params = IterativeParams {
            rounds: fit.int("rounds")?,
            predictors: fit.int("predictors")?.max(1),
            alpha: fit.float("alpha")?.max(0.0),
        };
        let start = Iterative { mean, scale, range, rounds: 1, regressions: Vec::new() };
        let model = start.fit(&sample, &params, fit.cancel)?;
        Ok(Box::new(Filler { model, indicators: indicated(fit)? }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let mut regressions = Vec::new();
        let (mut predictors, mut coef) = (state.u32s("predictors")?, state.f64s("coef")?);
        let (targets, counts, intercepts) = (state.u32s("targets")?, state.u32s("counts")?, state.f64s("intercepts")?);
        if targets.len() != counts.len() || targets.len() != intercepts.len() {
            return Err(OperatorError::state("a regression lacks a part"));
        }
        for ((&target, &count), &intercept) in targets.iter().zip(counts).zip(intercepts) {
            let parts = predictors.split_at_checked(count as usize).zip(coef.split_at_checked(count as usize));
            let Some(((own, others), (own_coef, other_coef))) = parts else {
                return Err(OperatorError::state("a regression lacks coefficients"));
            };
            (predictors, coef) = (others, other_coef);
            regressions.push(Regression { target, predictors: own.to_vec(), coef: own_coef.to_vec(), intercept });
        }
        let (low, high) = (state.f64s("low")?, state.f64s("high")?);
        let range: Vec<[f64; 2]> = low.iter().zip(high).map(|(&low, &high)| [low, high]).collect();
        let (mean, scale) = (state.f64s("mean")?.to_vec(), state.f64s("scale")?.to_vec());
        let model = Iterative { mean, scale, range, rounds: state.get("rounds")?, regressions };
        model.check().map_err(damaged)?;
        let indicators = load_indicators(state, model.mean.len())?;
        Ok(Box::new(Filler { model, indicators }))
    }
}

impl Fitted for Filler {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.model.mean.len())?;
        fill_rows(x, &self.indicators, cancel, |row| self.model.fill(row))
    }

    fn save(&self, state: &mut State) {
        let Iterative { mean, scale, range, rounds, regressions } = &self.model;
        state.put("rounds", rounds);
        state.put_array("mean", Array::F64(mean.clone()));
        state.put_array("scale", Array::F64(scale.clone()));
        state.put_array("low", Array::F64(range.iter().map(|range| range[0]).collect()));
        state.put_array("high", Array::F64(range.iter().map(|range| range[1]).collect()));
        let count = |regression: &Regression| u32::try_from(regression.coef.len()).unwrap_or(u32::MAX);
        state.put_array("targets", Array::U32(regressions.iter().map(|regression| regression.target).collect()));
        state.put_array("counts", Array::U32(regressions.iter().map(count).collect()));
        state.put_array("intercepts", Array::F64(regressions.iter().map(|regression| regression.intercept).collect()));
        let predictors = regressions.iter().flat_map(|regression| regression.predictors.iter().copied());
        state.put_array("predictors", Array::U32(predictors.collect()));
        state.put_array("coef", Array::F64(regressions.iter().flat_map(|regression| regression.coef.iter().copied()).collect()));
        state.put_array("indicators", Array::U32(self.indicators.clone()));
    }
}
