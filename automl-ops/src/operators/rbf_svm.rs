//! Support vector machines with a radial or polynomial kernel (Cortes and Vapnik 1995), on at most 8,000 rows.

use automl_core::{Cancel, Param, Params, Value};
use ndarray::Array2;

use super::{class_weight, damaged, thinned};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::kernel_svm::{Support, SvmClassifier, SvmParams, SvmRegressor};
use crate::learn::kernels::{Kernel, Rows, SizedKernel, Transform};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::{Array, State};

/// Most rows that a fit looks at; more are sampled.
const ROWS: usize = 8_000;
const LIMIT: f32 = 1e18;

struct RbfSvm;

crate::describe! {
    RbfSvm: "rbf_svm", "Margins between classes, or a tube around values, by similarity to training rows",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::float("c", 1e-2, 1e3, 1.0).log().about("largest weight of a training row: higher fits closer"),
        Param::choice("kernel", &["rbf", "polynomial"]).about("how rows are compared"),
        Param::float("gamma", 0.01, 30.0, 1.0).log().about("narrowness of the kernel, times one over the number of columns"),
        Param::int("degree", 2, 4, 3).when("kernel", &[Value::from("polynomial")]).about("degree of the polynomial"),
        Param::switch("scale", true).about("whether columns are scaled to one variance first"),
        Param::float("epsilon", 1e-3, 1.0, 0.1).log().about("deviations of a value that cost nothing, in standard deviations"),
        class_weight(),
    ]
}

crate::tabular_operator!(RbfSvm);

enum FittedSvm {
    Classes(SvmClassifier),
    Values(SvmRegressor),
}

impl TabularOperator for RbfSvm {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let rows = shape.rows.min(ROWS as f64);
        let c = if let Some(Value::Float(c)) = params.get("c") { *c } else { 1.0 };
        // Steps grow with the rows, and with the rows that a large `c` has to balance.
        let task = if shape.classes > 1.0 { 1.0 } else { 3.0 };
        let steps = task * (2.0 + 0.3 * shape.columns) * (1.0 + c.sqrt() / 5.0);
        let seconds = 1e-9 * rows * (rows * steps + 0.1 * shape.cells());
        let bytes = 8.0 * shape.cells() + (4.0 * rows * rows).min(192e6) + 12.0 * rows * shape.classes;
        Cost { seconds, bytes, columns: shape.classes }
    }

    fn row_seconds(&self, shape: &Shape, _: &Params) -> f64 {
        1e-9 * (10.0 * shape.columns + shape.rows.min(ROWS as f64) * (1.0 + 0.1 * shape.columns))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let kernel = if fit.text("kernel")? == "polynomial" {
            Kernel::Polynomial(i32::try_from(fit.int("degree")?).unwrap_or(3))
        } else {
            Kernel::Rbf
        };
        let params = SvmParams {
            c: fit.float("c")?,
            kernel,
            gamma: fit.float("gamma")?,
            scale: fit.switch("scale")?,
            epsilon: fit.float("epsilon")?,
        };
        if fit.x.rows() != fit.y.len() {
            return Err(OperatorError::Shape { what: "targets", expected: fit.x.rows(), found: fit.y.len() });
        }
        let thinned = thinned(fit, ROWS);
        let x = thinned.x.matrix()?;
        let weights = thinned.weights.as_deref();
        Ok(Box::new(match &thinned.y {
            Target::Classes { codes, classes } => {
                FittedSvm::Classes(SvmClassifier::fit(x.view(), codes, *classes, weights, &params, fit.cancel)?)
            }
            Target::Values(values) => {
                let y: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                FittedSvm::Values(SvmRegressor::fit(x.view(), &y, weights, &params, fit.cancel)?)
            }
        }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let support = load_support(state)?;
        let fitted = if state.values.contains_key("classes") {
            let model = SvmClassifier {
                classes: state.get("classes")?,
                codes: state.u32s("codes")?.to_vec(),
                support,
                ends: state.get("ends")?,
                coef: state.matrix("coef")?,
                pairs: state.matrix("pairs")?,
            };
            model.check().map_err(damaged)?;
            FittedSvm::Classes(model)
        } else {
            let model = SvmRegressor { support, coef: state.f64s("coef")?.to_vec(), intercept: state.get("intercept")? };
            model.check().map_err(damaged)?;
            FittedSvm::Values(model)
        };
        Ok(Box::new(fitted))
    }
}

impl Fitted for FittedSvm {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let x = x.matrix()?;
        Ok(match self {
            Self::Classes(model) => Frame::from_matrix(&model.predict(x.view(), cancel)?),
            Self::Values(model) => {
                let values: Vec<f32> = model.predict(x.view(), cancel)?.iter().map(|v| v.clamp(-LIMIT, LIMIT)).collect();
                Frame::from_rows(&values, 1)
            }
        })
    }

    fn save(&self, state: &mut State) {
        match self {
            Self::Classes(model) => {
                save_support(&model.support, state);
                state.put("classes", model.classes);
                state.put("ends", &model.ends);
                state.put_array("codes", Array::U32(model.codes.clone()));
                state.put_matrix("coef", &model.coef);
                state.put_matrix("pairs", &model.pairs);
            }
            Self::Values(model) => {
                save_support(&model.support, state);
                state.put_array("coef", Array::F64(model.coef.clone()));
                state.put("intercept", model.intercept);
            }
        }
    }
}

/// Writes support vectors and their kernel.
pub(super) fn save_support(support: &Support, state: &mut State) {
    let (name, degree) = support.kernel.kernel.to_parts();
    state.put("kernel", name);
    state.put("degree", degree);
    state.put_array("gamma", Array::F32(vec![support.kernel.gamma]));
    state.put_array("mean", Array::F64(support.transform.mean.clone()));
    state.put_array("inverse", Array::F64(support.transform.inverse.clone()));
    state.put("vectors.shape", [support.rows.z.nrows(), support.rows.z.ncols()]);
    state.put_array("vectors", Array::F32(support.rows.z.iter().copied().collect()));
}

/// Reads what [`save_support`] wrote; the models check it.
pub(super) fn load_support(state: &State) -> Result<Support, OperatorError> {
    let kernel = Kernel::from_parts(&state.get::<String>("kernel")?, state.get("degree")?);
    let kernel = kernel.ok_or_else(|| OperatorError::state("there is no such kernel"))?;
    let [rows, columns]: [usize; 2] = state.get("vectors.shape")?;
    let z = Array2::from_shape_vec((rows, columns), state.f32s("vectors")?.to_vec()).map_err(damaged)?;
    let gamma = state.finite("gamma", Some(1))?.first().copied().unwrap_or(0.0);
    let transform = Transform { mean: state.f64s("mean")?.to_vec(), inverse: state.f64s("inverse")?.to_vec() };
    Ok(Support { transform, kernel: SizedKernel { kernel, gamma }, rows: Rows::of(z) })
}
