//! NAS-Bench-101: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019.
//!
//! A cell is a graph of at most 7 vertices, input and output included, and at most 9 edges, with one of three operators at each
//! inner vertex. Every vertex lies on a path from the input to the output; with that, 423,624 cells differ. EC-NAS-Bench
//! (Bakhtiarifard, Igel and Selvan, 2024) has those of at most 5 vertices.
//!
//! The questions are the number of vertices and then, column by column of the adjacency matrix, which earlier vertices a vertex
//! reads and what it is. The masks count: an edge is legal while the edges that are left can still connect what hangs loose.

use std::sync::LazyLock;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::space::{Asker, KnownChoose, RecordChoose};
use automl_core::{Answer, Choose, Domain, Error, Genotype, Node, Point, Result, Trace, Value, plugin};
use serde::{Deserialize, Serialize};

/// Operators of the inner vertices, in the order of EC-NAS-Bench's labels.
pub const OPERATORS: [&str; 3] = ["conv_3x3", "conv_1x1", "max_pool_3x3"];

const MOST_VERTICES: usize = 7;
/// Cells that differ, by the number of vertices from 2 on: a random cell is about as likely as any other.
const CELLS: [f64; MOST_VERTICES - 1] = [1.0, 6.0, 84.0, 2_441.0, 62_010.0, 359_082.0];
/// Point of the number of vertices.
const VERTICES: usize = 0;

/// Cells of at most 7 vertices and 9 edges with one of three operators at each inner vertex.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NasBench101 {
    /// Most vertices, input and output included, 2 to 7; default 7.
    pub max_vertices: usize,
    /// Most edges, at least one fewer than the vertices; default 9.
    pub max_edges: usize,
}

impl Default for NasBench101 {
    fn default() -> Self {
        Self { max_vertices: MOST_VERTICES, max_edges: 9 }
    }
}

static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let counts = (2_i64..).take(MOST_VERTICES - 1).map(Value::Int).collect();
    let mut points = vec![Point { key: "vertices".into(), group: "vertices".into(), domain: Domain::Choice(counts) }];
    let edge = Domain::Choice(vec![Value::Bool(false), Value::Bool(true)]);
    let operator = Domain::Choice(OPERATORS.map(Value::from).to_vec());
    for to in 1..MOST_VERTICES {
        let edges = (0..to).map(|from| Point { key: format!("{to}.reads.{from}"), group: "edge".into(), domain: edge.clone() });
        points.extend(edges);
        points.push(Point { key: format!("{to}.op"), group: "operator".into(), domain: operator.clone() });
    }
    points
});

/// Point of the edge into `to` from `from`; that of the operator of `to` stands where `from` is `to`.
fn point(to: usize, from: usize) -> usize {
    // Columns 1 to `to - 1` have 2 to `to` questions.
    1 + (to * (to + 1) / 2 - 1) + from
}

impl NasBench101 {
    fn check(&self) -> Result<()> {
        if !(2..=MOST_VERTICES).contains(&self.max_vertices) {
            return Err(Error::config("space.max_vertices", format!("is {}; it must be 2 to 7", self.max_vertices)));
        }
        if self.max_edges + 1 < self.max_vertices {
            let problem =
                format!("is {}; {} vertices take {} at least", self.max_edges, self.max_vertices, self.max_vertices - 1);
            return Err(Error::config("space.max_edges", problem));
        }
        Ok(())
    }
}

plugin! {
    "nas_bench_101",
    impl SearchSpace for NasBench101 {
        fn points(&self) -> &[Point] {
            &POINTS
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            self.check()?;
            let mut ask = Asker::new(&POINTS, choose);
            let legal: Vec<bool> = (2..=MOST_VERTICES).map(|count| count <= self.max_vertices).collect();
            let output = ask.option(VERTICES, &legal, Some(&CELLS))? + 1;
            let mut nodes = vec![Node::new("input", [])];
            // Whether nothing reads a vertex yet, and the edges that may still be spent.
            let mut loose = vec![true];
            let mut left = self.max_edges;
            for to in 1..=output {
                let mut inputs = Vec::new();
                for from in 0..to {
                    let last = from + 1 == to;
                    // Whoever hangs loose needs an edge, and so will this vertex and each inner one to come.
                    let needed = loose.iter().filter(|loose| **loose).count() + (output - to);
                    let here = loose.get(from) == Some(&true);
                    let without = !(last && inputs.is_empty() || to == output && here);
                    let with = here || left > needed;
                    if ask.option(point(to, from), &[without, with], None)? == 1 {
                        inputs.push(from);
                        left = left.saturating_sub(1);
                        if let Some(loose) = loose.get_mut(from) {
                            *loose = false;
                        }
                    }
                }
                let operator = match to {
                    _ if to == output => "output",
                    _ => OPERATORS.get(ask.option(point(to, to), &[true; OPERATORS.len()], None)?).copied().unwrap_or_default(),
                };
                nodes.push(Node::new(operator, inputs));
                loose.push(true);
            }
            Ok(Genotype { nodes })
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            let mut known = vec![None; POINTS.len()];
            let mut know = |point: usize, option: usize| {
                if let Some(slot) = known.get_mut(point) {
                    *slot = Some(Answer::Option(option));
                }
            };
            let count = genotype.nodes.len();
            if !(2..=self.max_vertices.min(MOST_VERTICES)).contains(&count) {
                return Err(Error::Outside(format!("a cell has 2 to {} vertices, not {count}", self.max_vertices)));
            }
            know(VERTICES, count - 2);
            for (to, node) in genotype.nodes.iter().enumerate().skip(1) {
                (0..to).for_each(|from| know(point(to, from), usize::from(node.inputs.contains(&from))));
                if let Some(operator) = OPERATORS.iter().position(|operator| *operator == node.op) {
                    know(point(to, to), operator);
                }
            }
            let mut known = KnownChoose { known, fallback: None };
            let mut record = RecordChoose { inner: &mut known, trace: Vec::new() };
            match self.build(&mut record) {
                Ok(built) if built == *genotype => Ok(record.trace),
                Ok(built) => Err(Error::Outside(format!("{genotype} is no cell of NAS-Bench-101; the nearest is {built}"))),
                Err(error) => Err(Error::Outside(format!("{genotype}: {error}"))),
            }
        }

        fn parse(&self, text: &str) -> Result<Genotype> {
            parse(text)
        }

        fn equivalent(&self, genotype: &Genotype, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            self.trace(genotype)?;
            // Other orders of the vertices; a cell with few of them may have none.
            let mut orders = (0..8).map(|_| reorder(genotype, rng));
            Ok(orders.find(|other| other != genotype))
        }
    }
}

/// Reads `0110|0010|0001|0000 -1 2 2 -2`: the rows of the adjacency matrix, and a label a vertex. Labels are numbers of
/// EC-NAS-Bench (-1 input, 0 to 2 as [`OPERATORS`], -2 output) or the names of NAS-Bench-101.
fn parse(text: &str) -> Result<Genotype> {
    let wrong = |found: &str| {
        Error::Outside(format!("`{text}`: {found}; write the rows of the matrix and the labels, `011|001|000 -1 0 -2`"))
    };
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let rows: Vec<Vec<bool>> =
        words.next().unwrap_or_default().split('|').map(|row| row.chars().map(|bit| bit == '1').collect()).collect();
    let mut nodes = Vec::with_capacity(rows.len());
    for (to, label) in words.enumerate() {
        let op = match label {
            "-1" | "input" => "input",
            "-2" | "output" => "output",
            "0" | "conv3x3-bn-relu" => "conv_3x3",
            "1" | "conv1x1-bn-relu" => "conv_1x1",
            "2" | "maxpool3x3" => "max_pool_3x3",
            other => return Err(wrong(&format!("no label is `{other}`"))),
        };
        let reads = |from: &usize| rows.get(*from).and_then(|row| row.get(to)) == Some(&true);
        nodes.push(Node::new(op, (0..to).filter(reads).collect::<Vec<_>>()));
    }
    if nodes.len() != rows.len() || rows.iter().any(|row| row.len() != rows.len()) {
        return Err(wrong("the matrix must be square, with a label for each vertex"));
    }
    Ok(Genotype { nodes })
}

/// The same graph with its nodes in a random topological order, its first and last node in their places.
fn reorder(genotype: &Genotype, rng: &mut dyn Rng) -> Genotype {
    let count = genotype.nodes.len();
    let mut place = vec![None; count];
    let mut nodes = Vec::with_capacity(count);
    while nodes.len() < count {
        let at = nodes.len();
        let ready = |index: &usize| {
            let node = genotype.nodes.get(*index);
            let inputs = node.is_some_and(|node| node.inputs.iter().all(|&input| place.get(input).is_some_and(Option::is_some)));
            place.get(*index) == Some(&None) && inputs && (*index + 1 < count || at + 1 == count)
        };
        let ready: Vec<usize> = (0..count).filter(ready).collect();
        let drawn = if ready.is_empty() { None } else { ready.get(rng.random_range(0..ready.len())).copied() };
        let Some((index, node)) = drawn.and_then(|index| Some((index, genotype.nodes.get(index)?))) else {
            return genotype.clone();
        };
        let mut inputs: Vec<usize> = node.inputs.iter().filter_map(|&input| place.get(input).copied().flatten()).collect();
        inputs.sort_unstable();
        nodes.push(Node { inputs, ..node.clone() });
        if let Some(place) = place.get_mut(index) {
            *place = Some(at);
        }
    }
    Genotype { nodes }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use automl_core::SearchSpace;
    use automl_core::conformance::check_space;
    use automl_core::rand::SeedableRng;
    use automl_core::space::{Next, next_question, sample};
    use automl_core::{Answer, Step};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn conforms_within_any_bounds() {
        for max_vertices in 2..=7 {
            for max_edges in max_vertices - 1..=10 {
                check_space(&NasBench101 { max_vertices, max_edges }, 60, 1).unwrap();
            }
        }
    }

    /// Every cell that the masks let through.
    fn all(space: &NasBench101, prefix: &mut Vec<Step>, found: &mut Vec<Genotype>) {
        match next_question(space, prefix).unwrap() {
            Next::Complete(genotype) => found.push(genotype),
            Next::Question { id, legal, .. } => {
                for option in (0..legal.len()).filter(|&option| legal[option]) {
                    prefix.push(Step { point: id, answer: Answer::Option(option) });
                    all(space, prefix, found);
                    prefix.pop();
                }
            }
        }
    }

    #[test]
    fn the_masks_leave_the_cells_of_the_benchmark_and_no_others() {
        let mut found = Vec::new();
        all(&NasBench101 { max_vertices: 5, max_edges: 9 }, &mut Vec::new(), &mut found);
        let mut by_vertices = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        for genotype in &found {
            assert!(genotype.nodes.iter().map(|node| node.inputs.len()).sum::<usize>() <= 9);
            assert!(genotype.consumers().iter().rev().skip(1).all(|readers| !readers.is_empty()), "{genotype}");
            by_vertices[genotype.nodes.len() - 2].insert(genotype.canonical_hash());
        }
        assert_eq!(by_vertices.map(|cells| cells.len() as f64), CELLS[..4]);
    }

    #[test]
    fn names_of_both_kinds_are_read_and_mistakes_named() {
        let space = NasBench101::default();
        let cell = space.parse("0110|0010|0001|0000 -1 2 2 -2").unwrap();
        assert_eq!(cell.to_string(), "0:input 1:max_pool_3x3(0) 2:max_pool_3x3(0 1) 3:output(2)");
        assert_eq!(cell, space.parse("0110|0010|0001|0000 input,maxpool3x3,maxpool3x3,output").unwrap());
        assert!(space.trace(&cell).is_ok());
        for text in ["011|001 -1 0 -2", "011|001|000 -1 0", "011|001|000 -1 7 -2", ""] {
            assert!(space.parse(text).unwrap_err().to_string().contains("011|001|000"), "{text}");
        }
        let loose = space.parse("0011|0001|0001|0000 -1 0 0 -2").unwrap();
        assert!(space.trace(&loose).is_err(), "vertex 1 reads nothing");
        assert!(NasBench101 { max_vertices: 3, max_edges: 9 }.trace(&cell).is_err());
        assert!(sample(&NasBench101 { max_vertices: 8, max_edges: 9 }, &mut ChaCha8Rng::seed_from_u64(1)).is_err());
    }
}
