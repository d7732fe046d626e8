//! What operators share that treat every column by itself: walking over columns, types, tables of unequal rows in a state.

use std::sync::Arc;

use automl_core::Cancel;
use rayon::prelude::*;

use crate::frame::{Column, Frame, MISSING, Values};
use crate::learn::columns::bounded;
use crate::operator::{Fit, Fitted, OperatorError};
use crate::state::{Array, State};

/// A shared column of numbers.
pub(super) fn numbers(values: Vec<f32>) -> Arc<Column> {
    Arc::new(Column::new(Values::Numeric(values)))
}

/// Columns of zeros, each in pages that the system hands out as zeros.
pub(super) fn zeros(rows: usize, columns: usize) -> Vec<Vec<f32>> {
    (0..columns).map(|_| vec![0.0; rows]).collect()
}

/// The end of a fit or an application that is no longer wanted.
pub(super) fn go_on(cancel: &Cancel) -> Result<(), OperatorError> {
    if cancel.is_cancelled() { Err(OperatorError::Cancelled) } else { Ok(()) }
}

/// Calls `body` on every column of a frame of numbers, columns in parallel; the results come in the order of the columns.
pub(super) fn each_column<T: Send>(
    x: &Frame,
    cancel: &Cancel,
    body: impl Fn(usize, &[f32]) -> Result<T, OperatorError> + Sync,
) -> Result<Vec<T>, OperatorError> {
    let one = |index: usize| {
        go_on(cancel)?;
        body(index, x.numeric(index)?)
    };
    (0..x.columns().len()).into_par_iter().map(one).collect()
}

/// A frame of the columns that `body` makes of each column of numbers, in parallel.
pub(super) fn map_columns(
    x: &Frame,
    width: usize,
    cancel: &Cancel,
    body: impl Fn(usize, &[f32]) -> Result<Arc<Column>, OperatorError> + Sync,
) -> Result<Frame, OperatorError> {
    x.expect_width(width)?;
    Frame::new(x.rows(), each_column(x, cancel, body)?)
}

/// Rejects training data without rows.
pub(super) fn check_rows(fit: &Fit<'_>) -> Result<(), OperatorError> {
    if fit.x.rows() > 0 { Ok(()) } else { Err(OperatorError::Infeasible("there are no training rows".into())) }
}

/// Rejects an output of more cells than fit into memory with ease.
pub(super) fn check_cells(rows: usize, columns: usize) -> Result<(), OperatorError> {
    const CELLS: usize = 1 << 30;
    if rows.saturating_mul(columns) <= CELLS {
        return Ok(());
    }
    let problem = format!("{columns} columns of {rows} rows are more than the limit of {CELLS} cells: select columns first");
    Err(OperatorError::Infeasible(problem))
}

/// How often each category occurs; the last number counts missing ones.
pub(super) fn counts(codes: &[u32], levels: u32) -> Vec<u32> {
    let mut counts = vec![0_u32; levels as usize + 1];
    for &code in codes {
        let place = if code == MISSING { levels as usize } else { code as usize };
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }
    counts
}

/// A category that was seen in training, or not, where it is looked up in a table with a place for missing ones at the end.
pub(super) fn lookup<T: Copy>(table: &[T], code: u32, unseen: T) -> T {
    let missing = table.len().saturating_sub(1);
    match code {
        MISSING => table.get(missing).copied().unwrap_or(unseen),
        code if (code as usize) < missing => table.get(code as usize).copied().unwrap_or(unseen),
        _ => unseen,
    }
}

/// Each column less a number, divided by another.
pub(super) struct Affine {
    /// What is subtracted.
    pub shift: Vec<f64>,
    /// What is divided by, above 0.
    pub scale: Vec<f64>,
    /// Where the results are cut.
    pub clip: Option<[f32; 2]>,
}

impl Affine {
    /// From a shift and a scale for each column; a scale that divides nothing is 1.
    pub fn boxed(columns: Vec<(f64, f64)>, clip: Option<[f32; 2]>) -> Box<dyn Fitted> {
        let usable = |scale: f64| if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        let (shift, scale) = columns.into_iter().map(|(shift, scale)| (shift, usable(scale))).unzip();
        Box::new(Self { shift, scale, clip })
    }

    pub fn load(state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (shift, scale) = (state.f64s("shift")?.to_vec(), state.f64s("scale")?.to_vec());
        let clip: Option<[f32; 2]> = state.get("clip")?;
        let sound = shift.len() == scale.len()
            && shift.iter().all(|shift| shift.is_finite())
            && scale.iter().all(|&scale| scale.is_finite() && scale > 0.0)
            && clip.is_none_or(|[low, high]| low.abs() < 1e18 && high.abs() < 1e18 && low <= high);
        if !sound {
            return Err(OperatorError::state("`shift`, `scale` and `clip` are not those of a scaling"));
        }
        Ok(Box::new(Self { shift, scale, clip }))
    }
}

impl Fitted for Affine {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        map_columns(x, self.shift.len(), cancel, |index, values| {
            let (Some(&shift), Some(&scale)) = (self.shift.get(index), self.scale.get(index)) else {
                return Err(OperatorError::Kind { expected: "the columns of the training table" });
            };
            let inverse = 1.0 / scale;
            let scaled = |&value: &f32| bounded((f64::from(value) - shift) * inverse);
            Ok(numbers(match self.clip {
                Some([low, high]) => values.iter().map(|value| scaled(value).clamp(low, high)).collect(),
                None => values.iter().map(scaled).collect(),
            }))
        })
    }

    fn save(&self, state: &mut State) {
        state.put_array("shift", Array::F64(self.shift.clone()));
        state.put_array("scale", Array::F64(self.scale.clone()));
        state.put("clip", self.clip);
    }
}

/// The types of columns, as an operator on raw columns found them in training.
#[derive(PartialEq)]
pub(super) struct Types(Vec<u8>);

impl Types {
    pub fn of(x: &Frame) -> Self {
        let kind = |column: &Arc<Column>| match column.values() {
            Values::Numeric(_) => 0,
            Values::Category { .. } => 1,
            Values::DateTime(_) => 2,
            Values::Text(_) => 3,
        };
        Self(x.columns().iter().map(kind).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks that a frame has columns of these types.
    pub fn check(&self, x: &Frame) -> Result<(), OperatorError> {
        x.expect_width(self.0.len())?;
        if *self == Self::of(x) {
            Ok(())
        } else {
            Err(OperatorError::Kind { expected: "the column types of the training table" })
        }
    }

    pub fn save(&self, state: &mut State) {
        state.put_array("types", Array::U8(self.0.clone()));
    }

    pub fn load(state: &State) -> Result<Self, OperatorError> {
        let types = state.u8s("types")?.to_vec();
        if types.iter().any(|&kind| kind > 3) {
            Err(OperatorError::state("there is no such column type"))
        } else {
            Ok(Self(types))
        }
    }
}

/// Saves lists of numbers, one after the other.
pub(super) fn put_lists(state: &mut State, name: &str, lists: &[Vec<f32>]) {
    let lengths = lists.iter().map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX)).collect();
    state.put_array(&format!("{name}.lengths"), Array::U32(lengths));
    state.put_array(name, Array::F32(lists.concat()));
}

/// Reads lists of finite numbers.
pub(super) fn lists(state: &State, name: &str) -> Result<Vec<Vec<f32>>, OperatorError> {
    let lengths = state.u32s(&format!("{name}.lengths"))?;
    let mut rest = &state.finite(name, None)?[..];
    let mut lists = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (list, after) = rest
            .split_at_checked(length as usize)
            .ok_or_else(|| OperatorError::state(format!("the lists of `{name}` are longer than the array")))?;
        lists.push(list.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(lists) } else { Err(OperatorError::state(format!("the array `{name}` is longer than its lists"))) }
}

/// Whether the numbers of a list never fall.
pub(super) fn ascending(list: &[f32]) -> bool {
    list.windows(2).all(|pair| matches!(pair, [a, b] if a <= b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_and_damage_is_seen() {
        let mut state = State::default();
        let given = vec![vec![1.0, 2.0], vec![], vec![3.0]];
        put_lists(&mut state, "x", &given);
        assert_eq!(lists(&state, "x").unwrap(), given);
        state.put_array("x.lengths", Array::U32(vec![2, 2]));
        assert!(lists(&state, "x").is_err());
        state.put_array("x.lengths", Array::U32(vec![2]));
        assert!(lists(&state, "x").is_err());
    }

    #[test]
    fn a_table_of_categories_has_a_place_for_missing_ones() {
        assert_eq!(counts(&[1, 1, MISSING, 9, 0], 3), [1, 2, 0, 1]);
        let table = [10, 11, 12];
        assert_eq!([0, 1, 2, MISSING].map(|code| lookup(&table, code, -1)), [10, 11, -1, 12]);
        assert_eq!(lookup(&[], MISSING, -1), -1);
    }
}
