//! Networks on tables: the space `mlp_tabular`.
//!
//! A candidate is a pipeline that the evaluator `tabular` runs: a chain of one operator a stage, which ends in an `mlp`. The
//! preprocessing is part of the search, since it decides more about a network on a table than its depth does (Gorishniy et al.,
//! "On Embeddings for Numerical Features in Tabular Deep Learning", 2022): splines or bins of each column are such embeddings.
//!
//! ```text
//! input ── encode ── fill ── rows ── scale ──┬── expand ──┬── mlp
//!                                            └── (kept) ──┘
//! ```
//!
//! Each stage asks which operator it takes, then the parameters of that operator; the network asks for its depth, width, shape,
//! activation, normalisation, residual connections and training. Questions that a table or a task does not have are not asked.

use std::sync::LazyLock;

use automl_core::operator::Param;
use automl_core::space::{Asker, KnownChoose, Question, RecordChoose};
use automl_core::{Answer, Choose, Domain, Error, Genotype, Node, Point, Result, Trace, Value, plugin};
use automl_ops::Task;
use automl_ops::operator;
use automl_ops::space::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Networks on tables: preprocessing, depth, widths, activation, normalisation, residual connections and training of an `mlp`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlpTabular {
    /// What is predicted. Questions about classes are not asked for a regression.
    pub task: Task,
    /// What the features are: `raw` serves any table; `numeric` (numbers with gaps) and `dense` (without) ask less.
    pub input: Input,
    /// Whether the networks to start from weigh all classes the same.
    pub balanced_starts: bool,
}

impl Default for MlpTabular {
    fn default() -> Self {
        Self { task: Task::Classification, input: Input::Raw, balanced_starts: true }
    }
}

/// A stage that is left out.
const NONE: &str = "none";
/// Stages in their order, and what they can be. Operators stand in one stage alone, so that a genotype tells its stages.
const STAGES: [(&str, &[&str]); 6] = [
    ("encode", &["one_hot", "target_encode", "ordinal"]),
    ("fill", &["impute", "iterative_impute"]),
    ("rows", &[NONE, "normalize"]),
    ("scale", &[NONE, "standard_scale", "quantile_transform", "power_transform"]),
    ("expand", &[NONE, "spline", "bin", "interactions"]),
    ("network", &["mlp"]),
];
/// Operators beside whose output the network may read their input, too; the others hand it on themselves.
const BESIDE: [&str; 2] = ["spline", "bin"];
/// Parameters that mean nothing to a regression.
const OF_CLASSES: [&str; 2] = ["class_weight", "label_smoothing"];

/// An operator of a stage, and the questions about its parameters.
struct Candidate {
    name: &'static str,
    params: Vec<(usize, Param)>,
}

struct Stage {
    name: &'static str,
    /// The question which operator it takes.
    point: usize,
    /// None where the stage is left out.
    options: Vec<Option<Candidate>>,
}

/// All that can be asked.
struct Questions {
    points: Vec<Point>,
    /// The answer to each where nobody knows better.
    defaults: Vec<Answer>,
    stages: Vec<Stage>,
    /// Whether the network reads what the last stage has expanded, too.
    keep: usize,
}

static QUESTIONS: LazyLock<Questions> = LazyLock::new(|| {
    let mut questions = Questions { points: Vec::new(), defaults: Vec::new(), stages: Vec::new(), keep: 0 };
    for (name, operators) in STAGES {
        let names = Domain::Choice(operators.iter().map(|name| Value::from(*name)).collect());
        let point = questions.add(name.to_owned(), names, Answer::Option(0));
        let mut options = Vec::new();
        for &name in operators {
            // Without the operators of tables, which this crate links, no pipeline could be run either.
            let params = operator::operator(name).map(|operator| operator.params()).unwrap_or_default();
            let ask = |param: Param| {
                let default = param.domain.answer(&param.default).unwrap_or_else(|| param.domain.at(0.5));
                (questions.add(format!("{name}.{}", param.name), param.domain.clone(), default), param)
            };
            options.push((name != NONE).then(|| Candidate { name, params: params.into_iter().map(ask).collect() }));
        }
        questions.stages.push(Stage { name, point, options });
    }
    let switch = Domain::Choice(vec![Value::Bool(false), Value::Bool(true)]);
    questions.keep = questions.add("keep".to_owned(), switch, Answer::Option(1));
    questions
});

impl Questions {
    fn add(&mut self, key: String, domain: Domain, default: Answer) -> usize {
        self.points.push(Point { group: key.clone(), key, domain });
        self.defaults.push(default);
        self.points.len() - 1
    }
}

/// Answers by name, and with the default where nothing is said.
struct Preset<'a>(&'a [(&'static str, Value)]);

impl Choose for Preset<'_> {
    fn choose(&mut self, question: &Question<'_>) -> Result<Answer> {
        let set = self.0.iter().find(|(key, _)| *key == question.point.key);
        let set = set.and_then(|(_, value)| question.point.domain.answer(value));
        let default = || QUESTIONS.defaults.get(question.id).copied();
        set.or_else(default).ok_or_else(|| Error::Unanswered(question.point.key.clone()))
    }
}

/// Networks to start from, what is good on most tables first.
fn presets() -> Vec<Vec<(&'static str, Value)>> {
    let text = |key, value: &str| (key, Value::from(value));
    let int = |key, value: i64| (key, Value::Int(value));
    let float = |key, value: f64| (key, Value::Float(value));
    let on = |key| (key, Value::Bool(true));
    vec![
        vec![],
        vec![text("expand", "spline"), int("mlp.width", 256), float("mlp.dropout", 0.15), float("mlp.weight_decay", 0.02)],
        vec![
            text("scale", "quantile_transform"),
            int("mlp.layers", 3),
            int("mlp.width", 256),
            on("mlp.residual"),
            text("mlp.activation", "silu"),
            text("mlp.normalization", "layer"),
            float("mlp.learning_rate", 1e-3),
        ],
        vec![text("expand", "bin"), float("mlp.dropout", 0.3), float("mlp.weight_decay", 0.1), float("mlp.learning_rate", 2e-3)],
        vec![text("rows", "normalize"), text("scale", "standard_scale"), int("mlp.epochs", 120), float("mlp.dropout", 0.0)],
        vec![text("expand", "interactions"), text("mlp.normalization", "layer"), int("mlp.epochs", 80)],
        vec![
            int("mlp.width", 512),
            text("mlp.widths", "funnel"),
            int("mlp.layers", 3),
            int("mlp.epochs", 120),
            int("mlp.batch_size", 64),
            float("mlp.dropout", 0.0),
            float("mlp.weight_decay", 1e-4),
        ],
    ]
}

impl MlpTabular {
    /// Whether the stage has anything to do on such a table.
    fn has(&self, stage: &str) -> bool {
        match stage {
            "encode" => self.input == Input::Raw,
            "fill" => self.input != Input::Dense,
            _ => true,
        }
    }

    fn preset(&self, preset: &[(&'static str, Value)]) -> Result<Genotype> {
        let balanced = [("mlp.class_weight", Value::from("balanced"))];
        let balanced = if self.balanced_starts { &balanced[..] } else { &[] };
        automl_core::SearchSpace::build(self, &mut Preset(&[preset, balanced].concat()))
    }
}

plugin! {
    "mlp_tabular",
    impl SearchSpace for MlpTabular {
        fn points(&self) -> &[Point] {
            &QUESTIONS.points
        }

        fn build(&self, choose: &mut dyn Choose) -> Result<Genotype> {
            let questions = &*QUESTIONS;
            let mut ask = Asker::new(&questions.points, choose);
            let (mut nodes, mut inputs) = (vec![Node::new("input", [])], vec![0]);
            for stage in questions.stages.iter().filter(|stage| self.has(stage.name)) {
                let chosen = ask.option(stage.point, &vec![true; stage.options.len()], None)?;
                let Some(Some(operator)) = stage.options.get(chosen) else { continue };
                let mut node = Node::new(operator.name, inputs.clone());
                for (id, param) in &operator.params {
                    let asked = self.task == Task::Classification || !OF_CLASSES.contains(&param.name.as_ref());
                    if asked && param.applies(&node.params) {
                        node = node.with(&param.name, ask.value(*id)?);
                    }
                }
                if !(BESIDE.contains(&operator.name) && ask.value(questions.keep)? == Value::Bool(true)) {
                    inputs.clear();
                }
                inputs.push(nodes.len());
                nodes.push(node);
            }
            Ok(Genotype { nodes })
        }

        fn trace(&self, genotype: &Genotype) -> Result<Trace> {
            let questions = &*QUESTIONS;
            let mut known: Vec<Option<Answer>> = vec![None; questions.points.len()];
            let mut set = |point: usize, answer| known.get_mut(point).into_iter().for_each(|slot| *slot = answer);
            for stage in &questions.stages {
                let left_out = stage.options.iter().position(Option::is_none);
                set(stage.point, left_out.map(Answer::Option));
                for (index, option) in stage.options.iter().enumerate() {
                    let Some(operator) = option else { continue };
                    let Some(node) = genotype.nodes.iter().find(|node| node.op == operator.name) else { continue };
                    set(stage.point, Some(Answer::Option(index)));
                    for (id, param) in &operator.params {
                        set(*id, node.params.get(param.name.as_ref()).and_then(|value| param.domain.answer(value)));
                    }
                }
            }
            let kept = genotype.nodes.last().is_some_and(|network| network.inputs.len() > 1);
            set(questions.keep, Some(Answer::Option(usize::from(kept))));
            let mut known = KnownChoose { known, fallback: None };
            let mut record = RecordChoose { inner: &mut known, trace: Vec::new() };
            match self.build(&mut record) {
                Ok(built) if built == *genotype => Ok(record.trace),
                Ok(built) => Err(Error::Outside(format!("{genotype} is not the network that its answers build, {built}"))),
                Err(error) => Err(Error::Outside(format!(
                    "{genotype} is no chain of {} with all their parameters: {error}", STAGES.map(|(stage, _)| stage).join(", ")
                ))),
            }
        }

        fn starts(&self) -> Vec<Genotype> {
            presets().iter().filter_map(|preset| self.preset(preset).ok()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use automl_core::conformance::check_space;
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use automl_core::{Cancel, EvaluatorConfig, SearchSpace};
    use automl_ops::Tabular;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const INPUTS: [Input; 3] = [Input::Raw, Input::Numeric, Input::Dense];

    #[test]
    fn conforms_for_any_table_and_task() {
        for task in [Task::Classification, Task::Regression] {
            for input in INPUTS {
                check_space(&MlpTabular { task, input, balanced_starts: true }, 150, 4).unwrap();
            }
        }
    }

    #[test]
    fn presets_name_questions_that_exist() {
        let known = |key: &str| QUESTIONS.points.iter().find(|point| point.key == key);
        for (key, value) in presets().concat() {
            assert!(known(key).unwrap_or_else(|| panic!("{key}")).domain.answer(&value).is_some(), "{key} = {value}");
        }
        let starts = MlpTabular { input: Input::Dense, ..MlpTabular::default() }.starts();
        assert_eq!(starts.len(), presets().len());
        assert_eq!(starts[0].nodes.len(), 2);
        assert_eq!(starts[0].nodes[1].params["class_weight"], "balanced".into());
        let spline = &starts[1].nodes;
        assert_eq!((spline[1].op.as_str(), spline[2].inputs.as_slice()), ("spline", [0, 1].as_slice()));
    }

    #[test]
    fn what_lies_outside_is_refused_with_a_reason() {
        let space = MlpTabular { input: Input::Dense, ..MlpTabular::default() };
        let genotype = space.starts().remove(1);
        let refused = |change: &dyn Fn(&mut Genotype)| {
            let mut other = genotype.clone();
            change(&mut other);
            space.trace(&other).unwrap_err().to_string()
        };
        assert!(space.trace(&genotype).is_ok());
        assert!(refused(&|other| drop(other.nodes[2].params.remove("width"))).contains("mlp.width"));
        assert!(refused(&|other| other.nodes[1].op = "pca".into()).contains("is not the network"));
        let raw = MlpTabular::default().starts().remove(1);
        assert!(space.trace(&raw).is_err(), "nothing is to be encoded here");
    }

    #[test]
    fn every_candidate_runs_on_a_raw_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "colour,size,label,weight\n".to_owned();
        for row in 0..60 {
            let size = if row % 7 == 0 { String::new() } else { (row * 13 % 29).to_string() };
            writeln!(text, "{},{size},{},{}", ["red", "green", ""][row % 3], ["yes", "no"][row % 2], row % 5).unwrap();
        }
        let train = folder.path().join("train.csv");
        std::fs::write(&train, text).unwrap();
        for (target, task) in [("label", Task::Classification), ("weight", Task::Regression)] {
            let config = Tabular { train: train.clone(), target: target.into(), task: Some(task), ..Tabular::default() };
            let evaluator = config.build(1).unwrap();
            let space = MlpTabular { task, ..MlpTabular::default() };
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let sampled = (0..8).map(|_| sample(&space, &mut rng).unwrap());
            for mut genotype in space.starts().into_iter().chain(sampled) {
                *genotype.nodes.last_mut().unwrap().params.get_mut("epochs").unwrap() = Value::Int(5);
                let mut alone = automl_core::evaluator::Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() };
                let found = evaluator.evaluate(&genotype, &mut alone).unwrap_or_else(|stop| panic!("{genotype}: {stop}"));
                assert!(found.losses[0].is_finite());
                assert!(evaluator.price(&genotype, 1.0).unwrap().seconds > 0.0);
            }
        }
    }
}
