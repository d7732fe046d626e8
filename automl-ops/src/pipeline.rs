//! Executing a genotype as a pipeline: fit, predict, save, load.
//!
//! Vertices run in topological order; a vertex with several inputs gets the union of their columns. Whatever learns from the
//! target in the middle of the graph — every estimator, every encoder of the target — emits **out-of-fold** output on the
//! training rows (each row's from a fit that did not see it), since in-sample predictions would leak the target to the next
//! vertex; for other rows it answers from a fit on all training rows. What read the target before such a vertex, such as a
//! selection of columns, is fitted again for each fold, or the choice of columns would tell what the fold must not know.

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::{Cancel, Genotype, Params};

use crate::frame::{Column, Frame, Values};
use crate::operator::{self as registry, Fit, Fitted, OperatorError, TabularOperator, Target};
use crate::split;
use crate::state::State;

/// Folds of an estimator inside the graph.
const INNER_FOLDS: usize = 3;

/// What went wrong at one vertex.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A vertex could not be fitted or applied.
    #[error("vertex {node} (`{op}`): {source}")]
    Vertex {
        /// Its index in the genotype.
        node: usize,
        /// Its operator.
        op: String,
        /// The cause.
        source: OperatorError,
    },
    /// The genotype is not a pipeline that this program can run.
    #[error(transparent)]
    Genotype(#[from] automl_core::Error),
    /// The genotype has no estimator at its end.
    #[error("the last vertex `{0}` makes no predictions; a pipeline ends with an estimator")]
    NoEstimator(String),
}

/// A genotype with its operators looked up and its parameters complete.
struct Plan {
    vertices: Vec<Vertex>,
    /// Number of sources.
    first: usize,
}

struct Vertex {
    op: &'static dyn TabularOperator,
    inputs: Vec<usize>,
    params: Params,
    seed: u64,
}

impl Plan {
    fn new(genotype: &Genotype, seed: u64) -> Result<Self, PipelineError> {
        genotype.check()?;
        let first = genotype.nodes.iter().take_while(|node| node.inputs.is_empty()).count();
        let mut vertices = Vec::new();
        for node in &genotype.nodes[first..] {
            let op = registry::operator(&node.op)?;
            let params = complete(op, &node.params)?;
            // The same operator with the same parameters draws the same numbers wherever it stands.
            let seed = params.iter().fold(StableHash::new("vertex").number(seed).text(&node.op), |hash, (name, value)| {
                hash.text(name).text(&value.to_string())
            });
            vertices.push(Vertex { op, inputs: node.inputs.clone(), params, seed: seed.finish() });
        }
        if first != 1 || vertices.is_empty() || vertices.iter().any(|vertex| vertex.inputs.is_empty()) {
            let problem = "a pipeline reads one source, `input`, and every later vertex reads an earlier one";
            return Err(automl_core::Error::Outside(problem.into()).into());
        }
        match vertices.last() {
            Some(last) if last.op.output() == crate::kinds::PREDICTION => Ok(Self { vertices, first }),
            last => Err(PipelineError::NoEstimator(last.map_or_else(String::new, |last| last.op.name().to_owned()))),
        }
    }
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

/// A fitted pipeline; cloning shares the fitted operators.
#[derive(Clone)]
pub struct Pipeline {
    genotype: Genotype,
    vertices: Vec<FittedVertex>,
    width: usize,
}

#[derive(Clone)]
struct FittedVertex {
    inputs: Vec<usize>,
    fitted: Arc<dyn Fitted>,
}

impl Pipeline {
    /// Fits a genotype on training rows. Everything random is drawn from `seed`.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn fit(genotype: &Genotype, x: &Frame, y: &Target, seed: u64, cancel: &Cancel) -> Result<Self, PipelineError> {
        let plan = Plan::new(genotype, seed)?;
        let inner = Inner::new(&plan, y, seed);
        let mut seen = vec![Seen { all: x.clone(), by_fold: None }];
        let mut vertices = Vec::with_capacity(plan.vertices.len());
        for (index, vertex) in plan.vertices.iter().enumerate() {
            let at = |source| at_vertex(genotype, plan.first + index, source);
            let input = vertex.input(&seen, None);
            let fitted: Arc<dyn Fitted> = vertex.fit(&input, y, cancel).map_err(at)?.into();
            if index + 1 < plan.vertices.len() {
                let output = if vertex.op.cross_fits() {
                    Seen { all: inner.out_of_fold(vertex, &seen, y, cancel).map_err(at)?, by_fold: None }
                } else {
                    let all = emitted(vertex.op, fitted.apply(&input, cancel).map_err(at)?);
                    let knows = vertex.op.reads_target()
                        || vertex.inputs.iter().any(|&input| seen.get(input).is_some_and(|seen| seen.by_fold.is_some()));
                    let by_fold =
                        if knows && Some(index) < inner.last { Some(inner.by_fold(vertex, &seen, y, cancel)) } else { None };
                    Seen { all, by_fold: by_fold.transpose().map_err(at)? }
                };
                seen.push(output);
            }
            vertices.push(FittedVertex { inputs: vertex.inputs.clone(), fitted });
        }
        Ok(Self { genotype: genotype.clone(), vertices, width: y.width() })
    }

    /// Predictions for some rows, row by row: class probabilities, or one value.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn predict(&self, x: &Frame, cancel: &Cancel) -> Result<Vec<f32>, PipelineError> {
        let mut outputs = vec![x.clone()];
        for (index, vertex) in self.vertices.iter().enumerate() {
            let at = |source| at_vertex(&self.genotype, index + 1, source);
            let output = vertex.fitted.apply(&union(&outputs, &vertex.inputs), cancel).map_err(at)?;
            let last = index + 1 == self.vertices.len();
            let op = registry::operator(&self.genotype.nodes[index + 1].op)?;
            outputs.push(if last { output } else { emitted(op, output) });
        }
        let output = outputs.pop().unwrap_or_default();
        let at = |source| at_vertex(&self.genotype, self.vertices.len(), source);
        output.expect_width(self.width).map_err(at)?;
        Ok(output.matrix().map_err(at)?.into_raw_vec_and_offset().0)
    }

    /// What was fitted.
    pub fn genotype(&self) -> &Genotype {
        &self.genotype
    }

    /// The states of the vertices, in their order.
    pub fn save(&self) -> Vec<State> {
        let save = |vertex: &FittedVertex| {
            let mut state = State::default();
            vertex.fitted.save(&mut state);
            state
        };
        self.vertices.iter().map(save).collect()
    }

    /// Reads a fitted pipeline back; `width` numbers a prediction.
    ///
    /// # Errors
    /// [`PipelineError`] for an operator that is not linked, or a state that is damaged.
    pub fn load(genotype: Genotype, states: &[State], width: usize) -> Result<Self, PipelineError> {
        let plan = Plan::new(&genotype, 0)?;
        let mut vertices = Vec::with_capacity(states.len());
        for (index, vertex) in plan.vertices.iter().enumerate() {
            let missing = || OperatorError::state("it is missing");
            let state = states.get(index).ok_or_else(missing).map_err(|source| at_vertex(&genotype, index + 1, source))?;
            let fitted = vertex.op.load(state).map_err(|source| at_vertex(&genotype, index + 1, source))?;
            vertices.push(FittedVertex { inputs: vertex.inputs.clone(), fitted: fitted.into() });
        }
        Ok(Self { genotype, vertices, width })
    }

    /// The operators used, each once, by name.
    pub fn operators(&self) -> BTreeMap<&str, &'static automl_core::registry::OperatorEntry> {
        let entry = |op: &str| automl_core::registry::operator(op).ok();
        self.genotype.nodes.iter().filter_map(|node| Some((node.op.as_str(), entry(&node.op)?))).collect()
    }
}

fn at_vertex(genotype: &Genotype, node: usize, source: OperatorError) -> PipelineError {
    match source {
        OperatorError::Cancelled => PipelineError::Cancelled,
        source => {
            let op = genotype.nodes.get(node).map(|node| node.op.clone()).unwrap_or_default();
            PipelineError::Vertex { node, op, source }
        }
    }
}

fn union(outputs: &[Frame], inputs: &[usize]) -> Frame {
    Frame::union(inputs.iter().filter_map(|&input| outputs.get(input)))
}

/// What the next vertex sees: of two class probabilities the second says all.
fn emitted(op: &dyn TabularOperator, output: Frame) -> Frame {
    let binary = op.output() == crate::kinds::PREDICTION && output.columns().len() == 2;
    if binary { output.select(&[1]) } else { output }
}

/// The folds of a target: stratified by class, or by quantile of the values.
pub fn folds(y: &Target, count: usize, seed: u64) -> Vec<Vec<u32>> {
    match y {
        Target::Classes { codes, classes } => split::stratified_kfold(codes, *classes, count, seed),
        Target::Values(values) => split::quantile_kfold(values, count, seed),
    }
}

/// What later vertices see of the training rows.
struct Seen {
    /// Output of the fit on all of them, or out-of-fold output.
    all: Frame,
    /// Where a fit knew the target: for each inner fold, the output of a fit on the other folds.
    by_fold: Option<Vec<Frame>>,
}

impl Vertex {
    /// What the vertex reads of the training rows; with a fold, from fits that did not see the fold's target.
    fn input(&self, seen: &[Seen], fold: Option<usize>) -> Frame {
        let of_fold = |seen: &Seen| fold.and_then(|fold| seen.by_fold.as_ref()?.get(fold).cloned());
        let frames: Vec<Frame> = self
            .inputs
            .iter()
            .filter_map(|&input| seen.get(input))
            .map(|seen| of_fold(seen).unwrap_or(seen.all.clone()))
            .collect();
        Frame::union(&frames)
    }

    fn fit(&self, x: &Frame, y: &Target, cancel: &Cancel) -> Result<Box<dyn Fitted>, OperatorError> {
        self.op.fit(&Fit { x, y, weights: None, params: &self.params, seed: self.seed, cancel })
    }
}

/// The folds that estimators inside the graph share.
struct Inner {
    /// The last vertex that needs them, if any does.
    last: Option<usize>,
    /// For each fold the rows held out and the others.
    folds: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Inner {
    fn new(plan: &Plan, y: &Target, seed: u64) -> Self {
        let inner = plan.vertices.split_last().map_or(&[][..], |(_, inner)| inner);
        let last = inner.iter().rposition(|vertex| vertex.op.cross_fits());
        let folds = match last {
            None => Vec::new(),
            Some(_) => folds(y, INNER_FOLDS.min(y.len()), StableHash::new("inner folds").number(seed).finish()),
        };
        let folds = folds.into_iter().filter(|held| !held.is_empty()).map(|held| {
            let kept = split::complement(y.len(), &held);
            (held, kept)
        });
        Self { last, folds: folds.collect() }
    }

    /// For each fold the output on all training rows of a fit on the others.
    fn by_fold(&self, vertex: &Vertex, seen: &[Seen], y: &Target, cancel: &Cancel) -> Result<Vec<Frame>, OperatorError> {
        let output = |(fold, (_, kept)): (usize, &(Vec<u32>, Vec<u32>))| {
            let input = vertex.input(seen, Some(fold));
            let fitted = vertex.fit(&input.take(kept), &y.take(kept), cancel)?;
            Ok(emitted(vertex.op, fitted.apply(&input, cancel)?))
        };
        self.folds.iter().enumerate().map(output).collect()
    }

    /// Output on the training rows, each from fits that did not see the row's target: not the vertex's own, and none of those
    /// before it.
    fn out_of_fold(&self, vertex: &Vertex, seen: &[Seen], y: &Target, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let rows = y.len();
        if rows < 2 {
            return Err(OperatorError::Infeasible("an estimator inside the graph needs at least two training rows".into()));
        }
        let mut columns: Vec<Vec<f32>> = Vec::new();
        for (fold, (held, kept)) in self.folds.iter().enumerate() {
            let input = vertex.input(seen, Some(fold));
            let output = vertex.fit(&input.take(kept), &y.take(kept), cancel)?.apply(&input.take(held), cancel)?;
            columns.resize(output.columns().len().max(columns.len()), vec![0.0; rows]);
            for (index, column) in columns.iter_mut().enumerate() {
                for (&row, &value) in held.iter().zip(output.numeric(index)?) {
                    if let Some(cell) = column.get_mut(row as usize) {
                        *cell = value;
                    }
                }
            }
        }
        let columns = columns.into_iter().map(|values| Arc::new(Column::new(Values::Numeric(values)))).collect();
        Ok(emitted(vertex.op, Frame::new(rows, columns)?))
    }
}
