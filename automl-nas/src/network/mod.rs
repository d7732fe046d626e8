//! Networks on images, built of genotypes.
//!
//! A [`Plan`] is what is computed: a flat list of steps — convolutions, norms, pools, sums — with the shape of each, made of the
//! genotype of any space ([`plan`]) and nothing else. [`Weights`] hold the numbers by name: a step's parameters are called by the
//! cell, the node and the role, such as `cell.3.5.sep_conv_3x3.depthwise_0`, so a child finds its parent's weights, and networks
//! that share a store share their weights. [`Network`] is a plan bound to a store, and computes.
//!
//! ```text
//! genotype ──plan()──▶ Plan ──Weights::bind()──▶ Network ──forward(&Weights, Pass, images)──▶ logits
//! ```

mod auxiliary;
mod bench_101;
mod bench_201;
mod bench_macro;
mod build;
mod cells;
mod forward;
#[cfg(test)]
mod tests;
mod weights;

use automl_core::schemars::JsonSchema;
use automl_core::{Error, Genotype, Result};
use serde::{Deserialize, Serialize};

pub use build::{Init, Op, ParameterPlan, Plan, Step, Work};
pub use forward::{Dropping, Network, Norms, Output, Pass, Watch};
pub use weights::{Numbers, Weights};

use crate::images::Shape;
use build::Builder;

/// The network that a genotype is built to. What is left out is as in the paper of the space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Design {
    /// Cells of a stage, reductions aside. Default: 3 for stacked cells (`nasnet`, `nao_cnn`, `renas`, `darts`) and `nas_bench_101`, 5
    /// for `nas_bench_201`; a chain of `nas_bench_macro` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<usize>,
    /// Channels of the first stage. Default: 32 for stacked cells, 16 for `nas_bench_201`, 128 for `nas_bench_101`, 64 for
    /// `nas_bench_macro`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Step of the first convolution, 1 or 2; default 1. With 2 all that follows has a quarter of the places, and costs as much less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem_stride: Option<usize>,
}

impl Design {
    fn check(&self) -> Result<()> {
        let wrong = |place: &str, value: usize, legal: &str| {
            Err(Error::config(format!("network.{place}"), format!("is {value}; it must be {legal}")))
        };
        match (self.cells, self.channels, self.stem_stride) {
            (Some(cells), _, _) if cells > 100 => wrong("cells", cells, "at most 100"),
            (_, Some(channels), _) if channels == 0 || channels > 4096 => wrong("channels", channels, "1 to 4096"),
            (_, _, Some(stride)) if !(1..=2).contains(&stride) => wrong("stem_stride", stride, "1 or 2"),
            _ => Ok(()),
        }
    }
}

/// What is computed for images of a shape and so many classes. With `auxiliary`, a second classifier reads what the network knows
/// after two thirds of its depth, where it has such a place.
///
/// # Errors
/// [`Error::Outside`] for a genotype that is no network on images; [`Error::Config`] for a design that makes no sense.
pub fn plan(genotype: &Genotype, design: &Design, input: Shape, classes: usize, auxiliary: bool) -> Result<Plan> {
    genotype.check()?;
    design.check()?;
    if input.is_empty() || classes < 2 {
        return Err(Error::config("data", format!("{input:?} and {classes} classes make no classifier")));
    }
    let has = |names: &[&str]| genotype.nodes.iter().any(|node| names.contains(&node.op.as_str()));
    let last = genotype.nodes.last().map(|node| node.op.as_str());
    let mut builder = Builder::new(input);
    let features = if has(&["normal", "cell"]) && has(&["reduction", "cell"]) {
        cells::build(&mut builder, genotype, design)?
    } else if last == Some("output") {
        bench_101::build(&mut builder, genotype, design)?
    } else if let Ok(cell) = crate::Cell::of(genotype) {
        bench_201::build(&mut builder, &cell, design)?
    } else if has(&crate::nas_bench_macro::OPERATORS[1..]) || last == Some("identity") {
        bench_macro::build(&mut builder, genotype, design)?
    } else {
        return Err(Error::Outside(format!(
            "{genotype} is no network on images; those of the spaces nasnet, nao_cnn, nao_cnn_ws, renas, darts, nas_bench_101, \
             nas_bench_201 and nas_bench_macro are"
        )));
    };
    let pooled = builder.global_average(features.last)?;
    let pooled = builder.dropout(pooled)?;
    // The width is part of the name, as in cells: networks that share their weights may differ in it.
    let name = format!("classifier.{}", builder.shape(pooled).channels);
    let logits = builder.linear(&name, pooled, classes)?;
    builder.close(logits);
    let second = match features.two_thirds.filter(|_| auxiliary) {
        Some(from) => Some(auxiliary::build(&mut builder, from, classes)?),
        None => None,
    };
    Ok(builder.finish(logits, second))
}

/// The images that a classifier reads.
struct Features {
    /// At the end.
    last: usize,
    /// After the first cell of the last stage.
    two_thirds: Option<usize>,
}
