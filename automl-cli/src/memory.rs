//! The memory of the process and of the machine; every figure is absent where the system does not tell it.

use std::fs;

/// Share of the memory that is free at the start which a run may take.
const SHARE: f64 = 0.8;

/// Bytes of memory that the process uses now.
pub fn used() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64)
}

/// The most bytes that the process ever used (Linux).
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmHWM:")
}

/// The bytes that a run may use where its config says nothing: four fifths of what is free, on the machine or in the control
/// group of the process (Linux).
pub fn default_limit() -> Option<u64> {
    let free = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let free = group_free().map_or(free, |group| free.min(group));
    Some((free as f64 * SHARE) as u64 + used().unwrap_or(0))
}

/// What the control group leaves, by its version 2 and by its version 1.
fn group_free() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group = |limit: &str, used: &str| Some(number(limit)?.saturating_sub(number(used)?));
    group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")
        .or_else(|| group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))
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
