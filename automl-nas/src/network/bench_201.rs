//! The network of NAS-Bench-201: a convolution, three stages of cells with a residual block between them (Dong and Yang 2020,
//! section 2.1).

use automl_core::Result;

use super::build::Builder;
use super::{Design, Features};
use crate::nas_bench_201::{Cell, EDGES};
use crate::tensor::image::ConvSpec;

pub(super) fn build(b: &mut Builder, cell: &Cell, design: &Design) -> Result<Features> {
    let (cells, channels) = (design.cells.unwrap_or(5), design.channels.unwrap_or(16));
    let x = b.conv("stem.conv", 0, channels, ConvSpec::same(3, design.stem_stride.unwrap_or(1)))?;
    let mut x = b.norm("stem.norm", x, false)?;
    let (mut number, mut two_thirds) = (0, None);
    for stage in 0..3 {
        let channels = channels << stage;
        if stage > 0 {
            x = residual(b, &format!("reduction.{}", stage - 1), x, channels)?;
            two_thirds = Some(x);
        }
        for _ in 0..cells {
            x = one(b, cell, number, x, channels, (number + 1) as f32 / (3 * cells) as f32)?;
            number += 1;
        }
    }
    Ok(Features { last: b.norm("last.norm", x, true)?, two_thirds })
}

fn one(b: &mut Builder, cell: &Cell, number: usize, x: usize, channels: usize, depth: f32) -> Result<usize> {
    let mut nodes = [Some(x), None, None, None];
    let mut terms: Vec<usize> = Vec::new();
    for (index, (&(to, from), op)) in EDGES.iter().zip(cell.operators()).enumerate() {
        let name = format!("cell.{number}.{to}_{from}.{op}");
        if let Some(x) = nodes.get(from).copied().flatten() {
            match op {
                "skip_connect" => terms.push(x),
                "avg_pool_3x3" => {
                    let x = b.pool(false, 3, 1, x)?;
                    terms.push(b.drop_path(x, depth)?);
                }
                "nor_conv_1x1" | "nor_conv_3x3" => {
                    let kernel = if op == "nor_conv_1x1" { 1 } else { 3 };
                    let x = b.relu_conv_norm(&name, x, channels, ConvSpec::same(kernel, 1))?;
                    terms.push(b.drop_path(x, depth)?);
                }
                _ => {}
            }
        }
        if EDGES.get(index + 1).is_none_or(|(next, _)| *next != to) {
            // A node without terms is a zero; what follows it still has its norms, as in the benchmark.
            let shape = b.shape(x);
            let sum = if terms.is_empty() { b.zeros(shape)? } else { b.add(&terms)? };
            if let Some(node) = nodes.get_mut(to) {
                *node = Some(sum);
            }
            terms.clear();
        }
    }
    Ok(nodes[3].unwrap_or(x))
}

/// Two convolutions that halve the resolution, beside an average and a convolution of what they read.
fn residual(b: &mut Builder, name: &str, x: usize, channels: usize) -> Result<usize> {
    let inner = b.relu_conv_norm(&format!("{name}.a"), x, channels, ConvSpec::same(3, 2))?;
    let inner = b.relu_conv_norm(&format!("{name}.b"), inner, channels, ConvSpec::same(3, 1))?;
    let short = b.pool(false, 2, 2, x)?;
    let short = b.conv(&format!("{name}.shortcut"), short, channels, ConvSpec::same(1, 1))?;
    b.add(&[short, inner])
}
