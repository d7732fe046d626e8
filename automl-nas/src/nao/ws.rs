//! NAO where the candidates share their weights: a pool that is judged as a whole, round after round, while the shared weights
//! are trained on, and of which the worst make room (Luo et al., and the program that they published).
//!
//! What a round says of a candidate is worth nothing in the next, since the weights have moved: the networks are fitted to the
//! pool's latest figures alone. Rounds are told apart by their number in the origin of a trial, so a resumed study goes on
//! where it was, and by their fidelity: an evaluator with shared weights can read from it how long they have been trained.

use std::collections::BTreeSet;
use std::sync::Arc;

use automl_core::rand::Rng;
use automl_core::schemars::JsonSchema;
use automl_core::{Ask, Cancel, Error, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, plugin};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Preset, Running, Seen, Settings};

/// NAO with weight sharing: a pool of candidates is judged as a whole in each round, at a fidelity that rises to 1, and its worst
/// give way to moves of the best and to random ones. For evaluators whose candidates share their weights.
///
/// Only the last round is at full fidelity, and its best is the result. The study ends after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NaoWs {
    /// Candidates of a round. Default 1000.
    pub pool: usize,
    /// Of those, in all rounds but the first, moves of the best; where fewer are found, there are more random ones. Default 500.
    pub new: usize,
    /// And random ones; the rest are the best of the round before. Default 50.
    pub random: usize,
    /// Rounds, at least 1. Default 5: the paper trains the shared weights for 150 epochs and judges the pool every 30.
    pub rounds: u32,
    /// The networks and their moves, over the defaults of the preset `ws`; `initial`, `batch`, `explore`, `refine` and `warm` have no
    /// part here.
    #[serde(deserialize_with = "over_preset")]
    pub networks: Settings,
}

impl Default for NaoWs {
    fn default() -> Self {
        Self { pool: 1000, new: 500, random: 50, rounds: 5, networks: Preset::Ws.settings() }
    }
}

fn over_preset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
    let keys = serde_json::Value::deserialize(deserializer)?;
    Preset::Ws.settings().overlaid(keys).map_err(serde::de::Error::custom)
}

plugin! {
    "nao_ws",
    impl StrategyConfig for NaoWs {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            if self.pool == 0 || self.rounds == 0 {
                return Err(Error::config("strategy.pool", "`pool` and `rounds` must be at least 1"));
            }
            if self.new.saturating_add(self.random) > self.pool {
                let problem = format!("the {} new and {} random candidates of a round are more than {}", self.new, self.random, self.pool);
                return Err(Error::config("strategy.pool", problem));
            }
            let networks = Settings { warm: 0, ..self.networks.clone() };
            Ok(Box::new(Pool { config: self.clone(), inner: Running::new("nao_ws", &networks, space)?, round: None }))
        }
    }
}

struct Pool {
    config: NaoWs,
    /// Knows the pool as the round judged it.
    inner: Running,
    /// The round of what was told last.
    round: Option<u64>,
}

/// The round that a proposal belongs to.
fn round_of(origin: &Origin) -> Option<u64> {
    origin.note.as_ref()?.get("round")?.as_u64()
}

impl Pool {
    /// The candidates of a round: the best of the one before, where they move to, and random ones.
    fn next(&self, pending: &[Proposal], rng: &mut dyn Rng, cancel: &Cancel) -> Result<Vec<Proposal>> {
        let NaoWs { pool, new, random, .. } = self.config;
        let mut pool_before: Vec<&Seen> = self.inner.current().filter(|seen| seen.loss.is_finite()).collect();
        pool_before.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        // What is new is new to the pool; what left it may come back.
        let mut taken: BTreeSet<u64> = pending.iter().map(|proposal| self.inner.hash(&proposal.genotype)).collect();
        let mut all = Vec::with_capacity(pool);
        for (rank, seen) in pool_before.iter().enumerate() {
            let genotype = self.inner.codec.rebuilt(&seen.trace)?;
            let hash = self.inner.hash(&genotype);
            taken.insert(hash);
            if rank + new + random < pool {
                all.push(self.inner.proposal("keep", seen.id, genotype, None));
            }
        }
        let seeds: Vec<&Seen> = pool_before.iter().copied().take(self.inner.settings.seeds).collect();
        if let Some(fitted) = self.inner.fitted(cancel)?.filter(|_| !seeds.is_empty()) {
            all.extend(self.inner.moves(&fitted, &seeds, new, &mut taken, rng, cancel)?);
        }
        while all.len() < pool {
            let proposal = self.inner.random(&taken, rng)?;
            // A small space may have nothing new: then the pool is smaller.
            if !taken.insert(self.inner.hash(&proposal.genotype)) && !all.is_empty() {
                break;
            }
            all.push(proposal);
        }
        Ok(all)
    }
}

impl Strategy for Pool {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let proposed = ask.pending.iter().filter_map(|proposal| round_of(&proposal.origin)).max();
        let round = self.round.max(proposed).map_or(0, |round| round + 1);
        if round >= u64::from(self.config.rounds) {
            return Ok(Vec::new());
        }
        let fidelity = (round + 1) as f64 / f64::from(self.config.rounds);
        let numbered = |proposal: Proposal| {
            let mut note = proposal.origin.note.clone().unwrap_or_else(|| serde_json::json!({}));
            if let Some(note) = note.as_object_mut() {
                note.insert("round".into(), round.into());
            }
            Proposal { fidelity, origin: Origin { note: Some(note), ..proposal.origin }, ..proposal }
        };
        Ok(self.next(ask.pending, rng, ask.cancel)?.into_iter().map(numbered).collect())
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let round = round_of(&trial.origin);
        if round > self.round {
            self.round = round;
            self.inner.seen.clear();
        }
        // A straggler of an earlier round was judged by other weights.
        let loss = if round == self.round { trial.loss() } else { None };
        self.inner.learn(trial.id, &trial.genotype, loss)
    }
}

#[cfg(test)]
mod tests {
    use automl_core::conformance::{check_config, check_strategy};
    use automl_core::{StrategyConfig, registry};

    use super::super::tests::{cells, distance, run_all, tiny};
    use super::*;

    fn small() -> NaoWs {
        NaoWs { pool: 24, new: 10, random: 4, rounds: 4, networks: Settings { seeds: 8, enlarged: 40, ..tiny() } }
    }

    #[test]
    fn conforms_and_its_config_is_that_of_the_paper() {
        check_strategy(&small(), &cells(), 90, 7).unwrap();
        registry::plugins().into_iter().filter(|plugin| plugin.name == "nao_ws").for_each(|plugin| check_config(plugin).unwrap());
        let parsed: NaoWs = serde_json::from_str(r#"{"pool": 600, "networks": {"hidden": 32}}"#).unwrap();
        assert_eq!((parsed.pool, parsed.new, parsed.random, parsed.rounds), (600, 500, 50, 5));
        let Settings { embedding, hidden, seeds, layers, units, .. } = parsed.networks;
        assert_eq!((embedding, hidden, seeds, layers, units), (48, 32, 100, 3, 100));
        assert!(NaoWs { pool: 10, ..NaoWs::default() }.build(cells(), &[]).is_err());
    }

    #[test]
    fn the_pool_keeps_its_best_and_replaces_the_rest_until_the_last_round() {
        let trials = run_all(&small(), &cells(), 1000, |genotype| Some(distance(genotype)));
        assert_eq!(trials.len(), 4 * 24);
        let of = |round: u64| trials.iter().filter(move |trial| round_of(&trial.origin) == Some(round));
        let mut means = Vec::new();
        for round in 0..4 {
            let by = |name: &str| of(round).filter(|trial| trial.origin.by == name).count();
            let kept = if round == 0 { 0 } else { 10 };
            assert_eq!((of(round).count(), by("nao_ws/keep")), (24, kept));
            assert!(by("random") >= if round == 0 { 24 } else { 4 } && by("nao_ws/move") <= 10);
            assert!(of(round).all(|trial| trial.fidelity == (round + 1) as f64 / 4.0));
            let hashes: BTreeSet<u64> = of(round).map(|trial| cells().canonical_hash(&trial.genotype)).collect();
            assert_eq!(hashes.len(), 24, "a pool has no duplicates");
            if let Some(before) = round.checked_sub(1) {
                let mut losses: Vec<f64> = of(before).filter_map(Trial::loss).collect();
                losses.sort_by(f64::total_cmp);
                assert!(
                    of(round).filter(|trial| trial.origin.by == "nao_ws/keep").all(|trial| trial.loss().unwrap() <= losses[9])
                );
            }
            means.push(of(round).filter_map(Trial::loss).sum::<f64>() / 24.0);
        }
        assert!(trials.iter().any(|trial| trial.origin.by == "nao_ws/move"));
        assert!(means[3] < means[0] - 0.5, "{means:?}");
    }
}
