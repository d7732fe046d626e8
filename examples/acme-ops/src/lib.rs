//! Tabular operators of a third party: one file each, and nothing but `mod` lines here.

mod robust_scale;
