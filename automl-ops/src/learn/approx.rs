//! Single-precision exponential, hyperbolic tangent and cosine for loops over arrays: off by some 1e-6 at most, and without
//! branches, so that the compiler vectorises them.

use std::f32::consts::{LN_2, LOG2_E, PI, TAU};

/// Adding it rounds a number below 2^22 to the nearest whole one, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `e^x` for `x <= 0`; below -87 it is about 1e-38.
#[inline]
pub(super) fn exp_negative(x: f32) -> f32 {
    let t = x.max(-87.0) * LOG2_E;
    let shifted = t + ROUND;
    let r = t - (shifted - ROUND);
    // Cephes' polynomial for 2^r.
    let tail = 0.009_618_437 + r * (0.001_339_887_4 + r * 0.000_153_533_62);
    let power = 1.0 + r * (LN_2 + r * (0.240_226_48 + r * (0.055_503_325 + r * tail)));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    power * f32::from_bits((exponent & 0xff) << 23)
}

/// `tanh(x)` for finite `x`.
#[inline]
pub(super) fn tanh(x: f32) -> f32 {
    let e = exp_negative(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// `cos(x)` for `|x|` below a million; the error grows with `|x|`.
#[inline]
pub(super) fn cos(x: f32) -> f32 {
    let t = x * (1.0 / TAU);
    let half = (t - ((t + ROUND) - ROUND)) * PI;
    let u = half * half;
    let series = 1.0 + u * (-1.0 / 6.0 + u * (1.0 / 120.0 + u * (-1.0 / 5_040.0 + u * (1.0 / 362_880.0 - u / 39_916_800.0))));
    let sine = half * series;
    1.0 - 2.0 * sine * sine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_near_the_exact_functions() {
        for step in -4000..=4000 {
            let x = step as f32 / 100.0;
            let (negative, wide) = (-x.abs(), f64::from(x));
            assert!((exp_negative(negative) / f64::from(negative).exp() as f32 - 1.0).abs() < 1e-5, "exp {negative}");
            assert!((f64::from(tanh(x)) - wide.tanh()).abs() < 1e-6, "tanh {x}");
            assert!((f64::from(cos(x)) - wide.cos()).abs() < 8e-6, "cos {x}");
        }
        assert!(exp_negative(f32::NEG_INFINITY) < 1e-37 && exp_negative(f32::NAN) < 1e-37);
        assert!((-1.0..=1.0).contains(&cos(1e30)) || cos(1e30).is_finite());
    }
}
