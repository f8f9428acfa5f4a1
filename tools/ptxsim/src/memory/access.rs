//! Checked access from the host.

use std::ptr;
use std::sync::Arc;

use super::{Error, Memory, Region};

impl Memory {
    /// The region that holds `len` bytes at `addr`, of which there must be at least one byte or none asked for.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], saying what is at the first byte that no region holds.
    pub fn region(&self, addr: u64, len: usize) -> Result<Arc<Region>, Error> {
        let state = self.lock();
        let found = state.live.range(..=addr).next_back().map(|(_, r)| r.clone());
        drop(state);
        match found {
            Some(region) if region.contains(addr, len) => Ok(region),
            Some(region) if region.contains(addr, 1) => {
                let what = self.describe(region.end());
                Err(Error::OutOfBounds { addr, len, what: format!("the last are {what}") })
            }
            _ => Err(Error::OutOfBounds { addr, len, what: self.describe(addr) }),
        }
    }

    /// Writes `data` at `addr`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; then nothing was written.
    pub fn write(&self, addr: u64, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let region = self.region(addr, data.len())?;
        // SAFETY: the region holds as many bytes there; `ptr::copy` allows for a source in the same (pinned) memory.
        unsafe { ptr::copy(data.as_ptr(), region.host(addr), data.len()) };
        region.set_initialised(addr, data.len());
        Ok(())
    }

    /// Reads `data.len()` bytes at `addr`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; then nothing was read.
    pub fn read(&self, addr: u64, data: &mut [u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let region = self.region(addr, data.len())?;
        // SAFETY: the region holds as many bytes there; `ptr::copy` allows for a target in the same (pinned) memory.
        unsafe { ptr::copy(region.host(addr), data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    /// Writes `pattern` (1, 2 or 4 bytes) `count` times from `addr` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; then nothing was written.
    pub fn fill(&self, addr: u64, pattern: &[u8], count: usize) -> Result<(), Error> {
        let len = pattern.len().saturating_mul(count);
        if len == 0 {
            return Ok(());
        }
        let region = self.region(addr, len)?;
        let start = region.host(addr);
        if let [byte] = pattern {
            // SAFETY: the region holds `len` bytes there.
            unsafe { ptr::write_bytes(start, *byte, len) };
        } else {
            // SAFETY: the region holds `len` bytes from `start`, of which the pattern is the first part.
            unsafe { ptr::copy(pattern.as_ptr(), start, pattern.len()) };
            let mut done = pattern.len();
            while done < len {
                let more = done.min(len - done);
                // SAFETY: `done + more` is at most `len`, and the two parts do not overlap as `more` is at most `done`.
                unsafe { ptr::copy_nonoverlapping(start, start.wrapping_add(done), more) };
                done += more;
            }
        }
        region.set_initialised(addr, len);
        Ok(())
    }

    /// Copies `len` bytes from `from` to `to`, which may overlap, with what is known of whether they were written.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; then nothing was written.
    pub fn copy(&self, to: u64, from: u64, len: usize) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        let (target, source) = (self.region(to, len)?, self.region(from, len)?);
        // SAFETY: each region holds `len` bytes there; `ptr::copy` is right if they overlap.
        unsafe { ptr::copy(source.host(from), target.host(to), len) };
        target.copy_initialised(to, &source, from, len);
        Ok(())
    }
}
