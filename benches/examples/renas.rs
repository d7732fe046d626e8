//! What a learnt mutation is worth: `renas` and `renas_plus` beside the same evolution with random mutations, on NAS-Bench-201.
//!
//! ```text
//! cargo run --release -p benches --example renas -- speed [TRIALS]
//! cargo run --release -p benches --example renas -- NB201.csv.gz SEARCH REPORT SEEDS QUERIES [NAME=JSON …]
//! ```
//!
//! `SEARCH` and `REPORT` are columns, such as `c10_val12` and `c10_test200`. Each strategy is a line: the figure in `REPORT` of the best
//! candidate by `SEARCH` after 50, 100, … queries, mean and standard deviation over the seeds; then how many children were
//! better than their parents and how many nats of entropy a mutation had, in three parts of the search. `JSON` is the config of a
//! strategy, to try others than those listed here; `TARGET=73.0` among the arguments prints the queries to reach a figure.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use automl_core::{
    Alone, Ask, Cancel, Direction, Evaluator, EvaluatorConfig, Genotype, Objective, SearchSpace, Strategy, StrategyConfig, Trial,
};
use automl_nas::renas::{Changes, Renas, RenasPlus};
use automl_nas::table::{Columns, Table};
use automl_nas::{NasBench201, cells};
use automl_search::{Random, RegularizedEvolution};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed"] => speed(2000),
        ["speed", trials] => speed(trials.parse()?),
        [file, search, report, seeds, queries, others @ ..] => {
            let table = Table {
                file: (*file).into(),
                objective: Columns::One((*search).into()),
                report: vec![(*report).into()],
                ..Table::default()
            };
            compare(&table, report, seeds.parse()?, queries.parse()?, others)
        }
        _ => Err("say `speed`, or the table, the columns to search and to report, seeds and queries".into()),
    }
}

/// What a proposal with its learning step takes on 20 tokens, at the beginning and at the end of so many trials.
fn speed(trials: u64) -> Result<(), Failure> {
    let space: Arc<dyn SearchSpace> = Arc::new(cells::Renas::default());
    let loss = |genotype: &Genotype| -(genotype.nodes.iter().filter(|node| node.op == "sep_conv_3x3").count() as f64) / 10.0;
    let random = Renas { learning_rate: 0.0, ..Renas::default() };
    let configs: [(&str, Box<dyn StrategyConfig>); 3] = [
        ("renas", Box::<Renas>::default()),
        ("its evolution alone", Box::new(random)),
        ("renas_plus", Box::<RenasPlus>::default()),
    ];
    for (name, config) in configs {
        let mut strategy = config.build(space.clone(), &objectives())?;
        let mut laps = [0.0; 2];
        let (first, last) = (100..trials.min(600), trials.saturating_sub(500).max(100)..trials);
        for id in 0..trials {
            let start = Instant::now();
            let trial = step(strategy.as_ref(), id, 1, |genotype| Ok((loss(genotype), BTreeMap::new())))?;
            strategy.tell(&trial)?;
            let seconds = start.elapsed().as_secs_f64();
            for (lap, part) in laps.iter_mut().zip([&first, &last]).filter(|(_, part)| part.contains(&id)) {
                *lap += 1e3 * seconds / (part.end - part.start) as f64;
            }
        }
        println!("{name:<20} {:.3} ms a trial in trials {first:?}, {:.3} ms in trials {last:?}", laps[0], laps[1]);
    }
    Ok(())
}

fn objectives() -> Vec<Objective> {
    vec![Objective { name: "accuracy".into(), direction: Direction::Maximize }]
}

/// Asks and evaluates; the trial is not told yet.
fn step(
    strategy: &dyn Strategy,
    id: u64,
    seed: u64,
    evaluate: impl Fn(&Genotype) -> Result<(f64, BTreeMap<String, f64>), Failure>,
) -> Result<Trial, Failure> {
    let ask = Ask::alone(id, &[]);
    let proposal = strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(seed_of(seed, "ask", id)))?.swap_remove(0);
    let (loss, metrics) = evaluate(&proposal.genotype)?;
    Ok(Trial { metrics, ..Trial::told(id, proposal, Some(vec![loss])) })
}

/// One search.
#[derive(Clone, Default)]
struct Run {
    /// The reported figure of the best so far, after each query.
    reported: Vec<f64>,
    /// Of each child, in three parts of the search: whether it is better than its parent, and the entropy of its mutation.
    children: [Vec<(bool, f64)>; 3],
}

fn search(config: &dyn StrategyConfig, evaluator: &dyn Evaluator, report: &str, seed: u64, queries: u64) -> Result<Run, Failure> {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let mut strategy = config.build(space, &evaluator.objectives())?;
    let mut run = Run::default();
    let mut losses: Vec<f64> = Vec::new();
    let mut best = f64::INFINITY;
    let mut figure = 0.0;
    for id in 0..queries {
        let trial = step(strategy.as_ref(), id, seed, |genotype| {
            let mut alone = Alone { seed, fidelity: 1.0, cancel: Cancel::new() };
            let found = evaluator.evaluate(genotype, &mut alone)?;
            Ok((found.losses.first().copied().unwrap_or(f64::INFINITY), found.metrics))
        })?;
        let loss = trial.losses.first().copied().unwrap_or(f64::INFINITY);
        if loss < best {
            (best, figure) = (loss, trial.metrics.get(report).copied().unwrap_or(f64::NAN));
        }
        run.reported.push(figure);
        let parent = trial.origin.parents.first().and_then(|parent| losses.get(usize::try_from(*parent).ok()?));
        let note = trial.origin.note.as_ref();
        let entropy = note.and_then(|note| note.get("entropy")?.as_f64()).unwrap_or(f64::NAN);
        let part = if id < 150 {
            0
        } else if id < 300 {
            1
        } else {
            2
        };
        if let (Some(parent), Some(children)) = (parent, run.children.get_mut(part)) {
            children.push((loss < *parent, entropy));
        }
        losses.push(loss);
        strategy.tell(&trial)?;
    }
    Ok(run)
}

fn compare(table: &Table, report: &str, seeds: u64, queries: u64, others: &[&str]) -> Result<(), Failure> {
    let evaluator = table.build(1)?;
    let target: Option<f64> = others.iter().find_map(|other| other.strip_prefix("TARGET=")?.parse().ok());
    let others: Vec<&&str> = others.iter().filter(|other| !other.starts_with("TARGET=")).collect();
    let mut configs: Vec<(String, Box<dyn StrategyConfig>)> = Vec::new();
    for other in &others {
        let (name, json) = other.split_once('=').ok_or("write NAME=JSON")?;
        configs.push((name.to_owned(), serde_json::from_str(json)?));
    }
    if configs.is_empty() {
        let mut list = |name: &str, config: Box<dyn StrategyConfig>| configs.push((name.to_owned(), config));
        list("random", Box::new(Random {}));
        list("regularized_evolution 30/10", Box::new(RegularizedEvolution { population: 30, sample: 10, mutations: Vec::new() }));
        list("renas, random mutation", Box::new(Renas { learning_rate: 0.0, ..Renas::default() }));
        list("renas, unidirectional", Box::new(Renas { bidirectional: false, ..Renas::default() }));
        list("renas", Box::<Renas>::default());
        list("renas_plus, random mutation", Box::new(RenasPlus { learning_rate: 0.0, ..RenasPlus::default() }));
        list("renas_plus, several", Box::new(RenasPlus { changes: Changes::Several(0.2), ..RenasPlus::default() }));
        list("renas_plus", Box::<RenasPlus>::default());
    }
    for (name, config) in configs {
        let start = Instant::now();
        let runs = (1..=seeds)
            .into_par_iter()
            .map(|seed| search(config.as_ref(), evaluator.as_ref(), report, seed, queries))
            .collect::<Result<Vec<Run>, Failure>>()?;
        print!("{name:<28}");
        for budget in [50, 100, 150, 300, 500].into_iter().filter(|budget| *budget as u64 <= queries) {
            let (mean, deviation) = moments(runs.iter().filter_map(|run| run.reported.get(budget - 1).copied()));
            print!(" {mean:.2}±{deviation:.2}");
        }
        print!(" | better %");
        for part in 0..3 {
            let children = || runs.iter().filter_map(|run| run.children.get(part)).flatten();
            print!(" {:.1}", 100.0 * moments(children().map(|(better, _)| f64::from(u8::from(*better)))).0);
        }
        print!(" | nats");
        for part in 0..3 {
            print!(" {:.2}", moments(runs.iter().filter_map(|run| run.children.get(part)).flatten().map(|(_, nats)| *nats)).0);
        }
        if let Some(target) = target {
            let reached =
                |run: &Run| run.reported.iter().position(|figure| *figure >= target).map_or(queries, |at| at as u64 + 1);
            let mut to_target: Vec<u64> = runs.iter().map(reached).collect();
            to_target.sort_unstable();
            let median = to_target.get(to_target.len() / 2).copied().unwrap_or(queries);
            let hit = to_target.iter().filter(|at| **at < queries).count();
            let mean = moments(to_target.iter().map(|at| *at as f64)).0;
            print!(" | queries to {target}: median {median}, mean {mean:.0}, reached by {hit}");
        }
        println!(" | {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Mean and standard deviation.
fn moments(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    (mean, (numbers.map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}
