//! Texts as weighted counts of hashed n-grams (Weinberger et al., “Feature hashing for large scale multitask learning”, 2009;
//! weights as scikit-learn's `TfidfTransformer`).
//!
//! A word is a run of letters and digits, in lower case. There is no dictionary: the hash of an n-gram is its column.

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grams {
    /// Single words.
    Words,
    /// Words and pairs of neighbours.
    Pairs,
    /// Three to five characters within a word, its borders included.
    Characters,
}

/// Characters of one text that are read, at most.
const CHARACTERS: usize = 1 << 16;
/// Shortest and longest run of characters.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;

/// Counts the n-grams of texts, one text a time.
pub struct Counter {
    grams: Grams,
    counts: Vec<f32>,
    touched: Vec<u32>,
    /// The characters of the word that is being read, where they count.
    word: Vec<u64>,
    /// Its hash so far, if it has begun.
    hash: Option<u64>,
    /// The hash of the word before.
    before: Option<u64>,
}

impl Counter {
    /// A counter of so many columns, at least one.
    pub fn new(grams: Grams, columns: usize) -> Self {
        Self { grams, counts: vec![0.0; columns.max(1)], touched: Vec::new(), word: Vec::new(), hash: None, before: None }
    }

    /// Counts a text's n-grams; `salt` keeps the columns of a table apart.
    pub fn count(&mut self, text: &str, salt: u64) {
        self.before = None;
        for c in text.chars().take(CHARACTERS) {
            if c.is_ascii() {
                self.read(c.to_ascii_lowercase(), c.is_ascii_alphanumeric(), salt);
            } else {
                c.to_lowercase().for_each(|c| self.read(c, c.is_alphanumeric(), salt));
            }
        }
        self.read(' ', false, salt);
    }

    fn read(&mut self, c: char, in_word: bool, salt: u64) {
        if in_word {
            let part = u64::from(u32::from(c));
            self.hash = Some(step(self.hash.unwrap_or(salt), part));
            if self.grams == Grams::Characters {
                self.word.push(part);
            }
        } else if let Some(hash) = self.hash.take() {
            if self.grams == Grams::Characters {
                self.count_runs(salt);
            } else {
                self.add(hash);
            }
            if let (Grams::Pairs, Some(before)) = (self.grams, self.before.replace(hash)) {
                self.add(step(step(before, u64::from(b' ')), hash));
            }
        }
    }

    /// Counts the runs of characters of the word that was read, its borders included.
    fn count_runs(&mut self, salt: u64) {
        let mut word = std::mem::take(&mut self.word);
        word.insert(0, u64::from(b' '));
        word.push(u64::from(b' '));
        for start in 0..word.len() {
            let mut run = salt;
            for (length, &c) in (1..).zip(word.iter().skip(start).take(*RUNS.end())) {
                run = step(run, c);
                if RUNS.contains(&length) {
                    self.add(run ^ length as u64);
                }
            }
        }
        word.clear();
        self.word = word;
    }

    fn add(&mut self, hash: u64) {
        let column = (u128::from(spread(hash)) * self.counts.len() as u128) >> 64;
        if let Some(count) = self.counts.get_mut(column as usize) {
            if *count == 0.0 {
                self.touched.push(column as u32);
            }
            *count += 1.0;
        }
    }

    /// Calls `each` with every column that was counted and its count, in order of the columns, and starts anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, f32)) {
        self.touched.sort_unstable();
        for &column in &self.touched {
            if let Some(count) = self.counts.get_mut(column as usize) {
                each(column, std::mem::take(count));
            }
        }
        self.touched.clear();
    }
}

fn step(hash: u64, part: u64) -> u64 {
    (hash.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn spread(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The weight of an n-gram that occurs in `documents` of `all` texts: `ln((1 + all) / (1 + documents)) + 1`.
pub fn idf(documents: u32, all: usize) -> f32 {
    (((1.0 + all as f64) / (1.0 + f64::from(documents))).ln() + 1.0) as f32
}

/// Turns counts of one text into weights of length 1: count, or `1 + ln(count)` where `sublinear`, times the weight of the column.
pub fn weigh(counts: &mut [(u32, f32)], idf: &[f32], sublinear: bool) {
    let mut squares = 0.0_f64;
    for (column, count) in counts.iter_mut() {
        let frequency = if sublinear { 1.0 + count.ln() } else { *count };
        *count = frequency * idf.get(*column as usize).copied().unwrap_or(0.0);
        squares += f64::from(*count) * f64::from(*count);
    }
    let inverse = if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
    counts.iter_mut().for_each(|(_, weight)| *weight = (f64::from(*weight) * inverse) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(grams: Grams, text: &str) -> Vec<f32> {
        let mut counter = Counter::new(grams, 1 << 20);
        counter.count(text, 3);
        let mut counts = Vec::new();
        counter.take(|_, count| counts.push(count));
        counter.take(|_, _| panic!("it starts anew"));
        counts.sort_unstable_by(f32::total_cmp);
        counts
    }

    #[test]
    fn words_pairs_and_characters_are_counted() {
        assert_eq!(counts(Grams::Words, "To be, or not TO BE!"), [1.0, 1.0, 2.0, 2.0]);
        // to, be, or, not; to be twice, be or, or not, not to.
        assert_eq!(counts(Grams::Pairs, "To be, or not TO BE!"), [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        // " ab", "ab ", " ab ".
        assert_eq!(counts(Grams::Characters, "ab AB"), [2.0, 2.0, 2.0]);
        assert!(counts(Grams::Characters, "…").is_empty());
    }

    #[test]
    fn weights_match_scikit_learn() {
        // TfidfVectorizer on "a b b", "a c", "a": the first row, `a` and `b`.
        let mut row = [(0, 1.0), (1, 2.0)];
        let weights = [idf(3, 3), idf(1, 3)];
        weigh(&mut row, &weights, false);
        assert!((row[0].1 - 0.283_217_2).abs() < 1e-6 && (row[1].1 - 0.959_056_3).abs() < 1e-6, "{row:?}");
        let mut none: [(u32, f32); 0] = [];
        weigh(&mut none, &weights, true);
    }
}
