//! Out-of-fold output of what learns from the target in the middle of a graph.

use std::sync::Arc;

use automl_core::Cancel;
use automl_core::hash::StableHash;

use super::plan::{Plan, Vertex};
use super::{Data, INNER_FOLDS, emitted, folds};
use crate::frame::{Column, Frame, Values};
use crate::operator::OperatorError;
use crate::split;

/// What later vertices see of the training rows.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Output of the fit on all of them, or out-of-fold output.
    pub all: Frame,
    /// Where a fit knew the target: for each inner fold, the output of a fit on the other folds.
    pub by_fold: Option<Vec<Frame>>,
}

/// What a vertex reads of the training rows; with a fold, from fits that did not see the fold's target.
pub(super) fn input(vertex: &Vertex, seen: &[Seen], fold: Option<usize>) -> Frame {
    let of_fold = |seen: &Seen| fold.and_then(|fold| seen.by_fold.as_ref()?.get(fold).cloned());
    let inputs = vertex.inputs.iter().filter_map(|&input| seen.get(input));
    let frames: Vec<Frame> = inputs.map(|seen| of_fold(seen).unwrap_or(seen.all.clone())).collect();
    Frame::union(&frames)
}

/// The folds that estimators inside the graph share.
pub(super) struct Inner {
    /// For each fold the rows held out and the others.
    folds: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Inner {
    pub fn new(plan: &Plan, data: &Data<'_>, seed: u64) -> Self {
        let rows = data.y.len();
        let folds = match plan.last_cross_fit {
            None => Vec::new(),
            Some(_) => folds(data.y, INNER_FOLDS.min(rows), StableHash::new("inner folds").number(seed).finish()),
        };
        let folds = folds.into_iter().filter(|held| !held.is_empty()).map(|held| {
            let kept = split::complement(rows, &held);
            (held, kept)
        });
        Self { folds: folds.collect() }
    }

    /// For each fold the output on all training rows of a fit on the others.
    pub fn by_fold(&self, vertex: &Vertex, seen: &[Seen], data: &Data<'_>, cancel: &Cancel) -> Result<Vec<Frame>, OperatorError> {
        let output = |(fold, (_, kept)): (usize, &(Vec<u32>, Vec<u32>))| {
            let input = input(vertex, seen, Some(fold));
            let part = Data { x: &input, ..*data }.take(kept);
            let fitted = vertex.fit(&part.data(), cancel)?;
            Ok(emitted(vertex.op, fitted.apply(&input, cancel)?))
        };
        self.folds.iter().enumerate().map(output).collect()
    }

    /// Output on the training rows, each from fits that did not see the row's target: not the vertex's own, and none of those
    /// before it.
    pub fn out_of_fold(&self, vertex: &Vertex, seen: &[Seen], data: &Data<'_>, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let rows = data.y.len();
        if rows < 2 {
            return Err(OperatorError::Infeasible("an estimator inside the graph needs at least two training rows".into()));
        }
        let mut columns: Vec<Vec<f32>> = Vec::new();
        for (fold, (held, kept)) in self.folds.iter().enumerate() {
            let input = input(vertex, seen, Some(fold));
            let part = Data { x: &input, ..*data }.take(kept);
            let output = vertex.fit(&part.data(), cancel)?.apply(&input.take(held), cancel)?;
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
