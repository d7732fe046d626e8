//! The weights of trials: the last ones in memory, all of them in a folder where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::network::{Numbers, Plan, Weights};
use crate::tensor::{Cpu, checkpoint};

/// Keeps weights by the number of what they follow from. It is a cache: what it does not have can be made again.
pub(super) struct Keeper {
    most: usize,
    folder: Option<PathBuf>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// With the time of the last use.
    weights: BTreeMap<u64, (u64, Arc<Numbers>)>,
    time: u64,
}

impl Keeper {
    /// Keeps the weights of `most` networks in memory.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn new(most: usize, folder: Option<PathBuf>) -> automl_core::Result<Self> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).map_err(|source| automl_core::Error::io(folder, source))?;
        }
        Ok(Self { most, folder, memory: Mutex::default() })
    }

    fn path(&self, key: u64) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{key:016x}.safetensors")))
    }

    /// The weights of a number, if they are kept. A file that is broken, or of another network, does not count.
    pub fn get(&self, key: u64, plan: impl FnOnce() -> Option<Plan>) -> Option<Arc<Numbers>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.time += 1;
        let now = memory.time;
        if let Some((time, weights)) = memory.weights.get_mut(&key) {
            *time = now;
            return Some(weights.clone());
        }
        drop(memory);
        let path = self.path(key).filter(|path| path.exists())?;
        let mut weights = Weights::new(Cpu::default(), 0);
        weights.bind(plan()?).ok()?;
        checkpoint::load(&path, weights.params_mut(), None).ok()?;
        Some(self.remember(key, weights.export()))
    }

    /// Keeps weights. A folder that cannot be written to any more is a folder less: the search goes on.
    pub fn put(&self, key: u64, numbers: Numbers, plan: impl FnOnce() -> Option<Plan>) -> Arc<Numbers> {
        if let Some(path) = self.path(key)
            && let Some(plan) = plan()
        {
            let mut weights = Weights::new(Cpu::default(), 0);
            if weights.bind(plan).is_ok() && weights.inherit(&numbers).is_ok() {
                drop(checkpoint::save(&path, weights.params(), None, ""));
            }
        }
        self.remember(key, numbers)
    }

    fn remember(&self, key: u64, numbers: Numbers) -> Arc<Numbers> {
        let numbers = Arc::new(numbers);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.time += 1;
        let now = memory.time;
        memory.weights.insert(key, (now, numbers.clone()));
        while memory.weights.len() > self.most {
            let Some(oldest) = memory.weights.iter().min_by_key(|(_, (time, _))| *time).map(|(key, _)| *key) else { break };
            memory.weights.remove(&oldest);
        }
        numbers
    }
}
