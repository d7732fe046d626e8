//! A graphics card of NVIDIA: dfdx's device, and kernels of our own on its tensors.
//!
//! dfdx brings products (cuBLAS) and what the compositions need; images, gradients and optimizers have kernels here
//! (`kernels.cu`), which the card's own compiler builds when a card is first asked for. There is one device for the whole process,
//! and all work on it runs in the order in which it is asked for.
#![expect(unsafe_code, reason = "kernels are handed addresses: of tensors that live as long as the work that reads them")]

mod address;
mod optim;

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::cublas::sys::cublasOperation_t as Transposed;
use cudarc::cublas::{CudaBlas, result as blas};
use cudarc::driver::sys::{
    CUdevice_attribute as Attribute, CUmemPool_attribute, cuDeviceGetDefaultMemPool, cuMemPoolSetAttribute,
};
use cudarc::driver::{CudaDevice, CudaSlice, DevicePtr, DeviceRepr, LaunchAsync, LaunchConfig, result};
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use dfdx::tensor::{CpuError, Cuda, CudaError};

use super::TensorError;
pub(super) use address::address;

/// What a kernel reads and writes.
pub(super) type Address = u64;

/// The module's name, and its kernels.
const MODULE: &str = "automl";
const SOURCE: &str = include_str!("kernels.cu");
const KERNELS: &[&str] = &[
    "unfold",
    "fold",
    "add_parts",
    "depthwise_3",
    "depthwise_5",
    "depthwise_7",
    "depthwise_any",
    "depthwise_to_x_any",
    "depthwise_to_weight_3",
    "depthwise_to_weight_5",
    "depthwise_to_weight_7",
    "depthwise_to_weight_any",
    "max_pool",
    "max_pool_to_x",
    "avg_pool",
    "avg_pool_to_x",
    "global_average",
    "global_average_to_x",
    "moments",
    "moments_of_parts",
    "normalize",
    "norm_sums",
    "norm_sums_of_parts",
    "norm_to_x",
    "relu",
    "relu_to_x",
    "add",
    "accumulate",
    "place",
    "place_to_x",
    "scale_rows",
    "scale_rows_to_x",
    "window",
    "window_to_x",
    "weigh",
    "weigh_to_x",
    "squares",
    "sgd",
    "adamw",
];

/// Threads of a block, where a kernel does not say otherwise.
const BLOCK: u32 = 256;

/// The card as our kernels see it: the context and the stream are dfdx's.
pub(super) struct Card {
    device: Arc<CudaDevice>,
    blas: CudaBlas,
}

/// The first card of the system, for the thread that asks: dfdx's device stays where it was made.
///
/// # Errors
/// [`TensorError`] where there is none, or where its driver or compiler fails.
pub fn cuda() -> Result<Cuda, TensorError> {
    thread_local! {
        // Never dropped: at the end of a thread, the driver may have gone before it.
        static DEVICE: OnceCell<&'static Cuda> = const { OnceCell::new() };
    }
    opened()?;
    DEVICE.with(|device| match device.get() {
        Some(device) => Ok((*device).clone()),
        None => {
            let made: &'static Cuda = Box::leak(Box::new(Cuda::try_seed_from_u64(0).map_err(TensorError::of)?));
            Ok((*device.get_or_init(|| made)).clone())
        }
    })
}

/// Why there is no card to be used, if so.
///
/// # Errors
/// The reason, for people.
pub fn check() -> Result<(), String> {
    opened().map(drop).map_err(|TensorError(problem)| problem)
}

/// Waits until the card has done all that it was asked for: for whoever measures.
///
/// # Errors
/// [`TensorError`] where some of it failed.
pub fn wait() -> Result<(), TensorError> {
    opened()?.device.synchronize().map_err(TensorError::of)
}

/// Until what it gives is dropped, nobody else trains on the card: the handle of cuBLAS serves one thread at a time.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The card, once a device was made.
pub(super) fn card() -> Result<&'static Card, CudaError> {
    opened().map_err(|_| CudaError::Cpu(CpuError::OutOfMemory))
}

fn opened() -> Result<&'static Card, TensorError> {
    static OPENED: OnceLock<Result<Card, String>> = OnceLock::new();
    OPENED.get_or_init(open).as_ref().map_err(|problem| TensorError(problem.clone()))
}

fn open() -> Result<Card, String> {
    let none = |error| format!("there is no CUDA card that could be used ({error:?})");
    result::init().map_err(none)?;
    if result::device::get_count().map_err(none)? == 0 {
        return Err("there is no CUDA card".into());
    }
    let failed = |error: &dyn std::fmt::Debug| format!("the CUDA card does not work: {error:?}");
    let device = CudaDevice::new(0).map_err(|error| failed(&error))?;
    keep_memory(&device).map_err(|error| failed(&error))?;
    let version = |attribute| device.attribute(attribute).map_err(|error| failed(&error));
    let major = version(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = version(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // It is made once, and cudarc wants a name that lasts.
    let arch: &'static str = Box::leak(format!("compute_{major}{minor}").into_boxed_str());
    let options = CompileOptions { arch: Some(arch), ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(SOURCE, options).map_err(|error| failed(&error))?;
    device.load_ptx(ptx, MODULE, KERNELS).map_err(|error| failed(&error))?;
    let blas = CudaBlas::new(device.clone()).map_err(|error| failed(&error))?;
    Ok(Card { device, blas })
}

/// Memory that is given back stays with the process: by default the driver returns it to the system whenever the card is waited for.
fn keep_memory(device: &CudaDevice) -> Result<(), result::DriverError> {
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: the device is one that cudarc opened, and both arguments live until the calls return.
    unsafe {
        cuDeviceGetDefaultMemPool(&raw mut pool, *device.cu_device()).result()?;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result()
    }
}

/// How many blocks of how many threads run a kernel.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    blocks: [u32; 2],
    threads: u32,
    /// Bytes that the threads of a block share, beside those that the kernel declares.
    shared: u32,
}

impl Grid {
    /// A thread for each of so many numbers, or for several of them.
    pub fn each(count: usize) -> Self {
        Self::blocks(count.div_ceil(BLOCK as usize).clamp(1, 1 << 16), 1, BLOCK)
    }

    /// Blocks along two axes.
    pub fn blocks(x: usize, y: usize, threads: u32) -> Self {
        Self { blocks: [x, y].map(|blocks| u32::try_from(blocks).unwrap_or(u32::MAX)), threads, shared: 0 }
    }

    /// The same with room for numbers that a block shares.
    pub fn sharing(self, numbers: usize) -> Self {
        Self { shared: u32::try_from(numbers * size_of::<f32>()).unwrap_or(u32::MAX), ..self }
    }
}

/// A product of matrices, many at a time; see [`Card::product`].
pub(super) struct Product {
    /// Rows and columns of the result, and the numbers that each of its sums has.
    pub sizes: [usize; 3],
    /// Address of the first left operand, the way from one to the next, and whether it is transposed.
    pub left: (Address, usize, bool),
    /// The same of the right operand.
    pub right: (Address, usize, bool),
    /// Address of the first result, and the way from one to the next.
    pub out: (Address, usize),
    /// How many there are.
    pub count: usize,
}

impl Card {
    /// Memory for so many numbers, whatever is in it.
    pub fn room<T: DeviceRepr>(&self, count: usize) -> Result<CudaSlice<T>, CudaError> {
        // SAFETY: whoever asks for room writes to it before it is read.
        Ok(unsafe { self.device.alloc(count) }?)
    }

    /// Numbers on the card.
    pub fn upload<T: DeviceRepr + Unpin>(&self, numbers: Vec<T>) -> Result<CudaSlice<T>, CudaError> {
        Ok(self.device.htod_copy(numbers)?)
    }

    /// Numbers from the card, once it has got ready with them.
    pub fn download<T: DeviceRepr>(&self, numbers: &CudaSlice<T>) -> Result<Vec<T>, CudaError> {
        Ok(self.device.dtoh_sync_copy(numbers)?)
    }

    /// Copies numbers on the card.
    pub fn copy(&self, from: Address, to: Address, count: usize) -> Result<(), CudaError> {
        self.device.bind_to_thread()?;
        // SAFETY: as for kernels: callers hand over addresses of tensors of so many numbers.
        Ok(unsafe { result::memcpy_dtod_async(to, from, count * size_of::<f32>(), *self.device.cu_stream()) }?)
    }

    /// Runs a kernel with arguments of its types.
    pub fn run<A>(&self, kernel: &str, grid: Grid, arguments: A) -> Result<(), CudaError>
    where
        cudarc::driver::CudaFunction: LaunchAsync<A>,
    {
        let function = self.device.get_func(MODULE, kernel).ok_or(CudaError::Cpu(CpuError::WrongNumElements))?;
        let [x, y] = grid.blocks;
        let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (grid.threads, 1, 1), shared_mem_bytes: grid.shared };
        // SAFETY: callers in this crate hand over what `kernels.cu` declares, and addresses of tensors as large as the sizes beside them.
        Ok(unsafe { function.launch(config, arguments) }?)
    }

    /// Row-major products, each of `left` and `right`.
    pub fn product(&self, product: &Product) -> Result<(), CudaError> {
        let whole = |size: usize| i32::try_from(size).map_err(|_| CudaError::Cpu(CpuError::WrongNumElements));
        let [rows, columns, depth] = product.sizes;
        let ((left, left_step, left_turned), (right, right_step, right_turned)) = (product.left, product.right);
        let turned = |turned| if turned { Transposed::CUBLAS_OP_T } else { Transposed::CUBLAS_OP_N };
        let (one, none) = (1.0_f32, 0.0_f32);
        // cuBLAS counts by columns: what is row-major here is transposed there, so the operands change places.
        // SAFETY: the handle lives as long as the process, and the callers' operands as long as the stream needs them: memory that is
        // given back is given back in the order of the stream.
        let done = unsafe {
            blas::sgemm_strided_batched(
                *self.blas.handle(),
                turned(right_turned),
                turned(left_turned),
                whole(columns)?,
                whole(rows)?,
                whole(depth)?,
                &raw const one,
                right as *const f32,
                whole(if right_turned { depth } else { columns })?,
                right_step as i64,
                left as *const f32,
                whole(if left_turned { rows } else { depth })?,
                left_step as i64,
                &raw const none,
                product.out.0 as *mut f32,
                whole(columns)?,
                product.out.1 as i64,
                whole(product.count)?,
            )
        };
        Ok(done?)
    }
}

/// The address of memory of our own.
pub(super) fn at<T>(memory: &CudaSlice<T>) -> Address {
    *memory.device_ptr()
}
