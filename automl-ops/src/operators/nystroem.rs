//! Features that approximate a kernel, from landmark rows (Williams and Seeger 2001).

use automl_core::{Cancel, Param, Params, Value};

use super::damaged;
use super::number;
use super::shared::{columns, frame, put_standard, standard};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::nystroem::{self, Kernel, NystroemParams};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct Nystroem;

crate::describe! {
    Nystroem: "nystroem", "Features whose products approximate a kernel, from landmark rows",
    reads [DENSE], emits DENSE,
    params [
        Param::int("landmarks", 20, 400, 100).log().about("number of landmark rows, thus of features"),
        Param::choice("kernel", &["rbf", "laplacian", "polynomial"]).about("how alike two rows with standardised columns are"),
        Param::float("gamma", 0.01, 10.0, 1.0).log().about("sharpness of the kernel, as a multiple of one over the number of columns"),
        Param::int("degree", 2, 4, 3).when("kernel", &[Value::Text("polynomial".into())]).about("degree of the polynomial"),
    ]
}

crate::tabular_operator!(Nystroem);

struct FittedNystroem(nystroem::Nystroem);

impl TabularOperator for Nystroem {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let count = number(params, "landmarks", 0.0).min(shape.rows);
        let pair = if params.get("kernel") == Some(&Value::Text("laplacian".into())) { 0.25 } else { 0.04 };
        Cost::of_cells(shape, 4.0 + pair * count, 0.0)
            .and_seconds(1e-9 * (shape.rows * count * (4.0 + 0.06 * count) + 0.6 * count.powi(3)))
            .and_bytes(8.0 * shape.rows * count + 4.0 * count * shape.columns + 32.0 * count * count + 1e6)
            .emitting(count)
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        let count = number(params, "landmarks", 0.0).min(shape.rows);
        let pair = if params.get("kernel") == Some(&Value::Text("laplacian".into())) { 0.25 } else { 0.04 };
        1e-9 * (4.0 * shape.columns + count * (4.0 + pair * shape.columns + 0.06 * count))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let kernel = match fit.text("kernel")? {
            "laplacian" => Kernel::Laplacian,
            "polynomial" => Kernel::Polynomial,
            _ => Kernel::Gaussian,
        };
        let degree = if kernel == Kernel::Polynomial { fit.int("degree")? as u32 } else { 1 };
        let params = NystroemParams { landmarks: fit.int("landmarks")?, kernel, gamma: fit.float("gamma")?, degree };
        Ok(Box::new(FittedNystroem(nystroem::fit(&columns(fit.x)?, &params, fit.seed, fit.cancel)?)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let kernel = match state.get::<String>("kernel")?.as_str() {
            "rbf" => Kernel::Gaussian,
            "laplacian" => Kernel::Laplacian,
            "polynomial" => Kernel::Polynomial,
            other => return Err(OperatorError::state(format!("there is no kernel `{other}`"))),
        };
        let map = nystroem::Nystroem {
            standard: standard(state)?,
            landmarks: matrix(state, "landmarks")?,
            root: matrix(state, "root")?,
            kernel,
            gamma: state.get("gamma")?,
            degree: state.get("degree")?,
        };
        map.check().map_err(damaged)?;
        Ok(Box::new(FittedNystroem(map)))
    }
}

/// A saved matrix of 32-bit floats, `count` rows.
fn matrix(state: &State, name: &str) -> Result<ndarray::Array2<f32>, OperatorError> {
    let (values, count) = (state.f32s(name)?, state.get::<usize>("count")?);
    let width = values.len().checked_div(count).unwrap_or(0);
    ndarray::Array2::from_shape_vec((count, width), values.to_vec())
        .map_err(|_| OperatorError::state(format!("`{name}` has not {count} equal rows")))
}

impl Fitted for FittedNystroem {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        frame(x.rows(), self.0.transform(&columns(x)?, cancel)?)
    }

    fn save(&self, state: &mut State) {
        let kernel = match self.0.kernel {
            Kernel::Gaussian => "rbf",
            Kernel::Laplacian => "laplacian",
            Kernel::Polynomial => "polynomial",
        };
        put_standard(state, &self.0.standard);
        state.put("kernel", kernel);
        state.put("gamma", self.0.gamma);
        state.put("degree", self.0.degree);
        state.put("count", self.0.landmarks.nrows());
        state.put_array("landmarks", Array::F32(self.0.landmarks.iter().copied().collect()));
        state.put_array("root", Array::F32(self.0.root.iter().copied().collect()));
    }
}
