//! `automl plugins`: what is linked into this program.

use automl_core::registry;
use serde_json::{Value, json};

use crate::args::{Format, Plugins};
use crate::error::CliError;
use crate::output;

pub fn run(args: &Plugins) -> Result<u8, CliError> {
    registry::check()?;
    let wanted = |kind: &str| args.kind.as_deref().is_none_or(|wanted| wanted == kind);
    let mut list: Vec<Value> = registry::plugins()
        .into_iter()
        .filter(|plugin| wanted(plugin.kind))
        .map(|plugin| {
            json!({
                "kind": plugin.kind,
                "name": plugin.name,
                "summary": plugin.summary(),
                "package": plugin.package,
                "version": plugin.version,
                "example": (plugin.example)(),
                "schema": (plugin.schema)(),
            })
        })
        .collect();
    let operators = registry::operators().into_iter().filter(|_| wanted("operator"));
    list.extend(operators.map(|entry| {
        json!({
            "kind": "operator",
            "name": entry.operator.name(),
            "summary": entry.operator.summary(),
            "package": entry.package,
            "version": entry.version,
            "inputs": entry.operator.inputs(),
            "output": entry.operator.output(),
            "params": entry.operator.params(),
        })
    }));
    if args.format == Format::Json {
        let value = Value::Array(list);
        output::result(|out| writeln!(out, "{value}"))?;
        return Ok(0);
    }
    output::result(|out| {
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        for item in &list {
            let package = text(item, "package");
            writeln!(out, "{:<10} {:<24} {:<16} {}", text(item, "kind"), text(item, "name"), package, text(item, "summary"))?;
            if args.kind.is_some() {
                parameters(item).into_iter().try_for_each(|line| writeln!(out, "{:<10}   {line}", ""))?;
            }
        }
        Ok(())
    })?;
    Ok(0)
}

/// One line a parameter, for the listing of one kind.
fn parameters(item: &Value) -> Vec<String> {
    if let Some(params) = item["params"].as_array() {
        let line = |param: &Value| {
            let summary = param["summary"].as_str().unwrap_or_default();
            format!(
                "{} = {}  {}  {summary}",
                param["name"].as_str().unwrap_or_default(),
                param["default"],
                domain(&param["domain"])
            )
        };
        return params.iter().map(line).collect();
    }
    let properties = &item["schema"]["properties"];
    let example = item["example"].as_object();
    let fields = example.into_iter().flatten().filter(|(name, _)| *name != "type");
    fields
        .map(|(name, value)| {
            let summary = properties[name]["description"].as_str().unwrap_or_default();
            format!("{name} = {value}  {}", summary.lines().next().unwrap_or_default())
        })
        .collect()
}

/// The values of a parameter, such as `1..30 (log)` or `gini | entropy`.
fn domain(domain: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(options) = domain["choice"].as_array() {
        return options.iter().map(plain).collect::<Vec<_>>().join(" | ");
    }
    let range = if domain["int"].is_object() { &domain["int"] } else { &domain["float"] };
    let log = if range["log"] == true { " (log)" } else { "" };
    format!("{}..{}{log}", plain(&range["lo"]), plain(&range["hi"]))
}
