//! What a study costs a trial: an evaluator that does nothing, and a strategy that hands out genotypes made beforehand.
//!
//! `strategy` is that strategy alone, so a study's own cost is the difference; a target of 20 µs with one worker keeps it below
//! the cheapest evaluation there is.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up must stop")]

use std::sync::Arc;
use std::time::Duration;

use automl_core::rand::Rng;
use automl_core::space::sample;
use automl_core::{
    Ask, Budget, Cancel, EvalContext, Evaluation, Evaluator, Genotype, Journal, Objective, Origin, Proposal, Result, SearchSpace,
    Stop, Strategy, Study, Trial,
};
use automl_ops::space::{Input, PipelineSpace, PipelineSpec};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Trials of one study.
const TRIALS: usize = 2_000;

/// Hands out genotypes made beforehand.
struct Cached(Arc<Vec<Genotype>>);

impl Strategy for Cached {
    fn ask(&self, ask: &Ask<'_>, _: &mut dyn Rng) -> Result<Vec<Proposal>> {
        let genotype = self.0[ask.trial as usize % self.0.len()].clone();
        Ok(vec![Proposal::new(genotype, Origin::by("cached"))])
    }

    fn tell(&mut self, _: &Trial) -> Result<()> {
        Ok(())
    }
}

struct Nothing;

impl Evaluator for Nothing {
    fn objectives(&self) -> Vec<Objective> {
        Vec::new()
    }

    fn evaluate(&self, _: &Genotype, _: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        Ok(Evaluation { losses: vec![0.5], ..Evaluation::default() })
    }
}

fn study(c: &mut Criterion) {
    let spec = PipelineSpec { input: Input::Raw, ..PipelineSpec::default() };
    let space: Arc<dyn SearchSpace> = Arc::new(PipelineSpace::new(spec).expect("the gene pool is linked"));
    let pool = Arc::new(distinct(space.as_ref()));
    let mut group = c.benchmark_group("study");
    group.throughput(Throughput::Elements(TRIALS as u64));
    group.bench_function("strategy", |b| {
        let (strategy, mut rng) = (Cached(pool.clone()), ChaCha8Rng::seed_from_u64(1));
        let mut ask = |trial| strategy.ask(&Ask::alone(trial, &[]), &mut rng);
        b.iter(|| (0..TRIALS as u64).map(&mut ask).filter(Result::is_ok).count());
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journals = 0;
    for (workers, lag) in [(1, 0), (1, 7), (2, 7)] {
        for journal in [false, true] {
            let name = format!("{workers}_workers/lag_{lag}/{}", if journal { "journal" } else { "no_journal" });
            group.bench_function(name, |b| {
                let setup = || {
                    journals += 1;
                    let path = dir.path().join(format!("{journals}.jsonl"));
                    let journal = journal.then(|| Journal::create(path, 0.into()).expect("a new journal"));
                    let budget = Budget { trials: Some(TRIALS as u64), ..Budget::default() };
                    let study = Study::new(space.clone(), Box::new(Cached(pool.clone())), Arc::new(Nothing));
                    Study { budget, workers, lag, journal, ..study }
                };
                let run = |study: Study| {
                    let outcome = study.run(&Cancel::new()).expect("runs");
                    assert_eq!(outcome.trials.len(), TRIALS);
                    outcome
                };
                b.iter_batched(setup, run, BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

/// So many different genotypes that no trial repeats another.
fn distinct(space: &dyn SearchSpace) -> Vec<Genotype> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seen = std::collections::BTreeSet::new();
    let samples = std::iter::repeat_with(|| sample(space, &mut rng).expect("samples"));
    samples.filter(|genotype| seen.insert(space.canonical_hash(genotype))).take(TRIALS).collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    targets = study
}
criterion_main!(benches);
