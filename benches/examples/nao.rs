//! What the networks of `nao` know and what they take, on a tabular benchmark.
//!
//! ```text
//! cargo run --release -p benches --example nao -- speed
//! cargo run --release -p benches --example nao -- probe nb201.csv.gz c10_val12 20 '{}' '{"pretrain": 1000}'
//! cargo run --release -p benches --example nao -- search nb201.csv.gz c10_val12 c10_test200 20 150 \
//!   '{"type": "random"}' '{"type": "regularized_evolution", "population": 30, "sample": 10}' '{"type": "nao_plus"}'
//! ```
//!
//! `speed` times a fit to 300 cells of NAS-Bench-201 and a round of moves. `probe` fits to 50 to 550 random cells and asks about
//! 200 others, for each of the settings of `nao_plus` (`{"preset": "cnn"}` and the like for those of the paper; `nao:` before
//! them for `nao`'s), in the mean over some seeds. `search` runs strategies on one column and tells another one of the best by the
//! first so far, in the mean over seeds with its standard deviation, and in how many runs the best was a move.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::study::seed_of;
use automl_core::{Alone, Ask, Cancel, Evaluator, EvaluatorConfig, Origin, Proposal, SearchSpace, StrategyConfig, Trial};
use automl_nas::nao::{Settings, probe};
use automl_nas::table::Columns;
use automl_nas::{Cell, Nao, NaoPlus, NasBench201, Table};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

// Links the strategies of the crate, so that configs can name them.
use automl_search as _;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Numbers of candidates to learn from.
const KNOWN: [usize; 5] = [50, 100, 200, 400, 550];
/// Queries at which a search is looked at.
const AT: [usize; 5] = [50, 100, 150, 300, 500];
/// Candidates that are held out.
const HELD_OUT: usize = 200;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed"] => speed(),
        ["probe", file, column, seeds, settings @ ..] => table(file, column, seeds.parse()?, settings),
        ["search", file, column, report, seeds, queries, strategies @ ..] => {
            search(file, [column, report], seeds.parse()?, queries.parse()?, strategies)
        }
        _ => {
            Err("say `speed`, `search TABLE COLUMN REPORT SEEDS QUERIES STRATEGIES…`, or `probe TABLE COLUMN SEEDS SETTINGS…`"
                .into())
        }
    }
}

fn speed() -> Outcome<()> {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let configs: [(&str, Box<dyn StrategyConfig>); 2] = [
        ("nao", Box::new(Nao(Settings { initial: 300, ..Settings::default() }))),
        ("nao_plus", Box::new(NaoPlus(Settings { initial: 300, ..Settings::plus() }))),
    ];
    for (name, config) in configs {
        let mut strategy = config.build(space.clone(), &[])?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for id in 0..300 {
            let genotype = automl_core::space::sample(space.as_ref(), &mut rng)?;
            // Any loss that depends on the cell does.
            let operators = Cell::of(&genotype)?.operators().into_iter().enumerate();
            let loss = operators.map(|(edge, name)| (edge + name.len()) as f64 % 7.0).sum();
            strategy.tell(&Trial::told(id, Proposal::new(genotype, Origin::default()), Some(vec![loss])))?;
        }
        let ask = Ask::alone(300, &[]);
        for what in ["pre-training, a fit and a round of moves", "a round of moves"] {
            let start = Instant::now();
            let proposals = strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(2))?;
            let moves = proposals.iter().filter(|proposal| proposal.origin.by.ends_with("/move")).count();
            println!("{name}: {what}: {:.2} s, {moves} moves of {}", start.elapsed().as_secs_f64(), proposals.len());
        }
    }
    Ok(())
}

fn table(file: &str, column: &str, seeds: u64, settings: &[&str]) -> Outcome<()> {
    let table =
        Table { file: PathBuf::from(file), objective: Columns::One(column.to_owned()), report: vec![], ..Table::default() };
    let evaluator = table.build(1)?;
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    println!("| settings | known | pairwise | τ | exact | Hamming | epochs | seconds |\n|---|---|---|---|---|---|---|---|");
    for text in settings {
        let parsed = match text.strip_prefix("nao:") {
            Some(keys) => serde_json::from_str::<Nao>(keys)?.0,
            None => serde_json::from_str::<NaoPlus>(text)?.0,
        };
        for known in KNOWN {
            let mut sums = [0.0; 6];
            for seed in 0..seeds {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut cells: Vec<usize> = (0..15_625).collect();
                let mut drawn = Vec::with_capacity(known + HELD_OUT);
                for _ in 0..known + HELD_OUT {
                    let genotype = Cell::at(cells.swap_remove(rng.random_range(0..cells.len()))).genotype();
                    let mut alone = Alone { seed, fidelity: 1.0, cancel: Cancel::new() };
                    let loss = evaluator.evaluate(&genotype, &mut alone)?.losses.first().copied().unwrap_or(f64::INFINITY);
                    drawn.push((genotype, loss));
                }
                let (held_out, learnt) = drawn.split_at(HELD_OUT);
                let start = Instant::now();
                let said = probe(&parsed, space.clone(), learnt, held_out, seed)?;
                let figures = [said.pairwise, said.tau, said.exact, said.hamming, said.epochs, start.elapsed().as_secs_f64()];
                sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure / seeds as f64);
            }
            let [pairwise, tau, exact, hamming, epochs, seconds] = sums;
            println!("| {text} | {known} | {pairwise:.3} | {tau:.3} | {exact:.3} | {hamming:.2} | {epochs:.0} | {seconds:.2} |");
        }
    }
    Ok(())
}

fn search(file: &str, [column, report]: [&str; 2], seeds: u64, queries: usize, strategies: &[&str]) -> Outcome<()> {
    let (objective, report_columns) = (Columns::One(column.to_owned()), vec![report.to_owned()]);
    let table = Table { file: PathBuf::from(file), objective, report: report_columns, ..Table::default() };
    let evaluator = table.build(1)?;
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let at: Vec<usize> = AT.into_iter().filter(|at| *at <= queries).collect();
    println!("{report} of the best by {column} at {at:?} queries, {seeds} seeds");
    for text in strategies {
        let config: Box<dyn StrategyConfig> = serde_json::from_str(text)?;
        let start = Instant::now();
        let run = |seed| {
            let trials = one(config.as_ref(), evaluator.as_ref(), &space, seed, queries)?;
            let best = |at: usize| {
                let first = trials.iter().take(at).filter_map(|trial| Some((trial.loss()?, trial)));
                first.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, trial)| trial)
            };
            let figures: Vec<f64> =
                at.iter().map(|&at| best(at).and_then(|trial| trial.metrics.get(report)).copied().unwrap_or(f64::NAN)).collect();
            Ok((figures, best(queries).is_some_and(|trial| trial.origin.by.ends_with("/move"))))
        };
        let runs = (0..seeds).into_par_iter().map(run).collect::<Outcome<Vec<(Vec<f64>, bool)>>>()?;
        let spread = |index: usize| {
            let figures: Vec<f64> = runs.iter().filter_map(|(figures, _)| figures.get(index).copied()).collect();
            let mean = figures.iter().sum::<f64>() / figures.len() as f64;
            let square = figures.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (figures.len() as f64 - 1.0).max(1.0);
            format!("{mean:.2}±{:.2}", square.sqrt())
        };
        let cells: Vec<String> = (0..at.len()).map(spread).collect();
        let moved = runs.iter().filter(|(_, moved)| *moved).count();
        println!("| {text} | {} | {moved} moves | {:.0} s |", cells.join(" | "), start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// One run, without a lag.
fn one(
    config: &dyn StrategyConfig,
    evaluator: &dyn Evaluator,
    space: &Arc<dyn SearchSpace>,
    seed: u64,
    queries: usize,
) -> Outcome<Vec<Trial>> {
    let mut strategy = config.build(space.clone(), &evaluator.objectives())?;
    let mut trials: Vec<Trial> = Vec::with_capacity(queries);
    while trials.len() < queries {
        let id = trials.len() as u64;
        let ask = Ask::alone(id, &[]);
        for proposal in strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(seed_of(seed, "ask", id)))? {
            let mut alone = Alone { seed, fidelity: 1.0, cancel: Cancel::new() };
            let evaluation = evaluator.evaluate(&proposal.genotype, &mut alone)?;
            let told = Trial::told(trials.len() as u64, proposal, Some(evaluation.losses));
            let told = Trial { metrics: evaluation.metrics, ..told };
            strategy.tell(&told)?;
            trials.push(told);
        }
    }
    Ok(trials)
}
