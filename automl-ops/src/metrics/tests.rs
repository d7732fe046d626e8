//! Scores against those of scikit-learn 1.7 for the same numbers.

use proptest::prelude::*;

use super::*;

const TRUTH: [u32; 10] = [0, 1, 2, 2, 1, 0, 2, 1, 0, 2];
const PROBABILITIES: [f32; 30] = [
    0.7, 0.2, 0.1, 0.2, 0.5, 0.3, 0.1, 0.2, 0.7, 0.3, 0.4, 0.3, 0.25, 0.5, 0.25, 0.4, 0.4, 0.2, 0.2, 0.2, 0.6, 0.6, 0.3, 0.1,
    0.5, 0.25, 0.25, 0.1, 0.1, 0.8,
];
const WEIGHTS: [f32; 10] = [1.0, 2.0, 1.0, 0.5, 1.0, 3.0, 1.0, 1.0, 2.0, 0.25];

fn classes(metric: Metric, truth: &[u32], values: &[f32], classes: usize, weights: Option<&[f32]>) -> Result<f64, MetricError> {
    metric.score(Truth::Classes(truth), Predictions::Probabilities { values, classes }, weights)
}

fn values(metric: Metric, truth: &[f32], values: &[f32], weights: Option<&[f32]>) -> Result<f64, MetricError> {
    metric.score(Truth::Values(truth), Predictions::Values(values), weights)
}

fn close(found: Result<f64, MetricError>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn three_classes() {
    let score = |metric, weights| classes(metric, &TRUTH, &PROBABILITIES, 3, weights);
    close(score(Metric::BalancedAccuracy, None), 0.8055555555555555);
    close(score(Metric::Accuracy, None), 0.8);
    close(score(Metric::LogLoss, None), 0.6850996945163528);
    close(score(Metric::RocAuc, None), 0.929563492063492);
    close(score(Metric::F1, None), 0.7936507936507936);
    let weights = Some(&WEIGHTS[..]);
    close(score(Metric::BalancedAccuracy, weights), 0.8560606060606061);
    close(score(Metric::Accuracy, weights), 0.8823529411764706);
    close(score(Metric::LogLoss, weights), 0.7294532317163218);
    close(score(Metric::RocAuc, weights), 0.9194537972315752);
    close(score(Metric::F1, weights), 0.8743589743589744);
}

#[test]
fn two_classes_with_ties() {
    let truth = [0, 1, 1, 0, 1, 0, 1, 0];
    let second = [0.1_f32, 0.4, 0.35, 0.4, 0.8, 0.4, 0.9, 0.2];
    let both: Vec<f32> = second.iter().flat_map(|p| [1.0 - p, *p]).collect();
    let weights = [1.0, 2.0, 3.0, 1.0, 0.5, 2.0, 1.0, 4.0];
    close(classes(Metric::RocAuc, &truth, &both, 2, None), 0.8125);
    close(classes(Metric::F1, &truth, &both, 2, None), 0.7333333333333334);
    close(classes(Metric::RocAuc, &truth, &both, 2, Some(&weights)), 0.7692307692307692);
    close(classes(Metric::F1, &truth, &both, 2, Some(&weights)), 0.5684523809523809);
}

#[test]
fn regression_scores() {
    let (truth, found, weights) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0], [1.0, 2.0, 0.5, 1.0]);
    close(values(Metric::Rmse, &truth, &found, None), 0.6123724356957945);
    close(values(Metric::Mae, &truth, &found, None), 0.5);
    close(values(Metric::R2, &truth, &found, None), 0.9486081370449679);
    close(values(Metric::Rmse, &truth, &found, Some(&weights)), 0.6236095644623235);
    close(values(Metric::Mae, &truth, &found, Some(&weights)), 0.5555555555555556);
    close(values(Metric::R2, &truth, &found, Some(&weights)), 0.9542815674891146);
    assert_eq!(values(Metric::R2, &[2.0, 2.0], &[2.0, 2.0], None), Ok(1.0));
    assert_eq!(values(Metric::R2, &[2.0, 2.0], &[2.0, 3.0], None), Ok(0.0));
}

#[test]
fn classes_that_do_not_occur_do_not_count() {
    // Class 2 is neither true nor predicted, class 1 is predicted but never true.
    let probabilities = [0.9, 0.1, 0.0, 0.2, 0.8, 0.0];
    assert_eq!(classes(Metric::BalancedAccuracy, &[0, 0], &probabilities, 3, None), Ok(0.5));
    close(classes(Metric::F1, &[0, 0], &probabilities, 3, None), (2.0 / 3.0 + 0.0) / 2.0);
    let three = [0.9, 0.1, 0.0, 0.2, 0.8, 0.0, 0.6, 0.4, 0.0];
    assert_eq!(classes(Metric::RocAuc, &[0, 1, 0], &three, 3, None), Ok(1.0));
}

#[test]
fn certain_mistakes_cost_much_but_not_infinitely() {
    close(classes(Metric::LogLoss, &[1], &[1.0, 0.0], 2, None), -(1e-15_f64).ln());
    close(classes(Metric::LogLoss, &[1], &[0.0, 1.0], 2, None), 0.0);
    close(classes(Metric::LogLoss, &[1], &[0.0, 0.0], 2, None), 2.0_f64.ln());
    close(classes(Metric::LogLoss, &[1], &[0.4, 0.4], 2, None), 2.0_f64.ln());
}

#[test]
fn what_has_no_score_is_an_error() {
    let undefined = |result: Result<f64, MetricError>| matches!(result, Err(MetricError::Undefined { .. }));
    assert!(undefined(classes(Metric::RocAuc, &[1, 1], &[0.5; 4], 2, None)));
    assert!(undefined(classes(Metric::RocAuc, &[1, 1], &[0.5; 6], 3, None)));
    assert!(undefined(classes(Metric::RocAuc, &[0, 1], &[0.5; 4], 2, Some(&[1.0, 0.0]))));
    assert!(undefined(classes(Metric::Accuracy, &[], &[], 2, None)));
    assert!(undefined(classes(Metric::Accuracy, &[0], &[1.0, 0.0], 2, Some(&[0.0]))));
    assert!(undefined(values(Metric::R2, &[1.0], &[1.0], None)));
    let value = |result: Result<f64, MetricError>, row| matches!(result, Err(MetricError::Value { row: r, .. }) if r == row);
    assert!(value(classes(Metric::LogLoss, &[0, 2], &[0.5; 4], 2, None), 1));
    assert!(value(classes(Metric::LogLoss, &[0, u32::MAX], &[0.5; 4], 2, None), 1));
    assert!(value(classes(Metric::LogLoss, &[0, 1], &[0.5, 0.5, f32::NAN, 0.5], 2, None), 1));
    assert!(value(classes(Metric::LogLoss, &[0], &[], 0, None), 0));
    assert!(value(values(Metric::Rmse, &[0.0, f32::NAN], &[0.0, 0.0], None), 1));
    assert!(value(values(Metric::Rmse, &[0.0], &[f32::INFINITY], None), 0));
    assert!(value(values(Metric::Rmse, &[0.0, 0.0], &[0.0, 0.0], Some(&[1.0, -1.0])), 1));
    assert!(matches!(classes(Metric::F1, &[0, 1], &[0.5; 3], 2, None), Err(MetricError::Shape { expected: 4, found: 3, .. })));
    let error = classes(Metric::Rmse, &[0], &[0.5; 2], 2, None).unwrap_err().to_string();
    assert_eq!(error, "`rmse` scores numbers; choose a metric of the task, such as `balanced_accuracy`");
}

#[test]
fn names_aliases_and_mistakes() {
    for (name, metric) in [
        ("balanced_accuracy", Metric::BalancedAccuracy),
        ("neg_log_loss", Metric::LogLoss),
        ("logloss", Metric::LogLoss),
        ("auc", Metric::RocAuc),
        ("roc_auc_ovr", Metric::RocAuc),
        ("f1_macro", Metric::F1),
        ("neg_root_mean_squared_error", Metric::Rmse),
        ("neg_mean_absolute_error", Metric::Mae),
    ] {
        assert_eq!(name.parse::<Metric>(), Ok(metric));
    }
    for metric in Metric::ALL {
        assert_eq!(metric.name().parse::<Metric>(), Ok(metric));
        let json = serde_json::to_string(&metric).unwrap();
        assert_eq!(json, format!("\"{}\"", metric.name()));
        assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
        // The schema must offer the very names that parsing takes.
        assert!(serde_json::to_string(&schemars::schema_for!(Metric)).unwrap().contains(&json));
        assert_eq!(metric.task().default_metric().task(), metric.task());
    }
    let error = "ballanced_accuracy".parse::<Metric>().unwrap_err().to_string();
    assert!(error.starts_with("there is no metric `ballanced_accuracy` (did you mean `balanced_accuracy`?); the metrics are"));
    assert!(Metric::R2.maximize() && !Metric::LogLoss.maximize());
}

proptest! {
    /// The area is the share of pairs in the right order, counted one by one.
    #[test]
    fn the_area_counts_pairs(rows in proptest::collection::vec((0_u32..2, 0_u8..6, 0_u8..4), 2..40)) {
        let truth: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let both: Vec<f32> = rows.iter().flat_map(|row| [1.0 - f32::from(row.1) / 8.0, f32::from(row.1) / 8.0]).collect();
        let weights: Vec<f32> = rows.iter().map(|row| f32::from(row.2)).collect();
        let (mut right, mut all) = (0.0, 0.0);
        for a in rows.iter().filter(|row| row.0 == 1) {
            for b in rows.iter().filter(|row| row.0 == 0) {
                let weight = f64::from(a.2) * f64::from(b.2);
                all += weight;
                right += weight * if a.1 > b.1 { 1.0 } else if a.1 == b.1 { 0.5 } else { 0.0 };
            }
        }
        match classes(Metric::RocAuc, &truth, &both, 2, Some(&weights)) {
            Ok(area) => prop_assert!((area - right / all).abs() < 1e-12),
            Err(_) => prop_assert_eq!(all, 0.0),
        }
    }
}
