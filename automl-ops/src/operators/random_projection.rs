//! Random projection: fewer columns that keep distances on average (Johnson and Lindenstrauss 1984; Achlioptas 2003; Li, Hastie
//! and Church 2006).

use automl_core::{Param, Params, Value};

use super::number;
use super::shared::{FittedAffine, columns};
use crate::cost::{Cost, Shape};
use crate::kinds::DENSE;
use crate::learn::random_features::{self, Entries};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::State;

struct RandomProjection;

crate::describe! {
    RandomProjection: "random_projection", "Projects onto random directions, which keeps distances on average",
    reads [DENSE], emits DENSE,
    params [
        Param::int("components", 4, 256, 32).log().about("number of directions, at most that of the columns"),
        Param::choice("entries", &["gaussian", "third", "sparse"])
            .about("`third`: a third of the entries is not 0; `sparse`: one in the root of the number of columns"),
    ]
}

crate::tabular_operator!(RandomProjection);

impl TabularOperator for RandomProjection {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let components = number(params, "components", 0.0).min(shape.columns);
        let each = match params.get("entries") {
            Some(Value::Text(entries)) if entries == "sparse" => 0.5 / shape.columns.sqrt(),
            Some(Value::Text(entries)) if entries == "third" => 0.15,
            _ => 0.1,
        };
        Cost::of_cells(shape, 3.0 + each * components, 0.0)
            .and_seconds(20e-9 * components * shape.columns)
            .and_bytes(8.0 * shape.rows * components + 8.0 * components * shape.columns + 1e6)
            .emitting(components)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let entries = match fit.text("entries")? {
            "third" => Entries::Third,
            "sparse" => Entries::Sparse,
            _ => Entries::Gaussian,
        };
        let map = random_features::projection(&x, fit.int("components")?.min(x.width()), entries, fit.seed)?;
        Ok(Box::new(FittedAffine(map)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedAffine::load(state)
    }
}
