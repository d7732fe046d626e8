//! Filling gaps with the mean of the nearest rows (Troyanskaya et al., “Missing value estimation methods for DNA microarrays”,
//! 2001), on standardised columns.
//!
//! Two rows are compared in the columns that both have: the mean of the squared differences there. For each gap the nearest
//! rows are those that have the value. Donors lie column by column, so that the distances of one row to all of them are sums
//! over long vectors.

use super::LearnError;

/// Standardised values are cut here, which keeps squares far from the limits of `f32`.
const CUT: f64 = 1e6;

/// Fitted nearest-row imputation.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnImputer {
    /// Number of rows that are averaged.
    pub k: usize,
    /// Whether near rows count more, by the inverse of their distance.
    pub by_distance: bool,
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// Standard deviation of each column, above 0.
    pub scale: Vec<f64>,
    /// Rows to take values from, column by column; `NaN` is a gap.
    pub donors: Vec<Vec<f32>>,
}

/// What distances are computed from, and in.
pub struct Search<'a> {
    imputer: &'a KnnImputer,
    /// Standardised donors, 0 in gaps.
    values: Vec<Vec<f32>>,
    /// 1 for a value, 0 for a gap; nothing for a column without gaps.
    present: Vec<Option<Vec<f32>>>,
}

impl KnnImputer {
    /// Validates the fields after loading.
    ///
    /// # Errors
    /// [`LearnError::Corrupt`] where lengths differ or numbers are out of range.
    pub fn check(&self) -> Result<(), LearnError> {
        let rows = self.donors.first().map_or(0, Vec::len);
        let sound = self.k > 0
            && self.mean.len() == self.scale.len()
            && self.mean.len() == self.donors.len()
            && self.mean.iter().all(|mean| mean.abs() <= 1e19)
            && self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && self.donors.iter().all(|column| column.len() == rows && !column.iter().any(|value| value.abs() > 2e18));
        if sound { Ok(()) } else { Err(LearnError::Corrupt { model: "imputation", problem: "its parts do not fit together" }) }
    }

    fn standard(&self, column: usize, value: f32) -> f32 {
        let (Some(mean), Some(scale)) = (self.mean.get(column), self.scale.get(column)) else { return 0.0 };
        ((f64::from(value) - mean) / scale).clamp(-CUT, CUT) as f32
    }

    /// Prepares the donors; the parts must have passed [`KnnImputer::check`].
    pub fn search(&self) -> Search<'_> {
        let standard = |(index, column): (usize, &Vec<f32>)| {
            column.iter().map(|&value| if value.is_nan() { 0.0 } else { self.standard(index, value) }).collect()
        };
        let present = |column: &Vec<f32>| {
            let gaps = column.iter().any(|value| value.is_nan());
            gaps.then(|| column.iter().map(|value| f32::from(u8::from(!value.is_nan()))).collect())
        };
        Search {
            imputer: self,
            values: self.donors.iter().enumerate().map(standard).collect(),
            present: self.donors.iter().map(present).collect(),
        }
    }
}

impl Search<'_> {
    /// Fills the gaps of a row of the width of the donors. A column that no comparable donor has gets its mean.
    pub fn fill(&self, row: &mut [f32]) {
        let donors = self.values.first().map_or(0, Vec::len);
        let (mut distances, mut shared) = (vec![0.0_f32; donors], vec![0.0_f32; donors]);
        let mut everywhere = 0.0;
        for (index, (values, present)) in self.values.iter().zip(&self.present).enumerate() {
            let Some(&value) = row.get(index).filter(|value| !value.is_nan()) else { continue };
            let at = self.imputer.standard(index, value);
            match present {
                None => {
                    everywhere += 1.0;
                    for (distance, value) in distances.iter_mut().zip(values) {
                        *distance += (value - at) * (value - at);
                    }
                }
                Some(present) => {
                    for (((distance, shared), value), present) in distances.iter_mut().zip(&mut shared).zip(values).zip(present) {
                        let difference = (value - at) * present;
                        *distance += difference * difference;
                        *shared += present;
                    }
                }
            }
        }
        for (distance, shared) in distances.iter_mut().zip(&shared) {
            let shared = shared + everywhere;
            *distance = if shared > 0.0 { *distance / shared } else { f32::INFINITY };
        }
        let mut near = Vec::with_capacity(self.imputer.k.min(donors) + 1);
        for (index, (cell, column)) in row.iter_mut().zip(&self.imputer.donors).enumerate() {
            if cell.is_nan() {
                self.nearest(&distances, self.present.get(index).and_then(Option::as_deref), &mut near);
                let mean = || self.imputer.mean.get(index).copied();
                *cell = self.average(&near, column).or_else(mean).unwrap_or(0.0) as f32;
            }
        }
    }

    /// The nearest donors that have the value, nearest first, the earlier of equally near ones.
    fn nearest(&self, distances: &[f32], present: Option<&[f32]>, near: &mut Vec<(f32, usize)>) {
        near.clear();
        let mut worst = f32::INFINITY;
        for (donor, &distance) in distances.iter().enumerate() {
            if distance < worst && present.and_then(|present| present.get(donor)).is_none_or(|&present| present > 0.0) {
                let place = near.partition_point(|&(other, _)| other <= distance);
                near.insert(place, (distance, donor));
                near.truncate(self.imputer.k);
                if near.len() == self.imputer.k {
                    worst = near.last().map_or(worst, |&(distance, _)| distance);
                }
            }
        }
    }

    fn average(&self, near: &[(f32, usize)], column: &[f32]) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0.0);
        for &(distance, donor) in near {
            let weight = if self.imputer.by_distance { 1.0 / (f64::from(distance).sqrt() + 1e-6) } else { 1.0 };
            sum += weight * f64::from(*column.get(donor)?);
            total += weight;
        }
        (total > 0.0).then(|| sum / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_scikit_learn() {
        // KNNImputer(n_neighbors=2) on the standardised columns.
        let x = [[1.0, 2.0, f32::NAN], [3.0, 4.0, 3.0], [f32::NAN, 6.0, 5.0], [8.0, 8.0, 7.0], [2.0, f32::NAN, 4.0]];
        let mut imputer = KnnImputer {
            k: 2,
            by_distance: false,
            mean: vec![],
            scale: vec![],
            donors: (0..3).map(|c| x.map(|r| r[c]).to_vec()).collect(),
        };
        for column in &imputer.donors {
            let (mean, variance, _) = super::super::scale::present_moments(column);
            imputer.mean.push(mean);
            imputer.scale.push(variance.sqrt());
        }
        imputer.check().unwrap();
        let filled = x.map(|mut row| {
            imputer.search().fill(&mut row);
            row
        });
        for (filled, expected) in [filled[0][2], filled[2][0], filled[4][1]].iter().zip([3.5, 2.5, 3.0]) {
            assert!((filled - expected).abs() < 1e-6, "{filled} {expected}");
        }
        let mut nothing = [f32::NAN; 3];
        imputer.search().fill(&mut nothing);
        assert_eq!(nothing, [3.5, 5.0, 4.75]);
    }
}
