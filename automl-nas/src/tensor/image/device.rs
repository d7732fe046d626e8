//! The operations: each a composition of dfdx's, for a device to override.

use dfdx::tensor::{Cpu, Gradients};

use super::{BatchStats, ConvSpec, Image, PoolSpec, Recorder, Stats, compose, kernels};
use crate::tensor::{Matrix, NnDevice, Scalar, TensorError, sequence, values};

/// A device that runs networks on images.
///
/// Every operation records itself where the recorder does.
pub trait ImageDevice: NnDevice {
    /// A convolution; `weight` is outputs × (channels / groups · height · width), row-major over these.
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn conv(r: &mut Recorder<Self>, x: &Image<Self>, weight: &Matrix<Self>, spec: &ConvSpec) -> Result<Image<Self>, TensorError> {
        compose::conv(r, x, weight, spec)
    }

    /// The same of `max(x, 0)`, which is then no image of its own.
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn relu_conv(
        r: &mut Recorder<Self>,
        x: &Image<Self>,
        weight: &Matrix<Self>,
        spec: &ConvSpec,
    ) -> Result<Image<Self>, TensorError> {
        let x = Self::relu(r, x)?;
        Self::conv(r, &x, weight, spec)
    }

    /// The maximum of each window.
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn max_pool(r: &mut Recorder<Self>, x: &Image<Self>, spec: &PoolSpec) -> Result<Image<Self>, TensorError> {
        compose::max_pool(r, x, spec)
    }

    /// The mean of each window, over the places that are no padding.
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn avg_pool(r: &mut Recorder<Self>, x: &Image<Self>, spec: &PoolSpec) -> Result<Image<Self>, TensorError> {
        compose::avg_pool(r, x, spec)
    }

    /// The mean of each channel of each image, batch × channels.
    ///
    /// # Errors
    /// [`TensorError`].
    fn global_average(r: &mut Recorder<Self>, x: &Image<Self>) -> Result<Matrix<Self>, TensorError> {
        compose::global_average(r, x)
    }

    /// `gain · (x - mean) / √(variance + `[`EPSILON`](crate::tensor::EPSILON)`) + shift` for each channel, followed by a ReLU
    /// or not (Ioffe and Szegedy, "Batch Normalization", 2015). `gain` and `shift` are 1 × channels, and 1 and 0 where they
    /// are left out. With [`Stats::Batch`] the gradient flows through the statistics, and they are returned.
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn batch_norm(
        r: &mut Recorder<Self>,
        x: &Image<Self>,
        gain: Option<&Matrix<Self>>,
        shift: Option<&Matrix<Self>>,
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<Self>, Option<BatchStats<Self>>), TensorError> {
        compose::batch_norm(r, x, [gain, shift], stats, relu)
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// [`TensorError`].
    fn relu(r: &mut Recorder<Self>, x: &Image<Self>) -> Result<Image<Self>, TensorError> {
        compose::relu(r, x)
    }

    /// The sum of images of one shape; one may occur more than once.
    ///
    /// # Errors
    /// [`TensorError`] where there are none, or of different shapes.
    fn add(r: &mut Recorder<Self>, images: &[&Image<Self>]) -> Result<Image<Self>, TensorError> {
        compose::add(r, images)
    }

    /// The channels of images one after the other; one may occur more than once.
    ///
    /// # Errors
    /// [`TensorError`] where there are none, or where they differ in more than channels.
    fn concat(r: &mut Recorder<Self>, images: &[&Image<Self>]) -> Result<Image<Self>, TensorError> {
        compose::concat(r, images)
    }

    /// Each image of the batch times a factor of its own: drop-path, with factors of 0 or the inverse of the share that is
    /// kept (Larsson et al., "FractalNet", 2017).
    ///
    /// # Errors
    /// [`TensorError`] where there are not as many factors as images.
    fn scale_rows(r: &mut Recorder<Self>, x: &Image<Self>, factors: &[f32]) -> Result<Image<Self>, TensorError> {
        compose::scale_rows(r, x, factors)
    }

    /// A window of each image, from a place on that may lie outside of it: `out[y][x] = image[y + from[0]][x + from[1]]`, 0
    /// where there is no such place. It crops, pads and shifts; a factorised reduction reads an image and one that is shifted
    /// by one place.
    ///
    /// # Errors
    /// [`TensorError`] for an empty window.
    fn window(r: &mut Recorder<Self>, x: &Image<Self>, from: [isize; 2], size: [usize; 2]) -> Result<Image<Self>, TensorError> {
        compose::window(r, x, from, size)
    }

    /// The numbers of each image as a row, batch × (channels · height · width).
    ///
    /// # Errors
    /// [`TensorError`].
    fn flatten(r: &mut Recorder<Self>, x: &Image<Self>) -> Result<Matrix<Self>, TensorError> {
        compose::flatten(r, x)
    }

    /// Rows as images of a shape, the inverse of [`ImageDevice::flatten`].
    ///
    /// # Errors
    /// [`TensorError`] where the sizes do not fit.
    fn unflatten(r: &mut Recorder<Self>, x: &Matrix<Self>, shape: [usize; 4]) -> Result<Image<Self>, TensorError> {
        compose::unflatten(r, x, shape)
    }

    /// `Σ factor · number`, with a factor for each number of the images: a loss of the caller's own, whose gradient the
    /// factors are.
    ///
    /// # Errors
    /// [`TensorError`] where there are not as many factors.
    fn weigh(r: &mut Recorder<Self>, x: &Image<Self>, factors: Vec<f32>) -> Result<Scalar<Self>, TensorError> {
        compose::weigh(r, x, factors)
    }

    /// Rows of a table by their numbers: an embedding.
    ///
    /// # Errors
    /// [`TensorError`] for a number that is not a row's.
    fn embedding(r: &mut Recorder<Self>, table: &Matrix<Self>, rows: &[usize]) -> Result<Matrix<Self>, TensorError> {
        compose::embedding(r, table, rows)
    }

    /// The gradient with respect to an image that is tracked, or was computed from what is; row-major, zeros where the loss
    /// does not depend on it. Inner nodes give theirs away on the way back.
    ///
    /// # Errors
    /// [`TensorError`].
    fn image_gradient(gradients: &mut Gradients<f32, Self>, of: &Image<Self>) -> Result<Vec<f32>, TensorError> {
        compose::image_gradient(gradients, of)
    }
}

impl ImageDevice for Cpu {
    fn conv(r: &mut Recorder<Cpu>, x: &Image<Cpu>, weight: &Matrix<Cpu>, spec: &ConvSpec) -> Result<Image<Cpu>, TensorError> {
        kernels::conv(r, x, weight, spec, false)
    }

    fn relu_conv(
        r: &mut Recorder<Cpu>,
        x: &Image<Cpu>,
        weight: &Matrix<Cpu>,
        spec: &ConvSpec,
    ) -> Result<Image<Cpu>, TensorError> {
        kernels::conv(r, x, weight, spec, true)
    }

    fn max_pool(r: &mut Recorder<Cpu>, x: &Image<Cpu>, spec: &PoolSpec) -> Result<Image<Cpu>, TensorError> {
        kernels::max_pool(r, x, spec)
    }

    fn avg_pool(r: &mut Recorder<Cpu>, x: &Image<Cpu>, spec: &PoolSpec) -> Result<Image<Cpu>, TensorError> {
        kernels::avg_pool(r, x, spec)
    }

    fn global_average(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
        kernels::global_average(r, x)
    }

    fn batch_norm(
        r: &mut Recorder<Cpu>,
        x: &Image<Cpu>,
        gain: Option<&Matrix<Cpu>>,
        shift: Option<&Matrix<Cpu>>,
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<Cpu>, Option<BatchStats<Self>>), TensorError> {
        kernels::batch_norm(r, x, [gain, shift], stats, relu)
    }

    fn relu(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Image<Cpu>, TensorError> {
        kernels::relu(r, x)
    }

    fn add(r: &mut Recorder<Cpu>, images: &[&Image<Cpu>]) -> Result<Image<Cpu>, TensorError> {
        kernels::add(r, images)
    }

    fn concat(r: &mut Recorder<Cpu>, images: &[&Image<Cpu>]) -> Result<Image<Cpu>, TensorError> {
        kernels::concat(r, images)
    }

    fn scale_rows(r: &mut Recorder<Cpu>, x: &Image<Cpu>, factors: &[f32]) -> Result<Image<Cpu>, TensorError> {
        kernels::scale_rows(r, x, factors)
    }

    fn window(r: &mut Recorder<Cpu>, x: &Image<Cpu>, from: [isize; 2], size: [usize; 2]) -> Result<Image<Cpu>, TensorError> {
        kernels::window(r, x, from, size)
    }

    fn flatten(r: &mut Recorder<Cpu>, x: &Image<Cpu>) -> Result<Matrix<Cpu>, TensorError> {
        kernels::flatten(r, x)
    }

    fn unflatten(r: &mut Recorder<Cpu>, x: &Matrix<Cpu>, shape: [usize; 4]) -> Result<Image<Cpu>, TensorError> {
        kernels::unflatten(r, x, shape)
    }

    fn weigh(r: &mut Recorder<Cpu>, x: &Image<Cpu>, factors: Vec<f32>) -> Result<Scalar<Cpu>, TensorError> {
        kernels::weigh(r, x, factors)
    }

    fn embedding(r: &mut Recorder<Cpu>, table: &Matrix<Cpu>, rows: &[usize]) -> Result<Matrix<Cpu>, TensorError> {
        r.apply(table, |table| sequence::gather(table, rows))
    }

    fn image_gradient(_: &mut Gradients<f32, Cpu>, of: &Image<Cpu>) -> Result<Vec<f32>, TensorError> {
        let gradient = of.slot.as_ref().map(super::Slot::take).unwrap_or_default();
        Ok(if gradient.is_empty() { vec![0.0; values(&of.tensor).len()] } else { gradient })
    }
}
