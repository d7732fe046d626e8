//! NAS-Bench-201: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
//!
//! A cell has four nodes, and on each of the six edges between them one of five operators; all 15,625 cells were trained. The
//! benchmark puts operators on edges, a [`Genotype`] puts them on nodes: so each edge is a node that reads where the edge
//! starts, and each of the cell's nodes with several edges is a `sum` of them.
//!
//! ```text
//! 0 input    1 op(0)   = node 1    2 op(0) 3 op(1) 4 sum(2 3) = node 2    5 op(0) 6 op(1) 7 op(4) 8 sum(5 6 7) = node 3
//! ```
//!
//! The wiring is fixed, so the space is six questions, and mutations work on those.

mod cell;
mod size;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use automl_core::hash::StableHash;
use automl_core::rand::Rng;
use automl_core::schemars::JsonSchema;
use automl_core::space::Asker;
use automl_core::{Answer, Choose, Domain, Error, Genotype, Point, Result, Step, Trace, Value, plugin};
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

pub use cell::{Cell, EDGES, OPERATORS};

/// Cells of four nodes with one of five operators on each of six edges.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NasBench201 {
    /// Whether cells that compute the same function are one candidate: 6,466 of the 15,625 differ. Default yes. The benchmark
    /// trained each cell by itself, so its figures differ within a class, and published searches mostly count all cells.
    pub merge_isomorphic: bool,
}

impl Default for NasBench201 {
    fn default() -> Self {
        Self { merge_isomorphic: true }
    }
}

static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let domain = Domain::Choice(OPERATORS.map(Value::from).to_vec());
    let point = |(to, from)| Point { key: format!("edge_{to}_{from}"), group: "operator".into(), domain: domain.clone() };
    EDGES.map(point).to_vec()
});

plugin! {
    "nas_bench_201",
    impl SearchSpace for NasBench201 {
        fn points(&self) -> &[Point] {
            &POINTS
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            let mut ask = Asker::new(&POINTS, choose);
            let mut cell = Cell::default();
            for (edge, operator) in cell.operators.iter_mut().enumerate() {
                *operator = ask.option(edge, &[true; OPERATORS.len()], None)?;
            }
            Ok(cell.genotype())
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            let operators = Cell::of(genotype)?.operators.into_iter().enumerate();
            Ok(operators.map(|(point, operator)| Step { point, answer: Answer::Option(operator) }).collect())
        }

        fn canonical_hash(&self, genotype: &Genotype) -> u64 {
            let Ok(cell) = Cell::of(genotype) else { return genotype.canonical_hash() };
            let name = if self.merge_isomorphic { cell.unique() } else { cell.arch() };
            StableHash::new("nas_bench_201").text(&name).finish()
        }

        fn parse(&self, text: &str) -> Result<Genotype> {
            Ok(Cell::from_arch(text)?.genotype())
        }

        fn equivalent(&self, genotype: &Genotype, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let cell = Cell::of(genotype)?;
            if !self.merge_isomorphic {
                return Ok(None);
            }
            let same = CLASSES.get(&cell.unique()).map(Vec::as_slice).unwrap_or_default();
            let others: Vec<Cell> = same.iter().copied().filter(|other| *other != cell).collect();
            Ok(others.choose(rng).map(Cell::genotype))
        }
    }
}

/// The cells that compute each function.
static CLASSES: LazyLock<BTreeMap<String, Vec<Cell>>> = LazyLock::new(|| {
    let mut classes: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    let cells = (0..OPERATORS.len().pow(EDGES.len() as u32)).map(Cell::at);
    cells.for_each(|cell| classes.entry(cell.unique()).or_default().push(cell));
    classes
});

/// What an error about a genotype or an architecture string says.
fn outside(problem: impl Into<String>) -> Error {
    Error::Outside(problem.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use automl_core::SearchSpace;
    use automl_core::conformance::check_space;
    use automl_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn conforms() {
        check_space(&NasBench201::default(), 200, 1).unwrap();
    }

    #[test]
    fn the_space_has_15625_cells_of_which_6466_differ() {
        let [merged, all] = [true, false].map(|merge_isomorphic| NasBench201 { merge_isomorphic });
        let hashes = |space: &NasBench201| -> BTreeSet<u64> {
            (0..15_625).map(|index| space.canonical_hash(&Cell::at(index).genotype())).collect()
        };
        assert_eq!(hashes(&all).len(), 15_625);
        assert_eq!(hashes(&merged).len(), 6_466);
    }

    #[test]
    fn cells_have_other_spellings_where_they_are_merged() {
        let [merged, all] = [true, false].map(|merge_isomorphic| NasBench201 { merge_isomorphic });
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // No edge out of the second node: whatever leads into it is idle.
        let cell = Cell::from_arch("|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|nor_conv_1x1~0|skip_connect~1|none~2|").unwrap();
        let other = merged.equivalent(&cell.genotype(), &mut rng).unwrap().unwrap();
        assert_eq!(Cell::of(&other).unwrap().unique(), cell.unique());
        assert!(all.equivalent(&cell.genotype(), &mut rng).unwrap().is_none());
    }
}
