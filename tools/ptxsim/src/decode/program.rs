//! A kernel, decoded: what the executor walks through.

use crate::execute::alu::{Alu, Operands};
use crate::execute::registers::Reg;
use crate::execute::test::Test;
use crate::tensor_core::mma::Mma;
use crate::tensor_core::wgmma::{Major, Wgmma};

/// A decoded kernel. Registers are numbered in [`Cells`](crate::execute::registers::Cells).
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
    /// `add.cc`, `addc`, `sub.cc`, `subc`. The carry is a predicate.
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
    /// `prefetch` and hints: nothing, but the address is checked for being in memory at all by nobody.
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

/// An address: register plus bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Register.
    pub base: Reg,
    /// 64 bits wide.
    pub wide: bool,
    /// Bytes added.
    pub offset: i64,
}

/// The state space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Global memory; constants are there too.
    Global,
    /// Shared memory of the block.
    Shared,
    /// Local memory of the thread.
    Local,
    /// Parameters of the kernel.
    Param,
    /// Any of these, by address.
    Generic,
}

/// Ordering of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A plain access: data.
    Weak,
    /// Strong (volatile, relaxed): no race, no ordering of others.
    Relaxed,
    /// Sees what was released.
    Acquire,
    /// Releases what came before.
    Release,
    /// Both.
    AcquireRelease,
}

impl Order {
    /// Acquires.
    pub fn acquires(self) -> bool {
        matches!(self, Order::Acquire | Order::AcquireRelease)
    }

    /// Releases.
    pub fn releases(self) -> bool {
        matches!(self, Order::Release | Order::AcquireRelease)
    }
}

/// `ld`, `st`
#[derive(Clone, Debug)]
pub struct Access {
    /// Where.
    pub window: Window,
    /// Address.
    pub address: Address,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub bytes: u32,
    /// Elements of a load are sign-extended.
    pub signed: bool,
    /// A register an element, with its width in bits; `None` for `_`.
    pub registers: Vec<Option<(Reg, u32)>>,
    /// Ordering.
    pub order: Order,
}

/// What an atomic operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Sum.
    Add,
    /// Smaller.
    Min,
    /// Larger.
    Max,
    /// `(old >= b) ? 0 : old + 1`
    Inc,
    /// `(old == 0 || old > b) ? b : old - 1`
    Dec,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Exchange.
    Exchange,
    /// Compare and swap.
    CompareSwap,
}

/// A type of an atomic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    B16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
}

impl Scalar {
    /// Bytes in memory.
    pub fn bytes(self) -> u32 {
        match self {
            Scalar::B16 | Scalar::F16 | Scalar::Bf16 => 2,
            Scalar::U64 | Scalar::S64 | Scalar::F64 => 8,
            _ => 4,
        }
    }
}

/// `atom`, `red`
#[derive(Clone, Debug)]
pub struct Atomic {
    /// Where.
    pub window: Window,
    /// Address.
    pub address: Address,
    /// What.
    pub update: Update,
    /// On what.
    pub scalar: Scalar,
    /// Registers for the old values; none for `red`. More than one for a vector.
    pub old: Vec<Reg>,
    /// Operand `b`, one an element.
    pub b: Vec<Reg>,
    /// Operand `c` of compare and swap.
    pub c: Option<Reg>,
    /// Ordering.
    pub order: Order,
}

/// How `shfl` finds its source lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// `shfl.sync`: `d` = `s0` of the lane that `s1`, `s2` say, among the lanes of `s3`.
#[derive(Clone, Debug)]
pub struct Shuffle {
    /// Mode.
    pub mode: ShuffleMode,
    /// Predicate: the source lane was in range.
    pub in_range: Option<u32>,
}

/// A collective operation over the lanes of a mask.
#[derive(Clone, Debug)]
pub struct Collective {
    /// What.
    pub kind: CollectiveKind,
    /// The mask of members.
    pub members: Option<Reg>,
    /// A predicate that it writes.
    pub predicate: Option<u32>,
    /// A register that it writes.
    pub result: Option<Reg>,
    /// The value that it reads, and whether it is 64 bits wide.
    pub value: Option<(Reg, bool)>,
    /// The condition that it reads.
    pub condition: Option<Condition>,
}

/// Kinds of [`Collective`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CollectiveKind {
    All,
    Any,
    Uniform,
    Ballot,
    MatchAny,
    MatchAll,
    ReduxAdd,
    ReduxMinU,
    ReduxMaxU,
    ReduxMinS,
    ReduxMaxS,
    ReduxAnd,
    ReduxOr,
    ReduxXor,
    ActiveMask,
    Elect,
}

/// `bar`, `barrier`: `s0` its number, `s1` the number of threads if `counted`.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Only arrives, does not wait.
    pub arrive_only: bool,
    /// All lanes of a warp shall come together.
    pub aligned: bool,
    /// `s1` holds the number of threads.
    pub counted: bool,
    /// `barrier.red`: how, the condition, and the result: a predicate, or a register for `popc`.
    pub reduce: Option<(BarrierReduce, Condition)>,
    /// `barrier.cluster`: with a cluster of one block, the block's own.
    pub cluster: bool,
    /// `barrier.cluster.wait`
    pub wait_only: bool,
}

/// `barrier.red.*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierReduce {
    /// Count into register `d`.
    Popc,
    /// Conjunction into predicate `d`.
    And,
    /// Disjunction into predicate `d`.
    Or,
}

/// `membar`, `fence`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Ordering within the block.
    Block,
    /// Ordering on the device.
    Device,
    /// `fence.proxy.async`
    ProxyAsync,
    /// `fence.mbarrier_init`
    MbarrierInit,
    /// Proxies that this machine does not tell apart (tensormap, alias, constant).
    OtherProxy,
}

/// `cp.async`: `s2` the bytes to read if `sized`; the rest is zero.
#[derive(Clone, Debug)]
pub struct CopyAsync {
    /// Shared address.
    pub destination: Address,
    /// Global address.
    pub source: Address,
    /// Bytes written: 4, 8 or 16.
    pub bytes: u32,
    /// Register with the bytes to read.
    pub size: Option<Reg>,
    /// Reads nothing where it holds.
    pub ignore: Option<Condition>,
}

/// `mbarrier.*`
#[derive(Clone, Debug)]
pub struct Mbarrier {
    /// What.
    pub kind: MbarrierKind,
    /// The barrier's shared address (or generic).
    pub address: Address,
    /// The address is generic.
    pub generic: bool,
    /// Count, bytes, or phase to wait for.
    pub value: Option<Reg>,
    /// The state (64 bits) that it writes or reads.
    pub state: Option<Reg>,
    /// The predicate that it writes.
    pub predicate: Option<u32>,
}

/// Kinds of [`Mbarrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbarrierKind {
    /// `init`
    Init,
    /// `inval`
    Invalidate,
    /// `expect_tx`
    ExpectTx,
    /// `complete_tx`
    CompleteTx,
    /// `arrive`, `arrive.noComplete`
    Arrive,
    /// `arrive.expect_tx`
    ArriveExpectTx,
    /// `arrive_drop`
    ArriveDrop,
    /// `test_wait`: does not wait.
    TestState,
    /// `test_wait.parity`
    TestParity,
    /// `try_wait`: may wait.
    TryState,
    /// `try_wait.parity`
    TryParity,
    /// `pending_count`: `value` from a state.
    PendingCount,
    /// `cp.async.mbarrier.arrive`: counted as an arrival beyond those expected.
    CopyArrive,
    /// `cp.async.mbarrier.arrive.noinc`
    CopyArriveNoInc,
}

/// `cp.async.bulk.*`
#[derive(Clone, Debug)]
pub struct Bulk {
    /// What.
    pub kind: BulkKind,
    /// Shared address: destination of a load, source of a store.
    pub shared: Option<Address>,
    /// Global address of a plain copy, or generic address of the tensor map.
    pub global: Address,
    /// Coordinates of a tensor copy.
    pub coordinates: Vec<Reg>,
    /// Offsets of an im2col copy (16 bits).
    pub offsets: Vec<Reg>,
    /// Bytes of a plain copy.
    pub size: Option<Reg>,
    /// The mbarrier that a load completes on.
    pub mbarrier: Option<Address>,
}

/// Kinds of [`Bulk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkKind {
    /// Global to shared.
    Load,
    /// Shared to global.
    Store,
    /// Tensor to shared.
    TensorLoad,
    /// Shared to tensor.
    TensorStore,
    /// Shared onto tensor, combining.
    TensorReduce(Update),
    /// Shared onto global, combining values of a type.
    Reduce(Update, Scalar),
}

/// `ldmatrix`, `stmatrix`
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Shared address of each row.
    pub address: Address,
    /// The address is generic.
    pub generic: bool,
    /// A register a matrix.
    pub registers: Vec<Reg>,
    /// `.trans`
    pub transposed: bool,
}

/// `mma.sync`
#[derive(Clone, Debug)]
pub struct MmaOp {
    /// Shape and types.
    pub mma: Mma,
    /// Registers of the fragments.
    pub d: Vec<Reg>,
    /// See `d`.
    pub a: Vec<Reg>,
    /// See `d`.
    pub b: Vec<Reg>,
    /// See `d`.
    pub c: Vec<Reg>,
}

/// `wgmma.mma_async`
#[derive(Clone, Debug)]
pub struct WgmmaOp {
    /// Shape, types, majors, signs.
    pub wgmma: Wgmma,
    /// Registers of the accumulator.
    pub d: Vec<Reg>,
    /// A's four registers.
    pub a: Vec<Reg>,
    /// A's descriptor, if it is in shared memory.
    pub a_descriptor: Option<Reg>,
    /// B's descriptor.
    pub b_descriptor: Reg,
    /// How A lies in shared memory.
    pub a_major: Major,
    /// How B does.
    pub b_major: Major,
    /// A is negated.
    pub negate_a: bool,
    /// B is negated.
    pub negate_b: bool,
    /// d is added to.
    pub scale_d: Condition,
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
