//! Times of the tensor layer: forward and backward, on the processor or on a card.
//!
//! Usage: `cargo run --release -p benches --example tensors -- THREADS|cuda [ROUNDS]`; `cuda` needs `--features cuda`.
//!
//! Prints one JSON object, operation -> seconds (the median of the rounds). `benches/peers/tensors.py` measures the same with
//! PyTorch, and `benches/peers/tensors.sh` runs both in turn. A card is waited for before and after each round.

#![expect(
    clippy::expect_used,
    reason = "sizes and arguments are its author's and its caller's own; there is nothing to go on with"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use automl_nas::tensor::image::{ConvSpec, Image, ImageDevice, PoolSpec, Recorder, Stats};
use automl_nas::tensor::{Activation, Cpu, Linear, Matrix, TensorError, matrix, sequence};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, TensorError>;

const BATCH: usize = 32;
const CHANNELS: usize = 64;
const SIZE: usize = 32;

/// Numbers of all sizes around 0.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0).collect()
}

/// A device, and what waits until it has done what it was asked for.
trait Timed: ImageDevice {
    fn wait(&self) {}
}

impl Timed for Cpu {}

#[cfg(feature = "cuda")]
impl Timed for automl_nas::tensor::Cuda {
    fn wait(&self) {
        automl_nas::tensor::cuda::wait().expect("a card that works");
    }
}

fn image<D: Timed>(device: &D, shape: [usize; 4]) -> Image<D> {
    Image::new(device, shape, numbers(shape.iter().product())).expect("a shape of ours").tracked()
}

fn weights<D: Timed>(device: &D, rows: usize, columns: usize) -> Matrix<D> {
    let scale = 2.0 / (columns as f32).sqrt();
    let numbers = numbers(rows * columns).into_iter().map(|number| number * scale).collect();
    matrix(device, rows, columns, numbers).expect("a shape of ours")
}

/// The median of some rounds of an operation on images, forward and backward.
fn timed<D: Timed>(
    device: &D,
    rounds: usize,
    inputs: &[Image<D>],
    operation: impl Fn(&mut Recorder<D>, &[Image<D>]) -> Result<Image<D>>,
) -> f64 {
    median(rounds, |clock| {
        let inputs: Vec<Image<D>> = inputs.iter().map(|image| image.clone().tracked()).collect();
        device.wait();
        let start = Instant::now();
        let mut r = Recorder::on();
        let out = operation(&mut r, &inputs)?;
        device.wait();
        // What follows the operation is not its own time: the gradient of its result.
        let pause = Instant::now();
        let gradient = D::weigh(&mut r, &out, numbers(out.shape().iter().product()))?;
        device.wait();
        let pause = pause.elapsed();
        let gradients = r.backward(&gradient)?;
        device.wait();
        *clock = (start.elapsed() - pause).as_secs_f64();
        drop(gradients);
        Ok(())
    })
}

fn median(rounds: usize, mut round: impl FnMut(&mut f64) -> Result<()>) -> f64 {
    let mut seconds: Vec<f64> = (0..rounds + 2)
        .map(|_| {
            let mut clock = 0.0;
            round(&mut clock).expect("sizes of ours");
            clock
        })
        .skip(2)
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// ReLU, depthwise, pointwise, batch norm: half of NASNet's separable convolution.
struct Separable<D: Timed> {
    depthwise: Matrix<D>,
    pointwise: Matrix<D>,
    gain: Matrix<D>,
    shift: Matrix<D>,
    spec: ConvSpec,
}

impl<D: Timed> Separable<D> {
    fn new(device: &D, channels: usize, kernel: usize) -> Self {
        Self {
            depthwise: weights(device, channels, kernel * kernel),
            pointwise: weights(device, channels, channels),
            gain: weights(device, 1, channels),
            shift: weights(device, 1, channels),
            spec: ConvSpec::same(kernel, 1).depthwise(channels),
        }
    }

    fn forward(&self, r: &mut Recorder<D>, x: &Image<D>) -> Result<Image<D>> {
        let x = D::relu_conv(r, x, &self.depthwise, &self.spec)?;
        let x = D::conv(r, &x, &self.pointwise, &ConvSpec::same(1, 1))?;
        Ok(D::batch_norm(r, &x, Some(&self.gain), Some(&self.shift), Stats::Batch, false)?.0)
    }
}

/// A normal cell as in NASNet-A: two inputs, five sums of two operations each, all of them put together.
struct Cell<D: Timed> {
    squeeze: [(Matrix<D>, Matrix<D>, Matrix<D>); 2],
    separable: Vec<[Separable<D>; 2]>,
}

impl<D: Timed> Cell<D> {
    fn new(device: &D, channels: usize) -> Self {
        let squeeze = || (weights(device, channels, channels), weights(device, 1, channels), weights(device, 1, channels));
        let separable = [3, 5, 5, 3, 3].map(|kernel| [0, 1].map(|_| Separable::new(device, channels, kernel)));
        Self { squeeze: [squeeze(), squeeze()], separable: separable.into() }
    }

    fn forward(&self, r: &mut Recorder<D>, images: &[Image<D>]) -> Result<Image<D>> {
        let mut squeezed = Vec::new();
        for ((weight, gain, shift), x) in self.squeeze.iter().zip(images) {
            let x = D::relu_conv(r, x, weight, &ConvSpec::same(1, 1))?;
            squeezed.push(D::batch_norm(r, &x, Some(gain), Some(shift), Stats::Batch, false)?.0);
        }
        let (a, b) = (&squeezed[0], &squeezed[1]);
        let separable = |r: &mut Recorder<D>, index: usize, x: &Image<D>| -> Result<Image<D>> {
            let [first, second] = &self.separable[index];
            let x = first.forward(r, x)?;
            second.forward(r, &x)
        };
        let average = |r: &mut Recorder<D>, x: &Image<D>| D::avg_pool(r, x, &PoolSpec { kernel: 3, stride: 1, padding: 1 });
        let mut nodes = Vec::new();
        let first = separable(r, 0, b)?;
        nodes.push(D::add(r, &[&first, b])?);
        let (first, second) = (separable(r, 4, a)?, separable(r, 1, b)?);
        nodes.push(D::add(r, &[&first, &second])?);
        let first = average(r, b)?;
        nodes.push(D::add(r, &[&first, a])?);
        let (first, second) = (average(r, a)?, average(r, a)?);
        nodes.push(D::add(r, &[&first, &second])?);
        let (first, second) = (separable(r, 2, a)?, separable(r, 3, a)?);
        nodes.push(D::add(r, &[&first, &second])?);
        let all: Vec<&Image<D>> = std::iter::once(b).chain(&nodes).collect();
        D::concat(r, &all)
    }
}

/// Two convolutions with batch norm and pooling, and a linear layer, on 28 x 28.
fn small<D: Timed>(device: &D, rounds: usize) -> f64 {
    let x = Image::new(device, [64, 1, 28, 28], numbers(64 * 784)).expect("a shape of ours");
    let weights = |rows, columns| weights(device, rows, columns);
    let convs = [(weights(32, 9), weights(1, 32), weights(1, 32)), (weights(64, 288), weights(1, 64), weights(1, 64))];
    let (head, bias) = (weights(64, 10), weights(1, 10));
    let gradient = weights(64, 10);
    median(rounds, |clock| {
        device.wait();
        let start = Instant::now();
        let (mut r, mut x) = (Recorder::on(), x.clone());
        for (weight, gain, shift) in &convs {
            x = D::conv(&mut r, &x, weight, &ConvSpec::same(3, 1))?;
            x = D::batch_norm(&mut r, &x, Some(gain), Some(shift), Stats::Batch, true)?.0;
            x = D::max_pool(&mut r, &x, &PoolSpec { kernel: 2, stride: 2, padding: 0 })?;
        }
        let x = D::global_average(&mut r, &x)?;
        let (weight, bias) = (&head, &bias);
        let layer = Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true };
        let logits = r.linear(&layer, &x)?;
        let loss = r.cross_entropy(&logits, &gradient)?;
        r.backward(&loss)?;
        device.wait();
        *clock = start.elapsed().as_secs_f64();
        Ok(())
    })
}

fn lstm(rounds: usize, [units, steps, batch]: [usize; 3]) -> f64 {
    let weights = |rows, columns| weights(&Cpu::default(), rows, columns);
    let (x, start) = (weights(steps * batch, units), weights(batch, 2 * units));
    let (input, hidden, bias) = (weights(units, 4 * units), weights(units, 4 * units), weights(1, 4 * units));
    let cells = sequence::Lstm { input: &input, hidden: &hidden, bias: &bias };
    let gradient = numbers(steps * batch * units);
    median(rounds, |clock| {
        let begin = Instant::now();
        let mut r = Recorder::on();
        let out = r.apply(&x, |x| sequence::lstm(&cells, x, automl_nas::tensor::record(start.clone())))?;
        let pause = Instant::now();
        let gradient = gradient.clone();
        let loss = r.apply(&out, |out| sequence::with_gradient(out, 0.0, gradient))?;
        let pause = pause.elapsed();
        r.backward(&loss)?;
        *clock = (begin.elapsed() - pause).as_secs_f64();
        Ok(())
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (place, rounds) = (arguments.next().unwrap_or_else(|| "1".into()), arguments.next().unwrap_or_else(|| "7".into()));
    let rounds = rounds.parse().expect("THREADS|cuda [ROUNDS], a number");
    let results = if place == "cuda" {
        on_card(rounds)
    } else {
        let threads = place.parse().expect("THREADS|cuda, a number or `cuda`");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut results = measure(&Cpu::default(), rounds);
            for sizes in [[96, 40, 100], [96, 20, 32]] {
                let [units, steps, batch] = sizes;
                results.insert(format!("LSTM({units}), {steps} steps, batch {batch}"), lstm(rounds, sizes));
            }
            results
        })
    };
    println!("{}", serde_json::to_string(&results).expect("numbers"));
}

#[cfg(feature = "cuda")]
fn on_card(rounds: usize) -> BTreeMap<String, f64> {
    measure(&automl_nas::tensor::cuda::cuda().expect("a card"), rounds)
}

#[cfg(not(feature = "cuda"))]
fn on_card(_: usize) -> BTreeMap<String, f64> {
    eprintln!("this was built without `--features cuda`");
    std::process::exit(2);
}

fn measure<D: Timed>(device: &D, rounds: usize) -> BTreeMap<String, f64> {
    let mut results = BTreeMap::new();
    let mut add = |name: &str, seconds: f64| results.insert(name.to_owned(), seconds);
    let x = || image(device, [BATCH, CHANNELS, SIZE, SIZE]);
    let weights = |rows, columns| weights(device, rows, columns);
    let conv = |weight: &Matrix<D>, spec: ConvSpec| timed(device, rounds, &[x()], |r, x| D::conv(r, &x[0], weight, &spec));
    add("conv 3x3", conv(&weights(CHANNELS, CHANNELS * 9), ConvSpec::same(3, 1)));
    for kernel in [3, 5, 7] {
        let spec = ConvSpec::same(kernel, 1).depthwise(CHANNELS);
        add(&format!("depthwise {kernel}x{kernel}"), conv(&weights(CHANNELS, kernel * kernel), spec));
    }
    let nine = weights(CHANNELS, 9);
    add("depthwise 3x3, dilation 2", conv(&nine, ConvSpec::dilated(3, 1, 2).depthwise(CHANNELS)));
    add("depthwise 3x3, stride 2", conv(&nine, ConvSpec::same(3, 2).depthwise(CHANNELS)));
    add("pointwise", conv(&weights(CHANNELS, CHANNELS), ConvSpec::same(1, 1)));
    let separable = Separable::new(device, CHANNELS, 3);
    add("separable 3x3 with batch norm", timed(device, rounds, &[x()], |r, x| separable.forward(r, &x[0])));
    let [rows, columns] = [weights(CHANNELS, CHANNELS * 7), weights(CHANNELS, CHANNELS * 7)];
    let line = |r: &mut Recorder<D>, x: &[Image<D>]| {
        let x = D::conv(r, &x[0], &rows, &ConvSpec::rectangular([1, 7], 1))?;
        D::conv(r, &x, &columns, &ConvSpec::rectangular([7, 1], 1))
    };
    add("conv 1x7 + 7x1", timed(device, rounds, &[x()], line));
    let [gain, shift] = [weights(1, CHANNELS), weights(1, CHANNELS)];
    let norm = |relu: bool| {
        let operation =
            |r: &mut Recorder<D>, x: &[Image<D>]| Ok(D::batch_norm(r, &x[0], Some(&gain), Some(&shift), Stats::Batch, relu)?.0);
        timed(device, rounds, &[x()], operation)
    };
    add("batch norm", norm(false));
    add("batch norm + ReLU", norm(true));
    let pool = PoolSpec { kernel: 3, stride: 1, padding: 1 };
    add("max pool 3x3", timed(device, rounds, &[x()], |r, x| D::max_pool(r, &x[0], &pool)));
    add("average pool 3x3", timed(device, rounds, &[x()], |r, x| D::avg_pool(r, &x[0], &pool)));
    add("ReLU", timed(device, rounds, &[x()], |r, x| D::relu(r, &x[0])));
    add("add", timed(device, rounds, &[x(), x()], |r, x| D::add(r, &[&x[0], &x[1]])));
    add("concat of 2", timed(device, rounds, &[x(), x()], |r, x| D::concat(r, &[&x[0], &x[1]])));
    add("global average", global_average(device, rounds));
    let (cell, narrow) = (Cell::new(device, 32), image(device, [BATCH, 32, SIZE, SIZE]));
    add("NASNet-like cell, 32 channels", timed(device, rounds, &[narrow.clone(), narrow], |r, x| cell.forward(r, x)));
    add("small CNN, 28x28, batch 64", small(device, rounds));
    results
}

fn global_average<D: Timed>(device: &D, rounds: usize) -> f64 {
    let x = image(device, [BATCH, CHANNELS, SIZE, SIZE]);
    let factors = matrix(device, BATCH, CHANNELS, numbers(BATCH * CHANNELS)).expect("a shape of ours");
    median(rounds, |clock| {
        let x = x.clone().tracked();
        device.wait();
        let start = Instant::now();
        let mut r = Recorder::on();
        let means = D::global_average(&mut r, &x)?;
        let weighed = r.scaled(&means, &factors)?;
        let loss = r.apply(&weighed, automl_nas::tensor::total)?;
        r.backward(&loss)?;
        device.wait();
        *clock = start.elapsed().as_secs_f64();
        Ok(())
    })
}
