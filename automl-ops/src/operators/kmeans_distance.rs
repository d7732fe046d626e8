//! Distances to the centres of clusters (k-means; Lloyd 1982, Arthur and Vassilvitskii 2007).

use automl_core::{Cancel, Param, Params};
use ndarray::Array2;

use super::damaged;
use super::number;
use super::shared::{columns, frame, put_standard, standard};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::k_means::{self, KMeans, sampled};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct KmeansDistance;

crate::describe! {
    KmeansDistance: "kmeans_distance", "Distances to the centres of clusters",
    reads [DENSE], emits DENSE,
    params [
        Param::int("clusters", 2, 64, 8).log().about("number of clusters of rows with standardised columns"),
    ]
}

crate::tabular_operator!(KmeansDistance);

struct FittedKmeans(KMeans);

impl TabularOperator for KmeansDistance {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let count = number(params, "clusters", 0.0);
        let rows = shape.rows.min(sampled(shape.columns as usize) as f64);
        // Each draw of a centre tries a few; some ten or twenty iterations follow.
        Cost::of_cells(shape, 7.0 + 0.5 * count, 0.0)
            .and_seconds(1e-9 * rows * shape.columns * count * 6.0)
            .and_bytes(8.0 * rows * shape.columns + 8.0 * shape.rows * count + 8.0 * shape.columns * count + 1e5)
            .emitting(count)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(FittedKmeans(k_means::fit(&columns(fit.x)?, fit.int("clusters")?, fit.seed, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let standard = standard(state)?;
        let values = state.f32s("centres")?;
        let count = values.len().checked_div(standard.width()).unwrap_or(0);
        let centres = Array2::from_shape_vec((count, standard.width()), values.to_vec()).map_err(damaged)?;
        let model = KMeans { standard, centres };
        model.check().map_err(damaged)?;
        Ok(Box::new(FittedKmeans(model)))
    }
}

impl Fitted for FittedKmeans {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        frame(x.rows(), self.0.transform(&columns(x)?, cancel)?)
    }

    fn save(&self, state: &mut State) {
        put_standard(state, &self.0.standard);
        state.put_array("centres", Array::F32(self.0.centres.iter().copied().collect()));
    }
}
