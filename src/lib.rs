//! Self-supervised video pretraining by hierarchically decoupled spatial-temporal contrast
//! (HDC, Zhang & Crandall, WACV 2022).
//!
//! Modules import leftwards only:
//! `error → tensor → device → ops → graph → models → optim → data → train → eval → cli`
//! (`data` sees only `error` and `tensor`). One clip can be followed from file to gradient in that order.
#![warn(missing_docs)]

pub mod error;
pub mod tensor;

pub mod device;
pub mod ops;

pub mod graph;
pub mod models;

pub mod optim;

pub mod data;

pub mod train;

pub mod eval;

pub mod cli;

pub use error::{Error, Result};
