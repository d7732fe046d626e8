//! The first thing that a new user runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use common::{Place, csv_rows};

#[test]
fn ends_with_a_model_a_score_and_a_place() {
    let place = Place::new();
    let said = place.run("-q demo --time-limit 4s --run-dir wines").ok();
    assert!(said.contains("wines/model.automl") && said.contains("balanced_accuracy"), "{said}");
    // What it proposes to try next works as it stands.
    let next = said.lines().find_map(|line| line.strip_prefix("now try: automl ")).unwrap();
    let rows = csv_rows(&place.run(next).ok());
    let test = csv_rows(&std::fs::read_to_string(place.path("wines/test.csv")).unwrap());
    assert_eq!(rows.len(), test.len());
    assert_eq!(rows[0], ["prediction", "proba_no", "proba_yes"]);
    let column = test[0].len() - 1;
    let right = rows[1..].iter().zip(&test[1..]).filter(|(row, truth)| row[0] == truth[column]).count();
    assert!(right as f64 / (rows.len() - 1) as f64 > 0.65, "{right} of {}", rows.len() - 1);
    assert!(!place.trials("wines").is_empty());
    place.run("-q demo --time-limit 4s --run-dir wines").fails(2, &["holds a run already"]);
}
