//! What several strategies say of their settings.

use automl_core::{Error, Result};

/// Refuses the first setting that is zero.
pub(crate) fn at_least_one(settings: &[(&str, usize)]) -> Result<()> {
    match settings.iter().find(|(_, value)| *value == 0) {
        Some((place, _)) => Err(Error::config(format!("strategy.{place}"), "must be at least 1")),
        None => Ok(()),
    }
}

/// An error of a strategy that is the setting `field` of another one: it believes that its config is the outer one.
pub(crate) fn inside(field: &str, error: Error) -> Error {
    match error {
        Error::Config { place, problem } => match place.strip_prefix("strategy") {
            Some(rest) => Error::Config { place: format!("strategy.{field}{rest}"), problem },
            None => Error::Config { place, problem },
        },
        error => error,
    }
}
