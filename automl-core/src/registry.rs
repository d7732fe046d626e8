//! The plugins linked into this program.
//!
//! A plugin is one file in any crate, with no central edit: [`plugin!`](macro@crate::plugin) registers what a config names by `type`
//! (strategies, spaces, evaluators, mutations, crossovers), [`operator!`](macro@crate::operator) what a search enumerates. Linking
//! decides what is there, and inventory has no order, so everything here sorts by kind and name.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::operator::Operator;

/// A linked plugin that a config names by its `type`.
#[derive(Debug)]
pub struct Plugin {
    /// `strategy`, `space`, `evaluator`, `mutation` or `crossover`.
    pub kind: &'static str,
    /// Its `type` in a config.
    pub name: &'static str,
    /// The crate that registers it.
    pub package: &'static str,
    /// That crate's version.
    pub version: &'static str,
    /// JSON Schema of its parameters; the description is the plugin's own documentation.
    pub schema: fn() -> Value,
    /// A config with every parameter at its default, `type` first.
    pub example: fn() -> Value,
    /// Parses a config and prints it back.
    pub parse: fn(Value) -> Result<Value, String>,
}

inventory::collect!(Plugin);

impl Plugin {
    /// First line of the plugin's documentation.
    pub fn summary(&self) -> String {
        let schema = (self.schema)();
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// A linked operator.
pub struct OperatorEntry {
    /// The operator.
    pub operator: &'static dyn Operator,
    /// The crate that registers it.
    pub package: &'static str,
    /// That crate's version.
    pub version: &'static str,
}

inventory::collect!(OperatorEntry);

/// All linked plugins, by kind and name.
pub fn plugins() -> Vec<&'static Plugin> {
    let mut plugins: Vec<&Plugin> = inventory::iter::<Plugin>().collect();
    plugins.sort_by_key(|plugin| (plugin.kind, plugin.name, plugin.package));
    plugins
}

/// All linked operators, by name.
pub fn operators() -> Vec<&'static OperatorEntry> {
    let mut operators: Vec<&OperatorEntry> = inventory::iter::<OperatorEntry>().collect();
    operators.sort_by_key(|entry| (entry.operator.name(), entry.package));
    operators
}

/// The linked operator of that name.
///
/// # Errors
/// [`Error::Unknown`] with the nearest name.
pub fn operator(name: &str) -> Result<&'static OperatorEntry> {
    let operators = operators();
    let found = operators.iter().find(|entry| entry.operator.name() == name);
    found.copied().ok_or_else(|| Error::unknown("operator", name, operators.iter().map(|entry| entry.operator.name())))
}

/// Refuses two plugins of the same kind and name: which one a config meant would depend on link order.
///
/// # Errors
/// [`Error::Clash`] that names both crates.
pub fn check() -> Result<()> {
    let operators = operators();
    let operators = operators.iter().map(|entry| ("operator", entry.operator.name(), entry.package));
    let all: Vec<_> = plugins().into_iter().map(|plugin| (plugin.kind, plugin.name, plugin.package)).chain(operators).collect();
    match all.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        None => Ok(()),
        Some(pair) => Err(Error::Clash {
            kind: pair[0].0,
            name: pair[0].1.to_owned(),
            first: pair[0].2.to_owned(),
            second: pair[1].2.to_owned(),
        }),
    }
}

/// Registers what a config names by its `type`, with its listing, schema, example and conformance tests.
///
/// The type must be `Debug + Clone + Default + Serialize + Deserialize + JsonSchema`, with `#[serde(default,
/// deny_unknown_fields)]`; a plugin crate needs `automl-core` and `serde`, and writes `#[schemars(crate =
/// "automl_core::schemars")]` beside the derive.
///
/// ```
/// use automl_core::{Mutation, plugin, schemars::JsonSchema};
/// use serde::{Deserialize, Serialize};
///
/// /// Leaves everything as it is.
/// #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(default, deny_unknown_fields)]
/// #[schemars(crate = "automl_core::schemars")]
/// struct Nothing {}
///
/// plugin! {
///     "doc/nothing",
///     impl Mutation for Nothing {
///         fn mutate(
///             &self,
///             _: &automl_core::Genotype,
///             _: &dyn automl_core::SearchSpace,
///             _: &mut dyn automl_core::rand::Rng,
///         ) -> automl_core::Result<Option<automl_core::Genotype>> {
///             Ok(None)
///         }
///     }
/// }
/// assert!(automl_core::registry::plugins().iter().any(|plugin| plugin.name == "doc/nothing"));
/// ```
#[macro_export]
macro_rules! plugin {
    ($name:literal, impl StrategyConfig for $type:ty { $($body:tt)* }) => {
        $crate::plugin!(@ "strategy", $name, StrategyConfig, $type, $($body)*);
    };
    ($name:literal, impl SearchSpace for $type:ty { $($body:tt)* }) => {
        $crate::plugin!(@ "space", $name, SearchSpace, $type, $($body)*);
    };
    ($name:literal, impl EvaluatorConfig for $type:ty { $($body:tt)* }) => {
        $crate::plugin!(@ "evaluator", $name, EvaluatorConfig, $type, $($body)*);
    };
    ($name:literal, impl Mutation for $type:ty { $($body:tt)* }) => {
        $crate::plugin!(@ "mutation", $name, Mutation, $type, $($body)*);
    };
    ($name:literal, impl Crossover for $type:ty { $($body:tt)* }) => {
        $crate::plugin!(@ "crossover", $name, Crossover, $type, $($body)*);
    };
    (@ $kind:literal, $name:literal, $trait:ident, $type:ty, $($body:tt)*) => {
        const _: () = {
            // The attribute expands to paths that start with `typetag`.
            use $crate::typetag;
            #[typetag::serde(name = $name)]
            impl $crate::$trait for $type {
                $($body)*
            }
            $crate::inventory::submit! {
                $crate::registry::Plugin {
                    kind: $kind,
                    name: $name,
                    package: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    schema: || $crate::schemars::schema_for!($type).to_value(),
                    example: || {
                        let example: ::std::boxed::Box<dyn $crate::$trait> =
                            ::std::boxed::Box::new(<$type as ::std::default::Default>::default());
                        $crate::serde_json::to_value(&example).unwrap_or_default()
                    },
                    parse: |config| {
                        let parsed: ::std::boxed::Box<dyn $crate::$trait> =
                            $crate::serde_json::from_value(config).map_err(|error| error.to_string())?;
                        $crate::serde_json::to_value(&parsed).map_err(|error| error.to_string())
                    },
                }
            }
        };
    };
}

/// Registers an operator's metadata. Crates that execute operators wrap this in a macro that registers the behaviour, too.
#[macro_export]
macro_rules! operator {
    ($operator:expr) => {
        $crate::inventory::submit! {
            $crate::registry::OperatorEntry {
                operator: &$operator,
                package: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
            }
        }
    };
}
