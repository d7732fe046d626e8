//! Every operation on images against finite differences, and the kernels of the processor against the compositions.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tensor::{Cpu, Matrix, Scalar, matrix, values};

type Recording = Recorder<Cpu>;
type Made = Result<Image<Cpu>, TensorError>;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}

fn image(shape: [usize; 4], seed: u64) -> Image<Cpu> {
    Image::new(&Cpu::default(), shape, numbers(shape.iter().product(), seed)).unwrap().tracked()
}

fn weights(rows: usize, columns: usize, seed: u64) -> Matrix<Cpu> {
    matrix(&Cpu::default(), rows, columns, numbers(rows * columns, seed)).unwrap()
}

/// A loss that weighs every number of a matrix differently.
fn weighed(r: &mut Recording, x: &Matrix<Cpu>) -> Scalar<Cpu> {
    use dfdx::shapes::HasShape;
    let (rows, columns) = *x.shape();
    r.apply(x, |x| Cpu::squared_error(x, &weights(rows, columns, 90), &weights(rows, columns, 91))).unwrap()
}

/// What an operation makes of images and weights.
trait Operation: Fn(&mut Recording, &[Image<Cpu>], &[Matrix<Cpu>]) -> Made {}
impl<F: Fn(&mut Recording, &[Image<Cpu>], &[Matrix<Cpu>]) -> Made> Operation for F {}

struct Case {
    images: Vec<Image<Cpu>>,
    weights: Vec<Matrix<Cpu>>,
}

impl Case {
    fn new<const I: usize, const W: usize>(images: [[usize; 4]; I], shapes: [[usize; 2]; W]) -> Self {
        let images = images.into_iter().zip(1..).map(|(shape, seed)| image(shape, seed)).collect();
        let weights = shapes.into_iter().zip(10..).map(|([rows, columns], seed)| weights(rows, columns, seed)).collect();
        Self { images, weights }
    }

    /// The loss of a result, and the gradients with respect to all operands.
    fn run(&self, operation: &impl Operation, composed: bool) -> (f32, Vec<Vec<f32>>, Image<Cpu>) {
        let mut r = Recorder::on();
        let images: Vec<_> = self.images.iter().map(|image| image.clone().tracked()).collect();
        let out = operation(&mut r, &images, &self.weights).unwrap();
        let flat = if composed { compose::flatten(&mut r, &out) } else { Cpu::flatten(&mut r, &out) };
        let loss = weighed(&mut r, &flat.unwrap());
        let mut gradients = r.backward(&loss).unwrap();
        let mut all: Vec<_> = (images.iter())
            .map(|image| match composed {
                true => compose::image_gradient(&mut gradients, image).unwrap(),
                false => Cpu::image_gradient(&mut gradients, image).unwrap(),
            })
            .collect();
        all.extend(self.weights.iter().map(|weight| gradients.get_or_alloc_mut(weight).unwrap().to_vec()));
        (values(&loss)[0], all, out)
    }

    fn loss(&self, operation: &impl Operation) -> f64 {
        let mut r = Recorder::off();
        let out = operation(&mut r, &self.images, &self.weights).unwrap();
        let flat = Cpu::flatten(&mut r, &out).unwrap();
        f64::from(values(&weighed(&mut r, &flat))[0])
    }

    /// The gradient is the slope of the loss, and the composition says the same as the kernel.
    fn check(self, kernel: impl Operation, composition: impl Operation) {
        let (loss, gradients, out) = self.run(&kernel, false);
        let (other, others, other_out) = self.run(&composition, true);
        assert_eq!(out.shape(), other_out.shape());
        close(&out.values(), &other_out.values());
        close(&[loss], &[other]);
        gradients.iter().zip(&others).for_each(|(kernel, composition)| close(kernel, composition));
        let (step, of_images) = (4e-3, self.images.len());
        let mut moved = self;
        for (operand, gradient) in gradients.iter().enumerate() {
            for (place, &gradient) in gradient.iter().enumerate().step_by(1 + gradient.len() / 60) {
                let mut at = |by: f32| {
                    moved.nudge(operand, of_images, place, by);
                    let loss = moved.loss(&kernel);
                    moved.nudge(operand, of_images, place, -by);
                    loss
                };
                let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let wrong = (slope - f64::from(gradient)).abs();
                assert!(wrong < 3e-2 * slope.abs().max(0.3), "operand {operand}, {place}: {gradient}, {slope}");
            }
        }
    }

    fn nudge(&mut self, operand: usize, of_images: usize, place: usize, by: f32) {
        let mut numbers = match operand.checked_sub(of_images) {
            None => self.images[operand].values(),
            Some(weight) => values(&self.weights[weight]),
        };
        numbers[place] += by;
        match operand.checked_sub(of_images) {
            None => self.images[operand].tensor.copy_from(&numbers),
            Some(weight) => self.weights[weight].copy_from(&numbers),
        }
    }
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 2e-4 * a.abs().max(1.0), "{a} {b}");
    }
}

/// Kernels of all kinds: square, rectangular, strided, dilated, grouped, depthwise, pointwise.
fn convolutions() -> Vec<([usize; 4], usize, ConvSpec)> {
    let plain = ConvSpec { kernel: [1, 1], stride: 1, padding: [0, 0], dilation: 1, groups: 1 };
    vec![
        ([2, 3, 5, 6], 4, ConvSpec::same(3, 1)),
        ([2, 3, 5, 6], 4, ConvSpec::same(3, 2)),
        ([1, 2, 7, 7], 2, ConvSpec::dilated(3, 1, 2)),
        ([1, 2, 8, 7], 2, ConvSpec::dilated(3, 2, 2)),
        ([2, 3, 4, 5], 5, plain),
        ([2, 3, 5, 4], 5, ConvSpec { stride: 2, ..plain }),
        ([1, 2, 4, 9], 3, ConvSpec::rectangular([1, 7], 1)),
        ([1, 2, 9, 4], 3, ConvSpec::rectangular([7, 1], 2)),
        ([2, 4, 5, 5], 6, ConvSpec { groups: 2, ..ConvSpec::same(3, 1) }),
        ([2, 4, 6, 5], 4, ConvSpec::same(3, 1).depthwise(4)),
        ([2, 3, 6, 7], 3, ConvSpec::same(5, 2).depthwise(3)),
        ([1, 2, 9, 9], 2, ConvSpec::dilated(5, 1, 2).depthwise(2)),
        ([1, 3, 4, 4], 6, ConvSpec::same(3, 1).depthwise(3)),
        ([1, 2, 4, 5], 2, ConvSpec { kernel: [2, 3], padding: [0, 2], ..plain }),
        ([1, 2, 3, 3], 2, ConvSpec::same(7, 1)),
    ]
}

#[test]
fn convolutions_have_the_gradient_of_their_slope() {
    for (shape, outputs, spec) in convolutions() {
        let places = shape[1] / spec.groups * spec.kernel[0] * spec.kernel[1];
        Case::new([shape], [[outputs, places]]).check(
            |r, images, weights| Cpu::conv(r, &images[0], &weights[0], &spec),
            |r, images, weights| compose::conv(r, &images[0], &weights[0], &spec),
        );
    }
}

#[test]
fn a_convolution_of_what_is_positive_is_a_relu_before_it() {
    for (shape, outputs, spec) in convolutions() {
        let places = shape[1] / spec.groups * spec.kernel[0] * spec.kernel[1];
        let case = || Case::new([shape], [[outputs, places]]);
        let twice = |r: &mut Recording, images: &[Image<Cpu>], weights: &[Matrix<Cpu>]| {
            let sum = Cpu::relu_conv(r, &images[0], &weights[0], &spec)?;
            let other = Cpu::relu_conv(r, &images[0], &weights[0], &spec)?;
            Cpu::add(r, &[&sum, &other])
        };
        let composed = |r: &mut Recording, images: &[Image<Cpu>], weights: &[Matrix<Cpu>]| {
            let x = compose::relu(r, &images[0])?;
            let sum = compose::conv(r, &x, &weights[0], &spec)?;
            compose::add(r, &[&sum, &sum])
        };
        let ((_, kernel, out), (_, composition, other)) = (case().run(&twice, false), case().run(&composed, true));
        close(&out.values(), &other.values());
        kernel.iter().zip(&composition).for_each(|(a, b)| close(a, b));
    }
}

#[test]
fn pools_have_the_gradient_of_their_slope() {
    let specs = [(3, 1, 1), (3, 2, 1), (2, 2, 0), (1, 2, 0), (3, 1, 0), (5, 3, 2)];
    for (kernel, stride, padding) in specs {
        let spec = PoolSpec { kernel, stride, padding };
        for shape in [[2, 2, 5, 6], [1, 3, 7, 5]] {
            Case::new([shape], []).check(
                |r, images, _| Cpu::avg_pool(r, &images[0], &spec),
                |r, images, _| compose::avg_pool(r, &images[0], &spec),
            );
            // Numbers far enough apart that a step of finite differences changes no maximum.
            let mut case = Case::new([shape], []);
            let places: usize = shape.iter().product();
            let apart: Vec<f32> = (0..places).map(|place| (place * 37 % places) as f32 * 0.02 - 0.5).collect();
            case.images[0].tensor.copy_from(&apart);
            case.check(
                |r, images, _| Cpu::max_pool(r, &images[0], &spec),
                |r, images, _| compose::max_pool(r, &images[0], &spec),
            );
        }
    }
}

#[test]
fn the_first_of_equal_maxima_gets_the_gradient() {
    let mut r = Recorder::on();
    let x = Image::new(&Cpu::default(), [1, 1, 2, 2], vec![1.0; 4]).unwrap().tracked();
    let out = Cpu::max_pool(&mut r, &x, &PoolSpec { kernel: 2, stride: 2, padding: 0 }).unwrap();
    let flat = Cpu::flatten(&mut r, &out).unwrap();
    let loss = weighed(&mut r, &flat);
    let mut gradients = r.backward(&loss).unwrap();
    let gradient = Cpu::image_gradient(&mut gradients, &x).unwrap();
    assert!(gradient[0] != 0.0 && gradient[1..] == [0.0; 3], "{gradient:?}");
}

#[test]
fn the_gradient_of_a_global_average_is_its_slope() {
    let as_image = |r: &mut Recording, x: &Image<Cpu>, composed: bool| {
        let [batch, channels, ..] = x.shape();
        let means = if composed { compose::global_average(r, x) } else { Cpu::global_average(r, x) }.unwrap();
        let flat = weighed(r, &means);
        assert_eq!(values(&means).len(), batch * channels);
        flat
    };
    let x = image([2, 3, 4, 5], 1);
    let gradient = |composed: bool| {
        let (mut r, x) = (Recorder::on(), x.clone().tracked());
        let loss = as_image(&mut r, &x, composed);
        let mut gradients = r.backward(&loss).unwrap();
        let gradient = match composed {
            true => compose::image_gradient(&mut gradients, &x),
            false => Cpu::image_gradient(&mut gradients, &x),
        };
        (values(&loss)[0], gradient.unwrap())
    };
    let ((loss, kernel), (other, composition)) = (gradient(false), gradient(true));
    close(&[loss], &[other]);
    close(&kernel, &composition);
    for place in [0, 17, 119] {
        let at = |by: f32| {
            let mut numbers = x.values();
            numbers[place] += by;
            let moved = Image::new(&Cpu::default(), x.shape(), numbers).unwrap();
            f64::from(values(&as_image(&mut Recorder::off(), &moved, false))[0])
        };
        let slope = (at(2e-2) - at(-2e-2)) / 4e-2;
        assert!((slope - f64::from(kernel[place])).abs() < 2e-3, "{slope} {}", kernel[place]);
    }
}

#[test]
fn batch_norms_have_the_gradient_of_their_slope() {
    let (mean, variance) = ([0.1, -0.3, 0.2], [0.5, 1.5, 0.01]);
    for stats in [Stats::Batch, Stats::Running { mean: &mean, variance: &variance }] {
        for learnt in [true, false] {
            let case = || Case::new([[3, 3, 3, 4]], [[1, 3], [1, 3]]);
            let part = |weights: &[Matrix<Cpu>], index: usize| learnt.then(|| weights[index].clone());
            let norm = |r: &mut Recording, images: &[Image<Cpu>], weights: &[Matrix<Cpu>], relu| {
                let [gain, shift] = [0, 1].map(|index| part(weights, index));
                Cpu::batch_norm(r, &images[0], gain.as_ref(), shift.as_ref(), stats, relu).map(|(out, _)| out)
            };
            let composed = |r: &mut Recording, images: &[Image<Cpu>], weights: &[Matrix<Cpu>], relu| {
                let [gain, shift] = [0, 1].map(|index| part(weights, index));
                compose::batch_norm(r, &images[0], [gain.as_ref(), shift.as_ref()], stats, relu).map(|(out, _)| out)
            };
            case().check(|r, i, w| norm(r, i, w, false), |r, i, w| composed(r, i, w, false));
            let (_, kernel, _) = case().run(&|r: &mut Recording, i: &[_], w: &[_]| norm(r, i, w, true), false);
            let (_, composition, _) = case().run(&|r: &mut Recording, i: &[_], w: &[_]| composed(r, i, w, true), true);
            kernel.iter().zip(&composition).for_each(|(a, b)| close(a, b));
        }
    }
}

#[test]
fn statistics_of_a_batch_are_its_moments() {
    let x = Image::new(&Cpu::default(), [2, 2, 1, 2], vec![1.0, 2.0, 5.0, 5.0, 3.0, 6.0, 5.0, 9.0]).unwrap();
    let (out, stats) = Cpu::batch_norm(&mut Recorder::off(), &x, None, None, Stats::Batch, false).unwrap();
    let stats = stats.unwrap();
    close(&values(&stats.moments), &[3.0, 6.0, 14.0 / 3.0, 4.0]);
    close(&out.values()[..2], &[-2.0 / 3.5_f32.sqrt(), -1.0 / 3.5_f32.sqrt()]);
    let composed = compose::batch_norm(&mut Recorder::off(), &x, [None, None], Stats::Batch, false).unwrap().1.unwrap();
    close(&values(&composed.moments), &values(&stats.moments));
    let wrong = Stats::Running { mean: &[0.0], variance: &[1.0] };
    assert!(Cpu::batch_norm(&mut Recorder::off(), &x, None, None, wrong, false).is_err());
}

#[test]
fn what_joins_images_has_the_gradient_of_its_slope() {
    let shape = [2, 2, 3, 4];
    Case::new([shape, shape], [])
        .check(|r, i, _| Cpu::add(r, &[&i[0], &i[1], &i[0]]), |r, i, _| compose::add(r, &[&i[0], &i[1], &i[0]]));
    Case::new([shape, [2, 3, 3, 4]], [])
        .check(|r, i, _| Cpu::concat(r, &[&i[0], &i[1], &i[0]]), |r, i, _| compose::concat(r, &[&i[0], &i[1], &i[0]]));
    Case::new([shape], [])
        .check(|r, i, _| Cpu::scale_rows(r, &i[0], &[0.0, 1.25]), |r, i, _| compose::scale_rows(r, &i[0], &[0.0, 1.25]));
    for (from, size) in [([1, 1], [2, 3]), ([1, 1], [3, 4]), ([-1, -2], [5, 7]), ([0, 1], [1, 1]), ([9, 0], [2, 2])] {
        Case::new([shape], [])
            .check(|r, i, _| Cpu::window(r, &i[0], from, size), |r, i, _| compose::window(r, &i[0], from, size));
    }
    let (_, kernel, _) = Case::new([shape], []).run(&|r: &mut Recording, i: &[Image<Cpu>], _: &[_]| Cpu::relu(r, &i[0]), false);
    let composed = |r: &mut Recording, i: &[Image<Cpu>], _: &[_]| compose::relu(r, &i[0]);
    let (_, composition, _) = Case::new([shape], []).run(&composed, true);
    close(&kernel[0], &composition[0]);
}

/// A small cell: separable convolutions, a pool and an identity, summed and put together, one image used three times.
fn cell(r: &mut Recording, images: &[Image<Cpu>], weights: &[Matrix<Cpu>]) -> Made {
    let x = &images[0];
    let separable = Cpu::conv(r, x, &weights[0], &ConvSpec::same(3, 1).depthwise(3))?;
    let separable = Cpu::conv(r, &separable, &weights[1], &ConvSpec::same(1, 1))?;
    let (separable, _) = Cpu::batch_norm(r, &separable, Some(&weights[2]), Some(&weights[3]), Stats::Batch, false)?;
    let pool = Cpu::avg_pool(r, x, &PoolSpec { kernel: 3, stride: 1, padding: 1 })?;
    let sum = Cpu::add(r, &[&separable, &pool])?;
    let other = Cpu::conv(r, &sum, &weights[1], &ConvSpec::same(1, 1))?;
    Cpu::concat(r, &[&sum, &other, x])
}

#[test]
fn gradients_meet_where_a_network_branches() {
    let case = || Case::new([[2, 3, 4, 4]], [[3, 9], [3, 3], [1, 3], [1, 3]]);
    let (_, gradients, _) = case().run(&cell, false);
    let mut moved = case();
    for (operand, gradient) in gradients.iter().enumerate() {
        for (place, &gradient) in gradient.iter().enumerate().step_by(5) {
            let mut at = |by: f32| {
                moved.nudge(operand, 1, place, by);
                let loss = moved.loss(&cell);
                moved.nudge(operand, 1, place, -by);
                loss
            };
            let slope = (at(4e-3) - at(-4e-3)) / 8e-3;
            assert!((slope - f64::from(gradient)).abs() < 3e-2 * slope.abs().max(0.5), "{operand} {place}: {gradient} {slope}");
        }
    }
}

#[test]
fn results_are_the_same_for_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (loss, gradients, out) = Case::new([[19, 3, 9, 9]], [[3, 9], [3, 3], [1, 3], [1, 3]]).run(&cell, false);
            (loss, gradients, out.values())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn data_gets_no_gradient_and_evaluation_records_nothing() {
    let mut r = Recorder::on();
    let x = Image::new(&Cpu::default(), [1, 2, 3, 3], numbers(18, 1)).unwrap();
    let pooled = Cpu::avg_pool(&mut r, &x, &PoolSpec { kernel: 3, stride: 1, padding: 1 }).unwrap();
    assert!(pooled.slot.is_none());
    let out = Cpu::conv(&mut r, &pooled, &weights(2, 2, 1), &ConvSpec::same(1, 1)).unwrap();
    assert!(out.slot.is_some());
    let out = Cpu::conv(&mut Recorder::off(), &out, &weights(2, 2, 1), &ConvSpec::same(1, 1)).unwrap();
    assert!(out.slot.is_none());
    assert!(Recorder::off().backward(&matrix_loss()).is_err());
}

fn matrix_loss() -> Scalar<Cpu> {
    weighed(&mut Recorder::off(), &weights(1, 1, 1))
}

#[test]
fn embeddings_look_rows_up_and_losses_add() {
    let table = weights(4, 3, 1);
    for composed in [false, true] {
        let mut r = Recorder::on();
        let rows = [2, 0, 2];
        let out = if composed { compose::embedding(&mut r, &table, &rows) } else { Cpu::embedding(&mut r, &table, &rows) };
        let out = out.unwrap();
        assert_eq!(values(&out)[..3], values(&table)[6..9]);
        let loss = weighed(&mut r, &out);
        let twice = r.weighted_sum(&[(1.0, &loss), (0.5, &loss)]).unwrap();
        close(&values(&twice), &[1.5 * values(&loss)[0]]);
        let mut gradients = r.backward(&twice).unwrap();
        let gradient = gradients.get_or_alloc_mut(&table).unwrap().to_vec();
        assert!(gradient[6] != 0.0 && gradient[3..6] == [0.0; 3]);
        let (targets, shares) = (values(&weights(3, 3, 90)), values(&weights(3, 3, 91)));
        let slope = |row: usize| 2.0 * shares[row * 3] * (values(&table)[6] - targets[row * 3]);
        close(&gradient[6..7], &[1.5 * (slope(0) + slope(2))]);
        assert!(Cpu::embedding(&mut r_off(), &table, &[4]).is_err() && compose::embedding(&mut r_off(), &table, &[4]).is_err());
    }
}

fn r_off() -> Recording {
    Recorder::off()
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (x, r) = (image([1, 2, 4, 4], 1), &mut Recorder::off());
    let conv = |r: &mut Recording, rows, columns, spec| Cpu::conv(r, &x, &weights(rows, columns, 1), &spec);
    for spec in [
        ConvSpec { stride: 0, ..ConvSpec::same(3, 1) },
        ConvSpec { dilation: 0, ..ConvSpec::same(3, 1) },
        ConvSpec { groups: 0, ..ConvSpec::same(3, 1) },
        ConvSpec { groups: 3, ..ConvSpec::same(3, 1) },
        ConvSpec { kernel: [9, 9], padding: [0, 0], ..ConvSpec::same(3, 1) },
        ConvSpec { padding: [usize::MAX; 2], ..ConvSpec::same(3, 1) },
        ConvSpec { dilation: usize::MAX, ..ConvSpec::same(3, 1) },
    ] {
        let places = spec.kernel[0] * spec.kernel[1] * 2;
        let refused = conv(r, 3, places, spec).unwrap_err().to_string();
        assert!(refused.contains("ConvSpec") && refused.contains("[1, 2, 4, 4]"), "{refused}");
    }
    assert!(conv(r, 3, 17, ConvSpec::same(3, 1)).is_err());
    for (kernel, stride, padding) in [(0, 1, 0), (3, 0, 1), (2, 1, 2), (7, 1, 1)] {
        assert!(Cpu::max_pool(r, &x, &PoolSpec { kernel, stride, padding }).is_err());
    }
    let other = image([1, 2, 4, 5], 1);
    assert!(Cpu::add(r, &[&x, &other]).is_err() && Cpu::add(r, &[]).is_err());
    assert!(Cpu::concat(r, &[&x, &other]).is_err() && Cpu::concat(r, &[]).is_err());
    assert!(Cpu::window(r, &x, [0, 0], [0, 2]).is_err());
    assert!(Cpu::scale_rows(r, &x, &[1.0, 2.0]).is_err());
    assert!(Image::new(&Cpu::default(), [1, 2, 2, 2], vec![0.0; 7]).is_err());
    assert!(Image::new(&Cpu::default(), [0, 2, 2, 2], vec![]).is_err());
}

#[test]
fn the_gradient_of_a_weighed_image_is_its_factors() {
    let factors = numbers(12, 5);
    for composed in [false, true] {
        let (mut r, x) = (Recorder::on(), image([1, 2, 2, 3], 1));
        let of = |factors: Vec<f32>, r: &mut Recording| match composed {
            true => compose::weigh(r, &x, factors),
            false => Cpu::weigh(r, &x, factors),
        };
        assert!(of(vec![1.0; 11], &mut r).is_err());
        let loss = of(factors.clone(), &mut r).unwrap();
        let loss = r.weighted_sum(&[(2.0, &loss)]).unwrap();
        close(&values(&loss), &[2.0 * x.values().iter().zip(&factors).map(|(x, factor)| x * factor).sum::<f32>()]);
        let mut gradients = r.backward(&loss).unwrap();
        let gradient = match composed {
            true => compose::image_gradient(&mut gradients, &x),
            false => Cpu::image_gradient(&mut gradients, &x),
        };
        close(&gradient.unwrap(), &factors.iter().map(|factor| 2.0 * factor).collect::<Vec<_>>());
    }
}
