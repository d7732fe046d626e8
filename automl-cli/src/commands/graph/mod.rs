//! `automl graph`: a picture of a candidate, as SVG or as DOT for Graphviz.

mod layout;
mod picture;

use crate::args::{Graph, GraphFormat};
use crate::commands::candidate;
use crate::error::CliError;
use crate::output;

pub fn run(args: &Graph) -> Result<u8, CliError> {
    let genotype = candidate::read(&args.source, args.trial, args.space.as_deref())?;
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
