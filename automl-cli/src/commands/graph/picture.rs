//! A genotype as SVG and as DOT.

use std::collections::BTreeMap;
use std::io::{self, Write};

use automl_core::{Genotype, Node, Value};

use super::layout::Layout;
use crate::svg::escape;

/// Pale colours for operators, by their order in the alphabet; sources and plain joints are white.
const COLOURS: [&str; 8] = ["#cfe8fc", "#fde2c8", "#d5f0dc", "#f3d9ec", "#fbf3c2", "#d9dcf5", "#f9d5d3", "#dcefee"];
/// Height of a box, and the distance from one to the next.
const BOX: f64 = 34.0;
const ROW: f64 = 54.0;
/// Distance between layers.
const GAP: f64 = 46.0;
const MARGIN: f64 = 16.0;
/// Width of a letter.
const LETTER: f64 = 6.8;
/// Letters of a parameter list that are shown.
const MOST_LETTERS: usize = 40;

/// The parameters of a node on one line, with numbers to four digits.
fn parameters(node: &Node) -> String {
    let value = |value: &Value| match value {
        Value::Float(number) => format!("{number:.3e}").parse::<f64>().unwrap_or(*number).to_string(),
        other => other.to_string(),
    };
    let text: Vec<String> = node.params.iter().map(|(name, of)| format!("{name}={}", value(of))).collect();
    let text = text.join(" ");
    if text.chars().count() <= MOST_LETTERS { text } else { text.chars().take(MOST_LETTERS - 1).chain(['…']).collect() }
}

/// The colour of each operator that has one.
fn colours(genotype: &Genotype) -> BTreeMap<&str, &'static str> {
    let plain = |node: &Node| node.inputs.is_empty() || (node.inputs.len() > 1 && node.params.is_empty());
    let mut names: Vec<&str> = genotype.nodes.iter().filter(|node| !plain(node)).map(|node| node.op.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().zip(COLOURS.iter().cycle().copied()).collect()
}

/// The boxes of a graph from left to right, with the way of the data between them.
pub fn svg(out: &mut dyn Write, genotype: &Genotype) -> io::Result<()> {
    let layout = Layout::of(genotype);
    let colours = colours(genotype);
    let lines = |node: &Node| (node.op.clone(), parameters(node));
    let letters = |node: &Node| {
        let (op, parameters) = lines(node);
        // Parameters are written smaller.
        (op.chars().count() as f64).max(0.8 * parameters.chars().count() as f64)
    };
    let mut widths = vec![0.0_f64; layout.layers];
    for (node, (layer, _)) in genotype.nodes.iter().zip(&layout.nodes) {
        if let Some(width) = widths.get_mut(*layer) {
            *width = width.max(20.0 + LETTER * letters(node));
        }
    }
    let mut left = MARGIN;
    let lefts: Vec<f64> = widths
        .iter()
        .map(|width| {
            let own = left;
            left += width + GAP;
            own
        })
        .collect();
    let span = |layer: usize| (lefts.get(layer).copied().unwrap_or(MARGIN), widths.get(layer).copied().unwrap_or(0.0));
    let middle = |height: f64| MARGIN + BOX / 2.0 + height * ROW;
    let deepest = layout.edges.iter().flatten().chain(&layout.nodes).map(|(_, height)| *height).fold(0.0, f64::max);
    let (width, height) = (left - GAP + MARGIN, middle(deepest) + BOX / 2.0 + MARGIN);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
    writeln!(
        out,
        "<marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0,0.5 L8,4 L0,7.5 z\" fill=\"#555\"/></marker>"
    )?;
    for way in &layout.edges {
        let mut path = String::new();
        let mut from = None;
        for (place, &(layer, height)) in way.iter().enumerate() {
            let ((left, width), y) = (span(layer), middle(height));
            // Ends at the sides of boxes; passes other layers straight.
            let (enters, leaves) = if place == 0 { (left + width, left + width) } else { (left, left + width) };
            if let Some((x0, y0)) = from {
                let bend: f64 = (enters - x0) / 2.0;
                path += &format!(" C{:.1},{y0:.1} {:.1},{y:.1} {enters:.1},{y:.1}", x0 + bend, enters - bend);
                if place + 1 < way.len() {
                    path += &format!(" L{leaves:.1},{y:.1}");
                }
            } else {
                path += &format!("M{leaves:.1},{y:.1}");
            }
            from = Some((leaves, y));
        }
        writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"#555\" stroke-width=\"1.2\" marker-end=\"url(#tip)\"/>")?;
    }
    for (node, &(layer, at)) in genotype.nodes.iter().zip(&layout.nodes) {
        let ((left, width), y) = (span(layer), middle(at));
        let colour = colours.get(node.op.as_str()).copied().unwrap_or("white");
        let (op, parameters) = lines(node);
        writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BOX}\" rx=\"5\" fill=\"{colour}\" stroke=\"#555\"/>",
            y - BOX / 2.0
        )?;
        let centre = left + width / 2.0;
        let line = if parameters.is_empty() { y + 4.0 } else { y - 2.0 };
        writeln!(out, "<text x=\"{centre:.1}\" y=\"{line:.1}\" text-anchor=\"middle\">{}</text>", escape(&op))?;
        if !parameters.is_empty() {
            let text = escape(&parameters);
            writeln!(
                out,
                "<text x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9.5\">{text}</text>",
                y + 11.0
            )?;
        }
    }
    writeln!(out, "</svg>")
}

/// The graph in the language of Graphviz.
pub fn dot(out: &mut dyn Write, genotype: &Genotype) -> io::Result<()> {
    let colours = colours(genotype);
    writeln!(
        out,
        "digraph genotype {{\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];"
    )?;
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    for (index, node) in genotype.nodes.iter().enumerate() {
        let parameters = parameters(node);
        let gap = if parameters.is_empty() { "" } else { "\\n" };
        let colour = colours.get(node.op.as_str()).map(|colour| format!(", fillcolor=\"{colour}\"")).unwrap_or_default();
        writeln!(out, "  n{index} [label=\"{}{gap}{}\"{colour}];", quoted(&node.op), quoted(&parameters))?;
    }
    for (index, node) in genotype.nodes.iter().enumerate() {
        for input in &node.inputs {
            writeln!(out, "  n{input} -> n{index};")?;
        }
    }
    writeln!(out, "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_both_languages() {
        let genotype = Genotype { nodes: vec![Node::new("in", []), Node::new("a<\"b\">&", [0]).with("x", 0.123_456)] };
        let (mut picture, mut text) = (Vec::new(), Vec::new());
        svg(&mut picture, &genotype).unwrap();
        dot(&mut text, &genotype).unwrap();
        let (picture, text) = (String::from_utf8(picture).unwrap(), String::from_utf8(text).unwrap());
        assert!(picture.contains("a&lt;&quot;b&quot;&gt;&amp;") && picture.contains("x=0.1235"), "{picture}");
        assert!(text.contains("n1 [label=\"a<\\\"b\\\">&\\nx=0.1235\"") && text.contains("n0 -> n1;"), "{text}");
    }
}
