//! The command line of automl, as a library with a one-line binary.
//!
//! A program with more plugins is a `main` of a few lines: `use acme_ops as _;` and `automl_cli::main()` (see `examples/`).
//! The result of a command goes to stdout, progress and notes go to stderr. Exit codes: 0 done, 1 failed, 2 usage or config,
//! 3 bad data, 4 no model within the budget, 130 and 143 interrupted (with the best model written).

// Plugins are linked by being named: a crate that no code mentions is left out by the linker.
use automl_nas as _;
use automl_ops as _;
use automl_search as _;

mod args;
mod commands;
pub mod config;
pub mod duration;
mod error;
mod finish;
mod keeper;
mod memory;
mod output;
mod progress;
mod run_config;
mod session;
mod signals;
mod svg;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

pub use error::CliError;
pub use run_config::RunConfig;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let start = Instant::now();
    memory::give_back_freed();
    // A panic is caught where it happens (a trial) or below, and told in one line instead of a trace in the progress.
    std::panic::set_hook(Box::new(|_| {}));
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Usage errors are 2, help and version are 0; a closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let color = args.color();
    let run = std::panic::catch_unwind(|| commands::run(args, start));
    let result = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(CliError::failed(format!(
            "internal error: {}; please report it with the command and the data",
            text.unwrap_or("unknown")
        )))
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::note(&error.render(color));
            ExitCode::from(error.code())
        }
    }
}
