//! How long a tabular benchmark takes to load and to ask, for `automl-nas`'s evaluator `table`.
//!
//! ```text
//! cargo run --release -p benches --example nas_tables -- path/to/nb201.csv.gz
//! ```

use std::error::Error;
use std::time::Instant;

use automl_core::{Alone, Cancel, EvaluatorConfig, SearchSpace};
use automl_nas::{Cell, NasBench201, Table};

/// Loads, of which the fastest counts.
const LOADS: usize = 5;
/// Queries in a row.
const QUERIES: usize = 1_000_000;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let file = std::env::args().nth(1).ok_or("say where nb201.csv.gz is")?;
    let table = Table { file: file.into(), ..Table::default() };
    let mut load = f64::INFINITY;
    for _ in 0..LOADS {
        let start = Instant::now();
        table.build(1)?;
        load = load.min(start.elapsed().as_secs_f64());
    }
    let evaluator = table.build(1)?;
    let cells: Vec<_> = (0..15_625).map(|index| Cell::at(index).genotype()).collect();
    let mut alone = Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() };
    let start = Instant::now();
    let mut sum = 0.0;
    // A stride that shares no factor with the number of cells visits all of them out of order.
    for query in 0..QUERIES {
        let cell = cells.get(query * 7_919 % cells.len()).ok_or("no cell")?;
        sum += evaluator.evaluate(cell, &mut alone)?.losses.first().copied().unwrap_or_default();
    }
    let query = start.elapsed().as_secs_f64() / QUERIES as f64;
    let start = Instant::now();
    let space = NasBench201::default();
    let hashes: u64 = (0..QUERIES).filter_map(|q| cells.get(q % cells.len())).map(|cell| space.canonical_hash(cell) & 1).sum();
    let hash = start.elapsed().as_secs_f64() / QUERIES as f64;
    println!(
        "load {:.0} ms, query {:.2} µs (mean {:.2}), the space's hash {:.2} µs ({hashes})",
        1e3 * load,
        1e6 * query,
        sum / QUERIES as f64,
        1e6 * hash
    );
    Ok(())
}
