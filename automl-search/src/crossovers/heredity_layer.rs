//! The lower layers of one parent under the upper layers of another.

use automl_core::rand::seq::{IndexedRandom, SliceRandom};
use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Genotype, GraphSpace, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use crate::draft::Draft;

/// Cuts that are tried.
const TRIES: usize = 16;

/// Sets the upper layers of one parent on the lower layers of the other.
///
/// Both parents are cut between two layers. Each edge that the cut goes through is attached to a vertex of the highest kept
/// layer whose kind fits; vertices that are left without a reader feed the upper part where they can, else they are dropped. A
/// reconstruction of DarwinML's `heredity_layer` after USPEX, whose heredity cuts two crystals and joins the slabs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct HeredityLayer {}

plugin! {
    "heredity_layer",
    impl Crossover for HeredityLayer {
        fn cross(&self, a: &Genotype, b: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let Some(graph) = space.graph() else { return Ok(None) };
            let children = (0..TRIES).filter_map(|_| splice(graph, a, b, rng));
            Ok(children.into_iter().find(|child| child != a && child != b))
        }
    }
}

fn splice(graph: &GraphSpace, a: &Genotype, b: &Genotype, rng: &mut dyn Rng) -> Option<Genotype> {
    let (levels_a, levels_b) = (a.levels(), b.levels());
    let (top_a, top_b) = (*levels_a.last()?, *levels_b.last()?);
    if top_a == 0 || top_b == 0 {
        return None;
    }
    let (cut_a, cut_b) = (rng.random_range(1..=top_a), rng.random_range(0..top_b));
    let mut draft = Draft::of(graph, a);
    // Vertices above the cut of `a` stay in the list, but nothing will read them.
    let lower: Vec<usize> = (0..a.nodes.len()).filter(|&node| levels_a[node] <= cut_a).collect();
    let mut place = vec![None; b.nodes.len()];
    let mut upper = Vec::new();
    for (node, gene) in b.nodes.iter().enumerate().filter(|(node, _)| levels_b[*node] > cut_b) {
        let mut copy = gene.clone();
        copy.inputs = gene.inputs.iter().filter_map(|&input| place[input]).collect();
        draft.nodes.push(copy);
        let new = draft.nodes.len() - 1;
        place[node] = Some(new);
        upper.push(new);
        for _ in gene.inputs.iter().filter(|&&input| levels_b[input] <= cut_b) {
            attach(graph, &mut draft, &lower, &levels_a, new, rng);
        }
    }
    draft.output = *upper.last()?;
    upper.shuffle(rng);
    for &node in lower.iter().filter(|&&node| levels_a[node] > 0) {
        let read = lower.iter().chain(&upper).any(|&reader| draft.nodes[reader].inputs.contains(&node));
        if !read {
            let _attached = upper.iter().any(|&reader| draft.connect(node, reader));
        }
    }
    draft.finish()
}

/// Lets `reader` read a vertex of the highest layer below the cut that has one to offer.
fn attach(graph: &GraphSpace, draft: &mut Draft<'_>, lower: &[usize], levels: &[usize], reader: usize, rng: &mut dyn Rng) {
    let fits = |&&node: &&usize| {
        !draft.nodes[reader].inputs.contains(&node) && graph.connects(&draft.nodes[node].op, &draft.nodes[reader].op)
    };
    let fitting: Vec<usize> = lower.iter().filter(fits).copied().collect();
    let highest = fitting.iter().map(|&node| levels[node]).max();
    let candidates: Vec<usize> = fitting.into_iter().filter(|&node| Some(levels[node]) == highest).collect();
    if let Some(&node) = candidates.choose(rng) {
        draft.connect(node, reader);
    }
}

#[cfg(test)]
mod tests {
    use automl_core::Crossover;
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::pool_space;

    #[test]
    fn the_child_ends_like_one_parent_and_holds_vertices_of_the_other() {
        let space = pool_space();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut children, mut both) = (0, 0);
        for _ in 0..300 {
            let (a, mut b) = (sample(&space, &mut rng).unwrap(), sample(&space, &mut rng).unwrap());
            // Marks the vertices of one parent by a parameter that they share with no other.
            let Some(ridge) = b.nodes.iter_mut().find(|node| node.op == "ridge") else { continue };
            ridge.params.insert("alpha".into(), 123.0.into());
            let Some(child) = (HeredityLayer {}).cross(&a, &b, &space, &mut rng).unwrap() else { continue };
            children += 1;
            assert_eq!(child.nodes.last().map(|node| &node.op), b.nodes.last().map(|node| &node.op), "{a} × {b} = {child}");
            let from = |parent: &Genotype, node: &automl_core::Node| {
                parent.nodes.iter().any(|other| other.op == node.op && other.params == node.params)
            };
            assert!(child.nodes.iter().all(|node| from(&a, node) || from(&b, node)), "{a} × {b} = {child}");
            both += usize::from(child.nodes.iter().any(|node| !from(&b, node)));
        }
        assert!(children > 100 && both * 4 > children, "{children} {both}");
    }
}
