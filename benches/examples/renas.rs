//! What a learnt mutation is worth: `renas` and `renas_plus` beside the same evolution with random mutations, on tables of networks.
//!
//! ```text
//! cargo run --release -p benches --example renas -- speed [TRIALS]
//! cargo run --release -p benches --example renas -- DATA TASK [SETTING …] [NAME=JSON …]
//! cargo run --release -p benches --example renas -- DATA transfer [SETTING …] [NAME=JSON …]
//! ```
//!
//! `DATA` is the folder of the tables, `TASK` one of `c10`, `c100` (NAS-Bench-201: search by the 12-epoch validation accuracy, tell the
//! test accuracy after 200 epochs), `c10_200`, `c100_200` (search by that, too), `macro` and `ecnas`. `NAME=JSON` is a strategy, to try
//! others than those listed here. Settings: `seeds=1..101`, `queries=500`, `target=73.0` (queries until the best has it), `level=93.5`
//! (queries until the mean of the population has it), `best=84.89` (share of runs that found it), `curve=FILE.svg` (how the controller
//! learns).
//!
//! A line a strategy: the told figure of the best so far after 50, 100, … queries, mean and standard deviation over the seeds, and
//! the figure that it was searched by; then, in three parts of the search, how many children were better than their parents, how many
//! random mutations of the same parents would have been, and how many nats of entropy a mutation had.
//!
//! `transfer` searches `c10_200` first, then `c100_200` with the controller that was saved, and without one: `sources=1` searches of
//! so many queries, each with the controller of the one before; the seeds of a run share nothing with those of another.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use automl_core::{
    Alone, Ask, Cancel, Direction, Evaluator, EvaluatorConfig, Genotype, Mutation, Objective, SearchSpace, Strategy,
    StrategyConfig, Trial,
};
use automl_nas::cells;
use automl_nas::renas::{Critic, Renas, RenasPlus};
use automl_nas::tensor::{Cpu, NnDevice, backward, matrix, record, sequence};
use automl_search::mutations::MutationPoint;
use automl_search::{Random, RegularizedEvolution, Reinforce};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed"] => speed(2000),
        ["speed", trials] => speed(trials.parse()?),
        [data, "transfer", settings @ ..] => transfer(Path::new(data), &Settings::of(settings)?),
        [data, task, settings @ ..] => compare(&Task::of(Path::new(data), task)?, &Settings::of(settings)?),
        _ => Err("say `speed`, or the folder of the tables and the task".into()),
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
    let objectives = [Objective { name: "accuracy".into(), direction: Direction::Maximize }];
    for (name, config) in configs {
        let mut strategy = config.build(space.clone(), &objectives)?;
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
    println!("{:<20} {:.3} ms for the reading alone, were it the one of the tensor layer", "shared LSTM", shared(21, 100)?);
    Ok(())
}

/// Milliseconds that the LSTM of the tensor layer takes for what a trial of `renas` reads: forward for the proposal, forward and
/// back for the lesson, each from both ends.
fn shared(steps: usize, units: usize) -> Result<f64, Failure> {
    const TIMES: usize = 300;
    let device = Cpu::default();
    let numbers = |count: usize| (0..count).map(|index| 0.01 * (index as f32).sin()).collect::<Vec<f32>>();
    let of = |rows: usize, columns: usize| matrix(&device, rows, columns, numbers(rows * columns));
    let (input, hidden, bias) = (of(units, 4 * units)?, of(units, 4 * units)?, of(1, 4 * units)?);
    let weights = sequence::Lstm { input: &input, hidden: &hidden, bias: &bias };
    let (x, start, zeros) = (of(steps, units)?, of(1, 2 * units)?, of(steps, units)?);
    let begin = Instant::now();
    for _ in 0..2 * TIMES {
        sequence::lstm(&weights, x.clone(), start.clone())?;
        let states = sequence::lstm(&weights, record(x.clone()), record(start.clone()))?;
        backward(Cpu::squared_error(states, &zeros, &zeros)?)?;
    }
    Ok(1e3 * begin.elapsed().as_secs_f64() / TIMES as f64)
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

/// A table with what is searched by and what is told.
struct Task {
    evaluator: Arc<dyn Evaluator>,
    space: Arc<dyn SearchSpace>,
    /// The figure that is told.
    report: String,
    objective: Objective,
}

impl Task {
    fn of(data: &Path, name: &str) -> Result<Self, Failure> {
        let table = |file: &str, objective: Value, report: &str, space: Value, key: Value| {
            let mut table = json!({
                "type": "table", "file": data.join(file), "objective": objective, "report": [report], "space": space.clone()
            });
            if !key.is_null() {
                table["key"] = key;
            }
            (table, space, report.to_owned())
        };
        let cells = |search: &str, report: &str| {
            let space = json!({ "type": "nas_bench_201", "merge_isomorphic": false });
            table("nb201.csv.gz", json!(search), report, space, Value::Null)
        };
        let (mut evaluator, space, report) = match name {
            "c10" => cells("c10_val12", "c10_test200"),
            "c100" => cells("c100_val12", "c100_test200"),
            "c10_200" => cells("c10_test200", "c10_test200"),
            "c100_200" => cells("c100_test200", "c100_test200"),
            "macro" => {
                let space = json!({ "type": "nas_bench_macro", "merge_isomorphic": false });
                table("nas_bench_macro_cifar10.csv.gz", json!(["acc_s0", "acc_s1", "acc_s2"]), "mean_acc", space, json!(["arch"]))
            }
            "ecnas" => {
                let space = json!({ "type": "nas_bench_101", "max_vertices": 5 });
                table("ecnas_4v5v_4epochs.csv.gz", json!("val_acc"), "test_acc", space, json!(["matrix", "labels"]))
            }
            _ => return Err(format!("there is no task `{name}`").into()),
        };
        if name == "ecnas" {
            evaluator["repeats"] = json!("mean");
        }
        let config: Box<dyn EvaluatorConfig> = serde_json::from_value(evaluator)?;
        let space: Box<dyn SearchSpace> = serde_json::from_value(space)?;
        let evaluator = config.build(1)?;
        let objective = evaluator.objectives().first().cloned().ok_or("the table has no objective")?;
        Ok(Self { evaluator, space: space.into(), report, objective })
    }

    /// The loss of a candidate, with its figures.
    fn evaluate(&self, genotype: &Genotype, seed: u64) -> Result<(f64, BTreeMap<String, f64>), Failure> {
        let found = self.evaluator.evaluate(genotype, &mut Alone { seed, fidelity: 1.0, cancel: Cancel::new() })?;
        Ok((found.losses.first().copied().unwrap_or(f64::INFINITY), found.metrics))
    }
}

/// What the command line says.
struct Settings {
    seeds: std::ops::Range<u64>,
    queries: u64,
    target: Option<f64>,
    level: Option<f64>,
    best: Option<f64>,
    sources: u64,
    curve: Option<String>,
    strategies: Vec<(String, Box<dyn StrategyConfig>)>,
}

impl Settings {
    fn of(arguments: &[&str]) -> Result<Self, Failure> {
        let mut own = Self {
            seeds: 1..101,
            queries: 500,
            target: None,
            level: None,
            best: None,
            sources: 1,
            curve: None,
            strategies: Vec::new(),
        };
        for argument in arguments {
            let (name, value) = argument.split_once('=').ok_or_else(|| format!("`{argument}`: write NAME=VALUE"))?;
            match name {
                "seeds" => {
                    let (from, to) = value.split_once("..").ok_or("write the seeds as 1..101")?;
                    own.seeds = from.parse()?..to.parse()?;
                }
                "queries" => own.queries = value.parse()?,
                "target" => own.target = Some(value.parse()?),
                "level" => own.level = Some(value.parse()?),
                "best" => own.best = Some(value.parse()?),
                "sources" => own.sources = value.parse()?,
                "curve" => own.curve = Some(value.to_owned()),
                _ => own.strategies.push((name.to_owned(), serde_json::from_str(value)?)),
            }
        }
        Ok(own)
    }
}

/// The strategies that are compared where the command line names none.
fn everyone() -> Vec<(String, Box<dyn StrategyConfig>)> {
    let mut strategies: Vec<(String, Box<dyn StrategyConfig>)> = Vec::new();
    let mut list = |name: &str, config: Box<dyn StrategyConfig>| strategies.push((name.to_owned(), config));
    list("random", Box::new(Random {}));
    list("reinforce", Box::<Reinforce>::default());
    list("regularized_evolution 30/10", Box::new(RegularizedEvolution { population: 30, sample: 10, mutations: Vec::new() }));
    list("renas, random mutation", Box::new(Renas { learning_rate: 0.0, ..Renas::default() }));
    list("renas, unidirectional", Box::new(Renas { bidirectional: false, ..Renas::default() }));
    list("renas", Box::<Renas>::default());
    list(
        "renas_plus, random mutation",
        Box::new(RenasPlus { learning_rate: 0.0, critic: Critic::none(), ..RenasPlus::default() }),
    );
    list("renas_plus, no restart", Box::new(RenasPlus { patience: 0, ..RenasPlus::default() }));
    list("renas_plus, no critic", Box::new(RenasPlus { critic: Critic::none(), ..RenasPlus::default() }));
    let alone = Critic { children: 1, ..Critic::default() };
    list("renas_plus, no selection", Box::new(RenasPlus { critic: alone, ..RenasPlus::default() }));
    list("renas_plus", Box::<RenasPlus>::default());
    strategies
}

/// A figure of a child.
type Figure = fn(&Child) -> f64;

/// A child beside its parent.
#[derive(Clone, Copy)]
struct Child {
    query: u64,
    better: f64,
    /// Share of random mutations of the same parent that are better than it.
    random: f64,
    entropy: f64,
}

/// One search.
#[derive(Clone, Default)]
struct Run {
    /// The told figure of the best so far, after each query.
    told: Vec<f64>,
    /// What that was searched by.
    found: Vec<f64>,
    /// The mean of what is searched by over the population, after each query.
    population: Vec<f64>,
    children: Vec<Child>,
}

/// Members of the population whose mean is told.
const MEMBERS: usize = 20;
/// Random mutations beside each child.
const SHADOWS: usize = 4;

fn search(config: &dyn StrategyConfig, task: &Task, seed: u64, queries: u64) -> Result<Run, Failure> {
    let mut strategy = config.build(task.space.clone(), &task.evaluator.objectives())?;
    let dying = serde_json::to_value(config)?.get("aging") == Some(&Value::Bool(false));
    let mut run = Run::default();
    let mut seen: Vec<(Genotype, f64)> = Vec::new();
    let mut members: Vec<(u64, f64)> = Vec::new();
    let mut best = f64::INFINITY;
    let mut figure = 0.0;
    for id in 0..queries {
        let trial = step(strategy.as_ref(), id, seed, |genotype| task.evaluate(genotype, seed))?;
        let loss = trial.losses.first().copied().unwrap_or(f64::INFINITY);
        if loss < best {
            (best, figure) = (loss, trial.metrics.get(&task.report).copied().unwrap_or(f64::NAN));
        }
        run.told.push(figure);
        run.found.push(task.objective.loss(best));
        let note = trial.origin.note.as_ref();
        let number = |name: &str| note.and_then(|note| note.get(name)?.as_f64());
        members.push((id, loss));
        if members.len() > MEMBERS {
            let dies = number("dies").filter(|_| dying);
            let index = dies.and_then(|dies| members.iter().position(|(id, _)| *id as f64 == dies)).unwrap_or(0);
            members.remove(index);
        }
        let mean = moments(members.iter().map(|(_, loss)| *loss)).0;
        run.population.push(task.objective.loss(mean));
        let parent = trial.origin.parents.first().and_then(|parent| seen.get(usize::try_from(*parent).ok()?));
        if let Some((parent, than)) = parent {
            let mut rng = ChaCha8Rng::seed_from_u64(seed_of(seed, "shadow", id));
            let mut random = 0.0;
            for _ in 0..SHADOWS {
                let shadow = MutationPoint::default().mutate(parent, task.space.as_ref(), &mut rng)?;
                let better = shadow.is_some_and(|shadow| task.evaluate(&shadow, seed).is_ok_and(|(loss, _)| loss < *than));
                random += f64::from(u8::from(better)) / SHADOWS as f64;
            }
            let entropy = number("entropy").unwrap_or(f64::NAN);
            run.children.push(Child { query: id, better: f64::from(u8::from(loss < *than)), random, entropy });
        }
        seen.push((trial.genotype.clone(), loss));
        strategy.tell(&trial)?;
    }
    Ok(run)
}

fn compare(task: &Task, settings: &Settings) -> Result<(), Failure> {
    let queries = settings.queries;
    let mut curves = Vec::new();
    let own = if settings.strategies.is_empty() { everyone() } else { Vec::new() };
    for (name, config) in settings.strategies.iter().chain(&own) {
        let start = Instant::now();
        let seeds = settings.seeds.clone().into_par_iter();
        let runs = seeds.map(|seed| search(config.as_ref(), task, seed, queries)).collect::<Result<Vec<Run>, Failure>>()?;
        let mut line = format!("{name:<28}");
        for budget in [50, 100, 150, 300, 500].into_iter().filter(|budget| *budget as u64 <= queries) {
            let (mean, deviation) = moments(runs.iter().filter_map(|run| run.told.get(budget - 1).copied()));
            write!(line, " {mean:.2}±{deviation:.2}")?;
        }
        write!(line, " | searched")?;
        for budget in [50, 100, 150, 300, 500].into_iter().filter(|budget| *budget as u64 <= queries) {
            let found = runs.iter().filter_map(|run| run.found.get(budget - 1).copied());
            let (mean, deviation) = moments(found.clone());
            write!(line, " {mean:.2}±{deviation:.2}")?;
            if let Some(best) = settings.best {
                write!(line, " {:.0}%", 100.0 * found.filter(|figure| *figure >= best).count() as f64 / runs.len() as f64)?;
            }
        }
        let shares: [(&str, Figure, f64); 3] = [
            ("better %", |child| child.better, 100.0),
            ("random %", |child| child.random, 100.0),
            ("nats", |child| child.entropy, 1.0),
        ];
        for (what, number, factor) in shares {
            write!(line, " | {what}")?;
            for part in [0..150, 150..300, 300..u64::MAX] {
                let children = runs.iter().flat_map(|run| &run.children).filter(|child| part.contains(&child.query));
                write!(line, " {:.2}", factor * moments(children.map(number)).0)?;
            }
        }
        if let Some(target) = settings.target {
            write!(line, " | best {target}: {}", until(&runs, |run| &run.told, target, queries))?;
        }
        if let Some(level) = settings.level {
            write!(line, " | population {level}: {}", until(&runs, |run| &run.population, level, queries))?;
        }
        println!("{line} | {:.0} s", start.elapsed().as_secs_f64());
        curves.push((name.as_str(), runs));
    }
    if let Some(file) = &settings.curve {
        std::fs::write(file, picture(&curves, queries)?)?;
    }
    Ok(())
}

/// Queries to a target with and without what was learnt on another table.
fn transfer(data: &Path, settings: &Settings) -> Result<(), Failure> {
    let [source, goal] = [Task::of(data, "c10_200")?, Task::of(data, "c100_200")?];
    let queries = settings.queries;
    let target = settings.target.unwrap_or(73.0);
    let plus: [(String, Box<dyn StrategyConfig>); 1] = [("renas_plus".into(), Box::<RenasPlus>::default())];
    for (name, config) in if settings.strategies.is_empty() { &plus } else { settings.strategies.as_slice() } {
        let config = serde_json::to_value(config)?;
        let with = |key: &[(&str, &Path)]| -> Result<Box<dyn StrategyConfig>, Failure> {
            let mut config = config.clone();
            key.iter().for_each(|(key, path)| config[*key] = json!(path));
            Ok(serde_json::from_value(config)?)
        };
        let trained = |seed: u64| -> Result<Run, Failure> {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("controller.safetensors");
            for round in 0..settings.sources {
                let keys = [("save", file.as_path()), ("controller", file.as_path())];
                let config = with(&keys[..if round == 0 { 1 } else { 2 }])?;
                search(config.as_ref(), &source, seed_of(seed, "source", round), queries)?;
            }
            search(with(&[("controller", &file)])?.as_ref(), &goal, seed, queries)
        };
        let untrained = |seed: u64| search(with(&[])?.as_ref(), &goal, seed, queries);
        let all = |run: &(dyn Fn(u64) -> Result<Run, Failure> + Sync)| -> Result<Vec<Run>, Failure> {
            settings.seeds.clone().into_par_iter().map(run).collect()
        };
        for (what, runs) in [("untrained", all(&untrained)?), ("trained", all(&trained)?)] {
            let mut line = format!("{:<28}", format!("{name}, {what}"));
            for budget in [20, 50, 100, 150, 300].into_iter().filter(|budget| *budget as u64 <= queries) {
                let (mean, deviation) = moments(runs.iter().filter_map(|run| run.told.get(budget - 1).copied()));
                write!(line, " {mean:.2}±{deviation:.2}")?;
            }
            println!("{line} | best {target}: {}", until(&runs, |run| &run.told, target, queries));
        }
    }
    Ok(())
}

/// The queries until a figure is reached: median, mean and how many runs got there; a run that does not counts with all its queries.
fn until(runs: &[Run], figures: fn(&Run) -> &Vec<f64>, target: f64, queries: u64) -> String {
    let reached = |run: &Run| figures(run).iter().position(|figure| *figure >= target).map(|at| at as u64 + 1);
    let hits = runs.iter().filter(|run| reached(run).is_some()).count();
    let mut all: Vec<u64> = runs.iter().map(|run| reached(run).unwrap_or(queries)).collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied().unwrap_or(queries);
    let (mean, deviation) = moments(all.iter().map(|at| *at as f64));
    format!("median {median}, mean {mean:.0}±{deviation:.0}, {hits} of {}", runs.len())
}

/// Mean and standard deviation.
fn moments(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    (mean, (numbers.map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}

/// How the controllers learn: entropy of a mutation, and better children over those of random mutations of the same parents.
fn picture(curves: &[(&str, Vec<Run>)], queries: u64) -> Result<String, Failure> {
    const COLOURS: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000"];
    const WINDOW: u64 = 25;
    let (width, height) = (380.0, 240.0);
    let panels: [(&str, f64, Figure); 2] = [
        ("entropy of a mutation (nats)", 5.0, |child| child.entropy),
        ("better children, less those of random mutations (points)", 30.0, |child| 100.0 * (child.better - child.random)),
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        320 + 18 * curves.len()
    );
    for (panel, (title, top, number)) in panels.into_iter().enumerate() {
        let left = 50.0 + panel as f64 * 450.0;
        let x = |query: f64| left + width * query / queries as f64;
        let y = |value: f64| 40.0 + height * (1.0 - (value / top).clamp(-0.2, 1.0));
        writeln!(svg, "<text x=\"{left}\" y=\"24\">{title}</text>")?;
        for tick in 0..=5 {
            let (value, query) = (top * f64::from(tick) / 5.0, queries as f64 * f64::from(tick) / 5.0);
            writeln!(svg, "<path d=\"M{left:.1} {:.1}h{width}\" stroke=\"#ddd\"/>", y(value))?;
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", left - 6.0, y(value) + 4.0)?;
            writeln!(svg, "<text x=\"{:.1}\" y=\"300\" text-anchor=\"middle\">{query}</text>", x(query))?;
        }
        for ((_, runs), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            let mut points = String::new();
            for start in (0..queries).step_by(WINDOW as usize) {
                let window = start..start + WINDOW;
                let children = runs.iter().flat_map(|run| &run.children).filter(|child| window.contains(&child.query));
                let mean = moments(children.map(number)).0;
                if mean.is_finite() {
                    write!(points, "{:.1},{:.1} ", x((start + WINDOW / 2) as f64), y(mean))?;
                }
            }
            writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", points.trim_end())?;
        }
    }
    for (index, ((name, _), colour)) in curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = 325 + 18 * index;
        writeln!(
            svg,
            "<path d=\"M50 {}h24\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"82\" y=\"{y}\">{name}</text>",
            y - 4
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}
