//! A run that was killed, or that ended, goes on as if nothing had happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use std::io::Write;

use common::{Place, ended, people, signal, wait_for};

const FIT: &str = "-q fit train.csv --target label --seed 5 --workers 2";

fn place() -> Place {
    let place = Place::new();
    place.write("train.csv", &people(250, 1));
    place
}

/// A run of 40 trials that was killed after some; its journal's name.
fn killed(place: &Place) -> &'static str {
    let mut child = place.start(&format!("{FIT} --trials 40 --run-dir killed --out killed.automl"));
    wait_for(&mut child, || place.journal_lines("killed") >= 9);
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = place.journal_lines("killed");
    assert!((9..41).contains(&lines), "killed in the middle: {lines} lines");
    "killed"
}

#[test]
fn a_killed_run_goes_on_to_the_same_trials() {
    let place = place();
    let dir = killed(&place);
    let before = place.trials(dir);
    // What was there is a model, and a start of the whole.
    place.run("predict killed.automl train.csv").ok();
    let result = place.run(&format!("-q resume {dir} --format json")).ok();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    place.run(&format!("{FIT} --trials 40 --run-dir whole")).ok();
    let whole = place.trials("whole");
    assert_eq!(place.trials(dir), whole);
    assert_eq!(result["trials"], 40);
    assert!(before.iter().all(|trial| whole.contains(trial)));
    assert_eq!(place.run("predict killed.automl train.csv").ok(), place.run("predict model.automl train.csv").ok());
}

#[test]
fn a_line_that_a_crash_cut_short_is_dropped() {
    let place = place();
    let dir = killed(&place);
    let path = place.path(dir).join("journal.jsonl");
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"id\":39,\"state\":\"compl").unwrap();
    place.run(&format!("trials {dir}")).ok();
    place.run(&format!("-q resume {dir} --workers 1")).ok();
    place.run(&format!("{FIT} --trials 40 --run-dir whole")).ok();
    assert_eq!(place.trials(dir), place.trials("whole"));
}

#[test]
fn an_ended_run_asks_for_more_and_takes_it() {
    let place = place();
    place.run(&format!("{FIT} --trials 20 --run-dir run")).ok();
    place.run("-q resume run").fails(2, &["ended by itself after 20 trials", "--trials +"]);
    place.run("-q resume run --trials 15").fails(2, &["15", "20"]);
    place.run("-q resume run --trials +0").fails(2, &["--trials"]);
    place.run("-q resume run --trials some").fails(2, &["some", "+100"]);
    place.run("-q resume run --trials +10").ok();
    place.run(&format!("{FIT} --trials 30 --run-dir fresh --out fresh.automl")).ok();
    assert_eq!(place.trials("run"), place.trials("fresh"));
    place.run("-q resume run --trials 32").ok();
    assert_eq!(place.trials("run").len(), 32);
    place.run("-q resume run --time-limit +1s").ok();
    assert!(place.trials("run").len() >= 32);
}

#[test]
fn a_second_process_is_refused() {
    let place = place();
    let mut child = place.start(&format!("{FIT} --time-limit 60s --run-dir run"));
    wait_for(&mut child, || place.journal_lines("run") >= 2);
    place.run("-q resume run").fails(1, &["another process"]);
    place
        .run(&format!("{FIT} --trials 3 --run-dir run --out other.automl"))
        .fails(2, &["holds a run already", "automl resume run"]);
    assert!(!place.path("other.automl").exists());
    // Reading is free.
    place.run("trials run").ok();
    signal(&child, "INT");
    assert_eq!(ended(child.wait_with_output().unwrap()).code, 130);
}

#[test]
fn what_is_no_run_is_named() {
    let place = Place::new();
    for command in ["resume", "trials"] {
        place.run(&format!("{command} nowhere")).fails(3, &["nowhere", "no run"]);
        std::fs::create_dir_all(place.path("junk")).unwrap();
        place.write("junk/journal.jsonl", "junk\n");
        place.run(&format!("{command} junk")).fails(3, &["junk", "not a journal"]);
    }
}
