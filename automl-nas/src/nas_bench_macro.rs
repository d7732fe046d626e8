//! NAS-Bench-Macro: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", CVPR 2021.
//!
//! A chain of eight layers, each with one of three operators; all 6,561 networks were trained on CIFAR-10. A genotype is
//! the chain, and a row of the table is named by its eight digits (`02012100`).

use std::sync::LazyLock;

use automl_core::hash::StableHash;
use automl_core::schemars::JsonSchema;
use automl_core::space::Asker;
use automl_core::{Answer, Choose, Domain, Error, Genotype, Node, Point, Result, Step, Trace, Value, plugin};
use serde::{Deserialize, Serialize};

/// Operators of a layer, in the order of the digits: nothing, and inverted bottlenecks (MobileNetV2) with a kernel of 3 and an
/// expansion of 3, or 5 and 6.
pub const OPERATORS: [&str; 3] = ["identity", "bottleneck_3x3_e3", "bottleneck_5x5_e6"];

const LAYERS: usize = 8;
/// Layers that change the resolution or the width: there the identity is a layer, too, so its place matters.
const FIRST_OF_STAGE: [usize; 3] = [0, 2, 5];

/// Chains of eight layers with one of three operators each.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct NasBenchMacro {
    /// Whether networks that differ in where a stage has its identities alone are one candidate: 3,969 of the 6,561 differ.
    /// Default yes. The benchmark trained each by itself, and its figures differ a little.
    pub merge_isomorphic: bool,
}

impl Default for NasBenchMacro {
    fn default() -> Self {
        Self { merge_isomorphic: true }
    }
}

static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let domain = Domain::Choice(OPERATORS.map(Value::from).to_vec());
    (0..LAYERS).map(|layer| Point { key: format!("layer_{layer}"), group: "operator".into(), domain: domain.clone() }).collect()
});

plugin! {
    "nas_bench_macro",
    impl SearchSpace for NasBenchMacro {
        fn points(&self) -> &[Point] {
            &POINTS
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            let mut ask = Asker::new(&POINTS, choose);
            let mut nodes = vec![Node::new("input", [])];
            for layer in 0..LAYERS {
                let operator = ask.option(layer, &[true; OPERATORS.len()], None)?;
                nodes.push(Node::new(OPERATORS.get(operator).copied().unwrap_or_default(), [layer]));
            }
            Ok(Genotype { nodes })
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            let steps = layers(genotype)?.into_iter().enumerate();
            Ok(steps.map(|(point, operator)| Step { point, answer: Answer::Option(operator) }).collect())
        }

        fn canonical_hash(&self, genotype: &Genotype) -> u64 {
            let layers = match layers(genotype) {
                Ok(layers) if self.merge_isomorphic => layers,
                _ => return genotype.canonical_hash(),
            };
            layers.iter().enumerate().fold(StableHash::new("nas_bench_macro"), |hash, (layer, &operator)| {
                // A number that no operator has parts the stages.
                let hash = if FIRST_OF_STAGE.contains(&layer) { hash.number(u64::MAX) } else { hash };
                let counts = operator > 0 || FIRST_OF_STAGE.contains(&layer);
                if counts { hash.number(operator as u64) } else { hash }
            }).finish()
        }
    }
}

/// The operator of each layer, as an index into [`OPERATORS`].
fn layers(genotype: &Genotype) -> Result<Vec<usize>> {
    let shape = || Error::Outside(format!("a network is `input` and a chain of {LAYERS} layers, not {genotype}"));
    let (input, layers) = genotype.nodes.split_first().ok_or_else(shape)?;
    if *input != Node::new("input", []) || layers.len() != LAYERS {
        return Err(shape());
    }
    let read = |(layer, node): (usize, &Node)| {
        let operator = OPERATORS.iter().position(|operator| *operator == node.op).ok_or_else(shape)?;
        if node.inputs == [layer] && node.params.is_empty() { Ok(operator) } else { Err(shape()) }
    };
    layers.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use automl_core::SearchSpace;
    use automl_core::conformance::check_space;

    use super::*;

    fn all() -> impl Iterator<Item = String> {
        (0..3_usize.pow(8))
            .map(|index| (0..8_u32).map(|place| char::from(b'0' + (index / 3_usize.pow(place) % 3) as u8)).collect())
    }

    #[test]
    fn conforms() {
        check_space(&NasBenchMacro::default(), 200, 1).unwrap();
    }

    #[test]
    fn of_6561_networks_3969_differ() {
        let [merged, apart] = [true, false].map(|merge_isomorphic| NasBenchMacro { merge_isomorphic });
        let hashes = |space: &NasBenchMacro| -> BTreeSet<u64> {
            all().map(|text| space.canonical_hash(&space.parse(&text).unwrap())).collect()
        };
        assert_eq!(hashes(&apart).len(), 6_561);
        assert_eq!(hashes(&merged).len(), 3_969);
    }

    #[test]
    fn other_shapes_are_refused() {
        let space = NasBenchMacro::default();
        let mut genotype = space.parse("02012100").unwrap();
        assert!(space.parse("0201210").is_err() && space.parse("02012103").is_err());
        genotype.nodes[3].inputs = vec![1];
        assert!(space.trace(&genotype).unwrap_err().to_string().contains("a chain of 8 layers"));
    }
}
