//! The memory of the process and of the machine; every figure is absent where the system does not tell it.

use std::ffi::{c_int, c_long};
use std::fs;

/// Share of the memory of the machine that a run may take.
const SHARE: f64 = 0.8;
/// Bytes of a run whose data is small; with what prices do not foresee, it stays below 300 MB.
const SMALL: u64 = 245_000_000;
/// Bytes of a run for each byte of the data.
const EACH: u64 = 6;
/// Bytes of the program without data.
pub const PROGRAM: u64 = 100_000_000;

/// `mi_option_purge_delay` of mimalloc 3: milliseconds until what was freed is given back. Without effect on another allocator.
const PURGE_DELAY: c_int = 15;

/// Has what was freed given back to the system at once. The default of mimalloc, a second, is long for a run that is held to a
/// multiple of its table: on one of 1 MB, a third of what the process held was free, and candidates were stopped for it.
pub fn give_back_freed() {
    purge_after(10);
}

/// Has what was freed kept for a second, for runs without a table: a step of a training asks for what the step before it freed,
/// and a third of the time would go to pages that the system fills with zeros.
pub fn keep_freed() {
    purge_after(1_000);
}

fn purge_after(milliseconds: c_long) {
    #[expect(unsafe_code, reason = "a foreign function without conditions: it stores a number")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds);
    }
}

/// Bytes of memory that the process uses now.
pub fn used() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64)
}

/// The most bytes that the process ever used (Linux).
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmHWM:")
}

/// The bytes that a run on a table of `data` bytes may use where its config says nothing: enough for any pipeline that keeps to
/// the scale of the table, and for a quarter more than what is `reserved` (many folds hold many copies); never more than four
/// fifths of what the machine has.
pub fn limit_for(data: u64, reserved: u64) -> u64 {
    let wanted = SMALL.saturating_add(data.saturating_mul(EACH)).max(reserved.saturating_add(reserved / 3));
    default_limit().map_or(wanted, |most| wanted.min(most))
}

/// The bytes that a run may use where its config says nothing: four fifths of what the machine has, or the control group of the
/// process (Linux). Not of what is free: what a run refuses must not depend on what else runs.
pub fn default_limit() -> Option<u64> {
    let all = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let group = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // By version 2 and by version 1.
    let group = group("/sys/fs/cgroup/memory.max").or_else(|| group("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    Some((group.map_or(all, |group| all.min(group)) as f64 * SHARE) as u64)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_lines_of_the_system() {
        let text = "Name:\tautoml\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kilobytes(text, "VmHWM:"), Some(2 << 20));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
    }
}
