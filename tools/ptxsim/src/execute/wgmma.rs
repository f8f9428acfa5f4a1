//! `wgmma`: products of a warpgroup that read shared memory on their own, around
//! [`tensor_core::wgmma`](crate::tensor_core::wgmma)'s arithmetic.
//!
//! Each warp computes its share when it comes to the instruction. A group of products is the warpgroup's: waiting for
//! it means that all four shares are done, so a warp that waits also waits for the others to have committed theirs.
//! For the checker the tensor core of each warp is a thread of its own, whose reads end when a warp has waited.

use std::collections::VecDeque;

use crate::check::finding::Kind;
use crate::lanes::registers::{LANES, Reg, wide};
use crate::program::form::{Access, WgmmaOp};
use crate::program::{Code, Op, SHARED_BASE};
use crate::tensor_core::wgmma::{Descriptor, OperandA, Scale};

use super::block::Block;
use super::matrix::gather;
use super::warp::{Flow, Wait, Warp};

/// Warps of a warpgroup.
const WARPS: usize = 4;

/// A warp's view of its products.
#[derive(Debug, Default)]
pub struct WgmmaState {
    fenced: bool,
    /// Shared offsets of the chunks that the products not yet committed read.
    chunks: Vec<u32>,
    /// Registers of the products not yet committed, and of the committed groups.
    open: Registers,
    committed: VecDeque<Registers>,
    /// Registers that a product may still write, and read.
    written: Vec<Reg>,
    read: Vec<Reg>,
}

#[derive(Debug, Default)]
struct Registers {
    written: Vec<Reg>,
    read: Vec<Reg>,
}

impl WgmmaState {
    /// `wgmma.fence`
    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// A product may still use registers.
    #[inline(always)]
    pub fn in_flight(&self) -> bool {
        !self.written.is_empty()
    }
}

/// The groups of products of a warpgroup.
#[derive(Debug, Default)]
pub struct Warpgroup {
    /// How many each warp has committed.
    committed: [usize; WARPS],
    groups: Vec<Reads>,
}

/// What a group reads of shared memory, by warp.
#[derive(Debug, Default)]
struct Reads {
    chunks: [Vec<u32>; WARPS],
    /// When a warp had waited; 0 before.
    ended: u32,
}

/// Bytes of a product's operands, as [`tensor_core::wgmma`](crate::tensor_core::wgmma) wants them.
#[derive(Debug, Default)]
pub struct Operands {
    chunks: Vec<u32>,
    a: Vec<u8>,
    b: Vec<u8>,
    /// The operands could be read.
    valid: bool,
}

/// `wgmma.mma_async`, its operands gathered, for `vectorize`.
pub(super) struct WgmmaLanes<'a>(pub &'a WgmmaOp, pub &'a mut Operands, pub &'a mut Warp);

impl pulp::NullaryFnOnce for WgmmaLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        wgmma(self.0, self.1, self.2);
    }
}

#[inline(always)]
fn wgmma(op: &WgmmaOp, operands: &mut Operands, warp: &mut Warp) {
    if !operands.valid {
        return;
    }
    let mut d = [[0; LANES]; 128];
    let d = &mut d[..op.d.len()];
    gather(&warp.registers, &op.d, d);
    let mut a = [[0; LANES]; 4];
    gather(&warp.registers, &op.a, &mut a);
    let a = match op.a_descriptor {
        None => OperandA::Registers(&a),
        Some(_) => OperandA::Shared(&operands.a, op.a_major),
    };
    let scale =
        Scale { d: warp.condition(op.scale_d) & 1 == 1, negate_a: op.negate_a, negate_b: op.negate_b };
    op.wgmma.multiply(a, &operands.b, op.b_major, scale, d);
    for (reg, row) in op.d.iter().zip(d) {
        warp.registers[reg.0 as usize].0 = *row;
    }
}

impl Block<'_> {
    /// Reads a product's operands from shared memory.
    #[inline(never)]
    pub(super) fn start_wgmma(&mut self, warp: &mut Warp, op: &WgmmaOp, pc: u32) {
        if !warp.wgmma.fenced && self.checker.is_some() {
            let text = "wgmma.mma_async without wgmma.fence before it";
            self.report(pc, warp.id, Some(!0), Kind::UnwaitedAsync, text);
        }
        let mut operands = std::mem::take(&mut self.operands);
        operands.valid = true;
        for (which, descriptor) in [op.a_descriptor, Some(op.b_descriptor)].into_iter().enumerate() {
            let Some(reg) = descriptor else { continue };
            let bits = wide(&warp.registers, reg);
            let descriptor = Descriptor::from_bits(bits[0]);
            operands.chunks.clear();
            if which == 0 {
                op.wgmma.a_chunks(descriptor, warp.id as u32 % 4, op.a_major, &mut operands.chunks);
                operands.a.clear();
            } else {
                op.wgmma.b_chunks(descriptor, op.b_major, &mut operands.chunks);
                operands.b.clear();
            }
            let bytes = if which == 0 { &mut operands.a } else { &mut operands.b };
            for &chunk in &operands.chunks {
                let offset = chunk.wrapping_sub(SHARED_BASE) as usize;
                let Some(found) = self.shared.get(offset..offset + 16) else {
                    let text = format!(
                        "a wgmma descriptor leads to shared address {chunk:#x}, of which the block has \
                         {SHARED_BASE:#x} to {:#x}",
                        SHARED_BASE as usize + self.shared.len()
                    );
                    self.report(pc, warp.id, Some(!0), Kind::OutOfBounds, text);
                    operands.valid = false;
                    break;
                };
                bytes.extend_from_slice(found);
            }
            if !operands.valid {
                break;
            }
            for &chunk in &operands.chunks {
                let Some(checker) = &mut self.checker else { break };
                let offset = chunk - SHARED_BASE;
                let checked = checker.shadow.start_read(&checker.clocks, warp.id * LANES, offset, 16);
                warp.wgmma.chunks.push(offset);
                if let Err((kind, text)) = checked {
                    let text = format!("wgmma: {text}, shared offset {offset:#x}");
                    self.report(pc, warp.id, Some(!0), kind, text);
                }
            }
        }
        if self.checker.is_some() {
            let state = &mut warp.wgmma;
            state.open.written.extend_from_slice(&op.d);
            state.open.read.extend_from_slice(&op.a);
            state.written.extend_from_slice(&op.d);
            state.read.extend_from_slice(&op.a);
        }
        if let Some(counters) = &mut self.counters {
            counters.macs(op.wgmma.macs());
        }
        self.operands = operands;
    }

    /// `wgmma.commit_group`
    pub(super) fn commit_wgmma(&mut self, warp: &mut Warp) {
        let state = &mut warp.wgmma;
        state.committed.push_back(std::mem::take(&mut state.open));
        let (group, share) = (&mut self.warpgroups[warp.id / WARPS], warp.id % WARPS);
        let index = group.committed[share];
        group.committed[share] += 1;
        if group.groups.len() <= index {
            group.groups.resize_with(index + 1, Reads::default);
        }
        group.groups[index].chunks[share] = std::mem::take(&mut state.chunks);
    }

    /// All living warps of a warp's warpgroup have committed so many groups.
    pub(super) fn warpgroup_committed(&self, warp: usize, groups: usize) -> bool {
        let first = warp / WARPS * WARPS;
        let committed = &self.warpgroups[warp / WARPS].committed;
        (0..WARPS).all(|i| committed[i] >= groups || self.live.get(first + i).is_none_or(|live| *live == 0))
    }

    /// `wgmma.wait_group`
    pub(super) fn wait_wgmma(&mut self, warp: &mut Warp, groups: u32) -> Flow {
        let own = self.warpgroups[warp.id / WARPS].committed[warp.id % WARPS];
        let done = own.saturating_sub(groups as usize);
        if !self.warpgroup_committed(warp.id, done) {
            return Flow::Again(Wait::Warpgroup { groups: done });
        }
        self.end_reads(warp.id, done);
        let state = &mut warp.wgmma;
        while state.committed.len() > groups as usize {
            state.committed.pop_front();
        }
        // Accumulators are chained over groups: those of a group still under way are not to be touched.
        state.written.clear();
        state.read.clear();
        for group in state.committed.iter().chain([&state.open]) {
            state.written.extend_from_slice(&group.written);
            state.read.extend_from_slice(&group.read);
        }
        if state.written.is_empty() {
            state.fenced = false;
        }
        Flow::Next
    }

    /// The first groups of a warpgroup are done, and a warp knows it.
    fn end_reads(&mut self, warp: usize, done: usize) {
        let Some(checker) = &mut self.checker else { return };
        let first = warp / WARPS * WARPS;
        let reader = |share: usize| self.live.len() * LANES + first + share;
        let groups = &mut self.warpgroups[warp / WARPS].groups;
        let done = done.min(groups.len());
        for group in groups[..done].iter_mut().rev().take_while(|g| g.ended == 0) {
            for (share, chunks) in group.chunks.iter_mut().enumerate() {
                for offset in std::mem::take(chunks) {
                    checker.shadow.end_read(&checker.clocks, reader(share), offset, 16);
                }
            }
            group.ended = checker.clocks.now;
        }
        checker.clocks.now += 1;
        if let Some(last) = done.checked_sub(1).and_then(|i| groups.get(i)) {
            let known = std::array::from_fn::<_, WARPS, _>(|share| (reader(share), last.ended));
            checker.clocks.learn_of(warp * LANES..(warp + 1) * LANES, &known);
        }
    }

    /// Reports an instruction that uses a register that a product may still write, or writes one that it may still
    /// read.
    #[inline(never)]
    pub(super) fn check_in_flight(&mut self, warp: &Warp, op: &Op, pc: u32) {
        let WgmmaState { written, read, .. } = &warp.wgmma;
        let reads = |reg: &Reg| written.contains(reg);
        let writes = |reg: &Reg| written.contains(reg) || read.contains(reg);
        let (d, s) = (&op.operands.d, &op.operands.s);
        let used = match &op.code {
            // Products of one shape may follow each other on the same accumulators.
            Code::Wgmma(product) => product.a.iter().any(reads),
            Code::Load(access) => registers(access).any(|r| writes(&r)) || reads(&access.address.base),
            Code::Store(access) => registers(access).any(|r| reads(&r)) || reads(&access.address.base),
            Code::Atomic(atomic) => atomic.b.iter().any(reads) || atomic.old.iter().any(writes),
            Code::Mma(mma) => {
                [&mma.a, &mma.b, &mma.c].into_iter().flatten().any(reads) || mma.d.iter().any(writes)
            }
            Code::LoadMatrix(matrix) => matrix.registers.iter().any(writes),
            Code::StoreMatrix(matrix) => matrix.registers.iter().any(reads),
            Code::Alu(alu) => writes(d) || s[..alu.signature().sources].iter().any(reads),
            Code::Test(_) | Code::TestCombine(..) => s[..2].iter().any(reads),
            Code::Select(..) => writes(d) || s[..2].iter().any(reads),
            Code::Shuffle(_) => writes(d) || s.iter().any(reads),
            _ => false,
        };
        if used {
            let text = "use of a register of wgmma.mma_async before wgmma.wait_group";
            self.report(pc, warp.id, Some(!0), Kind::UnwaitedAsync, text);
        }
    }
}

fn registers(access: &Access) -> impl Iterator<Item = Reg> {
    access.registers.iter().flatten().map(|(reg, _)| *reg)
}
