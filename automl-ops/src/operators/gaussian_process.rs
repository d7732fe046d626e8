//! Gaussian processes (Rasmussen and Williams 2006) of values or calibrated class targets, with width and noise of most evidence.

use automl_core::{Param, Params};

use super::kernel_ridge::FittedKernel;
use super::{class_weight, number};
use crate::cost::{Cost, Shape};
use crate::kinds::{DENSE, PREDICTION};
use crate::learn::kernel_ridge::KernelRidgeParams;
use crate::learn::kernels::Kernel;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Weights};
use crate::state::State;

struct GaussianProcess;

crate::describe! {
    GaussianProcess: "gaussian_process", "A smooth function of standardised columns that chooses its own width and noise",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::choice("kernel", &["rbf", "matern"]).about("`matern`: rougher functions"),
        Param::int("max_rows", 200, 1500, 1000).log().about("rows that are learnt from, at most; more are sampled"),
        class_weight(),
    ]
}

crate::tabular_operator!(GaussianProcess);

impl TabularOperator for GaussianProcess {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let rows = number(params, "max_rows", 1000.0);
        FittedKernel::cost(shape, rows).and_seconds(1e-8 * shape.rows.min(200.0).powi(3))
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        FittedKernel::row_seconds(shape, number(params, "max_rows", 1000.0))
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let kernel = if fit.text("kernel")? == "matern" { Kernel::Matern } else { Kernel::Rbf };
        FittedKernel::fit(fit, &KernelRidgeParams { kernel, ..KernelRidgeParams::default() }, fit.int("max_rows")?)
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        FittedKernel::load(state)
    }
}
