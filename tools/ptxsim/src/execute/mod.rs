//! The executor: warps in lock step over decoded instructions.
//!
//! * [`registers`], [`alu`] (`table`, `common`, `rare`), [`mod@test`], [`arithmetic`]: values.
//! * [`warp`]: the lanes of a warp, in groups that share a program counter, and the walk through the program.
//! * [`block`]: the warps of a block, its memories, and who runs when.
//! * `access`, `atomic`: loads, stores, atomics. `barrier`, `mbarrier`: waiting. `collective`: exchanges between
//!   lanes. `matrix`: tensor cores. `copy`, `bulk`: asynchronous
//!   copies. `report`: findings.

mod access;
pub mod alu;
pub mod arithmetic;
mod atomic;
mod barrier;
pub mod block;
mod bulk;
mod collective;
mod common;
mod copy;
mod matrix;
mod mbarrier;
mod rare;
pub mod registers;
mod report;
mod table;
pub mod test;
pub mod warp;
