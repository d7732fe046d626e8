//! Which partial graphs can be completed within the bounds.
//!
//! The builder may only take a step from which a whole graph can still be reached. Looking for one by search would be slow, so
//! the plan keeps, for each operator and port, one cheapest way to complete it (`cost`), and which chains can be grown above it
//! (`chain`). A state is accepted when these ready-made ways fit together ([`State::completable`]); following them never
//! leaves the accepted states, so an accepted state always has an accepted next step.

use super::{GraphSpec, Kind, OUTPUT};
use crate::error::{Error, Result};

/// Vertices and levels that a completion needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    pub vertices: usize,
    pub depth: usize,
}

/// How much rarer a random graph takes an operator for each vertex that must come before it.
const DETOUR: f64 = 0.35;

/// Tables over operators, ports and sources.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// `feeds[from][to]`: the port of `to` that an edge from `from` enters.
    pub feeds: Vec<Vec<Option<usize>>>,
    /// The same for sources.
    pub source_feeds: Vec<Vec<Option<usize>>>,
    /// Required and maximal edges of each port.
    pub ports: Vec<Vec<(bool, usize)>>,
    pub fan_in: usize,
    pub ends: Vec<bool>,
    /// `weights[to][from]`: how likely a random graph takes `from` in front of `to`.
    pub weights: Vec<Vec<f64>>,
    /// How likely a random graph ends with each operator.
    pub output_weights: Vec<f64>,
    cost: Vec<Vec<Option<Cost>>>,
    /// `chain[length][op][port]`: whether that many vertices can stand in a row above the port, the last fed by sources.
    chain: Vec<Vec<Vec<bool>>>,
    /// Whether some operator that sources alone can feed may enter a port.
    widens: Vec<Vec<bool>>,
}

impl Plan {
    pub fn new(spec: &GraphSpec) -> Self {
        let count = spec.operators.len();
        let forbidden =
            |from: &str, to: &str| spec.forbidden.iter().any(|[a, b]| (a == "*" || a == from) && (b == "*" || b == to));
        let enters = |name: &str, kind: &Kind, to: usize| {
            let target = &spec.operators[to];
            let port = target.inputs.iter().position(|port| port.accepts.contains(kind));
            port.filter(|_| !forbidden(name, &target.name))
        };
        let feeds: Vec<Vec<_>> =
            spec.operators.iter().map(|from| (0..count).map(|to| enters(&from.name, &from.output, to)).collect()).collect();
        let source_feeds: Vec<Vec<_>> =
            spec.sources.iter().map(|source| (0..count).map(|to| enters(&source.name, &source.kind, to)).collect()).collect();
        let ports: Vec<Vec<(bool, usize)>> = spec
            .operators
            .iter()
            .map(|op| op.inputs.iter().map(|port| (port.required, port.max.unwrap_or(usize::MAX))).collect())
            .collect();
        let ends = spec.operators.iter().map(|op| spec.output.contains(&op.output)).collect();
        let mut plan = Self {
            weights: Vec::new(),
            output_weights: Vec::new(),
            feeds,
            source_feeds,
            ports,
            fan_in: spec.fan_in,
            ends,
            cost: Vec::new(),
            chain: Vec::new(),
            widens: Vec::new(),
        };
        plan.cost = plan.costs();
        plan.chain = plan.chains(spec.vertices.max);
        plan.weights = plan.weights(spec);
        plan.output_weights = plan.output_weights(spec);
        plan.widens =
            plan.each_port(|op, port| (0..count).any(|from| plan.feeds[from][op] == Some(port) && plan.simple(from, None)));
        plan
    }

    /// Whether every required port of an operator can be fed at all.
    pub fn completable(&self, op: usize) -> bool {
        self.required_cost(op, None).is_some()
    }

    /// Vertices that must stand between the sources and an operator, at least.
    fn vertices_before(&self, op: usize) -> usize {
        self.required_cost(op, None).map_or(0, |cost| cost.vertices)
    }

    /// Whether any graph fits the bounds.
    pub fn check(&self, spec: &GraphSpec) -> Result<()> {
        let fits = (0..self.ends.len()).any(|op| self.ends[op] && State::start(op, self).completable(self, spec));
        if fits {
            return Ok(());
        }
        Err(Error::config(
            "output",
            "no graph fits: check that some operator emits a kind of `output`, that sources can feed it, and that the bounds on vertices, depth and fan-in leave room",
        ))
    }

    fn each_port<T>(&self, value: impl Fn(usize, usize) -> T) -> Vec<Vec<T>> {
        self.ports.iter().enumerate().map(|(op, ports)| (0..ports.len()).map(|port| value(op, port)).collect()).collect()
    }

    fn source_fits(&self, op: usize, port: usize) -> bool {
        self.source_feeds.iter().any(|feeds| feeds[op] == Some(port))
    }

    /// Cheapest completion of each port: nothing where a source fits, else the cheapest operator in front of it.
    fn costs(&self) -> Vec<Vec<Option<Cost>>> {
        let mut cost = self.each_port(|op, port| self.source_fits(op, port).then(Cost::default));
        // Bellman–Ford: a cheapest way has at most one vertex an operator on each path.
        for _ in 0..=self.ports.len() {
            let previous = Self { cost: cost.clone(), ..self.clone_tables() };
            for (op, ports) in cost.iter_mut().enumerate() {
                for (port, best) in ports.iter_mut().enumerate() {
                    let ways = (0..self.ports.len()).filter(|&from| self.feeds[from][op] == Some(port)).filter_map(|from| {
                        let behind = previous.required_cost(from, None)?;
                        Some(Cost { vertices: behind.vertices + 1, depth: behind.depth + 1 })
                    });
                    *best = ways.chain(*best).min();
                }
            }
            if cost == previous.cost {
                break;
            }
        }
        cost
    }

    fn clone_tables(&self) -> Self {
        Self { cost: Vec::new(), chain: Vec::new(), widens: Vec::new(), ..self.clone() }
    }

    /// Weights of the operators as the last vertex.
    fn output_weights(&self, spec: &GraphSpec) -> Vec<f64> {
        let weight = |from: &str| spec.transitions.get(from).and_then(|row| row.get(OUTPUT)).copied().unwrap_or(1.0);
        spec.operators.iter().map(|operator| weight(&operator.name)).collect()
    }

    /// The transition weights, and [`DETOUR`] for each vertex that an operator draws after it: so graphs find their end.
    fn weights(&self, spec: &GraphSpec) -> Vec<Vec<f64>> {
        let transition = |from: &str, to: &str| spec.transitions.get(from).and_then(|row| row.get(to)).copied().unwrap_or(1.0);
        let detour = |op| DETOUR.powi(i32::try_from(self.vertices_before(op)).unwrap_or(i32::MAX));
        let operators = || spec.operators.iter().enumerate();
        operators().map(|(_, to)| operators().map(|(op, from)| transition(&from.name, &to.name) * detour(op)).collect()).collect()
    }

    /// What the required ports of an operator cost together, one of them left out.
    fn required_cost(&self, op: usize, except: Option<usize>) -> Option<Cost> {
        let mut total = Cost::default();
        for (port, &(required, _)) in self.ports[op].iter().enumerate() {
            if required && Some(port) != except {
                let cost = self.cost[op][port]?;
                total.vertices = total.vertices.saturating_add(cost.vertices);
                total.depth = total.depth.max(cost.depth);
            }
        }
        Some(total)
    }

    /// Whether sources alone complete an operator (one port left out).
    fn simple(&self, op: usize, except: Option<usize>) -> bool {
        self.required_cost(op, except) == Some(Cost::default())
    }

    fn chains(&self, longest: usize) -> Vec<Vec<Vec<bool>>> {
        let mut chains = vec![self.each_port(|op, port| self.source_fits(op, port) || !self.ports[op][port].0)];
        for length in 1..=longest {
            let next = self.each_port(|op, port| {
                (0..self.ports.len()).filter(|&from| self.feeds[from][op] == Some(port)).any(|from| {
                    if length == 1 {
                        return self.simple(from, None);
                    }
                    (0..self.ports[from].len()).any(|behind| self.has_room(from, behind) && chains[length - 1][from][behind])
                })
            });
            chains.push(next);
        }
        chains
    }

    /// Whether a chain may enter a port of a fresh vertex while sources feed the other required ones.
    fn has_room(&self, op: usize, port: usize) -> bool {
        let others = self.ports[op].iter().enumerate().filter(|&(other, &(required, _))| required && other != port).count();
        others < self.fan_in && self.simple(op, Some(port))
    }
}

/// Most ports of an operator: a vertex then is a few bytes, and trying a step costs no allocation a vertex.
pub(super) const MAX_PORTS: usize = 4;

/// A vertex of a graph under construction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vertex {
    pub op: usize,
    /// Vertices on the longest path from here to the output, both included.
    pub level: usize,
    /// Edges that entered each port so far.
    filled: [usize; MAX_PORTS],
    inputs: usize,
}

/// A graph under construction, from the output backwards.
///
/// A step is tried in place and taken back, since a builder tries every operator at every vertex.
#[derive(Debug)]
pub(super) struct State {
    pub vertices: Vec<Vertex>,
}

impl State {
    pub fn start(op: usize, plan: &Plan) -> Self {
        Self { vertices: vec![Vertex::new(op, 1, plan)] }
    }

    /// Whether one more edge may enter a port, with enough fan-in left for the other required ports.
    pub fn accepts(&self, plan: &Plan, vertex: usize, port: usize) -> bool {
        let target = &self.vertices[vertex];
        let ports = &plan.ports[target.op];
        let reserved = (0..ports.len()).filter(|&other| other != port && target.open(plan, other)).count();
        target.filled[port] < ports[port].1 && target.inputs + reserved < plan.fan_in
    }

    /// Adds an edge into a port.
    pub fn connect(&mut self, vertex: usize, port: usize) {
        self.vertices[vertex] = self.vertices[vertex].connected(port);
    }

    /// Adds a vertex that feeds another, if their kinds and ports allow it.
    pub fn add_vertex(&mut self, plan: &Plan, op: usize, to: usize) -> bool {
        let target = &self.vertices[to];
        let level = target.level + 1;
        let Some(port) = plan.feeds[op][target.op].filter(|&port| self.accepts(plan, to, port)) else { return false };
        self.connect(to, port);
        self.vertices.push(Vertex::new(op, level, plan));
        true
    }

    /// Whether a graph with one more such vertex can be completed.
    pub fn takes_vertex(&mut self, plan: &Plan, spec: &GraphSpec, op: usize, to: usize) -> bool {
        let target = self.vertices[to];
        if !self.add_vertex(plan, op, to) {
            return false;
        }
        let fits = self.completable(plan, spec);
        self.vertices.pop();
        self.vertices[to] = target;
        fits
    }

    /// Adds an edge from the latest vertex, if kinds and ports allow it.
    pub fn add_edge(&mut self, plan: &Plan, vertex: usize, to: usize) -> bool {
        let target = &self.vertices[to];
        let level = target.level + 1;
        let port = plan.feeds[self.vertices[vertex].op][target.op];
        let Some(port) = port.filter(|&port| self.accepts(plan, to, port)) else { return false };
        self.connect(to, port);
        let vertex = &mut self.vertices[vertex];
        vertex.level = vertex.level.max(level);
        true
    }

    /// Whether the graph with one more such edge can be completed.
    pub fn takes_edge(&mut self, plan: &Plan, spec: &GraphSpec, vertex: usize, to: usize) -> bool {
        let (source, target) = (self.vertices[vertex], self.vertices[to]);
        if !self.add_edge(plan, vertex, to) {
            return false;
        }
        let fits = self.completable(plan, spec);
        self.vertices[vertex] = source;
        self.vertices[to] = target;
        fits
    }

    /// Whether nothing but sources is missing.
    pub fn can_stop(&self, plan: &Plan, spec: &GraphSpec) -> bool {
        self.vertices.len() >= spec.vertices.min
            && self.deepest() >= spec.depth.min
            && self.vertices.iter().all(|vertex| vertex.met_by_sources(plan))
    }

    /// Whether the plan's ready-made ways complete this graph within the bounds.
    pub fn completable(&self, plan: &Plan, spec: &GraphSpec) -> bool {
        let mut missing = 0;
        for vertex in &self.vertices {
            if vertex.level > spec.depth.max {
                return false;
            }
            for port in vertex.open_ports(plan) {
                let Some(cost) = plan.cost[vertex.op][port] else { return false };
                if vertex.level + cost.depth > spec.depth.max {
                    return false;
                }
                missing += cost.vertices;
            }
        }
        let used = self.vertices.len();
        if used + missing > spec.vertices.max {
            return false;
        }
        if used + missing >= spec.vertices.min && self.deepest() >= spec.depth.min {
            return true;
        }
        self.extends(plan, spec, missing)
    }

    /// Whether a chain above one port, and then single vertices beside it, reach the lower bounds.
    fn extends(&self, plan: &Plan, spec: &GraphSpec, missing: usize) -> bool {
        let used = self.vertices.len();
        let spare = |vertex: &Vertex| if vertex.level < spec.depth.max { vertex.spare(plan) } else { 0 };
        let width: usize = self.vertices.iter().map(spare).sum();
        self.vertices.iter().enumerate().any(|(index, vertex)| {
            (0..plan.ports[vertex.op].len()).filter(|&port| self.accepts(plan, index, port)).any(|port| {
                let saved = if vertex.open(plan, port) { plan.cost[vertex.op][port].map_or(0, |cost| cost.vertices) } else { 0 };
                // The chain's own place is no longer free for a vertex beside it.
                let width = width + spare(&vertex.connected(port)) - spare(vertex);
                (1..plan.chain.len()).any(|length| {
                    let total = used + length + missing - saved;
                    plan.chain[length][vertex.op][port]
                        && vertex.level + length <= spec.depth.max
                        && self.deepest().max(vertex.level + length) >= spec.depth.min
                        && total <= spec.vertices.max
                        && total + width >= spec.vertices.min
                })
            })
        })
    }

    fn deepest(&self) -> usize {
        self.vertices.iter().map(|vertex| vertex.level).max().unwrap_or(0)
    }
}

impl Vertex {
    pub fn new(op: usize, level: usize, plan: &Plan) -> Self {
        debug_assert!(plan.ports[op].len() <= MAX_PORTS);
        Self { op, level, filled: [0; MAX_PORTS], inputs: 0 }
    }

    fn connected(mut self, port: usize) -> Self {
        self.filled[port] += 1;
        self.inputs += 1;
        self
    }

    /// Whether sources can fill every required port that has no edge yet.
    pub fn met_by_sources(&self, plan: &Plan) -> bool {
        self.open_ports(plan).all(|port| plan.cost[self.op][port] == Some(Cost::default()))
    }

    /// Whether a required port has no edge yet.
    pub fn open(&self, plan: &Plan, port: usize) -> bool {
        plan.ports[self.op][port].0 && self.filled[port] == 0
    }

    fn open_ports<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = usize> + 'a {
        (0..plan.ports[self.op].len()).filter(|&port| self.open(plan, port))
    }

    /// How many vertices that sources alone feed can still enter, required ports kept free.
    fn spare(&self, plan: &Plan) -> usize {
        let reserved = self.open_ports(plan).count();
        let room = plan.fan_in.saturating_sub(self.inputs + reserved);
        let places = (0..plan.ports[self.op].len())
            .filter(|&port| plan.widens[self.op][port])
            .map(|port| plan.ports[self.op][port].1.saturating_sub(self.filled[port].max(usize::from(self.open(plan, port)))));
        places.fold(0_usize, usize::saturating_add).min(room)
    }
}
