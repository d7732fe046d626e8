//! NAS-Bench-201 against its own table, where `AUTOML_DATA` names a directory that holds `nas/nb201.csv.gz`; and the promises
//! that every plugin keeps.

use std::path::PathBuf;

use automl_core::{Alone, Cancel, Direction, Evaluation, EvaluatorConfig, Stop, conformance};
use automl_nas::{Cell, NasBench201Table};

fn alone() -> Alone {
    Alone { seed: 0, fidelity: 1.0, cancel: Cancel::new() }
}

fn evaluate(table: &NasBench201Table, cell: Cell) -> Result<Evaluation, Stop> {
    let evaluator = table.build(1).map_err(|error| Stop::Failed(error.to_string()))?;
    evaluator.evaluate(&cell.genotype(), &mut alone())
}

fn table() -> Option<PathBuf> {
    let found = std::env::var_os("AUTOML_DATA").map(|data| PathBuf::from(data).join("nas/nb201.csv.gz"));
    if found.is_none() {
        eprintln!("skipped: AUTOML_DATA does not name a directory with nas/nb201.csv.gz");
    }
    found
}

#[test]
fn every_plugin_conforms() {
    if let Err(problems) = conformance::check_linked(&[]) {
        panic!("{}", problems.join("\n"));
    }
}

#[test]
fn a_small_table_is_looked_up_and_its_mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.csv");
    let known = Cell::at(4_321);
    std::fs::write(&path, format!("arch_str,c10_val12,flops\n{},88.5,12\n", known.arch())).unwrap();
    let config = NasBench201Table { path: path.clone(), report: vec!["flops".into()], ..NasBench201Table::default() };
    let found = evaluate(&config, known).ok().unwrap();
    assert_eq!(found.losses, [-88.5]);
    assert_eq!(
        found.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(),
        [("c10_val12", 88.5), ("flops", 12.0)]
    );
    assert!(matches!(evaluate(&config, Cell::at(0)), Err(Stop::Infeasible(_))));
    let smaller = NasBench201Table { objective: "flops".into(), direction: Direction::Minimize, ..config.clone() };
    assert_eq!(evaluate(&smaller, known).ok().unwrap().losses, [12.0]);

    let failing = |config: NasBench201Table| config.build(1).err().unwrap().to_string();
    let error = failing(NasBench201Table { objective: "c10_val_12".into(), ..config.clone() });
    assert!(error.contains("evaluator.objective") && error.contains("did you mean `c10_val12`?"), "{error}");
    let error = failing(NasBench201Table { path: dir.path().join("absent.csv.gz"), ..config.clone() });
    assert!(error.contains("absent.csv.gz"), "{error}");
    std::fs::write(&path, format!("arch_str,c10_val12,flops\n{},,12\n", known.arch())).unwrap();
    assert!(failing(config).contains("row 1: `c10_val12` is ``"));
}

#[test]
fn the_table_agrees_on_isomorphism_and_holds_the_optimum() {
    let Some(path) = table() else { return };
    let file = flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap());
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (arch, unique) = (column("arch_str"), column("unique_str"));
    let mut count = 0;
    for record in reader.records() {
        let record = record.unwrap();
        let cell = Cell::from_arch(&record[arch]).unwrap();
        assert_eq!(cell.arch(), record[arch]);
        assert_eq!(cell.unique(), record[unique], "{}", &record[arch]);
        count += 1;
    }
    assert_eq!(count, 15_625);

    let config = NasBench201Table { path, objective: "c10_test200".into(), report: vec![], ..NasBench201Table::default() };
    let evaluator = config.build(1).map_err(|error| error.to_string()).unwrap();
    let loss = |index| evaluator.evaluate(&Cell::at(index).genotype(), &mut alone()).unwrap().losses[0];
    let best = (0..15_625).map(loss).fold(f64::INFINITY, f64::min);
    assert!((best + 94.37).abs() < 0.01, "{best}");
}
