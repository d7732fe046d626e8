//! A 64-bit hash that is the same on every machine, in every release, for ever: canonical hashes stand in journals, and seeds
//! are derived from it. Not meant to resist an adversary.

/// Hashes a sequence of parts; the order counts.
#[derive(Clone, Copy, Debug)]
pub struct StableHash(u64);

impl StableHash {
    /// Starts a hash; `domain` keeps hashes of different things apart.
    pub fn new(domain: &str) -> Self {
        Self(0x9e37_79b9_7f4a_7c15).text(domain)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, part: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ mix(part)))
    }

    /// Adds a text (FNV-1a, then mixed with the length).
    #[must_use]
    pub fn text(self, part: &str) -> Self {
        let fnv = part
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        self.number(fnv).number(part.len() as u64)
    }

    /// The hash of all parts so far.
    pub fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that spreads every bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_boundaries_count() {
        let hash = |parts: &[&str]| parts.iter().fold(StableHash::new("t"), |hash, part| hash.text(part)).finish();
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_ne!(hash(&["ab", ""]), hash(&["a", "b"]));
    }

    #[test]
    fn is_frozen() {
        // Journals hold these values: a change of the function would make every old run unreadable.
        assert_eq!(StableHash::new("automl").number(7).text("x").finish(), 17_861_488_215_804_730_443);
    }
}
