//! Work that candidates share: fitted sub-graphs and their output, by the hash of sub-graph and data.
//!
//! A search asks for the same encoder on the same fold again and again. What was learnt is kept up to a number of bytes; what
//! saves the least time a byte goes first, and what was not asked for in a long while goes with it (GreedyDual-Size, Cao and
//! Irani 1997). A hit gives what the work would have given, so the cache changes no result; work that was cut short is not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use automl_core::{Cancel, Stopwatch};

use crate::frame::{Column, Frame};
use crate::operator::{Fitted, OperatorError};

/// Bytes of a fitted operator beside its arrays, about.
pub(super) const SMALL: usize = 500;

/// Fitted operators and frames, shared by the candidates and workers of a study.
pub struct Cache {
    limit: usize,
    inner: Mutex<Inner>,
}

/// What a cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// Pieces of work that were there already.
    pub hits: u64,
    /// Pieces of work that had to be done.
    pub misses: u64,
    /// Seconds that the hits took when they were done.
    pub saved: f64,
    /// Seconds that the misses took.
    pub spent: f64,
    /// Bytes kept now.
    pub bytes: usize,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u64, Entry>,
    /// The entries by priority, the first to go first; priorities are positive, so their bits sort as they do.
    queue: BTreeSet<(u64, u64)>,
    /// The priority of the last entry that went: the later an entry comes, the longer it stays.
    floor: f64,
    /// How many entries hold a column, by its address, and its bytes: what an entry passes on lives on where the entry that made it goes.
    columns: BTreeMap<usize, (usize, usize)>,
    stats: CacheStats,
}

struct Entry {
    work: Work,
    seconds: f64,
    bytes: usize,
    priority: f64,
}

/// What is kept.
#[derive(Clone)]
enum Work {
    Fitted(Arc<dyn Fitted>),
    Frames(Vec<Frame>),
}

impl Cache {
    /// A cache of at most so many bytes; with 0, nothing is kept.
    pub fn new(bytes: usize) -> Self {
        Self { limit: bytes, inner: Mutex::default() }
    }

    /// What it did so far.
    pub fn stats(&self) -> CacheStats {
        self.lock().stats
    }

    /// Forgets all; what was counted stays.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.queue.clear();
        inner.columns.clear();
        inner.stats.bytes = 0;
    }

    /// Bytes that it holds at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The fitted operator of that key.
    pub(super) fn fitted(
        &self,
        key: u64,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<Arc<dyn Fitted>, OperatorError>,
    ) -> Result<Arc<dyn Fitted>, OperatorError> {
        let make = || make().map(|fitted| (SMALL + fitted.bytes(), Work::Fitted(fitted)));
        match self.get(key, cancel, make)? {
            Work::Fitted(fitted) => Ok(fitted),
            Work::Frames(_) => Err(OperatorError::state("two pieces of work share a key")),
        }
    }

    /// The frames of that key, made from another. What keeping them is worth is measured by their own columns; what they pass on
    /// counts as kept all the same, once for all entries that hold it.
    pub(super) fn frames(
        &self,
        key: u64,
        from: &Frame,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<Vec<Frame>, OperatorError>,
    ) -> Result<Vec<Frame>, OperatorError> {
        let make = || make().map(|frames| (frames.iter().map(|frame| new_bytes(frame, from)).sum(), Work::Frames(frames)));
        match self.get(key, cancel, make)? {
            Work::Frames(frames) => Ok(frames),
            Work::Fitted(_) => Err(OperatorError::state("two pieces of work share a key")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(
        &self,
        key: u64,
        cancel: &Cancel,
        make: impl FnOnce() -> Result<(usize, Work), OperatorError>,
    ) -> Result<Work, OperatorError> {
        if let Some(work) = self.lock().hit(key) {
            return Ok(work);
        }
        // Two workers may do the same work at once; the lock is not held, so that neither waits for the other.
        let watch = Stopwatch::start();
        let (bytes, work) = make()?;
        let seconds = watch.seconds();
        let mut inner = self.lock();
        inner.stats.misses += 1;
        inner.stats.spent += seconds;
        if !cancel.is_cancelled() && bytes <= self.limit / 4 {
            inner.insert(key, Entry { work: work.clone(), seconds, bytes, priority: 0.0 }, self.limit);
        }
        Ok(work)
    }
}

impl Inner {
    fn hit(&mut self, key: u64) -> Option<Work> {
        let entry = self.entries.get_mut(&key)?;
        self.queue.remove(&(entry.priority.to_bits(), key));
        entry.priority = self.floor + worth(entry.seconds, entry.bytes);
        self.queue.insert((entry.priority.to_bits(), key));
        self.stats.hits += 1;
        self.stats.saved += entry.seconds;
        Some(entry.work.clone())
    }

    fn insert(&mut self, key: u64, mut entry: Entry, limit: usize) {
        entry.priority = self.floor + worth(entry.seconds, entry.bytes);
        self.queue.insert((entry.priority.to_bits(), key));
        self.hold(&entry);
        if let Some(twin) = self.entries.insert(key, entry) {
            self.queue.remove(&(twin.priority.to_bits(), key));
            self.let_go(&twin);
            if let Some(entry) = self.entries.get(&key) {
                self.queue.insert((entry.priority.to_bits(), key));
            }
        }
        while self.stats.bytes > limit {
            let Some((priority, key)) = self.queue.pop_first() else { return };
            self.floor = f64::from_bits(priority);
            if let Some(gone) = self.entries.remove(&key) {
                self.let_go(&gone);
            }
        }
    }

    fn hold(&mut self, entry: &Entry) {
        let Work::Frames(frames) = &entry.work else {
            self.stats.bytes += entry.bytes;
            return;
        };
        self.stats.bytes += SMALL;
        for column in frames.iter().flat_map(Frame::columns) {
            let (holders, bytes) = self.columns.entry(Arc::as_ptr(column).addr()).or_insert((0, 0));
            if *holders == 0 {
                *bytes = column.bytes();
                self.stats.bytes += *bytes;
            }
            *holders += 1;
        }
    }

    fn let_go(&mut self, entry: &Entry) {
        let Work::Frames(frames) = &entry.work else {
            self.stats.bytes = self.stats.bytes.saturating_sub(entry.bytes);
            return;
        };
        self.stats.bytes = self.stats.bytes.saturating_sub(SMALL);
        for column in frames.iter().flat_map(Frame::columns) {
            let address = Arc::as_ptr(column).addr();
            let Some((holders, bytes)) = self.columns.get_mut(&address) else { continue };
            *holders -= 1;
            if *holders == 0 {
                self.stats.bytes = self.stats.bytes.saturating_sub(*bytes);
                self.columns.remove(&address);
            }
        }
    }
}

/// Seconds saved a byte.
fn worth(seconds: f64, bytes: usize) -> f64 {
    (seconds + 1e-6) / (bytes + 1_000) as f64
}

/// Bytes of the columns of a frame that are not those of another, with room for their histogram bins.
fn new_bytes(frame: &Frame, from: &Frame) -> usize {
    let known: BTreeSet<*const Column> = from.columns().iter().map(Arc::as_ptr).collect();
    frame.columns().iter().filter(|column| !known.contains(&Arc::as_ptr(column))).map(|column| column.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(rows: usize) -> Frame {
        Frame::from_rows(&vec![1.0; rows], 1)
    }

    fn ask(cache: &Cache, key: u64, rows: usize) -> bool {
        let mut made = false;
        let make = || {
            made = true;
            Ok(vec![column(rows)])
        };
        cache.frames(key, &Frame::default(), &Cancel::new(), make).unwrap();
        made
    }

    #[test]
    fn work_is_done_once_and_forgotten_within_the_limit() {
        let cache = Cache::new(20_000);
        assert!(ask(&cache, 1, 800) && !ask(&cache, 1, 800));
        for key in 2..30 {
            ask(&cache, key, 800);
            assert!(cache.stats().bytes <= 20_000);
        }
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (1, 29));
        // What came first went first, as all cost about the same.
        assert!(!ask(&cache, 29, 800) && ask(&cache, 2, 800));
        // What would take more than a quarter is not kept at all.
        assert!(ask(&cache, 99, 2_000) && ask(&cache, 99, 2_000));
    }

    #[test]
    fn work_that_was_cut_or_failed_is_not_kept() {
        let cache = Cache::new(20_000);
        let cancel = Cancel::new();
        cancel.cancel();
        cache.frames(1, &Frame::default(), &cancel, || Ok(vec![column(3)])).unwrap();
        let failed = cache.frames(2, &Frame::default(), &Cancel::new(), || Err(OperatorError::Cancelled));
        assert!(failed.is_err() && ask(&cache, 1, 3) && ask(&cache, 2, 3));
    }

    #[test]
    fn columns_that_are_passed_on_count_once_and_as_long_as_anybody_holds_them() {
        let own = |rows: usize| column(rows).columns()[0].bytes();
        let cache = Cache::new(20_000);
        let keep = |key: u64, from: &Frame, frame: Frame| {
            cache.frames(key, from, &Cancel::new(), || Ok(vec![frame])).unwrap();
        };
        let made = column(900);
        keep(1, &column(1), made.clone());
        keep(2, &made, made.clone());
        assert_eq!(cache.stats().bytes, 2 * SMALL + own(900));
        // A selection of what was made is worth its time though it has no columns of its own; whoever made them goes first.
        for key in 3..60 {
            let made = column(900);
            keep(2 * key, &column(1), made.clone());
            keep(2 * key + 1, &made, made.clone());
            assert!(cache.stats().bytes <= 20_000);
            let alive: usize = cache.lock().columns.values().map(|(_, bytes)| bytes).sum();
            assert_eq!(cache.stats().bytes, alive + SMALL * cache.lock().entries.len());
        }
        cache.clear();
        assert_eq!(cache.stats().bytes, 0);
    }
}
