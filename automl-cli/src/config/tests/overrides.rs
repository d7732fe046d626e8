//! Overrides: what they set, and errors that name the override instead of the file.

use super::*;

#[test]
fn overrides_are_laid_over() {
    let text = "[[steps]]\ntype = \"scale\"\nfactor = 1\n[limits]\na = 1\n";
    let set = [
        "steps.0.factor=2.5",
        "limits.\"b.c\"=7",
        "name=10m",
        "seed = 0xff",
        "mode.thorough.rounds=3",
        "limits.a=2",
        "limits.a=3",
        "note='x=y'",
    ];
    let config = run("a.toml", text, &set).expect("overrides");
    assert!(format!("{:?}", config.steps).contains("factor: 2.5"));
    assert_eq!(config.limits.get("b.c"), Some(&7));
    assert_eq!(config.limits.get("a"), Some(&3));
    assert_eq!((config.name.as_str(), config.seed), ("10m", 255));
    assert!(matches!(config.mode, Some(Mode::Thorough { rounds: 3 })));
    assert_eq!(config.note.as_deref(), Some("x=y"));
    assert_eq!(run("a.yaml", "limits:\n", &["limits.a=1"]).expect("null").limits.len(), 1);

    let f = |set: &str, at, path, message, meant| fails("a.toml", text, &["seed=1", set], at, path, message, meant);
    f("steps[0].factor=big", (1, 17), "steps[0].factor", "invalid type: string \"big\"", None);
    f("steps[0].facto=2", (1, 10), "steps[0].facto", "unknown field `facto`", Some("factor"));
    f("steps[0].type=\"scael\"", (1, 15), "steps[0].type", "unknown variant `scael`", Some("scale"));
    f("steps[0]={type=\"scale\"}", (1, 10), "steps[0]", "missing field `factor`", None);
    f("limits.a.b=2", (1, 10), "", "`limits.a` is a number", None);
    f("steps[1].factor=2", (1, 6), "", "`steps` has no item 1", None);
    f("steps.x=2", (1, 7), "", "is a list", None);
    f("limits[0]=2", (1, 7), "", "is a table", None);
    f("seed", (1, 5), "", "no `=`", None);
    f("=1", (1, 1), "", "key is missing", None);
    f("a..b=1", (1, 3), "", "key is missing", None);
    f("a[x]=1", (1, 2), "", "index", None);
    f("limits={a=1", (1, 12), "", "", None);
    f("rate=nan", (1, 6), "", "finite", None);
    let report = run("a.toml", text, &["steps[0].factor=big"]).expect_err("wrong").to_string();
    assert!(report.contains("--set") && !report.contains("a.toml"), "{report}");
}
