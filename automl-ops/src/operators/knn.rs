//! The nearest neighbours' vote or mean, by Euclidean distance.

use automl_core::{Cancel, Param, Params};
use ndarray::Array2;

use super::{class_weight, damaged};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::knn::{KnnClassifier, KnnParams, KnnRegressor, Weighting};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::{Array, State};

struct Knn;

crate::describe! {
    Knn: "knn", "The vote or mean of the nearest training rows",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("k", 1, 100, 5).log().about("number of neighbours"),
        Param::choice("weights", &["uniform", "distance"]).about("`distance`: nearer neighbours count more"),
        class_weight(),
    ]
}

crate::tabular_operator!(Knn);

enum FittedKnn {
    Classes(KnnClassifier),
    Values(KnnRegressor),
}

fn weighting(name: &str) -> Weighting {
    if name == "distance" { Weighting::Distance } else { Weighting::Uniform }
}

impl TabularOperator for Knn {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let pairs = shape.rows * shape.rows;
        let seconds = 1e-9 * (10.0 * shape.cells() + pairs * (0.8 + 0.06 * shape.columns));
        Cost { seconds, bytes: 12.0 * shape.cells() + 4e5, columns: shape.classes }
    }

    fn row_seconds(&self, shape: &Shape, _: &Params) -> f64 {
        1e-9 * (10.0 * shape.columns + shape.rows * (0.8 + 0.06 * shape.columns))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = KnnParams { k: fit.int("k")?, weighting: weighting(fit.text("weights")?) };
        let x = fit.x.matrix()?;
        let weights = fit.row_weights();
        let weights = weights.as_deref();
        Ok(Box::new(match fit.y {
            Target::Classes { codes, classes } => {
                FittedKnn::Classes(KnnClassifier::fit(x.view(), codes, *classes, weights, &params, fit.cancel)?)
            }
            Target::Values(_) => {
                FittedKnn::Values(KnnRegressor::fit(x.view(), &fit.values_f32()?, weights, &params, fit.cancel)?)
            }
        }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let params = KnnParams { k: state.get("k")?, weighting: weighting(&state.get::<String>("weights")?) };
        let [rows, columns]: [usize; 2] = state.get("shape")?;
        let data = Array2::from_shape_vec((rows, columns), state.f32s("data")?.to_vec()).map_err(damaged)?;
        let weights = if state.arrays.contains_key("row_weights") { state.finite("row_weights", None)? } else { Vec::new() };
        let cancel = Cancel::new();
        let fitted = if let Ok(codes) = state.u32s("codes") {
            let model = KnnClassifier::new(data, codes.to_vec(), weights, state.get("classes")?, params, &cancel);
            FittedKnn::Classes(model.map_err(damaged)?)
        } else {
            let model = KnnRegressor::new(data, state.f32s("targets")?.to_vec(), weights, params, &cancel);
            FittedKnn::Values(model.map_err(damaged)?)
        };
        Ok(Box::new(fitted))
    }
}

impl Fitted for FittedKnn {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.matrix()?;
        Ok(match self {
            Self::Classes(model) => Frame::from_matrix(&model.predict(x.view(), cancel)?),
            Self::Values(model) => Frame::from_rows(&model.predict(x.view(), cancel)?, 1),
        })
    }

    fn save(&self, state: &mut State) {
        let (index, weights, params) = match self {
            Self::Classes(model) => {
                state.put("classes", model.classes);
                state.put_array("codes", Array::U32(model.codes.clone()));
                (&model.index, &model.weights, &model.params)
            }
            Self::Values(model) => {
                state.put_array("targets", Array::F32(model.targets.clone()));
                (&model.index, &model.weights, &model.params)
            }
        };
        if !weights.is_empty() {
            state.put_array("row_weights", Array::F32(weights.clone()));
        }
        let data = index.data();
        state.put("k", params.k);
        state.put("weights", if params.weighting == Weighting::Distance { "distance" } else { "uniform" });
        state.put("shape", [data.nrows(), data.ncols()]);
        state.put_array("data", Array::F32(data.iter().copied().collect()));
    }
}
