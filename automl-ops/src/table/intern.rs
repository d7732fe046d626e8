//! Strings of one column, each kept once.
//!
//! A cell costs one hash and one comparison, and allocates nothing once its value is known. The table of slots is private and
//! never iterated, and codes are given in order of first occurrence, so the result depends on the data alone.

use std::str::Utf8Error;

/// An append-only set of strings; a string's code is its place in order of first occurrence.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    text: String,
    ends: Vec<usize>,
    /// Code + 1 of the string in this slot, 0 where free; a power of two in length, at most half full.
    slots: Vec<u32>,
}

impl Interner {
    /// Number of distinct strings.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The string of a code below [`len`](Self::len).
    pub(super) fn get(&self, code: usize) -> &str {
        let start = if code == 0 { 0 } else { self.ends[code - 1] };
        &self.text[start..self.ends[code]]
    }

    /// All strings in order of their codes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|code| self.get(code))
    }

    /// The code of `bytes`. Fails if they are new and not UTF-8.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> Result<u32, Utf8Error> {
        if self.slots.len() < 2 * (self.len() + 1) {
            self.grow();
        }
        let slot = self.slot(bytes);
        if self.slots[slot] == 0 {
            self.text.push_str(std::str::from_utf8(bytes)?);
            self.ends.push(self.text.len());
            self.slots[slot] = self.ends.len() as u32;
        }
        Ok(self.slots[slot] - 1)
    }

    /// The slot that holds `bytes`, or the free one where they belong.
    fn slot(&self, bytes: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash(bytes) as usize & mask;
        loop {
            match self.slots[slot] {
                0 => return slot,
                code if self.get(code as usize - 1).as_bytes() == bytes => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(64)];
        for code in 0..self.len() {
            let slot = self.slot(self.get(code).as_bytes());
            self.slots[slot] = code as u32 + 1;
        }
    }
}

/// A multiplicative hash, eight bytes at a time; the high bits are folded into the low ones that the mask keeps.
fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
    }
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_first_occurrence() {
        let mut interner = Interner::default();
        let codes: Vec<u32> = ["b", "a", "b", "", "a"].iter().map(|s| interner.intern(s.as_bytes()).unwrap()).collect();
        assert_eq!(codes, [0, 1, 0, 2, 1]);
        assert_eq!(interner.iter().collect::<Vec<_>>(), ["b", "a", ""]);
        assert!(interner.intern(b"caf\xe9").is_err());
        assert_eq!(interner.len(), 3);
    }

    #[test]
    fn many_strings_keep_their_codes_while_the_table_grows() {
        let mut interner = Interner::default();
        for round in 0..2 {
            for i in 0..5_000_u32 {
                assert_eq!(interner.intern(format!("value {i}").as_bytes()).unwrap(), i, "round {round}");
            }
        }
        assert_eq!(interner.get(4_321), "value 4321");
    }
}
