//! Stacked cells: a convolution, three stages of cells with a reduction between them (see [`crate::cells::Network`]).

use automl_core::{Error, Genotype, Result};

use super::build::Builder;
use super::{Design, Features};
use crate::cells::SOURCES;
use crate::tensor::image::ConvSpec;

pub(super) fn build(b: &mut Builder, genotype: &Genotype, design: &Design) -> Result<Features> {
    let (cells, channels) = (design.cells.unwrap_or(3), design.channels.unwrap_or(32));
    let end = |names: [&str; 2]| {
        let found = genotype.nodes.iter().position(|node| names.contains(&node.op.as_str()));
        found.ok_or_else(|| Error::Outside(format!("{genotype} has no node `{}`", names.join("` or `"))))
    };
    let ends = [end(["normal", "cell"])?, end(["reduction", "cell"])?];
    let stem = b.conv("stem.conv", 0, 3 * channels, ConvSpec::same(3, design.stem_stride.unwrap_or(1)))?;
    let stem = b.norm("stem.norm", stem, false)?;
    let (mut before, mut previous, mut two_thirds) = (stem, stem, None);
    let total = 3 * cells + 2;
    let mut number = 0;
    for stage in 0..3 {
        let reductions = usize::from(stage > 0);
        for index in 0..cells + reductions {
            let reduces = index < reductions;
            let cell = Cell {
                genotype,
                end: ends[usize::from(reduces)],
                number,
                channels: channels << stage,
                reduces,
                depth: (number + 1) as f32 / total as f32,
            };
            (before, previous) = (previous, cell.build(b, [before, previous])?);
            if stage == 2 && reduces {
                two_thirds = Some(previous);
            }
            number += 1;
        }
    }
    Ok(Features { last: b.relu(previous)?, two_thirds })
}

/// A cell in its place.
struct Cell<'a> {
    genotype: &'a Genotype,
    end: usize,
    number: usize,
    channels: usize,
    reduces: bool,
    depth: f32,
}

impl Cell<'_> {
    /// The cell on the outputs of the two before it.
    fn build(&self, b: &mut Builder, reads: [usize; 2]) -> Result<usize> {
        let node = |index: usize| {
            let node = self.genotype.nodes.get(index);
            node.ok_or_else(|| Error::Outside(format!("{} reads a node that is not there", self.genotype)))
        };
        let mut made: Vec<Option<usize>> = vec![None; self.end + 1];
        let size = b.shape(reads[1]);
        for (index, (read, source)) in reads.into_iter().zip(SOURCES).enumerate() {
            // The width is part of the name: another number of loose blocks in the cell before makes other weights.
            let name = format!("cell.{}.{source}.{}", self.number, b.shape(read).channels);
            let step = if b.shape(read).height != size.height || b.shape(read).width != size.width {
                b.factorised(&name, read, self.channels)?
            } else {
                b.relu_conv_norm(&name, read, self.channels, ConvSpec::same(1, 1))?
            };
            if let Some(slot) = made.get_mut(index) {
                *slot = Some(step);
            }
        }
        let mut needed = vec![false; self.end + 1];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        for index in (SOURCES.len()..=self.end).rev() {
            if needed.get(index) == Some(&true) {
                for &input in &node(index)?.inputs {
                    if let Some(needed) = needed.get_mut(input) {
                        *needed = true;
                    }
                }
            }
        }
        for index in (SOURCES.len()..=self.end).filter(|index| needed.get(*index) == Some(&true)) {
            let node = node(index)?;
            let inputs: Vec<usize> = node.inputs.iter().filter_map(|&input| made.get(input).copied().flatten()).collect();
            if inputs.is_empty() || inputs.len() != node.inputs.len() {
                return Err(Error::Outside(format!("node {index} of {} reads what is no image", self.genotype)));
            }
            let step = if index == self.end {
                b.concat(&inputs)?
            } else if node.op == "sum" {
                b.add(&inputs)?
            } else {
                let at_source = node.inputs.iter().all(|&input| input < SOURCES.len());
                let stride = if self.reduces && at_source { 2 } else { 1 };
                let name = format!("cell.{}.{index}.{}", self.number, node.op);
                self.operator(b, &name, &node.op, inputs[0], stride)?
            };
            if let Some(slot) = made.get_mut(index) {
                *slot = Some(step);
            }
        }
        made.last().copied().flatten().ok_or_else(|| Error::Outside(format!("{} has an empty cell", self.genotype)))
    }

    fn operator(&self, b: &mut Builder, name: &str, op: &str, x: usize, stride: usize) -> Result<usize> {
        let c = self.channels;
        let unknown = || Error::Outside(format!("no operator `{op}` is known here"));
        let kernel = |text: &str| {
            let kernel = text.split('x').next().and_then(|side| side.parse::<usize>().ok());
            kernel.filter(|kernel| (1..=15).contains(kernel)).ok_or_else(unknown)
        };
        let out = match op.split_once("conv_") {
            None if op == "identity" || op == "skip_connect" => match stride {
                1 => return Ok(x),
                _ => b.factorised(name, x, c)?,
            },
            None => match op.split_once("_pool_").ok_or_else(unknown)? {
                ("avg", side) => b.pool(false, kernel(side)?, stride, x)?,
                ("max", side) => b.pool(true, kernel(side)?, stride, x)?,
                _ => return Err(unknown()),
            },
            Some(("", form)) => match form.split_once('_') {
                Some((first, _)) => {
                    let k = kernel(first.strip_prefix("1x").ok_or_else(unknown)?)?;
                    let x = b.relu_conv_norm(&format!("{name}.row"), x, c, ConvSpec::rectangular([1, k], 1))?;
                    b.relu_conv_norm(&format!("{name}.column"), x, c, ConvSpec::rectangular([k, 1], stride))?
                }
                None => b.relu_conv_norm(name, x, c, ConvSpec::same(kernel(form)?, stride))?,
            },
            Some(("sep_", form)) => {
                let k = kernel(form)?;
                let x = separable(b, name, 0, x, c, ConvSpec::same(k, stride))?;
                separable(b, name, 1, x, c, ConvSpec::same(k, 1))?
            }
            Some(("dil_", form)) => separable(b, name, 0, x, c, ConvSpec::dilated(kernel(form)?, stride, 2))?,
            _ => return Err(unknown()),
        };
        b.drop_path(out, self.depth)
    }
}

/// ReLU, a convolution of each channel by itself, one that mixes the channels, a norm.
fn separable(b: &mut Builder, name: &str, part: usize, x: usize, channels: usize, spec: ConvSpec) -> Result<usize> {
    let x = b.relu(x)?;
    let x = b.conv(&format!("{name}.depthwise_{part}"), x, channels, spec.depthwise(channels))?;
    let x = b.conv(&format!("{name}.pointwise_{part}"), x, channels, ConvSpec::same(1, 1))?;
    b.norm(&format!("{name}.norm_{part}"), x, false)
}
