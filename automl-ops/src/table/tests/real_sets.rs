//! Real files, where there are any.

use std::path::PathBuf;

use super::super::*;
use super::{category, numbers};

/// All sets in `tabular` below the folder that the variable names: rows, columns and missing cells must be those of its `tasks.csv`.
#[test]
fn real_sets_are_read_whole() {
    let Some(folder) = std::env::var_os("AUTOML_DATA").map(|data| PathBuf::from(data).join("tabular")) else {
        eprintln!("skipped: AUTOML_DATA does not name the folder of the data sets");
        return;
    };
    let options = ReadOptions::default();
    let tasks = read(folder.join("tasks.csv"), &options).unwrap();
    let text = |name: &str, row: usize| {
        let (codes, levels) = category(&tasks.column(name).unwrap().data);
        levels[codes[row] as usize].to_owned()
    };
    let count = |name: &str, row: usize| numbers(&tasks.column(name).unwrap().data)[row].unwrap() as usize;
    let missing = |table: &Table| -> usize { table.columns.iter().map(|c| c.data.missing()).sum() };
    for row in 0..tasks.rows {
        let name = text("name", row);
        let train = read(folder.join(&name).join("train.csv"), &options).unwrap();
        let test_path = folder.join(&name).join("test.csv");
        let test = read(&test_path, &options).unwrap();
        assert_eq!(train.rows, count("train_rows", row), "{name}");
        assert_eq!(test.rows, count("test_rows", row), "{name}");
        assert_eq!(train.columns.len(), count("features", row) + 1, "{name}");
        let cells = missing(&train) + missing(&test);
        assert_eq!(cells, count("missing_cells", row), "{name}");
        let target = train.column(&text("target", row)).unwrap();
        assert_eq!(target.data.missing(), 0, "{name}");

        let schema = train.schema();
        let alike = read_with_schema(&test_path, &schema, &options).unwrap();
        assert_eq!(alike.schema(), schema, "{name}");
        let kinds = ColumnType::ALL.map(|kind| {
            let count = train.columns.iter().filter(|c| c.data.kind() == kind);
            format!("{} {kind}", count.count())
        });
        eprintln!("{name}: {}; {:?} {:?}", kinds.join(", "), train.warnings, alike.warnings);
    }
    assert!(tasks.rows > 40);
}

/// `AUTOML_FILE=big.csv cargo test --release -p automl-ops -- --ignored --nocapture reading_speed`
#[test]
#[ignore = "a measurement, of the file that AUTOML_FILE names"]
fn reading_speed() {
    let path = PathBuf::from(std::env::var_os("AUTOML_FILE").unwrap());
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let table = read(&path, &ReadOptions::default()).unwrap();
        let (rows, columns) = (table.rows, table.columns.len());
        eprintln!("{rows} rows, {columns} columns: {:.3} s", start.elapsed().as_secs_f64());
    }
}
