//! The one error type of this crate: what went wrong, where, what else was possible, what to do next.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a config and the end of a study.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An answer to a question of the space that the space does not allow.
    #[error("`{point}` cannot be {answer}: the space allows {allowed} here")]
    Illegal {
        /// Key of the point.
        point: String,
        /// What was answered.
        answer: String,
        /// The legal alternatives.
        allowed: String,
    },
    /// A genotype that lies outside a space.
    #[error("this genotype lies outside the space: {0}")]
    Outside(String),
    /// Whoever answers the questions of a space has no further answer.
    #[error("the answers end before the question `{0}`; give one answer more")]
    Unanswered(String),
    /// A space, strategy or study that contradicts itself.
    #[error("{place}: {problem}")]
    Config {
        /// The dotted path of the setting, such as `space.depth.min`.
        place: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// Two plugins with the same kind and name.
    #[error(
        "two linked crates register the {kind} `{name}`: `{first}` and `{second}`; rename one (third parties prefix `crate/`) or link one of them"
    )]
    Clash {
        /// Kind of both plugins.
        kind: &'static str,
        /// Their common name.
        name: String,
        /// Crate of the first.
        first: String,
        /// Crate of the second.
        second: String,
    },
    /// A name that no linked plugin has.
    #[error(
        "no {kind} is named `{name}`{}; `automl plugins --kind {kind}` lists those linked into this program",
        did_you_mean(near)
    )]
    Unknown {
        /// What was looked for, such as `operator`.
        kind: &'static str,
        /// The name that was not found.
        name: String,
        /// The nearest existing name.
        near: Option<String>,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A journal that does not read as one.
    #[error("{}:{line}: {problem}", path.display())]
    Journal {
        /// The journal file.
        path: PathBuf,
        /// Line of the record, from 1.
        line: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A replay that proposes something else than the journal tells.
    #[error(
        "trial {id} of the journal is not what the strategy proposes now: the journal comes from another version, config or plugin; resume with the program that wrote it, or start a new run directory"
    )]
    Replay {
        /// The first trial that differs.
        id: u64,
    },
    /// Anything a plugin reports in its own words.
    #[error("{0}")]
    Plugin(String),
}

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// An [`Error::Config`] at the dotted path `place`.
    pub fn config(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config { place: place.into(), problem: problem.into() }
    }

    /// An [`Error::Unknown`] with the nearest of `known`.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Unknown { kind, name: name.to_owned(), near: nearest(name, known) }
    }
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// The candidate that a reader most likely meant by `name`, if one is near enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["random", "regularized_evolution"];
        assert_eq!(nearest("randon", known).as_deref(), Some("random"));
        assert_eq!(nearest("regularised_evolution", known).as_deref(), Some("regularized_evolution"));
        assert_eq!(nearest("bayes", known), None);
    }
}
