//! The operations on fixed numbers beside PyTorch: `benches/peers/oracle.py` prints the table, and says what it holds.

use super::*;
use crate::tensor::sequence::gradient;
use crate::tensor::{Cpu, Matrix, matrix};

/// Some numbers of the result, then some of the gradient of each operand, images before weights.
#[rustfmt::skip]
#[expect(clippy::approx_constant, reason = "a chance likeness")]
const TABLE: &[(&str, &[[f32; 5]])] = &[
    ("conv 3x3", &[[-1.5444, -1.914, 1.2076, -0.3156, 2.288], [0.0672001, -4.6964, 0.0692, 1.2072, 0.93], [-4.198, -5.3196, 2.816, -0.319999, -3.2944]]),
    ("conv 3x3, stride 2", &[[-1.5444, 1.0472, -2.652, -2.5848, -2.0312], [-0.1684, -0.3516, -0.2476, -0.9624, 0.0148], [-0.7508, 0.122, 0.0436001, -2.9032, 0.1696]]),
    ("conv 1x7", &[[-0.1812, -1.5244, 0.5688, 2.9016, -2.2688], [0.0551999, -0.6456, -0.3648, 1.3096, 0.7776], [0.0416002, -13.82, -13.9168, -12.3572, -8.2524]]),
    ("conv 3x3, dilation 2, groups 2", &[[-0.1792, -0.4232, 0.0832, 1.6036, 0.3376], [2.3376, -0.236, 0.474, -1.5164, 2.0636], [11.3244, -5.6852, -6.614, -5.8836, -4.2772]]),
    ("depthwise 5x5", &[[-1.748, -4.3248, 1.2728, -0.9676, 1.184], [1.5744, 0.5296, 0.4292, -2.456, 1.4852], [-5.2168, -12.5912, -17.9348, -10.8644, 18.768]]),
    ("depthwise 3x3, stride 2, dilation 2", &[[-0.6636, -1.2596, 0.8072, -3.0468, -0.3816], [0.2624, 0.0, 0.0, 0.0, 0.0], [2.0708, -0.3596, 0.4648, -0.6296, -2.0692]]),
    ("max pool 3x3, stride 2", &[[0.36, 1.0, 0.96, 0.92, 0.74], [0.0, 0.0, 0.0, 1.48, 0.0]]),
    ("average pool 3x3", &[[-0.21, -0.0133333, 0.25, 0.0822222, 0.065], [0.130556, -0.04, -0.00888889, -0.168889, -0.0111111]]),
    ("global average", &[[-0.0385714, 0.02, 0.0304762, -0.00714286, -0.0342857], [0.0128571, -0.017619, 0.0, -0.0128571, 0.0047619]]),
    ("batch norm, training", &[[0.423182, 0.0, 0.530046, 0.306844, 0.0], [-0.0230125, 0.0188707, -0.0509918, -0.185264, 0.045259], [-17.0966, -17.0966, -17.1665, 2.27367, -15.5497], [15.42, 15.42, 2.34, 1.3, 12.84]]),
    ("batch norm, evaluation", &[[0.152798, 0.0, 0.552734, 0.0855979, 0.0], [-0.302399, 0.0, -0.0763668, -0.369598, -0.0], [-9.95275, -9.95275, -13.6255, 0.0, -17.5428], [12.6, 12.6, 2.34, 0.0, 12.84]]),
];

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
}

fn some(numbers: &[f32]) -> [f32; 5] {
    std::array::from_fn(|index| numbers[index * (numbers.len() - 1) / 4])
}

/// Compares a row of the table.
fn check(
    name: &str,
    shape: [usize; 4],
    weights: &[[usize; 3]],
    operation: impl Fn(&mut Recorder<Cpu>, &Image<Cpu>, &[Matrix<Cpu>]) -> Result<Image<Cpu>, TensorError>,
) {
    let (_, expected) = TABLE.iter().find(|(other, _)| *other == name).unwrap();
    let device = Cpu::default();
    let x = Image::new(&device, shape, numbers(shape.iter().product(), 1)).unwrap().tracked();
    let weights: Vec<_> = (weights.iter())
        .map(|&[rows, columns, seed]| matrix(&device, rows, columns, numbers(rows * columns, seed)).unwrap())
        .collect();
    let mut r = Recorder::on();
    let out = operation(&mut r, &x, &weights).unwrap();
    let loss = Cpu::weigh(&mut r, &out, numbers(out.shape().iter().product(), 7)).unwrap();
    let mut gradients = r.backward(&loss).unwrap();
    let mut found = vec![some(&out.values()), some(&Cpu::image_gradient(&mut gradients, &x).unwrap())];
    found.extend(weights.iter().map(|weight| some(&gradient(&mut gradients, weight).unwrap())));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(*expected) {
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-4 * b.abs().max(1.0));
        assert!(close, "{name}: {found:?}, PyTorch {expected:?}");
    }
}

#[test]
fn convolutions_are_those_of_pytorch() {
    let plain = ConvSpec::same(3, 1);
    let conv = |name: &str, shape, [outputs, places]: [usize; 2], spec: ConvSpec| {
        check(name, shape, &[[outputs, places, 2]], |r, x, weights| Cpu::conv(r, x, &weights[0], &spec));
    };
    conv("conv 3x3", [2, 3, 7, 6], [4, 27], plain);
    conv("conv 3x3, stride 2", [2, 3, 7, 6], [4, 27], ConvSpec::same(3, 2));
    conv("conv 1x7", [2, 3, 7, 9], [4, 21], ConvSpec::rectangular([1, 7], 1));
    conv("conv 3x3, dilation 2, groups 2", [2, 4, 9, 8], [6, 18], ConvSpec { groups: 2, ..ConvSpec::dilated(3, 1, 2) });
    conv("depthwise 5x5", [2, 3, 9, 8], [3, 25], ConvSpec::same(5, 1).depthwise(3));
    conv("depthwise 3x3, stride 2, dilation 2", [2, 3, 9, 8], [3, 9], ConvSpec::dilated(3, 2, 2).depthwise(3));
}

#[test]
fn pools_are_those_of_pytorch() {
    let shape = [2, 3, 7, 6];
    check("max pool 3x3, stride 2", shape, &[], |r, x, _| Cpu::max_pool(r, x, &PoolSpec { kernel: 3, stride: 2, padding: 1 }));
    check("average pool 3x3", shape, &[], |r, x, _| Cpu::avg_pool(r, x, &PoolSpec { kernel: 3, stride: 1, padding: 1 }));
    check("global average", shape, &[], |r, x, _| {
        let means = Cpu::global_average(r, x)?;
        Cpu::unflatten(r, &means, [2, 3, 1, 1])
    });
}

#[test]
fn batch_norms_are_those_of_pytorch() {
    let (shape, affine) = ([3, 4, 5, 5], [[1, 4, 2], [1, 4, 3]]);
    let found = std::cell::RefCell::new(None);
    check("batch norm, training", shape, &affine, |r, x, weights| {
        let (out, stats) = Cpu::batch_norm(r, x, Some(&weights[0]), Some(&weights[1]), Stats::Batch, true)?;
        *found.borrow_mut() = stats;
        Ok(out)
    });
    let found = crate::tensor::values(&found.into_inner().unwrap().moments);
    let close = |a: &[f32], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&found[..4], [0.007_2, -0.022_933_34, 0.000_800_005, 0.024_533_33]), "{found:?}");
    assert!(close(&found[4..], [0.338_147_46, 0.347_304_82, 0.342_296_66, 0.346_081_85]), "{found:?}");
    let stats = Stats::Running { mean: &[0.1, -0.2, 0.3, 0.0], variance: &[1.0, 0.5, 2.0, 0.25] };
    check("batch norm, evaluation", shape, &affine, |r, x, weights| {
        Ok(Cpu::batch_norm(r, x, Some(&weights[0]), Some(&weights[1]), stats, true)?.0)
    });
}
