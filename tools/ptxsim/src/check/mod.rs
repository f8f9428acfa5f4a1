//! The checker: what must have happened before what.
//!
//! Every thread of a block has a vector clock, in the manner of FastTrack (Flanagan & Freund, PLDI 2009): barriers,
//! fences with atomics, mbarriers and `bar.warp.sync` join clocks, and an access that conflicts with an earlier one
//! whose stamp its thread's clock does not cover is a race, whether or not this run had a wrong result.
//! Shadow memory remembers the last write and the reads since, in cells as narrow as the kernel's narrowest access.
//!
//! * [`clock`]: clocks of one block's threads, and what they know of asynchronous copies, of the asynchronous proxy
//!   and of other blocks.
//! * [`shared`]: shadow of a block's shared memory.
//! * [`global`]: shadow of global memory for one launch, between blocks too.
//! * [`finding`]: what is reported.

pub mod clock;
pub mod finding;
pub mod global;
pub mod shared;
