//! What a child takes over from its parents.
//!
//! Parameters are called by the cell, the node and the role, so a layer of the same name is in the same place and does the same. It is
//! inherited if the mutation did not touch it: its node has the same operator, parameters and inputs in both. What reads the whole
//! output of an earlier cell is touched where other blocks make up that output.

use std::sync::Arc;

use automl_core::{Genotype, Node};

use crate::cells::SOURCES;
use crate::network::Numbers;

/// The numbers that a child takes over, by the names of its own parameters.
pub(super) struct Heritage {
    pub numbers: Numbers,
}

impl Heritage {
    /// What the parents have that their child may keep; the first parent that has it decides.
    pub fn of(child: &Genotype, parents: &[(&Genotype, Arc<Numbers>)]) -> Self {
        let mut numbers = Numbers::new();
        for (parent, weights) in parents {
            for (name, values) in weights.iter() {
                if !numbers.contains_key(name) && keeps(name, child, parent) {
                    numbers.insert(name.clone(), values.clone());
                }
            }
        }
        Self { numbers }
    }
}

/// Whether the layer of a parameter is the same in two candidates.
fn keeps(name: &str, child: &Genotype, parent: &Genotype) -> bool {
    let mut parts = name.split('.');
    let (number, place) = match (parts.next(), parts.next(), parts.next()) {
        (Some("classifier"), ..) | (Some("auxiliary"), Some("narrow"), _) => return outputs(child) == outputs(parent),
        (Some("cell"), Some(number), Some(place)) => (number, place),
        _ => return true,
    };
    if let Ok(index) = place.parse::<usize>() {
        return same(child.nodes.get(index), parent.nodes.get(index));
    }
    let Some(source) = SOURCES.iter().position(|source| *source == place) else { return true };
    // The first cell reads the stem alone; the second one reads it as the output before the previous one.
    let reads_stem = number == "0" || (number == "1" && source == 0);
    reads_stem || outputs(child) == outputs(parent)
}

/// Equal but for what the operators before them are.
fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    a.is_some() && a == b
}

/// What the cells put out: the inputs of the nodes that end them.
fn outputs(genotype: &Genotype) -> Vec<&[usize]> {
    let ends = genotype.nodes.iter().filter(|node| ["normal", "reduction", "cell"].contains(&node.op.as_str()));
    ends.map(|node| node.inputs.as_slice()).collect()
}

#[cfg(test)]
mod tests {
    use automl_core::SearchSpace;

    use super::*;
    use crate::cells::Renas;

    #[test]
    fn what_a_mutation_touches_is_new() {
        let space = Renas::default();
        let parent = space.parse(&"0 0 1 1 ".repeat(5)).unwrap();
        let (op, input) = (
            space.parse(&format!("0 2 1 1 {}", "0 0 1 1 ".repeat(4))),
            space.parse(&format!("1 0 1 1 {}", "0 0 1 1 ".repeat(4))),
        );
        let read = space.parse(&format!("{}2 0 1 1", "0 0 1 1 ".repeat(4))).unwrap();
        let (op, input) = (op.unwrap(), input.unwrap());
        // Nodes 2 and 3 are the branches of the first block.
        assert!(keeps("cell.1.2.sep_conv_3x3.depthwise_0", &parent, &parent));
        assert!(!keeps("cell.1.2.sep_conv_3x3.depthwise_0", &op, &parent), "another operator");
        assert!(!keeps("cell.1.2.sep_conv_3x3.depthwise_0", &input, &parent), "another input");
        assert!(keeps("cell.1.3.sep_conv_5x5.depthwise_0", &op, &parent), "the other branch");
        for name in ["stem.conv", "auxiliary.classifier.bias", "cell.0.previous.24.conv", "cell.1.before_previous.24.conv"] {
            assert!(keeps(name, &read, &parent), "{name}");
        }
        for name in ["cell.1.previous.120.conv", "cell.4.before_previous.120.conv", "classifier.480.weight"] {
            assert!(keeps(name, &op, &parent) && !keeps(name, &read, &parent), "{name}: the first block is not put out any more");
        }
    }
}
