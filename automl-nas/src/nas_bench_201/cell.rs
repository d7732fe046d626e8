//! One cell of the benchmark, in its own notation and as a genotype.

use automl_core::error::nearest;
use automl_core::{Genotype, Node, Result};

use super::outside;

/// Operators that can stand on an edge, in the order of the benchmark's table.
pub const OPERATORS: [&str; 5] = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];

/// Edges of a cell as (to, from), in the order of its architecture string.
pub const EDGES: [(usize, usize); 6] = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)];

/// Nodes of a genotype that hold each of the cell's nodes.
const NODES: [usize; 4] = [0, 1, 4, 8];

/// One cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Index into [`OPERATORS`] for each of [`EDGES`]; always below 5.
    pub(super) operators: [usize; 6],
}

impl Cell {
    /// The cell whose operators are the digits of `index` to the base 5, the first edge first; taken modulo 15,625.
    pub fn at(mut index: usize) -> Self {
        let mut operators = [0; 6];
        for operator in operators.iter_mut().rev() {
            *operator = index % OPERATORS.len();
            index /= OPERATORS.len();
        }
        Self { operators }
    }

    /// The inverse of [`Cell::at`], 0 to 15,624.
    pub fn index(&self) -> usize {
        self.operators.iter().fold(0, |index, operator| index * OPERATORS.len() + operator)
    }

    /// The operator of each of [`EDGES`].
    pub fn operators(&self) -> [&'static str; 6] {
        self.operators.map(|operator| OPERATORS[operator])
    }

    /// The benchmark's architecture string: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.
    pub fn arch(&self) -> String {
        let [a, b, c, d, e, f] = self.operators();
        format!("|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    }

    /// Reads an architecture string.
    ///
    /// # Errors
    /// [`automl_core::Error::Outside`] that says what was expected.
    pub fn from_arch(arch: &str) -> Result<Self> {
        let wrong = |found: &str| outside(format!("`{arch}`: found `{found}`; write `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`"));
        let mut groups = arch.trim().split('+');
        let mut cell = Self::default();
        let mut slots = cell.operators.iter_mut();
        for width in 1..=3 {
            let group = groups.next().ok_or_else(|| wrong("the end"))?;
            let inner = group.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')).ok_or_else(|| wrong(group))?;
            let edges: Vec<&str> = inner.split('|').collect();
            if edges.len() != width {
                return Err(wrong(group));
            }
            for (from, edge) in edges.into_iter().enumerate() {
                let name = edge.strip_suffix(&format!("~{from}")).ok_or_else(|| wrong(edge))?;
                if let Some(slot) = slots.next() {
                    *slot = operator(name)?;
                }
            }
        }
        if let Some(rest) = groups.next() {
            return Err(wrong(rest));
        }
        Ok(cell)
    }

    /// The cell as a genotype; the module's documentation shows its nodes.
    pub fn genotype(&self) -> Genotype {
        let mut nodes = vec![Node::new("input", [])];
        let mut edges = EDGES.iter().zip(self.operators()).peekable();
        while let Some((&(to, from), op)) = edges.next() {
            nodes.push(Node::new(op, [NODES[from]]));
            let last = edges.peek().is_none_or(|((next, _), _)| *next != to);
            if last && to > 1 {
                nodes.push(Node::new("sum", (nodes.len() - to..nodes.len()).collect::<Vec<_>>()));
            }
        }
        Genotype { nodes }
    }

    /// Reads a genotype.
    ///
    /// # Errors
    /// [`automl_core::Error::Outside`] for an unknown operator or another wiring.
    pub fn of(genotype: &Genotype) -> Result<Self> {
        let mut cell = Self::default();
        let edges = genotype.nodes.iter().skip(1).filter(|node| node.op != "sum");
        for (slot, node) in cell.operators.iter_mut().zip(edges) {
            *slot = operator(&node.op)?;
        }
        if cell.genotype() == *genotype {
            return Ok(cell);
        }
        Err(outside(format!("a cell is wired like {}, not like {genotype}", cell.genotype())))
    }

    /// The benchmark's name for what the cell computes: isomorphic cells share it, `#` is a zero.
    ///
    /// A `skip_connect` is its input and a `none` a zero; a sum of zeros alone still counts as a sum, as in the benchmark.
    pub fn unique(&self) -> String {
        let mut nodes = vec!["0".to_owned()];
        for to in 1..NODES.len() {
            let edges = EDGES.iter().zip(self.operators()).filter(|((target, _), _)| *target == to);
            let mut terms: Vec<String> = edges
                .map(|(&(_, from), op)| match (op, nodes[from].as_str()) {
                    ("none", _) | (_, "#") => "#".to_owned(),
                    ("skip_connect", input) => input.to_owned(),
                    (op, input) => format!("({input})@{op}"),
                })
                .collect();
            terms.sort();
            nodes.push(terms.join("+"));
        }
        nodes.swap_remove(NODES.len() - 1)
    }
}

fn operator(name: &str) -> Result<usize> {
    OPERATORS.iter().position(|operator| *operator == name).ok_or_else(|| {
        let near = nearest(name, OPERATORS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        outside(format!("no operator of NAS-Bench-201 is named `{name}`{near}; it has {}", OPERATORS.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_survives_both_notations() {
        for index in 0..15_625 {
            let cell = Cell::at(index);
            assert_eq!(cell.index(), index);
            assert_eq!(Cell::from_arch(&cell.arch()).unwrap(), cell);
            assert_eq!(Cell::of(&cell.genotype()).unwrap(), cell);
        }
    }

    #[test]
    fn edges_run_where_the_architecture_string_says() {
        let arch = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|none~1|skip_connect~2|";
        let cell = Cell::from_arch(arch).unwrap();
        assert_eq!(
            cell.genotype().to_string(),
            "0:input 1:avg_pool_3x3(0) 2:nor_conv_1x1(0) 3:skip_connect(1) 4:sum(2 3) 5:nor_conv_3x3(0) 6:none(1) \
             7:skip_connect(4) 8:sum(5 6 7)"
        );
        assert_eq!(cell.unique(), "#+(0)@avg_pool_3x3+(0)@nor_conv_1x1+(0)@nor_conv_3x3");
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("|none~0|+|none~0|none~1|", "found `the end`"),
            ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", "found `none~0`"),
            ("|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv3x3~2|", "did you mean `nor_conv_3x3`?"),
        ];
        for (arch, why) in cases {
            let error = Cell::from_arch(arch).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let mut genotype = Cell::at(77).genotype();
        genotype.nodes[7].inputs = vec![1];
        assert!(Cell::of(&genotype).unwrap_err().to_string().contains("is wired like"));
    }
}
