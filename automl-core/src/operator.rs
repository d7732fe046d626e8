//! What a search knows about an operator: its name, its ports and its parameters.
//!
//! Behaviour (fitting, training) is defined by the crates that execute genotypes; the core only enumerates.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::genotype::{Params, Value};
use crate::space::Domain;

/// What flows along an edge, such as `dense` or `prediction`.
pub type Kind = Cow<'static, str>;

/// An input of an operator: takes the union of the edges whose kind it accepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Kinds accepted; the ports of one operator accept disjoint kinds, so a kind tells the port.
    pub accepts: Vec<Kind>,
    /// Whether at least one edge must arrive.
    #[serde(default = "yes")]
    pub required: bool,
    /// At most this many edges; `None`: as many as the space's fan-in allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

fn yes() -> bool {
    true
}

impl Port {
    /// A required port for any number of edges of these kinds.
    pub fn of(accepts: &[&'static str]) -> Self {
        Self { accepts: accepts.iter().map(|&kind| Kind::Borrowed(kind)).collect(), required: true, max: None }
    }
}

/// A parameter of an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it can be.
    pub domain: Domain,
    /// Its value where nobody tunes it; inside the domain.
    pub default: Value,
    /// The parameter exists only where an earlier one has one of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// One line for the listing.
    #[serde(default)]
    pub summary: Cow<'static, str>,
}

/// The condition of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// An earlier parameter of the same operator.
    pub param: Cow<'static, str>,
    /// Its values for which the condition holds.
    pub is: Vec<Value>,
}

impl Param {
    /// A number between two bounds.
    pub fn float(name: &'static str, lo: f64, hi: f64, default: f64) -> Self {
        Self::new(name, Domain::Float { lo, hi, log: false }, Value::Float(default))
    }

    /// A whole number between two bounds.
    pub fn int(name: &'static str, lo: i64, hi: i64, default: i64) -> Self {
        Self::new(name, Domain::Int { lo, hi, log: false }, Value::Int(default))
    }

    /// One of several names; the first is the default.
    pub fn choice(name: &'static str, options: &[&str]) -> Self {
        let options: Vec<Value> = options.iter().map(|&option| Value::from(option)).collect();
        let default = options.first().cloned().unwrap_or(Value::Bool(false));
        Self::new(name, Domain::Choice(options), default)
    }

    /// A switch.
    pub fn switch(name: &'static str, default: bool) -> Self {
        Self::new(name, Domain::Choice(vec![Value::Bool(false), Value::Bool(true)]), Value::Bool(default))
    }

    fn new(name: &'static str, domain: Domain, default: Value) -> Self {
        Self { name: Cow::Borrowed(name), domain, default, when: None, summary: Cow::Borrowed("") }
    }

    /// The same number on a log scale.
    #[must_use]
    pub fn log(mut self) -> Self {
        match &mut self.domain {
            Domain::Int { log, .. } | Domain::Float { log, .. } => *log = true,
            Domain::Choice(_) => {}
        }
        self
    }

    /// The same parameter, which exists only where `param` has one of these values.
    #[must_use]
    pub fn when(mut self, param: &'static str, is: &[Value]) -> Self {
        self.when = Some(When { param: Cow::Borrowed(param), is: is.to_vec() });
        self
    }

    /// The same parameter with a line of documentation.
    #[must_use]
    pub fn about(mut self, summary: &'static str) -> Self {
        self.summary = Cow::Borrowed(summary);
        self
    }

    /// Whether the parameter exists beside these values of the earlier ones.
    pub fn applies(&self, earlier: &Params) -> bool {
        self.when.as_ref().is_none_or(|when| earlier.get(when.param.as_ref()).is_some_and(|value| when.is.contains(value)))
    }
}

/// The default of every parameter that applies.
pub fn defaults(params: &[Param]) -> Params {
    let mut values = Params::new();
    for param in params {
        if param.applies(&values) {
            values.insert(param.name.to_string(), param.default.clone());
        }
    }
    values
}

/// An operator as a search sees it.
pub trait Operator: Send + Sync {
    /// Its name in genotypes: snake_case; third parties prefix theirs, `acme/robust_pca`.
    fn name(&self) -> &'static str;
    /// One line for the listing.
    fn summary(&self) -> &'static str;
    /// Who shares a gene pool with it, such as `tabular`.
    fn family(&self) -> &'static str;
    /// Its inputs.
    fn inputs(&self) -> Vec<Port>;
    /// What it emits.
    fn output(&self) -> Kind;
    /// Its parameters, in the order in which they are asked.
    fn params(&self) -> Vec<Param>;
}
