//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) and a schedule of its learning rate.

use dfdx::tensor::Gradients;

use super::{Matrix, NnDevice, Params, TensorError};

/// Settings of [`AdamW`].
#[derive(Clone, Debug)]
pub struct AdamWSettings {
    /// Decay of the mean of the gradients and of their squares. Default 0.9 and 0.999.
    pub betas: [f64; 2],
    /// Added to the root of the mean square. Default 1e-8.
    pub epsilon: f64,
    /// Share of a weight that is lost a step, in units of the learning rate. Default 0.01.
    pub weight_decay: f64,
    /// Gradients of a larger norm, over all parameters, are scaled down to it (Pascanu et al. 2013). Default 1.
    pub max_norm: f64,
    /// Whether `weight_decay` is part of the gradient, as in Adam with an L2 penalty (Kingma and Ba 2015). Default false.
    pub coupled: bool,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01, max_norm: 1.0, coupled: false }
    }
}

/// A parameter that a step changes.
pub struct Update<'a, D: NnDevice, const MOMENTS: usize> {
    /// Its learning rate.
    pub rate: f32,
    /// Its weight decay.
    pub decay: f32,
    /// The parameter.
    pub parameter: &'a mut Matrix<D>,
    /// What the optimizer keeps of earlier gradients.
    pub moments: [&'a mut Matrix<D>; MOMENTS],
}

/// The numbers of one step of AdamW, the same for all parameters.
#[derive(Clone, Debug)]
pub struct AdamStep {
    /// Factor of the gradients, from clipping.
    pub scale: f32,
    /// Decay of the moments.
    pub betas: [f32; 2],
    /// What makes the moments unbiased: `1 / (1 - beta^t)`.
    pub corrections: [f32; 2],
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Whether weight decay is part of the gradient.
    pub coupled: bool,
}

/// The optimizer, with two moments for each parameter of one store.
pub struct AdamW<D: NnDevice> {
    settings: AdamWSettings,
    pub(super) moments: Vec<[Matrix<D>; 2]>,
    pub(super) steps: u64,
}

impl<D: NnDevice> AdamW<D> {
    /// An optimizer for the parameters of a store.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn new(params: &mut Params<D>, settings: AdamWSettings) -> Result<Self, TensorError> {
        let zeros = |value: &Matrix<D>| value.device().try_zeros_like(value).map_err(TensorError::of);
        let moments = params.each().map(|(value, _)| Ok([zeros(value)?, zeros(value)?])).collect::<Result<_, _>>()?;
        Ok(Self { settings, moments, steps: 0 })
    }

    /// One step against the gradients with a learning rate. Gradients that are not finite change nothing.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn step(&mut self, params: &mut Params<D>, gradients: &mut Gradients<f32, D>, rate: f64) -> Result<(), TensorError> {
        let AdamWSettings { betas, epsilon, weight_decay, max_norm, coupled } = self.settings;
        let Some(scale) = clipping(params, gradients, max_norm)? else { return Ok(()) };
        self.steps = self.steps.saturating_add(1);
        let correction = |beta: f64| (1.0 / (1.0 - beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX)))) as f32;
        let step = AdamStep {
            scale,
            betas: betas.map(|beta| beta as f32),
            corrections: betas.map(correction),
            epsilon: epsilon as f32,
            coupled,
        };
        let updates = params.each().zip(&mut self.moments).map(|((parameter, treatment), moments)| Update {
            rate: rate as f32 * treatment.factor,
            decay: if treatment.decays { weight_decay as f32 } else { 0.0 },
            parameter,
            moments: moments.each_mut(),
        });
        D::adamw(&step, gradients, updates.collect())
    }
}

/// The factor that brings the gradients of all parameters to a norm, 1 for those of a smaller norm; `None` where they are not
/// finite.
pub(super) fn clipping<D: NnDevice>(
    params: &Params<D>,
    gradients: &mut Gradients<f32, D>,
    max_norm: f64,
) -> Result<Option<f32>, TensorError> {
    let parameters: Vec<_> = params.all().map(|(value, _)| value).collect();
    let square = D::squared_norm(gradients, &parameters)?;
    Ok(square.is_finite().then(|| (max_norm / square.sqrt().max(max_norm)) as f32))
}

/// The factor of the learning rate after a share of the steps, 0 to 1: it rises over the first `warm_up` of them, and falls to
/// 0 like half a cosine (Loshchilov and Hutter, "SGDR", 2017).
pub fn warm_cosine(progress: f64, warm_up: f64) -> f64 {
    if progress < warm_up {
        return progress / warm_up;
    }
    let fall = (progress - warm_up) / (1.0 - warm_up).max(f64::MIN_POSITIVE);
    0.5 + 0.5 * (std::f64::consts::PI * fall.min(1.0)).cos()
}
