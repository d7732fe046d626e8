//! YAML to the tree, from the events of `saphyr-parser`.
//!
//! Events rather than a ready tree: an alias copies what it names, and a file of nested aliases must be refused
//! before the copies are made. Nodes, depth and aliases are therefore counted while the tree is built. Scalars
//! follow the core schema of YAML 1.2.2, section 10.3, with integers up to `u64::MAX`.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Number;

use super::Options;
use super::tree::{Data, Fault, Key, Node, Place};

/// How many nested `[` and `{` the parser itself takes.
const PARSER_DEPTH: usize = 255;

/// Parses a whole text of one document.
pub(super) fn document(text: &str, options: &Options) -> Result<Node, Fault> {
    let mut loader =
        Loader { parser: Parser::new_from_str(text), offsets: Offsets::new(text), anchors: BTreeMap::new(), weight: 0, options };
    let mut root = None;
    loop {
        let (event, span) = loader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => {
                return Err(Fault::new("a second document in one file", loader.offsets.span(span))
                    .help("keep one document, without `---` between parts"));
            }
            event => root = Some(loader.node(event, span, 0)?),
        }
    }
    Ok(root.unwrap_or(Node { place: Place { source: 0, span: 0..0 }, data: Data::Null }))
}

/// Turns the parser's offsets, counted in characters, into bytes.
struct Offsets {
    /// Byte offset of each character; empty for ASCII, where both are the same.
    bytes: Vec<usize>,
    len: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let bytes = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self { bytes, len: text.len() }
    }

    fn byte(&self, mark: Marker) -> usize {
        if self.bytes.is_empty() { mark.index().min(self.len) } else { self.bytes.get(mark.index()).copied().unwrap_or(self.len) }
    }

    fn span(&self, span: Span) -> Range<usize> {
        self.byte(span.start)..self.byte(span.end)
    }

    fn fault(&self, error: &ScanError, options: &Options) -> Fault {
        let at = self.byte(*error.marker());
        match error.info() {
            "recursion limit exceeded" => Fault::too_deep(options.max_depth.min(PARSER_DEPTH), at..at + 1),
            info => Fault::new(info, at..at + 1),
        }
    }
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    offsets: Offsets,
    /// Finished anchored nodes, and what a copy of each weighs.
    anchors: BTreeMap<usize, (Node, usize)>,
    weight: usize,
    options: &'a Options,
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.offsets.fault(&error, self.options)),
            None => Err(Fault::new("the text ends too early", self.offsets.len..self.offsets.len)),
        }
    }

    /// Adds to what the tree weighs: one for a node, more for a long text.
    fn weigh(&mut self, weight: usize, span: &Range<usize>) -> Result<(), Fault> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > self.options.max_nodes {
            let limit = self.options.max_nodes;
            return Err(Fault::new(format!("expands to more than {limit} values"), span.clone())
                .help("write out what the aliases (`*name`) stand for, or fewer of them"));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        let start = self.offsets.span(span);
        let before = self.weight;
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) && depth >= self.options.max_depth {
            return Err(Fault::too_deep(self.options.max_depth, start));
        }
        let (data, anchor, end) = match event {
            Event::Alias(anchor) => {
                let Some((_, weight)) = self.anchors.get(&anchor) else {
                    return Err(Fault::new("an alias inside the value it names", start));
                };
                self.weigh(*weight, &start)?;
                let data = self.anchors.get(&anchor).map(|(node, _)| node.data.clone());
                (data.unwrap_or(Data::Null), 0, start.end)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(1 + text.len() / 64, &start)?;
                (scalar(&text, style, tag.as_deref(), &start)?, anchor, start.end)
            }
            Event::SequenceStart(anchor, tag) => {
                self.weigh(1, &start)?;
                known_tag(tag.as_deref(), "seq", &start)?;
                let (items, end) = self.list(depth)?;
                (Data::List(items), anchor, end)
            }
            Event::MappingStart(anchor, tag) => {
                self.weigh(1, &start)?;
                known_tag(tag.as_deref(), "map", &start)?;
                let (entries, end) = self.table(depth)?;
                (Data::Table(entries), anchor, end)
            }
            _ => return Err(Fault::new("expected a value", start)),
        };
        let span = start.start..end.max(start.end);
        let node = Node { place: Place { source: 0, span }, data };
        if anchor != 0 {
            // The kept copy weighs as much as any other.
            let weight = self.weight - before;
            self.weigh(weight, &node.place.span)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, usize), Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, span) => return Ok((items, self.offsets.byte(span.end))),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<(Vec<(Key, Node)>, usize), Fault> {
        let mut entries = Vec::new();
        let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let at = self.offsets.span(span);
            let name = match event {
                Event::MappingEnd => return Ok((entries, self.offsets.byte(span.end))),
                Event::Scalar(name, ScalarStyle::Plain, ..) if name == "<<" => {
                    return Err(Fault::new("merge keys (`<<`) are not supported", at)
                        .help("write the keys out, or use an alias for a whole value"));
                }
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(Fault::new("a key must be a plain text", at)),
            };
            self.weigh(name.len() / 64, &at)?;
            if let Some(first) = seen.insert(name.clone(), at.clone()) {
                return Err(Fault::duplicate(&name, at, first));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push((Key { name, place: Place { source: 0, span: at } }, node));
        }
    }
}

/// Refuses tags other than `!!core`.
fn known_tag(tag: Option<&Tag>, core: &str, span: &Range<usize>) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == core) => {
            Err(Fault::new(format!("the tag `{tag}` is not supported here"), span.clone())
                .help(format!("leave the tag out; to choose a kind, write `type: {}` in the table", tag.suffix)))
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Range<usize>) -> Result<Data, Fault> {
    if let Some(tag) = tag {
        if tag.is_yaml_core_schema() && tag.suffix == "str" {
            return Ok(Data::Text(text.to_owned()));
        }
        let core = ["null", "bool", "int", "float"].into_iter().find(|name| *name == tag.suffix);
        known_tag(Some(tag), core.unwrap_or("str"), span)?;
    } else if style != ScalarStyle::Plain {
        return Ok(Data::Text(text.to_owned()));
    }
    let data = plain(text, span)?;
    let fits = match (tag.map(|tag| tag.suffix.as_str()), &data) {
        (None, _) | (Some("null"), Data::Null) | (Some("bool"), Data::Bool(_)) => true,
        (Some("int"), Data::Number(number)) => !number.is_f64(),
        (Some("float"), Data::Number(_)) => true,
        _ => false,
    };
    if fits { Ok(data) } else { Err(Fault::new(format!("`{text}` does not fit its tag"), span.clone())) }
}

/// An unquoted scalar by the core schema.
fn plain(text: &str, span: &Range<usize>) -> Result<Data, Fault> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Data::Null),
        "true" | "True" | "TRUE" => return Ok(Data::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Data::Bool(false)),
        _ => {}
    }
    let bare = text.trim_start_matches(['+', '-']);
    if matches!(bare, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(Fault::not_finite(text, span.clone()));
    }
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => (digits, 16),
        (_, Some(digits)) => (digits, 8),
        _ => (text, 10),
    };
    let signed = radix == 10 && text.len() - bare.len() == 1;
    let unsigned_digits = if signed { bare } else { digits };
    if !unsigned_digits.is_empty() && unsigned_digits.chars().all(|c| c.is_digit(radix)) {
        let number = i64::from_str_radix(digits, radix)
            .map(Number::from)
            .or_else(|_| u64::from_str_radix(digits, radix).map(Number::from));
        return number.map(Data::Number).map_err(|_| Fault::too_large(text, span.clone()));
    }
    // Rust also reads `inf` and `nan`, which YAML takes for words.
    let numeric = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.parse::<f64>() {
        Ok(float) if numeric => match Number::from_f64(float) {
            Some(number) => Ok(Data::Number(number)),
            None => Err(Fault::not_finite(text, span.clone())),
        },
        _ => Ok(Data::Text(text.to_owned())),
    }
}
