//! Limits, and texts that nobody would write: an error at most, never a panic.

use proptest::prelude::*;

use super::*;

#[test]
fn deep_texts_are_refused() {
    for n in [150, 10_000, 200_000] {
        let open = |s: &str| s.repeat(n);
        let texts = [
            ("a.toml", format!("x = {}", open("["))),
            ("a.toml", format!("x = {}", open("{a="))),
            ("a.toml", format!("x{} = 1", open(".a"))),
            ("a.toml", format!("[x{}]", open(".a"))),
            ("a.json", open("[")),
            ("a.json", format!("{}{}", open("["), open("]"))),
            ("a.json", format!("{}1{}", open("{\"a\":"), open("}"))),
            ("a.yaml", open("[")),
            ("a.yaml", open("- ")),
            ("a.yaml", open("{a: ")),
        ];
        for (name, text) in texts {
            let error = run(name, &text, &[]).expect_err("too deep");
            assert!(error.message().contains("deep"), "{name} {n}: {}", error.message());
            assert!(error.to_string().len() < 30_000);
        }
        assert!(run("a.toml", "", &[&format!("x{}=1", open(".a"))]).is_err());
        assert!(run("a.toml", "", &[&format!("x={}", open("["))]).is_err());
    }
    let half = ".a".repeat(40);
    let value = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    fails("a.toml", "", &[&format!("x{half}={value}")], (1, 106), "", "nested deeper", None);
}

#[test]
fn aliases_are_counted_before_they_are_copied() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..40 {
        let alias = format!("*a{}", i - 1);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![alias; 9].join(",")));
    }
    let start = std::time::Instant::now();
    let error = run("a.yaml", &bomb, &[]).expect_err("a bomb");
    assert!(error.message().contains("expands to more than"), "{error}");
    assert!(start.elapsed().as_secs_f64() < 2.0);
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100_000].join(","));
    assert!(run("a.yaml", &text, &[]).expect_err("a long bomb").message().contains("expands"));
    assert!(run("a.yaml", "a: &a [*a]\n", &[]).is_err());
    let config = run("a.yaml", "limits: {a: &n 5, b: *n}\n", &[]).expect("an alias");
    assert_eq!(config.limits.get("b"), Some(&5));
}

#[test]
fn a_file_without_line_breaks_keeps_its_columns() {
    let keys: String = (0..2_000).map(|i| format!("\"k{i}\":1,")).collect();
    let text = format!("{{\"limits\":{{{keys}\"b\":true}}}}");
    let column = text.find("true").expect("written") + 1;
    fails("a.json", &text, &[], (1, column), "limits.b", "invalid type", None);
    let error = run("a.json", &text, &[]).expect_err("wrong");
    assert!(error.to_string().len() < 1_000);
}

/// Reads a text as everything, and shows every error.
fn poke(text: &str) {
    for name in ["a.toml", "a.yaml", "a.json", "a"] {
        if let Err(error) = run(name, text, &[text]) {
            assert!(!error.render(true).is_empty());
        }
        if let Err(error) = run(name, text, &[]) {
            let report = error.to_string();
            if let Some((_, line, column)) = error.position() {
                assert!(line >= 1 && column >= 1, "{report}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        poke(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn config_like_noise_never_panics(parts in proptest::collection::vec(proptest::sample::select(vec![
        "a", "steps", "type", ": ", " = ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "\"", "'", "&a ", "*a", "!x ", "!!int ", "? ",
        "|\n", ">-\n", "#", "---\n", "...\n", "%YAML 1.2\n", "1", "-0", "1e9", ".nan", "é", "\t", "\r\n", "\\u", "\u{feff}", "[[", "]]", ".", "\0", "scale", "<<", "`"
    ]), 0..40)) {
        poke(&parts.concat());
    }

    #[test]
    fn damaged_configs_never_panic(cut in 0_usize..200, byte in any::<char>()) {
        let text = "name: x # é\nsteps:\n  - type: chain\n    steps: [{type: scale, factor: 1.5}]\nlimits: {\"a\": &b 1, 'c': *b}\nmode:\n  thorough:\n    rounds: 3\n";
        let chars = text.chars();
        let damaged: String = chars.clone().take(cut).chain([byte]).chain(chars.skip(cut + 1)).collect();
        poke(&damaged);
    }

    #[test]
    fn floats_survive(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let config = Run { rate: value, ..Run::default() };
        let written = to_toml(&config).expect("written");
        prop_assert_eq!(run("a.toml", &written, &[]).expect("read").rate.to_bits(), value.to_bits());
        let json = serde_json::to_string(&config).expect("written");
        for name in ["a.json", "a.yaml"] {
            prop_assert_eq!(run(name, &json, &[]).expect("read").rate.to_bits(), value.to_bits());
        }
    }
}
