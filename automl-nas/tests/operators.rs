//! The operators of this crate keep the promises of `automl-ops`' conformance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use automl_nas as _;
use automl_ops::{conformance, operator};

#[test]
fn the_mlp_keeps_its_promises() {
    let mlp = operator::operator("mlp").unwrap();
    conformance::check_operator(mlp).unwrap_or_else(|problem| panic!("{problem}"));
}
