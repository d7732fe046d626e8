//! A multi-layer perceptron: fully connected layers, each with an activation, dropout and, where wanted, layer norm between.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::tensor::{Activation, Linear, Matrix, NnDevice, ParamId, Params, Tape, TensorError, matrix};

/// Hidden layers that a network may have.
const MOST_LAYERS: usize = 64;

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    /// Hidden layers, at least one.
    pub layers: usize,
    /// Outputs of each hidden layer.
    pub width: usize,
    pub activation: Activation,
    /// Whether the input of each layer but the first is normalised.
    pub layer_norm: bool,
}

impl Plan {
    /// Inputs and outputs of each layer.
    fn shapes(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let inputs = |layer| if layer == 0 { self.inputs } else { self.width };
        let outputs = |layer| if layer == self.layers { self.outputs } else { self.width };
        (0..=self.layers).map(move |layer| [inputs(layer), outputs(layer)])
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
        for (index, (layer, [_, outputs])) in self.layers.iter().zip(self.plan.shapes()).enumerate() {
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

    #[test]
    fn a_row_is_the_same_beside_any_number_of_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (width, outputs, layer_norm) in [(16, 1, false), (57, 3, true), (300, 11, false)] {
            let plan = Plan { inputs: 37, outputs, layers: 2, width, activation: Activation::Gelu, layer_norm };
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
