use automl_core::rand::SeedableRng;
use automl_core::space::sample;
use automl_core::{Genotype, GraphSpace, Mutation, Node};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::testing::{pool_space, tiny};

/// Parents with their children (where the mutation applies), over so many random parents.
fn children(mutation: &dyn Mutation, space: &GraphSpace, cases: u64) -> Vec<(Genotype, Option<Genotype>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    (0..cases)
        .map(|_| {
            let parent = sample(space, &mut rng).unwrap();
            let child = mutation.mutate(&parent, space, &mut rng).unwrap();
            (parent, child)
        })
        .collect()
}

fn edges(genotype: &Genotype) -> Vec<(usize, usize)> {
    let nodes = genotype.nodes.iter().enumerate();
    nodes.flat_map(|(to, node)| node.inputs.iter().map(move |&from| (from, to))).collect()
}

fn sorted_nodes(genotype: &Genotype) -> Vec<String> {
    let mut nodes: Vec<String> = genotype.nodes.iter().map(|node| format!("{} {:?}", node.op, node.params)).collect();
    nodes.sort();
    nodes
}

/// A name, a mutation, and whether it can apply to a parent.
type Case<'a> = (&'a str, &'a dyn Mutation, &'a dyn Fn(&Genotype) -> bool);

#[test]
fn mutations_apply_wherever_they_can() {
    let space = pool_space();
    let inner_end = |parent: &Genotype| parent.nodes[1..parent.nodes.len() - 1].iter().any(|node| space.ends_with(&node.op));
    let tunable = |parent: &Genotype| parent.nodes.iter().any(|node| !node.params.is_empty());
    let cases: [Case<'_>; 6] = [
        ("type", &MutationType {}, &|_| true),
        ("edge", &MutationEdge {}, &|parent| parent.nodes.len() > 4),
        ("layer", &MutationLayer {}, &|_| true),
        ("subgraph", &Subgraph {}, &inner_end),
        ("parameter", &MutationParameter::default(), &tunable),
        ("point", &MutationPoint::default(), &|_| true),
    ];
    for (name, mutation, can) in cases {
        let applicable: Vec<_> = children(mutation, &space, 400).into_iter().filter(|(parent, _)| can(parent)).collect();
        let applied = applicable.iter().filter(|(_, child)| child.is_some()).count();
        assert!(applicable.len() > 100, "{name}: {}", applicable.len());
        assert!(applied * 5 >= applicable.len() * 4, "{name}: {applied} of {}", applicable.len());
    }
}

#[test]
fn type_changes_one_operator_and_no_edge() {
    for (parent, child) in children(&MutationType {}, &pool_space(), 200) {
        let Some(child) = child else { continue };
        assert_eq!(edges(&parent), edges(&child));
        let changed = parent.nodes.iter().zip(&child.nodes).filter(|(old, new)| old != new);
        let changed: Vec<(&Node, &Node)> = changed.collect();
        assert!(matches!(changed[..], [(old, new)] if old.op != new.op), "{parent} → {child}");
    }
}

#[test]
fn edge_changes_edges_alone() {
    let mut counts = [0, 0, 0];
    for (parent, child) in children(&MutationEdge {}, &pool_space(), 1_000) {
        let Some(child) = child else { continue };
        assert_eq!(sorted_nodes(&parent), sorted_nodes(&child));
        counts[edges(&child).len() + 1 - edges(&parent).len()] += 1;
    }
    assert!(counts[0] > 20 && counts[1] == 0 && counts[2] > 20, "edges are removed and added: {counts:?}");
}

#[test]
fn layer_inserts_deletes_and_replaces() {
    let (mut more, mut fewer, mut same) = (0, 0, 0);
    for (parent, child) in children(&MutationLayer {}, &pool_space(), 400) {
        let Some(child) = child else { continue };
        match child.nodes.len().cmp(&parent.nodes.len()) {
            std::cmp::Ordering::Greater => {
                more += 1;
                assert!(child.nodes.len() <= parent.nodes.len() + 2);
                let old = sorted_nodes(&parent);
                let new = sorted_nodes(&child);
                assert!(old.iter().all(|node| new.contains(node)), "an insertion keeps all: {parent} → {child}");
            }
            std::cmp::Ordering::Less => {
                fewer += 1;
                let old = sorted_nodes(&parent);
                assert!(sorted_nodes(&child).iter().all(|node| old.contains(node)), "{parent} → {child}");
            }
            std::cmp::Ordering::Equal => {
                same += 1;
                assert_eq!(edges(&parent), edges(&child));
                let levels = parent.levels();
                let changed = (0..levels.len()).filter(|&node| parent.nodes[node] != child.nodes[node]);
                let changed: std::collections::BTreeSet<usize> = changed.map(|node| levels[node]).collect();
                assert_eq!(changed.len(), 1, "one layer changes: {parent} → {child}");
            }
        }
    }
    // Most random graphs have as many vertices as they may, so that few layers can be inserted.
    assert!(more > 10 && fewer > 40 && same > 40, "{more} {fewer} {same}");
}

#[test]
fn subgraph_keeps_a_part() {
    for (parent, child) in children(&Subgraph {}, &pool_space(), 200) {
        let Some(child) = child else { continue };
        assert!(child.nodes.len() < parent.nodes.len());
        let old = sorted_nodes(&parent);
        assert!(sorted_nodes(&child).iter().all(|node| old.contains(node)));
    }
}

#[test]
fn parameter_changes_the_parameters_of_one_vertex() {
    for (parent, child) in children(&MutationParameter::default(), &pool_space(), 300) {
        let Some(child) = child else { continue };
        assert_eq!(edges(&parent), edges(&child));
        let changed = parent.nodes.iter().zip(&child.nodes).filter(|(old, new)| old != new);
        let changed: Vec<(&Node, &Node)> = changed.collect();
        assert!(matches!(changed[..], [(old, new)] if old.op == new.op), "{parent} → {child}");
    }
}

#[test]
fn point_answers_one_question_differently() {
    let space = tiny();
    let mut seen = std::collections::BTreeSet::new();
    for (parent, child) in children(&MutationPoint::default(), &space, 60) {
        let child = child.unwrap();
        assert_ne!(parent, child);
        seen.insert(format!("{parent} → {child}"));
    }
    assert_eq!(seen.len(), 6, "every change among three options: {seen:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let space = tiny();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let parent = sample(&space, &mut rng).unwrap();
    let bad = MutationParameter { sigma: -1.0, ..MutationParameter::default() };
    assert!(bad.mutate(&parent, &space, &mut rng).is_err());
    let bad = MutationPoint { resample: 2.0, ..MutationPoint::default() };
    assert!(bad.mutate(&parent, &space, &mut rng).is_err());
}
