//! Convolutions: the operation, and which way it is computed. A ReLU before it costs nothing: it is applied to what is laid out
//! anyway, and to the gradient as it is lifted out.

use dfdx::shapes::HasShape;
use dfdx::tensor::Cpu;

use super::{dense, depthwise, made, room};
use crate::tensor::image::{ConvSpec, Geometry, Image, Recorder};
use crate::tensor::lend::lend;
use crate::tensor::{Matrix, TensorError};

/// See [`crate::tensor::image::ImageDevice::conv`] and [`crate::tensor::image::ImageDevice::relu_conv`].
pub(in crate::tensor::image) fn conv(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    weight: &Matrix<Cpu>,
    spec: &ConvSpec,
    relu: bool,
) -> Result<Image<Cpu>, TensorError> {
    let g = Geometry::conv(x.shape(), *weight.shape(), spec)?;
    let alone = g.channels == g.groups;
    let forward = if alone { depthwise::forward } else { dense::forward };
    let out = made(r, x, g.out_shape(), forward(lend(&x.tensor), lend(weight), &g, relu), true)?;
    if let Some(of) = out.slot.clone() {
        let (x, weight) = (x.clone(), weight.clone());
        let backward = if alone { depthwise::backward } else { dense::backward };
        r.push(move |gradients| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            let (numbers, to_weight) = (lend(&x.tensor), gradients.get_or_alloc_mut(&weight)?);
            match &x.slot {
                Some(slot) => slot.with(|back| {
                    backward([numbers, &delta, lend(&weight)], &g, relu, to_weight, Some(room(back, numbers.len())));
                }),
                None => backward([numbers, &delta, lend(&weight)], &g, relu, to_weight, None),
            }
            Ok(())
        });
    }
    Ok(out)
}
