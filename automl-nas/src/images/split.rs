//! Drawing rows so that each class keeps its share.

use automl_core::rand::SeedableRng;
use automl_core::study::seed_of;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A share of the rows, drawn class by class, and the rest, both ascending: each class gives its share, rounded so that the
/// whole comes closest. A class of several rows keeps at least one on either side where the share asks for both.
pub fn stratified(labels: &[u16], rows: &[u32], share: f64, seed: u64, stream: &str) -> (Vec<u32>, Vec<u32>) {
    let mut order = rows.to_vec();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed_of(seed, stream, 0)));
    let label = |row: &u32| labels.get(*row as usize).copied().unwrap_or_default();
    order.sort_by_key(label);
    let (mut drawn, mut rest) = (Vec::new(), Vec::new());
    let mut due = 0.0;
    for class in order.chunk_by(|a, b| label(a) == label(b)) {
        due += share * class.len() as f64;
        let whole = (due - drawn.len() as f64).round().max(0.0) as usize;
        let most = class.len() - usize::from(share < 1.0 && class.len() > 1);
        let (first, second) = class.split_at(whole.clamp(usize::from(share > 0.0 && class.len() > 1).min(most), most));
        drawn.extend_from_slice(first);
        rest.extend_from_slice(second);
    }
    drawn.sort_unstable();
    rest.sort_unstable();
    (drawn, rest)
}
