//! The table evaluator on small tables and, where `AUTOML_DATA` names a directory that holds `nas/`, on the benchmarks
//! themselves; and the promises that every plugin keeps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it fails; clippy exempts test functions alone"
)]

use std::path::PathBuf;
use std::sync::Arc;

use automl_core::{Alone, Cancel, Evaluation, Evaluator, EvaluatorConfig, Genotype, SearchSpace, Stop, conformance};
use automl_nas::cells::{Darts, Network};
use automl_nas::table::{Columns, Fidelity, Repeats};
use automl_nas::{Cell, NasBench101, NasBench201, NasBenchMacro, Table};

fn alone(seed: u64, fidelity: f64) -> Alone {
    Alone { seed, fidelity, cancel: Cancel::new() }
}

fn build(table: &Table) -> Arc<dyn Evaluator> {
    table.build(1).map_err(|error| error.to_string()).unwrap()
}

fn evaluate(table: &Table, genotype: &Genotype) -> Result<Evaluation, Stop> {
    build(table).evaluate(genotype, &mut alone(0, 1.0))
}

fn one(name: &str) -> Columns {
    Columns::One(name.into())
}

fn data(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("AUTOML_DATA").map(|data| PathBuf::from(data).join("nas").join(name));
    if found.is_none() {
        eprintln!("skipped: AUTOML_DATA does not name a directory with nas/{name}");
    }
    found
}

/// The rows of a gzipped CSV, each as a look-up by column.
fn rows(path: &PathBuf) -> Vec<std::collections::BTreeMap<String, String>> {
    let file = flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap());
    csv::Reader::from_reader(file).deserialize().map(Result::unwrap).collect()
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
    let file = dir.path().join("table.csv");
    let known = Cell::at(4_321);
    std::fs::write(&file, format!("arch_str,c10_val12,flops,hole\n{},88.5,12,\n", known.arch())).unwrap();
    let config = Table { file: file.clone(), report: vec!["flops".into(), "hole".into()], ..Table::default() };
    let found = evaluate(&config, &known.genotype()).ok().unwrap();
    assert_eq!(found.losses, [-88.5]);
    let metrics: Vec<(&str, f64)> = found.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(metrics, [("c10_val12", 88.5), ("flops", 12.0)]);
    assert!(matches!(evaluate(&config, &Cell::at(0).genotype()), Err(Stop::Infeasible(_))));
    let smaller = Table { objective: one("flops"), maximize: false, ..config.clone() };
    assert_eq!(evaluate(&smaller, &known.genotype()).ok().unwrap().losses, [12.0]);

    let failing = |config: Table| config.build(1).err().unwrap().to_string();
    let error = failing(Table { objective: one("c10_val_12"), ..config.clone() });
    assert!(error.contains("evaluator.objective") && error.contains("did you mean `c10_val12`?"), "{error}");
    assert!(failing(Table { file: dir.path().join("absent.csv.gz"), ..config.clone() }).contains("absent.csv.gz"));
    assert!(failing(Table { key: vec![], ..config.clone() }).contains("evaluator.key"));
    assert!(failing(Table { space: Arc::new(NasBenchMacro::default()), ..config.clone() }).contains("row 1"));
    let level = |share| Fidelity { column: one("flops"), share };
    assert!(failing(Table { fidelities: vec![level(1.0)], ..config.clone() }).contains("evaluator.fidelities"));
    assert!(failing(Table { fidelities: vec![level(0.5), level(0.1)], ..config.clone() }).contains("ascending"));
    std::fs::write(&file, format!("arch_str,c10_val12,flops,hole\n{},,12,\n", known.arch())).unwrap();
    assert!(failing(config).contains("row 1: `c10_val12` is ``"));
}

#[test]
fn fidelities_have_their_columns_and_repeats_are_drawn_or_averaged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("table.csv");
    let text = "arch,early,a,b,seconds\n00000000,1,10,20,100\n00000000,3,30,40,300\n";
    std::fs::write(&file, text).unwrap();
    let config = Table {
        file,
        space: Arc::new(NasBenchMacro::default()),
        key: vec!["arch".into()],
        objective: Columns::Several(vec!["a".into(), "b".into()]),
        fidelities: vec![Fidelity { column: one("early"), share: 0.25 }],
        report: vec![],
        cost: Some("seconds".into()),
        repeats: Repeats::Mean,
        ..Table::default()
    };
    let genotype = config.space.parse("00000000").unwrap();
    let loss = |config: &Table, seed, fidelity| {
        let found = build(config).evaluate(&genotype, &mut alone(seed, fidelity)).unwrap();
        (-found.losses[0], found.metrics["simulated_seconds"])
    };
    assert_eq!(loss(&config, 1, 1.0), (25.0, 200.0));
    assert_eq!(loss(&config, 1, 0.5), (25.0, 100.0));
    assert_eq!(loss(&config, 1, 0.25), (2.0, 50.0));
    let drawn = Table { repeats: Repeats::Draw, ..config };
    let mut seen: Vec<(u64, u64)> = (0..200).map(|seed| loss(&drawn, seed, 1.0)).map(|(a, b)| (a as u64, b as u64)).collect();
    assert_eq!(loss(&drawn, 7, 1.0), loss(&drawn, 7, 1.0));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [(10, 100), (20, 100), (30, 300), (40, 300)], "a draw is one row");
}

#[test]
fn nas_bench_201_agrees_on_isomorphism_on_sizes_and_on_the_optimum() {
    let Some(file) = data("nb201.csv.gz") else { return };
    let rows = rows(&file);
    assert_eq!(rows.len(), 15_625);
    for row in &rows {
        let cell = Cell::from_arch(&row["arch_str"]).unwrap();
        assert_eq!(cell.arch(), row["arch_str"]);
        assert_eq!(cell.unique(), row["unique_str"], "{}", row["arch_str"]);
        let size = cell.size(10);
        assert_eq!((size.parameters as f64 / 1e6).to_string(), row["params_M_c10"].parse::<f64>().unwrap().to_string());
        // The benchmark counts batch norms and activations (3 for a number put out) and average pooling (9), too.
        let count = |op: &str| cell.operators().iter().filter(|name| name.contains(op)).count() as u64;
        let numbers = 5 * (16 * 1_024 + 32 * 256 + 64 * 64);
        let others = 160_832 + numbers * (3 * count("conv") + 9 * count("pool"));
        let flops = (row["flops_M_c10"].parse::<f64>().unwrap() * 1e6).round() as u64;
        assert_eq!(size.flops + others, flops, "{}", row["arch_str"]);
    }
    let config = Table { file, objective: one("c10_test200"), report: vec![], ..Table::default() };
    let evaluator = build(&config);
    let loss = |index| evaluator.evaluate(&Cell::at(index).genotype(), &mut alone(0, 1.0)).unwrap().losses[0];
    let best = (0..15_625).map(loss).fold(f64::INFINITY, f64::min);
    assert!((best + 94.37).abs() < 0.01, "{best}");
}

#[test]
fn ec_nas_is_the_space_of_five_vertices() {
    let Some(file) = data("ecnas_4v5v_4epochs.csv.gz") else { return };
    let space = NasBench101 { max_vertices: 5, max_edges: 9 };
    let rows = rows(&file);
    let mut hashes = std::collections::BTreeSet::new();
    for row in &rows {
        let genotype = space.parse(&format!("{} {}", row["matrix"], row["labels"])).unwrap();
        space.trace(&genotype).unwrap();
        hashes.insert(genotype.canonical_hash());
    }
    assert_eq!((rows.len(), hashes.len()), (2_805, 2_532));
}

#[test]
fn nas_bench_macro_is_read_whole() {
    let Some(file) = data("nas_bench_macro_cifar10.csv.gz") else { return };
    let config = Table {
        file,
        space: Arc::new(NasBenchMacro::default()),
        key: vec!["arch".into()],
        objective: one("mean_acc"),
        report: vec![],
        ..Table::default()
    };
    let found = evaluate(&config, &config.space.parse("11111221").unwrap()).unwrap();
    assert!((found.losses[0] + 92.303_331).abs() < 1e-5);
}

#[test]
fn darts_networks_are_as_large_as_published() {
    let Some(file) = data("nb301_val_725.csv.gz") else { return };
    let space = Darts::default();
    let network = Network { cells: 2, channels: 32, ..Network::default() };
    for row in rows(&file) {
        let genotype = space.parse(&row["arch"]).unwrap();
        let size = network.size(&genotype).unwrap();
        // The published counts leave out the two weights a channel of the batch norms of operators.
        let end = genotype.nodes.iter().position(|node| node.op == "normal").unwrap();
        let mut norms = 0;
        for (index, node) in genotype.nodes.iter().enumerate().skip(2) {
            // Two cells of 32, 64 and 128 channels; a reduction to 64 and one to 128.
            let channels = if index < end { 2 * (32 + 64 + 128) } else { 64 + 128 };
            let halves = index > end && node.inputs.iter().all(|&input| input < 2);
            let count = match node.op.as_str() {
                op if op.starts_with("sep_") => 2,
                op if op.starts_with("dil_") => 1,
                "skip_connect" if halves => 1,
                _ => 0,
            };
            norms += 2 * channels * count;
        }
        let published = (row["params"].parse::<f64>().unwrap() * 1e6).round() as u64;
        assert_eq!(size.parameters - norms, published, "{genotype}");
        // They count pooling and batch norms as well.
        let flops: f64 = row["flops"].parse().unwrap();
        let ratio = size.flops as f64 / 1e6 / flops;
        assert!((0.85..=1.0).contains(&ratio), "{ratio}");
    }
}

#[test]
fn the_default_space_of_a_table_is_its_own() {
    let space = Table::default().space().map_err(|error| error.to_string()).unwrap().unwrap();
    assert_eq!(space.points().len(), NasBench201::default().points().len());
}
