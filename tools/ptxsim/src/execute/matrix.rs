//! Tensor cores: the instructions around [`tensor_core`](crate::tensor_core)'s arithmetic.

use crate::Row;
use crate::check::finding::Kind;
use crate::program::SHARED_BASE;
use crate::program::form::{Access, Matrix, MmaOp, WgmmaOp};
use crate::program::{Code, Op};
use crate::tensor_core::matrix::{self as fragments, Rows, address_lane};
use crate::tensor_core::wgmma::{Descriptor, OperandA, Scale};

use super::access::Touch;
use super::block::Block;
use super::warp::Warp;
use crate::lanes::registers::{Cells, LANES, Reg, wide};

/// Asynchronous matrix products of a warp.
#[derive(Debug, Default)]
pub struct WgmmaState {
    fenced: bool,
    /// Shared offsets of the chunks that the products not yet committed read, and their accumulators.
    open: Group,
    committed: std::collections::VecDeque<Group>,
    /// Registers that a product may still write.
    busy: Vec<Reg>,
}

#[derive(Debug, Default)]
struct Group {
    chunks: Vec<u32>,
    registers: Vec<Reg>,
}

impl WgmmaState {
    /// `wgmma.fence`
    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// `wgmma.commit_group`
    pub fn commit(&mut self) {
        self.committed.push_back(std::mem::take(&mut self.open));
    }

    /// A product may still write registers.
    #[inline(always)]
    pub fn in_flight(&self) -> bool {
        !self.busy.is_empty()
    }
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

/// `mma.sync`, for `vectorize`.
pub(super) struct MmaLanes<'a>(pub &'a MmaOp, pub &'a mut [Cells]);

impl pulp::NullaryFnOnce for MmaLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        mma(self.0, self.1);
    }
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
fn mma(op: &MmaOp, registers: &mut [Cells]) {
    if op.mma.is_f64() {
        return mma_f64(op, registers);
    }
    if let ([d0, d1, d2, d3], [a0, a1, a2, a3], [b0, b1], [c0, c1, c2, c3]) = (&*op.d, &*op.a, &*op.b, &*op.c)
    {
        // The usual shape, with arrays of its own: m16n8k16 of 16-bit types into singles.
        let row = |reg: &Reg| registers[reg.0 as usize].0;
        let (a, b) = ([row(a0), row(a1), row(a2), row(a3)], [row(b0), row(b1)]);
        let c = [row(c0), row(c1), row(c2), row(c3)];
        let mut d = c;
        op.mma.run(&a, &b, &c, &mut d);
        for (reg, row) in [d0, d1, d2, d3].into_iter().zip(d) {
            registers[reg.0 as usize].0 = row;
        }
        return;
    }
    let mut a = [[0; LANES]; 8];
    let mut b = [[0; LANES]; 4];
    let mut c = [[0; LANES]; 4];
    let mut d = [[0; LANES]; 4];
    gather(registers, &op.a, &mut a);
    gather(registers, &op.b, &mut b);
    gather(registers, &op.c, &mut c);
    op.mma.run(&a[..op.a.len()], &b[..op.b.len()], &c[..op.c.len()], &mut d[..op.d.len()]);
    for (reg, row) in op.d.iter().zip(&d) {
        registers[reg.0 as usize].0 = *row;
    }
}

#[inline(always)]
fn gather(registers: &[Cells], from: &[Reg], to: &mut [Row]) {
    for (row, reg) in to.iter_mut().zip(from) {
        *row = registers[reg.0 as usize].0;
    }
}

#[inline(never)]
fn mma_f64(op: &MmaOp, registers: &mut [Cells]) {
    let rows =
        |regs: &[Reg], registers: &[Cells]| regs.iter().map(|r| *wide(registers, *r)).collect::<Vec<_>>();
    let (a, b, c) = (rows(&op.a, registers), rows(&op.b, registers), rows(&op.c, registers));
    let mut d = vec![[0; LANES]; op.d.len()];
    op.mma.run_f64(&a, &b, &c, &mut d);
    for (reg, row) in op.d.iter().zip(d) {
        *crate::lanes::registers::wide_mut(registers, *reg) = row;
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
                warp.wgmma.open.chunks.push(offset);
                if let Err((kind, text)) = checked {
                    let text = format!("wgmma: {text}, shared offset {offset:#x}");
                    self.report(pc, warp.id, Some(!0), kind, text);
                }
            }
        }
        if self.checker.is_some() {
            warp.wgmma.open.registers.extend_from_slice(&op.d);
            warp.wgmma.busy.extend_from_slice(&op.d);
        }
        if let Some(counters) = &mut self.counters {
            counters.macs(op.wgmma.macs());
        }
        self.operands = operands;
    }

    /// `wgmma.wait_group`
    pub(super) fn wait_wgmma(&mut self, warp: &mut Warp, groups: u32) {
        let state = &mut warp.wgmma;
        while state.committed.len() > groups as usize {
            let Some(group) = state.committed.pop_front() else { break };
            if let Some(checker) = &mut self.checker {
                let first = warp.id * LANES;
                for offset in group.chunks {
                    checker.shadow.end_read(&checker.clocks, first, offset, 16);
                }
                // The reads are the first lane's, and all lanes have waited for them.
                checker.clocks.tell(first, first..first + LANES);
            }
        }
        // Accumulators are chained over groups: those of a group still under way are not to be touched.
        state.busy.clear();
        for group in state.committed.iter().chain([&state.open]) {
            state.busy.extend_from_slice(&group.registers);
        }
        if state.busy.is_empty() {
            state.fenced = false;
        }
    }

    /// Reports an instruction that uses a register that a product may still write.
    #[inline(never)]
    pub(super) fn check_in_flight(&mut self, warp: &Warp, op: &Op, pc: u32) {
        let busy = &warp.wgmma.busy;
        let used = match &op.code {
            Code::Wgmma(product) => product.a.iter().any(|r| busy.contains(r)),
            Code::Load(access) | Code::Store(access) => uses(access, busy),
            Code::Atomic(atomic) => atomic.b.iter().chain(&atomic.old).any(|r| busy.contains(r)),
            Code::Mma(mma) => {
                [&mma.a, &mma.b, &mma.c, &mma.d].into_iter().flatten().any(|r| busy.contains(r))
            }
            Code::StoreMatrix(matrix) | Code::LoadMatrix(matrix) => {
                matrix.registers.iter().any(|r| busy.contains(r))
            }
            Code::Alu(alu) => {
                let sources = &op.operands.s[..alu.signature().sources];
                busy.contains(&op.operands.d) || sources.iter().any(|r| busy.contains(r))
            }
            Code::Test(_) | Code::TestCombine(..) => op.operands.s[..2].iter().any(|r| busy.contains(r)),
            Code::Select(..) => {
                busy.contains(&op.operands.d) || op.operands.s[..2].iter().any(|r| busy.contains(r))
            }
            _ => false,
        };
        if used {
            let text = "use of a register of wgmma.mma_async before wgmma.wait_group";
            self.report(pc, warp.id, Some(!0), Kind::UnwaitedAsync, text);
        }
    }

    /// `ldmatrix`
    pub(super) fn load_matrix(&mut self, warp: &mut Warp, op: &Matrix, pc: u32) {
        let addresses = self.addresses(warp, op.address);
        let count = op.registers.len();
        for matrix in 0..count {
            let mut rows: Rows = Default::default();
            for row in 0..8 {
                let lane = address_lane(matrix, row);
                let Some(offset) = self.shared_offset(addresses[lane], 16, pc, warp.id, lane) else { return };
                self.shared_access(warp, pc, lane, offset, 16, Touch::Read);
                rows[row].copy_from_slice(&self.shared[offset as usize..offset as usize + 16]);
            }
            warp.registers[op.registers[matrix].0 as usize] = Cells(fragments::load(&rows, op.transposed));
        }
        self.count_matrix(pc, &addresses, count);
    }

    /// `stmatrix`
    pub(super) fn store_matrix(&mut self, warp: &mut Warp, op: &Matrix, pc: u32) {
        let addresses = self.addresses(warp, op.address);
        let count = op.registers.len();
        for matrix in 0..count {
            let rows = fragments::store(&warp.registers[op.registers[matrix].0 as usize].0, op.transposed);
            for row in 0..8 {
                let lane = address_lane(matrix, row);
                let Some(offset) = self.shared_offset(addresses[lane], 16, pc, warp.id, lane) else { return };
                self.shared_access(warp, pc, lane, offset, 16, Touch::Write);
                self.shared[offset as usize..offset as usize + 16].copy_from_slice(&rows[row]);
            }
        }
        self.count_matrix(pc, &addresses, count);
    }

    /// Each matrix is a pass of its own.
    fn count_matrix(&mut self, pc: u32, addresses: &[u64; LANES], count: usize) {
        let Some(counters) = &mut self.counters else { return };
        let addresses = addresses.map(|a| a as u32);
        for matrix in 0..count {
            counters.shared(pc, &addresses, 0xff << (8 * matrix), 16);
        }
    }
}

fn uses(access: &Access, busy: &[Reg]) -> bool {
    access.registers.iter().flatten().any(|(reg, _)| busy.contains(reg))
        || busy.contains(&access.address.base)
}
