//! JSON to the tree: serde_json checks the text, a small scanner then finds the places.
//!
//! The scanner leans on serde_json for grammar, strings and numbers, and only tracks offsets. What it cannot expect
//! is still an error, never a panic.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::Options;
use super::tree::{Data, Fault, Key, Node, Place};

/// How deep serde_json itself goes.
const PARSER_DEPTH: usize = 127;

/// Parses a whole text.
pub(super) fn document(text: &str, options: &Options) -> Result<Node, Fault> {
    if let Err(error) = serde_json::from_str::<Value>(text) {
        return Err(fault(&error, text, options));
    }
    let mut scan = Scan { text, at: 0, max_depth: options.max_depth };
    scan.value(0)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips blanks, then `byte` if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let list = self.eat(b'[');
        let table = !list && self.eat(b'{');
        let start = self.at - usize::from(list || table);
        if (list || table) && depth >= self.max_depth {
            return Err(Fault::too_deep(self.max_depth, start..start + 1));
        }
        let data = if list {
            self.list(depth)?
        } else if table {
            self.table(depth)?
        } else {
            self.scalar()?
        };
        Ok(Node { place: Place { source: 0, span: start..self.at }, data })
    }

    fn list(&mut self, depth: usize) -> Result<Data, Fault> {
        let mut items = Vec::new();
        while !self.eat(b']') {
            items.push(self.value(depth + 1)?);
            self.eat(b',');
        }
        Ok(Data::List(items))
    }

    fn table(&mut self, depth: usize) -> Result<Data, Fault> {
        let mut entries = Vec::new();
        let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
        while !self.eat(b'}') {
            let start = self.at;
            let Data::Text(name) = self.scalar()? else {
                return Err(Fault::new("a key must be a quoted text", start..self.at));
            };
            let span = start..self.at;
            if let Some(first) = seen.insert(name.clone(), span.clone()) {
                return Err(Fault::duplicate(&name, span, first));
            }
            self.eat(b':');
            let node = self.value(depth + 1)?;
            entries.push((Key { name, place: Place { source: 0, span } }, node));
            self.eat(b',');
        }
        Ok(Data::Table(entries))
    }

    fn scalar(&mut self) -> Result<Data, Fault> {
        let start = self.at;
        if self.peek() == Some(b'"') {
            self.at += 1;
            while let Some(byte) = self.peek() {
                self.at += if byte == b'\\' { 2 } else { 1 };
                if byte == b'"' {
                    break;
                }
            }
        } else {
            let ends = |b: u8| b.is_ascii_whitespace() || matches!(b, b',' | b']' | b'}' | b':');
            while self.peek().is_some_and(|byte| !ends(byte)) {
                self.at += 1;
            }
        }
        let span = start..self.at;
        let written = self.text.get(span.clone()).unwrap_or_default();
        match serde_json::from_str(written) {
            Ok(Value::Null) => Ok(Data::Null),
            Ok(Value::Bool(flag)) => Ok(Data::Bool(flag)),
            Ok(Value::String(text)) => Ok(Data::Text(text)),
            Ok(Value::Number(number)) => {
                let integer = !written.contains(['.', 'e', 'E']);
                if integer && number.is_f64() && written != "-0" {
                    return Err(Fault::too_large(written, span));
                }
                Ok(Data::Number(number))
            }
            _ => Err(Fault::new("expected a value", span)),
        }
    }
}

/// serde_json counts columns in bytes from 1, and points at the last byte it read.
fn fault(error: &serde_json::Error, text: &str, options: &Options) -> Fault {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let at = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    let at = at.min(text.len());
    let full = error.to_string();
    let message = full.rfind(" at line ").and_then(|end| full.get(..end)).unwrap_or(&full);
    let fault = match message {
        "recursion limit exceeded" => {
            return Fault::too_deep(options.max_depth.min(PARSER_DEPTH), at..at + 1);
        }
        "number out of range" => Fault::new("the number is too large for a 64-bit float", at..at + 1),
        _ => Fault::new(message, at..at + 1),
    };
    match message {
        "trailing comma" => fault.help("JSON allows no comma before `]` or `}`"),
        "key must be a string" => fault.help("put the key in double quotes"),
        "expected value" => fault.help("JSON has no comments, no single quotes, and no NaN; TOML and YAML have comments"),
        _ => fault,
    }
}
