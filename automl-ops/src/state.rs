//! What a fitted operator writes into a model file: a little structure as JSON, arrays as tensors.
//!
//! A file may be hostile: every getter checks type and presence, and an operator's `load` checks that the parts fit together.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::operator::OperatorError;
use crate::tree::{PartData, Parts};

/// A named array.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// Bytes.
    U8(Vec<u8>),
}

/// The state of one fitted operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Small values by name.
    pub values: serde_json::Map<String, Value>,
    /// Arrays by name.
    pub arrays: BTreeMap<String, Array>,
}

macro_rules! array {
    ($get:ident, $variant:ident, $type:ty, $name:literal) => {
        #[doc = concat!("The array of ", $name, " of that name.")]
        ///
        /// # Errors
        /// [`OperatorError::State`] where it is absent or of another type.
        pub fn $get(&self, name: &str) -> Result<&[$type], OperatorError> {
            match self.arrays.get(name) {
                Some(Array::$variant(values)) => Ok(values),
                _ => Err(OperatorError::state(format!(concat!("the array `{}` of ", $name, " is missing"), name))),
            }
        }
    };
}

impl State {
    /// Adds a small value.
    pub fn put(&mut self, name: &str, value: impl Serialize) {
        self.values.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
    }

    /// Bytes of the arrays.
    pub fn bytes(&self) -> usize {
        let bytes = |array: &Array| match array {
            Array::U8(values) => values.len(),
            Array::U32(values) => 4 * values.len(),
            Array::F32(values) => 4 * values.len(),
            Array::F64(values) => 8 * values.len(),
        };
        self.arrays.values().map(bytes).sum()
    }

    /// Adds an array.
    pub fn put_array(&mut self, name: &str, array: Array) {
        self.arrays.insert(name.to_owned(), array);
    }

    /// A small value.
    ///
    /// # Errors
    /// [`OperatorError::State`] where it is absent or of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, OperatorError> {
        let value = self.values.get(name).ok_or_else(|| OperatorError::state(format!("`{name}` is missing")))?;
        T::deserialize(value).map_err(|error| OperatorError::state(format!("`{name}`: {error}")))
    }

    array!(f32s, F32, f32, "32-bit floats");
    array!(f64s, F64, f64, "64-bit floats");
    array!(u32s, U32, u32, "32-bit integers");
    array!(u8s, U8, u8, "bytes");

    /// Adds a matrix.
    pub fn put_matrix(&mut self, name: &str, matrix: &Array2<f64>) {
        self.put(&format!("{name}.shape"), [matrix.nrows(), matrix.ncols()]);
        self.put_array(name, Array::F64(matrix.iter().copied().collect()));
    }

    /// A matrix.
    ///
    /// # Errors
    /// [`OperatorError::State`] where it is absent, or its shape does not fit its values.
    pub fn matrix(&self, name: &str) -> Result<Array2<f64>, OperatorError> {
        let [rows, columns]: [usize; 2] = self.get(&format!("{name}.shape"))?;
        let fits = |_| OperatorError::state(format!("the shape of `{name}` does not fit its values"));
        Array2::from_shape_vec((rows, columns), self.f64s(name)?.to_vec()).map_err(fits)
    }

    /// Adds the parts of a tree model.
    pub fn put_parts(&mut self, parts: Parts) {
        for (name, part) in parts {
            let array = match part {
                PartData::F32(values) => Array::F32(values),
                PartData::U32(values) => Array::U32(values),
                PartData::U8(values) => Array::U8(values),
            };
            self.put_array(&name, array);
        }
    }

    /// The arrays as parts of a tree model.
    pub fn parts(&self) -> Parts {
        let part = |(name, array): (&String, &Array)| {
            let part = match array {
                Array::F32(values) => PartData::F32(values.clone()),
                Array::U32(values) => PartData::U32(values.clone()),
                Array::U8(values) => PartData::U8(values.clone()),
                Array::F64(_) => return None,
            };
            Some((name.clone(), part))
        };
        self.arrays.iter().filter_map(part).collect()
    }

    /// Finite 32-bit floats, exactly `length` of them where a length is given.
    ///
    /// # Errors
    /// [`OperatorError::State`] otherwise.
    pub fn finite(&self, name: &str, length: Option<usize>) -> Result<Vec<f32>, OperatorError> {
        let values = self.f32s(name)?;
        if values.iter().all(|value| value.is_finite()) && length.is_none_or(|length| length == values.len()) {
            return Ok(values.to_vec());
        }
        Err(OperatorError::state(format!("the array `{name}` has another length, or values that are not finite")))
    }
}
