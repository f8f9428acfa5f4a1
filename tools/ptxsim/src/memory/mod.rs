//! Device memory.
//!
//! Device addresses come from a range of the process's address space that is reserved but never accessible, so host
//! code that dereferences one faults, as it does with a GPU. The bytes live in a second range of the same size, at a
//! constant distance: translating an address is one addition ([`Region::host`]).
//!
//! Allocations are aligned to 512 bytes with a gap after each, and addresses are not used twice until the range ends,
//! so that an access past an end or to freed memory hits nothing else and [`Memory::describe`] can say what it was.

mod access;
mod bitmap;
mod describe;
mod region;
mod reservation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitmap::Bitmap;
pub use region::{Kind, Region, View};
use reservation::{PAGE, Reservation};

/// Alignment of every allocation, and the least gap after it, in bytes.
pub const GRANULE: u64 = 512;

/// Reservations are multiples of this many bytes, so that an eighth of one is a multiple of a page.
const STEP: usize = 1 << 20;

/// Addresses to reserve, if the host has as many; they cost no memory.
const RANGE: usize = 1 << 40;

/// How many freed allocations are remembered.
const REMEMBERED: usize = 1 << 16;

/// The host refused address space; why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Shortage(pub(crate) String);

/// Why memory was not handed out, taken back or accessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An allocation of nothing.
    #[error("an allocation needs at least one byte")]
    Empty,
    /// The device is full.
    #[error("{asked} bytes asked for, {free} of {capacity} are free")]
    OutOfMemory {
        /// Bytes asked for.
        asked: usize,
        /// Bytes not allocated.
        free: usize,
        /// Bytes of the device.
        capacity: usize,
    },
    /// The host is short of something.
    #[error(transparent)]
    Host(#[from] Shortage),
    /// Not the first byte of an allocation of this kind.
    #[error("{addr:#x} is not the start of {expected}: {what}")]
    NotAllocated {
        /// The address.
        addr: u64,
        /// What it should have been.
        expected: &'static str,
        /// What it is.
        what: String,
    },
    /// The host range is registered (or pinned) already, in part or in whole.
    #[error("{len} bytes at {addr:#x} are registered in part already")]
    Registered {
        /// Address of the first byte.
        addr: u64,
        /// Length in bytes.
        len: usize,
    },
    /// An access that no region holds.
    #[error("{len} bytes at {addr:#x}: {what}")]
    OutOfBounds {
        /// Address of the first byte.
        addr: u64,
        /// Length in bytes.
        len: usize,
        /// What is there.
        what: String,
    },
}

/// The memory of a device, and the host memory that it can reach.
#[derive(Debug)]
pub struct Memory {
    capacity: usize,
    /// The device's addresses.
    addresses: Reservation,
    /// The bytes behind them.
    bytes: Arc<Reservation>,
    /// One bit for each of them: whether something wrote it.
    written: Arc<Reservation>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Live regions by address.
    live: BTreeMap<u64, Arc<Region>>,
    /// Length of freed device allocations by address.
    freed: BTreeMap<u64, usize>,
    /// Where the next device allocation goes.
    next: u64,
    /// Bytes that count towards the capacity.
    used: usize,
    /// The view of `live`, if it was asked for since that last changed.
    view: Option<View>,
}

impl Memory {
    /// Memory of `capacity` bytes.
    ///
    /// # Errors
    /// The host has too little address space.
    pub fn new(capacity: usize) -> Result<Memory, Shortage> {
        let least = capacity.saturating_mul(2).saturating_add(STEP) / STEP * STEP + STEP;
        let mut len = RANGE.max(least);
        let reserve = |len: usize| {
            let bytes = Arc::new(Reservation::zeroed(len)?);
            let written = Arc::new(Reservation::zeroed(len / 8)?);
            Ok((Reservation::inaccessible(len)?, bytes, written))
        };
        let (addresses, bytes, written) = loop {
            match reserve(len) {
                Ok(all) => break all,
                Err(shortage) if len == least => return Err(shortage),
                // A limit on address space (`ulimit -v`, a container): make do with less.
                Err(_) => len = (len / 2).next_multiple_of(STEP).max(least),
            }
        };
        bytes.prefer_large_pages();
        let next = addresses.base() as u64 + PAGE;
        let state = State { live: BTreeMap::new(), freed: BTreeMap::new(), next, used: 0, view: None };
        Ok(Memory { capacity, addresses, bytes, written, state: Mutex::new(state) })
    }

    /// Bytes of the device.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of it that are not allocated.
    pub fn free_bytes(&self) -> usize {
        self.capacity - self.lock().used
    }

    /// Allocates `len` bytes; gives their device address. Bytes in the device's own range count as never written.
    /// [`Kind::Registered`] is for [`register`](Memory::register) and is treated as [`Kind::Pinned`] here.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::OutOfMemory`], [`Error::Host`].
    pub fn allocate(&self, len: usize, kind: Kind) -> Result<u64, Error> {
        if len == 0 {
            return Err(Error::Empty);
        }
        let mut state = self.lock();
        let counted = kind.on_device() || kind == Kind::Managed;
        let free = self.capacity - state.used;
        let full = Error::OutOfMemory { asked: len, free, capacity: self.capacity };
        if counted && len > free {
            return Err(full);
        }
        let region = if kind.on_device() {
            let unused = state.next;
            let base = self.place(&mut state, len).ok_or(full.clone())?;
            let offset = (base - self.addresses.base() as u64) as usize;
            let bytes = self.bytes.base().wrapping_add(offset);
            let initialised = Bitmap::new(self.written.clone(), offset / 64, len).ok_or(full)?;
            if base != unused {
                initialised.remove(0, len); // what was there before
            }
            Region::new(base, len, kind, bytes, Some(initialised), Some(self.bytes.clone()))
        } else {
            let backing = Arc::new(Reservation::zeroed(len)?);
            let kind = if kind == Kind::Registered { Kind::Pinned } else { kind };
            Region::new(backing.base() as u64, len, kind, backing.base(), None, Some(backing))
        };
        if counted {
            state.used += len;
        }
        let base = region.base;
        state.view = None;
        state.live.insert(base, Arc::new(region));
        Ok(base)
    }

    /// Lets kernels reach `len` bytes of the client's at `host`; their device address is the same.
    ///
    /// # Errors
    /// [`Error::Empty`], or [`Error::Registered`] if some of them can be reached already.
    ///
    /// # Safety
    /// The bytes must stay readable and writable until [`unregister`](Memory::unregister).
    pub unsafe fn register(&self, host: *mut u8, len: usize) -> Result<(), Error> {
        let addr = host as u64;
        let end = addr.checked_add(len as u64).ok_or(Error::Empty)?;
        if len == 0 {
            return Err(Error::Empty);
        }
        let mut state = self.lock();
        if state.live.range(..end).next_back().is_some_and(|(_, r)| r.end() > addr) {
            return Err(Error::Registered { addr, len });
        }
        let region = Region::new(addr, len, Kind::Registered, host, None, None);
        state.view = None;
        state.live.insert(addr, Arc::new(region));
        Ok(())
    }

    /// Ends what [`register`](Memory::register) began.
    ///
    /// # Errors
    /// [`Error::NotAllocated`].
    pub fn unregister(&self, host: u64) -> Result<(), Error> {
        self.remove(host, "registered host memory", |k| k == Kind::Registered)
    }

    /// Frees device memory, a module's variable or managed memory.
    ///
    /// # Errors
    /// [`Error::NotAllocated`].
    pub fn free(&self, addr: u64) -> Result<(), Error> {
        self.remove(addr, "a device allocation", |k| k.on_device() || k == Kind::Managed)
    }

    /// Frees page-locked host memory.
    ///
    /// # Errors
    /// [`Error::NotAllocated`].
    pub fn free_host(&self, addr: u64) -> Result<(), Error> {
        self.remove(addr, "page-locked host memory", |k| k == Kind::Pinned)
    }

    fn remove(&self, addr: u64, expected: &'static str, fits: fn(Kind) -> bool) -> Result<(), Error> {
        let mut state = self.lock();
        let kind = match state.live.get(&addr) {
            Some(region) if fits(region.kind) => region.kind,
            _ => {
                drop(state);
                return Err(Error::NotAllocated { addr, expected, what: self.describe(addr) });
            }
        };
        state.view = None;
        let Some(region) = state.live.remove(&addr) else { return Ok(()) };
        let len = region.len;
        if kind.on_device() || kind == Kind::Managed {
            state.used -= len;
        }
        if kind.on_device() {
            self.release_pages(&state, &region);
            state.freed.insert(addr, len);
            if state.freed.len() > REMEMBERED {
                state.freed.pop_first(); // addresses ascend, so this is (nearly always) the oldest
            }
        }
        Ok(())
    }

    /// The live regions. Made once after each change; else a copy of a pointer.
    pub fn view(&self) -> View {
        let mut guard = self.lock();
        let state = &mut *guard;
        let make = || View::new(state.live.values().cloned());
        state.view.get_or_insert_with(make).clone()
    }

    /// Whether `addr` is in the device's own range, allocated or not.
    pub fn is_device_address(&self, addr: u64) -> bool {
        addr.wrapping_sub(self.addresses.base() as u64) < self.addresses.len() as u64
    }

    /// Address for `len` bytes: after the last allocation or, once the range has ended, in the first gap.
    fn place(&self, state: &mut State, len: usize) -> Option<u64> {
        let start = self.addresses.base() as u64 + PAGE;
        let end = self.addresses.base() as u64 + self.addresses.len() as u64;
        let after = |addr: u64| addr.checked_add(GRANULE)?.checked_next_multiple_of(GRANULE);
        let fits = |at: u64, end: u64| at.checked_add(len as u64).and_then(after).is_some_and(|e| e <= end);
        if fits(state.next, end) {
            let base = state.next;
            state.next = after(base + len as u64)?;
            return Some(base);
        }
        let mut at = start;
        for live in state.live.range(start..end).map(|(_, region)| region) {
            if fits(at, live.base) {
                break;
            }
            at = after(live.end())?;
        }
        if !fits(at, end) {
            return None;
        }
        state.freed.retain(|base, l| base + *l as u64 <= at || *base >= at + len as u64);
        Some(at)
    }

    /// Gives the host back what pages of a freed run, and of its bits, no other region touches.
    fn release_pages(&self, state: &State, region: &Region) {
        let (base, addr, end) = (self.addresses.base() as u64, region.base, region.end());
        let before = state.live.range(..addr).next_back().map_or(base, |(_, r)| r.end());
        let behind = state.live.range(addr..).next().map_or(u64::MAX, |(b, _)| *b);
        // Bytes that one page of a mapping stands for: as many, or eight times as many if they are bits.
        for (mapping, page) in [(&self.bytes, PAGE), (&self.written, PAGE * 8)] {
            let offset = |addr: u64| addr.saturating_sub(base);
            let (down, up) = (offset(addr) / page * page, offset(end).next_multiple_of(page));
            let start = if down >= offset(before) { down } else { offset(before).next_multiple_of(page) };
            let end = if up <= offset(behind) { up } else { offset(behind) / page * page };
            let scale = page / PAGE;
            mapping.release(start / scale, end / scale);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between statements that can panic (only allocation failure can).
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
