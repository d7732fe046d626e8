//! Strategies × spaces in one table: what each found in each config, and its mean rank.

use std::io::{self, Write};

use automl_core::Objective;

use super::summary::{Spread, aligned, digits, figure, piped, quoted};
use super::{Curve, Variant, objective};
use crate::args::{Compare, CompareFormat};
use crate::error::CliError;
use crate::output;
use crate::session::Built;

/// A row a strategy, a column a config.
pub struct Matrix {
    columns: Vec<Column>,
    rows: Vec<Row>,
    queries: u64,
}

struct Column {
    /// The config and what it is told by.
    name: String,
    objective: Objective,
}

struct Row {
    strategy: String,
    /// What was found in each config; none where it was not compared.
    found: Vec<Option<Spread>>,
    /// Mean over the configs, of 1 for the best mean in a config; equals share their ranks.
    rank: f64,
}

impl Matrix {
    /// The figures of all runs after so many queries; a report without a direction of its own has that of the objective.
    pub fn new(
        variants: &[Variant],
        built: &[Built],
        curves: &[Option<Curve>],
        args: &Compare,
        queries: u64,
    ) -> Result<Self, CliError> {
        let runs = |index: usize| curves.iter().skip(index).step_by(variants.len().max(1)).flatten();
        let (mut columns, mut rows): (Vec<Column>, Vec<Row>) = (Vec::new(), Vec::new());
        for (file, path) in args.configs.iter().enumerate() {
            let own: Vec<(usize, &Variant)> = variants.iter().enumerate().filter(|(_, variant)| variant.file == file).collect();
            let Some((_, first)) = own.first() else { continue };
            let objective = objective(first, built)?;
            let known =
                |name: &&String| own.iter().flat_map(|(index, _)| runs(*index)).any(|curve| curve.metrics.contains_key(*name));
            let metric = args.metric.iter().find(known);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            columns.push(Column { name: format!("{stem}: {}", metric.unwrap_or(&objective.name)), objective });
            for (index, variant) in own {
                let place = usize::try_from(queries).unwrap_or(usize::MAX).saturating_sub(1);
                let value = |curve: &Curve| {
                    let values = match metric {
                        Some(name) => curve.metrics.get(name),
                        None => Some(&curve.objective),
                    };
                    values.and_then(|values| values.get(place)).copied().unwrap_or(f64::NAN)
                };
                let spread = Spread::of(runs(index).map(value), None);
                let row = rows.iter().position(|row| row.strategy == variant.strategy).unwrap_or_else(|| {
                    rows.push(Row { strategy: variant.strategy.clone(), found: Vec::new(), rank: f64::NAN });
                    rows.len() - 1
                });
                if let Some(row) = rows.get_mut(row) {
                    row.found.resize(file, None);
                    row.found.push(Some(spread).filter(|spread| spread.runs > 0));
                }
            }
        }
        let mut own = Self { columns, rows, queries };
        own.rows.iter_mut().for_each(|row| row.found.resize(own.columns.len(), None));
        own.rank();
        Ok(own)
    }

    fn rank(&mut self) {
        let loss = |row: &Row, column: usize| {
            let objective = &self.columns.get(column)?.objective;
            Some(objective.loss(row.found.get(column)?.as_ref()?.mean))
        };
        let rank = |row: &Row, column: usize| {
            let own = loss(row, column)?;
            let others = || self.rows.iter().filter_map(|other| loss(other, column));
            let (better, equal) = (others().filter(|other| *other < own).count(), others().filter(|other| *other == own).count());
            Some(better as f64 + (equal as f64 + 1.0) / 2.0)
        };
        let mean = |row: &Row| {
            let ranks: Vec<f64> = (0..self.columns.len()).filter_map(|column| rank(row, column)).collect();
            ranks.iter().sum::<f64>() / ranks.len() as f64
        };
        let ranks: Vec<f64> = self.rows.iter().map(mean).collect();
        self.rows.iter_mut().zip(ranks).for_each(|(row, rank)| row.rank = rank);
        self.rows.sort_by(|a, b| a.rank.total_cmp(&b.rank));
    }

    /// Prints it.
    pub fn write(&self, format: CompareFormat) -> Result<(), CliError> {
        output::result(|out| match format {
            CompareFormat::Csv => self.csv(out),
            CompareFormat::Table => {
                writeln!(out, "{}", self.heading())?;
                aligned(&self.cells(), out)
            }
            CompareFormat::Markdown => {
                writeln!(out, "{}\n", self.heading())?;
                piped(&self.cells(), out)
            }
        })
    }

    fn heading(&self) -> String {
        let runs = self.rows.iter().flat_map(|row| &row.found).flatten().map(|spread| spread.runs).max().unwrap_or(0);
        let runs = output::count(runs, "run");
        format!("the best after {} queries: mean ± standard deviation, {runs}; the best mean rank first", self.queries)
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let column = |index: usize| self.rows.iter().filter_map(move |row| row.found.get(index)?.as_ref());
        let width: Vec<usize> = (0..self.columns.len()).map(|index| digits(column(index))).collect();
        let names = self.columns.iter().map(|column| column.name.clone());
        let header = std::iter::once("strategy".to_owned()).chain(names).chain(["mean rank".to_owned()]).collect();
        let rows = self.rows.iter().map(|row| {
            let found = row.found.iter().zip(&width);
            let texts =
                found.map(|(spread, digits)| spread.as_ref().map_or_else(|| "-".to_owned(), |spread| spread.text(*digits)));
            std::iter::once(row.strategy.clone()).chain(texts).chain([format!("{:.2}", row.rank)]).collect()
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "strategy,config,queries,runs,mean,deviation,mean_rank")?;
        for row in &self.rows {
            for (column, spread) in
                self.columns.iter().zip(&row.found).filter_map(|(column, found)| Some((column, found.as_ref()?)))
            {
                let (runs, mean, deviation) = (spread.runs, figure(spread.mean), figure(spread.deviation));
                let (strategy, name) = (quoted(&row.strategy), quoted(&column.name));
                writeln!(out, "{strategy},{name},{},{runs},{mean},{deviation},{}", self.queries, figure(row.rank))?;
            }
        }
        Ok(())
    }
}
