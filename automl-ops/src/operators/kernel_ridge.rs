//! Kernel ridge regression (Saunders et al. 1998) of values or calibrated class targets, on a sample of rows.

use automl_core::{Cancel, Param, Params, Value};

use super::rbf_svm::{load_support, save_support};
use super::{class_weight, damaged, number, thinned};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::kernel_ridge::{self, KernelRidgeParams};
use crate::learn::kernels::Kernel;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::{Array, State};

struct KernelRidge;

crate::describe! {
    KernelRidge: "kernel_ridge", "Least squares by similarity to training rows",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("alpha", 1e-4, 10.0, 0.1).log().about("strength of the penalty"),
        Param::choice("kernel", &["rbf", "matern", "polynomial"]).about("how rows are compared"),
        Param::float("gamma", 0.01, 30.0, 0.3).log().about("narrowness of the kernel, times one over the number of columns"),
        Param::int("degree", 2, 4, 2).when("kernel", &[Value::from("polynomial")]).about("degree of the polynomial"),
        Param::switch("scale", true).about("whether columns are scaled to one variance first"),
        Param::int("max_rows", 500, 4000, 2000).log().about("rows that are learnt from, at most; more are sampled"),
        class_weight(),
    ]
}

crate::tabular_operator!(KernelRidge);

/// A fitted kernel model of either task.
pub(super) struct FittedKernel(kernel_ridge::KernelRidge);

impl FittedKernel {
    /// Fits on at most so many rows.
    pub fn fit(fit: &Fit<'_>, params: &KernelRidgeParams, rows: usize) -> Result<Box<dyn Fitted>, OperatorError> {
        if fit.x.rows() != fit.y.len() {
            return Err(OperatorError::Shape { what: "targets", expected: fit.x.rows(), found: fit.y.len() });
        }
        let thinned = thinned(fit, rows);
        let x = thinned.x.matrix()?;
        let weights = thinned.weights.as_deref();
        let model = match &thinned.y {
            Target::Classes { codes, classes } => {
                kernel_ridge::fit_classes(x.view(), codes, *classes, weights, params, fit.cancel)?
            }
            Target::Values(values) => {
                let y: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                kernel_ridge::fit_values(x.view(), &y, weights, params, fit.cancel)?
            }
        };
        Ok(Box::new(Self(model)))
    }

    /// Reads what `save` wrote.
    pub fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let model = kernel_ridge::KernelRidge {
            classes: state.get("classes")?,
            codes: state.u32s("codes")?.to_vec(),
            support: load_support(state)?,
            coef: state.matrix("coef")?,
            intercept: state.f64s("intercept")?.to_vec(),
        };
        model.check().map_err(damaged)?;
        Ok(Box::new(Self(model)))
    }

    /// Seconds to predict one row of many, after a fit on at most so many rows.
    pub fn row_seconds(shape: &Shape, rows: f64) -> f64 {
        let rows = shape.rows.min(rows);
        1e-9 * (10.0 * shape.columns + rows * (1.0 + 0.1 * shape.columns + 0.5 * shape.classes))
    }

    /// The cost of a fit on at most so many rows.
    pub fn cost(shape: &Shape, rows: f64) -> Cost {
        let rows = shape.rows.min(rows);
        let factors = if shape.classes > 1.0 { 2.0 } else { 1.0 };
        let square = rows * rows * (5.0 + 0.2 * shape.columns + 4.0 * shape.classes);
        let apply = 0.1 * shape.cells() * rows + shape.rows * rows * (1.0 + 0.5 * shape.classes);
        let seconds = 1e-9 * (0.03 * factors * rows.powi(3) + square + apply + 10.0 * shape.cells());
        Cost { seconds, bytes: 8.0 * shape.cells() + 32.0 * rows * rows, columns: shape.classes }
    }
}

impl Fitted for FittedKernel {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let mut out = self.0.predict(x.matrix()?.view(), cancel)?;
        out.mapv_inplace(|v| v.clamp(-1e18, 1e18));
        Ok(Frame::from_matrix(&out))
    }

    fn save(&self, state: &mut State) {
        save_support(&self.0.support, state);
        state.put("classes", self.0.classes);
        state.put_array("codes", Array::U32(self.0.codes.clone()));
        state.put_matrix("coef", &self.0.coef);
        state.put_array("intercept", Array::F64(self.0.intercept.clone()));
    }
}

impl TabularOperator for KernelRidge {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        FittedKernel::cost(shape, number(params, "max_rows", 2000.0))
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        FittedKernel::row_seconds(shape, number(params, "max_rows", 2000.0))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let kernel = match fit.text("kernel")? {
            "polynomial" => Kernel::Polynomial(i32::try_from(fit.int("degree")?).unwrap_or(2)),
            "matern" => Kernel::Matern,
            _ => Kernel::Rbf,
        };
        let params =
            KernelRidgeParams { kernel, fixed: Some((fit.float("gamma")?, fit.float("alpha")?)), scale: fit.switch("scale")? };
        FittedKernel::fit(fit, &params, fit.int("max_rows")?)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedKernel::load(state)
    }
}
