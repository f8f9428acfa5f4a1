//! Atomic operations (PTX ISA, sections "atom" and "red").

use half::{bf16, f16};

use crate::check::finding::Kind;
use crate::check::global::Does;
use crate::program::form::{Atomic, Scalar, Update, Window};

use super::access::{Touch, read_lane, write_lane};
use super::block::Block;
use super::warp::Warp;
use crate::lanes::arithmetic::{flush, half_extreme, half2, pairs};
use crate::lanes::registers::lanes;

/// The new value at a location.
pub(super) fn updated(update: Update, scalar: Scalar, old: u64, b: u64, c: u64) -> u64 {
    use Update::*;
    let halves = |f: &dyn Fn(u16, u16) -> u16| u64::from(pairs([old as u32, b as u32], |[x, y]| f(x, y)));
    let half = |f: &dyn Fn(u16, u16) -> u16| u64::from(f(old as u16, b as u16));
    match (update, scalar) {
        (Exchange, _) => b,
        (CompareSwap, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (And, _) => old & b,
        (Or, _) => old | b,
        (Xor, _) => old ^ b,
        (Inc, _) => u64::from(if old as u32 >= b as u32 { 0 } else { old as u32 + 1 }),
        (Dec, _) => {
            u64::from(if old as u32 == 0 || old as u32 > b as u32 { b as u32 } else { old as u32 - 1 })
        }
        (Add, Scalar::U32 | Scalar::S32) => u64::from((old as u32).wrapping_add(b as u32)),
        (Add, Scalar::U64 | Scalar::S64) => old.wrapping_add(b),
        (Add, Scalar::F32) => u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits()),
        (Add, Scalar::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        (Add, Scalar::F16) => half(&|x, y| half2::<f16>(x, y, |x, y| x + y)),
        (Add, Scalar::Bf16) => half(&|x, y| half2::<bf16>(x, y, |x, y| x + y)),
        (Add, Scalar::F16x2) => halves(&|x, y| half2::<f16>(x, y, |x, y| x + y)),
        (Add, Scalar::Bf16x2) => halves(&|x, y| half2::<bf16>(x, y, |x, y| x + y)),
        (Min, Scalar::U32) => u64::from((old as u32).min(b as u32)),
        (Max, Scalar::U32) => u64::from((old as u32).max(b as u32)),
        (Min, Scalar::S32) => u64::from((old as i32).min(b as i32) as u32),
        (Max, Scalar::S32) => u64::from((old as i32).max(b as i32) as u32),
        (Min, Scalar::U64) => old.min(b),
        (Max, Scalar::U64) => old.max(b),
        (Min, Scalar::S64) => (old as i64).min(b as i64) as u64,
        (Max, Scalar::S64) => (old as i64).max(b as i64) as u64,
        (Min | Max, Scalar::F16) => half(&|x, y| half_extreme::<f16>(x, y, update == Max, false)),
        (Min | Max, Scalar::Bf16) => half(&|x, y| half_extreme::<bf16>(x, y, update == Max, false)),
        (Min | Max, Scalar::F16x2) => halves(&|x, y| half_extreme::<f16>(x, y, update == Max, false)),
        (Min | Max, Scalar::Bf16x2) => halves(&|x, y| half_extreme::<bf16>(x, y, update == Max, false)),
        // The decoder refuses the rest.
        (Add | Min | Max, _) => old,
    }
}

/// Applies an update to global memory; returns the old value.
///
/// # Safety
/// An element of the scalar's size at `at` can be read and written, and `at` is a multiple of that size.
pub(super) unsafe fn apply(at: *mut u8, update: Update, scalar: Scalar, b: u64, c: u64) -> u64 {
    use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
    // Sums of singles in global memory flush subnormals (PTX ISA, "atom").
    let f = |old: u64| match (update, scalar) {
        (Update::Add, Scalar::F32) => {
            let flushed = |bits: u64| u64::from(flush(f32::from_bits(bits as u32)).to_bits());
            flushed(updated(update, scalar, flushed(old), flushed(b), c))
        }
        _ => updated(update, scalar, old, b, c),
    };
    macro_rules! swap {
        ($atomic:ty, $int:ty) => {{
            // SAFETY: valid and aligned, as the caller promises; atomics may share memory with other threads.
            let cell = unsafe { <$atomic>::from_ptr(at.cast()) };
            let old = cell.fetch_update(SeqCst, SeqCst, |old| Some(f(u64::from(old)) as $int));
            u64::from(old.unwrap_or_else(|old| old))
        }};
    }
    match scalar.bytes() {
        2 => swap!(AtomicU16, u16),
        4 => swap!(AtomicU32, u32),
        _ => swap!(AtomicU64, u64),
    }
}

impl Block<'_> {
    /// `atom`, `red`
    pub(super) fn atomic(&mut self, warp: &mut Warp, op: &Atomic, pc: u32, active: u32) {
        let addresses = self.addresses(warp, op.address);
        let bytes = op.scalar.bytes();
        let total = bytes * op.b.len() as u32;
        let bits = bytes * 8;
        for (window, mask) in self.windows(op.window, &addresses, active) {
            self.count_access(pc, window, true, &addresses, mask, total);
            for lane in lanes(mask) {
                let thread = self.thread(warp, lane);
                self.release(thread, window, addresses[lane], op.order, true);
                let c = op.c.map_or(0, |reg| read_lane(warp, reg, bits, lane));
                let operand = |warp: &Warp, i: usize| read_lane(warp, op.b[i], bits, lane);
                match window {
                    Window::Global | Window::Generic => {
                        let does = Does::Atomic;
                        let Some(at) = self.global_pointer(warp, pc, lane, addresses[lane], total, does)
                        else {
                            continue;
                        };
                        for i in 0..op.b.len() {
                            let at = at.wrapping_add(i * bytes as usize);
                            let b = operand(warp, i);
                            // SAFETY: within the region and aligned, both just checked.
                            let old = unsafe { apply(at, op.update, op.scalar, b, c) };
                            if let Some(&reg) = op.old.get(i) {
                                write_lane(warp, reg, bits, lane, old);
                            }
                        }
                    }
                    Window::Shared => {
                        let Some(offset) = self.shared_offset(addresses[lane], total, pc, warp.id, lane)
                        else {
                            continue;
                        };
                        self.shared_access(warp, pc, lane, offset, total, Touch::Atomic);
                        for i in 0..op.b.len() {
                            let at = offset as usize + i * bytes as usize;
                            let slot = &mut self.shared[at..at + bytes as usize];
                            let mut old = [0; 8];
                            old[..slot.len()].copy_from_slice(slot);
                            let old = u64::from_le_bytes(old);
                            let new = updated(op.update, op.scalar, old, operand(warp, i), c);
                            slot.copy_from_slice(&new.to_le_bytes()[..bytes as usize]);
                            if let Some(&reg) = op.old.get(i) {
                                write_lane(warp, reg, bits, lane, old);
                            }
                        }
                    }
                    Window::Local | Window::Param => {
                        let text = "atomic operation outside global and shared memory";
                        self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                    }
                }
                self.acquire(thread, window, addresses[lane], op.order);
            }
        }
    }
}
