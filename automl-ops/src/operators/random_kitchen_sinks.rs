//! Random cosine features of the Gaussian kernel (Rahimi and Recht 2007).

use automl_core::{Cancel, Param, Params};
use ndarray::Array2;

use super::damaged;
use super::number;
use super::shared::{columns, frame, put_standard, standard};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::random_features::{self, Waves};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct RandomKitchenSinks;

crate::describe! {
    RandomKitchenSinks: "random_kitchen_sinks", "Random cosines whose products approximate the Gaussian kernel",
    reads [DENSE], emits DENSE,
    params [
        Param::int("features", 50, 1_000, 100).log().about("number of features"),
        Param::float("gamma", 0.01, 10.0, 1.0)
            .log()
            .about("sharpness of the kernel on standardised columns, as a multiple of one over their number"),
    ]
}

crate::tabular_operator!(RandomKitchenSinks);

struct FittedWaves(Waves);

impl TabularOperator for RandomKitchenSinks {
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let count = number(params, "features", 0.0);
        Cost::of_cells(shape, 4.0 + 0.04 * count, 0.0)
            .and_seconds(1e-9 * count * (8.0 * shape.rows + 30.0 * shape.columns))
            .and_bytes(8.0 * shape.rows * count + 4.0 * count * shape.columns + 1e6)
            .emitting(count)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = columns(fit.x)?;
        let waves = random_features::waves(&x, fit.int("features")?, fit.float("gamma")?, fit.seed, fit.cancel)?;
        Ok(Box::new(FittedWaves(waves)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (standard, phase) = (standard(state)?, state.f32s("phase")?.to_vec());
        let frequency =
            Array2::from_shape_vec((phase.len(), standard.width()), state.f32s("frequency")?.to_vec()).map_err(damaged)?;
        let waves = Waves { standard, frequency, phase };
        waves.check().map_err(damaged)?;
        Ok(Box::new(FittedWaves(waves)))
    }
}

impl Fitted for FittedWaves {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        frame(x.rows(), self.0.transform(&columns(x)?, cancel)?)
    }

    fn save(&self, state: &mut State) {
        put_standard(state, &self.0.standard);
        state.put_array("phase", Array::F32(self.0.phase.clone()));
        state.put_array("frequency", Array::F32(self.0.frequency.iter().copied().collect()));
    }
}
