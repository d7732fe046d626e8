//! `automl check`: whether a config would run, without running it. Reads the data that it names.

use crate::args::Check;
use crate::config::{self, Source};
use crate::error::CliError;
use crate::output;
use crate::run_config::RunConfig;
use crate::session;

pub fn run(args: &Check, quiet: bool) -> Result<u8, CliError> {
    let config: RunConfig = config::load(Source::path(&args.file), &args.set, &config::Options::default())?;
    let built = session::build(&config, quiet)?;
    let objectives = built.evaluator.objectives();
    config.strategy.build(built.space.clone(), &objectives)?;
    for start in built.space.starts() {
        built.space.trace(&start)?;
    }
    let points = output::count(built.space.points().len(), "question");
    output::result(|out| {
        writeln!(out, "{}: a space of {points}, objectives:", args.file.display())?;
        objectives.iter().try_for_each(|objective| {
            let direction = serde_json::to_value(objective.direction)?;
            writeln!(out, "  {} ({})", objective.name, direction.as_str().unwrap_or_default())
        })
    })?;
    Ok(0)
}
