//! The command line of automl with the plugins of a third party linked in.

// A crate that no code mentions is left out by the linker, and its plugins with it: the lint names the forgotten one.
// Not in a test build, where what `tests/` needs would count as unused here.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

use std::process::ExitCode;

use acme_ops as _;
use acme_search as _;

fn main() -> ExitCode {
    automl_cli::main()
}
