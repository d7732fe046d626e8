//! Whenever a signal comes, a usable model is on disk, the exit code tells, and the run can be resumed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]
#![cfg(unix)]

mod common;

use std::time::Duration;

use common::{Place, csv_rows, ended, people, signal, wait_for};

/// Sends a signal this long after the model file has appeared; then everything that was promised must hold.
fn check(name: &str, code: i32, wait: u64) {
    let place = Place::new();
    place.write("train.csv", &people(250, 1));
    let mut child = place.start("fit train.csv --target label --time-limit 60s --workers 2 --seed 5 --run-dir run");
    wait_for(&mut child, || place.path("model.automl").exists());
    std::thread::sleep(Duration::from_millis(wait));
    signal(&child, name);
    let ran = ended(child.wait_with_output().unwrap());
    assert_eq!(ran.code, code, "after {wait} ms: {}", ran.stderr);
    assert!(ran.stderr.contains("interrupted") || ran.stdout.contains("interrupted"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(csv_rows(&place.run("predict model.automl train.csv").ok()).len(), 251);
    let before = place.trials("run");
    let more = before.len() + 3;
    place.run(&format!("-q resume run --trials {more}")).ok();
    let after = place.trials("run");
    assert_eq!(after.len(), more);
    assert!(before.iter().all(|trial| after.contains(trial)), "what was told before the signal still counts");
    // The directory holds what was promised and no half-written files.
    let names = std::fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, ["model.automl", "run", "train.csv"]);
}

#[test]
fn interrupt() {
    [0, 300, 900].into_iter().for_each(|wait| check("INT", 130, wait));
}

#[test]
fn terminate() {
    [0, 300, 900].into_iter().for_each(|wait| check("TERM", 143, wait));
}

/// A table that never comes: the first signal can only ask, the second must end the process.
#[cfg(target_os = "linux")]
fn second(first: &str, again: &str, code: i32) {
    let place = Place::new();
    let pipe = place.path("train.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = place.start("fit train.csv --target label --trials 3");
    // SIGINT and SIGTERM are bits 2 and 15 of the mask of caught signals, counted from 1.
    let status = format!("/proc/{}/status", child.id());
    let caught = || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & (1 << 1) != 0 && mask & (1 << 14) != 0)
    };
    wait_for(&mut child, caught);
    signal(&child, first);
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first signal asks");
    signal(&child, again);
    assert_eq!(child.wait().unwrap().code(), Some(code));
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_at_once() {
    second("INT", "INT", 130);
    second("TERM", "TERM", 143);
    second("INT", "TERM", 143);
}
