//! A genotype with its operators looked up, its parameters complete and its price known.

use automl_core::hash::StableHash;
use automl_core::{Cancel, Genotype, Params, Price};

use super::{Data, INNER_FOLDS, PipelineError};
use crate::cost::Shape;
use crate::frame::{Frame, Values};
use crate::kinds::{PREDICTION, RAW};
use crate::operator::{self as registry, Fit, Fitted, OperatorError, TabularOperator, Target};

/// Bytes of a number.
const FLOAT: f64 = 4.0;
/// Columns that a date or a text becomes.
const PARTS: f64 = 6.0;

/// A genotype that can be run.
pub(super) struct Plan {
    pub vertices: Vec<Vertex>,
    /// Number of sources.
    pub first: usize,
    /// The last vertex in the middle that emits out-of-fold output, if any does.
    pub last_cross_fit: Option<usize>,
}

/// One operator of a plan.
pub(super) struct Vertex {
    pub op: &'static dyn TabularOperator,
    pub inputs: Vec<usize>,
    pub params: Params,
    pub seed: u64,
    /// A hash of the vertex and all before it: two vertices of one key on the same data learn the same.
    pub key: u64,
    /// Whether it is fitted once more for each inner fold: it knows the target, and what reads it emits out-of-fold output.
    pub by_fold: bool,
}

impl Plan {
    pub fn new(genotype: &Genotype, seed: u64) -> Result<Self, PipelineError> {
        genotype.check()?;
        let first = genotype.nodes.iter().take_while(|node| node.inputs.is_empty()).count();
        let mut vertices: Vec<Vertex> = Vec::new();
        for node in &genotype.nodes[first..] {
            let op = registry::operator(&node.op)?;
            let params = complete(op, &node.params)?;
            // The same operator with the same parameters draws the same numbers wherever it stands.
            let seed = params.iter().fold(StableHash::new("vertex").number(seed).text(&node.op), |hash, (name, value)| {
                hash.text(name).text(&value.to_string())
            });
            let seed = seed.finish();
            let key_of = |input: usize| input.checked_sub(first).and_then(|at| vertices.get(at)).map_or(0, |vertex| vertex.key);
            let key = node.inputs.iter().fold(StableHash::new("sub-graph").number(seed), |hash, &at| hash.number(key_of(at)));
            vertices.push(Vertex { op, inputs: node.inputs.clone(), params, seed, key: key.finish(), by_fold: false });
        }
        let last_cross_fit = vertices.split_last().and_then(|(_, inner)| inner.iter().rposition(|vertex| vertex.op.cross_fits()));
        for index in 0..last_cross_fit.unwrap_or(0) {
            let of_input = |input: &usize| input.checked_sub(first).is_some_and(|at| vertices[at].by_fold);
            let vertex = &vertices[index];
            let knows = vertex.op.reads_target() || vertex.inputs.iter().any(of_input);
            vertices[index].by_fold = knows && !vertex.op.cross_fits();
        }
        if first != 1 || vertices.is_empty() || vertices.iter().any(|vertex| vertex.inputs.is_empty()) {
            let problem = "a pipeline reads one source, `input`, and every later vertex reads an earlier one";
            return Err(automl_core::Error::Outside(problem.into()).into());
        }
        match vertices.last() {
            Some(last) if last.op.output() == PREDICTION => Ok(Self { vertices, first, last_cross_fit }),
            last => Err(PipelineError::NoEstimator(last.map_or_else(String::new, |last| last.op.name().to_owned()))),
        }
    }

    /// Declared seconds to predict one row of many, where the pipeline is fitted on a table of that shape.
    pub fn row_seconds(&self, source: Shape) -> f64 {
        let mut shapes = vec![source];
        let mut seconds = 0.0;
        for vertex in &self.vertices {
            let read = || vertex.inputs.iter().filter_map(|&input| shapes.get(input));
            let shape = Shape {
                columns: read().map(|shape| shape.columns).sum(),
                levels: read().map(|shape| shape.levels).sum(),
                ..source
            };
            seconds += vertex.op.row_seconds(&shape, &vertex.params);
            shapes.push(emitted(vertex.op, &shape, vertex.op.cost(&shape, &vertex.params).columns));
        }
        seconds
    }

    /// What a fit on a table of that shape takes: the vertices one after another; beside each, the outputs that it or a later one reads.
    pub fn price(&self, source: Shape) -> Price {
        let readers = last_readers(self.vertices.iter().map(|vertex| vertex.inputs.as_slice()));
        // Of each source and vertex: its shape, and the bytes of its output.
        let mut seen = vec![(source, 0.0)];
        let mut price = Price::default();
        for (index, vertex) in self.vertices.iter().enumerate() {
            let inputs = || vertex.inputs.iter().filter_map(|&input| seen.get(input));
            let shape = Shape {
                columns: inputs().map(|(shape, ..)| shape.columns).sum(),
                levels: inputs().map(|(shape, ..)| shape.levels).sum(),
                ..source
            };
            let cost = vertex.op.cost(&shape, &vertex.params);
            let inner = index + 1 < self.vertices.len();
            let (folds, copy) =
                if inner && vertex.op.cross_fits() { (INNER_FOLDS as f64, FLOAT * shape.cells()) } else { (0.0, 0.0) };
            let held: f64 = seen.iter().zip(&readers).filter(|(_, reader)| **reader >= index).map(|((_, bytes), _)| bytes).sum();
            price.seconds += cost.seconds * (1.0 + if vertex.by_fold { INNER_FOLDS as f64 } else { folds });
            let emits = emitted(vertex.op, &shape, cost.columns);
            let output = FLOAT * source.rows * emits.columns * if vertex.by_fold { 1.0 + INNER_FOLDS as f64 } else { 1.0 };
            price.bytes = price.bytes.max(held + copy + cost.bytes.max(output));
            seen.push((emits, output));
        }
        price
    }
}

/// What an operator that reads this shape hands on: of two class probabilities one, and categories only where it emits them.
fn emitted(op: &dyn TabularOperator, read: &Shape, columns: f64) -> Shape {
    let columns = if op.output() == PREDICTION && columns == 2.0 { 1.0 } else { columns };
    Shape { columns, levels: if op.output() == RAW { read.levels } else { 0.0 }, ..*read }
}

/// For the source and each vertex, the last vertex that reads it, given what each vertex reads.
pub(super) fn last_readers<'a>(vertices: impl Iterator<Item = &'a [usize]>) -> Vec<usize> {
    let mut last = vec![0];
    for (index, inputs) in vertices.enumerate() {
        last.push(index);
        for &input in inputs {
            if let Some(reader) = last.get_mut(input) {
                *reader = index;
            }
        }
    }
    last
}

/// Drops what no vertex behind `index` reads, of the outputs of the source and the vertices before.
pub(super) fn forget<T: Default>(outputs: &mut [T], readers: &[usize], index: usize) {
    let done = outputs.iter_mut().take(index + 1).zip(readers).filter(|(_, reader)| **reader <= index);
    done.for_each(|(output, _)| *output = T::default());
}

/// The shape of a training table.
pub fn shape(x: &Frame, y: &Target) -> Shape {
    let (mut columns, mut levels) = (0.0, 0.0);
    for column in x.columns() {
        match column.values() {
            Values::Numeric(_) => columns += 1.0,
            Values::Category { levels: of, .. } => {
                columns += 1.0;
                levels += f64::from(*of);
            }
            Values::DateTime(_) | Values::Text(_) => columns += PARTS,
        }
    }
    Shape { rows: x.rows() as f64, columns, levels, classes: y.width() as f64 }
}

/// The parameters given, and the defaults of those that are not.
fn complete(op: &dyn TabularOperator, given: &Params) -> Result<Params, automl_core::Error> {
    let declared = op.params();
    if let Some(name) = given.keys().find(|name| !declared.iter().any(|param| param.name == name.as_str())) {
        let known: Vec<String> = declared.iter().map(|param| format!("`{}`", param.name)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let place = format!("{}.{name}", op.name());
        return Err(automl_core::Error::config(place, format!("there is no such parameter; the operator has {known}")));
    }
    let mut params = Params::new();
    for param in declared {
        if !param.applies(&params) {
            continue;
        }
        let value = given.get(param.name.as_ref()).unwrap_or(&param.default).clone();
        if param.domain.answer(&value).is_none() {
            let place = format!("{}.{}", op.name(), param.name);
            return Err(automl_core::Error::config(place, format!("{value} is not in {:?}", param.domain)));
        }
        params.insert(param.name.to_string(), value);
    }
    Ok(params)
}

impl Vertex {
    /// Fits the operator alone; `data` has the features that the vertex reads.
    pub fn fit(&self, data: &Data<'_>, cancel: &Cancel) -> Result<Box<dyn Fitted>, OperatorError> {
        let Data { x, y, weights } = *data;
        self.op.fit(&Fit { x, y, weights, params: &self.params, seed: self.seed, cancel })
    }
}
