//! A kernel, decoded: what the decoder makes and the executor walks through.

pub mod form;

use crate::lanes::alu::{Alu, Operands};
use crate::lanes::registers::Reg;
use crate::lanes::test::Test;

use form::{
    Access, Atomic, Barrier, Bulk, Collective, CopyAsync, Fence, Matrix, Mbarrier, MmaOp, Shuffle, WgmmaOp,
    Window,
};

/// Shared addresses start here: hardware since sm_80 keeps the first KiB for itself, and so a null shared
/// pointer is out of bounds.
pub const SHARED_BASE: u32 = 1024;
/// Bits that tell a generic address of shared memory. No host or device address has them.
pub const SHARED_WINDOW: u64 = 0x4000_0000_0000_0000;
/// Likewise for local memory.
pub const LOCAL_WINDOW: u64 = 0x5000_0000_0000_0000;
/// Likewise for kernel parameters.
pub const PARAM_WINDOW: u64 = 0x6000_0000_0000_0000;
/// Mask of the bits that tell windows apart.
pub const WINDOW_MASK: u64 = 0x7000_0000_0000_0000;

/// A decoded kernel. Registers are numbered in [`Cells`](crate::lanes::registers::Cells).
#[derive(Debug, Default)]
pub struct Program {
    /// The instructions.
    pub ops: Vec<Op>,
    /// Where each comes from.
    pub sources: Vec<Source>,
    /// Paths of the `.file` directives, by the index that [`Source::file`] holds.
    pub files: Vec<(u32, String)>,
    /// Cells of registers that a warp has.
    pub cells: u32,
    /// Predicates that a warp has.
    pub predicates: u32,
    /// Registers that hold a constant: all lanes of `true` ones are 64 bits wide.
    pub constants: Vec<(Reg, u64, bool)>,
    /// Registers that hold what differs between launches, blocks, warps or lanes.
    pub specials: Vec<(Reg, Special)>,
    /// Bytes of static shared memory.
    pub static_shared: u32,
    /// Alignment of dynamic shared memory.
    pub dynamic_align: u32,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
    /// Width of the narrowest access to shared memory.
    pub shared_granule: u32,
    /// Width of the narrowest access to global memory.
    pub global_granule: u32,
    /// Most registers declared, as an upper bound of what a thread needs.
    pub registers: u32,
}

/// Where an instruction comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Line in the PTX text.
    pub line: u32,
    /// Index of the `.file`, and line in it; 0 if the PTX has no `.loc`.
    pub file: u32,
    /// See `file`.
    pub file_line: u32,
    /// File and line of the call, if it is in a function that was inlined.
    pub caller: Option<(u32, u32)>,
    /// False for the second and later steps of one PTX instruction: not counted.
    pub first: bool,
}

/// An instruction.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub code: Code,
    /// Lanes that do it.
    pub guard: Option<Guard>,
    /// Registers of arithmetic and of codes that say so.
    pub operands: Operands,
}

/// `@p` or `@!p`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Predicate.
    pub predicate: u32,
    /// `@!p`
    pub negated: bool,
}

/// A predicate as an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `p`, or `!p` if the flag is set.
    Predicate(u32, bool),
    /// A constant.
    Constant(bool),
}

/// A logical operation of predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    /// Both.
    And,
    /// Either.
    Or,
    /// One.
    Xor,
    /// The first.
    First,
}

/// What an instruction does. `d`, `s0`… are of [`Op::operands`].
#[derive(Clone, Debug)]
pub enum Code {
    /// Arithmetic.
    Alu(Alu),
    /// `setp`: predicate `d` = test of `s0`, `s1`.
    Test(Test),
    /// `setp.lt.and.s32 d|other, …, with`: the test and its complement, each combined with a predicate.
    TestCombine(Test, Logic, Condition, Option<u32>),
    /// Predicate `d` from two.
    Predicate(Logic, Condition, Condition),
    /// `selp`: `d` = `s0` or `s1`; of 64 bits if the flag is set.
    Select(Condition, bool),
    /// `add.cc`, `addc`, `sub.cc`, `subc`: `d` from `s0`, `s1`. The carry is a predicate.
    Carry {
        /// `sub`, whose carry is a borrow.
        subtract: bool,
        /// The carry that is added.
        carry_in: Option<u32>,
        /// The carry that is written.
        carry_out: Option<u32>,
        /// On 64 bits.
        wide: bool,
    },
    /// To an instruction.
    Branch(u32),
    /// `brx.idx`: to one of several by `s0`.
    Switch(Box<[u32]>),
    /// `exit`, or `ret` of the kernel.
    Exit,
    /// `trap`
    Trap,
    /// `ld`
    Load(Box<Access>),
    /// `st`
    Store(Box<Access>),
    /// `atom`, `red`
    Atomic(Box<Atomic>),
    /// `isspacep`: predicate `d`, address `s0`.
    IsSpace(Window),
    /// `prefetch` and other hints: nothing.
    Nothing,
    /// `shfl.sync`
    Shuffle(Box<Shuffle>),
    /// `vote.sync`, `match.sync`, `redux.sync`, `activemask`, `elect.sync`
    Collective(Box<Collective>),
    /// `bar`, `barrier`
    Barrier(Box<Barrier>),
    /// `bar.warp.sync` with the mask in `s0`.
    WarpSync,
    /// `membar`, `fence`
    Fence(Fence),
    /// `cp.async`
    CopyAsync(Box<CopyAsync>),
    /// `cp.async.commit_group`
    CopyCommit,
    /// `cp.async.wait_group n`; `None`: `wait_all`
    CopyWait(Option<u32>),
    /// `mbarrier.*`
    Mbarrier(Box<Mbarrier>),
    /// `cp.async.bulk.*`
    Bulk(Box<Bulk>),
    /// `cp.async.bulk.commit_group`
    BulkCommit,
    /// `cp.async.bulk.wait_group{.read} n`
    BulkWait(u32, bool),
    /// `ldmatrix`
    LoadMatrix(Box<Matrix>),
    /// `stmatrix`
    StoreMatrix(Box<Matrix>),
    /// `movmatrix`: `d` = transpose of `s0`.
    MoveMatrix,
    /// `mma.sync`
    Mma(Box<MmaOp>),
    /// `wgmma.fence`
    WgmmaFence,
    /// `wgmma.commit_group`
    WgmmaCommit,
    /// `wgmma.wait_group n`
    WgmmaWait(u32),
    /// `wgmma.mma_async`
    Wgmma(Box<WgmmaOp>),
}

/// A value that a launch, block, warp or lane brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // named as PTX's special registers
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NwarpId,
    LaneMask(std::cmp::Ordering, bool),
    SmId,
    NsmId,
    GridId,
    Clock,
    Clock64,
    GlobalTimer,
    DynamicSharedSize,
    TotalSharedSize,
    /// Address of dynamic shared memory; of 64 bits if the flag is set.
    DynamicShared(bool),
    Zero,
    One,
}
