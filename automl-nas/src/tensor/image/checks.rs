//! One list of checks for every device: the same operations on the same numbers, and what they must agree on.
//!
//! The processor's kernels are held against the compositions here, and a card's kernels and its compositions against the processor's;
//! where there is no card, that test says so and passes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tensor::{Cpu, Gradients, Matrix, Scalar, gradient, matrix, values};

type Made<D> = Result<Image<D>, TensorError>;

/// A check's name, and the numbers that it gave.
type Finding = (String, Vec<Vec<f32>>);

/// The operations on images, by a device's own kernels or as compositions.
trait Operations<D: ImageDevice> {
    fn conv(r: &mut Recorder<D>, x: &Image<D>, weight: &Matrix<D>, spec: &ConvSpec, relu: bool) -> Made<D>;
    fn max_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D>;
    fn avg_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D>;
    fn global_average(r: &mut Recorder<D>, x: &Image<D>) -> Result<Matrix<D>, TensorError>;
    fn batch_norm(
        r: &mut Recorder<D>,
        x: &Image<D>,
        affine: [Option<&Matrix<D>>; 2],
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<D>, Option<BatchStats<D>>), TensorError>;
    fn relu(r: &mut Recorder<D>, x: &Image<D>) -> Made<D>;
    fn add(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D>;
    fn concat(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D>;
    fn scale_rows(r: &mut Recorder<D>, x: &Image<D>, factors: &[f32]) -> Made<D>;
    fn window(r: &mut Recorder<D>, x: &Image<D>, from: [isize; 2], size: [usize; 2]) -> Made<D>;
    fn unflatten(r: &mut Recorder<D>, x: &Matrix<D>, shape: [usize; 4]) -> Made<D>;
    fn weigh(r: &mut Recorder<D>, x: &Image<D>, factors: Vec<f32>) -> Result<Scalar<D>, TensorError>;
    fn slope(gradients: &mut Gradients<f32, D>, of: &Image<D>) -> Result<Vec<f32>, TensorError>;
}

struct Own;
struct Composed;

impl<D: ImageDevice> Operations<D> for Own {
    fn conv(r: &mut Recorder<D>, x: &Image<D>, weight: &Matrix<D>, spec: &ConvSpec, relu: bool) -> Made<D> {
        if relu { D::relu_conv(r, x, weight, spec) } else { D::conv(r, x, weight, spec) }
    }
    fn max_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D> {
        D::max_pool(r, x, spec)
    }
    fn avg_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D> {
        D::avg_pool(r, x, spec)
    }
    fn global_average(r: &mut Recorder<D>, x: &Image<D>) -> Result<Matrix<D>, TensorError> {
        D::global_average(r, x)
    }
    fn batch_norm(
        r: &mut Recorder<D>,
        x: &Image<D>,
        [gain, shift]: [Option<&Matrix<D>>; 2],
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<D>, Option<BatchStats<D>>), TensorError> {
        D::batch_norm(r, x, gain, shift, stats, relu)
    }
    fn relu(r: &mut Recorder<D>, x: &Image<D>) -> Made<D> {
        D::relu(r, x)
    }
    fn add(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D> {
        D::add(r, images)
    }
    fn concat(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D> {
        D::concat(r, images)
    }
    fn scale_rows(r: &mut Recorder<D>, x: &Image<D>, factors: &[f32]) -> Made<D> {
        D::scale_rows(r, x, factors)
    }
    fn window(r: &mut Recorder<D>, x: &Image<D>, from: [isize; 2], size: [usize; 2]) -> Made<D> {
        D::window(r, x, from, size)
    }
    fn unflatten(r: &mut Recorder<D>, x: &Matrix<D>, shape: [usize; 4]) -> Made<D> {
        D::unflatten(r, x, shape)
    }
    fn weigh(r: &mut Recorder<D>, x: &Image<D>, factors: Vec<f32>) -> Result<Scalar<D>, TensorError> {
        D::weigh(r, x, factors)
    }
    fn slope(gradients: &mut Gradients<f32, D>, of: &Image<D>) -> Result<Vec<f32>, TensorError> {
        D::image_gradient(gradients, of)
    }
}

impl<D: ImageDevice> Operations<D> for Composed {
    fn conv(r: &mut Recorder<D>, x: &Image<D>, weight: &Matrix<D>, spec: &ConvSpec, relu: bool) -> Made<D> {
        if !relu {
            return compose::conv(r, x, weight, spec);
        }
        let x = compose::relu(r, x)?;
        compose::conv(r, &x, weight, spec)
    }
    fn max_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D> {
        compose::max_pool(r, x, spec)
    }
    fn avg_pool(r: &mut Recorder<D>, x: &Image<D>, spec: &PoolSpec) -> Made<D> {
        compose::avg_pool(r, x, spec)
    }
    fn global_average(r: &mut Recorder<D>, x: &Image<D>) -> Result<Matrix<D>, TensorError> {
        compose::global_average(r, x)
    }
    fn batch_norm(
        r: &mut Recorder<D>,
        x: &Image<D>,
        affine: [Option<&Matrix<D>>; 2],
        stats: Stats<'_>,
        relu: bool,
    ) -> Result<(Image<D>, Option<BatchStats<D>>), TensorError> {
        compose::batch_norm(r, x, affine, stats, relu)
    }
    fn relu(r: &mut Recorder<D>, x: &Image<D>) -> Made<D> {
        compose::relu(r, x)
    }
    fn add(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D> {
        compose::add(r, images)
    }
    fn concat(r: &mut Recorder<D>, images: &[&Image<D>]) -> Made<D> {
        compose::concat(r, images)
    }
    fn scale_rows(r: &mut Recorder<D>, x: &Image<D>, factors: &[f32]) -> Made<D> {
        compose::scale_rows(r, x, factors)
    }
    fn window(r: &mut Recorder<D>, x: &Image<D>, from: [isize; 2], size: [usize; 2]) -> Made<D> {
        compose::window(r, x, from, size)
    }
    fn unflatten(r: &mut Recorder<D>, x: &Matrix<D>, shape: [usize; 4]) -> Made<D> {
        compose::unflatten(r, x, shape)
    }
    fn weigh(r: &mut Recorder<D>, x: &Image<D>, factors: Vec<f32>) -> Result<Scalar<D>, TensorError> {
        compose::weigh(r, x, factors)
    }
    fn slope(gradients: &mut Gradients<f32, D>, of: &Image<D>) -> Result<Vec<f32>, TensorError> {
        compose::image_gradient(gradients, of)
    }
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}

fn random<D: ImageDevice>(device: &D, rows: usize, columns: usize, seed: u64) -> Matrix<D> {
    matrix(device, rows, columns, numbers(rows * columns, seed)).unwrap()
}

/// The numbers of a result, and the gradients of a loss that weighs each of them differently, for all images and weights.
fn outcome<D: ImageDevice, O: Operations<D>>(
    device: &D,
    images: &[[usize; 4]],
    weights: &[[usize; 2]],
    operation: impl Fn(&mut Recorder<D>, &[Image<D>], &[Matrix<D>]) -> Made<D>,
) -> Result<Vec<Vec<f32>>, TensorError> {
    let image = |(&shape, seed): (&[usize; 4], u64)| -> Made<D> {
        Ok(Image::new(device, shape, numbers(shape.iter().product(), seed))?.tracked())
    };
    let images = images.iter().zip(1..).map(image).collect::<Result<Vec<_>, _>>()?;
    let weights: Vec<_> = weights.iter().zip(20..).map(|(&[rows, columns], seed)| random(device, rows, columns, seed)).collect();
    let mut r = Recorder::on();
    let out = operation(&mut r, &images, &weights)?;
    let loss = O::weigh(&mut r, &out, numbers(out.shape().iter().product(), 90))?;
    let mut gradients = r.backward(&loss)?;
    let mut found = vec![out.values()];
    for image in &images {
        found.push(O::slope(&mut gradients, image)?);
    }
    for weight in &weights {
        found.push(gradient(&mut gradients, weight)?);
    }
    Ok(found)
}

/// Every operation on images.
fn of_images<D: ImageDevice, O: Operations<D>>(device: &D) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut note = |name: String, outcome: Result<Vec<Vec<f32>>, TensorError>| match outcome {
        Ok(numbers) => found.push((name, numbers)),
        Err(problem) => panic!("{name}: {problem}"),
    };
    let grouped = |spec: ConvSpec, groups| ConvSpec { groups, ..spec };
    let convs = [
        ("conv 3x3", [2, 3, 7, 6], 4, ConvSpec::same(3, 1)),
        ("conv 3x3 of many", [5, 16, 20, 19], 24, ConvSpec::same(3, 1)),
        ("conv 3x3, stride 2", [2, 3, 7, 6], 4, ConvSpec::same(3, 2)),
        ("conv 1x7", [2, 3, 7, 9], 4, ConvSpec::rectangular([1, 7], 1)),
        ("conv 7x1, stride 2", [2, 3, 9, 7], 4, ConvSpec::rectangular([7, 1], 2)),
        ("conv 3x3, dilation 2, groups 2", [2, 4, 9, 8], 6, grouped(ConvSpec::dilated(3, 1, 2), 2)),
        ("pointwise", [3, 5, 6, 7], 4, ConvSpec::same(1, 1)),
        ("pointwise, stride 2", [3, 5, 6, 7], 4, ConvSpec::same(1, 2)),
        ("pointwise, groups 2", [3, 4, 6, 7], 6, grouped(ConvSpec::same(1, 1), 2)),
        ("two outputs a channel", [2, 3, 6, 7], 6, grouped(ConvSpec::same(3, 1), 3)),
        ("depthwise 3x3", [3, 5, 9, 8], 5, grouped(ConvSpec::same(3, 1), 5)),
        ("depthwise 3x3 of many", [33, 40, 16, 17], 40, grouped(ConvSpec::same(3, 1), 40)),
        ("depthwise 3x3, stride 2, dilation 2", [2, 3, 9, 8], 3, grouped(ConvSpec::dilated(3, 2, 2), 3)),
        ("depthwise 5x5", [2, 3, 9, 8], 3, grouped(ConvSpec::same(5, 1), 3)),
        ("depthwise 5x5 of large images", [2, 3, 40, 37], 3, grouped(ConvSpec::same(5, 1), 3)),
        ("depthwise 3x3 of large images, stride 2", [2, 3, 70, 41], 3, grouped(ConvSpec::same(3, 2), 3)),
        ("depthwise 7x7", [2, 3, 9, 8], 3, grouped(ConvSpec::same(7, 1), 3)),
        ("depthwise 3x1, stride 2", [2, 3, 9, 8], 3, grouped(ConvSpec::rectangular([3, 1], 2), 3)),
    ];
    for (name, shape, outputs, spec) in convs {
        for relu in [false, true] {
            let places = shape[1] / spec.groups * spec.kernel[0] * spec.kernel[1];
            let operation = |r: &mut _, x: &[Image<D>], w: &[Matrix<D>]| O::conv(r, &x[0], &w[0], &spec, relu);
            note(format!("{name}, relu {relu}"), outcome::<D, O>(device, &[shape], &[[outputs, places]], operation));
        }
    }
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 1, 2)] {
        let spec = PoolSpec { kernel, stride, padding };
        for shape in [[2, 3, 7, 6], [9, 17, 12, 13]] {
            let max = outcome::<D, O>(device, &[shape], &[], |r, x, _| O::max_pool(r, &x[0], &spec));
            note(format!("max of {shape:?}, {spec:?}"), max);
            let average = outcome::<D, O>(device, &[shape], &[], |r, x, _| O::avg_pool(r, &x[0], &spec));
            note(format!("average of {shape:?}, {spec:?}"), average);
        }
    }
    let given = [[0.1, -0.2, 0.3], [1.0, 0.5, 2.0]];
    for (shape, relu) in [([3, 3, 5, 4], false), ([3, 3, 5, 4], true), ([40, 3, 15, 14], true)] {
        for learnt in [true, false] {
            for stats in [Stats::Batch, Stats::Running { mean: &given[0], variance: &given[1] }] {
                let norm = |r: &mut _, x: &[Image<D>], w: &[Matrix<D>]| {
                    let affine = if learnt { [Some(&w[0]), Some(&w[1])] } else { [None, None] };
                    Ok(O::batch_norm(r, &x[0], affine, stats, relu)?.0)
                };
                let name = format!("norm of {shape:?}, relu {relu}, learnt {learnt}, {stats:?}");
                note(name, outcome::<D, O>(device, &[shape], &[[1, 3], [1, 3]], norm));
            }
        }
        let x = Image::new(device, shape, numbers(shape.iter().product(), 1)).unwrap();
        let seen = O::batch_norm(&mut Recorder::off(), &x, [None, None], Stats::Batch, relu).unwrap().1.unwrap();
        note(format!("statistics of {shape:?}"), Ok(vec![values(&seen.moments)]));
    }
    let shape = [3, 2, 5, 4];
    note("relu".into(), outcome::<D, O>(device, &[shape], &[], |r, x, _| O::relu(r, &x[0])));
    let sum = |r: &mut _, x: &[Image<D>], _: &[_]| O::add(r, &[&x[0], &x[1], &x[0]]);
    note("sum".into(), outcome::<D, O>(device, &[shape, shape], &[], sum));
    let one = |r: &mut _, x: &[Image<D>], _: &[_]| O::add(r, &[&x[0]]);
    note("sum of one".into(), outcome::<D, O>(device, &[shape], &[], one));
    let beside = |r: &mut _, x: &[Image<D>], _: &[_]| O::concat(r, &[&x[0], &x[1], &x[0]]);
    note("beside".into(), outcome::<D, O>(device, &[shape, [3, 3, 5, 4]], &[], beside));
    let scaled = |r: &mut _, x: &[Image<D>], _: &[_]| O::scale_rows(r, &x[0], &[0.0, 1.25, 2.0]);
    note("scaled rows".into(), outcome::<D, O>(device, &[shape], &[], scaled));
    for (from, size) in [([1, 1], [3, 3]), ([-1, -2], [8, 7]), ([0, 1], [1, 1]), ([9, 0], [2, 2])] {
        let window = |r: &mut _, x: &[Image<D>], _: &[_]| O::window(r, &x[0], from, size);
        note(format!("window from {from:?} of {size:?}"), outcome::<D, O>(device, &[shape], &[], window));
    }
    let average = |r: &mut _, x: &[Image<D>], _: &[_]| {
        let rows = O::global_average(r, &x[0])?;
        O::unflatten(r, &rows, [3, 2, 1, 1])
    };
    note("global average".into(), outcome::<D, O>(device, &[shape], &[], average));
    // A small cell, whose images are read more than once.
    let cell = |r: &mut _, x: &[Image<D>], w: &[Matrix<D>]| {
        let x = &x[0];
        let separable = O::conv(r, x, &w[0], &ConvSpec::same(3, 1).depthwise(3), true)?;
        let separable = O::conv(r, &separable, &w[1], &ConvSpec::same(1, 1), false)?;
        let (separable, _) = O::batch_norm(r, &separable, [Some(&w[2]), Some(&w[3])], Stats::Batch, true)?;
        let pool = O::avg_pool(r, x, &PoolSpec { kernel: 3, stride: 1, padding: 1 })?;
        let sum = O::add(r, &[&separable, &pool])?;
        let other = O::conv(r, &sum, &w[1], &ConvSpec::same(1, 1), true)?;
        O::concat(r, &[&sum, &other, x])
    };
    note("cell".into(), outcome::<D, O>(device, &[[4, 3, 6, 5]], &[[3, 9], [3, 3], [1, 3], [1, 3]], cell));
    found
}

/// Two lists of findings agree up to the order of sums.
fn agree(what: &str, found: &[Finding], expected: &[Finding]) {
    assert_eq!(found.len(), expected.len());
    let mut wrong = Vec::new();
    for ((name, found), (of, expected)) in found.iter().zip(expected) {
        assert_eq!((name, found.len()), (of, expected.len()));
        for (part, (found, expected)) in found.iter().zip(expected).enumerate() {
            let scale = expected.iter().fold(1.0_f32, |scale, x| scale.max(x.abs()));
            let far = found
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0_f32, |far, x| if x > far || x.is_nan() { x } else { far });
            // What is no number is as far as can be.
            if found.len() != expected.len() || far.is_nan() || far > 5e-5 * scale {
                wrong.push(format!("{name}, part {part}: {far} of {scale}, {} and {} numbers", found.len(), expected.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{what}: {} of {} differ:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}

#[test]
fn the_kernels_of_the_processor_agree_with_the_compositions() {
    let device = Cpu::default();
    agree("kernels", &of_images::<Cpu, Own>(&device), &of_images::<Cpu, Composed>(&device));
}

#[cfg(feature = "cuda")]
mod card {
    use super::*;
    use crate::tensor::{Activation, AdamW, AdamWSettings, Cuda, Linear, Optimizer, Params, Sgd, SgdSettings, soft_targets};

    /// What computes a loss.
    type Loss<'a, D> = &'a dyn Fn(&mut Recorder<D>) -> Result<Scalar<D>, TensorError>;

    /// Operations on matrices, losses and steps of the optimizers.
    fn of_matrices<D: ImageDevice>(device: &D) -> Vec<Finding> {
        let mut found = Vec::new();
        let operands = [random(device, 5, 3, 1), random(device, 3, 4, 2), random(device, 1, 4, 3), random(device, 1, 4, 4)];
        let [x, weight, bias, gain] = &operands;
        let [aims, shares] = [90, 91].map(|seed| random(device, 5, 4, seed));
        let mut note = |name: String, loss: Loss<'_, D>| {
            let mut r = Recorder::on();
            let loss = loss(&mut r).unwrap();
            let mut numbers = vec![values(&loss)];
            let mut gradients = r.backward(&loss).unwrap();
            numbers.extend(operands.iter().map(|operand| gradient(&mut gradients, operand).unwrap()));
            found.push((name, numbers));
        };
        use Activation::{Gelu, Identity, Relu, Sigmoid, Silu, Tanh};
        for activation in [Identity, Relu, Gelu, Silu, Sigmoid, Tanh] {
            for masked in [false, true] {
                note(format!("{activation:?}, masked {masked}"), &|r| {
                    let mask = masked.then(|| random(device, 5, 4, 77));
                    let layer = Linear { weight, bias, activation, mask, input_gradient: true };
                    let y = r.linear(&layer, x)?;
                    r.apply(&y, |y| D::squared_error(y, &aims, &shares))
                });
            }
        }
        let layer = || Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true };
        note("layer norm, residual".into(), &|r| {
            let y = r.linear(&layer(), x)?;
            let normal = r.apply(&y, |y| D::layer_norm(y, gain, bias))?;
            let sum = r.apply(&normal, |normal| D::residual(normal, &y))?;
            r.apply(&sum, |sum| D::squared_error(sum, &aims, &shares))
        });
        let targets = soft_targets([(2, 1.0), (0, 0.5), (3, 0.0), (1, 2.0), (3, 1.0)], 4, 0.1);
        let targets = matrix(device, 5, 4, targets).unwrap();
        note("cross-entropy, twice".into(), &|r| {
            let logits = r.linear(&layer(), x)?;
            let loss = r.cross_entropy(&logits, &targets)?;
            let scaled = r.scaled(&logits, &aims)?;
            let other = r.cross_entropy(&scaled, &targets)?;
            r.weighted_sum(&[(1.0, &loss), (0.4, &other)])
        });
        note("embedding".into(), &|r| {
            let rows = D::embedding(r, x, &[2, 0, 2, 4, 4])?;
            let y = r.linear(&layer(), &rows)?;
            r.apply(&y, |y| D::squared_error(y, &aims, &shares))
        });
        for (name, which) in [("sgd", 0), ("sgd, nesterov", 1), ("adamw", 2), ("adam", 3)] {
            let mut params = Params::new(device.clone());
            let weight = params.add([3, 4], numbers(12, 2), true).unwrap();
            let bias = params.add([1, 4], numbers(4, 3), false).unwrap();
            let settings = SgdSettings { nesterov: which == 1, weight_decay: 0.1, max_norm: 0.5, ..SgdSettings::default() };
            let adam = AdamWSettings { weight_decay: 0.1, coupled: which == 3, max_norm: 0.5, ..AdamWSettings::default() };
            let mut optimizer = match which {
                0 | 1 => Optimizer::Sgd(Sgd::new(&params, settings).unwrap()),
                _ => Optimizer::AdamW(AdamW::new(&mut params, adam).unwrap()),
            };
            for _ in 0..3 {
                let mut r = Recorder::on();
                let (weight, bias) = (params.get(weight), params.get(bias));
                let layer = Linear { weight, bias, activation: Activation::Tanh, mask: None, input_gradient: false };
                let y = r.linear(&layer, x).unwrap();
                let loss = r.apply(&y, |y| D::squared_error(y, &aims, &shares)).unwrap();
                optimizer.step(&mut params, &mut r.backward(&loss).unwrap(), 0.1).unwrap();
            }
            found.push((name.to_owned(), vec![params.export()]));
        }
        found
    }

    /// The card, or word that there is none.
    fn card() -> Option<Cuda> {
        crate::tensor::cuda::cuda().inspect_err(|problem| eprintln!("skipped: {problem}")).ok()
    }

    #[test]
    fn the_kernels_of_a_card_agree_with_those_of_the_processor() {
        let Some(cuda) = card() else { return };
        agree("kernels", &of_images::<Cuda, Own>(&cuda), &of_images::<Cpu, Own>(&Cpu::default()));
    }

    #[test]
    fn the_compositions_of_a_card_agree_with_the_kernels_of_the_processor() {
        let Some(cuda) = card() else { return };
        agree("compositions", &of_images::<Cuda, Composed>(&cuda), &of_images::<Cpu, Own>(&Cpu::default()));
    }

    #[test]
    fn matrices_losses_and_optimizers_of_a_card_agree_with_those_of_the_processor() {
        let Some(cuda) = card() else { return };
        agree("matrices", &of_matrices(&cuda), &of_matrices(&Cpu::default()));
    }

    #[test]
    fn a_card_gives_the_same_numbers_again() {
        let Some(cuda) = card() else { return };
        assert_eq!(of_images::<Cuda, Own>(&cuda), of_images::<Cuda, Own>(&cuda));
    }

    #[test]
    fn data_gets_no_gradient() {
        let Some(cuda) = card() else { return };
        let mut r = Recorder::on();
        let x = Image::new(&cuda, [1, 2, 3, 3], numbers(18, 1)).unwrap();
        let pooled = Cuda::avg_pool(&mut r, &x, &PoolSpec { kernel: 3, stride: 1, padding: 1 }).unwrap();
        assert!(pooled.slot.is_none());
        let out = Cuda::conv(&mut r, &pooled, &random(&cuda, 2, 2, 1), &ConvSpec::same(1, 1)).unwrap();
        assert!(out.slot.is_some());
    }
}
