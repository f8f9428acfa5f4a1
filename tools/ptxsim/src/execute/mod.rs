//! The executor: warps in lock step over decoded instructions.
//!
//! * [`warp`]: the lanes of a warp, in groups that share a program counter, and the walk through the program.
//! * [`block`]: the warps of a block, its memories, and who runs when.
//! * `access`, `shared`, `atomic`: loads, stores, atomics. `barrier`, `mbarrier`: waiting. `collective`: exchanges
//!   between lanes. `matrix`, `wgmma`: tensor cores. `copy`, `bulk`: asynchronous copies. `report`: findings.

mod access;
mod atomic;
mod barrier;
pub mod block;
mod bulk;
mod collective;
mod copy;
mod matrix;
mod mbarrier;
mod report;
mod shared;
pub mod warp;
mod wgmma;
