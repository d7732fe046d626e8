//! Crossovers: two parents, one child.

mod heredity_layer;
mod uniform;

pub use heredity_layer::HeredityLayer;
pub use uniform::Uniform;
