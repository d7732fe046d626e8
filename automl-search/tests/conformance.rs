//! Every plugin of this crate keeps the promises of its kind, on graphs of typed operators, on cells, within tight bounds and
//! on a space that is no graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::graph::{Bounds, Source};
use automl_core::space::Asker;
use automl_core::typetag; // The attribute expands to paths that start with `typetag`.
use automl_core::{
    Choose, Domain, Error, Genotype, GraphSpace, GraphSpec, Kind, Node, OperatorSpec, Param, Point, Port, SearchSpace, Step,
    Trace, conformance,
};
use automl_search as _;
use serde::{Deserialize, Serialize};

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

/// A bag of two numbers: no graph.
#[derive(Debug, Serialize, Deserialize)]
struct Bag {}

impl Bag {
    fn points() -> &'static [Point] {
        static POINTS: std::sync::OnceLock<Vec<Point>> = std::sync::OnceLock::new();
        POINTS.get_or_init(|| {
            let point = |key: &str, domain| Point { key: key.into(), group: key.into(), domain };
            vec![point("x", Domain::Float { lo: 0.0, hi: 1.0, log: false }), point("y", Domain::Int { lo: 1, hi: 9, log: false })]
        })
    }
}

#[typetag::serde(name = "test/bag")]
impl SearchSpace for Bag {
    fn points(&self) -> &[Point] {
        Self::points()
    }

    fn build(&self, choose: &mut dyn Choose) -> automl_core::Result<Genotype> {
        let mut ask = Asker::new(Self::points(), choose);
        let node = Node::new("bag", []).with("x", ask.value(0)?).with("y", ask.value(1)?);
        Ok(Genotype { nodes: vec![node] })
    }

    fn trace(&self, genotype: &Genotype) -> automl_core::Result<Trace> {
        let steps = Self::points().iter().enumerate().map(|(point, question)| {
            let value = genotype.nodes.first()?.params.get(&question.key)?;
            Some(Step { point, answer: question.domain.answer(value)? })
        });
        steps.collect::<Option<Trace>>().ok_or_else(|| Error::Outside(format!("{genotype} is no bag")))
    }
}

#[test]
fn every_plugin_conforms() {
    let tight = GraphSpec { vertices: Bounds { min: 5, max: 5 }, depth: Bounds { min: 4, max: 5 }, fan_in: 2, ..pool() };
    let spaces: Vec<Arc<dyn SearchSpace>> = vec![
        Arc::new(GraphSpace::new(pool()).unwrap()),
        Arc::new(GraphSpace::default()),
        Arc::new(GraphSpace::new(tight).unwrap()),
        Arc::new(Bag {}),
    ];
    match conformance::check_linked(&spaces) {
        Ok(count) => assert!(count >= 11 * 5, "{count} checks"),
        Err(problems) => panic!("{}", problems.join("\n")),
    }
}
