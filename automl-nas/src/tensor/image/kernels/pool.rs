//! Maxima and means of windows, and of whole images.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::{made, room};
use crate::tensor::cpu::{sum, taken};
use crate::tensor::image::{Geometry, Image, PoolSpec, Recorder};
use crate::tensor::lend::lend;
use crate::tensor::{Matrix, TensorError, matrix};

/// Planes that a thread takes at once.
const PLANES: usize = 16;

/// See [`crate::tensor::image::ImageDevice::max_pool`].
pub(in crate::tensor::image) fn max_pool(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    spec: &PoolSpec,
) -> Result<Image<Cpu>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let windows = Windows::of(&g);
    let planes = g.batch * g.channels;
    let mut out = vec![0.0; planes * g.out_plane()];
    // The place of each maximum, for the way back.
    let mut places = vec![0_u32; if r.records() && x.slot.is_some() { out.len() } else { 0 }];
    let numbers = lend(&x.tensor);
    let of_out = out.par_chunks_mut(PLANES * g.out_plane()).zip(numbers.par_chunks(PLANES * g.plane()));
    let plane = |(out, x): (&mut [f32], &[f32]), mut places: Option<&mut [u32]>| {
        for (index, (out, x)) in out.chunks_exact_mut(g.out_plane()).zip(x.chunks_exact(g.plane())).enumerate() {
            let mut places = places.as_deref_mut().map(|places| &mut places[index * g.out_plane()..]);
            for (at, out) in out.iter_mut().enumerate() {
                let mut best = (f32::NEG_INFINITY, 0);
                windows.visit(at, |place| {
                    if x[place] > best.0 || x[place].is_nan() {
                        best = (x[place], place);
                    }
                });
                *out = best.0;
                if let Some(places) = &mut places {
                    places[at] = best.1 as u32;
                }
            }
        }
    };
    if places.is_empty() {
        of_out.for_each(|planes| plane(planes, None));
    } else {
        let with_places = of_out.zip(places.par_chunks_mut(PLANES * g.out_plane()));
        with_places.for_each(|(planes, places)| plane(planes, Some(places)));
    }
    let out = made(r, x, g.out_shape(), out, x.slot.is_some())?;
    if let (Some(of), Some(slot)) = (out.slot.clone(), x.slot.clone()) {
        let count = numbers.len();
        r.push(move |_| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            slot.with(|back| {
                let back = room(back, count).par_chunks_mut(PLANES * g.plane());
                let deltas = delta.par_chunks(PLANES * g.out_plane()).zip(places.par_chunks(PLANES * g.out_plane()));
                back.zip(deltas).for_each(|(back, (delta, places))| {
                    let planes = delta.chunks_exact(g.out_plane()).zip(places.chunks_exact(g.out_plane()));
                    for (back, (delta, places)) in back.chunks_exact_mut(g.plane()).zip(planes) {
                        places.iter().zip(delta).for_each(|(&place, delta)| back[place as usize] += delta);
                    }
                });
            });
            Ok(())
        });
    }
    Ok(out)
}

/// See [`crate::tensor::image::ImageDevice::avg_pool`].
pub(in crate::tensor::image) fn avg_pool(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    spec: &PoolSpec,
) -> Result<Image<Cpu>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let windows = Windows::of(&g);
    let mut out = vec![0.0; g.batch * g.channels * g.out_plane()];
    let numbers = lend(&x.tensor);
    let planes = out.par_chunks_mut(PLANES * g.out_plane()).zip(numbers.par_chunks(PLANES * g.plane()));
    planes.for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(g.out_plane()).zip(x.chunks_exact(g.plane())) {
            for (at, out) in out.iter_mut().enumerate() {
                let mut sum = 0.0;
                windows.visit(at, |place| sum += x[place]);
                *out = sum * windows.share(at);
            }
        }
    });
    let out = made(r, x, g.out_shape(), out, x.slot.is_some())?;
    if let (Some(of), Some(slot)) = (out.slot.clone(), x.slot.clone()) {
        let count = numbers.len();
        r.push(move |_| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            slot.with(|back| {
                let back = room(back, count).par_chunks_mut(PLANES * g.plane());
                back.zip(delta.par_chunks(PLANES * g.out_plane())).for_each(|(back, delta)| {
                    for (back, delta) in back.chunks_exact_mut(g.plane()).zip(delta.chunks_exact(g.out_plane())) {
                        for (at, delta) in delta.iter().enumerate() {
                            let share = delta * windows.share(at);
                            windows.visit(at, |place| back[place] += share);
                        }
                    }
                });
            });
            Ok(())
        });
    }
    Ok(out)
}

/// The places that each output looks at, along both axes.
struct Windows {
    axes: [Vec<std::ops::Range<usize>>; 2],
    width: usize,
    out_width: usize,
}

impl Windows {
    fn of(g: &Geometry) -> Self {
        let axes = [0, 1].map(|axis: usize| {
            let range = |out: usize| {
                let start = out * g.stride;
                let end = (start + g.kernel[axis]).saturating_sub(g.padding[axis]).min(g.size[axis]);
                start.saturating_sub(g.padding[axis])..end
            };
            (0..g.out[axis]).map(range).collect()
        });
        Self { axes, width: g.size[1], out_width: g.out[1] }
    }

    fn visit(&self, at: usize, mut each: impl FnMut(usize)) {
        for y in self.axes[0][at / self.out_width].clone() {
            self.axes[1][at % self.out_width].clone().for_each(|x| each(y * self.width + x));
        }
    }

    fn share(&self, at: usize) -> f32 {
        1.0 / (self.axes[0][at / self.out_width].len() * self.axes[1][at % self.out_width].len()).max(1) as f32
    }
}

/// See [`crate::tensor::image::ImageDevice::global_average`].
pub(in crate::tensor::image) fn global_average(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    let (plane, share) = (height * width, 1.0 / (height * width) as f32);
    let numbers = lend(&x.tensor);
    let means = numbers.chunks_exact(plane).map(|plane| sum(plane) * share).collect();
    let out = matrix(x.device(), batch, channels, means)?;
    if let Some(slot) = x.slot.clone().filter(|_| r.records()) {
        let (of, count) = (out.clone(), numbers.len());
        r.push(move |gradients| {
            let delta = taken(gradients, &of)?;
            slot.with(|back| {
                for (back, delta) in room(back, count).chunks_exact_mut(plane).zip(&delta) {
                    back.iter_mut().for_each(|back| *back += share * delta);
                }
            });
            Ok(())
        });
    }
    Ok(out)
}
