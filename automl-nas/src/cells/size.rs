//! Parameters, multiply-adds and depth of the network that is built of cells, by shape inference.

use automl_core::schemars::JsonSchema;
use automl_core::{Error, Genotype, Node, Result};
use serde::{Deserialize, Serialize};

use super::cell::SOURCES;

/// The network that cells are stacked to: a 3×3 convolution, three stages of cells with a reduction between them, a global
/// average and a linear layer (Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018).
///
/// A reduction halves the resolution and doubles the channels. Before its blocks, a cell brings what it reads to its own
/// channels by 1×1 convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Network {
    /// Cells of a stage; default 3.
    pub cells: usize,
    /// Channels of the first stage; the first convolution has three times as many. Default 32.
    pub channels: usize,
    /// Height and width of an image; default 32.
    pub image: usize,
    /// Channels of an image; default 3.
    pub image_channels: usize,
    /// Classes; default 10.
    pub classes: usize,
    /// Cells with more parameters lie outside the space; default no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parameters: Option<u64>,
    /// Cells with more multiply-adds for an image lie outside the space; default no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_flops: Option<u64>,
}

impl Default for Network {
    fn default() -> Self {
        Self { cells: 3, channels: 32, image: 32, image_channels: 3, classes: 10, max_parameters: None, max_flops: None }
    }
}

/// How large a network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Weights that are trained, the two of each batch norm included.
    pub parameters: u64,
    /// Multiply-adds of convolutions and linear layers for one image.
    pub flops: u64,
    /// Convolutions and linear layers on the longest path.
    pub depth: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.flops = self.flops.saturating_add(other.flops);
    }
}

/// A convolution with `weights` weights at each of `pixels` places, and a batch norm of `channels`.
fn conv(weights: u64, channels: u64, pixels: u64) -> Size {
    Size { parameters: weights.saturating_add(2 * channels), flops: weights.saturating_mul(pixels), depth: 1 }
}

fn chain(parts: &[Size]) -> Size {
    parts.iter().fold(Size::default(), |mut sum, part| {
        sum.add(*part);
        Size { depth: sum.depth + part.depth, ..sum }
    })
}

/// What an operator takes on `c` channels where `pixels` places are put out, `reduces` if it halves the resolution; none for
/// an unknown one.
fn operator(name: &str, c: u64, pixels: u64, reduces: bool) -> Option<Size> {
    let kernel = |text: &str| text.split('x').next()?.parse::<u64>().ok().filter(|kernel| (1..=64).contains(kernel));
    let separable = |k: u64| conv(k * k * c + c * c, c, pixels);
    Some(match name.split_once("conv_") {
        None if name.starts_with("avg_pool_") || name.starts_with("max_pool_") || name == "none" => Size::default(),
        None if name == "identity" || name == "skip_connect" => {
            // A factorised reduction: two 1×1 convolutions of half the channels (its batch norm is one).
            if reduces { conv(c * c, c, pixels) } else { Size::default() }
        }
        Some(("", form)) => match form.split_once('_') {
            // 1×k and k×1; the second halves the resolution.
            Some((first, _)) => {
                let weights = kernel(first.strip_prefix("1x")?)? * c * c;
                let between = if reduces { 4 * pixels } else { pixels };
                chain(&[conv(weights, c, between), conv(weights, c, pixels)])
            }
            None => {
                let k = kernel(form)?;
                conv(k * k * c * c, c, pixels)
            }
        },
        // Depthwise and pointwise convolution, twice (`sep`) or once with holes (`dil`).
        Some(("sep_", form)) => Size { depth: 4, ..chain(&[separable(kernel(form)?), separable(kernel(form)?)]) },
        Some(("dil_", form)) => Size { depth: 2, ..separable(kernel(form)?) },
        _ => return None,
    })
}

/// The index of the operator that takes least.
pub(super) fn cheapest(operators: &[&str]) -> usize {
    // A reduction counts: there an identity is a convolution, and pooling is free.
    let cost = |name: &str| operator(name, 16, 64, true).map_or(u64::MAX, |size| size.parameters);
    (0..operators.len()).min_by_key(|&index| operators.get(index).map_or(u64::MAX, |name| cost(name))).unwrap_or_default()
}

/// What a cell reads: channels, places, and the depth so far.
#[derive(Clone, Copy)]
struct State {
    channels: u64,
    pixels: u64,
    depth: u64,
}

impl Network {
    /// Whether any bound is set.
    pub fn bounded(&self) -> bool {
        self.max_parameters.is_some() || self.max_flops.is_some()
    }

    /// Whether the network of these cells is within the bounds.
    pub fn fits(&self, genotype: &Genotype) -> bool {
        let within = |value: u64, most: Option<u64>| most.is_none_or(|most| value <= most);
        self.size(genotype).is_ok_and(|size| within(size.parameters, self.max_parameters) && within(size.flops, self.max_flops))
    }

    /// The size of the network that is built of the cells of a genotype of any space of cells.
    ///
    /// # Errors
    /// [`Error::Outside`] where the genotype has no cells or an operator that is not known here.
    pub fn size(&self, genotype: &Genotype) -> Result<Size> {
        let end = |names: [&str; 2]| {
            let found = genotype.nodes.iter().position(|node| names.contains(&node.op.as_str()));
            found.ok_or_else(|| Error::Outside(format!("{genotype} has no node `{}`", names.join("` or `"))))
        };
        let (normal, reduction) = (end(["normal", "cell"])?, end(["reduction", "cell"])?);
        let wide = |number: usize| number as u64;
        let stem = 3 * wide(self.channels);
        let pixels = wide(self.image).saturating_mul(wide(self.image));
        let mut total = conv(9 * wide(self.image_channels) * stem, stem, pixels);
        let mut before = State { channels: stem, pixels, depth: 1 };
        let mut previous = before;
        let mut channels = wide(self.channels);
        for stage in 0..3 {
            let reductions = usize::from(stage > 0);
            for index in 0..self.cells.saturating_add(reductions) {
                let reduces = index < reductions;
                let end = if reduces { reduction } else { normal };
                if reduces {
                    channels = channels.saturating_mul(2);
                }
                let (size, out) = cell(genotype, end, [before, previous], channels, reduces)?;
                total.add(size);
                (before, previous) = (previous, out);
            }
        }
        let linear = (previous.channels + 1).saturating_mul(wide(self.classes));
        total.parameters = total.parameters.saturating_add(linear);
        total.flops = total.flops.saturating_add(previous.channels.saturating_mul(wide(self.classes)));
        Ok(Size { depth: previous.depth + 1, ..total })
    }
}

/// The size of one cell, and what it puts out.
fn cell(genotype: &Genotype, end: usize, reads: [State; 2], channels: u64, reduces: bool) -> Result<(Size, State)> {
    let [_, previous] = reads;
    let mut total = Size::default();
    // Depth of each node so far; the sources are brought to the cell's channels and to the resolution of the previous cell.
    let mut depths = vec![0_u64; end + 1];
    for (depth, read) in depths.iter_mut().zip(reads) {
        total.add(conv(read.channels.saturating_mul(channels), channels, previous.pixels));
        *depth = read.depth + 1;
    }
    let pixels = if reduces { previous.pixels / 4 } else { previous.pixels };
    let node = |index: usize| -> Result<&Node> {
        genotype.nodes.get(index).ok_or_else(|| Error::Outside(format!("{genotype} reads a node that is not there")))
    };
    let mut needed = vec![false; end + 1];
    mark(&mut needed, end);
    // The nodes of this cell, and none of another one.
    for index in (SOURCES.len()..=end).rev() {
        if needed.get(index) == Some(&true) {
            node(index)?.inputs.iter().for_each(|&input| mark(&mut needed, input));
        }
    }
    for index in (SOURCES.len()..=end).filter(|index| needed.get(*index) == Some(&true)) {
        let node = node(index)?;
        let deepest = node.inputs.iter().filter_map(|&input| depths.get(input)).max().copied().unwrap_or_default();
        let size = if node.op == "sum" || index == end {
            Size::default()
        } else {
            let at_source = node.inputs.iter().all(|&input| input < SOURCES.len());
            let unknown = || Error::Outside(format!("no cost of the operator `{}` is known", node.op));
            operator(&node.op, channels, pixels, reduces && at_source).ok_or_else(unknown)?
        };
        total.add(size);
        if let Some(depth) = depths.get_mut(index) {
            *depth = deepest + size.depth;
        }
    }
    let width = channels.saturating_mul(node(end)?.inputs.len() as u64);
    Ok((total, State { channels: width, pixels, depth: depths.get(end).copied().unwrap_or_default() }))
}

fn mark(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

#[cfg(test)]
mod tests {
    use automl_core::SearchSpace;
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::super::{Darts, NaoCnn, NasNet, Renas};
    use super::*;

    /// `0 0` for every branch: the first operator on the earlier of the cells before.
    fn plain(space: &dyn SearchSpace, branches: usize, operator: usize) -> Genotype {
        space.parse(&format!("0 {operator} ").repeat(branches)).unwrap()
    }

    #[test]
    fn a_network_is_added_up_by_hand() {
        // One cell a stage, 4 channels, 8×8 images: stem 12 channels, cells of 5 blocks that all hang loose.
        let network = Network { cells: 1, channels: 4, image: 8, ..Network::default() };
        let pool = plain(&NaoCnn::default(), 20, 6);
        let [stem, first] = [9 * 3 * 12 + 24, 2 * (12 * 4 + 8)];
        // Reduction to 8 channels: reads 12 and 20; then a cell of 8: reads 20 and 40; to 16: 40 and 40; reads 40 and 80.
        let second = (12 * 8 + 16) + (20 * 8 + 16) + (20 * 8 + 16) + (40 * 8 + 16);
        let third = 2 * (40 * 16 + 32) + (40 * 16 + 32) + (80 * 16 + 32);
        let linear = 81 * 10;
        let size = network.size(&pool).unwrap();
        assert_eq!(size.parameters, stem + first + second + third + linear);
        // Every branch skips a cell: stem, the 1×1 convolutions of the first, third and fifth cell, linear layer.
        assert_eq!(size.depth, 5);
        let convolutions = network.size(&plain(&NaoCnn::default(), 20, 1)).unwrap();
        let own = |c: u64| 10 * (c * c + 2 * c);
        assert_eq!(convolutions.parameters - size.parameters, own(4) + 2 * own(8) + 2 * own(16));
        assert_eq!(convolutions.flops - size.flops, 10 * (16 * 64 + 2 * 64 * 16 + 2 * 256 * 4));
        // An identity costs where it reduces alone.
        let identities = network.size(&plain(&NaoCnn::default(), 20, 0)).unwrap();
        assert_eq!(identities.parameters - size.parameters, own(8) + own(16));
    }

    #[test]
    fn every_operator_has_a_cost() {
        let spaces: [(&dyn SearchSpace, &[&str]); 4] = [
            (&NasNet::default(), NasNet::WIRING.operators),
            (&NaoCnn::default(), NaoCnn::WIRING.operators),
            (&Renas::default(), Renas::WIRING.operators),
            (&Darts::default(), Darts::WIRING.operators),
        ];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (space, operators) in spaces {
            assert!(operators.iter().all(|name| operator(name, 8, 64, false).is_some()));
            for _ in 0..20 {
                let size = Network::default().size(&sample(space, &mut rng).unwrap()).unwrap();
                assert!(size.parameters > 10_000 && size.flops > size.parameters && size.depth > 8, "{size:?}");
            }
        }
        assert!(operator("conv_x", 8, 64, false).is_none() && operator("sep_conv_", 8, 64, false).is_none());
    }
}
