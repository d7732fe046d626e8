//! Pipelines to start from: what was good on tables of all kinds, the best for its price first.
//!
//! `portfolio.json` was learnt by `benches/examples/portfolio.rs`, greedily, so that any prefix of it is good (Feurer et al.,
//! "Auto-sklearn 2.0", JMLR 2022, section 3.1). A pipeline that was found on one table is adapted to another: encoders and
//! imputers go where the features need none and come where they do. Plain gradient boosting stands among the classifiers by hand:
//! the script looks at no more than 2,000 rows, and boosting gains most from more.

use automl_core::{Genotype, GraphSpace, Node, SearchSpace};
use serde::{Deserialize, Serialize};

use crate::metrics::Task;

/// Pipelines by task, in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portfolio {
    /// For classes.
    pub classification: Vec<Genotype>,
    /// For values.
    pub regression: Vec<Genotype>,
}

impl Portfolio {
    /// The one that comes with the program.
    pub fn learnt() -> Self {
        // A test reads it: what cannot be read here was never shipped.
        serde_json::from_str(include_str!("portfolio.json")).unwrap_or_default()
    }

    /// The pipelines for a task.
    pub fn of(&self, task: Task) -> &[Genotype] {
        match task {
            Task::Classification => &self.classification,
            Task::Regression => &self.regression,
        }
    }
}

/// What makes columns of any kind dense.
const FRONT: [&str; 2] = ["one_hot", "impute"];

/// A pipeline of another table in this space; `balanced`: with all classes weighing the same where an operator can do that.
/// None where the space has no room for it.
pub fn adapt(genotype: &Genotype, graph: &GraphSpace, balanced: bool) -> Option<Genotype> {
    let mut nodes: Vec<Node> = Vec::new();
    // Where the output of each given node is found now: with those in front of it, where the node was left out.
    let mut places: Vec<Vec<usize>> = Vec::new();
    for given in &genotype.nodes {
        if given.inputs.is_empty() {
            places.push(vec![place(Node::new(given.op.as_str(), []), &mut nodes)]);
            continue;
        }
        let sources: Vec<usize> = given.inputs.iter().filter_map(|&input| places.get(input)).flatten().copied().collect();
        if graph.operator(&given.op).is_none() {
            places.push(sources);
            continue;
        }
        let mut inputs = Vec::new();
        for source in sources {
            inputs.push(feed(source, &given.op, graph, &mut nodes)?);
        }
        inputs.sort_unstable();
        inputs.dedup();
        let mut node = Node::new(given.op.as_str(), inputs);
        for param in graph.operator(&given.op).map_or(&[][..], |operator| operator.params.as_slice()) {
            if param.applies(&node.params) {
                let value = given.params.get(param.name.as_ref()).unwrap_or(&param.default).clone();
                node = node.with(&param.name, value);
            }
        }
        if balanced && node.params.contains_key("class_weight") {
            node = node.with("class_weight", "balanced");
        }
        places.push(vec![place(node, &mut nodes)]);
    }
    let genotype = Genotype { nodes };
    graph.trace(&genotype).is_ok().then_some(genotype)
}

/// The place of a node, which is added unless the same one is there.
fn place(node: Node, nodes: &mut Vec<Node>) -> usize {
    nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
        nodes.push(node);
        nodes.len() - 1
    })
}

/// The place from which an operator can read what comes from `source`: that itself, or what is put behind it.
fn feed(mut source: usize, op: &str, graph: &GraphSpace, nodes: &mut Vec<Node>) -> Option<usize> {
    for step in FRONT {
        if graph.connects(&nodes.get(source)?.op, op) {
            return Some(source);
        }
        if graph.connects(&nodes.get(source)?.op, step) {
            let mut node = Node::new(step, [source]);
            node.params = graph.defaults(step);
            source = place(node, nodes);
        }
    }
    graph.connects(&nodes.get(source)?.op, op).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Input, PipelineSpace, PipelineSpec};

    fn space(task: Task, input: Input) -> PipelineSpace {
        PipelineSpace::new(PipelineSpec { task, input, ..PipelineSpec::default() }).unwrap()
    }

    #[test]
    fn the_portfolio_serves_every_kind_of_table() {
        for task in [Task::Classification, Task::Regression] {
            let portfolio = Portfolio::learnt();
            for input in [Input::Raw, Input::Numeric, Input::Dense] {
                let space = space(task, input);
                let adapted: Vec<Genotype> = portfolio.of(task).iter().filter_map(|genotype| space.adapt(genotype)).collect();
                // The operators of other crates are not linked here, and with encoders in front a long pipeline may be too deep.
                assert!(adapted.len() >= 7 && adapted.len() + 3 >= portfolio.of(task).len(), "{} {input:?}", adapted.len());
                let unlinked = portfolio.of(task).iter().filter(|genotype| genotype.nodes.iter().any(|node| node.op == "mlp"));
                assert!(unlinked.filter_map(|genotype| space.adapt(genotype)).next().is_none());
            }
        }
    }

    #[test]
    fn encoders_come_and_go_with_the_features() {
        let graph = Genotype {
            nodes: vec![
                Node::new("input", []),
                Node::new("standard_scale", [0]),
                Node::new("pca", [1]),
                Node::new("logistic", [1, 2]).with("c", 0.5),
            ],
        };
        let operators = |genotype: &Genotype| genotype.nodes.iter().map(|node| node.op.clone()).collect::<Vec<_>>();
        let raw = space(Task::Classification, Input::Raw).adapt(&graph).unwrap();
        assert_eq!(operators(&raw), ["input", "one_hot", "impute", "standard_scale", "pca", "logistic"]);
        let last = raw.nodes.last().unwrap();
        assert_eq!((last.inputs.as_slice(), &last.params["c"]), ([3, 4].as_slice(), &0.5.into()));
        assert_eq!(last.params["class_weight"], "balanced".into());
        let dense = space(Task::Classification, Input::Dense).adapt(&raw).unwrap();
        assert_eq!(operators(&dense), ["input", "standard_scale", "pca", "logistic"]);
        assert_eq!(space(Task::Regression, Input::Dense).adapt(&graph), None);
        // What a parameter brings with it gets its default.
        let elastic = Node::new("logistic", [1]).with("penalty", "elastic_net");
        let graph = Genotype { nodes: [&graph.nodes[..2], &[elastic]].concat() };
        let adapted = space(Task::Classification, Input::Dense).adapt(&graph).unwrap();
        assert_eq!(adapted.nodes.last().unwrap().params["l1_ratio"], 0.5.into());
    }
}
