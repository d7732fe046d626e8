//! TOML to the tree, by the spans of `toml::de::DeTable`.

use std::ops::Range;

use serde_json::Number;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::Options;
use super::tree::{Data, Fault, Key, Node, Place};

/// How deep the parser itself goes.
const PARSER_DEPTH: usize = 80;

/// Parses a whole text.
pub(super) fn document(text: &str, options: &Options) -> Result<Node, Fault> {
    let table = DeTable::parse(text).map_err(|error| fault(&error, text, options))?;
    let span = table.span();
    let context = Context { source: 0, offset: 0, max_depth: options.max_depth };
    context.table(table.into_inner(), span, 0)
}

/// Parses one value, as written after the `=` of an override that starts `offset` bytes into source `source`.
pub(super) fn value(text: &str, source: usize, offset: usize, options: &Options) -> Result<Node, Fault> {
    let shift = |mut fault: Fault| {
        fault.span = fault.span.start + offset..fault.span.end + offset;
        fault
    };
    let value = DeValue::parse(text).map_err(|error| shift(fault(&error, text, options)))?;
    Context { source, offset, max_depth: options.max_depth }.value(value, 0).map_err(shift)
}

struct Context {
    source: usize,
    offset: usize,
    max_depth: usize,
}

impl Context {
    fn place(&self, span: &Range<usize>) -> Place {
        Place { source: self.source, span: span.start + self.offset..span.end + self.offset }
    }

    fn table(&self, table: DeTable<'_>, span: Range<usize>, depth: usize) -> Result<Node, Fault> {
        if depth >= self.max_depth {
            return Err(Fault::too_deep(self.max_depth, span));
        }
        let entries = table.into_iter().map(|(key, value)| {
            let key = Key { place: self.place(&key.span()), name: key.into_inner().into_owned() };
            Ok((key, self.value(value, depth + 1)?))
        });
        Ok(Node { place: self.place(&span), data: Data::Table(entries.collect::<Result<_, Fault>>()?) })
    }

    fn value(&self, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Fault> {
        let span = value.span();
        let data = match value.into_inner() {
            DeValue::Table(table) => return self.table(table, span, depth),
            DeValue::Array(_) if depth >= self.max_depth => {
                return Err(Fault::too_deep(self.max_depth, span));
            }
            DeValue::Array(items) => {
                let items = items.into_iter().map(|item| self.value(item, depth + 1));
                Data::List(items.collect::<Result<_, Fault>>()?)
            }
            DeValue::String(text) => Data::Text(text.into_owned()),
            DeValue::Boolean(flag) => Data::Bool(flag),
            DeValue::Datetime(time) => Data::Text(time.to_string()),
            DeValue::Integer(integer) => {
                let (digits, radix) = (integer.as_str(), integer.radix());
                let number = i64::from_str_radix(digits, radix)
                    .map(Number::from)
                    .or_else(|_| u64::from_str_radix(digits, radix).map(Number::from));
                match number {
                    Ok(number) => Data::Number(number),
                    Err(_) => return Err(Fault::too_large(&integer.to_string(), span)),
                }
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(Number::from_f64);
                match number {
                    Some(number) => Data::Number(number),
                    None => return Err(Fault::not_finite(float.as_str(), span)),
                }
            }
        };
        Ok(Node { place: self.place(&span), data })
    }
}

/// Says what the parser says; its shortest messages get what they lack.
fn fault(error: &Error, text: &str, options: &Options) -> Fault {
    let span = error.span().unwrap_or(text.len()..text.len());
    match error.message() {
        message if message.contains("recurs") => Fault::too_deep(options.max_depth.min(PARSER_DEPTH), span),
        "duplicate key" => {
            let name = text.get(span.clone()).unwrap_or_default();
            Fault::new(format!("duplicate key `{}`", name.trim_matches(['"', '\''])), span).help("keep one of the two")
        }
        message => Fault::new(message, span),
    }
}
