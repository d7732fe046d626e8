//! Which paths a training takes: [`PathSampling`], and the two of the papers.
//!
//! A policy is a typetag plugin: a config names it by its `type`, and any crate can add one by
//! `#[typetag::serde(name = "acme/mine")] impl PathSampling for Mine`.

use std::fmt::Debug;

use automl_core::rand::{Rng, RngExt};
use automl_core::space::sample;
use automl_core::{Error, Genotype, Result, SearchSpace, typetag};
use serde::{Deserialize, Serialize};

/// Chooses the path of each step of a training.
#[typetag::serde(tag = "type")]
pub trait PathSampling: Debug + Send + Sync {
    /// The paths of `steps` steps, in order. `parameters` tells how many a candidate has; none where it is no network.
    ///
    /// # Errors
    /// Those of the space, and [`Error::Config`] for settings that make no sense.
    fn paths(
        &self,
        space: &dyn SearchSpace,
        parameters: &dyn Fn(&Genotype) -> Option<u64>,
        steps: usize,
        rng: &mut dyn Rng,
    ) -> Result<Vec<Genotype>>;
}

/// A new random candidate each step, as in single-path one-shot training (Guo et al., ECCV 2020).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uniform {}

#[typetag::serde(name = "uniform")]
impl PathSampling for Uniform {
    fn paths(
        &self,
        space: &dyn SearchSpace,
        _: &dyn Fn(&Genotype) -> Option<u64>,
        steps: usize,
        rng: &mut dyn Rng,
    ) -> Result<Vec<Genotype>> {
        (0..steps).map(|_| sample(space, rng)).collect()
    }
}

/// A member of a pool of random candidates each step, as NAO trains with weight sharing (Luo et al. 2018).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Members; default 1000.
    pub size: usize,
    /// How often each is taken; default `uniform`.
    pub weights: PoolWeights,
}

/// How often members of a pool are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolWeights {
    /// All as often.
    #[default]
    Uniform,
    /// In proportion to their parameters: large networks need more steps (Luo et al., "Balanced One-shot Neural Architecture
    /// Optimization", 2019).
    Parameters,
}

impl Default for Pool {
    fn default() -> Self {
        Self { size: 1000, weights: PoolWeights::Uniform }
    }
}

#[typetag::serde(name = "pool")]
impl PathSampling for Pool {
    fn paths(
        &self,
        space: &dyn SearchSpace,
        parameters: &dyn Fn(&Genotype) -> Option<u64>,
        steps: usize,
        rng: &mut dyn Rng,
    ) -> Result<Vec<Genotype>> {
        if !(1..=1_000_000).contains(&self.size) {
            return Err(Error::config("evaluator.sampling.size", format!("is {}; it must be 1 to 1000000", self.size)));
        }
        let pool: Vec<Genotype> = (0..self.size).map(|_| sample(space, rng)).collect::<Result<_>>()?;
        let mut total = 0.0;
        let mut ends = Vec::with_capacity(pool.len());
        for genotype in &pool {
            total += match self.weights {
                PoolWeights::Uniform => 1.0,
                PoolWeights::Parameters => parameters(genotype).unwrap_or_default() as f64,
            };
            ends.push(total);
        }
        let mut paths = Vec::with_capacity(steps);
        for _ in 0..steps {
            let drawn = rng.random::<f64>() * total;
            let member = ends.partition_point(|end| *end <= drawn).min(pool.len().saturating_sub(1));
            paths.extend(pool.get(member).cloned());
        }
        Ok(paths)
    }
}
