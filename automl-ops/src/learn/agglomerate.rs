//! Groups of columns by hierarchical clustering of their correlations.
//!
//! Columns are as far apart as `1 - |r|`; clusters are merged by Ward's criterion or by their mean distance, found by chains of
//! nearest neighbours (Murtagh, *A survey of recent advances in hierarchical clustering algorithms*, 1983) in time and memory
//! that grow with the square of the number of columns.

use automl_core::Cancel;
use ndarray::Array2;

use super::LearnError;
use super::affine::{Affine, Weights};
use super::columns::{Columns, Standard, alive};
use super::correlation::{matrix, unit};

/// Most columns: their distances take 64 MB.
pub const MAX_COLUMNS: usize = 4000;

/// How far apart clusters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// By how much a merger raises the spread within clusters.
    Ward,
    /// Mean distance of their columns.
    Average,
}

/// Merges the columns of `x` into `clusters` groups; the output is the mean of each group's standardised columns, those turned
/// around that correlate negatively with its first. Constant columns belong to no group.
///
/// # Errors
/// An empty table, more than [`MAX_COLUMNS`] columns, or a cancelled token.
pub fn fit(x: &Columns<'_>, clusters: usize, linkage: Linkage, seed: u64, cancel: &Cancel) -> Result<Affine, LearnError> {
    x.check_fit()?;
    if x.width() > MAX_COLUMNS {
        return Err(LearnError::TooMany { what: "columns to be grouped", found: x.width(), limit: MAX_COLUMNS });
    }
    let standard = Standard::fit(x, cancel)?;
    let varying: Vec<usize> = (0..x.width()).filter(|&column| standard.of(column).1 > 0.0).collect();
    if varying.is_empty() {
        return Ok(Affine { mean: standard.mean, weights: Weights::Sparse(vec![Vec::new()]) });
    }
    let correlation = matrix(&unit(&x.select(&varying), false, seed, cancel)?, cancel)?;
    let merges = merges(correlation.mapv(|r| (1.0 - r.abs()).max(0.0)), linkage, cancel)?;
    let groups = cut(varying.len(), merges, clusters.max(1));
    let weights = |group: Vec<usize>| {
        let first = group.first().copied().unwrap_or(0);
        let weight = |&member: &usize| {
            let column = varying.get(member).copied().unwrap_or(0);
            let sign = if correlation[(first, member)] < 0.0 { -1.0 } else { 1.0 };
            (column as u32, sign * standard.of(column).1 / group.len() as f64)
        };
        group.iter().map(weight).collect()
    };
    Ok(Affine { weights: Weights::Sparse(groups.into_iter().map(weights).collect()), mean: standard.mean })
}

/// All mergers of `n` columns: height, and a column of each of the two clusters.
fn merges(mut distance: Array2<f32>, linkage: Linkage, cancel: &Cancel) -> Result<Vec<(f32, usize, usize)>, LearnError> {
    let n = distance.nrows();
    let mut size = vec![1.0f32; n];
    let mut alive_clusters: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    let mut merges = Vec::with_capacity(n.saturating_sub(1));
    while alive_clusters.len() > 1 {
        alive(cancel)?;
        let tip = match chain.last() {
            Some(&tip) => tip,
            None => {
                chain.push(alive_clusters[0]);
                alive_clusters[0]
            }
        };
        // The neighbour before the tip wins ties, or chains could turn in circles.
        let previous = chain.len().checked_sub(2).map(|at| chain[at]);
        let mut nearest = previous.map(|previous| (distance[(tip, previous)], previous));
        for &other in alive_clusters.iter().filter(|&&other| other != tip) {
            let apart = distance[(tip, other)];
            if nearest.is_none_or(|(least, _)| apart < least) {
                nearest = Some((apart, other));
            }
        }
        let Some((height, other)) = nearest else { break };
        if Some(other) != previous {
            chain.push(other);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (kept, gone) = (tip.min(other), tip.max(other));
        merges.push((height, kept, gone));
        alive_clusters.retain(|&cluster| cluster != gone);
        let (a, b) = (size[kept], size[gone]);
        for &cluster in alive_clusters.iter().filter(|&&cluster| cluster != kept) {
            let (to_kept, to_gone, c) = (distance[(kept, cluster)], distance[(gone, cluster)], size[cluster]);
            let apart = match linkage {
                Linkage::Average => (a * to_kept + b * to_gone) / (a + b),
                // Distances stand for squared ones (Lance and Williams, 1967).
                Linkage::Ward => (((a + c) * to_kept + (b + c) * to_gone - c * height) / (a + b + c)).max(0.0),
            };
            distance[(kept, cluster)] = apart;
            distance[(cluster, kept)] = apart;
        }
        size[kept] = a + b;
    }
    Ok(merges)
}

/// The clusters that are left after the lowest mergers, each ascending, by their first column.
fn cut(n: usize, mut merges: Vec<(f32, usize, usize)>, clusters: usize) -> Vec<Vec<usize>> {
    merges.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut parent: Vec<usize> = (0..n).collect();
    let root = |parent: &[usize], mut at: usize| {
        while parent[at] != at {
            at = parent[at];
        }
        at
    };
    for &(_, a, b) in merges.iter().take(n.saturating_sub(clusters)) {
        let (a, b) = (root(&parent, a), root(&parent, b));
        parent[a.max(b)] = a.min(b);
    }
    let mut groups = vec![Vec::new(); n];
    (0..n).for_each(|column| groups[root(&parent, column)].push(column));
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlated_columns_are_one_group_whatever_their_sign() {
        let noise = |seed: u32, row: u32| (row.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 16) as f32 % 100.0;
        let columns: Vec<Vec<f32>> = (0..6u32)
            .map(|c| {
                let sign = if c == 4 { -50.0 } else { 1.0 };
                (0..500).map(|row| sign * (noise(c % 3 * 7919 + 1, row) + noise(c + 77, row * 31 + c) * 0.1)).collect()
            })
            .collect();
        let constant = vec![2.0f32; 500];
        let data = columns.iter().map(Vec::as_slice).chain([constant.as_slice()]).collect();
        let x = Columns::new(500, data).unwrap();
        for linkage in [Linkage::Ward, Linkage::Average] {
            let map = fit(&x, 3, linkage, 1, &Cancel::new()).unwrap();
            map.check().unwrap();
            let Weights::Sparse(lists) = &map.weights else { panic!() };
            let groups: Vec<Vec<u32>> = lists.iter().map(|list| list.iter().map(|(column, _)| *column).collect()).collect();
            assert_eq!(groups, [[0, 3], [1, 4], [2, 5]]);
            assert!(lists[1][0].1 > 0.0 && lists[1][1].1 < 0.0);
        }
    }

    #[test]
    fn mergers_are_those_of_scipy() {
        // Distances of the points 0, 1, 4, 9, 11 on a line: average linkage merges 0+1 at 1, 3+4 at 2, then 2 at 3.5.
        let points = [0.0f32, 1.0, 4.0, 9.0, 11.0];
        let distance = Array2::from_shape_fn((5, 5), |(i, j)| (points[i] - points[j]).abs());
        let mut found = merges(distance.clone(), Linkage::Average, &Cancel::new()).unwrap();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let heights: Vec<f32> = found.iter().map(|merge| merge.0).collect();
        assert_eq!(heights[..3], [1.0, 2.0, 3.5]);
        assert!((heights[3] - 25.0 / 3.0).abs() < 1e-5);
        assert_eq!(cut(5, found, 2), [vec![0, 1, 2], vec![3, 4]]);
        // Ward's on squared distances: scipy's heights squared.
        let mut found = merges(distance.mapv(|d| d * d), Linkage::Ward, &Cancel::new()).unwrap();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let expected = [1.0, 4.0, 16.333_334, 166.666_67];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found.0 - expected).abs() < 1e-3), "{found:?}");
    }
}
