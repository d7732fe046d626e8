//! Cubic B-splines on the line (de Boor, “A Practical Guide to Splines”, 1978).

use super::quantile::quantiles;

/// Strictly ascending knots with what a cubic basis needs beyond the outer ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Knots(Vec<f64>);

impl Knots {
    /// Knots at `count` quantiles of ascending values, equal ones once.
    pub fn at_quantiles(sorted: &[f32], count: usize) -> Vec<f32> {
        let mut knots = quantiles(sorted, count);
        knots.dedup();
        knots
    }

    /// From at least two strictly ascending knots; `None` otherwise. Three knots are added at both ends at the distance of the
    /// last two.
    pub fn new(inner: &[f32]) -> Option<Self> {
        let inner: Vec<f64> = inner.iter().map(|&knot| f64::from(knot)).collect();
        let ascending = inner.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) && inner.iter().all(|knot| knot.is_finite());
        let (&[first, second, ..], &[.., before, last]) = (&inner[..], &inner[..]) else { return None };
        let below = [3.0, 2.0, 1.0].map(|steps| first - steps * (second - first));
        let above = [1.0, 2.0, 3.0].map(|steps| last + steps * (last - before));
        ascending.then(|| Self([&below[..], &inner[..], &above[..]].concat()))
    }

    /// Number of functions of the basis: two more than inner knots.
    pub fn functions(&self) -> usize {
        self.0.len() - 4
    }

    /// The four functions that are not zero at a value: the first one's number, and what they are there. They sum to 1. Beyond
    /// the outer knots they stay what they are at these.
    pub fn basis(&self, value: f64) -> (usize, [f64; 4]) {
        let inner = self.0.get(3..self.0.len() - 3).unwrap_or_default();
        let (Some(&low), Some(&high)) = (inner.first(), inner.last()) else { return (0, [0.0; 4]) };
        let x = if value.is_nan() { low } else { value.clamp(low, high) };
        let interval = inner.partition_point(|&knot| knot <= x).clamp(1, inner.len() - 1) - 1;
        let knot = |index: usize| self.0.get(index).copied().unwrap_or(high);
        let mut basis = [1.0, 0.0, 0.0, 0.0];
        for degree in 1..4 {
            let mut saved = 0.0;
            for (r, function) in basis.iter_mut().take(degree).enumerate() {
                let (left, right) = (knot(interval + 4 + r - degree), knot(interval + 4 + r));
                let part = *function / (right - left);
                *function = saved + (right - x) * part;
                saved = (x - left) * part;
            }
            basis[degree] = saved;
        }
        (interval, basis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        // SplineTransformer(n_knots=4, knots="quantile", extrapolation="constant") on quantiles 1, 2, 7.6…, 30.
        let knots = Knots::at_quantiles(&[1.0, 2.0, 2.0, 2.0, 5.0, 9.0, 9.5, 30.0], 4);
        let knots = Knots::new(&knots).unwrap();
        assert_eq!(knots.functions(), 6);
        let expected = [
            (0.0, 0, [1.666_666_67e-1, 7.681_159_42e-1, 6.521_739_13e-2, 0.0]),
            (1.5, 0, [2.083_333_33e-2, 7.778_079_71e-1, 2.007_121_44e-1, 6.465_517_24e-4]),
            (4.0, 1, [1.702_046_04e-1, 7.405_603_92e-1, 8.823_327_92e-2, 1.001_725_19e-3]),
            (9.2, 2, [4.962_270_42e-1, 4.576_742_09e-1, 4.604_481_03e-2, 5.393_837_23e-5]),
            (40.0, 2, [0.0, 2.218_543_05e-1, 6.114_790_29e-1, 1.666_666_67e-1]),
        ];
        for (value, first, functions) in expected {
            let (found, basis) = knots.basis(value);
            assert_eq!(found, first);
            assert!(basis.iter().zip(functions).all(|(a, b)| (a - b).abs() < 1e-6), "{value}: {basis:?}");
        }
    }

    #[test]
    fn only_ascending_knots_make_a_basis() {
        assert_eq!(Knots::new(&[1.0]), None);
        assert_eq!(Knots::new(&[1.0, 1.0]), None);
        assert_eq!(Knots::new(&[1.0, f32::NAN]), None);
        let (_, basis) = Knots::new(&[-1e18, 1e18]).unwrap().basis(f64::NAN);
        assert!((basis.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
