//! Finding the candidate that a command line names.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use automl_core::{Genotype, Journal, SearchSpace, study};
use serde_json::Value;

use crate::error::CliError;
use crate::session;

/// The largest file that is read for a candidate.
const MOST_BYTES: u64 = 16 << 20;

/// The candidate that `source` means: of a space's notation, of a run, or of a file.
pub fn read(source: &str, trial: Option<u64>, space: Option<&str>) -> Result<Genotype, CliError> {
    let genotype = found(source, trial, space)?;
    genotype.check().map_err(|error| CliError::data(format!("{source}: {error}")))?;
    Ok(genotype)
}

fn found(source: &str, trial: Option<u64>, space: Option<&str>) -> Result<Genotype, CliError> {
    if let Some(space) = space {
        let space: Arc<dyn SearchSpace> = serde_json::from_value(serde_json::json!({ "type": space }))
            .map_err(|error| CliError::usage(format!("{error}; `automl plugins --kind space` lists the spaces")))?;
        return space.parse(source).map_err(|error| CliError::usage(error.to_string()));
    }
    let path = Path::new(source);
    if path.is_dir() {
        return of_run(path, trial);
    }
    let mut text = String::new();
    let unreadable = |error: std::io::Error| CliError::data(format!("{source}: {error}"));
    let mut reader: Box<dyn Read> =
        if source == "-" { Box::new(std::io::stdin().lock()) } else { Box::new(std::fs::File::open(path).map_err(unreadable)?) };
    reader.as_mut().take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    of_text(&text).map_err(|problem| CliError::data(format!("{source}: {problem}")))
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
fn of_text(text: &str) -> Result<Genotype, String> {
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
        let genotype = of_text(bare).unwrap();
        assert_eq!(genotype.nodes.len(), 2);
        assert_eq!(of_text(&format!(r#"{{"id": 3, "genotype": {bare}}}"#)).unwrap(), genotype);
        assert!(of_text("{").unwrap_err().contains("not JSON"));
        assert!(of_text("[]").unwrap_err().contains("not a genotype"));
    }
}
