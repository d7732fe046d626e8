//! Everything neural: strategies with networks, spaces of cells, tabular benchmarks, networks and the tensors under them.
//!
//! - [`tensor`]: the layer between networks and dfdx, which nothing else here names.
//! - `mlp`: the operator that adds a multi-layer perceptron to the gene pool of tables.
//! - [`mlp_tabular`]: networks on tables, with the preprocessing before them.
//! - [`nao`]: neural architecture optimization, which moves candidates in a learnt continuous space.
//! - [`cells`]: the spaces of convolutional cells of NASNet, NAO, RENAS and DARTS, and the size of their networks.
//! - [`filter`]: a cheap evaluator in front of a dear one.
//! - [`images`]: sets of labelled images, read, split and varied.
//! - [`inherit`]: trains children from their parents' weights.
//! - [`nao_rnn`]: recurrent cells.
//! - [`nas_bench_101`], [`nas_bench_201`], [`nas_bench_macro`]: the spaces of benchmarks.
//! - [`network`]: networks on images, built of the genotypes of these spaces.
//! - [`renas`]: evolution whose mutations a network chooses.
//! - [`supernet`]: one network that holds all candidates of a space.
//! - [`table`]: looks the candidates of any space up in a table.
//! - [`text`]: texts as numbers.
//! - [`train`]: trains the networks of candidates.
//! - [`zero_cost`]: scores networks without training them.

pub mod cells;
pub mod filter;
pub mod images;
pub mod inherit;
mod mlp;
pub mod mlp_tabular;
pub mod nao;
pub mod nao_rnn;
pub mod nas_bench_101;
pub mod nas_bench_201;
pub mod nas_bench_macro;
pub mod network;
pub mod renas;
pub mod supernet;
pub mod table;
pub mod tensor;
pub mod text;
pub mod train;
pub mod zero_cost;

pub use mlp_tabular::MlpTabular;
pub use nao::{Nao, NaoPlus, NaoWs};
pub use nao_rnn::NaoRnn;
pub use nas_bench_101::NasBench101;
pub use nas_bench_201::{Cell, NasBench201};
pub use nas_bench_macro::NasBenchMacro;
pub use table::Table;
pub use train::Train;
