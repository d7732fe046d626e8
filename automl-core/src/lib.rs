//! What every search stands on.
pub mod cancel;

pub use cancel::Cancel;
