//! The published spaces of cells, as plugins.

use std::sync::LazyLock;

use automl_core::rand::Rng;
use automl_core::schemars::JsonSchema;
use automl_core::{Choose, Genotype, Point, Result, Trace, plugin};
use serde::{Deserialize, Serialize};

use super::{Network, Wiring};

const BOTH: &[&str] = &["normal", "reduction"];

macro_rules! cell_space {
    ($(#[$doc:meta])* $name:literal, $space:ident, $wiring:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(crate = "automl_core::schemars")]
        pub struct $space {
            /// The network that the cells are stacked to: its sizes, and bounds on what it may take.
            pub network: Network,
        }

        impl $space {
            /// The operators and the wiring of the space.
            pub const WIRING: Wiring = $wiring;

            fn questions() -> &'static [Point] {
                static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| $space::WIRING.points());
                &POINTS
            }
        }

        plugin! {
            $name,
            impl SearchSpace for $space {
                fn points(&self) -> &[Point] {
                    Self::questions()
                }

                fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
                    Self::WIRING.build(Self::questions(), &self.network, choose)
                }

                fn trace(&self, genotype: &Genotype) -> Result<Trace> {
                    Self::WIRING.trace(Self::questions(), &self.network, genotype)
                }

                fn parse(&self, text: &str) -> Result<Genotype> {
                    Self::WIRING.parse(text)
                }

                fn equivalent(&self, genotype: &Genotype, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
                    Self::WIRING.equivalent(genotype, rng)
                }
            }
        }
    };
}

cell_space! {
    /// The cells of NASNet: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018.
    ///
    /// A normal and a reduction cell of 5 blocks with 13 operators. A block adds its branches, as in all of the paper's best cells;
    /// its alternative, to put them side by side, is left out, as in the space of AmoebaNet.
    "nasnet", NasNet, Wiring {
        cells: BOTH,
        operators: &[
            "identity", "conv_1x3_3x1", "conv_1x7_7x1", "dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5",
            "max_pool_7x7", "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7",
        ],
        blocks: 5,
        distinct: false,
        concat_all: false,
    }
}

cell_space! {
    /// The cells of NAO: Luo et al., "Neural Architecture Optimization", NeurIPS 2018, section 3.1.
    ///
    /// A normal and a reduction cell of 5 blocks with 11 operators.
    "nao_cnn", NaoCnn, Wiring {
        cells: BOTH,
        operators: &[
            "identity", "conv_1x1", "conv_3x3", "conv_1x3_3x1", "conv_1x7_7x1", "max_pool_2x2", "max_pool_3x3", "max_pool_5x5",
            "avg_pool_2x2", "avg_pool_3x3", "avg_pool_5x5",
        ],
        blocks: 5,
        distinct: false,
        concat_all: false,
    }
}

cell_space! {
    /// The cells of NAO with shared weights, which are those of ENAS: Luo et al., NeurIPS 2018, section 4.2; Pham et al., ICML 2018.
    ///
    /// A normal and a reduction cell of 5 blocks with 5 operators.
    "nao_cnn_ws", NaoCnnWs, Wiring {
        cells: BOTH,
        operators: &["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity"],
        blocks: 5,
        distinct: false,
        concat_all: false,
    }
}

cell_space! {
    /// The cell of RENAS: Chen et al., "RENAS: Reinforced Evolutionary Neural Architecture Search", CVPR 2019, section 3.1.
    ///
    /// One cell of 5 blocks with 6 operators, which serves as normal and as reduction cell.
    "renas", Renas, Wiring {
        cells: &["cell"],
        operators: &["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "avg_pool_3x3", "max_pool_3x3", "identity"],
        blocks: 5,
        distinct: false,
        concat_all: false,
    }
}

cell_space! {
    /// The cells of DARTS: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
    ///
    /// A normal and a reduction cell of 4 blocks with 7 operators; the two states of a block differ, and a cell puts out all
    /// blocks. Operators in the order of NAS-Bench-301.
    "darts", Darts, Wiring {
        cells: BOTH,
        operators: &[
            "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
        ],
        blocks: 4,
        distinct: true,
        concat_all: true,
    }
}
