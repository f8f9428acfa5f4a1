//! A block: its warps, its memories, and who runs when.

use std::collections::BTreeMap;

use crate::check::clock::{Blocks, Clocks};
use crate::check::finding::{Findings, Kind};
use crate::check::global::GlobalShadow;
use crate::check::shared::SharedShadow;
use crate::counters::{BlockCounters, Touched};
use crate::memory::{Memory, Region, View};
use crate::program::{Code, Op, Program, Special};
use crate::program::{SHARED_BASE, SHARED_WINDOW, WINDOW_MASK};

use super::barrier::Barriers;
use super::bulk::BulkCopy;
use super::copy::CopyState;
use super::mbarrier::State;
use super::warp::{Flow, Group, Wait, Warp};
use super::wgmma::{Operands, Warpgroup, WgmmaState};
use crate::lanes::alu::Alu;
use crate::lanes::registers::{Cells, LANES, Reg, lanes, wide, wide_mut};

/// What all blocks of a launch share.
pub struct Grid<'a> {
    /// The kernel's name.
    pub kernel: &'a str,
    /// Its instructions.
    pub program: &'a Program,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// Parameters.
    pub params: &'a [u8],
    /// Memory, to describe addresses.
    pub memory: &'a Memory,
    /// What may be accessed.
    pub view: View,
    /// Reports.
    pub findings: Findings,
    /// Shadow of global memory; `None` without the checker.
    pub shadow: Option<GlobalShadow>,
    /// Bytes touched; `None` without counters.
    pub touched: Option<Touched>,
    /// Seed of random schedules; `None` for the plain one.
    pub seed: Option<u64>,
    /// Warp instructions after which a block is taken to hang.
    pub watchdog: u64,
    /// Multiprocessors of the device.
    pub multiprocessors: u32,
}

/// Clocks and shadow of a block.
pub struct Checker {
    /// Clocks.
    pub clocks: Clocks,
    /// Shadow of shared memory.
    pub shadow: SharedShadow,
    /// What was released through shared memory.
    pub released: std::collections::HashMap<u64, Blocks>,
}

/// A block that runs.
pub struct Block<'a> {
    /// The launch.
    pub grid: &'a Grid<'a>,
    /// Instructions.
    pub program: &'a Program,
    /// Vector instructions of this machine.
    pub arch: pulp::Arch,
    /// `blockIdx`
    pub id: [u32; 3],
    /// Threads.
    pub threads: usize,
    /// Shared memory.
    pub shared: Vec<u8>,
    /// Local memory, of each thread in turn.
    pub local: Vec<u8>,
    /// The checker, if it is on.
    pub checker: Option<Checker>,
    /// Barriers.
    pub barriers: Barriers,
    /// mbarriers by shared address.
    pub mbarriers: BTreeMap<u32, State>,
    /// Groups of asynchronous products, by warpgroup.
    pub warpgroups: Vec<Warpgroup>,
    /// Bulk copies under way.
    pub bulk: Vec<BulkCopy>,
    /// Counters, if wanted.
    pub counters: Option<BlockCounters>,
    /// Warp instructions so far.
    pub executed: u64,
    /// Room for a tensor core's operands.
    pub operands: Operands,
    /// Lanes that live, by warp.
    pub(super) live: Vec<u32>,
    /// The region last accessed.
    pub(super) region: Option<&'a Region>,
    random: u64,
    pub(super) stopped: bool,
}

/// Turns of all warps after which a bulk copy arrives at the latest.
const LONGEST_COPY: u32 = 16;

impl<'a> Block<'a> {
    /// The block with an index in the grid.
    pub fn new(grid: &'a Grid<'a>, index: u64, count: bool) -> Block<'a> {
        let program = grid.program;
        let [x, y, _] = grid.grid.map(u64::from);
        let id = [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32];
        let threads = grid.block.iter().product::<u32>() as usize;
        let warps = threads.div_ceil(LANES);
        let live = (0..warps)
            .map(|w| if threads - w * LANES >= LANES { !0 } else { (1 << (threads % LANES)) - 1 })
            .collect();
        let bytes = (shared_end(grid) - SHARED_BASE) as usize;
        let checker = grid.shadow.as_ref().map(|_| Checker {
            // Behind the threads stand the tensor cores, one a warp.
            clocks: Clocks::new(index, (warps + 1) * LANES),
            shadow: SharedShadow::new(bytes, program.shared_granule, (warps + 1) * LANES),
            released: Default::default(),
        });
        let seed = grid.seed.unwrap_or(0).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Block {
            grid,
            program,
            arch: pulp::Arch::new(),
            id,
            threads,
            // Not zero, so that results do not depend on memory being clean.
            shared: vec![0xff; bytes],
            local: vec![0xff; program.local_bytes as usize * warps * LANES],
            checker,
            barriers: Barriers::new(warps),
            mbarriers: BTreeMap::new(),
            warpgroups: std::iter::repeat_with(Warpgroup::default).take(warps.div_ceil(4)).collect(),
            bulk: Vec::new(),
            counters: count.then(|| BlockCounters::new(program)),
            executed: 0,
            operands: Operands::default(),
            live,
            region: None,
            random: (seed ^ (index + 1).wrapping_mul(0xd134_2543_de82_ef95)) | 1,
            stopped: false,
        }
    }

    fn warp(&self, id: usize) -> Warp {
        let program = self.program;
        let mut registers = vec![bytemuck::Zeroable::zeroed(); program.cells as usize];
        for &(reg, bits, wide) in &program.constants {
            if wide {
                *wide_mut(&mut registers, reg) = [bits; LANES];
            } else {
                registers[reg.0 as usize] = Cells([bits as u32; LANES]);
            }
        }
        for &(reg, special) in &program.specials {
            for lane in 0..LANES {
                let value = self.special(special, id, lane);
                match special {
                    Special::DynamicShared(true)
                    | Special::Clock64
                    | Special::GlobalTimer
                    | Special::GridId => {
                        wide_mut(&mut registers, reg)[lane] = value;
                    }
                    _ => registers[reg.0 as usize].0[lane] = value as u32,
                }
            }
        }
        Warp {
            id,
            registers,
            predicates: vec![0; program.predicates as usize],
            groups: vec![Group { pc: 0, mask: self.live[id], wait: Wait::Ready }],
            copies: CopyState::default(),
            wgmma: WgmmaState::default(),
            cluster_generation: 0,
        }
    }

    fn special(&self, special: Special, warp: usize, lane: usize) -> u64 {
        let [x, y, _] = self.grid.block;
        let thread = (warp * LANES + lane) as u32;
        let axes = [thread % x, thread / x % y, thread / x / y];
        let bits =
            |keep: &dyn Fn(usize) -> bool| (0..LANES).filter(|&l| keep(l)).fold(0, |m, l| m | 1u64 << l);
        u64::from(match special {
            Special::Tid(axis) => axes[usize::from(axis)],
            Special::Ntid(axis) => self.grid.block[usize::from(axis)],
            Special::Ctaid(axis) => self.id[usize::from(axis)],
            Special::Nctaid(axis) => self.grid.grid[usize::from(axis)],
            Special::LaneId => lane as u32,
            Special::WarpId => warp as u32,
            Special::NwarpId => self.live.len() as u32,
            Special::LaneMask(order, or_equal) => {
                return bits(&|other| other.cmp(&lane) == order || or_equal && other == lane);
            }
            Special::SmId => self.id[0] % self.grid.multiprocessors,
            Special::NsmId => self.grid.multiprocessors,
            Special::DynamicSharedSize => self.grid.dynamic_shared,
            Special::TotalSharedSize => shared_end(self.grid),
            Special::DynamicShared(_) => dynamic_shared(self.grid),
            // Time is what a simulator cannot tell: the clocks stand still.
            Special::GridId | Special::Clock | Special::Clock64 | Special::GlobalTimer | Special::Zero => 0,
            Special::One => 1,
        })
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    /// Runs the block to its end.
    pub fn run(&mut self) {
        let mut warps: Vec<Warp> = (0..self.live.len()).map(|id| self.warp(id)).collect();
        let count = warps.len();
        // Copies arrive late, but they do arrive while warps poll.
        let mut polled = 0;
        loop {
            let mut progress = false;
            let first = if self.grid.seed.is_some() { self.next_random() as usize } else { 0 };
            for i in 0..count {
                let warp = &mut warps[(first.wrapping_add(i)) % count];
                if warp.groups.is_empty() {
                    continue;
                }
                let budget = if self.grid.seed.is_some() { 1 + self.next_random() % 64 } else { 4096 };
                progress |= warp.run(self, budget);
                if self.stopped {
                    return;
                }
                if warp.groups.is_empty() {
                    self.finish_copies(warp);
                }
                if self.grid.seed.is_some() && !self.bulk.is_empty() && self.next_random().is_multiple_of(4) {
                    let which = self.next_random() as usize % self.bulk.len();
                    self.run_bulk(which);
                    progress = true;
                }
            }
            if warps.iter().all(|w| w.groups.is_empty()) {
                break;
            }
            if !progress && self.bulk.is_empty() {
                self.report_deadlock(&warps, "no thread can go on");
                return;
            }
            polled = if self.bulk.is_empty() { 0 } else { polled + 1 };
            if !self.bulk.is_empty() && (!progress || polled > LONGEST_COPY) {
                self.run_bulk(0);
                polled = 0;
            }
            if self.executed > self.grid.watchdog {
                self.report_deadlock(&warps, "no end in sight");
                return;
            }
        }
        if let Some(copy) = self.bulk.first() {
            let (pc, warp, lane) = copy.issued();
            let text = "bulk copy to shared memory that no thread waited for when the block ended";
            if self.checker.is_some() {
                self.report(pc, warp, Some(1 << lane), Kind::UnwaitedAsync, text);
            }
        }
    }

    /// Whether a group may run.
    pub(super) fn ready(&mut self, warp: &Warp, group: Group) -> bool {
        match group.wait {
            Wait::Ready | Wait::Turn => true,
            Wait::Lanes(members) | Wait::WarpSync(members) => members & self.live[warp.id] & !group.mask == 0,
            Wait::Barrier { id, generation, .. } => self.barriers.generation(id) != generation,
            Wait::Mbarrier { address, parity } => self.mbarrier_passed(address, parity),
            Wait::Warpgroup { groups } => self.warpgroup_committed(warp.id, groups),
        }
    }

    /// A group goes on after what it waited for.
    pub(super) fn resume(&mut self, warp: &mut Warp, group: Group) {
        if let Wait::Barrier { id, reduce, .. } = group.wait {
            self.leave_barrier(warp, group.mask, id, reduce);
        }
    }

    /// Lanes of a warp that live.
    #[inline(always)]
    pub fn live(&self, warp: usize) -> u32 {
        self.live[warp]
    }

    /// The instructions that the walk hands over.
    #[inline(never)]
    pub(super) fn other(&mut self, warp: &mut Warp, op: &Op, pc: u32, mask: u32, active: u32) -> Flow {
        if active == 0 {
            return Flow::Next;
        }
        let s = op.operands.s;
        match &op.code {
            Code::Load(access) => self.load(warp, access, pc, active),
            Code::Store(access) => self.store(warp, access, pc, active),
            Code::Atomic(atomic) => self.atomic(warp, atomic, pc, active),
            Code::Exit => {
                self.exit(warp, active);
                return Flow::Leave(active);
            }
            Code::Trap => {
                self.report(pc, warp.id, Some(active), Kind::Trap, "the kernel executed trap");
                self.stopped = true;
                return Flow::Stop;
            }
            Code::Carry { subtract, carry_in, carry_out, wide: on_64_bits } => {
                let carry = carry_in.map_or(0, |p| warp.predicates[p as usize]);
                let mut out = 0;
                for lane in lanes(active) {
                    let (a, b) = match on_64_bits {
                        true => (wide(&warp.registers, s[0])[lane], wide(&warp.registers, s[1])[lane]),
                        false => (warp.lane32(s[0], lane).into(), warp.lane32(s[1], lane).into()),
                    };
                    // The carry of a subtraction is a borrow.
                    let b = i128::from(b) + i128::from(carry >> lane & 1);
                    let sum = if *subtract { i128::from(a) - b } else { i128::from(a) + b };
                    if *on_64_bits {
                        wide_mut(&mut warp.registers, op.operands.d)[lane] = sum as u64;
                    } else {
                        warp.registers[op.operands.d.0 as usize].0[lane] = sum as u32;
                    }
                    let bits = if *on_64_bits { 64 } else { 32 };
                    out |= u32::from(sum >> bits != 0) << lane;
                }
                if let Some(p) = carry_out {
                    warp.set_predicate(*p, out, active);
                }
            }
            Code::Switch(targets) => return self.switch(warp, targets, s[0], pc, mask, active),
            Code::IsSpace(window) => self.is_space(warp, *window, s[0], op.operands.d, active),
            Code::Nothing => {}
            Code::Shuffle(shuffle) => return self.shuffle(warp, shuffle, op.operands, pc, active),
            Code::Collective(collective) => return self.collective(warp, collective, pc, active),
            Code::Barrier(barrier) => return self.barrier(warp, barrier, op.operands, pc, active),
            Code::WarpSync => return self.warp_sync(warp, s[0], active),
            Code::Fence(fence) => self.fence(warp, *fence, active),
            Code::CopyAsync(copy) => self.copy_async(warp, copy, pc, active),
            Code::CopyCommit => warp.copies.commit(active),
            Code::CopyWait(n) => self.copy_wait(warp, *n, active),
            Code::Mbarrier(op) => return self.mbarrier(warp, op, pc, active),
            Code::Bulk(bulk) => self.bulk_copy(warp, bulk, pc, active),
            Code::BulkCommit => self.bulk_commit(warp, active),
            Code::BulkWait(n, read) => self.bulk_wait(warp, *n, *read, active),
            // `.aligned`: all lanes of the warp come here together.
            Code::LoadMatrix(_)
            | Code::StoreMatrix(_)
            | Code::MoveMatrix
            | Code::WgmmaFence
            | Code::WgmmaCommit
            | Code::WgmmaWait(_)
                if active != self.live[warp.id] =>
            {
                return Flow::Again(Wait::Lanes(!0));
            }
            Code::LoadMatrix(matrix) => self.load_matrix(warp, matrix, pc),
            Code::StoreMatrix(matrix) => self.store_matrix(warp, matrix, pc),
            Code::MoveMatrix => {
                let row = crate::tensor_core::matrix::transpose(&warp.registers[s[0].0 as usize].0);
                warp.registers[op.operands.d.0 as usize] = Cells(row);
            }
            Code::WgmmaFence => warp.wgmma.fence(),
            Code::WgmmaCommit => self.commit_wgmma(warp),
            Code::WgmmaWait(n) => return self.wait_wgmma(warp, *n),
            Code::Alu(Alu::Rare(alu)) => alu.run(&mut warp.registers, &op.operands, active),
            // The walk does these itself.
            Code::Alu(Alu::Common(_))
            | Code::Test(_)
            | Code::TestCombine(..)
            | Code::Predicate(..)
            | Code::Select(..)
            | Code::Branch(_)
            | Code::Mma(_)
            | Code::Wgmma(_) => {}
        }
        if self.stopped { Flow::Stop } else { Flow::Next }
    }

    /// `brx.idx`: one target at a time; lanes for another one are asked again.
    fn switch(
        &mut self,
        warp: &mut Warp,
        targets: &[u32],
        index: Reg,
        pc: u32,
        mask: u32,
        active: u32,
    ) -> Flow {
        let mut by_target: BTreeMap<u32, u32> = BTreeMap::new();
        for lane in lanes(active) {
            match targets.get(warp.lane32(index, lane) as usize) {
                Some(target) => *by_target.entry(*target).or_default() |= 1 << lane,
                None => {
                    self.report(
                        pc,
                        warp.id,
                        Some(1 << lane),
                        Kind::OutOfBounds,
                        "brx.idx past the end of its table",
                    );
                    self.stopped = true;
                    return Flow::Stop;
                }
            }
        }
        for (&pc, &mask) in &by_target {
            warp.groups.push(Group { pc, mask, wait: Wait::Ready });
        }
        if mask != active {
            warp.groups.push(Group { pc: pc + 1, mask: mask & !active, wait: Wait::Ready });
        }
        if let Some(counters) = self.counters.as_mut().filter(|_| by_target.len() > 1) {
            counters.diverged();
        }
        // All lanes stand elsewhere now.
        Flow::Leave(mask)
    }

    /// Lanes end.
    fn exit(&mut self, warp: &Warp, active: u32) {
        self.live[warp.id] &= !active;
        self.exited();
    }

    /// The thread number of a lane.
    #[inline(always)]
    pub(super) fn thread(&self, warp: &Warp, lane: usize) -> usize {
        warp.id * LANES + lane
    }

    /// Checks a shared address, which may be generic, and turns it into an offset. `bytes` is a power of two.
    #[inline(always)]
    pub(super) fn shared_offset(
        &self,
        address: u64,
        bytes: u32,
        pc: u32,
        warp: usize,
        lane: usize,
    ) -> Option<u32> {
        let address = if address & WINDOW_MASK == SHARED_WINDOW { address & !WINDOW_MASK } else { address };
        let offset = address.wrapping_sub(u64::from(SHARED_BASE));
        let len = self.shared.len() as u64;
        if offset < len && len - offset >= u64::from(bytes) && address & u64::from(bytes - 1) == 0 {
            return Some(offset as u32);
        }
        self.report_shared(address, bytes, pc, warp, lane);
        None
    }
}

/// Shared address after the last byte.
fn shared_end(grid: &Grid) -> u32 {
    dynamic_shared(grid) + grid.dynamic_shared
}

/// Shared address of dynamic shared memory.
fn dynamic_shared(grid: &Grid) -> u32 {
    (SHARED_BASE + grid.program.static_shared).next_multiple_of(grid.program.dynamic_align.max(1))
}
