//! The strategies as a whole.

use automl_core::conformance::{check_config, check_strategy};
use automl_core::rand::{Rng, SeedableRng};
use automl_core::space::sample;
use automl_core::{Ask, Genotype, GraphSpace, StrategyConfig, Trace, Trial, registry, serde_json};

use super::controller::Head;
use super::learn::Experience;
use super::*;
use crate::{Cell, NasBench201, cells};

fn tiny() -> RenasPlus {
    RenasPlus { embedding: 6, hidden: 6, ..RenasPlus::default() }
}

fn plain() -> Renas {
    Renas { embedding: 6, hidden: 6, ..Renas::default() }
}

fn spaces() -> Vec<Arc<dyn SearchSpace>> {
    vec![Arc::new(NasBench201::default()), Arc::new(cells::Renas::default()), Arc::new(GraphSpace::default())]
}

/// Runs so many trials; a candidate without a loss fails.
fn run(
    config: &dyn StrategyConfig,
    space: &Arc<dyn SearchSpace>,
    count: u64,
    loss: impl Fn(&Genotype) -> Option<f64>,
) -> Vec<Trial> {
    let objectives = [Objective { name: "accuracy".into(), direction: Direction::Maximize }];
    let mut strategy = config.build(space.clone(), &objectives).unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    for id in 0..count {
        let ask = Ask::alone(id, &[]);
        let proposal = strategy.ask(&ask, &mut ChaCha8Rng::seed_from_u64(id)).unwrap().remove(0);
        let losses = loss(&proposal.genotype).map(|loss| vec![loss]);
        let trial = Trial::told(id, proposal, losses);
        strategy.tell(&trial).unwrap();
        trials.push(trial);
    }
    trials
}

/// Minus the share of edges of a cell with one operator.
fn share(genotype: &Genotype, operator: &str) -> f64 {
    -(genotype.nodes.iter().filter(|node| node.op == operator).count() as f64) / 6.0
}

#[test]
fn both_conform_on_cells_benchmarks_and_graphs() {
    for space in spaces() {
        check_strategy(&plain(), &space, 40, 1).unwrap();
        check_strategy(&Renas { population: 5, sample: 3, aging: true, bidirectional: false, ..plain() }, &space, 40, 2).unwrap();
        check_strategy(&RenasPlus { population: 5, sample: 3, changes: Changes::Several(0.5), ..tiny() }, &space, 40, 3).unwrap();
    }
    for plugin in registry::plugins().into_iter().filter(|plugin| plugin.kind == "strategy") {
        check_config(plugin).unwrap();
    }
}

#[test]
fn every_block_of_the_papers_cell_gets_one_change() {
    let space: Arc<dyn SearchSpace> = Arc::new(cells::Renas::default());
    let trials = run(&plain(), &space, 60, |genotype| Some(share(genotype, "identity")));
    for trial in &trials[20..] {
        let parent = space.trace(&trials[trial.origin.parents[0] as usize].genotype).unwrap();
        let child = space.trace(&trial.genotype).unwrap();
        let changed: Vec<usize> = (0..20).filter(|&index| parent[index] != child[index]).map(|index| index / 4).collect();
        assert_eq!(changed, [0, 1, 2, 3, 4], "{:?}", trial.origin);
    }
}

#[test]
fn the_best_of_the_sample_mutates_and_its_worst_dies() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201::default());
    let all = Renas { population: 6, sample: 6, ..plain() };
    let trials = run(&all, &space, 60, |genotype| Some(share(genotype, "nor_conv_3x3") + share(genotype, "none") / 7.0));
    let mut members: Vec<u64> = (0..6).collect();
    for trial in &trials[6..] {
        let loss = |id: &u64| trials[*id as usize].losses[0];
        let by = |a: &u64, b: &u64| loss(a).total_cmp(&loss(b)).then(a.cmp(b));
        let (best, worst) = (*members.iter().min_by(|a, b| by(a, b)).unwrap(), *members.iter().max_by(|a, b| by(a, b)).unwrap());
        assert_eq!(trial.origin.parents, [best]);
        assert_eq!(trial.origin.note.as_ref().unwrap()["dies"], worst);
        members.retain(|member| *member != worst);
        members.push(trial.id);
    }
}

#[test]
fn a_population_that_goes_nowhere_makes_room_for_a_new_one() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let config = RenasPlus { population: 6, sample: 3, patience: 4, ..tiny() };
    let flat = run(&config, &space, 24, |_| Some(-0.5));
    let random: Vec<u64> = flat.iter().filter(|trial| trial.origin.by == "random").map(|trial| trial.id).collect();
    assert_eq!(random, [0, 1, 2, 3, 4, 5, 10, 11, 12, 17, 18, 19], "as many as a tournament has, after four children in vain");
    let of_its_own = |trial: &&Trial| trial.origin.parents.iter().all(|parent| (*parent < 10) == (trial.id < 10));
    assert!(flat.iter().filter(|trial| trial.id < 17).all(|trial| of_its_own(&trial)), "nobody descends from the old one");
    let never = run(&RenasPlus { patience: 0, ..config }, &space, 24, |_| Some(-0.5));
    assert!(never[6..].iter().all(|trial| trial.origin.by == "renas_plus"));
}

#[test]
fn the_late_child_of_an_old_population_does_not_enter_the_new_one() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let config = RenasPlus { population: 4, sample: 2, patience: 3, ..tiny() };
    let mut strategy = config.build(space, &[]).unwrap();
    let mut proposals: Vec<automl_core::Proposal> = Vec::new();
    for id in 0..40 {
        proposals.push(strategy.ask(&Ask::alone(id, &[]), &mut ChaCha8Rng::seed_from_u64(id)).unwrap().remove(0));
        // Five are in flight. The first population ends with trial 6, when 9 to 11 are under way; they turn out best of all.
        if let Some(told) = id.checked_sub(5) {
            let loss = if (9..=11).contains(&told) { -1.0 } else { -0.5 };
            strategy.tell(&Trial::told(told, proposals[told as usize].clone(), Some(vec![loss]))).unwrap();
        }
    }
    let parents: Vec<Option<u64>> = proposals.iter().map(|proposal| proposal.origin.parents.first().copied()).collect();
    assert!(parents[9..=11].iter().all(|parent| parent.is_some_and(|parent| parent < 6)), "{parents:?}");
    assert!(parents[12..].iter().flatten().all(|parent| *parent > 6 && !(9..=11).contains(parent)), "{parents:?}");
    assert!(parents[12..].iter().any(Option::is_some));
}

/// By how many convolutions a mutation of a random cell improves it in the mean, after so many lessons.
fn gain(learning: Learning, lessons: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let mutator = Mutator::new(space.clone(), Vec::new(), Changes::Several(0.0)).unwrap();
    let (tokens, points) = (mutator.vocabulary.size() as usize, space.points().len());
    let sizes = Sizes { tokens, points, pairs: 0, moves: 0, embedding: 8, hidden: 8, bidirectional: true };
    let controller = Controller { sizes, weights: Weights::random(&sizes, 0.1, &mut rng) };
    let mut learner = Learner::new(controller, learning, Direction::Maximize);
    let mut gained = 0.0;
    for lesson in 0..lessons + 200 {
        let parent = sample(space.as_ref(), &mut rng).unwrap();
        let trace = space.trace(&parent).unwrap();
        let encoding = learner.controller.encode(&mutator.sequence(&trace).unwrap());
        let child = mutator.draw(&learner.controller, &encoding, &parent, &trace, false, &mut rng).unwrap().unwrap();
        let [parent_loss, child_loss] = [&parent, &child.genotype].map(|genotype| share(genotype, "nor_conv_3x3"));
        if lesson >= lessons {
            gained += 6.0 * (parent_loss - child_loss) / 200.0;
            continue;
        }
        let log_probability = child.decisions.iter().map(|one| f64::from(one.log_probability())).sum();
        let (child, routes) = (space.trace(&child.genotype).unwrap(), child.routes);
        learner.see(child_loss);
        let one = Experience { parent: trace, child, routes, log_probability, parent_loss, child_loss };
        learner.learn(one, &mutator, lesson).unwrap();
    }
    gained
}

#[test]
fn the_controller_learns_what_improves_a_parent() {
    let plus = Learning {
        reward: Reward::Improvement,
        rate: 0.01,
        entropy: 0.01,
        entropy_in_reward: false,
        baseline: Some(0.9),
        normalise: true,
        replay: 2,
        clip: Some(0.2),
    };
    // A random change of one of six edges gains nothing in the mean: 4/5 · 1/4 against 1/5.
    assert!(gain(plus.clone(), 0).abs() < 0.15);
    assert!(gain(plus.clone(), 400) > 0.4);
    let rank = Learning { reward: Reward::Rank, replay: 0, clip: None, ..plus.clone() };
    assert!(gain(rank, 400) > 0.3);
    let figure = Learning { reward: Reward::Figure, entropy_in_reward: true, ..plus };
    assert!(gain(figure, 400) > 0.3);
}

#[test]
fn a_replay_makes_the_decisions_of_the_draw() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for space in spaces() {
        for changes in [Changes::EveryBlock, Changes::Several(0.6)] {
            let mutator = Mutator::new(space.clone(), Vec::new(), changes).unwrap();
            let tokens = mutator.vocabulary.size() as usize;
            let sizes = Sizes {
                tokens,
                points: space.points().len(),
                pairs: mutator.pairs,
                moves: 0,
                embedding: 4,
                hidden: 4,
                bidirectional: true,
            };
            let controller = Controller { sizes, weights: Weights::random(&sizes, 0.8, &mut rng) };
            for _ in 0..30 {
                let parent = sample(space.as_ref(), &mut rng).unwrap();
                let trace = space.trace(&parent).unwrap();
                let encoding = controller.encode(&mutator.sequence(&trace).unwrap());
                let Some(child) = mutator.draw(&controller, &encoding, &parent, &trace, false, &mut rng).unwrap() else {
                    continue;
                };
                let known = space.trace(&child.genotype).unwrap();
                let again = mutator.replay(&controller, &encoding, [&trace, &known], &child.routes).unwrap().unwrap();
                let seen = |decisions: &[controller::Decision]| -> Vec<(Head, usize, f32)> {
                    decisions.iter().map(|one| (one.head, one.candidates[one.taken], one.log_probability())).collect()
                };
                assert_eq!(seen(&again), seen(&child.decisions));
                assert!(mutator.replay(&controller, &encoding, [&trace, &known], &[999]).unwrap().is_none(), "a hostile note");
            }
        }
    }
}

#[test]
fn failures_are_survived() {
    let space: Arc<dyn SearchSpace> = Arc::new(GraphSpace::default());
    assert!(run(&plain(), &space, 30, |_| None).iter().all(|trial| trial.origin.by == "random"));
    let odd = |genotype: &Genotype| (genotype.nodes.len() % 2 == 1).then_some(-0.5);
    let trials = run(&RenasPlus { patience: 0, ..tiny() }, &space, 80, odd);
    let failed = |id: &u64| trials[*id as usize].loss().is_none();
    assert!(!trials.iter().flat_map(|trial| &trial.origin.parents).any(failed));
    assert!(trials[20..].iter().all(|trial| trial.origin.by == "renas_plus"));
}

#[test]
fn a_saved_controller_is_read_back_to_the_bit_and_serves_other_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.safetensors");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut controller_of = |space: Arc<dyn SearchSpace>| {
        let mutator = Mutator::new(space, vec![Arc::new(ToLast {})], Changes::EveryBlock).unwrap();
        let (tokens, points) = (mutator.vocabulary.size() as usize, mutator.space.points().len());
        let sizes = Sizes { tokens, points, pairs: mutator.pairs, moves: 1, embedding: 6, hidden: 6, bidirectional: true };
        (Controller { sizes, weights: Weights::random(&sizes, 1.0, &mut rng) }, mutator)
    };
    let (saved, mutator) = controller_of(Arc::new(cells::Renas::default()));
    file::save(&path, &saved, &mutator).unwrap();
    let (mut same, mutator) = controller_of(Arc::new(cells::Renas::default()));
    file::load(&path, &mut same, &mutator).unwrap();
    assert_eq!(same.weights, saved.weights);
    // The spaces share the names of the cells before and of some blocks and operators.
    let (mut other, mutator) = controller_of(Arc::new(cells::Darts::default()));
    let own = other.weights.clone();
    file::load(&path, &mut other, &mutator).unwrap();
    assert_eq!((&other.weights.router, &other.weights.directions), (&saved.weights.router, &saved.weights.directions));
    let shared = other.weights.biases.iter().filter(|bias| saved.weights.biases.contains(bias)).count();
    let kept = other.weights.biases.iter().filter(|bias| own.biases.contains(bias)).count();
    assert!(shared >= 3 && kept >= 2, "{shared} {kept}");
}

#[test]
fn a_run_saves_its_controller_and_bad_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.safetensors");
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201::default());
    run(&RenasPlus { save: Some(path.clone()), ..tiny() }, &space, 30, |genotype| Some(share(genotype, "none")));
    let loaded = RenasPlus { controller: Some(path.clone()), ..tiny() };
    check_strategy(&loaded, &space, 30, 1).unwrap();
    let refused = |config: &RenasPlus| config.build(space.clone(), &[]).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused(&RenasPlus { hidden: 7, ..loaded.clone() }).contains("hidden 6"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&loaded).contains("strategy.controller"));
    std::fs::remove_file(&path).unwrap();
    assert!(refused(&loaded).contains("controller.safetensors"));
    assert!(refused(&RenasPlus { save: Some(folder.path().join("none/file")), ..tiny() }).contains("strategy.save"));
}

/// Puts one cell in the place of any parent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
struct ToLast {}

plugin! {
    "test/to_last",
    impl Mutation for ToLast {
        fn mutate(&self, parent: &Genotype, _: &dyn SearchSpace, _: &mut dyn Rng) -> Result<Option<Genotype>> {
            Ok(Some(Cell::at(15_624).genotype()).filter(|last| last != parent))
        }
    }
}

#[test]
fn moves_are_choices_of_the_router() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    // A critic would see that the cell is bad.
    let config = RenasPlus { moves: vec![Arc::new(ToLast {})], critic: Critic::none(), ..tiny() };
    let trials = run(&config, &space, 80, |genotype| Some(share(genotype, "none")));
    assert!(trials.iter().any(|trial| trial.genotype == Cell::at(15_624).genotype()));
}

#[test]
fn bad_settings_are_refused_by_name() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201::default());
    let refused = |config: RenasPlus| config.build(space.clone(), &[]).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused(RenasPlus { population: 0, ..tiny() }).contains("strategy.population"));
    assert!(refused(RenasPlus { changes: Changes::Several(1.0), ..tiny() }).contains("strategy.changes.several"));
    assert!(refused(RenasPlus { clip: -1.0, ..tiny() }).contains("strategy.clip"));
    assert!(refused(RenasPlus { baseline: 1.0, ..tiny() }).contains("strategy.baseline"));
    let text = serde_json::to_string(&tiny()).unwrap();
    assert!(text.contains(r#""changes":{"several":0.0}"#), "{text}");
}

/// A learner over cells of NAS-Bench-201 without its isomorphisms.
fn learner(learning: Learning, critic: bool) -> (Learner, Mutator) {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let mutator = Mutator::new(space, Vec::new(), Changes::Several(0.0)).unwrap();
    let (tokens, points) = (mutator.vocabulary.size() as usize, mutator.space.points().len());
    let pairs = if critic { mutator.pairs } else { 0 };
    let sizes = Sizes { tokens, points, pairs, moves: 0, embedding: 8, hidden: 8, bidirectional: true };
    let weights = Weights::random(&sizes, 0.1, &mut ChaCha8Rng::seed_from_u64(5));
    (Learner::new(Controller { sizes, weights }, learning, Direction::Maximize), mutator)
}

fn published() -> Learning {
    Learning {
        reward: Reward::Figure,
        rate: 1e-3,
        entropy: 0.1,
        entropy_in_reward: true,
        baseline: None,
        normalise: false,
        replay: 0,
        clip: None,
    }
}

#[test]
fn the_settings_of_renas_are_those_of_the_paper() {
    let Renas { population, aging, changes, bidirectional, embedding, hidden, learning_rate, entropy, .. } = Renas::default();
    assert_eq!((population, aging, changes, bidirectional), (20, false, Changes::EveryBlock, true));
    assert_eq!((embedding, hidden, learning_rate, entropy), (100, 100, 1e-3, 0.1));
}

#[test]
fn a_mutation_of_the_papers_cell_is_ten_actions_of_three_heads() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let space: Arc<dyn SearchSpace> = Arc::new(cells::Renas::default());
    let mutator = Mutator::new(space.clone(), Vec::new(), Changes::EveryBlock).unwrap();
    let tokens = mutator.vocabulary.size() as usize;
    let sizes = Sizes { tokens, points: 0, pairs: 0, moves: 0, embedding: 4, hidden: 4, bidirectional: true };
    let controller = Controller { sizes, weights: Weights::random(&sizes, 0.8, &mut rng) };
    for _ in 0..20 {
        let parent = sample(space.as_ref(), &mut rng).unwrap();
        let trace = space.trace(&parent).unwrap();
        let encoding = controller.encode(&mutator.sequence(&trace).unwrap());
        let Some(child) = mutator.draw(&controller, &encoding, &parent, &trace, false, &mut rng).unwrap() else { continue };
        let (routed, answered) = child.decisions.split_at(5);
        // The router chooses among the two inputs and two operators of each block.
        assert!(routed.iter().all(|one| one.head == Head::Router && one.candidates.len() == 4));
        for (block, one) in answered.iter().enumerate() {
            // Six operators, or the blocks before and two cells, without the old answer.
            let count = one.candidates.len();
            assert!(matches!(one.head, Head::Answers(_)) && (count == 5 || count == block + 1), "block {block}: {count}");
        }
    }
}

#[test]
fn every_child_is_one_step_of_policy_gradient_with_the_entropy_in_its_reward() {
    let step =
        |learning: Learning, child_loss: f64| {
            let (mut learner, mutator) = learner(learning, false);
            let mut rng = ChaCha8Rng::seed_from_u64(6);
            let parent = sample(mutator.space.as_ref(), &mut rng).unwrap();
            let trace = mutator.space.trace(&parent).unwrap();
            let log_probability = |learner: &Learner, routes: &[usize], child: &Trace| -> f64 {
                let encoding = learner.controller.encode(&mutator.sequence(&trace).unwrap());
                let decisions = mutator.replay(&learner.controller, &encoding, [&trace, child], routes).unwrap().unwrap();
                decisions.iter().map(|one| f64::from(one.log_probability())).sum()
            };
            let encoding = learner.controller.encode(&mutator.sequence(&trace).unwrap());
            let child = mutator.draw(&learner.controller, &encoding, &parent, &trace, false, &mut rng).unwrap().unwrap();
            let (routes, child) = (child.routes, mutator.space.trace(&child.genotype).unwrap());
            let before = log_probability(&learner, &routes, &child);
            let old = learner.controller.weights.clone();
            let one = Experience {
                parent: trace.clone(),
                child: child.clone(),
                routes: routes.clone(),
                log_probability: before,
                parent_loss: -0.5,
                child_loss,
            };
            learner.learn(one, &mutator, 0).unwrap();
            let moved =
                learner.controller.weights.each().into_iter().zip(old.each()).flat_map(|((_, new), (_, old))| {
                    new.iter().zip(old).map(|(new, old)| (new - old).abs()).collect::<Vec<f32>>()
                });
            (log_probability(&learner, &routes, &child) - before, moved.fold(0.0, f32::max), learner.learnt)
        };
    let (gained, moved, learnt) = step(published(), -0.9);
    assert!(gained > 0.0 && learnt == 1, "a good child makes its mutation likelier: {gained}");
    assert!((moved - 1e-3).abs() < 1e-5, "the first step of Adam is its rate: {moved}");
    let (gained, ..) = step(published(), f64::INFINITY);
    assert!(gained > 0.0, "the entropy alone is a reward: {gained}");
    let (gained, moved, _) = step(Learning { entropy: 0.0, ..published() }, f64::INFINITY);
    assert_eq!((gained, moved), (0.0, 0.0), "without it, an accuracy of 0 teaches nothing");
}

#[test]
fn the_critic_learns_from_any_candidate_and_the_policy_from_the_critic() {
    let plus = Learning { entropy: 0.01, entropy_in_reward: false, ..published() };
    let (mut learner, mutator) = learner(plus, true);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut draw = || {
        let genotype = sample(mutator.space.as_ref(), &mut rng).unwrap();
        let trace = mutator.space.trace(&genotype).unwrap();
        let (sequence, loss) = (mutator.sequence(&trace).unwrap(), share(&genotype, "nor_conv_3x3"));
        critic::Seen { genotype, trace, sequence, loss }
    };
    let entropy = |learner: &Learner, one: &critic::Seen| {
        let encoding = learner.controller.encode(&one.sequence);
        f64::from(learner.controller.decide(&encoding, Head::Answers(1), (1..=5).collect()).entropy())
    };
    let asked: Vec<critic::Seen> = (0..100).map(|_| draw()).collect();
    let before = entropy(&learner, &asked[0]);
    for seed in 0..150 {
        let one = draw();
        learner.see(one.loss);
        learner.seen.push(one);
        learner.criticise(&Critic::default(), &mutator, seed).unwrap();
    }
    let values: Vec<f64> =
        asked.iter().map(|one| f64::from(learner.controller.value(&learner.controller.encode(&one.sequence)))).collect();
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let losses: Vec<f64> = asked.iter().map(|one| one.loss).collect();
    let (v, l) = (mean(&values), mean(&losses));
    let dot =
        |a: &[f64], a_mean: f64, b: &[f64], b_mean: f64| a.iter().zip(b).map(|(a, b)| (a - a_mean) * (b - b_mean)).sum::<f64>();
    let correlation = dot(&values, v, &losses, l) / (dot(&values, v, &values, v) * dot(&losses, l, &losses, l)).sqrt();
    assert!(correlation < -0.8, "expects more of smaller losses: {correlation}");
    let after = entropy(&learner, &asked[0]);
    assert!(after < before - 0.1, "imagined children alone taught the policy what to answer: {before} {after}");
}

#[test]
fn no_query_is_wasted_on_a_candidate_that_was_tried() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let trials = run(&tiny(), &space, 150, |genotype| Some(share(genotype, "nor_conv_3x3")));
    let hashes: std::collections::BTreeSet<u64> = trials.iter().map(|trial| space.canonical_hash(&trial.genotype)).collect();
    assert_eq!(hashes.len(), trials.len());
}

#[test]
fn the_survivors_get_the_full_effort_and_end_the_search() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201::default());
    let plain = Renas { population: 6, sample: 3, fidelity: 0.5, finish: Some(40), ..plain() };
    let objectives = [Objective { name: "accuracy".into(), direction: Direction::Maximize }];
    let mut strategy = plain.build(space, &objectives).unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        let id = trials.len() as u64;
        let asked = strategy.ask(&Ask::alone(id, &[]), &mut ChaCha8Rng::seed_from_u64(id)).unwrap();
        let Some(proposal) = asked.into_iter().next() else { break };
        let loss = share(&proposal.genotype, "nor_conv_3x3");
        let trial = Trial::told(id, proposal, Some(vec![loss]));
        strategy.tell(&trial).unwrap();
        trials.push(trial);
    }
    let (children, survivors) = trials.split_at(40);
    assert!(children.iter().all(|trial| trial.fidelity == 0.5));
    assert!(children[6..].iter().all(|trial| trial.origin.by == "renas"), "less than full effort is learnt from");
    assert!((1..=6).contains(&survivors.len()) && survivors.iter().all(|trial| trial.fidelity == 1.0));
    assert!(survivors.is_sorted_by_key(|trial| trial.losses[0]), "the best first");
}

#[test]
fn the_best_of_every_population_survives() {
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let config = RenasPlus { population: 6, sample: 3, patience: 5, finish: Some(80), ..tiny() };
    let trials = run(&config, &space, 81, |genotype| Some(share(genotype, "nor_conv_3x3") - share(genotype, "none") / 2.0));
    let (searched, survivors) = trials.split_at(80);
    assert!(searched[6..].iter().any(|trial| trial.origin.by == "random"), "it began anew");
    let best = searched.iter().map(|trial| trial.losses[0]).fold(f64::INFINITY, f64::min);
    assert_eq!((survivors[0].origin.by.as_str(), survivors[0].losses[0]), ("survivor", best));
}

#[test]
fn what_was_learnt_elsewhere_chooses_the_first_candidates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.safetensors");
    let space: Arc<dyn SearchSpace> = Arc::new(NasBench201 { merge_isomorphic: false });
    let loss = |genotype: &Genotype| Some(share(genotype, "nor_conv_3x3"));
    let first = |trials: &[Trial]| trials[..20].iter().map(|trial| trial.losses[0]).sum::<f64>() / 20.0;
    let fresh = run(&RenasPlus { save: Some(path.clone()), ..tiny() }, &space, 150, loss);
    let warm = run(&RenasPlus { controller: Some(path), ..tiny() }, &space, 20, loss);
    assert!(first(&warm) < first(&fresh) - 0.15, "{} {}", first(&warm), first(&fresh));
}
