//! Which rows train and which validate.
//!
//! Every function returns sorted row numbers and depends on its arguments and the seed alone, on any machine and for any number
//! of threads. The shuffle is written out here, so that an update of a random-number crate cannot change the folds of a model
//! that was saved before.
//!
//! Regression targets are stratified by rank: the rows, in order of their target, are cut into blocks of `k` neighbours, and each
//! block gives one row to each fold. So all folds see the same quantiles, the extremes included, which lowers the variance of a
//! score that squares large errors.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `k` lists of validation rows. Each row is in exactly one, and their lengths differ by at most one.
///
/// `k` below 1 counts as 1; with fewer rows than `k` some lists are empty.
pub fn kfold(rows: usize, k: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut order = numbered(rows);
    shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
    deal(&order, k)
}

/// As [`kfold`], with the rows of each class spread evenly: any two folds differ by at most one row of a class.
///
/// `codes` are classes below `classes`; what is not below (a missing class) is spread as one class more. The classes are dealt one
/// after another without going back to the first fold, so that rare ones, with fewer rows than folds, do not all land there.
pub fn stratified_kfold(codes: &[u32], classes: usize, k: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let order: Vec<u32> = by_class(codes, classes, &mut rng).into_iter().flatten().collect();
    deal(&order, k)
}

/// As [`kfold`], stratified by the rank of a regression target; a `NaN` ranks by its sign, last if positive.
pub fn quantile_kfold(targets: &[f64], k: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order = by_rank(targets, &mut rng);
    for block in order.chunks_mut(k.max(1)) {
        shuffle(block, &mut rng);
    }
    deal(&order, k)
}

/// Training rows and validation rows, of which there are `fraction * rows`, rounded.
///
/// Both sides get at least one row where there are two; a fraction outside 0 to 1 counts as the nearer end.
pub fn holdout(rows: usize, fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut order = numbered(rows);
    shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
    order.truncate(validation_size(rows, fraction));
    divide(rows, order)
}

/// As [`holdout`], with each class giving its share; the rows left over by rounding come from the classes that lost most by it.
/// A class gives its last row to validation only if no other class has rows to give.
pub fn stratified_holdout(codes: &[u32], classes: usize, fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let rows = codes.len();
    let groups = by_class(codes, classes, &mut ChaCha8Rng::seed_from_u64(seed));
    let size = validation_size(rows, fraction);
    let share = size as f64 / rows.max(1) as f64;
    let exact: Vec<f64> = groups.iter().map(|group| group.len() as f64 * share).collect();
    let mut taken: Vec<usize> =
        groups.iter().zip(&exact).map(|(group, exact)| (*exact as usize).min(group.len().saturating_sub(1))).collect();
    let mut left = size - taken.iter().sum::<usize>().min(size);
    for keep in [1, 0] {
        while left > 0 {
            let lost = |class: usize| exact[class] - taken[class] as f64;
            let open = (0..groups.len()).filter(|&class| taken[class] + keep < groups[class].len());
            // Of equals the first class: `max_by` takes the last, hence the reversal.
            let Some(class) = open.rev().max_by(|a, b| lost(*a).total_cmp(&lost(*b))) else {
                break;
            };
            taken[class] += 1;
            left -= 1;
        }
    }
    let validation = groups.iter().zip(taken).flat_map(|(group, taken)| group.iter().take(taken).copied()).collect();
    divide(rows, validation)
}

/// As [`holdout`], with one validation row drawn from each of as many equal ranges of target ranks.
pub fn quantile_holdout(targets: &[f64], fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let order = by_rank(targets, &mut rng);
    let size = validation_size(order.len(), fraction);
    let validation = (0..size)
        .map(|range| {
            let (start, end) = (range * order.len() / size, (range + 1) * order.len() / size);
            order[start + below(&mut rng, end - start)]
        })
        .collect();
    divide(order.len(), validation)
}

/// The rows from 0 to `rows` that are not in `validation`, which must be sorted: what a fold trains on.
pub fn complement(rows: usize, validation: &[u32]) -> Vec<u32> {
    let mut skipped = validation.iter().peekable();
    numbered(rows)
        .into_iter()
        .filter(|row| {
            let skip = skipped.peek() == Some(&row);
            if skip {
                skipped.next();
            }
            !skip
        })
        .collect()
}

fn numbered(rows: usize) -> Vec<u32> {
    (0..rows as u32).collect()
}

/// Row lists by class in random order; the last one holds the rows without a class.
fn by_class(codes: &[u32], classes: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
    let mut groups = vec![Vec::new(); classes + 1];
    for (row, code) in (0_u32..).zip(codes) {
        groups[(*code as usize).min(classes)].push(row);
    }
    for group in &mut groups {
        shuffle(group, rng);
    }
    groups
}

/// Rows in order of their target, equal ones in random order.
fn by_rank(targets: &[f64], rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut order = numbered(targets.len());
    shuffle(&mut order, rng);
    order.sort_by(|a, b| targets[*a as usize].total_cmp(&targets[*b as usize]));
    order
}

/// Rows dealt like cards.
fn deal(order: &[u32], k: usize) -> Vec<Vec<u32>> {
    let k = k.max(1);
    let mut folds: Vec<Vec<u32>> = (0..k).map(|fold| order.iter().skip(fold).step_by(k).copied().collect()).collect();
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    folds
}

fn divide(rows: usize, mut validation: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
    validation.sort_unstable();
    (complement(rows, &validation), validation)
}

fn validation_size(rows: usize, fraction: f64) -> usize {
    let size = (rows as f64 * fraction).round() as usize;
    size.min(rows.saturating_sub(1)).max(usize::from(rows > 1))
}

/// Fisher and Yates.
fn shuffle(rows: &mut [u32], rng: &mut ChaCha8Rng) {
    for last in (1..rows.len()).rev() {
        rows.swap(last, below(rng, last + 1));
    }
}

/// A number below `end`. Lemire's multiplication without rejection: its bias is below `end / 2^64`.
fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    ((u128::from(rng.next_u64()) * end as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(folds: &[Vec<u32>]) -> Vec<u32> {
        let mut rows: Vec<u32> = folds.concat();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(kfold(100, 5, 7), kfold(100, 5, 7));
        assert_ne!(kfold(100, 5, 7), kfold(100, 5, 8));
        // Saved models rely on these folds: they may never change.
        assert_eq!(kfold(10, 3, 1), [vec![1, 2, 4, 5], vec![3, 7, 9], vec![0, 6, 8]]);
    }

    #[test]
    fn rare_classes_are_spread() {
        // Four classes of two rows each and five folds: no fold may get three of these rows.
        let codes: Vec<u32> = (0..8).map(|row| row / 2).chain([9; 42]).collect();
        let folds = stratified_kfold(&codes, 10, 5, 3);
        for fold in &folds {
            assert_eq!(fold.len(), 10);
            assert!(fold.iter().filter(|row| **row < 8).count() <= 2, "{folds:?}");
        }
    }

    #[test]
    fn folds_of_a_regression_share_their_quantiles() {
        let targets: Vec<f64> = (0..1000).map(|row| f64::from(row * 617 % 1000).powi(3)).collect();
        let mean = |rows: &[u32]| rows.iter().map(|row| targets[*row as usize]).sum::<f64>() / rows.len() as f64;
        let all = mean(&numbered(1000));
        for fold in quantile_kfold(&targets, 5, 1) {
            assert!((mean(&fold) / all - 1.0).abs() < 0.01);
        }
        let (train, validation) = quantile_holdout(&targets, 0.1, 1);
        assert_eq!((train.len(), validation.len()), (900, 100));
        assert!((mean(&validation) / all - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_class_of_one_row_stays_in_training() {
        let codes: Vec<u32> = [0; 50].into_iter().chain([1; 49]).chain([2]).collect();
        let (train, validation) = stratified_holdout(&codes, 3, 0.5, 1);
        assert_eq!(validation.len(), 50);
        assert!(train.contains(&99));
        assert_eq!(validation.iter().filter(|row| **row < 50).count(), 25);
        let distinct: Vec<u32> = (0..4).collect();
        assert_eq!(stratified_holdout(&distinct, 4, 0.5, 1).1.len(), 2);
    }

    proptest! {
        #[test]
        fn folds_partition_the_rows(
            codes in proptest::collection::vec(prop_oneof![0_u32..6, Just(u32::MAX)], 0..120), k in 0_usize..9, seed: u64,
        ) {
            let rows = numbered(codes.len());
            let targets: Vec<f64> = codes.iter().map(|code| if *code > 6 { f64::NAN } else { f64::from(*code) }).collect();
            let stratified = stratified_kfold(&codes, 6, k, seed);
            for folds in [&kfold(codes.len(), k, seed), &stratified, &quantile_kfold(&targets, k, seed)] {
                prop_assert_eq!(folds.len(), k.max(1));
                prop_assert_eq!(&flat(folds), &rows);
                let lengths = || folds.iter().map(Vec::len);
                prop_assert!(lengths().max() <= lengths().min().map(|least| least + 1));
            }
            for class in 0..6 {
                let counts = || stratified.iter().map(|fold| fold.iter().filter(|row| codes[**row as usize] == class).count());
                prop_assert!(counts().max() <= counts().min().map(|least| least + 1));
            }
        }

        #[test]
        fn holdouts_partition_the_rows(
            codes in proptest::collection::vec(prop_oneof![0_u32..6, Just(u32::MAX)], 0..120),
            fraction in prop_oneof![0.0..1.0, Just(-1.0), Just(2.0), Just(f64::NAN)],
            seed: u64,
        ) {
            let rows = codes.len();
            let targets: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
            for (train, validation) in [
                holdout(rows, fraction, seed),
                stratified_holdout(&codes, 6, fraction, seed),
                quantile_holdout(&targets, fraction, seed),
            ] {
                prop_assert_eq!(validation.len(), validation_size(rows, fraction));
                prop_assert_eq!(flat(&[train, validation]), numbered(rows));
            }
        }
    }
}
