//! What the networks of `nao` know, what they take and what they find, on tabular benchmarks.
//!
//! ```text
//! cargo run --release -p benches --example nao -- speed
//! cargo run --release -p benches --example nao -- probe nb201.csv.gz c10_val12 20 'nao:{}' '{}' '{"pretrain": 0}'
//! cargo run --release -p benches --example nao -- search nb201.csv.gz c10_val12 c10_test200 20 150 \
//!   '{"type": "random"}' '{"type": "regularized_evolution", "population": 30, "sample": 10}' '{"type": "nao_plus"}'
//! cargo run --release -p benches --example nao -- pipelines DATA/tabular monk1,pima 5 200 '{"type": "random"}' '{"type": "nao"}'
//! ```
//!
//! `speed` times a fit to 300 cells of NAS-Bench-201 and a round of moves. `probe` fits to 50 to 550 random candidates and asks
//! about 200 others, for each of the settings of `nao_plus` (`nao:` before them for `nao`'s, `{"preset": "cnn"}` and the like for
//! those of the paper). `search` runs strategies on one column and tells another one of the best so far: mean ± standard deviation,
//! in what share of the runs it is the best of all (NAS-Bench-201 alone), and in what share it was a move; then the mean of the
//! column itself. `pipelines` searches the pipelines of tables, cross-validated in three folds, and tells the loss of the best, and the
//! mean rank of the strategies over all tables and seeds. Seeds are a number, from 0, or a range `1000..1020`. The name of a file says what it is: `nb201`, `ecnas` or
//! `nas_bench_macro`. `c10_val12` and `c10_test200` of NAS-Bench-201 are in percent.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use automl_core::rand::SeedableRng;
use automl_core::space::sample;
use automl_core::study::seed_of;
use automl_core::{
    Alone, Ask, Cancel, Evaluation, Evaluator, EvaluatorConfig, Genotype, Origin, Proposal, SearchSpace, StrategyConfig, Study,
    Trial,
};
use automl_nas::nao::{Settings, probe};
use automl_nas::table::{Columns, Repeats};
use automl_nas::{Cell, Nao, NaoPlus, NasBench101, NasBench201, NasBenchMacro, Table};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

// Links the strategies of the crate, so that configs can name them.
use automl_search as _;
// And the operators of pipelines.
use automl_ops as _;

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
        ["probe", file, column, seeds, settings @ ..] => table(file, column, range(seeds)?, settings),
        ["search", file, column, report, seeds, queries, strategies @ ..] => {
            search(file, [column, report], range(seeds)?, queries.parse()?, strategies)
        }
        ["pipelines", folder, sets, seeds, trials, strategies @ ..] => {
            pipelines(folder, sets, range(seeds)?, trials.parse()?, strategies)
        }
        _ => {
            Err("say `speed`, `pipelines FOLDER SETS SEEDS TRIALS STRATEGIES…`, `search TABLE COLUMN REPORT SEEDS QUERIES STRATEGIES…`, or `probe TABLE COLUMN SEEDS SETTINGS…`"
                .into())
        }
    }
}

fn range(seeds: &str) -> Outcome<Range<u64>> {
    Ok(match seeds.split_once("..") {
        Some((from, to)) => from.parse()?..to.parse()?,
        None => 0..seeds.parse()?,
    })
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
            let genotype = sample(space.as_ref(), &mut rng)?;
            strategy.tell(&Trial::told(
                id,
                Proposal::new(genotype.clone(), Origin::default()),
                Some(vec![made_up(&genotype)?]),
            ))?;
        }
        let ask = Ask::alone(300, &[]);
        for what in ["pre-training, a fit and a round of moves", "a round of moves"] {
            let start = Instant::now();
            let proposals = strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(2))?;
            let moves = proposals.iter().filter(|proposal| proposal.origin.by.ends_with("/move")).count();
            println!("{name}: {what}: {:.2} s, {moves} moves of {}", start.elapsed().as_secs_f64(), proposals.len());
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut drawn = Vec::new();
    for _ in 0..300 {
        let genotype = sample(space.as_ref(), &mut rng)?;
        drawn.push((genotype.clone(), made_up(&genotype)?));
    }
    for (name, settings) in [("nao", Settings::default()), ("nao_plus", Settings::plus())] {
        println!("{name}: a fit takes {:.0} passes", probe(&settings, space.clone(), &drawn, &[], 1)?.epochs);
    }
    Ok(())
}

/// Any loss that depends on the cell.
fn made_up(genotype: &Genotype) -> Outcome<f64> {
    let operators = Cell::of(genotype)?.operators().into_iter().enumerate();
    Ok(operators.map(|(edge, name)| (edge + name.len()) as f64 % 7.0).sum())
}

/// The benchmark that a file is, with its space.
fn opened(file: &str, column: &str, report: &[&str]) -> Outcome<(Arc<dyn Evaluator>, Arc<dyn SearchSpace>)> {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let table = Table {
        file: file.into(),
        objective: Columns::One(column.to_owned()),
        report: report.iter().map(|name| (*name).to_owned()).collect(),
        space: Arc::new(NasBench201 { merge_isomorphic: false }),
        ..Table::default()
    };
    let key = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let table = if name.starts_with("ecnas") {
        let space = Arc::new(NasBench101 { max_vertices: 5, ..NasBench101::default() });
        Table { space, key: key(&["matrix", "labels"]), repeats: Repeats::Mean, ..table }
    } else if name.starts_with("nas_bench_macro") {
        Table { space: Arc::new(NasBenchMacro { merge_isomorphic: false }), key: key(&["arch"]), ..table }
    } else {
        table
    };
    Ok((table.build(1)?, table.space))
}

fn evaluated(evaluator: &dyn Evaluator, genotype: &Genotype, seed: u64) -> Option<Evaluation> {
    evaluator.evaluate(genotype, &mut Alone { seed, fidelity: 1.0, cancel: Cancel::new() }).ok()
}

fn mean_and_spread(figures: &[f64]) -> [f64; 2] {
    let mean = figures.iter().sum::<f64>() / figures.len() as f64;
    let square = figures.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (figures.len() as f64 - 1.0).max(1.0);
    [mean, square.sqrt()]
}

fn table(file: &str, column: &str, seeds: Range<u64>, settings: &[&str]) -> Outcome<()> {
    let (evaluator, space) = opened(file, column, &[])?;
    println!("| settings | known | pairwise | τ | exact | Hamming | epochs | seconds |\n|---|---|---|---|---|---|---|---|");
    for text in settings {
        let parsed = match text.strip_prefix("nao:") {
            Some(keys) => serde_json::from_str::<Nao>(keys)?.0,
            None => serde_json::from_str::<NaoPlus>(text)?.0,
        };
        for known in KNOWN {
            let run = |seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let (mut drawn, mut hashes) = (Vec::with_capacity(known + HELD_OUT), BTreeSet::new());
                while drawn.len() < known + HELD_OUT {
                    let genotype = sample(space.as_ref(), &mut rng)?;
                    if hashes.insert(space.canonical_hash(&genotype))
                        && let Some(evaluation) = evaluated(evaluator.as_ref(), &genotype, seed)
                    {
                        drawn.push((genotype, evaluation.losses.first().copied().unwrap_or(f64::INFINITY)));
                    }
                }
                let (held_out, learnt) = drawn.split_at(HELD_OUT);
                let start = Instant::now();
                let said = probe(&parsed, space.clone(), learnt, held_out, seed)?;
                Ok([said.pairwise, said.tau, said.exact, said.hamming, said.epochs, start.elapsed().as_secs_f64()])
            };
            let runs = seeds.clone().into_par_iter().map(run).collect::<Outcome<Vec<_>>>()?;
            let of = |index: usize| mean_and_spread(&runs.iter().map(|figures| figures[index]).collect::<Vec<_>>());
            let shown = |index: usize, digits: usize| {
                let [mean, spread] = of(index);
                format!("{mean:.digits$}±{spread:.digits$}")
            };
            let figures =
                [shown(0, 3), shown(1, 3), shown(2, 3), shown(3, 2), format!("{:.0}", of(4)[0]), format!("{:.1}", of(5)[0])];
            println!("| {text} | {known} | {} |", figures.join(" | "));
        }
    }
    Ok(())
}

fn search(file: &str, [column, report]: [&str; 2], seeds: Range<u64>, queries: usize, strategies: &[&str]) -> Outcome<()> {
    let (evaluator, space) = opened(file, column, &[report])?;
    let figure = |evaluation: Evaluation| evaluation.metrics.get(report).copied();
    let cells = if file.contains("nb201") { 15_625 } else { 0 };
    let all = (0..cells).filter_map(|index| figure(evaluated(evaluator.as_ref(), &Cell::at(index).genotype(), 0)?));
    let best_of_all = all.fold(f64::NEG_INFINITY, f64::max);
    let at: Vec<usize> = AT.into_iter().filter(|at| *at <= queries).collect();
    println!("{report} of the best by {column} (share at the optimum; share of moves), {seeds:?}");
    println!("| strategy | {} | {column} | CPU s |", at.iter().map(usize::to_string).collect::<Vec<_>>().join(" | "));
    for text in strategies {
        let config: Box<dyn StrategyConfig> = serde_json::from_str(text)?;
        let start = cpu_time::ProcessTime::now();
        let run = |seed| {
            let trials = one(config.as_ref(), evaluator.as_ref(), &space, seed, queries)?;
            let best = |at: usize| {
                let first = trials.iter().take(at).filter_map(|trial| Some((trial.loss()?, trial)));
                let best = first.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, trial)| trial);
                let of = |name| best.and_then(|trial| trial.metrics.get(name)).copied().unwrap_or(f64::NAN);
                let optimal = f64::from(u8::from(best_of_all.is_finite() && of(report) >= best_of_all));
                let moved = f64::from(u8::from(best.is_some_and(|trial| trial.origin.by.ends_with("/move"))));
                [of(report), optimal, moved, of(column)]
            };
            Ok(at.iter().map(|&at| best(at)).collect())
        };
        let runs = seeds.clone().into_par_iter().map(run).collect::<Outcome<Vec<Vec<[f64; 4]>>>>()?;
        let figures = |index: usize, of: usize| {
            mean_and_spread(&runs.iter().filter_map(|run| run.get(index).map(|figures| figures[of])).collect::<Vec<_>>())
        };
        let share = |index: usize, of: usize| 100.0 * figures(index, of)[0];
        // Shares of accuracies are told in percent, too.
        let unit = if figures(0, 0)[0].abs() <= 1.0 { 100.0 } else { 1.0 };
        let cell = |index: usize| {
            let [mean, spread] = figures(index, 0);
            format!("{:.2}±{:.2} ({:.0} %; {:.0} %)", unit * mean, unit * spread, share(index, 1), share(index, 2))
        };
        let cells: Vec<String> = (0..at.len()).map(cell).collect();
        let own: Vec<String> = (0..at.len()).map(|index| format!("{:.2}", unit * figures(index, 3)[0])).collect();
        println!("| {text} | {} | {} | {:.0} |", cells.join(" | "), own.join(" "), start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn pipelines(folder: &str, sets: &str, seeds: Range<u64>, trials: u64, strategies: &[&str]) -> Outcome<()> {
    let tasks = std::fs::read_to_string(Path::new(folder).join("tasks.csv"))?;
    let target = |set: &str| tasks.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(',')?.split(',').nth(1));
    println!("| table | {} |", strategies.join(" | "));
    let mut ranks = vec![Vec::new(); strategies.len()];
    for set in sets.split(',') {
        let target = target(set).ok_or("tasks.csv lacks a table")?;
        let train = Path::new(folder).join(set).join("train.csv");
        let config = serde_json::json!({ "type": "tabular", "train": train, "target": target, "validation": { "type": "kfold", "folds": 3 } });
        let config: Box<dyn EvaluatorConfig> = serde_json::from_value(config)?;
        let (evaluator, space) = (config.build(1)?, config.space()?.ok_or("the table has no space")?);
        let run = |(seed, text): (u64, &&str)| {
            let strategy: Box<dyn StrategyConfig> = serde_json::from_str(text)?;
            let start = Instant::now();
            let mut study = Study::new(space.clone(), strategy.build(space.clone(), &evaluator.objectives())?, evaluator.clone());
            study.seed = seed;
            study.budget.trials = Some(trials);
            let best = study.run(&Cancel::new())?.trials.iter().filter_map(Trial::loss).fold(f64::INFINITY, f64::min);
            Ok([best, start.elapsed().as_secs_f64()])
        };
        let jobs: Vec<(u64, &&str)> = seeds.clone().flat_map(|seed| strategies.iter().map(move |text| (seed, text))).collect();
        let done = jobs.into_par_iter().map(run).collect::<Outcome<Vec<[f64; 2]>>>()?;
        for seed in done.chunks(strategies.len().max(1)) {
            for (own, ranks) in seed.iter().zip(&mut ranks) {
                let [better, ties] =
                    [f64::lt, f64::eq].map(|of| seed.iter().filter(|other| of(&other[0], &own[0])).count() as f64);
                ranks.push(better + (ties + 1.0) / 2.0);
            }
        }
        let cell = |index: usize| {
            let of = |figure: usize| done.iter().skip(index).step_by(strategies.len()).map(|run| run[figure]).collect::<Vec<_>>();
            let ([mean, spread], [seconds, _]) = (mean_and_spread(&of(0)), mean_and_spread(&of(1)));
            format!("{mean:.4}±{spread:.4} ({seconds:.0} s)")
        };
        println!("| {set} | {} |", (0..strategies.len()).map(cell).collect::<Vec<_>>().join(" | "));
    }
    let ranks: Vec<String> = ranks.iter().map(|ranks| format!("{:.2}", mean_and_spread(ranks)[0])).collect();
    println!("| mean rank | {} |", ranks.join(" | "));
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
            // What the table lacks is a query all the same.
            let evaluation = evaluated(evaluator, &proposal.genotype, seed);
            let losses = evaluation.as_ref().map(|evaluation| evaluation.losses.clone());
            let told = Trial::told(trials.len() as u64, proposal, losses);
            let told = Trial { metrics: evaluation.unwrap_or_default().metrics, ..told };
            strategy.tell(&told)?;
            trials.push(told);
        }
    }
    Ok(trials)
}
