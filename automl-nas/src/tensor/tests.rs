//! Every operation against finite differences, and the kernels of the processor against the compositions.

use dfdx::tensor::{CpuError, SplitTape};
use dfdx::tensor_ops::TryMul;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

type Taped = Matrix<Cpu, OwnedTape<f32, Cpu>>;
type Loss = Scalar<Cpu, OwnedTape<f32, Cpu>>;

fn random(rows: usize, columns: usize, seed: u64) -> Matrix<Cpu> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let numbers = (0..rows * columns).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
    matrix(&Cpu::default(), rows, columns, numbers).unwrap()
}

/// A loss that weighs every number of a matrix differently.
fn weighed(x: Taped) -> Loss {
    let (rows, columns) = *x.shape();
    Cpu::squared_error(x, &random(rows, columns, 90), &random(rows, columns, 91)).unwrap()
}

/// The gradient of `loss` with respect to each operand, and that of finite differences.
fn check(operands: &[Matrix<Cpu>], loss: impl Fn(&[Matrix<Cpu>]) -> Loss) {
    let value = |operands: &[Matrix<Cpu>]| f64::from(values(&loss(operands))[0]);
    let mut gradients = backward(loss(operands)).unwrap();
    for (index, operand) in operands.iter().enumerate() {
        let exact = gradients.get_or_alloc_mut(operand).unwrap().to_vec();
        let numbers = values(operand);
        for (place, &gradient) in exact.iter().enumerate() {
            let step = 5e-3;
            let at = |by: f32| {
                let mut moved = numbers.clone();
                moved[place] += by;
                let mut operands = operands.to_vec();
                operands[index].copy_from(&moved);
                value(&operands)
            };
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            assert!(
                (slope - f64::from(gradient)).abs() < 2e-2 * slope.abs().max(0.2),
                "operand {index}, {place}: {gradient}, {slope}"
            );
        }
    }
}

fn linear<'a>(operands: &'a [Matrix<Cpu>], activation: Activation, mask: bool) -> Linear<'a, Cpu> {
    let mask = mask.then(|| random(5, 4, 77));
    Linear { weight: &operands[1], bias: &operands[2], activation, mask, input_gradient: true }
}

const ACTIVATIONS: [Activation; 6] =
    [Activation::Identity, Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Sigmoid, Activation::Tanh];

#[test]
fn the_gradient_of_a_linear_layer_is_its_slope() {
    let operands = [random(5, 3, 1), random(3, 4, 2), random(1, 4, 3)];
    for activation in ACTIVATIONS {
        check(&operands, |operands| {
            weighed(Cpu::linear(&linear(operands, activation, true), record(operands[0].clone())).unwrap())
        });
    }
}

#[test]
fn the_gradient_of_a_layer_norm_is_its_slope() {
    let operands = [random(3, 11, 1), random(1, 11, 2), random(1, 11, 3)];
    check(&operands, |operands| weighed(Cpu::layer_norm(record(operands[0].clone()), &operands[1], &operands[2]).unwrap()));
}

fn targets() -> Matrix<Cpu> {
    let targets = soft_targets([(2, 1.0), (0, 0.5), (9, 0.0), (8, 2.0)], 10, 0.1);
    matrix(&Cpu::default(), 4, 10, targets).unwrap()
}

#[test]
fn the_gradients_of_losses_are_their_slopes() {
    check(&[random(4, 10, 1)], |operands| Cpu::cross_entropy(record(operands[0].clone()), &targets()).unwrap());
    check(&[random(4, 2, 1)], |operands| weighed(record(operands[0].clone())));
}

#[test]
fn gradients_flow_through_two_layers() {
    let operands = [random(5, 3, 1), random(3, 4, 2), random(1, 4, 3), random(4, 4, 4), random(1, 4, 5)];
    check(&operands, |operands| {
        let x = Cpu::linear(&linear(operands, Activation::Silu, false), record(operands[0].clone())).unwrap();
        let x = Cpu::layer_norm(x, &operands[4], &operands[2]).unwrap();
        let second = Linear { weight: &operands[3], bias: &operands[4], ..linear(operands, Activation::Gelu, false) };
        weighed(Cpu::linear(&second, x).unwrap())
    });
}

#[test]
fn a_residual_connection_adds_its_gradient() {
    let operands = [random(5, 4, 1), random(4, 4, 2), random(1, 4, 3), random(1, 4, 4)];
    let loss = |operands: &[Matrix<Cpu>], kernel: bool| {
        let x = record(operands[0].clone());
        let skip = shared(&x);
        let x = Cpu::layer_norm(x, &operands[3], &operands[2]).unwrap();
        let layer = Linear { mask: None, ..linear(operands, Activation::Silu, false) };
        let x = Cpu::linear(&layer, x).unwrap();
        weighed(if kernel { Cpu::residual(x, &skip).unwrap() } else { compose::residual(x, &skip).unwrap() })
    };
    check(&operands, |operands| loss(operands, true));
    agree(&operands, loss(&operands, true), Ok(loss(&operands, false)));
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
}

/// Values and gradients of two losses agree.
fn agree(operands: &[Matrix<Cpu>], kernel: Loss, composition: Result<Loss, CpuError>) {
    let composition = composition.unwrap();
    close(&values(&kernel), &values(&composition));
    let (mut kernel, mut composition) = (backward(kernel).unwrap(), backward(composition).unwrap());
    for operand in operands {
        let gradient = composition.get_or_alloc_mut(operand).unwrap().to_vec();
        close(kernel.get_or_alloc_mut(operand).unwrap(), &gradient);
    }
}

#[test]
fn kernels_agree_with_compositions() {
    let operands = [random(5, 3, 1), random(3, 4, 2), random(1, 4, 3)];
    for activation in ACTIVATIONS {
        for mask in [false, true] {
            let (layer, x) = (linear(&operands, activation, mask), || record(operands[0].clone()));
            agree(&operands, weighed(Cpu::linear(&layer, x()).unwrap()), compose::linear(&layer, x()).map(weighed));
        }
    }
    let operands = [random(7, 20, 1), random(1, 20, 2), random(1, 20, 3)];
    let [x, gain, shift] = &operands;
    let kernel = weighed(Cpu::layer_norm(record(x.clone()), gain, shift).unwrap());
    agree(&operands, kernel, compose::layer_norm(record(x.clone()), gain, shift).map(weighed));
    let operands = [random(4, 10, 5)];
    let kernel = Cpu::cross_entropy(record(operands[0].clone()), &targets()).unwrap();
    agree(&operands, kernel, compose::cross_entropy(record(operands[0].clone()), &targets()));
}

fn cells(operands: &[Matrix<Cpu>]) -> sequence::Lstm<'_> {
    sequence::Lstm { input: &operands[2], hidden: &operands[3], bias: &operands[4] }
}

/// Three steps of two sequences of four numbers, a start, and the weights of five units.
fn recurrent() -> [Matrix<Cpu>; 5] {
    [random(6, 4, 1), random(2, 10, 2), random(4, 20, 3), random(5, 20, 4), random(1, 20, 5)]
}

#[test]
fn the_gradient_of_an_lstm_is_its_slope() {
    check(&recurrent(), |operands| {
        let [x, start] = [0, 1].map(|index: usize| record(operands[index].clone()));
        weighed(sequence::lstm(&cells(operands), x, start).unwrap())
    });
}

#[test]
fn steps_of_an_lstm_are_the_lstm_and_its_numbers_are_those_of_the_equations() {
    let operands = recurrent();
    let whole = values(&sequence::lstm(&cells(&operands), operands[0].clone(), operands[1].clone()).unwrap());
    let mut state = operands[1].clone();
    for step in 0..3 {
        let x = sequence::gather(operands[0].clone(), &[2 * step, 2 * step + 1]).unwrap();
        let [x_of, w, u, b, before] = [&x, &operands[2], &operands[3], &operands[4], &state].map(values);
        state = sequence::lstm_step(&cells(&operands), &x, &state).unwrap();
        let after = values(&state);
        for row in 0..2 {
            close(&after[row * 10..row * 10 + 5], &whole[(step * 2 + row) * 5..(step * 2 + row + 1) * 5]);
            let gate = |unit: usize, of: usize| {
                let column = of * 5 + unit;
                let input: f32 = (0..4).map(|i| x_of[row * 4 + i] * w[i * 20 + column]).sum();
                let hidden: f32 = (0..5).map(|i| before[row * 10 + i] * u[i * 20 + column]).sum();
                input + hidden + b[column]
            };
            let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
            for unit in 0..5 {
                let [i, f, o] = [0, 1, 3].map(|of| logistic(gate(unit, of)));
                let cell = f * before[row * 10 + 5 + unit] + i * gate(unit, 2).tanh();
                close(&[after[row * 10 + unit], after[row * 10 + 5 + unit]], &[o * cell.tanh(), cell]);
            }
        }
    }
}

#[test]
fn an_lstm_is_that_of_pytorch() {
    // benches/peers/oracle.py: states, and gradients of inputs, input weights, hidden weights, biases.
    let expected = [
        [0.135_007, 0.059_211, 0.157_115, -0.135_233, -0.149_316],
        [0.210_563, 0.069_618, -0.110_968, 0.109_479, 0.030_895],
        [-0.025_199, 0.003_964, -0.026_273, -0.014_937, 0.050_119],
        [-0.006_068, 0.003_699, 0.000_887, -0.004_32, -0.003_155],
        [-0.020_784, -0.035_346, -0.007_013, -0.041_939, -0.015_207],
    ];
    let numbers = |count: usize, seed: usize| -> Vec<f32> {
        (0..count).map(|index| ((index * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
    };
    let of = |rows, columns, seed| matrix(&Cpu::default(), rows, columns, numbers(rows * columns, seed)).unwrap();
    let operands = [of(18, 4, 4), of(4, 20, 1), of(5, 20, 2), of(1, 20, 3)];
    let start = matrix(&Cpu::default(), 3, 10, vec![0.0; 30]).unwrap();
    let cells = sequence::Lstm { input: &operands[1], hidden: &operands[2], bias: &operands[3] };
    let out = sequence::lstm(&cells, record(operands[0].clone()), record(start)).unwrap();
    let mut found = vec![values(&out)];
    let mut gradients = backward(sequence::with_gradient(out, 0.0, numbers(90, 7)).unwrap()).unwrap();
    found.extend(operands.iter().map(|operand| sequence::gradient(&mut gradients, operand).unwrap()));
    for (found, expected) in found.iter().zip(&expected) {
        let some: Vec<f32> = (0..5).map(|index| found[index * (found.len() - 1) / 4]).collect();
        close(&some, expected);
    }
}

#[test]
fn the_gradients_of_sequence_operations_are_their_slopes() {
    let lengths = [3, 1];
    check(&[random(4, 3, 1)], |operands| weighed(sequence::gather(record(operands[0].clone()), &[2, 0, 2]).unwrap()));
    check(&[random(4, 3, 1)], |operands| weighed(sequence::unit_rows(record(operands[0].clone())).unwrap()));
    check(&[random(6, 3, 1)], |operands| weighed(sequence::mean_steps(record(operands[0].clone()), &lengths).unwrap()));
    check(&[random(4, 3, 1), random(6, 3, 2)], |operands| {
        let [queries, keys] = [0, 1].map(|index: usize| record(operands[index].clone()));
        weighed(sequence::attention(queries, keys, &lengths).unwrap())
    });
    check(&[random(3, 2, 1), random(3, 4, 2)], |operands| {
        let [a, b] = [0, 1].map(|index: usize| record(operands[index].clone()));
        weighed(sequence::beside(a, b).unwrap())
    });
    check(&[random(2, 2, 1)], |operands| {
        weighed(sequence::scaled(record(operands[0].clone()), vec![0.0, 2.0, 1.0, -1.0]).unwrap())
    });
    let legal = [true, true, false, true, false, true, true, true, false, false, false, false];
    check(&[random(3, 4, 1)], |operands| {
        sequence::masked_cross_entropy(record(operands[0].clone()), &legal, &[0, 3, 9], &[0.5, 2.0, 0.0]).unwrap()
    });
}

#[test]
fn a_tensor_that_is_used_twice_gets_both_gradients() {
    check(&[random(6, 3, 1), random(3, 3, 2), random(1, 3, 3)], |operands| {
        let layer = linear(operands, Activation::Tanh, false);
        let states = Cpu::linear(&layer, record(operands[0].clone())).unwrap();
        let (states, tape) = states.split_tape();
        let attended = sequence::attention(states.clone().put_tape(tape), states.retaped(), &[3, 2]).unwrap();
        sequence::both(weighed(attended), weighed(sequence::unit_rows(states.retaped()).unwrap())).unwrap()
    });
}

#[test]
fn what_is_illegal_has_no_part_in_a_masked_loss() {
    let loss = |illegal: f32| {
        let logits = matrix(&Cpu::default(), 1, 3, vec![0.0, 0.0, illegal]).unwrap();
        values(&sequence::masked_cross_entropy(logits, &[true, true, false], &[1], &[1.0]).unwrap())[0]
    };
    close(&[loss(-3.0), loss(50.0)], &[std::f32::consts::LN_2; 2]);
    let logits = || matrix(&Cpu::default(), 1, 3, vec![0.0; 3]).unwrap();
    assert!(sequence::masked_cross_entropy(logits(), &[true, true, false], &[2], &[1.0]).is_err());
}

#[test]
fn parts_of_a_batch_add_up_and_a_penalty_pulls_weights() {
    let mut params = Params::new(Cpu::default());
    let id = params.add([1, 2], vec![1.0, -2.0], true).unwrap();
    let part = |seed| backward(weighed(record(params.get(id).clone()).try_mul(seed as f32).unwrap())).unwrap();
    let of = |mut gradients: Gradients<f32, Cpu>| gradients.get_or_alloc_mut(params.get(id)).unwrap().to_vec();
    let [a, b] = [1, 2].map(|seed| of(part(seed)));
    let mut both = part(1);
    params.add_gradients(&mut both, part(2)).unwrap();
    params.add_penalty(&mut both, 0.5).unwrap();
    close(&of(both), &[a[0] + b[0] + 0.5, a[1] + b[1] - 1.0]);
}

#[test]
fn a_step_of_adamw_is_as_published() {
    let settings = AdamWSettings { max_norm: 1e9, weight_decay: 0.1, ..AdamWSettings::default() };
    let mut params = Params::new(Cpu::default());
    let id = params.add([1, 2], vec![1.0, -2.0], true).unwrap();
    let mut optimizer = AdamW::new(&mut params, settings).unwrap();
    let zero = matrix(&Cpu::default(), 1, 2, vec![0.0; 2]).unwrap();
    for _ in 0..3 {
        let weights = matrix(&Cpu::default(), 1, 2, vec![0.5, 1.5]).unwrap();
        let loss = Cpu::squared_error(record(params.get(id).clone()), &zero, &weights).unwrap();
        optimizer.step(&mut params, &mut backward(loss).unwrap(), 0.1).unwrap();
    }
    // torch.optim.AdamW(lr=0.1, weight_decay=0.1), three steps on 0.5 a² + 1.5 b².
    close(&params.export(), &[0.675_101, -1.644_369]);
}

#[test]
fn a_step_of_adam_is_as_published() {
    let settings = AdamWSettings { max_norm: 1e9, weight_decay: 0.1, coupled: true, ..AdamWSettings::default() };
    let mut params = Params::new(Cpu::default());
    let id = params.add([1, 2], vec![1.0, -2.0], true).unwrap();
    let mut optimizer = AdamW::new(&mut params, settings).unwrap();
    let zero = matrix(&Cpu::default(), 1, 2, vec![0.0; 2]).unwrap();
    for _ in 0..3 {
        let weights = matrix(&Cpu::default(), 1, 2, vec![0.5, 1.5]).unwrap();
        let loss = Cpu::squared_error(record(params.get(id).clone()), &zero, &weights).unwrap();
        optimizer.step(&mut params, &mut backward(loss).unwrap(), 0.1).unwrap();
    }
    // torch.optim.Adam(lr=0.1, weight_decay=0.1), three steps on 0.5 a² + 1.5 b².
    close(&params.export(), &[0.701_586, -1.700_623]);
}

#[test]
fn the_step_of_the_kernel_is_that_of_the_composition() {
    the_steps_agree(false);
    the_steps_agree(true);
}

fn the_steps_agree(flag: bool) {
    let [betas, corrections] = [[0.9, 0.99], [2.0, 3.0]];
    let step = AdamStep { scale: 0.5, betas, corrections, epsilon: 1e-8, coupled: flag };
    let descent = SgdStep { scale: 0.5, momentum: 0.9, nesterov: flag };
    let (mut a, moments) = (random(3, 5, 1), [random(3, 5, 2), random(3, 5, 3)]);
    let moments = moments.map(|moment| moment.square());
    let (mut b, mut of_a, mut of_b) = (a.clone(), moments.clone(), moments);
    let mut gradients = backward(weighed(record(a.clone()))).unwrap();
    close(
        &[Cpu::squared_norm(&mut gradients, &[&a]).unwrap() as f32],
        &[compose::squared_norm(&mut gradients, &[&a]).unwrap() as f32],
    );
    fn update<'a, const M: usize>(parameter: &'a mut Matrix<Cpu>, moments: [&'a mut Matrix<Cpu>; M]) -> Vec<Update<'a, Cpu, M>> {
        vec![Update { rate: 0.1, decay: 0.2, parameter, moments }]
    }
    Cpu::adamw(&step, &mut gradients, update(&mut a, of_a.each_mut())).unwrap();
    compose::adamw(&step, &mut gradients, update(&mut b, of_b.each_mut())).unwrap();
    close(&values(&a), &values(&b));
    close(&values(&of_a[1]), &values(&of_b[1]));
    let (mut a, mut gradients) = (random(3, 5, 1), backward(weighed(record(random(3, 5, 1)))).unwrap());
    gradients.get_or_alloc_mut(&a).unwrap().copy_from_slice(&values(&random(3, 5, 4)));
    let (mut b, mut of_a, mut of_b) = (a.clone(), random(3, 5, 2), random(3, 5, 2));
    Cpu::sgd(&descent, &mut gradients, update(&mut a, [&mut of_a])).unwrap();
    compose::sgd(&descent, &mut gradients, update(&mut b, [&mut of_b])).unwrap();
    close(&values(&a), &values(&b));
    close(&values(&of_a), &values(&of_b));
    assert_ne!(values(&a), values(&random(3, 5, 1)));
}

#[test]
fn a_step_of_descent_is_as_published() {
    // torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.1), three steps on 0.5 a² + 1.5 b²: see benches/peers/oracle.py.
    for (nesterov, expected) in [(false, [0.439_649, 0.615_222]), (true, [0.273_768, 0.725_935])] {
        let settings = SgdSettings { momentum: 0.9, nesterov, weight_decay: 0.1, max_norm: 1e9 };
        let mut params = Params::new(Cpu::default());
        let id = params.add([1, 2], vec![1.0, -2.0], true).unwrap();
        let slow = params.add([1, 2], vec![1.0, -2.0], false).unwrap();
        params.set_rate_factor(slow, 0.0);
        let mut optimizer = Sgd::new(&params, settings).unwrap();
        let zero = matrix(&Cpu::default(), 1, 2, vec![0.0; 2]).unwrap();
        for _ in 0..3 {
            let weights = matrix(&Cpu::default(), 1, 2, vec![0.5, 1.5]).unwrap();
            let loss = Cpu::squared_error(record(params.get(id).clone()), &zero, &weights).unwrap();
            optimizer.step(&mut params, &mut backward(loss).unwrap(), 0.1).unwrap();
        }
        close(&params.export(), &[expected[0], expected[1], 1.0, -2.0]);
    }
}

#[test]
fn a_large_product_is_the_same_for_any_number_of_threads() {
    let operands = [random(300, 300, 1), random(300, 300, 2), random(1, 300, 3)];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let layer = Linear { mask: None, ..linear(&operands, Activation::Silu, false) };
            let said = Cpu::linear(&layer, record(operands[0].clone())).unwrap();
            let out = values(&said);
            let mut gradients = backward(weighed(said)).unwrap();
            let of = |gradients: &mut Gradients<f32, Cpu>, operand| gradients.get_or_alloc_mut(operand).unwrap().to_vec();
            [out, of(&mut gradients, &operands[0]), of(&mut gradients, &operands[1])]
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn the_learning_rate_rises_and_falls() {
    let rates: Vec<f64> = [0.0, 0.05, 0.1, 0.55, 1.0].into_iter().map(|progress| warm_cosine(progress, 0.1)).collect();
    let expected = [0.0, 0.5, 1.0, 0.5, 0.0];
    assert!(rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-9), "{rates:?}");
}
