//! Products, differences and ratios of pairs of columns that say more about the target than either of the pair.
//!
//! A candidate is scored by the share of the target's variance that it explains on its own (the squared correlation; between
//! classes, the analysis of variance), less what the better of its two columns explains. Scores come from a sample of the rows;
//! where there are many columns, only those are paired that explain most on their own.

use automl_core::Cancel;
use rayon::prelude::*;

use super::LearnError;
use super::columns::{Columns, Response, Standard, alive, bounded, sample, spread};
use super::select::top_k;

/// Rows that candidates are scored on, at most.
pub const ROWS: usize = 2000;
/// Columns that are paired, at most.
pub const PAIRED: usize = 96;
/// Deviations beyond which a standardised value counts no further: products stay below 1e18.
const REACH: f64 = 1e9;

/// What is made of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The product of the standardised columns.
    Product,
    /// Their difference.
    Difference,
    /// The quotient of the columns as they are; only by a column that keeps one sign.
    Ratio,
}

/// One made column.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What is made.
    pub kind: Kind,
    /// The first column.
    pub first: usize,
    /// The second; of a ratio the divisor.
    pub second: usize,
    /// Of a ratio: the divisor nearest to 0 that was seen, at which smaller ones and those of the other sign are cut off.
    pub floor: f32,
}

/// Pairs and the scale of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactions {
    /// Mean and scale of the columns.
    pub standard: Standard,
    /// The made columns, best first.
    pub pairs: Vec<Pair>,
}

/// The `count` candidates of the given kinds that gain most; fewer where fewer gain anything.
///
/// # Errors
/// An empty table, or a cancelled token.
pub fn fit(
    x: &Columns<'_>,
    y: &Response,
    count: usize,
    kinds: &[Kind],
    seed: u64,
    cancel: &Cancel,
) -> Result<Interactions, LearnError> {
    let standard = Standard::fit(x, cancel)?;
    let rows = sample(x.rows(), ROWS, seed);
    let take = |column: &[f32]| rows.iter().filter_map(|&row| column.get(row as usize).copied()).collect::<Vec<f32>>();
    let floors = x.map(cancel, floor)?;
    let score = Score::new(y, &rows);
    let own: Vec<f64> = x.map(cancel, |column| score.of(&take(column)))?;
    let mut paired = top_k(&own, PAIRED);
    paired.retain(|&column| standard.of(column).1 > 0.0);
    paired.sort_unstable();
    let raw: Vec<Vec<f32>> = paired.iter().map(|&column| take(x.column(column))).collect();
    let scaled: Vec<Vec<f32>> = paired.iter().zip(&raw).map(|(&column, values)| standard.column(column, values, REACH)).collect();
    let with = |a: usize| {
        let mut found = Vec::new();
        for b in a + 1..paired.len() {
            alive(cancel)?;
            let (first, second) = (paired[a], paired[b]);
            let best = own[first].max(own[second]);
            for &kind in kinds {
                for (left, right, first, second) in [(a, b, first, second), (b, a, second, first)] {
                    let pair = Pair { kind, first, second, floor: floors[second] };
                    let made = match kind {
                        // The other way round says the same.
                        Kind::Product | Kind::Difference if left > right => continue,
                        Kind::Ratio if pair.floor == 0.0 => continue,
                        Kind::Ratio => combine(&pair, &raw[left], &raw[right]),
                        _ => combine(&pair, &scaled[left], &scaled[right]),
                    };
                    let gain = score.of(&made) - best;
                    if gain > 1e-6 {
                        found.push((gain, pair));
                    }
                }
            }
        }
        Ok(found)
    };
    let starts: Vec<usize> = (0..paired.len()).collect();
    let found: Vec<Vec<(f64, Pair)>> = starts.into_par_iter().map(with).collect::<Result<_, LearnError>>()?;
    let mut found: Vec<(f64, Pair)> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(count);
    Ok(Interactions { standard, pairs: found.into_iter().map(|(_, pair)| pair).collect() })
}

/// The value nearest to 0 of a column that keeps one sign, else 0.
fn floor(column: &[f32]) -> f32 {
    let low = column.iter().copied().fold(f32::INFINITY, f32::min);
    let high = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let floor = if low > 0.0 { low } else { high.min(0.0) };
    if floor.abs() > 1e-18 && floor.is_finite() { floor } else { 0.0 }
}

/// The numbers of a made column: from standardised columns, for a ratio from the columns as they are.
fn combine(pair: &Pair, first: &[f32], second: &[f32]) -> Vec<f32> {
    let both = first.iter().zip(second);
    match pair.kind {
        Kind::Product => both.map(|(a, b)| bounded(f64::from(*a) * f64::from(*b))).collect(),
        Kind::Difference => both.map(|(a, b)| a - b).collect(),
        Kind::Ratio => both
            .map(|(&a, &b)| {
                let divisor = if pair.floor > 0.0 { b.max(pair.floor) } else { b.min(pair.floor) };
                bounded(f64::from(a) / f64::from(divisor))
            })
            .collect(),
    }
}

/// Shares of the variance of a target, at the sampled rows.
enum Score {
    Classes { index: Vec<usize>, mass: Vec<f64> },
    Values(Vec<f64>),
}

impl Score {
    fn new(y: &Response, rows: &[u32]) -> Self {
        match y {
            Response::Classes { index, scale } => {
                let index: Vec<usize> = rows.iter().filter_map(|&row| index.get(row as usize).copied()).collect();
                let mut mass = vec![0.0; scale.len()];
                index.iter().filter_map(|&class| mass.get_mut(class).map(|m: &mut f64| *m += 1.0)).for_each(drop);
                Self::Classes { index, mass }
            }
            Response::Values(values) => {
                let values: Vec<f64> = rows.iter().filter_map(|&row| values.get(row as usize).copied()).collect();
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                let length = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
                Self::Values(values.iter().map(|v| if length > 0.0 { (v - mean) / length } else { 0.0 }).collect())
            }
        }
    }

    /// The share that a column explains.
    fn of(&self, column: &[f32]) -> f64 {
        let (mean, variance) = spread(column);
        let total = variance * column.len() as f64;
        if total <= 0.0 {
            return 0.0;
        }
        match self {
            Self::Values(values) => {
                let product: f64 = column.iter().zip(values).map(|(&v, y)| (f64::from(v) - mean) * y).sum();
                (product * product / total).min(1.0)
            }
            Self::Classes { index, mass } => {
                let mut sums = vec![0.0f64; mass.len()];
                for (&v, &class) in column.iter().zip(index) {
                    if let Some(sum) = sums.get_mut(class) {
                        *sum += f64::from(v) - mean;
                    }
                }
                let between: f64 =
                    sums.iter().zip(mass).map(|(sum, mass)| if *mass > 0.0 { sum * sum / mass } else { 0.0 }).sum();
                (between / total).min(1.0)
            }
        }
    }
}

impl Interactions {
    /// The made columns.
    ///
    /// # Errors
    /// Another number of columns than at fit time, or a cancelled token.
    pub fn transform(&self, x: &Columns<'_>, cancel: &Cancel) -> Result<Vec<Vec<f32>>, LearnError> {
        x.check_width(self.standard.width())?;
        let one = |pair: &Pair| {
            alive(cancel)?;
            let (first, second) = (x.column(pair.first), x.column(pair.second));
            if pair.kind == Kind::Ratio {
                return Ok(combine(pair, first, second));
            }
            let scaled = |column: usize, values| self.standard.column(column, values, REACH);
            Ok(combine(pair, &scaled(pair.first, first), &scaled(pair.second, second)))
        };
        self.pairs.par_iter().map(one).collect()
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where a pair lies beyond the columns or a ratio has no floor.
    pub fn check(&self) -> Result<(), LearnError> {
        self.standard.check()?;
        let width = self.standard.width();
        let sound = |pair: &Pair| {
            let floor = pair.floor.is_finite() && (pair.kind != Kind::Ratio || pair.floor.abs() > 1e-18);
            pair.first < width && pair.second < width && floor
        };
        if self.pairs.iter().all(sound) {
            return Ok(());
        }
        Err(LearnError::Corrupt { model: "interactions", problem: "a pair lies beyond the columns, or divides by nothing" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Vec<f32>> {
        let draw =
            |row: u32, c: u32| (row.wrapping_mul(2_654_435_761).wrapping_mul(c * 2 + 1) >> 12) as f32 % 1000.0 / 500.0 - 1.0;
        let mut columns: Vec<Vec<f32>> = (0..4).map(|c| (0..1000).map(|row| draw(row + 1, c * 91 + 7)).collect()).collect();
        columns[3].iter_mut().for_each(|v| *v += 1.5);
        columns
    }

    #[test]
    fn the_right_pair_is_found() {
        let columns = columns();
        let x = Columns::new(1000, columns.iter().map(Vec::as_slice).collect()).unwrap();
        let of = |f: fn(f32, f32, f32) -> f32| -> Vec<f32> {
            (0..1000).map(|row| f(columns[0][row], columns[2][row], columns[3][row])).collect()
        };
        let cases = [
            (of(|a, b, _| a * b), Kind::Product, 0, 2),
            (of(|a, b, _| a - b), Kind::Difference, 0, 2),
            (of(|a, _, c| a / c), Kind::Ratio, 0, 3),
        ];
        let kinds = [Kind::Product, Kind::Difference, Kind::Ratio];
        for (target, kind, first, second) in cases {
            let codes: Vec<u32> = target.iter().map(|&v| u32::from(v > 0.0)).collect();
            let values = Response::values(&target, 1000).unwrap();
            let found = fit(&x, &values, 3, &kinds, 1, &Cancel::new()).unwrap();
            found.check().unwrap();
            let best = &found.pairs[0];
            assert_eq!((best.kind, best.first, best.second), (kind, first, second));
            let made = &found.transform(&x, &Cancel::new()).unwrap()[0];
            assert_eq!(made.len(), 1000);
            if kind == Kind::Product {
                let classes = Response::classes(&codes, 2, 1000).unwrap();
                let best = &fit(&x, &classes, 3, &kinds, 1, &Cancel::new()).unwrap().pairs[0];
                assert_eq!((best.kind, best.first, best.second), (kind, first, second));
            }
        }
    }

    #[test]
    fn divisors_are_cut_off_where_none_was_seen() {
        let pair = Pair { kind: Kind::Ratio, first: 0, second: 1, floor: 0.5 };
        assert_eq!(combine(&pair, &[1.0, 1.0, 1e18], &[2.0, -3.0, 0.0]), [0.5, 2.0, 1e18]);
        assert_eq!((floor(&[1.0, 2.0]), floor(&[-1.0, -2.0]), floor(&[0.0, 1.0]), floor(&[-1.0, 1.0])), (1.0, -1.0, 0.0, 0.0));
    }
}
