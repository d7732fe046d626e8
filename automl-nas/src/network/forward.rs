//! Computing what a plan says.

use automl_core::Cancel;
use automl_core::rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::build::{Op, Plan, Step};
use super::weights::Weights;
use crate::tensor::image::{BatchStats, ConvSpec, Image, ImageDevice, Recorder, Stats};
use crate::tensor::{Activation, Linear, Matrix, ParamId, TensorError, matrix};

/// A plan bound to a store of weights.
pub struct Network {
    plan: Plan,
    /// The parameters of the plan, as numbers of the store.
    ids: Vec<ParamId>,
    /// The norms of the plan, as places of the store.
    statistics: Vec<usize>,
    /// Of each step, the last that reads it.
    last_reader: Vec<usize>,
}

/// What norms do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// Use the statistics of the batch, and note them: training.
    Batch,
    /// Use the running statistics: evaluation.
    Running,
    /// Nothing, as some measures at the start of a training want it.
    Off,
}

/// What is left out at random while a network trains.
#[derive(Debug)]
pub struct Dropping {
    /// Share of the paths that are dropped at the end of the network, 0 to below 1.
    pub paths: f32,
    /// Share of the numbers that are dropped before the classifier, 0 to below 1.
    pub units: f32,
    /// What draws them.
    pub rng: ChaCha8Rng,
}

/// What looks at images.
pub type Watch<'a, D> = &'a mut dyn FnMut(&Image<D>);

/// One forward pass: how it is done, and what it leaves behind.
pub struct Pass<'a, D: ImageDevice> {
    /// The tape, if any.
    pub recorder: Recorder<D>,
    /// What norms do.
    pub norms: Norms,
    /// What is left out.
    pub dropping: Option<Dropping>,
    /// Whether the auxiliary classifier is asked, too.
    pub auxiliary: bool,
    /// Called with each image that a ReLU gives.
    pub watch: Option<Watch<'a, D>>,
    /// Looked at before each step: a pass that is cancelled ends with an error.
    pub cancel: Option<Cancel>,
    /// The statistics of the batch, for [`Weights::track`].
    pub seen: Vec<(usize, BatchStats<D>)>,
}

impl<D: ImageDevice> Pass<'_, D> {
    /// Trains: records, with the statistics of the batch, and with the auxiliary classifier.
    pub fn training(dropping: Option<Dropping>) -> Self {
        Self {
            recorder: Recorder::on(),
            norms: Norms::Batch,
            dropping,
            auxiliary: true,
            watch: None,
            cancel: None,
            seen: Vec::new(),
        }
    }

    /// Evaluates: records nothing, with the running statistics.
    pub fn evaluation() -> Self {
        let recorder = Recorder::off();
        Self { recorder, norms: Norms::Running, dropping: None, auxiliary: false, watch: None, cancel: None, seen: Vec::new() }
    }
}

/// What a network says of a batch.
pub struct Output<D: ImageDevice> {
    /// Rows × classes.
    pub logits: Matrix<D>,
    /// The same of the auxiliary classifier, where it was asked.
    pub auxiliary: Option<Matrix<D>>,
}

/// What a step gave.
enum Made<D: ImageDevice> {
    Image(Image<D>),
    Rows(Matrix<D>),
}

impl Network {
    pub(super) fn new(plan: Plan, ids: Vec<ParamId>, statistics: Vec<usize>) -> Self {
        let mut last_reader = vec![0; plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for &input in &step.inputs {
                if let Some(last) = last_reader.get_mut(input) {
                    *last = index;
                }
            }
        }
        Self { plan, ids, statistics, last_reader }
    }

    /// What it computes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The numbers, in the store, of the plan's parameters.
    pub fn ids(&self) -> &[ParamId] {
        &self.ids
    }

    /// The logits of a batch of images of the plan's shape.
    ///
    /// # Errors
    /// [`TensorError`] for images of another shape, or weights of another store.
    pub fn forward<D: ImageDevice>(
        &self,
        weights: &Weights<D>,
        pass: &mut Pass<'_, D>,
        images: &Image<D>,
    ) -> Result<Output<D>, TensorError> {
        let [_, channels, height, width] = images.shape();
        let input = self.plan.input();
        if [channels, height, width] != [input.channels, input.height, input.width] {
            return Err(TensorError::of(format!("images of {:?} for a network that reads {input:?}", images.shape())));
        }
        let second = self.plan.auxiliary.filter(|_| pass.auxiliary);
        let mut made: Vec<Option<Made<D>>> = Vec::with_capacity(self.plan.steps.len());
        for (index, (step, needed)) in self.plan.steps.iter().zip(&self.plan.needed).enumerate() {
            let wanted = needed[0] || (second.is_some() && needed[1]);
            if wanted && pass.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return Err(TensorError::of("cancelled"));
            }
            let value = if wanted { Some(self.step(weights, pass, images, step, &made)?) } else { None };
            made.push(value);
            for &input in step.inputs.iter().filter(|input| **input != 0) {
                let over = self.last_reader.get(input).is_some_and(|last| *last == index);
                if let Some(slot) = made.get_mut(input).filter(|_| over) {
                    *slot = None;
                }
            }
        }
        let mut rows = |step: usize| match made.get_mut(step).and_then(Option::take) {
            Some(Made::Rows(rows)) => Ok(rows),
            _ => Err(TensorError::of("a classifier gave no rows")),
        };
        Ok(Output { logits: rows(self.plan.logits)?, auxiliary: second.map(rows).transpose()? })
    }

    fn step<D: ImageDevice>(
        &self,
        weights: &Weights<D>,
        pass: &mut Pass<'_, D>,
        images: &Image<D>,
        step: &Step,
        made: &[Option<Made<D>>],
    ) -> Result<Made<D>, TensorError> {
        let gone = || TensorError::of(format!("{step:?} reads what is not there"));
        let image = |place: usize| match step.inputs.get(place).and_then(|&input| made.get(input)) {
            Some(Some(Made::Image(image))) => Ok(image),
            _ => Err(gone()),
        };
        let all = || (0..step.inputs.len()).map(image).collect::<Result<Vec<_>, _>>();
        let rows = || match step.inputs.first().and_then(|&input| made.get(input)) {
            Some(Some(Made::Rows(rows))) => Ok(rows),
            _ => Err(gone()),
        };
        let parameter = |place: usize| -> Result<&Matrix<D>, TensorError> {
            Ok(weights.params().get(*self.ids.get(place).ok_or_else(gone)?))
        };
        let size = [step.shape.height, step.shape.width];
        let r = &mut pass.recorder;
        Ok(Made::Image(match &step.op {
            Op::Input => images.clone(),
            Op::Conv { weight, spec } => D::conv(r, image(0)?, parameter(*weight)?, spec)?,
            Op::Norm { gain, shift, statistics, relu } => {
                let place = *self.statistics.get(*statistics).ok_or_else(gone)?;
                let stats = match pass.norms {
                    Norms::Batch => Stats::Batch,
                    Norms::Running => {
                        let [mean, variance] = weights.running(place).ok_or_else(gone)?;
                        Stats::Running { mean, variance }
                    }
                    Norms::Off => {
                        let out = if *relu { D::relu(r, image(0)?)? } else { image(0)?.clone() };
                        return Ok(Made::Image(watched(pass, out, *relu)));
                    }
                };
                let (gain, shift) = (parameter(*gain)?, parameter(*shift)?);
                let (out, seen) = D::batch_norm(r, image(0)?, Some(gain), Some(shift), stats, *relu)?;
                pass.seen.extend(seen.map(|seen| (place, seen)));
                watched(pass, out, *relu)
            }
            Op::Relu => {
                let out = D::relu(r, image(0)?)?;
                watched(pass, out, true)
            }
            Op::MaxPool(spec) => D::max_pool(r, image(0)?, spec)?,
            Op::AvgPool(spec) => D::avg_pool(r, image(0)?, spec)?,
            Op::Window { from } => D::window(r, image(0)?, *from, size)?,
            Op::Truncate => {
                let (from, to) = (image(0)?.shape()[1], step.shape.channels);
                let picks = (0..to * from).map(|at| if at / from == at % from { 1.0 } else { 0.0 }).collect();
                D::conv(r, image(0)?, &matrix(images.device(), to, from, picks)?, &ConvSpec::same(1, 1))?
            }
            Op::Add => D::add(r, &all()?)?,
            Op::Concat => D::concat(r, &all()?)?,
            Op::Zeros => {
                let (batch, shape) = (images.shape()[0], step.shape);
                Image::new(images.device(), [batch, shape.channels, shape.height, shape.width], vec![0.0; batch * shape.len()])?
            }
            Op::DropPath { depth } => match &mut pass.dropping {
                Some(dropping) if dropping.paths > 0.0 => {
                    let share = dropping.paths * depth;
                    let batch = image(0)?.shape()[0];
                    D::scale_rows(r, image(0)?, &factors(&mut dropping.rng, batch, share))?
                }
                _ => image(0)?.clone(),
            },
            Op::GlobalAverage => return Ok(Made::Rows(D::global_average(r, image(0)?)?)),
            Op::Dropout => {
                let x = rows()?;
                let Some(dropping) = pass.dropping.as_mut().filter(|dropping| dropping.units > 0.0) else {
                    return Ok(Made::Rows(x.clone()));
                };
                let [batch, units] = [images.shape()[0], step.shape.channels];
                let factors = factors(&mut dropping.rng, batch * units, dropping.units);
                return Ok(Made::Rows(r.scaled(x, &matrix(images.device(), batch, units, factors)?)?));
            }
            Op::Linear { weight, bias } => {
                let (weight, bias) = (parameter(*weight)?, parameter(*bias)?);
                let layer = Linear { weight, bias, activation: Activation::Identity, mask: None, input_gradient: true };
                return Ok(Made::Rows(r.linear(&layer, rows()?)?));
            }
        }))
    }
}

/// Zeros for the share that is dropped, and for the others the inverse of the share that is kept.
fn factors(rng: &mut ChaCha8Rng, count: usize, share: f32) -> Vec<f32> {
    let kept = 1.0 / (1.0 - share.clamp(0.0, 0.99));
    (0..count).map(|_| if rng.random::<f32>() < share { 0.0 } else { kept }).collect()
}

fn watched<D: ImageDevice>(pass: &mut Pass<'_, D>, image: Image<D>, relu: bool) -> Image<D> {
    if let Some(watch) = pass.watch.as_mut().filter(|_| relu) {
        watch(&image);
    }
    image
}
