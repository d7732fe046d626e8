//! `automl new`: an example config of any combination.

use automl_core::{Error, registry};
use serde_json::{Map, Value, json};

use crate::args::New;
use crate::error::CliError;
use crate::{config, output};

pub fn run(args: &New) -> Result<u8, CliError> {
    let mut config = Map::new();
    config.insert("seed".into(), json!(1));
    config.insert("study".into(), json!({ "time_limit": "60s", "lag": 7, "starts": true }));
    config.insert("strategy".into(), example("strategy", &args.strategy)?);
    config.insert("evaluator".into(), example("evaluator", &args.evaluator)?);
    if let Some(space) = &args.space {
        config.insert("space".into(), example("space", space)?);
    }
    if args.evaluator == "tabular" {
        config.insert("out".into(), json!("model.automl"));
    }
    let text = config::to_toml(&without_null(Value::Object(config)))?;
    output::file_or_stdout(args.out.as_deref(), |out| out.write_all(text.as_bytes()))?;
    Ok(0)
}

fn example(kind: &'static str, name: &str) -> Result<Value, CliError> {
    let plugins: Vec<_> = registry::plugins().into_iter().filter(|plugin| plugin.kind == kind).collect();
    match plugins.iter().find(|plugin| plugin.name == name) {
        Some(plugin) => Ok((plugin.example)()),
        None => Err(Error::unknown(kind, name, plugins.iter().map(|plugin| plugin.name)).into()),
    }
}

/// TOML has no null: a setting that is absent by default is left out.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, without_null(value))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        other => other,
    }
}
