//! One command a file.

mod candidate;
mod check;
mod compare;
mod demo;
mod evaluate;
mod fit;
mod graph;
mod new;
mod plugins;
mod predict;
mod report;
mod resume;
mod search;
mod train;
mod trials;

use std::time::Instant;

use crate::args::{Args, Command};
use crate::error::CliError;

/// Runs a command; the exit code of one that ended in order.
///
/// # Errors
/// [`CliError`] with the exit code of one that did not.
pub fn run(args: Args, start: Instant) -> Result<u8, CliError> {
    let quiet = args.quiet;
    match args.command {
        Command::Fit(fit) => fit::run(*fit, start, quiet),
        Command::Predict(predict) => predict::run(&predict, quiet),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate, quiet),
        Command::Search(search) => search::run(search, start, quiet),
        Command::Train(train) => train::run(&train, start, quiet),
        Command::Resume(resume) => resume::run(&resume, start, quiet),
        Command::Trials(trials) => trials::run(&trials),
        Command::Compare(compare) => compare::run(&compare, quiet),
        Command::Graph(graph) => graph::run(&graph),
        Command::Plugins(plugins) => plugins::run(&plugins),
        Command::New(new) => new::run(&new),
        Command::Check(check) => check::run(&check, quiet),
        Command::Demo(demo) => demo::run(&demo, start, quiet),
    }
}
