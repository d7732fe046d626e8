//! A multi-layer perceptron on tables: the operator `mlp`.
//!
//! It is registered like the operators of `automl-ops`, and so in the same gene pool. Inputs are made fit by `inputs`, the
//! network is `network`, and `train` fits it with AdamW and early stopping.

mod inputs;
mod network;
mod train;

use automl_core::{Cancel, Param, Params, Value};
use automl_ops::cost::{Cost, Shape};
use automl_ops::frame::Frame;
use automl_ops::kinds::{DENSE, PREDICTION};
use automl_ops::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use automl_ops::state::{Array, State};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::inputs::Inputs;
use self::network::{Network, Plan, Widths};
use self::train::{BLOCK, Sample, Settings, Targets, train};
use crate::tensor::{Activation, Cpu, matrix, values};

/// Largest magnitude of an output.
const LIMIT: f64 = 1e18;
/// Numbers that a network and its training may keep, at most: 2 GB of parameters, gradients and moments.
const MOST_PARAMETERS: usize = 1 << 27;

struct Mlp;

automl_ops::describe! {
    Mlp: "mlp", "A multi-layer perceptron, trained with AdamW and early stopping",
    reads [DENSE, PREDICTION], emits PREDICTION,
    params [
        Param::int("layers", 1, 4, 2).about("hidden layers"),
        Param::int("width", 16, 512, 128).log().about("outputs of the widest hidden layer"),
        Param::choice("widths", &["constant", "funnel", "widening"])
            .about("all hidden layers of one width, each half as wide as the one before, or each twice as wide"),
        Param::switch("residual", false).when("widths", &[Value::from("constant")])
            .about("whether each hidden layer but the first adds its input to its output"),
        Param::choice("activation", &["gelu", "relu", "silu"]).about("function between the layers"),
        Param::choice("normalization", &["none", "layer"]).about("`layer`: normalises what a layer reads from the one before"),
        Param::float("dropout", 0.0, 0.5, 0.1).about("share of the hidden outputs that a training step ignores"),
        Param::float("learning_rate", 1e-4, 3e-2, 3e-3).log().about("peak of the learning rate"),
        Param::float("weight_decay", 1e-6, 0.3, 1e-2).log().about("pull of the weights towards 0"),
        Param::float("label_smoothing", 0.0, 0.2, 0.0).about("share of a class label that is spread over all classes"),
        Param::int("batch_size", 32, 512, 256).log().about("rows a step, at most; small tables get smaller batches"),
        Param::int("epochs", 5, 200, 40).log().about("passes over the rows, at most"),
        Param::choice("class_weight", &["none", "balanced"]).about("`balanced`: every class weighs the same in all"),
    ]
}

automl_ops::tabular_operator!(Mlp);

/// What the outputs of the network mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Head {
    /// Log scores of the classes that occurred, ascending; the others of `classes` get probability 0.
    Classes { codes: Vec<u32>, classes: usize },
    /// A value in units of `scale`, from `center`.
    Values { center: f64, scale: f64 },
}

struct FittedMlp {
    inputs: Inputs,
    network: Network<Cpu>,
    head: Head,
}

fn activation(fit: &Fit<'_>) -> Result<Activation, OperatorError> {
    Ok(match fit.text("activation")? {
        "relu" => Activation::Relu,
        "silu" => Activation::Silu,
        _ => Activation::Gelu,
    })
}

fn widths(params: &Params) -> Widths {
    match params.get("widths") {
        Some(Value::Text(text)) if text == "funnel" => Widths::Funnel,
        Some(Value::Text(text)) if text == "widening" => Widths::Widening,
        _ => Widths::Constant,
    }
}

/// About the multiplications of a row, and the outputs of all hidden layers.
fn extent(shape: &Shape, params: &Params) -> [f64; 2] {
    let number = |name: &str| if let Some(Value::Int(value)) = params.get(name) { (*value).max(1) as usize } else { 1 };
    let (mut inputs, mut weights, mut hidden) = (shape.columns, 0.0, 0.0);
    for width in widths(params).of(number("layers"), number("width")) {
        weights += inputs * width as f64;
        hidden += width as f64;
        inputs = width as f64;
    }
    [weights + inputs * shape.classes, hidden]
}

/// The head, and the targets in its terms.
fn head(y: &Target, weights: &[f32]) -> (Head, Vec<usize>, Vec<f32>) {
    match y {
        Target::Classes { codes, classes } => {
            let mut present = vec![false; *classes];
            let weighed = codes.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
            weighed.for_each(|(&code, _)| present.iter_mut().skip(code as usize).take(1).for_each(|seen| *seen = true));
            let kept: Vec<u32> = (0..*classes as u32).filter(|&code| present.get(code as usize) == Some(&true)).collect();
            // A class without weight teaches nothing, so that it may stand for any.
            let indices = codes.iter().map(|code| kept.binary_search(code).unwrap_or(0)).collect();
            (Head::Classes { codes: kept, classes: *classes }, indices, Vec::new())
        }
        Target::Values(values) => {
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let mean = |of: &dyn Fn(f64) -> f64| {
                values.iter().zip(weights).map(|(&y, &weight)| f64::from(weight) * of(y)).sum::<f64>() / total
            };
            let center = mean(&|y| y);
            let scale = mean(&|y| (y - center) * (y - center)).sqrt();
            let scale = if scale.is_finite() && (1.0 / scale).is_finite() { scale } else { 0.0 };
            let standard = |&y: &f64| if scale > 0.0 { ((y - center) / scale) as f32 } else { 0.0 };
            (Head::Values { center, scale }, Vec::new(), values.iter().map(standard).collect())
        }
    }
}

impl TabularOperator for Mlp {
    fn weights(&self) -> Weights {
        Weights::Approximate
    }

    fn cost(&self, shape: &Shape, params: &Params) -> Cost {
        let number = |name: &str| match params.get(name) {
            Some(Value::Int(value)) => *value as f64,
            _ => 0.0,
        };
        let (epochs, [weights, hidden]) = (number("epochs"), extent(shape, params));
        let batch = number("batch_size").min((shape.rows / 20.0).max(16.0));
        let steps = epochs * (shape.rows / batch).ceil();
        let seconds = 1e-10 * epochs * shape.rows * weights
            + 6e-9 * epochs * shape.rows * (shape.columns + hidden + shape.classes)
            + steps * (3e-5 + 4e-9 * weights);
        let bytes = 4.0 * shape.cells() + 24.0 * weights + 16.0 * batch * (shape.columns + 4.0 * hidden);
        Cost { seconds, bytes, columns: shape.classes }
    }

    fn row_seconds(&self, shape: &Shape, params: &Params) -> f64 {
        let [weights, hidden] = extent(shape, params);
        1e-10 * weights + 3e-9 * (shape.columns + hidden + shape.classes)
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let (rows, columns) = (fit.x.rows(), fit.x.columns().len());
        if columns == 0 || rows == 0 {
            return Err(OperatorError::Infeasible("there are no columns or no rows to learn from".into()));
        }
        if fit.y.len() != rows {
            return Err(OperatorError::Shape { what: "targets", expected: rows, found: fit.y.len() });
        }
        let given = fit.row_weights();
        let total: f64 = given.as_ref().map_or(rows as f64, |weights| weights.iter().map(|&weight| f64::from(weight)).sum());
        if !(total.is_finite() && total > 0.0) {
            return Err(OperatorError::Infeasible("no row has a weight".into()));
        }
        let mean = total / rows as f64;
        let weights: Vec<f32> = match &given {
            Some(weights) => weights.iter().map(|&weight| (f64::from(weight) / mean) as f32).collect(),
            None => vec![1.0; rows],
        };
        let (head, codes, targets) = head(fit.y, &weights);
        let plan = Plan {
            inputs: columns,
            outputs: if let Head::Classes { codes, .. } = &head { codes.len() } else { 1 },
            layers: fit.int("layers")?,
            width: fit.int("width")?,
            widths: widths(fit.params),
            residual: fit.switch("residual").unwrap_or(false),
            activation: activation(fit)?,
            layer_norm: fit.text("normalization")? == "layer",
        };
        let trivial = matches!(&head, Head::Classes { codes, .. } if codes.len() == 1);
        let settings = Settings {
            epochs: if trivial { 0 } else { fit.int("epochs")? },
            batch_size: fit.int("batch_size")?,
            learning_rate: fit.float("learning_rate")?,
            weight_decay: fit.float("weight_decay")?,
            dropout: fit.float("dropout")? as f32,
            label_smoothing: fit.float("label_smoothing")? as f32,
        };
        if plan.parameters().is_none_or(|count| count > MOST_PARAMETERS) {
            return Err(OperatorError::Infeasible(format!(
                "a network of width {} on {columns} columns has more than {MOST_PARAMETERS} parameters; select columns first",
                plan.width
            )));
        }
        let inputs = Inputs::fit(fit.x, fit.cancel)?;
        let x = inputs.apply(fit.x, 0, rows)?;
        let mut rng = ChaCha8Rng::seed_from_u64(fit.seed);
        let mut network = Network::new(Cpu::default(), plan, &mut rng)?;
        let y = if targets.is_empty() { Targets::Classes(&codes) } else { Targets::Values(&targets) };
        train(&mut network, &Sample { x: &x, y, weights: &weights }, &settings, &mut rng, fit.cancel)?;
        Ok(Box::new(FittedMlp { inputs, network, head }))
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        let (plan, head): (Plan, Head) = (state.get("plan")?, state.get("head")?);
        let inputs = Inputs { center: state.f64s("center")?.to_vec(), scale: state.f64s("scale")?.to_vec() };
        let sound = |values: &[f64]| values.len() == plan.inputs && values.iter().all(|value| value.is_finite());
        let outputs = match &head {
            Head::Classes { codes, classes } => {
                let ascending = codes.windows(2).all(|pair| pair[0] < pair[1]);
                let known = *classes <= MOST_PARAMETERS && codes.last().is_some_and(|&code| (code as usize) < *classes);
                if ascending && known { codes.len() } else { 0 }
            }
            Head::Values { center, scale } => usize::from(center.is_finite() && scale.is_finite()),
        };
        if !(sound(&inputs.center) && sound(&inputs.scale) && outputs > 0 && outputs == plan.outputs) {
            return Err(OperatorError::state("the parts of the network do not fit together"));
        }
        let count = plan.parameters().filter(|&count| plan.inputs > 0 && count <= MOST_PARAMETERS);
        let numbers = state.finite("parameters", Some(count.ok_or_else(|| OperatorError::state("too many parameters"))?))?;
        let mut network = Network::new(Cpu::default(), plan, &mut ChaCha8Rng::seed_from_u64(0))?;
        network.params.import(&numbers)?;
        Ok(Box::new(FittedMlp { inputs, network, head }))
    }
}

impl FittedMlp {
    /// The predictions for the rows from `start`, at most a block of them.
    fn block(&self, x: &Frame, start: usize) -> Result<Vec<f32>, OperatorError> {
        let rows = self.inputs.apply(x, start, BLOCK)?;
        let (count, outputs) = (rows.len() / self.inputs.center.len().max(1), self.network.plan.outputs.max(1));
        let said = matrix(self.network.params.device(), count, self.inputs.center.len(), rows)?;
        let said = values(&self.network.forward(said, count, None)?);
        Ok(match &self.head {
            Head::Values { center, scale } => {
                said.iter().map(|&value| bounded(center + scale * f64::from(value), *center)).collect()
            }
            Head::Classes { codes, classes } => {
                let mut out = vec![0.0; count * classes];
                for (row, scores) in out.chunks_exact_mut((*classes).max(1)).zip(said.chunks_exact(outputs)) {
                    probabilities(scores, codes, row);
                }
                out
            }
        })
    }
}

fn bounded(value: f64, otherwise: f64) -> f32 {
    (if value.is_nan() { otherwise } else { value }).clamp(-LIMIT, LIMIT) as f32
}

/// Softmax of the scores, written where their classes are; equal shares where a score is not a number.
fn probabilities(scores: &[f32], codes: &[u32], row: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|&score| f64::from(score - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    for (&code, power) in codes.iter().zip(powers) {
        if let Some(share) = row.get_mut(code as usize) {
            *share = if total.is_finite() && total > 0.0 { (power / total) as f32 } else { 1.0 / codes.len() as f32 };
        }
    }
}

impl Fitted for FittedMlp {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        x.expect_width(self.inputs.center.len())?;
        let width = if let Head::Classes { classes, .. } = self.head { classes } else { 1 };
        let starts: Vec<usize> = (0..x.rows()).step_by(BLOCK).collect();
        let block = |&start: &usize| {
            if cancel.is_cancelled() { Err(OperatorError::Cancelled) } else { self.block(x, start) }
        };
        let blocks = starts.par_iter().map(block).collect::<Result<Vec<_>, _>>()?;
        if blocks.is_empty() {
            // Columns of other types are refused for no rows, too.
            self.inputs.apply(x, 0, 0)?;
        }
        Ok(Frame::from_rows(&blocks.concat(), width))
    }

    fn save(&self, state: &mut State) {
        state.put("plan", &self.network.plan);
        state.put("head", &self.head);
        state.put_array("center", Array::F64(self.inputs.center.clone()));
        state.put_array("scale", Array::F64(self.inputs.scale.clone()));
        state.put_array("parameters", Array::F32(self.network.params.export()));
    }
}
