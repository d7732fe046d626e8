//! Functions applied to each number, with their derivatives, in a form that the compiler vectorises.

/// What follows a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)` by its tanh approximation (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x σ(x)`, the sigmoid linear unit (Elfwing et al. 2017).
    Silu,
    /// `σ(x) = 1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

/// √(8/π): the tanh form of GELU is `x σ(GELU_SCALE · (x + GELU_CUBE x³))`.
const GELU_SCALE: f32 = 1.595_769;
const GELU_CUBE: f32 = 0.044_715;

impl Activation {
    /// Applies the function.
    pub(super) fn forward(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|x| *x = x.max(0.0)),
            Self::Gelu => values.iter_mut().for_each(|x| *x *= sigmoid(GELU_SCALE * (*x + GELU_CUBE * *x * *x * *x))),
            Self::Silu => values.iter_mut().for_each(|x| *x *= sigmoid(*x)),
            Self::Sigmoid => values.iter_mut().for_each(|x| *x = sigmoid(*x)),
            Self::Tanh => values.iter_mut().for_each(|x| *x = tanh(*x)),
        }
    }

    /// Multiplies gradients with the derivative at the inputs.
    pub(super) fn backward(self, gradients: &mut [f32], inputs: &[f32]) {
        let pairs = gradients.iter_mut().zip(inputs);
        match self {
            Self::Identity => {}
            Self::Relu => pairs.for_each(|(g, &x)| *g = if x > 0.0 { *g } else { 0.0 }),
            Self::Gelu => pairs.for_each(|(g, &x)| {
                let s = sigmoid(GELU_SCALE * (x + GELU_CUBE * x * x * x));
                *g *= s + x * s * (1.0 - s) * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * x * x);
            }),
            Self::Silu => pairs.for_each(|(g, &x)| {
                let s = sigmoid(x);
                *g *= s + x * s * (1.0 - s);
            }),
            Self::Sigmoid => pairs.for_each(|(g, &x)| {
                let s = sigmoid(x);
                *g *= s * (1.0 - s);
            }),
            Self::Tanh => pairs.for_each(|(g, &x)| {
                let t = tanh(x);
                *g *= 1.0 - t * t;
            }),
        }
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, by the exponential.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// `e^x` within 2e-7 of it, relatively, for `x` from -87 to 88, and clamped there.
///
/// Adding 1.5 · 2²³ rounds `x / ln 2` to a whole number and leaves that number in the lowest bits, from where a shift brings it
/// to the exponent; a polynomial does the rest. No branch and no call, so a loop over it is vectorised.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder keeps its digits.
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let polynomial =
        1.0 + r * (1.0 + r * (0.5 + r * (0.166_666_67 + r * (0.041_666_668 + r * (0.008_333_334 + r * 0.001_388_889)))));
    f32::from_bits(polynomial.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_seven_digits() {
        for step in -8_700..=8_800 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::NEG_INFINITY) > 0.0);
    }

    #[test]
    fn activations_match_known_values() {
        // PyTorch: gelu(approximate="tanh"), silu.
        let of = |activation: Activation, x: f32| {
            let mut values = [x];
            activation.forward(&mut values);
            values[0]
        };
        for (x, gelu, silu) in [(-1.0, -0.158_808, -0.268_941), (0.5, 0.345_714, 0.311_230), (2.0, 1.954_598, 1.761_594)] {
            assert!((of(Activation::Gelu, x) - gelu).abs() < 1e-5, "{x}");
            assert!((of(Activation::Silu, x) - silu).abs() < 1e-5, "{x}");
        }
        assert_eq!([of(Activation::Relu, -2.0), of(Activation::Relu, 3.0), of(Activation::Identity, -2.0)], [0.0, 3.0, -2.0]);
    }
}
