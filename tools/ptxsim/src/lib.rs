//! A CUDA driver that runs PTX on the CPU, and finds its races.

pub mod async_copy;
pub mod memory;
pub mod parse;
pub mod tensor_core;

/// A 32-bit register of a warp: one value a lane.
pub type Row = [u32; 32];
