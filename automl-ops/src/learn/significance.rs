//! P-values of F statistics, and which of many are significant.

/// Probability that an F statistic with `a` and `b` degrees of freedom is at least `f` where there is no effect.
pub fn f_survival(f: f64, a: f64, b: f64) -> f64 {
    if !(f > 0.0 && a > 0.0 && b > 0.0) {
        return 1.0;
    }
    // The survival function of F is the distribution function of a beta variable at b / (b + a f).
    let x = b / (b + a * f);
    beta(x, 0.5 * b, 0.5 * a)
}

/// The regularised incomplete beta function `I_x(a, b)`, by its continued fraction (Abramowitz and Stegun 26.5.8, Lentz's method).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - fraction(1.0 - x, b, a);
    }
    fraction(x, a, b)
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut value) = (1.0, d);
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            value *= c * d;
            change = c * d;
        }
        if (change - 1.0f64).abs() < 1e-12 {
            break;
        }
    }
    (front * value).clamp(0.0, 1.0)
}

/// Logarithm of the gamma function for `x > 0` (Lanczos, 1964).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS.iter().zip(1_u8..).fold(0.999_999_999_999_809_9, |sum, (term, i)| sum + term / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// How false discoveries are kept in check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The expected share of false ones among those found (Benjamini and Hochberg, 1995).
    DiscoveryRate,
    /// The chance that a single one is found where there is nothing.
    Each,
    /// The chance that any is found where there is nothing (Bonferroni).
    Any,
}

/// Indices of the p-values that are significant at `level`, ascending.
pub fn significant(p_values: &[f64], level: f64, control: Control) -> Vec<usize> {
    let n = p_values.len() as f64;
    let limit = match control {
        Control::Each => level,
        Control::Any => level / n.max(1.0),
        Control::DiscoveryRate => {
            let mut sorted = p_values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let passes = sorted.iter().enumerate().rfind(|(rank, p)| **p <= level * (*rank as f64 + 1.0) / n);
            passes.map_or(-1.0, |(_, p)| *p)
        }
    };
    p_values.iter().enumerate().filter(|(_, p)| **p <= limit).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_match_scipy() {
        for (f, a, b, expected) in [
            (12.28, 2.0, 12.0, 0.001_250_403_998_872_262_7),
            (0.0258, 1.0, 13.0, 0.874_858_870_395_039_5),
            (135.6, 2.0, 12.0, 5.787_992_799_661_796e-9),
            (1.0, 5.0, 7.0, 0.481_293_912_958_205_5),
            (2.0, 1.0, 1.0, 0.391_826_552_030_607_23),
        ] {
            let found = f_survival(f, a, b);
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        }
        assert_eq!((f_survival(0.0, 1.0, 5.0), f_survival(3.0, 1.0, 0.0)), (1.0, 1.0));
        assert!(f_survival(f64::MAX, 2.0, 1e6) == 0.0 && f_survival(1e4, 3.0, 1e4) < 1e-300);
    }

    #[test]
    fn the_three_controls_differ() {
        let p = [0.001, 0.02, 0.03, 0.8, 0.04];
        assert_eq!(significant(&p, 0.05, Control::DiscoveryRate), [0, 1, 2, 4]);
        assert_eq!(significant(&p, 0.025, Control::Each), [0, 1]);
        assert_eq!(significant(&p, 0.05, Control::Any), [0]);
        assert!(significant(&[0.9], 0.05, Control::DiscoveryRate).is_empty());
        assert!(significant(&[], 0.05, Control::Any).is_empty());
    }
}
