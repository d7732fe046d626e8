//! The model file: it predicts as before it was written, and nothing that is not a whole model is taken for one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::panic::catch_unwind;
use std::path::Path;

use automl_core::{Cancel, Genotype, Node};
use automl_ops::pipeline::Pipeline;
use automl_ops::table::Table;
use automl_ops::{About, Metric, Model, Task, Training};
use common::{bits, pipeline_with, pool, table, training};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

fn about(training: &Training) -> About {
    About::new(training, training.task().default_metric(), Some(0.5), 1)
}

/// A model of every operator of a task, each in a pipeline of its own.
fn model(task: Task) -> Model {
    let training = training(60, task, 1);
    let fit = |genotype: &Genotype| Pipeline::fit(genotype, &training.x, &training.y, 3, &Cancel::new()).unwrap();
    Model::new(about(&training), pool(task).into_iter().map(|op| fit(&pipeline_with(op))).collect())
}

/// A small model of two pipelines, with arrays and without.
fn small() -> Model {
    let training = training(40, Task::Classification, 1);
    let tree = Genotype { nodes: vec![Node::new("input", []), Node::new("decision_tree", [0]).with("max_depth", 2_i64)] };
    let linear = ["one_hot", "impute", "standard_scale", "logistic"];
    let steps = linear.iter().enumerate().map(|(index, name)| Node::new(*name, [index]));
    let linear = Genotype { nodes: [Node::new("input", [])].into_iter().chain(steps).collect() };
    let fit = |genotype: &Genotype| Pipeline::fit(genotype, &training.x, &training.y, 3, &Cancel::new()).unwrap();
    Model::new(about(&training), vec![fit(&tree), fit(&linear)])
}

fn unseen(task: Task) -> Table {
    table(30, task, 77)
}

fn predict(model: &Model, table: &Table) -> Vec<u32> {
    bits(&model.predict(table, &Cancel::new()).unwrap().values)
}

/// Loads bytes as a model file, and reports a panic as a failed test.
fn load(folder: &Path, bytes: &[u8]) -> Result<Model, String> {
    let path = folder.join("model.automl");
    fs::write(&path, bytes).unwrap();
    catch_unwind(|| Model::load(&path)).expect("loading panics").map_err(|error| error.to_string())
}

fn bytes_of(model: &Model) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.automl");
    model.write(&path).unwrap();
    fs::read(path).unwrap()
}

fn members(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut members = BTreeMap::new();
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).unwrap();
        let name = member.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        members.insert(name, bytes);
    }
    members
}

/// A file of these members, with the hashes a hostile writer would put in.
fn packed(mut members: BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    for (name, bytes) in members.iter().filter(|(name, _)| *name != "manifest.json") {
        manifest["hashes"][name] = json!(blake3::hash(bytes).to_hex().to_string());
    }
    members.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
    packed_as_is(&members)
}

fn packed_as_is(members: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn every_operator_predicts_the_same_after_writing_and_loading() {
    let folder = tempfile::tempdir().unwrap();
    for task in [Task::Classification, Task::Regression] {
        let (model, table) = (model(task), unseen(task));
        let before = predict(&model, &table);
        let bytes = bytes_of(&model);
        assert_eq!(bytes, bytes_of(&model), "the same model is another file");
        let loaded = load(folder.path(), &bytes).unwrap();
        assert_eq!(predict(&loaded, &table), before);
        assert_eq!(loaded.about, model.about);
        assert_eq!(bytes_of(&loaded), bytes, "written again it is another file");
    }
}

#[test]
fn what_pipelines_add_to_a_file_is_known_before_it_is_written() {
    for task in [Task::Classification, Task::Regression] {
        let model = model(task);
        let file = bytes_of(&model).len() as f64;
        assert_eq!(model.file_bytes().unwrap() as f64, file, "counted exactly");
        let empty = bytes_of(&Model::new(model.about.clone(), Vec::new())).len();
        let counted = (empty + model.pipelines().map(Pipeline::file_bytes).sum::<usize>()) as f64;
        assert!((counted / file - 1.0).abs() < 0.1, "{counted} {file}");
    }
}

#[test]
fn a_long_table_is_predicted_as_a_short_one() {
    let training = training(40, Task::Classification, 1);
    let steps = ["one_hot", "impute", "row_statistics", "random_forest"];
    let steps = steps.iter().enumerate().map(|(index, name)| Node::new(*name, [index]));
    let genotype = Genotype { nodes: [Node::new("input", [])].into_iter().chain(steps).collect() };
    let pipeline = Pipeline::fit(&genotype, &training.x, &training.y, 3, &Cancel::new()).unwrap();
    let long = table(150_000, Task::Classification, 5);
    let at_once = pipeline.predict(&training.binding.frame(&long).unwrap(), &Cancel::new()).unwrap();
    let model = Model::new(about(&training), vec![pipeline]);
    assert_eq!(predict(&model, &long), bits(&at_once));
}

#[test]
fn a_constant_model_predicts_the_same_after_writing_and_loading() {
    let folder = tempfile::tempdir().unwrap();
    for task in [Task::Classification, Task::Regression] {
        let training = training(41, task, 1);
        let model = Model::constant(about(&training), &training.y);
        let loaded = load(folder.path(), &bytes_of(&model)).unwrap();
        assert_eq!(predict(&loaded, &unseen(task)), predict(&model, &unseen(task)));
        assert!(loaded.pipelines().next().is_none());
    }
}

#[test]
fn a_part_of_a_file_is_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = bytes_of(&small());
    for part in 0..50 {
        assert!(load(folder.path(), &bytes[..bytes.len() * part / 50]).is_err(), "{part} fiftieths of a file load");
    }
    assert!(load(folder.path(), &bytes[..bytes.len() - 1]).is_err());
    for text in [&b""[..], b"a,b\n1,2\n", b"PK\x03\x04 and no more"] {
        let error = load(folder.path(), text).err().unwrap();
        assert!(error.contains("not a usable model file"), "{error}");
    }
    assert!(Model::load(folder.path()).is_err(), "a folder loads");
    let error = Model::load(&folder.path().join("absent")).err().unwrap().to_string();
    assert!(error.contains("absent"), "{error}");
}

#[test]
fn a_changed_byte_is_found_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (model, table) = (small(), unseen(Task::Classification));
    let (bytes, before) = (bytes_of(&model), predict(&model, &table));
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut found = 0;
    for _ in 0..400 {
        let mut bytes = bytes.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        // Dates and versions in the zip's own headers say nothing about the model.
        match load(folder.path(), &bytes) {
            Ok(loaded) => assert_eq!(predict(&loaded, &table), before, "byte {at}"),
            Err(_) => found += 1,
        }
    }
    assert!(found > 350, "{found} of 400 changes are found");
}

#[test]
fn another_format_a_newer_version_and_a_missing_or_foreign_member_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = members(&bytes_of(&small()));
    assert!(load(folder.path(), &packed(good.clone())).is_ok(), "the helper itself writes no model");
    for (field, value, says) in
        [("format", json!("zip"), "format"), ("min_reader", json!(3), "newer"), ("version", json!("x"), "")]
    {
        let mut members = good.clone();
        let mut manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
        manifest[field] = value;
        members.insert("manifest.json".into(), serde_json::to_vec(&manifest).unwrap());
        let error = load(folder.path(), &packed(members)).err().unwrap();
        assert!(error.contains(says), "{error}");
    }
    for name in good.keys() {
        let mut members = good.clone();
        members.remove(name);
        let error = load(folder.path(), &packed_as_is(&members)).err().unwrap_or_else(|| panic!("loads without {name}"));
        assert!(error.contains(name.as_str()), "{error}");
        if name != "manifest.json" {
            let mut members = good.clone();
            members.get_mut(name).unwrap().push(b' ');
            let error = load(folder.path(), &packed_as_is(&members)).err().unwrap_or_else(|| panic!("loads with another {name}"));
            assert!(error.contains("hash"), "{error}");
        }
    }
}

#[test]
fn an_operator_that_is_not_linked_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = members(&bytes_of(&small()));
    for name in ["model.json", "manifest.json"] {
        let text = String::from_utf8(members[name].clone()).unwrap().replace("standard_scale", "acme/robust_scale");
        members.insert(name.into(), text.into_bytes());
    }
    let error = load(folder.path(), &packed(members)).err().unwrap();
    assert!(error.contains("acme/robust_scale"), "{error}");
}

/// Every place in a JSON value that holds no further places.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{path}/{index}"), found));
        }
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, item)| leaves(item, &format!("{path}/{name}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn hostile_values_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for task in [Task::Classification, Task::Regression] {
        let (model, table) = (model(task), unseen(task));
        let good = members(&bytes_of(&model));
        let contents: Value = serde_json::from_slice(&good["model.json"]).unwrap();
        let mut places = Vec::new();
        leaves(&contents, "", &mut places);
        let values =
            [json!(-1), json!(1_u64 << 62), json!(7), json!(0), json!(1e300), json!(null), json!([]), json!({}), json!("x")];
        for (index, place) in places.iter().enumerate() {
            for value in values.iter().cycle().skip(index).take(if place.contains("/values/") { values.len() } else { 3 }) {
                let mut contents = contents.clone();
                *contents.pointer_mut(place).unwrap() = value.clone();
                let mut members = good.clone();
                members.insert("model.json".into(), serde_json::to_vec(&contents).unwrap());
                if let Ok(loaded) = load(folder.path(), &packed(members)) {
                    let result = catch_unwind(std::panic::AssertUnwindSafe(|| loaded.predict(&table, &Cancel::new()).is_ok()));
                    assert!(result.is_ok(), "{place} = {value}: predicting panics");
                }
            }
        }
        assert!(places.len() > 50);
    }
}

#[test]
fn hostile_arrays_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for task in [Task::Classification, Task::Regression] {
        let (model, table) = (model(task), unseen(task));
        let good = members(&bytes_of(&model));
        for name in good.keys().filter(|name| name.starts_with("state/")) {
            for case in 0..12 {
                let mut members = good.clone();
                let bytes = members.get_mut(name).unwrap();
                // Behind the header of safetensors, whose length stands in the first eight bytes.
                let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                let words = (bytes.len() - header) / 4;
                for _ in 0..=case % 3 {
                    let at = header + 4 * rng.random_range(0..words.max(1));
                    let word = [u32::MAX, 0, f32::NAN.to_bits(), f32::INFINITY.to_bits(), f32::MAX.to_bits(), 1 << 30, 5];
                    if let Some(cell) = bytes.get_mut(at..at + 4) {
                        cell.copy_from_slice(&word[rng.random_range(0..word.len())].to_le_bytes());
                    }
                }
                if let Ok(loaded) = load(folder.path(), &packed(members)) {
                    let result = catch_unwind(std::panic::AssertUnwindSafe(|| loaded.predict(&table, &Cancel::new()).is_ok()));
                    assert!(result.is_ok(), "{name}, case {case}: predicting panics");
                }
            }
        }
    }
}

#[test]
fn a_model_whose_parts_do_not_fit_is_refused_when_it_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let good = members(&bytes_of(&small()));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut members = good.clone();
        let mut contents: Value = serde_json::from_slice(&members["model.json"]).unwrap();
        change(&mut contents);
        members.insert("model.json".into(), serde_json::to_vec(&contents).unwrap());
        load(folder.path(), &packed(members)).err()
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Change<'_>); 6] = [
        ("a third label", &|contents| contents["about"]["labels"] = json!(["a", "b", "c"])),
        ("a wider table", &|contents| {
            let binding = &mut contents["about"]["binding"];
            let column = json!({"name": "more", "kind": "numeric"});
            binding["schema"]["columns"].as_array_mut().unwrap().push(column);
            binding["offsets"].as_array_mut().unwrap().push(json!(0.0));
            binding["fill"].as_array_mut().unwrap().push(json!(null));
        }),
        ("a column of another type", &|contents| {
            contents["about"]["binding"]["schema"]["columns"][0]["kind"] = json!("category")
        }),
        ("no classes", &|contents| contents["about"]["labels"] = json!([])),
        ("a metric of values", &|contents| contents["about"]["metric"] = json!("rmse")),
        ("no vertices", &|contents| contents["pipelines"][0]["genotype"]["nodes"] = json!([])),
    ];
    for (name, change) in cases {
        assert!(changed(change).is_some(), "{name}: it loads");
    }
    assert!(changed(&|_| ()).is_none());
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.automl");
    small().write(&path).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    assert!(small().write(&folder.path().join("absent/m.automl")).is_err());
    assert!(small().write(folder.path()).is_err(), "a folder is overwritten");
    let mut unwritable = small();
    unwritable.about.metric = Metric::Rmse;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        // The superuser may write anywhere; then there is nothing to see.
        if fs::write(folder.path().join("probe"), "").is_err() {
            assert!(unwritable.write(&path).is_err());
            assert_eq!(fs::read(&path).unwrap(), before);
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_model_file_can_be_read_by_whom_other_files_can() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (model, other) = (folder.path().join("m.automl"), folder.path().join("other"));
    small().write(&model).unwrap();
    fs::write(&other, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&model), mode(&other));
}
