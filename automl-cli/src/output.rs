//! Results on stdout, notes on stderr; neither minds a reader that went away. And how people read numbers and candidates.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use automl_core::{Genotype, Value};

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

/// A number of things: `1 trial`, `2 trials`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A candidate on one line with numbers to four digits; the exact ones are in the JSON formats.
pub fn brief(genotype: &Genotype) -> String {
    let mut genotype = genotype.clone();
    for value in genotype.nodes.iter_mut().flat_map(|node| node.params.values_mut()) {
        if let Value::Float(number) = value {
            *number = format!("{number:.3e}").parse().unwrap_or(*number);
        }
    }
    genotype.to_string()
}

/// What a candidate is made of: a chain as `a → b → c`, any other graph as `0:a 1:b(0)`, without parameters. A candidate of
/// one node is nothing but its parameters.
pub fn shape(genotype: &Genotype) -> String {
    if genotype.nodes.len() < 2 {
        return brief(genotype);
    }
    let in_row = genotype.nodes.iter().enumerate().all(|(index, node)| index == 0 || node.inputs == [index - 1]);
    if in_row {
        return genotype.nodes.iter().map(|node| node.op.as_str()).collect::<Vec<_>>().join(" → ");
    }
    let mut bare = genotype.clone();
    bare.nodes.iter_mut().for_each(|node| node.params.clear());
    bare.to_string()
}

#[cfg(test)]
mod tests {
    use automl_core::Node;

    use super::*;

    #[test]
    fn candidates_are_short_for_people() {
        let mut genotype =
            Genotype { nodes: vec![Node::new("a", []).with("x", 0.583_408_820_946_242_6).with("y", 5.690_649e-5)] };
        assert_eq!(brief(&genotype), "0:a(; x=0.5834 y=5.691e-5)");
        assert_eq!(shape(&genotype), brief(&genotype));
        genotype.nodes.push(Node::new("b", [0]));
        assert_eq!(shape(&genotype), "a → b");
        genotype.nodes.push(Node::new("c", [0, 1]).with("k", 3_i64));
        assert_eq!(shape(&genotype), "0:a 1:b(0) 2:c(0 1)");
        assert_eq!(brief(&genotype), "0:a(; x=0.5834 y=5.691e-5) 1:b(0) 2:c(0 1; k=3)");
    }
}
