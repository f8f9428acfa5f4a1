//! Evaluation: verification against golden files.

pub mod verify;
