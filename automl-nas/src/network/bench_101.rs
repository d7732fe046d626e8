//! The network of NAS-Bench-101: a convolution, three stacks of cells with a pool between them (Ying et al. 2019, section 2 and
//! the code that its appendix describes).

use automl_core::{Error, Genotype, Result};

use super::build::Builder;
use super::{Design, Features};
use crate::tensor::image::ConvSpec;

pub(super) fn build(b: &mut Builder, genotype: &Genotype, design: &Design) -> Result<Features> {
    let (cells, channels) = (design.cells.unwrap_or(3), design.channels.unwrap_or(128));
    let mut x = b.conv_norm_relu("stem", 0, channels, ConvSpec::same(3, design.stem_stride.unwrap_or(1)))?;
    let (mut number, mut two_thirds) = (0, None);
    for stage in 0..3 {
        if stage > 0 {
            x = b.pool(true, 2, 2, x)?;
        }
        for index in 0..cells {
            x = cell(b, genotype, number, x, channels << stage)?;
            if stage == 2 && index == 0 {
                two_thirds = Some(x);
            }
            number += 1;
        }
    }
    Ok(Features { last: x, two_thirds })
}

/// The channels of each vertex: those that the output reads share its channels evenly, and any other has as many as the largest
/// that reads it.
fn widths(genotype: &Genotype, channels: usize) -> Vec<usize> {
    let count = genotype.nodes.len();
    let mut widths = vec![0; count];
    let Some((output, _)) = genotype.nodes.split_last() else { return widths };
    let inner: Vec<usize> = output.inputs.iter().copied().filter(|&input| input > 0).collect();
    for (place, &vertex) in inner.iter().enumerate() {
        // What does not divide evenly goes to the first ones.
        widths[vertex] = channels / inner.len() + usize::from(place < channels % inner.len());
    }
    let consumers = genotype.consumers();
    for vertex in (1..count.saturating_sub(1)).rev().filter(|vertex| !inner.contains(vertex)) {
        let readers = consumers.get(vertex).into_iter().flatten().filter(|reader| **reader + 1 < count);
        widths[vertex] = readers.map(|&reader| widths[reader]).max().unwrap_or_default();
    }
    widths
}

fn cell(b: &mut Builder, genotype: &Genotype, number: usize, x: usize, channels: usize) -> Result<usize> {
    let broken = || Error::Outside(format!("{genotype} is no cell of NAS-Bench-101"));
    let widths = widths(genotype, channels);
    let (output, vertices) = genotype.nodes.split_last().ok_or_else(broken)?;
    let project = |b: &mut Builder, vertex: usize, width: usize| {
        b.conv_norm_relu(&format!("cell.{number}.{vertex}.input.{width}"), x, width, ConvSpec::same(1, 1))
    };
    let mut made = vec![x];
    for (vertex, node) in vertices.iter().enumerate().skip(1) {
        let width = widths.get(vertex).copied().filter(|width| *width > 0).ok_or_else(broken)?;
        let mut terms = Vec::new();
        for &input in &node.inputs {
            terms.push(match made.get(input) {
                Some(_) if input == 0 => project(b, vertex, width)?,
                Some(&step) => b.truncate(step, width)?,
                None => return Err(broken()),
            });
        }
        let x = b.add(&terms)?;
        let name = format!("cell.{number}.{vertex}.{}.{width}", node.op);
        made.push(match node.op.as_str() {
            "conv_3x3" => b.conv_norm_relu(&name, x, width, ConvSpec::same(3, 1))?,
            "conv_1x1" => b.conv_norm_relu(&name, x, width, ConvSpec::same(1, 1))?,
            "max_pool_3x3" => b.pool(true, 3, 1, x)?,
            other => return Err(Error::Outside(format!("no operator `{other}` is known here"))),
        });
    }
    let direct = if output.inputs.contains(&0) { Some(project(b, vertices.len(), channels)?) } else { None };
    let parts: Vec<usize> =
        output.inputs.iter().filter(|input| **input > 0).filter_map(|&input| made.get(input).copied()).collect();
    match (direct, parts.is_empty()) {
        (Some(direct), true) => Ok(direct),
        (direct, _) => {
            let joined = b.concat(&parts)?;
            b.add(&[vec![joined], direct.into_iter().collect()].concat())
        }
    }
}
