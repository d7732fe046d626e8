//! Where the nodes of a graph stand: layers from the sources to the output, few crossings, short edges (Sugiyama, Tagawa and
//! Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981).
//!
//! A node's layer is the longest path to it. An edge over several layers passes a point in each, which takes part in the order
//! of its layer like a node, so that edges run around nodes. Orders and heights follow the means of the neighbours, to and fro.

use automl_core::Genotype;

/// Sweeps over the layers, to and fro.
const SWEEPS: usize = 12;

/// A picture without its strokes, in units of one: layers to the right, nodes of a layer downwards.
pub struct Layout {
    /// Layer and height of each node.
    pub nodes: Vec<(usize, f64)>,
    /// For each edge its two nodes, and the layers and heights that it passes, its ends included.
    pub edges: Vec<(usize, usize, Vec<(usize, f64)>)>,
    /// Number of layers.
    pub layers: usize,
}

/// A node of the picture, or a point of a long edge.
#[derive(Default)]
struct Item {
    layer: usize,
    height: f64,
    before: Vec<usize>,
    after: Vec<usize>,
    /// Room that it takes.
    room: f64,
}

impl Layout {
    /// Lays a genotype out.
    pub fn of(genotype: &Genotype) -> Self {
        let layer_of = layers(genotype);
        let mut items: Vec<Item> = layer_of.iter().map(|&layer| Item { layer, room: 1.0, ..Item::default() }).collect();
        let mut edges = Vec::new();
        for (to, node) in genotype.nodes.iter().enumerate() {
            for &from in &node.inputs {
                let (first, last) = (at(&layer_of, from), at(&layer_of, to));
                let mut way = vec![from];
                for layer in first + 1..last {
                    items.push(Item { layer, room: 0.55, ..Item::default() });
                    way.push(items.len() - 1);
                }
                way.push(to);
                for pair in way.windows(2) {
                    if let [a, b] = *pair {
                        if let Some(item) = items.get_mut(a) {
                            item.after.push(b);
                        }
                        if let Some(item) = items.get_mut(b) {
                            item.before.push(a);
                        }
                    }
                }
                edges.push((from, to, way));
            }
        }
        let count = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
        let mut order: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (index, item) in items.iter().enumerate() {
            if let Some(layer) = order.get_mut(item.layer) {
                layer.push(index);
            }
        }
        for layer in &order {
            stack(&mut items, layer, &[]);
        }
        for sweep in 0..2 * SWEEPS {
            let forth = sweep % 2 == 0;
            for step in 0..count {
                let Some(layer) = order.get_mut(if forth { step } else { count - 1 - step }) else { continue };
                let wanted = |index: usize| mean(&items, index, forth);
                if sweep < SWEEPS {
                    // While there is time, nodes change places; after that only their distances do.
                    layer.sort_by(|a, b| wanted(*a).total_cmp(&wanted(*b)));
                }
                let wanted: Vec<f64> = layer.iter().map(|&index| wanted(index)).collect();
                stack(&mut items, layer, &wanted);
            }
        }
        let top = items.iter().map(|item| item.height).fold(f64::INFINITY, f64::min);
        let place = |index: usize| items.get(index).map_or((0, 0.0), |item| (item.layer, item.height - top));
        Self {
            nodes: (0..genotype.nodes.len()).map(place).collect(),
            edges: edges.into_iter().map(|(from, to, way)| (from, to, way.into_iter().map(place).collect())).collect(),
            layers: count,
        }
    }
}

/// The longest path to each node; a source stands just before the first that reads it.
fn layers(genotype: &Genotype) -> Vec<usize> {
    let mut layers = genotype.levels();
    for (index, readers) in genotype.consumers().iter().enumerate() {
        let source = genotype.nodes.get(index).is_some_and(|node| node.inputs.is_empty());
        if let (true, Some(first)) = (source, readers.iter().map(|&reader| at(&layers, reader)).min())
            && let Some(layer) = layers.get_mut(index)
        {
            *layer = first.saturating_sub(1);
        }
    }
    layers
}

fn at(layers: &[usize], index: usize) -> usize {
    layers.get(index).copied().unwrap_or_default()
}

/// The mean height of the neighbours on one side; of the other side where there are none, else its own.
fn mean(items: &[Item], index: usize, forth: bool) -> f64 {
    let Some(item) = items.get(index) else { return 0.0 };
    let sides = if forth { [&item.before, &item.after] } else { [&item.after, &item.before] };
    let Some(side) = sides.into_iter().find(|side| !side.is_empty()) else { return item.height };
    side.iter().filter_map(|&other| items.get(other)).map(|other| other.height).sum::<f64>() / side.len() as f64
}

/// Puts the items of a layer below each other, each as near to its wanted height as the order and the room allow.
fn stack(items: &mut [Item], layer: &[usize], wanted: &[f64]) {
    let mut heights: Vec<f64> = Vec::with_capacity(layer.len());
    let mut end = f64::NEG_INFINITY;
    for (place, &index) in layer.iter().enumerate() {
        let room = items.get(index).map_or(1.0, |item| item.room);
        let wish = wanted.get(place).copied().unwrap_or(0.0);
        let height = if end.is_finite() { wish.max(end + room / 2.0) } else { wish };
        end = height + room / 2.0;
        heights.push(height);
    }
    // Pushed down by those above, the layer as a whole is moved to where it wants to be.
    let shift = wanted.iter().zip(&heights).map(|(wanted, height)| wanted - height).sum::<f64>() / wanted.len().max(1) as f64;
    for (&index, height) in layer.iter().zip(heights) {
        if let Some(item) = items.get_mut(index) {
            item.height = height + shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::Node;

    use super::*;

    #[test]
    fn nodes_of_a_layer_stand_apart_and_edges_run_forwards() {
        let node = |op: &str, inputs: &[usize]| Node::new(op, inputs);
        let genotype = Genotype {
            nodes: vec![
                node("x", &[]),
                node("a", &[0]),
                node("b", &[0]),
                node("c", &[1]),
                node("d", &[2, 3]),
                node("y", &[]),
                node("e", &[0, 4, 5]),
            ],
        };
        let layout = Layout::of(&genotype);
        assert_eq!(layout.nodes.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [0, 1, 1, 2, 3, 3, 4]);
        assert_eq!((layout.layers, layout.edges.len()), (5, 8));
        for (a, &(layer, height)) in layout.nodes.iter().enumerate() {
            for &(other, below) in &layout.nodes[..a] {
                assert!(layer != other || (height - below).abs() > 0.99, "{:?}", layout.nodes);
            }
        }
        for (from, to, way) in &layout.edges {
            assert!(way.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
            assert_eq!((way[0], way[way.len() - 1]), (layout.nodes[*from], layout.nodes[*to]));
        }
    }
}
