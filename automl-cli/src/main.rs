//! The `automl` program: the command line with all official plugins.

/// Gives memory back to the system; with that of glibc, a run holds what its largest candidate took until it ends.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    automl_cli::main()
}
