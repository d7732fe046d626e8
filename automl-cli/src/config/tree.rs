//! The tree every format is parsed to: values with the place each came from.

use std::ops::Range;

use serde_json::{Map, Number, Value};

/// The key that names a plugin; read first, see the module above.
pub(super) const TAG: &str = "type";

/// A byte range in one of a document's sources: 0 is the file, 1 the first override, and so on.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub source: usize,
    pub span: Range<usize>,
}

/// A key of a table and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub name: String,
    pub place: Place,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub data: Data,
}

/// What a node holds. Tables keep the order of the text.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// What a parser found wrong, in byte offsets of its own text.
#[derive(Debug)]
pub(super) struct Fault {
    pub message: String,
    pub span: Range<usize>,
    /// A second place that matters, and what it is.
    pub related: Option<(Range<usize>, &'static str)>,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), span, related: None, help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn too_deep(limit: usize, span: Range<usize>) -> Self {
        Self::new(format!("nested deeper than {limit} levels"), span)
    }

    pub fn not_finite(what: &str, span: Range<usize>) -> Self {
        Self::new(format!("`{what}` is not a finite number"), span)
            .help("write a finite number, or quote it if it is meant as text")
    }

    pub fn too_large(what: &str, span: Range<usize>) -> Self {
        Self::new(format!("the integer `{what}` does not fit in 64 bits"), span).help(format!(
            "integers go from {} to {}; with a decimal point it is a float",
            i64::MIN,
            u64::MAX
        ))
    }

    pub fn duplicate(name: &str, span: Range<usize>, first: Range<usize>) -> Self {
        let mut fault = Self::new(format!("duplicate key `{name}`"), span).help("keep one of the two");
        fault.related = Some((first, "first written here"));
        fault
    }
}

impl Node {
    /// What this is, in words for an error.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    /// The plain value, `type` first in every table.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Data::Table(entries) => {
                let tags = entries.iter().filter(|(key, _)| key.name == TAG);
                let others = entries.iter().filter(|(key, _)| key.name != TAG);
                let pair = |(key, node): &(Key, Node)| (key.name.clone(), node.to_value());
                Value::Object(tags.chain(others).map(pair).collect::<Map<_, _>>())
            }
        }
    }

    /// The first node nested deeper than `limit`.
    pub fn too_deep(&self, limit: usize) -> Option<&Node> {
        match &self.data {
            Data::List(_) | Data::Table(_) if limit == 0 => Some(self),
            Data::List(items) => items.iter().find_map(|node| node.too_deep(limit - 1)),
            Data::Table(entries) => entries.iter().find_map(|(_, node)| node.too_deep(limit - 1)),
            _ => None,
        }
    }

    /// The entry one step down, with its key if it has one.
    pub fn child(&self, step: &Step) -> Option<(Option<&Key>, &Node)> {
        match (&self.data, step) {
            (Data::Table(entries), Step::Key(name)) => {
                let (key, node) = entries.iter().find(|(key, _)| key.name == *name)?;
                Some((Some(key), node))
            }
            (Data::List(items), Step::Index(index)) => Some((None, items.get(*index)?)),
            _ => None,
        }
    }

    /// Follows `path` as far as it goes: the steps taken, the last key, the last node.
    pub fn follow<'a>(&'a self, path: &[Step]) -> (usize, Option<&'a Key>, &'a Node) {
        let (mut key, mut node) = (None, self);
        for (taken, step) in path.iter().enumerate() {
            let Some((next_key, next)) = node.child(step) else {
                return (taken, key, node);
            };
            (key, node) = (next_key, next);
        }
        (path.len(), key, node)
    }

    /// The only entry below this node that `wanted` accepts; none if there are several.
    pub fn find_only(&self, wanted: &dyn Fn(&Key, &Node) -> bool) -> Option<(&Key, &Node)> {
        fn walk<'a>(node: &'a Node, wanted: &dyn Fn(&Key, &Node) -> bool, found: &mut Vec<(&'a Key, &'a Node)>) {
            match &node.data {
                Data::List(items) => items.iter().for_each(|item| walk(item, wanted, found)),
                Data::Table(entries) => {
                    for (key, value) in entries {
                        if wanted(key, value) {
                            found.push((key, value));
                        }
                        walk(value, wanted, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        walk(self, wanted, &mut found);
        match found.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }
}

/// Writes a path as `steps[1].factor`, quoting keys that are not plain words.
pub(super) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
                if plain {
                    text.push_str(name);
                } else {
                    text.push_str(&format!("{name:?}"));
                }
            }
        }
    }
    text
}
