//! The same seed gives the same trials, to the bit, for any number of workers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use common::{Place, people};

fn check(strategy: &str) {
    let place = Place::new();
    place.write("train.csv", &people(100, 1));
    let run = |dir: &str, seed: u64, workers: u64| {
        let budget = format!("--trials 40 --seed {seed} --workers {workers} --run-dir {dir}");
        place.run(&format!("-q fit train.csv --target label --strategy {strategy} {budget}")).ok();
        let trials = place.trials(dir);
        assert_eq!(trials.len(), 40);
        trials
    };
    let one = run("one", 7, 1);
    assert_eq!(one, run("two", 7, 2), "two workers");
    assert_eq!(one, run("four", 7, 4), "four workers");
    assert_ne!(one, run("other", 8, 2), "another seed");
    // One command is `fit`, the other is the config that it left: both name the same run.
    let config = std::fs::read_to_string(place.path("one").join("run.toml")).unwrap();
    place.write("again.toml", &config);
    place.run("-q search again.toml --run-dir again --workers 2").ok();
    assert_eq!(one, place.trials("again"), "the resolved config");
}

#[test]
fn darwin() {
    check("darwin");
}

#[test]
fn graph_evolution() {
    check("graph_evolution");
}

#[test]
fn random() {
    check("random");
}

#[test]
fn regularized_evolution() {
    check("regularized_evolution");
}

#[test]
fn tpe() {
    check("tpe");
}
