//! A second classifier at two thirds of the depth, whose loss helps the first half to learn (Szegedy et al., "Going Deeper with
//! Convolutions", 2015), as in NASNet: an average of 5 × 5 places, a 1×1 convolution, one over what is left, a linear layer.

use automl_core::Result;

use super::build::Builder;
use crate::tensor::image::ConvSpec;

const NARROW: usize = 128;
const WIDE: usize = 768;

pub(super) fn build(b: &mut Builder, from: usize, classes: usize) -> Result<usize> {
    let x = b.relu(from)?;
    let side = b.shape(x).height.min(b.shape(x).width);
    let x = if side >= 5 { b.avg_pool_inside(5, 3, x)? } else { x };
    let x = b.conv_norm_relu("auxiliary.narrow", x, NARROW, ConvSpec::same(1, 1))?;
    let rest = b.shape(x);
    let kernel = rest.height.min(rest.width).min(2);
    let whole = ConvSpec { kernel: [kernel; 2], stride: 1, padding: [0; 2], dilation: 1, groups: 1 };
    let x = b.conv_norm_relu("auxiliary.wide", x, WIDE, whole)?;
    let x = b.global_average(x)?;
    b.linear("auxiliary.classifier", x, classes)
}
