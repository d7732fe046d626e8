use automl_core::conformance::{check_config, check_strategy};
use automl_core::graph::{Bounds, Source};
use automl_core::space::{RandomChoose, RecordChoose};
use automl_core::study::seed_of;
use automl_core::{Answer, GraphSpace, GraphSpec, Kind, OperatorSpec, Param, Port, StrategyConfig, Value, registry};

use super::train::{Example, Trained};
use super::*;
use crate::cells::NaoCnn;
use crate::{Cell, NasBench201};

pub(super) fn tiny() -> Settings {
    Settings { initial: 8, batch: 4, seeds: 4, embedding: 8, hidden: 12, epochs: 4, enlarged: 6, ..Settings::default() }
}

fn tiny_plus() -> Settings {
    let Settings { initial, batch, seeds, embedding, hidden, epochs, enlarged, .. } = tiny();
    let of = Settings { initial, batch, seeds, embedding, hidden, epochs, enlarged, ..Settings::plus() };
    Settings {
        neighbours: 0,
        ensemble: 2,
        pretrain: 20,
        pretrain_epochs: 2,
        pseudo: 10,
        beam: 2,
        rank: 0.5,
        caution: 0.5,
        layers: 1,
        units: 6,
        ..of
    }
}

pub(super) fn cells() -> Arc<dyn SearchSpace> {
    Arc::new(NasBench201 { merge_isomorphic: false })
}

fn graphs(operators: Vec<OperatorSpec>, most: usize) -> Arc<dyn SearchSpace> {
    let bounds = Bounds { min: 1, max: most };
    let spec = GraphSpec {
        sources: vec![Source { name: "input".into(), kind: Kind::Borrowed("raw") }],
        operators,
        output: vec![Kind::Borrowed("prediction")],
        vertices: bounds,
        depth: bounds,
        fan_in: 2,
        forbidden: vec![],
        transitions: Default::default(),
        extra_edge: 0.3,
    };
    Arc::new(GraphSpace::new(spec).unwrap())
}

fn operator(name: &str, params: Vec<Param>) -> OperatorSpec {
    let inputs = vec![Port::of(&["raw", "prediction"])];
    OperatorSpec { name: name.into(), inputs, output: Kind::Borrowed("prediction"), params }
}

/// Graphs of one to three vertices with a number each.
fn numbers() -> Arc<dyn SearchSpace> {
    let ridge = operator("ridge", vec![Param::float("alpha", 1e-3, 1e3, 1.0).log()]);
    graphs(vec![ridge, operator("tree", vec![Param::int("depth", 1, 100, 6)])], 3)
}

/// Edges that are no `nor_conv_3x3`, the later the worse.
pub(super) fn distance(genotype: &Genotype) -> f64 {
    let operators = Cell::of(genotype).unwrap().operators();
    let cost = |(edge, name)| if name == "nor_conv_3x3" { 0.0 } else { 1.0 + 0.1 * edge as f64 };
    operators.into_iter().enumerate().map(cost).sum()
}

/// So many trials, or fewer where the strategy ends, each told before the next queue is asked for.
pub(super) fn run_all(
    config: &dyn StrategyConfig,
    space: &Arc<dyn SearchSpace>,
    count: u64,
    loss: impl Fn(&Genotype) -> Option<f64>,
) -> Vec<Trial> {
    let mut strategy = config.build(space.clone(), &[]).unwrap();
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        let id = trials.len() as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(seed_of(1, "ask", id));
        let proposals = strategy.ask(&Ask::alone(id, &[]), &mut rng).unwrap();
        if proposals.is_empty() || id >= count {
            return trials;
        }
        for proposal in proposals {
            let losses = loss(&proposal.genotype).map(|loss| vec![loss]);
            let trial = Trial::told(trials.len() as u64, proposal, losses);
            strategy.tell(&trial).unwrap();
            trials.push(trial);
        }
    }
}

/// So many trials with one pending, and their losses.
fn run(
    config: &dyn StrategyConfig,
    space: &Arc<dyn SearchSpace>,
    count: u64,
    loss: impl Fn(&Genotype) -> Option<f64>,
) -> Vec<Trial> {
    let mut strategy = config.build(space.clone(), &[]).unwrap();
    let mut queue: Vec<Proposal> = Vec::new();
    let mut trials = Vec::new();
    for id in 0..count {
        while queue.len() < 2 {
            let ask = Ask::alone(id + queue.len() as u64, &queue);
            let mut rng = ChaCha8Rng::seed_from_u64(seed_of(1, "ask", ask.trial));
            let more = strategy.ask(&ask, &mut rng).unwrap();
            assert!(!more.is_empty());
            queue.extend(more);
        }
        let proposal = queue.remove(0);
        let losses = loss(&proposal.genotype).map(|loss| vec![loss]);
        let trial = Trial::told(id, proposal, losses);
        strategy.tell(&trial).unwrap();
        trials.push(trial);
    }
    trials
}

#[test]
fn conforms_on_cells_and_on_graphs_with_numbers() {
    for space in [cells(), numbers(), Arc::new(NaoCnn::default()) as Arc<dyn SearchSpace>] {
        check_strategy(&Nao(tiny()), &space, 24, 7).unwrap();
        check_strategy(&NaoPlus(tiny_plus()), &space, 24, 7).unwrap();
    }
}

#[test]
fn configs_round_trip_and_presets_have_the_sizes_of_the_paper() {
    let own: Vec<_> = registry::plugins().into_iter().filter(|plugin| plugin.name.starts_with("nao")).collect();
    own.iter().for_each(|plugin| check_config(plugin).unwrap());
    assert!(own.iter().filter(|plugin| plugin.kind == "strategy").count() == 3);
    let parse = |text: &str| serde_json::from_str::<Nao>(text).map(|nao| nao.0);
    let cnn = parse(r#"{"preset": "cnn", "batch": 7}"#).unwrap();
    assert_eq!((cnn.initial, cnn.batch, cnn.embedding, cnn.hidden, cnn.lambda), (600, 7, 32, 96, 0.9));
    let rnn = parse(r#"{"preset": "rnn"}"#).unwrap();
    assert_eq!((rnn.embedding, rnn.hidden, rnn.units, rnn.lambda), (64, 128, 200, 0.8));
    assert_eq!(parse("{}").unwrap(), Settings::default());
    assert!(parse(r#"{"preset": "large"}"#).is_err() && parse("3").is_err());
    let wrong = Settings { dropout: 1.0, ..tiny() };
    assert!(Nao(wrong).build(cells(), &[]).is_err_and(|error| error.to_string().contains("dropout")));
}

#[test]
fn scores_are_larger_for_smaller_losses_and_failures_are_the_worst() {
    let losses = [3.0, 1.0, f64::INFINITY, 2.0];
    assert_eq!(Target::MinMax.scores(&losses).unwrap(), [0.0, 1.0, 0.0, 0.5]);
    for target in [Target::ZScore, Target::NormalScore] {
        let scores = target.scores(&losses).unwrap();
        assert!(scores[1] > scores[3] && scores[3] > scores[0] && scores[0] == scores[2], "{scores:?}");
        assert!(target.scores(&[1.0; 3]).unwrap().iter().all(|score| score.abs() < 1e-6));
    }
    assert!(Target::MinMax.scores(&[f64::INFINITY]).is_none());
}

/// Examples of random cells with their distances.
fn examples(codec: &Codec, count: usize) -> Vec<Seen> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let one = |id| {
        let genotype = sample(codec.space.as_ref(), &mut rng).unwrap();
        Seen::new(codec, &tiny(), id as u64, &genotype, distance(&genotype), 1).unwrap().unwrap()
    };
    (0..count).map(one).collect()
}

fn learnt(codec: &Codec, settings: &Settings, count: usize) -> (Fitted, Vec<Seen>) {
    let seen = examples(codec, count);
    let scores = settings.target.scores(&seen.iter().map(|seen| seen.loss).collect::<Vec<_>>()).unwrap();
    let fitted = fit::fit(
        codec,
        settings,
        &Start::New(None),
        &seen.iter().collect::<Vec<_>>(),
        &scores,
        &mut ChaCha8Rng::seed_from_u64(2),
        &Cancel::new(),
    )
    .unwrap();
    (fitted, seen)
}

#[test]
fn the_networks_learn_to_spell_and_to_predict_and_moves_follow_the_gradient() {
    let space = cells();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut draw = |count: usize| -> Vec<(Genotype, f64)> {
        let one = |_| {
            let genotype = sample(space.as_ref(), &mut rng).unwrap();
            let loss = distance(&genotype);
            (genotype, loss)
        };
        (0..count).map(one).collect()
    };
    let (known, held_out) = (draw(150), draw(50));
    let settings = Settings { embedding: 16, hidden: 32, learning_rate: 5e-3, epochs: 300, ..Settings::default() };
    let said = probe(&settings, space.clone(), &known, &held_out, 3).unwrap();
    assert!(said.tau > 0.5 && said.exact > 0.8 && said.hamming < 0.5, "{said:?}");
    let codec = Codec::new(space, 16).unwrap();
    let (fitted, seen) = learnt(&codec, &settings, 150);
    let inputs: Vec<&Sequence> = seen.iter().filter_map(|seen| seen.spellings.first()).take(20).collect();
    let course = Course::new(&fitted.models[0], &inputs, true).unwrap();
    let mean = |step: f64| {
        let decoded = course.decode(&fitted.models[0], &codec, &[step], 1, &Cancel::new()).unwrap();
        assert_eq!(decoded.len(), 20);
        let build = |answers: &Trace| codec.precise(answers, answers, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        decoded.iter().map(|decoded| distance(&build(&decoded.answers))).sum::<f64>() / 20.0
    };
    let (still, against, along) = (mean(0.0), mean(-1.0), mean(1.0));
    assert!(along < still - 1.0 && against > still, "{against} {still} {along}");
}

#[test]
fn a_fit_is_the_same_for_any_number_of_threads() {
    let codec = Codec::new(cells(), 16).unwrap();
    let settings = Settings { batch_size: 100, ..tiny() };
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learnt(&codec, &settings, 120).0.models[0].params.export())
    };
    assert_eq!(fit(1), fit(3));
}

#[test]
fn a_fit_ends_early_and_nothing_is_learnt_from_nothing() {
    let codec = Codec::new(cells(), 16).unwrap();
    let settings = Settings { epochs: 500, patience: 2, learning_rate: 1e-9, ..tiny() };
    assert!(learnt(&codec, &settings, 20).0.trained[0].epochs < 10);
    let mut model = learnt(&codec, &tiny(), 10).0.models.remove(0);
    let none: &[Example] = &[];
    let trained = train::fit(&mut model, none, &tiny().training(), &mut ChaCha8Rng::seed_from_u64(1), &Cancel::new()).unwrap();
    assert_eq!(trained, Trained { epochs: 0, loss: 0.0 });
}

#[test]
fn every_spelling_is_the_candidate_and_is_input_and_target_alike() {
    let space: Arc<dyn SearchSpace> = Arc::new(NaoCnn::default());
    let codec = Codec::new(space.clone(), 16).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for id in 0..10 {
        let genotype = sample(space.as_ref(), &mut rng).unwrap();
        let seen = Seen::new(&codec, &tiny(), id, &genotype, 1.0, id).unwrap().unwrap();
        assert_eq!(seen.spellings.len(), 5);
        assert!(seen.spellings[1..].iter().any(|other| other != &seen.spellings[0]));
        for spelling in &seen.spellings {
            let tokens: Vec<u32> = spelling.tokens.iter().map(|&token| token as u32).collect();
            let read = codec.vocabulary.decode(space.as_ref(), &tokens).unwrap();
            assert_eq!(space.canonical_hash(&read), space.canonical_hash(&genotype));
            for (mask, &token) in spelling.legal.chunks_exact(codec.words()).zip(&spelling.tokens) {
                assert!(mask[token]);
            }
        }
    }
}

#[test]
fn untrained_networks_decode_legal_candidates_alone() {
    for space in [numbers(), Arc::new(NaoCnn::default()) as Arc<dyn SearchSpace>] {
        let codec = Codec::new(space.clone(), 16).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let seen: Vec<Seen> = (0..6)
            .map(|id| Seen::new(&codec, &tiny(), id, &sample(space.as_ref(), &mut rng).unwrap(), 1.0, id).unwrap().unwrap())
            .collect();
        let inputs: Vec<&Sequence> = seen.iter().map(|seen| &seen.spellings[0]).collect();
        let model = model::Model::new(tiny().sizes(&codec), &mut rng).unwrap();
        let course = Course::new(&model, &inputs, false).unwrap();
        for beam in [1, 3] {
            let decoded = course.decode(&model, &codec, &[50.0], beam, &Cancel::new()).unwrap();
            assert!(decoded.len() >= 6);
            for decoded in decoded {
                let genotype = codec.precise(&decoded.answers, &seen[decoded.seed].trace, &mut rng).unwrap();
                space.trace(&genotype).unwrap();
            }
        }
    }
}

#[test]
fn numbers_keep_the_precision_of_the_seed_and_are_refined_within_a_bin_or_so() {
    let space = numbers();
    let codec = Codec::new(space.clone(), 16).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut random = RandomChoose(&mut rng);
    let mut record = RecordChoose { inner: &mut random, trace: Vec::new() };
    let genotype = space.build(&mut record).unwrap();
    let trace = record.trace;
    // What is decoded has the middle of each bin.
    let middle = |step: &automl_core::Step| {
        let token = codec.vocabulary.token(*step).unwrap();
        automl_core::Step { answer: codec.vocabulary.answer(step.point, token).unwrap(), ..*step }
    };
    let decoded: Trace = trace.iter().map(middle).collect();
    assert_ne!(decoded, trace);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    assert_eq!(codec.precise(&decoded, &trace, &mut rng).unwrap(), genotype);
    let alone = space.trace(&codec.precise(&decoded, &Vec::new(), &mut rng).unwrap()).unwrap();
    assert!(alone != decoded && codec.sequence(&alone).unwrap() == codec.sequence(&decoded).unwrap());
    let nudged = space.trace(&codec.nudged(&trace, &mut rng).unwrap().unwrap()).unwrap();
    for (a, b) in trace.iter().zip(&nudged) {
        let domain = &space.points()[a.point].domain;
        assert!((domain.unit(a.answer) - domain.unit(b.answer)).abs() <= 2.0 / 16.0 + 0.01);
        assert!(!matches!(a.answer, Answer::Option(_)) || a == b);
    }
    assert!(Codec::new(cells(), 16).unwrap().nudged(&vec![], &mut rng).unwrap().is_none());
}

#[test]
fn neighbours_differ_in_one_answer_and_compete_with_what_was_decoded() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let codec = Codec::new(cells(), 16).unwrap();
    let trace = codec.space.trace(&sample(codec.space.as_ref(), &mut rng).unwrap()).unwrap();
    let neighbours = codec.neighbours(&trace, &mut rng).unwrap();
    assert_eq!(neighbours.len(), 6 * 4);
    for genotype in &neighbours {
        let other = codec.space.trace(genotype).unwrap();
        assert_eq!(trace.iter().zip(&other).filter(|(a, b)| a != b).count(), 1);
    }
    let codec = Codec::new(numbers(), 16).unwrap();
    let trace = codec.space.trace(&sample(codec.space.as_ref(), &mut rng).unwrap()).unwrap();
    assert!(codec.neighbours(&trace, &mut rng).unwrap().iter().all(|genotype| codec.space.trace(genotype).is_ok()));
    let settings = Settings { neighbours: 2, ..tiny_plus() };
    let trials = run(&NaoPlus(settings), &cells(), 40, |genotype| Some(distance(genotype)));
    assert!(trials.iter().any(|trial| trial.origin.by == "nao_plus/neighbour"));
    let hashes: BTreeSet<u64> = trials.iter().map(|trial| cells().canonical_hash(&trial.genotype)).collect();
    assert_eq!(hashes.len(), 40);
}

#[test]
fn an_ask_that_is_cancelled_ends_and_leaves_nothing_behind() {
    let space = cells();
    for config in [&Nao(tiny()) as &dyn StrategyConfig, &NaoPlus(tiny_plus())] {
        let told = || {
            let mut strategy = config.build(space.clone(), &[]).unwrap();
            for trial in run(config, &space, 8, |genotype| Some(distance(genotype))) {
                strategy.tell(&trial).unwrap();
            }
            strategy
        };
        let (one, other) = (told(), told());
        let cancel = Cancel::new();
        cancel.cancel();
        let ask = Ask { cancel: &cancel, ..Ask::alone(8, &[]) };
        one.ask(&ask, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        let say = |strategy: &dyn Strategy| strategy.ask(&Ask::alone(8, &[]), &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        assert_eq!(say(one.as_ref()), say(other.as_ref()));
        assert!(say(one.as_ref()).iter().any(|proposal| proposal.origin.by.ends_with("/move")));
    }
    // Far more epochs than there is time for.
    let endless = Settings { epochs: usize::MAX, patience: usize::MAX, ..tiny() };
    let codec = Codec::new(space, 16).unwrap();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            cancel.cancel();
        });
        let seen = examples(&codec, 20);
        let scores = endless.target.scores(&seen.iter().map(|seen| seen.loss).collect::<Vec<_>>()).unwrap();
        fit::fit(
            &codec,
            &endless,
            &Start::New(None),
            &seen.iter().collect::<Vec<_>>(),
            &scores,
            &mut ChaCha8Rng::seed_from_u64(2),
            &cancel,
        )
        .unwrap();
    });
}

#[test]
fn rounds_of_new_moves_follow_the_initial_pool() {
    let settings = Settings {
        initial: 30,
        batch: 10,
        seeds: 10,
        embedding: 16,
        hidden: 24,
        learning_rate: 5e-3,
        epochs: 40,
        enlarged: 40,
        ..tiny()
    };
    let space = cells();
    for config in
        [&Nao(settings.clone()) as &dyn StrategyConfig, &NaoPlus(Settings { batch: 10, epochs: 40, enlarged: 40, ..tiny_plus() })]
    {
        let trials = run(config, &space, 80, |genotype| Some(distance(genotype)));
        let moved = |trial: &&Trial| trial.origin.by.ends_with("/move");
        let count = trials.iter().filter(moved).count();
        assert!(count >= 20, "{count}");
        assert!(trials[..8].iter().all(|trial| trial.origin.by == "random"));
        assert!(trials.iter().filter(moved).all(|trial| trial.origin.parents[0] < trial.id));
        let hashes: BTreeSet<u64> = trials.iter().map(|trial| space.canonical_hash(&trial.genotype)).collect();
        assert_eq!(hashes.len(), 80);
    }
}

#[test]
fn failures_and_spaces_that_are_used_up_are_survived() {
    let (space, settings) = (cells(), tiny());
    assert_eq!(run(&Nao(settings.clone()), &space, 20, |_| None).len(), 20);
    let odd = |genotype: &Genotype| (distance(genotype) as u64 % 2 == 1).then(|| distance(genotype));
    assert_eq!(run(&NaoPlus(tiny_plus()), &space, 30, odd).len(), 30);
    let three = graphs(vec![operator("only", vec![Param::choice("which", &["a", "b", "c"])])], 1);
    let which = |genotype: &Genotype| Some(f64::from(u8::from(genotype.nodes[1].params.get("which") == Some(&Value::from("a")))));
    assert_eq!(run(&Nao(settings), &three, 20, which).len(), 20);
}

/// What the paper's method is made of, point by point (see `docs/nao.md`).
mod faithful {
    use automl_core::{EvalContext, Evaluation, Evaluator, Stop, Study};

    use super::super::model::Batch;
    use super::*;
    use crate::tensor::{Cpu, NoneTape, matrix, values};

    fn drawn(codec: &Codec, count: usize) -> (Vec<Seen>, model::Model) {
        let model = model::Model::new(tiny().sizes(codec), &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
        (examples(codec, count), model)
    }

    #[test]
    fn states_have_length_one_and_the_prediction_reads_their_mean() {
        let codec = Codec::new(cells(), 16).unwrap();
        let (seen, model) = drawn(&codec, 3);
        let batch = Batch::new(&seen.iter().map(|seen| &seen.spellings[0]).collect::<Vec<_>>());
        let states = model.encode::<NoneTape>(&batch, None).unwrap();
        let rows = values(&states);
        assert_eq!(rows.len(), 6 * 3 * 12, "a state for each token");
        for row in rows.chunks_exact(12) {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        // Steps in another order have the same mean.
        let turned: Vec<f32> = rows.chunks_exact(3 * 12).rev().flatten().copied().collect();
        let turned = matrix(&Cpu::default(), 18, 12, turned).unwrap();
        let [a, b] = [states, turned].map(|states| values(&model.predict(states, &batch.lengths).unwrap()));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }

    #[test]
    fn the_loss_is_shared_by_lambda_and_trains_all_three_networks() {
        let codec = Codec::new(cells(), 16).unwrap();
        let (seen, _) = drawn(&codec, 10);
        let example = |seen: &Seen| Example { spellings: seen.spellings.clone(), score: Some(seen.loss as f32) };
        let examples: Vec<Example> = seen.iter().map(example).collect();
        // Which parameters move: the embedding is the encoder's first, the predictor the last, the decoder between them.
        let moved = |lambda: f64| {
            let (_, mut model) = drawn(&codec, 1);
            let before = model.params.export();
            let training = train::Training { lambda, epochs: 1, l2: 0.0, ..tiny().training() };
            train::fit(&mut model, &examples, &training, &mut ChaCha8Rng::seed_from_u64(1), &Cancel::new()).unwrap();
            let moved: Vec<bool> = before.iter().zip(model.params.export()).map(|(a, b)| *a != b).collect();
            let predictor = 12 + 1;
            let decoder = moved.len() - predictor - codec.words() * 13..moved.len() - predictor;
            [&moved[..codec.words() * 8], &moved[decoder], &moved[moved.len() - predictor..]].map(|part| part.contains(&true))
        };
        assert_eq!(moved(1.0), [true, false, true]);
        assert_eq!(moved(0.0), [true, true, false]);
        assert_eq!(moved(0.5), [true, true, true]);
    }

    #[test]
    fn a_move_follows_the_slope_of_the_predictor_at_the_states() {
        let codec = Codec::new(cells(), 16).unwrap();
        let (seen, model) = drawn(&codec, 2);
        let batch = Batch::new(&seen.iter().map(|seen| &seen.spellings[0]).collect::<Vec<_>>());
        let states = model.encode::<NoneTape>(&batch, None).unwrap();
        let slope = model.slope(&states, &batch.lengths).unwrap();
        let total = |states: &[f32]| {
            let states = matrix(&Cpu::default(), 12, 12, states.to_vec()).unwrap();
            values(&model.predict(states, &batch.lengths).unwrap()).iter().sum::<f32>()
        };
        let numbers = values(&states);
        for index in [0, 50, 143] {
            let [mut up, mut down] = [numbers.clone(), numbers.clone()];
            up[index] += 0.05;
            down[index] -= 0.05;
            let measured = (total(&up) - total(&down)) / 0.1;
            assert!((measured - slope[index]).abs() < 1e-4, "{measured} {}", slope[index]);
        }
    }

    #[test]
    fn a_step_is_enlarged_until_what_is_decoded_is_new() {
        // A first step that leads nowhere: what is new comes from later ones.
        let settings = Settings { initial: 30, batch: 5, seeds: 5, step: 1e-3, enlarged: 100_000, epochs: 150, ..tiny() };
        let settings = Settings { hidden: 24, embedding: 16, learning_rate: 5e-3, normalised: true, refine: 0.0, ..settings };
        let trials = run_all(&Nao(settings), &cells(), 35, |genotype| Some(distance(genotype)));
        let steps: Vec<f64> = trials[30..].iter().filter_map(|trial| trial.origin.note.as_ref()?["step"].as_f64()).collect();
        assert_eq!(steps.len(), 5, "{:?}", trials[30..].iter().map(|trial| &trial.origin).collect::<Vec<_>>());
        assert!(steps.iter().any(|step| *step > 2e-3), "{steps:?}");
        let hashes: BTreeSet<u64> = trials.iter().map(|trial| cells().canonical_hash(&trial.genotype)).collect();
        assert_eq!(hashes.len(), trials.len(), "nothing is evaluated twice");
    }

    #[test]
    fn seeds_are_the_best_of_all_that_was_evaluated_and_every_round_fits_to_the_grown_pool() {
        let settings = Settings { seeds: 3, refine: 0.0, enlarged: 60, ..tiny() };
        let trials = run_all(&Nao(settings.clone()), &cells(), 20, |genotype| Some(distance(genotype)));
        let mut checked = 0;
        for (round, start) in (8..20).step_by(4).enumerate() {
            let mut before: Vec<&Trial> = trials[..start].iter().collect();
            before.sort_by(|a, b| a.loss().unwrap().total_cmp(&b.loss().unwrap()));
            let best: Vec<u64> = before[..3].iter().map(|trial| trial.id).collect();
            for trial in trials[start..start + 4].iter().filter(|trial| trial.origin.by == "nao/move") {
                assert!(best.contains(&trial.origin.parents[0]), "round {round}: {best:?} {:?}", trial.origin);
                checked += 1;
            }
        }
        assert!(checked > 4, "{checked}");
        let mut strategy = Running::new("nao", &settings, cells()).unwrap();
        let mut fits = Vec::new();
        for trial in &trials[..10] {
            strategy.tell(trial).unwrap();
            if strategy.told >= 8 {
                fits.push(strategy.fitted(&Cancel::new()).unwrap().unwrap().models[0].params.export());
            }
        }
        assert!(fits[0] != fits[1] && fits[1] != fits[2]);
    }

    #[test]
    fn warm_fits_do_not_depend_on_when_they_were_asked_for() {
        for growth in [0.0, 0.5] {
            warm_fits(&Settings { warm: 2, batch: 3, growth, ..tiny_plus() });
        }
    }

    fn warm_fits(settings: &Settings) {
        let trials = run_all(&NaoPlus(settings.clone()), &cells(), 20, |genotype| Some(distance(genotype)));
        let told = |asked: &[usize]| {
            let mut strategy = Running::new("nao_plus", settings, cells()).unwrap();
            for trial in &trials[..18] {
                strategy.tell(trial).unwrap();
                if asked.contains(&strategy.told) {
                    strategy.fitted(&Cancel::new()).unwrap();
                }
            }
            strategy.fitted(&Cancel::new()).unwrap().unwrap().models[1].params.export()
        };
        let late = told(&[]);
        assert_eq!(told(&[8, 9, 13, 14, 16]), late);
        assert_eq!(told(&[11, 14, 17]), late);
    }

    struct Distance;

    impl Evaluator for Distance {
        fn objectives(&self) -> Vec<automl_core::Objective> {
            vec![automl_core::Objective { name: "distance".into(), direction: automl_core::Direction::Minimize }]
        }

        fn evaluate(&self, genotype: &Genotype, _: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
            Ok(Evaluation { losses: vec![distance(genotype)], ..Evaluation::default() })
        }
    }

    #[test]
    fn it_proposes_while_trials_run_and_the_trials_are_the_same_for_any_number_of_workers() {
        for plus in [false, true] {
            let run = |workers: usize| {
                let config: Box<dyn StrategyConfig> =
                    if plus { Box::new(NaoPlus(Settings { warm: 2, ..tiny_plus() })) } else { Box::new(Nao(tiny())) };
                let mut study = Study::new(cells(), config.build(cells(), &[]).unwrap(), Arc::new(Distance));
                (study.seed, study.lag, study.workers) = (3, 3, workers);
                study.budget.trials = Some(30);
                let trials = study.run(&Cancel::new()).unwrap().trials;
                trials.into_iter().map(|trial| (trial.genotype, trial.origin)).collect::<Vec<_>>()
            };
            let one = run(1);
            assert_eq!((one.len(), &one), (30, &run(3)));
            assert!(one.iter().any(|(_, origin)| origin.by.ends_with("/move")));
        }
    }
}
