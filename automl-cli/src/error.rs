//! Errors of the command line, each with its exit code.

use automl_nas::images::ImageError;
use automl_nas::tensor::checkpoint::CheckpointError;
use automl_ops::table::DataError;
use automl_ops::{ModelError, Task};

use crate::config::ConfigError;

/// An error that ends a command.
#[derive(Debug)]
pub struct CliError {
    code: u8,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text(String),
    Config(Box<ConfigError>),
}

impl CliError {
    /// Something failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, kind: Kind::Text(message.into()) }
    }

    /// Wrong usage or config: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, kind: Kind::Text(message.into()) }
    }

    /// Bad data: exit code 3.
    pub fn data(message: impl Into<String>) -> Self {
        Self { code: 3, kind: Kind::Text(message.into()) }
    }

    /// No model within the budget: exit code 4.
    pub fn no_model(message: impl Into<String>) -> Self {
        Self { code: 4, kind: Kind::Text(message.into()) }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The message for a terminal.
    pub fn render(&self, color: bool) -> String {
        match &self.kind {
            Kind::Text(text) => format!("error: {text}"),
            Kind::Config(error) => error.render(color),
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { code: 2, kind: Kind::Config(Box::new(error)) }
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> Self {
        Self::data(error.to_string())
    }
}

impl From<ModelError> for CliError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Data(error) => error.into(),
            ModelError::Damaged { .. } | ModelError::Io { .. } => Self::data(error.to_string()),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<automl_core::Error> for CliError {
    fn from(error: automl_core::Error) -> Self {
        use automl_core::Error;
        match error {
            Error::Journal { .. } => Self::data(error.to_string()),
            Error::Config { .. } | Error::Unknown { .. } | Error::Clash { .. } => Self::usage(error.to_string()),
            error => Self::failed(error.to_string()),
        }
    }
}

/// Errors of plugins come boxed: data errors and config errors keep their exit codes.
impl From<Box<dyn std::error::Error + Send + Sync>> for CliError {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let error = match error.downcast::<DataError>() {
            Ok(error) => return (*error).into(),
            Err(error) => error,
        };
        let error = match error.downcast::<ImageError>() {
            Ok(error) => return Self::data(error.to_string()),
            Err(error) => error,
        };
        let error = match error.downcast::<CheckpointError>() {
            Ok(error) => return Self::data(error.to_string()),
            Err(error) => error,
        };
        match error.downcast::<automl_core::Error>() {
            Ok(error) => (*error).into(),
            Err(error) => Self::usage(error.to_string()),
        }
    }
}

/// The task of a flag value; `auto` is none.
pub fn task(name: &str) -> Option<Task> {
    match name {
        "classification" => Some(Task::Classification),
        "regression" => Some(Task::Regression),
        _ => None,
    }
}
