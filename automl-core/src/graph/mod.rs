//! The stock space: directed acyclic graphs of typed operators.
//!
//! A graph has sources (the raw table, two earlier cells …), vertices that each run one operator on the union of their
//! inputs, and one output, the last node. Every vertex is read by a later one or is the output, and every vertex descends
//! from a source. Kinds on ports, forbidden connections and bounds on vertices, depth and fan-in say which graphs exist; a
//! transition matrix says how likely a random graph takes an operator before another.
//!
//! Questions run from the output back to the sources: vertex *k* says whom it feeds, which operator it is and what its
//! parameters are; at the end each vertex says which sources it reads. So no vertex can be left dangling, and a mask forbids
//! whatever could not be completed within the bounds (`plan`): building never fails and never retries.

mod build;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::genotype::{Genotype, Params, Value};
use crate::operator::{self, Kind, Operator, Param, Port};
use crate::plugin;
use crate::space::{Asker, Choose, Domain, Point, Trace};
use plan::Plan;

/// An operator as a graph space needs it: plain data, so that a config can define its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorSpec {
    /// Its name.
    pub name: String,
    /// Its inputs; default one required port for the kind `tensor`.
    #[serde(default = "tensor_port")]
    pub inputs: Vec<Port>,
    /// What it emits; default `tensor`.
    #[serde(default = "tensor")]
    pub output: Kind,
    /// Its parameters.
    #[serde(default)]
    pub params: Vec<Param>,
}

fn tensor() -> Kind {
    Kind::Borrowed("tensor")
}

fn tensor_port() -> Vec<Port> {
    vec![Port::of(&["tensor"])]
}

impl OperatorSpec {
    /// What a registered operator says of itself.
    pub fn of(operator: &dyn Operator) -> Self {
        Self { name: operator.name().to_owned(), inputs: operator.inputs(), output: operator.output(), params: operator.params() }
    }
}

/// A source of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name in genotypes.
    pub name: String,
    /// What it emits.
    pub kind: Kind,
}

/// Bounds of a count, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: usize,
}

/// Directed acyclic graphs of typed operators, all defined in the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphSpec {
    /// What the graph reads.
    pub sources: Vec<Source>,
    /// What its vertices can be.
    pub operators: Vec<OperatorSpec>,
    /// Kinds that the output vertex may emit.
    pub output: Vec<Kind>,
    /// Number of vertices, sources aside; default 1 to 6.
    #[serde(default = "vertices")]
    pub vertices: Bounds,
    /// Vertices on the longest path; default 1 to 6.
    #[serde(default = "vertices")]
    pub depth: Bounds,
    /// Most inputs of a vertex; default 3.
    #[serde(default = "fan_in")]
    pub fan_in: usize,
    /// Connections that must not be: `[from, to]`, names of operators or sources, `*` for any.
    #[serde(default)]
    pub forbidden: Vec<[String; 2]>,
    /// Weights from operator to operator, `from → to → weight`; 1 where nothing is said. `output` as `to` stands for the end of the
    /// graph.
    #[serde(default)]
    pub transitions: BTreeMap<String, BTreeMap<String, f64>>,
    /// How likely a random graph adds one more edge where it can; default 0.15.
    #[serde(default = "extra_edge")]
    pub extra_edge: f64,
}

fn vertices() -> Bounds {
    Bounds { min: 1, max: 6 }
}

fn fan_in() -> usize {
    3
}

fn extra_edge() -> f64 {
    0.15
}

/// The name of a graph's end among the transitions.
pub const OUTPUT: &str = "output";

/// A space of typed graphs, compiled from its [`GraphSpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "GraphSpec", into = "GraphSpec")]
pub struct GraphSpace {
    spec: GraphSpec,
    points: Vec<Point>,
    slots: Vec<Slot>,
    plan: Plan,
}

/// Ids of the questions of one vertex.
#[derive(Clone, Debug, Default)]
struct Slot {
    to: usize,
    op: usize,
    also: Vec<usize>,
    params: Vec<Vec<usize>>,
    sources: Vec<usize>,
}

impl GraphSpace {
    /// Compiles a spec.
    ///
    /// # Errors
    /// [`Error::Config`] at the setting that makes no sense or leaves the space empty.
    pub fn new(mut spec: GraphSpec) -> Result<Self> {
        for param in spec.operators.iter_mut().flat_map(|operator| &mut operator.params) {
            // `default = 1` in a config means the number 1 for a float, too.
            if let (Domain::Float { .. }, Value::Int(whole)) = (&param.domain, &param.default) {
                param.default = Value::Float(*whole as f64);
            }
        }
        check(&spec)?;
        // Operators that no path from a source can feed would only be masked for ever.
        let plan = loop {
            let plan = Plan::new(&spec);
            let usable: Vec<bool> = (0..spec.operators.len()).map(|op| plan.completable(op)).collect();
            if usable.iter().all(|&usable| usable) {
                break plan;
            }
            let mut keep = usable.iter();
            spec.operators.retain(|_| keep.next() == Some(&true));
        };
        plan.check(&spec)?;
        let (points, slots) = questions(&spec);
        Ok(Self { spec, points, slots, plan })
    }

    /// What defines the space; operators that nothing can feed are left out.
    pub fn spec(&self) -> &GraphSpec {
        &self.spec
    }

    /// The operator of that name.
    pub fn operator(&self, name: &str) -> Option<&OperatorSpec> {
        self.spec.operators.iter().find(|operator| operator.name == name)
    }

    /// Whether an edge may run from one operator (or source) to another.
    pub fn connects(&self, from: &str, to: &str) -> bool {
        let index = |name: &str| self.spec.operators.iter().position(|operator| operator.name == name);
        let Some(to) = index(to) else { return false };
        match (index(from), self.spec.sources.iter().position(|source| source.name == from)) {
            (Some(from), _) => self.plan.feeds[from][to].is_some(),
            (None, Some(source)) => self.plan.source_feeds[source][to].is_some(),
            (None, None) => false,
        }
    }

    /// Whether an operator of that name may be the output.
    pub fn ends_with(&self, name: &str) -> bool {
        self.operator(name).is_some_and(|operator| self.spec.output.contains(&operator.output))
    }

    /// The weight of the transition between two operators (or a source and an operator, or an operator and [`OUTPUT`]).
    pub fn weight(&self, from: &str, to: &str) -> f64 {
        self.spec.transitions.get(from).and_then(|row| row.get(to)).copied().unwrap_or(1.0)
    }

    /// The points that are parameters of operators, by their indices; the others are about the graph.
    pub fn parameters(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().flat_map(|slot| slot.params.iter().flatten().copied())
    }

    /// The default parameters of an operator.
    pub fn defaults(&self, name: &str) -> Params {
        self.operator(name).map(|operator| operator::defaults(&operator.params)).unwrap_or_default()
    }
}

plugin! {
    "graph",
    impl SearchSpace for GraphSpace {
        fn points(&self) -> &[Point] {
            &self.points
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            build::Builder::new(self).build(&mut Asker::new(&self.points, choose))
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            build::trace(self, genotype)
        }

        fn graph(&self) -> Option<&GraphSpace> {
            Some(self)
        }
    }
}

impl Default for GraphSpace {
    /// A small cell: two inputs, four operators.
    fn default() -> Self {
        let operator =
            |name: &str| OperatorSpec { name: name.to_owned(), inputs: tensor_port(), output: tensor(), params: Vec::new() };
        let spec = GraphSpec {
            sources: vec![
                Source { name: "previous".into(), kind: tensor() },
                Source { name: "before_previous".into(), kind: tensor() },
            ],
            operators: ["identity", "conv_3x3", "max_pool_3x3", "avg_pool_3x3"].map(operator).to_vec(),
            output: vec![tensor()],
            vertices: vertices(),
            depth: vertices(),
            fan_in: 2,
            forbidden: Vec::new(),
            transitions: BTreeMap::new(),
            extra_edge: extra_edge(),
        };
        let plan = Plan::new(&spec);
        let (points, slots) = questions(&spec);
        Self { spec, points, slots, plan }
    }
}

impl JsonSchema for GraphSpace {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GraphSpace".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The config is the spec; what is compiled from it is nobody's business.
        GraphSpec::json_schema(generator)
    }
}

impl TryFrom<GraphSpec> for GraphSpace {
    type Error = Error;

    fn try_from(spec: GraphSpec) -> Result<Self> {
        Self::new(spec)
    }
}

impl From<GraphSpace> for GraphSpec {
    fn from(space: GraphSpace) -> Self {
        space.spec
    }
}

/// The questions of every vertex, in the order in which they can be asked.
fn questions(spec: &GraphSpec) -> (Vec<Point>, Vec<Slot>) {
    let mut points = Vec::new();
    let mut ask = |key: String, group: String, domain: Domain| {
        points.push(Point { key, group, domain });
        points.len() - 1
    };
    let names = |count: usize, first: &str| -> Domain {
        let rest = (0..count).map(|vertex| Value::Int(i64::try_from(vertex).unwrap_or(i64::MAX)));
        Domain::Choice(std::iter::once(Value::from(first)).chain(rest).collect())
    };
    let operators: Vec<Value> = spec.operators.iter().map(|operator| Value::from(operator.name.as_str())).collect();
    let max = spec.vertices.max;
    let mut slots: Vec<Slot> = Vec::with_capacity(max);
    for vertex in 0..max {
        let mut slot = Slot::default();
        if vertex > 0 {
            slot.to = ask(format!("{vertex}.to"), "to".into(), names(max, "stop"));
        }
        slot.op = ask(format!("{vertex}.op"), "op".into(), Domain::Choice(operators.clone()));
        slot.also = (1..vertex).map(|n| ask(format!("{vertex}.also{n}"), "also".into(), names(max, "none"))).collect();
        for operator in &spec.operators {
            let ids = operator.params.iter().map(|param| {
                let group = format!("{}.{}", operator.name, param.name);
                ask(format!("{vertex}.{group}"), group, param.domain.clone())
            });
            slot.params.push(ids.collect());
        }
        slots.push(slot);
    }
    for (vertex, slot) in slots.iter_mut().enumerate() {
        for source in &spec.sources {
            let group = format!("reads.{}", source.name);
            let domain = Domain::Choice(vec![Value::Bool(false), Value::Bool(true)]);
            slot.sources.push(ask(format!("{vertex}.{group}"), group, domain));
        }
    }
    (points, slots)
}

/// What a spec must say to make sense at all; `Plan::check` asks whether any graph fits.
fn check(spec: &GraphSpec) -> Result<()> {
    let fail = |place: &str, problem: String| Err(Error::config(place, problem));
    if spec.sources.is_empty() {
        return fail("sources", "a graph needs at least one source".into());
    }
    let mut names = BTreeSet::new();
    let all = spec.sources.iter().map(|source| &source.name).chain(spec.operators.iter().map(|operator| &operator.name));
    for name in all.clone() {
        if name == "*" || name == OUTPUT || !names.insert(name) {
            return fail(
                "operators",
                format!("the name `{name}` stands twice or is reserved; operators and sources need names of their own"),
            );
        }
    }
    for (place, bounds) in [("vertices", spec.vertices), ("depth", spec.depth)] {
        if bounds.min == 0 || bounds.min > bounds.max || bounds.max > 64 {
            return fail(place, format!("needs 1 ≤ min ≤ max ≤ 64, not {} and {}", bounds.min, bounds.max));
        }
    }
    if spec.depth.min > spec.vertices.max {
        return fail("depth.min", "a path cannot have more vertices than the graph".into());
    }
    if spec.fan_in == 0 || spec.fan_in > 64 {
        return fail("fan_in", "must be 1 to 64".into());
    }
    if !(0.0..=1.0).contains(&spec.extra_edge) {
        return fail("extra_edge", "is a probability, 0 to 1".into());
    }
    for operator in &spec.operators {
        check_operator(operator, spec.fan_in)?;
    }
    for name in spec.forbidden.iter().flatten().filter(|name| *name != "*") {
        known(&names, "forbidden", name)?;
    }
    for (from, row) in &spec.transitions {
        for (to, weight) in row {
            known(&names, "transitions", from)?;
            if to != OUTPUT {
                known(&names, "transitions", to)?;
            }
            if !weight.is_finite() || *weight < 0.0 {
                return fail(&format!("transitions.{from}.{to}"), "a weight is a finite number, 0 or above".into());
            }
        }
    }
    Ok(())
}

fn known(names: &BTreeSet<&String>, place: &str, name: &str) -> Result<()> {
    if names.iter().any(|known| *known == name) {
        return Ok(());
    }
    let near = crate::error::nearest(name, names.iter().map(|name| name.as_str()));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Err(Error::config(place, format!("no operator or source is named `{name}`{hint}")))
}

fn check_operator(operator: &OperatorSpec, fan_in: usize) -> Result<()> {
    let fail = |part: &str, problem: String| Err(Error::config(format!("operators.{}.{part}", operator.name), problem));
    if operator.inputs.len() > plan::MAX_PORTS {
        return fail("inputs", format!("at most {} ports", plan::MAX_PORTS));
    }
    let required = operator.inputs.iter().filter(|port| port.required).count();
    if required == 0 {
        return fail("inputs", "at least one port must be required".into());
    }
    if required > fan_in {
        return fail("inputs", format!("{required} ports are required, but `fan_in` is {fan_in}"));
    }
    let mut kinds = BTreeSet::new();
    for port in &operator.inputs {
        if port.accepts.is_empty() || port.max == Some(0) || !port.accepts.iter().all(|kind| kinds.insert(kind)) {
            return fail(
                "inputs",
                "every port accepts kinds that no other port of the operator accepts, and at least one edge".into(),
            );
        }
    }
    for (index, param) in operator.params.iter().enumerate() {
        let place = format!("params.{}", param.name);
        if let Some(problem) = param.domain.problem() {
            return fail(&place, problem.into());
        }
        if param.domain.answer(&param.default).is_none() {
            return fail(&place, format!("the default `{}` is not in its domain", param.default));
        }
        let earlier = |name: &str| operator.params[..index].iter().any(|param| param.name == name);
        if earlier(&param.name) {
            return fail(&place, "stands twice".into());
        }
        if param.when.as_ref().is_some_and(|when| !earlier(&when.param)) {
            return fail(&place, "its condition must be about an earlier parameter".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
