//! Quantiles of columns: a fast sort, interpolation, and the map from values to their ranks.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Rows that quantiles are computed from, at most; a larger table is sampled.
pub const ROWS: usize = 1 << 16;

/// Distinct rows in ascending order, `most` of them drawn without replacement; `None` where there are no more than that.
pub fn sample_rows(rows: usize, most: usize, seed: u64) -> Option<Vec<u32>> {
    if rows <= most || u32::try_from(rows).is_err() {
        return None;
    }
    let drawn = rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(seed), rows, most);
    let mut drawn: Vec<u32> = drawn.into_iter().filter_map(|row| u32::try_from(row).ok()).collect();
    drawn.sort_unstable();
    Some(drawn)
}

/// The values at some rows, or all of them, in ascending order. `NaN` is left out.
pub fn sorted(values: &[f32], rows: Option<&[u32]>) -> Vec<f32> {
    let key = |&value: &f32| {
        let bits = value.to_bits();
        // Adding 0 makes -0 a 0. Negative numbers are turned around, so that the order of keys is that of the numbers.
        let bits = if value == 0.0 { 0 } else { bits };
        if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    };
    let present = |value: &&f32| !value.is_nan();
    let mut keys: Vec<u32> = match rows {
        None => values.iter().filter(present).map(key).collect(),
        Some(rows) => rows.iter().filter_map(|&row| values.get(row as usize)).filter(present).map(key).collect(),
    };
    radix_sort(&mut keys);
    keys.into_iter().map(|key| f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })).collect()
}

/// Sorts by three passes over 11 bits each, least significant first; short lists by comparison.
fn radix_sort(keys: &mut Vec<u32>) {
    const BITS: u32 = 11;
    if keys.len() < 512 {
        keys.sort_unstable();
        return;
    }
    let digit = |key: u32, pass: u32| (key >> (pass * BITS)) as usize & ((1 << BITS) - 1);
    let mut counts = vec![[0_usize; 1 << BITS]; 3];
    for &key in keys.iter() {
        for (pass, counts) in (0..).zip(&mut counts) {
            counts[digit(key, pass)] += 1;
        }
    }
    let mut other = vec![0; keys.len()];
    for (pass, counts) in (0..).zip(&mut counts) {
        if counts.contains(&keys.len()) {
            continue;
        }
        let mut place = 0;
        for count in counts.iter_mut() {
            place += std::mem::replace(count, place);
        }
        for &key in keys.iter() {
            let place = &mut counts[digit(key, pass)];
            if let Some(to) = other.get_mut(*place) {
                *to = key;
            }
            *place += 1;
        }
        std::mem::swap(keys, &mut other);
    }
}

/// The quantile at `share` (0 to 1) of ascending values, interpolated between neighbours as NumPy does; 0 of none.
pub fn quantile(sorted: &[f32], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let at = |index: usize| sorted.get(index.min(last)).map_or(0.0, |&value| f64::from(value));
    at(below) + (at(below + 1) - at(below)) * (place - place.floor())
}

/// `count` quantiles at equal distances, from the smallest value to the largest.
pub fn quantiles(sorted: &[f32], count: usize) -> Vec<f32> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|index| quantile(sorted, index as f64 / last) as f32).collect()
}

/// The rank of a value among ascending quantiles at equal distances, 0 to 1: interpolated, and in the middle of equal quantiles;
/// 0 at the smallest and below, 1 at the largest and above (scikit-learn's `QuantileTransformer`).
pub fn rank(quantiles: &[f32], value: f32) -> f64 {
    let (Some(&first), Some(&last)) = (quantiles.first(), quantiles.last()) else { return 0.0 };
    if value <= first {
        return 0.0;
    }
    if value >= last {
        return 1.0;
    }
    let step = 1.0 / (quantiles.len() - 1).max(1) as f64;
    let above = quantiles.partition_point(|&quantile| quantile < value);
    let (Some(&high), Some(&low)) = (quantiles.get(above), quantiles.get(above.wrapping_sub(1))) else { return 1.0 };
    if high > value {
        let part = (f64::from(value) - f64::from(low)) / (f64::from(high) - f64::from(low));
        return (above as f64 - 1.0 + part) * step;
    }
    let equal = quantiles.get(above..).unwrap_or_default().partition_point(|&quantile| quantile <= value);
    (above as f64 + (equal as f64 - 1.0) / 2.0) * step
}

/// The quantile function of the standard normal distribution to seven digits (Wichura, “Algorithm AS 241: the percentage points
/// of the normal distribution”, 1988), for a probability kept 1e-7 from 0 and 1.
pub fn normal(probability: f64) -> f64 {
    fn horner(coefficients: &[f64], x: f64) -> f64 {
        coefficients.iter().fold(0.0, |sum, c| sum * x + c)
    }
    let p = probability.clamp(1e-7, 1.0 - 1e-7);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        let above = horner(&[59.109_374_720, 159.291_132_02, 50.434_271_938, 3.387_132_717_9], r);
        return q * above / horner(&[67.187_563_600, 78.757_757_664, 17.895_169_469, 1.0], r);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let size = if r <= 5.0 {
        let r = r - 1.6;
        let above = horner(&[0.170_238_211_03, 1.306_728_481_6, 2.756_815_390_0, 1.423_437_277_7], r);
        above / horner(&[0.120_211_329_75, 0.737_001_642_50, 1.0], r)
    } else {
        let r = r - 5.0;
        let above = horner(&[0.017_337_203_997, 0.428_682_943_37, 3.081_226_386_0, 6.657_905_115_0], r);
        above / horner(&[0.012_258_202_635, 0.241_978_942_25, 1.0], r)
    };
    size.copysign(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sort_sorts() {
        let mut state = 1_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        };
        for length in [0, 1, 7, 511, 512, 5_000] {
            let values: Vec<f32> = (0..length).map(|_| draw()).collect();
            let mut expected: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
            expected.sort_unstable_by(f32::total_cmp);
            assert_eq!(sorted(&values, None), expected);
        }
        assert_eq!(sorted(&[3.0, -0.0, f32::NAN, -2.0, 1e18, 0.0], Some(&[0, 1, 2, 3, 4])), [-2.0, 0.0, 3.0, 1e18]);
    }

    #[test]
    fn quantiles_and_ranks_match_scikit_learn() {
        let values = sorted(&[1.0, 2.0, 2.0, 2.0, 5.0, 9.0, 9.5, 30.0], None);
        assert_eq!(quantile(&values, 0.25), 2.0);
        assert!((quantile(&values, 0.9) - 15.65).abs() < 1e-12);
        // QuantileTransformer(n_quantiles=6).
        let six = quantiles(&values, 6);
        for (value, expected) in QUERIES.iter().zip(RANKS) {
            assert!((rank(&six, *value) - expected).abs() < 1e-6, "{value}: {} {expected}", rank(&six, *value));
        }
        assert_eq!(rank(&quantiles(&[4.0], 1), 4.0), 0.0);
    }

    const QUERIES: [f32; 8] = [0.0, 1.0, 1.5, 2.0, 4.0, 9.2, 30.0, 40.0];
    const RANKS: [f64; 8] = [0.0, 0.0, 0.1, 0.3, 0.505_263_16, 0.794_285_71, 1.0, 1.0];

    #[test]
    fn the_normal_quantile_matches_scipy() {
        for (p, expected) in
            [(0.5, 0.0), (0.3, -0.524_400_512_7), (0.99, 2.326_347_874), (1e-5, -4.264_890_794), (0.0, -5.199_337_58)]
        {
            assert!((normal(p) - expected).abs() < 1e-6, "{p}: {}", normal(p));
        }
    }

    #[test]
    fn a_sample_has_distinct_rows_in_order() {
        assert_eq!(sample_rows(5, 5, 1), None);
        let rows = sample_rows(1_000, 100, 1).unwrap();
        assert!(rows.len() == 100 && rows.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(rows, sample_rows(1_000, 100, 1).unwrap());
        assert_ne!(rows, sample_rows(1_000, 100, 2).unwrap());
    }
}
