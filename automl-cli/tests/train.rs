//! Searching networks on images, and training what was found to the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

mod common;

use common::{Dice, Place, ended, signal, wait_for};
use serde_json::Value;

const CONFIG: &str = r#"seed = 3

[study]
trials = 3
lag = 1

[strategy]
type = "random"

[space]
type = "nas_bench_201"

[evaluator]
type = "train"
images = { folder = "images", validation = 0.25 }
network = { cells = 0, channels = 4 }
recipe = { epochs = 2, batch_size = 20, learning_rate = 0.1 }

[final]
recipe = { epochs = 3 }
"#;

/// Images of 8 × 8 that are bright above or below, as MNIST's files.
fn images(place: &Place) {
    std::fs::create_dir(place.path("images")).unwrap();
    let mut dice = Dice::new(1);
    for (set, count) in [("train", 120_u32), ("t10k", 40)] {
        let (mut pixels, mut labels) = (vec![0, 0, 8, 3], vec![0, 0, 8, 1]);
        [count, 8, 8].iter().for_each(|size| pixels.extend(size.to_be_bytes()));
        labels.extend(count.to_be_bytes());
        for row in 0..count {
            let above = row % 2 == 0;
            pixels.extend((0..64).map(|at| (200.0 * dice.roll()) as u8 / if (at < 32) == above { 1 } else { 3 }));
            labels.push(u8::from(above));
        }
        std::fs::write(place.path(&format!("images/{set}-images-idx3-ubyte")), pixels).unwrap();
        std::fs::write(place.path(&format!("images/{set}-labels-idx1-ubyte")), labels).unwrap();
    }
}

fn place() -> Place {
    let place = Place::new();
    images(&place);
    place.write("search.toml", CONFIG);
    place
}

#[test]
fn a_search_ends_with_a_trained_network() {
    let place = place();
    let [one, two] = ["1", "2"].map(|workers| {
        let said = place.run(&format!("-q search search.toml --workers {workers} --run-dir run-{workers} --format json")).ok();
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(said["final"]["test"]["accuracy"].as_f64().unwrap() > 0.6, "{said}");
        assert_eq!((&said["final"]["epochs"], &said["final"]["test"]["rows"]), (&3.into(), &40.into()));
        let read = |file: &str| std::fs::read(place.path(&format!("run-{workers}/final/{file}"))).unwrap();
        assert_eq!(String::from_utf8(read("history.jsonl")).unwrap().lines().count(), 3);
        (place.trials(&format!("run-{workers}")), read("model.safetensors"))
    });
    assert!(one == two, "the same for any number of workers");
    // The same candidate by hand: the same settings and seed, the same weights.
    place.run("-q train run-1 --run-dir again").ok();
    assert_eq!(std::fs::read(place.path("again/model.safetensors")).unwrap(), one.1);
    let table = place.run("-q train run-1 --trial 0 --set final.recipe.epochs=1").ok();
    assert!(table.contains("accuracy") && table.contains("40 images after 1 epoch"), "{table}");
    assert!(place.path("runs/train-1/model.safetensors").exists());
    place.run("-q train run-1 --run-dir again").fails(2, &["again", "automl resume"]);
    // What is over is only tested again.
    let said = place.run("resume again").ok();
    assert!(said.contains("accuracy"), "{said}");
}

const TEXT: &str = r#"seed = 3

[study]
trials = 2

[strategy]
type = "random"

[space]
type = "nao_rnn"
nodes = 2

[evaluator]
type = "train"
text = { folder = "text", unit = "characters", tokens = 500 }
language = { units = 8, steps = 10 }
recipe = { epochs = 1, batch_size = 4, learning_rate = 1.0, max_norm = 1.0 }

[final]
recipe = { epochs = 3 }
"#;

#[test]
fn a_search_on_a_text_ends_with_a_trained_language_model() {
    let place = Place::new();
    std::fs::create_dir(place.path("text")).unwrap();
    place.write("text/a.txt", &"abcd efgh ".repeat(200));
    place.write("text.toml", TEXT);
    let said = place.run("-q search text.toml --run-dir run --format json").ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    let test = &said["final"]["test"];
    assert!(test["perplexity"].as_f64().unwrap() < 5.0 && test["accuracy"].is_null(), "{said}");
    assert_eq!((&said["final"]["epochs"], &test["rows"]), (&3.into(), &90.into()));
    let table = place.run("-q train run --run-dir again").ok();
    assert!(table.contains("perplexity") && table.contains("90 tokens after 3 epochs"), "{table}");
    let [one, two] = ["run/final", "again"].map(|dir| std::fs::read(place.path(&format!("{dir}/model.safetensors"))).unwrap());
    assert!(one == two, "the same settings and seed, the same weights");
    place.run("train run --set final.device=cuda").fails(2, &["final.device", "recurrent"]);
    // Before the search, not after it.
    place.run("search text.toml --set evaluator.device=cuda --run-dir late").fails(2, &["recurrent"]);
    place.run("search text.toml --set final.device=cuda --run-dir late").fails(2, &["final.device"]);
    place.run("train run --set final.language.units=0").fails(2, &["final.language.units"]);
    place.run("train run --set final.text.folder=nowhere").fails(3, &["nowhere"]);
}

#[test]
fn an_interrupted_training_keeps_its_epochs_and_goes_on() {
    let place = place();
    let cell = "--space nas_bench_201 --config search.toml --set final.recipe.epochs=300";
    let arch = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|";
    let mut child = place.start(&format!("-q train {arch} {cell} --run-dir run"));
    let epochs = || std::fs::read_to_string(place.path("run/history.jsonl")).map_or(0, |text| text.lines().count());
    wait_for(&mut child, || epochs() >= 2);
    signal(&child, "INT");
    let ran = ended(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stdout.contains("automl resume run"), "{}", ran.stdout);
    let before = epochs();
    assert!((2..300).contains(&before) && place.path("run/model.safetensors").exists());
    // A little more time: fewer epochs than planned, and the test at the end.
    let said = place.run("-q resume run --time-limit 2s").ok();
    assert!(said.contains("accuracy"), "{said}");
    assert!(epochs() >= before);
}

#[test]
fn mistakes_are_named() {
    let place = place();
    let cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|";
    place.run(&format!("train {cell} --space nas_bench_201")).fails(2, &["--config"]);
    place
        .run(&format!("train {cell} --space nas_bench_201 --config search.toml --set final.recipe.epoch=3"))
        .fails(2, &["epoch", "epochs"]);
    place
        .run(&format!("train {cell} --space nas_bench_201 --config search.toml --set final.recipe.epochs=0"))
        .fails(2, &["final.recipe.epochs"]);
    place
        .run(&format!("train {cell} --space nas_bench_201 --config search.toml --set final.images.folder=nowhere"))
        .fails(3, &["nowhere"]);
    if cfg!(not(feature = "cuda")) {
        place
            .run(&format!("train {cell} --space nas_bench_201 --config search.toml --set final.device=cuda"))
            .fails(2, &["final.device", "feature `cuda`"]);
    }
    place.run("train nowhere.json --config search.toml").fails(3, &["nowhere.json"]);
    place.write("table.json", r#"{"nodes": [{"op": "input"}, {"op": "pca", "inputs": [0]}]}"#);
    place.run("train table.json --config search.toml").fails(1, &["no network on images"]);
    place.write("search.toml", &CONFIG.replace("folder = \"images\"", "folder = \"nowhere\""));
    place.run("search search.toml").fails(3, &["nowhere"]);
    place.write(
        "search.toml",
        &CONFIG.replace("images = {", "# images = {").replace("final", "final.images]\nfolder = \"images\"\n[final"),
    );
    place.run("search search.toml").fails(2, &["evaluator.images.folder"]);
    assert!(!place.path("runs").exists());
}
