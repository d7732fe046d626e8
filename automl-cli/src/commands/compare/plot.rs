//! Curves with bands, as SVG: the median of the runs over the queries, and what lies between the quartiles.

use std::io::{self, Write};

use super::summary::{Metric, Row};
use crate::svg::escape;

/// Colours that people of any sight tell apart (Okabe and Ito 2008).
const COLOURS: [&str; 8] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00"];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;
/// Points of a curve that are drawn.
const POINTS: usize = 400;

/// Where a value stands in the picture.
struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.lo) / (self.hi - self.lo) * (self.to - self.from)
    }

    /// About six round numbers between the ends.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.hi - self.lo) / 6.0;
        let unit = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * unit).find(|step| *step >= rough).unwrap_or(unit);
        let first = (self.lo / step).ceil();
        (0..20).map(|index| (first + f64::from(index)) * step).take_while(|tick| *tick <= self.hi + 1e-9 * step).collect()
    }
}

/// Writes the plot of one metric.
pub fn write(out: &mut dyn Write, metric: &Metric) -> io::Result<()> {
    let length = metric.rows.iter().map(|row| row.curve.len()).max().unwrap_or(0).max(2);
    let legend = 24.0 + 7.0 * metric.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0) as f64;
    let right = LEFT + WIDTH;
    // The first tenth would flatten the rest.
    let values =
        metric.rows.iter().flat_map(|row| row.curve.iter().skip(length / 10)).flatten().copied().filter(|v| v.is_finite());
    let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), value| (lo.min(value), hi.max(value)));
    let (lo, hi) = if lo < hi {
        (lo, hi)
    } else if lo.is_finite() {
        (lo - 0.5, lo + 0.5)
    } else {
        (0.0, 1.0)
    };
    let margin = 0.04 * (hi - lo);
    let x = Scale { lo: 1.0, hi: length as f64, from: LEFT, to: right };
    let y = Scale { lo: lo - margin, hi: hi + margin, from: TOP + HEIGHT, to: TOP };
    let (width, height) = (right + 24.0 + legend, TOP + HEIGHT + BOTTOM);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
    writeln!(out, "<clipPath id=\"frame\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/></clipPath>")?;
    writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}: median and quartiles of the best so far</text>",
        escape(&metric.name)
    )?;
    for tick in y.ticks() {
        let at = y.at(tick);
        writeln!(out, "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, at + 4.0, number(tick))?;
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        writeln!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", TOP + HEIGHT + 18.0, number(tick))?;
    }
    writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">queries</text>",
        LEFT + WIDTH / 2.0,
        TOP + HEIGHT + 38.0
    )?;
    writeln!(out, "<g clip-path=\"url(#frame)\">")?;
    for (row, colour) in metric.rows.iter().zip(COLOURS.iter().cycle()) {
        writeln!(out, "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.13\"/>", band(row, &x, &y))?;
    }
    for (row, colour) in metric.rows.iter().zip(COLOURS.iter().cycle()) {
        let line = points(row, 1, &x, &y).join(" ");
        writeln!(out, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>")?;
    }
    writeln!(out, "</g>")?;
    writeln!(out, "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#888\"/>")?;
    for (index, (row, colour)) in metric.rows.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (at, middle) = (right + 16.0, TOP + 12.0 + 18.0 * index as f64);
        writeln!(
            out,
            "<line x1=\"{at}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            at + 16.0
        )?;
        writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", at + 22.0, middle + 4.0, escape(&row.label))?;
    }
    writeln!(out, "</svg>")
}

/// One of the three lines of a row: 0 lower quartile, 1 median, 2 upper quartile.
fn points(row: &Row, line: usize, x: &Scale, y: &Scale) -> Vec<String> {
    let every = row.curve.len().div_ceil(POINTS).max(1);
    let last = row.curve.len().saturating_sub(1);
    let shown = row.curve.iter().enumerate().filter(|(index, _)| index % every == 0 || *index == last);
    let value = |values: &[f64; 3]| values.get(line).copied().filter(|value| value.is_finite());
    shown.filter_map(|(index, values)| Some(format!("{:.1},{:.1}", x.at(index as f64 + 1.0), y.at(value(values)?)))).collect()
}

fn band(row: &Row, x: &Scale, y: &Scale) -> String {
    let mut around = points(row, 0, x, y);
    around.extend(points(row, 2, x, y).into_iter().rev());
    around.join(" ")
}

/// A tick without the noise of binary fractions.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale { lo: 93.21, hi: 94.4, from: 0.0, to: 1.0 };
        let ticks: Vec<String> = scale.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["93.4", "93.6", "93.8", "94", "94.2", "94.4"]);
        assert_eq!(Scale { lo: 1.0, hi: 500.0, from: 0.0, to: 1.0 }.ticks(), [100.0, 200.0, 300.0, 400.0, 500.0]);
    }
}
