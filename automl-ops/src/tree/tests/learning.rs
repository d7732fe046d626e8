//! What the learners learn, and that they keep their limits.

use super::*;

#[test]
fn all_learners_generalise() {
    let (train, test) = (Problem::new(3000, 1), Problem::new(1000, 2));
    let (bins, raw) = (train.bins(), test.raw());
    let (two, two_test) = (train.binary(), test.binary());
    let many = Target::Classes { codes: &train.classes, classes: 3 };
    let two = Target::Classes { codes: &two, classes: 2 };
    for params in forests() {
        let model = grow(&bins, many, &params);
        assert!(accuracy(&model.predict(&raw, &Cancel::new()).unwrap(), &test.classes) > 0.9, "{params:?}");
        let model = grow(&bins, two, &params);
        assert!(accuracy(&model.predict(&raw, &Cancel::new()).unwrap(), &two_test) > 0.93, "{params:?}");
        let model = grow(&bins, Target::Values(&train.values), &params);
        assert!(r2(&model.predict(&raw, &Cancel::new()).unwrap(), &test.values) > 0.95, "{params:?}");
        assert!(model.feature_importance().iter().all(|&gain| gain > 0.0));
    }
    for params in boosters() {
        let model = boost(&bins, many, &params);
        assert!(accuracy(&model.predict(&raw, &Cancel::new()).unwrap(), &test.classes) > 0.92, "{params:?}");
        let model = boost(&bins, two, &params);
        assert!(accuracy(&model.predict(&raw, &Cancel::new()).unwrap(), &two_test) > 0.94, "{params:?}");
        let model = boost(&bins, Target::Values(&train.values), &params);
        assert!(r2(&model.predict(&raw, &Cancel::new()).unwrap(), &test.values) > 0.97, "{params:?}");
        assert!(model.feature_importance().iter().all(|&gain| gain > 0.0));
    }
}

#[test]
fn adaboost_beats_its_first_tree() {
    let (train, test) = (Problem::new(3000, 1), Problem::new(1000, 2));
    let many = Target::Classes { codes: &train.classes, classes: 3 };
    let scored = |rounds: usize| {
        let p = adaboost(&train, many, rounds).predict(&test.raw(), &Cancel::new()).unwrap();
        let values = adaboost(&train, Target::Values(&train.values), rounds).predict(&test.raw(), &Cancel::new()).unwrap();
        (accuracy(&p, &test.classes), r2(&values, &test.values))
    };
    let (one, all) = (scored(1), scored(60));
    assert!(all.0 > one.0 + 0.02 && all.0 > 0.85 && all.1 > one.1 + 0.05 && all.1 > 0.84, "{one:?} {all:?}");
}

#[test]
fn leaves_and_splits_are_counted() {
    let problem = Problem::new(900, 4);
    let target = Target::Classes { codes: &problem.classes, classes: 3 };
    let model = boost(&problem.bins(), target, &BoostingParams { rounds: 4, ..BoostingParams::default() });
    let leaves = model.leaves(&problem.raw(), &Cancel::new()).unwrap();
    assert_eq!(leaves.len(), 900 * 12);
    let mut reached = leaves.clone();
    reached.sort_unstable();
    reached.dedup();
    // Every leaf has training rows, and a tree has one leaf more than splits.
    assert_eq!(reached.len(), model.leaf_count());
    assert_eq!(model.split_counts().iter().sum::<u32>() as usize + 12, model.leaf_count());
    assert!(leaves.chunks(12).all(|row| row.is_sorted_by(|a, b| a < b)));
}

#[test]
fn leaves_that_are_certain_of_a_class_are_kept_once() {
    let problem = Problem::new(900, 4);
    let target = Target::Classes { codes: &problem.classes, classes: 3 };
    let params = ForestParams { trees: 7, bootstrap: false, ..ForestParams::default() };
    let model = grow(&problem.bins(), target, &params);
    let splits = model.split_counts().iter().sum::<u32>() as usize;
    assert!(splits > 7 * 30 && model.leaf_count() <= 7 * 6, "{splits} splits, {} leaves", model.leaf_count());
    let p = model.predict(&problem.raw(), &Cancel::new()).unwrap();
    assert!(accuracy(&p, &problem.classes) > 0.99);
    // Counted leaves stay apart.
    let counted = grow(&problem.bins(), target, &ForestParams { max_leaves: Some(1_000_000), ..params });
    assert_eq!(counted.leaf_count(), counted.split_counts().iter().sum::<u32>() as usize + 7);
}

#[test]
fn xor_is_learnt_though_no_first_split_gains() {
    let a: Vec<f32> = (0..400).map(|i| (i % 2) as f32).collect();
    let b: Vec<f32> = (0..400).map(|i| (i / 2 % 2) as f32).collect();
    let y: Vec<u32> = a.iter().zip(&b).map(|(a, b)| u32::from(a != b)).collect();
    let bins = [Arc::new(Bins::numeric(&a)), Arc::new(Bins::numeric(&b))];
    let target = Target::Classes { codes: &y, classes: 2 };
    for params in [ForestParams::single_tree(), ForestParams { trees: 20, ..ForestParams::default() }] {
        let p = grow(&bins, target, &params).predict(&[Raw::Numeric(&a), Raw::Numeric(&b)], &Cancel::new()).unwrap();
        assert_eq!(accuracy(&p, &y), 1.0);
    }
}

#[test]
fn fully_grown_trees_and_boosters_recall_every_row() {
    let x: Vec<f32> = (0..200).map(|i| i as f32).collect();
    let y: Vec<f32> = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32).collect();
    let bins = [Arc::new(Bins::numeric(&x))];
    let raw = [Raw::Numeric(&x)];
    let weights: Vec<f32> = (0..200).map(|i| 0.5 + (i % 7) as f32).collect();
    for weights in [None, Some(&weights[..])] {
        let tree = forest::fit(&bins, None, Target::Values(&y), weights, &ForestParams::single_tree(), 1, &Cancel::new());
        let p = tree.unwrap().predict(&raw, &Cancel::new()).unwrap();
        assert!(p.iter().zip(&y).all(|(p, y)| (p - y).abs() <= 0.001), "{p:?}");
    }
    let params =
        BoostingParams { rounds: 20, learning_rate: 1.0, max_leaves: 256, min_samples_leaf: 1, ..BoostingParams::default() };
    let p = boost(&bins, Target::Values(&y), &params).predict(&raw, &Cancel::new()).unwrap();
    assert!(p.iter().zip(&y).all(|(p, y)| (p - y).abs() <= 0.01), "{p:?}");
}

#[test]
fn leaves_have_as_many_rows_as_asked() {
    let problem = Problem::new(600, 5);
    let bins = problem.bins();
    let weights = vec![1.0f32; 600];
    for random_splits in [false, true] {
        for weights in [None, Some(&weights[..])] {
            let params = ForestParams { min_samples_leaf: 50, random_splits, ..ForestParams::single_tree() };
            let tree = forest::fit(&bins, None, Target::Values(&problem.values), weights, &params, 1, &Cancel::new());
            let mut p = tree.unwrap().predict(&problem.raw(), &Cancel::new()).unwrap();
            p.sort_by(f32::total_cmp);
            let sizes: Vec<usize> = p.chunk_by(|a, b| a == b).map(<[f32]>::len).collect();
            assert!(sizes.len() > 2 && sizes.iter().all(|&size| size >= 50), "{sizes:?}");
        }
    }
    let params = BoostingParams { rounds: 1, min_samples_leaf: 50, ..BoostingParams::default() };
    let mut p = boost(&bins, Target::Values(&problem.values), &params).predict(&problem.raw(), &Cancel::new()).unwrap();
    p.sort_by(f32::total_cmp);
    let sizes: Vec<usize> = p.chunk_by(|a, b| a == b).map(<[f32]>::len).collect();
    assert!(sizes.len() > 2 && sizes.iter().all(|&size| size >= 50), "{sizes:?}");
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
        distinct(grow(&bins, Target::Values(&problem.values), &params).predict(&problem.raw(), &Cancel::new()).unwrap())
    };
    assert_eq!(tree(ForestParams { max_leaves: Some(9), ..ForestParams::single_tree() }), 9);
    assert_eq!(tree(ForestParams { max_depth: Some(3), ..ForestParams::single_tree() }), 8);
    let boost = |params| {
        distinct(boost(&bins, Target::Values(&problem.values), &params).predict(&problem.raw(), &Cancel::new()).unwrap())
    };
    let base = BoostingParams { rounds: 1, ..BoostingParams::default() };
    assert_eq!(boost(BoostingParams { max_leaves: 9, ..base.clone() }), 9);
    assert_eq!(boost(BoostingParams { max_depth: Some(2), growth: Growth::DepthWise, ..base }), 4);
}

#[test]
fn weights_move_the_answer() {
    let bins = [Arc::new(Bins::numeric(&[0.0; 4]))];
    let (weights, target) = ([1.0, 1.0, 1.0, 9.0], Target::Classes { codes: &[0, 0, 0, 1], classes: 2 });
    let params = ForestParams::single_tree();
    let p = forest::fit(&bins, None, target, Some(&weights), &params, 1, &Cancel::new()).unwrap();
    assert!((p.predict(&[Raw::Numeric(&[0.0])], &Cancel::new()).unwrap()[1] - 0.75).abs() < 1e-6);
    let p = boosting::fit(&bins, None, target, Some(&weights), &BoostingParams::default(), 1, &Cancel::new()).unwrap();
    assert!((p.predict(&[Raw::Numeric(&[0.0])], &Cancel::new()).unwrap()[1] - 0.75).abs() < 1e-6);
}

#[test]
fn early_stopping_keeps_the_best_round() {
    let problem = Problem::new(400, 8);
    let mut rng = stream(1, 1);
    let noise: Vec<u32> = (0..400).map(|_| rng.next_u32() & 1).collect();
    let params = BoostingParams { rounds: 500, early_stopping_rounds: Some(5), ..BoostingParams::default() };
    let model = boost(&problem.bins(), Target::Classes { codes: &noise, classes: 2 }, &params);
    assert!(model.rounds() < 60, "{}", model.rounds());
}
