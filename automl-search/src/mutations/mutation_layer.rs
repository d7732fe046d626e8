//! A layer more, less or other.

use automl_core::rand::seq::{IndexedRandom, SliceRandom};
use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{Genotype, GraphSpace, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use super::TRIES;
use super::mutation_type::operators_at;
use crate::draft::{Draft, fitting, new_params, take_weighted};

/// Inserts a layer, deletes one, or replaces the operators of one.
///
/// A layer holds the vertices with the same longest path from a source. A new layer has one vertex, sometimes two, spliced
/// into edges that leave the layer below; the readers of a deleted layer read what it read, as far as kinds allow. DarwinML's
/// `mutation_layer` as reconstructed: its documentation has the name alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct MutationLayer {}

plugin! {
    "mutation_layer",
    impl Mutation for MutationLayer {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let Some(graph) = space.graph() else { return Ok(None) };
            let layers = Layers::of(graph, parent);
            let mut edits: [Edit; 3] = [insert, delete, replace];
            edits.shuffle(rng);
            for edit in edits {
                for _ in 0..TRIES / 3 {
                    if let Some(child) = edit(&layers, rng).filter(|child| child != parent) {
                        return Ok(Some(child));
                    }
                }
            }
            Ok(None)
        }
    }
}

type Edit = fn(&Layers<'_>, &mut dyn Rng) -> Option<Genotype>;

/// A parent by layers.
struct Layers<'a> {
    graph: &'a GraphSpace,
    parent: &'a Genotype,
    /// Nodes of each layer; the sources are layer 0, the output is alone in the last.
    layers: Vec<Vec<usize>>,
}

impl<'a> Layers<'a> {
    fn of(graph: &'a GraphSpace, parent: &'a Genotype) -> Self {
        let levels = parent.levels();
        let mut layers = vec![Vec::new(); levels.iter().max().map_or(0, |top| top + 1)];
        for (node, &level) in levels.iter().enumerate() {
            layers[level].push(node);
        }
        Self { graph, parent, layers }
    }

    fn op(&self, node: usize) -> &str {
        &self.parent.nodes[node].op
    }

    /// One of the layers above the sources.
    fn any(&self, rng: &mut dyn Rng) -> Option<&[usize]> {
        self.layers.get(1..)?.choose(rng).map(Vec::as_slice)
    }
}

fn insert(layers: &Layers<'_>, rng: &mut dyn Rng) -> Option<Genotype> {
    let mut draft = Draft::of(layers.graph, layers.parent);
    let below = layers.layers.choose(rng)?;
    let consumers = layers.parent.consumers();
    if below.contains(&draft.output) {
        let op = take_weighted(&mut fitting(layers.graph, &[layers.op(draft.output)], &[], true, ""), rng)?;
        draft.output = draft.add(&op, vec![draft.output], rng);
        return draft.finish();
    }
    let width = if rng.random::<f64>() < 0.25 { 2 } else { 1 };
    for _ in 0..width {
        let &read = below.choose(rng)?;
        let mut operators = fitting(layers.graph, &[layers.op(read)], &[], false, "");
        operators.retain(|(op, _)| consumers[read].iter().any(|&reader| layers.graph.connects(op, layers.op(reader))));
        let op = take_weighted(&mut operators, rng)?;
        let vertex = draft.add(&op, vec![read], rng);
        let mut readers: Vec<usize> =
            consumers[read].iter().copied().filter(|&reader| layers.graph.connects(&op, layers.op(reader))).collect();
        readers.shuffle(rng);
        readers.truncate(rng.random_range(1..=readers.len().max(1)));
        // A quarter of the time the layer is passed by, too: a skip connection.
        let keep = rng.random::<f64>() < 0.25;
        for reader in readers {
            if !keep {
                draft.disconnect(read, reader);
            }
            draft.connect(vertex, reader);
        }
    }
    draft.finish()
}

fn delete(layers: &Layers<'_>, rng: &mut dyn Rng) -> Option<Genotype> {
    let mut draft = Draft::of(layers.graph, layers.parent);
    let layer = layers.any(rng)?;
    let consumers = layers.parent.consumers();
    for &vertex in layer {
        let mut read = layers.parent.nodes[vertex].inputs.clone();
        read.shuffle(rng);
        if vertex == draft.output {
            draft.output = read.into_iter().find(|&node| layers.graph.ends_with(layers.op(node)))?;
            break;
        }
        for &reader in &consumers[vertex] {
            draft.disconnect(vertex, reader);
            for &node in &read {
                draft.connect(node, reader);
            }
        }
    }
    draft.finish()
}

fn replace(layers: &Layers<'_>, rng: &mut dyn Rng) -> Option<Genotype> {
    let mut draft = Draft::of(layers.graph, layers.parent);
    for &vertex in layers.any(rng)? {
        if let Some(op) = take_weighted(&mut operators_at(layers.graph, layers.parent, vertex), rng) {
            draft.nodes[vertex].params = new_params(layers.graph, &op, rng);
            draft.nodes[vertex].op = op;
        }
    }
    draft.finish()
}
