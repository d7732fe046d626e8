//! Results on stdout, notes on stderr; neither minds a reader that went away.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use crate::error::CliError;

/// Writes one line to stderr.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a result to stdout; a closed pipe (`| head`) ends it quietly.
pub fn result(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    quiet(write(&mut out).and_then(|()| out.flush()), "standard output")
}

/// Writes a result to a file, whole or not at all, or to stdout where none is named.
pub fn file_or_stdout(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let Some(path) = path else { return result(write) };
    let name = path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::Builder::new().prefix(".automl-").tempfile_in(folder).and_then(|temporary| {
        let mut out = BufWriter::new(temporary);
        write(&mut out)?;
        let temporary = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        temporary.persist(path).map_err(|error| error.error).map(drop)
    });
    quiet(written, &name)
}

fn quiet(written: io::Result<()>, name: &str) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::failed(format!("{name}: {error}"))),
        _ => Ok(()),
    }
}
