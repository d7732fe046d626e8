//! Searches NAS-Bench-201 with the strategies of this workspace, for the table of random search, RE and local search.
//!
//! ```text
//! cargo run --release -p benches --example nas_bench_201 -- path/to/nb201.csv.gz 100
//! ```
//!
//! Searches on the 12-epoch validation accuracy; prints mean ± standard deviation over the seeds of the 200-epoch test
//! accuracy of the best cell by validation so far. A trial that repeats an earlier candidate counts as a query.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use automl_core::{Cancel, Evaluator, EvaluatorConfig, SearchSpace, StrategyConfig, Study};
use automl_nas::{NasBench201, NasBench201Table};
use automl_search::{GraphEvolution, Random, RegularizedEvolution};

const QUERIES: [usize; 5] = [50, 100, 150, 300, 500];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().ok_or("say where nb201.csv.gz is")?);
    let seeds: u64 = args.next().map_or(Ok(100), |seeds| seeds.parse())?;
    let evolution = |population, sample| RegularizedEvolution { population, sample, ..RegularizedEvolution::default() };
    let strategies: Vec<(&str, Box<dyn StrategyConfig>)> = vec![
        ("random", Box::new(Random {})),
        ("RE(10, 3)", Box::new(evolution(10, 3))),
        ("RE(30, 10)", Box::new(evolution(30, 10))),
        ("graph_evolution", Box::new(GraphEvolution::default())),
    ];
    for data in ["c10", "c100"] {
        let report = format!("{data}_test200");
        let table = NasBench201Table {
            path: path.clone(),
            objective: format!("{data}_val12"),
            report: vec![report.clone()],
            ..NasBench201Table::default()
        };
        let evaluator = table.build(1)?;
        for merge_isomorphic in [true, false] {
            let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic });
            println!("\n{data}, isomorphic cells {}\n{QUERIES:?}", if merge_isomorphic { "merged" } else { "apart" });
            for (name, config) in &strategies {
                let runs: Vec<[f64; 5]> = (0..seeds)
                    .map(|seed| search(config.as_ref(), &space, &evaluator, &report, seed))
                    .collect::<Result<_, _>>()?;
                let cells = (0..QUERIES.len()).map(|at| mean_and_deviation(runs.iter().map(|run| run[at])));
                println!("{name:<16} {}", cells.collect::<Vec<_>>().join("  "));
            }
        }
    }
    Ok(())
}

/// The reported figure of the best so far at each number of queries.
fn search(
    config: &dyn StrategyConfig,
    space: &Arc<dyn SearchSpace>,
    evaluator: &Arc<dyn Evaluator>,
    report: &str,
    seed: u64,
) -> automl_core::Result<[f64; 5]> {
    let strategy = config.build(space.clone(), &evaluator.objectives())?;
    let mut study = Study::new(space.clone(), strategy, evaluator.clone());
    study.seed = seed;
    study.budget.trials = Some(500);
    let outcome = study.run(&Cancel::new())?;
    Ok(QUERIES.map(|queries| {
        let so_far = &outcome.trials[..queries.min(outcome.trials.len())];
        automl_core::study::best(so_far).and_then(|trial| trial.metrics.get(report)).copied().unwrap_or(f64::NAN)
    }))
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> String {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    format!("{mean:.2}±{:.2}", variance.sqrt())
}
