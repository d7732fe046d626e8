//! `automl evaluate`: the scores of a model on a labelled table.

use std::collections::BTreeMap;

use automl_core::Cancel;
use automl_ops::dataset::TargetColumn;
use automl_ops::evaluator::score;
use automl_ops::model::Predictions;
use automl_ops::{Metric, Model};
use serde_json::json;

use crate::args::{Evaluate, Format};
use crate::error::CliError;
use crate::output;

pub fn run(args: &Evaluate, quiet: bool) -> Result<u8, CliError> {
    let model = Model::load(&args.model)?;
    let table = model.read(&args.data, true)?;
    let (rows, metrics) = metrics(&model, table, quiet)?;
    if args.format == Format::Json {
        let value = json!({ "rows": rows, "metrics": metrics });
        output::result(|out| writeln!(out, "{value}"))?;
        return Ok(0);
    }
    output::result(|out| {
        writeln!(out, "{:<18} {rows}", "rows")?;
        metrics.iter().try_for_each(|(name, value)| writeln!(out, "{name:<18} {value:.6}"))
    })?;
    Ok(0)
}

/// Every defined metric of a model on a labelled table, and the number of rows scored.
///
/// # Errors
/// A table without the target, or without rows that can be scored.
pub fn metrics(
    model: &Model,
    table: automl_ops::table::Table,
    quiet: bool,
) -> Result<(usize, BTreeMap<&'static str, f64>), CliError> {
    let target = &model.about.target.name;
    let (truth, rows) = TargetColumn::truth(&table, target, &model.about.labels)?;
    if rows.len() < table.rows && !quiet {
        let left = output::count(table.rows - rows.len(), "row");
        output::note(&format!("note: {left} not scored: no `{target}`, or a label that the model does not know"));
    }
    let Predictions { values, width } = model.predict(&table, &Cancel::new())?;
    let scored: Vec<f32> = rows.iter().flat_map(|&row| values[row * width..(row + 1) * width].iter().copied()).collect();
    let fitting = Metric::ALL.into_iter().filter(|metric| metric.task() == model.about.task);
    let metrics = fitting.filter_map(|metric| Some((metric.name(), score(metric, &truth, &scored, None).ok()?))).collect();
    Ok((rows.len(), metrics))
}
