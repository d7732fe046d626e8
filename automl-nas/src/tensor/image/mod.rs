//! Operations on batches of images, for networks that branch.
//!
//! dfdx's tape moves along with one tensor, so a network with branches would have to split and merge it at every fork. Here a
//! [`Recorder`] holds the tape of a whole forward pass, and every operation is handed it. As everywhere in the tensor layer,
//! an operation is first a composition of dfdx's own (`compose`), and the processor has kernels of its own (`kernels`); the
//! tests hold the two against each other.
//!
//! What an image was computed from decides whether a gradient flows to it: data ([`Image::new`]) gets none, and the
//! convolution that reads it computes none. On the processor, gradients of images wait in a slot of the image until the
//! operation that made the image takes them, so a gradient that has one source is moved and never added to zeros.

#[cfg(test)]
mod checks;
mod compose;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod kernels;
#[cfg(test)]
mod oracle;
mod recorder;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use dfdx::shapes::HasShape;
use dfdx::tensor::{NoneTape, Tensor};

use super::{Matrix, NnDevice, TensorError};
pub use device::ImageDevice;
pub use recorder::Recorder;

/// Batch, channels, height, width.
pub(super) type Shape4 = (usize, usize, usize, usize);
pub(super) type Tensor4<D, T = NoneTape> = Tensor<Shape4, f32, D, T>;

/// A batch of images, batch × channels × height × width, row-major and contiguous. A clone is the same image: it shares
/// numbers and gradient.
#[derive(Clone, Debug)]
pub struct Image<D: NnDevice> {
    tensor: Tensor4<D>,
    slot: Option<Slot>,
}

impl<D: NnDevice> Image<D> {
    /// Data, to which no gradient flows.
    ///
    /// # Errors
    /// [`TensorError`] where there are not as many values as the shape has places, or no places.
    pub fn new(device: &D, shape: [usize; 4], values: Vec<f32>) -> Result<Self, TensorError> {
        let [batch, channels, height, width] = shape;
        let places = shape.iter().try_fold(1_usize, |places, &size| places.checked_mul(size));
        if places != Some(values.len()) || values.is_empty() {
            return Err(TensorError::of(format!("{} numbers for images of {shape:?}", values.len())));
        }
        let tensor = device.try_tensor_from_vec(values, (batch, channels, height, width)).map_err(TensorError::of)?;
        Ok(Self { tensor, slot: None })
    }

    /// The image as an input whose gradient is asked for ([`ImageDevice::image_gradient`]).
    #[must_use]
    pub fn tracked(self) -> Self {
        Self { slot: Some(Slot::default()), ..self }
    }

    /// Batch, channels, height, width.
    pub fn shape(&self) -> [usize; 4] {
        let (batch, channels, height, width) = *self.tensor.shape();
        [batch, channels, height, width]
    }

    /// The numbers, row-major.
    pub fn values(&self) -> Vec<f32> {
        super::values(&self.tensor)
    }

    /// Where the image is.
    pub fn device(&self) -> &D {
        self.tensor.device()
    }
}

/// Where the gradient of an image on the processor waits; empty as long as nothing has flowed there.
#[derive(Clone, Debug, Default)]
struct Slot(Arc<Mutex<Vec<f32>>>);

impl Slot {
    /// Takes the gradient; nobody needs it after that.
    fn take(&self) -> Vec<f32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `add` does to the gradient so far, which is empty the first time.
    fn with<R>(&self, add: impl FnOnce(&mut Vec<f32>) -> R) -> R {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A convolution, without a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Step between neighbouring outputs, along both axes.
    pub stride: usize,
    /// Zeros before and after, along height and width.
    pub padding: [usize; 2],
    /// Step between neighbouring places of the kernel, along both axes.
    pub dilation: usize,
    /// Parts of the channels that do not see each other; as many as channels make it depthwise.
    pub groups: usize,
}

impl ConvSpec {
    /// A square kernel of odd size that keeps the size of images at stride 1.
    pub fn same(kernel: usize, stride: usize) -> Self {
        Self::dilated(kernel, stride, 1)
    }

    /// The same with a dilation.
    pub fn dilated(kernel: usize, stride: usize, dilation: usize) -> Self {
        let padding = dilation * (kernel.saturating_sub(1)) / 2;
        Self { kernel: [kernel; 2], stride, padding: [padding; 2], dilation, groups: 1 }
    }

    /// A rectangular kernel of odd sizes that keeps the size of images at stride 1.
    pub fn rectangular(kernel: [usize; 2], stride: usize) -> Self {
        Self { kernel, stride, padding: kernel.map(|size| size.saturating_sub(1) / 2), dilation: 1, groups: 1 }
    }

    /// Every kernel sees one channel of as many as there are.
    #[must_use]
    pub fn depthwise(self, channels: usize) -> Self {
        Self { groups: channels, ..self }
    }
}

/// A square window that moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step between neighbouring outputs, along both axes.
    pub stride: usize,
    /// Places before and after, along both axes, which never count: neither as a maximum nor in a mean.
    pub padding: usize,
}

/// Which statistics a batch normalisation uses.
#[derive(Clone, Copy, Debug)]
pub enum Stats<'a> {
    /// Those of the batch, which the operation returns.
    Batch,
    /// Given ones, a number a channel.
    Running {
        /// Mean of each channel.
        mean: &'a [f32],
        /// Variance of each channel.
        variance: &'a [f32],
    },
}

/// Mean and variance of each channel of a batch. They stay where they were computed until somebody reads them, since a card would have
/// to be waited for.
#[derive(Clone, Debug)]
pub struct BatchStats<D: NnDevice> {
    /// A row of means, and one of variances; unbiased, as running statistics take them.
    pub moments: Matrix<D>,
}

/// The sizes of a convolution or of pooling, checked.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    batch: usize,
    channels: usize,
    size: [usize; 2],
    outputs: usize,
    out: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
    dilation: usize,
    groups: usize,
}

impl Geometry {
    fn conv(x: [usize; 4], weight: (usize, usize), spec: &ConvSpec) -> Result<Self, TensorError> {
        let wrong = |why: &str| TensorError::of(format!("{spec:?} with weights of {weight:?} on images of {x:?}: {why}"));
        let ConvSpec { kernel, stride, padding, dilation, groups } = *spec;
        let [batch, channels, height, width] = x;
        let (outputs, places) = weight;
        if stride == 0 || dilation == 0 || groups == 0 || kernel.contains(&0) {
            return Err(wrong("kernel, stride, dilation and groups are at least 1"));
        }
        if !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) || outputs == 0 {
            return Err(wrong("the groups divide neither channels nor outputs, or there are no outputs"));
        }
        let expected = kernel[0].checked_mul(kernel[1]).and_then(|area| area.checked_mul(channels / groups));
        if expected != Some(places) {
            return Err(wrong("a kernel needs channels / groups · height · width weights"));
        }
        let out = [0, 1].map(|axis: usize| sized([height, width][axis], kernel[axis], stride, padding[axis], dilation));
        let [Some(out_height), Some(out_width)] = out else { return Err(wrong("the kernel is larger than the image")) };
        let out = [out_height, out_width];
        Ok(Self { batch, channels, size: [height, width], outputs, out, kernel, stride, padding, dilation, groups })
    }

    fn pool(x: [usize; 4], spec: &PoolSpec) -> Result<Self, TensorError> {
        let wrong = |why: &str| TensorError::of(format!("{spec:?} on images of {x:?}: {why}"));
        let PoolSpec { kernel, stride, padding } = *spec;
        let [batch, channels, height, width] = x;
        if kernel == 0 || kernel > 255 || stride == 0 || padding >= kernel {
            return Err(wrong("the kernel is 1 to 255, the stride at least 1, and the padding is smaller than the kernel"));
        }
        let out = [height, width].map(|size| sized(size, kernel, stride, padding, 1));
        let [Some(out_height), Some(out_width)] = out else { return Err(wrong("the window is larger than the image")) };
        Ok(Self {
            batch,
            channels,
            size: [height, width],
            outputs: channels,
            out: [out_height, out_width],
            kernel: [kernel; 2],
            stride,
            padding: [padding; 2],
            dilation: 1,
            groups: channels.max(1),
        })
    }

    /// The places of a kernel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The places of an image.
    fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The places of an output.
    fn out_plane(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// The place along an axis that a place of the kernel reads for an output, if it isn't padding.
    fn source(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        (out * self.stride + tap * self.dilation).checked_sub(self.padding[axis]).filter(|&place| place < self.size[axis])
    }

    fn out_shape(&self) -> [usize; 4] {
        [self.batch, self.outputs, self.out[0], self.out[1]]
    }
}

/// Outputs along an axis; `None` where there are none.
fn sized(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let padded = padding.checked_mul(2)?.checked_add(size)?;
    Some(padded.checked_sub(reach)? / stride + 1)
}
