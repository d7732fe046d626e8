//! Spaces and a loop for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::graph::{Bounds, Source};
use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use automl_core::{
    Ask, Direction, Genotype, GraphSpace, GraphSpec, Kind, Objective, OperatorSpec, Param, Port, Proposal, SearchSpace, Strategy,
    StrategyConfig, Trial,
};
use rand_chacha::ChaCha8Rng;

fn operator(name: &str, inputs: Vec<Port>, output: &'static str, params: Vec<Param>) -> OperatorSpec {
    OperatorSpec { name: name.into(), inputs, output: Kind::Borrowed(output), params }
}

/// A pool like that of tables: raw → numeric → dense → prediction, and a stacker with two ports.
pub fn pool() -> GraphSpec {
    let scaling = vec![
        Param::choice("method", &["standard", "quantile"]),
        Param::int("bins", 4, 64, 16).log().when("method", &["quantile".into()]),
    ];
    let optional = Port { required: false, max: Some(1), ..Port::of(&["dense"]) };
    GraphSpec {
        sources: vec![Source { name: "input".into(), kind: Kind::Borrowed("raw") }],
        operators: vec![
            operator("encode", vec![Port::of(&["raw"])], "numeric", vec![]),
            operator("impute", vec![Port::of(&["numeric"])], "dense", vec![]),
            operator("scale", vec![Port::of(&["dense", "prediction"])], "dense", scaling),
            operator("tree", vec![Port::of(&["numeric", "dense", "prediction"])], "prediction", vec![]),
            operator(
                "ridge",
                vec![Port::of(&["dense", "prediction"])],
                "prediction",
                vec![Param::float("alpha", 1e-3, 1e3, 1.0).log()],
            ),
            operator("stack", vec![Port::of(&["prediction"]), optional], "prediction", vec![]),
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

/// [`pool`] as a space.
pub fn pool_space() -> GraphSpace {
    GraphSpace::new(pool()).unwrap()
}

/// Three candidates: one vertex with a choice of three.
pub fn tiny() -> GraphSpace {
    let one = Bounds { min: 1, max: 1 };
    let only = operator("only", vec![Port::of(&["raw"])], "prediction", vec![Param::choice("which", &["a", "b", "c"])]);
    GraphSpace::new(GraphSpec { operators: vec![only], forbidden: vec![], vertices: one, depth: one, ..pool() }).unwrap()
}

/// The ask-and-tell loop of a study, without one.
pub struct Run {
    strategy: Box<dyn Strategy>,
    seed: u64,
}

impl Run {
    pub fn new(config: &dyn StrategyConfig, space: &Arc<dyn SearchSpace>, seed: u64) -> Self {
        let objectives = [Objective { name: "loss".into(), direction: Direction::Minimize }];
        Self { strategy: config.build(space.clone(), &objectives).unwrap(), seed }
    }

    /// Runs so many trials; a candidate without a loss fails.
    pub fn trials(self, count: usize, loss: impl Fn(&Genotype) -> Option<f64>) -> Vec<Trial> {
        self.until(0, |trials| trials.len() >= count, |genotype, _| loss(genotype))
    }

    /// Runs trials until there are enough, with up to `lag` pending; `loss` is that of a candidate at some fidelity.
    pub fn until(
        self,
        lag: usize,
        enough: impl Fn(&[Trial]) -> bool,
        loss: impl Fn(&Genotype, f64) -> Option<f64>,
    ) -> Vec<Trial> {
        self.several(lag, enough, |genotype, fidelity| Some(vec![loss(genotype, fidelity)?]))
    }

    /// The same with several objectives.
    pub fn several(
        mut self,
        lag: usize,
        enough: impl Fn(&[Trial]) -> bool,
        losses: impl Fn(&Genotype, f64) -> Option<Vec<f64>>,
    ) -> Vec<Trial> {
        let mut trials: Vec<Trial> = Vec::new();
        let mut pending: Vec<Proposal> = Vec::new();
        while !enough(&trials) {
            let id = trials.len() as u64;
            let trial = id + pending.len() as u64;
            let mut rng = ChaCha8Rng::seed_from_u64(seed_of(self.seed, "ask", trial));
            let ask = Ask::alone(trial, &pending);
            let proposal = self.strategy.ask(&ask, &mut rng).unwrap().remove(0);
            pending.push(proposal);
            if pending.len() <= lag {
                continue;
            }
            let proposal = pending.remove(0);
            let losses = losses(&proposal.genotype, proposal.fidelity);
            let trial = Trial::told(id, proposal, losses);
            self.strategy.tell(&trial).unwrap();
            trials.push(trial);
        }
        trials
    }
}

/// How far a candidate of [`pool`] is from a made-up best one: two scalings by quantiles, two ridges, a stacker at the end, an
/// `alpha` near 30 everywhere, and few vertices.
pub fn distance(genotype: &Genotype) -> f64 {
    let count = |op: &str| genotype.nodes.iter().filter(|node| node.op == op).count() as f64;
    let quantiles = genotype.nodes.iter().filter(|node| node.params.get("method") == Some(&"quantile".into())).count() as f64;
    let alphas = genotype.nodes.iter().filter_map(|node| match node.params.get("alpha") {
        Some(automl_core::Value::Float(alpha)) => Some((alpha / 30.0).log10().abs()),
        _ => None,
    });
    let last = genotype.nodes.last().is_some_and(|node| node.op == "stack");
    let structure = (count("ridge") - 2.0).abs() + (quantiles - 2.0).abs() + 2.0 * f64::from(u8::from(!last));
    structure + alphas.fold(0.0, f64::max) + 0.1 * genotype.nodes.len() as f64
}

/// Mean over six seeds of the area that the candidates of 300 trials dominate.
pub fn mean_area(config: &dyn StrategyConfig) -> f64 {
    mean_area_of(config, 300, 6)
}

/// Mean over some seeds of the area that the candidates of so many trials dominate, where a candidate is to be near the made-up best
/// one and to have few vertices; the two pull apart.
pub fn mean_area_of(config: &dyn StrategyConfig, trials: usize, seeds: u64) -> f64 {
    let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
    let area = |seed| {
        let losses = |genotype: &Genotype, _: f64| Some(vec![distance(genotype), genotype.nodes.len() as f64]);
        let trials = Run::new(config, &space, seed).several(3, |done| done.len() >= trials, losses);
        let front = automl_core::pareto::front(&trials, |trial| Some(trial.losses.clone()));
        let mut roof = 9.0;
        front.iter().fold(0.0, |area, (_, losses)| {
            let height = (roof - losses[1]).max(0.0);
            roof -= height;
            area + height * (6.0 - losses[0]).max(0.0)
        })
    };
    (0..seeds).map(area).sum::<f64>() / seeds as f64
}

/// Mean over ten seeds of the best distance among 300 trials.
pub fn mean_best(config: &dyn StrategyConfig) -> f64 {
    mean_best_of(config, pool_space(), distance, 300, 10)
}

/// Mean over some seeds of the least loss among so many trials.
pub fn mean_best_of(
    config: &dyn StrategyConfig,
    space: GraphSpace,
    loss: impl Fn(&Genotype) -> f64,
    trials: usize,
    seeds: u64,
) -> f64 {
    let space: Arc<dyn SearchSpace> = Arc::new(space);
    let best = |seed| {
        let trials = Run::new(config, &space, seed).trials(trials, |genotype| Some(loss(genotype)));
        trials.iter().filter_map(Trial::loss).fold(f64::INFINITY, f64::min)
    };
    (0..seeds).map(best).sum::<f64>() / seeds as f64
}
