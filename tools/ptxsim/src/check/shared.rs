//! Shadow of a block's shared memory.

use std::collections::HashMap;

use super::clock::Clocks;
use super::finding::Kind;

/// The last write to a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Write {
    /// When; 0 if never.
    time: u32,
    /// Which thread; for a copy, the number of its mbarrier's address.
    who: u16,
    /// See the constants.
    flags: u8,
    /// Asynchronous reads under way.
    readers: u8,
}

impl Write {
    /// The usual case, by one comparison: written, ordered by a barrier that ended at `floor`, and complete.
    #[inline(always)]
    fn is_plain_until(self, floor: u32) -> bool {
        self.time.wrapping_sub(1) < floor && self.flags & (PENDING | COPY) == 0
    }
}

/// Written by an asynchronous copy that may still be under way.
const PENDING: u8 = 1;
/// Written by a copy that completes on an mbarrier.
const COPY: u8 = 2;
/// Written by an atomic operation.
const ATOMIC: u8 = 4;

/// The lanes of one warp that read a cell at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    time: u32,
    lanes: u32,
}

/// What is wrong with an access, for a report.
pub type Fault = (Kind, String);

/// Shadow cells of shared memory.
#[derive(Debug)]
pub struct SharedShadow {
    /// Bytes of a cell: the kernel's narrowest access.
    shift: u32,
    warps: usize,
    writes: Vec<Write>,
    /// By warp and cell: a vector's cells side by side.
    reads: Vec<Reads>,
    /// The last time that each cell was read.
    latest: Vec<u32>,
    /// The last plain write before the atomic operations on a cell: all of them must come after it.
    plain: HashMap<usize, (u16, u32)>,
    /// Reads that do not fit: other lanes of the warp at another time.
    more: HashMap<u32, Vec<(u16, u32)>>,
}

impl SharedShadow {
    /// Shadow of `bytes` bytes that nothing has written. Of `threads`, the last 32 stand for the tensor cores of as
    /// many warps.
    pub fn new(bytes: usize, granule: u32, threads: usize) -> SharedShadow {
        let shift = granule.max(1).trailing_zeros();
        let cells = bytes.div_ceil(1 << shift);
        let warps = threads.div_ceil(32);
        SharedShadow {
            shift,
            warps,
            writes: vec![Write::default(); cells],
            reads: vec![Reads::default(); cells * warps],
            latest: vec![0; cells],
            plain: HashMap::new(),
            more: HashMap::new(),
        }
    }

    fn cells(&self, offset: u32, bytes: u32) -> std::ops::Range<usize> {
        let first = (offset >> self.shift) as usize;
        let last = ((offset + bytes).div_ceil(1 << self.shift) as usize).min(self.writes.len());
        first..last
    }

    /// A thread reads strongly: no race with atomic operations and strong writes, so that it need not be noted.
    pub fn strong_read(&self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) -> Result<(), Fault> {
        self.cells(offset, bytes)
            .map(|cell| self.writes[cell])
            .filter(|write| write.flags & ATOMIC == 0)
            .try_for_each(|write| self.visible(clocks, thread, write, "read of"))
    }

    /// A thread reads. `offset` counts from the start of shared memory.
    #[inline]
    pub fn read(&mut self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) -> Result<(), Fault> {
        let mut result = Ok(());
        let floor = clocks.of(thread).floor;
        for cell in self.cells(offset, bytes) {
            let write = self.writes[cell];
            if !write.is_plain_until(floor)
                && let Err(fault) = self.visible(clocks, thread, write, "read of")
            {
                result = Err(fault);
            }
            self.note_read(clocks, thread, 1 << (thread % 32), cell);
        }
        result
    }

    /// Lanes of one warp read the same bytes, of which all that was written lies before `floor`, a time that each of
    /// them knows: one look for all of them. False, with nothing noted, where it takes a [`read`](SharedShadow::read)
    /// by each.
    #[inline]
    pub fn read_together(
        &mut self,
        clocks: &Clocks,
        warp: usize,
        lanes: u32,
        floor: u32,
        offset: u32,
        bytes: u32,
    ) -> bool {
        let cells = self.cells(offset, bytes);
        if !self.writes[cells.clone()].iter().all(|write| write.is_plain_until(floor)) {
            return false;
        }
        // What the first lane displaces, the others find displaced.
        let first = 32 * warp + lanes.trailing_zeros() as usize;
        for cell in cells {
            self.note_read(clocks, first, lanes, cell);
        }
        true
    }

    /// A write is complete and ordered before what the thread does.
    fn visible(&self, clocks: &Clocks, thread: usize, write: Write, does: &str) -> Result<(), Fault> {
        if write.flags & PENDING != 0 {
            let text = format!("{does} shared memory before the asynchronous copy to it was waited for");
            return Err((Kind::UnwaitedAsync, text));
        }
        if write.time == 0 {
            return match does {
                "read of" => {
                    Err((Kind::Uninitialised, "read of shared memory that nothing wrote".to_owned()))
                }
                _ => Ok(()),
            };
        }
        if write.flags & COPY != 0 {
            let known = clocks.of(thread).covers_copy(u32::from(write.who), write.time);
            return if known {
                Ok(())
            } else {
                let text = format!("{does} shared memory without having waited on the copy's mbarrier");
                Err((Kind::UnwaitedAsync, text))
            };
        }
        if clocks.ordered(thread, u32::from(write.who), write.time) {
            return Ok(());
        }
        let atomic = if write.flags & ATOMIC != 0 { "atomic " } else { "" };
        Err((
            Kind::Race,
            format!("{does} shared memory races with the {atomic}write by thread {}", write.who),
        ))
    }

    /// Notes that `thread` reads now, and with it `lanes` of its warp, itself among them.
    #[inline(always)]
    fn note_read(&mut self, clocks: &Clocks, thread: usize, lanes: u32, cell: usize) {
        self.latest[cell] = clocks.now;
        let slot = &mut self.reads[thread / 32 * self.writes.len() + cell];
        if slot.time == clocks.now {
            slot.lanes |= lanes;
            return;
        }
        let old = std::mem::replace(slot, Reads { time: clocks.now, lanes });
        // Earlier reads that this one comes after need not be kept: what comes after this one comes after them.
        // Nor those before the last write, which has been checked against them.
        if old.time > clocks.of(thread).floor && old.time >= self.writes[cell].time {
            self.keep_reads(clocks, thread, cell, old);
        }
    }

    /// Keeps the reads that `thread`, which reads now, does not come after.
    #[cold]
    fn keep_reads(&mut self, clocks: &Clocks, thread: usize, cell: usize, old: Reads) {
        for other in crate::lanes::registers::lanes(old.lanes & !(1 << (thread % 32))) {
            let other = thread / 32 * 32 + other;
            if !clocks.ordered(thread, other as u32, old.time) {
                self.more.entry(cell as u32).or_default().push((other as u16, old.time));
            }
        }
    }

    /// All reads of a cell come before what the thread does.
    fn read_before(&mut self, clocks: &Clocks, thread: usize, cell: usize) -> Result<(), Fault> {
        if self.writes[cell].readers > 0 {
            let text = "write to shared memory that a tensor core or a bulk copy may still be reading";
            return Err((Kind::Race, text.to_owned()));
        }
        if self.latest[cell] <= clocks.of(thread).floor {
            return Ok(());
        }
        let race = |other: usize| {
            // The last row of readers are the tensor cores.
            let who = match other.checked_sub((self.warps - 1) * 32) {
                Some(warp) => format!("the tensor core of warp {warp}"),
                None => format!("thread {other}"),
            };
            Err((Kind::Race, format!("write to shared memory races with the read by {who}")))
        };
        for warp in 0..self.warps {
            let slot = &self.reads[warp * self.writes.len() + cell];
            if slot.time < self.writes[cell].time {
                continue; // before the last write, which has been checked against it
            }
            for lane in crate::lanes::registers::lanes(slot.lanes) {
                let other = warp * 32 + lane;
                if !clocks.ordered(thread, other as u32, slot.time) {
                    return race(other);
                }
            }
        }
        if let Some(more) = self.more.get(&(cell as u32)) {
            for &(other, time) in more {
                if !clocks.ordered(thread, u32::from(other), time) {
                    return race(usize::from(other));
                }
            }
            self.more.remove(&(cell as u32));
        }
        Ok(())
    }

    fn overwrite(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
        flags: u8,
        who: u16,
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        let floor = clocks.of(thread).floor;
        let mut last = None;
        for cell in self.cells(offset, bytes) {
            let write = self.writes[cell];
            let both_atomic = flags & write.flags & ATOMIC != 0;
            if (write.time > floor || write.flags & (PENDING | COPY) != 0)
                && !both_atomic
                && last != Some(write)
                && let Err(fault) = self.visible(clocks, thread, write, "write to")
            {
                result = Err(fault);
            }
            last = Some(write);
            if flags & ATOMIC != 0 && write.time != 0 {
                if write.flags == 0 {
                    self.plain.insert(cell, (write.who, write.time));
                } else if let Some(&(who, time)) = self.plain.get(&cell).filter(|_| both_atomic) {
                    let write = Write { who, time, ..Write::default() };
                    result = result.and(self.visible(clocks, thread, write, "atomic operation on"));
                }
            }
            if let Err(fault) = self.read_before(clocks, thread, cell) {
                result = Err(fault);
            }
            self.writes[cell] = Write { time: clocks.now, who, flags, readers: write.readers };
        }
        result
    }

    /// A thread writes.
    pub fn write(&mut self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) -> Result<(), Fault> {
        self.overwrite(clocks, thread, offset, bytes, 0, thread as u16)
    }

    /// A thread writes strongly.
    pub fn strong_write(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
    ) -> Result<(), Fault> {
        self.overwrite(clocks, thread, offset, bytes, ATOMIC, thread as u16)
    }

    /// A thread does an atomic operation.
    pub fn atomic(&mut self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) -> Result<(), Fault> {
        let written = self.cells(offset, bytes).all(|cell| self.writes[cell].time != 0);
        self.strong_write(clocks, thread, offset, bytes)?;
        match written {
            true => Ok(()),
            false => {
                let text = "atomic operation on shared memory that nothing wrote";
                Err((Kind::Uninitialised, text.to_owned()))
            }
        }
    }

    /// A thread starts `cp.async`: what it writes is not there before [`copied`](SharedShadow::copied).
    pub fn start_copy(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
    ) -> Result<(), Fault> {
        self.overwrite(clocks, thread, offset, bytes, PENDING, thread as u16)
    }

    /// `cp.async` has been waited for: as if the thread wrote now.
    pub fn copied(&mut self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) {
        for cell in self.cells(offset, bytes) {
            let write = &mut self.writes[cell];
            if write.flags & PENDING != 0 && usize::from(write.who) == thread {
                *write = Write { time: clocks.now, who: thread as u16, flags: 0, readers: write.readers };
            }
        }
    }

    /// A thread starts a bulk copy that completes on an mbarrier, numbered `barrier`.
    ///
    /// What it writes is not there before [`bulk_copied`](SharedShadow::bulk_copied).
    pub fn start_bulk(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
        barrier: u16,
    ) -> Result<(), Fault> {
        let proxy = self.proxy_visible(clocks, thread, offset, bytes, "asynchronous write");
        let plain = self.overwrite(clocks, thread, offset, bytes, PENDING | COPY, barrier);
        plain.and(proxy)
    }

    /// A bulk copy has written: threads that wait for a phase of its mbarrier that ends after now see it.
    pub fn bulk_copied(&mut self, clocks: &Clocks, offset: u32, bytes: u32) {
        for cell in self.cells(offset, bytes) {
            let write = &mut self.writes[cell];
            if write.flags & PENDING != 0 {
                write.flags &= !PENDING;
                write.time = clocks.now;
            }
        }
    }

    /// Ordinary writes to a range are visible to the asynchronous proxy on behalf of a thread.
    fn proxy_visible(
        &self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
        does: &str,
    ) -> Result<(), Fault> {
        let mut last = None;
        for cell in self.cells(offset, bytes) {
            let write = self.writes[cell];
            if last.replace(write) == Some(write) {
                continue;
            }
            let ordinary = write.time != 0 && write.flags & (PENDING | COPY) == 0;
            // Where even ordinary order is missing, the race is reported instead.
            if ordinary
                && clocks.ordered(thread, u32::from(write.who), write.time)
                && !clocks.proxy_ordered(thread, u32::from(write.who), write.time)
            {
                let text = format!(
                    "{does} after the ordinary write by thread {} to shared memory without fence.proxy.async",
                    write.who
                );
                return Err((Kind::ProxyFence, text));
            }
        }
        Ok(())
    }

    /// A tensor core or bulk copy starts to read on behalf of a thread; end it with
    /// [`end_read`](SharedShadow::end_read).
    pub fn start_read(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        offset: u32,
        bytes: u32,
    ) -> Result<(), Fault> {
        let mut result = self.proxy_visible(clocks, thread, offset, bytes, "asynchronous read");
        let mut last = None;
        for cell in self.cells(offset, bytes) {
            let write = self.writes[cell];
            // Neighbours mostly have the same history.
            if last != Some(write)
                && let Err(fault) = self.visible(clocks, thread, write, "read of")
            {
                result = Err(fault);
            }
            last = Some(write);
            self.writes[cell].readers = write.readers.saturating_add(1);
        }
        result
    }

    /// An asynchronous read has been waited for: as if the thread read now.
    pub fn end_read(&mut self, clocks: &Clocks, thread: usize, offset: u32, bytes: u32) {
        for cell in self.cells(offset, bytes) {
            self.writes[cell].readers = self.writes[cell].readers.saturating_sub(1);
            self.note_read(clocks, thread, 1 << (thread % 32), cell);
        }
    }
}

#[cfg(test)]
mod tests;
