//! Executing a genotype as a pipeline: fit, predict, save, load.
//!
//! Vertices run in topological order; a vertex with several inputs gets the union of their columns. Whatever learns from the
//! target in the middle of the graph — every estimator, every encoder of the target — emits **out-of-fold** output on the
//! training rows (each row's from a fit that did not see it), since in-sample predictions would leak the target to the next
//! vertex; for other rows it answers from a fit on all training rows. What read the target before such a vertex, such as a
//! selection of columns, is fitted again for each fold, or the choice of columns would tell what the fold must not know.

mod cache;
mod inner;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::{Cancel, Genotype, Price};

use self::inner::{Inner, Seen};
use self::plan::{Plan, forget, last_readers};
use crate::cost::Shape;
use crate::frame::Frame;
use crate::operator::{self as registry, Fitted, OperatorError, TabularOperator, Target};
use crate::split;
use crate::state::State;

pub use self::cache::{Cache, CacheStats};
pub use self::plan::shape;

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
    /// As in the plan; 0 in a model that was loaded.
    key: u64,
}

/// Rows to learn from.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// Their features.
    pub x: &'a Frame,
    /// Their target.
    pub y: &'a Target,
    /// How much each counts; every row counts 1 where absent.
    pub weights: Option<&'a [f32]>,
}

/// Some of the rows, copied.
pub struct Part {
    /// Their features.
    pub x: Frame,
    /// Their target.
    pub y: Target,
    /// How much each counts.
    pub weights: Option<Vec<f32>>,
}

impl Data<'_> {
    /// Some of the rows.
    pub fn take(&self, rows: &[u32]) -> Part {
        let weights = self.weights.map(|weights| take_weights(weights, rows));
        Part { x: self.x.take(rows), y: self.y.take(rows), weights }
    }
}

impl Part {
    /// The rows.
    pub fn data(&self) -> Data<'_> {
        Data { x: &self.x, y: &self.y, weights: self.weights.as_deref() }
    }
}

/// The weights of some rows.
pub fn take_weights(weights: &[f32], rows: &[u32]) -> Vec<f32> {
    rows.iter().filter_map(|&row| weights.get(row as usize).copied()).collect()
}

/// Where work on one set of training rows is shared between candidates.
pub struct Shared<'a> {
    cache: Option<&'a Cache>,
    data: u64,
}

impl<'a> Shared<'a> {
    /// Shares nothing.
    pub fn nothing() -> Self {
        Self { cache: None, data: 0 }
    }

    /// Shares through a cache; `data` is a hash that tells these training rows (and those predicted with them) from others.
    pub fn new(cache: &'a Cache, data: u64) -> Self {
        Self { cache: Some(cache), data }
    }

    fn key(&self, vertex: u64, what: &str) -> u64 {
        StableHash::new(what).number(self.data).number(vertex).finish()
    }

    fn fitted(
        &self,
        vertex: u64,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<Arc<dyn Fitted>, OperatorError>,
    ) -> Result<Arc<dyn Fitted>, OperatorError> {
        match self.cache {
            Some(cache) => cache.fitted(self.key(vertex, "fitted"), cancel, make),
            None => make(),
        }
    }

    fn frame(
        &self,
        vertex: u64,
        what: &str,
        from: &Frame,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<Frame, OperatorError>,
    ) -> Result<Frame, OperatorError> {
        Ok(self.frames(vertex, what, from, cancel, || Ok(vec![make()?]))?.pop().unwrap_or_default())
    }

    fn frames(
        &self,
        vertex: u64,
        what: &str,
        from: &Frame,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<Vec<Frame>, OperatorError>,
    ) -> Result<Vec<Frame>, OperatorError> {
        match self.cache {
            Some(cache) => cache.frames(self.key(vertex, what), from, cancel, make),
            None => make(),
        }
    }
}

/// What a fit of a genotype on these rows takes, as its operators declare it; none where it is no pipeline.
pub fn price(genotype: &Genotype, shape: Shape) -> Option<Price> {
    Some(Plan::new(genotype, 0).ok()?.price(shape))
}

/// Declared seconds to predict one row of many with a genotype that is fitted on a table of that shape; none where it is no pipeline.
pub fn row_seconds(genotype: &Genotype, shape: Shape) -> Option<f64> {
    Some(Plan::new(genotype, 0).ok()?.row_seconds(shape))
}

impl Pipeline {
    /// Fits a genotype on training rows that all count the same. Everything random is drawn from `seed`.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn fit(genotype: &Genotype, x: &Frame, y: &Target, seed: u64, cancel: &Cancel) -> Result<Self, PipelineError> {
        Self::fit_on(genotype, &Data { x, y, weights: None }, seed, cancel, &Shared::nothing())
    }

    /// Fits a genotype, taking what another candidate has learnt already from `shared`.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn fit_on(
        genotype: &Genotype,
        data: &Data<'_>,
        seed: u64,
        cancel: &Cancel,
        shared: &Shared<'_>,
    ) -> Result<Self, PipelineError> {
        let plan = Plan::new(genotype, seed)?;
        let inner = Inner::new(&plan, data, seed);
        let readers = last_readers(plan.vertices.iter().map(|vertex| vertex.inputs.as_slice()));
        let mut seen = vec![Seen { all: data.x.clone(), by_fold: None }];
        let mut vertices = Vec::with_capacity(plan.vertices.len());
        for (index, vertex) in plan.vertices.iter().enumerate() {
            let at = |source| at_vertex(genotype, plan.first + index, source);
            let input = inner::input(vertex, &seen, None);
            let fit = || Ok(Arc::<dyn Fitted>::from(vertex.fit(&Data { x: &input, ..*data }, cancel)?));
            let inside = index + 1 < plan.vertices.len();
            // A whole candidate is not asked for twice: only what others can begin with is kept.
            let fitted = if inside { shared.fitted(vertex.key, cancel, fit) } else { fit() }.map_err(at)?;
            if inside {
                let output = if vertex.op.cross_fits() {
                    let make = || inner.out_of_fold(vertex, &seen, data, cancel);
                    Seen { all: shared.frame(vertex.key, "out of fold", &input, cancel, make).map_err(at)?, by_fold: None }
                } else {
                    let make = || Ok(emitted(vertex.op, fitted.apply(&input, cancel)?));
                    let all = shared.frame(vertex.key, "output", &input, cancel, make).map_err(at)?;
                    let make = || inner.by_fold(vertex, &seen, data, cancel);
                    let by_fold = if vertex.by_fold {
                        Some(shared.frames(vertex.key, "by fold", &input, cancel, make).map_err(at)?)
                    } else {
                        None
                    };
                    Seen { all, by_fold }
                };
                seen.push(output);
                forget(&mut seen, &readers, index);
            }
            vertices.push(FittedVertex { inputs: vertex.inputs.clone(), fitted, key: vertex.key });
        }
        Ok(Self { genotype: genotype.clone(), vertices, width: data.y.width() })
    }

    /// Predictions for some rows, row by row: class probabilities, or one value.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn predict(&self, x: &Frame, cancel: &Cancel) -> Result<Vec<f32>, PipelineError> {
        self.predict_on(x, cancel, &Shared::nothing())
    }

    /// Predictions for rows that always come with the same training rows, such as those that a fold holds out: output of inner
    /// vertices is taken from `shared` where it is there.
    ///
    /// # Errors
    /// [`PipelineError`] that names the vertex.
    pub fn predict_on(&self, x: &Frame, cancel: &Cancel, shared: &Shared<'_>) -> Result<Vec<f32>, PipelineError> {
        let readers = last_readers(self.vertices.iter().map(|vertex| vertex.inputs.as_slice()));
        let mut outputs = vec![x.clone()];
        for (index, vertex) in self.vertices.iter().enumerate() {
            let at = |source| at_vertex(&self.genotype, index + 1, source);
            let input = union(&outputs, &vertex.inputs);
            let last = index + 1 == self.vertices.len();
            let op = registry::operator(&self.genotype.nodes[index + 1].op)?;
            let output = if last {
                vertex.fitted.apply(&input, cancel)
            } else {
                let make = || Ok(emitted(op, vertex.fitted.apply(&input, cancel)?));
                shared.frame(vertex.key, "held out", &input, cancel, make)
            };
            outputs.push(output.map_err(at)?);
            forget(&mut outputs, &readers, index);
        }
        let output = outputs.pop().unwrap_or_default();
        let at = |source| at_vertex(&self.genotype, self.vertices.len(), source);
        output.expect_width(self.width).map_err(at)?;
        output.row_major().map_err(at)
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

    /// The bytes that it adds to a model file: counted on what is saved, but for the bookkeeping of the file, which is
    /// about 300 bytes a vertex and 80 an array.
    pub fn file_bytes(&self) -> usize {
        let of = |fitted: &dyn Fitted| {
            let mut state = State::default();
            fitted.save(&mut state);
            let values = serde_json::to_vec(&state.values).map_or(0, |text| text.len());
            state.bytes() + values + 300 + 80 * state.arrays.len()
        };
        let genotype = serde_json::to_vec(&self.genotype).map_or(0, |text| text.len());
        genotype + self.vertices.iter().map(|vertex| of(vertex.fitted.as_ref())).sum::<usize>()
    }

    /// About the bytes that the fitted operators take.
    pub fn bytes(&self) -> usize {
        self.vertices.iter().map(|vertex| cache::SMALL + vertex.fitted.bytes()).sum()
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
            vertices.push(FittedVertex { inputs: vertex.inputs.clone(), fitted: fitted.into(), key: 0 });
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
