//! What the networks of `nao` know and what they take, on a tabular benchmark.
//!
//! ```text
//! cargo run --release -p benches --example nao -- speed
//! cargo run --release -p benches --example nao -- probe nb201.csv.gz c10_val12 20 '{}' '{"pretrain": 1000}'
//! ```
//!
//! `speed` times a fit to 300 cells of NAS-Bench-201 and a round of moves. `probe` fits to 50 to 550 random cells and asks about
//! 200 others, for each of the settings of `nao_plus` (`{"preset": "cnn"}` and the like for those of the paper; `nao:` before
//! them for `nao`'s), in the mean over some seeds.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use automl_core::rand::{RngExt, SeedableRng};
use automl_core::{Alone, Ask, Cancel, EvaluatorConfig, Genotype, Prices, SearchSpace, State, StrategyConfig, Trial};
use automl_nas::nao::{Settings, probe};
use automl_nas::table::Columns;
use automl_nas::{Cell, Nao, NaoPlus, NasBench201, Table};
use rand_chacha::ChaCha8Rng;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Numbers of candidates to learn from.
const KNOWN: [usize; 5] = [50, 100, 200, 400, 550];
/// Candidates that are held out.
const HELD_OUT: usize = 200;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed"] => speed(),
        ["probe", file, column, seeds, settings @ ..] => table(file, column, seeds.parse()?, settings),
        _ => Err("say `speed`, or `probe TABLE COLUMN SEEDS SETTINGS…`".into()),
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
            strategy.tell(&trial(id, genotype, loss))?;
        }
        let ask = Ask { trial: 300, pending: &[], prices: Prices::default() };
        for what in ["pre-training, a fit and a round of moves", "a round of moves"] {
            let start = Instant::now();
            let proposals = strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(2))?;
            let moves = proposals.iter().filter(|proposal| proposal.origin.by.ends_with("/move")).count();
            println!("{name}: {what}: {:.2} s, {moves} moves of {}", start.elapsed().as_secs_f64(), proposals.len());
        }
    }
    Ok(())
}

fn trial(id: u64, genotype: Genotype, loss: f64) -> Trial {
    Trial {
        id,
        state: State::Complete,
        losses: vec![loss],
        metrics: Default::default(),
        genotype,
        origin: Default::default(),
        fidelity: 1.0,
        steps: Vec::new(),
        duplicate_of: None,
        reason: None,
        seconds: 0.0,
    }
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
