//! Principal component analysis: projects onto the directions of largest variance.

use automl_core::{Cancel, Param, Params};

use super::damaged;
use super::shared::{share, share_of};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::pca::{self, PcaParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Pca;

crate::describe! {
    Pca: "pca", "Projects onto the directions of largest variance",
    reads [DENSE], emits DENSE,
    params [
        Param::float("components", 0.05, 1.0, 0.5).about("share of the columns' number that is kept, at least one"),
        Param::switch("whiten", false).about("whether every component gets variance 1"),
    ]
}

crate::tabular_operator!(Pca);

struct FittedPca(pca::Pca);

impl TabularOperator for Pca {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let side = shape.columns.min(shape.rows);
        let components = share_of(params, "components", side);
        Cost::of_cells(shape, 8.0 + 0.06 * side + 0.08 * components, 12.0)
            .and_seconds(2e-10 * side.powi(3))
            .and_bytes(24.0 * side * side + 8.0 * shape.rows * components + 1e6)
            .emitting(components)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let most = fit.x.columns().len().min(fit.x.rows());
        let n_components = share(fit, "components", most)?;
        let params = PcaParams { n_components, whiten: fit.switch("whiten")? };
        Ok(Box::new(FittedPca(pca::fit(fit.x.matrix()?.view(), &params, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let pca = pca::Pca {
            mean: state.f64s("mean")?.to_vec(),
            components: state.matrix("components")?,
            explained_variance: state.f64s("explained_variance")?.to_vec(),
            explained_ratio: state.f64s("explained_ratio")?.to_vec(),
            whiten: state.get("whiten")?,
        };
        pca.check().map_err(damaged)?;
        Ok(Box::new(FittedPca(pca)))
    }
}

impl Fitted for FittedPca {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        Ok(Frame::from_matrix(&self.0.transform(x.matrix()?.view())?))
    }

    fn save(&self, state: &mut State) {
        state.put_array("mean", Array::F64(self.0.mean.clone()));
        state.put_matrix("components", &self.0.components);
        state.put_array("explained_variance", Array::F64(self.0.explained_variance.clone()));
        state.put_array("explained_ratio", Array::F64(self.0.explained_ratio.clone()));
        state.put("whiten", self.0.whiten);
    }
}
