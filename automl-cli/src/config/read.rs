//! A config that is read but not typed yet.
//!
//! Kept apart from the typed value so that checks which come later, such as ranges or names of columns, can still
//! point at the place: [`Document::error_at`].

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::tree::{Data, Fault, Key, Node, Place, Step, path_text};
use super::{ConfigError, Format, Options, Source, json, overrides, suggest, toml, yaml};

/// A config as written, overrides applied, every value with its place.
#[derive(Debug)]
pub struct Document {
    /// Name and text: the file, then each override.
    sources: Vec<(String, String)>,
    root: Node,
}

impl Document {
    /// Reads a config and lays `overrides` over it.
    ///
    /// A blank text is an empty table, in any format.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, is over a limit of `options`, or an override does not fit.
    pub fn read(source: Source, overrides: &[String], options: &Options) -> Result<Self, ConfigError> {
        let (name, text) = match source {
            Source::Path(path) => (path.display().to_string(), read_file(&path, options)?),
            Source::Text { name, text } => (name, text),
        };
        if text.len() > options.max_bytes {
            return Err(too_big(&name, options));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let root = parse(&name, &text, options)?;
        let mut document = Self { sources: vec![(name, text)], root };
        for (index, text) in overrides.iter().enumerate() {
            document.sources.push(("--set".to_owned(), text.clone()));
            overrides::apply(&mut document.root, text, index + 1, options).map_err(|fault| describe(fault, "--set", text))?;
        }
        match document.root.too_deep(options.max_depth) {
            Some(node) => {
                let message = format!("nested deeper than {} levels", options.max_depth);
                Err(document.show(ConfigError::new(message), &node.place))
            }
            None => Ok(document),
        }
    }

    /// The plain value, keys in the order of the text but `type` first.
    pub fn to_value(&self) -> Value {
        self.root.to_value()
    }

    /// The config as a `T`.
    ///
    /// # Errors
    /// When serde rejects it; the error shows where.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(self.to_value()).map_err(|error| {
            let steps = self.steps(error.path());
            self.explain(&steps, &error.inner().to_string())
        })
    }

    /// An error of the caller's own about the entry at `path`, as in `steps[1].factor`.
    ///
    /// A path that is not written, such as that of a default, is shown at the nearest table that is.
    pub fn error_at(&self, path: &str, message: impl Into<String>) -> ConfigError {
        let steps = overrides::steps(path);
        let (_, key, node) = self.root.follow(&steps);
        let place = self.short_place(key, node);
        self.show(ConfigError::new(message).in_path(path.to_owned()), &place)
    }

    /// serde's path in our steps. A variant is a step only where it is written as a key.
    fn steps(&self, path: &serde_path_to_error::Path) -> Vec<Step> {
        let mut steps = Vec::new();
        for segment in path {
            match segment {
                Segment::Seq { index } => steps.push(Step::Index(*index)),
                Segment::Map { key } => steps.push(Step::Key(key.clone())),
                Segment::Enum { variant } => {
                    let step = Step::Key(variant.clone());
                    if self.root.follow(&steps).2.child(&step).is_some() {
                        steps.push(step);
                    }
                }
                Segment::Unknown => break,
            }
        }
        steps
    }

    /// Finds the place for one of serde's messages.
    fn explain(&self, steps: &[Step], message: &str) -> ConfigError {
        let parts = suggest::split(message);
        let about_key = message.starts_with("unknown field");
        let (_, key, node) = self.root.follow(steps);
        let mut path = path_text(steps);
        let mut place = self.short_place(key, node);
        if let Some(name) = &parts.name {
            let at_end = steps.last() == Some(&Step::Key(name.clone()));
            let is_key = |key: &Key, _: &Node| key.name == *name;
            let is_value = |_: &Key, node: &Node| matches!(&node.data, Data::Text(text) if text == name);
            if let Some((Some(child), _)) = node.child(&Step::Key(name.clone())).filter(|_| !at_end) {
                // The table is named, and the offending key is in it.
                place = child.place.clone();
                path = path_text(&[steps, &[Step::Key(name.clone())]].concat());
            } else if about_key {
                // Under a tag that serde buffers, the path ends early; a name that occurs once is still certain.
                let found = if at_end { key } else { node.find_only(&is_key).map(|(key, _)| key) };
                place = found.map_or(place, |key| key.place.clone());
            } else if matches!(node.data, Data::Table(_) | Data::List(_)) {
                place = node.find_only(&is_value).map_or(place, |(_, node)| node.place.clone());
            }
        }
        let names = parts.alternatives.iter().map(String::as_str);
        let meant = parts.name.as_deref().and_then(|name| suggest::nearest(name, names));
        let mut error = ConfigError::new(parts.head).in_path(path).suggest(meant);
        if let [only] = parts.alternatives.as_slice() {
            error = error.note(format!("expected `{only}`"));
        } else if !parts.alternatives.is_empty() {
            error = error.note(format!("expected one of `{}`", parts.alternatives.join("`, `")));
        }
        if let Some((name, text)) = self.sources.first()
            && text.trim().is_empty()
            && place.source == 0
        {
            error = error.note(format!("`{name}` is empty"));
        }
        self.show(error, &place)
    }

    /// Where to point for a node: all of it if it is on one line, else its key, else its first line.
    fn short_place(&self, key: Option<&Key>, node: &Node) -> Place {
        let Place { source, span } = &node.place;
        let text = self.sources.get(*source).map_or("", |(_, text)| text);
        let written = text.get(span.clone()).unwrap_or_default().trim_end();
        match (written.find('\n'), key) {
            (Some(_), Some(key)) => key.place.clone(),
            (line, _) => {
                let first = line.and_then(|end| written.get(..end)).unwrap_or(written).trim_end();
                Place { source: *source, span: span.start..span.start + first.len() }
            }
        }
    }

    fn show(&self, error: ConfigError, place: &Place) -> ConfigError {
        match self.sources.get(place.source) {
            Some((name, text)) => error.at(name, text, place.span.clone()),
            None => error,
        }
    }
}

type Parser = fn(&str, &Options) -> Result<Node, Fault>;

/// A parser's fault as an error.
fn describe(fault: Fault, name: &str, text: &str) -> ConfigError {
    let error = ConfigError::new(fault.message).related(name, text, fault.span, fault.related);
    match fault.help {
        Some(help) => error.help(help),
        None => error,
    }
}

fn parse(name: &str, text: &str, options: &Options) -> Result<Node, ConfigError> {
    let blank = Node { place: Place { source: 0, span: 0..0 }, data: Data::Table(Vec::new()) };
    if text.trim().is_empty() {
        return Ok(blank);
    }
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let format = options.format.or(match extension.as_deref() {
        Some("toml") => Some(Format::Toml),
        Some("yaml" | "yml") => Some(Format::Yaml),
        Some("json") => Some(Format::Json),
        _ => None,
    });
    let parsers: [(Format, Parser); 3] =
        [(Format::Toml, toml::document), (Format::Json, json::document), (Format::Yaml, yaml::document)];
    let mut furthest: Option<(Format, Fault)> = None;
    for (candidate, parser) in parsers {
        if format.is_some_and(|format| format != candidate) {
            continue;
        }
        match parser(text, options) {
            // Only comments.
            Ok(Node { data: Data::Null, .. }) => return Ok(blank),
            // Almost any prose is a YAML text; it is no config.
            Ok(node) if format.is_none() && !matches!(node.data, Data::Table(_)) => {}
            Ok(node) => return Ok(node),
            Err(fault) => {
                let further = |(_, best): &(Format, Fault)| fault.span.start > best.span.start;
                if furthest.as_ref().is_none_or(further) {
                    furthest = Some((candidate, fault));
                }
            }
        }
    }
    let error = match furthest {
        Some((_, fault)) if format.is_some() => return Err(describe(fault, name, text)),
        Some((best, fault)) => describe(fault, name, text).note(format!("read as {best:?}")),
        None => ConfigError::new("not a table of keys and values").at(name, text, 0..1),
    };
    Err(error.help("the name tells no format; end it in `.toml`, `.yaml` or `.json`"))
}

fn too_big(name: &str, options: &Options) -> ConfigError {
    ConfigError::new(format!("`{name}` is larger than {} bytes, too large for a config", options.max_bytes))
        .help("is this the data? give the config here")
}

fn read_file(path: &Path, options: &Options) -> Result<String, ConfigError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let limit = u64::try_from(options.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(unreadable(path, &error));
    }
    if bytes.len() > options.max_bytes {
        return Err(too_big(&name, options));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let wide = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let span: Range<usize> = at..at + 1;
        ConfigError::new("not a UTF-8 text").at(&name, &text, span).help(if wide {
            "it looks like UTF-16; save it as UTF-8"
        } else {
            "save it as UTF-8"
        })
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    let name = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            let wanted = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            let near = suggest::nearest(&wanted, names.iter().map(String::as_str));
            let meant = near.map(|near| match folder {
                folder if folder == Path::new(".") => near.to_owned(),
                folder => folder.join(near).display().to_string(),
            });
            ConfigError::new(format!("there is no file `{name}`"))
                .suggest(meant.as_deref())
                .help("check the name, and from which folder you start")
        }
        ErrorKind::IsADirectory => ConfigError::new(format!("`{name}` is a folder")).help("give a file in it"),
        ErrorKind::PermissionDenied => ConfigError::new(format!("no permission to read `{name}`")).help("check who may read it"),
        _ => ConfigError::new(format!("cannot read `{name}`: {error}")),
    }
}
