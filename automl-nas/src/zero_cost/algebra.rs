//! Determinants and eigenvalues of small symmetric matrices.

/// The logarithm of the determinant of a square matrix, row-major, by elimination with pivots; minus infinity where it is 0.
pub(super) fn log_determinant(mut a: Vec<f64>, size: usize) -> f64 {
    let mut sum = 0.0;
    for column in 0..size {
        let at = |a: &[f64], row: usize, column: usize| a.get(row * size + column).copied().unwrap_or(0.0);
        let largest = |x: &usize, y: &usize| at(&a, *x, column).abs().total_cmp(&at(&a, *y, column).abs());
        let Some(pivot) = (column..size).max_by(largest) else { break };
        let value = at(&a, pivot, column);
        if value == 0.0 {
            return f64::NEG_INFINITY;
        }
        for place in 0..size {
            a.swap(column * size + place, pivot * size + place);
        }
        sum += value.abs().ln();
        for row in column + 1..size {
            let factor = at(&a, row, column) / value;
            for place in column..size {
                let above = at(&a, column, place);
                if let Some(cell) = a.get_mut(row * size + place) {
                    *cell -= factor * above;
                }
            }
        }
    }
    sum
}

/// The eigenvalues of a symmetric matrix, row-major, by Jacobi's rotations (Golub and Van Loan, "Matrix Computations", section 8.5).
pub(super) fn eigenvalues(mut a: Vec<f64>, size: usize) -> Vec<f64> {
    let at = |a: &[f64], row: usize, column: usize| a.get(row * size + column).copied().unwrap_or(0.0);
    let set = |a: &mut [f64], row: usize, column: usize, value: f64| {
        if let Some(cell) = a.get_mut(row * size + column) {
            *cell = value;
        }
    };
    // Convergence is quadratic: a dozen sweeps do for any size.
    for _ in 0..30 {
        let outside: f64 = (0..size).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| at(&a, i, j).powi(2)).sum();
        let inside: f64 = (0..size).map(|i| at(&a, i, i).powi(2)).sum();
        if outside <= 1e-28 * inside {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let across = at(&a, p, q);
                if across == 0.0 {
                    continue;
                }
                let angle = (at(&a, q, q) - at(&a, p, p)) / (2.0 * across);
                let tangent = angle.signum() / (angle.abs() + (angle * angle + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for k in 0..size {
                    let (kp, kq) = (at(&a, k, p), at(&a, k, q));
                    set(&mut a, k, p, cosine * kp - sine * kq);
                    set(&mut a, k, q, sine * kp + cosine * kq);
                }
                for k in 0..size {
                    let (pk, qk) = (at(&a, p, k), at(&a, q, k));
                    set(&mut a, p, k, cosine * pk - sine * qk);
                    set(&mut a, q, k, sine * pk + cosine * qk);
                }
            }
        }
    }
    (0..size).map(|i| at(&a, i, i)).collect()
}

/// Correlations between the rows of a matrix, rows × rows; a row without variance correlates with nothing.
pub(super) fn correlations(rows: &[f32], count: usize) -> Vec<f64> {
    let width = rows.len() / count.max(1);
    let centred: Vec<Vec<f64>> = rows
        .chunks_exact(width.max(1))
        .map(|row| {
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let centred: Vec<f64> = row.iter().map(|&x| f64::from(x) - mean).collect();
            let norm = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
            centred.into_iter().map(|x| if norm > 0.0 { x / norm } else { 0.0 }).collect()
        })
        .collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut all = vec![0.0; count * count];
    for (i, a) in centred.iter().enumerate() {
        for (j, b) in centred.iter().enumerate().take(i + 1) {
            let value = product(a, b);
            for place in [i * count + j, j * count + i] {
                if let Some(cell) = all.get_mut(place) {
                    *cell = value;
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants_and_eigenvalues_are_those_of_the_book() {
        let a = vec![2.0, 1.0, 0.0, 1.0, 3.0, 1.0, 0.0, 1.0, 4.0];
        assert!((log_determinant(a.clone(), 3) - 18.0_f64.ln()).abs() < 1e-12);
        let mut values = eigenvalues(a, 3);
        values.sort_by(f64::total_cmp);
        // 3 and 3 ± √3.
        for (found, expected) in values.iter().zip([3.0 - 3.0_f64.sqrt(), 3.0, 3.0 + 3.0_f64.sqrt()]) {
            assert!((found - expected).abs() < 1e-10, "{values:?}");
        }
        assert_eq!(log_determinant(vec![1.0, 1.0, 1.0, 1.0], 2), f64::NEG_INFINITY);
        // A zero in the corner needs a pivot.
        assert!((log_determinant(vec![0.0, 2.0, 3.0, 0.0], 2) - 6.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn eigenvalues_keep_trace_and_determinant_at_any_size() {
        let size = 24;
        let half: Vec<f64> = (0..size * size).map(|at| (f64::from(at as u32) * 0.754_877_666).fract() - 0.5).collect();
        let at = |i: usize, j: usize| half[i * size + j] + half[j * size + i] + if i == j { 20.0 } else { 0.0 };
        let a: Vec<f64> = (0..size * size).map(|place| at(place / size, place % size)).collect();
        let values = eigenvalues(a.clone(), size);
        let trace: f64 = (0..size).map(|i| a[i * size + i]).sum();
        assert!((values.iter().sum::<f64>() - trace).abs() < 1e-8);
        assert!((values.iter().map(|value| value.ln()).sum::<f64>() - log_determinant(a, size)).abs() < 1e-8);
    }

    #[test]
    fn correlations_are_between_rows() {
        let c = correlations(&[1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 2.0, 1.0, 5.0, 5.0, 5.0], 4);
        let expected = [1.0, 1.0, -1.0, 0.0, 1.0, 1.0, -1.0, 0.0, -1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert!(c.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{c:?}");
    }
}
