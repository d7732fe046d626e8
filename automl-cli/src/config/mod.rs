//! Reads a typed config from TOML, YAML or JSON, and says where it is wrong.
//!
//! What is configured is not known here: any `DeserializeOwned` type will do. A file goes through five steps:
//!
//! 1. a parser per format (`toml`, `yaml`, `json`) builds one tree whose keys and values keep their place;
//! 2. `--set path.to.key=value` overrides are laid over that tree, with their own places;
//! 3. the tree becomes a `serde_json::Value` with `type` first in every table: a tag that comes later makes serde
//!    buffer the table, and a buffered table has no path to report;
//! 4. the value is read by serde, which reports the path of what it rejects;
//! 5. the path is looked up in the tree of step 1 and shown as a snippet.
//!
//! One tree for values and places, rather than a value beside a second parse for places, cannot disagree with
//! itself, and limits (size, depth, YAML aliases) are kept in the same pass. JSON has its own small scanner: YAML
//! parsers reject tabs and surrogate escapes that JSON allows.
//!
//! Structs should be `#[serde(deny_unknown_fields)]` and must not use `#[serde(flatten)]`, which turns that off and
//! loses the path.

mod error;
mod json;
mod overrides;
mod read;
mod suggest;
#[cfg(test)]
mod tests;
mod toml;
mod tree;
mod yaml;

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::ConfigError;
pub use read::Document;

/// Where a config comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file; its extension gives the format.
    Path(PathBuf),
    /// A text at hand. The name stands for the file in errors, and its extension, if any, gives the format.
    Text {
        /// What to call the text in errors.
        name: String,
        /// The text itself.
        text: String,
    },
}

impl Source {
    /// A file.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::Path(path.into())
    }

    /// A text with a name.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Text { name: name.into(), text: text.into() }
    }
}

/// The languages a config may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0 or 1.1.
    Toml,
    /// YAML 1.2 with the core schema; no custom tags, no merge keys, one document.
    Yaml,
    /// JSON.
    Json,
}

/// How to read, and how much to put up with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The format, whatever the name says. Default: from the extension, else whichever parser accepts the text.
    pub format: Option<Format>,
    /// Largest text, in bytes. Default 4 MiB.
    pub max_bytes: usize,
    /// Deepest nesting of tables and lists. Default 64, which any stack can hold.
    pub max_depth: usize,
    /// Most values a YAML text may expand to; long strings count more than once. Default 100 000.
    pub max_nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: None, max_bytes: 4 << 20, max_depth: 64, max_nodes: 100_000 }
    }
}

/// Reads a config and lays `overrides` (`path.to.key=value`) over it, the last one winning.
///
/// # Errors
/// Anything from a missing file to a value of the wrong type; the error shows the place and what would be right.
pub fn load<T: DeserializeOwned>(source: Source, overrides: &[String], options: &Options) -> Result<T, ConfigError> {
    Document::read(source, overrides, options)?.typed()
}

/// Reads a config as [`load`] does, and keeps only the verdict.
///
/// # Errors
/// Those of [`load`].
pub fn check<T: DeserializeOwned>(source: Source, overrides: &[String], options: &Options) -> Result<(), ConfigError> {
    load::<T>(source, overrides, options).map(drop)
}

/// Writes a config as TOML that [`load`] reads back, defaults and overrides included.
///
/// # Errors
/// When the config has a value TOML or [`load`] cannot hold: NaN, an infinity, nothing inside a list, a bare number
/// at the top.
pub fn to_toml<T: Serialize + ?Sized>(config: &T) -> Result<String, ConfigError> {
    let text = ::toml::to_string_pretty(config)
        .map_err(|error| ConfigError::new(format!("cannot write the config as TOML: {error}")))?;
    let source = Source::text("resolved config", text.clone());
    let options = Options { format: Some(Format::Toml), max_bytes: usize::MAX, ..Options::default() };
    Document::read(source, &[], &options)?;
    Ok(text)
}
