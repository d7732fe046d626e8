//! Makes columns fit for a network: centred on the median, divided by the interquartile range, and squashed to ±3, so that no
//! outlier can drive the training (Holzmüller et al., "Better by Default", 2024).

use automl_core::Cancel;
use automl_ops::frame::Frame;
use automl_ops::operator::OperatorError;

/// Where a squashed number ends.
const LIMIT: f64 = 3.0;

/// What each column is centred on and multiplied with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Inputs {
    pub center: Vec<f64>,
    pub scale: Vec<f64>,
}

impl Inputs {
    /// Learns from the columns of a frame. A column of one value gets scale 0; where half the values are one, as in an
    /// indicator, the whole range stands in for the interquartile one.
    pub fn fit(x: &Frame, cancel: &Cancel) -> Result<Self, OperatorError> {
        let mut inputs = Self::default();
        for index in 0..x.columns().len() {
            if cancel.is_cancelled() {
                return Err(OperatorError::Cancelled);
            }
            let mut values: Vec<f32> = x.numeric(index)?.iter().copied().filter(|value| value.is_finite()).collect();
            let (center, scale) = center_and_scale(&mut values);
            inputs.center.push(center);
            inputs.scale.push(scale);
        }
        Ok(inputs)
    }

    /// The rows from `start`, at most `count`, row-major and finite.
    pub fn apply(&self, x: &Frame, start: usize, count: usize) -> Result<Vec<f32>, OperatorError> {
        x.expect_width(self.center.len())?;
        let (width, end) = (self.center.len(), (start + count).min(x.rows()));
        let mut rows = vec![0.0; width * end.saturating_sub(start)];
        for (index, (center, scale)) in self.center.iter().zip(&self.scale).enumerate() {
            let column = x.numeric(index)?.get(start..end).unwrap_or(&[]);
            for (to, &value) in rows.iter_mut().skip(index).step_by(width).zip(column) {
                let z = (f64::from(value) - center) * scale;
                let squashed = (z / (1.0 + (z / LIMIT) * (z / LIMIT)).sqrt()) as f32;
                *to = if squashed.is_finite() { squashed } else { 0.0 };
            }
        }
        Ok(rows)
    }
}

fn center_and_scale(values: &mut [f32]) -> (f64, f64) {
    let Some(last) = values.len().checked_sub(1) else { return (0.0, 0.0) };
    let mut at = |rank: usize| f64::from(*values.select_nth_unstable_by(rank, f32::total_cmp).1);
    let (low, center, high) = (at(last / 4), at(last / 2), at(last - last / 4));
    let (spread, range) = (high - low, (at(last) - at(0)) / 2.0);
    let scale = if spread > 0.0 { 1.0 / spread } else { 1.0 / range };
    (center, if scale.is_finite() { scale } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_centred_scaled_and_squashed() {
        let x = Frame::from_rows(&[0.0, 0.0, 7.0, 1.0, 0.0, 7.0, 2.0, 0.0, 7.0, 3.0, 1.0, 7.0, 1e18, 0.0, 7.0], 3);
        let inputs = Inputs::fit(&x, &Cancel::new()).unwrap();
        assert_eq!(inputs, Inputs { center: vec![2.0, 0.0, 7.0], scale: vec![0.5, 2.0, 0.0] });
        let rows = inputs.apply(&x, 3, 10).unwrap();
        assert_eq!(rows.len(), 6);
        assert!((rows[0] - 0.493_197).abs() < 1e-5 && (rows[3] - 3.0).abs() < 1e-5, "{rows:?}");
        assert_eq!([rows[2], rows[5]], [0.0, 0.0]);
    }
}
