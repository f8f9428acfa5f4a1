//! `mma.sync` and the exchanges of matrices with shared memory, around [`tensor_core`](crate::tensor_core)'s arithmetic.

use crate::Row;
use crate::program::form::{Matrix, MmaOp};
use crate::tensor_core::matrix::{self as fragments, Rows, address_lane};

use super::access::Touch;
use super::block::Block;
use super::warp::Warp;
use crate::lanes::registers::{Cells, LANES, Reg, wide};

/// `mma.sync`, for `vectorize`.
pub(super) struct MmaLanes<'a>(pub &'a MmaOp, pub &'a mut [Cells]);

impl pulp::NullaryFnOnce for MmaLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        mma(self.0, self.1);
    }
}

#[inline(always)]
fn mma(op: &MmaOp, registers: &mut [Cells]) {
    if op.mma.is_f64() {
        return mma_f64(op, registers);
    }
    if let ([d0, d1, d2, d3], [a0, a1, a2, a3], [b0, b1], [c0, c1, c2, c3]) = (&*op.d, &*op.a, &*op.b, &*op.c)
    {
        // The usual shape has arrays of its own.
        let row = |reg: &Reg| registers[reg.0 as usize].0;
        let (a, b) = ([row(a0), row(a1), row(a2), row(a3)], [row(b0), row(b1)]);
        let c = [row(c0), row(c1), row(c2), row(c3)];
        if let Some(d) = op.mma.m16n8k16_into_f32(&a, &b, &c) {
            for (reg, row) in [d0, d1, d2, d3].into_iter().zip(d) {
                registers[reg.0 as usize].0 = row;
            }
            return;
        }
    }
    mma_other(op, registers);
}

/// Any shape of 32-bit registers, compiled once.
#[inline(never)]
fn mma_other(op: &MmaOp, registers: &mut [Cells]) {
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
pub(super) fn gather(registers: &[Cells], from: &[Reg], to: &mut [Row]) {
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

impl Block<'_> {
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
