//! What fitting an operator costs, as the operator itself declares it.
//!
//! A cost is arithmetic on sizes and parameters, never a measurement, so that what is refused and what is tried first does not
//! depend on the load of the machine.

/// The size of what an operator is fitted on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Training rows.
    pub rows: f64,
    /// Columns; dates and texts count as the columns that they become.
    pub columns: f64,
    /// Categories of all categorical columns together.
    pub levels: f64,
    /// Classes of the target; 1 in a regression.
    pub classes: f64,
}

impl Shape {
    /// Rows times columns.
    pub fn cells(&self) -> f64 {
        self.rows * self.columns
    }

    /// The same with other columns, all of them numbers.
    #[must_use]
    pub fn with_columns(self, columns: f64) -> Self {
        Self { columns, levels: 0.0, ..self }
    }
}

/// What it takes to fit an operator and to apply it to its training rows, on one core of 2024.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Seconds of processor time to fit it, within a factor of three.
    pub seconds: f64,
    /// Bytes in use at the peak, without what it reads.
    pub bytes: f64,
    /// Columns of its output.
    pub columns: f64,
}

impl Cost {
    /// A cost in nanoseconds and bytes for every cell of the input, with as many columns in the output as in the input.
    pub fn of_cells(shape: &Shape, nanoseconds: f64, bytes: f64) -> Self {
        Self { seconds: 1e-9 * nanoseconds * shape.cells(), bytes: bytes * shape.cells(), columns: shape.columns }
    }

    /// The same with another number of output columns, which take four bytes a row.
    #[must_use]
    pub fn emitting(self, columns: f64) -> Self {
        Self { columns, ..self }
    }

    /// The same with so many seconds more.
    #[must_use]
    pub fn and_seconds(self, seconds: f64) -> Self {
        Self { seconds: self.seconds + seconds, ..self }
    }

    /// The same with so many bytes more.
    #[must_use]
    pub fn and_bytes(self, bytes: f64) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }
}
