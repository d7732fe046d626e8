//! Building a graph from answers, and reading the answers back from a graph.

use super::plan::State;
use super::{GraphSpace, OperatorSpec};
use crate::error::{Error, Result};
use crate::genotype::{Genotype, Node, Params};
use crate::space::{Answer, Asker, Domain, KnownChoose, RecordChoose, SearchSpace, Trace};

/// A graph under construction: vertex 0 is the output, and every vertex feeds earlier ones.
pub(super) struct Builder<'a> {
    space: &'a GraphSpace,
    params: Vec<Params>,
    /// Vertices that feed each vertex.
    inputs: Vec<Vec<usize>>,
    sources: Vec<Vec<usize>>,
}

impl<'a> Builder<'a> {
    pub fn new(space: &'a GraphSpace) -> Self {
        Self { space, params: Vec::new(), inputs: Vec::new(), sources: Vec::new() }
    }

    pub fn build(mut self, ask: &mut Asker<'_>) -> Result<Genotype> {
        let mut state = self.output(ask)?;
        while state.vertices.len() < self.space.spec.vertices.max && self.grow(&mut state, ask)? {}
        self.sources(&mut state, ask)?;
        Ok(self.genotype(&state))
    }

    fn output(&mut self, ask: &mut Asker<'_>) -> Result<State> {
        let GraphSpace { spec, plan, slots, .. } = self.space;
        let legal: Vec<bool> =
            (0..spec.operators.len()).map(|op| plan.ends[op] && State::start(op, plan).completable(plan, spec)).collect();
        let op = ask.option(slots[0].op, &legal, Some(&plan.output_weights))?;
        self.place(0, op, ask)?;
        Ok(State::start(op, plan))
    }

    /// Adds one vertex; `false` where the graph is to stop.
    fn grow(&mut self, state: &mut State, ask: &mut Asker<'_>) -> Result<bool> {
        let GraphSpace { spec, plan, slots, .. } = self.space;
        let vertex = state.vertices.len();
        let slot = &slots[vertex];
        let operators = 0..spec.operators.len();
        let mut legal = vec![state.can_stop(plan, spec)];
        legal.extend((0..vertex).map(|to| operators.clone().any(|op| state.takes_vertex(plan, spec, op, to))));
        legal.resize(spec.vertices.max + 1, false);
        let choice = ask.option(slot.to, &legal, Some(&self.target_weights(state, &legal)))?;
        let Some(to) = choice.checked_sub(1) else { return Ok(false) };
        let fits: Vec<bool> = operators.map(|op| state.takes_vertex(plan, spec, op, to)).collect();
        let op = ask.option(slot.op, &fits, Some(&plan.weights[state.vertices[to].op]))?;
        state.add_vertex(plan, op, to);
        self.inputs[to].push(vertex);
        self.further_targets(state, vertex, to, ask)?;
        self.place(vertex, op, ask)?;
        Ok(true)
    }

    /// Whom a random graph feeds next. Where a vertex cannot be fed by sources alone it comes first, mostly, so that graphs do
    /// not grow to their bound by wandering; else the graph stops, evenly between the bounds but at least every fourth time,
    /// or grows at its latest vertex half of the time.
    fn target_weights(&self, state: &State, legal: &[bool]) -> Vec<f64> {
        const UNMET: f64 = 0.8;
        const STOP: f64 = 0.25;
        let GraphSpace { spec, plan, .. } = self.space;
        let vertex = state.vertices.len();
        let stop = (1.0 / ((spec.vertices.max - vertex) as f64 + 1.0)).max(STOP);
        let grow = |at: usize| legal[at + 1];
        let unmet = |at: usize| grow(at) && !state.vertices[at].met_by_sources(plan);
        let open = (0..vertex).filter(|&at| grow(at)).count().max(1) as f64;
        let needy = (0..vertex).filter(|&at| unmet(at)).count();
        let (urgent, rest) = if needy > 0 { (UNMET, 1.0 - UNMET) } else { (0.0, 1.0 - stop) };
        let mut weights = vec![0.0; legal.len()];
        weights[0] = stop;
        for at in (0..vertex).filter(|&at| grow(at)) {
            let latest = if at + 1 == vertex { 0.5 * rest } else { 0.0 };
            let need = if unmet(at) { urgent / needy as f64 } else { 0.0 };
            weights[at + 1] = 0.5 * rest / open + latest + need;
        }
        weights
    }

    /// Further vertices that the new one feeds, ascending.
    fn further_targets(&mut self, state: &mut State, vertex: usize, first: usize, ask: &mut Asker<'_>) -> Result<()> {
        let GraphSpace { spec, plan, slots, .. } = self.space;
        let mut last = first;
        for &id in &slots[vertex].also {
            let mut legal = vec![false; spec.vertices.max + 1];
            for to in last + 1..vertex {
                legal[to + 1] = state.takes_edge(plan, spec, vertex, to);
            }
            let open = legal.iter().filter(|legal| **legal).count();
            if open == 0 {
                break;
            }
            legal[0] = true;
            let more = 1.0 - (1.0 - spec.extra_edge).powi(i32::try_from(open).unwrap_or(i32::MAX));
            let mut weights = vec![more / open as f64; legal.len()];
            weights[0] = 1.0 - more;
            let Some(to) = ask.option(id, &legal, Some(&weights))?.checked_sub(1) else { break };
            state.add_edge(plan, vertex, to);
            self.inputs[to].push(vertex);
            last = to;
        }
        Ok(())
    }

    /// Asks for the parameters of a new vertex.
    fn place(&mut self, vertex: usize, op: usize, ask: &mut Asker<'_>) -> Result<()> {
        let mut values = Params::new();
        for (param, &id) in self.space.spec.operators[op].params.iter().zip(&self.space.slots[vertex].params[op]) {
            if param.applies(&values) {
                values.insert(param.name.to_string(), ask.value(id)?);
            }
        }
        self.params.push(values);
        self.inputs.push(Vec::new());
        self.sources.push(Vec::new());
        Ok(())
    }

    /// Asks each vertex which sources it reads; what is needed to fill its required ports is not asked.
    fn sources(&mut self, state: &mut State, ask: &mut Asker<'_>) -> Result<()> {
        let GraphSpace { spec, plan, slots, .. } = self.space;
        for (vertex, slot) in slots.iter().enumerate().take(state.vertices.len()) {
            let op = state.vertices[vertex].op;
            for (source, &id) in slot.sources.iter().enumerate() {
                let Some(port) = plan.source_feeds[source][op] else { continue };
                let later = (source + 1..spec.sources.len()).any(|later| plan.source_feeds[later][op] == Some(port));
                let needed = state.vertices[vertex].open(plan, port) && !later;
                let legal = [!needed, state.accepts(plan, vertex, port)];
                let yes = if state.vertices[vertex].open(plan, port) { 0.5 } else { spec.extra_edge };
                if ask.option(id, &legal, Some(&[1.0 - yes, yes]))? == 1 {
                    state.connect(vertex, port);
                    self.sources[vertex].push(source);
                }
            }
        }
        Ok(())
    }

    fn genotype(self, state: &State) -> Genotype {
        let spec = &self.space.spec;
        let (first, last) = (spec.sources.len(), state.vertices.len() - 1);
        let mut nodes: Vec<Node> = spec.sources.iter().map(|source| Node::new(source.name.clone(), [])).collect();
        let mut params = self.params;
        for vertex in (0..state.vertices.len()).rev() {
            let mut inputs = self.sources[vertex].clone();
            inputs.extend(self.inputs[vertex].iter().rev().map(|&feeder| first + last - feeder));
            let op = spec.operators[state.vertices[vertex].op].name.clone();
            nodes.push(Node { op, inputs, params: std::mem::take(&mut params[vertex]) });
        }
        Genotype { nodes }
    }
}

/// The inverse of building: answers every question from the genotype, and accepts it if that builds the same one.
pub(super) fn trace(space: &GraphSpace, genotype: &Genotype) -> Result<Trace> {
    genotype.check()?;
    let known = answers(space, genotype)?;
    let mut known = KnownChoose { known, fallback: None };
    let mut record = RecordChoose { inner: &mut known, trace: Trace::new() };
    let rebuilt = space.build(&mut record).map_err(|error| match error {
        Error::Unanswered(question) => {
            Error::Outside(format!("{genotype} ends where the space goes on with the question `{question}`"))
        }
        error => Error::Outside(error.to_string()),
    })?;
    if rebuilt != *genotype {
        return Err(Error::Outside(format!("its nearest genotype in the space is {rebuilt}, not {genotype}")));
    }
    Ok(record.trace)
}

/// What each question would be answered for this genotype, asked or not.
fn answers(space: &GraphSpace, genotype: &Genotype) -> Result<Vec<Option<Answer>>> {
    let spec = &space.spec;
    let outside = |why: String| Err(Error::Outside(why));
    let first = spec.sources.len();
    for (index, source) in spec.sources.iter().enumerate() {
        let node = genotype.nodes.get(index);
        if node.is_none_or(|node| node.op != source.name || !node.inputs.is_empty() || !node.params.is_empty()) {
            return outside(format!("node {index} must be the bare source `{}`", source.name));
        }
    }
    let count = genotype.nodes.len() - first;
    if count == 0 || count > spec.vertices.max {
        return outside(format!("it has {count} vertices; the space has 1 to {}", spec.vertices.max));
    }
    let consumers = genotype.consumers();
    let mut known = vec![None; space.points.len()];
    let vertex_of = |node: usize| count - 1 - (node - first);
    for (node, gene) in genotype.nodes.iter().enumerate().skip(first) {
        let vertex = vertex_of(node);
        let slot = &space.slots[vertex];
        let Some(op) = spec.operators.iter().position(|operator| operator.name == gene.op) else {
            let near = crate::error::nearest(&gene.op, spec.operators.iter().map(|operator| operator.name.as_str()));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return outside(format!("node {node} has the operator `{}`, which is not in the gene pool{hint}", gene.op));
        };
        known[slot.op] = Some(Answer::Option(op));
        if gene.inputs.is_empty() {
            return outside(format!("node {node} (`{}`) reads nothing", gene.op));
        }
        let mut targets: Vec<usize> = consumers[node].iter().map(|&consumer| vertex_of(consumer)).collect();
        targets.sort_unstable();
        match (vertex, targets.first()) {
            (0, _) => {}
            (_, None) => return outside(format!("node {node} (`{}`) is read by no other and is not the last", gene.op)),
            (_, Some(&to)) => known[slot.to] = Some(Answer::Option(to + 1)),
        }
        let further = targets.iter().skip(1).map(|&to| to + 1).chain(std::iter::repeat(0));
        for (&id, option) in slot.also.iter().zip(further) {
            known[id] = Some(Answer::Option(option));
        }
        for (source, &id) in slot.sources.iter().enumerate() {
            known[id] = Some(Answer::Option(usize::from(gene.inputs.contains(&source))));
        }
        param_answers(&spec.operators[op], gene, node, &slot.params[op], &mut known)?;
    }
    if let Some(next) = space.slots.get(count) {
        known[next.to] = Some(Answer::Option(0));
    }
    Ok(known)
}

fn param_answers(operator: &OperatorSpec, gene: &Node, node: usize, ids: &[usize], known: &mut [Option<Answer>]) -> Result<()> {
    let mut applying = 0;
    for (param, &id) in operator.params.iter().zip(ids) {
        if !param.applies(&gene.params) {
            continue;
        }
        applying += 1;
        let place = || format!("parameter `{}` of node {node} (`{}`)", param.name, gene.op);
        let Some(value) = gene.params.get(param.name.as_ref()) else {
            return Err(Error::Outside(format!("{} is missing", place())));
        };
        let Some(answer) = param.domain.answer(value) else {
            let allowed = match &param.domain {
                Domain::Choice(options) => options.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                Domain::Int { lo, hi, .. } => format!("whole numbers from {lo} to {hi}"),
                Domain::Float { lo, hi, .. } => format!("numbers from {lo:?} to {hi:?}"),
            };
            return Err(Error::Outside(format!("{} is {value}; allowed: {allowed}", place())));
        };
        known[id] = Some(answer);
    }
    if gene.params.len() != applying {
        let names: Vec<&str> = operator.params.iter().map(|param| param.name.as_ref()).collect();
        return Err(Error::Outside(format!(
            "node {node} (`{}`) has parameters that do not apply: {:?}; it knows {names:?}",
            gene.op,
            gene.params.keys().collect::<Vec<_>>()
        )));
    }
    Ok(())
}
