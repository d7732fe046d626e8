//! The numbers of networks, by name.

use std::collections::BTreeMap;

use automl_core::hash::StableHash;
use automl_core::rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::build::{Init, ParameterPlan, Plan};
use super::forward::Network;
use crate::tensor::image::BatchStats;
use crate::tensor::{BufferId, NnDevice, ParamId, Params, TensorError, values};

/// Share of a batch's statistics in the running ones, as in PyTorch.
const MOMENTUM: f32 = 0.1;

/// Running mean and variance of each channel of a norm, as buffers of the store.
type Running = [BufferId; 2];

/// Numbers by name, each with its rows and columns.
pub type Numbers = BTreeMap<String, ([usize; 2], Vec<f32>)>;

/// The parameters and running statistics of one network, or of several that share what has the same name.
///
/// A parameter begins with numbers that its name and the seed give alone: in whatever order networks are bound, and whatever else
/// they hold, the same part begins the same.
pub struct Weights<D: NnDevice> {
    params: Params<D>,
    /// In the order of `params`.
    plans: Vec<ParameterPlan>,
    by_name: BTreeMap<String, (ParamId, [usize; 2])>,
    statistics: Vec<Running>,
    statistics_by_name: BTreeMap<String, usize>,
    seed: u64,
}

impl<D: NnDevice> Weights<D> {
    /// An empty store, whose parameters begin as `seed` says.
    pub fn new(device: D, seed: u64) -> Self {
        Self {
            params: Params::new(device),
            plans: Vec::new(),
            by_name: BTreeMap::new(),
            statistics: Vec::new(),
            statistics_by_name: BTreeMap::new(),
            seed,
        }
    }

    /// Binds a plan: what it needs and the store has not is added.
    ///
    /// # Errors
    /// [`TensorError`] where the store has a parameter of this name with another shape.
    pub fn bind(&mut self, plan: Plan) -> Result<Network, TensorError> {
        let mut ids = Vec::with_capacity(plan.parameters.len());
        for parameter in &plan.parameters {
            ids.push(self.parameter(parameter)?);
        }
        let mut statistics = Vec::with_capacity(plan.statistics.len());
        for (name, channels) in &plan.statistics {
            let place = match self.statistics_by_name.get(name) {
                Some(&place) => place,
                None => {
                    let mean = self.params.add_buffer(format!("{name}.mean"), vec![0.0; *channels])?;
                    let variance = self.params.add_buffer(format!("{name}.variance"), vec![1.0; *channels])?;
                    self.statistics.push([mean, variance]);
                    self.statistics_by_name.insert(name.clone(), self.statistics.len() - 1);
                    self.statistics.len() - 1
                }
            };
            let known = self.running(place).map_or(0, |[mean, _]| mean.len());
            if known != *channels {
                return Err(TensorError::of(format!("the norm `{name}` has {known} channels here, not {channels}")));
            }
            statistics.push(place);
        }
        Ok(Network::new(plan, ids, statistics))
    }

    fn parameter(&mut self, wanted: &ParameterPlan) -> Result<ParamId, TensorError> {
        let [rows, columns] = wanted.shape;
        if let Some(&(id, known)) = self.by_name.get(&wanted.name) {
            if known != wanted.shape {
                return Err(TensorError::of(format!("`{}` is {known:?} here, not {:?}", wanted.name, wanted.shape)));
            }
            return Ok(id);
        }
        let initial = match wanted.init {
            Init::Constant(value) => vec![value; rows * columns],
            Init::Uniform(bound) => {
                let seed = StableHash::new("weights").number(self.seed).text(&wanted.name).finish();
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                (0..rows * columns).map(|_| rng.random_range(-1.0_f32..1.0) * bound).collect()
            }
        };
        let id = self.params.add_named(wanted.name.clone(), wanted.shape, initial, wanted.decays)?;
        self.by_name.insert(wanted.name.clone(), (id, wanted.shape));
        self.plans.push(wanted.clone());
        Ok(id)
    }

    /// The parameters as optimizers and checkpoints walk them; the running statistics are their buffers, `NAME.mean` and
    /// `NAME.variance` of each norm.
    pub fn params(&self) -> &Params<D> {
        &self.params
    }

    /// The same, to be changed.
    pub fn params_mut(&mut self) -> &mut Params<D> {
        &mut self.params
    }

    /// Names and shapes of the parameters, in the order of the store.
    pub fn plans(&self) -> &[ParameterPlan] {
        &self.plans
    }

    /// The number of a parameter in the store.
    pub fn id(&self, name: &str) -> Option<ParamId> {
        self.by_name.get(name).map(|(id, _)| *id)
    }

    /// Running mean and variance of a norm, by its place in the store.
    pub fn running(&self, place: usize) -> Option<[&[f32]; 2]> {
        self.statistics.get(place).map(|ids| ids.map(|id| self.params.buffer(id)))
    }

    /// Moves running statistics towards those of the batches that a pass has seen.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn track(&mut self, seen: &[(usize, BatchStats<D>)]) -> Result<(), TensorError> {
        let moments: Vec<_> = seen.iter().map(|(_, batch)| &batch.moments).collect();
        let numbers = D::read(&moments)?;
        let mut numbers = numbers.iter();
        for (place, _) in seen {
            let unknown = || TensorError::of(format!("statistics of a norm {place} that the weights do not have"));
            let ids = *self.statistics.get(*place).ok_or_else(unknown)?;
            for id in ids {
                let running = self.params.buffer_mut(id);
                running.iter_mut().zip(&mut numbers).for_each(|(running, batch)| *running += MOMENTUM * (batch - *running));
            }
        }
        Ok(())
    }

    /// All numbers: the parameters, and the running statistics as rows.
    pub fn export(&self) -> Numbers {
        let parameters = self.by_name.iter().map(|(name, (id, shape))| (name.clone(), (*shape, values(self.params.get(*id)))));
        let buffers = self.params.buffers().map(|(name, numbers)| (name.to_owned(), ([1, numbers.len()], numbers.to_vec())));
        parameters.chain(buffers).collect()
    }

    /// Takes what has the same name and the same shape from elsewhere; the names of what was taken. What is not finite stays, and so
    /// does a variance below 0.
    ///
    /// # Errors
    /// [`TensorError`].
    pub fn inherit(&mut self, from: &Numbers) -> Result<Vec<String>, TensorError> {
        let fits = |own: [usize; 2], (shape, numbers): &([usize; 2], Vec<f32>), least: f32| {
            let legal = numbers.iter().all(|number| number.is_finite() && *number >= least);
            *shape == own && numbers.len() == own[0] * own[1] && legal
        };
        let mut taken = Vec::new();
        for (name, (id, shape)) in &self.by_name {
            if let Some(other) = from.get(name).filter(|other| fits(*shape, other, f32::NEG_INFINITY)) {
                self.params.set(*id, &other.1)?;
                taken.push(name.clone());
            }
        }
        for (norm, place) in &self.statistics_by_name {
            let Some(&ids) = self.statistics.get(*place) else { continue };
            for (id, (part, least)) in ids.into_iter().zip([("mean", f32::NEG_INFINITY), ("variance", 0.0)]) {
                let name = format!("{norm}.{part}");
                let buffer = self.params.buffer_mut(id);
                if let Some((_, numbers)) = from.get(&name).filter(|other| fits([1, buffer.len()], other, least)) {
                    buffer.copy_from_slice(numbers);
                    taken.push(name);
                }
            }
        }
        Ok(taken)
    }
}
