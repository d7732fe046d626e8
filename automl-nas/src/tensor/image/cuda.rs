//! The operations on a graphics card.
//!
//! Kernels read and write dfdx's tensors where they lie, and gradients wait in dfdx's store. Whether a gradient flows to an image
//! says its slot, which holds nothing here.
#![expect(unsafe_code, reason = "kernels are handed sizes in the layout of C")]

use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use dfdx::shapes::HasShape;
use dfdx::tensor::{Cuda, CudaError, ZerosTensor};

use super::compose::{affine_of, alike, given_stats, joinable, not_empty};
use super::{BatchStats, ConvSpec, Geometry, Image, ImageDevice, PoolSpec, Recorder, Slot, Stats, Tensor4, compose};
use crate::tensor::cuda::{Address, Card, Grid, Product, address, at, card};
use crate::tensor::{EPSILON, Matrix, Scalar, TensorError};

/// Numbers that a convolution unfolds at a time, at most: a gigabyte.
const UNFOLDED: usize = 1 << 28;
/// Blocks that keep a card busy, more or less: a sum that has fewer is computed in parts.
const BUSY: usize = 264;
/// Parts of a sum, at most, since they are summed one after the other.
const PARTS: usize = 64;

/// [`Geometry`] as the kernels know it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Sizes {
    batch: i32,
    channels: i32,
    size: [i32; 2],
    outputs: i32,
    out: [i32; 2],
    kernel: [i32; 2],
    stride: i32,
    padding: [i32; 2],
    dilation: i32,
    groups: i32,
}

// SAFETY: it is laid out as in `kernels.cu`.
unsafe impl DeviceRepr for Sizes {}

impl Sizes {
    /// The sizes for so many images.
    fn of(g: &Geometry, batch: usize) -> Self {
        let pair = |pair: [usize; 2]| pair.map(|size| size as i32);
        Self {
            batch: batch as i32,
            channels: g.channels as i32,
            size: pair(g.size),
            outputs: g.outputs as i32,
            out: pair(g.out),
            kernel: pair(g.kernel),
            stride: g.stride as i32,
            padding: pair(g.padding),
            dilation: g.dilation as i32,
            groups: g.groups as i32,
        }
    }
}

/// The sizes of a depthwise convolution by square kernels, as the kernels know them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Tiles {
    size: [i32; 2],
    out: [i32; 2],
    stride: i32,
    padding: [i32; 2],
    dilation: i32,
    channels: i32,
    shift: i32,
}

// SAFETY: it is laid out as in `kernels.cu`.
unsafe impl DeviceRepr for Tiles {}

impl Tiles {
    /// Height of a tile, as in `kernels.cu`.
    const HIGH: usize = 32;

    fn of(g: &Geometry) -> Self {
        Self::new(g, g.size, g.out, g.padding)
    }

    /// The way back of a convolution of stride 1: it reads gradients of outputs.
    fn turned(g: &Geometry) -> Self {
        Self::new(g, g.out, g.size, [0, 1].map(|axis: usize| g.dilation * (g.kernel[axis] - 1) - g.padding[axis]))
    }

    fn new(g: &Geometry, size: [usize; 2], out: [usize; 2], padding: [usize; 2]) -> Self {
        let pair = |pair: [usize; 2]| pair.map(|size| size as i32);
        let shift = (3..5).find(|shift| out[1] <= 1 << shift).unwrap_or(5);
        Self {
            size: pair(size),
            out: pair(out),
            stride: g.stride as i32,
            padding: pair(padding),
            dilation: g.dilation as i32,
            channels: g.channels as i32,
            shift,
        }
    }

    /// Blocks for each of some planes, or of others that each go through all tiles, and what they share.
    fn grid(&self, planes: usize, parts: Option<usize>, kernel: usize) -> Grid {
        let [high, wide] = [(self.out[0] as usize).min(Self::HIGH), 1 << self.shift];
        let tiles = (self.out[0] as usize).div_ceil(Self::HIGH) * (self.out[1] as usize).div_ceil(wide);
        let (stride, reach) = (self.stride as usize, (kernel - 1) * self.dilation as usize + 1);
        let numbers = ((high - 1) * stride + reach) * ((wide - 1) * stride + reach);
        let threads = (high * wide / 4).next_multiple_of(32).clamp(32, 256) as u32;
        Grid::blocks(planes, parts.unwrap_or(tiles), threads).sharing(numbers)
    }
}

/// What a norm is, as the kernels know it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Norm {
    batch: i32,
    channels: i32,
    plane: i32,
    affine: i32,
    relu: i32,
    of_batch: i32,
}

// SAFETY: it is laid out as in `kernels.cu`.
unsafe impl DeviceRepr for Norm {}

/// The address of the gradient of a tensor, or of what is left of one when its numbers are gone.
macro_rules! slope {
    ($gradients:expr, $of:expr) => {
        *$gradients.get_or_alloc_mut(&$of)?.device_ptr()
    };
}

type Done<T = ()> = Result<T, CudaError>;

/// The most numbers of a tensor: kernels count with 32 bits, and go on by up to 2²⁴ behind the last.
const MOST: usize = i32::MAX as usize - (1 << 24);

/// The card.
fn card_for(counts: &[usize]) -> Result<&'static Card, TensorError> {
    match counts.iter().find(|count| **count > MOST) {
        Some(count) => Err(TensorError::of(format!("{count} numbers are too many for one tensor on a card"))),
        None => card().map_err(TensorError::of),
    }
}

/// An image of a shape, all zeros.
fn fresh(like: &Image<Cuda>, [batch, channels, height, width]: [usize; 4]) -> Result<Tensor4<Cuda>, TensorError> {
    like.device().try_zeros_like(&(batch, channels, height, width)).map_err(TensorError::of)
}

fn made(r: &Recorder<Cuda>, tensor: Tensor4<Cuda>, tracked: bool) -> Image<Cuda> {
    Image { tensor, slot: (r.records() && tracked).then(Slot::default) }
}

fn count(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

/// How a convolution is computed.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By kernels that are square, each channel with its own: forward and for the weights.
    Depthwise(usize, &'static [&'static str; 2]),
    /// By kernels of any size, each channel with its own.
    AnyDepthwise,
    /// As a product with the images as they are.
    Pointwise,
    /// As a product with what each output reads.
    Unfolded,
}

impl Way {
    fn of(g: &Geometry) -> Self {
        if g.groups == g.channels && g.outputs == g.channels && g.channels > 1 {
            // What a tile reads has to fit into the 48 kB that blocks share, and padding is no more than a kernel reaches.
            let reach = g.dilation * (g.kernel[0] - 1);
            let fits = 31 * g.stride + reach < 96 && g.padding.iter().all(|&padding| padding <= reach);
            return match g.kernel {
                [3, 3] if fits => Self::Depthwise(3, &["depthwise_3", "depthwise_to_weight_3"]),
                [5, 5] if fits => Self::Depthwise(5, &["depthwise_5", "depthwise_to_weight_5"]),
                [7, 7] if fits => Self::Depthwise(7, &["depthwise_7", "depthwise_to_weight_7"]),
                _ => Self::AnyDepthwise,
            };
        }
        let plain = g.kernel == [1, 1] && g.stride == 1 && g.padding == [0, 0];
        if plain { Self::Pointwise } else { Self::Unfolded }
    }
}

/// A convolution that reads images, or their ReLU.
#[derive(Clone, Copy)]
struct Conv {
    g: Geometry,
    way: Way,
    relu: bool,
}

impl Conv {
    /// Outputs and inputs of a group, with the places of the kernel.
    fn group(&self) -> [usize; 2] {
        [self.g.outputs / self.g.groups, self.g.channels / self.g.groups * self.g.taps()]
    }

    /// Images at a time, so that what is unfolded stays within bounds.
    fn share(&self) -> usize {
        let [outputs, inputs] = self.group();
        let each = (self.g.channels * self.g.taps() * self.g.out_plane()).max(self.g.groups * outputs * inputs);
        (UNFOLDED / each.max(1)).clamp(1, self.g.batch.max(1))
    }

    /// What the outputs of some images read: the images themselves, or room that is filled.
    fn unfolded(&self, card: &Card, x: Address, images: usize) -> Done<(Address, Option<CudaSlice<f32>>)> {
        let (g, count) = (&self.g, images * self.g.channels * self.g.plane());
        match (self.way, self.relu) {
            (Way::Pointwise, false) => Ok((x, None)),
            (Way::Pointwise, true) => {
                let room = card.room(count)?;
                card.run("relu", Grid::each(count), (count as i32, x, at(&room)))?;
                Ok((at(&room), Some(room)))
            }
            _ => {
                let room = card.room(images * g.channels * g.taps() * g.out_plane())?;
                let grid = Grid::each(images * g.channels * g.out_plane());
                card.run("unfold", grid, (Sizes::of(g, images), x, at(&room), i32::from(self.relu)))?;
                Ok((at(&room), Some(room)))
            }
        }
    }

    /// Calls `work` with the first image and the number of images of each share.
    fn shares(&self, mut work: impl FnMut(usize, usize) -> Done) -> Done {
        let share = self.share();
        (0..self.g.batch).step_by(share).try_for_each(|first| work(first, share.min(self.g.batch - first)))
    }

    fn forward(&self, card: &Card, x: Address, weight: Address, out: Address) -> Done {
        let (g, relu) = (&self.g, i32::from(self.relu));
        match self.way {
            Way::Depthwise(kernel, [name, _]) => {
                let tiles = Tiles::of(g);
                return card.run(name, tiles.grid(g.batch * g.channels, None, kernel), (tiles, x, weight, out, relu, 0, x));
            }
            Way::AnyDepthwise => {
                let grid = Grid::each(g.batch * g.outputs * g.out_plane());
                return card.run("depthwise_any", grid, (Sizes::of(g, g.batch), x, weight, out, relu));
            }
            Way::Pointwise | Way::Unfolded => {}
        }
        let ([outputs, inputs], plane) = (self.group(), g.out_plane());
        self.shares(|first, images| {
            let (columns, _room) = self.unfolded(card, step(x, first * g.channels * g.plane()), images)?;
            for group in 0..g.groups {
                card.product(&Product {
                    sizes: [outputs, plane, inputs],
                    left: (step(weight, group * outputs * inputs), 0, false),
                    right: (step(columns, group * inputs * plane), g.groups * inputs * plane, false),
                    out: (step(out, (first * g.outputs + group * outputs) * plane), g.outputs * plane),
                    count: images,
                })?;
            }
            Ok(())
        })
    }

    /// Adds to the gradient of the weights, and to that of the images if it has an address.
    fn backward(
        &self,
        card: &Card,
        x: Address,
        weight: Address,
        delta: Address,
        to_weight: Address,
        to_x: Option<Address>,
    ) -> Done {
        let (g, relu) = (&self.g, i32::from(self.relu));
        if matches!(self.way, Way::Depthwise(..) | Way::AnyDepthwise) {
            return self.depthwise_backward(card, x, weight, delta, to_weight, to_x);
        }
        let ([outputs, inputs], plane) = (self.group(), g.out_plane());
        let (size, in_size) = (g.outputs * inputs, g.channels * g.plane());
        self.shares(|first, images| {
            let (x, delta) = (step(x, first * in_size), step(delta, first * g.outputs * plane));
            let (columns, _room) = self.unfolded(card, x, images)?;
            let room = card.room::<f32>(images * size)?;
            for group in 0..g.groups {
                card.product(&Product {
                    sizes: [outputs, inputs, plane],
                    left: (step(delta, group * outputs * plane), g.outputs * plane, false),
                    right: (step(columns, group * inputs * plane), g.groups * inputs * plane, true),
                    out: (step(at(&room), group * outputs * inputs), size),
                    count: images,
                })?;
            }
            card.run("add_parts", Grid::each(size), (size as i32, images as i32, at(&room), to_weight))?;
            let Some(to_x) = to_x.map(|to_x| step(to_x, first * in_size)) else { return Ok(()) };
            let room = card.room::<f32>(images * g.groups * inputs * plane)?;
            for group in 0..g.groups {
                card.product(&Product {
                    sizes: [inputs, plane, outputs],
                    left: (step(weight, group * outputs * inputs), 0, true),
                    right: (step(delta, group * outputs * plane), g.outputs * plane, false),
                    out: (step(at(&room), group * inputs * plane), g.groups * inputs * plane),
                    count: images,
                })?;
            }
            let count = images * in_size;
            match self.way {
                Way::Pointwise if self.relu => card.run("relu_to_x", Grid::each(count), (count as i32, x, at(&room), to_x)),
                Way::Pointwise => card.run("accumulate", Grid::each(count), (count as i32, at(&room), to_x)),
                _ => card.run("fold", Grid::each(count), (Sizes::of(g, images), at(&room), x, to_x, relu)),
            }
        })
    }
}

impl Conv {
    /// The same for kernels that see one channel.
    fn depthwise_backward(
        &self,
        card: &Card,
        x: Address,
        weight: Address,
        delta: Address,
        to_weight: Address,
        to_x: Option<Address>,
    ) -> Done {
        let (g, relu, sizes) = (&self.g, i32::from(self.relu), Sizes::of(&self.g, self.g.batch));
        let (size, parts) = (g.channels * g.taps(), (2 * BUSY / g.channels).clamp(1, g.batch.min(PARTS)));
        let room = card.room::<f32>(parts * size)?;
        if let Way::Depthwise(kernel, [_, of_weight]) = self.way {
            let tiles = Tiles::of(g);
            let grid = tiles.grid(g.channels, Some(parts), kernel);
            card.run(of_weight, grid, (tiles, g.batch as i32, x, delta, at(&room), relu))?;
        } else {
            card.run("depthwise_to_weight_any", Grid::blocks(g.channels, parts, 256), (sizes, x, delta, at(&room), relu))?;
        }
        card.run("add_parts", Grid::each(size), (size as i32, parts as i32, at(&room), to_weight))?;
        match (to_x, self.way) {
            (Some(to_x), Way::Depthwise(kernel, [name, _])) if g.stride == 1 => {
                let tiles = Tiles::turned(g);
                card.run(name, tiles.grid(g.batch * g.channels, None, kernel), (tiles, delta, weight, to_x, relu, 1, x))
            }
            (Some(to_x), _) => {
                let grid = Grid::each(g.batch * g.channels * g.plane());
                card.run("depthwise_to_x_any", grid, (sizes, delta, weight, x, to_x, relu))
            }
            (None, _) => Ok(()),
        }
    }
}

/// The address of a number further on.
fn step(from: Address, numbers: usize) -> Address {
    from + (numbers * size_of::<f32>()) as u64
}

fn conv(
    r: &mut Recorder<Cuda>,
    x: &Image<Cuda>,
    weight: &Matrix<Cuda>,
    spec: &ConvSpec,
    relu: bool,
) -> Result<Image<Cuda>, TensorError> {
    let g = Geometry::conv(x.shape(), *weight.shape(), spec)?;
    let conv = Conv { g, way: Way::of(&g), relu };
    let card = card_for(&[count(x.shape()), count(g.out_shape())])?;
    let out = fresh(x, g.out_shape())?;
    let forward = || conv.forward(card, address(&x.tensor)?, address(weight)?, address(&out)?);
    forward().map_err(TensorError::of)?;
    let (from, weight, of, tracked) = (x.tensor.clone(), weight.clone(), out.ghost(), x.slot.is_some());
    r.push(move |gradients| {
        let (delta, to_weight) = (slope!(gradients, of), slope!(gradients, weight));
        let to_x = if tracked { Some(slope!(gradients, from)) } else { None };
        conv.backward(card, address(&from)?, address(&weight)?, delta, to_weight, to_x)
    });
    Ok(made(r, out, true))
}

/// An operation on one image that reads and writes nothing else: `forward` gets both addresses, `backward` the gradient of the result
/// and that of the image.
fn plain(
    r: &mut Recorder<Cuda>,
    x: &Image<Cuda>,
    shape: [usize; 4],
    forward: impl FnOnce(&Card, Address, Address) -> Done,
    backward: impl FnOnce(&Card, Address, Address) -> Done + 'static,
) -> Result<Image<Cuda>, TensorError> {
    let card = card_for(&[count(x.shape()), count(shape)])?;
    let out = fresh(x, shape)?;
    let run = || forward(card, address(&x.tensor)?, address(&out)?);
    run().map_err(TensorError::of)?;
    if x.slot.is_some() {
        let (from, of) = (x.tensor.ghost(), out.ghost());
        r.push(move |gradients| {
            let delta = slope!(gradients, of);
            backward(card, delta, slope!(gradients, from))
        });
    }
    Ok(made(r, out, x.slot.is_some()))
}

impl ImageDevice for Cuda {
    fn conv(r: &mut Recorder<Cuda>, x: &Image<Cuda>, weight: &Matrix<Cuda>, spec: &ConvSpec) -> Result<Image<Cuda>, TensorError> {
        conv(r, x, weight, spec, false)
    }

    fn relu_conv(
        r: &mut Recorder<Cuda>,
        x: &Image<Cuda>,
        weight: &Matrix<Cuda>,
        spec: &ConvSpec,
    ) -> Result<Image<Cuda>, TensorError> {
        conv(r, x, weight, spec, true)
    }

    fn max_pool(r: &mut Recorder<Cuda>, x: &Image<Cuda>, spec: &PoolSpec) -> Result<Image<Cuda>, TensorError> {
        let g = Geometry::pool(x.shape(), spec)?;
        let (sizes, outputs) = (Sizes::of(&g, g.batch), count(g.out_shape()));
        let which = card_for(&[outputs])?.room::<u16>(outputs).map_err(TensorError::of)?;
        let places = at(&which);
        let forward = |card: &Card, x, out| card.run("max_pool", Grid::each(outputs), (sizes, x, out, places));
        let inputs = count(x.shape());
        plain(r, x, g.out_shape(), forward, move |card, delta, to_x| {
            card.run("max_pool_to_x", Grid::each(inputs), (sizes, delta, at(&which), to_x))
        })
    }

    fn avg_pool(r: &mut Recorder<Cuda>, x: &Image<Cuda>, spec: &PoolSpec) -> Result<Image<Cuda>, TensorError> {
        let g = Geometry::pool(x.shape(), spec)?;
        let (sizes, inputs, outputs) = (Sizes::of(&g, g.batch), count(x.shape()), count(g.out_shape()));
        let forward = |card: &Card, x, out| card.run("avg_pool", Grid::each(outputs), (sizes, x, out));
        plain(r, x, g.out_shape(), forward, move |card, delta, to_x| {
            card.run("avg_pool_to_x", Grid::each(inputs), (sizes, delta, to_x))
        })
    }

    fn global_average(r: &mut Recorder<Cuda>, x: &Image<Cuda>) -> Result<Matrix<Cuda>, TensorError> {
        let [batch, channels, height, width] = x.shape();
        let (count, plane) = (count(x.shape()), height * width);
        let card = card_for(&[count])?;
        let out: Matrix<Cuda> = x.device().try_zeros_like(&(batch, channels)).map_err(TensorError::of)?;
        let grid = Grid::blocks(batch * channels, 1, 128);
        let forward = || card.run("global_average", grid, (plane as i32, address(&x.tensor)?, address(&out)?));
        forward().map_err(TensorError::of)?;
        if x.slot.is_some() {
            let (from, of) = (x.tensor.ghost(), out.ghost());
            r.push(move |gradients| {
                let (delta, to_x) = (slope!(gradients, of), slope!(gradients, from));
                card.run("global_average_to_x", Grid::each(count), (count as i32, plane as i32, delta, to_x))
            });
        }
        Ok(out)
    }

    fn batch_norm(
        r: &mut Recorder<Cuda>,
        x: &Image<Cuda>,
        gain: Option<&Matrix<Cuda>>,
        shift: Option<&Matrix<Cuda>>,
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<Cuda>, Option<BatchStats<Self>>), TensorError> {
        let [batch, channels, height, width] = x.shape();
        let [gain, shift] = affine_of([gain, shift], channels)?;
        let given = given_stats(&stats, channels)?;
        let (count, plane) = (count(x.shape()), height * width);
        let card = card_for(&[count])?;
        let affine = i32::from(gain.is_some()) + 2 * i32::from(shift.is_some());
        let of_batch = given.is_none();
        let norm = Norm {
            batch: batch as i32,
            channels: channels as i32,
            plane: plane as i32,
            affine,
            relu: i32::from(relu),
            of_batch: i32::from(of_batch),
        };
        let out = fresh(x, x.shape())?;
        let seen = of_batch.then(|| x.device().try_zeros_like(&(2, channels)).map_err(TensorError::of)).transpose()?;
        let parts = (BUSY / channels).clamp(1, batch.min(PARTS));
        let grid = Grid::blocks(channels, parts, 256);
        let of = |part: &Option<Matrix<Cuda>>| part.as_ref().map_or(Ok(0), address);
        let forward = || -> Done<CudaSlice<f32>> {
            let from = address(&x.tensor)?;
            let stats = match given {
                Some([mean, variance]) => {
                    let inverse = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt());
                    card.upload(mean.iter().copied().chain(inverse).collect())?
                }
                None => {
                    let (stats, rooms) = (card.room(2 * channels)?, card.room::<f32>(parts * 3 * channels)?);
                    let seen = seen.as_ref().map_or(Ok(0), address)?;
                    let sizes = (batch as i32, channels as i32, plane as i32, from, at(&rooms));
                    card.run("moments", grid, sizes)?;
                    let count = (batch * plane) as i32;
                    let operands = (count, channels as i32, parts as i32, EPSILON, at(&rooms), at(&stats), seen);
                    card.run("moments_of_parts", Grid::each(channels), operands)?;
                    stats
                }
            };
            let sizes = (count as i32, channels as i32, plane as i32);
            let operands = (from, at(&stats), of(&gain)?, of(&shift)?, affine, i32::from(relu), address(&out)?);
            let (a, b, c) = sizes;
            let (d, e, f, g, h, i, j) = operands;
            card.run("normalize", Grid::each(count), (a, b, c, d, e, f, g, h, i, j))?;
            Ok(stats)
        };
        let stats = forward().map_err(TensorError::of)?;
        let seen = seen.map(|moments| BatchStats { moments });
        let (from, gone, tracked) = (x.tensor.clone(), out.ghost(), x.slot.is_some());
        r.push(move |gradients| {
            let delta = slope!(gradients, gone);
            let to_gain = if let Some(gain) = &gain { slope!(gradients, *gain) } else { 0 };
            let to_shift = if let Some(shift) = &shift { slope!(gradients, *shift) } else { 0 };
            let of = |part: &Option<Matrix<Cuda>>| part.as_ref().map_or(Ok(0), address);
            let (x, gain, shift) = (address(&from)?, of(&gain)?, of(&shift)?);
            let (sums, rooms) = (card.room::<f32>(2 * channels)?, card.room::<f32>(parts * 2 * channels)?);
            card.run("norm_sums", grid, (norm, x, at(&stats), gain, shift, delta, at(&rooms)))?;
            let operands = (norm, parts as i32, at(&rooms), at(&sums), to_gain, to_shift);
            card.run("norm_sums_of_parts", Grid::each(channels), operands)?;
            if tracked {
                let to_x = slope!(gradients, from);
                card.run("norm_to_x", Grid::each(count), (norm, x, at(&stats), gain, shift, delta, at(&sums), to_x))?;
            }
            Ok(())
        });
        Ok((made(r, out, true), seen))
    }

    fn relu(r: &mut Recorder<Cuda>, x: &Image<Cuda>) -> Result<Image<Cuda>, TensorError> {
        let (count, from) = (count(x.shape()), x.tensor.clone());
        let forward = |card: &Card, x, out| card.run("relu", Grid::each(count), (count as i32, x, out));
        plain(r, x, x.shape(), forward, move |card, delta, to_x| {
            card.run("relu_to_x", Grid::each(count), (count as i32, address(&from)?, delta, to_x))
        })
    }

    fn add(r: &mut Recorder<Cuda>, images: &[&Image<Cuda>]) -> Result<Image<Cuda>, TensorError> {
        let (first, rest) = alike(images)?;
        let count = count(first.shape());
        let card = card_for(&[count])?;
        let out = fresh(first, first.shape())?;
        let forward = || -> Done {
            let to = address(&out)?;
            let mut rest = rest.iter();
            match rest.next() {
                Some(second) => {
                    let operands = (count as i32, address(&first.tensor)?, address(&second.tensor)?, to);
                    card.run("add", Grid::each(count), operands)?;
                }
                None => card.run("accumulate", Grid::each(count), (count as i32, address(&first.tensor)?, to))?,
            }
            rest.try_for_each(|image| card.run("accumulate", Grid::each(count), (count as i32, address(&image.tensor)?, to)))
        };
        forward().map_err(TensorError::of)?;
        let of = out.ghost();
        let parts: Vec<_> = images.iter().filter(|image| image.slot.is_some()).map(|image| image.tensor.ghost()).collect();
        let tracked = !parts.is_empty();
        r.push(move |gradients| {
            let delta = slope!(gradients, of);
            for part in parts {
                card.run("accumulate", Grid::each(count), (count as i32, delta, slope!(gradients, part)))?;
            }
            Ok(())
        });
        Ok(made(r, out, tracked))
    }

    fn concat(r: &mut Recorder<Cuda>, images: &[&Image<Cuda>]) -> Result<Image<Cuda>, TensorError> {
        let (first, _) = joinable(images)?;
        let [batch, _, height, width] = first.shape();
        let channels: usize = images.iter().map(|image| image.shape()[1]).sum();
        let whole = channels * height * width;
        let card = card_for(&[batch * whole])?;
        let out = fresh(first, [batch, channels, height, width])?;
        let mut place = 0;
        let parts: Vec<_> = (images.iter())
            .map(|image| {
                let size = image.shape()[1] * height * width;
                place += size;
                (*image, [batch * size, size, whole, place - size].map(|number| number as i32))
            })
            .collect();
        let forward = || -> Done {
            let to = address(&out)?;
            parts.iter().try_for_each(|(image, [count, size, whole, place])| {
                let operands = (*count, *size, *whole, *place, address(&image.tensor)?, to);
                card.run("place", Grid::each(*count as usize), operands)
            })
        };
        forward().map_err(TensorError::of)?;
        let parts: Vec<_> = parts.into_iter().filter(|(image, _)| image.slot.is_some()).collect();
        let parts: Vec<_> = parts.into_iter().map(|(image, sizes)| (image.tensor.ghost(), sizes)).collect();
        let (of, tracked) = (out.ghost(), !parts.is_empty());
        r.push(move |gradients| {
            let delta = slope!(gradients, of);
            for (part, [count, size, whole, place]) in parts {
                let operands = (count, size, whole, place, delta, slope!(gradients, part));
                card.run("place_to_x", Grid::each(count as usize), operands)?;
            }
            Ok(())
        });
        Ok(made(r, out, tracked))
    }

    fn scale_rows(r: &mut Recorder<Cuda>, x: &Image<Cuda>, factors: &[f32]) -> Result<Image<Cuda>, TensorError> {
        let batch = x.shape()[0];
        if factors.len() != batch {
            return Err(TensorError::of(format!("{} factors for {batch} images", factors.len())));
        }
        let (count, size) = (count(x.shape()), count(x.shape()) / batch.max(1));
        let factors = card_for(&[count])?.upload(factors.to_vec()).map_err(TensorError::of)?;
        let of_rows = at(&factors);
        let sizes = (count as i32, size as i32);
        let forward = |card: &Card, x, out| card.run("scale_rows", Grid::each(count), (sizes.0, sizes.1, of_rows, x, out));
        plain(r, x, x.shape(), forward, move |card, delta, to_x| {
            card.run("scale_rows_to_x", Grid::each(count), (sizes.0, sizes.1, at(&factors), delta, to_x))
        })
    }

    fn window(r: &mut Recorder<Cuda>, x: &Image<Cuda>, from: [isize; 2], size: [usize; 2]) -> Result<Image<Cuda>, TensorError> {
        not_empty(size)?;
        let [batch, channels, height, width] = x.shape();
        let out = [batch, channels, size[0], size[1]];
        let (inputs, outputs) = (count(x.shape()), count(out));
        let whole = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        // A window further away than an image can be large shows nothing, wherever it is.
        let [from_y, from_x] = from.map(|place| place.clamp(-(1 << 30), 1 << 30) as i32);
        let [height, width, out_height, out_width] = [height, width, size[0], size[1]].map(whole);
        let forward = |card: &Card, x, to| {
            let sizes = (whole(outputs), height, width, out_height, out_width, from_y, from_x, x, to);
            card.run("window", Grid::each(outputs), sizes)
        };
        plain(r, x, out, forward, move |card, delta, to_x| {
            let sizes = (inputs as i32, height, width, out_height, out_width, from_y, from_x, delta, to_x);
            card.run("window_to_x", Grid::each(inputs), sizes)
        })
    }

    fn unflatten(r: &mut Recorder<Cuda>, x: &Matrix<Cuda>, shape: [usize; 4]) -> Result<Image<Cuda>, TensorError> {
        let image = compose::unflatten(r, x, shape)?;
        Ok(made(r, image.tensor, true))
    }
    fn weigh(r: &mut Recorder<Cuda>, x: &Image<Cuda>, factors: Vec<f32>) -> Result<Scalar<Cuda>, TensorError> {
        let count = count(x.shape());
        if factors.len() != count {
            return Err(TensorError::of(format!("{} factors for {count} numbers", factors.len())));
        }
        let card = card_for(&[count])?;
        let factors = card.upload(factors).map_err(TensorError::of)?;
        let out: Scalar<Cuda> = x.device().try_zeros_like(&()).map_err(TensorError::of)?;
        let operands = || -> Done<_> { Ok((count as i32, at(&factors), address(&x.tensor)?, address(&out)?)) };
        operands().and_then(|operands| card.run("weigh", Grid::blocks(1, 1, 1024), operands)).map_err(TensorError::of)?;
        let (from, of) = (x.tensor.ghost(), out.ghost());
        r.push(move |gradients| {
            let (delta, to_x) = (slope!(gradients, of), slope!(gradients, from));
            card.run("weigh_to_x", Grid::each(count), (count as i32, at(&factors), delta, to_x))
        });
        Ok(out)
    }
}
