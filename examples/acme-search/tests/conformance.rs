//! What every plugin promises, checked for those of this crate.

use std::sync::Arc;

use acme_search::HillClimb;
use automl_core::{GraphSpace, SearchSpace, StrategyConfig, conformance};
use serde as _;

#[test]
fn the_plugins_of_this_crate_keep_their_promises() {
    let spaces: [Arc<dyn SearchSpace>; 1] = [Arc::new(GraphSpace::default())];
    if let Err(problems) = conformance::check_linked(&spaces) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn a_share_outside_0_to_1_is_refused() {
    let build = |restart| HillClimb { restart }.build(Arc::new(GraphSpace::default()), &[]);
    assert!(build(1.5).err().unwrap().to_string().contains("strategy.restart"));
    assert!(build(f64::NAN).is_err());
    assert!(build(0.0).is_ok());
}
