//! What several projections and selections of columns share: their fitted form.

use std::sync::Arc;

use automl_core::Cancel;

use super::{damaged, number};
use crate::frame::{Column, Frame, Values};
use crate::learn::affine::{Affine, Weights};
use crate::learn::columns::{Columns, Response, Standard};
use crate::operator::{Fit, Fitted, OperatorError, Target};
use crate::state::{Array, State};

/// The columns of a frame of numbers.
pub(super) fn columns(x: &Frame) -> Result<Columns<'_>, OperatorError> {
    let columns = (0..x.columns().len()).map(|index| x.numeric(index)).collect::<Result<Vec<_>, _>>()?;
    Ok(Columns::new(x.rows(), columns)?)
}

/// A frame of number columns.
pub(super) fn frame(rows: usize, columns: Vec<Vec<f32>>) -> Result<Frame, OperatorError> {
    Frame::new(rows, columns.into_iter().map(|values| Arc::new(Column::new(Values::Numeric(values)))).collect())
}

/// The target as the linear kernels see it.
pub(super) fn response(fit: &Fit<'_>) -> Result<Response, OperatorError> {
    let rows = fit.x.rows();
    Ok(match fit.y {
        Target::Classes { codes, classes } => Response::classes(codes, *classes, rows)?,
        Target::Values(_) => Response::values(&fit.values_f32()?, rows)?,
    })
}

/// A share of a number of columns: at least one.
pub(super) fn share(fit: &Fit<'_>, name: &str, of: usize) -> Result<usize, OperatorError> {
    Ok(((fit.float(name)? * of as f64).ceil() as usize).clamp(1, of.max(1)))
}

/// What a share of a number of columns is in a cost.
pub(super) fn share_of(params: &automl_core::Params, name: &str, of: f64) -> f64 {
    (number(params, name, 0.0) * of).ceil().max(1.0)
}

/// Adds a standardisation to a state.
pub(super) fn put_standard(state: &mut State, standard: &Standard) {
    state.put_array("mean", Array::F64(standard.mean.clone()));
    state.put_array("inverse", Array::F64(standard.inverse.clone()));
}

/// Reads [`put_standard`].
pub(super) fn standard(state: &State) -> Result<Standard, OperatorError> {
    let standard = Standard { mean: state.f64s("mean")?.to_vec(), inverse: state.f64s("inverse")?.to_vec() };
    standard.check().map_err(damaged)?;
    Ok(standard)
}

/// A fitted affine projection.
pub(super) struct FittedAffine(pub Affine);

impl FittedAffine {
    /// Reads what it saved.
    pub(super) fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let weights = if state.get("sparse")? {
            let (ends, columns, values) = (state.u32s("ends")?, state.u32s("columns")?, state.f64s("values")?);
            if columns.len() != values.len() || ends.last().map_or(0, |&end| end as usize) != columns.len() {
                return Err(OperatorError::state("the weights and their columns differ in number"));
            }
            let mut lists = Vec::with_capacity(ends.len());
            let mut start = 0;
            for &end in ends {
                let range = start..end as usize;
                let (Some(columns), Some(values)) = (columns.get(range.clone()), values.get(range)) else {
                    return Err(OperatorError::state("the lists of weights overlap"));
                };
                lists.push(columns.iter().copied().zip(values.iter().copied()).collect());
                start = end as usize;
            }
            Weights::Sparse(lists)
        } else {
            Weights::Dense(state.matrix("weights")?)
        };
        let map = Affine { mean: state.f64s("mean")?.to_vec(), weights };
        map.check().map_err(damaged)?;
        Ok(Box::new(Self(map)))
    }
}

impl Fitted for FittedAffine {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        frame(x.rows(), self.0.transform(&columns(x)?, cancel)?)
    }

    fn save(&self, state: &mut State) {
        state.put_array("mean", Array::F64(self.0.mean.clone()));
        state.put("sparse", matches!(self.0.weights, Weights::Sparse(_)));
        match &self.0.weights {
            Weights::Dense(weights) => state.put_matrix("weights", weights),
            Weights::Sparse(lists) => {
                let (columns, values) = lists.iter().flatten().copied().unzip();
                let end = |end: &mut u32, list: &Vec<_>| {
                    *end += list.len() as u32;
                    Some(*end)
                };
                state.put_array("ends", Array::U32(lists.iter().scan(0, end).collect()));
                state.put_array("columns", Array::U32(columns));
                state.put_array("values", Array::F64(values));
            }
        }
    }
}

/// A fitted selection of columns, which are passed on as they are.
pub(super) struct Selected {
    columns: Vec<usize>,
    width: usize,
}

impl Selected {
    /// The columns that stay, ascending, of `width`.
    pub(super) fn fitted(columns: Vec<usize>, width: usize) -> Box<dyn Fitted> {
        Box::new(Self { columns, width })
    }

    /// Reads what it saved.
    pub(super) fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let columns: Vec<usize> = state.u32s("columns")?.iter().map(|&column| column as usize).collect();
        let width: usize = state.get("width")?;
        let ascending = columns.windows(2).all(|pair| pair[0] < pair[1]);
        if columns.is_empty() || !ascending || columns.iter().any(|&column| column >= width) {
            return Err(OperatorError::state("the selected columns are not ascending numbers below the number of columns"));
        }
        Ok(Self::fitted(columns, width))
    }
}

impl Fitted for Selected {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.width)?;
        for &column in &self.columns {
            x.numeric(column)?;
        }
        Ok(x.select(&self.columns))
    }

    fn save(&self, state: &mut State) {
        let columns = self.columns.iter().filter_map(|&column| u32::try_from(column).ok()).collect();
        state.put_array("columns", Array::U32(columns));
        state.put("width", self.width);
    }
}
