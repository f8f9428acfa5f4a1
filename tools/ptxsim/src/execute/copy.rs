//! `cp.async`, the asynchronous copy of a thread (PTX ISA, section "cp.async"). Data arrive when the thread waits.

use crate::check::finding::Kind;
use crate::check::global::Does;
use crate::program::form::CopyAsync;

use super::access::read_element;
use super::block::Block;
use super::bulk::Store;
use super::warp::Warp;
use crate::lanes::registers::{LANES, lanes};

/// One `cp.async` of the lanes that have not yet waited for it.
#[derive(Clone, Copy, Debug)]
struct Copy {
    lanes: u32,
    bytes: u32,
    /// Number of each lane's group.
    groups: [u32; LANES],
    /// Shared offset of each lane's destination.
    offsets: [u32; LANES],
    /// Host address of each lane's source, and bytes to read from it.
    sources: [(u64, u32); LANES],
}

/// The asynchronous copies of a warp's lanes.
#[derive(Debug)]
pub struct CopyState {
    copies: Vec<Copy>,
    committed: [u32; LANES],
    pub(super) bulk_committed: [u32; LANES],
    pub(super) stores: Vec<Store>,
}

impl Default for CopyState {
    fn default() -> CopyState {
        CopyState {
            copies: Vec::new(),
            committed: [0; LANES],
            bulk_committed: [0; LANES],
            stores: Vec::new(),
        }
    }
}

impl CopyState {
    /// `cp.async.commit_group`
    pub fn commit(&mut self, active: u32) {
        for lane in lanes(active) {
            self.committed[lane] += 1;
        }
    }
}

impl Block<'_> {
    /// `cp.async`
    pub(super) fn copy_async(&mut self, warp: &mut Warp, op: &CopyAsync, pc: u32, active: u32) {
        let to = self.addresses(warp, op.destination);
        let from = self.addresses(warp, op.source);
        let ignore = op.ignore.map_or(0, |c| warp.condition(c));
        let (mut read, mut written) = (0, 0);
        let mut copy = Copy {
            lanes: 0,
            bytes: op.bytes,
            groups: warp.copies.committed,
            offsets: [0; LANES],
            sources: [(0, 0); LANES],
        };
        for lane in lanes(active) {
            let size = match op.size {
                _ if ignore >> lane & 1 == 1 => 0,
                Some(reg) => warp.lane32(reg, lane),
                None => op.bytes,
            };
            if size > op.bytes {
                let text = format!("cp.async of {} bytes reads {size}", op.bytes);
                self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                continue;
            }
            let Some(offset) = self.shared_offset(to[lane], op.bytes, pc, warp.id, lane) else { continue };
            if size > 0 {
                // The address must suit the whole copy; only `size` bytes are read.
                if from[lane] & u64::from(op.bytes - 1) != 0 {
                    let text = format!("cp.async of {} bytes from {:#x}", op.bytes, from[lane]);
                    self.report(pc, warp.id, Some(1 << lane), Kind::Misaligned, text);
                    continue;
                }
                match self.global_run(warp, pc, lane, from[lane], size, Does::Read) {
                    Some(at) => copy.sources[lane] = (at as u64, size),
                    None => continue,
                }
                read |= 1 << lane;
            }
            written |= 1u32 << lane;
            if let Some(checker) = &mut self.checker {
                let thread = warp.id * LANES + lane;
                let checked = checker.shadow.start_copy(&checker.clocks, thread, offset, op.bytes);
                if let Err((kind, text)) = checked {
                    self.report(
                        pc,
                        warp.id,
                        Some(1 << lane),
                        kind,
                        format!("{text}, shared offset {offset:#x}"),
                    );
                }
            }
            self.shared[offset as usize..(offset + op.bytes) as usize].fill(0xff);
            copy.offsets[lane] = offset;
        }
        copy.lanes = written;
        warp.copies.copies.push(copy);
        if let Some(counters) = &mut self.counters {
            if read != 0 {
                counters.global(pc, false, &from, read, op.bytes);
            }
            counters.shared(pc, &to.map(|a| a as u32), written, op.bytes);
        }
    }

    /// A run of any length in global memory, checked in pieces that are aligned.
    pub(super) fn global_run(
        &mut self,
        warp: &Warp,
        pc: u32,
        lane: usize,
        address: u64,
        bytes: u32,
        does: Does,
    ) -> Option<*mut u8> {
        let mut done = 0;
        let mut start = None;
        while done < bytes {
            let at = address + u64::from(done);
            let step = (1 << at.trailing_zeros().min(4)).min(1 << (31 - (bytes - done).leading_zeros()));
            let pointer = self.global_pointer(warp, pc, lane, at, step, does)?;
            start.get_or_insert(pointer);
            done += step;
        }
        start
    }

    /// `cp.async.wait_group`: all but a lane's latest groups have arrived; `wait_all` without a number.
    pub(super) fn copy_wait(&mut self, warp: &mut Warp, groups: Option<u32>, active: u32) {
        let committed = warp.copies.committed;
        let mut copies = std::mem::take(&mut warp.copies.copies);
        copies.retain_mut(|copy| {
            for lane in lanes(copy.lanes & active) {
                if groups.is_none_or(|n| copy.groups[lane].saturating_add(n) < committed[lane]) {
                    self.finish_copy(warp.id, copy, lane);
                    copy.lanes &= !(1 << lane);
                }
            }
            copy.lanes != 0
        });
        warp.copies.copies = copies;
    }

    #[inline]
    fn finish_copy(&mut self, warp: usize, copy: &Copy, lane: usize) {
        let (offset, bytes) = (copy.offsets[lane], copy.bytes);
        let to = &mut self.shared[offset as usize..(offset + bytes) as usize];
        let (source, size) = copy.sources[lane];
        // Source and destination are aligned to the whole copy, so words are, up to the last one.
        if size == bytes && bytes >= 8 {
            for (i, word) in to.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let at = (source as *mut u8).wrapping_add(8 * i);
                // SAFETY: within the region that `copy_async` found; regions live as long as the launch.
                *word = unsafe { read_element(at, 8) }.to_le_bytes();
            }
        } else {
            for (i, word) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let at = (source as *mut u8).wrapping_add(4 * i);
                let mut value = [0; 4];
                let have = size.saturating_sub(4 * i as u32).min(4) as usize;
                for (byte, value) in value[..have].iter_mut().enumerate() {
                    // SAFETY: likewise.
                    *value = unsafe { read_element(at.wrapping_add(byte), 1) } as u8;
                }
                *word = value;
            }
        }
        if let Some(checker) = &mut self.checker {
            checker.shadow.copied(&checker.clocks, warp * LANES + lane, offset, bytes);
        }
    }
}
