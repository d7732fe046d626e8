//! Compares strategies on tables of all hyperparameters of a network, HPOBench's and HPOlib's.
//!
//! ```text
//! cargo run --release -p benches --example hpo_tables -- DATA/hpo [SEEDS [TABLE,TABLE…|all [STRATEGY…]]]
//! ```
//!
//! Seeds are a number, from 0, or a range `100..120`: 0 to 19 are for reports, settings are tried on others. A strategy is its
//! config as JSON, `{"type": "nao_plus"}`; random search runs before those that are named, so that they can be compared with it.
//!
//! A configuration's loss is the mean over the seeds of its table. Printed is the regret (loss of the best so far, less that of
//! the table's best; as a share of the distance between the table's median and its best), mean ± standard error over the seeds
//! of the search, and on how many seeds a strategy is ahead of random search after the last evaluation.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use automl_core::graph::{Bounds, Source};
use automl_core::{
    Cancel, Direction, EvalContext, Evaluation, Evaluator, Genotype, GraphSpace, GraphSpec, Kind, Objective, OperatorSpec, Param,
    Port, SearchSpace, Stop, StrategyConfig, Study, Value,
};
use automl_search::bayes::Surrogate;
use automl_search::{Bayes, Random, RegularizedEvolution, Tpe};
use serde::Deserialize;

// Links the strategies of the crate, so that configs can name them.
use automl_nas as _;

const EVALUATIONS: [usize; 4] = [25, 50, 75, 100];

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Deserialize)]
struct Family {
    order: Vec<String>,
    space: BTreeMap<String, Vec<serde_json::Value>>,
}

/// A table by configuration: the digits of a configuration are the positions of its values.
#[derive(Debug)]
struct Table {
    order: Vec<String>,
    /// For unordered values their names; none for ordered ones, which are searched by position.
    names: Vec<Option<Vec<String>>>,
    losses: BTreeMap<String, f64>,
    best: f64,
    median: f64,
}

impl Table {
    fn read(path: &Path, family: &Family, maximize: bool) -> Result<Self, Failure> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
        let mut losses = BTreeMap::new();
        for line in text.lines().skip(1) {
            let (id, values) = line.split_once(',').ok_or("a line without values")?;
            let values: Vec<f64> = values.split(',').map(str::parse).collect::<Result<_, _>>()?;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            losses.insert(id.to_owned(), if maximize { -mean } else { mean });
        }
        let mut sorted: Vec<f64> = losses.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let names = family.order.iter().map(|name| {
            let values = &family.space[name];
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        let (best, median) = (sorted[0], sorted[sorted.len() / 2]);
        Ok(Self { order: family.order.clone(), names: names.collect(), losses, best, median })
    }

    fn space(&self, family: &Family) -> automl_core::Result<GraphSpace> {
        let param = |(name, names): (&String, &Option<Vec<String>>)| match names {
            Some(names) => {
                let options: Vec<&str> = names.iter().map(String::as_str).collect();
                Param { name: name.clone().into(), ..Param::choice("", &options) }
            }
            None => Param { name: name.clone().into(), ..Param::int("", 0, family.space[name].len() as i64 - 1, 0) },
        };
        let one = Bounds { min: 1, max: 1 };
        let kind = Kind::Borrowed("table");
        GraphSpace::new(GraphSpec {
            sources: vec![Source { name: "input".into(), kind: kind.clone() }],
            operators: vec![OperatorSpec {
                name: "network".into(),
                inputs: vec![Port { accepts: vec![kind.clone()], required: true, max: Some(1) }],
                output: Kind::Borrowed("loss"),
                params: self.order.iter().zip(&self.names).map(param).collect(),
            }],
            output: vec![Kind::Borrowed("loss")],
            vertices: one,
            depth: one,
            fan_in: 1,
            forbidden: Vec::new(),
            transitions: BTreeMap::new(),
            extra_edge: 0.0,
        })
    }
}

impl Evaluator for Table {
    fn objectives(&self) -> Vec<Objective> {
        vec![Objective { name: "loss".into(), direction: Direction::Minimize }]
    }

    fn evaluate(&self, genotype: &Genotype, _: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let params = genotype.nodes.last().map(|node| &node.params);
        let digit = |(name, names): (&String, &Option<Vec<String>>)| match (params.and_then(|params| params.get(name)), names) {
            (Some(Value::Int(index)), None) => Some(index.to_string()),
            (Some(Value::Text(value)), Some(names)) => Some(names.iter().position(|name| name == value)?.to_string()),
            _ => None,
        };
        let id: Option<String> = self.order.iter().zip(&self.names).map(digit).collect();
        let loss = id.and_then(|id| self.losses.get(&id).copied());
        let loss = loss.ok_or_else(|| Stop::Infeasible("the table lacks this configuration".into()))?;
        Ok(Evaluation { losses: vec![loss], ..Evaluation::default() })
    }
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: hpo_tables DATA/hpo [SEEDS [TABLE,TABLE…|all [STRATEGY…]]]")?;
    let folder = Path::new(&folder);
    let seeds = args.next().unwrap_or_else(|| "20".into());
    let seeds: std::ops::Range<u64> = match seeds.split_once("..") {
        Some((from, to)) => from.parse()?..to.parse()?,
        None => 0..seeds.parse()?,
    };
    let wanted = args.next().filter(|wanted| wanted != "all");
    let named: Vec<String> = args.collect();
    let spaces: BTreeMap<String, serde_json::Value> = serde_json::from_reader(File::open(folder.join("spaces.json"))?)?;
    let mut strategies: Vec<(&str, Box<dyn StrategyConfig>)> = vec![
        ("random", Box::new(Random {})),
        ("RE(20, 5)", Box::new(RegularizedEvolution { population: 20, sample: 5, ..RegularizedEvolution::default() })),
        ("tpe", Box::new(Tpe::default())),
        ("bayes", Box::new(Bayes::default())),
        ("bayes, forest", Box::new(Bayes { surrogate: Surrogate::Forest, ..Bayes::default() })),
        ("bayes, Gaussian process", Box::new(Bayes { surrogate: Surrogate::GaussianProcess, ..Bayes::default() })),
    ];
    if !named.is_empty() {
        strategies.truncate(1);
    }
    for text in &named {
        strategies.push((text, serde_json::from_str(text)?));
    }
    println!("| table | strategy | {EVALUATIONS:?} evaluations: regret in % | ahead of random |\n|---|---|---|---|");
    let tables = [
        ("hpobench_car", "hpobench_mlp"),
        ("hpobench_credit_g", "hpobench_mlp"),
        ("hpobench_phoneme", "hpobench_mlp"),
        ("hpobench_vehicle", "hpobench_mlp"),
        ("hpolib_parkinsons_telemonitoring", "hpolib_fcnet"),
        ("hpolib_protein_structure", "hpolib_fcnet"),
    ];
    for (name, family) in tables {
        if wanted.as_ref().is_some_and(|wanted| !wanted.split(',').any(|wanted| wanted == name)) {
            continue;
        }
        let maximize = family == "hpobench_mlp";
        let family: Family = serde_json::from_value(spaces.get(family).ok_or("spaces.json lacks a family")?.clone())?;
        let table = Table::read(&folder.join(format!("{name}.csv.gz")), &family, maximize)?;
        let space: Arc<dyn SearchSpace> = Arc::new(table.space(&family)?);
        let (best, unit) = (table.best, table.median - table.best);
        let evaluator: Arc<dyn Evaluator> = Arc::new(table);
        let mut of_random: Vec<f64> = Vec::new();
        for (strategy, config) in &strategies {
            let mut regrets = Vec::new();
            for seed in seeds.clone() {
                let strategy = config.build(space.clone(), &evaluator.objectives())?;
                let mut study = Study::new(space.clone(), strategy, evaluator.clone());
                study.seed = seed;
                study.budget.trials = EVALUATIONS.last().map(|&last| last as u64);
                let trials = study.run(&Cancel::new())?.trials;
                let so_far = |count: usize| trials[..count].iter().filter_map(|trial| trial.loss()).fold(f64::INFINITY, f64::min);
                regrets.push(EVALUATIONS.map(|count| 100.0 * (so_far(count) - best) / unit));
            }
            let cells = (0..EVALUATIONS.len()).map(|at| mean_and_error(regrets.iter().map(|regret| regret[at])));
            let last: Vec<f64> = regrets.iter().map(|regret| regret[EVALUATIONS.len() - 1]).collect();
            let ahead = last.iter().zip(&of_random).filter(|(own, random)| own < random).count();
            let ahead = if of_random.is_empty() { "-".to_owned() } else { format!("{ahead} of {}", seeds.end - seeds.start) };
            println!("| {name} | {strategy} | {} | {ahead} |", cells.collect::<Vec<_>>().join("  "));
            if of_random.is_empty() {
                of_random = last;
            }
        }
    }
    Ok(())
}

fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> String {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    format!("{mean:.2}±{:.2}", (variance / count).sqrt())
}
