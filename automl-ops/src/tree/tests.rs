//! Checks of the kernels on small made-up problems.

use std::sync::Arc;
use std::time::{Duration, Instant};

use automl_core::Cancel;
use rand::Rng;

use super::bins::Bins;
use super::boosting::{self, Booster, BoostingParams, Growth};
use super::forest::{self, Criterion, Forest, ForestParams};
use super::{PartData, Parts, Raw, Target, TreeError, stream};

/// Columns and targets: two numbers, one of them with gaps, and a category with 12 levels.
struct Problem {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<u32>,
    values: Vec<f32>,
    classes: Vec<u32>,
}

impl Problem {
    fn new(rows: usize, seed: u64) -> Self {
        let mut rng = stream(seed, 0);
        let mut unit = || (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        let a: Vec<f32> = (0..rows).map(|_| unit() * 4.0 - 2.0).collect();
        let b: Vec<f32> = (0..rows)
            .map(|_| if unit() < 0.2 { f32::NAN } else { unit() })
            .collect();
        let c: Vec<u32> = (0..rows).map(|_| (unit() * 12.0) as u32).collect();
        let value = |i: usize| {
            let gap = if b[i].is_nan() { 1.5 } else { b[i] };
            a[i] * a[i]
                + gap
                + if [1, 4, 5, 9].contains(&c[i]) {
                    2.0
                } else {
                    0.0
                }
        };
        let values: Vec<f32> = (0..rows).map(value).collect();
        let classes = values
            .iter()
            .map(|&y| {
                if y < 2.0 {
                    0
                } else if y < 3.5 {
                    1
                } else {
                    2
                }
            })
            .collect();
        Self {
            a,
            b,
            c,
            values,
            classes,
        }
    }

    fn bins(&self) -> Vec<Arc<Bins>> {
        vec![
            Arc::new(Bins::numeric(&self.a)),
            Arc::new(Bins::numeric(&self.b)),
            Arc::new(Bins::category(&self.c, 12)),
        ]
    }

    fn raw(&self) -> [Raw<'_>; 3] {
        [
            Raw::Numeric(&self.a),
            Raw::Numeric(&self.b),
            Raw::Category(&self.c),
        ]
    }

    fn binary(&self) -> Vec<u32> {
        self.classes
            .iter()
            .map(|&class| u32::from(class > 0))
            .collect()
    }
}

fn accuracy(probabilities: &[f32], classes: &[u32]) -> f64 {
    let k = probabilities.len() / classes.len();
    let right = probabilities.chunks(k).zip(classes).filter(|(row, class)| {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        row.iter().all(|&p| p <= row[**class as usize])
    });
    right.count() as f64 / classes.len() as f64
}

fn r2(predicted: &[f32], values: &[f32]) -> f64 {
    let mean = values.iter().map(|&y| f64::from(y)).sum::<f64>() / values.len() as f64;
    let total: f64 = values.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum();
    let error: f64 = values
        .iter()
        .zip(predicted)
        .map(|(&y, &p)| f64::from(y - p).powi(2))
        .sum();
    1.0 - error / total
}

fn boost(bins: &[Arc<Bins>], target: Target<'_>, params: &BoostingParams) -> Booster {
    boosting::fit(bins, None, target, None, params, 7, &Cancel::new()).unwrap()
}

fn grow(bins: &[Arc<Bins>], target: Target<'_>, params: &ForestParams) -> Forest {
    forest::fit(bins, None, target, None, params, 7, &Cancel::new()).unwrap()
}

fn forests() -> Vec<ForestParams> {
    let base = ForestParams {
        trees: 30,
        max_features: 0.7,
        ..ForestParams::default()
    };
    vec![
        base.clone(),
        ForestParams {
            random_splits: true,
            bootstrap: false,
            ..base.clone()
        },
        ForestParams {
            criterion: Criterion::Entropy,
            max_leaves: Some(200),
            ..base
        },
        ForestParams::single_tree(),
    ]
}

fn boosters() -> Vec<BoostingParams> {
    let base = BoostingParams {
        rounds: 60,
        ..BoostingParams::default()
    };
    vec![
        base.clone(),
        BoostingParams {
            growth: Growth::DepthWise,
            max_depth: Some(5),
            subsample: 0.7,
            ..base.clone()
        },
        BoostingParams {
            l1: 0.1,
            l2: 1.0,
            column_subsample: 0.7,
            early_stopping_rounds: Some(10),
            ..base.clone()
        },
        BoostingParams {
            max_cat_one_hot: 20,
            min_samples_leaf: 3,
            ..base
        },
    ]
}

#[test]
fn all_learners_generalise() {
    let (train, test) = (Problem::new(3000, 1), Problem::new(1000, 2));
    let (bins, raw) = (train.bins(), test.raw());
    let (two, two_test) = (train.binary(), test.binary());
    let many = Target::Classes {
        codes: &train.classes,
        classes: 3,
    };
    let two = Target::Classes {
        codes: &two,
        classes: 2,
    };
    for params in forests() {
        let model = grow(&bins, many, &params);
        assert!(
            accuracy(&model.predict(&raw).unwrap(), &test.classes) > 0.9,
            "{params:?}"
        );
        let model = grow(&bins, two, &params);
        assert!(
            accuracy(&model.predict(&raw).unwrap(), &two_test) > 0.93,
            "{params:?}"
        );
        let model = grow(&bins, Target::Values(&train.values), &params);
        assert!(
            r2(&model.predict(&raw).unwrap(), &test.values) > 0.95,
            "{params:?}"
        );
        assert!(model.feature_importance().iter().all(|&gain| gain > 0.0));
    }
    for params in boosters() {
        let model = boost(&bins, many, &params);
        assert!(
            accuracy(&model.predict(&raw).unwrap(), &test.classes) > 0.92,
            "{params:?}"
        );
        let model = boost(&bins, two, &params);
        assert!(
            accuracy(&model.predict(&raw).unwrap(), &two_test) > 0.94,
            "{params:?}"
        );
        let model = boost(&bins, Target::Values(&train.values), &params);
        assert!(
            r2(&model.predict(&raw).unwrap(), &test.values) > 0.97,
            "{params:?}"
        );
        assert!(model.feature_importance().iter().all(|&gain| gain > 0.0));
    }
}

#[test]
fn xor_is_learnt_though_no_first_split_gains() {
    let a: Vec<f32> = (0..400).map(|i| (i % 2) as f32).collect();
    let b: Vec<f32> = (0..400).map(|i| (i / 2 % 2) as f32).collect();
    let y: Vec<u32> = a.iter().zip(&b).map(|(a, b)| u32::from(a != b)).collect();
    let bins = [Arc::new(Bins::numeric(&a)), Arc::new(Bins::numeric(&b))];
    let target = Target::Classes {
        codes: &y,
        classes: 2,
    };
    for params in [
        ForestParams::single_tree(),
        ForestParams {
            trees: 20,
            ..ForestParams::default()
        },
    ] {
        let p = grow(&bins, target, &params)
            .predict(&[Raw::Numeric(&a), Raw::Numeric(&b)])
            .unwrap();
        assert_eq!(accuracy(&p, &y), 1.0);
    }
}

#[test]
fn unseen_levels_and_infinite_values_are_predicted() {
    let train = Problem::new(500, 3);
    let bins = train.bins();
    let raw = [
        Raw::Numeric(&[f32::INFINITY, f32::NAN]),
        Raw::Numeric(&[f32::NEG_INFINITY, 0.0]),
        Raw::Category(&[u32::MAX, 77]),
    ];
    for params in forests() {
        let p = grow(&bins, Target::Values(&train.values), &params)
            .predict(&raw)
            .unwrap();
        assert!(p.iter().all(|p| p.is_finite()));
    }
    let p = boost(
        &bins,
        Target::Values(&train.values),
        &BoostingParams::default(),
    )
    .predict(&raw)
    .unwrap();
    assert!(p.iter().all(|p| p.is_finite()));
}

#[test]
fn degenerate_tables_give_constant_models() {
    let constant = [1.0f32; 50];
    let gone = [f32::NAN; 50];
    let bins = [
        Arc::new(Bins::numeric(&constant)),
        Arc::new(Bins::numeric(&gone)),
    ];
    let raw = [Raw::Numeric(&constant), Raw::Numeric(&gone)];
    let y: Vec<f32> = (0..50).map(|i| i as f32 + 1e6).collect();
    let half: Vec<u32> = (0..50).map(|i| i % 2).collect();
    for params in forests() {
        let p = grow(
            &bins,
            Target::Values(&y),
            &ForestParams {
                bootstrap: false,
                ..params.clone()
            },
        )
        .predict(&raw)
        .unwrap();
        assert!(p.iter().all(|p| (p - 1_000_024.5).abs() < 0.1), "{p:?}");
        for classes in [1, 2, 3] {
            let p = grow(
                &bins,
                Target::Classes {
                    codes: &[0; 50],
                    classes,
                },
                &params,
            )
            .predict(&raw)
            .unwrap();
            assert!(p.chunks(classes).all(|row| row[0] == 1.0));
        }
    }
    for params in boosters() {
        let p = boost(
            &bins,
            Target::Values(&y),
            &BoostingParams {
                early_stopping_rounds: None,
                subsample: 1.0,
                ..params.clone()
            },
        );
        assert!(
            p.predict(&raw)
                .unwrap()
                .iter()
                .all(|p| (p - 1_000_024.5).abs() < 0.1),
            "{params:?}"
        );
        for classes in [1, 2, 3] {
            let p = boost(
                &bins,
                Target::Classes {
                    codes: &[0; 50],
                    classes,
                },
                &params,
            )
            .predict(&raw)
            .unwrap();
            assert!(
                p.chunks(classes).all(|row| row[0] > 0.99),
                "{classes} {p:?}"
            );
        }
        let p = boost(
            &bins,
            Target::Classes {
                codes: &half,
                classes: 2,
            },
            &params,
        )
        .predict(&raw)
        .unwrap();
        assert!(p.iter().all(|p| (p - 0.5).abs() < 0.2), "{params:?}");
    }
}

#[test]
fn one_row_and_no_columns_are_enough() {
    let bins = [Arc::new(Bins::numeric(&[3.0]))];
    let raw = [Raw::Numeric(&[3.0])];
    assert_eq!(
        grow(&bins, Target::Values(&[2.5]), &ForestParams::default())
            .predict(&raw)
            .unwrap(),
        [2.5]
    );
    assert_eq!(
        boost(&bins, Target::Values(&[2.5]), &BoostingParams::default())
            .predict(&raw)
            .unwrap(),
        [2.5]
    );
    grow(&[], Target::Values(&[2.5]), &ForestParams::default());
    boost(
        &[],
        Target::Values(&[2.5]),
        &BoostingParams {
            early_stopping_rounds: Some(3),
            ..BoostingParams::default()
        },
    );
}

#[test]
fn fully_grown_trees_and_boosters_recall_every_row() {
    let x: Vec<f32> = (0..200).map(|i| i as f32).collect();
    let y: Vec<f32> = (0..200u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32)
        .collect();
    let bins = [Arc::new(Bins::numeric(&x))];
    let raw = [Raw::Numeric(&x)];
    let weights: Vec<f32> = (0..200).map(|i| 0.5 + (i % 7) as f32).collect();
    for weights in [None, Some(&weights[..])] {
        let tree = forest::fit(
            &bins,
            None,
            Target::Values(&y),
            weights,
            &ForestParams::single_tree(),
            1,
            &Cancel::new(),
        );
        let p = tree.unwrap().predict(&raw).unwrap();
        assert!(
            p.iter().zip(&y).all(|(p, y)| (p - y).abs() <= 0.001),
            "{p:?}"
        );
    }
    let params = BoostingParams {
        rounds: 20,
        learning_rate: 1.0,
        max_leaves: 256,
        min_samples_leaf: 1,
        ..BoostingParams::default()
    };
    let p = boost(&bins, Target::Values(&y), &params)
        .predict(&raw)
        .unwrap();
    assert!(
        p.iter().zip(&y).all(|(p, y)| (p - y).abs() <= 0.01),
        "{p:?}"
    );
}

#[test]
fn leaves_have_as_many_rows_as_asked() {
    let problem = Problem::new(600, 5);
    let bins = problem.bins();
    let weights = vec![1.0f32; 600];
    for random_splits in [false, true] {
        for weights in [None, Some(&weights[..])] {
            let params = ForestParams {
                min_samples_leaf: 50,
                random_splits,
                ..ForestParams::single_tree()
            };
            let tree = forest::fit(
                &bins,
                None,
                Target::Values(&problem.values),
                weights,
                &params,
                1,
                &Cancel::new(),
            );
            let mut p = tree.unwrap().predict(&problem.raw()).unwrap();
            p.sort_by(f32::total_cmp);
            let sizes: Vec<usize> = p.chunk_by(|a, b| a == b).map(<[f32]>::len).collect();
            assert!(
                sizes.len() > 2 && sizes.iter().all(|&size| size >= 50),
                "{sizes:?}"
            );
        }
    }
    let params = BoostingParams {
        rounds: 1,
        min_samples_leaf: 50,
        ..BoostingParams::default()
    };
    let mut p = boost(&bins, Target::Values(&problem.values), &params)
        .predict(&problem.raw())
        .unwrap();
    p.sort_by(f32::total_cmp);
    let sizes: Vec<usize> = p.chunk_by(|a, b| a == b).map(<[f32]>::len).collect();
    assert!(
        sizes.len() > 2 && sizes.iter().all(|&size| size >= 50),
        "{sizes:?}"
    );
}

#[test]
fn max_leaves_and_depth_are_kept() {
    let problem = Problem::new(600, 5);
    let bins = problem.bins();
    let distinct = |mut p: Vec<f32>| {
        p.sort_by(f32::total_cmp);
        p.dedup();
        p.len()
    };
    let tree = |params: ForestParams| {
        distinct(
            grow(&bins, Target::Values(&problem.values), &params)
                .predict(&problem.raw())
                .unwrap(),
        )
    };
    assert_eq!(
        tree(ForestParams {
            max_leaves: Some(9),
            ..ForestParams::single_tree()
        }),
        9
    );
    assert_eq!(
        tree(ForestParams {
            max_depth: Some(3),
            ..ForestParams::single_tree()
        }),
        8
    );
    let boost = |params| {
        distinct(
            boost(&bins, Target::Values(&problem.values), &params)
                .predict(&problem.raw())
                .unwrap(),
        )
    };
    let base = BoostingParams {
        rounds: 1,
        ..BoostingParams::default()
    };
    assert_eq!(
        boost(BoostingParams {
            max_leaves: 9,
            ..base.clone()
        }),
        9
    );
    assert_eq!(
        boost(BoostingParams {
            max_depth: Some(2),
            growth: Growth::DepthWise,
            ..base
        }),
        4
    );
}

#[test]
fn any_number_of_threads_gives_the_same_model() {
    let problem = Problem::new(20_000, 4);
    let bins = problem.bins();
    let target = Target::Classes {
        codes: &problem.classes,
        classes: 3,
    };
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let params = BoostingParams {
                rounds: 5,
                subsample: 0.9,
                early_stopping_rounds: Some(2),
                ..BoostingParams::default()
            };
            let booster = boost(&bins, target, &params);
            let forest = grow(
                &bins,
                target,
                &ForestParams {
                    trees: 5,
                    ..ForestParams::default()
                },
            );
            let p = (
                booster.predict(&problem.raw()).unwrap(),
                forest.predict(&problem.raw()).unwrap(),
            );
            (booster, forest, p)
        })
    };
    assert!(fit(1) == fit(2));
}

#[test]
fn a_subset_of_rows_is_a_fit_on_the_gathered_rows() {
    let problem = Problem::new(900, 6);
    let bins = problem.bins();
    let rows: Vec<u32> = (0..900).filter(|i| i % 3 != 1).collect();
    let gather = |x: &[f32]| -> Vec<f32> { rows.iter().map(|&row| x[row as usize]).collect() };
    let part = [
        Arc::new(Bins::with_cuts(&gather(&problem.a), bins[0].cuts.clone())),
        Arc::new(Bins::with_cuts(&gather(&problem.b), bins[1].cuts.clone())),
        Arc::new(Bins::category(
            &rows
                .iter()
                .map(|&row| problem.c[row as usize])
                .collect::<Vec<_>>(),
            12,
        )),
    ];
    let (values, part_values) = (Target::Values(&problem.values), gather(&problem.values));
    let (cancel, params) = (Cancel::new(), ForestParams::default());
    let a = forest::fit(&bins, Some(&rows), values, None, &params, 1, &cancel).unwrap();
    let b = forest::fit(
        &part,
        None,
        Target::Values(&part_values),
        None,
        &params,
        1,
        &cancel,
    )
    .unwrap();
    assert!(a == b);
    let params = BoostingParams {
        early_stopping_rounds: Some(5),
        ..BoostingParams::default()
    };
    let a = boosting::fit(&bins, Some(&rows), values, None, &params, 1, &cancel).unwrap();
    let b = boosting::fit(
        &part,
        None,
        Target::Values(&part_values),
        None,
        &params,
        1,
        &cancel,
    )
    .unwrap();
    assert!(a == b);
    // A row of weight 0 is no row.
    let weights: Vec<f32> = (0..900)
        .map(|i| if i % 3 == 1 { 0.0 } else { 1.0 })
        .collect();
    let c = boosting::fit(&bins, None, values, Some(&weights), &params, 1, &cancel).unwrap();
    let (b, c) = (
        b.predict(&problem.raw()).unwrap(),
        c.predict(&problem.raw()).unwrap(),
    );
    assert!(b.iter().zip(&c).all(|(b, c)| (b - c).abs() < 1e-3));
}

#[test]
fn weights_move_the_answer() {
    let bins = [Arc::new(Bins::numeric(&[0.0; 4]))];
    let (weights, target) = (
        [1.0, 1.0, 1.0, 9.0],
        Target::Classes {
            codes: &[0, 0, 0, 1],
            classes: 2,
        },
    );
    let params = ForestParams::single_tree();
    let p = forest::fit(
        &bins,
        None,
        target,
        Some(&weights),
        &params,
        1,
        &Cancel::new(),
    )
    .unwrap();
    assert!((p.predict(&[Raw::Numeric(&[0.0])]).unwrap()[1] - 0.75).abs() < 1e-6);
    let p = boosting::fit(
        &bins,
        None,
        target,
        Some(&weights),
        &BoostingParams::default(),
        1,
        &Cancel::new(),
    )
    .unwrap();
    assert!((p.predict(&[Raw::Numeric(&[0.0])]).unwrap()[1] - 0.75).abs() < 1e-6);
}

#[test]
fn early_stopping_keeps_the_best_round() {
    let problem = Problem::new(400, 8);
    let mut rng = stream(1, 1);
    let noise: Vec<u32> = (0..400).map(|_| rng.next_u32() & 1).collect();
    let params = BoostingParams {
        rounds: 500,
        early_stopping_rounds: Some(5),
        ..BoostingParams::default()
    };
    let model = boost(
        &problem.bins(),
        Target::Classes {
            codes: &noise,
            classes: 2,
        },
        &params,
    );
    assert!(model.rounds() < 60, "{}", model.rounds());
}

#[test]
fn a_cancelled_fit_keeps_what_is_finished() {
    let problem = Problem::new(5000, 9);
    let bins = problem.bins();
    let target = Target::Values(&problem.values);
    let soon = || Cancel::new().child(Some(Instant::now() + Duration::from_millis(150)));
    let params = BoostingParams {
        rounds: 1_000_000,
        ..BoostingParams::default()
    };
    let model = boosting::fit(&bins, None, target, None, &params, 1, &soon()).unwrap();
    assert!(
        model.rounds() > 0 && r2(&model.predict(&problem.raw()).unwrap(), &problem.values) > 0.3
    );
    assert_eq!(Booster::from_parts(model.to_parts()).unwrap(), model);
    let params = ForestParams {
        trees: 20_000,
        ..ForestParams::default()
    };
    let model = forest::fit(&bins, None, target, None, &params, 1, &soon()).unwrap();
    assert!(model.trees() > 0 && model.trees() < 20_000);
    let gone = Cancel::new();
    gone.cancel();
    let params = BoostingParams::default();
    assert_eq!(
        boosting::fit(&bins, None, target, None, &params, 1, &gone),
        Err(TreeError::Cancelled)
    );
    assert_eq!(
        forest::fit(
            &bins,
            None,
            target,
            None,
            &ForestParams::default(),
            1,
            &gone
        ),
        Err(TreeError::Cancelled)
    );
}

#[test]
fn a_single_row_is_predicted_like_many() {
    let problem = Problem::new(700, 11);
    let target = Target::Classes {
        codes: &problem.classes,
        classes: 3,
    };
    let model = boost(
        &problem.bins(),
        target,
        &BoostingParams {
            rounds: 20,
            ..BoostingParams::default()
        },
    );
    let all = model.predict(&problem.raw()).unwrap();
    for at in [0, 8, 699] {
        let raw = [
            Raw::Numeric(&problem.a[at..at + 1]),
            Raw::Numeric(&problem.b[at..at + 1]),
            Raw::Category(&problem.c[at..at + 1]),
        ];
        assert_eq!(model.predict(&raw).unwrap(), all[at * 3..at * 3 + 3]);
    }
    assert!(model.predict(&problem.raw()[..2]).is_err());
    assert!(
        model
            .predict(&[Raw::Numeric(&[]), Raw::Category(&[]), Raw::Category(&[])])
            .is_err()
    );
    assert_eq!(
        model
            .predict(&[Raw::Numeric(&[]), Raw::Numeric(&[]), Raw::Category(&[])])
            .unwrap(),
        []
    );
}

#[test]
fn saved_models_read_back_to_the_bit() {
    let problem = Problem::new(500, 10);
    let (bins, target) = (
        problem.bins(),
        Target::Classes {
            codes: &problem.classes,
            classes: 3,
        },
    );
    for params in forests() {
        let model = grow(&bins, target, &params);
        assert_eq!(Forest::from_parts(model.to_parts()).unwrap(), model);
    }
    for params in boosters() {
        let model = boost(&bins, target, &params);
        assert_eq!(Booster::from_parts(model.to_parts()).unwrap(), model);
    }
}

/// Changes one thing in every part in many ways; whatever is still accepted has to predict without a panic.
fn attack(parts: &Parts, read: impl Fn(Parts) -> Result<Vec<f32>, TreeError>) -> usize {
    let mut refused = 0;
    let mut attempt = |change: &dyn Fn(&mut Parts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        refused += usize::from(read(parts).is_err());
    };
    for at in 0..parts.len() {
        attempt(&|parts| drop(parts.remove(at)));
        attempt(&|parts| parts.push(parts[at].clone()));
        attempt(&|parts| parts[at].1 = PartData::U8(vec![]));
        attempt(&|parts| parts[at].1 = PartData::U32(vec![]));
        attempt(&|parts| parts[at].1 = PartData::F32(vec![f32::NAN]));
        let len = match &parts[at].1 {
            PartData::F32(data) => data.len(),
            PartData::U32(data) => data.len(),
            PartData::U8(data) => data.len(),
        };
        for place in 0..len.min(200) {
            for value in [
                0,
                1,
                2,
                3,
                1 << 30,
                1 << 31,
                (1 << 31) + 5,
                u32::MAX,
                0x7fc0_0000,
            ] {
                attempt(&|parts| match &mut parts[at].1 {
                    PartData::F32(data) => data[place] = f32::from_bits(value),
                    PartData::U32(data) => data[place] = value,
                    PartData::U8(data) => data[place] = value as u8,
                });
            }
            attempt(&|parts| match &mut parts[at].1 {
                PartData::F32(data) => drop(data.remove(place)),
                PartData::U32(data) => drop(data.remove(place)),
                PartData::U8(data) => drop(data.remove(place)),
            });
        }
    }
    refused
}

#[test]
fn hostile_parts_give_errors_and_never_panic() {
    let problem = Problem::new(120, 12);
    let (bins, target) = (
        problem.bins(),
        Target::Classes {
            codes: &problem.classes,
            classes: 3,
        },
    );
    let params = ForestParams {
        trees: 2,
        max_features: 1.0,
        ..ForestParams::default()
    };
    let parts = grow(&bins, target, &params).to_parts();
    assert!(
        attack(&parts, |parts| Forest::from_parts(parts)?
            .predict(&problem.raw()))
            > 500
    );
    let params = BoostingParams {
        rounds: 3,
        min_samples_leaf: 5,
        ..BoostingParams::default()
    };
    let parts = boost(&bins, target, &params).to_parts();
    assert!(
        attack(&parts, |parts| Booster::from_parts(parts)?
            .predict(&problem.raw()))
            > 500
    );
}

#[test]
fn wrong_inputs_are_named() {
    let bins = [Arc::new(Bins::numeric(&[1.0, 2.0]))];
    let fit = |rows: Option<&[u32]>, target: Target<'_>, weights: Option<&[f32]>| {
        forest::fit(
            &bins,
            rows,
            target,
            weights,
            &ForestParams::default(),
            1,
            &Cancel::new(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(fit(None, Target::Values(&[1.0]), None).contains("column"));
    assert!(fit(None, Target::Values(&[1.0, f32::NAN]), None).contains("row 1"));
    assert!(fit(Some(&[2]), Target::Values(&[1.0, 2.0]), None).contains("row index"));
    assert!(fit(Some(&[]), Target::Values(&[1.0, 2.0]), None).contains("no rows"));
    assert!(fit(None, Target::Values(&[1.0, 2.0]), Some(&[1.0, -1.0])).contains("weight"));
    assert!(
        fit(
            None,
            Target::Classes {
                codes: &[0, 2],
                classes: 2
            },
            None
        )
        .contains("class")
    );
    let params = BoostingParams {
        subsample: 0.0,
        ..BoostingParams::default()
    };
    let error = boosting::fit(
        &bins,
        None,
        Target::Values(&[1.0, 2.0]),
        None,
        &params,
        1,
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("subsample"));
}
