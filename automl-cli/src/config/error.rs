//! What is wrong with a config, where, and what to do about it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Longest message shown; serde quotes the whole value.
const MAX_MESSAGE: usize = 300;
/// Most bytes kept right of a place in one line; those left of it are kept, as the report counts columns by them.
const MAX_LINE: usize = 2_000;

/// A config that cannot be used.
///
/// `Display` is the whole report without colour; [`ConfigError::render`] can colour it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.render(false))]
pub struct ConfigError(Box<Report>);

#[derive(Debug, Default)]
struct Report {
    message: String,
    path: String,
    place: Option<Shown>,
    suggestion: Option<String>,
    notes: Vec<String>,
    help: Vec<String>,
}

/// A place in a text, kept with the lines around it.
#[derive(Debug)]
struct Shown {
    name: String,
    excerpt: String,
    first_line: usize,
    span: Range<usize>,
    related: Option<(Range<usize>, &'static str)>,
    line: usize,
    column: usize,
}

impl ConfigError {
    /// An error about the config as a whole.
    pub(super) fn new(message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((cut, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(cut);
            message.push('…');
        }
        Self(Box::new(Report { message, ..Report::default() }))
    }

    /// The same at a byte range of `text`, which is called `name`.
    pub(super) fn at(mut self, name: &str, text: &str, span: Range<usize>) -> Self {
        self.0.place = Some(Shown::new(name, text, span, None));
        self
    }

    /// The same with a second place in the same text.
    pub(super) fn related(
        mut self,
        name: &str,
        text: &str,
        span: Range<usize>,
        related: Option<(Range<usize>, &'static str)>,
    ) -> Self {
        self.0.place = Some(Shown::new(name, text, span, related));
        self
    }

    pub(super) fn in_path(mut self, path: String) -> Self {
        self.0.path = path;
        self
    }

    pub(super) fn suggest(mut self, suggestion: Option<&str>) -> Self {
        self.0.suggestion = suggestion.map(str::to_owned);
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.0.notes.push(note.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.push(help.into());
        self
    }

    /// What is wrong, in one line, without place or advice.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The dotted path of the entry at fault, as `steps[1].factor`; empty for the config as a whole or a syntax error.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The file, or `--set` for an override, with line and column from 1; columns count characters.
    pub fn position(&self) -> Option<(&str, usize, usize)> {
        self.0.place.as_ref().map(|place| (place.name.as_str(), place.line, place.column))
    }

    /// The name that was probably meant.
    pub fn suggestion(&self) -> Option<&str> {
        self.0.suggestion.as_deref()
    }

    /// The whole report: message, place with the text around it, advice. `color` adds ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        self.0.render(color)
    }
}

impl Report {
    fn render(&self, color: bool) -> String {
        let mut group = Level::ERROR
            .primary_title(self.message.as_str())
            .elements(std::iter::empty::<Snippet<'_, annotate_snippets::Annotation<'_>>>());
        let meant = self.suggestion.as_ref().map(|name| format!("did you mean `{name}`?"));
        if let Some(place) = &self.place {
            let mut primary = AnnotationKind::Primary.span(place.span.clone());
            if let Some(meant) = &meant {
                primary = primary.label(meant.as_str());
            }
            let mut snippet = Snippet::source(place.excerpt.as_str())
                .path(place.name.as_str())
                .line_start(place.first_line)
                .annotation(primary);
            if let Some((span, label)) = &place.related {
                snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(*label));
            }
            group = group.element(snippet);
        } else if let Some(meant) = &meant {
            group = group.element(Level::HELP.message(meant.as_str()));
        }
        if !self.path.is_empty() {
            group = group.element(Level::NOTE.message(format!("at `{}`", self.path)));
        }
        group = group.elements(self.notes.iter().map(|note| Level::NOTE.message(note.as_str())));
        group = group.elements(self.help.iter().map(|help| Level::HELP.message(help.as_str())));
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl Shown {
    /// Cuts out the lines that matter; offsets are first moved to whole characters inside the text.
    fn new(name: &str, text: &str, span: Range<usize>, related: Option<(Range<usize>, &'static str)>) -> Self {
        let span = clamp(text, span);
        let related = related.map(|(span, label)| (clamp(text, span), label));
        let first = related.as_ref().map_or(span.start, |(related, _)| related.start.min(span.start));
        let last = related.as_ref().map_or(span.end, |(related, _)| related.end.max(span.end));
        let line_start = |at: usize| text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let from = line_start(first);
        let to = text.get(last..).and_then(|t| t.find('\n')).map_or(text.len(), |at| at + last);
        let to = text.floor_char_boundary(to.min(last + MAX_LINE));
        let before = text.get(..span.start).unwrap_or_default();
        let column = before.get(line_start(span.start)..).unwrap_or_default().chars().count() + 1;
        let count_lines = |end: usize| text.get(..end).unwrap_or_default().matches('\n').count() + 1;
        let shift = |span: &Range<usize>| span.start - from..span.end - from;
        Self {
            name: name.to_owned(),
            excerpt: text.get(from..to).unwrap_or_default().to_owned(),
            first_line: count_lines(from),
            span: shift(&span),
            related: related.map(|(span, label)| (shift(&span), label)),
            line: count_lines(span.start),
            column,
        }
    }
}

/// A range inside `text`, on character boundaries.
fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}
