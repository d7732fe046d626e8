//! The `automl` program: the command line with all official plugins.

use std::ffi::{c_int, c_long};

/// Gives memory back to the system; with that of glibc, a run holds what its largest candidate took until it ends.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3: milliseconds until what was freed is given back.
const PURGE_DELAY: c_int = 15;
/// The default, a second, is long for a run that is held to a multiple of its table: on one of 1 MB, a third of what the process
/// held was free, and candidates were stopped for it.
const MILLISECONDS: c_long = 10;

fn main() -> std::process::ExitCode {
    #[expect(unsafe_code, reason = "a foreign function without conditions: it stores a number")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS);
    }
    automl_cli::main()
}
