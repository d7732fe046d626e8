//! `automl search`: any space × strategy × evaluator from a config.

use std::time::Instant;

use crate::args::Search;
use crate::commands::{fit, report};
use crate::config::{self, Source};
use crate::error::CliError;
use crate::run_config::RunConfig;
use crate::session::{self, Run};

pub fn run(search: Search, start: Instant, quiet: bool) -> Result<u8, CliError> {
    let name = search.config.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let overrides = fit::budget(&search.budget);
    let config: RunConfig = config::load(Source::path(search.config), &overrides, &config::Options::default())?;
    let run_dir = search.budget.run_dir;
    let finished = session::run(Run { config, run_dir, name, resumed: None, start, quiet })?;
    report::finished(&finished, search.format)
}
