//! Every linked operator keeps the promises of the conformance suite, and so does the space over them.

use std::sync::Arc;

use automl_core::SearchSpace;
use automl_ops::space::{Input, PipelineSpace, PipelineSpec};
use automl_ops::{Task, conformance};

#[test]
fn every_linked_operator_keeps_its_promises() {
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
