//! The `automl` program: the command line with all official plugins.
fn main() -> std::process::ExitCode {
    automl_cli::main()
}
