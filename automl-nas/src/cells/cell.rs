//! The blocks of cells, and the genotype that says the same.

use automl_core::{Error, Genotype, Node, Result};

use super::{QUESTIONS, Wiring};

/// The states that a cell begins with, as sources of a genotype.
pub const SOURCES: [&str; 2] = ["before_previous", "previous"];

/// A block: the sum of two branches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The state that each branch reads (0 and 1 are the [`SOURCES`], then come the blocks), and the index of its operator.
    pub branches: [(usize, usize); 2],
}

/// Cells as lists of blocks, in the order of [`Wiring::cells`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// The blocks of each cell.
    pub blocks: Vec<Vec<Block>>,
}

impl Cells {
    /// The cells of a full list of answers.
    pub(super) fn of_answers(wiring: &Wiring, answers: &[usize]) -> Self {
        let block = |answers: &[usize]| {
            let at = |index: usize| answers.get(index).copied().unwrap_or_default();
            Block { branches: [(at(0), at(1)), (at(2), at(3))] }
        };
        let cells = answers.chunks(wiring.blocks.max(1) * QUESTIONS);
        Self { blocks: cells.map(|cell| cell.chunks(QUESTIONS).map(block).collect()).collect() }
    }

    /// The inverse of [`Cells::of_answers`].
    pub(super) fn answers(&self) -> Vec<usize> {
        let blocks = self.blocks.iter().flatten();
        blocks.flat_map(|block| block.branches.into_iter().flat_map(|(state, operator)| [state, operator])).collect()
    }

    /// The genotype; the module's documentation shows its nodes.
    pub fn genotype(&self, wiring: &Wiring) -> Genotype {
        let mut nodes: Vec<Node> = SOURCES.iter().map(|source| Node::new(*source, [])).collect();
        let mut ends = Vec::with_capacity(self.blocks.len());
        for (name, blocks) in wiring.cells.iter().zip(&self.blocks) {
            let base = nodes.len();
            // A block is two operators and their sum.
            let node_of = |state: usize| if state < SOURCES.len() { state } else { base + 3 * (state - SOURCES.len()) + 2 };
            for block in blocks {
                for (state, operator) in block.branches {
                    let operator = wiring.operators.get(operator).copied().unwrap_or_default();
                    nodes.push(Node::new(operator, [node_of(state)]));
                }
                nodes.push(Node::new("sum", [nodes.len() - 2, nodes.len() - 1]));
            }
            let read = |state: usize| blocks.iter().any(|block| block.branches.iter().any(|(read, _)| *read == state));
            let states = (SOURCES.len()..).take(blocks.len());
            let put_out = states.filter(|&state| wiring.concat_all || !read(state)).map(node_of);
            nodes.push(Node::new(*name, put_out.collect::<Vec<_>>()));
            ends.push(nodes.len() - 1);
        }
        if ends.len() > 1 {
            nodes.push(Node::new("cells", ends));
        }
        Genotype { nodes }
    }

    /// Reads a genotype.
    ///
    /// # Errors
    /// [`Error::Outside`] for an unknown operator or another shape.
    pub fn of(wiring: &Wiring, genotype: &Genotype) -> Result<Self> {
        let outside = |problem: &str| Error::Outside(format!("{genotype}: {problem}"));
        let mut nodes = genotype.nodes.iter().skip(SOURCES.len());
        let mut base = SOURCES.len();
        let mut cells = Vec::with_capacity(wiring.cells.len());
        for _ in wiring.cells {
            let mut blocks = Vec::with_capacity(wiring.blocks);
            for _ in 0..wiring.blocks {
                let mut block = Block::default();
                for branch in &mut block.branches {
                    let node = nodes.next().ok_or_else(|| outside("it ends before its last block"))?;
                    let operator = wiring.operators.iter().position(|operator| *operator == node.op);
                    let operator = operator.ok_or_else(|| {
                        outside(&format!("no operator here is `{}`; there are {}", node.op, wiring.operators.join(", ")))
                    })?;
                    let state = match node.inputs[..] {
                        [source] if source < SOURCES.len() => source,
                        [sum] if sum >= base + 2 && (sum - base) % 3 == 2 => SOURCES.len() + (sum - base) / 3,
                        _ => return Err(outside("an operator reads one of the cells before, or the sum of a block")),
                    };
                    *branch = (state, operator);
                }
                nodes.next();
                blocks.push(block);
            }
            nodes.next();
            base += 3 * wiring.blocks + 1;
            cells.push(blocks);
        }
        let cells = Self { blocks: cells };
        if cells.genotype(wiring) == *genotype { Ok(cells) } else { Err(outside("it is not wired like a cell of this space")) }
    }
}
