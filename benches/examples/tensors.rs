//! Times of the tensor layer: forward and backward, on the processor.
//!
//! Usage: `cargo run --release -p benches --example tensors -- THREADS [ROUNDS]`
//!
//! Prints one JSON object, operation -> seconds (the median of the rounds). `benches/peers/tensors.py` measures the same with
//! PyTorch, and `benches/peers/tensors.sh` runs both in turn.

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

type R = Recorder<Cpu>;
type Result<T> = std::result::Result<T, TensorError>;

const BATCH: usize = 32;
const CHANNELS: usize = 64;
const SIZE: usize = 32;

/// Numbers of all sizes around 0.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0).collect()
}

fn image(shape: [usize; 4]) -> Image<Cpu> {
    Image::new(&Cpu::default(), shape, numbers(shape.iter().product())).expect("a shape of ours").tracked()
}

fn weights(rows: usize, columns: usize) -> Matrix<Cpu> {
    let scale = 2.0 / (columns as f32).sqrt();
    let numbers = numbers(rows * columns).into_iter().map(|number| number * scale).collect();
    matrix(&Cpu::default(), rows, columns, numbers).expect("a shape of ours")
}

/// The median of some rounds of an operation on images, forward and backward.
fn timed(rounds: usize, inputs: &[Image<Cpu>], operation: impl Fn(&mut R, &[Image<Cpu>]) -> Result<Image<Cpu>>) -> f64 {
    median(rounds, |clock| {
        let inputs: Vec<Image<Cpu>> = inputs.iter().map(|image| image.clone().tracked()).collect();
        let start = Instant::now();
        let mut r = R::on();
        let out = operation(&mut r, &inputs)?;
        // What follows the operation is not its own time: the gradient of its result.
        let pause = Instant::now();
        let gradient = Cpu::weigh(&mut r, &out, numbers(out.shape().iter().product()))?;
        let pause = pause.elapsed();
        let gradients = r.backward(&gradient)?;
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
struct Separable {
    depthwise: Matrix<Cpu>,
    pointwise: Matrix<Cpu>,
    gain: Matrix<Cpu>,
    shift: Matrix<Cpu>,
    spec: ConvSpec,
}

impl Separable {
    fn new(channels: usize, kernel: usize) -> Self {
        Self {
            depthwise: weights(channels, kernel * kernel),
            pointwise: weights(channels, channels),
            gain: weights(1, channels),
            shift: weights(1, channels),
            spec: ConvSpec::same(kernel, 1).depthwise(channels),
        }
    }

    fn forward(&self, r: &mut R, x: &Image<Cpu>) -> Result<Image<Cpu>> {
        let x = Cpu::relu_conv(r, x, &self.depthwise, &self.spec)?;
        let x = Cpu::conv(r, &x, &self.pointwise, &ConvSpec::same(1, 1))?;
        Ok(Cpu::batch_norm(r, &x, Some(&self.gain), Some(&self.shift), Stats::Batch, false)?.0)
    }
}

/// A normal cell as in NASNet-A: two inputs, five sums of two operations each, all of them put together.
struct Cell {
    squeeze: [(Matrix<Cpu>, Matrix<Cpu>, Matrix<Cpu>); 2],
    separable: Vec<[Separable; 2]>,
}

impl Cell {
    fn new(channels: usize) -> Self {
        let squeeze = || (weights(channels, channels), weights(1, channels), weights(1, channels));
        let separable = [3, 5, 5, 3, 3].map(|kernel| [Separable::new(channels, kernel), Separable::new(channels, kernel)]);
        Self { squeeze: [squeeze(), squeeze()], separable: separable.into() }
    }

    fn forward(&self, r: &mut R, images: &[Image<Cpu>]) -> Result<Image<Cpu>> {
        let mut squeezed = Vec::new();
        for ((weight, gain, shift), x) in self.squeeze.iter().zip(images) {
            let x = Cpu::relu_conv(r, x, weight, &ConvSpec::same(1, 1))?;
            squeezed.push(Cpu::batch_norm(r, &x, Some(gain), Some(shift), Stats::Batch, false)?.0);
        }
        let (a, b) = (&squeezed[0], &squeezed[1]);
        let separable = |r: &mut R, index: usize, x: &Image<Cpu>| -> Result<Image<Cpu>> {
            let [first, second] = &self.separable[index];
            let x = first.forward(r, x)?;
            second.forward(r, &x)
        };
        let average = |r: &mut R, x: &Image<Cpu>| Cpu::avg_pool(r, x, &PoolSpec { kernel: 3, stride: 1, padding: 1 });
        let mut nodes = Vec::new();
        let first = separable(r, 0, b)?;
        nodes.push(Cpu::add(r, &[&first, b])?);
        let (first, second) = (separable(r, 4, a)?, separable(r, 1, b)?);
        nodes.push(Cpu::add(r, &[&first, &second])?);
        let first = average(r, b)?;
        nodes.push(Cpu::add(r, &[&first, a])?);
        let (first, second) = (average(r, a)?, average(r, a)?);
        nodes.push(Cpu::add(r, &[&first, &second])?);
        let (first, second) = (separable(r, 2, a)?, separable(r, 3, a)?);
        nodes.push(Cpu::add(r, &[&first, &second])?);
        let all: Vec<&Image<Cpu>> = std::iter::once(b).chain(&nodes).collect();
        Cpu::concat(r, &all)
    }
}

/// Two convolutions with batch norm and pooling, and a linear layer, on 28 x 28.
fn small(rounds: usize) -> f64 {
    let x = Image::new(&Cpu::default(), [64, 1, 28, 28], numbers(64 * 784)).expect("a shape of ours");
    let convs = [(weights(32, 9), weights(1, 32), weights(1, 32)), (weights(64, 288), weights(1, 64), weights(1, 64))];
    let (head, bias) = (weights(64, 10), weights(1, 10));
    let gradient = weights(64, 10);
    median(rounds, |clock| {
        let start = Instant::now();
        let (mut r, mut x) = (R::on(), x.clone());
        for (weight, gain, shift) in &convs {
            x = Cpu::conv(&mut r, &x, weight, &ConvSpec::same(3, 1))?;
            x = Cpu::batch_norm(&mut r, &x, Some(gain), Some(shift), Stats::Batch, true)?.0;
            x = Cpu::max_pool(&mut r, &x, &PoolSpec { kernel: 2, stride: 2, padding: 0 })?;
        }
        let x = Cpu::global_average(&mut r, &x)?;
        let (weight, bias) = (&head, &bias);
        let layer = Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true };
        let logits = r.linear(&layer, &x)?;
        let loss = r.cross_entropy(&logits, &gradient)?;
        r.backward(&loss)?;
        *clock = start.elapsed().as_secs_f64();
        Ok(())
    })
}

fn lstm(rounds: usize, [units, steps, batch]: [usize; 3]) -> f64 {
    let (x, start) = (weights(steps * batch, units), weights(batch, 2 * units));
    let (input, hidden, bias) = (weights(units, 4 * units), weights(units, 4 * units), weights(1, 4 * units));
    let cells = sequence::Lstm { input: &input, hidden: &hidden, bias: &bias };
    let gradient = numbers(steps * batch * units);
    median(rounds, |clock| {
        let begin = Instant::now();
        let mut r = R::on();
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
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("THREADS [ROUNDS], both numbers"));
    let (threads, rounds) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(7));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let results = pool.install(|| measure(rounds));
    println!("{}", serde_json::to_string(&results).expect("numbers"));
}

fn measure(rounds: usize) -> BTreeMap<String, f64> {
    let mut results = BTreeMap::new();
    let mut add = |name: &str, seconds: f64| results.insert(name.to_owned(), seconds);
    let x = || image([BATCH, CHANNELS, SIZE, SIZE]);
    let conv = |weight: &Matrix<Cpu>, spec: ConvSpec| timed(rounds, &[x()], |r, x| Cpu::conv(r, &x[0], weight, &spec));
    add("conv 3x3", conv(&weights(CHANNELS, CHANNELS * 9), ConvSpec::same(3, 1)));
    for kernel in [3, 5, 7] {
        let spec = ConvSpec::same(kernel, 1).depthwise(CHANNELS);
        add(&format!("depthwise {kernel}x{kernel}"), conv(&weights(CHANNELS, kernel * kernel), spec));
    }
    let nine = weights(CHANNELS, 9);
    add("depthwise 3x3, dilation 2", conv(&nine, ConvSpec::dilated(3, 1, 2).depthwise(CHANNELS)));
    add("depthwise 3x3, stride 2", conv(&nine, ConvSpec::same(3, 2).depthwise(CHANNELS)));
    add("pointwise", conv(&weights(CHANNELS, CHANNELS), ConvSpec::same(1, 1)));
    let separable = Separable::new(CHANNELS, 3);
    add("separable 3x3 with batch norm", timed(rounds, &[x()], |r, x| separable.forward(r, &x[0])));
    let [rows, columns] = [weights(CHANNELS, CHANNELS * 7), weights(CHANNELS, CHANNELS * 7)];
    let line = |r: &mut R, x: &[Image<Cpu>]| {
        let x = Cpu::conv(r, &x[0], &rows, &ConvSpec::rectangular([1, 7], 1))?;
        Cpu::conv(r, &x, &columns, &ConvSpec::rectangular([7, 1], 1))
    };
    add("conv 1x7 + 7x1", timed(rounds, &[x()], line));
    let [gain, shift] = [weights(1, CHANNELS), weights(1, CHANNELS)];
    let norm = |relu: bool| {
        let operation =
            |r: &mut R, x: &[Image<Cpu>]| Ok(Cpu::batch_norm(r, &x[0], Some(&gain), Some(&shift), Stats::Batch, relu)?.0);
        timed(rounds, &[x()], operation)
    };
    add("batch norm", norm(false));
    add("batch norm + ReLU", norm(true));
    let pool = PoolSpec { kernel: 3, stride: 1, padding: 1 };
    add("max pool 3x3", timed(rounds, &[x()], |r, x| Cpu::max_pool(r, &x[0], &pool)));
    add("average pool 3x3", timed(rounds, &[x()], |r, x| Cpu::avg_pool(r, &x[0], &pool)));
    add("ReLU", timed(rounds, &[x()], |r, x| Cpu::relu(r, &x[0])));
    add("add", timed(rounds, &[x(), x()], |r, x| Cpu::add(r, &[&x[0], &x[1]])));
    add("concat of 2", timed(rounds, &[x(), x()], |r, x| Cpu::concat(r, &[&x[0], &x[1]])));
    add("global average", global_average(rounds));
    let (cell, narrow) = (Cell::new(32), image([BATCH, 32, SIZE, SIZE]));
    add("NASNet-like cell, 32 channels", timed(rounds, &[narrow.clone(), narrow], |r, x| cell.forward(r, x)));
    add("small CNN, 28x28, batch 64", small(rounds));
    for sizes in [[96, 40, 100], [96, 20, 32]] {
        let [units, steps, batch] = sizes;
        add(&format!("LSTM({units}), {steps} steps, batch {batch}"), lstm(rounds, sizes));
    }
    results
}

fn global_average(rounds: usize) -> f64 {
    let x = image([BATCH, CHANNELS, SIZE, SIZE]);
    median(rounds, |clock| {
        let x = x.clone().tracked();
        let start = Instant::now();
        let mut r = R::on();
        let means = Cpu::global_average(&mut r, &x)?;
        let loss = r.apply(&means, |means| sequence::with_gradient(means, 0.0, numbers(BATCH * CHANNELS)))?;
        r.backward(&loss)?;
        *clock = start.elapsed().as_secs_f64();
        Ok(())
    })
}
