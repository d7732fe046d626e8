//! What a strategy does with genotypes all day: sampling, mutating, tracing, encoding and hashing them, one at a time.
//!
//! On three spaces: pipelines of the whole gene pool over dense numbers and over raw columns, and the stock graph space.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up must stop")]

use std::hint::black_box;
use std::time::Duration;

use automl_core::space::sample;
use automl_core::{Genotype, GraphSpace, Mutation, SearchSpace, Trace, Vocabulary};
use automl_ops::space::{Input, PipelineSpace, PipelineSpec};
use automl_search::mutations::{MutationEdge, MutationType};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Genotypes that each figure is the mean of.
const GENOTYPES: usize = 512;

fn spaces() -> [(&'static str, Box<dyn SearchSpace>); 3] {
    let pipeline = |input| {
        let spec = PipelineSpec { input, ..PipelineSpec::default() };
        Box::new(PipelineSpace::new(spec).expect("the gene pool is linked"))
    };
    [("pipeline_dense", pipeline(Input::Dense)), ("pipeline_raw", pipeline(Input::Raw)), ("graph", Box::<GraphSpace>::default())]
}

fn genotypes(c: &mut Criterion) {
    for (name, space) in spaces() {
        let space = space.as_ref();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let pool: Vec<Genotype> = (0..GENOTYPES).map(|_| sample(space, &mut rng).expect("samples")).collect();
        let traces: Vec<Trace> = pool.iter().map(|genotype| space.trace(genotype).expect("is inside")).collect();
        let vocabulary = Vocabulary::new(space.points(), 16).expect("groups share their domains");
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("sample", |b| b.iter(|| sample(space, &mut rng)));
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mutations: [(&str, &dyn Mutation); 2] =
            [("mutation_type", &MutationType::default()), ("mutation_edge", &MutationEdge::default())];
        for (name, mutation) in mutations {
            each(&mut group, name, &pool, |genotype| drop(black_box(mutation.mutate(genotype, space, &mut rng))));
        }
        each(&mut group, "trace", &pool, |genotype| drop(black_box(space.trace(genotype))));
        each(&mut group, "encode", &traces, |trace| drop(black_box(vocabulary.encode(trace))));
        each(&mut group, "canonical_hash", &pool, |genotype| {
            black_box(space.canonical_hash(genotype));
        });
        group.finish();
    }
}

/// Times one call an item, the items in turn.
fn each<T>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, items: &[T], mut call: impl FnMut(&T)) {
    let mut items = items.iter().cycle();
    group.bench_function(name, |b| b.iter(|| items.next().map(&mut call)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    targets = genotypes
}
criterion_main!(benches);
