//! A second layer over the candidates of a search: their graphs side by side, and an estimator on top that reads what they say.
//!
//! As in AutoGluon (Erickson et al., arXiv 2003.06505, section 3.1) the layer reads out-of-fold predictions of the first, alone or
//! beside the features themselves. Here it is a graph like any other: the engine of pipelines makes the out-of-fold output anew
//! inside every fold, so that the score of a stack is as honest as that of its members, for the price of fitting them four times.

use automl_core::{Genotype, Node};

use crate::operator;

/// Members below which there is nothing to stack.
const FEW: usize = 2;

/// Stacks of some candidates, the cheapest first: a regularised linear model on what they say; trees on that and the features.
/// `balanced` says whether all classes weigh the same; fewer than two candidates have no stack.
pub fn second_layers(members: &[&Genotype], balanced: bool) -> Vec<Genotype> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut tops: Vec<usize> = Vec::new();
    for member in members {
        let mut places: Vec<usize> = Vec::with_capacity(member.nodes.len());
        for node in &member.nodes {
            let mut inputs: Vec<usize> = node.inputs.iter().filter_map(|&at| places.get(at)).copied().collect();
            inputs.sort_unstable();
            inputs.dedup();
            let moved = Node { inputs, ..node.clone() };
            // What two members share is there once.
            let known = nodes.iter().position(|known| *known == moved);
            places.push(known.unwrap_or_else(|| {
                nodes.push(moved);
                nodes.len() - 1
            }));
        }
        tops.extend(places.last());
    }
    tops.sort_unstable();
    tops.dedup();
    if tops.len() < FEW {
        return Vec::new();
    }
    let on_top = |op: &str, beside: Option<usize>| {
        let mut genotype = Genotype { nodes: nodes.clone() };
        let inputs: Vec<usize> = beside.into_iter().chain(tops.iter().copied()).collect();
        let mut node = Node::new(op, inputs);
        if balanced && has_class_weight(op) {
            node = node.with("class_weight", "balanced");
        }
        if op == "stacker" {
            node = node.with("mixture", false);
        }
        genotype.nodes.push(node);
        genotype.check().is_ok().then_some(genotype)
    };
    // Trees read features of any kind, and the table is the first node.
    [("stacker", None), ("extra_trees", Some(0)), ("gradient_boosting", Some(0))]
        .into_iter()
        .filter_map(|(op, beside)| on_top(op, beside))
        .collect()
}

fn has_class_weight(op: &str) -> bool {
    operator::operator(op).is_ok_and(|operator| operator.params().iter().any(|param| param.name == "class_weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(scaled: bool, model: &str) -> Genotype {
        let mut nodes = vec![Node::new("input", [])];
        if scaled {
            nodes.push(Node::new("standard_scale", [0]));
        }
        let last = nodes.len() - 1;
        nodes.push(Node::new(model, [last]));
        Genotype { nodes }
    }

    #[test]
    fn members_stand_side_by_side_and_share_what_they_have_in_common() {
        let members = [member(true, "lda"), member(true, "knn"), member(false, "random_forest")];
        let stacks = second_layers(&members.each_ref(), true);
        let ops: Vec<&str> = stacks[0].nodes.iter().map(|node| node.op.as_str()).collect();
        assert_eq!(ops, ["input", "standard_scale", "lda", "knn", "random_forest", "stacker"]);
        assert_eq!(stacks[0].nodes[5].inputs, [2, 3, 4]);
        assert_eq!(stacks[1].nodes[5].inputs, [0, 2, 3, 4], "the features, too");
        assert!(stacks.iter().all(|stack| stack.nodes[5].params["class_weight"] == "balanced".into()));
        assert!(second_layers(&[&members[0], &members[0]], true).is_empty(), "the same twice");
    }
}
