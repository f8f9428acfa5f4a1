#![doc = include_str!("../README.md")]

pub mod async_copy;
pub mod check;
pub mod counters;
pub mod cuda;
pub mod decode;
pub mod device;
pub mod driver;
pub mod execute;
pub mod lanes;
pub mod launch;
pub mod memory;
pub mod module;
pub mod parse;
pub mod program;
pub mod report;
pub mod tensor_core;

/// A 32-bit register of a warp: one value a lane.
pub type Row = [u32; 32];
