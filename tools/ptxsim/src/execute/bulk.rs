//! Bulk copies by the copy engine (PTX ISA, sections "cp.async.bulk", "cp.async.bulk.tensor",
//! "cp.reduce.async.bulk"). Data arrive as late as the program allows, or at random times under a seed.

use crate::async_copy::tensor_map::{ALIGNMENT, Piece, SHARED_ALIGNMENT, SIZE, TensorMap};
use crate::check::finding::Kind;
use crate::check::global::Does;
use crate::program::form::{Bulk, BulkKind, Scalar, Update};
use crate::program::{PARAM_WINDOW, SHARED_BASE, WINDOW_MASK};

use super::access::{read_element, write_element};
use super::atomic::apply;
use super::block::Block;
use super::mbarrier::copy_id;
use super::warp::Warp;
use crate::lanes::registers::{LANES, lanes};

/// A bulk copy to global memory, of one lane.
#[derive(Clone, Debug)]
pub struct Store {
    lane: usize,
    group: u32,
    /// What has been read from shared memory; global memory gets it later.
    data: Option<Vec<u8>>,
    combine: Option<(Update, Scalar)>,
    pieces: Vec<Piece>,
    pc: u32,
}

/// A bulk copy to shared memory that is under way.
#[derive(Clone, Debug)]
pub struct BulkCopy {
    /// Instruction, warp and lane that issued it.
    issued: (u32, usize, usize),
    mbarrier: u32,
    /// Bytes that the mbarrier counts.
    bytes: u32,
    fill: u64,
    pieces: Vec<(Piece, Option<usize>)>,
}

impl BulkCopy {
    /// Instruction, warp and lane that issued it.
    pub fn issued(&self) -> (u32, usize, usize) {
        self.issued
    }
}

impl Block<'_> {
    /// The pieces of a bulk copy: shared address and global address.
    fn bulk_pieces(
        &mut self,
        warp: &Warp,
        op: &Bulk,
        pc: u32,
        lane: usize,
    ) -> Option<(Vec<Piece>, u32, u64)> {
        let shared = op.shared.map_or(0, |a| self.addresses(warp, a)[lane]);
        let global = self.addresses(warp, op.global)[lane];
        let fault = |this: &Block, kind, text: String| {
            this.report(pc, warp.id, Some(1 << lane), kind, text);
            None
        };
        let tensor =
            matches!(op.kind, BulkKind::TensorLoad | BulkKind::TensorStore | BulkKind::TensorReduce(_));
        if !tensor {
            let bytes = op.size.map_or(0, |reg| warp.lane32(reg, lane));
            if !bytes.is_multiple_of(16) {
                return fault(
                    self,
                    Kind::Misaligned,
                    format!("bulk copy of {bytes} bytes, not a multiple of 16"),
                );
            }
            if !(shared | global).is_multiple_of(16) {
                let text = format!("bulk copy between shared {shared:#x} and global {global:#x}");
                return fault(self, Kind::Misaligned, text);
            }
            let pieces = (0..bytes / 16).map(|i| Piece {
                shared: (shared & !WINDOW_MASK) as u32 + 16 * i,
                global: Some(global + u64::from(16 * i)),
                bytes: 16,
            });
            return Some((pieces.collect(), bytes, 0));
        }
        let map = self.tensor_map(warp, global, pc, lane)?;
        let coordinates: Vec<i32> = op.coordinates.iter().map(|reg| warp.lane32(*reg, lane) as i32).collect();
        let offsets: Vec<u16> = op.offsets.iter().map(|reg| warp.lane32(*reg, lane) as u16).collect();
        let shared = (shared & !WINDOW_MASK) as u32;
        if !shared.is_multiple_of(SHARED_ALIGNMENT) {
            let text =
                format!("tensor copy at shared address {shared:#x}, not a multiple of {SHARED_ALIGNMENT}");
            return fault(self, Kind::Misaligned, text);
        }
        let mut pieces = Vec::new();
        match map.pieces(shared, &coordinates, &offsets, &mut pieces) {
            Ok(()) => Some((pieces, map.box_bytes(), map.fill_bits())),
            Err(e) => fault(self, Kind::Unsupported, e.to_string()),
        }
    }

    /// The tensor map at a generic address.
    fn tensor_map(&mut self, warp: &Warp, address: u64, pc: u32, lane: usize) -> Option<TensorMap> {
        let mut bytes = [0u8; SIZE];
        if !address.is_multiple_of(ALIGNMENT) {
            let text = format!("tensor map at {address:#x}, not a multiple of {ALIGNMENT}");
            self.report(pc, warp.id, Some(1 << lane), Kind::Misaligned, text);
            return None;
        }
        if address & WINDOW_MASK == PARAM_WINDOW {
            let offset = (address & !WINDOW_MASK) as usize;
            if let Some(from) = self.grid.params.get(offset..offset.saturating_add(SIZE)) {
                bytes.copy_from_slice(from);
            }
        } else {
            for (i, word) in bytes.chunks_exact_mut(8).enumerate() {
                let at = self.global_pointer(warp, pc, lane, address + 8 * i as u64, 8, Does::Read)?;
                // SAFETY: in bounds and aligned, as `global_pointer` checked.
                word.copy_from_slice(&unsafe { read_element(at, 8) }.to_le_bytes());
            }
        }
        let map = TensorMap::from_bytes(&bytes);
        if map.is_none() {
            let text = format!("no tensor map at {address:#x}");
            self.report(pc, warp.id, Some(1 << lane), Kind::Unsupported, text);
        }
        map
    }

    /// `cp.async.bulk.*`
    pub(super) fn bulk_copy(&mut self, warp: &mut Warp, op: &Bulk, pc: u32, active: u32) {
        for lane in lanes(active) {
            let Some((pieces, bytes, fill)) = self.bulk_pieces(warp, op, pc, lane) else { continue };
            let end = SHARED_BASE as usize + self.shared.len();
            if let Some(piece) =
                pieces.iter().find(|p| p.shared < SHARED_BASE || p.shared as usize + p.bytes as usize > end)
            {
                let text = format!(
                    "bulk copy of {bytes} bytes reaches shared address {:#x}, of which the block has {SHARED_BASE:#x} to {end:#x}",
                    piece.shared
                );
                self.report(pc, warp.id, Some(1 << lane), Kind::OutOfBounds, text);
                continue;
            }
            if let Some(counters) = &mut self.counters {
                let runs = pieces.iter().filter_map(|p| p.global.map(|g| (g, p.bytes)));
                let load = matches!(op.kind, BulkKind::Load | BulkKind::TensorLoad);
                counters.global_bulk(pc, !load, 1, runs);
            }
            let combine = match op.kind {
                BulkKind::Load | BulkKind::TensorLoad => {
                    self.bulk_load(warp, op, pc, lane, pieces, bytes, fill);
                    continue;
                }
                BulkKind::Store | BulkKind::TensorStore => None,
                BulkKind::Reduce(update, scalar) => Some((update, scalar)),
                BulkKind::TensorReduce(update) => {
                    let global = self.addresses(warp, op.global)[lane];
                    let Some(scalar) = self.tensor_map(warp, global, pc, lane).and_then(|m| element(&m))
                    else {
                        let text = "reduction of a tensor of this data type";
                        self.report(pc, warp.id, Some(1 << lane), Kind::Unsupported, text);
                        continue;
                    };
                    Some((update, scalar))
                }
            };
            for (offset, len) in runs(pieces.iter()) {
                let Some(checker) = &mut self.checker else { break };
                let thread = warp.id * LANES + lane;
                let checked = checker.shadow.start_read(&checker.clocks, thread, offset, len);
                if let Err((kind, text)) = checked {
                    let text = format!("{text}, shared offset {offset:#x}");
                    self.report(pc, warp.id, Some(1 << lane), kind, text);
                }
            }
            let group = warp.copies.bulk_committed[lane];
            warp.copies.stores.push(Store { lane, group, data: None, combine, pieces, pc });
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one instruction
    fn bulk_load(
        &mut self,
        warp: &Warp,
        op: &Bulk,
        pc: u32,
        lane: usize,
        pieces: Vec<Piece>,
        bytes: u32,
        fill: u64,
    ) {
        let Some(mbarrier) = op.mbarrier.map(|a| (self.addresses(warp, a)[lane] & !WINDOW_MASK) as u32)
        else {
            return;
        };
        if self.copy_mbarrier(mbarrier, pc, warp.id, lane).is_none() {
            return;
        }
        let mut sources = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let source = match piece.global {
                None => None,
                Some(address) => match self.global_run(warp, pc, lane, address, piece.bytes, Does::Read) {
                    Some(at) => Some(at as usize),
                    None => return,
                },
            };
            sources.push(source);
        }
        for (offset, len) in runs(pieces.iter()) {
            if let Some(checker) = &mut self.checker {
                let thread = warp.id * LANES + lane;
                let id = copy_id(mbarrier) as u16;
                let checked = checker.shadow.start_bulk(&checker.clocks, thread, offset, len, id);
                if let Err((kind, text)) = checked {
                    let text = format!("{text}, shared offset {offset:#x}");
                    self.report(pc, warp.id, Some(1 << lane), kind, text);
                }
            }
            self.shared[offset as usize..(offset + len) as usize].fill(0xff);
        }
        let pieces = pieces.into_iter().zip(sources).collect();
        self.bulk.push(BulkCopy { issued: (pc, warp.id, lane), mbarrier, bytes, fill, pieces });
    }

    /// Lets a bulk copy to shared memory arrive.
    pub(super) fn run_bulk(&mut self, which: usize) {
        if which >= self.bulk.len() {
            return;
        }
        let copy = self.bulk.remove(which);
        for (piece, source) in &copy.pieces {
            let offset = (piece.shared - SHARED_BASE) as usize;
            let to = &mut self.shared[offset..offset + piece.bytes as usize];
            for (i, byte) in to.iter_mut().enumerate() {
                let value = match source {
                    // SAFETY: within the region that `bulk_load` found; regions live as long as the launch.
                    Some(at) => unsafe { read_element((*at as *mut u8).wrapping_add(i), 1) },
                    None => u64::from(copy.fill.to_le_bytes()[i % 8]),
                };
                *byte = value as u8;
            }
        }
        for (offset, len) in runs(copy.pieces.iter().map(|(piece, _)| piece)) {
            let Some(checker) = &mut self.checker else { break };
            checker.shadow.bulk_copied(&checker.clocks, offset, len);
        }
        self.complete_bytes(copy.mbarrier, copy.bytes);
    }

    /// `cp.async.bulk.commit_group`
    pub(super) fn bulk_commit(&mut self, warp: &mut Warp, active: u32) {
        for lane in lanes(active) {
            warp.copies.bulk_committed[lane] += 1;
        }
    }

    /// `cp.async.bulk.wait_group`: all but a lane's latest groups have been read from shared memory; without `read`,
    /// written to global memory too.
    pub(super) fn bulk_wait(&mut self, warp: &mut Warp, groups: u32, read: bool, active: u32) {
        let committed = warp.copies.bulk_committed;
        let mut stores = std::mem::take(&mut warp.copies.stores);
        stores.retain_mut(|store| {
            let waited =
                active >> store.lane & 1 == 1 && store.group.saturating_add(groups) < committed[store.lane];
            if waited {
                self.read_store(warp, store);
                if !read {
                    self.write_store(warp, store);
                }
            }
            !waited || read
        });
        warp.copies.stores = stores;
    }

    /// Takes the bytes of a bulk store from shared memory.
    fn read_store(&mut self, warp: &Warp, store: &mut Store) {
        if store.data.is_some() {
            return;
        }
        for (offset, len) in runs(store.pieces.iter()) {
            let Some(checker) = &mut self.checker else { break };
            let thread = warp.id * LANES + store.lane;
            checker.shadow.end_read(&checker.clocks, thread, offset, len);
        }
        let mut data = Vec::new();
        for piece in &store.pieces {
            let offset = piece.shared - SHARED_BASE;
            data.extend_from_slice(&self.shared[offset as usize..(offset + piece.bytes) as usize]);
        }
        store.data = Some(data);
    }

    /// Lets the bytes of a bulk store arrive in global memory.
    fn write_store(&mut self, warp: &Warp, store: &Store) {
        let mut rest = store.data.as_deref().unwrap_or_default();
        for piece in &store.pieces {
            let Some((from, tail)) = rest.split_at_checked(piece.bytes as usize) else { return };
            rest = tail;
            let Some(address) = piece.global else { continue };
            let does = if store.combine.is_some() { Does::Atomic } else { Does::Write };
            let Some(at) = self.global_run(warp, store.pc, store.lane, address, piece.bytes, does) else {
                return;
            };
            match store.combine {
                None => {
                    for (i, byte) in from.iter().enumerate() {
                        // SAFETY: within the region that `global_run` just checked.
                        unsafe { write_element(at.wrapping_add(i), 1, u64::from(*byte)) };
                    }
                }
                Some((update, scalar)) => {
                    let width = scalar.bytes() as usize;
                    for (i, element) in from.chunks_exact(width).enumerate() {
                        let mut value = [0; 8];
                        value[..width].copy_from_slice(element);
                        let at = at.wrapping_add(i * width);
                        // SAFETY: as above; pieces start at multiples of the element's size.
                        unsafe { apply(at, update, scalar, u64::from_le_bytes(value), 0) };
                    }
                }
            }
        }
    }

    /// A warp has ended: its copies arrive, and shared memory must not be needed for them any more.
    pub(super) fn finish_copies(&mut self, warp: &mut Warp) {
        self.copy_wait(warp, None, !0);
        for mut store in std::mem::take(&mut warp.copies.stores) {
            if store.data.is_none() && self.checker.is_some() {
                let text = "bulk store whose thread ended without cp.async.bulk.wait_group";
                self.report(store.pc, warp.id, Some(1 << store.lane), Kind::UnwaitedAsync, text);
            }
            self.read_store(warp, &mut store);
            self.write_store(warp, &store);
        }
    }
}

/// The type of a tensor's elements, for a reduction.
fn element(map: &TensorMap) -> Option<Scalar> {
    use crate::async_copy::tensor_map::DataType::*;
    Some(match map.data_type() {
        Uint32 => Scalar::U32,
        Int32 => Scalar::S32,
        Uint64 => Scalar::U64,
        Int64 => Scalar::S64,
        Float16 => Scalar::F16,
        Bfloat16 => Scalar::Bf16,
        Float32 | Float32Ftz => Scalar::F32,
        Float64 => Scalar::F64,
        _ => return None,
    })
}

/// Runs of shared memory, by offset and length, that pieces fill. A box lies without gaps, unless its rows are
/// narrower than the swizzle.
fn runs<'p>(pieces: impl Iterator<Item = &'p Piece> + Clone) -> Vec<(u32, u32)> {
    let (mut start, mut end, mut total) = (u32::MAX, 0, 0);
    for piece in pieces.clone() {
        start = start.min(piece.shared);
        end = end.max(piece.shared + piece.bytes);
        total += piece.bytes;
    }
    if start >= end {
        return Vec::new();
    }
    if end - start == total {
        return vec![(start - SHARED_BASE, total)];
    }
    let mut sorted: Vec<_> = pieces.map(|p| (p.shared - SHARED_BASE, p.bytes)).collect();
    sorted.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (offset, bytes) in sorted {
        match runs.last_mut() {
            Some((first, len)) if *first + *len == offset => *len += bytes,
            _ => runs.push((offset, bytes)),
        }
    }
    runs
}
