//! The random forest as a surrogate: Hutter, Hoos and Leyton-Brown, "Sequential Model-Based Optimization for General Algorithm
//! Configuration" (SMAC), LION 2011.
//!
//! Every tree grows on a bootstrap sample until its leaves are pure. A candidate's loss is normal, with the mean and the variance
//! of the mixture of the leaves that it falls into. A threshold is drawn between the two values that it parts, so that the trees
//! disagree, and so the variance grows, between observations. A question that was not asked goes to the side that it fits best.

use automl_core::rand::{Rng, RngExt};

use super::model::{Column, Data};

/// Trees.
const TREES: usize = 30;
/// Share of the columns that a split may use.
const COLUMNS: f64 = 5.0 / 6.0;
/// Columns that a split may use, at most.
const MOST_COLUMNS: usize = 40;
/// Fewer rows than these are not split.
const SPLIT: usize = 3;

pub(crate) struct Forest {
    trees: Vec<Vec<Node>>,
}

enum Node {
    Leaf { mean: f64, variance: f64 },
    Split { column: usize, rule: Rule, left: usize, right: usize },
}

/// What goes to the left.
enum Rule {
    /// Values below a threshold, and those missing if so told.
    Below { threshold: f64, missing: bool },
    /// Options by their index; the last entry is that of the missing.
    Options(Vec<bool>),
}

impl Rule {
    fn left(&self, value: f64) -> bool {
        match self {
            Self::Below { missing, .. } if value.is_nan() => *missing,
            Self::Below { threshold, .. } => value < *threshold,
            Self::Options(left) => {
                let missing = left.len() - 1;
                left[if value.is_nan() { missing } else { (value as usize).min(missing) }]
            }
        }
    }
}

impl Forest {
    /// A forest of the rows of `data`, of which there is at least one.
    pub fn fit(data: &Data, rng: &mut dyn Rng) -> Self {
        let count = data.targets.len();
        let tree = |_| {
            let mut rows: Vec<usize> = (0..count).map(|_| rng.random_range(0..count)).collect();
            let mut grow = Grow { data, nodes: Vec::new(), open: (0..data.columns.len()).collect(), rng: &mut *rng };
            grow.node(&mut rows);
            grow.nodes
        };
        Self { trees: (0..TREES).map(tree).collect() }
    }

    /// Mean and variance at a row.
    pub fn predict(&self, row: &[f64]) -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for tree in &self.trees {
            let mut at = 0;
            loop {
                match &tree[at] {
                    Node::Split { column, rule, left, right } => at = if rule.left(row[*column]) { *left } else { *right },
                    Node::Leaf { mean, variance } => {
                        sum += mean;
                        squares += variance + mean * mean;
                        break;
                    }
                }
            }
        }
        let (mean, count) = (sum / self.trees.len() as f64, self.trees.len() as f64);
        (mean, (squares / count - mean * mean).max(0.0))
    }
}

/// A tree as it grows.
struct Grow<'a> {
    data: &'a Data,
    nodes: Vec<Node>,
    /// The columns, in an order that every split shuffles anew.
    open: Vec<usize>,
    rng: &'a mut dyn Rng,
}

/// Number of rows and sum of their targets.
#[derive(Clone, Copy, Default)]
struct Total {
    count: f64,
    sum: f64,
}

impl Total {
    fn add(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum + other.sum }
    }

    fn less(self, other: Self) -> Self {
        Self { count: self.count - other.count, sum: self.sum - other.sum }
    }

    fn one(target: f64) -> Self {
        Self { count: 1.0, sum: target }
    }

    /// The part of the sum of squares that the mean explains; 0 without rows.
    fn explained(self) -> f64 {
        if self.count > 0.0 { self.sum * self.sum / self.count } else { 0.0 }
    }
}

impl Grow<'_> {
    /// Grows a node of these rows and what is below it; says its index.
    fn node(&mut self, rows: &mut [usize]) -> usize {
        let targets = &self.data.targets;
        let all = rows.iter().fold(Total::default(), |all, &row| all.add(Total::one(targets[row])));
        let mean = all.sum / all.count;
        let spread: f64 = rows.iter().map(|&row| (targets[row] - mean).powi(2)).sum();
        let index = self.nodes.len();
        self.nodes.push(Node::Leaf { mean, variance: spread / all.count });
        if rows.len() < SPLIT || spread <= 1e-12 * all.count {
            return index;
        }
        let Some((column, rule)) = self.best(rows, all) else { return index };
        let mut middle = 0;
        for at in 0..rows.len() {
            if rule.left(self.data.rows[rows[at]][column]) {
                rows.swap(at, middle);
                middle += 1;
            }
        }
        let (below, above) = rows.split_at_mut(middle);
        if below.is_empty() || above.is_empty() {
            return index;
        }
        let left = self.node(below);
        let right = self.node(above);
        self.nodes[index] = Node::Split { column, rule, left, right };
        index
    }

    /// The split that explains most, of a random share of the columns that are not constant here.
    fn best(&mut self, rows: &[usize], all: Total) -> Option<(usize, Rule)> {
        let wanted = ((COLUMNS * self.open.len() as f64).ceil() as usize).min(MOST_COLUMNS);
        let mut best: Option<(f64, usize, Rule)> = None;
        let mut used = 0;
        for at in 0..self.open.len() {
            let other = self.rng.random_range(at..self.open.len());
            self.open.swap(at, other);
            let column = self.open[at];
            let split = match self.data.columns[column] {
                Column::Number => self.number(rows, column, all),
                Column::Options(count) => self.options(rows, column, count, all),
            };
            let Some((gain, rule)) = split else { continue };
            if best.as_ref().is_none_or(|(most, ..)| gain > *most) {
                best = Some((gain, column, rule));
            }
            used += 1;
            if used == wanted {
                break;
            }
        }
        best.map(|(_, column, rule)| (column, rule))
    }

    fn number(&mut self, rows: &[usize], column: usize, all: Total) -> Option<(f64, Rule)> {
        let mut values: Vec<(f64, f64)> = Vec::with_capacity(rows.len());
        let mut missing = Total::default();
        for &row in rows {
            let (value, target) = (self.data.rows[row][column], self.data.targets[row]);
            if value.is_nan() { missing = missing.add(Total::one(target)) } else { values.push((value, target)) }
        }
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let gain = |left: Total| left.explained() + all.less(left).explained();
        let mut best = f64::NEG_INFINITY;
        let mut place = None;
        if missing.count > 0.0 && !values.is_empty() {
            (best, place) = (gain(missing), Some((f64::NEG_INFINITY, f64::NEG_INFINITY, true)));
        }
        let mut left = Total::default();
        for pair in values.windows(2) {
            left = left.add(Total::one(pair[0].1));
            if pair[0].0 == pair[1].0 {
                continue;
            }
            let (with, without) = (gain(left.add(missing)), gain(left));
            if with.max(without) > best {
                best = with.max(without);
                place = Some((pair[0].0, pair[1].0, with > without));
            }
        }
        let (below, above, missing) = place?;
        // The draw lies above `below`, and so does the threshold: both sides have rows.
        let threshold = if below < above { above - self.rng.random::<f64>() * (above - below) } else { above };
        Some((best, Rule::Below { threshold, missing }))
    }

    /// Options in the order of their means: the best partition is a cut of it (Fisher 1958).
    fn options(&mut self, rows: &[usize], column: usize, count: usize, all: Total) -> Option<(f64, Rule)> {
        let mut totals = vec![Total::default(); count + 1];
        for &row in rows {
            let value = self.data.rows[row][column];
            let option = if value.is_nan() { count } else { (value as usize).min(count) };
            totals[option] = totals[option].add(Total::one(self.data.targets[row]));
        }
        let mut order: Vec<usize> = (0..=count).filter(|&option| totals[option].count > 0.0).collect();
        if order.len() < 2 {
            return None;
        }
        order.sort_by(|&a, &b| (totals[a].sum / totals[a].count).total_cmp(&(totals[b].sum / totals[b].count)));
        let (mut best, mut cut, mut left) = (f64::NEG_INFINITY, 0, Total::default());
        for (at, &option) in order[..order.len() - 1].iter().enumerate() {
            left = left.add(totals[option]);
            let gain = left.explained() + all.less(left).explained();
            if gain > best {
                (best, cut) = (gain, at + 1);
            }
        }
        // An option that is not here goes to either side: the trees disagree about it.
        let mut side: Vec<bool> = (0..=count).map(|option| totals[option].count == 0.0 && self.rng.random::<bool>()).collect();
        for &option in &order[..cut] {
            side[option] = true;
        }
        Some((best, Rule::Options(side)))
    }
}

#[cfg(test)]
mod tests {
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn learns_numbers_options_and_what_was_not_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // The number is asked of option 1 alone.
        let loss = |row: &[f64]| if row[1] == 1.0 { 4.0 * (row[0] - 0.3).abs() } else { 1.0 + row[1] };
        let mut rows = Vec::new();
        for at in 0..120 {
            let option = f64::from(at % 3);
            rows.push(vec![if option == 1.0 { rng.random() } else { f64::NAN }, option]);
        }
        let targets = rows.iter().map(|row| loss(row)).collect();
        let data = Data { columns: vec![Column::Number, Column::Options(4)], rows, targets };
        let forest = Forest::fit(&data, &mut rng);
        for row in [vec![f64::NAN, 0.0], vec![f64::NAN, 2.0], vec![0.3, 1.0], vec![0.8, 1.0]] {
            let (mean, _) = forest.predict(&row);
            assert!((mean - loss(&row)).abs() < 0.35, "{row:?}: {mean}");
        }
        assert!(forest.predict(&[f64::NAN, 3.0]).1 > 10.0 * forest.predict(&[f64::NAN, 2.0]).1, "never seen");
    }

    #[test]
    fn every_row_has_a_side_where_nothing_can_be_split() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let data = Data { columns: vec![Column::Number], rows: vec![vec![f64::NAN]; 5], targets: vec![0.0, 1.0, 2.0, 3.0, 4.0] };
        let (mean, variance) = Forest::fit(&data, &mut rng).predict(&[0.5]);
        assert!((mean - 2.0).abs() < 1.0 && variance > 0.0, "{mean} {variance}");
    }
}
