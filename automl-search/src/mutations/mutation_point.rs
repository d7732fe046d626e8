//! Another answer to one question of any space.

use automl_core::rand::Rng;
use automl_core::rand::seq::IndexedRandom;
use automl_core::schemars::JsonSchema;
use automl_core::space::{KnownChoose, RandomChoose};
use automl_core::{Answer, Choose, Genotype, Question, Result, SearchSpace, plugin};
use serde::{Deserialize, Serialize};

use super::mutation_parameter::check;
use super::step::{RESAMPLE, SIGMA, Step};

/// Answers one question of the space differently; works on any space.
///
/// All other questions keep their answers as far as those are still asked and legal; what is asked anew is answered at random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct MutationPoint {
    /// Standard deviation of a step of a number, as a share of the domain's scale; default 0.2.
    pub sigma: f64,
    /// Share of numbers that are drawn anew instead of stepped; default 0.1.
    pub resample: f64,
}

impl Default for MutationPoint {
    fn default() -> Self {
        Self { sigma: SIGMA, resample: RESAMPLE }
    }
}

plugin! {
    "mutation_point",
    impl Mutation for MutationPoint {
        fn mutate(&self, parent: &Genotype, space: &dyn SearchSpace, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
            check("mutation_point", self.sigma, &[self.resample])?;
            let trace = space.trace(parent)?;
            let known = KnownChoose::of(&trace, space.points().len());
            let step = Step { sigma: self.sigma, resample: self.resample };
            for _ in 0..4 {
                let Some(target) = trace.choose(rng) else { return Ok(None) };
                let mut change = Change { known: &known, point: target.point, old: target.answer, step, rng: &mut *rng };
                let child = space.build(&mut change)?;
                if child != *parent {
                    return Ok(Some(child));
                }
            }
            Ok(None)
        }
    }
}

/// Answers as the parent did, but for one question.
struct Change<'a> {
    known: &'a [Option<Answer>],
    point: usize,
    old: Answer,
    step: Step,
    rng: &'a mut dyn Rng,
}

impl Choose for Change<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        if question.id == self.point
            && let Some(other) =
                self.step.other(&question.point.domain, self.old, question.legal, question.weights, &mut *self.rng)
        {
            return Ok(other);
        }
        let usable = |answer: &Answer| match answer {
            Answer::Option(option) => question.legal.get(*option) == Some(&true),
            number => question.point.domain.value(*number).is_some(),
        };
        match self.known.get(question.id).copied().flatten().filter(usable) {
            Some(answer) => Ok(answer),
            None => RandomChoose(&mut *self.rng).choose(question),
        }
    }
}
