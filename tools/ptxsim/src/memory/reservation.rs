//! Address space from the operating system.

use std::io;
use std::ptr;

use super::Shortage;

/// Size of a page of the host.
pub(super) const PAGE: u64 = 4096;

/// A run of addresses, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    base: *mut u8,
    len: usize,
}

// SAFETY: an address range without aliasing rules of its own; who reads or writes in it answers for that.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// `len` addresses that nobody can dereference.
    pub(super) fn inaccessible(len: usize) -> Result<Reservation, Shortage> {
        Self::map(len, libc::PROT_NONE, libc::MAP_NORESERVE)
    }

    /// `len` bytes of zeros, which take memory only where they are written.
    pub(super) fn zeroed(len: usize) -> Result<Reservation, Shortage> {
        Self::map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_NORESERVE)
    }

    fn map(len: usize, protection: i32, flags: i32) -> Result<Reservation, Shortage> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of anyone.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            let cause = io::Error::last_os_error();
            return Err(Shortage(format!("the host has no {len} bytes of address space left: {cause}")));
        }
        Ok(Reservation { base: base.cast(), len })
    }

    /// Its first address.
    pub(super) fn base(&self) -> *mut u8 {
        self.base
    }

    /// Its length.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Asks for large pages where it is written, which makes touching it for the first time several times faster.
    pub(super) fn prefer_large_pages(&self) {
        // SAFETY: advice about this value's own mapping, which changes no contents; if refused, nothing is lost.
        unsafe { libc::madvise(self.base.cast(), self.len, libc::MADV_HUGEPAGE) };
    }

    /// Gives the host the pages of `start..end` back (offsets, multiples of a page); they read as zeros afterwards.
    pub(super) fn release(&self, start: u64, end: u64) {
        if start >= end || end > self.len as u64 {
            return;
        }
        // SAFETY: the range lies in the mapping, and the caller says that no live region is in it.
        unsafe {
            libc::madvise(
                self.base.wrapping_add(start as usize).cast(),
                (end - start) as usize,
                libc::MADV_DONTNEED,
            )
        };
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nobody can reach it once that is dropped.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}
