//! `automl graph`: a picture of a candidate, as SVG or as DOT for Graphviz.

mod layout;
mod picture;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use automl_core::{Genotype, Journal, SearchSpace, study};
use serde_json::Value;

use crate::args::{Graph, GraphFormat};
use crate::error::CliError;
use crate::output;
use crate::session;

/// The largest file that is read for a candidate.
const MOST_BYTES: u64 = 16 << 20;

pub fn run(args: &Graph) -> Result<u8, CliError> {
    let genotype = genotype(args)?;
    genotype.check().map_err(|error| CliError::data(format!("{}: {error}", args.source)))?;
    if genotype.nodes.is_empty() {
        return Err(CliError::data("this genotype has no nodes; there is nothing to draw"));
    }
    let by_name =
        args.out.as_ref().and_then(|path| path.extension()).filter(|extension| *extension == "dot" || *extension == "gv");
    match args.format.unwrap_or(if by_name.is_some() { GraphFormat::Dot } else { GraphFormat::Svg }) {
        GraphFormat::Svg => output::file_or_stdout(args.out.as_deref(), |out| picture::svg(out, &genotype))?,
        GraphFormat::Dot => output::file_or_stdout(args.out.as_deref(), |out| picture::dot(out, &genotype))?,
    }
    Ok(0)
}

/// The candidate that is meant: of a space's notation, of a run, or of a file.
fn genotype(args: &Graph) -> Result<Genotype, CliError> {
    if let Some(space) = &args.space {
        let space: Arc<dyn SearchSpace> = serde_json::from_value(serde_json::json!({ "type": space }))
            .map_err(|error| CliError::usage(format!("{error}; `automl plugins --kind space` lists the spaces")))?;
        return space.parse(&args.source).map_err(|error| CliError::usage(error.to_string()));
    }
    let path = Path::new(&args.source);
    if path.is_dir() {
        return of_run(path, args.trial);
    }
    let mut text = String::new();
    let unreadable = |error: std::io::Error| CliError::data(format!("{}: {error}", args.source));
    let mut source: Box<dyn Read> = if args.source == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    source.as_mut().take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    read(&text).map_err(|problem| CliError::data(format!("{}: {problem}", args.source)))
}

fn of_run(dir: &Path, trial: Option<u64>) -> Result<Genotype, CliError> {
    let contents = Journal::read(session::journal(dir)?)?;
    let trials: Vec<_> = contents.counting().cloned().collect();
    let found = match trial {
        Some(id) => trials
            .iter()
            .find(|trial| trial.id == id)
            .ok_or_else(|| CliError::usage(format!("{} has no trial {id}; `automl trials` lists them", dir.display())))?,
        None => study::best(&trials)
            .ok_or_else(|| CliError::usage(format!("{} has no complete trial; name one by --trial", dir.display())))?,
    };
    Ok(found.genotype.clone())
}

/// A genotype in JSON, or anything that has one: a trial of `automl trials`, the result of a run, an object with `genotype`.
fn read(text: &str) -> Result<Genotype, String> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON ({error}); give a genotype or a trial"))?;
    if let Some(inner) = value.get_mut("genotype") {
        value = inner.take();
    }
    serde_json::from_value(value).map_err(|error| format!("not a genotype: {error}; write {{\"nodes\": [{{\"op\": …}}, …]}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genotypes_are_found_where_people_have_them() {
        let bare = r#"{"nodes": [{"op": "input"}, {"op": "pca", "inputs": [0]}]}"#;
        let genotype = read(bare).unwrap();
        assert_eq!(genotype.nodes.len(), 2);
        assert_eq!(read(&format!(r#"{{"id": 3, "genotype": {bare}}}"#)).unwrap(), genotype);
        assert!(read("{").unwrap_err().contains("not JSON"));
        assert!(read("[]").unwrap_err().contains("not a genotype"));
    }
}
