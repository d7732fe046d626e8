//! Learns the pipelines to start from (`automl-ops/src/portfolio.json`) from tables and from the journals of earlier searches.
//!
//! `cargo run --release -p benches --example portfolio -- DATA/tabular SETS SCORES.jsonl JOURNAL… > portfolio.json`
//!
//! `SETS` names the sets to learn from, by commas: keep those out that shall judge the result. Candidates are the best pipelines
//! of the journals and those of the present portfolio. Each is cross-validated on the training table of each set (at most 2,000
//! rows, 6 seconds a candidate); scores are kept in a file, so that the work can be interrupted. Pipelines are then taken
//! greedily: the next is the one that lowers the mean regret over the sets most for the square root of its time. What a journal
//! found counts for nothing on the journal's own set, so that only what carries over is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use automl_core::{Alone, Cancel, Evaluator, Genotype, Journal};
use automl_nas as _;
use automl_ops::portfolio::Portfolio;
use automl_ops::table::ReadOptions;
use automl_ops::{PipelineSpace, TabularEvaluator, Task, Training, Validation};
use serde::{Deserialize, Serialize};

/// Rows of a training fold, at most.
const ROWS: f64 = 2_000.0;
/// Time of one candidate on one set.
const TIME: Duration = Duration::from_secs(6);
/// Best pipelines of a journal that become candidates, with different operators.
const BEST: usize = 2;
/// Pipelines of a task in the portfolio.
const LENGTH: usize = 12;
/// Seconds that count as none: what is below is cheap anyway.
const CHEAP: f64 = 0.1;

/// How a candidate did on a set.
#[derive(Serialize, Deserialize)]
struct Score {
    set: String,
    candidate: u64,
    /// None where it failed or took too long.
    loss: Option<f64>,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, sets, scores, journals @ ..] = args.as_slice() else {
        return Err("usage: portfolio DATA_FOLDER SET,SET,… SCORES.jsonl JOURNAL…".into());
    };
    let mut candidates: BTreeMap<Task, Vec<Candidate>> = BTreeMap::new();
    let present = Portfolio::learnt();
    for task in [Task::Classification, Task::Regression] {
        let known = present.of(task).iter().map(|genotype| Candidate { genotype: genotype.clone(), found_on: None });
        candidates.insert(task, known.collect());
    }
    for journal in journals {
        let (task, found) = best_of(journal)?;
        candidates.entry(task).or_default().extend(found);
    }
    let mut known: BTreeMap<(String, u64), Score> = BTreeMap::new();
    for line in std::fs::read_to_string(scores).unwrap_or_default().lines() {
        let score: Score = serde_json::from_str(line)?;
        known.insert((score.set.clone(), score.candidate), score);
    }
    let mut file = OpenOptions::new().create(true).append(true).open(scores)?;
    let tasks = std::fs::read_to_string(Path::new(data).join("tasks.csv"))?;
    let mut sets_of: BTreeMap<Task, Vec<String>> = BTreeMap::new();
    for line in tasks.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, task, target, ..] = fields.as_slice() else { continue };
        if !sets.split(',').any(|set| set == *name) {
            continue;
        }
        let task = if *task == "regression" { Task::Regression } else { Task::Classification };
        sets_of.entry(task).or_default().push((*name).to_owned());
        let candidates = candidates.get(&task).map_or(&[][..], Vec::as_slice);
        let unknown = |genotype: &&Genotype| !known.contains_key(&((*name).to_owned(), id(genotype)));
        let open: Vec<&Genotype> = candidates.iter().map(|candidate| &candidate.genotype).filter(unknown).collect();
        if open.is_empty() {
            continue;
        }
        let train = Path::new(data).join(name).join("train.csv");
        let training = Arc::new(Training::read(&train, target, None, Some(task), &ReadOptions::default())?);
        let evaluator = TabularEvaluator::new(training.clone(), None, Validation::Kfold { folds: 3, repeats: 1 }, 1)?;
        let space = PipelineSpace::fitting(&training, evaluator.metric())?;
        for genotype in open {
            let start = Instant::now();
            let cancel = Cancel::new().child(Some(start + TIME));
            let fidelity = (ROWS / (training.rows() as f64 * 2.0 / 3.0)).min(1.0);
            let found =
                space.adapt(genotype).and_then(|own| evaluator.evaluate(&own, &mut Alone { seed: 1, fidelity, cancel }).ok());
            let loss = found.and_then(|found| found.losses.first().copied());
            let score = Score { set: (*name).to_owned(), candidate: id(genotype), loss, seconds: start.elapsed().as_secs_f64() };
            writeln!(file, "{}", serde_json::to_string(&score)?)?;
            known.insert((score.set.clone(), score.candidate), score);
        }
        eprintln!("{name}: {} candidates", candidates.len());
    }
    let mut learnt = Portfolio::default();
    for (task, candidates) in &candidates {
        let chosen = choose(candidates, sets_of.get(task).map_or(&[], Vec::as_slice), &known);
        match task {
            Task::Classification => learnt.classification = chosen,
            Task::Regression => learnt.regression = chosen,
        }
    }
    let lines = |list: &[Genotype]| -> Result<String, serde_json::Error> {
        let lines: Result<Vec<String>, _> =
            list.iter().map(|genotype| Ok(format!("    {}", serde_json::to_string(genotype)?))).collect();
        Ok(lines?.join(",\n"))
    };
    println!("{{\n  \"classification\": [\n{}\n  ],", lines(&learnt.classification)?);
    println!("  \"regression\": [\n{}\n  ]\n}}", lines(&learnt.regression)?);
    Ok(())
}

fn id(genotype: &Genotype) -> u64 {
    genotype.canonical_hash()
}

/// A pipeline, and the set on whose table it was found.
struct Candidate {
    genotype: Genotype,
    found_on: Option<String>,
}

/// The task of a journal and its best pipelines.
fn best_of(journal: &str) -> Result<(Task, Vec<Candidate>), Box<dyn Error + Send + Sync>> {
    let read = Journal::read(journal)?;
    let config = &read.header.config;
    let task = if config["space"]["task"] == "regression" { Task::Regression } else { Task::Classification };
    let table = config["evaluator"]["train"].as_str().map(Path::new);
    let folder = table.and_then(Path::parent).and_then(Path::file_name);
    let found_on = folder.map(|folder| folder.to_string_lossy().into_owned());
    let mut trials: Vec<_> = read.trials.into_values().filter(|trial| trial.loss().is_some()).collect();
    trials.sort_by(|a, b| a.loss().partial_cmp(&b.loss()).unwrap_or(std::cmp::Ordering::Equal));
    let mut seen = BTreeSet::new();
    let operators = |genotype: &Genotype| genotype.nodes.iter().map(|node| node.op.clone()).collect::<Vec<_>>();
    let distinct = trials.into_iter().filter(|trial| seen.insert(operators(&trial.genotype))).take(BEST);
    Ok((task, distinct.map(|trial| Candidate { genotype: trial.genotype, found_on: found_on.clone() }).collect()))
}

/// Takes candidates greedily.
fn choose(candidates: &[Candidate], sets: &[String], known: &BTreeMap<(String, u64), Score>) -> Vec<Genotype> {
    // Regret of each candidate on each set: 0 for the best, 1 for the median and all that is worse.
    let mut regrets: Vec<Vec<f64>> = vec![Vec::new(); candidates.len()];
    let mut seconds: Vec<f64> = vec![0.0; candidates.len()];
    for set in sets {
        let score = |candidate: &Candidate| known.get(&(set.clone(), id(&candidate.genotype)));
        let loss = |candidate: &Candidate| {
            let foreign = candidate.found_on.as_ref() != Some(set);
            score(candidate).filter(|_| foreign).and_then(|score| score.loss).unwrap_or(f64::INFINITY)
        };
        let mut losses: Vec<f64> = candidates.iter().map(loss).collect();
        losses.sort_by(f64::total_cmp);
        let (Some(best), Some(median)) = (losses.first().copied(), losses.get(losses.len() / 2).copied()) else { continue };
        for ((candidate, regrets), seconds) in candidates.iter().zip(&mut regrets).zip(&mut seconds) {
            regrets.push(if median > best { ((loss(candidate) - best) / (median - best)).clamp(0.0, 1.0) } else { 0.0 });
            *seconds += score(candidate).map_or(0.0, |score| score.seconds) / sets.len() as f64;
        }
    }
    let (mut chosen, mut reached): (Vec<Genotype>, Vec<f64>) = (Vec::new(), vec![1.0; sets.len()]);
    while chosen.len() < LENGTH {
        let gain = |index: usize| {
            let gain: f64 = reached.iter().zip(&regrets[index]).map(|(reached, regret)| (reached - regret).max(0.0)).sum();
            gain / (CHEAP + seconds[index]).sqrt()
        };
        let best = (0..candidates.len()).map(|index| (gain(index), index)).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((gain, index)) = best.filter(|(gain, _)| *gain > 0.0) else { break };
        reached.iter_mut().zip(&regrets[index]).for_each(|(reached, regret)| *reached = reached.min(*regret));
        let mean = reached.iter().sum::<f64>() / reached.len().max(1) as f64;
        eprintln!("{}\n  gain {gain:.2}, regret {mean:.3}, {:.2} s", candidates[index].genotype, seconds[index]);
        chosen.push(candidates[index].genotype.clone());
    }
    chosen
}
