//! Every linked operator keeps the promises of the conformance suite, and so does the space over them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

use std::sync::Arc;

use automl_core::{Cancel, Kind, Operator, Param, Port, SearchSpace};
use automl_ops::frame::Frame;
use automl_ops::kinds::DENSE;
use automl_ops::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, operator};
use automl_ops::space::{Input, PipelineSpace, PipelineSpec};
use automl_ops::state::State;
use automl_ops::{Task, conformance};

/// `AUTOML_OPERATORS=pca,ridge` checks those alone, for whoever works on them.
#[test]
fn every_linked_operator_keeps_its_promises() {
    if let Ok(names) = std::env::var("AUTOML_OPERATORS") {
        for name in names.split(',') {
            conformance::check_operator(operator(name).unwrap()).unwrap_or_else(|problem| panic!("{problem}"));
        }
        return;
    }
    let checked = conformance::check_linked().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    assert!(checked >= 16, "{checked} operators are linked");
}

#[test]
fn every_pipeline_space_keeps_its_promises() {
    let mut spaces: Vec<Arc<dyn SearchSpace>> = Vec::new();
    for task in [Task::Classification, Task::Regression] {
        for input in [Input::Raw, Input::Numeric, Input::Dense] {
            let spec = PipelineSpec { task, input, ..PipelineSpec::default() };
            spaces.push(Arc::new(PipelineSpace::new(spec).unwrap()));
        }
    }
    automl_core::conformance::check_linked(&spaces).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    for space in &spaces {
        assert!(space.starts().len() >= 5, "{space:?}");
    }
}

/// An operator that adds a number to every column, and breaks one promise.
#[derive(Clone, Copy, PartialEq)]
enum Adds {
    NoPromiseBroken,
    Panics,
    EmitsInfinity,
    LooksAtOtherRows,
    ForgetsItsState,
    ReadsTheTarget,
    TakesAnyColumns,
    RefusesOrdinaryTables,
}

impl Operator for Adds {
    fn name(&self) -> &'static str {
        "test/adds"
    }

    fn summary(&self) -> &'static str {
        "Adds a number"
    }

    fn family(&self) -> &'static str {
        "tabular"
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port { accepts: vec![DENSE], required: true, max: None }]
    }

    fn output(&self) -> Kind {
        DENSE
    }

    fn params(&self) -> Vec<Param> {
        vec![Param::float("number", 0.0, 1.0, 0.5)]
    }
}

struct Added {
    by: f32,
    width: usize,
    how: Adds,
}

impl TabularOperator for Adds {
    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let by = match (self, fit.y) {
            (Self::ReadsTheTarget, Target::Values(values)) => values.first().copied().unwrap_or_default(),
            (Self::RefusesOrdinaryTables, _) => return Err(OperatorError::Infeasible("not today".into())),
            _ => fit.float("number")?,
        };
        Ok(Box::new(Added { by: by as f32, width: fit.x.columns().len(), how: *self }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        Ok(Box::new(Added { by: state.get("by")?, width: state.get("width")?, how: *self }))
    }
}

impl Fitted for Added {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        let mut matrix = x.matrix()?;
        match self.how {
            Adds::Panics if x.rows() == 0 => panic!("no rows"),
            Adds::TakesAnyColumns => {}
            _ => x.expect_width(self.width)?,
        }
        matrix += self.by;
        match self.how {
            Adds::EmitsInfinity => matrix.iter_mut().filter(|x| **x > 1e17).for_each(|x| *x = f32::INFINITY),
            Adds::LooksAtOtherRows => matrix += x.rows() as f32,
            _ => {}
        }
        Ok(Frame::from_matrix(&matrix))
    }

    fn save(&self, state: &mut State) {
        state.put("by", if self.how == Adds::ForgetsItsState { 0.0 } else { self.by });
        state.put("width", self.width);
    }
}

#[test]
fn a_broken_promise_is_found_and_named() {
    for (operator, says) in [
        (Adds::Panics, "panics: no rows"),
        (Adds::EmitsInfinity, "emits inf"),
        (Adds::LooksAtOtherRows, "on its own"),
        (Adds::ForgetsItsState, "saving and loading"),
        (Adds::ReadsTheTarget, "another target"),
        (Adds::TakesAnyColumns, "a column less"),
        (Adds::RefusesOrdinaryTables, "not today"),
    ] {
        let problem = conformance::check_operator(&operator).expect_err(says);
        assert!(problem.contains(says) && problem.contains("`test/adds`"), "{problem}");
    }
    conformance::check_operator(&Adds::NoPromiseBroken).unwrap();
}
