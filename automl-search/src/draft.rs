//! A graph while a mutation or crossover puts it together.
//!
//! Nodes have numbers of their own and stand in any order; [`Draft::finish`] drops what nothing reads, sorts the rest and lets
//! the space judge the result. So an edit says what it wants and never checks bounds, ports or kinds by itself.

use std::collections::BTreeSet;

use automl_core::graph::OUTPUT;
use automl_core::rand::{Rng, RngExt};
use automl_core::{Genotype, GraphSpace, Node, Params, SearchSpace};

/// A graph under construction over the sources of a space.
pub(crate) struct Draft<'a> {
    space: &'a GraphSpace,
    /// The nodes, sources first; inputs are indices into this list.
    pub nodes: Vec<Node>,
    /// Which node is the output.
    pub output: usize,
}

impl<'a> Draft<'a> {
    /// A draft that starts as a copy of `genotype`.
    pub fn of(space: &'a GraphSpace, genotype: &Genotype) -> Self {
        Self { space, nodes: genotype.nodes.clone(), output: genotype.nodes.len().saturating_sub(1) }
    }

    /// Adds a vertex and says its number.
    pub fn add(&mut self, op: &str, inputs: Vec<usize>, rng: &mut dyn Rng) -> usize {
        let params = new_params(self.space, op, rng);
        self.nodes.push(Node { op: op.to_owned(), inputs, params });
        self.nodes.len() - 1
    }

    /// Adds the edge `from` → `to`, if the operators allow it and it would be the only one and not one too many.
    pub fn connect(&mut self, from: usize, to: usize) -> bool {
        let node = &self.nodes[to];
        let full = node.inputs.len() >= self.space.spec().fan_in;
        if full || node.inputs.contains(&from) || !self.space.connects(&self.nodes[from].op, &node.op) {
            return false;
        }
        self.nodes[to].inputs.push(from);
        true
    }

    /// Removes the edge `from` → `to`.
    pub fn disconnect(&mut self, from: usize, to: usize) {
        self.nodes[to].inputs.retain(|&input| input != from);
    }

    /// The graph without what its output does not descend from, in topological order; `None` if it lies outside the space.
    pub fn finish(self) -> Option<Genotype> {
        let sources = self.space.spec().sources.len();
        let mut left: BTreeSet<usize> = (0..sources).collect();
        let mut open = vec![self.output];
        while let Some(node) = open.pop() {
            if left.insert(node) {
                open.extend(&self.nodes.get(node)?.inputs);
            }
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(left.len());
        let mut place = vec![None; self.nodes.len()];
        while !left.is_empty() {
            // The first that can come next: what was sorted before keeps its order, and sources stay in front.
            let ready = |&&id: &&usize| self.nodes[id].inputs.iter().all(|&input| place[input].is_some());
            let next = *left.iter().find(ready)?;
            left.remove(&next);
            let mut node = self.nodes[next].clone();
            node.inputs = node.inputs.iter().filter_map(|&input| place[input]).collect();
            node.inputs.sort_unstable();
            place[next] = Some(nodes.len());
            nodes.push(node);
        }
        let genotype = Genotype { nodes };
        self.space.trace(&genotype).is_ok().then_some(genotype)
    }
}

/// Parameters for a new vertex: half of the time the defaults, half of the time random ones.
pub(crate) fn new_params(space: &GraphSpace, op: &str, rng: &mut dyn Rng) -> Params {
    if rng.random::<bool>() {
        return space.defaults(op);
    }
    let mut values = Params::new();
    for param in space.operator(op).map(|operator| operator.params.as_slice()).unwrap_or_default() {
        if param.applies(&values)
            && let Some(value) = param.domain.value(param.domain.at(rng.random()))
        {
            values.insert(param.name.to_string(), value);
        }
    }
    values
}

/// Operators that fit between these nodes (readers and what is read) with their weight, the product over all transitions;
/// weights of zero are left out.
pub(crate) fn fitting(space: &GraphSpace, read: &[&str], readers: &[&str], output: bool, not: &str) -> Vec<(String, f64)> {
    let weigh = |name: &str| -> f64 {
        let before: f64 = read.iter().map(|from| space.weight(from, name)).product();
        let after: f64 = readers.iter().map(|to| space.weight(name, to)).product();
        before * after * if output { space.weight(name, OUTPUT) } else { 1.0 }
    };
    let names = space.spec().operators.iter().map(|operator| operator.name.as_str());
    let fits = |name: &&str| {
        *name != not
            && read.iter().all(|from| space.connects(from, name))
            && readers.iter().all(|to| space.connects(name, to))
            && (!output || space.ends_with(name))
    };
    names.filter(fits).map(|name| (name.to_owned(), weigh(name))).filter(|(_, weight)| *weight > 0.0).collect()
}

/// Takes one item out, the likelier the larger its weight.
pub(crate) fn take_weighted<T>(items: &mut Vec<(T, f64)>, rng: &mut dyn Rng) -> Option<T> {
    let total: f64 = items.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.random::<f64>() * total;
    let hit = items.iter().position(|(_, weight)| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave nothing hit: then the last.
    let index = hit.or_else(|| items.len().checked_sub(1))?;
    Some(items.remove(index).0)
}
