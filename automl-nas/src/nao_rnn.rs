//! The recurrent cell of NAO: Luo et al., "Neural Architecture Optimization", NeurIPS 2018, section 3.1; the space of ENAS
//! (Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018).
//!
//! The first node applies an activation to a linear map of the input and the last state; each later node to a linear map of one
//! earlier node. The mean of all nodes is the new state. A genotype is that graph: `input`, the activations, `mean`.

use std::sync::LazyLock;

use automl_core::schemars::JsonSchema;
use automl_core::space::{Asker, KnownChoose, RecordChoose};
use automl_core::{Answer, Choose, Domain, Error, Genotype, Node, Point, Result, Trace, Value, plugin};
use serde::{Deserialize, Serialize};

/// Activations of a node, in the order of NAO's vocabulary.
pub const ACTIVATIONS: [&str; 4] = ["tanh", "relu", "identity", "sigmoid"];

const MOST_NODES: usize = 32;

/// Recurrent cells: trees of nodes with one of four activations each, whose mean is the new state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NaoRnn {
    /// Nodes of the cell, 1 to 32; default 12, as in the paper.
    pub nodes: usize,
}

impl Default for NaoRnn {
    fn default() -> Self {
        Self { nodes: 12 }
    }
}

/// The questions of the largest cell: an activation and, from the second node on, what is read.
static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let earlier = Domain::Choice((0_i64..).take(MOST_NODES - 1).map(Value::Int).collect());
    let activations = Domain::Choice(ACTIVATIONS.map(Value::from).to_vec());
    let mut points = Vec::with_capacity(2 * MOST_NODES);
    for node in 0..MOST_NODES {
        if node > 0 {
            points.push(Point { key: format!("{node}.reads"), group: "reads".into(), domain: earlier.clone() });
        }
        points.push(Point { key: format!("{node}.activation"), group: "activation".into(), domain: activations.clone() });
    }
    points
});

plugin! {
    "nao_rnn",
    impl SearchSpace for NaoRnn {
        fn points(&self) -> &[Point] {
            POINTS.get(..2 * self.nodes.clamp(1, MOST_NODES) - 1).unwrap_or_default()
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            if !(1..=MOST_NODES).contains(&self.nodes) {
                return Err(Error::config("space.nodes", format!("is {}; it must be 1 to {MOST_NODES}", self.nodes)));
            }
            let mut ask = Asker::new(self.points(), choose);
            let mut nodes = vec![Node::new("input", [])];
            for node in 0..self.nodes {
                // Node `n` of the cell is node `n + 1` of the genotype; the first one reads the input.
                let earlier: Vec<bool> = (0..MOST_NODES - 1).map(|earlier| earlier < node).collect();
                let reads = if node == 0 { 0 } else { ask.option(2 * node - 1, &earlier, None)? + 1 };
                let activation = ask.option(2 * node, &[true; ACTIVATIONS.len()], None)?;
                nodes.push(Node::new(ACTIVATIONS.get(activation).copied().unwrap_or_default(), [reads]));
            }
            nodes.push(Node::new("mean", (1..=self.nodes).collect::<Vec<_>>()));
            Ok(Genotype { nodes })
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            let mut known = vec![None; self.points().len()];
            for (node, at) in genotype.nodes.iter().skip(1).enumerate() {
                let reads = at.inputs.first().and_then(|input| input.checked_sub(1));
                let activation = ACTIVATIONS.iter().position(|activation| *activation == at.op);
                for (point, option) in [(Some(2 * node), activation), ((2 * node).checked_sub(1), reads)] {
                    if let Some(slot) = point.and_then(|point| known.get_mut(point)) {
                        *slot = option.map(Answer::Option);
                    }
                }
            }
            let mut known = KnownChoose { known, fallback: None };
            let mut record = RecordChoose { inner: &mut known, trace: Vec::new() };
            match self.build(&mut record) {
                Ok(built) if built == *genotype => Ok(record.trace),
                Err(error @ Error::Config { .. }) => Err(error),
                _ => Err(Error::Outside(format!(
                    "a cell is `input`, {} activations that read one earlier node each, and `mean`, not {genotype}", self.nodes
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::SearchSpace;
    use automl_core::conformance::check_space;

    use super::*;

    #[test]
    fn conforms_at_any_size() {
        for nodes in [1, 2, 3, 12, 32] {
            check_space(&NaoRnn { nodes }, 60, 1).unwrap();
        }
        assert!(NaoRnn { nodes: 33 }.parse("0").is_err() && NaoRnn { nodes: 0 }.parse("0").is_err());
    }

    #[test]
    fn answers_are_those_of_the_cell() {
        let space = NaoRnn { nodes: 3 };
        // Activation of node 0; node 1 reads node 0 without being asked; node 2 reads node 0.
        let cell = space.parse("0 3 0 1").unwrap();
        assert_eq!(cell.to_string(), "0:input 1:tanh(0) 2:sigmoid(1) 3:relu(1) 4:mean(1 2 3)");
        // Its two leaves in the other order are the same cell.
        assert_eq!(cell.canonical_hash(), space.parse("0 1 0 3").unwrap().canonical_hash());
        let mut other = cell.clone();
        other.nodes[4].inputs = vec![1, 2];
        assert!(space.trace(&other).unwrap_err().to_string().contains("3 activations"));
    }
}
