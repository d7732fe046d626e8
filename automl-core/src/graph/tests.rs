use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::conformance::check_space;
use crate::genotype::Node;
use crate::space::{SearchSpace, sample};

fn operator(name: &str, inputs: Vec<Port>, output: &'static str) -> OperatorSpec {
    OperatorSpec { name: name.into(), inputs, output: Kind::Borrowed(output), params: Vec::new() }
}

/// A pool like that of tables: raw → numeric → dense → prediction, and a stacker with two ports.
fn pool() -> GraphSpec {
    let mut scale = operator("scale", vec![Port::of(&["dense", "prediction"])], "dense");
    scale.params = vec![
        Param::choice("method", &["standard", "quantile"]),
        Param::int("bins", 4, 64, 16).log().when("method", &["quantile".into()]),
    ];
    let optional = Port { required: false, max: Some(1), ..Port::of(&["dense"]) };
    GraphSpec {
        sources: vec![Source { name: "input".into(), kind: Kind::Borrowed("raw") }],
        operators: vec![
            operator("encode", vec![Port::of(&["raw"])], "numeric"),
            operator("impute", vec![Port::of(&["numeric"])], "dense"),
            scale,
            operator("tree", vec![Port::of(&["numeric", "dense", "prediction"])], "prediction"),
            operator("ridge", vec![Port::of(&["dense", "prediction"])], "prediction"),
            operator("stack", vec![Port::of(&["prediction"]), optional], "prediction"),
        ],
        output: vec![Kind::Borrowed("prediction")],
        vertices: Bounds { min: 1, max: 8 },
        depth: Bounds { min: 1, max: 6 },
        fan_in: 3,
        forbidden: vec![["encode".into(), "encode".into()], ["ridge".into(), "ridge".into()]],
        transitions: BTreeMap::new(),
        extra_edge: 0.3,
    }
}

fn space(spec: GraphSpec) -> GraphSpace {
    GraphSpace::new(spec).unwrap()
}

#[test]
fn conforms() {
    check_space(&space(pool()), 400, 1).unwrap();
    check_space(&GraphSpace::default(), 400, 2).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    /// Whatever the bounds: either the space is refused as empty, or it conforms — no dead end in any mask.
    #[test]
    fn any_bounds_conform(
        min in 1_usize..7, more in 0_usize..5, depth in 1_usize..6, deeper in 0_usize..4, fan_in in 1_usize..4, two in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut spec = pool();
        spec.vertices = Bounds { min, max: min + more };
        spec.depth = Bounds { min: depth.min(min + more), max: depth + deeper };
        spec.fan_in = fan_in;
        if two {
            spec.sources.push(Source { name: "other".into(), kind: Kind::Borrowed("dense") });
        }
        if let Ok(space) = GraphSpace::new(spec) {
            check_space(&space, 40, seed).map_err(TestCaseError::fail)?;
        }
    }
}

#[test]
fn samples_keep_every_bound() {
    let spec = GraphSpec { vertices: Bounds { min: 5, max: 7 }, depth: Bounds { min: 4, max: 5 }, ..pool() };
    let space = space(spec.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut sizes = BTreeSet::new();
    for _ in 0..300 {
        let genotype = sample(&space, &mut rng).unwrap();
        let count = genotype.nodes.len() - 1;
        sizes.insert(count);
        assert!((5..=7).contains(&count), "{genotype}");
        assert!((4..=5).contains(genotype.levels().last().unwrap()), "{genotype}");
        assert!(genotype.nodes.iter().all(|node| node.inputs.len() <= 3), "{genotype}");
        for node in &genotype.nodes {
            for &input in &node.inputs {
                let from = genotype.nodes[input].op.as_str();
                assert!(space.connects(from, &node.op), "{from} → {} in {genotype}", node.op);
            }
        }
    }
    assert_eq!(sizes.len(), 3, "every size occurs: {sizes:?}");
}

#[test]
fn random_graphs_do_not_crowd_at_the_upper_bound() {
    let space = space(pool());
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut sizes = [0; 9];
    for _ in 0..1_000 {
        sizes[sample(&space, &mut rng).unwrap().nodes.len() - 1] += 1;
    }
    assert!(sizes[8] < 450 && sizes[2] + sizes[3] > 150, "{sizes:?}");
}

#[test]
fn what_nothing_can_feed_is_left_out_and_an_empty_space_is_refused() {
    let mut spec = pool();
    spec.sources[0].kind = Kind::Borrowed("dense");
    let names: Vec<String> = space(spec.clone()).spec().operators.iter().map(|operator| operator.name.clone()).collect();
    assert_eq!(names, ["scale", "tree", "ridge", "stack"]);
    spec.output = vec![Kind::Borrowed("raw")];
    assert!(GraphSpace::new(spec).unwrap_err().to_string().contains("no graph fits"));
}

#[test]
fn says_why_a_genotype_lies_outside() {
    let space = space(pool());
    let input = Node::new("input", []);
    let tree = |inputs: Vec<usize>| Node::new("tree", inputs);
    let cases = [
        (vec![input.clone(), Node::new("encod", [0]), tree(vec![1])], "did you mean `encode`?"),
        (vec![input.clone(), Node::new("encode", [0]), Node::new("encode", [0]), tree(vec![1])], "is read by no other"),
        (vec![input.clone(), Node::new("encode", [0]).with("k", 1_i64), tree(vec![1])], "do not apply"),
        (vec![tree(vec![])], "bare source `input`"),
        (vec![input, tree(vec![0])], "goes on with the question"),
    ];
    for (nodes, why) in cases {
        let error = space.trace(&Genotype { nodes }).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_transition_matrix_steers_random_graphs() {
    let mut spec = pool();
    spec.vertices.max = 4;
    spec.depth.max = 4;
    let row = |to: &str, weight: f64| BTreeMap::from([(to.to_owned(), weight)]);
    spec.transitions.insert("scale".into(), row("scale", 0.0));
    let space = space(spec);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..300 {
        let genotype = sample(&space, &mut rng).unwrap();
        let twice = genotype
            .nodes
            .iter()
            .any(|node| node.op == "scale" && node.inputs.first().is_some_and(|&input| genotype.nodes[input].op == "scale"));
        assert!(!twice, "{genotype}");
    }
}

#[test]
fn a_config_with_a_mistake_names_the_setting() {
    type Break = fn(&mut GraphSpec);
    let cases: [(&str, Break); 5] = [
        ("vertices", |spec| spec.vertices.min = 0),
        ("extra_edge", |spec| spec.extra_edge = 1.5),
        ("did you mean `ridge`?", |spec| spec.forbidden.push(["rigde".into(), "*".into()])),
        ("operators.scale.params.bins", |spec| spec.operators[2].params[1].default = Value::Int(1000)),
        ("operators.encode.inputs", |spec| spec.operators[0].inputs.clear()),
    ];
    for (place, break_it) in cases {
        let mut spec = pool();
        break_it(&mut spec);
        let error = GraphSpace::new(spec).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
}
