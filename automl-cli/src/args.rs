//! The flags of the command line. Names are part of the interface: others depend on them.

use std::path::PathBuf;

use automl_ops::Metric;
use automl_ops::goal::Goal;
use automl_ops::limits::{FileSize, RowTime};
use clap::{Parser, Subcommand, ValueEnum};

use crate::duration::{self, Extension};

/// Finds machine-learning pipelines and neural architectures.
#[derive(Debug, Parser)]
#[command(name = "automl", version, propagate_version = true, max_term_width = 110)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Show no progress and no notes; warnings and errors are still told.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to colour messages; `auto` asks the terminal and NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

impl Args {
    /// Whether messages are coloured.
    pub fn color(&self) -> bool {
        use std::io::IsTerminal;
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find and train a model for a table.
    Fit(Box<Fit>),
    /// Predict the rows of a table with a trained model.
    Predict(Predict),
    /// Score a trained model on a labelled table.
    Evaluate(Evaluate),
    /// Run any space × strategy × evaluator from a config.
    Search(Search),
    /// Train a network that was found, to the end, and test it.
    Train(Train),
    /// Go on with a run after a crash or an end.
    Resume(Resume),
    /// List the trials of a run.
    Trials(Trials),
    /// Run strategies with many seeds each, and tell how they compare.
    Compare(Compare),
    /// Draw a candidate as SVG or DOT.
    Graph(Graph),
    /// List the linked plugins and operators.
    Plugins(Plugins),
    /// Print an example config of any combination.
    New(New),
    /// Check a config without running it.
    Check(Check),
    /// Find a model for a real data set that comes with the program.
    Demo(Demo),
}

/// What all runs have.
#[derive(Debug, clap::Args)]
pub struct Budget {
    /// End after this time, all included: `60s`, `10m`, `1h30m`.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub time_limit: Option<std::time::Duration>,
    /// End after this many trials.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub trials: Option<u64>,
    /// Memory that the process may use, such as `4GB`; default about 300 MB and six times the table, at most four fifths of what there is.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory_limit: Option<u64>,
    /// Trials that run at once; the trials are the same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub workers: Option<u64>,
    /// Seed of everything random.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Keep the journal and the resolved config here; default `runs/NAME-1` and so on.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Change a setting of the config: `strategy.tune=0.3`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `automl fit`.
#[derive(Debug, clap::Args)]
pub struct Fit {
    /// The training table: CSV, TSV (plain or .gz) or Parquet.
    pub train: PathBuf,
    /// The column to predict.
    #[arg(long, value_name = "COL")]
    pub target: String,
    /// A column that says how much each row counts; it is no feature.
    #[arg(long, value_name = "COL")]
    pub weights: Option<String>,
    /// What the target is.
    #[arg(long, value_parser = ["auto", "classification", "regression"], default_value = "auto")]
    pub task: String,
    /// The score to improve; default balanced_accuracy or rmse.
    #[arg(long, value_name = "NAME", value_parser = metric)]
    pub metric: Option<Metric>,
    /// What is improved at once, the first of them a metric: `balanced_accuracy,predict_time,model_size`; `automl trials --pareto` lists
    /// the trade-offs.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "metric")]
    pub objectives: Vec<Goal>,
    /// Longest time to predict a row of many on one core, as declared: `50us`.
    #[arg(long, value_name = "TIME")]
    pub max_predict_time: Option<RowTime>,
    /// Largest size of the model file: `5MB`.
    #[arg(long, value_name = "SIZE")]
    pub max_model_size: Option<FileSize>,
    /// A column that is no feature; may be given several times.
    #[arg(long, value_name = "COL")]
    pub drop: Vec<String>,
    /// How candidates are proposed; default darwin.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Settings of the run; flags override them.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Candidates that the final model may join, at most; 1: the best alone [default: 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub ensemble: Option<u64>,
    /// Where the model goes.
    #[arg(long, value_name = "FILE", default_value = "model.automl")]
    pub out: PathBuf,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    pub budget: Budget,
}

fn memory(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>().map(|size| size.as_u64()) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(format!("`{text}` is not a size of memory; write for example `4GB` or `800MB`")),
    }
}

fn metric(name: &str) -> Result<Metric, String> {
    name.parse().map_err(|error: automl_ops::metrics::MetricError| error.to_string())
}

/// `automl predict`.
#[derive(Debug, clap::Args)]
pub struct Predict {
    /// A model that `automl fit` wrote.
    pub model: PathBuf,
    /// The table to predict.
    pub data: PathBuf,
    /// Add a column `proba_LABEL` for each class.
    #[arg(long)]
    pub proba: bool,
    /// Where the CSV goes; default standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `automl evaluate`.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// A model that `automl fit` wrote.
    pub model: PathBuf,
    /// A table with the target column.
    pub data: PathBuf,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

/// `automl search`.
#[derive(Debug, clap::Args)]
pub struct Search {
    /// The config: TOML, YAML or JSON; `automl new` prints one.
    pub config: PathBuf,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    #[command(flatten)]
    pub budget: Budget,
}

/// `automl train`.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// A file with a genotype or a trial in JSON, `-` for standard input, a run directory, or with --space a candidate in its notation.
    pub source: String,
    /// The config: as `automl search` takes it, of which `evaluator` and `final` count; default that of the run directory.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The trial of a run; default the best.
    #[arg(long, value_name = "ID")]
    pub trial: Option<u64>,
    /// Read SOURCE in the notation of this space, such as `nas_bench_201`.
    #[arg(long, value_name = "NAME", conflicts_with = "trial")]
    pub space: Option<String>,
    /// End after this time, with fewer epochs if need be; default all epochs of the config.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub time_limit: Option<std::time::Duration>,
    /// Seed of everything random; default that of the config.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Where checkpoint, history and weights go; default `runs/train-1` and so on. `automl resume DIR` goes on after a kill.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Change a setting of the config: `final.recipe.epochs=20`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `automl resume`.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Time from now on: `10m` or `+10m`; default what the run had left.
    #[arg(long, value_name = "TIME", value_parser = duration::parse_extension)]
    pub time_limit: Option<Extension>,
    /// Trials in all (`200`), or more of them (`+100`).
    #[arg(long, value_name = "[+]N", value_parser = more_trials)]
    pub trials: Option<MoreTrials>,
    /// Trials that run at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub workers: Option<u64>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// A number of trials, in all or on top.
#[derive(Clone, Copy, Debug)]
pub enum MoreTrials {
    /// In all.
    Total(u64),
    /// On top of those that are there.
    More(u64),
}

fn more_trials(text: &str) -> Result<MoreTrials, String> {
    let (digits, more) = text.strip_prefix('+').map_or((text, false), |digits| (digits, true));
    let count = digits.parse().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| format!("`{text}` is not a number of trials; write `200` or `+100`"))?;
    Ok(if more { MoreTrials::More(count) } else { MoreTrials::Total(count) })
}

/// `automl trials`.
#[derive(Debug, clap::Args)]
pub struct Trials {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Only the trials that no other is better than in everything: in the objectives of the run where it has several, else in
    /// the loss, the time to predict a row and the size of the model.
    #[arg(long)]
    pub pareto: bool,
    /// One JSON object a trial, or a table.
    #[arg(long, value_enum, default_value_t = TrialFormat::Table)]
    pub format: TrialFormat,
}

/// How trials are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrialFormat {
    /// One JSON object a trial.
    Jsonl,
    /// For people.
    Table,
}

/// `automl compare`.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The configs, as `automl search` takes them.
    #[arg(required = true, value_name = "CONFIG")]
    pub configs: Vec<PathBuf>,
    /// Compare this strategy instead of the config's, such as `random` or `regularized_evolution(population=30, sample=10)`; repeatable.
    #[arg(long, value_name = "NAME[(KEY=VALUE, …)]")]
    pub strategy: Vec<String>,
    /// Runs of each.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first of the seeds.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Trials of a run; default what the config says, or 500.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub trials: Option<u64>,
    /// Tell the best so far at these numbers of queries.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "50,100,150,300,500", value_parser = clap::value_parser!(u64).range(1..))]
    pub at: Vec<u64>,
    /// Tell this metric of the best so far; repeatable. Default the objective and all that the runs report.
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// Value of the objective that counts as its optimum; default the best that any run found.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub optimum: Option<f64>,
    /// Tell also after how many queries the objective was this good.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub target: Option<f64>,
    /// One table of all configs, whatever they judge by: a row a strategy, a column a config, figures at the last of --at, and the mean rank.
    /// A config is told by the first --metric that it has, or by its objective.
    #[arg(long, conflicts_with_all = ["target", "optimum", "out"])]
    pub matrix: bool,
    /// Runs at once, each on one thread [default: number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,
    /// Write the figures, the runs and plots of the curves to this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = CompareFormat::Table)]
    pub format: CompareFormat,
    /// Change a setting of all configs.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Compare {
    /// The number of threads.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.and_then(|threads| usize::try_from(threads).ok()).unwrap_or(cores)
    }
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// For people.
    Table,
    /// For a document.
    Markdown,
    /// For programs, with all quantiles.
    Csv,
}

/// `automl graph`.
#[derive(Debug, clap::Args)]
pub struct Graph {
    /// A file with a genotype or a trial in JSON, `-` for standard input, a run directory, or with --space a candidate in its notation.
    pub source: String,
    /// The trial of a run; default the best.
    #[arg(long, value_name = "ID")]
    pub trial: Option<u64>,
    /// Read SOURCE in the notation of this space, such as `nas_bench_201`.
    #[arg(long, value_name = "NAME", conflicts_with = "trial")]
    pub space: Option<String>,
    /// What is written; default by the extension of --out, else SVG.
    #[arg(long, value_enum)]
    pub format: Option<GraphFormat>,
    /// Where the picture goes; default standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A picture.
    Svg,
    /// The language of Graphviz.
    Dot,
}

/// `automl plugins`.
#[derive(Debug, clap::Args)]
pub struct Plugins {
    /// Only this kind: strategy, space, evaluator, mutation, crossover or operator.
    #[arg(long, value_parser = ["strategy", "space", "evaluator", "mutation", "crossover", "operator"])]
    pub kind: Option<String>,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `automl new`.
#[derive(Debug, clap::Args)]
pub struct New {
    /// Its strategy.
    #[arg(long, default_value = "darwin")]
    pub strategy: String,
    /// Its evaluator.
    #[arg(long, default_value = "tabular")]
    pub evaluator: String,
    /// Its space; default the one that fits the evaluator.
    #[arg(long)]
    pub space: Option<String>,
    /// Where the config goes; default standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `automl check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The config.
    pub file: PathBuf,
    /// Change a setting of the config.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `automl demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Time in all.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "12s")]
    pub time_limit: std::time::Duration,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the tables, the journal and the model go; default `runs/demo-1` and so on.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}
