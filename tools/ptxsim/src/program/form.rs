//! The forms of instructions that need more than registers: what they hold besides, decoded.

use crate::lanes::registers::Reg;
use crate::tensor_core::mma::Mma;
use crate::tensor_core::wgmma::{Major, Wgmma};

use super::Condition;

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

impl Access {
    /// A loaded element, sign- or zero-extended.
    #[inline(always)]
    pub fn extended(&self, value: u64) -> u64 {
        let shift = 64 - 8 * self.bytes;
        if self.signed { ((value << shift) as i64 >> shift) as u64 } else { value << shift >> shift }
    }
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

/// `cp.async`: what is not read is zero.
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
