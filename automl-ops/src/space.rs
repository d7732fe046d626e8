//! The space of pipelines: typed graphs over the linked tabular operators.

use std::collections::{BTreeMap, BTreeSet};

use automl_core::graph::{Bounds, OUTPUT, Source};
use automl_core::{Choose, Error, Genotype, GraphSpace, GraphSpec, Kind, OperatorSpec, Point, Result, Trace, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds;
use crate::metrics::{Metric, Task};
use crate::operator;
use crate::portfolio::{self, Portfolio};
use crate::training::Training;
use crate::weights;

/// What the features are before any operator has touched them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Categories, dates or texts among them.
    #[default]
    Raw,
    /// Numbers with missing values.
    Numeric,
    /// Numbers without missing values.
    Dense,
}

impl Input {
    fn kind(self) -> Kind {
        match self {
            Self::Raw => kinds::RAW,
            Self::Numeric => kinds::NUMERIC,
            Self::Dense => kinds::DENSE,
        }
    }

    fn of(kind: &Kind) -> Self {
        [Self::Numeric, Self::Dense].into_iter().find(|input| input.kind() == *kind).unwrap_or_default()
    }
}

/// Pipelines of tabular operators: directed acyclic graphs that end in an estimator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineSpec {
    /// What is predicted.
    pub task: Task,
    /// What the features are.
    pub input: Input,
    /// The gene pool by name; all linked tabular operators where empty.
    pub operators: Vec<String>,
    /// Number of vertices.
    pub vertices: Bounds,
    /// Vertices on the longest path.
    pub depth: Bounds,
    /// Most inputs of a vertex.
    pub fan_in: usize,
    /// Connections that must not be, `[from, to]`; `*` for any.
    pub forbidden: Vec<[String; 2]>,
    /// Weights from operator to operator for random pipelines, `output` for the end. Where nothing is said: how often the
    /// operator in front helps on any table, and 0.3 of that for an estimator in the middle.
    pub transitions: BTreeMap<String, BTreeMap<String, f64>>,
    /// How likely a random pipeline adds one more edge where it can.
    pub extra_edge: f64,
    /// Whether the pipelines to start from weigh all classes the same.
    pub balanced_starts: bool,
}

impl Default for PipelineSpec {
    fn default() -> Self {
        Self {
            task: Task::Classification,
            input: Input::Raw,
            operators: Vec::new(),
            vertices: Bounds { min: 1, max: 8 },
            depth: Bounds { min: 1, max: 6 },
            fan_in: 3,
            forbidden: Vec::new(),
            transitions: BTreeMap::new(),
            extra_edge: 0.1,
            balanced_starts: true,
        }
    }
}

/// Pipelines of tabular operators: directed acyclic graphs that end in an estimator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "PipelineSpec", into = "PipelineSpec")]
pub struct PipelineSpace {
    spec: PipelineSpec,
    graph: GraphSpace,
}

/// Weight of an edge that leaves an estimator: it costs several fits, and most good pipelines have none.
const BEHIND_ESTIMATOR: f64 = 0.3;

impl PipelineSpace {
    /// Compiles a spec over the linked operators.
    ///
    /// # Errors
    /// [`Error::Unknown`] for an operator that is not linked, [`Error::Config`] for a space without pipelines.
    pub fn new(spec: PipelineSpec) -> Result<Self> {
        let pool: Vec<OperatorSpec> = if spec.operators.is_empty() {
            let serving = operator::operators().into_iter().filter(|operator| operator.tasks().contains(&spec.task));
            serving.map(|operator| OperatorSpec::of(operator)).collect()
        } else {
            let mut pool = Vec::new();
            for name in &spec.operators {
                pool.push(OperatorSpec::of(operator::operator(name)?));
            }
            pool
        };
        let mut transitions = spec.transitions.clone();
        for from in &pool {
            let weight = weights::weight(&from.name);
            let onward = if from.output == kinds::PREDICTION { weight * BEHIND_ESTIMATOR } else { weight };
            let row = transitions.entry(from.name.clone()).or_default();
            for to in &pool {
                row.entry(to.name.clone()).or_insert(onward);
            }
            row.entry(OUTPUT.to_owned()).or_insert(weight);
        }
        let graph = GraphSpace::new(GraphSpec {
            sources: vec![Source { name: "input".into(), kind: spec.input.kind() }],
            operators: pool,
            output: vec![kinds::PREDICTION],
            vertices: spec.vertices,
            depth: spec.depth,
            fan_in: spec.fan_in,
            forbidden: spec.forbidden.clone(),
            transitions,
            extra_edge: spec.extra_edge,
        })?;
        Ok(Self { spec, graph })
    }

    /// The default space for a training table.
    ///
    /// # Errors
    /// As [`PipelineSpace::new`].
    pub fn fitting(training: &Training, metric: Metric) -> Result<Self> {
        let balanced_starts = matches!(metric, Metric::BalancedAccuracy | Metric::F1);
        let (task, input) = (training.task(), Input::of(&training.kind));
        let space = Self::new(PipelineSpec { task, input, balanced_starts, ..PipelineSpec::default() })?;
        // The pool by name: a plugin that is linked later must not change what a journal replays to.
        let names = space.graph.spec().operators.iter().map(|operator| operator.name.clone());
        let serves = |name: &String| operator::operator(name).is_ok_and(|operator| operator.serves(&training.x));
        let operators = names.filter(serves).collect();
        Self::new(PipelineSpec { operators, ..space.spec })
    }

    /// What defines the space.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// A pipeline of another table, with the encoders and imputers that this one needs; none where there is no room for it.
    pub fn adapt(&self, genotype: &Genotype) -> Option<Genotype> {
        portfolio::adapt(genotype, &self.graph, self.spec.balanced_starts)
    }
}

plugin! {
    "pipeline",
    impl SearchSpace for PipelineSpace {
        fn points(&self) -> &[Point] {
            self.graph.points()
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            self.graph.build(choose)
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            self.graph.trace(genotype)
        }

        fn graph(&self) -> Option<&GraphSpace> {
            Some(&self.graph)
        }

        /// What was good on other tables, adapted to this space.
        fn starts(&self) -> Vec<Genotype> {
            let portfolio = Portfolio::learnt();
            let adapted = portfolio.of(self.spec.task).iter().filter_map(|genotype| self.adapt(genotype));
            let mut hashes = BTreeSet::new();
            adapted.filter(|genotype| hashes.insert(genotype.canonical_hash())).collect()
        }
    }
}

impl Default for PipelineSpace {
    fn default() -> Self {
        // Without a single linked estimator there is no pipeline space at all; the stock graph stands in, so that listings work.
        Self::new(PipelineSpec::default())
            .unwrap_or_else(|_| Self { spec: PipelineSpec::default(), graph: GraphSpace::default() })
    }
}

impl TryFrom<PipelineSpec> for PipelineSpace {
    type Error = Error;

    fn try_from(spec: PipelineSpec) -> Result<Self> {
        Self::new(spec)
    }
}

impl From<PipelineSpace> for PipelineSpec {
    fn from(space: PipelineSpace) -> Self {
        space.spec
    }
}

impl JsonSchema for PipelineSpace {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PipelineSpace".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        PipelineSpec::json_schema(generator)
    }
}
