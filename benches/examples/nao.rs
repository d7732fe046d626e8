//! What the networks of `nao` know, what they take and what they find, on tabular benchmarks.
//!
//! ```text
//! cargo run --release -p benches --example nao -- speed
//! cargo run --release -p benches --example nao -- probe nb201.csv.gz c10_val12 50,100,200 20 'nao={"type": "nao"}' '{"type": "nao_plus"}' > probe.jsonl
//! cargo run --release -p benches --example nao -- search nb201.csv.gz c10_val12 c10_test200 20 150 \
//!   'random={"type": "random"}' 'RE(30, 10)={"type": "regularized_evolution", "population": 30, "sample": 10}' \
//!   'nao_plus={"type": "nao_plus"}' > search.jsonl
//! cargo run --release -p benches --example nao -- pipelines DATA/tabular monk1,pima 5 200 'random={"type": "random"}' 'nao={"type": "nao"}' \
//!   > pipelines.jsonl
//! cargo run --release -p benches --example nao -- join probe.jsonl search.jsonl pipelines.jsonl
//! ```
//!
//! `speed` times a fit to 300 cells of NAS-Bench-201 and a round of moves. `probe` fits to some numbers of random candidates and asks
//! about 200 others. `search` runs strategies on one column and tells another one of the best so far. `pipelines` searches the
//! pipelines of tables, judged on a third of the rows, and tells the loss of the best. Each of the three writes a line of JSON a
//! run, and `join` makes tables of such lines, from however many files: so the seeds of a table can be shared out, and the table
//! is the same.
//!
//! A table has mean ± standard deviation; of a search, in brackets in what share of the runs it is the best of all (NAS-Bench-201 and
//! NAS-Bench-Macro) and in what share it was a move, then the mean of the column itself; of pipelines, the mean rank over all tables
//! and seeds. A strategy is its config, with a name before it where it should have one. Seeds are a number, from 0, or a range
//! `1000..1020`. The name of a file says what it is: `nb201`, `ecnas` or `nas_bench_macro`; with `merged:` before it the cells of
//! NAS-Bench-201 that compute the same function are one candidate. `c10_val12` and `c10_test200` of
//! NAS-Bench-201 are in percent.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
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
use automl_nas::nao::{Probe, Settings, probe};
use automl_nas::table::{Columns, Repeats};
use automl_nas::{Cell, Nao, NaoPlus, NasBench101, NasBench201, NasBenchMacro, Table};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

// Links the strategies of the crate, so that configs can name them.
use automl_search as _;
// And the operators of pipelines.
use automl_ops as _;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Queries at which a search is looked at.
const AT: [usize; 5] = [50, 100, 150, 300, 500];
/// Candidates that are held out.
const HELD_OUT: usize = 200;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed"] => speed(),
        ["probe", file, column, known, seeds, strategies @ ..] => {
            let known = known.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
            knowledge(file, column, &known, range(seeds)?, strategies)
        }
        ["search", file, column, report, seeds, queries, strategies @ ..] => {
            search(file, [column, report], range(seeds)?, queries.parse()?, strategies)
        }
        ["pipelines", folder, sets, seeds, trials, strategies @ ..] => {
            pipelines(folder, sets, range(seeds)?, trials.parse()?, strategies)
        }
        ["join", files @ ..] if !files.is_empty() => join(files),
        _ => Err(
            "say `speed`, `probe TABLE COLUMN KNOWN SEEDS STRATEGIES…`, `search TABLE COLUMN REPORT SEEDS QUERIES STRATEGIES…`, \
                  `pipelines FOLDER SETS SEEDS TRIALS STRATEGIES…` or `join FILES…`"
                .into(),
        ),
    }
}

/// What one run came to: a line of output.
#[derive(Serialize, Deserialize)]
struct Run {
    /// What was done, on which data.
    task: String,
    strategy: String,
    seed: u64,
    seconds: f64,
    figures: Figures,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Figures {
    Probe(Vec<Known>),
    Search(Vec<Found>),
    /// The loss of the best.
    Pipelines(f64),
}

/// What is known after so many candidates.
#[derive(Serialize, Deserialize)]
struct Known {
    known: usize,
    pairwise: f64,
    tau: f64,
    exact: f64,
    hamming: f64,
    passes: f64,
}

impl Known {
    fn all(&self) -> [f64; 5] {
        [self.pairwise, self.tau, self.exact, self.hamming, self.passes]
    }
}

/// The best after so many queries.
#[derive(Serialize, Deserialize)]
struct Found {
    at: usize,
    report: f64,
    own: f64,
    optimal: bool,
    moved: bool,
}

/// A strategy with its name, `NAME={…}`, or its config as its name.
fn named(text: &str) -> (&str, &str) {
    text.split_once("={").map_or((text, text), |(name, _)| (name, &text[name.len() + 1..]))
}

/// Runs what is to be run for each strategy and seed, and writes a line each.
fn write_runs(
    task: &str,
    seeds: Range<u64>,
    strategies: &[&str],
    run: impl Fn(&str, u64) -> Outcome<Figures> + Sync,
) -> Outcome<()> {
    let jobs: Vec<(&str, u64)> = strategies.iter().flat_map(|text| seeds.clone().map(move |seed| (*text, seed))).collect();
    jobs.into_par_iter().try_for_each(|(text, seed)| {
        let (name, config) = named(text);
        let start = Instant::now();
        let figures = run(config, seed)?;
        let (task, strategy, seconds) = (task.to_owned(), name.to_owned(), start.elapsed().as_secs_f64());
        let line = serde_json::to_string(&Run { task, strategy, seed, seconds, figures })?;
        // Written at once, so that a run that is cut short leaves what it did.
        Ok(writeln!(std::io::stdout().lock(), "{line}")?)
    })
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
    let (file, merge_isomorphic) = file.strip_prefix("merged:").map_or((file, false), |file| (file, true));
    let name = stem(file);
    let table = Table {
        file: file.into(),
        objective: Columns::One(column.to_owned()),
        report: report.iter().map(|name| (*name).to_owned()).collect(),
        space: Arc::new(NasBench201 { merge_isomorphic }),
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

fn knowledge(file: &str, column: &str, known: &[usize], seeds: Range<u64>, strategies: &[&str]) -> Outcome<()> {
    let (evaluator, space) = opened(file, column, &[])?;
    let run = |config: &str, seed| {
        let settings = match serde_json::from_str::<Typed>(config)? {
            Typed::Nao(Nao(settings)) | Typed::NaoPlus(NaoPlus(settings)) => settings,
        };
        let know = |&known: &usize| {
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
            let Probe { pairwise, tau, exact, hamming, epochs: passes } =
                probe(&settings, space.clone(), learnt, held_out, seed)?;
            Ok(Known { known, pairwise, tau, exact, hamming, passes })
        };
        Ok(Figures::Probe(known.iter().map(know).collect::<Outcome<_>>()?))
    };
    write_runs(&format!("{}, {column}", title(file)), seeds, strategies, run)
}

/// The configs that have networks.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Typed {
    Nao(Nao),
    NaoPlus(NaoPlus),
}

/// The name of a file without folder and endings, with what stands before it.
fn title(file: &str) -> String {
    let (before, file) = file.split_once(':').unwrap_or(("", file));
    format!("{before}{}{}", if before.is_empty() { "" } else { " " }, stem(file))
}

fn stem(file: &str) -> &str {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn search(file: &str, [column, report]: [&str; 2], seeds: Range<u64>, queries: usize, strategies: &[&str]) -> Outcome<()> {
    let (evaluator, space) = opened(file, column, &[report])?;
    let all: Vec<Genotype> = match stem(file.trim_start_matches("merged:")) {
        "nb201" => (0..15_625).map(|index| Cell::at(index).genotype()).collect(),
        name if name.starts_with("nas_bench_macro") => {
            let digits = |index: usize| {
                (0..8_u32).map(|place| char::from(b'0' + (index / 3_usize.pow(place) % 3) as u8)).collect::<String>()
            };
            (0..6_561).map(|index| space.parse(&digits(index))).collect::<automl_core::Result<_>>()?
        }
        _ => Vec::new(),
    };
    let figure = |evaluation: Evaluation| evaluation.metrics.get(report).copied();
    let best_of_all = all.iter().filter_map(|genotype| figure(evaluated(evaluator.as_ref(), genotype, 0)?)).reduce(f64::max);
    let run = |config: &str, seed| {
        let config: Box<dyn StrategyConfig> = serde_json::from_str(config)?;
        let trials = one(config.as_ref(), evaluator.as_ref(), &space, seed, queries)?;
        let best = |at: usize| {
            let first = trials.iter().take(at).filter_map(|trial| Some((trial.loss()?, trial)));
            let best = first.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, trial)| trial);
            let of = |name| best.and_then(|trial| trial.metrics.get(name)).copied().unwrap_or(f64::NAN);
            let optimal = best_of_all.is_some_and(|best| of(report) >= best);
            let moved = best.is_some_and(|trial| trial.origin.by.ends_with("/move"));
            Found { at, report: of(report), own: of(column), optimal, moved }
        };
        Ok(Figures::Search(AT.into_iter().filter(|at| *at <= queries).map(best).collect()))
    };
    write_runs(&format!("{}, {report} of the best by {column}", title(file)), seeds, strategies, run)
}

fn pipelines(folder: &str, sets: &str, seeds: Range<u64>, trials: u64, strategies: &[&str]) -> Outcome<()> {
    let tasks = std::fs::read_to_string(Path::new(folder).join("tasks.csv"))?;
    let target = |set: &str| tasks.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(',')?.split(',').nth(1));
    for set in sets.split(',') {
        let target = target(set).ok_or("tasks.csv lacks a table")?;
        let train = Path::new(folder).join(set).join("train.csv");
        let config = serde_json::json!({ "type": "tabular", "train": train, "target": target, "validation": { "type": "holdout", "fraction": 0.33 } });
        let config: Box<dyn EvaluatorConfig> = serde_json::from_value(config)?;
        let (evaluator, space) = (config.build(1)?, config.space()?.ok_or("the table has no space")?);
        let run = |config: &str, seed| {
            let strategy: Box<dyn StrategyConfig> = serde_json::from_str(config)?;
            let mut study = Study::new(space.clone(), strategy.build(space.clone(), &evaluator.objectives())?, evaluator.clone());
            study.seed = seed;
            study.budget.trials = Some(trials);
            Ok(Figures::Pipelines(study.run(&Cancel::new())?.trials.iter().filter_map(Trial::loss).fold(f64::INFINITY, f64::min)))
        };
        write_runs(set, seeds.clone(), strategies, run)?;
    }
    Ok(())
}

/// A strategy with its runs.
type Row<'a> = (&'a str, Vec<&'a Run>);

/// Tables of what was written, one for each task; of pipelines, one for all.
fn join(files: &[&str]) -> Outcome<()> {
    let mut runs: Vec<Run> = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file)?.lines() {
            runs.push(serde_json::from_str(line)?);
        }
    }
    // In the order of the seeds, so that sums do not depend on which file a run is in.
    runs.sort_by_key(|run| run.seed);
    let mut strategies: Vec<&str> = runs.iter().map(|run| run.strategy.as_str()).collect();
    strategies.sort_unstable();
    strategies.dedup();
    let tasks: BTreeSet<&str> = runs.iter().map(|run| run.task.as_str()).collect();
    let mut of_pipelines = Vec::new();
    for task in tasks {
        let own = |strategy: &&str| runs.iter().filter(|run| run.task == task && run.strategy == *strategy).collect::<Vec<_>>();
        let rows: Vec<Row> =
            strategies.iter().map(|strategy| (*strategy, own(strategy))).filter(|row| !row.1.is_empty()).collect();
        match rows.first().and_then(|(_, runs)| runs.first()).map(|run| &run.figures) {
            Some(Figures::Probe(_)) => print_probe(task, &rows),
            Some(Figures::Search(_)) => print_search(task, &rows),
            Some(Figures::Pipelines(_)) => of_pipelines.push((task, rows)),
            None => {}
        }
    }
    if !of_pipelines.is_empty() {
        let has = |strategy: &&str| of_pipelines.iter().flat_map(|(_, rows)| rows).any(|row| row.0 == *strategy);
        strategies.retain(has);
        print_pipelines(&strategies, &of_pipelines);
    }
    Ok(())
}

fn shown(figures: &[f64], digits: usize) -> String {
    let [mean, spread] = mean_and_spread(figures);
    format!("{mean:.digits$}±{spread:.digits$}")
}

fn seconds(runs: &[&Run]) -> f64 {
    mean_and_spread(&runs.iter().map(|run| run.seconds).collect::<Vec<_>>())[0]
}

fn print_probe(task: &str, rows: &[Row]) {
    println!("\n{task}\n\n| | known | pairwise | τ | exact | Hamming | passes | seeds |\n|---|---|---|---|---|---|---|---|");
    for (strategy, runs) in rows {
        let all = |run: &&Run| {
            if let Figures::Probe(known) = &run.figures {
                known.iter().map(|figures| (figures.known, figures.all())).collect()
            } else {
                Vec::new()
            }
        };
        let mut by_known: BTreeMap<usize, Vec<[f64; 5]>> = BTreeMap::new();
        runs.iter().flat_map(all).for_each(|(known, figures)| by_known.entry(known).or_default().push(figures));
        for (known, all) in by_known {
            let of = |index: usize| all.iter().map(|figures| figures[index]).collect::<Vec<_>>();
            let figures = [
                shown(&of(0), 3),
                shown(&of(1), 3),
                shown(&of(2), 3),
                shown(&of(3), 2),
                format!("{:.0}", mean_and_spread(&of(4))[0]),
            ];
            println!("| {strategy} | {known} | {} | {} |", figures.join(" | "), all.len());
        }
    }
}

fn print_search(task: &str, rows: &[Row]) {
    let at: Vec<String> = AT.iter().map(usize::to_string).collect();
    println!(
        "\n{task} (share at the optimum; share of moves)\n\n| | {} | the column itself | seconds | seeds |\n|{}",
        at.join(" | "),
        "---|".repeat(at.len() + 4)
    );
    for (strategy, runs) in rows {
        let found = |at: usize| {
            let all = |run: &&Run| match &run.figures {
                Figures::Search(found) => found
                    .iter()
                    .find(|found| found.at == at)
                    .map(|f| [f.report, f.own, f64::from(u8::from(f.optimal)), f64::from(u8::from(f.moved))]),
                _ => None,
            };
            let all: Vec<[f64; 4]> = runs.iter().filter_map(all).collect();
            // Shares of accuracies are told in percent, too.
            let unit = if all.iter().all(|figures| figures[0].abs() <= 1.0) { 100.0 } else { 1.0 };
            let of = |index: usize, unit: f64| all.iter().map(|figures| unit * figures[index]).collect::<Vec<_>>();
            let share = |index: usize| mean_and_spread(&of(index, 100.0))[0];
            match all.is_empty() {
                true => ["-".to_owned(), "-".to_owned()],
                false => [
                    format!("{} ({:.0} %; {:.0} %)", shown(&of(0, unit), 2), share(2), share(3)),
                    format!("{:.2}", mean_and_spread(&of(1, unit))[0]),
                ],
            }
        };
        let cells: Vec<[String; 2]> = AT.into_iter().map(found).collect();
        let all = |index: usize| cells.iter().map(|cell| cell[index].as_str()).collect::<Vec<_>>();
        println!("| {strategy} | {} | {} | {:.1} | {} |", all(0).join(" | "), all(1).join(" "), seconds(runs), runs.len());
    }
}

fn print_pipelines(strategies: &[&str], tasks: &[(&str, Vec<Row>)]) {
    println!("\nloss of the best\n\n| table | {} | seeds |\n|{}", strategies.join(" | "), "---|".repeat(strategies.len() + 2));
    let mut ranks = vec![Vec::new(); strategies.len()];
    for (task, rows) in tasks {
        let loss = |strategy: &str, seed: u64| {
            let run = rows.iter().find(|row| row.0 == strategy)?.1.iter().find(|run| run.seed == seed)?;
            if let Figures::Pipelines(loss) = run.figures { Some(loss) } else { None }
        };
        let seeds: BTreeSet<u64> = rows.iter().flat_map(|row| row.1.iter().map(|run| run.seed)).collect();
        // Seeds that all strategies have.
        let complete = |&seed: &u64| strategies.iter().map(|strategy| loss(strategy, seed)).collect::<Option<Vec<f64>>>();
        let complete: Vec<Vec<f64>> = seeds.iter().filter_map(complete).collect();
        for seed in &complete {
            for (own, ranks) in seed.iter().zip(&mut ranks) {
                let [better, ties] = [f64::lt, f64::eq].map(|of| seed.iter().filter(|other| of(other, own)).count() as f64);
                ranks.push(better + (ties + 1.0) / 2.0);
            }
        }
        let cell = |index: usize| {
            let taken = rows.iter().find(|row| row.0 == strategies[index]).map_or(f64::NAN, |row| seconds(&row.1));
            format!("{} ({taken:.0} s)", shown(&complete.iter().map(|seed| seed[index]).collect::<Vec<_>>(), 4))
        };
        println!("| {task} | {} | {} |", (0..strategies.len()).map(cell).collect::<Vec<_>>().join(" | "), complete.len());
    }
    let ranks: Vec<String> = ranks.iter().map(|ranks| format!("{:.2}", mean_and_spread(ranks)[0])).collect();
    println!("| mean rank | {} | |", ranks.join(" | "));
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
