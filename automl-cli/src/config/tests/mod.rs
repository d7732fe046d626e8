//! Every kind of mistake in every format, with the exact place; then limits, overrides and noise.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::*;

mod noise;
mod overrides;

#[typetag::serde(tag = "type")]
trait Op: Debug {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    factor: f64,
}
#[typetag::serde(name = "scale")]
impl Op for Scale {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    steps: Vec<Box<dyn Op>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}
#[typetag::serde(name = "chain")]
impl Op for Chain {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Fast,
    Thorough { rounds: u32 },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Run {
    name: String,
    seed: u64,
    rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    steps: Vec<Box<dyn Op>>,
    limits: BTreeMap<String, i64>,
}

fn run(name: &str, text: &str, overrides: &[&str]) -> Result<Run, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
    load(Source::text(name, text), &overrides, &Options::default())
}

/// Asserts place, path, message and suggestion, and that the report shows the place.
#[track_caller]
fn fails(name: &str, text: &str, overrides: &[&str], at: (usize, usize), path: &str, message: &str, meant: Option<&str>) {
    let error = run(name, text, overrides).expect_err("this config is wrong");
    let report = error.to_string();
    assert!(error.message().contains(message), "{report}");
    let (file, line, column) = error.position().expect("an error in a text has a place");
    assert_eq!((line, column), at, "{report}");
    assert_eq!(error.path(), path, "{report}");
    assert_eq!(error.suggestion(), meant, "{report}");
    assert!(report.contains(&format!("{file}:{line}:{column}")), "{report}");
    assert_eq!(meant.is_some(), report.contains("did you mean"), "{report}");
    assert!(!report.contains('\u{1b}') && error.render(true).contains('\u{1b}'));
}

#[test]
fn toml_mistakes() {
    let head = "# é comment\nname = \"x\"\n\n[[steps]]\ntype = \"chain\"\n[[steps.steps]]\n";
    let f = |tail: &str, at, path, message, meant| fails("run.toml", &format!("{head}{tail}"), &[], at, path, message, meant);
    f("type = \"scael\"\n", (7, 8), "steps[0].steps[0].type", "unknown variant `scael`", Some("scale"));
    f("factro = 1\ntype = \"scale\"\n", (7, 1), "steps[0].steps[0].factro", "unknown field `factro`", Some("factor"));
    f("factor = \"1\"\ntype = \"scale\"", (7, 10), "steps[0].steps[0].factor", "invalid type: string \"1\"", None);
    f("type = \"scale\"\n", (6, 1), "steps[0].steps[0]", "missing field `factor`", None);
    f("factor = 1\n", (6, 1), "steps[0].steps[0]", "missing field `type`", None);
    f("type = \"scale\"\nfactor = 1\nfactor = 2", (9, 1), "", "duplicate key `factor`", None);
    f("type = \"scale\"\nfactor = = 1", (8, 10), "", "", None);
    f("type = \"scale\"\nfactor = nan", (8, 10), "", "not a finite number", None);
    f("type = \"scale\"\nfactor = 18446744073709551616", (8, 10), "", "64 bits", None);
    fails("run.toml", "mode = \"fats\"", &[], (1, 8), "mode", "unknown variant `fats`", Some("fast"));
    fails("run.toml", "[mode.thorough]\nrounds = -1", &[], (2, 10), "mode.thorough.rounds", "invalid value", None);
    fails("run.toml", "[mode.thoruogh]\nrounds = 1", &[], (1, 7), "mode.thoruogh", "unknown variant", Some("thorough"));
    fails("run.toml", "[limits]\n\"a.b\" = 1.5", &[], (2, 9), "limits.\"a.b\"", "invalid type: floating point", None);
}

#[test]
fn yaml_mistakes() {
    let head = "# é comment\nname: x\nsteps:\n  - type: chain\n    steps:\n";
    let f = |tail: &str, at, path, message, meant| fails("run.yaml", &format!("{head}{tail}"), &[], at, path, message, meant);
    f("      - type: scael\n", (6, 15), "steps[0].steps[0].type", "unknown variant `scael`", Some("scale"));
    f("      - factro: 1\n        type: scale\n", (6, 9), "steps[0].steps[0].factro", "unknown field `factro`", Some("factor"));
    f("      - factor: one\n        type: scale\n", (6, 17), "steps[0].steps[0].factor", "invalid type: string \"one\"", None);
    f("      - type: scale\n", (6, 9), "steps[0].steps[0]", "missing field `factor`", None);
    f("      - type: scale\n        factor: 1\n        factor: 2\n", (8, 9), "", "duplicate key `factor`", None);
    f("      - type: scale\n        factor: .nan\n", (7, 17), "", "not a finite number", None);
    f("      - type: scale\n        factor: 1e999\n", (7, 17), "", "not a finite number", None);
    f("      - !scale {factor: 1}\n", (6, 9), "", "tag `!scale`", None);
    f("      - type: scale\n       factor: 1\n", (7, 8), "", "", None);
    fails("run.yml", "name: x\n---\nname: y\n", &[], (3, 1), "", "second document", None);
    fails("run.yml", "a: &a {b: 1}\nc:\n  <<: *a\n", &[], (3, 3), "", "merge keys", None);
}

#[test]
fn json_mistakes() {
    let f = |step: &str, at, path, message, meant| {
        let text = format!("{{\"name\": \"é\\ud83d\\ude00\",\n\t\"steps\": [{{\"type\": \"chain\", \"steps\": [\n{step}\n]}}]}}");
        fails("run.json", &text, &[], at, path, message, meant);
    };
    f(r#"{"type": "scael"}"#, (3, 10), "steps[0].steps[0].type", "unknown variant `scael`", Some("scale"));
    f(r#"{"factro": 1, "type": "scale"}"#, (3, 2), "steps[0].steps[0].factro", "unknown field `factro`", Some("factor"));
    f(r#"{"factor": [1], "type": "scale"}"#, (3, 12), "steps[0].steps[0].factor", "invalid type: sequence", None);
    f(r#"{"type": "scale"}"#, (3, 1), "steps[0].steps[0]", "missing field `factor`", None);
    f(r#"{"type": "scale", "factor": 1, "factor": 2}"#, (3, 32), "", "duplicate key `factor`", None);
    f(r#"{"type": "scale", "factor": 1,}"#, (3, 31), "", "trailing comma", None);
    f(r#"{"type": "scale", "factor": NaN}"#, (3, 29), "", "expected value", None);
    f(r#"{"type": "scale", "factor": 18446744073709551616}"#, (3, 29), "", "64 bits", None);
}

#[test]
fn type_may_come_last_and_all_formats_agree() {
    let texts = [
        ("a.toml", "seed = 18446744073709551615\nrate = 0.1\n[[steps]]\nfactor = 0.30000000000000004\ntype = \"scale\"\n"),
        ("a.yaml", "seed: 18446744073709551615\nrate: 0.1\nsteps: [{factor: 0.30000000000000004, type: scale}]\n"),
        (
            "a.json",
            "{\"seed\":18446744073709551615,\"rate\":0.1,\"steps\":[{\"factor\":0.30000000000000004,\"type\":\"scale\"}]}",
        ),
    ];
    for (name, text) in texts {
        let config = run(name, text, &[]).expect(name);
        assert_eq!((config.seed, config.rate), (u64::MAX, 0.1));
        assert!(format!("{:?}", config.steps).contains("0.30000000000000004"));
        // The same without a telling name.
        assert_eq!(run("config", text, &[]).expect("tried").seed, u64::MAX);
        assert!(check::<Run>(Source::text(name, text), &[], &Options::default()).is_ok());
    }
}

#[test]
fn blank_texts_are_empty_tables() {
    for name in ["a.toml", "a.yaml", "a.json", "a"] {
        assert_eq!(run(name, " \n", &["seed=3"]).expect(name).seed, 3);
        let error = load::<Scale>(Source::text(name, ""), &[], &Options::default()).expect_err(name);
        assert!(error.to_string().contains("missing field `factor`"), "{error}");
        assert!(error.to_string().contains("is empty"), "{error}");
        assert_eq!(error.position(), Some((name, 1, 1)));
    }
    assert!(run("a.yaml", "# nothing\n", &[]).is_ok());
    assert!(run("a", "just prose", &[]).expect_err("no config").to_string().contains(".toml"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().expect("a folder");
    let read = |name: &str| check::<Run>(Source::path(dir.path().join(name)), &[], &Options::default());
    std::fs::write(dir.path().join("run.toml"), "seed = 1").expect("written");
    assert!(read("run.toml").is_ok());
    let error = read("rnu.toml").expect_err("missing");
    assert!(error.message().contains("there is no file"), "{error}");
    assert!(error.suggestion().is_some_and(|name| name.ends_with("run.toml")), "{error}");
    assert!(error.to_string().contains("check the name"), "{error}");
    assert!(read(".").is_err());
    std::fs::write(dir.path().join("latin.toml"), b"# ok\nname = \"caf\xe9\"\n").expect("written");
    let error = read("latin.toml").expect_err("not UTF-8");
    assert_eq!(error.position().map(|(_, line, column)| (line, column)), Some((2, 12)), "{error}");
    assert!(error.message().contains("UTF-8"));
    std::fs::write(dir.path().join("bom.toml"), "\u{feff}sed = 1").expect("written");
    let error = read("bom.toml").expect_err("unknown field");
    assert_eq!((error.position().map(|(_, l, c)| (l, c)), error.suggestion()), (Some((1, 1)), Some("seed")));
    std::fs::write(dir.path().join("big.toml"), vec![b'#'; (4 << 20) + 1]).expect("written");
    assert!(read("big.toml").expect_err("too big").message().contains("larger than"));
}

#[test]
fn later_checks_can_point_at_a_place() {
    let source = Source::text("a.toml", "[[steps]]\ntype = \"scale\"\nfactor = -1\n");
    let document = Document::read(source, &[], &Options::default()).expect("a config");
    let error = document.error_at("steps[0].factor", "must be above 0");
    assert_eq!(error.position(), Some(("a.toml", 3, 10)));
    assert_eq!(document.error_at("steps[0].absent", "no").position(), Some(("a.toml", 1, 1)));
}

#[test]
fn a_resolved_config_reads_back() {
    let text = "seed = 18446744073709551615\nrate = 0.30000000000000004\nname = \"a\\nb\"\n[[steps]]\ntype = \"chain\"\nsteps = [{type = \"scale\", factor = 1e-300}]\n[mode.thorough]\nrounds = 2\n";
    let config = run("a.toml", text, &[]).expect("a config");
    let written = to_toml(&config).expect("written");
    let again = run("b.toml", &written, &[]).expect("read back");
    assert_eq!(format!("{config:?}"), format!("{again:?}"));
    assert_eq!(to_toml(&again).expect("written"), written);
    assert!(to_toml(&Run { rate: f64::NAN, ..Run::default() }).is_err());
    assert!(to_toml(&3).is_err());
}
