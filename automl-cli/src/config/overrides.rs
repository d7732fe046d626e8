//! `--set path.to.key=value`: one value laid over the tree.
//!
//! The path is dotted, with list indices as `steps.0.factor` or `steps[0].factor`, and keys that hold a dot in
//! quotes. The value is read as TOML, and what is no TOML value is taken as a bare text. A new key is allowed here:
//! whether the config knows it is for serde to say, with the place of the override.

use std::ops::Range;

use super::Options;
use super::toml;
use super::tree::{Data, Fault, Key, Node, Place, Step, path_text};

/// A written path: each step and its place in the override.
type Path = Vec<(Step, Range<usize>)>;

/// Lays the override `text`, number `source` of the document's sources, over `root`.
pub(super) fn apply(root: &mut Node, text: &str, source: usize, options: &Options) -> Result<(), Fault> {
    let (path, start) = parse_path(text)?;
    if let Some((_, span)) = path.get(options.max_depth) {
        return Err(Fault::too_deep(options.max_depth, span.clone()));
    }
    let value = parse_value(text, start, source, options)?;
    *slot(root, &path, source)? = value;
    Ok(())
}

/// The steps of a path as an override would write it; as far as it makes sense.
pub(super) fn steps(path: &str) -> Vec<Step> {
    let written = parse_path(&format!("{path}="));
    written.map(|(path, _)| path.into_iter().map(|(step, _)| step).collect()).unwrap_or_default()
}

/// The place in the tree that `path` names, made if need be.
fn slot<'a>(root: &'a mut Node, path: &Path, source: usize) -> Result<&'a mut Node, Fault> {
    let mut node = root;
    let mut walked = Vec::new();
    for (step, span) in path {
        // `model:` with nothing after it is an empty table in the making.
        if matches!(node.data, Data::Null) {
            node.data = Data::Table(Vec::new());
        }
        let kind = node.kind();
        let here = match path_text(&walked) {
            here if here.is_empty() => "the config".to_owned(),
            here => format!("`{here}`"),
        };
        let index = match step {
            Step::Index(index) => Some(*index),
            Step::Key(name) => name.parse().ok(),
        };
        node = match (&mut node.data, step, index) {
            (Data::Table(entries), Step::Key(name), _) => {
                let at = match entries.iter().position(|(key, _)| key.name == *name) {
                    Some(at) => at,
                    None => {
                        let place = Place { source, span: span.clone() };
                        let empty = Node { place: place.clone(), data: Data::Null };
                        entries.push((Key { name: name.clone(), place }, empty));
                        entries.len() - 1
                    }
                };
                match entries.get_mut(at) {
                    Some((_, node)) => node,
                    None => return Err(Fault::new("the key is gone", span.clone())),
                }
            }
            (Data::List(items), _, Some(index)) => {
                let count = items.len();
                match items.get_mut(index) {
                    Some(item) => item,
                    None => {
                        let message = format!("{here} has no item {index}");
                        return Err(Fault::new(message, span.clone()).help(match count {
                            0 => "the list is empty; set it as a whole: `key=[…]`".to_owned(),
                            _ => format!("it has {count}, from 0 to {}", count - 1),
                        }));
                    }
                }
            }
            (Data::List(_), Step::Key(name), None) => {
                return Err(Fault::new(format!("{here} is a list, which has no key `{name}`"), span.clone())
                    .help("name an item by its number from 0, as in `steps[0].factor`"));
            }
            (Data::Table(_), ..) => {
                return Err(Fault::new(format!("{here} is a table, which has no items"), span.clone())
                    .help("name a key, as in `model.depth`"));
            }
            _ => {
                return Err(Fault::new(format!("{here} is {kind}, so nothing can be set below it"), span.clone())
                    .help(format!("set {here} itself, or to a table: `key={{ … }}`")));
            }
        };
        walked.push(match (step, index, kind) {
            (_, Some(index), "a list") => Step::Index(index),
            _ => step.clone(),
        });
    }
    Ok(node)
}

/// Reads up to the `=`; also returns where the value starts.
fn parse_path(text: &str) -> Result<(Path, usize), Fault> {
    let form = "write `path.to.key=value`, for example `steps[0].factor=2`";
    let bad = |message: &str, span: Range<usize>| Err(Fault::new(message, span).help(form));
    let mut path = Path::new();
    let mut at = 0;
    // After `]` or a closing quote, the step is complete.
    let mut complete = false;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(next) = rest.chars().next() else {
            return bad("the override has no `=`", at..at);
        };
        match next {
            '=' if complete => return Ok((path, at + 1)),
            '.' if complete => {
                complete = false;
                at += 1;
            }
            '[' if complete => {
                let Some(len) = rest.find(']') else {
                    return bad("`[` without `]`", at..text.len());
                };
                let span = at..at + len + 1;
                match rest.get(1..len).map(str::parse) {
                    Some(Ok(index)) => path.push((Step::Index(index), span)),
                    _ => return bad("an index must be a whole number from 0", span),
                }
                at += len + 1;
            }
            _ if complete => return bad("expected `.`, `[` or `=` here", at..at + next.len_utf8()),
            '"' | '\'' => {
                let Some(len) = rest.get(1..).and_then(|rest| rest.find(next)) else {
                    return bad("the quote is not closed", at..text.len());
                };
                let name = rest.get(1..=len).unwrap_or_default().to_owned();
                path.push((Step::Key(name), at..at + len + 2));
                at += len + 2;
                complete = true;
            }
            _ => {
                let len = rest.find(['.', '[', '=']).unwrap_or(rest.len());
                let written = rest.get(..len).unwrap_or_default();
                let name = written.trim();
                if name.is_empty() {
                    return bad("a key is missing here", at..at + len.max(1));
                }
                let start = at + (written.len() - written.trim_start().len());
                path.push((Step::Key(name.to_owned()), start..start + name.len()));
                at += len;
                complete = true;
            }
        }
    }
}

/// Reads the value as TOML, else as a bare text.
fn parse_value(text: &str, start: usize, source: usize, options: &Options) -> Result<Node, Fault> {
    let written = text.get(start..).unwrap_or_default();
    let trimmed = written.trim();
    let offset = start + (written.len() - written.trim_start().len());
    let span = offset..offset + trimmed.len();
    match toml::value(trimmed, source, offset, options) {
        Ok(node) => Ok(node),
        // These are numbers that TOML reads and we refuse, or the start of something that was to be TOML.
        Err(fault) if trimmed.starts_with(['[', '{', '"', '\'']) || fault.help.is_some() => Err(fault),
        Err(_) => Ok(Node { place: Place { source, span }, data: Data::Text(trimmed.to_owned()) }),
    }
}
