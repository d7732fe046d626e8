//! Fills missing numbers with the mean of the nearest training rows.

use automl_core::{Cancel, Param, Params};

use super::columnwise::{check_rows, each_column};
use super::damaged;
use super::impute::{fill_rows, indicated, indicator, load_indicators};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, NUMERIC};
use crate::learn::knn_impute::KnnImputer;
use crate::learn::quantile::sample_rows;
use crate::learn::scale::present_moments;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct KnnImpute;

crate::describe! {
    KnnImpute: "knn_impute", "Fills missing numbers with the mean of the nearest rows",
    reads [NUMERIC], emits DENSE,
    params [
        Param::int("k", 1, 30, 5).log().about("training rows that are averaged"),
        Param::choice("weights", &["uniform", "distance"]).about("whether near rows count more"),
        indicator(),
    ]
}

crate::tabular_operator!(KnnImpute);

/// Training rows to take values from, at most.
const ROWS: usize = 2_000;
/// Their cells, at most.
const CELLS: usize = 1 << 23;

struct Filler {
    model: KnnImputer,
    indicators: Vec<u32>,
}

impl TabularOperator for KnnImpute {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let donors = shape.rows.min(ROWS as f64).min(CELLS as f64 / shape.columns.max(1.0));
        // Half the rows have gaps, in one column of ten.
        let search = 0.5 * shape.cells() * donors * (0.6e-9 + 0.1 * 1e-9);
        Cost::of_cells(shape, 20.0, 8.0).and_seconds(search).and_bytes(12.0 * donors * shape.columns)
    }

    fn row_seconds(&self, shape: &Shape, _: &Params) -> f64 {
        let donors = shape.rows.min(ROWS as f64).min(CELLS as f64 / shape.columns.max(1.0));
        1e-9 * shape.columns * (20.0 + 0.5 * 0.7 * donors)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let most = ROWS.min(CELLS / fit.x.columns().len().max(1)).max(16);
        let rows = sample_rows(fit.x.rows(), most, fit.seed);
        let measured = each_column(fit.x, fit.cancel, |_, values| {
            let (mean, variance, _) = present_moments(values);
            let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            let donors = match &rows {
                None => values.to_vec(),
                Some(rows) => rows.iter().filter_map(|&row| values.get(row as usize).copied()).collect(),
            };
            Ok(((mean, scale), donors))
        })?;
        let ((mean, scale), donors) = measured.into_iter().unzip();
        let by_distance = fit.text("weights")? == "distance";
        let model = KnnImputer { k: fit.int("k")?.max(1), by_distance, mean, scale, donors };
        Ok(Box::new(Filler { model, indicators: indicated(fit)? }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (mean, scale) = (state.f64s("mean")?.to_vec(), state.f64s("scale")?.to_vec());
        let (rows, values): (usize, _) = (state.get("rows")?, state.f32s("donors")?);
        if rows.checked_mul(mean.len()) != Some(values.len()) {
            return Err(OperatorError::state("the donors do not fit the columns"));
        }
        let donors = if rows == 0 { vec![Vec::new(); mean.len()] } else { values.chunks(rows).map(<[f32]>::to_vec).collect() };
        let model = KnnImputer { k: state.get("k")?, by_distance: state.get("by_distance")?, mean, scale, donors };
        model.check().map_err(damaged)?;
        let indicators = load_indicators(state, model.mean.len())?;
        Ok(Box::new(Filler { model, indicators }))
    }
}

impl Fitted for Filler {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.model.mean.len())?;
        let search = self.model.search();
        fill_rows(x, &self.indicators, cancel, |row| search.fill(row))
    }

    fn save(&self, state: &mut State) {
        state.put("k", self.model.k);
        state.put("by_distance", self.model.by_distance);
        state.put("rows", self.model.donors.first().map_or(0, Vec::len));
        state.put_array("mean", Array::F64(self.model.mean.clone()));
        state.put_array("scale", Array::F64(self.model.scale.clone()));
        state.put_array("donors", Array::F32(self.model.donors.concat()));
        state.put_array("indicators", Array::U32(self.indicators.clone()));
    }
}
