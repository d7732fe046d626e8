//! Plans: the steps of a network with their shapes, made one after the other.

use std::collections::BTreeMap;

use automl_core::{Error, Result};

use crate::cells::Size;
use crate::images::Shape;
use crate::tensor::image::{ConvSpec, PoolSpec};

/// What a step does with what earlier steps gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The images.
    Input,
    /// A convolution with a parameter.
    Conv {
        /// Which of [`Plan::parameters`].
        weight: usize,
        /// How it moves.
        spec: ConvSpec,
    },
    /// A batch norm, with a ReLU after it or without.
    Norm {
        /// Which of [`Plan::parameters`].
        gain: usize,
        /// Which of [`Plan::parameters`].
        shift: usize,
        /// Which of [`Plan::statistics`].
        statistics: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// `max(x, 0)`.
    Relu,
    /// The maximum of each window.
    MaxPool(PoolSpec),
    /// The mean of each window.
    AvgPool(PoolSpec),
    /// A window of the image, zeros outside.
    Window {
        /// Its first row and column.
        from: [isize; 2],
    },
    /// The first channels, as many as the step's shape has.
    Truncate,
    /// The sum of all inputs.
    Add,
    /// The channels of all inputs.
    Concat,
    /// Zeros; it reads the shape of the batch from its input.
    Zeros,
    /// Leaves whole images out while it trains; deeper steps more often.
    DropPath {
        /// How deep it lies, above 0 to 1.
        depth: f32,
    },
    /// The mean of each channel: from here on a step gives a row of numbers an image.
    GlobalAverage,
    /// Leaves single numbers out while it trains.
    Dropout,
    /// A linear layer.
    Linear {
        /// Which of [`Plan::parameters`].
        weight: usize,
        /// Which of [`Plan::parameters`].
        bias: usize,
    },
}

/// A step of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub op: Op,
    /// The steps that it reads, all earlier.
    pub inputs: Vec<usize>,
    /// The shape of what it gives for an image; rows of numbers have height and width 1.
    pub shape: Shape,
}

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform between minus and plus this: `1 / √inputs`, as PyTorch begins its convolutions and linear layers.
    Uniform(f32),
    /// All the same.
    Constant(f32),
}

/// A parameter that a plan needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterPlan {
    /// Its name: the same in each network that has this part.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// How it begins.
    pub init: Init,
    /// Whether weight decay applies: to weights, not to gains, shifts and biases.
    pub decays: bool,
}

/// What is computed for an image, beyond the parameters: for prices and reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiply-adds of convolutions whose outputs see many channels, and of linear layers.
    pub dense: f64,
    /// Multiply-adds of depthwise convolutions.
    pub depthwise: f64,
    /// Comparisons and additions of pools.
    pub pooled: f64,
    /// Numbers that steps give, all together.
    pub numbers: f64,
}

/// The steps of a network.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) parameters: Vec<ParameterPlan>,
    pub(super) statistics: Vec<(String, usize)>,
    pub(super) logits: usize,
    pub(super) auxiliary: Option<usize>,
    size: Size,
    /// For each step whether the classifier needs it, and whether the second one does.
    pub(super) needed: Vec<[bool; 2]>,
}

impl Plan {
    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The parameters, those of the auxiliary classifier included.
    pub fn parameters(&self) -> &[ParameterPlan] {
        &self.parameters
    }

    /// Names of the norms that keep running statistics, with their channels.
    pub fn statistics(&self) -> &[(String, usize)] {
        &self.statistics
    }

    /// The shape of the images.
    pub fn input(&self) -> Shape {
        self.steps.first().map_or(Shape { channels: 0, height: 0, width: 0 }, |step| step.shape)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.steps.get(self.logits).map_or(0, |step| step.shape.channels)
    }

    /// Whether there is an auxiliary classifier.
    pub fn has_auxiliary(&self) -> bool {
        self.auxiliary.is_some()
    }

    /// Parameters, multiply-adds for an image and depth of the network, without the auxiliary classifier.
    pub fn size(&self) -> Size {
        self.size
    }

    /// What is computed for an image.
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        for (step, _) in self.steps.iter().zip(&self.needed).filter(|(_, needed)| needed[0]) {
            let numbers = step.shape.len() as f64;
            work.numbers += numbers;
            match &step.op {
                Op::Conv { spec, .. } => {
                    let inputs = self.channels_of(step) / spec.groups.max(1);
                    let products = numbers * (inputs * spec.kernel[0] * spec.kernel[1]) as f64;
                    *(if inputs == 1 && spec.groups > 1 { &mut work.depthwise } else { &mut work.dense }) += products;
                }
                Op::Linear { .. } => work.dense += numbers * self.channels_of(step) as f64,
                Op::MaxPool(spec) | Op::AvgPool(spec) => work.pooled += numbers * (spec.kernel * spec.kernel) as f64,
                _ => {}
            }
        }
        work
    }

    fn channels_of(&self, step: &Step) -> usize {
        step.inputs.first().and_then(|&input| self.steps.get(input)).map_or(0, |input| input.shape.channels)
    }
}

/// Makes a plan.
pub(super) struct Builder {
    steps: Vec<Step>,
    /// Layers on the longest path to each step.
    depths: Vec<u64>,
    parameters: Vec<ParameterPlan>,
    known: BTreeMap<String, usize>,
    statistics: Vec<(String, usize)>,
    flops: u64,
    /// What each image looks like after a ReLU: several operators read one state.
    rectified: BTreeMap<usize, usize>,
    size: Option<Size>,
}

impl Builder {
    pub fn new(input: Shape) -> Self {
        let first = Step { op: Op::Input, inputs: Vec::new(), shape: input };
        Self {
            steps: vec![first],
            depths: vec![0],
            parameters: Vec::new(),
            known: BTreeMap::new(),
            statistics: Vec::new(),
            flops: 0,
            rectified: BTreeMap::new(),
            size: None,
        }
    }

    /// The shape of what a step gives.
    pub fn shape(&self, step: usize) -> Shape {
        self.steps.get(step).map_or(Shape { channels: 0, height: 0, width: 0 }, |step| step.shape)
    }

    fn push(&mut self, op: Op, inputs: Vec<usize>, shape: Shape) -> Result<usize> {
        /// Numbers of a step, for one image: a gigabyte.
        const MOST: usize = 1 << 28;
        if shape.len() > MOST || shape.is_empty() {
            return Err(Error::config(
                "network",
                format!("a layer would give {shape:?}; lower `channels` or the size of the images"),
            ));
        }
        let layer = matches!(op, Op::Conv { .. } | Op::Linear { .. });
        let below = inputs.iter().filter_map(|&input| self.depths.get(input)).max().copied().unwrap_or_default();
        self.depths.push(below + u64::from(layer));
        self.steps.push(Step { op, inputs, shape });
        Ok(self.steps.len() - 1)
    }

    fn parameter(&mut self, name: String, shape: [usize; 2], init: Init, decays: bool) -> usize {
        *self.known.entry(name.clone()).or_insert_with(|| {
            self.parameters.push(ParameterPlan { name, shape, init, decays });
            self.parameters.len() - 1
        })
    }

    /// A convolution without a bias.
    pub fn conv(&mut self, name: &str, x: usize, outputs: usize, spec: ConvSpec) -> Result<usize> {
        let input = self.shape(x);
        let side = |size: usize, axis: usize| {
            let reach = (spec.kernel[axis] - 1) * spec.dilation + 1;
            (size + 2 * spec.padding[axis]).checked_sub(reach).map_or(0, |rest| rest / spec.stride + 1)
        };
        let shape = Shape { channels: outputs, height: side(input.height, 0), width: side(input.width, 1) };
        let places = input.channels / spec.groups * spec.kernel[0] * spec.kernel[1];
        let init = Init::Uniform(1.0 / (places.max(1) as f32).sqrt());
        let weight = self.parameter(name.to_owned(), [outputs, places], init, true);
        self.flops = self.flops.saturating_add((places as u64).saturating_mul(shape.len() as u64));
        self.push(Op::Conv { weight, spec }, vec![x], shape)
    }

    /// A batch norm.
    pub fn norm(&mut self, name: &str, x: usize, relu: bool) -> Result<usize> {
        let shape = self.shape(x);
        let row = [1, shape.channels];
        let gain = self.parameter(format!("{name}.gain"), row, Init::Constant(1.0), false);
        let shift = self.parameter(format!("{name}.shift"), row, Init::Constant(0.0), false);
        self.statistics.push((name.to_owned(), shape.channels));
        self.push(Op::Norm { gain, shift, statistics: self.statistics.len() - 1, relu }, vec![x], shape)
    }

    /// A ReLU; the same step where there is one already.
    pub fn relu(&mut self, x: usize) -> Result<usize> {
        if let Some(&known) = self.rectified.get(&x) {
            return Ok(known);
        }
        // After a norm with a ReLU, or another ReLU, nothing is left to do.
        let done = self.steps.get(x).is_some_and(|step| matches!(step.op, Op::Relu | Op::Norm { relu: true, .. }));
        let step = if done { x } else { self.push(Op::Relu, vec![x], self.shape(x))? };
        self.rectified.insert(x, step);
        Ok(step)
    }

    /// ReLU, convolution, norm.
    pub fn relu_conv_norm(&mut self, name: &str, x: usize, outputs: usize, spec: ConvSpec) -> Result<usize> {
        let x = self.relu(x)?;
        let x = self.conv(&format!("{name}.conv"), x, outputs, spec)?;
        self.norm(&format!("{name}.norm"), x, false)
    }

    /// Convolution, norm, ReLU.
    pub fn conv_norm_relu(&mut self, name: &str, x: usize, outputs: usize, spec: ConvSpec) -> Result<usize> {
        let x = self.conv(&format!("{name}.conv"), x, outputs, spec)?;
        self.norm(&format!("{name}.norm"), x, true)
    }

    /// Half the resolution without losing every other place: two 1×1 convolutions at step 2, one of them a place further, each for
    /// half of the channels, and a norm.
    pub fn factorised(&mut self, name: &str, x: usize, outputs: usize) -> Result<usize> {
        let x = self.relu(x)?;
        let spec = ConvSpec::same(1, 2);
        if outputs < 2 {
            let x = self.conv(&format!("{name}.conv"), x, outputs, spec)?;
            return self.norm(&format!("{name}.norm"), x, false);
        }
        let first = self.conv(&format!("{name}.even"), x, outputs - outputs / 2, spec)?;
        let shifted = self.window(x, [1, 1], self.shape(x))?;
        let second = self.conv(&format!("{name}.odd"), shifted, outputs / 2, spec)?;
        let x = self.concat(&[first, second])?;
        self.norm(&format!("{name}.norm"), x, false)
    }

    /// A pool that keeps the resolution at step 1 and halves it (rounded up) at step 2.
    pub fn pool(&mut self, max: bool, kernel: usize, stride: usize, x: usize) -> Result<usize> {
        let shape = self.shape(x);
        let half = |side: usize| side.div_ceil(stride);
        let out = Shape { height: half(shape.height), width: half(shape.width), ..shape };
        let op = |spec| if max { Op::MaxPool(spec) } else { Op::AvgPool(spec) };
        if !kernel.is_multiple_of(2) {
            return self.push(op(PoolSpec { kernel, stride, padding: kernel / 2 }), vec![x], out);
        }
        // An even window lies one place further to the end than to the start.
        let padding = kernel / 2;
        let wide = |side: usize| side + 2 * padding - kernel + 1;
        let dense = Shape { height: wide(shape.height), width: wide(shape.width), ..shape };
        match (stride, shape.height.is_multiple_of(2) && shape.width.is_multiple_of(2)) {
            (2, true) if kernel == 2 => self.push(op(PoolSpec { kernel, stride, padding: 0 }), vec![x], out),
            (1, _) => {
                let x = self.push(op(PoolSpec { kernel, stride: 1, padding }), vec![x], dense)?;
                self.window(x, [1, 1], out)
            }
            _ => {
                let x = self.push(op(PoolSpec { kernel, stride: 1, padding }), vec![x], dense)?;
                let x = self.window(x, [1, 1], shape)?;
                // One place of each window of one.
                self.push(Op::MaxPool(PoolSpec { kernel: 1, stride, padding: 0 }), vec![x], out)
            }
        }
    }

    /// A pool that takes only whole windows.
    pub fn avg_pool_inside(&mut self, kernel: usize, stride: usize, x: usize) -> Result<usize> {
        let shape = self.shape(x);
        let side = |side: usize| side.checked_sub(kernel).map_or(0, |rest| rest / stride + 1);
        let out = Shape { height: side(shape.height), width: side(shape.width), ..shape };
        self.push(Op::AvgPool(PoolSpec { kernel, stride, padding: 0 }), vec![x], out)
    }

    pub fn window(&mut self, x: usize, from: [isize; 2], shape: Shape) -> Result<usize> {
        self.push(Op::Window { from }, vec![x], Shape { channels: self.shape(x).channels, ..shape })
    }

    /// The first channels.
    pub fn truncate(&mut self, x: usize, channels: usize) -> Result<usize> {
        let shape = self.shape(x);
        if shape.channels == channels { Ok(x) } else { self.push(Op::Truncate, vec![x], Shape { channels, ..shape }) }
    }

    /// A sum; one image is its own.
    pub fn add(&mut self, terms: &[usize]) -> Result<usize> {
        match terms {
            [one] => Ok(*one),
            [first, rest @ ..] => {
                let shape = self.shape(*first);
                if let Some(other) = rest.iter().map(|&term| self.shape(term)).find(|other| *other != shape) {
                    return Err(Error::Outside(format!("a node adds images of {shape:?} and {other:?}")));
                }
                self.push(Op::Add, terms.to_vec(), shape)
            }
            [] => Err(Error::Outside("a node adds nothing".into())),
        }
    }

    /// The channels of all.
    pub fn concat(&mut self, parts: &[usize]) -> Result<usize> {
        match parts {
            [one] => Ok(*one),
            [] => Err(Error::Outside("a cell puts out nothing".into())),
            [first, ..] => {
                let channels = parts.iter().map(|&part| self.shape(part).channels).sum();
                let shape = Shape { channels, ..self.shape(*first) };
                self.push(Op::Concat, parts.to_vec(), shape)
            }
        }
    }

    pub fn zeros(&mut self, shape: Shape) -> Result<usize> {
        self.push(Op::Zeros, vec![0], shape)
    }

    pub fn drop_path(&mut self, x: usize, depth: f32) -> Result<usize> {
        self.push(Op::DropPath { depth }, vec![x], self.shape(x))
    }

    pub fn global_average(&mut self, x: usize) -> Result<usize> {
        self.push(Op::GlobalAverage, vec![x], Shape { height: 1, width: 1, ..self.shape(x) })
    }

    pub fn dropout(&mut self, x: usize) -> Result<usize> {
        self.push(Op::Dropout, vec![x], self.shape(x))
    }

    pub fn linear(&mut self, name: &str, x: usize, outputs: usize) -> Result<usize> {
        let inputs = self.shape(x).channels;
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let weight = self.parameter(format!("{name}.weight"), [inputs, outputs], init, true);
        let bias = self.parameter(format!("{name}.bias"), [1, outputs], init, false);
        self.flops = self.flops.saturating_add((inputs * outputs) as u64);
        self.push(Op::Linear { weight, bias }, vec![x], Shape { channels: outputs, height: 1, width: 1 })
    }

    /// From here on, nothing counts in the size of the network.
    pub fn close(&mut self, logits: usize) {
        let parameters = self.parameters.iter().map(|parameter| (parameter.shape[0] * parameter.shape[1]) as u64).sum();
        let depth = self.depths.get(logits).copied().unwrap_or_default();
        self.size.get_or_insert(Size { parameters, flops: self.flops, depth });
    }

    pub fn finish(mut self, logits: usize, auxiliary: Option<usize>) -> Plan {
        self.close(logits);
        let mut needed = vec![[false; 2]; self.steps.len()];
        for (which, end) in [Some(logits), auxiliary].into_iter().enumerate() {
            let mut open: Vec<usize> = end.into_iter().collect();
            while let Some(step) = open.pop() {
                if let Some(needed) = needed.get_mut(step).filter(|needed| !needed[which]) {
                    needed[which] = true;
                    open.extend(self.steps.get(step).into_iter().flat_map(|step| &step.inputs));
                }
            }
        }
        Plan {
            steps: self.steps,
            parameters: self.parameters,
            statistics: self.statistics,
            logits,
            auxiliary,
            size: self.size.unwrap_or_default(),
            needed,
        }
    }
}
