//! One candidate: plain data that any strategy can carry and only the space can interpret.
//!
//! A node names its operator, so a genotype clones, hashes, compares, prints and loads where the plugin behind the name is
//! not linked. Nodes stand in topological order and read earlier nodes only: a cycle cannot be written down. A node without
//! inputs is a **source**: the raw table of a pipeline, one of the two earlier cells of a convolutional cell, or a single
//! bag of hyperparameters.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hash::StableHash;

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// A switch.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; finite.
    Float(f64),
    /// A name.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value}"),
        }
    }
}

/// Parameters of a node by name.
pub type Params = BTreeMap<String, Value>;

/// One operator of a genotype.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Name of the operator, or of the source.
    pub op: String,
    /// Indices of earlier nodes, ascending, each at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<usize>,
    /// Values of the operator's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: Params,
}

impl Node {
    /// A node without parameters.
    pub fn new(op: impl Into<String>, inputs: impl Into<Vec<usize>>) -> Self {
        Self { op: op.into(), inputs: inputs.into(), params: Params::new() }
    }

    /// The same node with one parameter set.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }
}

/// One candidate: operators in topological order; the last node is the output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genotype {
    /// The nodes; each reads earlier ones only.
    pub nodes: Vec<Node>,
}

impl Genotype {
    /// Checks what every genotype promises, whatever its space: inputs are ascending, distinct and earlier, numbers finite.
    ///
    /// # Errors
    /// [`Error::Outside`] that names the first node that breaks a promise.
    pub fn check(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            if node.inputs.iter().any(|&input| input >= index) || node.inputs.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(Error::Outside(format!(
                    "node {index} (`{}`) reads {:?}; inputs must be ascending indices of earlier nodes",
                    node.op, node.inputs
                )));
            }
            for (name, value) in &node.params {
                if matches!(value, Value::Float(number) if !number.is_finite()) {
                    return Err(Error::Outside(format!("parameter `{name}` of node {index} (`{}`) is not finite", node.op)));
                }
            }
        }
        Ok(())
    }

    /// For every node the nodes that read it, ascending.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                if let Some(list) = consumers.get_mut(input) {
                    list.push(index);
                }
            }
        }
        consumers
    }

    /// For every node the number of operators on the longest path that ends there; a source counts 0.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let below = node.inputs.iter().filter_map(|&input| levels.get(input)).max();
            levels.push(below.map_or(0, |level| level + 1));
        }
        levels
    }

    /// The same number for isomorphic graphs: those that differ in the order of their nodes alone.
    ///
    /// Weisfeiler–Lehman refinement: a label for each node from what lies below it, refined by who reads it, refined again
    /// from below; the hash is that of the sorted labels. Two vertices that compute the same thing separately are kept
    /// apart from one that is read twice, since they may hold separate weights. Inputs are a set: where their order means
    /// something, the space says so in parameters.
    pub fn canonical_hash(&self) -> u64 {
        let mut labels: Vec<u64> = self.nodes.iter().map(local_hash).collect();
        let mut around = Vec::new();
        self.refine_from_below(&mut labels, &mut around);
        let mut edges: Vec<(usize, usize)> = Vec::with_capacity(2 * self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            edges.extend(node.inputs.iter().filter(|&&input| input < self.nodes.len()).map(|&input| (input, index)));
        }
        edges.sort_unstable();
        for index in (0..self.nodes.len()).rev() {
            around.clear();
            while let Some((_, consumer)) = edges.pop_if(|(input, _)| *input == index) {
                around.push(labels[consumer]);
            }
            labels[index] = combine(labels[index], &mut around);
        }
        self.refine_from_below(&mut labels, &mut around);
        labels.sort_unstable();
        labels.iter().fold(StableHash::new("genotype"), |hash, &label| hash.number(label)).finish()
    }

    /// Gives every node a label from its own and those of what it reads; `around` is room to work in.
    fn refine_from_below(&self, labels: &mut [u64], around: &mut Vec<u64>) {
        for (index, node) in self.nodes.iter().enumerate() {
            around.clear();
            around.extend(node.inputs.iter().filter(|&&input| input < index).map(|&input| labels[input]));
            labels[index] = combine(labels[index], around);
        }
    }
}

impl fmt::Display for Genotype {
    /// One line, such as `0:input 1:pca(0; components=5) 2:ridge(0 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{index}:{}", node.op)?;
            if node.inputs.is_empty() && node.params.is_empty() {
                continue;
            }
            let inputs: Vec<String> = node.inputs.iter().map(usize::to_string).collect();
            let params: Vec<String> = node.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let separator = if params.is_empty() { "" } else { "; " };
            write!(f, "({}{separator}{})", inputs.join(" "), params.join(" "))?;
        }
        Ok(())
    }
}

fn local_hash(node: &Node) -> u64 {
    let start = StableHash::new("node").text(&node.op);
    node.params
        .iter()
        .fold(start, |hash, (name, value)| {
            let hash = hash.text(name);
            match value {
                Value::Bool(value) => hash.number(u64::from(*value)),
                Value::Int(value) => hash.number(value.cast_unsigned()).number(1),
                Value::Float(value) => hash.number(value.to_bits()).number(2),
                Value::Text(value) => hash.text(value),
            }
        })
        .finish()
}

/// A label from its own and the multiset of its neighbours', which is left sorted.
fn combine(own: u64, neighbours: &mut [u64]) -> u64 {
    neighbours.sort_unstable();
    neighbours.iter().fold(StableHash::new("edge").number(own), |hash, &label| hash.number(label)).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diamond(order: [&str; 2]) -> Genotype {
        let nodes = vec![Node::new("input", []), Node::new(order[0], [0]), Node::new(order[1], [0]), Node::new("join", [1, 2])];
        Genotype { nodes }
    }

    #[test]
    fn isomorphic_graphs_share_a_hash_and_others_do_not() {
        assert_eq!(diamond(["a", "b"]).canonical_hash(), diamond(["b", "a"]).canonical_hash());
        assert_ne!(diamond(["a", "b"]).canonical_hash(), diamond(["a", "a"]).canonical_hash());
        let mut deeper = diamond(["a", "b"]);
        deeper.nodes[2].inputs = vec![1];
        assert_ne!(deeper.canonical_hash(), diamond(["a", "b"]).canonical_hash());
    }

    #[test]
    fn one_vertex_read_twice_is_not_two_vertices() {
        let shared = Genotype {
            nodes: vec![
                Node::new("input", []),
                Node::new("a", [0]),
                Node::new("b", [1]),
                Node::new("c", [1]),
                Node::new("join", [2, 3]),
            ],
        };
        let separate = Genotype {
            nodes: vec![
                Node::new("input", []),
                Node::new("a", [0]),
                Node::new("a", [0]),
                Node::new("b", [1]),
                Node::new("c", [2]),
                Node::new("join", [3, 4]),
            ],
        };
        assert_ne!(shared.canonical_hash(), separate.canonical_hash());
    }

    #[test]
    fn parameters_count_to_the_bit_and_survive_json() {
        let with = |value: f64| Genotype { nodes: vec![Node::new("a", []).with("x", value)] };
        assert_ne!(with(0.1).canonical_hash(), with(0.1 + f64::EPSILON).canonical_hash());
        for value in [1.0, 0.1 + 0.2, 1e-308, 123_456_789.123_456_79] {
            let text = serde_json::to_string(&with(value)).unwrap();
            assert_eq!(serde_json::from_str::<Genotype>(&text).unwrap(), with(value), "{text}");
        }
    }

    #[test]
    fn refuses_cycles_and_repeated_inputs() {
        for inputs in [vec![1], vec![0, 0], vec![7]] {
            let genotype = Genotype { nodes: vec![Node::new("input", []), Node::new("a", inputs)] };
            assert!(genotype.check().is_err());
        }
    }

    #[test]
    fn prints_on_one_line() {
        let mut genotype = diamond(["a", "b"]);
        genotype.nodes[1] = Node::new("a", [0]).with("k", 3_i64);
        assert_eq!(genotype.to_string(), "0:input 1:a(0; k=3) 2:b(0) 3:join(1 2)");
    }
}
