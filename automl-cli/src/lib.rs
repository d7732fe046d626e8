//! The command line of automl.

pub mod config;
pub mod duration;
