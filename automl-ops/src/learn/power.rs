//! The power transform of Yeo and Johnson (“A new family of power transformations to improve normality or symmetry”, 2000).
//!
//! With `l = ln(1 + |x|)` a value becomes `(exp(p l) - 1) / p`, where `p` is the power for `x >= 0` and 2 less the power, with
//! the sign turned, below. So one logarithm a value is enough for a whole search, and each step costs one exponential.

use automl_core::Cancel;

use super::LearnError;

/// Powers that are searched, `-POWERS` to `POWERS`.
pub const POWERS: f64 = 5.0;
/// Width of the interval at which the search ends.
const TOLERANCE: f64 = 1e-6;

/// The fitted transform of one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// The power, 1 for the identity.
    pub lambda: f64,
    /// Mean of the transformed values.
    pub mean: f64,
    /// Their standard deviation; 1 for a constant column.
    pub scale: f64,
}

impl Power {
    /// The power of largest likelihood, and the moments of what it gives.
    ///
    /// # Errors
    /// A cancelled token.
    pub fn fit(values: impl Iterator<Item = f32>, cancel: &Cancel) -> Result<Self, LearnError> {
        let mut logs = Logs::default();
        for value in values {
            let log = f64::from(value.abs()).ln_1p();
            if value >= 0.0 {
                logs.above.push(log);
            } else if value < 0.0 {
                logs.below.push(log);
            }
        }
        let total: f64 = logs.above.iter().sum::<f64>() - logs.below.iter().sum::<f64>();
        let rows = (logs.above.len() + logs.below.len()).max(1) as f64;
        let mut transformed = Vec::new();
        let mut loss = |lambda: f64| {
            if cancel.is_cancelled() {
                return Err(LearnError::Cancelled);
            }
            let (_, variance) = logs.moments(lambda, &mut transformed);
            Ok(rows / 2.0 * variance.max(f64::MIN_POSITIVE).ln() - (lambda - 1.0) * total)
        };
        let lambda = if logs.vary() { minimum(-POWERS, POWERS, &mut loss)? } else { 1.0 };
        let (mean, variance) = logs.moments(lambda, &mut transformed);
        let scale = if variance > 0.0 && logs.vary() { variance.sqrt() } else { 1.0 };
        Ok(Self { lambda, mean, scale })
    }

    /// The transformed value, standardised.
    pub fn apply(&self, value: f32) -> f64 {
        let log = f64::from(value.abs()).ln_1p();
        let transformed = if value < 0.0 { -stretch(log, 2.0 - self.lambda) } else { stretch(log, self.lambda) };
        (transformed - self.mean) / self.scale
    }

    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] for numbers that no fit gives.
    pub fn check(&self) -> Result<(), LearnError> {
        if self.lambda.abs() <= POWERS && self.mean.is_finite() && self.scale.is_finite() && self.scale > 0.0 {
            return Ok(());
        }
        Err(LearnError::Corrupt { model: "power transform", problem: "a power, a mean or a scale is out of range" })
    }
}

/// `ln(1 + |x|)` of the values from 0 and of those below.
#[derive(Default)]
struct Logs {
    above: Vec<f64>,
    below: Vec<f64>,
}

impl Logs {
    fn vary(&self) -> bool {
        let differ = |logs: &[f64]| logs.iter().any(|log| Some(log) != logs.first());
        (!self.above.is_empty() && !self.below.is_empty()) || differ(&self.above) || differ(&self.below)
    }

    /// Mean and variance of the transformed values.
    fn moments(&self, lambda: f64, transformed: &mut Vec<f64>) -> (f64, f64) {
        transformed.clear();
        stretch_all(&self.above, lambda, 1.0, transformed);
        stretch_all(&self.below, 2.0 - lambda, -1.0, transformed);
        let rows = transformed.len().max(1) as f64;
        let mean = lanes(transformed, |value| value) / rows;
        (mean, lanes(transformed, |value| (value - mean) * (value - mean)) / rows)
    }
}

/// The sum of a function of the values, in eight fixed lanes that the compiler keeps in registers.
fn lanes(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&value| of(value)).sum();
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += of(value);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Powers this near to 0 are 0: the difference is below the rounding of the quotient.
const ZERO: f64 = 1e-9;

/// `(exp(power log) - 1) / power`, and its limit for the power 0.
fn stretch(log: f64, power: f64) -> f64 {
    if power.abs() < ZERO { log } else { (exp(power * log) - 1.0) / power }
}

fn stretch_all(logs: &[f64], power: f64, sign: f64, to: &mut Vec<f64>) {
    if power.abs() < ZERO {
        to.extend(logs.iter().map(|&log| sign * log));
    } else {
        let inverse = sign / power;
        to.extend(logs.iter().map(|&log| (exp(power * log) - 1.0) * inverse));
    }
}

/// The exponential to 14 digits for arguments up to 700, without branches, so that it vectorises.
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// Added, it leaves the nearest whole number in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x.clamp(-700.0, 700.0) * std::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x.clamp(-700.0, 700.0) - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut sum = 1.0 / 479_001_600.0;
    for factorial in [39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * r + 1.0 / factorial;
    }
    sum * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()))
}

/// The place of a minimum between two bounds (Brent, “Algorithms for Minimization Without Derivatives”, 1973, chapter 5).
fn minimum(mut low: f64, mut high: f64, loss: &mut impl FnMut(f64) -> Result<f64, LearnError>) -> Result<f64, LearnError> {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let mut best = low + GOLDEN * (high - low);
    let (mut second, mut third) = (best, best);
    let mut at_best = loss(best)?;
    let (mut at_second, mut at_third) = (at_best, at_best);
    let (mut step, mut before) = (0.0_f64, 0.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if (best - middle).abs() <= 2.0 * TOLERANCE - 0.5 * (high - low) {
            break;
        }
        // The vertex of the parabola through the three best places, or the golden section where it leads nowhere.
        let r = (best - second) * (at_best - at_third);
        let q = (best - third) * (at_best - at_second);
        let p = (best - third) * q - (best - second) * r;
        let q = 2.0 * (q - r);
        let (p, q) = if q > 0.0 { (-p, q) } else { (p, -q) };
        let usable = p.abs() < (0.5 * q * before).abs() && p > q * (low - best) && p < q * (high - best);
        before = step;
        if usable {
            step = p / q;
            if best + step - low < 2.0 * TOLERANCE || high - best - step < 2.0 * TOLERANCE {
                step = TOLERANCE.copysign(middle - best);
            }
        } else {
            before = if best < middle { high - best } else { low - best };
            step = GOLDEN * before;
        }
        let place = best + if step.abs() >= TOLERANCE { step } else { TOLERANCE.copysign(step) };
        let at = loss(place)?;
        if at <= at_best {
            if place >= best {
                low = best
            } else {
                high = best
            }
            (third, at_third, second, at_second, best, at_best) = (second, at_second, best, at_best, place, at);
        } else {
            if place < best {
                low = place
            } else {
                high = place
            }
            if at <= at_second || second == best {
                (third, at_third, second, at_second) = (second, at_second, place, at);
            } else if at <= at_third || third == best || third == second {
                (third, at_third) = (place, at);
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        let check = |values: &[f32], lambda: f64, expected: &[f64]| {
            let power = Power::fit(values.iter().copied(), &Cancel::new()).unwrap();
            power.check().unwrap();
            assert!((power.lambda - lambda).abs() < 1e-4, "{power:?} {lambda}");
            for (&value, expected) in values.iter().zip(expected) {
                assert!((power.apply(value) - expected).abs() < 1e-4, "{value}: {} {expected}", power.apply(value));
            }
        };
        let values = [-3.0, -1.0, -0.5, 0.2, 0.3, 4.0, -8.0, 1.5, -2.0, -0.1];
        check(&values, 1.211_265_09, &[-0.775_170_55, -0.177_192_1, -0.010_344_2, 0.245_506_59, 0.284_840_75, 2.035_429_97]);
        let values = [1.0, 2.0, 2.0, 2.0, 5.0, 9.0, 9.5, 30.0];
        check(&values, -0.482_526_58, &[-1.477_944_03, -0.719_139_12]);
    }

    #[test]
    fn odd_columns_stay_finite() {
        for values in [vec![], vec![3.5; 9], vec![-0.1; 4], vec![1e18, -1e18, 0.0], vec![1e18, 1e18, 0.0], vec![f32::NAN, 1.0]] {
            let power = Power::fit(values.iter().copied(), &Cancel::new()).unwrap();
            power.check().unwrap();
            assert!([0.0, 1.0, 1e18, -1e18].iter().all(|&value| power.apply(value).is_finite()), "{values:?} {power:?}");
        }
        let power = Power::fit([3.5; 9].into_iter(), &Cancel::new()).unwrap();
        assert!(power.apply(3.5).abs() < 1e-9);
    }

    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for x in [-690.0, -3.3, -1e-9, 0.0, 1e-12, 0.346_6, 1.0, 55.5, 600.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-13, "{x}");
        }
    }
}
