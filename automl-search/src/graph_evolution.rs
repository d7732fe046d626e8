//! Evolution of graphs of operators, after DarwinML (Qi et al., arXiv 1901.08013).
//!
//! What comes from where:
//! - **The paper** (read in its abstract and introduction alone): candidates are directed acyclic graphs of models; parents are
//!   found by tournament; children come from mutation and from "heredity" of two parents.
//! - **The vendor's manual** of the product that descends from it: the names `random`, `mutation_type`, `mutation_edge`,
//!   `mutation_layer`, `subgraph`, `heredity_layer` and `keepbest`; a share of random candidates throughout, a share of heredity of
//!   about 0.2, mutation for the rest, and weights for transitions from operator to operator.
//! - **Ours**: what each mutation does in detail, the tournament's size, all defaults here, mutation of parameters beside that of
//!   structure, avoiding duplicates, the adaptive mix, thrift, niches, and the steady state: each proposal is made from all that
//!   was told so far, and `keepbest` is a pool of the best distinct candidates instead of copies from one generation to the next.
//!   With several objectives "best" is the order of NSGA-II ([`automl_core::pareto`]).
//!   No figure of the paper is claimed to be reproduced.
//!
//! On a space that is no space of graphs it mutates with `mutation_point` and crosses with `uniform`.

use std::cell::OnceCell;
use std::sync::Arc;

use automl_core::rand::{Rng, RngExt};
use automl_core::schemars::JsonSchema;
use automl_core::{
    Ask, Crossover, Error, Genotype, Objective, Origin, Proposal, Result, SearchSpace, Strategy, Trial, pareto, plugin,
};
use serde::{Deserialize, Serialize};

use crate::credit::Credit;
use crate::crossovers::{HeredityLayer, Uniform};
use crate::fresh::{Told, skeleton};
use crate::mix::{Mix, Weighted, crossover_schema, name_of};
use crate::settings::at_least_one;

/// Evolution after DarwinML: tournaments among the best, graph mutations, heredity by layers and random immigrants.
///
/// Random until `initial` trials were told, however they ended; starts count like any trial. From then on each proposal is
/// random with probability `random`, a child of two parents with probability `heredity`, and a mutated parent otherwise.
/// Parents win tournaments among the best `population` distinct candidates of all that were told. A child that was tried before,
/// or that `thrift` finds too dear, is made anew, up to 10 times. The origin of a trial names the mutation or crossover. With
/// several objectives members are ordered as in NSGA-II: by fronts, and within a front the less crowded first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct GraphEvolution {
    /// Trials after which evolution begins; default 8. Fewer than `population`: whatever is there already is worth a mutation.
    pub initial: usize,
    /// Distinct candidates that are kept as parents, as far as `niche` lets them; default 24.
    pub population: usize,
    /// Members drawn for one parent, of which the best is taken; default 4.
    pub tournament: usize,
    /// Share of random candidates; default 0.1.
    pub random: f64,
    /// Share of children of two parents; default 0.15.
    pub heredity: f64,
    /// Mutations with their weights. Default: on graphs a mix of the graph mutations, elsewhere `mutation_point`.
    pub mutations: Vec<Weighted>,
    /// How two parents are joined. Default: on graphs `heredity_layer`, elsewhere `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crossover_schema")]
    pub crossover: Option<Arc<dyn Crossover>>,
    /// Whether mutations, heredity and random candidates are drawn more often the more often they lead among the best; default
    /// true.
    pub adaptive: bool,
    /// How much price counts: a child that is expected to take x times as long as the members do in the median is kept with
    /// probability 1 / x^thrift; 0: price does not matter. Default 0.5.
    pub thrift: f64,
    /// Members of one graph, whatever its parameters, at most, as a share of the population; 1: no limit. Default 0.25: where
    /// trials are cheap, one graph would crowd out all others.
    pub niche: f64,
}

impl Default for GraphEvolution {
    fn default() -> Self {
        Self {
            initial: 8,
            population: 24,
            tournament: 4,
            random: 0.1,
            heredity: 0.15,
            mutations: Vec::new(),
            crossover: None,
            adaptive: true,
            thrift: 0.5,
            niche: 0.25,
        }
    }
}

/// Children that are made until one is new and not too dear.
const TRIES: usize = 10;
/// Members below which there is no usual price.
const FEW: usize = 5;
/// A child does well if it is in this share of the members at once.
const LEADING: usize = 4;

plugin! {
    "graph_evolution",
    impl StrategyConfig for GraphEvolution {
        fn build(&self, space: Arc<dyn SearchSpace>, _: &[Objective]) -> Result<Box<dyn Strategy>> {
            at_least_one(&[("initial", self.initial), ("population", self.population), ("tournament", self.tournament)])?;
            let shares = [self.random, self.heredity, self.random + self.heredity];
            if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
                return Err(Error::config("strategy.heredity", "`random` and `heredity` are shares, 0 to 1 and at most 1 together"));
            }
            if !(0.0..=10.0).contains(&self.thrift) {
                return Err(Error::config("strategy.thrift", "must lie between 0 and 10"));
            }
            if !(self.niche > 0.0 && self.niche <= 1.0) {
                return Err(Error::config("strategy.niche", "is a share, above 0 and at most 1"));
            }
            let mix = Mix::new(&self.mutations, space.as_ref())?;
            let crossover: Arc<dyn Crossover> = match (&self.crossover, space.graph()) {
                (Some(crossover), _) => crossover.clone(),
                (None, Some(_)) => Arc::new(HeredityLayer::default()),
                (None, None) => Arc::new(Uniform::default()),
            };
            let cross_name = name_of(crossover.as_ref());
            let config = self.clone();
            let (told, members, credit) = (Told::new(space), Vec::new(), Credit::default());
            Ok(Box::new(Running { config, mix, crossover, cross_name, told, members, credit }))
        }
    }
}

struct Running {
    config: GraphEvolution,
    mix: Mix,
    crossover: Arc<dyn Crossover>,
    cross_name: String,
    told: Told,
    /// The best distinct candidates, best first; the earlier of equals. Several objectives: in the order of NSGA-II.
    members: Vec<Member>,
    credit: Credit,
}

struct Member {
    id: u64,
    losses: Vec<f64>,
    hash: u64,
    /// The graph without its parameters.
    graph: u64,
    genotype: Genotype,
    /// What it is expected to take in seconds, once somebody has asked; arithmetic on the genotype, so that it never changes.
    price: OnceCell<Option<f64>>,
}

impl Running {
    /// The winner of a tournament; members are sorted, so the smallest index wins.
    fn parent(&self, rng: &mut dyn Rng) -> Option<&Member> {
        let draws = (0..self.config.tournament).map(|_| rng.random_range(0..self.members.len().max(1)));
        draws.min().and_then(|index| self.members.get(index))
    }

    /// One child; `None` where variation does not apply.
    fn child(&self, heredity: bool, rng: &mut dyn Rng) -> Result<Option<Proposal>> {
        let space = self.told.space.as_ref();
        let Some(first) = self.parent(rng) else { return Ok(None) };
        let origin = |by: &str, parents: &[&Member]| Origin {
            by: by.to_owned(),
            parents: parents.iter().map(|parent| parent.id).collect(),
            note: None,
        };
        if heredity && let Some(second) = self.parent(rng).filter(|second| second.id != first.id) {
            // Which parent gives the lower layers must not depend on their rank.
            let (a, b) = if rng.random::<bool>() { (first, second) } else { (second, first) };
            if let Some(child) = self.crossover.cross(&a.genotype, &b.genotype, space, rng)? {
                return Ok(Some(Proposal::new(child, origin(&self.cross_name, &[a, b]))));
            }
        }
        let child = self.mix.mutate(&first.genotype, &self.credit, space, rng)?;
        Ok(child.map(|(child, by)| Proposal::new(child, origin(by, &[first]))))
    }

    /// What a member is expected to take, in the median.
    fn usual_price(&self, ask: &Ask<'_>) -> Option<f64> {
        if self.config.thrift == 0.0 || self.members.len() < FEW {
            return None;
        }
        let seconds = |member: &Member| Some(ask.prices.price(&member.genotype, 1.0)?.seconds);
        let prices = self.members.iter().map(|member| *member.price.get_or_init(|| seconds(member)));
        let mut prices = prices.collect::<Option<Vec<f64>>>()?;
        prices.sort_by(f64::total_cmp);
        prices.get(prices.len() / 2).copied().filter(|usual| *usual > 0.0 && usual.is_finite())
    }

    /// The next candidate: new, and dear ones seldom; of those that were too dear, the cheapest where nothing else comes.
    fn propose(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Proposal> {
        let fresh = self.told.fresh(ask);
        let usual = self.usual_price(ask);
        let credit = |by: &str| if self.config.adaptive { self.credit.factor(by) } else { 1.0 };
        let random = self.config.random * credit("random");
        let heredity = self.config.heredity * credit(&self.cross_name);
        let draw = rng.random::<f64>() * (random + heredity + 1.0 - self.config.random - self.config.heredity);
        let is_random = self.told.trials < self.config.initial || draw < random;
        let mut cheapest: Option<(f64, Proposal)> = None;
        for _ in 0..TRIES {
            let proposal = if is_random { Some(fresh.random(rng)?) } else { self.child(draw < random + heredity, rng)? };
            let Some(proposal) = proposal else { continue };
            let price = usual.and_then(|usual| Some(ask.prices.price(&proposal.genotype, 1.0)?.seconds / usual)).unwrap_or(0.0);
            let new = fresh.is(&proposal.genotype);
            if new && rng.random::<f64>() < price.powf(-self.config.thrift) {
                return Ok(proposal);
            }
            // What was tried already is worth nothing, whatever it takes.
            let price = if new { price } else { f64::INFINITY };
            if cheapest.as_ref().is_none_or(|(least, _)| price < *least) {
                cheapest = Some((price, proposal));
            }
        }
        cheapest.map_or_else(|| fresh.random(rng), |(_, proposal)| Ok(proposal))
    }
}

impl Strategy for Running {
    fn ask(&self, ask: &Ask<'_>, rng: &mut dyn Rng) -> Result<Vec<Proposal>> {
        Ok(vec![self.propose(ask, rng)?])
    }

    fn tell(&mut self, trial: &Trial) -> Result<()> {
        let hash = self.told.tell(trial);
        if trial.duplicate_of.is_none() {
            // Evaluated again, with more effort: the last word counts, for better or worse.
            self.members.retain(|member| member.hash != hash || Some(member.losses.as_slice()) == trial.losses());
        }
        let place = trial.losses().and_then(|losses| self.enter(losses, hash, trial));
        let by = trial.origin.by.as_str();
        let own = by == "random" || by == self.cross_name || self.mix.knows(by);
        if self.config.adaptive && own && trial.duplicate_of.is_none() {
            self.credit.tell(by, place.is_some_and(|place| place < self.config.population.div_ceil(LEADING)));
        }
        Ok(())
    }
}

impl Running {
    /// Best first; equals keep their order, so that the earlier comes first.
    fn sort(&mut self) {
        let losses: Vec<&[f64]> = self.members.iter().map(|member| member.losses.as_slice()).collect();
        let mut places = vec![0; losses.len()];
        pareto::order(&losses).into_iter().enumerate().for_each(|(place, index)| places[index] = place);
        let mut members: Vec<(usize, Member)> = places.into_iter().zip(std::mem::take(&mut self.members)).collect();
        members.sort_by_key(|(place, _)| *place);
        self.members = members.into_iter().map(|(_, member)| member).collect();
    }

    /// Puts a trial among the members if it belongs there, and says its place.
    fn enter(&mut self, losses: &[f64], hash: u64, trial: &Trial) -> Option<usize> {
        if self.members.iter().any(|member| member.hash == hash) {
            return None;
        }
        let (graph, genotype, price) = (skeleton(&trial.genotype), trial.genotype.clone(), OnceCell::new());
        self.members.push(Member { id: trial.id, losses: losses.to_vec(), hash, graph, genotype, price });
        self.sort();
        let place = self.members.iter().position(|member| member.hash == hash)?;
        let most = ((self.config.niche * self.config.population as f64) as usize).max(1);
        let kin = |member: &Member| member.graph == graph;
        // A space whose candidates all share a graph has no niches.
        if self.members.iter().any(|member| !kin(member))
            && self.members.iter().filter(|member| kin(member)).count() > most
            && let Some(last) = self.members.iter().rposition(kin)
        {
            self.members.remove(last);
            if last == place {
                return None;
            }
        }
        self.members.truncate(self.config.population);
        (place < self.config.population).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use automl_core::StrategyConfig;

    use super::*;
    use crate::random::Random;
    use crate::testing::{Run, distance, mean_area, mean_best, pool_space};

    #[test]
    fn beats_random_search() {
        let (evolution, random) = (mean_best(&GraphEvolution::default()), mean_best(&Random {}));
        assert!(evolution < 0.8 * random, "{evolution} {random}");
    }

    #[test]
    fn several_objectives_give_a_wider_front_than_random_search() {
        let (evolution, random) = (mean_area(&GraphEvolution::default()), mean_area(&Random {}));
        assert!(evolution > 1.1 * random, "{evolution} {random}");
    }

    #[test]
    fn shares_are_kept_and_every_operator_is_counted_by_name() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let mut by: BTreeMap<String, usize> = BTreeMap::new();
        for seed in 0..4 {
            let run = Run::new(&GraphEvolution::default(), &space, seed);
            for trial in &run.trials(250, |genotype| Some(distance(genotype)))[24..] {
                let parents = match trial.origin.by.as_str() {
                    "random" => 0,
                    "heredity_layer" => 2,
                    _ => 1,
                };
                assert_eq!(trial.origin.parents.len(), parents, "{:?}", trial.origin);
                *by.entry(trial.origin.by.clone()).or_default() += 1;
            }
        }
        let names =
            ["heredity_layer", "mutation_edge", "mutation_layer", "mutation_parameter", "mutation_type", "random", "subgraph"];
        assert_eq!(by.keys().collect::<Vec<_>>(), names);
        let share = |name: &str| by[name] as f64 / 904.0;
        assert!((share("random") - 0.1).abs() < 0.03 && (share("heredity_layer") - 0.15).abs() < 0.05, "{by:?}");
    }

    #[test]
    fn parents_are_the_best_distinct_candidates() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let config = GraphEvolution { population: 5, ..GraphEvolution::default() };
        let trials = Run::new(&config, &space, 9).trials(120, |genotype| Some(distance(genotype)));
        for trial in &trials {
            let mut before: Vec<&Trial> = trials[..trial.id as usize].iter().collect();
            before.sort_by(|a, b| a.losses[0].total_cmp(&b.losses[0]).then(a.id.cmp(&b.id)));
            let mut seen = std::collections::BTreeSet::new();
            before.retain(|trial| seen.insert(trial.genotype.canonical_hash()));
            before.truncate(5);
            assert!(trial.origin.parents.iter().all(|parent| before.iter().any(|trial| trial.id == *parent)));
        }
    }

    #[test]
    fn the_last_word_on_a_candidate_counts() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let config = GraphEvolution { initial: 1, random: 0.0, ..GraphEvolution::default() };
        let trials = Run::new(&Random {}, &space, 2).trials(2, |_| Some(1.0));
        let mut strategy = config.build(space, &[]).unwrap();
        strategy.tell(&trials[0]).unwrap();
        strategy.tell(&trials[1]).unwrap();
        strategy.tell(&Trial { id: 2, losses: vec![3.0], ..trials[1].clone() }).unwrap();
        strategy.tell(&Trial { id: 3, losses: Vec::new(), state: automl_core::State::Failed, ..trials[0].clone() }).unwrap();
        let ask = Ask::alone(4, &[]);
        let mut rng = <rand_chacha::ChaCha8Rng as automl_core::rand::SeedableRng>::seed_from_u64(1);
        assert_eq!(strategy.ask(&ask, &mut rng).unwrap()[0].origin.parents, [2]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let space: Arc<dyn SearchSpace> = Arc::new(pool_space());
        let bad = [
            GraphEvolution { random: 0.6, heredity: 0.6, ..GraphEvolution::default() },
            GraphEvolution { tournament: 0, ..GraphEvolution::default() },
        ];
        for config in bad {
            assert!(config.build(space.clone(), &[]).is_err(), "{config:?}");
        }
    }
}
