//! A run of device memory as a launch sees it, and all of them.

use std::sync::Arc;

use super::bitmap::Bitmap;
use super::reservation::Reservation;

/// What a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Device memory that the client allocated.
    Device,
    /// A variable of a module, in device memory.
    Variable,
    /// Managed memory: host and device share its address.
    Managed,
    /// Page-locked host memory; its host address is its device address.
    Pinned,
    /// Host memory of the client's that it registered; its host address is its device address.
    Registered,
}

impl Kind {
    /// Whether the bytes are in the device's own address range, where the host cannot reach them.
    pub fn on_device(self) -> bool {
        matches!(self, Kind::Device | Kind::Variable)
    }
}

/// A live run of memory that a kernel may access.
#[derive(Debug)]
pub struct Region {
    /// Device address of its first byte.
    pub base: u64,
    /// Its length in bytes.
    pub len: usize,
    /// What it is.
    pub kind: Kind,
    /// Host address of its first byte.
    bytes: *mut u8,
    /// Which bytes were written; `None` if all count as written.
    initialised: Option<Bitmap>,
    /// Keeps the bytes mapped; `None` if they are the client's.
    _backing: Option<Arc<Reservation>>,
}

// SAFETY: the pointer is an address that stays mapped as long as the region does, or the client keeps the memory;
// `Region` itself never reads or writes through it.
unsafe impl Send for Region {}
// SAFETY: as above; the bitmap is atomic.
unsafe impl Sync for Region {}

impl Region {
    /// A region whose bytes all count as written unless `initialised` says which are.
    pub(super) fn new(
        base: u64,
        len: usize,
        kind: Kind,
        bytes: *mut u8,
        initialised: Option<Bitmap>,
        backing: Option<Arc<Reservation>>,
    ) -> Region {
        Region { base, len, kind, bytes, initialised, _backing: backing }
    }

    /// Address after its last byte.
    pub fn end(&self) -> u64 {
        self.base + self.len as u64
    }

    /// Whether all of `len` bytes at `addr` lie in it.
    #[inline]
    pub fn contains(&self, addr: u64, len: usize) -> bool {
        let offset = addr.wrapping_sub(self.base);
        offset < self.len as u64 && len as u64 <= self.len as u64 - offset
    }

    /// Host address of the byte at `addr`, which must lie in the region (or just past its end). What is there may be
    /// read and written for as long as [`contains`](Region::contains) holds and the region is not freed.
    #[inline]
    pub fn host(&self, addr: u64) -> *mut u8 {
        self.bytes.wrapping_add(addr.wrapping_sub(self.base) as usize)
    }

    /// Whether all of `len` bytes at `addr` were written by something.
    #[inline]
    pub fn is_initialised(&self, addr: u64, len: usize) -> bool {
        self.initialised.as_ref().is_none_or(|b| b.contains(addr.wrapping_sub(self.base) as usize, len))
    }

    /// Notes that `len` bytes at `addr` were written.
    #[inline]
    pub fn set_initialised(&self, addr: u64, len: usize) {
        if let Some(b) = &self.initialised {
            b.insert(addr.wrapping_sub(self.base) as usize, len);
        }
    }

    /// Makes `len` bytes at `to` as initialised as those of `source` at `from` are; right when they overlap, too.
    pub(super) fn copy_initialised(&self, to: u64, source: &Region, from: u64, len: usize) {
        let Some(target) = &self.initialised else { return };
        let (to, from) = (to.wrapping_sub(self.base) as usize, from.wrapping_sub(source.base) as usize);
        let Some(origin) = &source.initialised else { return target.insert(to, len) };
        let chunk = |start: usize| {
            let count = (len - start).min(64);
            target.set_bits(to + start, count, origin.bits(from + start, count));
        };
        // As memmove does: backwards where the target lies behind the source.
        if to > from {
            (0..len.div_ceil(64)).rev().for_each(|i| chunk(i * 64));
        } else {
            (0..len.div_ceil(64)).for_each(|i| chunk(i * 64));
        }
    }
}

/// The live regions at one time, in order of address. Cheap to copy.
#[derive(Clone, Debug)]
pub struct View {
    /// Base of each region, for the search.
    bases: Arc<[u64]>,
    regions: Arc<[Arc<Region>]>,
}

impl View {
    pub(super) fn new(regions: impl Iterator<Item = Arc<Region>>) -> View {
        let regions: Arc<[Arc<Region>]> = regions.collect();
        View { bases: regions.iter().map(|r| r.base).collect(), regions }
    }

    /// The region that holds the byte at `addr`.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<&Region> {
        let after = self.bases.partition_point(|base| *base <= addr);
        let region = self.regions.get(after.checked_sub(1)?)?;
        region.contains(addr, 1).then_some(&**region)
    }

    /// All of them, in order of address.
    pub fn regions(&self) -> &[Arc<Region>] {
        &self.regions
    }
}
