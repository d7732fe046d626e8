//! What the runs of a comparison say together: mean, spread, quantiles, and how many found the optimum.

use std::io::{self, Write};

use automl_core::Objective;

use super::Curve;
use crate::error::CliError;

/// The quantiles that are told, beside the median.
const QUANTILES: [f64; 4] = [0.05, 0.25, 0.75, 0.95];

/// Everything that a comparison found.
pub struct Summary {
    /// One table a metric, the objective first.
    pub metrics: Vec<Metric>,
    seeds: usize,
    objective: String,
    /// The best value of the objective, and whether it was found in these runs or was given.
    optimum: Option<(f64, bool)>,
    /// A value of the objective, and how soon each variant had it.
    target: Option<(f64, Vec<Reached>)>,
}

/// After how many queries a variant had reached the target.
struct Reached {
    label: String,
    /// A run that did not get there counts with all its queries.
    queries: Spread,
    runs: usize,
    hits: usize,
}

impl Reached {
    fn of(label: &str, curves: &[&Curve], objective: &Objective, target: f64) -> Self {
        let at = |curve: &&Curve| {
            // A figure that is no number is no hit.
            curve.objective.iter().position(|value| objective.loss(*value) <= objective.loss(target)).map(|query| query + 1)
        };
        let hits = curves.iter().filter_map(at).count();
        let queries = curves.iter().map(|curve| at(curve).unwrap_or(curve.objective.len()) as f64);
        Self { label: label.to_owned(), queries: Spread::of(queries, None), runs: curves.len(), hits }
    }

    fn cells(&self) -> Vec<String> {
        let [.., lower, median, upper, _, _] = self.queries.order;
        let spread = &self.queries;
        let mean = format!("{:.0}±{:.0}", spread.mean, spread.deviation);
        vec![
            self.label.clone(),
            format!("{median:.0}"),
            format!("{lower:.0} to {upper:.0}"),
            mean,
            format!("{} of {}", self.hits, self.runs),
        ]
    }
}

/// One metric.
pub struct Metric {
    /// Its name.
    pub name: String,
    /// The variants with their figures.
    pub rows: Vec<Row>,
    at: Vec<u64>,
}

/// One variant in one metric.
pub struct Row {
    /// The variant.
    pub label: String,
    /// At the numbers of queries that were asked for.
    pub at: Vec<Spread>,
    /// At every query: lower quartile, median and upper quartile.
    pub curve: Vec<[f64; 3]>,
}

/// Figures of all runs at one number of queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Runs that had a figure.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (of a sample); 0 for one run.
    pub deviation: f64,
    /// Smallest, the quantiles with the median among them, and largest.
    pub order: [f64; 7],
    /// Share of the runs that had found the optimum; the objective alone has one.
    pub hit: Option<f64>,
}

impl Spread {
    /// The spread of some figures, of which those that are no number are left out; `optimum` counts as found within rounding.
    pub fn of(values: impl Iterator<Item = f64>, optimum: Option<f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let [low, lower, upper, high] = QUANTILES;
        let order = [0.0, low, lower, 0.5, upper, high, 1.0].map(|share| quantile(&values, share));
        let found = |optimum: f64| {
            let hits = values.iter().filter(|value| (**value - optimum).abs() <= 1e-9 * optimum.abs().max(1e-300)).count();
            hits as f64 / count
        };
        Self { runs: values.len(), mean, deviation: variance.sqrt(), order, hit: optimum.map(found) }
    }
}

impl Spread {
    /// Mean and deviation with so many digits; a dash where there is no run.
    pub fn text(&self, digits: usize) -> String {
        if self.runs == 0 { "-".to_owned() } else { format!("{:.digits$}±{:.digits$}", self.mean, self.deviation) }
    }
}

/// Digits that show two of the widest spread.
pub fn digits<'a>(spreads: impl Iterator<Item = &'a Spread>) -> usize {
    let widest = spreads.map(|spread| spread.deviation).filter(|deviation| deviation.is_finite()).fold(0.0, f64::max);
    if widest > 0.0 { (1.0 - widest.log10().floor()).clamp(2.0, 6.0) as usize } else { 4 }
}

/// Writes a table in columns, its header first.
pub fn aligned(cells: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let width =
        |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    for row in cells {
        let line = row.iter().enumerate().map(|(column, cell)| {
            let pad = " ".repeat(width(column) - cell.chars().count());
            if column == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") }
        });
        writeln!(out, "{}", line.collect::<String>())?;
    }
    Ok(())
}

/// Writes a table in Markdown, its header first.
pub fn piped(cells: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    for (line, row) in cells.iter().enumerate() {
        writeln!(out, "| {} |", row.join(" | "))?;
        if line == 0 {
            writeln!(out, "|{}", "---|".repeat(row.len()))?;
        }
    }
    Ok(())
}

/// The value below which a share of the sorted values lies, between the two nearest by a line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or(f64::NAN);
    let below = place.floor() as usize;
    at(below) + (place - place.floor()) * (at(below + 1) - at(below))
}

impl Summary {
    /// Adds up the curves of each variant.
    ///
    /// # Errors
    /// A metric that no run has.
    pub fn new(
        runs: &[(&str, Vec<&Curve>)],
        objective: &Objective,
        wanted: &[String],
        at: &[u64],
        optimum: Option<f64>,
        target: Option<f64>,
    ) -> Result<Self, CliError> {
        let curves = || runs.iter().flat_map(|(_, curves)| curves.iter());
        let mut known: Vec<&str> = curves().flat_map(|curve| curve.metrics.keys()).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        known.retain(|name| *name != objective.name);
        if let Some(name) = wanted.iter().find(|name| **name != objective.name && !known.contains(&name.as_str())) {
            return Err(CliError::usage(format!(
                "no run has a metric `{name}`; there are {}",
                std::iter::once(objective.name.as_str()).chain(known).collect::<Vec<_>>().join(", ")
            )));
        }
        let names = if wanted.is_empty() {
            std::iter::once(objective.name.as_str()).chain(known).collect()
        } else {
            wanted.iter().map(String::as_str).collect::<Vec<_>>()
        };
        let best = curves().filter_map(|curve| curve.objective.last()).filter(|value| !value.is_nan());
        let best = best.copied().min_by(|a, b| objective.loss(*a).total_cmp(&objective.loss(*b)));
        let optimum = optimum.map(|value| (value, true)).or(best.map(|value| (value, false)));
        let metric = |name: &str| {
            let own = name == objective.name;
            let values = move |curve: &Curve, query: usize| {
                let values = if own { Some(&curve.objective) } else { curve.metrics.get(name) };
                values.and_then(|values| values.get(query)).copied().unwrap_or(f64::NAN)
            };
            let optimum = optimum.map(|(value, _)| value).filter(|_| own);
            let row = |(label, curves): &(&str, Vec<&Curve>)| {
                let spread = |query: usize| Spread::of(curves.iter().map(|curve| values(curve, query)), optimum);
                let length = curves.iter().map(|curve| curve.objective.len()).max().unwrap_or(0);
                let quartiles = |query: usize| {
                    let [.., lower, median, upper, _, _] = spread(query).order;
                    [lower, median, upper]
                };
                Row {
                    label: (*label).to_owned(),
                    at: at.iter().map(|&at| spread(usize::try_from(at).unwrap_or(usize::MAX).saturating_sub(1))).collect(),
                    curve: (0..length).map(quartiles).collect(),
                }
            };
            Metric { name: name.to_owned(), rows: runs.iter().map(row).collect(), at: at.to_vec() }
        };
        Ok(Self {
            metrics: names.into_iter().map(metric).collect(),
            seeds: runs.iter().map(|(_, curves)| curves.len()).max().unwrap_or(0),
            objective: objective.name.clone(),
            optimum,
            target: target.map(|target| {
                (target, runs.iter().map(|(label, curves)| Reached::of(label, curves, objective, target)).collect())
            }),
        })
    }

    /// What stands above a table.
    fn heading(&self, metric: &Metric) -> String {
        let runs = crate::output::count(self.seeds, "run");
        if metric.name != self.objective {
            return format!("{} of the best by {} so far: mean ± standard deviation, {runs}", metric.name, self.objective);
        }
        let optimum = match self.optimum {
            Some((value, given)) => {
                format!("; share of runs that had found {value}, {}", if given { "the optimum" } else { "the best seen here" })
            }
            None => String::new(),
        };
        format!("{}, the best so far: mean ± standard deviation, {runs}{optimum}", metric.name)
    }

    /// Every table with what stands above it.
    fn tables(&self) -> Vec<(String, Vec<Vec<String>>)> {
        let mut tables: Vec<_> = self.metrics.iter().map(|metric| (self.heading(metric), metric.cells())).collect();
        if let Some((target, reached)) = &self.target {
            let heading = format!(
                "queries until {} was {target}; a run that did not get there counts with all its queries",
                self.objective
            );
            let header = ["strategy", "median", "quartiles", "mean", "reached by"].map(str::to_owned).to_vec();
            tables.push((heading, std::iter::once(header).chain(reached.iter().map(Reached::cells)).collect()));
        }
        tables
    }

    /// For people, on a terminal.
    pub fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, (heading, cells)) in self.tables().iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{heading}")?;
            aligned(cells, out)?;
        }
        Ok(())
    }

    /// For a document.
    pub fn markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, (heading, cells)) in self.tables().iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{heading}\n")?;
            piped(cells, out)?;
        }
        Ok(())
    }

    /// One line a variant, metric and number of queries.
    pub fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "strategy,metric,queries,runs,mean,deviation,min,q05,q25,median,q75,q95,max,optimum_share")?;
        for metric in &self.metrics {
            for row in &metric.rows {
                for (at, spread) in metric.at.iter().zip(&row.at) {
                    let mut figures = vec![at.to_string(), spread.runs.to_string()];
                    figures.extend([spread.mean, spread.deviation].into_iter().chain(spread.order).map(figure));
                    figures.push(spread.hit.map(figure).unwrap_or_default());
                    writeln!(out, "{},{},{}", quoted(&row.label), quoted(&metric.name), figures.join(","))?;
                }
            }
        }
        for (target, one) in self.target.iter().flat_map(|(target, reached)| reached.iter().map(move |one| (target, one))) {
            let mut figures = vec![one.runs.to_string()];
            figures.extend([one.queries.mean, one.queries.deviation].into_iter().chain(one.queries.order).map(figure));
            figures.push(figure(one.hits as f64 / one.runs as f64));
            writeln!(out, "{},{},,{}", quoted(&one.label), quoted(&format!("queries until {target}")), figures.join(","))?;
        }
        Ok(())
    }

    /// One line a run, metric and number of queries: what the summary was made of.
    pub fn runs(&self, runs: &[(&str, Vec<&Curve>)], out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "strategy,run,metric,queries,value")?;
        for metric in &self.metrics {
            for (label, curves) in runs {
                for (run, curve) in curves.iter().enumerate() {
                    let values =
                        if metric.name == self.objective { Some(&curve.objective) } else { curve.metrics.get(&metric.name) };
                    for at in &metric.at {
                        let place = usize::try_from(*at).unwrap_or(usize::MAX).saturating_sub(1);
                        let value = values.and_then(|values| values.get(place)).copied().unwrap_or(f64::NAN);
                        writeln!(out, "{},{run},{},{at},{}", quoted(label), quoted(&metric.name), figure(value))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Metric {
    /// The table as texts, its header first.
    fn cells(&self) -> Vec<Vec<String>> {
        let digits = digits(self.rows.iter().flat_map(|row| &row.at));
        let cell = |spread: &Spread| {
            let hit = spread.hit.map(|hit| format!(" ({:.0} %)", 100.0 * hit)).unwrap_or_default();
            spread.text(digits) + &hit
        };
        let header = std::iter::once("queries".to_owned()).chain(self.at.iter().map(u64::to_string)).collect();
        let rows = self.rows.iter().map(|row| std::iter::once(row.label.clone()).chain(row.at.iter().map(cell)).collect());
        std::iter::once(header).chain(rows).collect()
    }
}

pub fn figure(value: f64) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use automl_core::Direction;

    use super::*;

    fn curve(objective: &[f64], test: &[f64]) -> Curve {
        Curve { objective: objective.to_vec(), metrics: BTreeMap::from([("test".to_owned(), test.to_vec())]) }
    }

    #[test]
    fn a_spread_is_that_of_the_textbook() {
        let spread = Spread::of([3.0, f64::NAN, 1.0, 2.0, 4.0].into_iter(), Some(4.0));
        assert_eq!((spread.runs, spread.mean, spread.hit), (4, 2.5, Some(0.25)));
        assert!((spread.deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(spread.order[0..4], [1.0, 1.15, 1.75, 2.5]);
        assert_eq!(Spread::of([7.0].into_iter(), None).deviation, 0.0);
        assert_eq!(Spread::of(std::iter::empty(), Some(1.0)).runs, 0);
    }

    #[test]
    fn tables_tell_mean_spread_and_who_found_the_optimum() {
        let (a, b, c) = (curve(&[1.0, 3.0], &[f64::NAN, 9.0]), curve(&[2.0, 2.0], &[8.0, 8.0]), curve(&[0.0, 1.0], &[5.0, 6.0]));
        let runs = [("one, two", vec![&a, &b]), ("three", vec![&c])];
        let objective = Objective { name: "val".into(), direction: Direction::Maximize };
        let summary = Summary::new(&runs, &objective, &[], &[1, 2], None, Some(3.0)).ok().unwrap();
        let mut text = Vec::new();
        summary.table(&mut text).unwrap();
        summary.csv(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "one, two  1.50±0.71 (0 %)  2.50±0.71 (50 %)",
            "three     5.00±0.00  6.00±0.00",
            "\"one, two\",test,1,1,8,0,8",
            "three          2     2 to 2   2±0      0 of 1",
            "\"one, two\",queries until 3,,2,2,0,",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let error = Summary::new(&runs, &objective, &["tset".to_owned()], &[1], None, None).err().unwrap().to_string();
        assert!(error.contains("val, test"), "{error}");
        let given = Summary::new(&runs, &objective, &[], &[2], Some(2.0), None).ok().unwrap();
        assert_eq!(given.metrics[0].rows[0].at[0].hit, Some(0.5));
    }
}
