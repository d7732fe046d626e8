//! What the end-to-end tests share: the real binary, small tables, and a look at the journal.
//!
//! Every test runs in a directory of its own, so that `runs/` and `model.automl` of one test never meet those of another.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The result, where the command did what was asked.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// The message, where the command must end with `code`, write no result and mention each of `words`.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "a command that fails has no result");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("internal error"), "{}", self.stderr);
        self.stderr
    }
}

/// A directory to work in.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_automl"));
        command.current_dir(self.0.path()).args(line.split_whitespace()).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs a command line; its words are separated by blanks and hold none.
    pub fn run(&self, line: &str) -> Ran {
        ran(&mut self.command(line))
    }

    /// Starts a command line without waiting for it; what it says can be had at the end.
    pub fn start(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The trials of a run as JSON, without the one field that a clock writes.
    #[track_caller]
    pub fn trials(&self, run_dir: &str) -> Vec<Value> {
        let text = self.run(&format!("trials {run_dir} --format jsonl")).ok();
        let trial = |line: &str| {
            let mut trial: Value = serde_json::from_str(line).unwrap();
            assert!(trial.as_object_mut().unwrap().shift_remove("seconds").is_some(), "{line}");
            trial
        };
        text.lines().map(trial).collect()
    }

    /// The lines of a run's journal so far; the first is the header.
    pub fn journal_lines(&self, run_dir: &str) -> usize {
        let bytes = std::fs::read(self.path(run_dir).join("journal.jsonl")).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    }
}

pub fn ran(command: &mut Command) -> Ran {
    ended(command.output().unwrap())
}

pub fn ended(output: std::process::Output) -> Ran {
    Ran {
        // A process that a signal ended has no code; -1 is none that the program gives.
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal such as `INT`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Asks until `done`, or until the process has ended.
pub fn wait_for(child: &mut Child, mut done: impl FnMut() -> bool) {
    while !done() {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The folder of the real data sets, where there is one.
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("AUTOML_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: AUTOML_DATA does not name a folder with the data sets");
    }
    folder
}

/// Numbers that look random and are the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to 1.
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// People with numbers, categories, dates and holes; `label` is `"yes, sure"` or `no`.
pub fn people(rows: usize, seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let mut text = String::from("age,income,city,joined,label\n");
    for _ in 0..rows {
        let (age, income) = (18.0 + (60.0 * dice.roll()).round(), 1000.0 * dice.roll());
        let city = ["Oslo", "Köln", "São Paulo", "Rome"][(4.0 * dice.roll()) as usize];
        let (month, day) = (1 + (12.0 * dice.roll()) as u32, 1 + (28.0 * dice.roll()) as u32);
        let likely = age / 40.0 + income / 1000.0 + f64::from(city == "Oslo") - f64::from(month > 6);
        let label = if likely + 0.5 * dice.roll() > 1.75 { "\"yes, sure\"" } else { "no" };
        let age = if dice.roll() < 0.1 { String::new() } else { age.to_string() };
        let city = if dice.roll() < 0.1 { "" } else { city };
        text += &format!("{age},{income:.2},{city},2023-{month:02}-{day:02},{label}\n");
    }
    text
}

/// Points in the plane; `kind` is one of four quadrants, named by numbers.
pub fn quadrants(rows: usize, seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let mut text = String::from("x,y,noise,kind\n");
    for _ in 0..rows {
        let (x, y) = (dice.roll() - 0.5, dice.roll() - 0.5);
        let kind = 1 + usize::from(x > 0.0) + 2 * usize::from(y > 0.0);
        text += &format!("{x:.4},{y:.4},{:.4},{kind}\n", dice.roll());
    }
    text
}

/// A smooth function of two of three columns.
pub fn curve(rows: usize, seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let mut text = String::from("a,b,c,price\n");
    for _ in 0..rows {
        let (a, b, c) = (dice.roll(), dice.roll(), dice.roll());
        let price = 10.0 * a + (6.0 * b).sin() + 0.1 * dice.roll();
        text += &format!("{a:.4},{b:.4},{c:.4},{price:.4}\n");
    }
    text
}

/// The rows of a CSV as records of texts, the header first.
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.into_records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}
