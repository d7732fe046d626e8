//! The plugins of the built program, against a list that is kept in the repository.
//!
//! A crate that no code mentions is left out by the linker without a word; and the names are part of the interface: configs,
//! journals and models refer to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_program_links_the_plugins_of_the_list() {
    let output = Command::new(env!("CARGO_BIN_EXE_automl")).args(["plugins", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plugins: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |plugin: &Value, key: &str| plugin[key].as_str().unwrap().to_owned();
    let mut linked: Vec<String> =
        plugins.iter().map(|plugin| format!("{} {}", text(plugin, "kind"), text(plugin, "name"))).collect();
    linked.sort();

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins.txt");
    if std::env::var_os("UPDATE_PLUGINS").is_some() {
        std::fs::write(&path, linked.join("\n") + "\n").unwrap();
        return;
    }
    let listed = std::fs::read_to_string(&path).unwrap();
    let listed: Vec<&str> = listed.lines().collect();
    let difference = difference(&listed, &linked);
    assert!(
        difference.is_empty(),
        "the plugins of the program (+) differ from tests/plugins.txt (-):\n{difference}\n\
         If that is intended, write the list anew with `UPDATE_PLUGINS=1 cargo test --release -p automl-cli --test plugins`."
    );
    assert!(listed == linked, "tests/plugins.txt is not sorted, or names a plugin twice; write it anew with UPDATE_PLUGINS=1");
}

/// One line a plugin that only one of the lists has.
fn difference(listed: &[&str], linked: &[String]) -> String {
    let listed: BTreeSet<&str> = listed.iter().copied().collect();
    let linked: BTreeSet<&str> = linked.iter().map(String::as_str).collect();
    let sign = |line: &str| if linked.contains(line) { '+' } else { '-' };
    listed.symmetric_difference(&linked).map(|line| format!("{}{line}\n", sign(line))).collect()
}

#[test]
fn a_difference_names_what_is_missing_and_what_is_new() {
    let linked = ["mutation b".to_owned(), "space c".to_owned()];
    assert_eq!(difference(&["mutation a", "mutation b"], &linked), "-mutation a\n+space c\n");
}
