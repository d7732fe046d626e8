//! Threads, subsets, cancellation and inputs at the edge.

use super::*;

#[test]
fn any_number_of_threads_gives_the_same_model() {
    let problem = Problem::new(20_000, 4);
    let bins = problem.bins();
    let target = Target::Classes { codes: &problem.classes, classes: 3 };
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let params =
                BoostingParams { rounds: 5, subsample: 0.9, early_stopping_rounds: Some(2), ..BoostingParams::default() };
            let booster = boost(&bins, target, &params);
            let forest = grow(&bins, target, &ForestParams { trees: 5, ..ForestParams::default() });
            let p = (
                booster.predict(&problem.raw(), &Cancel::new()).unwrap(),
                forest.predict(&problem.raw(), &Cancel::new()).unwrap(),
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
        Arc::new(Bins::category(&rows.iter().map(|&row| problem.c[row as usize]).collect::<Vec<_>>(), 12)),
    ];
    let (values, part_values) = (Target::Values(&problem.values), gather(&problem.values));
    let (cancel, params) = (Cancel::new(), ForestParams::default());
    let a = forest::fit(&bins, Some(&rows), values, None, &params, 1, &cancel).unwrap();
    let b = forest::fit(&part, None, Target::Values(&part_values), None, &params, 1, &cancel).unwrap();
    assert!(a == b);
    let params = BoostingParams { early_stopping_rounds: Some(5), ..BoostingParams::default() };
    let a = boosting::fit(&bins, Some(&rows), values, None, &params, 1, &cancel).unwrap();
    let b = boosting::fit(&part, None, Target::Values(&part_values), None, &params, 1, &cancel).unwrap();
    assert!(a == b);
    // A row of weight 0 is no row.
    let weights: Vec<f32> = (0..900).map(|i| if i % 3 == 1 { 0.0 } else { 1.0 }).collect();
    let c = boosting::fit(&bins, None, values, Some(&weights), &params, 1, &cancel).unwrap();
    let (b, c) = (b.predict(&problem.raw(), &Cancel::new()).unwrap(), c.predict(&problem.raw(), &Cancel::new()).unwrap());
    assert!(b.iter().zip(&c).all(|(b, c)| (b - c).abs() < 1e-3));
}

#[test]
fn a_cancelled_fit_keeps_what_is_finished() {
    let problem = Problem::new(5000, 9);
    let bins = problem.bins();
    let target = Target::Values(&problem.values);
    let soon = || Cancel::new().child(Some(Instant::now() + Duration::from_millis(150)));
    let params = BoostingParams { rounds: 1_000_000, ..BoostingParams::default() };
    let model = boosting::fit(&bins, None, target, None, &params, 1, &soon()).unwrap();
    assert!(model.rounds() > 0 && r2(&model.predict(&problem.raw(), &Cancel::new()).unwrap(), &problem.values) > 0.3);
    assert_eq!(Booster::from_parts(model.to_parts()).unwrap(), model);
    let params = ForestParams { trees: 20_000, ..ForestParams::default() };
    let model = forest::fit(&bins, None, target, None, &params, 1, &soon()).unwrap();
    assert!(model.trees() > 0 && model.trees() < 20_000);
    let gone = Cancel::new();
    gone.cancel();
    let params = BoostingParams::default();
    assert_eq!(boosting::fit(&bins, None, target, None, &params, 1, &gone), Err(TreeError::Cancelled));
    assert_eq!(forest::fit(&bins, None, target, None, &ForestParams::default(), 1, &gone), Err(TreeError::Cancelled));
}

#[test]
fn a_single_row_is_predicted_like_many() {
    let problem = Problem::new(700, 11);
    let target = Target::Classes { codes: &problem.classes, classes: 3 };
    let model = boost(&problem.bins(), target, &BoostingParams { rounds: 20, ..BoostingParams::default() });
    let all = model.predict(&problem.raw(), &Cancel::new()).unwrap();
    for at in [0, 8, 699] {
        let raw =
            [Raw::Numeric(&problem.a[at..at + 1]), Raw::Numeric(&problem.b[at..at + 1]), Raw::Category(&problem.c[at..at + 1])];
        assert_eq!(model.predict(&raw, &Cancel::new()).unwrap(), all[at * 3..at * 3 + 3]);
    }
    assert!(model.predict(&problem.raw()[..2], &Cancel::new()).is_err());
    assert!(model.predict(&[Raw::Numeric(&[]), Raw::Category(&[]), Raw::Category(&[])], &Cancel::new()).is_err());
    assert_eq!(
        model.predict(&[Raw::Numeric(&[]), Raw::Numeric(&[]), Raw::Category(&[])], &Cancel::new()).unwrap(),
        Vec::<f32>::new()
    );
}

#[test]
fn degenerate_tables_give_constant_models() {
    let constant = [1.0f32; 50];
    let gone = [f32::NAN; 50];
    let bins = [Arc::new(Bins::numeric(&constant)), Arc::new(Bins::numeric(&gone))];
    let raw = [Raw::Numeric(&constant), Raw::Numeric(&gone)];
    let y: Vec<f32> = (0..50).map(|i| i as f32 + 1e6).collect();
    let half: Vec<u32> = (0..50).map(|i| i % 2).collect();
    for params in forests() {
        let p = grow(&bins, Target::Values(&y), &ForestParams { bootstrap: false, ..params.clone() })
            .predict(&raw, &Cancel::new())
            .unwrap();
        assert!(p.iter().all(|p| (p - 1_000_024.5).abs() < 0.1), "{p:?}");
        for classes in [1, 2, 3] {
            let p = grow(&bins, Target::Classes { codes: &[0; 50], classes }, &params).predict(&raw, &Cancel::new()).unwrap();
            assert!(p.chunks(classes).all(|row| row[0] == 1.0));
        }
    }
    for params in boosters() {
        let p =
            boost(&bins, Target::Values(&y), &BoostingParams { early_stopping_rounds: None, subsample: 1.0, ..params.clone() });
        assert!(p.predict(&raw, &Cancel::new()).unwrap().iter().all(|p| (p - 1_000_024.5).abs() < 0.1), "{params:?}");
        for classes in [1, 2, 3] {
            let p = boost(&bins, Target::Classes { codes: &[0; 50], classes }, &params).predict(&raw, &Cancel::new()).unwrap();
            assert!(p.chunks(classes).all(|row| row[0] > 0.99), "{classes} {p:?}");
        }
        let p = boost(&bins, Target::Classes { codes: &half, classes: 2 }, &params).predict(&raw, &Cancel::new()).unwrap();
        assert!(p.iter().all(|p| (p - 0.5).abs() < 0.2), "{params:?}");
    }
}

#[test]
fn one_row_and_no_columns_are_enough() {
    let bins = [Arc::new(Bins::numeric(&[3.0]))];
    let raw = [Raw::Numeric(&[3.0])];
    assert_eq!(grow(&bins, Target::Values(&[2.5]), &ForestParams::default()).predict(&raw, &Cancel::new()).unwrap(), [2.5]);
    assert_eq!(boost(&bins, Target::Values(&[2.5]), &BoostingParams::default()).predict(&raw, &Cancel::new()).unwrap(), [2.5]);
    grow(&[], Target::Values(&[2.5]), &ForestParams::default());
    boost(&[], Target::Values(&[2.5]), &BoostingParams { early_stopping_rounds: Some(3), ..BoostingParams::default() });
}

#[test]
fn unseen_levels_and_infinite_values_are_predicted() {
    let train = Problem::new(500, 3);
    let bins = train.bins();
    let raw = [Raw::Numeric(&[f32::INFINITY, f32::NAN]), Raw::Numeric(&[f32::NEG_INFINITY, 0.0]), Raw::Category(&[u32::MAX, 77])];
    for params in forests() {
        let p = grow(&bins, Target::Values(&train.values), &params).predict(&raw, &Cancel::new()).unwrap();
        assert!(p.iter().all(|p| p.is_finite()));
    }
    let p = boost(&bins, Target::Values(&train.values), &BoostingParams::default()).predict(&raw, &Cancel::new()).unwrap();
    assert!(p.iter().all(|p| p.is_finite()));
}

#[test]
fn wrong_inputs_are_named() {
    let bins = [Arc::new(Bins::numeric(&[1.0, 2.0]))];
    let fit = |rows: Option<&[u32]>, target: Target<'_>, weights: Option<&[f32]>| {
        forest::fit(&bins, rows, target, weights, &ForestParams::default(), 1, &Cancel::new()).unwrap_err().to_string()
    };
    assert!(fit(None, Target::Values(&[1.0]), None).contains("column"));
    assert!(fit(None, Target::Values(&[1.0, f32::NAN]), None).contains("row 1"));
    assert!(fit(Some(&[2]), Target::Values(&[1.0, 2.0]), None).contains("row index"));
    assert!(fit(Some(&[]), Target::Values(&[1.0, 2.0]), None).contains("no rows"));
    assert!(fit(None, Target::Values(&[1.0, 2.0]), Some(&[1.0, -1.0])).contains("weight"));
    assert!(fit(None, Target::Classes { codes: &[0, 2], classes: 2 }, None).contains("class"));
    let params = BoostingParams { subsample: 0.0, ..BoostingParams::default() };
    let error = boosting::fit(&bins, None, Target::Values(&[1.0, 2.0]), None, &params, 1, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("subsample"));
}
