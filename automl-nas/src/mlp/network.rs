//! A multi-layer perceptron: fully connected layers, each with an activation, dropout and, where wanted, layer norm between.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::tensor::{Activation, Linear, Matrix, NnDevice, ParamId, Params, Tape, TensorError, matrix, shared};

/// Hidden layers that a network may have.
const MOST_LAYERS: usize = 64;
/// Outputs of a hidden layer that others make narrow, at least.
const NARROWEST: usize = 4;

/// How the widths of the hidden layers go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Widths {
    /// All are equal.
    #[default]
    Constant,
    /// Each is half as wide as the one before.
    Funnel,
    /// Each is twice as wide as the one before; the last one has the width.
    Widening,
}

impl Widths {
    /// The widths of so many hidden layers, the widest of which has `width` outputs.
    pub fn of(self, layers: usize, width: usize) -> impl Iterator<Item = usize> {
        let halved = move |times: usize| (width >> times.min(usize::BITS as usize - 1)).max(NARROWEST.min(width));
        (0..layers).map(move |layer| match self {
            Self::Constant => width,
            Self::Funnel => halved(layer),
            Self::Widening => halved(layers - 1 - layer),
        })
    }
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    /// Hidden layers, at least one.
    pub layers: usize,
    /// Outputs of the widest hidden layer.
    pub width: usize,
    /// How wide the others are; older models have layers of one width.
    #[serde(default)]
    pub widths: Widths,
    /// Whether each hidden layer but the first adds its input to its output, where both are equally wide.
    #[serde(default)]
    pub residual: bool,
    pub activation: Activation,
    /// Whether the input of each layer but the first is normalised.
    pub layer_norm: bool,
}

impl Plan {
    /// Inputs and outputs of each layer.
    fn shapes(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let mut inputs = self.inputs;
        let outputs = self.widths.of(self.layers, self.width).chain([self.outputs]);
        outputs.map(move |outputs| [std::mem::replace(&mut inputs, outputs), outputs])
    }

    /// Number of parameters; `None` for a network that cannot be.
    pub fn parameters(&self) -> Option<usize> {
        if !(1..=MOST_LAYERS).contains(&self.layers) || self.width == 0 {
            return None;
        }
        self.shapes().enumerate().try_fold(0_usize, |total, (layer, [inputs, outputs])| {
            let norm = if self.layer_norm && layer > 0 { inputs.checked_mul(2)? } else { 0 };
            total.checked_add(inputs.checked_add(1)?.checked_mul(outputs)?)?.checked_add(norm)
        })
    }
}

struct Layer {
    /// Gain and shift.
    norm: Option<[ParamId; 2]>,
    weight: ParamId,
    bias: ParamId,
    activation: Activation,
}

/// A network and its parameters.
pub(super) struct Network<D: NnDevice> {
    pub plan: Plan,
    pub params: Params<D>,
    layers: Vec<Layer>,
}

impl<D: NnDevice> Network<D> {
    /// A network with random weights (He et al. 2015, uniform), biases of 0 and, in the last layer, small weights: at first it
    /// says about the same of every row.
    pub fn new(device: D, plan: Plan, rng: &mut ChaCha8Rng) -> Result<Self, TensorError> {
        let mut params = Params::new(device);
        let mut layers = Vec::new();
        for (index, [inputs, outputs]) in plan.shapes().enumerate() {
            let last = index == plan.layers;
            let bound = (if last { 0.03 } else { 6.0 } / inputs.max(1) as f32).sqrt();
            let weights = (0..inputs * outputs).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect();
            layers.push(Layer {
                norm: if plan.layer_norm && index > 0 {
                    Some([params.add([1, inputs], vec![1.0; inputs], false)?, params.add([1, inputs], vec![0.0; inputs], false)?])
                } else {
                    None
                },
                weight: params.add([inputs, outputs], weights, true)?,
                bias: params.add([1, outputs], vec![0.0; outputs], false)?,
                activation: if last { Activation::Identity } else { plan.activation },
            });
        }
        Ok(Self { plan, params, layers })
    }

    /// What the network says, rows × outputs, of `x`, rows × inputs. With `dropout`, a random share of the hidden numbers is 0
    /// and the others are larger (Srivastava et al. 2014).
    pub fn forward<T: Tape<f32, D>>(
        &self,
        x: Matrix<D, T>,
        rows: usize,
        mut dropout: Option<(f32, &mut ChaCha8Rng)>,
    ) -> Result<Matrix<D, T>, TensorError> {
        let mut x = x;
        for (index, (layer, [inputs, outputs])) in self.layers.iter().zip(self.plan.shapes()).enumerate() {
            let inner = (1..self.plan.layers).contains(&index);
            let skip = (self.plan.residual && inner && inputs == outputs).then(|| shared(&x));
            if let Some([gain, shift]) = layer.norm {
                x = D::layer_norm(x, self.params.get(gain), self.params.get(shift))?;
            }
            let mask = match &mut dropout {
                Some((rate, rng)) if index < self.plan.layers && *rate > 0.0 => {
                    Some(matrix(self.params.device(), rows, outputs, mask(rows * outputs, *rate, rng))?)
                }
                _ => None,
            };
            let (weight, bias) = (self.params.get(layer.weight), self.params.get(layer.bias));
            let linear = Linear { weight, bias, activation: layer.activation, mask, input_gradient: index > 0 };
            x = D::linear(&linear, x)?;
            if let Some(skip) = &skip {
                x = D::residual(x, skip)?;
            }
        }
        Ok(x)
    }
}

/// Factors of dropout: 0 for a share `rate` of them, in steps of 2⁻¹⁶, else what keeps the mean.
fn mask(count: usize, rate: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (limit, kept) = ((rate * 65_536.0) as u16, 1.0 / (1.0 - rate));
    let mut bytes = vec![0; 2 * count];
    rng.fill_bytes(&mut bytes);
    let (draws, _) = bytes.as_chunks::<2>();
    draws.iter().map(|&draw| if u16::from_le_bytes(draw) < limit { 0.0 } else { kept }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, NoneTape, values};
    use rand::SeedableRng;

    const PLAN: Plan = Plan {
        inputs: 37,
        outputs: 1,
        layers: 2,
        width: 16,
        widths: Widths::Constant,
        residual: false,
        activation: Activation::Gelu,
        layer_norm: false,
    };

    #[test]
    fn layers_narrow_and_widen() {
        let of = |widths: Widths, layers, width| widths.of(layers, width).collect::<Vec<_>>();
        assert_eq!(of(Widths::Constant, 3, 50), [50, 50, 50]);
        assert_eq!(of(Widths::Funnel, 5, 50), [50, 25, 12, 6, 4]);
        assert_eq!(of(Widths::Widening, 3, 50), [12, 25, 50]);
        assert_eq!(of(Widths::Funnel, 64, 2), [2; 64]);
        let plan = Plan { layers: 3, width: 20, widths: Widths::Funnel, layer_norm: true, ..PLAN };
        let expected = (37 + 1) * 20 + (20 + 1) * 10 + (10 + 1) * 5 + (5 + 1) + 2 * (20 + 10 + 5);
        let network = Network::new(Cpu::default(), plan.clone(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        assert_eq!((plan.parameters(), network.params.export().len()), (Some(expected), expected));
    }

    #[test]
    fn a_residual_layer_without_weights_hands_its_input_on() {
        let plan = Plan { inputs: 4, layers: 3, width: 4, outputs: 4, residual: true, activation: Activation::Identity, ..PLAN };
        let mut network = Network::new(Cpu::default(), plan, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        // Each layer is a 4 × 4 matrix and 4 biases: the identity in the first and the last, nothing in between.
        let identity: Vec<f32> = (0..20).map(|at| if at < 16 && at % 5 == 0 { 1.0 } else { 0.0 }).collect();
        network.params.import(&[identity.clone(), vec![0.0; 40], identity].concat()).unwrap();
        let x: Matrix<Cpu, NoneTape> = matrix(&Cpu::default(), 1, 4, vec![1.0, -2.0, 3.0, 0.5]).unwrap();
        assert_eq!(values(&network.forward(x, 1, None).unwrap()), [1.0, -2.0, 3.0, 0.5]);
    }

    #[test]
    fn a_row_is_the_same_beside_any_number_of_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (width, outputs, layer_norm) in [(16, 1, false), (57, 3, true), (300, 11, false)] {
            let plan = Plan { outputs, width, layer_norm, residual: layer_norm, ..PLAN };
            let network = Network::new(Cpu::default(), plan, &mut rng).unwrap();
            let x: Vec<f32> = (0..70 * 37).map(|_| rng.random::<f32>() - 0.5).collect();
            let apply = |rows: &[f32]| {
                let rows_of: Matrix<Cpu, NoneTape> = matrix(&Cpu::default(), rows.len() / 37, 37, rows.to_vec()).unwrap();
                values(&network.forward(rows_of, rows.len() / 37, None).unwrap())
            };
            let all = apply(&x);
            for rows in 1..70 {
                assert_eq!(apply(&x[37 * (70 - rows)..]), all[outputs * (70 - rows)..], "{rows} rows, width {width}");
            }
        }
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let factors = mask(100_000, 0.25, &mut ChaCha8Rng::seed_from_u64(3));
        let mean = factors.iter().sum::<f32>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(factors.iter().all(|&factor| factor == 0.0 || factor == 1.0 / 0.75));
    }
}
