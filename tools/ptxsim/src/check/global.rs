//! Shadow of global memory for one launch.
//!
//! Blocks run at the same time, so cells are atomic. A cell holds the last write and the last read, each as block,
//! thread and time; of earlier reads it holds only that there were any, by other threads of the block or by other
//! blocks. So a race of a write with an earlier read may be missed: within a block if the writer itself read last,
//! between blocks if the writer's block has heard of another one through memory. None is reported that is not there.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use crate::memory::View;
use crate::program::form::Order;

use super::clock::{Blocks, Clocks};
use super::finding::Kind;
use super::shared::Fault;

#[derive(Debug, Default)]
#[repr(C)]
struct Cell {
    write: AtomicU64,
    read: AtomicU64,
}

/// Fields of a stamp: block + 1 (26 bits), thread (10), time (26), flags (2).
const FLAG_A: u64 = 1;
const FLAG_B: u64 = 2;
/// On a write: by an atomic operation.
const ATOMIC: u64 = FLAG_A;
/// On a read: other threads of the block read too.
const THREADS: u64 = FLAG_A;
/// On a read: other blocks read too.
const BLOCKS: u64 = FLAG_B;
const MASK26: u64 = (1 << 26) - 1;

fn stamp(block: u64, thread: usize, time: u32) -> u64 {
    ((block + 1) & MASK26) << 38 | (thread as u64 & 0x3ff) << 28 | (u64::from(time) & MASK26) << 2
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    block: u64,
    thread: u32,
    time: u32,
}

fn unpack(stamp: u64) -> Option<Stamp> {
    let block = (stamp >> 38).checked_sub(1)?;
    Some(Stamp { block, thread: (stamp >> 28) as u32 & 0x3ff, time: (stamp >> 2 & MASK26) as u32 })
}

/// What was released through memory, by address.
pub type Released = HashMap<u64, Blocks>;

/// Shadow cells of the regions of a launch, made when a region is first used.
#[derive(Debug)]
pub struct GlobalShadow {
    shift: u32,
    bases: Vec<(u64, usize)>,
    cells: Vec<OnceLock<Box<[Cell]>>>,
    /// The last plain write before the atomic operations on a cell: all of them must come after it.
    plain: Vec<std::sync::Mutex<HashMap<u64, Stamp>>>,
    /// Locations through which blocks, or threads, order themselves.
    released: Vec<std::sync::Mutex<Released>>,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Reads.
    Read,
    /// Reads, strongly: no race with atomic operations.
    StrongRead,
    /// Writes.
    Write,
    /// An atomic operation, or a strong write.
    Atomic,
}

impl GlobalShadow {
    /// Shadow of all regions of a view.
    pub fn new(view: &View, granule: u32) -> GlobalShadow {
        let bases: Vec<_> = view.regions().iter().map(|r| (r.base, r.len)).collect();
        GlobalShadow {
            shift: granule.max(1).trailing_zeros(),
            cells: bases.iter().map(|_| OnceLock::new()).collect(),
            bases,
            plain: (0..64).map(|_| std::sync::Mutex::default()).collect(),
            released: (0..64).map(|_| std::sync::Mutex::default()).collect(),
        }
    }

    fn range(&self, address: u64, bytes: u32) -> &[Cell] {
        let after = self.bases.partition_point(|(base, _)| *base <= address);
        let Some(index) = after.checked_sub(1) else { return &[] };
        let (base, len) = self.bases[index];
        let cells = self.cells[index].get_or_init(|| {
            let count = len.div_ceil(1 << self.shift);
            // Zeroed pages come from the system when first touched, so a large region costs what is used of it.
            zero_cells(count)
        });
        let first = ((address - base) >> self.shift) as usize;
        let last = (address - base + u64::from(bytes)).div_ceil(1 << self.shift) as usize;
        cells.get(first..last.min(cells.len())).unwrap_or(&[])
    }

    /// A thread's access. The address is in bounds.
    pub fn access(
        &self,
        clocks: &Clocks,
        thread: usize,
        address: u64,
        bytes: u32,
        does: Does,
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        for (cell, key) in self.range(address, bytes).iter().zip(address >> self.shift..) {
            let checked = match does {
                Does::Read | Does::StrongRead => read(cell, clocks, thread, does),
                Does::Write | Does::Atomic => self.write(cell, key, clocks, thread, does),
            };
            if let Err((other, was)) = checked {
                let does = match does {
                    Does::Read | Does::StrongRead => "read of",
                    Does::Write => "write to",
                    Does::Atomic => "atomic operation on",
                };
                let who = match other.block {
                    MASK26 => "a thread of another block".to_owned(),
                    block if block == clocks.block => format!("thread {}", other.thread),
                    block => format!("thread {} of block {block}", other.thread),
                };
                result = Err((Kind::Race, format!("{does} global memory races with the {was} by {who}")));
            }
        }
        result
    }

    fn write(
        &self,
        cell: &Cell,
        key: u64,
        clocks: &Clocks,
        thread: usize,
        does: Does,
    ) -> Result<(), (Stamp, &'static str)> {
        let atomic = if does == Does::Atomic { ATOMIC } else { 0 };
        let written = cell.write.swap(stamp(clocks.block, thread, clocks.now) | atomic, SeqCst);
        if let Some(last) = unpack(written) {
            if written & atomic == 0 && !ordered(clocks, thread, last) {
                return Err((last, if written & ATOMIC != 0 { "atomic operation" } else { "write" }));
            }
            if does == Does::Atomic {
                let shard = &self.plain[key as usize % self.plain.len()];
                let mut plain = shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if written & ATOMIC == 0 {
                    plain.insert(key, last);
                } else if let Some(&last) = plain.get(&key)
                    && !ordered(clocks, thread, last)
                {
                    return Err((last, "write"));
                }
            }
        }
        // After a plain write nobody asks for the reads before it any more.
        let mut seen = cell.read.load(SeqCst);
        if does == Does::Write && seen != 0 {
            seen = cell.read.swap(0, SeqCst);
        }
        let Some(last) = unpack(seen) else { return Ok(()) };
        let own = last.block == clocks.block & MASK26;
        if seen & BLOCKS != 0 && own && !clocks.of(thread).knows_others(clocks.block) {
            // Another block read before this one did, and nothing orders the two.
            return Err((Stamp { block: MASK26, ..last }, "read"));
        }
        if !ordered(clocks, thread, last) { Err((last, "read")) } else { Ok(()) }
    }

    /// What was released at an address and near it.
    pub fn released(&self, address: u64) -> std::sync::MutexGuard<'_, Released> {
        let shard = &self.released[(address >> 3) as usize % self.released.len()];
        shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Before a strong write: leaves what the thread releases. A read-modify-write goes on with the release sequence of
/// earlier writes, which a store ends.
pub fn release(
    released: &mut Released,
    clocks: &mut Clocks,
    thread: usize,
    address: u64,
    order: Order,
    modifies: bool,
) {
    let left = clocks.stored(thread, order.releases());
    if !modifies {
        released.remove(&address);
    }
    if let Some(left) = left {
        super::clock::join_blocks(released.entry(address).or_default(), &left);
    }
}

/// After a strong read: takes what was released at the address. After, so that it holds all that led to the value.
pub fn acquire(released: &Released, clocks: &mut Clocks, thread: usize, address: u64, order: Order) {
    if let Some(blocks) = released.get(&address) {
        clocks.loaded(thread, blocks, order.acquires());
    }
}

fn ordered(clocks: &Clocks, thread: usize, other: Stamp) -> bool {
    if other.block == clocks.block & MASK26 {
        clocks.ordered(thread, other.thread, other.time)
    } else {
        clocks.of(thread).covers_block(other.block, other.thread, other.time)
    }
}

fn read(cell: &Cell, clocks: &Clocks, thread: usize, does: Does) -> Result<(), (Stamp, &'static str)> {
    let mine = stamp(clocks.block, thread, clocks.now);
    let mut seen = cell.read.load(SeqCst);
    // Strong reads are not noted: no strong write races with them.
    while does == Does::Read && seen & BLOCKS == 0 {
        let next = match unpack(seen) {
            None => mine,
            Some(last) if last.block != clocks.block & MASK26 => mine | BLOCKS,
            // Dropped if it comes before this read: what comes after this one comes after it.
            Some(last) if ordered(clocks, thread, last) => mine | seen & THREADS,
            Some(_) => mine | THREADS,
        };
        if next == seen {
            break;
        }
        match cell.read.compare_exchange_weak(seen, next, SeqCst, SeqCst) {
            Ok(_) => break,
            Err(now) => seen = now,
        }
    }
    let written = cell.write.load(SeqCst);
    match unpack(written) {
        Some(_) if does == Does::StrongRead && written & ATOMIC != 0 => Ok(()),
        Some(last) if !ordered(clocks, thread, last) => {
            Err((last, if written & ATOMIC != 0 { "atomic operation" } else { "write" }))
        }
        _ => Ok(()),
    }
}

/// Zeroed cells: an all-zero cell means never accessed.
fn zero_cells(count: usize) -> Box<[Cell]> {
    let words = vec![[0u64; 2]; count].into_boxed_slice();
    // SAFETY: a `Cell` is two `AtomicU64` in C's layout, each of the size, alignment and bit validity of `u64`, so
    // that a slice of as many has the same layout; the box is the only owner.
    unsafe { Box::from_raw(Box::into_raw(words) as *mut [Cell]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Kind as Of, Memory};

    /// A word of memory that blocks share, its shadow, and the clocks of two blocks.
    fn two_blocks() -> (GlobalShadow, u64, Clocks, Clocks) {
        let memory = Memory::new(1 << 20).unwrap();
        let word = memory.allocate(4, Of::Device).unwrap();
        (GlobalShadow::new(&memory.view(), 4), word, Clocks::new(0, 32), Clocks::new(1, 32))
    }

    #[test]
    fn strong_accesses_do_not_race_with_each_other_in_any_order() {
        let (shadow, word, a, b) = two_blocks();
        shadow.access(&b, 0, word, 4, Does::StrongRead).unwrap();
        shadow.access(&a, 0, word, 4, Does::Atomic).unwrap();
        shadow.access(&b, 1, word, 4, Does::Atomic).unwrap();
        shadow.access(&a, 2, word, 4, Does::StrongRead).unwrap();
        assert!(
            shadow.access(&a, 3, word, 4, Does::Read).unwrap_err().1.contains("atomic operation by thread 1")
        );
    }

    #[test]
    fn a_plain_write_is_not_hidden_by_atomic_operations_of_its_thread() {
        let (shadow, word, a, b) = two_blocks();
        shadow.access(&a, 3, word, 4, Does::Write).unwrap();
        shadow.access(&a, 3, word, 4, Does::Atomic).unwrap();
        let (kind, text) = shadow.access(&b, 0, word, 4, Does::Atomic).unwrap_err();
        assert_eq!(kind, Kind::Race);
        assert!(text.contains("races with the write by thread 3 of block 0"), "{text}");
    }

    #[test]
    fn reads_by_several_blocks_race_with_a_write_unless_the_writer_heard_of_them() {
        let (shadow, word, mut a, mut b) = two_blocks();
        shadow.access(&a, 0, word, 4, Does::Read).unwrap();
        shadow.access(&b, 0, word, 4, Does::Read).unwrap();
        let mut released = Released::new();
        release(&mut released, &mut a, 0, word, Order::Release, true);
        acquire(&released, &mut b, 0, word, Order::Acquire);
        shadow.access(&b, 0, word, 4, Does::Write).unwrap();
        // Reads before the write are done with; those after it count again.
        let (shadow, word, a, b) = two_blocks();
        shadow.access(&a, 0, word, 4, Does::Read).unwrap();
        shadow.access(&b, 0, word, 4, Does::Read).unwrap();
        let text = shadow.access(&b, 0, word, 4, Does::Write).unwrap_err().1;
        assert!(text.contains("races with the read by a thread of another block"), "{text}");
    }
}
