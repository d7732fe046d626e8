//! The power of Yeo and Johnson that makes each column most like a normal distribution, standardised.

use automl_core::{Cancel, Params};

use super::columnwise::{check_rows, each_column, map_columns, numbers};
use super::damaged;
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::DENSE;
use crate::learn::columns::bounded;
use crate::learn::power::Power;
use crate::learn::quantile::{ROWS, sample_rows};
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator};
use crate::state::{Array, State};

struct PowerTransform;

crate::describe! {
    PowerTransform: "power_transform", "Makes columns more normal by a power (Yeo-Johnson), then standardises them",
    reads [DENSE], emits DENSE,
    params []
}

crate::tabular_operator!(PowerTransform);

struct Powers(Vec<Power>);

impl TabularOperator for PowerTransform {
    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        let sampled = shape.rows.min(ROWS as f64);
        let search = 90e-9 * sampled * shape.columns;
        Cost::of_cells(shape, 50.0, 4.0).and_seconds(search).and_bytes(32.0 * sampled)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        check_rows(fit)?;
        let rows = sample_rows(fit.x.rows(), ROWS, fit.seed);
        let powers = each_column(fit.x, fit.cancel, |_, values| {
            Ok(match &rows {
                None => Power::fit(values.iter().copied(), fit.cancel)?,
                Some(rows) => Power::fit(rows.iter().filter_map(|&row| values.get(row as usize).copied()), fit.cancel)?,
            })
        })?;
        Ok(Box::new(Powers(powers)))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let numbers = state.f64s("powers")?.chunks(3);
        let power = |three: &[f64]| {
            let &[lambda, mean, scale] = three else { return Err(OperatorError::state("`powers` are not three a column")) };
            let power = Power { lambda, mean, scale };
            power.check().map_err(damaged)?;
            Ok(power)
        };
        Ok(Box::new(Powers(numbers.map(power).collect::<Result<_, _>>()?)))
    }
}

impl Fitted for Powers {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        map_columns(x, self.0.len(), cancel, |index, values| match self.0.get(index) {
            Some(power) => Ok(numbers(values.iter().map(|&value| bounded(power.apply(value))).collect())),
            None => Err(OperatorError::Kind { expected: "the columns of the training table" }),
        })
    }

    fn save(&self, state: &mut State) {
        state.put_array("powers", Array::F64(self.0.iter().flat_map(|power| [power.lambda, power.mean, power.scale]).collect()));
    }
}
