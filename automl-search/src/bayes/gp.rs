//! The Gaussian process as a surrogate: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006; Snoek,
//! Larochelle and Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012.
//!
//! One Matérn 5/2 kernel with a length for every column. Numbers differ by their distance on the scale of their domain, options
//! by 1 where they are not the same, and a question that was not asked is a level of its own: every squared distance is one
//! between points of a Euclidean space, so the kernel is positive definite. Lengths and noise maximise the marginal likelihood
//! under a weak prior; the amplitude follows from them in closed form.

use super::model::{Column, Data};

/// Observations of which the lengths are learnt, at most.
const LEARN: usize = 100;
/// Steps of the search for the lengths.
const STEPS: usize = 20;
/// Mean of the logarithm of a length, for one column; it grows with half the logarithm of their number.
const LENGTH: f64 = -0.7;
/// Standard deviation of the logarithm of a length.
const LENGTH_SPREAD: f64 = 1.2;
/// Mean and standard deviation of the logarithm of the noise, as a share of the amplitude.
const NOISE: (f64, f64) = (-6.0, 2.0);
/// Bounds of the logarithms of lengths and of the noise.
const BOUNDS: [(f64, f64); 2] = [(-3.5, 6.0), (-12.0, 0.0)];

pub(crate) struct Gp {
    columns: Vec<Column>,
    rows: Vec<Vec<f64>>,
    /// Inverse squared lengths.
    scales: Vec<f64>,
    factor: Cholesky,
    /// The solution of the kernel matrix for the targets.
    weights: Vec<f64>,
    amplitude: f64,
    mean: f64,
}

impl Gp {
    /// A process of the rows of `data`; `None` where the arithmetic fails.
    pub fn fit(data: &Data) -> Option<Self> {
        let count = data.targets.len();
        let mean = data.targets.iter().sum::<f64>() / count as f64;
        let centred: Vec<f64> = data.targets.iter().map(|target| target - mean).collect();
        // An even share of the rows tells the lengths as well, for much less.
        let step = count.div_ceil(LEARN).max(1);
        let some: Vec<usize> = (0..count).step_by(step).collect();
        let pairs = Pairs::new(data, &some);
        let targets: Vec<f64> = some.iter().map(|&row| centred[row]).collect();
        let theta = learn(&pairs, &targets);
        let (scales, noise) = unpack(&theta);
        let columns = data.columns.clone();
        let mut matrix = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..i {
                matrix[i * count + j] = matern(squared(&columns, &scales, &data.rows[i], &data.rows[j]));
            }
            matrix[i * count + i] = 1.0 + noise;
        }
        let factor = Cholesky::new(matrix, count)?;
        let weights = factor.solve(&centred);
        let amplitude = (dot(&weights, &centred) / count as f64).max(1e-12);
        Some(Self { columns, rows: data.rows.clone(), scales, factor, weights, amplitude, mean })
    }

    /// Mean and variance, without the noise, at a row.
    pub fn predict(&self, row: &[f64]) -> (f64, f64) {
        let near: Vec<f64> = self.rows.iter().map(|other| matern(squared(&self.columns, &self.scales, row, other))).collect();
        let mean = self.mean + dot(&near, &self.weights);
        let half = self.factor.half_solve(near);
        (mean, self.amplitude * (1.0 - dot(&half, &half)).max(0.0))
    }
}

/// The squared distance of two values of a column.
fn difference(column: Column, a: f64, b: f64) -> f64 {
    match (column, a.is_nan(), b.is_nan()) {
        (_, true, true) => 0.0,
        (Column::Number, false, false) => (a - b).powi(2),
        (Column::Number, true, false) => 1.0 + (b - 0.5).powi(2),
        (Column::Number, false, true) => 1.0 + (a - 0.5).powi(2),
        _ => f64::from(u8::from(a != b)),
    }
}

fn squared(columns: &[Column], scales: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (at, column) in columns.iter().enumerate() {
        sum += scales[at] * difference(*column, a[at], b[at]);
    }
    sum
}

fn matern(squared: f64) -> f64 {
    let a = (5.0 * squared).sqrt();
    (1.0 + a + a * a / 3.0) * (-a).exp()
}

fn unpack(theta: &[f64]) -> (Vec<f64>, f64) {
    let (noise, lengths) = theta.split_last().map_or((NOISE.0, theta), |(noise, lengths)| (*noise, lengths));
    (lengths.iter().map(|length| (-2.0 * length).exp()).collect(), noise.exp())
}

/// The squared differences of all pairs of some rows, by column.
struct Pairs {
    count: usize,
    by_column: Vec<Vec<f64>>,
}

impl Pairs {
    fn new(data: &Data, some: &[usize]) -> Self {
        let column = |(at, column): (usize, &Column)| {
            let value = |row: usize| data.rows[some[row]][at];
            (0..some.len())
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| difference(*column, value(i), value(j)))
                .collect()
        };
        Self { count: some.len(), by_column: data.columns.iter().enumerate().map(column).collect() }
    }
}

/// Lengths and noise that maximise the posterior, by the signs of its gradient (Rprop: Riedmiller and Braun 1993).
fn learn(pairs: &Pairs, targets: &[f64]) -> Vec<f64> {
    let columns = pairs.by_column.len();
    let prior = LENGTH + 0.5 * (columns.max(1) as f64).ln();
    let mut theta = vec![prior; columns];
    theta.push(NOISE.0);
    let mut steps = vec![0.4_f64; theta.len()];
    let mut before = vec![0.0_f64; theta.len()];
    let mut best = (f64::NEG_INFINITY, theta.clone());
    for _ in 0..STEPS {
        let Some((mut value, mut gradient)) = likelihood(pairs, targets, &theta) else { break };
        for (at, theta) in theta.iter().enumerate() {
            let (mean, spread) = if at < columns { (prior, LENGTH_SPREAD) } else { NOISE };
            value -= 0.5 * ((theta - mean) / spread).powi(2);
            gradient[at] -= (theta - mean) / (spread * spread);
        }
        if value > best.0 {
            best = (value, theta.clone());
        }
        for at in 0..theta.len() {
            let turn = gradient[at] * before[at];
            steps[at] = (steps[at]
                * if turn > 0.0 {
                    1.3
                } else if turn < 0.0 {
                    0.5
                } else {
                    1.0
                })
            .clamp(0.01, 1.0);
            let (low, high) = BOUNDS[usize::from(at == columns)];
            if gradient[at] != 0.0 {
                theta[at] = (theta[at] + steps[at] * gradient[at].signum()).clamp(low, high);
            }
            before[at] = gradient[at];
        }
    }
    best.1
}

/// The logarithm of the marginal likelihood at its best amplitude, and its gradient.
fn likelihood(pairs: &Pairs, targets: &[f64], theta: &[f64]) -> Option<(f64, Vec<f64>)> {
    let (scales, noise) = unpack(theta);
    let count = pairs.count;
    let mut distances = vec![0.0; count * count.saturating_sub(1) / 2];
    for (differences, scale) in pairs.by_column.iter().zip(&scales) {
        for (distance, difference) in distances.iter_mut().zip(differences) {
            *distance += scale * difference;
        }
    }
    let mut matrix = vec![0.0; count * count];
    let mut slopes = distances;
    let mut at = 0;
    for i in 0..count {
        for j in 0..i {
            let a = (5.0 * slopes[at]).sqrt();
            let decay = (-a).exp();
            matrix[i * count + j] = (1.0 + a + a * a / 3.0) * decay;
            // The derivative by the logarithm of a length, but for what its own column has to do with it.
            slopes[at] = 5.0 / 3.0 * (1.0 + a) * decay;
            at += 1;
        }
        matrix[i * count + i] = 1.0 + noise;
    }
    let factor = Cholesky::new(matrix, count)?;
    let weights = factor.solve(targets);
    let amplitude = (dot(&weights, targets) / count as f64).max(1e-12);
    let value = -0.5 * count as f64 * amplitude.ln() - factor.log_diagonal();
    let inverse = factor.inverse();
    let mut at = 0;
    let mut trace = 0.0;
    for i in 0..count {
        for j in 0..i {
            slopes[at] *= weights[i] * weights[j] / amplitude - inverse[i * count + j];
            at += 1;
        }
        trace += weights[i] * weights[i] / amplitude - inverse[i * count + i];
    }
    let mut gradient: Vec<f64> =
        pairs.by_column.iter().zip(&scales).map(|(differences, scale)| scale * dot(differences, &slopes)).collect();
    gradient.push(0.5 * noise * trace);
    (value.is_finite() && gradient.iter().all(|slope| slope.is_finite())).then_some((value, gradient))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums at once: the processor need not wait for the last addition.
    let (mut sums, (a4, b4)) = ([0.0; 4], (a.chunks_exact(4), b.chunks_exact(4)));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a4.zip(b4) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The lower triangle whose product with its transpose is a matrix; by rows.
struct Cholesky {
    lower: Vec<f64>,
    count: usize,
}

impl Cholesky {
    /// Reads the lower triangle of `matrix`; `None` if it is not positive definite.
    fn new(mut matrix: Vec<f64>, count: usize) -> Option<Self> {
        for i in 0..count {
            let (done, open) = matrix.split_at_mut(i * count);
            let row = &mut open[..=i];
            for j in 0..i {
                let above = &done[j * count..=j * count + j];
                row[j] = (row[j] - dot(&row[..j], &above[..j])) / above[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            if !(square.is_finite() && square > 0.0) {
                return None;
            }
            row[i] = square.sqrt();
        }
        Some(Self { lower: matrix, count })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.count..=i * self.count + i]
    }

    /// Half of the logarithm of the determinant.
    fn log_diagonal(&self) -> f64 {
        (0..self.count).map(|i| self.row(i)[i].ln()).sum()
    }

    /// The solution for the triangle alone.
    fn half_solve(&self, mut right: Vec<f64>) -> Vec<f64> {
        for i in 0..self.count {
            let row = self.row(i);
            right[i] = (right[i] - dot(&row[..i], &right[..i])) / row[i];
        }
        right
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut solution = self.half_solve(right.to_vec());
        for i in (0..self.count).rev() {
            let row = self.row(i);
            solution[i] /= row[i];
            let value = solution[i];
            for (open, entry) in solution[..i].iter_mut().zip(row) {
                *open -= value * entry;
            }
        }
        solution
    }

    /// The lower triangle of the inverse of the matrix.
    fn inverse(&self) -> Vec<f64> {
        let count = self.count;
        // By columns, the inverse of the triangle: column j starts at row j.
        let mut columns = vec![0.0; count * count];
        for j in 0..count {
            let column = &mut columns[j * count..(j + 1) * count];
            column[j] = 1.0 / self.row(j)[j];
            for i in j + 1..count {
                let row = self.row(i);
                column[i] = -dot(&row[j..i], &column[j..i]) / row[i];
            }
        }
        let mut inverse = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                let (a, b) = (i * count..(i + 1) * count, j * count..(j + 1) * count);
                inverse[i * count + j] = dot(&columns[a][i..], &columns[b][i..]);
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(rows: &[(f64, f64)]) -> Data {
        Data {
            columns: vec![Column::Number],
            rows: rows.iter().map(|(x, _)| vec![*x]).collect(),
            targets: rows.iter().map(|(_, y)| *y).collect(),
        }
    }

    #[test]
    fn solves_and_inverts() {
        let matrix = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 0.5, 1.0, 3.0];
        let factor = Cholesky::new(matrix, 3).unwrap();
        let solution = factor.solve(&[1.0, 2.0, 3.0]);
        let product = [
            4.0 * solution[0] + 2.0 * solution[1] + 0.5 * solution[2],
            2.0 * solution[0] + 5.0 * solution[1] + solution[2],
            0.5 * solution[0] + solution[1] + 3.0 * solution[2],
        ];
        assert!(product.iter().zip([1.0, 2.0, 3.0]).all(|(own, right)| (own - right).abs() < 1e-12), "{product:?}");
        let inverse = factor.inverse();
        // Determinant 44.75; the cofactor of the first entry is 14.
        assert!((inverse[0] - 14.0 / 44.75).abs() < 1e-12, "{inverse:?}");
        assert!((2.0 * factor.log_diagonal() - 44.75_f64.ln()).abs() < 1e-12);
        assert!(Cholesky::new(vec![1.0, 0.0, 2.0, 1.0], 2).is_none());
    }

    #[test]
    fn the_gradient_is_that_of_the_likelihood() {
        let nan = f64::NAN;
        let rows = vec![vec![0.1, 0.0, nan], vec![0.4, 1.0, 0.2], vec![0.9, 2.0, nan], vec![0.6, 0.0, 0.7], vec![0.3, nan, 0.5]];
        let columns = vec![Column::Number, Column::Options(3), Column::Number];
        let targets = vec![0.3, -0.2, 0.9, -0.4, -0.6];
        let pairs = Pairs::new(&Data { columns, rows, targets: targets.clone() }, &[0, 1, 2, 3, 4]);
        let theta = vec![-0.5, 0.3, 0.1, -2.0];
        let (_, gradient) = likelihood(&pairs, &targets, &theta).unwrap();
        for at in 0..theta.len() {
            let shifted = |by: f64| {
                let mut theta = theta.clone();
                theta[at] += by;
                likelihood(&pairs, &targets, &theta).unwrap().0
            };
            let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((slope - gradient[at]).abs() < 1e-6, "{at}: {slope} {}", gradient[at]);
        }
    }

    #[test]
    fn passes_through_the_observations_and_is_unsure_far_from_them() {
        let rows: Vec<(f64, f64)> = [0.0, 0.15, 0.3, 0.5, 0.7].iter().map(|&x: &f64| (x, (4.0 * x).sin())).collect();
        let gp = Gp::fit(&data(&rows)).unwrap();
        for (x, y) in &rows {
            let (mean, variance) = gp.predict(&[*x]);
            assert!((mean - y).abs() < 0.03, "{x}: {mean} {y}");
            assert!(variance < gp.predict(&[1.0]).1, "{x}: {variance}");
        }
        let (mean, _) = gp.predict(&[0.4]);
        assert!((mean - 1.6_f64.sin()).abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_question_not_asked_is_a_level_of_its_own() {
        assert_eq!(difference(Column::Number, f64::NAN, f64::NAN), 0.0);
        assert!(difference(Column::Number, f64::NAN, 0.5) >= 1.0);
        assert_eq!(difference(Column::Options(3), f64::NAN, 1.0), 1.0);
        assert_eq!(difference(Column::Options(3), 2.0, 2.0), 0.0);
    }
}
