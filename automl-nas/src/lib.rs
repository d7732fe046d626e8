//! Neural architecture search: spaces of cells and tabular benchmarks.
//!
//! - [`nas_bench_201`]: the space of NAS-Bench-201 and an evaluator that looks its cells up in the benchmark's table.

pub mod nas_bench_201;

pub use nas_bench_201::{Cell, NasBench201, NasBench201Table};
