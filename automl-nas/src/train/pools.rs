//! Thread pools, one a worker, among which the cores are divided.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// The pools of an evaluator.
pub struct Pools(Mutex<Vec<ThreadPool>>);

impl Pools {
    /// A pool for each of the workers.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn new(workers: usize) -> Result<Self, ThreadPoolBuildError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (cores / workers.max(1)).max(1);
        let pools: Result<Vec<_>, _> =
            (0..workers.max(1)).map(|_| ThreadPoolBuilder::new().num_threads(threads).build()).collect();
        Ok(Self(Mutex::new(pools?)))
    }

    /// Runs work on a pool that is free.
    pub fn on<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        /// Gives the pool back even where the work panics.
        struct Lent<'a>(&'a Pools, Option<ThreadPool>);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.0.0.lock().unwrap_or_else(PoisonError::into_inner).extend(self.1.take());
            }
        }
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lent = Lent(self, free);
        match &lent.1 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
