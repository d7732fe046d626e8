//! Replaces groups of correlated columns by their means.

use automl_core::{Param, Params};

use super::shared::{FittedAffine, columns, share, share_of};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::agglomerate::{self, Linkage};
use crate::learn::correlation::sampled;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct FeatureAgglomeration;

crate::describe! {
    FeatureAgglomeration: "feature_agglomeration", "Replaces groups of correlated columns by their means",
    reads [DENSE], emits DENSE,
    params [
        Param::float("clusters", 0.05, 0.9, 0.5).about("groups, as a share of the number of columns, at least one"),
        Param::choice("linkage", &["ward", "average"]).about("how far apart two groups are"),
    ]
}

crate::tabular_operator!(FeatureAgglomeration);

impl TabularOperator for FeatureAgglomeration {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let square = shape.columns * shape.columns;
        let rows = shape.rows.min(sampled(shape.columns as usize) as f64);
        Cost::of_cells(shape, 5.0, 0.0)
            .and_seconds(1e-9 * (0.02 * rows * square + 15.0 * square))
            .and_bytes(12.0 * square + 8.0 * rows * shape.columns + 12.0 * shape.rows * shape.columns.min(100.0))
            .emitting(share_of(params, "clusters", shape.columns))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let linkage = if fit.text("linkage")? == "average" { Linkage::Average } else { Linkage::Ward };
        let clusters = share(fit, "clusters", x.width())?;
        Ok(Box::new(FittedAffine(agglomerate::fit(&x, clusters, linkage, fit.seed, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
