//! Everything neural: spaces of cells, tabular benchmarks, networks and the tensors under them.
//!
//! - [`tensor`]: the layer between networks and dfdx, which nothing else here names.
//! - `mlp`: the operator that adds a multi-layer perceptron to the gene pool of tables.
//! - [`nas_bench_201`]: the space of NAS-Bench-201 and an evaluator that looks its cells up in the benchmark's table.

mod mlp;
pub mod nas_bench_201;
pub mod tensor;

pub use nas_bench_201::{Cell, NasBench201, NasBench201Table};
