//! What a pipeline with the operators of this crate promises: its space conforms, and a saved pipeline predicts the same.

use std::sync::Arc;

use acme_ops as _;
use automl_core::{Cancel, Genotype, Node, SearchSpace, conformance, registry};
use automl_ops::frame::Frame;
use automl_ops::operator::Target;
use automl_ops::pipeline::Pipeline;
use automl_ops::space::{Input, PipelineSpace, PipelineSpec};

#[test]
fn spaces_with_the_operator_keep_their_promises() {
    let operators = ["acme/robust_scale", "logistic"].map(String::from).to_vec();
    let space = PipelineSpace::new(PipelineSpec { operators, input: Input::Dense, ..PipelineSpec::default() }).unwrap();
    let spaces: [Arc<dyn SearchSpace>; 1] = [Arc::new(space)];
    if let Err(problems) = conformance::check_linked(&spaces) {
        panic!("{}", problems.join("\n"));
    }
    assert_eq!(registry::operator("acme/robust_scale").unwrap().package, "acme-ops");
}

#[test]
fn a_loaded_pipeline_predicts_what_the_fitted_one_does() {
    let values: Vec<f32> = (0..80).map(|i| (i * i % 17) as f32 + if i % 2 == 0 { 0.0 } else { 5.0 }).collect();
    let x = Frame::from_rows(&values, 2);
    let y = Target::Classes { codes: (0..40).map(|row| row % 2).collect(), classes: 2 };
    let mut nodes = vec![Node::new("input", [])];
    nodes.push(Node::new("acme/robust_scale", [0]).with("range", 0.8));
    nodes.push(Node::new("logistic", [1]));
    let genotype = Genotype { nodes };
    let pipeline = Pipeline::fit(&genotype, &x, &y, 1, &Cancel::new()).unwrap();
    let loaded = Pipeline::load(genotype, &pipeline.save(), 2).unwrap();
    let predicted = pipeline.predict(&x, &Cancel::new()).unwrap();
    assert_eq!(loaded.predict(&x, &Cancel::new()).unwrap(), predicted);
    assert!(predicted.iter().all(|share| (0.0..=1.0).contains(share)));
    // Each row's output depends on that row alone.
    let rows = [7, 3];
    let some = pipeline.predict(&x.take(&rows), &Cancel::new()).unwrap();
    assert_eq!(some, [&predicted[14..16], &predicted[6..8]].concat());
}
