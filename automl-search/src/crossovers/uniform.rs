//! Answers of two parents, mixed.

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::space::{KnownChoose, RandomChoose};
use automl_core::{Genotype, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

/// Children that are tried for one that equals neither parent.
const TRIES: usize = 8;

/// Answers each question as either parent did, at random; works on any space.
///
/// A question that one parent alone was asked is answered as that one did; what neither was asked, or what is illegal now, is
/// answered at random.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Uniform {}

plugin! {
    "uniform",
    impl Crossover for Uniform {
        fn cross(&self, a: &Genotype, b: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            let points = space.points().len();
            let (first, second) = (KnownChoose::of(&space.trace(a)?, points), KnownChoose::of(&space.trace(b)?, points));
            for _ in 0..TRIES {
                let mix = first.iter().zip(&second).map(|(&x, &y)| if rng.random::<bool>() { x.or(y) } else { y.or(x) });
                let known = mix.collect();
                let child = space.build(&mut KnownChoose { known, fallback: Some(&mut RandomChoose(&mut *rng)) })?;
                if child != *a && child != *b {
                    return Ok(Some(child));
                }
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use automl_core::Crossover;
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::pool_space;

    #[test]
    fn answers_come_from_the_parents_where_both_were_asked() {
        let space = pool_space();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut children, mut kept, mut all) = (0, 0, 0);
        for _ in 0..200 {
            let (a, b) = (sample(&space, &mut rng).unwrap(), sample(&space, &mut rng).unwrap());
            let Some(child) = Uniform {}.cross(&a, &b, &space, &mut rng).unwrap() else { continue };
            children += 1;
            let known = |genotype: &Genotype| KnownChoose::of(&space.trace(genotype).unwrap(), space.points().len());
            for ((x, y), z) in known(&a).into_iter().zip(known(&b)).zip(known(&child)) {
                if let (Some(x), Some(y), Some(z)) = (x, y, z) {
                    all += 1;
                    kept += usize::from(z == x || z == y);
                }
            }
        }
        assert!(children > 120, "{children}");
        assert!(kept * 10 > all * 8, "{kept} of {all}");
    }
}
