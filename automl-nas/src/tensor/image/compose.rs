//! The operations as compositions of dfdx's: for devices without kernels of their own, and what those are tested against.
//!
//! Convolutions and pooling gather the places that a kernel reads into rows, places that are padding from one more row, and
//! multiply or reduce. dfdx's slices have a wrong gradient, so there are none here.

use dfdx::shapes::{Axes2, Axes3, Axes4, Axes5, Axis, HasShape};
use dfdx::tensor::{Gradients, OwnedTape, Tensor};
use dfdx::tensor_ops::{BroadcastTo, GatherTo, MaxTo, PermuteTo, ReshapeTo, SumTo, TryAdd, TryConcatAlong, TryMatMul, TryMul};

use super::recorder::Taped;
use super::{BatchStats, ConvSpec, Geometry, Image, PoolSpec, Recorder, Shape4, Stats, Tensor4};
use crate::tensor::{EPSILON, Matrix, NnDevice, Scalar, TensorError, matrix, values};

type Row = (usize,);
type Table = (usize, usize);

/// Runs an operation on an image.
fn run<D: NnDevice>(
    r: &mut Recorder<D>,
    x: &Image<D>,
    operation: impl FnOnce(Taped<Shape4, D>) -> Result<Taped<Shape4, D>, D::Err>,
) -> Result<Image<D>, TensorError> {
    let out = r.apply(&x.tensor, |x| operation(x).map_err(TensorError::of))?;
    Ok(Image { tensor: out, slot: None })
}

/// The places of each image as rows, (height · width + 1) × (batch · channels), with `padding` in the last row.
fn places<D: NnDevice>(x: Taped<Shape4, D>, padding: f32) -> Result<Taped<Table, D>, D::Err> {
    let (batch, channels, height, width) = *x.shape();
    let x: Taped<Shape4, D> = x.try_permute::<_, Axes4<2, 3, 0, 1>>()?;
    let x = x.try_reshape_like(&(height * width, batch * channels))?;
    let last: Matrix<D> = x.device().try_tensor_from_vec(vec![padding; batch * channels], (1, batch * channels))?;
    (x, last).try_concat_along(Axis::<0>)
}

/// What each place of the kernel reads for each output, (taps · outputs) × (batch · channels).
fn gathered<D: NnDevice>(x: Taped<Shape4, D>, geometry: &Geometry, padding: f32) -> Result<Taped<Table, D>, D::Err> {
    let mut rows = Vec::with_capacity(geometry.taps() * geometry.out_plane());
    for (tap_y, tap_x) in (0..geometry.kernel[0]).flat_map(|y| (0..geometry.kernel[1]).map(move |x| (y, x))) {
        for (out_y, out_x) in (0..geometry.out[0]).flat_map(|y| (0..geometry.out[1]).map(move |x| (y, x))) {
            let place = geometry.source(0, out_y, tap_y).zip(geometry.source(1, out_x, tap_x));
            rows.push(place.map_or(geometry.plane(), |(y, x)| y * geometry.size[1] + x));
        }
    }
    pick(places(x, padding)?, rows)
}

/// Rows of a table.
fn pick<D: NnDevice>(table: Taped<Table, D>, rows: Vec<usize>) -> Result<Taped<Table, D>, D::Err> {
    let count = rows.len();
    let rows: Tensor<Row, usize, D> = table.device().try_tensor_from_vec(rows, (count,))?;
    table.try_gather(rows)
}

/// See [`super::ImageDevice::conv`].
pub(super) fn conv<D: NnDevice>(
    r: &mut Recorder<D>,
    x: &Image<D>,
    weight: &Matrix<D>,
    spec: &ConvSpec,
) -> Result<Image<D>, TensorError> {
    let g = Geometry::conv(x.shape(), *weight.shape(), spec)?;
    let (taps, places, inputs, outputs) = (g.taps(), g.out_plane(), g.channels / g.groups, g.outputs / g.groups);
    let weight = weight.clone();
    run(r, x, |x| {
        let x = gathered(x, &g, 0.0)?.try_reshape_like(&(taps, places, g.batch, g.groups, inputs))?;
        let x: Taped<(usize, usize, usize, usize, usize), D> = x.try_permute::<_, Axes5<3, 2, 1, 4, 0>>()?;
        let x = x.try_reshape_like(&(g.groups, g.batch * places, inputs * taps))?;
        // The weights become part of what is recorded: their permutation has a gradient, too.
        let weight = weight.retaped().try_reshape_like(&(g.groups, outputs, inputs * taps))?;
        let weight: Taped<(usize, usize, usize), D> = weight.try_permute::<_, Axes3<0, 2, 1>>()?;
        let out = x.try_matmul(weight)?.try_reshape_like(&(g.groups, g.batch, places, outputs))?;
        let out: Taped<Shape4, D> = out.try_permute::<_, Axes4<1, 0, 3, 2>>()?;
        out.try_reshape_like(&(g.batch, g.outputs, g.out[0], g.out[1]))
    })
}

/// Rows of outputs × (batch · channels) as images.
fn images<D: NnDevice>(x: Taped<Table, D>, g: &Geometry) -> Result<Taped<Shape4, D>, D::Err> {
    let x: Taped<Table, D> = x.try_permute::<_, Axes2<1, 0>>()?;
    x.try_reshape_like(&(g.batch, g.channels, g.out[0], g.out[1]))
}

/// See [`super::ImageDevice::max_pool`].
pub(super) fn max_pool<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Result<Image<D>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let (rows, columns) = (g.out_plane(), g.batch * g.channels);
    run(r, x, |x| {
        let x = gathered(x, &g, f32::MIN)?.try_reshape_like(&(g.taps(), rows * columns))?;
        let x: Taped<Row, D> = x.try_max::<_, Axis<0>>()?;
        images(x.try_reshape_like(&(rows, columns))?, &g)
    })
}

/// See [`super::ImageDevice::avg_pool`].
pub(super) fn avg_pool<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Result<Image<D>, TensorError> {
    let g = Geometry::pool(x.shape(), spec)?;
    let (rows, columns) = (g.out_plane(), g.batch * g.channels);
    let counts = |axis: usize| move |out| (0..g.kernel[axis]).filter(|&tap| g.source(axis, out, tap).is_some()).count();
    let places = (0..g.out[0]).flat_map(|y| (0..g.out[1]).map(move |x| counts(0)(y) * counts(1)(x)));
    let shares: Vec<f32> = places.flat_map(|count| std::iter::repeat_n(1.0 / count.max(1) as f32, columns)).collect();
    let shares = matrix(x.device(), rows, columns, shares)?;
    run(r, x, |x| {
        let x = gathered(x, &g, 0.0)?.try_reshape_like(&(g.taps(), rows * columns))?;
        let x: Taped<Row, D> = x.try_sum::<_, Axis<0>>()?;
        images(x.try_reshape_like(&(rows, columns))?.try_mul(shares)?, &g)
    })
}

/// See [`super::ImageDevice::global_average`].
pub(super) fn global_average<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>) -> Result<Matrix<D>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    r.apply(&x.tensor, |x| {
        let rows = x.try_reshape_like(&(batch * channels, height * width)).map_err(TensorError::of)?;
        let sums: Taped<Row, D> = rows.try_sum::<_, Axis<1>>().map_err(TensorError::of)?;
        let means = sums.try_mul(1.0 / (height * width) as f32).map_err(TensorError::of)?;
        means.try_reshape_like(&(batch, channels)).map_err(TensorError::of)
    })
}

/// See [`super::ImageDevice::batch_norm`].
pub(super) fn batch_norm<D: NnDevice>(
    r: &mut Recorder<D>,
    x: &Image<D>,
    affine: [Option<&Matrix<D>>; 2],
    stats: Stats<'_>,
    relu: bool,
) -> Result<(Image<D>, Option<BatchStats<D>>), TensorError> {
    let [batch, channels, height, width] = x.shape();
    let [gain, shift] = affine_of(affine, channels)?;
    let given = given_stats(&stats, channels)?;
    let (count, device) = (batch * height * width, x.device().clone());
    let shape = (channels, count);
    let mut found = None;
    let out = run(r, x, |x| {
        let x: Taped<Shape4, D> = x.try_permute::<_, Axes4<1, 0, 2, 3>>()?;
        let x = x.try_reshape_like(&shape)?;
        let x = match given {
            Some([mean, variance]) => {
                let factors = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
                let offsets = mean.iter().map(|mean| -mean).collect();
                let [offsets, factors]: [Vec<f32>; 2] = [offsets, factors];
                let offsets: Tensor<Row, f32, D> = device.try_tensor_from_vec(offsets, (channels,))?;
                let factors: Tensor<Row, f32, D> = device.try_tensor_from_vec(factors, (channels,))?;
                let x = x.try_add(offsets.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
                x.try_mul(factors.try_broadcast_like::<_, Axis<1>>(&shape)?)?
            }
            None => {
                let still: Matrix<D> = x.retaped();
                let mean: Tensor<Row, f32, D> = still.clone().try_sum::<_, Axis<1>>()?.try_mul(1.0 / count as f32)?;
                let centred = still.try_add(mean.clone().try_negate()?.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
                let square: Tensor<Row, f32, D> = centred.try_square()?.try_sum::<_, Axis<1>>()?;
                let variance = square.try_mul(1.0 / count.saturating_sub(1).max(1) as f32)?;
                found = Some([mean, variance]);
                x.try_normalize::<Axis<1>>(EPSILON)?
            }
        };
        let x = match gain {
            Some(gain) => {
                let gain = gain.retaped::<OwnedTape<f32, D>>().try_reshape_like(&(channels,))?;
                x.try_mul(gain.try_broadcast_like::<_, Axis<1>>(&shape)?)?
            }
            None => x,
        };
        let x = match shift {
            Some(shift) => {
                let shift = shift.retaped::<OwnedTape<f32, D>>().try_reshape_like(&(channels,))?;
                x.try_add(shift.try_broadcast_like::<_, Axis<1>>(&shape)?)?
            }
            None => x,
        };
        let x = if relu { x.try_relu()? } else { x };
        let x = x.try_reshape_like(&(channels, batch, height, width))?;
        let x: Taped<Shape4, D> = x.try_permute::<_, Axes4<1, 0, 2, 3>>()?;
        contiguous(x)
    })?;
    let stats = found.map(|parts| {
        let moments = matrix(&device, 2, channels, parts.iter().flat_map(values).collect())?;
        Ok::<_, TensorError>(BatchStats { moments })
    });
    Ok((out, stats.transpose()?))
}

/// The gain and the shift of a normalisation, if they are 1 × channels.
pub(super) fn affine_of<D: NnDevice>(
    affine: [Option<&Matrix<D>>; 2],
    channels: usize,
) -> Result<[Option<Matrix<D>>; 2], TensorError> {
    match affine.into_iter().flatten().find(|part| *part.shape() != (1, channels)) {
        Some(part) => Err(TensorError::of(format!("a gain or shift of {:?} for {channels} channels", part.shape()))),
        None => Ok(affine.map(|part| part.cloned())),
    }
}

/// Mean and variance, where they are given, a number a channel.
pub(super) fn given_stats(stats: &Stats<'_>, channels: usize) -> Result<Option<[Vec<f32>; 2]>, TensorError> {
    match stats {
        Stats::Batch => Ok(None),
        Stats::Running { mean, variance } if mean.len() == channels && variance.len() == channels => {
            Ok(Some([mean.to_vec(), variance.to_vec()]))
        }
        Stats::Running { mean, variance } => {
            Err(TensorError::of(format!("{} means and {} variances for {channels} channels", mean.len(), variance.len())))
        }
    }
}

/// The same numbers in the order of their places; dfdx copies where a shape and its strides do not fit.
fn contiguous<D: NnDevice>(x: Taped<Shape4, D>) -> Result<Taped<Shape4, D>, D::Err> {
    let shape = *x.shape();
    let (batch, channels, height, width) = shape;
    x.try_reshape_like(&(batch * channels * height * width,))?.try_reshape_like(&shape)
}

/// See [`super::ImageDevice::relu`].
pub(super) fn relu<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>) -> Result<Image<D>, TensorError> {
    run(r, x, |x| x.try_relu())
}

/// See [`super::ImageDevice::add`].
pub(super) fn add<D: NnDevice>(r: &mut Recorder<D>, images: &[&Image<D>]) -> Result<Image<D>, TensorError> {
    let (first, rest) = alike(images)?;
    let mut sum = copied(r, first)?;
    for image in rest {
        let part: Tensor4<D> = copied(r, image)?.tensor;
        sum = run(r, &sum, |sum| sum.try_add(part))?;
    }
    Ok(sum)
}

/// The image as a tensor of its own: dfdx gives up where a tensor meets itself.
fn copied<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>) -> Result<Image<D>, TensorError> {
    run(r, x, |x| x.try_mul(1.0))
}

/// The first of images of one shape, and the others.
pub(super) fn alike<'a, 'b, D: NnDevice>(images: &'a [&'b Image<D>]) -> Result<(&'b Image<D>, &'a [&'b Image<D>]), TensorError> {
    let (first, rest) = images.split_first().ok_or_else(|| TensorError::of("a sum of no images"))?;
    match rest.iter().find(|image| image.shape() != first.shape()) {
        Some(other) => Err(TensorError::of(format!("images of {:?} and of {:?} do not add", first.shape(), other.shape()))),
        None => Ok((first, rest)),
    }
}

/// See [`super::ImageDevice::concat`].
pub(super) fn concat<D: NnDevice>(r: &mut Recorder<D>, images: &[&Image<D>]) -> Result<Image<D>, TensorError> {
    let (first, rest) = joinable(images)?;
    let mut all = copied(r, first)?;
    for image in rest {
        let part: Tensor4<D> = copied(r, image)?.tensor;
        all = run(r, &all, |all| (all, part).try_concat_along(Axis::<1>))?;
    }
    Ok(all)
}

/// The first of images that differ in channels alone, and the others.
pub(super) fn joinable<'a, 'b, D: NnDevice>(
    images: &'a [&'b Image<D>],
) -> Result<(&'b Image<D>, &'a [&'b Image<D>]), TensorError> {
    let (first, rest) = images.split_first().ok_or_else(|| TensorError::of("no images to put together"))?;
    let but_channels = |image: &Image<D>| [0, 2, 3].map(|axis: usize| image.shape()[axis]);
    match rest.iter().find(|image| but_channels(image) != but_channels(first)) {
        Some(other) => Err(TensorError::of(format!("images of {:?} beside {:?}", first.shape(), other.shape()))),
        None => Ok((first, rest)),
    }
}

/// See [`super::ImageDevice::scale_rows`].
pub(super) fn scale_rows<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>, factors: &[f32]) -> Result<Image<D>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    if factors.len() != batch {
        return Err(TensorError::of(format!("{} factors for {batch} images", factors.len())));
    }
    let factors = factors.to_vec();
    run(r, x, |x| {
        let factors: Tensor<Row, f32, D> = x.device().try_tensor_from_vec(factors, (batch,))?;
        let shape = (batch, channels * height * width);
        let x = x.try_reshape_like(&shape)?.try_mul(factors.try_broadcast_like::<_, Axis<1>>(&shape)?)?;
        x.try_reshape_like(&(batch, channels, height, width))
    })
}

/// See [`super::ImageDevice::window`].
pub(super) fn window<D: NnDevice>(
    r: &mut Recorder<D>,
    x: &Image<D>,
    from: [isize; 2],
    size: [usize; 2],
) -> Result<Image<D>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    not_empty(size)?;
    let place = |axis: usize, out: usize| out.checked_add_signed(from[axis]).filter(|&place| place < [height, width][axis]);
    let rows = (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| (y, x)));
    let rows = rows.map(|(y, x)| place(0, y).zip(place(1, x)).map_or(height * width, |(y, x)| y * width + x)).collect();
    run(r, x, |x| {
        let x: Taped<Table, D> = pick(places(x, 0.0)?, rows)?.try_permute::<_, Axes2<1, 0>>()?;
        x.try_reshape_like(&(batch, channels, size[0], size[1]))
    })
}

pub(super) fn not_empty(size: [usize; 2]) -> Result<(), TensorError> {
    if size.contains(&0) { Err(TensorError::of(format!("an empty window of {size:?}"))) } else { Ok(()) }
}

/// See [`super::ImageDevice::flatten`].
pub(super) fn flatten<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>) -> Result<Matrix<D>, TensorError> {
    let [batch, channels, height, width] = x.shape();
    r.apply(&x.tensor, |x| x.try_reshape_like(&(batch, channels * height * width)).map_err(TensorError::of))
}

/// See [`super::ImageDevice::unflatten`].
pub(super) fn unflatten<D: NnDevice>(r: &mut Recorder<D>, x: &Matrix<D>, shape: [usize; 4]) -> Result<Image<D>, TensorError> {
    let [batch, channels, height, width] = shape;
    if *x.shape() != (batch, channels * height * width) {
        return Err(TensorError::of(format!("a matrix of {:?} is no batch of images of {shape:?}", x.shape())));
    }
    let tensor = r.apply(x, |x| x.try_reshape_like(&(batch, channels, height, width)).map_err(TensorError::of))?;
    Ok(Image { tensor, slot: None })
}

/// See [`super::ImageDevice::weigh`].
pub(super) fn weigh<D: NnDevice>(r: &mut Recorder<D>, x: &Image<D>, factors: Vec<f32>) -> Result<Scalar<D>, TensorError> {
    let factors = Image::new(x.device(), x.shape(), factors)?.tensor;
    r.apply(&x.tensor, |x| x.try_mul(factors).and_then(|x| x.try_sum()).map_err(TensorError::of))
}

/// See [`super::ImageDevice::embedding`].
pub(super) fn embedding<D: NnDevice>(r: &mut Recorder<D>, table: &Matrix<D>, rows: &[usize]) -> Result<Matrix<D>, TensorError> {
    let count = table.shape().0;
    if let Some(row) = rows.iter().find(|row| **row >= count) {
        return Err(TensorError::of(format!("row {row} of {count} is asked for")));
    }
    r.apply(table, |table| pick(table, rows.to_vec()).map_err(TensorError::of))
}

/// See [`super::ImageDevice::image_gradient`].
pub(super) fn image_gradient<D: NnDevice>(gradients: &mut Gradients<f32, D>, of: &Image<D>) -> Result<Vec<f32>, TensorError> {
    gradients.try_alloc_for(&of.tensor).map_err(TensorError::of)?;
    Ok(values(&gradients.get(&of.tensor)))
}
