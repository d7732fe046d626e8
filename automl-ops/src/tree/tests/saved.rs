//! Saved models: what comes back, and what is refused.

use super::*;

#[test]
fn saved_models_read_back_to_the_bit() {
    let problem = Problem::new(500, 10);
    let (bins, target) = (problem.bins(), Target::Classes { codes: &problem.classes, classes: 3 });
    for params in forests() {
        let model = grow(&bins, target, &params);
        assert_eq!(Forest::from_parts(model.to_parts()).unwrap(), model);
    }
    for params in boosters() {
        let model = boost(&bins, target, &params);
        assert_eq!(Booster::from_parts(model.to_parts()).unwrap(), model);
    }
}

#[test]
fn a_saved_adaboost_reads_back_and_a_hostile_one_is_refused() {
    let problem = Problem::new(200, 10);
    let predict = |model: Adaboost| model.predict(&problem.raw(), &Cancel::new());
    for target in [Target::Classes { codes: &problem.classes, classes: 3 }, Target::Values(&problem.values)] {
        let model = adaboost(&problem, target, 4);
        assert_eq!(Adaboost::from_parts(model.to_parts()).unwrap(), model);
        assert!(attack(&model.to_parts(), |parts| predict(Adaboost::from_parts(parts)?)) > 500);
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
            for value in [0, 1, 2, 3, 1 << 30, 1 << 31, (1 << 31) + 5, u32::MAX, 0x7fc0_0000] {
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
    let (bins, target) = (problem.bins(), Target::Classes { codes: &problem.classes, classes: 3 });
    let params = ForestParams { trees: 2, max_features: 1.0, ..ForestParams::default() };
    let parts = grow(&bins, target, &params).to_parts();
    assert!(attack(&parts, |parts| Forest::from_parts(parts)?.predict(&problem.raw(), &Cancel::new())) > 500);
    let params = BoostingParams { rounds: 3, min_samples_leaf: 5, ..BoostingParams::default() };
    let parts = boost(&bins, target, &params).to_parts();
    assert!(attack(&parts, |parts| Booster::from_parts(parts)?.predict(&problem.raw(), &Cancel::new())) > 500);
}

#[test]
fn models_of_huge_targets_read_back() {
    let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let y: Vec<f32> = x.iter().map(|x| (x - 50.0) * 1e36).collect();
    let bins = [Arc::new(Bins::numeric(&x))];
    let forest = grow(&bins, Target::Values(&y), &ForestParams::default());
    assert_eq!(Forest::from_parts(forest.to_parts()).unwrap(), forest);
    let booster = boost(&bins, Target::Values(&y), &BoostingParams::default());
    assert_eq!(Booster::from_parts(booster.to_parts()).unwrap(), booster);
    assert!(r2(&booster.predict(&[Raw::Numeric(&x)], &Cancel::new()).unwrap(), &y) > 0.9);
}
