//! What the examples share: how well two lists of numbers agree in their order. Criterion benches live in `benches/`.

/// The ranks of numbers, from 1; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = start as f64 + (group.len() + 1) as f64 / 2.0;
        group.iter().for_each(|&at| ranks[at] = mean);
        start += group.len();
    }
    ranks
}

/// Spearman's ρ: the correlation of the ranks.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() + 1) as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Kendall's τ-b: by pairs, corrected for equal numbers.
pub fn kendall(a: &[f64], b: &[f64]) -> f64 {
    let (mut sum, mut open) = (0.0, [0.0_f64; 2]);
    for i in 0..a.len().min(b.len()) {
        for j in 0..i {
            let signs = [a[i] - a[j], b[i] - b[j]].map(|x| if x == 0.0 { 0.0 } else { x.signum() });
            sum += signs[0] * signs[1];
            open.iter_mut().zip(signs).for_each(|(open, sign)| *open += sign.abs());
        }
    }
    sum / (open[0] * open[1]).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_agree_as_scipy_says() {
        let (a, b) = ([12.0, 2.0, 1.0, 12.0, 2.0], [1.0, 4.0, 7.0, 1.0, 0.0]);
        assert!((kendall(&a, &b) + 0.471_404_520_791_031_7).abs() < 1e-12);
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 6.0, 7.0, 8.0, 7.0]);
        assert!((spearman(&a, &b) - 0.820_782_681_668_123_4).abs() < 1e-12);
    }
}
