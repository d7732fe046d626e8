//! What a tabular operator does: fit, apply, save, load.
//!
//! An operator is one file that implements [`automl_core::Operator`] (what a search sees) and [`TabularOperator`] (what the
//! engine calls), and registers itself with [`tabular_operator!`](crate::tabular_operator).

use std::borrow::Cow;

use automl_core::{Cancel, Operator, Params, Value};

use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::learn::LearnError;
use crate::state::State;
use crate::tree::TreeError;

/// What went wrong inside an operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The operator cannot work on this data.
    #[error("{0}")]
    Infeasible(String),
    /// Sizes that do not fit together.
    #[error("expected {expected} {what}, found {found}")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A column of another type than the operator reads.
    #[error("this operator reads {expected}; put an encoder or an imputer before it")]
    Kind {
        /// What it reads.
        expected: &'static str,
    },
    /// A saved state that cannot be one.
    #[error("the saved state is damaged: {0}")]
    State(String),
    /// A parameter that is missing or has another type.
    #[error("parameter `{0}` is missing or has another type")]
    Param(String),
}

impl OperatorError {
    /// An [`OperatorError::State`].
    pub fn state(problem: impl Into<String>) -> Self {
        Self::State(problem.into())
    }
}

impl From<LearnError> for OperatorError {
    fn from(error: LearnError) -> Self {
        match error {
            LearnError::Cancelled => Self::Cancelled,
            error => Self::Infeasible(error.to_string()),
        }
    }
}

impl From<TreeError> for OperatorError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Cancelled => Self::Cancelled,
            error => Self::Infeasible(error.to_string()),
        }
    }
}

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A class a row.
    Classes {
        /// Codes below `classes`.
        codes: Vec<u32>,
        /// Number of classes in all the data; some may be absent here.
        classes: usize,
    },
    /// A finite number a row.
    Values(Vec<f64>),
}

impl Target {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { codes, .. } => codes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target at some rows.
    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Classes { codes, classes } => Self::Classes {
                codes: rows.iter().filter_map(|&row| codes.get(row as usize).copied()).collect(),
                classes: *classes,
            },
            Self::Values(values) => Self::Values(rows.iter().filter_map(|&row| values.get(row as usize).copied()).collect()),
        }
    }

    /// Numbers a prediction has a row: one a class, or one value.
    pub fn width(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Values(_) => 1,
        }
    }

    /// The task that this target makes.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes { .. } => Task::Classification,
            Self::Values(_) => Task::Regression,
        }
    }
}

pub use crate::metrics::Task;

/// Everything that a fit may depend on.
pub struct Fit<'a> {
    /// Features of the training rows.
    pub x: &'a Frame,
    /// Their target.
    pub y: &'a Target,
    /// How much each row counts, finite and not negative, not all 0; every row counts 1 where absent.
    pub weights: Option<&'a [f32]>,
    /// The operator's parameters, each of those that apply.
    pub params: &'a Params,
    /// Seed of whatever is random.
    pub seed: u64,
    /// Asked in every loop.
    pub cancel: &'a Cancel,
}

impl Fit<'_> {
    /// A number among the parameters.
    ///
    /// # Errors
    /// [`OperatorError::Param`].
    pub fn float(&self, name: &str) -> Result<f64, OperatorError> {
        match self.params.get(name) {
            Some(Value::Float(value)) => Ok(*value),
            _ => Err(OperatorError::Param(name.to_owned())),
        }
    }

    /// A whole number among the parameters.
    ///
    /// # Errors
    /// [`OperatorError::Param`].
    pub fn int(&self, name: &str) -> Result<usize, OperatorError> {
        match self.params.get(name) {
            Some(Value::Int(value)) => usize::try_from(*value).map_err(|_| OperatorError::Param(name.to_owned())),
            _ => Err(OperatorError::Param(name.to_owned())),
        }
    }

    /// A choice among the parameters.
    ///
    /// # Errors
    /// [`OperatorError::Param`].
    pub fn text(&self, name: &str) -> Result<&str, OperatorError> {
        match self.params.get(name) {
            Some(Value::Text(value)) => Ok(value),
            _ => Err(OperatorError::Param(name.to_owned())),
        }
    }

    /// A switch among the parameters.
    ///
    /// # Errors
    /// [`OperatorError::Param`].
    pub fn switch(&self, name: &str) -> Result<bool, OperatorError> {
        match self.params.get(name) {
            Some(Value::Bool(value)) => Ok(*value),
            _ => Err(OperatorError::Param(name.to_owned())),
        }
    }

    /// The classes of the target.
    ///
    /// # Errors
    /// [`OperatorError::Infeasible`] for a regression.
    pub fn classes(&self) -> Result<(&[u32], usize), OperatorError> {
        match self.y {
            Target::Classes { codes, classes } => Ok((codes, *classes)),
            Target::Values(_) => Err(OperatorError::Infeasible("this operator predicts classes, not values".into())),
        }
    }

    /// The values of the target.
    ///
    /// # Errors
    /// [`OperatorError::Infeasible`] for a classification.
    pub fn values(&self) -> Result<&[f64], OperatorError> {
        match self.y {
            Target::Values(values) => Ok(values),
            Target::Classes { .. } => Err(OperatorError::Infeasible("this operator predicts values, not classes".into())),
        }
    }

    /// The values of the target as 32-bit floats.
    ///
    /// # Errors
    /// As [`Fit::values`].
    pub fn values_f32(&self) -> Result<Vec<f32>, OperatorError> {
        Ok(self.values()?.iter().map(|&value| value as f32).collect())
    }

    /// How much each row counts: the weights of the rows times what the parameter `class_weight` asks for (with `balanced`,
    /// every class counts the same in all). `None` where every row counts 1.
    pub fn row_weights(&self) -> Option<Cow<'_, [f32]>> {
        let given = self.weights.map(Cow::Borrowed);
        let Target::Classes { codes, classes } = self.y else { return given };
        if self.text("class_weight").ok() != Some("balanced") {
            return given;
        }
        let weight = |row: usize| self.weights.map_or(1.0, |weights| weights.get(row).copied().unwrap_or(0.0));
        let mut masses = vec![0.0_f64; *classes];
        for (row, &code) in codes.iter().enumerate() {
            if let Some(mass) = masses.get_mut(code as usize) {
                *mass += f64::from(weight(row));
            }
        }
        let present = masses.iter().filter(|mass| **mass > 0.0).count().max(1) as f64;
        let share = masses.iter().sum::<f64>() / present;
        let factor = |code: u32| masses.get(code as usize).filter(|mass| **mass > 0.0).map_or(0.0, |mass| (share / mass) as f32);
        Some(codes.iter().enumerate().map(|(row, &code)| weight(row) * factor(code)).collect())
    }
}

/// What an operator makes of row weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// It does not read them.
    Ignored,
    /// They shape the fit, but a row of weight 2 is not the same as two rows: rows are sampled or counted, too.
    Approximate,
    /// A row of weight 2 is the same as two equal rows, up to rounding.
    Exact,
}

/// A fitted operator.
pub trait Fitted: Send + Sync {
    /// The output for some rows: features, class probabilities (one column a class) or values (one column). Each row's output
    /// depends on that row alone.
    ///
    /// # Errors
    /// [`OperatorError`], such as a wrong number of columns; never a panic.
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError>;

    /// Writes what `load` needs.
    fn save(&self, state: &mut State);

    /// Bytes of the arrays that [`Fitted::save`] writes. Default: writes them to count them; what can be large counts at once.
    fn bytes(&self) -> usize {
        let mut state = State::default();
        self.save(&mut state);
        state.bytes()
    }
}

/// The behaviour of an operator on tables.
pub trait TabularOperator: Operator {
    /// The tasks it serves; default both.
    fn tasks(&self) -> &'static [Task] {
        &[Task::Classification, Task::Regression]
    }

    /// Whether its output on the training rows must come from fits that did not see them: true for every estimator and for
    /// whatever encodes the target. Default: whether it emits predictions.
    fn cross_fits(&self) -> bool {
        self.output() == crate::kinds::PREDICTION
    }

    /// Whether a fit reads the target at all. Default: whether it cross-fits; a selection of columns by what they say about the
    /// target reads it, too.
    fn reads_target(&self) -> bool {
        self.cross_fits()
    }

    /// Whether a table like this has anything for it to work on; default true. A default gene pool leaves out what does not
    /// serve, such as an operator on dates where there are none.
    fn serves(&self, x: &Frame) -> bool {
        let _ = x;
        true
    }

    /// What it makes of row weights; default nothing.
    fn weights(&self) -> Weights {
        Weights::Ignored
    }

    /// What a fit costs with these parameters, a complete set; default a pass or two over the cells.
    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let _ = params;
        let cost = Cost::of_cells(shape, 10.0, 8.0);
        if self.output() == crate::kinds::PREDICTION { cost.emitting(shape.classes) } else { cost }
    }

    /// Seconds to apply it, fitted on a table of that shape, to one of many rows on one core, within a factor of three; what a
    /// limit to the time of a prediction looks at. Default: a number read a column, and a product of the columns read and emitted.
    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        let emitted = self.cost(shape, params).columns;
        1e-9 * (10.0 + 3.0 * shape.columns + 2.0 * emitted + 0.15 * shape.columns * emitted)
    }

    /// Learns from the training rows.
    ///
    /// # Errors
    /// [`OperatorError`]; [`OperatorError::Infeasible`] where the data cannot be served.
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError>;

    /// Reads what [`Fitted::save`] wrote, checking everything.
    ///
    /// # Errors
    /// [`OperatorError::State`].
    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError>;
}

/// A linked operator's behaviour.
pub struct TabularEntry(pub &'static dyn TabularOperator);

automl_core::inventory::collect!(TabularEntry);

/// All linked tabular operators, by name.
pub fn operators() -> Vec<&'static dyn TabularOperator> {
    let mut operators: Vec<_> = automl_core::inventory::iter::<TabularEntry>().map(|entry| entry.0).collect();
    operators.sort_by_key(|operator| operator.name());
    operators
}

/// The linked tabular operator of that name.
///
/// # Errors
/// [`automl_core::Error::Unknown`] with the nearest name.
pub fn operator(name: &str) -> Result<&'static dyn TabularOperator, automl_core::Error> {
    let mut found = automl_core::inventory::iter::<TabularEntry>().filter(|entry| entry.0.name() == name);
    match found.next() {
        Some(entry) => Ok(entry.0),
        None => Err(automl_core::Error::unknown("operator", name, operators().iter().map(|operator| operator.name()))),
    }
}

/// Registers a tabular operator: its metadata for searches and listings, its behaviour for the engine.
///
/// ```ignore
/// automl_ops::tabular_operator!(RobustScale);
/// ```
#[macro_export]
macro_rules! tabular_operator {
    ($operator:expr) => {
        automl_core::operator!($operator);
        automl_core::inventory::submit! { $crate::operator::TabularEntry(&$operator) }
    };
}

/// Writes the [`Operator`] half of a tabular operator: what a search sees.
///
/// ```
/// use automl_core::{Operator, Param};
/// use automl_ops::kinds::DENSE;
///
/// struct Clip;
/// automl_ops::describe! {
///     Clip: "doc/clip", "Clips numbers to a range",
///     reads [DENSE], emits DENSE,
///     params [Param::float("limit", 1.0, 10.0, 3.0).about("largest magnitude")]
/// }
/// assert_eq!(Clip.params()[0].name, "limit");
/// ```
#[macro_export]
macro_rules! describe {
    ($type:ty: $name:literal, $summary:literal, reads [$($kind:expr),*], emits $output:expr, params [$($param:expr),* $(,)?]) => {
        impl automl_core::Operator for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn summary(&self) -> &'static str {
                $summary
            }

            fn family(&self) -> &'static str {
                "tabular"
            }

            fn inputs(&self) -> Vec<automl_core::Port> {
                vec![automl_core::Port { accepts: vec![$($kind),*], required: true, max: None }]
            }

            fn output(&self) -> automl_core::Kind {
                $output
            }

            fn params(&self) -> Vec<automl_core::Param> {
                vec![$($param),*]
            }
        }
    };
}
