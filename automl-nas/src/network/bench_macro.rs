//! The network of NAS-Bench-Macro: a convolution, eight layers in three stages, a last 1×1 convolution (Su et al. 2021).
//!
//! The sizes are those whose parameters and multiply-adds are those of the benchmark's table. A ReLU stands where MobileNetV2 has
//! ReLU6.

use automl_core::{Error, Genotype, Result};

use super::build::Builder;
use super::{Design, Features};
use crate::tensor::image::ConvSpec;

/// Layers of each stage; the first halves the resolution.
const STAGES: [usize; 3] = [2, 3, 3];
/// Channels of the last convolution, for one of the first stage.
const LAST: usize = 20;

pub(super) fn build(b: &mut Builder, genotype: &Genotype, design: &Design) -> Result<Features> {
    let channels = design.channels.unwrap_or(64);
    let stem = ConvSpec::same(3, design.stem_stride.unwrap_or(1));
    let mut x = b.conv_norm_relu("stem", 0, channels.div_ceil(2), stem)?;
    let mut two_thirds = None;
    let mut layers = genotype.nodes.iter().skip(1).enumerate();
    for (stage, count) in STAGES.into_iter().enumerate() {
        for index in 0..count {
            let (number, node) =
                layers.next().ok_or_else(|| Error::Outside(format!("{genotype} is no chain of eight layers")))?;
            let depth = (number + 1) as f32 / STAGES.iter().sum::<usize>() as f32;
            let (outputs, stride) = (channels << stage, if index == 0 { 2 } else { 1 });
            let name = format!("layer.{number}.{}", node.op);
            x = match node.op.as_str() {
                "identity" if stride == 1 => x,
                "identity" => {
                    let x = b.conv(&format!("{name}.conv"), x, outputs, ConvSpec::same(1, stride))?;
                    b.norm(&format!("{name}.norm"), x, false)?
                }
                "bottleneck_3x3_e3" => bottleneck(b, &name, x, outputs, [3, 3, stride], depth)?,
                "bottleneck_5x5_e6" => bottleneck(b, &name, x, outputs, [5, 6, stride], depth)?,
                other => return Err(Error::Outside(format!("no operator `{other}` is known here"))),
            };
            if stage == 2 && index == 0 {
                two_thirds = Some(x);
            }
        }
    }
    Ok(Features { last: b.conv_norm_relu("last", x, LAST * channels, ConvSpec::same(1, 1))?, two_thirds })
}

/// An inverted bottleneck: wider, a convolution of each channel by itself, narrow again; beside its input where the shapes agree
/// (Sandler et al., "MobileNetV2", 2018).
fn bottleneck(b: &mut Builder, name: &str, x: usize, outputs: usize, sizes: [usize; 3], depth: f32) -> Result<usize> {
    let [kernel, expansion, stride] = sizes;
    let wide = expansion * b.shape(x).channels;
    let inner = b.conv_norm_relu(&format!("{name}.wide"), x, wide, ConvSpec::same(1, 1))?;
    let inner = b.conv_norm_relu(&format!("{name}.depthwise"), inner, wide, ConvSpec::same(kernel, stride).depthwise(wide))?;
    let inner = b.conv(&format!("{name}.narrow.conv"), inner, outputs, ConvSpec::same(1, 1))?;
    let inner = b.norm(&format!("{name}.narrow.norm"), inner, false)?;
    if stride == 1 && b.shape(x).channels == outputs {
        let inner = b.drop_path(inner, depth)?;
        return b.add(&[x, inner]);
    }
    Ok(inner)
}
