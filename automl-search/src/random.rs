//! Random search: the baseline that every other strategy has to beat.

use std::sync::Arc;

use automl_core::rand::Rng;
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Objective, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Serialize};

use crate::fresh::Told;

/// Samples the space; avoids candidates that were tried before.
///
/// A candidate that was told or is pending is drawn anew, up to 16 times; then the last draw is proposed as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Random {}

plugin! {
    "random",
    impl StrategyConfig for Random {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            Ok(Box::new(Running { told: Told::new(space) }))
        }
    }
}

struct Running {
    told: Told,
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        Ok(vec![self.told.fresh(ask).random(rng)?])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        self.told.tell(trial);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, tiny};

    #[test]
    fn a_small_space_is_seen_whole_before_anything_repeats() {
        // 3 candidates; 16 tries miss the last one with probability below 0.2 %.
        let space: Arc<dyn SearchSpace> = Arc::new(tiny());
        let run = Run::new(&Random {}, &space, 1).trials(3, |_| Some(0.0));
        let mut seen: Vec<String> = run.iter().map(|trial| trial.genotype.to_string()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}
